"""The eight kinds of cell, drawn from nothing on a patch of optical density.

Each kind follows what a haematologist names it by: size, shape of the nucleus, chromatin,
colour of the cytoplasm, granules (May Gruenwald-Giemsa, as an automatic slide scanner shows it).
Colours are RGB on the reference slide. Red cells, light and camera are added elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import cv2
import numpy as np

from cellnet.draw_scene import density
from cellnet.draw_shapes import (
    Array,
    depth,
    dots,
    fill,
    grid,
    noise,
    outline,
    smoothstep,
    soften,
    stroke,
)

Colour = tuple[float, float, float]
PATCH = 221  # side of the patch in pixels, at the usual framing

_DARK: Colour = (58.0, 22.0, 112.0)
_LIGHT: Colour = (170.0, 128.0, 166.0)


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


def _jitter(rng: np.random.Generator, colour: Colour, spread: float = 5.0) -> Colour:
    shift = rng.normal(0.0, spread) + rng.normal(0.0, spread * 0.5, 3)
    return tuple(np.clip(np.asarray(colour) + shift, 5.0, 252.0).tolist())


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


def _chromatin(
    rng: np.random.Generator,
    mask: Array,
    *,
    grain: float,
    light: float,
    contrast: float,
    rough: float = 0.1,
    rim: float = 1.0,
    dark: Colour = _DARK,
    pale: Colour = _LIGHT,
) -> Array:
    """Density of a nucleus: dark clumps, light gaps between them, a dark membrane.

    `grain` is the size of clumps in pixels, `light` the share of light gaps, `contrast` how light
    the gaps become (1: `pale`), `rough` the fine texture of the clumps themselves.
    """
    n = mask.shape[0]
    field = np.float32(0.9) * noise(rng, n, grain) + np.float32(0.44) * noise(rng, n, grain * 2.2)
    cut = NormalDist().inv_cdf(1.0 - light)
    gaps = smoothstep(field, cut - 0.8, cut + 1.6)
    strength = np.float32(contrast) * (np.float32(1.0) + np.float32(0.2) * noise(rng, n, 9.0))
    gaps = gaps * strength + np.float32(rough) * (noise(rng, n, max(0.8, grain * 0.5)) + 1)
    edge = np.exp(depth(mask) * np.float32(-1.0 / 1.6)) * np.float32(rim)
    gaps = np.clip(gaps * (np.float32(1.0) - np.minimum(edge, 1.0)), 0.0, 1.0)
    d0, d1 = density(_jitter(rng, dark, 4.0)), density(_jitter(rng, pale, 5.0))
    return d0 + gaps * (d1 - d0)


def _put(below: Array, above: Array, mask: Array) -> Array:
    return below + (above - below) * mask


def _arc(radius: float, start: float, span: float, count: int, bend: float = 1.0) -> Array:
    t = np.linspace(0.0, 1.0, count)
    angle = start + span * t
    r = radius * (1.0 + (bend - 1.0) * (2 * t - 1) ** 2)
    return np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)


def _chain(rng: np.random.Generator, lobes: int, step: float, reach: float) -> Array:
    """Centres of lobes: a walk that mostly curls one way, kept within `reach` of the centre."""
    heading, way = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0])
    spots = [np.zeros(2)]
    curl = 2.0 * np.pi / rng.uniform(3.6, 5.5)
    for _ in range(lobes - 1):
        length = step * rng.uniform(0.9, 1.15)
        spots.append(spots[-1] + length * np.array([np.cos(heading), np.sin(heading)]))
        heading += way * curl * rng.uniform(0.6, 1.35)
        if rng.random() < 0.15:
            way = -way
    chain = np.stack(spots)
    chain -= chain.mean(axis=0)
    chain += rng.normal(0.0, reach * 0.12, 2)
    far = np.hypot(chain[:, 0], chain[:, 1])
    return chain * np.minimum(1.0, reach / np.maximum(far, 1e-6))[:, None]


def _lobes(rng: np.random.Generator, n: int, lobes: int, size: float, reach: float) -> Array:
    """Nucleus of `lobes` lobes of radius `size`, joined by thin bridges, within `reach`."""
    centres = _chain(rng, lobes, size * rng.uniform(1.75, 2.15), reach - size * 0.85)
    curves = []
    for i, centre in enumerate(centres):
        along = centres[min(i + 1, lobes - 1)] - centres[max(i - 1, 0)]
        turn = np.arctan2(along[1], along[0]) + rng.normal(0.0, 0.7)
        curves.append(
            outline(
                rng,
                size * rng.uniform(0.86, 1.14),
                rough=0.1,
                stretch=rng.uniform(1.0, 1.5),
                angle=turn,
                centre=(centre[0], centre[1]),
            )
        )
    body = soften(fill(n, *curves), rng, blur=1.9, wobble=0.4)
    links = np.zeros_like(body)
    for a, b in zip(centres[:-1], centres[1:], strict=True):
        t = np.linspace(0.0, 1.0, 24)[:, None]
        middle = (a + b) / 2 * rng.uniform(0.9, 1.25)
        path = (1 - t) ** 2 * a + 2 * t * (1 - t) * middle + t**2 * b
        width = rng.uniform(2.5, 9.0)
        widths = width + (size * 0.9 - width) * np.abs(2 * t[:, 0] - 1) ** 2.0
        links = np.maximum(links, stroke(n, path, widths))
    return np.maximum(body, cv2.GaussianBlur(links, (0, 0), 0.7))


def _band(rng: np.random.Generator, n: int, reach: float, width: float) -> Array:
    """Horseshoe nucleus: a thick arc, a little narrower in the middle."""
    start = rng.uniform(0, 2 * np.pi)
    span = np.pi * rng.uniform(0.95, 1.5) * rng.choice([-1.0, 1.0])
    path = _arc(reach, start, span, 40, bend=rng.uniform(0.95, 1.2))
    path -= path.mean(axis=0) * rng.uniform(0.3, 0.8)
    t = np.linspace(-1.0, 1.0, 40)
    wave = rng.normal(0.0, 0.06) * np.cos(3 * t + rng.uniform(0, 6))
    widths = width * (rng.uniform(0.72, 0.95) + 0.25 * t**2 + wave)
    return soften(stroke(n, path, widths), rng, blur=2.2, wobble=0.45)


def _notched(rng: np.random.Generator, n: int, radius: float, notch: float, folds: int) -> Array:
    """Round nucleus with wedges cut into its edge (`notch`: 0 none, 1 to the centre)."""
    curve = outline(
        rng, radius, rough=0.06, stretch=rng.uniform(1.0, 1.25), angle=rng.uniform(0, np.pi)
    )
    mask = fill(n, curve)
    turn = rng.uniform(0, 2 * np.pi)
    for _ in range(folds):
        lean = turn + rng.normal(0.0, 0.3)
        edge = np.array([np.cos(lean), np.sin(lean)]) * radius * 1.25
        tip = np.array([np.cos(turn), np.sin(turn)]) * radius * (1.0 - notch)
        t = np.linspace(0.0, 1.0, 24)
        path = edge + (tip - edge) * t[:, None]
        wide = rng.uniform(0.55, 1.0)
        cut = stroke(n, path, radius * notch * wide * (1.15 - 0.95 * t))
        mask = mask * (np.float32(1.0) - cut)
        turn += rng.uniform(1.3, 2.8)
        notch *= rng.uniform(0.4, 0.8)
    return soften(mask, rng, blur=2.2, wobble=0.4)


def _round(
    rng: np.random.Generator, n: int, radius: float, rough: float, notch: float, folds: int
) -> Array:
    """Round or oval nucleus, at most with shallow dents of `notch` of its radius."""
    curve = outline(
        rng, radius, rough=rough, stretch=rng.uniform(1.0, 1.2), angle=rng.uniform(0, np.pi)
    )
    mask = fill(n, curve)
    for _ in range(folds):
        turn, wide = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.6)
        far = radius * (1.05 - notch + wide)
        dent = np.array([[np.cos(turn) * far, np.sin(turn) * far]])
        mask = mask * (np.float32(1.0) - stroke(n, dent, np.array([2 * wide * radius])))
    return soften(mask, rng, blur=2.2, wobble=0.2)


def _shift(mask: Array, dx: float, dy: float) -> Array:
    move = np.float32([[1, 0, dx], [0, 1, dy]])
    return cv2.warpAffine(mask, move, (mask.shape[1], mask.shape[0]), flags=cv2.INTER_LINEAR)


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
    tint = _jitter(rng, (226.0, 189.0, 187.0), 4.0)
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
        nucleus = _band(rng, n, radius * rng.uniform(0.44, 0.52), radius * rng.uniform(0.42, 0.54))
    else:
        lobes = int(rng.choice([2, 3, 4, 5], p=[0.2, 0.45, 0.28, 0.07]))
        size = radius * {2: 0.37, 3: 0.32, 4: 0.275, 5: 0.24}[lobes] * rng.uniform(0.93, 1.07)
        nucleus = _lobes(rng, n, lobes, size, radius * 0.92)
    texture = _chromatin(rng, nucleus, grain=1.45, light=0.13, contrast=rng.uniform(0.9, 1.3))
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
    patch = smoothstep(noise(rng, n, 16.0), -1.9, -1.2) * np.float32(granularity)
    amount = np.minimum(np.float32(0.26) * packed + np.float32(0.35), 1.0) * patch
    layer = _over(layer, _jitter(rng, (184.0, 102.0, 122.0), 6.0), amount)
    deep = smoothstep(noise(rng, n, 1.5) + np.float32(0.4) * noise(rng, n, 9.0), 0.3, 1.8)
    layer = _over(layer, (160.0, 72.0, 125.0), np.float32(0.7) * deep * patch)
    edge = np.exp(depth(mask) * np.float32(-1.0 / 2.5))
    layer = layer * (np.float32(1.0) + np.float32(0.35) * edge)
    lobes = int(rng.choice([2, 3], p=[0.8, 0.2]))
    size = radius * {2: 0.43, 3: 0.35}[lobes] * rng.uniform(0.92, 1.08)
    nucleus = _lobes(rng, n, lobes, size, radius * 0.95)
    texture = _chromatin(
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
    tint = _jitter(rng, (200.0, 150.0, 180.0), 8.0)
    mask, layer = _body(rng, n, curve, tint, mottle=0.12, rim=0.2)
    nucleus = _lobes(rng, n, int(rng.choice([2, 3])), radius * rng.uniform(0.44, 0.52), radius)
    nucleus = cv2.GaussianBlur(nucleus, (0, 0), 1.5)
    texture = _chromatin(
        rng, nucleus, grain=1.4, light=0.45, contrast=0.5, dark=(80.0, 34.0, 134.0), rim=0.3
    )
    layer = _put(layer, texture, nucleus)
    count = radius * radius * rng.uniform(0.11, 0.19)
    field = dots(rng, n, int(count), rng.uniform(1.6, 2.0), within=radius * 1.02, spread=0.3)
    grains = smoothstep(field, 0.5, 0.9) * np.float32(granularity)
    layer = _over(layer, _jitter(rng, (52.0, 18.0, 102.0), 4.0), grains * np.float32(0.92))
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
    blue = _jitter(rng, (160.0, 144.0, 188.0), 9.0)
    mask, layer = _body(rng, n, curve, blue, mottle=0.2, rim=0.25)
    share = rng.uniform(0.8, 0.94)
    off = radius * (1 - share) * rng.uniform(0.2, 0.9)
    turn = rng.uniform(0, 2 * np.pi)
    nucleus = _round(rng, n, radius * share, 0.03, 0.2, int(rng.random() < 0.2))
    nucleus = _shift(nucleus, off * np.cos(turn), off * np.sin(turn)) * mask
    if rng.random() < 0.2:
        grains = dots(rng, n, 16, 1.4, within=radius)
        layer = _over(layer, (95.0, 35.0, 130.0), np.minimum(grains, 1) * np.float32(granularity))
    texture = _chromatin(
        rng,
        nucleus,
        grain=1.5,
        light=0.25,
        contrast=rng.uniform(0.25, 0.65),
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
    grey = _jitter(rng, (176.0, 154.0, 183.0), 7.0)
    mask, layer = _body(rng, n, curve, grey, mottle=0.12, rim=0.2)
    dust = dots(rng, n, 700, 0.8, within=radius * 1.1)
    layer = layer + (np.float32(0.22 * granularity) * dust) * density((140, 90, 150))
    if rng.random() < 0.65:
        layer = _vacuoles(rng, layer, n, int(rng.integers(1, 10)), radius * 0.9)
    if rng.random() < 0.45:
        nucleus = _band(rng, n, radius * rng.uniform(0.38, 0.46), radius * rng.uniform(0.7, 0.86))
    else:
        nucleus = _notched(
            rng,
            n,
            radius * rng.uniform(0.68, 0.78),
            rng.uniform(0.35, 0.75),
            int(rng.integers(1, 4)),
        )
    texture = _chromatin(
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
    mask, layer = _body(rng, n, curve, _jitter(rng, tint, 6.0), mottle=0.12, rim=0.25)
    if stage == 2:
        nucleus = _notched(rng, n, radius * rng.uniform(0.64, 0.72), rng.uniform(0.35, 0.65), 1)
    else:
        share = rng.uniform(0.7, 0.8) if stage == 0 else rng.uniform(0.62, 0.72)
        nucleus = _round(rng, n, radius * share, 0.06, rng.uniform(0.1, 0.3), int(rng.integers(2)))
    turn, off = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.08, 0.26)
    nucleus = _shift(nucleus, off * np.cos(turn), off * np.sin(turn)) * mask
    texture = _chromatin(
        rng,
        nucleus,
        grain=1.1 + 0.15 * stage,
        light=0.42,
        contrast=rng.uniform(0.7, 1.0),
        dark=(72.0, 26.0, 122.0),
        rim=0.8,
    )
    layer = _put(layer, texture, nucleus)
    count = int([rng.uniform(900, 2000), rng.uniform(400, 1300), rng.uniform(400, 1000)][stage])
    reach, wide = radius * 1.05, 0.85 if stage < 2 else 0.75
    grains = dots(rng, n, int(count * 0.7), wide, within=reach, spread=0.7)
    grains += dots(rng, n, int(count * 0.3), wide * 1.35, within=reach, spread=0.7)
    grains = np.minimum(grains * np.float32(0.85), 1.0) * np.float32(granularity)
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
    young, old = np.array([118.0, 108.0, 172.0]), np.array([190.0, 165.0, 188.0])
    tint = _jitter(rng, tuple((young + (old - young) * age).tolist()), 6.0)
    mask, layer = _body(rng, n, curve, tint, mottle=0.06, rim=0.15)
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
    texture = _chromatin(
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
        rng, n, curve, _jitter(rng, (186.0, 160.0, 194.0), 7.0), mottle=0.2, rim=0.15
    )
    x, y = grid(n)
    core = np.exp(-(((x * x + y * y) / np.float32((radius * 0.92) ** 2)) ** 3))
    field = dots(rng, n, int(radius * radius * rng.uniform(0.3, 0.5)), 1.05, within=radius)
    grains = np.minimum(field * np.float32(0.8), 1.0) * core
    layer = _over(layer, _jitter(rng, (98.0, 35.0, 135.0), 8.0), grains * np.float32(granularity))
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
