"""One contract over all networks, and the shapes and counts that the thesis gives."""

import numpy as np
import pytest

from cellnet import networks
from cellnet.errors import CellnetError

keras = pytest.importorskip("keras", reason="networks need the training extra")

PARAMETERS = {
    "M1": 72_977,
    "M2": 13_105,
    "M3": 290_849,
    "M4": 51_297,
    "M5": 73_249,
    "M6": 13_377,
    "M7": 291_905,
    "M8": 52_353,
}
CANDIDATES = {
    f"M{number}": {"blocks": blocks, "width": width, "hidden": hidden}
    for number, (hidden, width, blocks) in enumerate(
        ((hidden, width, blocks) for hidden in (1, 2) for width in (16, 32) for blocks in (4, 6)), 1
    )
}
#: Every network of the package: name, arguments, side of the input, outputs.
CONTRACT = (
    [("model1", {}, 224, 8), ("model1", {"batch_norm": True}, 224, 8)]
    + [("dysplasianet", arguments, 299, 1) for arguments in CANDIDATES.values()]
    + [("dysplasianet", {"blocks": 6, "classes": 3}, 299, 3)]
)


@pytest.mark.parametrize(("name", "arguments", "size", "outputs"), CONTRACT)
def test_contract(name, arguments, size, outputs, tmp_path):
    """Shapes, range, finite gradients, a few steps lower the loss, saved and loaded it is equal."""
    keras.utils.set_random_seed(0)
    model = networks.build(name, **arguments)
    assert model.input_shape == (None, size, size, 3)
    assert model.output_shape == (None, outputs)
    assert not getattr(model, "compiled", False)

    rng = np.random.default_rng(0)
    # Two kinds of image that any network can tell apart: bright and dark.
    images = rng.uniform(0, 0.3, (4, size, size, 3)).astype(np.float32)
    images[2:] += 0.7
    answers = np.asarray(model(images, training=False))
    assert answers.dtype == np.float32
    assert ((answers >= 0) & (answers <= 1)).all()
    if outputs > 1:
        np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)

    import tensorflow as tf

    labels = np.array([0, 0, 1, 1])
    loss_of = (
        keras.losses.SparseCategoricalCrossentropy()
        if outputs > 1
        else keras.losses.BinaryCrossentropy()
    )
    target = labels if outputs > 1 else labels[:, None]
    optimizer = keras.optimizers.Adam(1e-3)
    losses = []
    for _ in range(12):
        with tf.GradientTape() as tape:
            # Dropout is left out, so that a step's gain is not a matter of luck.
            loss = loss_of(target, model(images, training=False))
        gradients = tape.gradient(loss, model.trainable_variables)
        assert all(bool(np.isfinite(np.asarray(gradient)).all()) for gradient in gradients)
        optimizer.apply(gradients, model.trainable_variables)
        losses.append(float(loss))
        if losses[-1] < 0.9 * losses[0]:
            break
    assert losses[-1] < losses[0]

    model.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(
        np.asarray(model(images, training=False)), np.asarray(again(images, training=False))
    )


@pytest.mark.parametrize("candidate", sorted(PARAMETERS))
def test_candidates_of_table_5_2(candidate):
    from cellnet.networks.dysplasianet import CANDIDATES as ours

    assert ours[candidate] == CANDIDATES[candidate]
    model = networks.build("dysplasianet", **ours[candidate])
    assert model.count_params() == PARAMETERS[candidate]


def test_dysplasianet_is_m1_layer_by_layer():
    model = networks.build("dysplasianet")
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    assert [shapes[f"conv{n}"] for n in (1, 2, 3, 4)] == [
        (297, 297, 16),
        (146, 146, 16),
        (71, 71, 16),
        (33, 33, 16),
    ]
    assert shapes["pool4"] == (16, 16, 16)
    assert shapes["flatten"] == (4096,)
    assert shapes["dense1"] == (16,)
    assert model.get_layer("dropout").rate == 0.5
    assert model.get_layer("granularity").activation.__name__ == "sigmoid"


def test_model1_is_table_6_1_layer_by_layer():
    model = networks.build("model1")
    assert model.count_params() == 27_010_376
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    assert [shapes[f"conv{n}"] for n in range(1, 7)] == [
        (222, 222, 32),
        (109, 109, 64),
        (52, 52, 128),
        (24, 24, 256),
        (10, 10, 512),
        (3, 3, 512),
    ]
    assert [shapes[f"pool{n}"] for n in range(1, 6)] == [
        (111, 111, 32),
        (54, 54, 64),
        (26, 26, 128),
        (12, 12, 256),
        (5, 5, 512),
    ]
    assert (shapes["dense1"], shapes["dense2"], shapes["probabilities"]) == ((4096,), (1024,), (8,))
    assert model.get_layer("dropout").rate == 0.5


def test_folding_keeps_the_answers_and_adds_no_parameter():
    from cellnet.networks.model1 import fold

    keras.utils.set_random_seed(1)
    twin = networks.build("model1", batch_norm=True)
    rng = np.random.default_rng(1)
    for layer in twin.layers:
        if layer.name.startswith("norm"):
            count = layer.beta.shape[0]
            layer.set_weights(
                [rng.normal(0, 0.3, count), rng.normal(0, 0.2, count), rng.uniform(0.2, 2, count)]
            )
    plain = fold(twin)
    assert plain.count_params() == 27_010_376
    assert not [layer for layer in plain.layers if "norm" in layer.name]
    images = rng.uniform(0, 1, (2, 224, 224, 3)).astype(np.float32)
    np.testing.assert_allclose(
        np.asarray(plain(images, training=False)),
        np.asarray(twin(images, training=False)),
        atol=2e-6,
    )


def test_an_unknown_network_is_an_error_that_lists_the_known():
    with pytest.raises(CellnetError, match="'resnet'.*dysplasianet, finetuned, model1"):
        networks.build("resnet")


def test_wrong_arguments_name_what_was_given():
    with pytest.raises(CellnetError, match="depth"):
        networks.build("model1", depth=3)
    with pytest.raises(CellnetError, match="blocks=9"):
        networks.build("dysplasianet", blocks=9)
    with pytest.raises(CellnetError, match="classes=0"):
        networks.build("dysplasianet", classes=0)
    with pytest.raises(CellnetError, match="at least two classes"):
        networks.build("model1", classes=1)
