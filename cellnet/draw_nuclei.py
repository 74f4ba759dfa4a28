"""Nuclei of drawn cells: their shapes, and the chromatin that fills them.

A shape is a mask: lobes in a chain joined by bridges, a horseshoe, a disc with wedges or dents cut
into it. Chromatin is filtered noise between a dark and a pale colour under a dark membrane. Which
cell has which nucleus is decided in `draw_cells`.
"""

from __future__ import annotations

from statistics import NormalDist

import cv2
import numpy as np

from cellnet.draw_scene import density
from cellnet.draw_shapes import Array, depth, fill, noise, outline, smoothstep, soften, stroke

Colour = tuple[float, float, float]

_DARK: Colour = (58.0, 22.0, 112.0)
_LIGHT: Colour = (170.0, 128.0, 166.0)


def jitter(rng: np.random.Generator, colour: Colour, spread: float = 5.0) -> Colour:
    """Vary a colour: mostly its brightness by `spread` grey levels, a little its hue."""
    shift = rng.normal(0.0, spread) + rng.normal(0.0, spread * 0.5, 3)
    return tuple(np.clip(np.asarray(colour) + shift, 5.0, 252.0).tolist())


def chromatin(
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
    d0, d1 = density(jitter(rng, dark, 4.0)), density(jitter(rng, pale, 5.0))
    return d0 + gaps * (d1 - d0)


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


def lobed(rng: np.random.Generator, n: int, lobes: int, size: float, reach: float) -> Array:
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


def band(rng: np.random.Generator, n: int, reach: float, width: float) -> Array:
    """Horseshoe nucleus: a thick arc, a little narrower in the middle."""
    start = rng.uniform(0, 2 * np.pi)
    span = np.pi * rng.uniform(0.95, 1.5) * rng.choice([-1.0, 1.0])
    path = _arc(reach, start, span, 40, bend=rng.uniform(0.95, 1.2))
    path -= path.mean(axis=0) * rng.uniform(0.3, 0.8)
    t = np.linspace(-1.0, 1.0, 40)
    wave = rng.normal(0.0, 0.06) * np.cos(3 * t + rng.uniform(0, 6))
    widths = width * (rng.uniform(0.72, 0.95) + 0.25 * t**2 + wave)
    return soften(stroke(n, path, widths), rng, blur=2.2, wobble=0.45)


def notched(rng: np.random.Generator, n: int, radius: float, notch: float, folds: int) -> Array:
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


def rounded(
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


def shift(mask: Array, dx: float, dy: float) -> Array:
    """Move a mask by (dx, dy) pixels; what leaves the patch is lost."""
    move = np.float32([[1, 0, dx], [0, 1, dy]])
    return cv2.warpAffine(mask, move, (mask.shape[1], mask.shape[0]), flags=cv2.INTER_LINEAR)
