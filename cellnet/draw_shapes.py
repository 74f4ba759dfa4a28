"""Shapes and textures from which drawn cells are made.

Outlines are closed curves with random harmonics, masks are their antialiased fills, textures are
filtered noise. Everything works on a small square patch and takes its randomness from one NumPy
generator, so that a drawing is the same wherever it is made again. What the shapes mean (nucleus,
granule, red cell) is left to the modules that call them.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

_SHIFT = 4  # fractional bits of OpenCV's polygon coordinates

_SHEET = 640  # side of the sheets that noise is cut from

Array = np.ndarray


@lru_cache(maxsize=16)
def grid(n: int) -> tuple[Array, Array]:
    """Pixel coordinates of a square patch, relative to its centre.

    Args:
        n: Side of the patch in pixels.

    Returns:
        x and y, each (n, n) float32, in pixels.
    """
    axis = np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2)
    x, y = np.meshgrid(axis, axis)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


def smoothstep(values: Array, low: float, high: float) -> Array:
    """Map low to 0 and high to 1 with a smooth cubic between them, clipped outside."""
    t = np.clip((values - np.float32(low)) * np.float32(1.0 / (high - low)), 0.0, 1.0)
    return t * t * (np.float32(3.0) - np.float32(2.0) * t)


def outline(
    rng: np.random.Generator,
    radius: float,
    *,
    rough: float = 0.05,
    decay: float = 1.2,
    harmonics: int = 8,
    stretch: float = 1.0,
    angle: float = 0.0,
    centre: tuple[float, float] = (0.0, 0.0),
    points: int = 160,
    fray: float = 0.0,
) -> Array:
    """Draw a closed curve: a circle with random harmonics, stretched and turned.

    Args:
        rng: Source of randomness.
        radius: Mean radius in pixels.
        rough: Amplitude of the harmonics as a share of the radius.
        decay: How fast higher harmonics fade: the k-th has rough / k**decay.
        harmonics: Highest harmonic; the second is the lowest, so the centre stays.
        stretch: Ratio of the long to the short axis, the area being kept.
        angle: Direction of the long axis in radians.
        centre: Centre in patch coordinates.
        points: Number of vertices.
        fray: Amplitude of fine raggedness as a share of the radius.

    Returns:
        (points, 2) float64 vertices, x and y relative to the patch's centre.
    """
    theta = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
    order = np.arange(2, harmonics + 1)
    size = rng.standard_normal(len(order)) * rough / (order / 2.0) ** decay
    phase = rng.uniform(0.0, 2.0 * np.pi, len(order))
    r = radius * (1.0 + size @ np.cos(order[:, None] * theta[None, :] + phase[:, None]))
    if fray:
        order = np.arange(14, 54, 4) + rng.integers(0, 4, 10)
        size = rng.standard_normal(len(order)) * fray * 0.45
        phase = rng.uniform(0.0, 2.0 * np.pi, len(order))
        where = 0.6 + 0.6 * np.cos(rng.integers(1, 4) * theta + rng.uniform(0.0, 2.0 * np.pi))
        r = r + radius * where * (size @ np.cos(order[:, None] * theta + phase[:, None]))
    root = np.sqrt(stretch)
    x, y = r * np.cos(theta) * root, r * np.sin(theta) / root
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c * x - s * y + centre[0], s * x + c * y + centre[1]], axis=1)


def _fixed(curve: Array, n: int) -> Array:
    return np.rint((curve + (n - 1) / 2) * (1 << _SHIFT)).astype(np.int32)


def fill(n: int, *curves: Array) -> Array:
    """Fill closed curves on a patch.

    Args:
        n: Side of the patch in pixels.
        *curves: Vertices as `outline` gives them; where they overlap, both are covered.

    Returns:
        (n, n) float32 in [0, 1], antialiased.
    """
    canvas = np.zeros((n, n), np.uint8)
    for curve in curves:
        cv2.fillPoly(canvas, [_fixed(curve, n)], 255, cv2.LINE_AA, _SHIFT)
    return canvas.astype(np.float32) * np.float32(1.0 / 255.0)


def stroke(n: int, path: Array, widths: Array) -> Array:
    """Draw a path of varying width with round ends.

    Args:
        n: Side of the patch in pixels.
        path: (k, 2) points relative to the patch's centre.
        widths: (k,) full widths in pixels.

    Returns:
        (n, n) float32 in [0, 1], antialiased.
    """
    canvas = np.zeros((n, n), np.uint8)
    scale = 1 << _SHIFT
    for (x, y), width in zip(_fixed(path, n).tolist(), widths.tolist(), strict=True):
        radius = max(1, round(width / 2 * scale))
        cv2.circle(canvas, (x, y), radius, 255, -1, cv2.LINE_AA, _SHIFT)
    return canvas.astype(np.float32) * np.float32(1.0 / 255.0)


@lru_cache(maxsize=64)
def _bank(sigma: float) -> Array:
    """A sheet of smooth noise that `noise` cuts its pieces from; the same in every process."""
    field = np.random.default_rng(round(sigma * 100)).standard_normal((_SHEET, _SHEET), np.float32)
    if sigma > 0:
        field = cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    field -= field.mean()
    field /= field.std()
    field.setflags(write=False)
    return field


def noise(rng: np.random.Generator, n: int, sigma: float) -> Array:
    """Smooth noise of about zero mean and unit variance.

    Filtering fresh noise for each texture would take most of the time of a drawing, so a piece of a
    large sheet is cut out at a random place and turned at random.

    Args:
        rng: Source of the place and the turn.
        n: Side of the patch in pixels.
        sigma: Grain in pixels (the Gaussian that smooths white noise), kept to a tenth of a pixel.

    Returns:
        (n, n) float32.
    """
    sheet = _bank(round(float(sigma), 1))
    top, left, turn = (int(v) for v in rng.integers(0, (2**31, 2**31, 8)))
    if n > _SHEET:
        sheet = np.pad(sheet, (0, n - _SHEET), mode="wrap")
    span = sheet.shape[0] - n + 1
    top, left = top % span, left % span
    piece = np.rot90(sheet[top : top + n, left : left + n], turn % 4)
    return piece[::-1] if turn >= 4 else piece


def soften(mask: Array, rng: np.random.Generator, *, blur: float, wobble: float) -> Array:
    """Round the corners of a mask and let its edge wander.

    Args:
        mask: (n, n) float32 in [0, 1].
        rng: Source of randomness for the edge.
        blur: Radius in pixels of the rounding.
        wobble: How far the edge wanders, about that share of `blur`.

    Returns:
        (n, n) float32 in [0, 1].
    """
    field = cv2.GaussianBlur(mask, (0, 0), blur)
    if wobble:
        n = mask.shape[0]
        wave = np.float32(0.7) * noise(rng, n, 5.0) + np.float32(0.5) * noise(rng, n, 2.2)
        edge = np.float32(4.0) * field * (np.float32(1.0) - field)
        field = field + np.float32(wobble * 0.4) * wave * edge
    half = 0.35 / blur
    return smoothstep(field, 0.5 - half, 0.5 + half)


def depth(mask: Array) -> Array:
    """Distance in pixels from each point inside a mask to its edge, (n, n) float32, 0 outside."""
    return cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 3)


def dots(
    rng: np.random.Generator,
    n: int,
    count: int,
    radius: float,
    *,
    within: float,
    keep: float = 1.0,
    spread: float = 0.45,
) -> Array:
    """Scatter small round dots over a disc.

    Args:
        rng: Source of randomness; the same number of draws is made whatever `keep` is.
        n: Side of the patch in pixels.
        count: Number of dots.
        radius: Gaussian radius of a dot in pixels.
        within: Radius in pixels of the disc that they fill.
        keep: Share of the dots that is drawn.
        spread: Relative spread of a dot's strength about 1.

    Returns:
        (n, n) float32, at least 0; about 1 at the centre of a lone dot.
    """
    r = within * np.sqrt(rng.random(count))
    theta = rng.uniform(0.0, 2.0 * np.pi, count)
    weight = np.clip(1.0 + spread * rng.standard_normal(count), 0.2, 2.2)
    weight = weight * (rng.random(count) < keep)
    x = np.rint(r * np.cos(theta) + (n - 1) / 2).astype(np.intp).clip(0, n - 1)
    y = np.rint(r * np.sin(theta) + (n - 1) / 2).astype(np.intp).clip(0, n - 1)
    field = np.bincount(y * n + x, weights=weight, minlength=n * n).reshape(n, n)
    field = cv2.GaussianBlur(field.astype(np.float32), (0, 0), radius)
    return field * np.float32(2.0 * np.pi * radius * radius)
