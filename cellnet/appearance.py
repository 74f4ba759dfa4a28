"""How an image looks, as far as it decides whether the networks' answers can be trusted.

Networks answer with the same confidence on a slide that is stained or photographed unlike any that
they learnt from. So each image is measured with a handful of robust statistics, and a smear whose
medians leave the range of the training data gets a warning. The ranges were measured; they are
stated beside each constant. What a warning means for the decision is left to the reader.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Look", "find_copies", "look_at", "look_warnings"]

# Medians over a smear's cells. Measured, as lowest and highest median of 40 cells drawn at random:
#                            pbc            zheng          bccd           pbc, stain varied  drawn
#   depth                    0.72 .. 0.85   0.76 .. 0.93   0.31 .. 0.37   0.63 .. 0.98       0.83
#   blue over green          94 .. 103      95 .. 101      102 .. 122     78 .. 120          93
#   blue over red            43 .. 57       38 .. 52       75 .. 85       27 .. 78           47
#   background               227 .. 230     223 .. 229     202 .. 207     215 .. 248         230
# Models learn from pbc with varied stain; the ranges add a margin to that. bccd falls out by its
# depth, rightly: the networks are far weaker there.
DEPTH = (0.5, 1.2)  # optical density of the nucleus in green, against the background
BLUE_OVER_GREEN = (60, 150)  # of the nucleus, in grey levels of 255: how violet it is
BLUE_OVER_RED = (10, 100)  # the same: how blue
BACKGROUND = (180, 252)  # green level of the background: lamp and exposure

# One cell's image has 144 to 369 pixels a side in all three sets; fields of view start at 640.
LARGEST_SIDE = 600
SMALLEST_SIDE = 64
LARGEST_RATIO = 1.5

_SAMPLES = 64  # pixels a side that are enough for the medians
_FEW = 5  # fewer cells than this say nothing of a smear
_NAMED = 3  # files named in a warning


@dataclass(frozen=True, slots=True)
class Look:
    """What `look_at` measured on one image.

    Attributes:
        height: In pixels.
        width: In pixels.
        pixels: Hash of the pixels; equal for exact copies, whatever the file's format.
        depth: Optical density in green of the darkest twentieth against the brightest part.
        blue_over_green: Blue minus green of the darkest twentieth, in grey levels.
        blue_over_red: Blue minus red of the darkest twentieth, in grey levels.
        background: Green of the brightest part, in grey levels.
    """

    height: int
    width: int
    pixels: bytes
    depth: float
    blue_over_green: float
    blue_over_red: float
    background: float


def look_at(image: np.ndarray) -> Look:
    """Measure one image.

    Args:
        image: ``(h, w, 3) uint8, RGB``.
    """
    height, width = image.shape[:2]
    step = max(1, min(height, width) // _SAMPLES)
    sample = image[::step, ::step].reshape(-1, 3).astype(np.float32)
    red, green, blue = sample.T
    level = red + green  # nuclei are dark in both; red cells are bright in red
    count = max(1, len(sample) // 20)
    rest = max(0, len(sample) - 3 * count)
    # With all pixels of the same level: which of them come first is each library's own affair.
    dark = level <= np.partition(level, count - 1)[count - 1]
    bright = green >= np.partition(green, rest)[rest]
    r, g, b = (float(np.median(channel[dark])) for channel in (red, green, blue))
    background = float(np.median(green[bright]))
    digest = hashlib.sha256(np.ascontiguousarray(image))
    digest.update(f"{height}x{width}".encode())
    return Look(
        height=height,
        width=width,
        pixels=digest.digest()[:16],
        depth=float(np.log10(max(background, 1) / max(g, 1))),
        blue_over_green=b - g,
        blue_over_red=b - r,
        background=background,
    )


def look_warnings(files: Sequence[str], labels: Sequence[str], looks: Sequence[Look]) -> list[str]:
    """Say for people what is odd about a smear's images.

    Args:
        files: ``n`` names.
        labels: ``n`` labels; platelets have no nucleus and say nothing of the stain.
        looks: ``n`` measurements.
    """
    nucleated = [look for look, label in zip(looks, labels, strict=True) if label != "platelet"]
    return [
        *_stain_warnings(nucleated if len(nucleated) >= _FEW else []),
        *_size_warnings(files, looks),
        *_copy_warnings(files, looks),
    ]


def _stain_warnings(looks: Sequence[Look]) -> list[str]:
    if not looks:
        return []
    depth, green, red, background = np.median(
        [(it.depth, it.blue_over_green, it.blue_over_red, it.background) for it in looks], axis=0
    )
    found = []
    if depth < DEPTH[0]:
        found.append(
            f"under-stained smear: nuclei have an optical density of {depth:.2f} in green, the "
            f"models know {DEPTH[0]} to {DEPTH[1]}"
        )
    if depth > DEPTH[1]:
        found.append(
            f"over-stained smear: nuclei have an optical density of {depth:.2f} in green, the "
            f"models know {DEPTH[0]} to {DEPTH[1]}"
        )
    for name, value, (low, high) in (
        ("blue of the nuclei over their green", green, BLUE_OVER_GREEN),
        ("blue of the nuclei over their red", red, BLUE_OVER_RED),
        ("green of the background", background, BACKGROUND),
    ):
        if not low <= value <= high:
            found.append(
                f"off-colour smear: {name} is {value:.0f} grey levels, the models know "
                f"{low} to {high}"
            )
    return found


def _size_warnings(files: Sequence[str], looks: Sequence[Look]) -> list[str]:
    odd = [
        (file, look)
        for file, look in zip(files, looks, strict=True)
        if max(look.height, look.width) > LARGEST_SIDE
        or min(look.height, look.width) < SMALLEST_SIDE
        or max(look.height, look.width) > LARGEST_RATIO * min(look.height, look.width)
    ]
    if not odd:
        return []
    named = [f"{file} ({look.width} x {look.height})" for file, look in odd]
    return [
        f"not the size of one cell: {len(odd)} of {len(files)} images, where {SMALLEST_SIDE} to "
        f"{LARGEST_SIDE} pixels a side are usual: {_some(named)}"
    ]


def find_copies(files: Sequence[str], looks: Sequence[Look]) -> dict[str, str]:
    """Find the images that repeat an earlier one pixel by pixel.

    Args:
        files: ``n`` names.
        looks: ``n`` measurements.

    Returns:
        By the name of each copy, the first file that shows the same pixels.
    """
    first: dict[bytes, str] = {}
    return {
        file: first[look.pixels]
        for file, look in zip(files, looks, strict=True)
        if first.setdefault(look.pixels, file) != file
    }


def _copy_warnings(files: Sequence[str], looks: Sequence[Look]) -> list[str]:
    copies = [f"{copy} = {first}" for copy, first in find_copies(files, looks).items()]
    if not copies:
        return []
    return [
        f"exact copies: {len(copies)} of {len(files)} images repeat another; they are counted, but "
        f"add nothing to how sure the decision is: {_some(copies)}"
    ]


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f", and {more} more" if more > 0 else "")
