"""Bundles of real networks with random weights, and what Keras itself says of them.

The exports are made from a bundle's flatbuffer; the Keras network that it was converted from stays
at hand here, so that answers and activation maps are compared with something that no code of the
exports has touched.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from bundles import make_bundle, make_operating_point

from cellnet import networks
from cellnet.bundle import load
from cellnet.convert import to_litert
from cellnet.tensorflow_import import import_tensorflow

import_tensorflow()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402


def random_network(seed: int = 0, **arguments) -> keras.Model:
    """A DysplasiaNet with random weights and offsets, whose scores lie well over the cut-off."""
    keras.utils.set_random_seed(seed)
    network = networks.build("dysplasianet", **arguments)
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([1.3 * kernel, rng.normal(0, 0.1, bias.shape)])
    last = network.layers[-1]
    last.set_weights([last.get_weights()[0], np.array([1.5])])
    return network


def write_bundle(folder: Path, network: keras.Model, quantise: bool = False, **arguments) -> Path:
    """Write the bundle ``dysplasianet`` of a network below `folder`, and return its folder."""
    out = make_bundle(folder, "dysplasianet")
    weights = to_litert(network, quantise)
    (out / "model.tflite").write_bytes(weights)
    height, width = network.input_shape[1:3]

    def describe(**parts) -> None:
        file = out / "bundle.json"
        told = json.loads(file.read_text())
        for name, part in parts.items():
            told[name].update(part)
        file.write_text(json.dumps(told))

    describe(
        network={"arguments": arguments},
        input={"height": height, "width": width},
        weights={
            "sha256": hashlib.sha256(weights).hexdigest(),
            "bytes": len(weights),
            "quantisation": "dynamic-range-int8" if quantise else "float32",
        },
    )
    bundle = load(out)
    images = np.random.default_rng(5).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    inputs = np.stack([bundle.prepare(image) for image in images])
    np.savez(out / "golden.npz", images=images, outputs=bundle.runtime().predict(inputs))
    describe(golden={"sha256": hashlib.sha256((out / "golden.npz").read_bytes()).hexdigest()})
    make_operating_point(out)
    return out


def prepared(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """The input of a Keras network for uint8 images of any one size."""
    return (tf.image.resize(images, network.input_shape[1:3]) / 255).numpy()


def grad_cam(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Signed Grad-CAM by automatic differentiation: ``(n, h, w, outputs)``."""
    last = network.layers[-1]
    parts = keras.Model(network.input, [network.get_layer("flatten").input, last.input])
    behind = keras.Model(parts.outputs[0], parts.outputs[1])
    features = tf.constant(parts(prepared(network, images), training=False)[0])
    maps = []
    for output in range(last.units):
        with tf.GradientTape() as tape:
            tape.watch(features)
            values = behind(features, training=False)
            logit = tf.matmul(values, last.kernel)[:, output] + last.bias[output]
        alpha = tf.reduce_mean(tape.gradient(logit, features), (1, 2), keepdims=True)
        maps.append(tf.reduce_sum(alpha * features, -1))
    return tf.stack(maps, -1).numpy()
