"""The layers of a bundle, read out of its LiteRT flatbuffer and held against its network.

A bundle stores its weights once, in the form of its runtime. Every exported format is made from
what is read here: integers stay integers, with the scale of their channel beside them, so that an
export carries the weights that were calibrated and measured, not an approximation of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellnet import networks
from cellnet.bundle import FILE, Bundle
from cellnet.errors import CellnetError
from cellnet.tensorflow_import import import_tensorflow

if TYPE_CHECKING:
    import keras

__all__ = ["Layer", "read_integers", "read_layers"]


@dataclass(frozen=True)
class Layer:
    """A convolution or a dense layer, as the bundle holds it.

    A fixed scale and offset at a network's beginning are part of the first layer's weights already.

    Attributes:
        name: The layer's name in the network.
        kernel: ``(rows, columns, in, out)`` or ``(in, out)``; int8 in [-127, 127] where there is a
            scale, else float32.
        bias: ``(out,) float32``.
        scale: ``(out,) float32``, over 0: what the integers of a channel are multiplied by. None
            where the weights are floats.
        activation: ``relu``, ``softmax`` or ``sigmoid``.
        pooled: Whether maximum pooling over 2x2 follows.
    """

    name: str
    kernel: np.ndarray
    bias: np.ndarray
    scale: np.ndarray | None
    activation: str
    pooled: bool

    @property
    def is_convolution(self) -> bool:
        """Whether it is a convolution, else it is dense."""
        return self.kernel.ndim == 4

    def as_floats(self) -> Layer:
        """The same layer with float32 weights."""
        if self.scale is None:
            return self
        kernel = self.kernel.astype(np.float32) * self.scale
        return Layer(self.name, kernel, self.bias, None, self.activation, self.pooled)


def read_layers(bundle: Bundle) -> list[Layer]:
    """Read a bundle's layers, in the order in which an image passes through them.

    Raises:
        CellnetError: The bundle is a network of Keras with a new head, TensorFlow is not installed,
            there is no such network, or the operators in the bundle's weights are not those of the
            network that it names.
    """
    if bundle.description["network"]["name"] == "finetuned":
        raise CellnetError(
            f"the bundle {bundle.name} is a network of Keras with a new head ('finetuned'): it "
            "names cells, but its layers cannot be looked into, so it has no features, no maps, "
            "no novelty and no export. Features of it: in a recipe of 'cellnet transfer' give "
            "best.weights.h5 of its run folder as weights, and its backbone as name. All else "
            "needs a bundle of the network model1 or dysplasianet"
        )
    import_tensorflow()  # quietly, before Keras does
    stated = bundle.description["network"]
    try:
        network = networks.build(stated["name"], **stated["arguments"])
    except CellnetError as error:
        raise CellnetError(
            f"{bundle.folder / FILE} names a network that cannot be built: {error}"
        ) from error
    wanted = [step for layer in network.layers for step in _steps_of(layer)]
    found = list(_read_steps(bundle.weights))
    for number in range(max(len(wanted), len(found))):
        one, other = (
            steps[number].text if number < len(steps) else "nothing" for steps in (wanted, found)
        )
        if one != other:
            raise CellnetError(
                f"the weights {bundle.weights} are not those of the network {stated['name']!r}: "
                f"its step {number + 1} is {one}, found {other}; export a bundle that "
                "'cellnet train' wrote"
            )
    layers = []
    for number, (step, read) in enumerate(zip(wanted, found, strict=True)):
        if read.kernel is None:
            continue
        following = [later.text for later in found[number + 1 : number + 2]]
        last = following and following[0] in _ENDS
        layers.append(
            Layer(
                step.name,
                read.kernel,
                read.bias,
                read.scale,
                following[0] if last else "relu",
                following == [_POOLING],
            )
        )
    return layers


_POOLING = "pooling 2x2"
_ENDS = ("softmax", "sigmoid")


@dataclass(frozen=True)
class _Step:
    """What happens to an image at one point of a network, in words that can be compared."""

    text: str
    name: str = ""
    kernel: Any = None
    bias: Any = None
    scale: Any = None


def _steps_of(layer: keras.Layer) -> Iterator[_Step]:
    """The steps that a Keras layer should have become."""
    kind, config = type(layer).__name__, layer.get_config()
    if kind in ("InputLayer", "Dropout", "Rescaling"):  # the last becomes part of what follows it
        return
    if kind in ("Conv2D", "Dense"):
        end = config["activation"]
        fused = "linear" if end in _ENDS else end
        yield _Step(_weighted(kind, tuple(layer.kernel.shape), fused), layer.name)
        if end in _ENDS:
            yield _Step(end)
    elif kind == "MaxPooling2D":
        yield _Step(f"pooling {'x'.join(map(str, config['pool_size']))}")
    else:
        yield _Step(kind.lower())


def _weighted(kind: str, shape: tuple[int, ...], activation: str) -> str:
    what = "convolution" if kind == "Conv2D" else "dense layer"
    return f"a {what} {'x'.join(map(str, shape))} with {activation} activation"


def read_integers(file: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the 8-bit weights of a LiteRT flatbuffer: each kernel, outputs last, with its scale."""
    tensors = _Tensors(file)
    weights = (tensors.kernel(index) for index in tensors.of_integers())
    return [(kernel, scale) for kernel, scale in weights if scale is not None]


def _read_steps(file: Path) -> Iterator[_Step]:
    """The steps that the operators of a flatbuffer make up."""
    from ai_edge_litert import schema_py_generated as lite

    reader = _Tensors(file)
    model = reader.model
    graph = model.subgraphs[0]
    names = {value: name for name, value in vars(lite.BuiltinOperator).items() if name.isupper()}
    activations = {
        lite.ActivationFunctionType.NONE: "linear",
        lite.ActivationFunctionType.RELU: "relu",
    }
    current = graph.inputs[0]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "an unknown operator")
        if name in ("SHAPE", "STRIDED_SLICE", "PACK"):  # how many images a RESHAPE is for
            continue
        options, inputs = operator.builtinOptions, list(operator.inputs)
        if inputs[0] != current:
            name += " beside the chain"
        current = operator.outputs[0]
        if name in ("CONV_2D", "FULLY_CONNECTED"):
            kernel, scale = reader.kernel(inputs[1])
            kind = "Conv2D" if name == "CONV_2D" else "Dense"
            text = _weighted(
                kind, kernel.shape, activations.get(options.fusedActivationFunction, "another")
            )
            if kind == "Conv2D" and not _is_plain(options, lite):
                text += ", padded, strided or dilated"
            yield _Step(text, kernel=kernel, bias=reader.floats(inputs[2]), scale=scale)
        elif name == "MAX_POOL_2D":
            sides = (options.filterHeight, options.filterWidth)
            text = f"pooling {'x'.join(map(str, sides))}"
            strides = (options.strideH, options.strideW)
            yield _Step(text if strides == sides else f"{text}, stride {strides}")
        elif name == "RESHAPE":
            yield _Step("flatten")
        elif name == "SOFTMAX" and options.beta == 1:
            yield _Step("softmax")
        elif name == "LOGISTIC":
            yield _Step("sigmoid")
        else:
            yield _Step(name)


def _is_plain(options: Any, lite: Any) -> bool:
    sides = (options.strideH, options.strideW, options.dilationHFactor, options.dilationWFactor)
    return options.padding == lite.Padding.VALID and sides == (1, 1, 1, 1)


class _Tensors:
    """The constants of a flatbuffer."""

    def __init__(self, file: Path):
        from ai_edge_litert import schema_py_generated as lite

        self.file = file
        self.model = lite.ModelT.InitFromObj(lite.Model.GetRootAs(file.read_bytes()))
        self.tensors = self.model.subgraphs[0].tensors
        self.types = {lite.TensorType.FLOAT32: np.float32, lite.TensorType.INT8: np.int8}

    def of_integers(self) -> list[int]:
        """The tensors that are 8-bit constants."""
        return [
            index
            for index, tensor in enumerate(self.tensors)
            if self.types.get(tensor.type) is np.int8 and self._data(tensor) is not None
        ]

    def kernel(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Weights with the outputs last, and their scale where they are integers."""
        values = self._values(index)
        values = np.moveaxis(values, 0, -1)
        if values.dtype == np.float32:
            return values, None
        given = self.tensors[index].quantization
        scale = np.asarray(given.scale, np.float32)
        zeros = np.asarray(given.zeroPoint)
        if given.quantizedDimension != 0 or zeros.any() or values.min() < -127:
            raise self._refusal(index, "8-bit weights must be symmetric, with a scale an output")
        if scale.size == 1:
            scale = np.repeat(scale, values.shape[-1])
        if scale.shape != values.shape[-1:] or not (scale > 0).all():
            raise self._refusal(index, "each output needs a scale over 0")
        return values, scale

    def floats(self, index: int) -> np.ndarray:
        """A vector of floats."""
        values = self._values(index)
        if values.dtype != np.float32 or values.ndim != 1:
            raise self._refusal(index, "an offset must be a vector of float32")
        return values

    def _values(self, index: int) -> np.ndarray:
        tensor = self.tensors[index]
        data = self._data(tensor)
        dtype = self.types.get(tensor.type)
        shape = tuple(int(side) for side in tensor.shape)
        if dtype is None or data is None:
            raise self._refusal(index, "weights must be float32 or int8 constants")
        return np.asarray(data, np.uint8).view(dtype).reshape(shape)

    def _data(self, tensor: Any) -> Any:
        return self.model.buffers[tensor.buffer].data

    def _refusal(self, index: int, rule: str) -> CellnetError:
        name = self.tensors[index].name
        name = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
        return CellnetError(f"cannot read the weights {self.file}: {rule}; '{name}' is not so")
