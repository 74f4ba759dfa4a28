"""A bundle's network as TensorFlow operations: uint8 images of any size in, answer and map out.

Resize and scaling are part of the graph, so that whoever loads an export cannot do them another
way. The activation map is a signed Grad-CAM (Selvaraju et al. 2017) of the last block: between it
and the output lie dense layers alone, whose gradient is a product of matrices, so that no runtime
needs gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cellnet.bundle import Bundle
from cellnet.export_weights import Layer
from cellnet.tensorflow_import import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["ACTIVATION_MAP", "IMAGES", "INPUT", "Graph", "pooling_of"]

IMAGES = "images"
"""Name of the input."""
ACTIVATION_MAP = "activation_map"
"""Name of the second output; the first is named by the bundle's kind."""
INPUT = "input"
"""Name under which `Graph._passed` is told of the resized and scaled image."""


def pooling_of(layer: Layer) -> str:
    """Name of the pooling behind a convolution: ``pool3`` behind ``conv3``."""
    return f"pool{layer.name.removeprefix('conv')}"


class Graph:
    """The operations of one network.

    Integer weights stay integers where layers have a scale s over 0: relu(s c + b) is s relu(c +
    b / s), and a positive factor commutes with maximum pooling. Convolution, offset and ReLU so
    remain neighbours, which runtimes compute as one, and the scale is applied to a quarter of the
    values.

    Attributes:
        weights: All that is not fixed by the network's shape; variables, or constants.
    """

    def __init__(self, bundle: Bundle, layers: Sequence[Layer], variables: bool = False):
        self.tf = import_tensorflow()
        self.given = bundle.description["input"]
        self.kind = bundle.kind
        self.convolutions = [layer for layer in layers if layer.is_convolution]
        self.dense = [layer for layer in layers if not layer.is_convolution]
        self.weights: dict[str, tf.Variable | np.ndarray] = {}
        self._constants: dict[tuple[tf.Graph, str], tf.Tensor] = {}
        for layer in layers:
            scale = layer.scale
            held = {
                "kernel": layer.kernel.astype(np.float32),
                "bias": layer.bias if scale is None else layer.bias / scale,
            }
            if scale is not None:
                held["scale"] = scale
            for what, value in held.items():
                name = f"{layer.name}/{what}"
                self.weights[name] = (
                    self.tf.Variable(value, trainable=False, name=name) if variables else value
                )

    def signature(self) -> tf.TensorSpec:
        """The input: ``(n, height, width, 3) uint8, RGB``."""
        return self.tf.TensorSpec([None, None, None, 3], self.tf.uint8, name=IMAGES)

    def run(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Run the network.

        Returns:
            The last block's output, ``(n, h, w, channels) float32``; what each hidden dense layer
            answers, ``(n, units)``; and the logits, ``(n, outputs)``.
        """
        tf, size = self.tf, self.given["height"]
        x = tf.raw_ops.ResizeBilinear(
            images=tf.cast(images, tf.float32), size=[size, size], half_pixel_centers=True
        )
        x = x * np.float32(self.given["scale"])
        if self.given["offset"]:
            x = x + np.float32(self.given["offset"])
        self._passed(INPUT, x)
        for layer in self.convolutions:
            x = tf.nn.conv2d(x, self._held(layer, "kernel"), strides=1, padding="VALID")
            x = self._relu(tf.nn.bias_add(x, self._held(layer, "bias")))
            self._passed(layer.name, x)
            if layer.pooled:
                x = tf.nn.max_pool2d(x, 2, 2, "VALID")
            x = self._scaled(layer, x)
            if layer.pooled:
                self._passed(pooling_of(layer), x)
        found = [x]
        x = tf.reshape(x, [-1, int(np.prod(x.shape[1:]))])
        for layer in self.dense:
            x = tf.matmul(x, self._held(layer, "kernel"))
            x = tf.nn.bias_add(x, self._held(layer, "bias"))
            if layer.activation == "relu":
                x = self._relu(x)
            x = self._scaled(layer, x)
            self._passed(layer.name, x)
            found.append(x)
        return found

    def answer(self, found: Sequence[tf.Tensor]) -> tf.Tensor:
        """Probabilities ``(n, 8)`` or granularity ``(n, 1)``, float32, of what `run` found."""
        tf, logits = self.tf, found[-1]
        last = tf.nn.softmax if self.dense[-1].activation == "softmax" else tf.sigmoid
        return tf.identity(last(logits), name=self.kind)

    def activation_map(self, found: Sequence[tf.Tensor]) -> tf.Tensor:
        """What speaks for each output (over 0) and against it, ``(n, h, w, outputs) float32``.

        The sum over channels k of alpha_k A_k, with A_k the last block's output and alpha_k the
        spatial mean of the derivative of the output's logit by A_k. It is not rectified: against
        granularity speaks what looks dysplastic.
        """
        tf = self.tf
        features, *hidden, _ = found
        _, height, width, channels = features.shape
        outputs = len(self.dense[-1].bias)
        # The derivative of each logit by the values that enter a layer, (values, n, outputs).
        # A kernel stands on the left of its product: transposed, it would fall out of the fast
        # path of TensorFlow.js.
        slope = self._scaled(self.dense[-1], self._held(self.dense[-1], "kernel"))
        slope = tf.expand_dims(slope, 1)
        for layer, values in zip(self.dense[-2::-1], hidden[::-1], strict=True):
            passed = tf.cast(values > 0, tf.float32)
            slope = tf.expand_dims(tf.transpose(self._scaled(layer, passed)), 2) * slope
            slope = tf.reshape(slope, [len(layer.bias), -1])
            slope = tf.matmul(self._held(layer, "kernel"), slope)
            slope = tf.reshape(slope, [layer.kernel.shape[0], -1, outputs])
        alpha = tf.reshape(slope, [height * width, channels, -1])
        alpha = tf.reshape(tf.reduce_mean(alpha, 0), [channels, -1, outputs])
        flat = tf.reshape(features, [-1, height * width, channels])
        maps = tf.matmul(flat, tf.transpose(alpha, [1, 0, 2]))
        return tf.reshape(maps, [-1, height, width, outputs], name=ACTIVATION_MAP)

    def _relu(self, x: tf.Tensor) -> tf.Tensor:
        return self.tf.nn.relu(x)

    def _passed(self, name: str, x: tf.Tensor) -> None:
        """Called with what each layer answers: for whoever looks inside, nothing here."""

    def _scaled(self, layer: Layer, x: tf.Tensor) -> tf.Tensor:
        return x if layer.scale is None else x * self._held(layer, "scale")

    def _held(self, layer: Layer, what: str) -> tf.Tensor:
        name = f"{layer.name}/{what}"
        value = self.weights[name]
        return value if isinstance(value, self.tf.Variable) else self._constant(name, value)

    def _constant(self, name: str, value: np.ndarray) -> tf.Tensor:
        """One constant a graph, however often it is asked for: there shall be one copy of it."""
        graph = self.tf.compat.v1.get_default_graph()
        if (graph, name) not in self._constants:
            self._constants[graph, name] = self.tf.constant(value, name=name)
        return self._constants[graph, name]
