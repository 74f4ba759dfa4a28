"""LiteRT: one image of any size a call, answer alone.

Unlike the bundle's own flatbuffer it takes bytes of any size, so that an application needs no
preprocessing of its own. 8-bit weights are the bundle's integers; that is checked.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cellnet.bundle import Bundle
from cellnet.errors import CellnetError
from cellnet.export_graph import IMAGES, Graph
from cellnet.export_parity import Answer
from cellnet.export_weights import Layer, read_integers
from cellnet.tensorflow_import import import_tensorflow

__all__ = ["FILE", "HAS_MAP", "open_answer", "write"]

HAS_MAP = False
FILE = "model.tflite"


def write(bundle: Bundle, layers: Sequence[Layer], folder: Path) -> None:
    """Write a LiteRT flatbuffer.

    Args:
        bundle: The bundle.
        layers: Its layers.
        folder: An empty folder.

    Raises:
        CellnetError: The converter made other integers of the weights.
    """
    tf = import_tensorflow()
    graph = Graph(bundle, [layer.as_floats() for layer in layers])
    one = tf.TensorSpec([1, None, None, 3], tf.uint8, name=IMAGES)

    @tf.function(input_signature=[one], autograph=False)
    def answer(images):
        return {bundle.kind: graph.answer(graph.run(images))}

    module = tf.Module()
    module.answer = answer
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [answer.get_concrete_function()], module
    )
    quantised = [layer for layer in layers if layer.scale is not None]
    if quantised:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    # The converter announces its temporary folder on standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        (folder / FILE).write_bytes(converter.convert())
    found = read_integers(folder / FILE)
    for layer in quantised:
        if not any(_is_same(layer, kernel, scale) for kernel, scale in found):
            raise CellnetError(
                f"the 8-bit weights of {layer.name} in {bundle.folder} came out of the converter "
                "as other integers; export with the TensorFlow that cellnet pins"
            )


def open_answer(bundle: Bundle, folder: Path) -> Answer:
    """Open what `write` wrote, in the runtime that bundles run in."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(folder / FILE), num_threads=1).get_signature_runner()
    return lambda images: np.concatenate([run(images=one[None])[bundle.kind] for one in images])


def _is_same(layer: Layer, kernel: np.ndarray, scale: np.ndarray) -> bool:
    return np.array_equal(layer.kernel, kernel) and np.allclose(layer.scale, scale, rtol=1e-6)
