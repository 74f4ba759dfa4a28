"""ONNX: images of any size in, answer out. Written node by node, as the network is a chain.

8-bit weights stay the bundle's integers, each behind a node that multiplies it with the scale of
its channel.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cellnet import __version__
from cellnet.bundle import Bundle
from cellnet.errors import CellnetError
from cellnet.export_graph import IMAGES
from cellnet.export_parity import Answer
from cellnet.export_weights import Layer

__all__ = ["FILE", "HAS_MAP", "OPSET", "open_answer", "write"]

HAS_MAP = False
FILE = "model.onnx"
OPSET = 18
"""The first in which a resize names its axes, so that the number of images stays free."""
_IR_VERSION = 8  # of the same year as the opset; the newest would shut out older runtimes


def write(bundle: Bundle, layers: Sequence[Layer], folder: Path) -> None:
    """Write an ONNX model.

    Args:
        bundle: The bundle.
        layers: Its layers.
        folder: An empty folder.

    Raises:
        CellnetError: The package onnx is not installed.
    """
    onnx = _import("onnx")
    helper, given = onnx.helper, bundle.description["input"]
    chain = _Chain(onnx)
    chain.add("Cast", to=onnx.TensorProto.FLOAT)
    chain.add("Transpose", perm=[0, 3, 1, 2])
    size = chain.constant("size", np.array([given["height"]] * 2, np.int64))
    chain.add(
        "Resize", "", "", size, axes=[2, 3], mode="linear",
        coordinate_transformation_mode="half_pixel",
    )  # fmt: skip
    chain.add("Mul", chain.constant("scale", np.float32(given["scale"])))
    if given["offset"]:
        chain.add("Add", chain.constant("offset", np.float32(given["offset"])))
    is_flat = False
    for layer in layers:
        if layer.is_convolution:
            chain.add("Conv", chain.kernel(layer, (3, 2, 0, 1), 0), chain.bias(layer))
        else:
            if not is_flat:
                chain.add("Transpose", perm=[0, 2, 3, 1])  # channels last, as the weights stand
                chain.add("Flatten")
                is_flat = True
            chain.add("Gemm", chain.kernel(layer, (0, 1), 1), chain.bias(layer))
        chain.add({"relu": "Relu", "softmax": "Softmax", "sigmoid": "Sigmoid"}[layer.activation])
        if layer.pooled:
            chain.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    chain.nodes[-1].output[0] = bundle.kind
    types = onnx.TensorProto
    shape = ["n", "height", "width", 3]
    graph = helper.make_graph(
        chain.nodes,
        bundle.name,
        [helper.make_tensor_value_info(IMAGES, types.UINT8, shape)],
        [helper.make_tensor_value_info(bundle.kind, types.FLOAT, ["n", bundle.outputs])],
        chain.constants,
    )
    model = helper.make_model(
        graph,
        producer_name="cellnet",
        producer_version=__version__,
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    onnx.checker.check_model(model, full_check=True)
    (folder / FILE).write_bytes(model.SerializeToString(deterministic=True))


def open_answer(bundle: Bundle, folder: Path) -> Answer:
    """Open what `write` wrote, in ONNX Runtime.

    Raises:
        CellnetError: The package onnxruntime is not installed.
    """
    runtime = _import("onnxruntime")
    session = runtime.InferenceSession(folder / FILE, providers=["CPUExecutionProvider"])
    return lambda images: session.run([bundle.kind], {IMAGES: images})[0]


class _Chain:
    """Nodes, each of which takes what the one before it made."""

    def __init__(self, onnx: Any):
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._last = IMAGES

    def add(self, kind: str, *inputs: str, **attributes: Any) -> None:
        """Append a node; `inputs` are those beside the chain."""
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(
            self.onnx.helper.make_node(kind, [self._last, *inputs], [name], name, **attributes)
        )
        self._last = name

    def constant(self, name: str, value: np.ndarray) -> str:
        """Append a constant, and give its name."""
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def bias(self, layer: Layer) -> str:
        """A layer's offset."""
        return self.constant(f"{layer.name}/bias", layer.bias)

    def kernel(self, layer: Layer, order: Sequence[int], axis: int) -> str:
        """A layer's weights in this order of axes; `axis` is that of the outputs."""
        name = f"{layer.name}/kernel"
        kernel = self.constant(name, layer.kernel.transpose(order))
        if layer.scale is None:
            return kernel
        scale = self.constant(f"{layer.name}/scale", layer.scale)
        self.nodes.append(
            self.onnx.helper.make_node(
                "DequantizeLinear", [kernel, scale], [f"{name}/float"], f"{name}/float", axis=axis
            )
        )
        return f"{name}/float"


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise CellnetError(
            f"exporting to ONNX needs {name}, which is not installed; install it with 'make "
            "setup-export' in a checkout, or pip install 'cellnet[train,export]'"
        ) from error
