"""Exports: the same answers and maps as Keras, the same integers, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from bundles import make_bundle
from network_bundles import grad_cam, prepared, random_network, write_bundle

from cellnet import (
    export_litert,
    export_onnx,
    export_parity,
    export_savedmodel,
    export_tfjs,
    networks,
)
from cellnet.bundle import load
from cellnet.cli import main
from cellnet.errors import CellnetError
from cellnet.export import export
from cellnet.export_weights import Layer, read_integers, read_layers
from cellnet.verify import read_schema

SHIPPED = Path(__file__).resolve().parents[1] / "models"
FORMATS = ("savedmodel", "tfjs", "litert", "onnx")
MODULES = {
    "savedmodel": export_savedmodel,
    "tfjs": export_tfjs,
    "litert": export_litert,
    "onnx": export_onnx,
}
# Two blocks less than the thesis's would leave 74 x 74 x 4 values for the dense layers: slow.
FLOAT = {"blocks": 4, "width": 5, "hidden": 2}
QUANTISED = {"blocks": 4, "width": 16, "hidden": 2}


@pytest.fixture(autouse=True)
def fewer_cells(monkeypatch):
    """Parity on whole drawn smears is for the exports that are shipped."""
    monkeypatch.setattr(export_parity, "_CELLS", 4)


def need(form: str) -> None:
    if form == "onnx":
        for package in ("onnx", "onnxruntime"):
            pytest.importorskip(package, reason=f"{package} comes with 'make setup-export'")


@pytest.fixture(scope="module")
def network():
    return random_network(**FLOAT)


@pytest.fixture(scope="module")
def bundle(network, tmp_path_factory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("float"), network, **FLOAT)


@pytest.fixture(scope="module")
def wide_network():
    return random_network(seed=1, **QUANTISED)


@pytest.fixture(scope="module")
def quantised(wide_network, tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("quantised")
    return write_bundle(home, wide_network, quantise=True, **QUANTISED)


@pytest.fixture(scope="module")
def exported(bundle, quantised, tmp_path_factory):
    """A function that exports either bundle in a format, once."""
    made: dict[tuple[Path, str], Path] = {}

    def make(source: Path, form: str) -> Path:
        need(form)
        if (source, form) not in made:
            made[source, form] = tmp_path_factory.mktemp(form) / "out"
            export(source, form, made[source, form])
        return made[source, form]

    return make


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Not square, smaller one way and larger the other than what the networks take."""
    return np.random.default_rng(3).integers(0, 256, (3, 120, 333, 3), dtype=np.uint8)


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_answers_as_the_keras_network(form, bundle, network, exported, images):
    answer = MODULES[form].open_answer(load(bundle), exported(bundle, form))
    wanted = network(prepared(network, images), training=False).numpy()
    assert np.ptp(wanted) > 0.001  # or anything would do
    np.testing.assert_allclose(answer(images), wanted, atol=1e-5)
    np.testing.assert_allclose(answer(images[:1]), wanted[:1], atol=1e-5)


@pytest.mark.parametrize("form", FORMATS)
def test_a_quantised_export_answers_as_its_bundle(form, quantised, exported, images):
    source = load(quantised)
    answer = MODULES[form].open_answer(source, exported(quantised, form))
    wanted = source.runtime().predict(np.stack([source.prepare(image) for image in images]))
    np.testing.assert_allclose(answer(images), wanted, atol=1e-2)


@pytest.mark.parametrize("form", FORMATS)
def test_the_manifest_says_what_was_made(form, bundle, exported):
    folder = exported(bundle, form)
    manifest = json.loads((folder / "export.json").read_text())
    source = load(bundle)
    assert manifest["schema"] == "cellnet/export/1"
    assert manifest["format"] == form
    assert manifest["model"] == source.identity()
    assert manifest["network"] == {
        "name": "dysplasianet",
        "arguments": FLOAT,
        "parameters": random_network(**FLOAT).count_params(),
    }
    assert (manifest["kind"], manifest["classes"]) == ("granularity", None)
    assert manifest["input"] == {
        "name": "images", "dtype": "uint8", "shape": [None, None, None, 3], "channels": "RGB",
    }  # fmt: skip
    has_map = form in ("savedmodel", "tfjs")
    assert manifest["outputs"] == {
        "answer": {"name": "granularity", "shape": [None, 1]},
        "activation_map": {"name": "activation_map", "shape": [None, 16, 16, 1]}
        if has_map
        else None,
    }
    point = json.loads((bundle / "operating_point.json").read_text())
    assert manifest["operating_point"] == point
    held = {path for path in folder.rglob("*") if path.is_file()} - {folder / "export.json"}
    assert {folder / entry["path"] for entry in manifest["files"]} == held
    for entry in manifest["files"]:
        content = (folder / entry["path"]).read_bytes()
        assert entry["bytes"] == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    parity = manifest["parity"]
    assert (parity["inputs"], parity["smears"], parity["cells"]) == (3, 2, 8)
    assert 0 <= parity["max_difference"] <= parity["tolerance"] == 1e-3
    assert parity["decisions_changed"] == 0


# ---------------------------------------------------------------- the activation map


def open_map(form: str, folder: Path):
    if form == "tfjs":
        return export_tfjs.open_outputs(folder)("activation_map")
    return export_savedmodel.open_outputs(folder, "activation_map", "activation_map")


@pytest.mark.parametrize("form", ["savedmodel", "tfjs"])
def test_the_activation_map_is_grad_cam(form, bundle, network, exported, images):
    wanted = grad_cam(network, images)
    assert wanted.shape == (3, 16, 16, 1) and wanted.min() < 0 < wanted.max()
    found = open_map(form, exported(bundle, form))(images)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("form", ["savedmodel", "tfjs"])
def test_the_map_of_quantised_weights_is_that_of_the_floats_they_stand_for(
    form, quantised, wide_network, exported, images
):
    layers = {layer.name: layer.as_floats() for layer in read_layers(load(quantised))}
    rounded = random_network(seed=1, **QUANTISED)
    for layer in rounded.layers:
        # The first convolution was not rounded, and holds the fixed layer before it in the bundle.
        if layer.weights and layer.name != "conv1":
            layer.set_weights([layers[layer.name].kernel, layers[layer.name].bias])
    wanted = grad_cam(rounded, images)
    found = open_map(form, exported(quantised, form))(images)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side", "most_bytes"), [("model1", 3, 30_000_000), ("dysplasianet", 16, 500_000)]
)
def test_the_shipped_models_for_browsers(name, side, most_bytes, tmp_path):
    """Size, and an activation map for each output, as Keras gives it of the same weights."""
    source = load(SHIPPED / name)
    layers = read_layers(source)
    folder = tmp_path / "out"
    manifest = export(SHIPPED / name, "tfjs", folder)
    assert sum(entry["bytes"] for entry in manifest["files"]) < most_bytes
    assert manifest["network"]["parameters"] == source.description["network"]["parameters"]
    assert manifest["outputs"]["activation_map"]["shape"] == [None, side, side, source.outputs]

    network = networks.build(name, **source.description["network"]["arguments"])
    for layer in map(Layer.as_floats, layers):
        kernel, bias = layer.kernel, layer.bias
        if layer.name == "conv1" and name == "dysplasianet":
            kernel = kernel / 5  # the bundle's first convolution holds the fixed 5 x - 3.75
            bias = bias + 3.75 * kernel.sum((0, 1, 2))
        network.get_layer(layer.name).set_weights([kernel, bias])
    images = np.load(source.folder / source.description["golden"]["file"])["images"][:3]
    outputs = export_tfjs.open_outputs(folder)
    answer = network(prepared(network, images), training=False)
    np.testing.assert_allclose(outputs(source.kind)(images), answer, atol=1e-4)
    wanted = grad_cam(network, images)
    found = outputs("activation_map")(images)
    assert found.shape == (3, side, side, source.outputs)
    np.testing.assert_allclose(found, wanted, atol=1e-3 * np.abs(wanted).max())


# ---------------------------------------------------------------- TensorFlow.js


def test_tfjs_stores_the_integers_of_the_bundle(quantised, exported):
    folder = exported(quantised, "tfjs")
    document = json.loads((folder / "model.json").read_text())
    [group] = document["weightsManifest"]
    stored = b"".join((folder / path).read_bytes() for path in group["paths"])
    layers = {f"{layer.name}/kernel": layer for layer in read_layers(load(quantised))}
    at, seen = 0, []
    for entry in group["weights"]:
        packing = entry.get("quantization")
        size = int(np.prod(entry["shape"], dtype=int)) * (1 if packing else 4)
        if packing:
            assert packing == {"dtype": "uint8", "min": -127, "scale": 1}
            assert entry["dtype"] == "float32"
            found = np.frombuffer(stored, np.uint8, size, at).astype(int) - 127
            wanted = layers[entry["name"]].kernel
            assert wanted.dtype == np.int8 and wanted.min() == -127 and wanted.max() == 127
            assert np.array_equal(found.reshape(entry["shape"]), wanted)
            seen.append(entry["name"])
        at += size
    assert at == len(stored)
    # Fewer than 1,024 weights stay floats in a bundle.
    assert seen == [f"{name}/kernel" for name in ("conv2", "conv3", "conv4", "dense1")]


@pytest.mark.parametrize("which", ["bundle", "quantised"])
def test_tfjs_keeps_convolution_offset_and_relu_in_one(which, request, exported):
    folder = exported(request.getfixturevalue(which), "tfjs")
    topology = json.loads((folder / "model.json").read_text())["modelTopology"]
    kinds = [node["op"] for node in topology["node"]]
    assert kinds.count("_FusedConv2D") == 4 and kinds.count("_FusedMatMul") == 3
    assert not {"Conv2D", "BiasAdd", "Relu"} & set(kinds)
    assert not any("value" in node["attr"] and "tensorContent" in json.dumps(node["attr"])
                   for node in topology["node"])  # fmt: skip


def test_tfjs_computes_no_map_for_an_answer(bundle, exported):
    document = json.loads((exported(bundle, "tfjs") / "model.json").read_text())
    nodes = {node["name"]: node for node in document["modelTopology"]["node"]}
    assert document["signature"]["outputs"].keys() == {"granularity", "activation_map"}
    assert document["signature"]["inputs"]["images"]["dtype"] == "DT_UINT8"

    def behind(name: str) -> set[str]:
        return {name}.union(*(behind(given) for given in nodes[name].get("input", [])))

    answer, whole = behind("granularity"), behind("activation_map")
    assert not {"Mean", "BatchMatMulV2", "Greater"} & {nodes[name]["op"] for name in answer}
    assert {"Mean", "Greater"} <= {nodes[name]["op"] for name in whole}


def test_tfjs_divides_weights_into_shards(bundle, images, exported, monkeypatch, tmp_path):
    monkeypatch.setattr(export_tfjs, "SHARD", 10_001)  # weights lie across the borders
    source, folder = load(bundle), tmp_path / "shards"
    folder.mkdir()
    export_tfjs.write(source, read_layers(source), folder)
    [group] = json.loads((folder / "model.json").read_text())["weightsManifest"]
    sizes = [(folder / path).stat().st_size for path in group["paths"]]
    assert len(sizes) > 2 and set(sizes[:-1]) == {10_001} and 0 < sizes[-1] <= 10_001
    whole = export_tfjs.open_answer(source, exported(bundle, "tfjs"))(images)
    assert np.array_equal(export_tfjs.open_answer(source, folder)(images), whole)
    with (folder / group["paths"][-1]).open("ab") as shard:
        shard.write(b"\0")
    with pytest.raises(CellnetError, match="hold .* bytes, expected"):
        export_tfjs.open_answer(source, folder)


# ---------------------------------------------------------------- LiteRT and ONNX


def test_litert_holds_the_integers_of_the_bundle(quantised, exported):
    found = read_integers(exported(quantised, "litert") / "model.tflite")
    wanted = [layer for layer in read_layers(load(quantised)) if layer.scale is not None]
    assert len(found) == len(wanted) == 4
    for layer in wanted:
        [scale] = [scale for kernel, scale in found if np.array_equal(kernel, layer.kernel)]
        np.testing.assert_allclose(scale, layer.scale, rtol=1e-6)


def test_litert_with_other_integers_is_refused(quantised, tmp_path, monkeypatch):
    monkeypatch.setattr(export_litert, "read_integers", lambda file: [])
    with pytest.raises(CellnetError, match="conv2 .* as other integers"):
        export(quantised, "litert", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_onnx_holds_the_integers_of_the_bundle(quantised, exported):
    folder = exported(quantised, "onnx")
    import onnx

    model = onnx.load(folder / "model.onnx")
    held = {it.name: onnx.numpy_helper.to_array(it) for it in model.graph.initializer}
    for layer in read_layers(load(quantised)):
        kernel = held[f"{layer.name}/kernel"]
        assert kernel.dtype == layer.kernel.dtype
        order = (2, 3, 1, 0) if layer.is_convolution else (0, 1)
        assert np.array_equal(kernel.transpose(order), layer.kernel)
    [given] = model.graph.input
    assert [side.dim_param or side.dim_value for side in given.type.tensor_type.shape.dim] == [
        "n", "height", "width", 3,
    ]  # fmt: skip


def test_without_onnx_one_line_says_what_to_install(bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", str(bundle), "--to", "onnx", "--out", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "needs onnx, which is not installed" in err and "make setup-export" in err
    assert not any(tmp_path.iterdir())


# ---------------------------------------------------------------- what is refused


def rewrite(bundle: Path, tmp_path: Path, change) -> Path:
    """A copy of a bundle with another description."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in bundle.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    told = json.loads((copy / "bundle.json").read_text())
    change(told)
    (copy / "bundle.json").write_text(json.dumps(told))
    return copy


def refusal(source: Path, out: Path, form: str = "tfjs") -> str:
    with pytest.raises(CellnetError) as caught:
        export(source, form, out)
    assert not out.exists()
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []
    return str(caught.value)


def test_weights_of_another_network_are_refused(tmp_path):
    # Tiny hand-made weights: the mean colour, then one dense layer.
    told = refusal(make_bundle(tmp_path / "tiny", "model1"), tmp_path / "out")
    assert "not those of the network 'model1': its step 1 is a convolution 3x3x3x32" in told
    assert "found MEAN" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"blocks": 3, "width": 5, "hidden": 2}, "its step 7 is flatten, found a convolution"),
        ({"blocks": 4, "width": 5, "hidden": 1}, "5x1 with linear activation, found .* 5x5"),
        ({"blocks": 4, "width": 6, "hidden": 2}, "step 1 is a convolution 3x3x3x6 .* 3x3x3x5"),
        ({"blocks": 9}, "bundle.json names a network that cannot be built: .* 1 to 6 blocks"),
    ],
)
def test_weights_of_other_arguments_are_refused(bundle, tmp_path, arguments, words):
    def change(told):
        told["network"]["arguments"] = arguments

    assert re.search(words, refusal(rewrite(bundle, tmp_path, change), tmp_path / "out"))


def test_a_bundle_that_does_not_verify_is_refused(bundle, tmp_path):
    copy = rewrite(bundle, tmp_path, lambda told: None)
    (copy / "golden.npz").write_bytes(b"other")
    told = refusal(copy, tmp_path / "out")
    assert "does not pass 'cellnet verify': golden file" in told


def test_a_score_without_an_operating_point_is_refused(bundle, tmp_path):
    copy = rewrite(bundle, tmp_path, lambda told: None)
    (copy / "operating_point.json").unlink()
    assert "cellnet calibrate" in refusal(copy, tmp_path / "out")


def test_an_export_that_answers_something_else_is_refused(bundle, tmp_path, monkeypatch):
    plain = export_tfjs.open_answer

    def shifted(bundle, folder):
        answer = plain(bundle, folder)
        return lambda images: answer(images) - 2e-3

    monkeypatch.setattr(export_tfjs, "open_answer", shifted)
    told = refusal(bundle, tmp_path / "out")
    assert "up to 0.002 beside the bundle's golden outputs, allowed is 0.001" in told


def test_an_export_that_answers_no_number_is_refused(bundle, tmp_path, monkeypatch):
    nothing = lambda images: np.full((len(images), 1), np.nan, np.float32)  # noqa: E731
    monkeypatch.setattr(export_tfjs, "open_answer", lambda bundle, folder: nothing)
    assert "answers up to nan" in refusal(bundle, tmp_path / "out")


def test_an_export_that_answers_another_shape_is_refused(bundle, tmp_path, monkeypatch):
    nothing = lambda images: np.zeros((len(images), 2), np.float32)  # noqa: E731
    monkeypatch.setattr(export_tfjs, "open_answer", lambda bundle, folder: nothing)
    assert "answers (3, 2), expected (3, 1)" in refusal(bundle, tmp_path / "out")


def test_an_export_that_decides_another_way_is_refused(bundle, tmp_path, monkeypatch):
    plain = export_tfjs.open_answer

    def turned(bundle, folder):
        answer = plain(bundle, folder)
        # Right on the golden images, which are 40 pixels wide.
        return lambda images: answer(images) if images.shape[2] == 40 else 1 - answer(images)

    monkeypatch.setattr(export_tfjs, "open_answer", turned)
    told = refusal(bundle, tmp_path / "out")
    assert "cell-001.jpg of the drawn dysplastic smear as dysplastic" in told
    assert "the bundle as normal" in told


def test_unknown_formats_are_refused(bundle, tmp_path):
    assert "no format is called 'h5'; the formats are" in refusal(bundle, tmp_path / "out", "h5")


# ---------------------------------------------------------------- the folder


def test_only_an_export_is_replaced(bundle, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "letter.txt").write_text("mine")
    with pytest.raises(CellnetError, match="must be new or empty"):
        export(bundle, "tfjs", out)
    assert (out / "letter.txt").read_text() == "mine"
    (out / "letter.txt").unlink()
    export(bundle, "tfjs", out)  # an empty folder is filled
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    (out / "left over.bin").write_bytes(b"of an older export")
    monkeypatch.setattr(export_parity, "TOLERANCE", -1.0)
    with pytest.raises(CellnetError, match="nothing was written"):
        export(bundle, "litert", out)
    assert (out / "left over.bin").exists()  # the earlier export stands as it was
    assert {name: (out / name).read_bytes() for name in before} == before
    monkeypatch.undo()
    monkeypatch.setattr(export_parity, "_CELLS", 2)

    export(bundle, "litert", out)
    assert {path.name for path in out.iterdir()} == {"export.json", "model.tflite"}
    assert json.loads((out / "export.json").read_text())["format"] == "litert"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# ---------------------------------------------------------------- the command


def test_the_command(bundle, tmp_path, capfd):
    out = tmp_path / "out"
    assert main(["export", str(bundle), "--to", "tfjs", "--out", str(out)]) == 0
    printed, err = capfd.readouterr()
    assert err == "" and printed.count("\n") == 1
    assert printed.startswith(f"{out}: tfjs of dysplasianet, 2 files, ")
    assert "in no decision on 2 drawn smears" in printed

    assert main(["export", str(bundle), "--to", "tfjs", "--out", str(out), "--json"]) == 0
    printed, err = capfd.readouterr()
    assert err == "" and json.loads(printed) == json.loads((out / "export.json").read_text())

    with pytest.raises(SystemExit) as end:
        main(["export", str(bundle), "--to", "h5", "--out", str(out)])
    assert end.value.code == 2
    assert main(["export", "no-such-model", "--to", "tfjs", "--out", str(out)]) == 1
    assert "no model is called 'no-such-model'" in capfd.readouterr().err


@pytest.mark.parametrize("form", FORMATS)
def test_the_manifest_keeps_to_its_schema(form, quantised, exported):
    document = json.loads((exported(quantised, form) / "export.json").read_text())
    jsonschema.validate(document, read_schema("export"))


def test_the_command_says_nothing_but_its_line(bundle, tmp_path, capfd):
    for form in ("savedmodel", "litert"):
        assert main(["export", str(bundle), "--to", form, "--out", str(tmp_path / form)]) == 0
        printed, err = capfd.readouterr()
        assert printed.count("\n") == 1 and "AutoGraph" not in err


def test_a_full_disk_under_tensorflow_names_the_folder_and_leaves_nothing(
    bundle, tmp_path, capfd, monkeypatch
):
    tf = pytest.importorskip("tensorflow")

    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    out = tmp_path / "out"
    assert main(["export", str(bundle), "--to", "savedmodel", "--out", str(out)]) == 1
    assert f"cannot write {out}: No space left on device" in capfd.readouterr().err
    assert not any(tmp_path.iterdir())
