"""The eight kinds of cell, drawn from nothing on a patch of optical density.

Each kind follows what a haematologist names it by: size, shape of the nucleus, chromatin,
colour of the cytoplasm, granules (May Gruenwald-Giemsa, as an automatic slide scanner shows it).
Colours are RGB on the reference slide. Red cells, light and camera are added elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from cellnet.draw_nuclei import Colour, band, chromatin, jitter, lobed, notched, rounded, shift
from cellnet.draw_scene import density
from cellnet.draw_shapes import Array, depth, dots, fill, grid, noise, outline, smoothstep

PATCH = 221  # side of the patch in pixels, at the usual framing


@dataclass
class Layer:
    """A drawn cell on a square patch.

    Attributes:
        density: (3, n, n) float32 optical density, weighted by `alpha`.
        alpha: (n, n) float32 in [0, 1], 1 inside the cell.
        nucleus: (n, n) float32 in [0, 1], 1 inside the nucleus.
        radius: Mean radius of the cell in pixels.
    """

    density: Array
    alpha: Array
    nucleus: Array
    radius: float


def _over(below: Array, colour: Colour, amount: Array) -> Array:
    """Cover density by a colour, by an amount in [0, 1]."""
    return below * (np.float32(1.0) - amount) + density(colour) * amount


def _body(
    rng: np.random.Generator, n: int, curve: Array, colour: Colour, *, mottle: float, rim: float
) -> tuple[Array, Array]:
    """Mask and density of plain cytoplasm: a tint with slow mottling and a darker rim."""
    mask = cv2.GaussianBlur(fill(n, curve), (0, 0), 0.9)
    inside = depth(mask)
    shade = np.float32(1.0) + np.float32(mottle) * noise(rng, n, 7.0)
    shade += np.float32(mottle * 0.6) * (noise(rng, n, 2.2) + noise(rng, n, 1.0))
    shade += np.float32(rim) * np.exp(inside * np.float32(-1.0 / 3.0))
    layer = density(colour) * np.maximum(shade, np.float32(0.1))
    return mask, layer


def _put(below: Array, above: Array, mask: Array) -> Array:
    return below + (above - below) * mask


def _vacuoles(rng: np.random.Generator, layer: Array, n: int, count: int, reach: float) -> Array:
    for _ in range(count):
        r, a = reach * rng.uniform(0.35, 1.0), rng.uniform(0, 2 * np.pi)
        hole = outline(
            rng, rng.uniform(1.8, 4.5), rough=0.1, points=24, centre=(r * np.cos(a), r * np.sin(a))
        )
        layer = layer * (np.float32(1.0) - np.float32(0.8) * fill(n, hole))
    return layer


def neutrophil(rng: np.random.Generator, n: int, granularity: float) -> Layer:
    """Segmented or band neutrophil; `granularity` scales number and strength of its granules."""
    radius = rng.uniform(61, 72)
    curve = outline(
        rng,
        radius,
        rough=0.022,
        fray=0.006,
        stretch=rng.uniform(1.0, 1.15),
        angle=rng.uniform(0, np.pi),
    )
    tint = jitter(rng, (226.0, 189.0, 187.0), 4.0)
    mask, layer = _body(rng, n, curve, tint, mottle=0.06, rim=0.2)
    # The draws below are the same whatever the granularity, so one cell can be drawn in all grades.
    root = float(np.sqrt(granularity))
    strength = rng.uniform(0.6, 1.05)
    fine = dots(rng, n, int(rng.uniform(700, 1200)), 0.85, within=radius * 1.1, keep=root)
    bold = dots(rng, n, int(rng.uniform(20, 140)), 1.15, within=radius * 1.1, keep=root)
    haze = np.maximum(noise(rng, n, 1.5), 0)
    lilac = density((150.0, 90.0, 150.0)) * np.float32(strength * root)
    layer = (
        layer
        + (np.float32(0.42) * fine + np.float32(0.55) * bold + np.float32(0.12) * haze) * lilac
    )
    if rng.random() < 0.3:
        nucleus = band(rng, n, radius * rng.uniform(0.44, 0.52), radius * rng.uniform(0.42, 0.54))
    else:
        lobes = int(rng.choice([2, 3, 4, 5], p=[0.2, 0.45, 0.28, 0.07]))
        size = radius * {2: 0.37, 3: 0.32, 4: 0.275, 5: 0.24}[lobes] * rng.uniform(0.93, 1.07)
        nucleus = lobed(rng, n, lobes, size, radius * 0.92)
    texture = chromatin(
        rng, nucleus, grain=1.45, light=0.13, contrast=rng.uniform(0.9, 1.3), rough=0.15
    )
    layer = _put(layer, texture, nucleus)
    return Layer(layer * mask, mask, nucleus, radius)


def eosinophil(rng: np.random.Generator, n: int, granularity: float) -> Layer:
    """Two lobes in a cell packed with coarse orange-red granules."""
    radius = rng.uniform(62, 72)
    curve = outline(
        rng,
        radius,
        rough=0.025,
        fray=0.007,
        stretch=rng.uniform(1.0, 1.2),
        angle=rng.uniform(0, np.pi),
    )
    mask, layer = _body(rng, n, curve, (204.0, 168.0, 186.0), mottle=0.08, rim=0.3)
    packed = dots(rng, n, 1900, 1.25, within=radius * 1.1)
    patch = smoothstep(noise(rng, n, 16.0), -2.3, -1.5) * np.float32(granularity)
    amount = np.minimum(np.float32(0.26) * packed + np.float32(0.35), 1.0) * patch
    layer = _over(layer, jitter(rng, (184.0, 102.0, 122.0), 6.0), amount)
    deep = smoothstep(noise(rng, n, 1.5) + np.float32(0.4) * noise(rng, n, 9.0), 0.3, 1.8)
    layer = _over(layer, (160.0, 72.0, 125.0), np.float32(0.7) * deep * patch)
    edge = np.exp(depth(mask) * np.float32(-1.0 / 2.5))
    layer = layer * (np.float32(1.0) + np.float32(0.35) * edge)
    lobes = int(rng.choice([2, 3], p=[0.8, 0.2]))
    size = radius * {2: 0.43, 3: 0.35}[lobes] * rng.uniform(0.92, 1.08)
    nucleus = lobed(rng, n, lobes, size, radius * 0.95)
    texture = chromatin(
        rng, nucleus, grain=1.5, light=0.24, contrast=0.85, dark=(64.0, 25.0, 124.0)
    )
    layer = _put(layer, texture, nucleus)
    return Layer(layer * mask, mask, nucleus, radius)


def basophil(rng: np.random.Generator, n: int, granularity: float) -> Layer:
    """Coarse purple-black granules over a blurred nucleus and the cytoplasm."""
    radius = rng.uniform(54, 66)
    curve = outline(
        rng,
        radius,
        rough=0.04,
        fray=0.02,
        stretch=rng.uniform(1.0, 1.15),
        angle=rng.uniform(0, np.pi),
    )
    tint = jitter(rng, (188.0, 134.0, 174.0), 9.0)
    mask, layer = _body(rng, n, curve, tint, mottle=0.12, rim=0.2)
    nucleus = lobed(rng, n, int(rng.choice([2, 3])), radius * rng.uniform(0.44, 0.52), radius)
    nucleus = cv2.GaussianBlur(nucleus, (0, 0), 1.5)
    texture = chromatin(
        rng, nucleus, grain=1.4, light=0.45, contrast=0.5, dark=(80.0, 34.0, 134.0), rim=0.3
    )
    layer = _put(layer, texture, nucleus)
    count = radius * radius * rng.uniform(0.14, 0.24)
    field = dots(rng, n, int(count), rng.uniform(1.3, 1.8), within=radius * 1.02, spread=0.3)
    grains = smoothstep(field, 0.5, 1.1) * np.float32(granularity)
    layer = _over(layer, jitter(rng, (52.0, 18.0, 102.0), 4.0), grains * np.float32(0.92))
    return Layer(layer * mask, mask, nucleus, radius)


def lymphocyte(rng: np.random.Generator, n: int, granularity: float) -> Layer:
    """Round dense nucleus that leaves a thin blue rim."""
    radius = rng.uniform(43, 54)
    curve = outline(
        rng,
        radius,
        rough=0.035,
        fray=0.018,
        stretch=rng.uniform(1.0, 1.12),
        angle=rng.uniform(0, np.pi),
    )
    blue = jitter(rng, (148.0, 132.0, 178.0), 9.0)
    mask, layer = _body(rng, n, curve, blue, mottle=0.2, rim=0.25)
    share = rng.uniform(0.8, 0.94)
    off = radius * (1 - share) * rng.uniform(0.2, 0.9)
    turn = rng.uniform(0, 2 * np.pi)
    nucleus = rounded(rng, n, radius * share, 0.03, 0.2, int(rng.random() < 0.2))
    nucleus = shift(nucleus, off * np.cos(turn), off * np.sin(turn)) * mask
    if rng.random() < 0.2:
        grains = dots(rng, n, 16, 1.4, within=radius)
        layer = _over(layer, (95.0, 35.0, 130.0), np.minimum(grains, 1) * np.float32(granularity))
    texture = chromatin(
        rng,
        nucleus,
        grain=1.5,
        light=0.25,
        contrast=rng.uniform(0.35, 0.75),
        dark=(60.0, 26.0, 116.0),
    )
    layer = _put(layer, texture, nucleus)
    return Layer(layer * mask, mask, nucleus, radius)


def monocyte(rng: np.random.Generator, n: int, granularity: float) -> Layer:
    """Large cell: folded, kidney-shaped, lacy nucleus in grey-blue cytoplasm with vacuoles."""
    radius = rng.uniform(66, 80)
    curve = outline(
        rng,
        radius,
        rough=0.06,
        fray=0.010,
        stretch=rng.uniform(1.0, 1.2),
        angle=rng.uniform(0, np.pi),
    )
    grey = jitter(rng, (176.0, 154.0, 183.0), 7.0)
    mask, layer = _body(rng, n, curve, grey, mottle=0.12, rim=0.2)
    dust = dots(rng, n, 700, 0.8, within=radius * 1.1)
    layer = layer + (np.float32(0.22 * granularity) * dust) * density((140, 90, 150))
    if rng.random() < 0.65:
        layer = _vacuoles(rng, layer, n, int(rng.integers(1, 10)), radius * 0.9)
    if rng.random() < 0.45:
        nucleus = band(rng, n, radius * rng.uniform(0.38, 0.46), radius * rng.uniform(0.7, 0.86))
    else:
        nucleus = notched(
            rng,
            n,
            radius * rng.uniform(0.68, 0.78),
            rng.uniform(0.35, 0.75),
            int(rng.integers(1, 4)),
        )
    texture = chromatin(
        rng, nucleus, grain=1.15, light=0.42, contrast=0.95, dark=(72.0, 27.0, 125.0)
    )
    layer = _put(layer, texture, nucleus)
    return Layer(layer * mask, mask, nucleus, radius)


def ig(rng: np.random.Generator, n: int, granularity: float) -> Layer:
    """Immature granulocyte: promyelocyte, myelocyte or metamyelocyte."""
    stage = int(rng.choice(3, p=[0.3, 0.4, 0.3]))
    radius = rng.uniform(66, 78) - 3.0 * stage
    curve = outline(
        rng,
        radius,
        rough=0.055,
        fray=0.01,
        stretch=rng.uniform(1.0, 1.2),
        angle=rng.uniform(0, np.pi),
    )
    tint = [(150.0, 130.0, 190.0), (185.0, 155.0, 188.0), (212.0, 178.0, 192.0)][stage]
    mask, layer = _body(rng, n, curve, jitter(rng, tint, 6.0), mottle=0.12, rim=0.25)
    if stage == 2:
        nucleus = notched(rng, n, radius * rng.uniform(0.64, 0.72), rng.uniform(0.35, 0.65), 1)
    else:
        share = rng.uniform(0.74, 0.86) if stage == 0 else rng.uniform(0.66, 0.78)
        nucleus = rounded(rng, n, radius * share, 0.06, rng.uniform(0.1, 0.3), int(rng.integers(2)))
    turn, off = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.08, 0.26)
    nucleus = shift(nucleus, off * np.cos(turn), off * np.sin(turn)) * mask
    texture = chromatin(
        rng,
        nucleus,
        grain=1.1 + 0.15 * stage,
        light=0.42,
        contrast=rng.uniform(0.6, 1.0),
        dark=(68.0, 24.0, 122.0),
    )
    layer = _put(layer, texture, nucleus)
    count = int([rng.uniform(900, 2000), rng.uniform(400, 1300), rng.uniform(400, 1000)][stage])
    reach, wide = radius * 1.05, 0.85 if stage < 2 else 0.75
    grains = dots(rng, n, int(count * 0.7), wide, within=reach, spread=0.7)
    grains += dots(rng, n, int(count * 0.3), wide * 1.35, within=reach, spread=0.7)
    grains = np.minimum(grains * np.float32([0.85, 0.8, 0.5][stage]), 1.0)
    grains *= np.float32(granularity * rng.uniform(0.35, 1.0))
    grains *= np.float32(1.0) - nucleus * np.float32([0.35, 0.75, 1.0][stage])
    layer = _over(layer, (90.0, 32.0, 135.0), grains)
    return Layer(layer * mask, mask, nucleus, radius)


def erythroblast(rng: np.random.Generator, n: int, granularity: float) -> Layer:
    """Small cell: very round, dense nucleus in smooth grey-pink to blue cytoplasm."""
    age = rng.random()
    radius = rng.uniform(44, 52) - 4.0 * age
    curve = outline(
        rng, radius, rough=0.05, stretch=rng.uniform(1.0, 1.2), angle=rng.uniform(0, np.pi)
    )
    young, old = np.array([118.0, 104.0, 162.0]), np.array([186.0, 160.0, 180.0])
    tint = jitter(rng, tuple((young + (old - young) * age).tolist()), 6.0)
    mask, layer = _body(rng, n, curve, tint, mottle=0.1, rim=0.15)
    r = radius * (0.72 - 0.14 * age) * rng.uniform(0.93, 1.05)
    off, turn = (radius - r) * rng.uniform(0.1, 0.85), rng.uniform(0, 2 * np.pi)
    curve = outline(
        rng,
        r,
        rough=0.02,
        stretch=rng.uniform(1.0, 1.1),
        angle=turn,
        centre=(off * np.cos(turn), off * np.sin(turn)),
    )
    nucleus = cv2.GaussianBlur(fill(n, curve), (0, 0), 0.7)
    texture = chromatin(
        rng,
        nucleus,
        grain=2.0,
        light=0.24,
        contrast=0.9 * (1.0 - age),
        dark=(56.0, 20.0, 112.0),
        rough=0.05,
    )
    layer = _put(layer, texture, nucleus)
    return Layer(layer * mask, mask, nucleus, radius)


def platelet(rng: np.random.Generator, n: int, granularity: float) -> Layer:
    """Small fragment without a nucleus: purple granules in a pale blue, ragged body."""
    radius = rng.uniform(18, 31)
    curve = outline(
        rng,
        radius,
        rough=0.075,
        fray=0.05,
        decay=0.8,
        stretch=rng.uniform(1.0, 1.35),
        angle=rng.uniform(0, np.pi),
    )
    mask, layer = _body(
        rng, n, curve, jitter(rng, (186.0, 160.0, 194.0), 7.0), mottle=0.2, rim=0.15
    )
    x, y = grid(n)
    core = np.exp(-(((x * x + y * y) / np.float32((radius * 0.92) ** 2)) ** 3))
    field = dots(rng, n, int(radius * radius * rng.uniform(0.3, 0.5)), 1.05, within=radius)
    grains = np.minimum(field * np.float32(0.8), 1.0) * core
    layer = _over(layer, jitter(rng, (98.0, 35.0, 135.0), 8.0), grains * np.float32(granularity))
    return Layer(layer * mask, mask, np.zeros_like(mask), radius)


KINDS: dict[str, Callable[[np.random.Generator, int, float], Layer]] = {
    "basophil": basophil,
    "eosinophil": eosinophil,
    "erythroblast": erythroblast,
    "ig": ig,
    "lymphocyte": lymphocyte,
    "monocyte": monocyte,
    "neutrophil": neutrophil,
    "platelet": platelet,
}
