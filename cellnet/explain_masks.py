"""How much of a map falls on the cell: against a mask of nucleus and cytoplasm.

A map that is bright beside the cell points at something that the network should not go by. What
counts is the share of its weight on the cell, set beside the share of the picture that the cell
covers: that is what a map which says nothing would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellnet.errors import CellnetError, UnreadableImage
from cellnet.explain_faithfulness import bootstrapped_means
from cellnet.explain_pictures import stretched
from cellnet.images import find_images, read_image

__all__ = ["PARTS", "Masks", "shares", "summarised"]

PARTS = ("cell", "cytoplasm", "nucleus")

# Masks of Zheng et al. (2018): 0, 128 and 255, with a few stray values between them.
_CYTOPLASM, _NUCLEUS = 64, 192


class Masks:
    """Masks in a folder, found by the names of the images without their endings."""

    def __init__(self, folder: Path):
        """List the folder.

        Raises:
            CellnetError: There is no such folder, it holds no image, or two are called alike.
        """
        self.folder = folder
        self._files: dict[str, Path] = {}
        for file in find_images(folder).files:
            if file.stem in self._files:
                raise CellnetError(
                    f"two masks are called {file.stem}: {self._files[file.stem]} and {file}; a "
                    "mask is found by its name, so each name may stand once"
                )
            self._files[file.stem] = file
        if not self._files:
            raise CellnetError(f"there is no mask in {folder}; give a folder of images")

    def of(self, image: Path, height: int, width: int) -> dict[str, np.ndarray] | None:
        """Read the mask of an image.

        Args:
            image: The image's file.
            height: Its rows.
            width: Its columns.

        Returns:
            By part ``(height, width) bool``: the cell is what is not black; nucleus and cytoplasm,
            white and grey, only where the mask has both. None where there is no mask.

        Raises:
            UnreadableImage: The mask cannot be read, is not of the image's size, or shows no cell.
        """
        file = self._files.get(image.stem)
        if file is None:
            return None
        grey = read_image(file).max(2)
        if grey.shape != (height, width):
            raise UnreadableImage(
                file,
                f"the mask has {grey.shape[1]} x {grey.shape[0]} pixels, its image {width} x "
                f"{height}; they must be the same",
            )
        cell, nucleus = grey >= _CYTOPLASM, grey >= _NUCLEUS
        if not cell.any():
            raise UnreadableImage(
                file, f"the mask shows no cell: no value reaches {_CYTOPLASM} of 255"
            )
        cytoplasm = cell & ~nucleus
        if cytoplasm.any() and nucleus.any():
            return {"cell": cell, "cytoplasm": cytoplasm, "nucleus": nucleus}
        return {"cell": cell}


def shares(values: np.ndarray, mask: dict[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
    """Share of a map's weight on each part, and of the picture's area.

    Args:
        values: ``(h, w) float32``, 0 or more; nothing speaks for the answer where all are 0.
        mask: What `Masks.of` gave.

    Returns:
        By part ``weight`` (None where the map is 0) and ``area``, both in [0, 1].
    """
    weight = stretched(values, *mask["cell"].shape).astype(np.float64)
    total = float(weight.sum())
    return {
        part: {
            "weight": float(weight[where].sum()) / total if total > 0 else None,
            "area": float(where.mean()),
        }
        for part, where in mask.items()
    }


def summarised(
    rows: Sequence[dict[str, Any]], groups: Sequence[str] | None, seed: int
) -> list[dict[str, Any]]:
    """Mean shares over the cells of each label, and over all.

    Args:
        rows: ``label`` and ``parts`` (of `shares`) of each cell.
        groups: What ties cells together, a name each; None where every cell stands alone.
        seed: Of the bootstrap.

    Returns:
        A dictionary for each label and part: ``label`` (None for all cells), ``part``, ``n``,
        ``faint`` (cells whose map says nothing, left out), and the estimates ``weight``, ``area``
        and ``weight_less_area``.
    """
    names = {row["label"] for row in rows}
    labels = sorted(name for name in names if name is not None)
    found = []
    for label in labels if len(names) == 1 and labels else [None, *labels]:
        chosen = [at for at, row in enumerate(rows) if label is None or row["label"] == label]
        for part in PARTS:
            held = [at for at in chosen if part in rows[at]["parts"]]
            told = [at for at in held if rows[at]["parts"][part]["weight"] is not None]
            if not held:
                continue
            pairs = [rows[at]["parts"][part] for at in told]
            values = np.array([(pair["weight"], pair["area"]) for pair in pairs]).reshape(-1, 2)
            values = np.column_stack([values, values[:, 0] - values[:, 1]])
            tied = None if groups is None else [groups[at] for at in told]
            weight, area, difference = bootstrapped_means(values, tied, seed)
            found.append(
                {
                    "label": label,
                    "part": part,
                    "n": len(told),
                    "faint": len(held) - len(told),
                    "weight": weight,
                    "area": area,
                    "weight_less_area": difference,
                }
            )
    return found
