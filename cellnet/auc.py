"""Areas under ROC curves, of one curve and of the mean of several, with their intervals.

An area is the share of pairs of a positive and a negative item that stand in the right order. NumPy
alone. The curves themselves are left to ``roc``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cellnet.intervals import FEWEST, REPEATS, Estimate, bootstrap_interval, distinct_groups
from cellnet.roc import checked

__all__ = ["NEAR_END", "area", "auc", "macro_auc", "midranks", "weighted_area"]

_Z95 = 1.959963984540054

NEAR_END = 0.01
"""How near 0 or 1 an area's own spread says nothing of its interval any more."""


def midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties sharing the mean of their ranks.

    Args:
        values: (n,) float.

    Returns:
        (n,) float64.
    """
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - 0.5 * (counts - 1))[place.reshape(-1)].astype(np.float64)


def area(positive: np.ndarray, score: np.ndarray, lower: bool = False) -> float | None:
    """Area under the ROC curve: the share of pairs in the right order, ties counting a half.

    Returns:
        The area in [0, 1], or None where positives or negatives are missing.

    Raises:
        ValueError: where shapes differ or a score is not finite.

    >>> area([False, True, True], [0.1, 0.1, 0.9])
    0.75
    """
    positive, score = checked(positive, score)
    m = int(np.count_nonzero(positive))
    n = len(positive) - m
    if not m or not n:
        return None
    ranks = midranks(-score if lower else score)
    return float((ranks[positive].sum() - m * (m + 1) / 2) / (m * n))


def _delong_variance(positive: np.ndarray, score: np.ndarray) -> float:
    """DeLong's variance of the area, by the midrank scheme of Sun and Xu (2014)."""
    high, low = score[positive], score[~positive]
    ranks = midranks(np.concatenate([high, low]))
    by_positive = (ranks[: len(high)] - midranks(high)) / len(low)
    by_negative = 1.0 - (ranks[len(high) :] - midranks(low)) / len(high)
    variance = 0.0
    for components in (by_positive, by_negative):
        if len(components) < 2:
            return math.nan
        variance += float(np.var(components, ddof=1)) / len(components)
    return variance


def _newcombe(value: float, m: float, n: float) -> tuple[float, float]:
    """Newcombe's score-type interval of an area; not empty at 0 and 1, unlike DeLong's.

    Solves |value - t| = z sqrt(V(t)) for t by bisection, V being Hanley and McNeil's variance with
    both group sizes set to their mean (Newcombe, Statistics in Medicine 25 (2006) 559-573,
    method 5).
    """
    half = 0.5 * (m + n) - 1.0

    def excess(t: float) -> float:
        spread = t * (1 - t) * (1 + half * (1 - t) / (2 - t) + half * t / (1 + t)) / (m * n)
        return abs(value - t) - _Z95 * math.sqrt(max(spread, 0.0))

    ends = []
    for limit in (0.0, 1.0):
        inside, outside = value, limit
        if excess(outside) <= 0:
            ends.append(limit)
            continue
        for _ in range(100):
            middle = 0.5 * (inside + outside)
            if excess(middle) > 0:
                outside = middle
            else:
                inside = middle
        ends.append(0.5 * (inside + outside))
    return ends[0], ends[1]


def auc(
    positive: np.ndarray,
    score: np.ndarray,
    lower: bool = False,
    groups: np.ndarray | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Estimate:
    """Area under the ROC curve with its 95 % interval.

    The interval is DeLong's for independent items, and a bootstrap over groups where groups hold
    several items. Where these collapse, with fewer than `FEWEST` items or groups of either kind,
    and near an end of the scale, where they are far too narrow (at areas over 0.999 they hold the
    true one four times in five, even with hundreds of items), Newcombe's interval is given instead,
    on the numbers of items or groups; ``method`` says which.

    Args:
        positive: (n,) bool, the truth.
        score: (n,) finite float.
        lower: True where low scores speak for positive.
        groups: (n,) group of each item, or None.
        repeats: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        The estimate; value and interval None where positives or negatives are missing.

    Raises:
        ValueError: where shapes differ or a score is not finite.

    Source:
        DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837-845.
    """
    positive, score = checked(positive, score)
    if lower:
        score = -score
    value = area(positive, score)
    number = distinct_groups(groups, len(positive))
    if value is None:
        return Estimate(None, None, len(positive), "delong")
    interval: tuple[float, float] | None
    if number is None:
        method = "delong"
        spread = _Z95 * math.sqrt(_delong_variance(positive, score))
        # With a single positive or negative there is no variance to speak of.
        interval = (
            (max(0.0, value - spread), min(1.0, value + spread)) if math.isfinite(spread) else None
        )
        sizes = (float(positive.sum()), float((~positive).sum()))
    else:
        method = "bootstrap by group"
        resampled = weighted_area(positive, score)
        interval = bootstrap_interval(resampled, positive, number, repeats, seed)[0]
        sizes = (float(len(np.unique(number[positive]))), float(len(np.unique(number[~positive]))))
    at_end = not NEAR_END < value < 1 - NEAR_END
    if interval is None or min(sizes) < FEWEST or at_end or interval[0] == interval[1]:
        method, interval = "newcombe", _newcombe(value, *sizes)
    return Estimate(value, interval, len(positive), method)


def weighted_area(positive: np.ndarray, score: np.ndarray) -> Callable[[np.ndarray], float]:
    """Prepare the area under a ROC curve for bootstrap samples: the scores are sorted once.

    Args:
        positive: (n,) bool, the truth.
        score: (n,) finite float; high ones speak for positive.

    Returns:
        A function from (n,) weights, how often each item was drawn, to the area; NaN where the
        sample holds no positive or no negative.

    Raises:
        ValueError: where shapes differ or a score is not finite.
    """
    positive, score = checked(positive, score)
    values, place = np.unique(score, return_inverse=True)
    place, size = place.reshape(-1), len(values)

    def resampled(weights: np.ndarray) -> float:
        high = np.bincount(place, weights=weights * positive, minlength=size)
        low = np.bincount(place, weights=weights * ~positive, minlength=size)
        pairs = high.sum() * low.sum()
        return float(high @ (np.cumsum(low) - 0.5 * low) / pairs) if pairs else math.nan

    return resampled


def macro_auc(
    truth: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Estimate:
    """Area under the mean of the one-against-all ROC curves, with a bootstrap interval.

    The bootstrap is stratified by class, or draws groups where they are given. With fewer than
    `FEWEST` items or groups of a class, and where it shows no spread, as where every area is 1,
    Newcombe's intervals of the areas are combined (Zou and Donner, Statistics in Medicine 27 (2008)
    1693-1702), and ``method`` says so.

    Args:
        truth: (n,) int in [0, classes).
        scores: (n, classes) finite float.
        groups: (n,) group of each item, or None.
        repeats: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        The estimate over the classes that have items and are not all there is; None without two
        such classes.

    Raises:
        ValueError: where shapes differ or a score is not finite.
    """
    truth, scores = np.asarray(truth), np.asarray(scores, dtype=np.float64)
    present = [label for label in range(scores.shape[1]) if 0 < (truth == label).sum() < len(truth)]
    number = distinct_groups(groups, len(truth))
    method = "stratified bootstrap" if number is None else "bootstrap by group"
    if len(present) < 2:
        return Estimate(None, None, len(truth), method)
    areas = [area(truth == label, scores[:, label]) for label in present]
    value = float(np.mean(areas))
    units = np.arange(len(truth)) if number is None else number
    sizes = [
        (float(len(np.unique(units[truth == label]))), float(len(np.unique(units[truth != label]))))
        for label in present
    ]
    interval = None
    if min(min(size) for size in sizes) >= FEWEST:
        resampled = [weighted_area(truth == label, scores[:, label]) for label in present]
        interval = bootstrap_interval(
            lambda weights: float(np.mean([one(weights) for one in resampled])),
            truth,
            number,
            repeats,
            seed,
        )[0]
    if interval is None or interval[1] - interval[0] < 1e-12:
        method = "combined newcombe"
        ends = [_newcombe(found, *size) for found, size in zip(areas, sizes, strict=True)]
        low = math.sqrt(sum((a - end[0]) ** 2 for a, end in zip(areas, ends, strict=True)))
        high = math.sqrt(sum((end[1] - a) ** 2 for a, end in zip(areas, ends, strict=True)))
        interval = (
            max(0.0, value - low / len(present)),
            min(1.0, value + high / len(present)),
        )
    return Estimate(value, interval, len(truth), method)
