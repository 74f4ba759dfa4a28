"""What the runtime answers is what Keras answers."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="conversion needs the training extra")

import keras

from cellnet import bundle, networks
from cellnet.cells import CLASSES
from cellnet.convert import to_litert, write_bundle
from cellnet.networks.dysplasianet import CANDIDATES
from cellnet.recipe import read_recipe
from cellnet.runtime import Runtime
from cellnet.training_set import TrainingSet


def answers(flatbuffer, model, images, tmp_path):
    file = tmp_path / "model.tflite"
    file.write_bytes(flatbuffer)
    return Runtime(file, model.input_shape[1:], model.output_shape[-1]).predict(images)


@pytest.mark.parametrize("candidate", sorted(CANDIDATES))
def test_litert_answers_as_keras_does(candidate, tmp_path):
    keras.utils.set_random_seed(2)
    model = networks.build("dysplasianet", **CANDIDATES[candidate])
    images = np.random.default_rng(0).uniform(0, 1, (3, 299, 299, 3)).astype(np.float32)
    np.testing.assert_allclose(
        answers(to_litert(model), model, images, tmp_path),
        np.asarray(model(images, training=False)),
        atol=1e-5,
    )


def test_a_large_network_is_quantised_and_its_float_weights_stay_beside(tmp_path):
    """A trained twin goes in; the thesis's network comes out, a quarter of its size."""
    keras.utils.set_random_seed(3)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        twin = networks.build("model1", batch_norm=True)
    finally:
        keras.config.set_dtype_policy(policy)
    recipe = read_recipe(Path(__file__).parents[1] / "training" / "model1.yaml")
    (tmp_path / "log.csv").write_text(
        "epoch,val_accuracy,val_balanced_accuracy\n1,0.9,0.5\n2,0.7,0.8\n3,0.6,0.8\n4,0.8,0.7\n"
    )
    folder = write_bundle(twin, recipe, TrainingSet(CLASSES, (), (), (), {}), tmp_path)
    quantised, whole = bundle.load(folder), bundle.load(tmp_path / "float32")
    assert quantised.description["training"] == {
        "epochs_run": 4, "epoch_kept": 3, "val_balanced_accuracy": 0.8,
        "history": {
            "epoch": [1, 2, 3, 4], "val_accuracy": [0.9, 0.7, 0.6, 0.8],
            "val_balanced_accuracy": [0.5, 0.8, 0.8, 0.7],
        },
    }  # fmt: skip
    assert quantised.description["weights"]["quantisation"] == "dynamic-range-int8"
    assert whole.description["weights"]["quantisation"] == "float32"
    assert quantised.description["network"]["parameters"] == 27_010_376
    assert quantised.weights.stat().st_size < 30e6 < whole.weights.stat().st_size
    golden = np.load(folder / "golden.npz")
    inputs = np.stack([quantised.prepare(image) for image in golden["images"]])
    floats = whole.runtime().predict(inputs)
    np.testing.assert_allclose(quantised.runtime().predict(inputs), floats, atol=1e-2)
    # The twin computes in bfloat16, with eight bits of mantissa.
    np.testing.assert_allclose(np.asarray(twin(inputs, training=False)), floats, atol=3e-2)
    described = json.loads((folder / "bundle.json").read_text())
    assert described["network"]["arguments"] == {}
    assert not list(tmp_path.glob("*.part"))
