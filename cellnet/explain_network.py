"""A bundle's network opened up: activation maps, feature maps and guided gradients of an image.

The operations are those of the exports (``export_graph``), with the bundle's own weights as floats,
so the activation map here is the map that SavedModel, TensorFlow.js and the browser app compute.
Guided backpropagation alone needs gradients, and those need TensorFlow, of the extra ``train``.
How maps become pictures is left to ``explain_pictures``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cellnet.bundle import Bundle
from cellnet.errors import CellnetError
from cellnet.export_graph import INPUT, Graph, pooling_of
from cellnet.export_weights import Layer, read_layers
from cellnet.tensorflow_import import quietly

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["Insight", "Network"]


@dataclass(frozen=True)
class Insight:
    """What the network makes of one image.

    Attributes:
        answer: ``(outputs,) float32``: probabilities or one score, computed with floats throughout.
            A bundle with 8-bit weights rounds activations too, and may differ by some hundredths.
        maps: ``(h, w, outputs) float32``, signed Grad-CAM of the last block, a map for each output.
        features: ``(h, w, channels) float32``, what the last block answers.
    """

    answer: np.ndarray
    maps: np.ndarray
    features: np.ndarray


class Network:
    """One bundle's network, for one image at a time.

    Attributes:
        bundle: The bundle.
        layers: Names of the layers, in the order in which an image passes through them. What the
            last one answers are logits.
        block: Which of them is the output of the last convolutional block.
        field: How many pixels of the network's input, across and down, one value of that block
            depends on.
    """

    def __init__(self, bundle: Bundle):
        """Read the bundle's weights.

        Raises:
            CellnetError: TensorFlow is not installed, or the weights are not those of the network
                that the bundle names.
        """
        layers = [layer.as_floats() for layer in read_layers(bundle)]
        convolutions = [layer for layer in layers if layer.is_convolution]
        self.bundle = bundle
        self.layers: list[str] = []
        for layer in layers:
            self.layers.append(layer.name)
            if layer.pooled:
                self.layers.append(pooling_of(layer))
        last = convolutions[-1]
        self.block = pooling_of(last) if last.pooled else last.name
        self.field = _field(convolutions)
        self._graph = _Traced(bundle, layers)
        self._functions: dict[str, Callable] = {}
        with quietly():  # TensorFlow remarks on its build once more with the first bool
            self.look(np.zeros((1, 1, 3), np.uint8))

    def look(self, image: np.ndarray) -> Insight:
        """Answer, activation maps and features of an image, ``(h, w, 3) uint8, RGB``, any size."""
        graph = self._graph

        def look(images):
            found = graph.run(images)
            return graph.answer(found), graph.activation_map(found), found[0]

        answer, maps, features = self._function(look)(image[None])
        return Insight(answer.numpy()[0], maps.numpy()[0], features.numpy()[0])

    def features(self, image: np.ndarray, layer: str) -> np.ndarray:
        """What a layer answers.

        Args:
            image: ``(h, w, 3) uint8, RGB``, any size.
            layer: One of `layers`.

        Returns:
            ``(h, w, channels) float32``; 1 x 1 with a channel for each unit of a dense layer.

        Raises:
            CellnetError: There is no such layer; the message lists those that there are.
        """
        self.check_layer(layer)
        graph = self._graph

        def features(images):
            graph.run(images)
            return {name: graph.seen[name] for name in self.layers}

        found = self._function(features)(image[None])[layer].numpy()[0]
        return found if found.ndim == 3 else found[None, None]

    def check_layer(self, name: str) -> None:
        """Refuse a name that no layer has.

        Raises:
            CellnetError: With the names of all layers.
        """
        if name not in self.layers:
            raise CellnetError(
                f"{self.bundle.name} has no layer '{name}'; its layers are {', '.join(self.layers)}"
            )

    def guided_gradient(self, image: np.ndarray, output: int, sign: int) -> np.ndarray:
        """Guided backpropagation: where more of a colour would raise an output, or lower it.

        The gradient of the output's logit by the input, let back through a ReLU only where both
        the value that went forward and the gradient that comes back are over 0.

        Args:
            image: ``(h, w, 3) uint8, RGB``, any size.
            output: Number of the output.
            sign: 1 for what raises it, -1 for what lowers it.

        Returns:
            ``(size, size, 3) float32`` for the network's input, of either sign.

        Source:
            Springenberg, Dosovitskiy, Brox and Riedmiller, ICLR workshop 2015.
        """
        graph, tf = self._graph, self._graph.tf

        def guided(images, output, sign):
            with graph.guided() as tape:
                logit = sign * tf.gather(graph.run(images)[-1], output, axis=1)
            return tape.gradient(logit, graph.seen[INPUT])

        function = self._function(guided, tf.TensorSpec([], tf.int32), tf.TensorSpec([]))
        return function(image[None], output, float(sign)).numpy()[0]

    def _function(self, function: Callable, *more: tf.TensorSpec) -> Callable:
        """The graph of a function of images, made once for images of any size."""
        name = function.__name__
        if name not in self._functions:
            signature = [self._graph.signature(), *more]
            self._functions[name] = self._graph.tf.function(
                function, input_signature=signature, autograph=False
            )
        return self._functions[name]


class _Traced(Graph):
    """The operations of an export, which keep what passes through them.

    Attributes:
        seen: What each layer answered, and the input, when the operations were last put together.
    """

    def __init__(self, bundle: Bundle, layers: Sequence[Layer]):
        super().__init__(bundle, layers, variables=True)
        self.seen: dict[str, tf.Tensor] = {}
        self._tape: tf.GradientTape | None = None

    @contextmanager
    def guided(self) -> Iterator[tf.GradientTape]:
        """While it lasts, gradients by the input are recorded, and held back by every ReLU."""
        with self.tf.GradientTape() as self._tape:
            yield self._tape
        self._tape = None

    def _passed(self, name: str, x: tf.Tensor) -> None:
        self.seen[name] = x
        if name == INPUT and self._tape is not None:
            self._tape.watch(x)

    def _relu(self, x: tf.Tensor) -> tf.Tensor:
        if self._tape is None:
            return super()._relu(x)
        tf = self.tf

        @tf.custom_gradient
        def guided(x):
            def back(gradient):
                return tf.nn.relu(gradient) * tf.cast(x > 0, tf.float32)

            return tf.nn.relu(x), back

        return guided(x)


def _field(convolutions: Sequence[Layer]) -> int:
    """Side of a receptive field behind convolutions and their 2x2 poolings, in pixels."""
    field, step = 1, 1
    for layer in convolutions:
        field += step * (layer.kernel.shape[0] - 1)
        if layer.pooled:
            field += step
            step *= 2
    return field
