"""One drawn cell as an image: the cell, the field around it, the camera.

Everything is drawn at one magnification and brought to the size that was asked for, so that the
same generator gives the same picture at every size.
"""

from __future__ import annotations

import cv2
import numpy as np

from cellnet.draw_cells import KINDS, PATCH, platelet
from cellnet.draw_scene import SmearLook, develop, draw_stain, paste, red_cells
from cellnet.draw_shapes import Array
from cellnet.errors import CellnetError

DYSPLASTIC_UP_TO = 1.0 / 3.0
"""Largest share of its granules that a dysplastic neutrophil has (Goasguen et al. 2014)."""

_SIDE = 360  # side in pixels at which everything is drawn before it is brought to `size`


def draw_cell(
    kind: str,
    rng: np.random.Generator,
    *,
    dysplastic: bool = False,
    granularity: float | None = None,
    size: int | tuple[int, int] = 360,
    zoom: float = 1.0,
    stain: SmearLook | None = None,
) -> Array:
    """Draw one cell among red cells.

    Args:
        kind: One of the eight classes.
        rng: Source of all randomness: the same state gives the same image. The same state with
            another `granularity` gives the same cell with fewer or weaker granules.
        dysplastic: Draw a hypogranulated cell: at most a third of the granules.
        granularity: Share of the granules in [0, 1]; by default 1, or with `dysplastic` a random
            share in [0, 1/3].
        size: Side of the image in pixels, or (height, width).
        zoom: Magnification; 1 frames a white cell at about 40 % of the width.
        stain: Look of the smear; by default drawn anew for the cell.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        CellnetError: The kind is unknown, or a number is out of its range.

    Example:
        >>> draw_cell("lymphocyte", np.random.default_rng(1), size=128).shape
        (128, 128, 3)
    """
    if kind not in KINDS:
        raise CellnetError(f"kind of cell must be one of {', '.join(KINDS)}, got {kind!r}")
    chance = float(rng.uniform(0.0, DYSPLASTIC_UP_TO))
    if granularity is None:
        granularity = chance if dysplastic else 1.0
    if not 0.0 <= granularity <= 1.0:
        raise CellnetError(f"granularity must lie in [0, 1], got {granularity}")
    if dysplastic and granularity > DYSPLASTIC_UP_TO:
        raise CellnetError(
            f"a dysplastic cell has granularity of at most 1/3, got {granularity}; lower it or "
            "leave it out"
        )
    if not 0.25 <= zoom <= 4.0:
        raise CellnetError(f"zoom must lie in [0.25, 4], got {zoom}")
    height, width = (size, size) if isinstance(size, int) else size
    if not (16 <= height <= 4096 and 16 <= width <= 4096):
        raise CellnetError(f"size must lie in 16 to 4096 pixels a side, got {size}")
    look = draw_stain(rng) if stain is None else stain

    scale = _SIDE / min(height, width)
    h, w = round(height * scale), round(width * scale)
    layer = KINDS[kind](rng, PATCH, float(granularity))
    body, alpha = layer.density, layer.alpha
    if zoom != 1.0:
        n = max(9, round(PATCH * zoom))
        body = np.stack([cv2.resize(p, (n, n), interpolation=cv2.INTER_LINEAR) for p in body])
        alpha = cv2.resize(alpha, (n, n), interpolation=cv2.INTER_LINEAR)
    x, y = w / 2 + rng.normal(0.0, 3.0) * zoom, h / 2 + rng.normal(0.0, 3.0) * zoom
    field = np.zeros((3, h, w), np.float32)
    red_cells(field, rng, look, zoom, (x, y, layer.radius * zoom))
    if zoom == 1.0 and rng.random() < 0.35:
        extra = platelet(rng, 81, 1.0)
        turn = rng.uniform(0, 2 * np.pi)
        far = layer.radius + rng.uniform(40, 110)
        paste(field, extra.density, x + far * np.cos(turn), y + far * np.sin(turn), extra.alpha)
    paste(field, body, x, y, alpha)
    image = develop(field, rng, look, zoom)
    if (h, w) != (height, width):
        way = cv2.INTER_AREA if scale > 1.0 else cv2.INTER_CUBIC
        image = cv2.resize(image, (width, height), interpolation=way)
    return image
