"""What is measured of a network: confusion matrix, per-class shares, calibration, rank correlation.

Pure functions of arrays (true classes, outputs, groups): they read no file and load no model, and
need NumPy alone. Every measured value is an :class:`~cellnet.intervals.Estimate` or a dictionary
made of them; a value that the data cannot give (a class without cells, a share of nothing) is None,
never a guess. Intervals are left to ``intervals``, ROC curves and their areas to ``roc`` and
``auc``, which cells are measured to ``evaluate``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cellnet.auc import midranks
from cellnet.intervals import (
    FEWEST,
    REPEATS,
    Estimate,
    bootstrap_interval,
    distinct_groups,
    proportion,
)

__all__ = [
    "CALIBRATION_BINS",
    "balanced_accuracy",
    "calibration_error",
    "confusion_matrix",
    "f1_scores",
    "mean_and_sd",
    "one_against_all",
    "reliability",
    "sign_test",
    "spearman",
    "spearman_within",
]

CALIBRATION_BINS = 15


def confusion_matrix(
    truth: np.ndarray,
    called: np.ndarray,
    rows: int,
    columns: int | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Counts of true class by called class.

    Args:
        truth: (n,) int in [0, rows).
        called: (n,) int in [0, columns).
        rows: number of true classes.
        columns: number of answers, at least ``rows``; one more than ``rows`` where "other" is
            an answer. None: as many as rows.
        weights: (n,) times that each item counts, or None for once.

    Returns:
        (rows, columns) int64.

    Raises:
        ValueError: where shapes differ or a class lies outside its range.
    """
    columns = rows if columns is None else columns
    truth, called = np.asarray(truth, dtype=np.int64), np.asarray(called, dtype=np.int64)
    if truth.ndim != 1 or truth.shape != called.shape:
        raise ValueError(
            f"truth and called must have one shape (n,), got {truth.shape} and {called.shape}"
        )
    for name, values, limit in (("truth", truth, rows), ("called", called, columns)):
        if len(values) and not 0 <= values.min() <= values.max() < limit:
            raise ValueError(
                f"{name} must lie in [0, {limit}), got {values.min()} to {values.max()}"
            )
    counts = np.bincount(truth * columns + called, weights=weights, minlength=rows * columns)
    return np.rint(counts).astype(np.int64).reshape(rows, columns)


def _recalls(matrix: np.ndarray) -> np.ndarray:
    """(rows,) float64 share of each true class that was called right; NaN without cells."""
    held = matrix.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(held > 0, np.diagonal(matrix)[: len(held)] / held, math.nan)


def balanced_accuracy(
    truth: np.ndarray,
    called: np.ndarray,
    rows: int,
    columns: int | None = None,
    groups: np.ndarray | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Estimate:
    """Mean sensitivity over the classes that have cells, with a bootstrap interval.

    The bootstrap is stratified by class, or draws groups where they are given. Of fewer than
    `FEWEST` units in a class it shows too little of the spread, and none where every cell is
    right (or wrong); then the exact intervals of the classes are combined
    (Zou and Donner, Statistics in Medicine 27 (2008) 1693-1702), and ``method`` says so.

    Args:
        truth: (n,) int in [0, rows).
        called: (n,) int in [0, columns).
        rows: number of true classes.
        columns: number of answers, see :func:`confusion_matrix`.
        groups: (n,) group of each item, or None.
        repeats: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        The estimate; None without items.
    """
    truth, called = np.asarray(truth, dtype=np.int64), np.asarray(called, dtype=np.int64)
    number = distinct_groups(groups, len(truth))
    method = "stratified bootstrap" if number is None else "bootstrap by group"
    if not len(truth):
        return Estimate(None, None, 0, method)
    recalls = _recalls(confusion_matrix(truth, called, rows, columns))
    present = np.flatnonzero(np.isfinite(recalls))
    value = float(recalls[present].mean())

    def resampled(weights: np.ndarray) -> float:
        found = _recalls(confusion_matrix(truth, called, rows, columns, weights))[present]
        return float(found.mean())

    units = np.arange(len(truth)) if number is None else number
    interval = None
    if min(len(np.unique(units[truth == label])) for label in present) >= FEWEST:
        interval = bootstrap_interval(resampled, truth, number, repeats, seed)[0]
    if interval is None or interval[1] - interval[0] < 1e-12:
        method = "combined exact intervals"
        low = high = 0.0
        for label in present:
            of_class = truth == label
            share = proportion(
                called[of_class] == label, None if number is None else number[of_class]
            )
            low += (share.value - share.ci95[0]) ** 2
            high += (share.ci95[1] - share.value) ** 2
        interval = (
            max(0.0, value - math.sqrt(low) / len(present)),
            min(1.0, value + math.sqrt(high) / len(present)),
        )
    return Estimate(value, interval, len(truth), method)


def f1_scores(
    truth: np.ndarray,
    called: np.ndarray,
    rows: int,
    columns: int | None = None,
    groups: np.ndarray | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
) -> list[Estimate]:
    """F1 of each class, 2 TP / (2 TP + FP + FN), with bootstrap intervals.

    Of a class with fewer than `FEWEST` items or groups, and where the bootstrap shows no spread,
    the interval comes from the exact one of q = TP / (TP + FP + FN), since F1 = 2 q / (1 + q);
    ``method`` says so.

    Args:
        truth: (n,) int in [0, rows).
        called: (n,) int in [0, columns).
        rows: number of true classes.
        columns: number of answers, see :func:`confusion_matrix`.
        groups: (n,) group of each item, or None.
        repeats: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        ``rows`` estimates; None for a class without cells.
    """
    truth, called = np.asarray(truth, dtype=np.int64), np.asarray(called, dtype=np.int64)
    number = distinct_groups(groups, len(truth))

    def scores(weights: np.ndarray | None) -> np.ndarray:
        matrix = confusion_matrix(truth, called, rows, columns, weights)
        right = np.diagonal(matrix)[:rows]
        both = matrix.sum(axis=1) + matrix.sum(axis=0)[:rows]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(both > 0, 2 * right / both, math.nan)

    method = "stratified bootstrap" if number is None else "bootstrap by group"
    if not len(truth):
        return [Estimate(None, None, 0, method) for _ in range(rows)]
    values = scores(None)
    intervals = bootstrap_interval(scores, truth, number, repeats, seed)
    units = np.arange(len(truth)) if number is None else number
    estimates = []
    for label in range(rows):
        n = int(np.count_nonzero(truth == label))
        if n == 0:
            estimates.append(Estimate(None, None, 0, method))
            continue
        interval, how = intervals[label], method
        few = len(np.unique(units[truth == label])) < FEWEST
        if few or interval is None or interval[1] - interval[0] < 1e-12:
            touched = (truth == label) | (called == label)
            both = (truth == label)[touched] & (called == label)[touched]
            low, high = proportion(both, None if number is None else number[touched]).ci95
            interval, how = (2 * low / (1 + low), 2 * high / (1 + high)), "exact on TP/(TP+FP+FN)"
        estimates.append(Estimate(float(values[label]), interval, n, how))
    return estimates


def one_against_all(
    truth: np.ndarray, called: np.ndarray, label: int, groups: np.ndarray | None = None
) -> dict[str, Estimate]:
    """Sensitivity, specificity and precision of one class against all others.

    Args:
        truth: (n,) int, the true classes.
        called: (n,) int, the answers.
        label: the class to look at.
        groups: (n,) group of each item, or None.

    Returns:
        ``sensitivity``, ``specificity``, ``precision``; each with exact intervals, None where the
        share has nothing to rest on.
    """
    truth, called = np.asarray(truth), np.asarray(called)
    is_label, is_called = truth == label, called == label

    def share(hits: np.ndarray, among: np.ndarray) -> Estimate:
        return proportion(hits[among], None if groups is None else np.asarray(groups)[among])

    return {
        "sensitivity": share(is_called, is_label),
        "specificity": share(~is_called, ~is_label),
        "precision": share(is_label, is_called),
    }


def reliability(
    confidence: np.ndarray, right: np.ndarray, bins: int = CALIBRATION_BINS
) -> list[dict]:
    """Reliability curve: how often cells called with a given probability are called right.

    Args:
        confidence: (n,) float in [0, 1], the probability of the answer.
        right: (n,) bool, whether the answer is true.
        bins: number of bins of equal width; a bin holds its lower edge, the last one both edges.

    Returns:
        A row for each bin: ``low``, ``high``, ``n``, ``confidence`` (mean), ``right`` (share) and
        ``right_ci95`` (exact); the last three None in an empty bin.

    Raises:
        ValueError: where shapes differ, or a probability lies outside [0, 1].
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    right = np.asarray(right, dtype=bool)
    if confidence.ndim != 1 or confidence.shape != right.shape:
        raise ValueError(
            f"confidence and right must have one shape, got {confidence.shape} and {right.shape}"
        )
    if len(confidence) and not (confidence.min() >= 0 and confidence.max() <= 1 + 1e-6):
        raise ValueError(
            f"probabilities lie in [0, 1], got {confidence.min()} to {confidence.max()}"
        )
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    rows = []
    for index in range(bins):
        inside = place == index
        share = proportion(right[inside])
        rows.append(
            {
                "low": index / bins,
                "high": (index + 1) / bins,
                "n": share.n,
                "confidence": float(confidence[inside].mean()) if share.n else None,
                "right": share.value,
                "right_ci95": None if share.ci95 is None else list(share.ci95),
            }
        )
    return rows


def calibration_error(
    confidence: np.ndarray, right: np.ndarray, bins: int = CALIBRATION_BINS
) -> float | None:
    """Expected calibration error: mean of |share right - mean probability| over bins, by cells.

    Args:
        confidence: (n,) float in [0, 1], the probability of the answer.
        right: (n,) bool.
        bins: number of bins of equal width, see :func:`reliability`.

    Returns:
        The error in [0, 1], or None without items.

    Source:
        Guo et al., ICML 2017, with 15 bins.
    """
    rows = reliability(confidence, right, bins)
    n = sum(row["n"] for row in rows)
    if not n:
        return None
    return sum(row["n"] * abs(row["right"] - row["confidence"]) for row in rows if row["n"]) / n


def spearman(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's rank correlation, ties sharing their mean rank.

    Args:
        first: (n,) float.
        second: (n,) float.

    Returns:
        The correlation in [-1, 1]; None with fewer than two items or where one side is constant.

    Raises:
        ValueError: where shapes differ.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"both must have one shape (n,), got {first.shape} and {second.shape}")
    if len(first) < 2:
        return None
    a, b = midranks(first), midranks(second)
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float(a @ a) * float(b @ b))
    if norm == 0.0:
        return None
    return float(np.clip(float(a @ b) / norm, -1.0, 1.0))


def spearman_within(
    first: np.ndarray,
    second: np.ndarray,
    groups: np.ndarray,
    least: int = 3,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Estimate:
    """Mean rank correlation within a group (the versions of one source cell).

    Args:
        first: (n,) float.
        second: (n,) float.
        groups: (n,) names; items with an empty name are left out.
        least: how many distinct values of ``second`` a group needs to count.
        repeats: bootstrap samples, groups being drawn.
        seed: seed of the bootstrap.

    Returns:
        The mean over groups and its interval, n being the number of groups; a group whose ``first``
        is constant counts as 0, since it shows no order. None without groups; no interval with
        fewer than `FEWEST`, nor where all agree, since a bootstrap would then claim certainty.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    groups = np.asarray(groups)
    values = []
    order = np.argsort(groups, kind="stable")
    edges = np.flatnonzero(groups[order][1:] != groups[order][:-1]) + 1
    for members in np.split(order, edges) if len(order) else []:
        if str(groups[members[0]]) == "" or len(np.unique(second[members])) < least:
            continue
        values.append(spearman(first[members], second[members]) or 0.0)
    if not values:
        return Estimate(None, None, 0, "bootstrap by group")
    found = np.asarray(values)
    interval = None
    if len(found) >= FEWEST and np.ptp(found) > 0:
        interval = bootstrap_interval(
            lambda weights: float(weights @ found / weights.sum()),
            np.zeros(len(found)),
            None,
            repeats,
            seed,
        )[0]
    return Estimate(float(found.mean()), interval, len(found), "bootstrap by group")


def mean_and_sd(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean and standard deviation (of a sample) of the values that are known.

    Args:
        values: None where nothing could be measured.

    Returns:
        ``mean``, None without a value, and ``sd``, None with fewer than two.
    """
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
    }


def sign_test(difference: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Whether chance alone explains that one of two judges of the same items is right more often.

    The exact sign test, two-sided. Of single items that both judge it is McNemar's exact test; of
    groups each counts once, for the judge that is right more often in it.

    Args:
        difference: (n,) float, for each item how much more right the first judge is than the second
            (1, 0 or -1 where right is right).
        groups: (n,) group of each item, or None.

    Returns:
        The probability, were both equally good, of a split at least as uneven; 1 where they never
        differ.
    """
    difference = np.asarray(difference, dtype=np.float64)
    number = distinct_groups(groups, len(difference))
    units = difference if number is None else np.bincount(number, difference)
    more, less = int(np.count_nonzero(units > 0)), int(np.count_nonzero(units < 0))
    tail = sum(math.comb(more + less, k) for k in range(min(more, less) + 1))
    return min(1.0, 2 * tail / 2 ** (more + less))
