"""A bundle in a format that other programs load: SavedModel, TensorFlow.js, LiteRT or ONNX.

Every export takes uint8 images of any size, resizes and scales them itself, is compared with its
bundle before it is kept, and says in ``export.json`` what it is, what it was made from and how far
its answers lie from the bundle's. The formats are in modules of their own, ``export_*``.
"""

from __future__ import annotations

import datetime
import importlib
import json
import os
from pathlib import Path
from typing import Any

from cellnet import __version__
from cellnet.bundle import Bundle, load
from cellnet.errors import CellnetError
from cellnet.export_graph import ACTIVATION_MAP, IMAGES
from cellnet.export_parity import parity
from cellnet.export_weights import Layer, read_layers
from cellnet.integrity import listed
from cellnet.operating_point import FILE as POINT
from cellnet.outputs import new_folder, write_text
from cellnet.verify import verify

__all__ = ["FILE", "SCHEMA", "export", "summary"]

SCHEMA = "cellnet/export/1"
FILE = "export.json"

# Each module has `write(bundle, layers, folder)`, `open_answer(bundle, folder)`, and says with
# HAS_MAP whether the activation map is among the outputs.
_MODULES = {
    "savedmodel": "cellnet.export_savedmodel",
    "tfjs": "cellnet.export_tfjs",
    "litert": "cellnet.export_litert",
    "onnx": "cellnet.export_onnx",
}


def export(model: str | os.PathLike[str], to: str, out: str | os.PathLike[str]) -> dict[str, Any]:
    """Write a bundle in another format.

    Args:
        model: A model's name, or a bundle's folder.
        to: ``savedmodel``, ``tfjs``, ``litert`` or ``onnx``.
        out: Folder to make; an export that stands there is replaced.

    Returns:
        The manifest, which is also in ``export.json``.

    Raises:
        CellnetError: The format is unknown or its packages are not installed, the bundle does not
            pass `cellnet.verify`, its weights are not its network's, `out` holds something else, or
            the export does not answer as the bundle does; then nothing is written.
    """
    if to not in _MODULES:
        raise CellnetError(f"no format is called '{to}'; the formats are {', '.join(_MODULES)}")
    bundle = load(model)
    failed = [check for check in verify(bundle.folder).checks if not check.passed]
    if failed:
        raise CellnetError(
            f"the bundle {bundle.folder} is not exported, since it does not pass 'cellnet "
            f"verify': {failed[0].name}: {failed[0].detail}"
        )
    with new_folder(out, _is_export) as folder:
        writer = importlib.import_module(_MODULES[to])
        layers = read_layers(bundle)
        writer.write(bundle, layers, folder)
        compared = parity(bundle, writer.open_answer(bundle, folder))
        manifest = _manifest(bundle, layers, to, folder, writer.HAS_MAP, compared)
        write_text(folder / FILE, json.dumps(manifest, indent=2, allow_nan=False) + "\n")
    return manifest


def summary(manifest: dict[str, Any], out: str | os.PathLike[str]) -> str:
    """Say for people what was written, in one line."""
    files, parity = manifest["files"], manifest["parity"]
    size = sum(entry["bytes"] for entry in files)
    return (
        f"{os.fspath(out)}: {manifest['format']} of {manifest['model']['name']}, {len(files)} "
        f"file{'' if len(files) == 1 else 's'}, {size:,} bytes; differs from the bundle by at most "
        f"{parity['max_difference']:.1e} on {parity['inputs']} images ({parity['tolerance']:g} "
        f"allowed), in no decision on {parity['smears']} drawn smears"
    )


def _manifest(
    bundle: Bundle,
    layers: list[Layer],
    to: str,
    folder: Path,
    has_map: bool,
    compared: dict[str, Any],
) -> dict[str, Any]:
    network = bundle.description["network"]
    point = bundle.folder / POINT
    outputs: dict[str, Any] = {
        "answer": {"name": bundle.kind, "shape": [None, bundle.outputs]},
        "activation_map": None,
    }
    if has_map:
        side = _map_side(bundle, layers)
        outputs["activation_map"] = {
            "name": ACTIVATION_MAP,
            "shape": [None, side, side, bundle.outputs],
        }
    return {
        "schema": SCHEMA,
        "format": to,
        "model": bundle.identity(),
        "network": {
            "name": network["name"],
            "arguments": network["arguments"],
            "parameters": sum(layer.kernel.size + layer.bias.size for layer in layers),
        },
        "kind": bundle.kind,
        "classes": bundle.description["output"]["classes"],
        "input": {
            "name": IMAGES,
            "dtype": "uint8",
            "shape": [None, None, None, 3],
            "channels": "RGB",
        },
        "outputs": outputs,
        "operating_point": json.loads(point.read_text("utf-8")) if point.is_file() else None,
        "files": listed(folder),
        "parity": compared,
        "cellnet": __version__,
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _map_side(bundle: Bundle, layers: list[Layer]) -> int:
    """Rows and columns of the last block's output."""
    side = bundle.size
    for layer in layers:
        if layer.is_convolution:
            side -= layer.kernel.shape[0] - 1
            side = side // 2 if layer.pooled else side
    return side


def _is_export(folder: Path) -> bool:
    try:
        document = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("schema") == SCHEMA
