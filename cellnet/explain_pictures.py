"""Maps and feature maps as pictures: laid over the cell, alone, or as a sheet of channels.

A map is stretched over the whole picture, as the browser app and most of the literature do, and
shown in colours that no stain has, relative to its own strongest point. What the maps are is left
to ``explain_network``.
"""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["FAINT", "guided_picture", "map_picture", "overlay", "sheet", "shown", "speaking"]

FAINT = 0.05
"""Below this share of the strongest answer of either sign, a map shows nothing to speak of."""

MOST_PIXELS = 512
"""The longer side of a picture that is written."""

# Nothing, then green to yellow: the colours of the browser app's overlay.
_RAMP = np.array([(0, 140, 120), (40, 200, 90), (250, 245, 80)], np.float32)
_OPACITY = 0.8
_GREY = 128
_SHEET = 768  # pixels across and down, about
# Percentiles of the values that are drawn at full strength.
_LOUD, _GUIDED_LOUD = 99.8, 99.0


def speaking(signed: np.ndarray, sign: int) -> tuple[np.ndarray, bool]:
    """Take the part of a signed map that speaks for an answer.

    Args:
        signed: ``(h, w) float32``.
        sign: 1 for what raises the output, -1 for what lowers it.

    Returns:
        ``(h, w) float32`` from 0 to 1 at the strongest point, and whether hardly anything speaks
        for the answer; the values are then all 0.
    """
    values = np.maximum(sign * signed, 0).astype(np.float32)
    most = float(values.max())
    if most == 0 or most < FAINT * float(np.abs(signed).max()):
        return np.zeros_like(values), True
    return values / most, False


def stretched(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stretch a map over a picture, ``(height, width) float32``: bilinear, half-pixel centres."""
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)


def shown(image: np.ndarray) -> np.ndarray:
    """Make an image small enough to be written among others; small ones stay as they are."""
    scale = MOST_PIXELS / max(image.shape[:2])
    if scale >= 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def overlay(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lay what `speaking` gave over an image, ``(h, w, 3) uint8``."""
    strength = stretched(values, *image.shape[:2])
    opacity = (_OPACITY * strength**0.75)[..., None]
    return _bytes(image * (1 - opacity) + _ramp(strength) * opacity)


def map_picture(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Draw what `speaking` gave alone, ``(height, width, 3) uint8``; black where it is 0."""
    strength = stretched(values, height, width)
    return _bytes(_ramp(strength) * np.minimum(1, 2 * strength)[..., None])


def guided_picture(guided: np.ndarray, height: int, width: int) -> np.ndarray:
    """Draw a guided gradient, or guided Grad-CAM.

    Args:
        guided: ``(size, size, 3) float32`` of either sign.
        height: Rows of the picture.
        width: Its columns.

    Returns:
        ``(height, width, 3) uint8``: grey where it is 0, brighter in a channel where more of that
        colour would speak for the answer, darker where less would.
    """
    strength = np.abs(guided)
    loud = float(np.percentile(strength, _GUIDED_LOUD)) or float(strength.max()) or 1.0
    picture = _GREY + (255 - _GREY) * np.clip(guided / loud, -1, 1)
    return _bytes(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR))


def sheet(features: np.ndarray) -> np.ndarray:
    """Draw all channels of a layer, row by row in their order, on one scale for all.

    Args:
        features: ``(h, w, channels) float32``.

    Returns:
        ``(rows, columns, 3) uint8``, about 768 pixels a side: dark where a value is 0 or less,
        bright where it is among the layer's highest. A channel that never answers stays dark.
    """
    height, width, count = features.shape
    across = int(np.ceil(np.sqrt(count)))
    down = -(-count // across)
    tile = max(2, _SHEET // across - 1)
    most = float(np.percentile(features, _LOUD)) or float(features.max()) or 1.0
    strength = np.clip(features / max(most, 1e-12), 0, 1)
    ground = np.full((down * (tile + 1) + 1, across * (tile + 1) + 1, 3), 255, np.uint8)
    way = cv2.INTER_AREA if max(height, width) > tile else cv2.INTER_NEAREST
    for number in range(count):
        values = cv2.resize(
            np.ascontiguousarray(strength[..., number]), (tile, tile), None, 0, 0, way
        )
        colours = cv2.applyColorMap(np.rint(255 * values).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
        top, left = (1 + (number // across) * (tile + 1), 1 + (number % across) * (tile + 1))
        ground[top : top + tile, left : left + tile] = colours[..., ::-1]
    return ground


def _ramp(strength: np.ndarray) -> np.ndarray:
    places = np.linspace(0, 1, len(_RAMP))
    return np.stack([np.interp(strength, places, _RAMP[:, channel]) for channel in range(3)], -1)


def _bytes(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
