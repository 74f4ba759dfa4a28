"""cellnet names the cells of a blood smear and judges whether its neutrophils are hypogranulated.

The public names are few and loaded when they are first used, so that ``import cellnet`` costs
milliseconds and never loads TensorFlow. Research use: no claim of diagnosis.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellnet import networks
    from cellnet.bundle import load
    from cellnet.errors import CellnetError
    from cellnet.images import read_image
    from cellnet.predict import predict_smear
    from cellnet.smear import SmearReport

__version__ = "0.1.0"

__all__ = ["CellnetError", "SmearReport", "load", "networks", "predict_smear", "read_image"]

_HOMES = {
    "CellnetError": "cellnet.errors",
    "SmearReport": "cellnet.smear",
    "load": "cellnet.bundle",
    "predict_smear": "cellnet.predict",
    "read_image": "cellnet.images",
}


def __getattr__(name: str) -> Any:
    if name == "networks":
        return importlib.import_module("cellnet.networks")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'cellnet' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
