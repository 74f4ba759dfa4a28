"""Does a map point at what the network uses? Deletion and insertion, against two other orders.

Pixels are taken out of an image, or put into a blurred one, those first that a map calls important;
the better the map, the sooner the answer falls, or rises (Petsiuk, Das and Saenko, BMVC 2018). A
random map of the same number of fields shows what the coarseness alone gives; the distance from
the middle shows what is owed to cells standing there. The network asked is the bundle's own
runtime, not the graph that made the maps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import cv2
import numpy as np

from cellnet.explain_pictures import stretched
from cellnet.intervals import FEWEST, Estimate, bootstrap_interval, proportion

__all__ = ["ORDERS", "STEPS", "TESTS", "bootstrapped_means", "curves", "summarised"]

ORDERS = {
    "map": "the activation map, strongest first",
    "random": "a random map of the same number of fields, stretched in the same way",
    "centre": "distance from the middle of the picture, nearest first",
}
TESTS = {
    "deletion": "pixels are replaced by the image's median colour; the lower the area the better",
    "insertion": "pixels are put into the blurred image; the higher the area the better",
}
STEPS = 20
"""Equal parts in which an image is taken out or put in."""

BLUR = 1 / 20
"""Sigma of the Gaussian that an image is blurred with before insertion, as a share of its side."""

_AGAINST = ("random", "centre")
_REPEATS = 2000
_NO_WIDTH = 1e-12  # equal but for rounding


def curves(
    score: Callable[[np.ndarray], np.ndarray],
    pixels: np.ndarray,
    signed: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, dict[str, np.ndarray]]:
    """Take one image apart, and put it together, in each order.

    Args:
        score: From ``(n, size, size, 3) float32`` network inputs to ``(n,)`` answers in [0, 1].
        pixels: ``(size, size, 3) float32``, the network's input.
        signed: ``(h, w) float32``, the map with what speaks for the answer over 0. Fields below 0
            come last, in their order; where pixels are equal, chance decides.
        rng: For the random map, and between equals.

    Returns:
        By test and order, ``(STEPS + 1,) float64``: the answer after 0, 1/20, ... all pixels.
    """
    size = len(pixels)
    middle = np.abs(np.arange(size) + 0.5 - size / 2)
    importance = {
        "map": stretched(signed.astype(np.float32), size, size),
        "random": stretched(rng.standard_normal(signed.shape).astype(np.float32), size, size),
        "centre": -np.hypot(middle[:, None], middle[None]),
    }
    blank = np.broadcast_to(np.median(pixels.reshape(-1, 3), axis=0), pixels.shape)
    blurred = cv2.GaussianBlur(pixels, (0, 0), BLUR * size)
    found: dict[str, dict[str, np.ndarray]] = {test: {} for test in TESTS}
    for order in ORDERS:
        rank = np.empty(size * size, np.int64)
        by_rank = np.lexsort((rng.random(size * size), -importance[order].ravel()))
        rank[by_rank] = np.arange(size * size)
        rank = rank.reshape(size, size, 1)
        edges = [round(step * size * size / STEPS) for step in range(STEPS + 1)]
        for test, (start, end) in {
            "deletion": (pixels, blank),
            "insertion": (blurred, pixels),
        }.items():
            inputs = np.stack([np.where(rank < edge, end, start) for edge in edges])
            found[test][order] = score(inputs.astype(np.float32)).astype(np.float64)
    return found


def area(curve: np.ndarray) -> np.ndarray:
    """Area under curves ``(..., STEPS + 1)`` over shares from 0 to 1, by trapezoids."""
    return np.trapezoid(curve, dx=1 / STEPS, axis=-1)


def summarised(
    found: Sequence[dict[str, dict[str, np.ndarray]]],
    groups: Sequence[str] | None,
    seed: int,
) -> dict[str, Any]:
    """Mean curves and their areas over cells, and how far the map's lies from the others'.

    Args:
        found: What `curves` gave for each cell, at least one.
        groups: What ties cells together, a name each; None where every cell stands alone.
        seed: Of the bootstrap.

    Returns:
        By test: ``curves`` (mean answers by order), ``area`` (an estimate by order), and
        ``map_less_random`` and ``map_less_centre``, the mean difference within a cell.
    """
    answer: dict[str, Any] = {}
    for test in TESTS:
        each = {order: np.array([cell[test][order] for cell in found]) for order in ORDERS}
        areas = {order: area(values) for order, values in each.items()}
        columns = [*areas.values(), *(areas["map"] - areas[other] for other in _AGAINST)]
        estimates = bootstrapped_means(np.stack(columns, 1), groups, seed)
        answer[test] = {
            "curves": {order: values.mean(0).tolist() for order, values in each.items()},
            "area": dict(zip(ORDERS, estimates, strict=False)),
        }
        for other, estimate in zip(_AGAINST, estimates[len(ORDERS) :], strict=True):
            answer[test][f"map_less_{other}"] = estimate
    return answer


def bootstrapped_means(
    values: np.ndarray, groups: Sequence[str] | None, seed: int, shares: Collection[int] = ()
) -> list[dict[str, Any]]:
    """Means of columns, with percentile intervals of one bootstrap over cells or their groups.

    Where all samples agree, a bootstrap says that the next cell will be like these, which nobody
    knows. A column that counts cells then has the exact interval of `cellnet.intervals.proportion`,
    as elsewhere in the package. Of other means (areas, differences, silhouettes) there is no exact
    one without assuming how they are spread, so they have none.

    Args:
        values: ``(n, columns) float64``.
        groups: What ties cells together, a name each; None where every cell stands alone.
        seed: Of the bootstrap.
        shares: Numbers of the columns that count cells: 1 where a cell does, else 0. A difference
            of two such columns is none, though it may be 0 throughout.

    Returns:
        An estimate for each column; without an interval for fewer than ten cells or groups, which
        a bootstrap says too little of, and without a value for none.
    """
    n = len(values)
    unit = "cell" if groups is None else "group"
    method = f"bootstrap of the mean by {unit}, percentile, {_REPEATS} samples"
    if n == 0:
        return [Estimate(None, None, 0, method).to_json() for _ in range(values.shape[1])]
    tied = None if groups is None else np.asarray(groups)
    ends: list[tuple[float, float] | None] = [None] * values.shape[1]
    units = n if tied is None else len(set(groups))
    if units >= FEWEST:
        ends = bootstrap_interval(
            lambda weights: weights @ values / weights.sum(),
            np.zeros(n, np.int64),
            tied,
            _REPEATS,
            seed,
        )
    found = []
    for column, (mean, end) in enumerate(zip(values.mean(0), ends, strict=True)):
        how = method
        if end is not None and end[1] - end[0] < _NO_WIDTH:
            end = None
            if column in shares:
                exact = proportion(values[:, column] > 0.5, tied)
                end, how = exact.ci95, exact.method
        found.append(Estimate(float(mean), end, n, how).to_json())
    return found
