"""Networks of Keras by name: what they are given, their blocks, and weights that fit or do not."""

import dataclasses
import zipfile

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="networks need the training extra")
h5py = pytest.importorskip("h5py", reason="networks need the training extra")

import importlib  # noqa: E402

from cellnet import backbones  # noqa: E402
from cellnet.errors import CellnetError  # noqa: E402
from cellnet.weight_files import load_into, read_file, stable_names  # noqa: E402

SMALL = {"size": 32, "arguments": {"alpha": 0.25}}


def small(weights="random", seed=0):
    """MobileNet at a quarter of its width, the quickest of Keras's networks to build."""
    keras.utils.set_random_seed(seed)
    return backbones.without_top("MobileNet", weights, **SMALL)


def test_every_network_of_keras_can_be_named():
    names = backbones.applications()
    assert {"VGG16", "InceptionV3", "ResNet50", "MobileNetV3Small", "EfficientNetV2B0"} <= set(
        names
    )
    assert len(names) >= 38
    with pytest.raises(CellnetError, match="no network called 'vgg-16'; did you mean VGG16"):
        backbones.application("vgg-16")


class Found(Exception):
    """Carries the size that Keras would take."""


@pytest.mark.parametrize("name", sorted(backbones.applications()))
def test_sizes_are_those_of_keras(name, monkeypatch):
    """Keras tells its default size on the way; the network is not built."""

    def tell(input_shape, default_size, **_):
        raise Found(default_size)

    monkeypatch.setattr("keras.src.applications.imagenet_utils.obtain_input_shape", tell)
    builder = getattr(keras.applications, name)
    if name.startswith("MobileNetV3"):
        assert backbones.application(name).size == 224  # asks no one
        return
    with pytest.raises(Found) as found:
        builder(weights=None)
    assert backbones.application(name).size == found.value.args[0]


@pytest.mark.parametrize("name", ["VGG16", "InceptionV3", "DenseNet121", "EfficientNetB0"])
def test_images_are_prepared_as_keras_does(name):
    """One network for each of Keras's ways: BGR less a mean, [-1, 1], by channel, not at all."""
    found = backbones.application(name)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.float32)
    module = importlib.import_module(backbones.applications()[name])
    expected = np.asarray(module.preprocess_input(pixels.copy()))
    inputs, outputs = backbones.entrance(found, 8)
    answered = np.asarray(keras.Model(inputs, outputs)(pixels / 255))
    np.testing.assert_allclose(answered, expected, atol=2e-5)
    told = found.preprocessing()
    order = [2, 1, 0] if told["channels"] == "BGR" else [0, 1, 2]
    np.testing.assert_allclose(
        pixels[..., order] * told["scale"] + told["offset"], expected, atol=1e-4
    )


def test_blocks_are_convolutions():
    network, _ = backbones.without_top("VGG16", "random", 32)
    blocks = backbones.blocks_of(network)
    assert len(blocks) == 13
    assert blocks[-1] == ["block5_conv3", "block5_pool"]
    assert blocks[0][0] == "block1_conv1"


@pytest.mark.slow
def test_inception_is_cut_where_its_authors_draw_blocks():
    network, about = backbones.feature_network("InceptionV3", "avg_pool", "random", 75)
    assert about["features"] == network.output_shape[-1] == 2048
    body, _ = backbones.without_top("InceptionV3", "random", 75)
    blocks = backbones.blocks_of(body)
    assert len(blocks) == 11
    assert [block[-1] for block in blocks] == [f"mixed{number}" for number in range(11)]
    assert sorted(sum(blocks, [])) == sorted(layer.name for layer in body.layers)


def test_features_are_the_layer_that_was_named():
    network, about = backbones.feature_network(
        "MobileNet", "global_average_pooling2d", "random", **SMALL
    )
    assert network.output_shape == (None, 256) and about["features"] == 256
    assert about["preprocessing"]["height"] == 32 and about["weights"]["from"] == "random"
    # Again in the same session: Keras calls the layer otherwise, the recipe does not.
    again, _ = backbones.feature_network("MobileNet", "global_average_pooling2d", "random", **SMALL)
    assert again.output_shape == (None, 256)
    with pytest.raises(CellnetError, match="no layer 'fc1'"):
        backbones.feature_network("MobileNet", "fc1", "random", **SMALL)


def test_vgg16_has_4096_features():
    network, about = backbones.feature_network("VGG16", "fc1", "random", 32)
    assert network.output_shape == (None, 4096) and about["features"] == 4096


def test_what_keras_refuses_is_told_in_one_line():
    with pytest.raises(CellnetError, match="cannot build MobileNet.*8 x 8.*input_shape") as told:
        backbones.without_top("MobileNet", "random", 8)
    assert "\n" not in str(told.value)
    with pytest.raises(CellnetError, match="beta"):
        backbones.without_top("MobileNet", "random", 32, {"beta": 1})


# ---------------------------------------------------------------- weights in a file


@pytest.mark.parametrize("name", ["a.weights.h5", "a.h5", "a.keras"])
def test_a_file_of_keras_gives_its_weights_back(name, tmp_path, capsys):
    network, about = small(seed=1)
    if name == "a.weights.h5":
        network.save_weights(tmp_path / name)
    else:
        network.save(tmp_path / name)
    again, told = small(str(tmp_path / name), seed=2)
    assert told["weights"]["sha256"] == about["weights"]["sha256"]
    assert told["weights"]["from"] == "file" and told["weights"]["file"] == name
    assert told["weights"]["unused_layers"] == []
    for mine, theirs in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def earlier(file, layers):
    """Write weights as earlier versions of Keras did, and as it still offers them."""
    with h5py.File(file, "w") as store:
        names = [name.encode() for name in layers]
        store.attrs["layer_names0"], store.attrs["layer_names1"] = names[:3], names[3:]
        for name, values in layers.items():
            group = store.create_group(name)
            texts = [f"{name}/w{number}:0" for number in range(len(values))]
            group.attrs["weight_names"] = [text.encode() for text in texts]
            for text, value in zip(texts, values, strict=True):
                group[text] = value


def test_imagenet_files_of_earlier_versions_are_read(tmp_path):
    network, _ = small(seed=1)
    layers = {layer.name: layer.get_weights() for layer in network.layers}
    layers["predictions"] = [np.zeros((256, 1000), np.float32)]
    earlier(tmp_path / "old.h5", layers)
    again, told = small(str(tmp_path / "old.h5"), seed=2)
    assert told["weights"]["unused_layers"] == ["predictions"]
    np.testing.assert_array_equal(again.get_weights()[0], network.get_weights()[0])


def test_names_that_keras_counted_in_another_session_are_found(tmp_path):
    """Inception's layers bear made-up names: of those the order decides."""

    def build():
        inputs = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(2, 3)(inputs)
        x = keras.layers.BatchNormalization()(x)
        return keras.Model(inputs, keras.layers.Conv2D(4, 3)(x))

    first = build()
    first.save_weights(tmp_path / "a.weights.h5")
    second = build()
    assert first.layers[1].name != second.layers[1].name
    assert load_into(second, tmp_path / "a.weights.h5") == []
    for mine, theirs in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def branched(join):
    """A builder of two modules of two branches each, whose layers nobody names, as Inception's."""

    def build(include_top, weights, input_tensor, input_shape):
        layers = keras.layers
        x = layers.Conv2D(4, 1)(input_tensor)
        for _ in range(2):
            left = layers.BatchNormalization()(layers.Conv2D(4, 1)(x))
            right = layers.BatchNormalization()(layers.Conv2D(4, 1)(x))
            right = layers.BatchNormalization()(layers.Conv2D(4, 1)(right))
            x = join()([left, right])
        if include_top:
            x = layers.Dense(3, name="predictions")(layers.GlobalAveragePooling2D()(x))
        network = keras.Model(keras.utils.get_source_inputs(input_tensor), x)
        rng = np.random.default_rng(0)  # no two layers alike, and none of them fresh
        network.set_weights([rng.uniform(0.5, 1, it.shape) for it in network.get_weights()])
        return network

    return build


@pytest.fixture(params=["Add", "Concatenate"])
def branches(request, monkeypatch):
    """That builder in the place of Keras's; with ``Add`` all its convolutions have one shape."""
    build = branched(getattr(keras.layers, request.param))
    stated = backbones.Application("Branched", build, 8, "RGB", (1.0,) * 3, (0.0,) * 3)
    monkeypatch.setattr(backbones, "application", lambda name: stated)
    return stated


def forgotten(build):
    """The builder, with weights that no file has."""

    def fresh(**given):
        network = build(**given)
        network.set_weights([np.zeros_like(it) for it in network.get_weights()])
        return network

    return fresh


@pytest.mark.parametrize(
    ("layer", "top"), [("conv2d_4", True), ("conv2d_6", False), ("batch_normalization_5", True)]
)
def test_a_network_cut_inside_a_branch_has_the_weights_of_the_whole(
    layer, top, branches, monkeypatch, tmp_path
):
    """Of the second module's convolutions the fifth is one branch, sixth and seventh the other.

    A network that ends in the other lacks the fifth: ranks counted within it are not the file's.
    """
    whole = branches.builder(top, None, backbones.entrance(branches, 8)[1], (8, 8, 3))
    file = tmp_path / "whole.weights.h5"
    whole.save_weights(file)
    wanted = {stable: whole.get_layer(it) for it, stable in stable_names(whole).items()}
    fresh = dataclasses.replace(branches, builder=forgotten(branches.builder))
    monkeypatch.setattr(backbones, "application", lambda name: fresh)
    network, about = backbones.feature_network("Branched", layer, str(file))

    held = [it for it in network.layers if it.weights]
    ends = [it for it, each in wanted.items() if each.weights]
    assert len(held) < len(ends)
    image = np.random.default_rng(1).random((2, 8, 8, 3), np.float32)
    until = keras.Model(whole.inputs, wanted[layer].output)
    found = np.asarray(network(image)).reshape(2, 8, 8, 4)
    np.testing.assert_array_equal(found, np.asarray(until(image)))
    by_first = {it.get_weights()[0].tobytes(): it for it in wanted.values() if it.weights}
    for mine in held:
        theirs = by_first[mine.get_weights()[0].tobytes()]
        assert type(mine) is type(theirs)
        for one, other in zip(mine.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(about["weights"]["unused_layers"]) == len(ends) - len(held)


def test_weights_of_the_cut_network_itself_are_found_too(branches, monkeypatch, tmp_path):
    """Its file has gaps in Keras's numbers where the other branch is missing."""
    first, about = backbones.feature_network("Branched", "conv2d_6", "random")
    first.save_weights(tmp_path / "cut.weights.h5")
    fresh = dataclasses.replace(branches, builder=forgotten(branches.builder))
    monkeypatch.setattr(backbones, "application", lambda name: fresh)
    again, told = backbones.feature_network(
        "Branched", "conv2d_6", str(tmp_path / "cut.weights.h5")
    )
    assert told["weights"]["sha256"] == about["weights"]["sha256"]
    # What ends in another branch is not in it, and is not taken from a layer beside it.
    with pytest.raises(CellnetError, match="1 of [0-9]+ layers are not in it: conv2d"):
        backbones.feature_network("Branched", "conv2d_4", str(tmp_path / "cut.weights.h5"))


@pytest.mark.slow
def test_inception_is_cut_inside_a_branch(tmp_path):
    keras.utils.set_random_seed(1)
    whole, _ = backbones.without_top("InceptionV3", "random", 75)
    whole.save_weights(tmp_path / "whole.weights.h5")
    names = {stable: name for name, stable in stable_names(whole).items()}
    keras.utils.set_random_seed(2)
    network, _ = backbones.feature_network(
        "InceptionV3", "conv2d_61", str(tmp_path / "whole.weights.h5"), 75
    )
    until = keras.Model(whole.inputs, whole.get_layer(names["conv2d_61"]).output)
    image = np.random.default_rng(1).random((1, 75, 75, 3), np.float32)
    np.testing.assert_array_equal(
        np.asarray(network(image)).ravel(), np.asarray(until(image)).ravel()
    )


def test_what_does_not_fit_is_said_exactly(tmp_path):
    network, _ = small(seed=1)
    layers = {layer.name: layer.get_weights() for layer in network.layers}
    layers["conv1"] = [np.zeros((3, 3, 3, 16), np.float32)]
    del layers["conv_pw_13"], layers["conv_dw_13"]
    layers["another"] = [np.zeros(3, np.float32)]
    file = tmp_path / "other.h5"
    earlier(file, layers)
    before = network.get_weights()
    with pytest.raises(CellnetError) as told:
        load_into(network, file)
    message = str(told.value)
    assert str(file) in message and "\n" not in message
    assert "2 of 54 layers are not in it: conv_dw_13, conv_pw_13" in message
    assert "it has others: another" in message
    assert "1 of 54 layers have other shapes: conv1 needs 3x3x3x8 and has 3x3x3x16" in message
    assert "weights: imagenet" in message
    # Nothing was put in: a network is filled whole or not at all.
    for mine, theirs in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"no weights", "cannot be read"), (b"", "cannot be read")],
)
def test_a_file_that_is_none_is_refused(content, told, tmp_path):
    file = tmp_path / "a.h5"
    file.write_bytes(content)
    with pytest.raises(CellnetError, match=told):
        read_file(file)


def test_other_archives_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("note.txt", "mine")
    with pytest.raises(CellnetError, match="without model.weights.h5"):
        read_file(tmp_path / "a.keras")
    with h5py.File(tmp_path / "b.h5", "w") as store:
        store["table"] = np.zeros(3)
    with pytest.raises(CellnetError, match="no layer's weights"):
        read_file(tmp_path / "b.h5")


def test_a_missing_file_names_both_ways_before_anything_is_built(tmp_path):
    with pytest.raises(CellnetError, match="does not exist.*'random', 'imagenet'.*file"):
        backbones.without_top("VGG16", str(tmp_path / "no.h5"))
    with pytest.raises(CellnetError, match="is a folder"):
        backbones.feature_network("VGG16", "fc1", str(tmp_path))


def test_without_a_network_the_error_names_both_ways(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("keras.src.backend.config.keras_home", lambda: str(tmp_path))
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies of its time
    for name in ("https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(CellnetError) as told:
        backbones.without_top("MobileNet", "imagenet", 128)
    message = str(told.value)
    assert "ImageNet weights of MobileNet cannot be downloaded" in message and "\n" not in message
    assert "weights: imagenet" in message and "weights: FILE.h5" in message
    # What Keras says of its download is no answer.
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", ["{}", "[]", "[1"])
def test_what_binds_a_run_to_its_networks_is_read_whole(content, tmp_path):
    from cellnet.backbones import bind

    (tmp_path / "networks.json").write_text(content)
    with pytest.raises(CellnetError, match="networks.json.*choose another --run"):
        bind(tmp_path, [{"backbone": "VGG16"}])
