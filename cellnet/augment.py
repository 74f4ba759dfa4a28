"""Augmentation of one cell image: geometry and stain, in one warp and one colour table.

The thesis flips and rotates. What is added here is framing (zoom and shift) and stain (gain, gamma,
hue, saturation) with blur and noise, because a network that has seen one framing and one stain is
close to guessing on another laboratory's cells. A recipe lists ``views``, each with a share of the
images: a close one, as the training laboratory takes its pictures, and a distant one.

Everything runs in OpenCV on 8-bit pixels; the warp samples the original pixels bilinearly straight
at the network's input size, as prediction does, so nothing is resampled twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["View", "augment", "choose_view"]


@dataclass(frozen=True)
class View:
    """One way of looking at a cell; ranges are (lowest, highest), sampled anew for each image.

    Attributes:
        share: Share of the images that are seen in this way.
        zoom: Magnification, sampled evenly on a logarithmic scale; 1 shows the whole image.
        shift: Largest shift of the centre, as a share of the image's width.
        gain: Largest relative change of each colour channel, and of all of them together.
        gamma: Exponent of the intensity, sampled evenly on a logarithmic scale.
        hue: Largest rotation of the hue, in degrees.
        saturation: Factor of the saturation.
        blur: Standard deviation of a Gaussian blur, in pixels of the network's input.
        noise: Largest standard deviation of pixel noise, in grey levels.
    """

    share: float = 1.0
    zoom: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    gain: float = 0.0
    gamma: tuple[float, float] = (1.0, 1.0)
    hue: float = 0.0
    saturation: tuple[float, float] = (1.0, 1.0)
    blur: tuple[float, float] = (0.0, 0.0)
    noise: float = 0.0


def choose_view(views: list[View], rng: np.random.Generator) -> View:
    """Draw one of the views according to their shares (which need not sum to one)."""
    shares = np.array([view.share for view in views], float)
    return views[int(rng.choice(len(views), p=shares / shares.sum()))]


def augment(image: np.ndarray, size: int, view: View, rng: np.random.Generator) -> np.ndarray:
    """Show an image as a view would, flipped and rotated at random.

    Args:
        image: ``(h, w, 3) uint8``, RGB.
        size: Side of the result in pixels.
        view: Ranges to sample from.
        rng: Source of all randomness; the same state gives the same result.

    Returns:
        ``(size, size, 3) uint8``, RGB. Pixels beyond the image's border are its mirror image.
    """
    matrix = _geometry(image.shape[:2], size, view, rng)
    result = cv2.warpAffine(
        image,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    sigma = rng.uniform(*view.blur)
    if sigma > 0.3:
        result = cv2.GaussianBlur(result, (0, 0), sigma)
    result = _stain(result, view, rng)
    if view.noise > 0:
        noise = rng.standard_normal((size, size, 1), np.float32) * rng.uniform(0, view.noise)
        result = np.clip(result + noise, 0, 255).astype(np.uint8)
    return result


def _geometry(
    shape: tuple[int, int], size: int, view: View, rng: np.random.Generator
) -> np.ndarray:
    """Matrix from pixels of the result to pixels of the image, half-pixel centres on both sides."""
    height, width = shape
    zoom = math.exp(rng.uniform(math.log(view.zoom[0]), math.log(view.zoom[1])))
    angle = rng.uniform(0, 2 * math.pi)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    shift_x, shift_y = rng.uniform(-view.shift, view.shift, 2)
    cos, sin = math.cos(angle) / zoom / size, math.sin(angle) / zoom / size
    matrix = np.array(
        [[flip * cos * width, -sin * width, 0.0], [flip * sin * height, cos * height, 0.0]]
    )
    centre = (size - 1) / 2
    matrix[:, 2] = [(0.5 + shift_x) * width - 0.5, (0.5 + shift_y) * height - 0.5]
    matrix[:, 2] -= matrix[:, :2] @ [centre, centre]
    return matrix


def _stain(image: np.ndarray, view: View, rng: np.random.Generator) -> np.ndarray:
    """Turn the hue about the grey axis, then change saturation, gain and gamma."""
    angle = math.radians(rng.uniform(-view.hue, view.hue))
    saturation = rng.uniform(*view.saturation)
    if view.hue > 0 or view.saturation != (1.0, 1.0):
        grey = np.full((3, 3), 1 / 3)
        cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
        turn = grey + math.cos(angle) * (np.eye(3) - grey) + math.sin(angle) * cross
        image = cv2.transform(image, grey + saturation * (turn - grey))
    gamma = math.exp(rng.uniform(math.log(view.gamma[0]), math.log(view.gamma[1])))
    gains = (1 + rng.uniform(-view.gain, view.gain)) * (1 + rng.uniform(-view.gain, view.gain, 3))
    if gamma == 1.0 and view.gain == 0:
        return image
    levels = np.linspace(0, 1, 256) ** gamma
    table = np.clip(levels[:, None] * gains * 255 + 0.5, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[None])
