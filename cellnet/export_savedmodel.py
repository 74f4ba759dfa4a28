"""TensorFlow's SavedModel, with a signature for the answer and one for the activation map."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from cellnet.bundle import Bundle
from cellnet.export_graph import ACTIVATION_MAP, IMAGES, Graph
from cellnet.export_parity import Answer
from cellnet.export_weights import Layer
from cellnet.tensorflow_import import import_tensorflow

__all__ = ["HAS_MAP", "open_answer", "open_outputs", "write"]

HAS_MAP = True
_ANSWER = "serving_default"


def write(bundle: Bundle, layers: Sequence[Layer], folder: Path) -> None:
    """Write a SavedModel with float32 weights, as variables.

    Args:
        bundle: The bundle.
        layers: Its layers.
        folder: An empty folder.
    """
    tf = import_tensorflow()
    graph = Graph(bundle, [layer.as_floats() for layer in layers], variables=True)
    module = tf.Module()
    module.weights = graph.weights

    @tf.function(input_signature=[graph.signature()], autograph=False)
    def answer(images):
        return {bundle.kind: graph.answer(graph.run(images))}

    @tf.function(input_signature=[graph.signature()], autograph=False)
    def activation_map(images):
        return {ACTIVATION_MAP: graph.activation_map(graph.run(images))}

    signatures = {_ANSWER: answer, ACTIVATION_MAP: activation_map}
    try:
        tf.saved_model.save(module, str(folder), signatures=signatures)
    except tf.errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


def open_answer(bundle: Bundle, folder: Path) -> Answer:
    """Open what `write` wrote, for the answer."""
    return open_outputs(folder, _ANSWER, bundle.kind)


def open_outputs(folder: Path, signature: str, output: str) -> Answer:
    """Open one signature of a SavedModel."""
    tf = import_tensorflow()
    loaded = tf.saved_model.load(str(folder))
    function = loaded.signatures[signature]

    def run(images):
        return function(**{IMAGES: tf.constant(images)})[output].numpy()

    run.loaded = loaded  # its variables live as long as it does
    return run
