"""Does an export answer as its bundle? Measured on golden images and drawn smears.

An export that answers something else is not written. What counts of a drawn smear is each cell's
label or dysplastic flag: where none differs, no decision does, whichever bundle the other network
comes from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cellnet.bundle import Bundle
from cellnet.draw import draw_smear
from cellnet.errors import CellnetError
from cellnet.images import read_image
from cellnet.listing import find_images
from cellnet.operating_point import is_dysplastic
from cellnet.smear import name_cell
from cellnet.verify import read_golden

__all__ = ["TOLERANCE", "TOLERANCE_QUANTISED", "Answer", "parity"]

Answer = Callable[[np.ndarray], np.ndarray]
"""``(n, h, w, 3) uint8, RGB`` to ``(n, outputs) float32``."""

TOLERANCE = 1e-3
TOLERANCE_QUANTISED = 1e-2
"""The bundle's runtime rounds activations to 8 bits where weights are 8-bit; exports need not."""

# Seed and dysplastic share of the drawn smears: one that should be suspected, one that should not.
_SMEARS = {"dysplastic": (1, 0.5), "healthy": (2, 0.0)}
_CELLS = 40


def parity(bundle: Bundle, answer: Answer) -> dict[str, Any]:
    """Compare an export with its bundle.

    Args:
        bundle: The bundle.
        answer: The export, opened from its files.

    Returns:
        ``inputs`` (golden images), ``max_difference`` and ``tolerance`` of a probability or score;
        ``smears`` and ``cells`` compared, ``max_difference_cells``, and ``decisions_changed``, 0.

    Raises:
        CellnetError: It answers something else.
    """
    images, wanted = read_golden(bundle)
    is_quantised = bundle.description["weights"]["quantisation"] != "float32"
    tolerance = TOLERANCE_QUANTISED if is_quantised else TOLERANCE
    difference = _difference(bundle, answer(images), wanted)
    if not difference <= tolerance:
        raise CellnetError(
            f"the export of {bundle.folder} answers up to {difference:.2g} beside the bundle's "
            f"golden outputs, allowed is {tolerance:g}; nothing was written"
        )
    return {
        "inputs": len(images),
        "max_difference": difference,
        "tolerance": tolerance,
        "smears": len(_SMEARS),
        "cells": len(_SMEARS) * _CELLS,
        "max_difference_cells": _compare_smears(bundle, answer),
        "decisions_changed": 0,
    }


def _compare_smears(bundle: Bundle, answer: Answer) -> float:
    """The largest difference on drawn smears, no cell of which may be read another way."""
    runtime, decide, largest = bundle.runtime(), _decider(bundle), 0.0
    with tempfile.TemporaryDirectory() as home:
        for name, (seed, share) in _SMEARS.items():
            folder = Path(home) / name
            draw_smear(folder, seed, cells=_CELLS, dysplastic_fraction=share)
            for file in find_images(folder).files:
                image = read_image(file)
                wanted = runtime.predict(bundle.prepare(image)[None])
                given = answer(image[None])
                largest = max(largest, _difference(bundle, given, wanted))
                before, after = decide(wanted[0]), decide(given[0])
                if before != after:
                    raise CellnetError(
                        f"the export of {bundle.folder} reads {file.name} of the drawn {name} "
                        f"smear as {after} ({given[0].max():.6g}), the bundle as {before} "
                        f"({wanted[0].max():.6g}); nothing was written"
                    )
    return largest


def _decider(bundle: Bundle) -> Callable[[np.ndarray], str]:
    """What a decision rests on in one image's answer."""
    if bundle.kind == "probabilities":
        return lambda answer: name_cell(answer, bundle.classes)[0]
    cutoff = bundle.operating_point().cutoff
    return lambda answer: "dysplastic" if is_dysplastic(answer[0], cutoff) else "normal"


def _difference(bundle: Bundle, given: np.ndarray, wanted: np.ndarray) -> float:
    if given.shape != wanted.shape:
        raise CellnetError(
            f"the export of {bundle.folder} answers {given.shape}, expected {wanted.shape}; "
            "nothing was written"
        )
    return float(np.abs(given - wanted).max())
