"""ROC curves: the curve itself, the mean of several, and the cut that a curve suggests.

Both operating points come from here: the cell cut-off (low scores are positive) and the smear
threshold (high shares are positive). Tied scores share one step of the curve, and a cut always lies
in the middle between two measured scores, so that no measured item sits on it and runtimes that
differ in the last digits agree. NumPy alone. Areas are left to ``auc``, what the cuts mean for
cells and smears to ``operating_point``.
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
    "checked",
    "cut_estimate",
    "macro_curve",
    "roc_curve",
    "thinned",
    "weighted_youden",
    "youden",
]

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


def checked(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores as (n,) bool and (n,) float64.

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
    positive, score = checked(positive, score)
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
    positive, score = checked(positive, score)
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
    positive, score = checked(positive, score)
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


def thinned(rate: np.ndarray, sensitivity: np.ndarray, points: int) -> np.ndarray:
    """Choose corners of a ROC curve for a plot, evenly along it: most lie where it is flat.

    Args:
        rate: (n,) float, false positive rates, rising.
        sensitivity: (n,) float, rising.
        points: about how many to keep.

    Returns:
        (m,) int64 places, the first and the last among them.
    """
    along = np.concatenate([[0.0], np.cumsum(np.diff(rate) + np.diff(sensitivity))])
    wanted = np.linspace(0, along[-1], points)
    return np.unique(np.append(np.searchsorted(along, wanted - 1e-12), len(rate) - 1))


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
