"""Vary stain and light of an image as from one smear to the next.

Smears of one laboratory differ: the dye is fresher, the lamp warmer, the slide thicker. A simulated
smear needs one such difference for all its cells and a trace more for each. The changes are mild
and smooth, so that they move colours and never make or remove texture. What a training adds as
augmentation is the business of `augment`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

__all__ = ["Stain", "apply_stain", "draw_stain", "jitter_stain"]


@dataclass(frozen=True)
class Stain:
    """How one smear's colours differ from those of the source images; the default changes nothing.

    Attributes:
        gain: Factor of each channel (R, G, B), around 1.
        gamma: Exponent of the values in [0, 1]; over 1 is darker.
        hue: Turn about the grey axis, in degrees.
        saturation: Factor of the distance from grey, around 1.
        tilt: Change of brightness from the centre to the right and to the lower edge, as a share.
    """

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    hue: float = 0.0
    saturation: float = 1.0
    tilt: tuple[float, float] = (0.0, 0.0)


def draw_stain(rng: np.random.Generator) -> Stain:
    """Draw a smear's stain: mild, as between smears of one laboratory."""
    return Stain(
        gain=tuple(float(v) for v in rng.uniform(0.96, 1.04, 3)),
        gamma=float(np.exp(rng.uniform(-0.14, 0.14))),
        hue=float(rng.uniform(-5, 5)),
        saturation=float(rng.uniform(0.85, 1.15)),
        tilt=tuple(float(v) for v in rng.uniform(-0.03, 0.03, 2)),
    )


def jitter_stain(stain: Stain, rng: np.random.Generator) -> Stain:
    """Move a smear's stain a trace, as from one field of it to the next."""
    return replace(
        stain,
        gain=tuple(
            g * float(v) for g, v in zip(stain.gain, rng.uniform(0.985, 1.015, 3), strict=True)
        ),
        gamma=stain.gamma * float(np.exp(rng.uniform(-0.03, 0.03))),
        saturation=stain.saturation * float(rng.uniform(0.97, 1.03)),
        tilt=tuple(
            t + float(v) for t, v in zip(stain.tilt, rng.uniform(-0.01, 0.01, 2), strict=True)
        ),
    )


def apply_stain(image: np.ndarray, stain: Stain) -> np.ndarray:
    """Give an image a stain.

    Args:
        image: (h, w, 3) uint8, RGB.
        stain: What to change.

    Returns:
        (h, w, 3) uint8, RGB; values that leave [0, 255] are cut off there.
    """
    height, width = image.shape[:2]
    levels = np.linspace(0, 1, 256, dtype=np.float32) ** stain.gamma * 255
    table = (levels[:, None] * np.array(stain.gain, np.float32))[None].astype(np.float32)
    moved = cv2.transform(cv2.LUT(image, table), _turn(stain.hue, stain.saturation))
    across = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(stain.tilt[0])
    down = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(stain.tilt[1])
    moved *= (1 + down[:, None] + across[None])[..., None]
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


def _turn(hue: float, saturation: float) -> np.ndarray:
    """(3, 3) float32: RGB turned about the grey axis and drawn to or from it."""
    grey = np.full((3, 3), 1 / 3)
    axis = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    angle = np.radians(hue)
    rotation = np.cos(angle) * (np.eye(3) - grey) + np.sin(angle) * axis
    return (grey + saturation * rotation).astype(np.float32)
