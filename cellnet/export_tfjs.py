"""TensorFlow.js: a graph model, ``model.json`` with shards of weights beside it.

The files are written here and not by the converter ``tensorflowjs``: its 8-bit weights are affine a
tensor, which would round the bundle's integers a second time, and it cannot be installed beside
this TensorFlow. TensorFlow.js itself makes floats of what is stored as bytes: value = scale * byte
+ min, so integers with scale 1 arrive as they were.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellnet import __version__
from cellnet.bundle import Bundle
from cellnet.errors import CellnetError
from cellnet.export_graph import ACTIVATION_MAP, IMAGES, Graph
from cellnet.export_parity import Answer
from cellnet.export_weights import Layer
from cellnet.tensorflow_import import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["HAS_MAP", "open_answer", "open_outputs", "write"]

HAS_MAP = True

SHARD = 4 * 1024 * 1024
"""Bytes of a shard; browsers cache files of this size."""

FILE = "model.json"
_VALUE_FIELDS = (
    "tensor_content half_val float_val double_val int_val string_val int64_val bool_val".split()
)


def write(bundle: Bundle, layers: Sequence[Layer], folder: Path) -> None:
    """Write a graph model with both outputs; asking for one does not compute the other.

    Args:
        bundle: The bundle.
        layers: Its layers; 8-bit weights stay 8-bit.
        folder: An empty folder.
    """
    tf = import_tensorflow()
    graph = Graph(bundle, layers)

    @tf.function(input_signature=[graph.signature()], autograph=False)
    def both(images):
        found = graph.run(images)
        return graph.answer(found), graph.activation_map(found)

    traced = both.get_concrete_function()
    names = (bundle.kind, ACTIVATION_MAP)
    nodes = _fused(tf, traced.graph, [IMAGES, *names])
    integers = {f"{layer.name}/kernel" for layer in layers if layer.scale is not None}
    weights, data = [], []
    for node in nodes.node:
        if node.op != "Const":
            continue
        value = tf.make_ndarray(node.attr["value"].tensor)
        entry: dict[str, Any] = {
            "name": node.name,
            "shape": list(value.shape),
            "dtype": value.dtype.name,
        }
        if node.name in integers:
            entry["quantization"] = {"dtype": "uint8", "min": -127, "scale": 1}
            value = (value + 127).astype(np.uint8)
        weights.append(entry)
        data.append(value.tobytes())
        for field in _VALUE_FIELDS:
            node.attr["value"].tensor.ClearField(field)
    stored = b"".join(data)
    count = -(-len(stored) // SHARD)
    paths = [f"group1-shard{number + 1}of{count}.bin" for number in range(count)]
    for number, path in enumerate(paths):
        (folder / path).write_bytes(stored[number * SHARD : (number + 1) * SHARD])
    document = {
        "format": "graph-model",
        "generatedBy": tf.__version__,
        "convertedBy": f"cellnet {__version__}",
        "signature": {
            "inputs": {IMAGES: _tensor_info(traced.inputs[0], IMAGES)},
            "outputs": {
                name: _tensor_info(tensor, name)
                for name, tensor in zip(names, traced.outputs, strict=True)
            },
        },
        "modelTopology": _as_json(nodes),
        "weightsManifest": [{"paths": paths, "weights": weights}],
    }
    (folder / FILE).write_text(json.dumps(document, allow_nan=False), encoding="utf-8")


def open_answer(bundle: Bundle, folder: Path) -> Answer:
    """Open what `write` wrote, for the answer."""
    return open_outputs(folder)(bundle.kind)


def open_outputs(folder: Path) -> Callable[[str], Answer]:
    """Open a graph model in Python, from its files alone, as a browser would read them.

    Returns:
        A function that gives, for an output's name, a function from ``(n, h, w, 3) uint8`` images
        to the output.
    """
    tf = import_tensorflow()
    from google.protobuf import json_format

    document = json.loads((folder / FILE).read_text(encoding="utf-8"))
    [group] = document["weightsManifest"]
    stored = b"".join((folder / path).read_bytes() for path in group["paths"])
    values, at = {}, 0
    for entry in group["weights"]:
        packing = entry.get("quantization")
        dtype = np.dtype(packing["dtype"] if packing else entry["dtype"])
        count = int(np.prod(entry["shape"], dtype=np.int64))
        value = np.frombuffer(stored, dtype, count, at).reshape(entry["shape"])
        at += count * dtype.itemsize
        if packing:
            value = value.astype(np.float32) * packing["scale"] + packing["min"]
        values[entry["name"]] = value.astype(entry["dtype"])
    if at != len(stored):
        raise CellnetError(f"the shards in {folder} hold {len(stored)} bytes, expected {at}")
    nodes = json_format.ParseDict(document["modelTopology"], tf.compat.v1.GraphDef())
    for node in nodes.node:
        if node.op == "Const":
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values[node.name]))
    signature = document["signature"]
    loaded = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(nodes, name=""), [])

    def output(name: str) -> Answer:
        pruned = loaded.prune(
            signature["inputs"][IMAGES]["name"], signature["outputs"][name]["name"]
        )
        return lambda images: pruned(tf.constant(images)).numpy()

    return output


def _fused(tf: Any, graph: tf.Graph, kept: Sequence[str]) -> tf.compat.v1.GraphDef:
    """The graph with convolution, offset and ReLU as one operation, as TensorFlow.js has it too."""
    from tensorflow.python.grappler import tf_optimizer

    nodes = graph.as_graph_def()
    for node in nodes.node:
        if node.op in ("Conv2D", "MatMul"):
            node.device = "/device:CPU:0"  # elsewhere these are not fused
    rewriting = tf.compat.v1.ConfigProto()
    options = rewriting.graph_options.rewrite_options
    options.optimizers[:] = ["remap", "pruning"]
    options.meta_optimizer_iterations = 1  # type: ignore[assignment]
    options.min_graph_nodes = -1
    with tf.Graph().as_default() as whole:
        tf.graph_util.import_graph_def(nodes, name="")
        meta = tf.compat.v1.train.export_meta_graph(graph=whole)
    for name in kept:
        meta.collection_def["train_op"].node_list.value.append(name)
    nodes = tf_optimizer.OptimizeGraph(rewriting, meta)
    nodes.ClearField("library")
    for node in nodes.node:
        node.device = ""
        for name in [name for name in node.attr if name.startswith("_")]:
            del node.attr[name]
    return nodes


def _tensor_info(tensor: tf.Tensor, name: str) -> dict[str, Any]:
    sides = [-1 if side is None else side for side in tensor.shape]
    return {
        "name": f"{name}:0",
        "dtype": f"DT_{tensor.dtype.name.upper().replace('FLOAT32', 'FLOAT')}",
        "tensorShape": {"dim": [{"size": str(side)} for side in sides]},
    }


def _as_json(nodes: Any) -> dict[str, Any]:
    from google.protobuf import json_format

    return json_format.MessageToDict(nodes)
