"""Bundles small enough to make in milliseconds, whose answers a test can foresee.

The networks look at an image's mean colour alone, through a LiteRT file that is put together here
without TensorFlow: red and green choose the class, blue is the granularity, and what a specialist
goes by. So a test paints a cell's label and score, and knows what must come out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as lite

from cellnet.cells import CLASSES
from cellnet.images import write_png
from cellnet.operating_point import Fit, OperatingPoint, write_operating_point

CUTOFF = 0.5
THRESHOLD = 0.125
SIZES = {"model1": 24, "dysplasianet": 32}

# Red and green of each class: the places of a 3 x 3 grid, without its centre, which is `other`'s.
PLACES = dict(
    zip(
        CLASSES,
        [(0.1, 0.1), (0.5, 0.1), (0.9, 0.1), (0.1, 0.5), (0.9, 0.5), (0.1, 0.9), (0.5, 0.9),
         (0.9, 0.9)],
        strict=True,
    )
)  # fmt: skip


def colour_of(label: str, granularity: float = 0.9) -> tuple[int, int, int]:
    """Give the RGB that the small networks name `label`, with about this score (0.05 to 0.95)."""
    red, green = PLACES.get(label, (0.5, 0.5))
    blue = 0.5 + np.log(granularity / (1 - granularity)) / SLOPE
    return tuple(int(round(255 * value)) for value in (red, green, blue))


def paint_cell(path: Path, label: str, granularity: float = 0.9, size: int = 40, mark: int = 0):
    """Write a one-coloured PNG; `mark` changes one pixel so that two of them are no copies."""
    image = np.empty((size, size, 3), np.uint8)
    image[:] = colour_of(label, granularity)
    image[0, 0, 2] ^= mark % 256
    image[0, 1, 2] ^= mark // 256
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, image)


def paint_smear(folder: Path, normal: int, dysplastic: int = 0, lymphocytes: int = 0) -> Path:
    """Write a smear of neutrophils with scores around 0.9 and 0.1, and lymphocytes."""
    number = 0
    for label, count, score in (
        ("neutrophil", normal, 0.9), ("neutrophil", dysplastic, 0.1),
        ("lymphocyte", lymphocytes, 0.9),
    ):  # fmt: skip
        for _ in range(count):
            paint_cell(folder / f"cell_{number:04d}.png", label, score, mark=number + 1)
            number += 1
    return folder


def make_bundles(folder: Path, point: bool = True) -> Path:
    """Write both bundles below `folder`, and return it (for ``CELLNET_MODELS``)."""
    for name in SIZES:
        make_bundle(folder, name)
    if point:
        make_operating_point(folder / "dysplasianet")
    return folder


def make_specialist(
    folder: Path, name: str, classes: Sequence[str] = ("early", "late"), of: str | None = None
) -> Path:
    """Write a bundle with classes of its own, the first for cells painted with the least blue."""
    return make_bundle(folder, name, classes, of)


def make_bundle(
    folder: Path, name: str, classes: Sequence[str] | None = None, of: str | None = None
) -> Path:
    """Write one bundle, ``model1``, ``dysplasianet`` or a specialist, and return its folder."""
    size, out = SIZES.get(name, 28), folder / name
    own, classes = classes is not None, CLASSES if classes is None else classes
    named = own or name == "model1"
    out.mkdir(parents=True)
    weights, bias = _blues(len(classes)) if own else _weights(name)
    model = _flatbuffer(size, weights, bias, lite.BuiltinOperator.SOFTMAX if named else
                        lite.BuiltinOperator.LOGISTIC)  # fmt: skip
    (out / "model.tflite").write_bytes(model)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 40, 40, 3), dtype=np.uint8)
    images[:] = images.mean((1, 2), keepdims=True) * rng.uniform(0, 2, (4, 1, 1, 3))
    logits = images.mean((1, 2)) / 255 @ weights.T + bias
    outputs = 1 / (1 + np.exp(-logits))
    if named:
        outputs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.savez(out / "golden.npz", images=images, outputs=outputs.astype(np.float32))
    description = {
        "schema": "cellnet/bundle/1",
        "name": name,
        "version": "0.0.1",
        "network": {"name": name, "arguments": {}},
        "input": {
            "height": size,
            "width": size,
            "channels": "RGB",
            "resize": "bilinear, half-pixel centres, no antialias",
            "scale": 1 / 255,
            "offset": 0.0,
        },
        "output": {
            "kind": "probabilities" if named else "granularity",
            "classes": list(classes) if named else None,
            **({"of": of} if of else {}),
        },
        "weights": {
            "file": "model.tflite",
            "format": "litert",
            "quantisation": "float32",
            "sha256": hashlib.sha256(model).hexdigest(),
            "bytes": len(model),
        },
        "golden": {
            "file": "golden.npz",
            "sha256": hashlib.sha256((out / "golden.npz").read_bytes()).hexdigest(),
        },
        "created": date(2024, 1, 1).isoformat(),
        "licence": "MIT",
        "data": {},
        "recipe": "recipe.yaml",
        "training": {},
        "metrics": "metrics.json",
    }
    (out / "bundle.json").write_text(json.dumps(description, indent=2))
    return out


def make_operating_point(bundle: Path) -> None:
    """Write an operating point that belongs to the bundle's weights."""
    sha256 = json.loads((bundle / "bundle.json").read_text())["weights"]["sha256"]
    estimate = {"value": 0.9, "ci95": [0.8, 0.95], "n": 100, "method": "test"}

    def fit(comparison: str, split: str) -> Fit:
        return Fit(comparison, "Youden", {"split": split}, estimate, estimate, estimate, 0.8)

    write_operating_point(
        bundle,
        OperatingPoint(
            CUTOFF,
            THRESHOLD,
            model="dysplasianet",
            weights_sha256=sha256,
            cell=fit("dysplastic where score <= cutoff", "test-by-cell"),
            smear=fit("mds-suspected where dysplastic_fraction > threshold", "test-by-smear"),
            created="2024-01-01",
            cellnet="0.1.0",
        ),
    )


SLOPE = 12.0


def _weights(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights ``(outputs, 3)`` and biases: nearest place for classes, blue for the score."""
    if name == "dysplasianet":
        return np.array([[0, 0, SLOPE]]), np.array([-SLOPE / 2])
    places = np.array(list(PLACES.values()))
    weights = np.concatenate([places, np.zeros((len(places), 1))], 1)
    return 60 * weights, -30 * (places**2).sum(1)


def _blues(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases of a specialist: nearest of `count` shades of blue, evenly apart."""
    places = (np.arange(count) + 0.5) / count
    weights = np.zeros((count, 3))
    weights[:, 2] = 120 * places
    return weights, -60 * places**2


def _flatbuffer(size: int, weights: np.ndarray, bias: np.ndarray, last: int) -> bytes:
    """Put a LiteRT model together: mean over the image, one dense layer, softmax or sigmoid."""
    model = lite.ModelT()
    model.version = 3
    model.buffers = [lite.BufferT()]
    graph = lite.SubGraphT()
    graph.tensors, graph.operators = [], []
    model.operatorCodes, model.subgraphs = [], [graph]
    kinds = {"float32": lite.TensorType.FLOAT32, "int32": lite.TensorType.INT32}

    def tensor(name: str, shape: list[int], value: np.ndarray | None = None) -> int:
        it = lite.TensorT()
        it.name, it.shape, it.buffer = name, shape, 0
        it.type = kinds["float32" if value is None else value.dtype.name]
        if value is not None:
            it.buffer = len(model.buffers)
            buffer = lite.BufferT()
            buffer.data = np.frombuffer(value.tobytes(), np.uint8)
            model.buffers.append(buffer)
        elif shape[0] == 1:
            it.shapeSignature = [-1, *shape[1:]]
        graph.tensors.append(it)
        return len(graph.tensors) - 1

    def operator(code: int, inputs: list[int], output: int, kind: int = 0, options=None) -> None:
        it = lite.OperatorCodeT()
        it.builtinCode = it.deprecatedBuiltinCode = code
        it.version = 1
        model.operatorCodes.append(it)
        op = lite.OperatorT()
        op.opcodeIndex = len(model.operatorCodes) - 1
        op.inputs, op.outputs = inputs, [output]
        op.builtinOptionsType, op.builtinOptions = kind, options
        graph.operators.append(op)

    count = len(bias)
    image = tensor("image", [1, size, size, 3])
    axes = tensor("axes", [2], np.array([1, 2], np.int32))
    mean = tensor("mean", [1, 3])
    dense = tensor("weights", [count, 3], weights.astype(np.float32))
    offset = tensor("bias", [count], bias.astype(np.float32))
    logits = tensor("logits", [1, count])
    answer = tensor("answer", [1, count])
    operator(lite.BuiltinOperator.MEAN, [image, axes], mean, lite.BuiltinOptions.ReducerOptions,
             lite.ReducerOptionsT())  # fmt: skip
    operator(lite.BuiltinOperator.FULLY_CONNECTED, [mean, dense, offset], logits,
             lite.BuiltinOptions.FullyConnectedOptions, lite.FullyConnectedOptionsT())  # fmt: skip
    if last == lite.BuiltinOperator.SOFTMAX:
        options = lite.SoftmaxOptionsT()
        options.beta = 1.0
        operator(last, [logits], answer, lite.BuiltinOptions.SoftmaxOptions, options)
    else:
        operator(last, [logits], answer)
    graph.inputs, graph.outputs = [image], [answer]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
