"""The field around a drawn cell: slide, stain, red cells, stray platelets, and the camera.

Light is multiplied by what it passes: everything that is drawn adds optical density (the natural
logarithm of background over colour, by channel), and the picture is background times exp(-density).
So overlapping red cells darken as they do on a slide. The white cell itself comes from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cellnet.draw_shapes import Array, grid, noise, smoothstep

REFERENCE = (253.0, 227.0, 200.0)  # the empty slide, about which all colours are given


def density(rgb: tuple[float, float, float]) -> Array:
    """Optical density of a colour seen on the reference slide.

    Args:
        rgb: Colour in [0, 255].

    Returns:
        (3, 1, 1) float32, 0 for the slide itself; times a mask (n, n) it makes a layer.
    """
    ratio = np.asarray(REFERENCE) / np.maximum(rgb, 1.0)
    return np.log(ratio).astype(np.float32)[:, None, None]


@dataclass(frozen=True)
class SmearLook:
    """How one smear was stained, spread and photographed.

    Attributes:
        background: Colour of the empty slide, RGB in [0, 255].
        strength: Factor on the density of each channel.
        red_cell: Colour of a red cell's rim, RGB in [0, 255].
        pallor: How pale the centre of the red cells is, 0 (flat) to 1 (empty).
        red_cells: Mean number of red cells in a field of 360 pixels.
        red_radius: Radius of a red cell in pixels.
        crenation: Height of the spikes of red cells as a share of the radius.
        clumping: Probability that a red cell lies against another.
        blur: Gaussian radius in pixels of the optics.
        sharpen: Strength of the camera's unsharp mask.
        noise: Standard deviation of sensor noise, in grey levels.
        gradient: Fall of the light across the field, a share.
    """

    background: tuple[float, float, float] = REFERENCE
    strength: tuple[float, float, float] = (1.0, 1.0, 1.0)
    red_cell: tuple[float, float, float] = (201.0, 162.0, 164.0)
    pallor: float = 0.7
    red_cells: float = 15.0
    red_radius: float = 35.5
    crenation: float = 0.0
    clumping: float = 0.35
    blur: float = 0.65
    sharpen: float = 0.5
    noise: float = 1.5
    gradient: float = 0.02


def draw_stain(rng: np.random.Generator, variation: float = 1.0) -> SmearLook:
    """Draw the stain of a smear.

    Args:
        rng: Source of randomness.
        variation: 0 gives the plain stain, 1 the spread seen within a laboratory.

    Returns:
        The stain.
    """
    v = float(variation)
    n = rng.standard_normal
    if rng.random() < 0.06 * v:  # a white balance that leaves the slide grey-blue
        background = np.array([216.0, 214.0, 228.0]) + 3.0 * v * n(3)
    else:
        background = np.asarray(REFERENCE) + v * np.array([1.2, 1.5, 4.0]) * n(3)
    common = float(np.clip(1.0 + 0.08 * v * n(), 0.75, 1.3))
    strength = np.clip(common * (1.0 + 0.03 * v * n(3)), 0.65, 1.4)
    red = np.array([201.0, 162.0, 164.0]) + v * (5.0 * n() + np.array([2.5, 2.0, 2.5]) * n(3))
    crenated = rng.random() < 0.07 * v
    return SmearLook(
        background=tuple(np.clip(background, 150.0, 255.0).tolist()),
        strength=tuple(strength.tolist()),
        red_cell=tuple(np.clip(red, 100.0, 235.0).tolist()),
        pallor=float(np.clip(0.7 + 0.25 * v * n(), 0.05, 0.95)),
        red_cells=float(np.clip(15.0 + 3.5 * v * n(), 6.0, 25.0)),
        red_radius=float(np.clip(35.5 + 1.8 * v * n(), 31.0, 42.0)),
        crenation=float(rng.uniform(0.04, 0.1)) if crenated else 0.0,
        clumping=float(np.clip(0.35 + 0.2 * v * n(), 0.0, 0.8)),
        blur=float(np.clip(0.65 + 0.12 * v * n(), 0.45, 1.2)),
        sharpen=float(np.clip(0.5 + 0.15 * v * n(), 0.0, 0.9)),
        noise=float(np.clip(1.5 + 0.4 * v * n(), 0.6, 3.5)),
        gradient=float(np.clip(0.02 + 0.01 * v * n(), 0.0, 0.06)),
    )


def paste(
    field: Array,
    layer: Array,
    x: float,
    y: float,
    alpha: Array | None = None,
    share: float = 1.0,
) -> None:
    """Add a square layer of density to a field, cut at its borders.

    Args:
        field: (3, h, w) float32, changed in place.
        layer: (3, n, n) float32, already weighted by its own mask.
        x: Column of the layer's centre.
        y: Row of the layer's centre.
        alpha: (n, n) float32 in [0, 1]; what lies below is covered by that much.
        share: How much of the lesser density counts where two overlap: 1 adds them, 0 shows only
            the denser. Red cells flatten each other, so their overlap is paler than their sum.
    """
    n = layer.shape[-1]
    h, w = field.shape[1:]
    left, top = round(x - (n - 1) / 2), round(y - (n - 1) / 2)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + n, w), min(top + n, h)
    if x0 >= x1 or y0 >= y1:
        return
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    above = layer[:, *part]
    below = field[:, y0:y1, x0:x1]
    if alpha is not None:
        below *= np.float32(1.0) - alpha[part]
    if share < 1.0:
        lesser = np.minimum(below, above)
        below += above
        below -= np.float32(1.0 - share) * lesser
    else:
        below += above


def _red_cell(rng: np.random.Generator, stain: SmearLook, radius: float) -> Array:
    n = int(2 * radius * 1.45) | 1
    x, y = grid(n)
    turn, stretch = rng.uniform(0, np.pi), 1.0 + abs(rng.normal(0.0, 0.09))
    if rng.random() < 0.06:
        stretch += rng.uniform(0.1, 0.45)
    c, s, root = np.cos(turn), np.sin(turn), np.sqrt(stretch)
    u = (np.float32(c) * x + np.float32(s) * y) * np.float32(1.0 / (radius * root))
    v = (np.float32(c) * y - np.float32(s) * x) * np.float32(root / radius)
    rho = cv2.magnitude(u, v)
    angles = np.linspace(0.0, 2.0 * np.pi, 361)
    order = np.array([2, 3, 4, 5])
    size, phase = rng.normal(0.0, 0.06 / order), rng.uniform(0.0, 2.0 * np.pi, 4)
    edge = 1.0 + size @ np.cos(order[:, None] * angles + phase[:, None])
    if stain.crenation:
        spikes = int(rng.integers(11, 17))
        height = (
            stain.crenation * rng.uniform(0.3, 1.0) * (1.0 + 0.4 * np.cos(angles * 3 + size[0]))
        )
        edge += height * np.cos(spikes * angles + rng.uniform(0.0, 2.0 * np.pi))
    degrees = cv2.phase(u, v, angleInDegrees=True)
    table = edge.astype(np.float32)[None, :]
    t = rho / cv2.remap(table, degrees, np.zeros_like(degrees), cv2.INTER_LINEAR)
    width = 1.2 / radius
    body = np.float32(1.0) - smoothstep(t, 1.0 - width, 1.0 + width)
    pallor = float(np.clip(stain.pallor + rng.normal(0.0, 0.12), 0.0, 0.97))
    reach = rng.uniform(0.28, 0.55)
    sharp = rng.uniform(2.0, 4.5)
    dip = np.float32(pallor) * cv2.exp(-cv2.pow(t * np.float32(1.0 / reach), sharp))
    rise = np.float32(0.9) + np.float32(0.16) * smoothstep(t, 0.45, 0.85)
    rise -= np.float32(0.14) * smoothstep(t, 0.8, 1.0)
    amount = body * rise * (np.float32(1.0) - dip) * np.float32(rng.normal(1.0, 0.06))
    return amount * density(stain.red_cell)


def red_cells(
    field: Array,
    rng: np.random.Generator,
    stain: SmearLook,
    zoom: float,
    keep_out: tuple[float, float, float],
) -> None:
    """Scatter red cells over a field, hardly any of them under the central cell.

    Args:
        field: (3, h, w) float32 density, changed in place.
        rng: Source of randomness.
        stain: Look of the red cells.
        zoom: Size of everything, 1 for the usual framing.
        keep_out: Column, row and radius in pixels of the central cell.
    """
    h, w = field.shape[1:]
    radius = stain.red_radius * zoom
    area = (w + 2 * radius) * (h + 2 * radius) / (430.0 * zoom) ** 2
    wanted = int(rng.poisson(stain.red_cells * area * 1.45))
    cx, cy, clear = keep_out
    placed: list[tuple[float, float, float]] = []
    for _ in range(wanted):
        size = radius * float(np.clip(rng.normal(1.0, 0.07), 0.75, 1.3))
        for _ in range(8):
            if placed and rng.random() < stain.clumping:
                px, py, pr = placed[int(rng.integers(len(placed)))]
                away, turn = (pr + size) * rng.uniform(0.68, 1.02), rng.uniform(0, 2 * np.pi)
                x, y = px + away * np.cos(turn), py + away * np.sin(turn)
                allowed = 0.62
            else:
                x, y = rng.uniform(-radius, w + radius), rng.uniform(-radius, h + radius)
                allowed = 0.98
            if np.hypot(x - cx, y - cy) < clear + size * 0.94:
                continue
            if all(np.hypot(x - a, y - b) > allowed * (size + c) for a, b, c in placed):
                placed.append((x, y, size))
                paste(field, _red_cell(rng, stain, size), x, y, share=0.2)
                break


def develop(field: Array, rng: np.random.Generator, stain: SmearLook, zoom: float) -> Array:
    """Turn density into a photograph: light, optics, sensor.

    Args:
        field: (3, h, w) float32 density.
        rng: Source of randomness.
        stain: Background, blur, noise.
        zoom: Size of everything, which scales the blur.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    h, w = field.shape[1:]
    turn = rng.uniform(0.0, 2.0 * np.pi)
    ramp_x = np.linspace(-1, 1, w, dtype=np.float32) * np.float32(np.cos(turn) * stain.gradient)
    ramp_y = np.linspace(-1, 1, h, dtype=np.float32) * np.float32(np.sin(turn) * stain.gradient)
    n = max(h, w)
    light = np.float32(0.0025) * noise(rng, n, 25.0)[:h, :w]
    light += ramp_x
    light += ramp_y[:, None]
    grain = np.float32(stain.noise * 0.7) * noise(rng, n, 0.5)[:h, :w]
    planes = []
    for plane, strength, level in zip(field, stain.strength, stain.background, strict=True):
        image = np.multiply(plane, np.float32(-strength))
        image += light
        image += np.float32(np.log(level))
        cv2.exp(image, dst=image)
        image = cv2.GaussianBlur(image, (0, 0), max(0.3, stain.blur * zoom))
        if stain.sharpen:
            soft = cv2.GaussianBlur(image, (0, 0), 1.6 * zoom)
            image = cv2.addWeighted(image, 1.0 + stain.sharpen, soft, -stain.sharpen, 0.0)
        planes.append(cv2.add(image, grain, dtype=cv2.CV_8U))
    return cv2.merge(planes)
