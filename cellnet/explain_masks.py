"""How much of a map falls on the cell: against a mask of nucleus and cytoplasm.

A map that is bright beside the cell points at something that the network should not go by. What
counts is the share of its weight on the cell, set beside two others: the share of the picture that
the cell covers, which a map that says nothing would have, and the share that the maps of other
cells have on this one, which a map would have that knows where cells stand and nothing more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cellnet.errors import CellnetError, UnreadableImage
from cellnet.explain_cells import Cell, place_below
from cellnet.explain_faithfulness import bootstrapped_means
from cellnet.explain_pictures import stretched
from cellnet.images import read_image
from cellnet.listing import find_images
from cellnet.scoring import progress_bar

__all__ = [
    "PARTS",
    "Map",
    "find_masks",
    "means_of_others",
    "measured",
    "read_mask",
    "shares",
    "summarised",
]

PARTS = ("cell", "cytoplasm", "nucleus")

# Masks of Zheng et al. (2018): 0, 128 and 255, with a few stray values between them.
_CYTOPLASM, _NUCLEUS = 64, 192

# All masks of Zheng et al. hold with room to spare, small or compressed as JPEG too; photographs of
# cells do not, in colour or in grey.
_COLOUR, _COLOURED = 24, 0.01  # a pixel's channels further apart are a colour; share of such pixels
_NEAR, _STRAY = 16, 0.10  # so near to a level is on it; share of pixels that may be on none

_SHOWN = 3  # files that a reason names
_REMEDY = (
    "give each image a name of its own, or lay images and masks in the same sub-folders of one "
    "folder each"
)

_PAINT = "paint black what is around the cell, white the nucleus, and one grey the cytoplasm"


@dataclass(frozen=True)
class Map:
    """The map of one cell, and what it is held against.

    Attributes:
        cell: The cell.
        target: The answer that the map is for.
        values: ``(h, w) float32``, 0 or more; all are 0 where nothing speaks for the answer.
        height: Rows of the cell's image.
        width: Its columns.
    """

    cell: Cell
    target: str
    values: np.ndarray
    height: int
    width: int


def find_masks(
    folder: Path, cells: Iterable[Cell], others: Iterable[Cell] = ()
) -> dict[Path, Path | str]:
    """Find the mask of each cell by its name.

    Where a mask lies below its folder, the image's own path ends so too, but for the ending:
    ``neutrophil/1`` or ``1`` of ``images/neutrophil/1.jpg``. Of several the longest is taken. One
    that other images' paths end in as well is taken only where the image lies just so below the
    folder given: numbers begin at 1 in every folder, and a mask of another cell would make a number
    that looks like any other.

    Args:
        folder: Of the masks.
        cells: Those explained.
        others: Images that are not, and that a mask may belong to.

    Returns:
        By the image's file, the mask's, or why it has none that is surely its own, for people.

    Raises:
        CellnetError: There is no such folder, it holds no image, or two masks differ in their
            endings alone.
    """
    masks: dict[str, Path] = {}
    named: dict[str, list[str]] = defaultdict(list)
    listing = find_images(folder)
    for file in listing.files:
        place = place_below(file, folder)
        if place in masks:
            raise CellnetError(
                f"two masks are called {place}: {masks[place]} and {file}; a mask is found by its "
                "name without the ending, so remove one"
            )
        masks[place] = file
        named[file.stem].append(place)
    if not masks:
        raise CellnetError(f"there is no mask in {folder}; give a folder of images")
    cells = list(cells)
    places: dict[str, dict[Path, str]] = defaultdict(dict)
    stems: dict[str, dict[Path, str]] = defaultdict(dict)
    for cell in (*cells, *others):
        places[cell.below][cell.path] = cell.name
        stems[cell.path.stem][cell.path] = cell.name

    def mask_of(cell: Cell) -> Path | str:
        alike = named.get(cell.path.stem, [])
        fitting = [place for place in alike if _ends_in(cell.path, place)]
        if not fitting:
            if not alike:
                return "it has no mask"
            told = _few(listing.relative(masks[it]) for it in alike)
            return f"it has no mask where it lies; called like it are {told}; {_REMEDY}"
        place = max(fitting, key=len)
        claimed = places[place]
        if place != cell.below:
            alike_images = stems[cell.path.stem].items()
            claimed = {path: name for path, name in alike_images if _ends_in(path, place)}
        if len(claimed) > 1:
            return (
                f"the mask {listing.relative(masks[place])} may be that of {len(claimed)} images "
                f"({_few(claimed.values())}); {_REMEDY}"
            )
        return masks[place]

    return {cell.path: mask_of(cell) for cell in cells}


def _ends_in(image: Path, place: str) -> bool:
    """Whether an image's path, without its ending, ends in where a mask lies below its folder."""
    wanted = Path(place).parts
    return image.absolute().with_suffix("").parts[-len(wanted) :] == wanted


def _few(names: Iterable[str]) -> str:
    names = sorted(names)
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def read_mask(file: Path, height: int, width: int) -> dict[str, np.ndarray]:
    """Read a mask.

    Args:
        file: The mask's.
        height: Rows of the image.
        width: Its columns.

    Returns:
        By part ``(height, width) bool``: the cell is what is not black; nucleus and cytoplasm,
        white and grey, only where the mask has both.

    Raises:
        UnreadableImage: The mask cannot be read, is not of the image's size, is in colour or of
            more levels than three, or shows no cell or nothing but the cell.
    """
    image = read_image(file)
    grey = image.max(2)
    if grey.shape != (height, width):
        raise UnreadableImage(
            file,
            f"the mask has {grey.shape[1]} x {grey.shape[0]} pixels, its image {width} x "
            f"{height}; they must be the same",
        )
    coloured = float((np.ptp(image, axis=2) > _COLOUR).mean())
    if coloured > _COLOURED:
        raise UnreadableImage(
            file,
            f"it is in colour ({coloured:.0%} of its pixels), a mask is grey, so this may be a "
            f"photograph; {_PAINT}",
        )
    stray = _stray_share(grey)
    if stray > _STRAY:
        raise UnreadableImage(
            file,
            f"{stray:.0%} of its pixels are neither black nor white nor of one grey between, in a "
            f"mask at most {_STRAY:.0%} are, so this may be a photograph; {_PAINT}",
        )
    cell, nucleus = grey >= _CYTOPLASM, grey >= _NUCLEUS
    if not cell.any():
        raise UnreadableImage(file, f"the mask shows no cell: no value reaches {_CYTOPLASM} of 255")
    if cell.all():
        raise UnreadableImage(
            file,
            f"the mask shows nothing but the cell: no value is below {_CYTOPLASM} of 255; {_PAINT}",
        )
    cytoplasm = cell & ~nucleus
    if cytoplasm.any() and nucleus.any():
        return {"cell": cell, "cytoplasm": cytoplasm, "nucleus": nucleus}
    return {"cell": cell}


def _stray_share(grey: np.ndarray) -> float:
    """Share of the pixels that are near no level: not to black, white or the commonest grey."""
    counts = np.bincount(grey.ravel(), minlength=256)
    counts[: _NEAR + 1] = counts[-_NEAR - 1 :] = 0
    on_grey = np.convolve(counts, np.ones(2 * _NEAR + 1, np.int64), "same").max()
    return float(counts.sum() - on_grey) / grey.size


def measured(
    masks: Mapping[Path, Path | str],
    maps: Sequence[Map],
    is_grouped: bool,
    seed: int,
    progress: bool = False,
) -> dict[str, Any]:
    """Hold maps against masks.

    Args:
        masks: What `find_masks` gave.
        maps: Of all cells, at least one; those without a mask are part of the others' mean.
        is_grouped: Whether the cells' groups tie them together.
        seed: Of the bootstrap.
        progress: Show a progress bar where standard error is a terminal.

    Returns:
        ``n`` (cells with a mask), ``rows`` (of `summarised`), ``cells`` (``file``, ``label`` and
        ``parts``, of `shares`), and ``left_out``, each with its ``reason``.
    """
    title = "reading masks" if progress else None
    usable, groups, left_out = [], [], []
    controls = means_of_others(maps, is_grouped)
    pairs = progress_bar(list(zip(maps, controls, strict=True)), title)
    for it, control in pairs:
        file = masks[it.cell.path]
        if isinstance(file, str):
            left_out.append({"file": it.cell.name, "reason": file})
            continue
        try:
            mask = read_mask(file, it.height, it.width)
        except UnreadableImage as error:
            reason = f"{error.path}: {error.reason}"
            left_out.append({"file": it.cell.name, "reason": reason})
            continue
        parts = shares(it.values, control, mask)
        usable.append({"file": it.cell.name, "label": it.cell.label, "parts": parts})
        groups.append(it.cell.group)
    return {
        "n": len(usable),
        "rows": summarised(usable, groups if is_grouped else None, seed),
        "cells": usable,
        "left_out": left_out,
    }


def means_of_others(maps: Sequence[Map], is_grouped: bool) -> list[np.ndarray | None]:
    """For each cell, the mean map of the others: what position alone gives.

    Others are those whose maps are for the same answer, since maps for another one may lie
    elsewhere; those of the cell's own group, which may show it again, are none. Each map counts by
    the weight of 1, a faint one not at all.

    Args:
        maps: Of all cells, of one shape.
        is_grouped: Whether the cells' groups tie them together.

    Returns:
        ``(h, w) float32`` of the weight 1 for each cell; None where there is no other.
    """
    found: list[np.ndarray | None] = [None] * len(maps)
    by_target: dict[str, list[int]] = defaultdict(list)
    for at, it in enumerate(maps):
        by_target[it.target].append(at)
    for members in by_target.values():
        values = np.stack([maps[at].values for at in members]).astype(np.float64)
        weights = values.sum((1, 2), keepdims=True)
        told = weights[:, 0, 0] > 0
        np.divide(values, weights, out=values, where=weights > 0)
        names = [maps[at].cell.group if is_grouped else str(at) for at in members]
        tied = np.unique(names, return_inverse=True)[1]
        own = np.zeros((tied.max() + 1, *values.shape[1:]))
        np.add.at(own, tied, values)
        number = told.sum() - np.bincount(tied, told)
        for at, group in zip(members, tied, strict=True):
            if number[group]:
                mean = (values.sum(0) - own[group]) / number[group]
                found[at] = np.maximum(mean, 0).astype(np.float32)  # rounding may go below
    return found


def shares(
    values: np.ndarray, control: np.ndarray | None, mask: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float | None]]:
    """Share of a map's weight on each part, of the picture's area, and of other cells' maps.

    Args:
        values: ``(h, w) float32``, 0 or more; nothing speaks for the answer where all are 0.
        control: The mean map of other cells, likewise; None where there is none.
        mask: What `read_mask` gave.

    Returns:
        By part ``weight`` (None where the map is 0), ``area`` and ``others`` (None without a
        control), all in [0, 1].
    """

    def on_parts(it: np.ndarray | None) -> dict[str, float | None]:
        weight = None if it is None else stretched(it, *mask["cell"].shape).astype(np.float64)
        total = 0.0 if weight is None else float(weight.sum())
        return {
            # Sums of the same values in another order may differ in their last bit.
            part: min(1.0, float(weight[where].sum()) / total) if total > 0 else None
            for part, where in mask.items()
        }

    own, others = on_parts(values), on_parts(control)
    return {
        part: {"weight": own[part], "area": float(where.mean()), "others": others[part]}
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
        ``faint`` (cells whose map says nothing, left out), the estimates ``weight``, ``area`` and
        ``weight_less_area``, and of the cells with a control ``others`` and ``weight_less_others``.
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
            row = {"label": label, "part": part, "n": len(told), "faint": len(held) - len(told)}
            for other in ("area", "others"):
                used = [at for at in told if rows[at]["parts"][part][other] is not None]
                pairs = [[rows[at]["parts"][part][key] for key in ("weight", other)] for at in used]
                values = np.array(pairs).reshape(-1, 2)
                values = np.column_stack([values, values[:, 0] - values[:, 1]])
                tied = None if groups is None else [groups[at] for at in used]
                weight, against, difference = bootstrapped_means(values, tied, seed)
                row.setdefault("weight", weight)  # of all that tell, which have an area each
                row |= {other: against, f"weight_less_{other}": difference}
            found.append(row)
    return found
