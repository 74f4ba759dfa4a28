"""ROC curves: the curve itself, the area under it with an interval, and the cut that it suggests.

Both operating points come from here: the cell cut-off (low scores are positive) and the smear
threshold (high shares are positive). Tied scores share one step of the curve, and a cut always lies
in the middle between two measured scores, so that no measured item sits on it and runtimes that
differ in the last digits agree. NumPy alone. What the cuts mean for cells and smears is left to
``operating_point``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cellnet.intervals import FEWEST, REPEATS, Estimate, bootstrap_interval, distinct_groups

__all__ = [
    "Choice",
    "Roc",
    "area",
    "auc",
    "cut_estimate",
    "macro_auc",
    "macro_curve",
    "midranks",
    "roc_curve",
    "weighted_area",
    "weighted_youden",
    "youden",
]

_Z95 = 1.959963984540054

NEAR_END = 0.01
"""How near 0 or 1 an area's own spread says nothing of its interval any more."""

YOUDEN_RULE = (
    "largest Youden's J (sensitivity + specificity - 1); of equal J the highest specificity; "
    "the cut is the middle between the two neighbouring measured values"
)


@dataclass(frozen=True)
class Roc:
    """A ROC curve, from "nothing is called positive" to "everything is".

    Attributes:
        cuts: (m,) float64; -inf and inf at the ends.
        true_positives: (m,) int64, rising; positives called positive at each cut.
        false_positives: (m,) int64, rising; negatives called positive at each cut.
        positives: number of positive items.
        negatives: number of negative items.
        lower: True where an item is called positive when its score is at or below the cut, False
            where it is called positive when its score is above the cut.
    """

    cuts: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray
    positives: int
    negatives: int
    lower: bool

    @property
    def sensitivity(self) -> np.ndarray:
        """(m,) float64, the share of positives called positive."""
        return self.true_positives / self.positives

    @property
    def specificity(self) -> np.ndarray:
        """(m,) float64, the share of negatives not called positive."""
        return 1.0 - self.false_positives / self.negatives


@dataclass(frozen=True)
class Choice:
    """A cut chosen on a ROC curve, and what it does there."""

    cut: float
    youden: float
    sensitivity: float
    specificity: float


def _check(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two arrays as (n,) bool and (n,) float64.

    Raises:
        ValueError: where shapes differ or a score is not finite.
    """
    positive = np.asarray(positive, dtype=bool)
    score = np.asarray(score, dtype=np.float64)
    if positive.ndim != 1 or positive.shape != score.shape:
        raise ValueError(
            f"positive and score must have one shape (n,), got {positive.shape} and {score.shape}"
        )
    if not np.all(np.isfinite(score)):
        raise ValueError(f"scores must be finite, got {score[~np.isfinite(score)][0]}")
    return positive, score


def roc_curve(positive: np.ndarray, score: np.ndarray, lower: bool = False) -> Roc:
    """ROC curve over all cuts between distinct scores.

    Args:
        positive: (n,) bool, the truth.
        score: (n,) finite float.
        lower: True where low scores speak for positive (``score <= cut``), as for granularity;
            False where high ones do (``score > cut``).

    Returns:
        The curve, with one point more than there are distinct scores.

    Raises:
        ValueError: where positives or negatives are missing, shapes differ or a score is not
            finite.
    """
    positive, score = _check(positive, score)
    positives = int(np.count_nonzero(positive))
    negatives = len(positive) - positives
    if not positives or not negatives:
        raise ValueError(
            f"a ROC curve needs positives and negatives, got {positives} and {negatives}"
        )
    values, place = np.unique(score, return_inverse=True)
    place = place.reshape(-1)
    high, low = (
        np.bincount(place[among], minlength=len(values)) for among in (positive, ~positive)
    )
    return _curve(values, high, low, lower)


def _curve(values: np.ndarray, high: np.ndarray, low: np.ndarray, lower: bool) -> Roc:
    """ROC curve of m distinct scores, rising, of which each has (m,) positives and negatives."""
    at_or_below = np.concatenate([[0], np.cumsum(high)])
    negative_at_or_below = np.concatenate([[0], np.cumsum(low)])
    positives, negatives = int(at_or_below[-1]), int(negative_at_or_below[-1])
    middle = values[:-1] + 0.5 * (values[1:] - values[:-1])
    # Both comparisons need lower value <= cut < upper value; rounding must not reach the upper one.
    middle = np.where(middle < values[1:], middle, values[:-1])
    cuts = np.concatenate([[-np.inf], middle, [np.inf]])
    if lower:
        return Roc(cuts, at_or_below, negative_at_or_below, positives, negatives, True)
    return Roc(
        cuts[::-1],
        positives - at_or_below[::-1],
        negatives - negative_at_or_below[::-1],
        positives,
        negatives,
        False,
    )


def youden(curve: Roc) -> Choice:
    """The cut with the largest Youden's J = sensitivity + specificity - 1.

    Of cuts with the same J the one with the highest specificity is taken (the fewest false alarms).
    Within a gap between two neighbouring measured scores every cut does the same; the middle is
    taken. J is compared in whole numbers, so rounding decides nothing.

    Args:
        curve: from :func:`roc_curve`.

    Returns:
        The choice. Its cut is infinite, and its J zero, where no cut is better than guessing.

    Source:
        Youden, Cancer 3 (1950) 32-35.
    """
    tp, fp = curve.true_positives, curve.false_positives
    scaled = tp * curve.negatives - fp * curve.positives
    # False positives rise along the curve: the first of equal ones has the highest specificity.
    at = int(np.argmax(scaled))
    return Choice(
        cut=float(curve.cuts[at]),
        youden=int(scaled[at]) / (curve.positives * curve.negatives),
        sensitivity=int(tp[at]) / curve.positives,
        specificity=1.0 - int(fp[at]) / curve.negatives,
    )


def weighted_youden(
    positive: np.ndarray, score: np.ndarray, lower: bool = False
) -> Callable[[np.ndarray], float]:
    """Prepare :func:`youden`'s cut for bootstrap samples: the scores are sorted once.

    Args:
        positive: (n,) bool, the truth.
        score: (n,) finite float.
        lower: True where low scores speak for positive.

    Returns:
        A function from (n,) int weights, how often each item was drawn, to the cut that is fitted
        on that sample; NaN where it holds no positive or no negative, or no cut beats guessing.

    Raises:
        ValueError: where shapes differ or a score is not finite.
    """
    positive, score = _check(positive, score)
    values, place = np.unique(score, return_inverse=True)
    place, size = place.reshape(-1), len(values)
    # Counts of both kinds at once: positives stand behind all the negatives.
    place = place + size * positive

    def resampled(weights: np.ndarray) -> float:
        low, high = np.bincount(place, weights, 2 * size).astype(np.int64).reshape(2, size)
        if not low.any() or not high.any():
            return math.nan
        # A score that was not drawn is no neighbour of the cut.
        drawn = (low + high) > 0
        cut = youden(_curve(values[drawn], high[drawn], low[drawn], lower)).cut
        return cut if math.isfinite(cut) else math.nan

    return resampled


def cut_estimate(
    positive: np.ndarray,
    score: np.ndarray,
    lower: bool = False,
    groups: np.ndarray | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Estimate:
    """:func:`youden`'s cut with a 95 % interval: how far it moves where others are measured.

    The cut is fitted again on each bootstrap sample, of groups where they are given, and the
    interval holds the middle 95 % of these cuts. It holds the gap between the two measured scores
    around the cut too: within it every cut does the same, and where positives and negatives are far
    apart, samples show the middle of that gap alone.

    Args:
        positive: (n,) bool, the truth.
        score: (n,) finite float.
        lower: True where low scores speak for positive.
        groups: (n,) group of each item, or None.
        repeats: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        The estimate; the value is None where no cut beats guessing, the interval also where none
        does in more than one sample of twenty, and where positives or negatives are of fewer than
        `FEWEST` cells or groups: samples of so few hardly differ.

    Raises:
        ValueError: where positives or negatives are missing, shapes differ or a score is not
            finite.
    """
    positive, score = _check(positive, score)
    cut = youden(roc_curve(positive, score, lower)).cut
    number = distinct_groups(groups, len(positive))
    method = "stratified bootstrap" if number is None else "bootstrap by group"
    if not math.isfinite(cut):
        return Estimate(None, None, len(positive), method)
    units = np.arange(len(positive)) if number is None else number
    interval = None
    if min(len(np.unique(units[kind])) for kind in (positive, ~positive)) >= FEWEST:
        refitted = weighted_youden(positive, score, lower)
        interval = bootstrap_interval(refitted, positive, number, repeats, seed)[0]
    if interval is not None:
        below, above = score[score <= cut].max(), score[score > cut].min()
        interval = (float(min(interval[0], below)), float(max(interval[1], above)))
    return Estimate(cut, interval, len(positive), method)


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
    positive, score = _check(positive, score)
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
    several items. Where these collapse, and near an end of the scale, where they are far too narrow
    (at areas over 0.999 they hold the true one four times in five, even with hundreds of items),
    Newcombe's interval is given instead, on the numbers of items or groups; ``method`` says which.

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
    positive, score = _check(positive, score)
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
    if interval is None or not NEAR_END < value < 1 - NEAR_END or interval[0] == interval[1]:
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
    positive, score = _check(positive, score)
    values, place = np.unique(score, return_inverse=True)
    place, size = place.reshape(-1), len(values)

    def resampled(weights: np.ndarray) -> float:
        high = np.bincount(place, weights=weights * positive, minlength=size)
        low = np.bincount(place, weights=weights * ~positive, minlength=size)
        pairs = high.sum() * low.sum()
        return float(high @ (np.cumsum(low) - 0.5 * low) / pairs) if pairs else math.nan

    return resampled


def macro_curve(curves: Sequence[Roc]) -> tuple[np.ndarray, np.ndarray]:
    """Mean of several ROC curves, each class weighing the same (thesis, figure 6.4).

    The common grid is every false positive rate at which one of the curves has a corner, so nothing
    is lost between grid points: the area under the mean curve is the mean of the areas. A rate at
    which a curve rises stands twice, with the sensitivity before and after.

    Args:
        curves: One or more.

    Returns:
        (m,) false positive rates, rising from 0 to 1, and (m,) mean sensitivities.

    Raises:
        ValueError: where there is no curve.
    """
    if not curves:
        raise ValueError("a mean of ROC curves needs one or more of them")
    rates = [curve.false_positives / curve.negatives for curve in curves]
    grid = np.unique(np.concatenate(rates))
    before, after = np.zeros(len(grid)), np.zeros(len(grid))
    for rate, curve in zip(rates, curves, strict=True):
        at, first = np.unique(rate, return_index=True)
        last = np.append(first[1:], len(rate)) - 1
        found = curve.sensitivity
        # Between two of its own corners a curve is a line; at a corner it may rise straight up.
        right = np.clip(np.searchsorted(at, grid), 0, len(at) - 1)
        left = np.maximum(right - 1, 0)
        is_corner = at[right] == grid
        width = np.where(is_corner, 1.0, at[right] - at[left])
        part = (grid - at[left]) / width
        between = found[last[left]] + part * (found[first[right]] - found[last[left]])
        before += np.where(is_corner, found[first[right]], between)
        after += np.where(is_corner, found[last[right]], between)
    mean = np.stack([before, after], axis=1).reshape(-1) / len(curves)
    return np.repeat(grid, 2), mean


def macro_auc(
    truth: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Estimate:
    """Area under the mean of the one-against-all ROC curves, with a bootstrap interval.

    The bootstrap is stratified by class, or draws groups where they are given. Where it shows no
    spread, as where every area is 1, Newcombe's intervals of the areas are combined (Zou and
    Donner, Statistics in Medicine 27 (2008) 1693-1702), and ``method`` says so.

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
        units = np.arange(len(truth)) if number is None else number
        ends = [
            _newcombe(
                found,
                float(len(np.unique(units[truth == label]))),
                float(len(np.unique(units[truth != label]))),
            )
            for label, found in zip(present, areas, strict=True)
        ]
        low = math.sqrt(sum((a - end[0]) ** 2 for a, end in zip(areas, ends, strict=True)))
        high = math.sqrt(sum((end[1] - a) ** 2 for a, end in zip(areas, ends, strict=True)))
        interval = (
            max(0.0, value - low / len(present)),
            min(1.0, value + high / len(present)),
        )
    return Estimate(value, interval, len(truth), method)
