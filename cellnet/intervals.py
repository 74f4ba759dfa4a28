"""Confidence intervals: exact ones for proportions, a seeded bootstrap for everything else.

Every number that the program reports about a network or a smear stands with an interval. Versions
of one source cell, cells of one smear and smears of one patient are not independent, so each
function here takes the group of every item and then treats the group, not the cell, as the unit.
NumPy alone: the beta distribution is computed here, because SciPy costs more to import than a
whole smear takes to judge. What is measured (sensitivity, AUC, ...) is left to ``metrics`` and
``roc``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

__all__ = [
    "FEWEST",
    "Estimate",
    "bootstrap_interval",
    "bootstrap_weights",
    "clopper_pearson",
    "distinct_groups",
    "proportion",
    "t_quantile",
]

LEVEL = 0.95
REPEATS = 2000
FEWEST = 10
"""Cells or groups of a kind that a bootstrap is made of: of fewer it shows too little spread."""
_TINY = 1e-300
_TRIES = 200  # for a sample of groups that holds every label


@dataclass(frozen=True)
class Estimate:
    """A measured value with its interval; ``None`` where it is undefined.

    Attributes:
        value: the measured value, or None where nothing could be measured.
        ci95: lower and upper end of the 95 % interval, or None.
        n: how many items the value rests on.
        method: how the interval was made, e.g. ``"clopper-pearson"``.
        k: for a proportion, how many of the ``n`` items count; else None.
    """

    value: float | None
    ci95: tuple[float, float] | None
    n: int
    method: str
    k: int | None = None

    def to_json(self) -> dict:
        """The estimate as a dictionary of plain JSON values; ``k`` only for proportions."""
        answer = {
            "value": self.value,
            "ci95": None if self.ci95 is None else [float(self.ci95[0]), float(self.ci95[1])],
            "n": self.n,
            "method": self.method,
        }
        if self.k is not None:
            answer["k"] = self.k
        return answer


def _beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b), by its continued fraction.

    The fraction (NIST Digital Library of Mathematical Functions, 8.17.22) is evaluated with the
    modified Lentz scheme on the side of the mean where it converges fast.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _beta_cdf(1.0 - x, b, a)
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    c = 1.0
    d = 1.0 / max(abs(1.0 - (a + b) * x / (a + 1.0)), _TINY)
    fraction = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 + even * d
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = 1.0 + even / c
        c = c if abs(c) > _TINY else _TINY
        fraction *= c * d
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 + odd * d
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = 1.0 + odd / c
        c = c if abs(c) > _TINY else _TINY
        step = c * d
        fraction *= step
        if abs(step - 1.0) < 1e-15:
            break
    return math.exp(log_front) * fraction / a


def _beta_quantile(p: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = p: Newton's steps, kept inside a shrinking bracket."""
    log_norm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    low, high = 0.0, 1.0
    x = a / (a + b)
    for _ in range(200):
        error = _beta_cdf(x, a, b) - p
        if error > 0:
            high = x
        else:
            low = x
        log_density = log_norm + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x)
        step = error * math.exp(-log_density) if log_density > -600 else math.inf
        following = x - step
        if not low < following < high:
            following = 0.5 * (low + high)
        if following in (low, high) or abs(following - x) <= 1e-15 * x:
            return following
        x = following
    return x


@lru_cache(maxsize=4096)
def clopper_pearson(k: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Exact (Clopper-Pearson) interval of a proportion.

    Args:
        k: how many of the ``n`` items count, 0 <= k <= n. Whole numbers for a count; a real number
            is accepted, since an effective sample size need not be whole.
        n: number of items, more than 0.
        level: confidence level in (0, 1).

    Returns:
        Lower and upper end, in [0, 1]; exactly 0 below where k = 0, exactly 1 above where k = n.

    Raises:
        ValueError: where k, n or the level is outside its range. Of no items nothing is known, so
            n = 0 is refused, and the caller reports null.

    Source:
        Clopper and Pearson, Biometrika 26 (1934) 404-413, by beta quantiles.

    >>> [round(end, 4) for end in clopper_pearson(0, 10)]
    [0.0, 0.3085]
    """
    if not (math.isfinite(n) and n > 0):
        raise ValueError(f"n must be more than 0, got n={n}: of no items there is no interval")
    if not 0 <= k <= n:
        raise ValueError(f"k must lie between 0 and n, got k={k}, n={n}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    tail = (1.0 - level) / 2.0
    low = 0.0 if k == 0 else _beta_quantile(tail, k, n - k + 1)
    high = 1.0 if k == n else _beta_quantile(1.0 - tail, k + 1, n - k)
    return low, high


@lru_cache(maxsize=4096)
def t_quantile(freedom: float, level: float = LEVEL) -> float:
    """Two-sided quantile of Student's t distribution.

    Args:
        freedom: degrees of freedom, more than 0.
        level: probability between -t and t, in (0, 1).

    Returns:
        The t, more than 0.

    Raises:
        ValueError: where the degrees of freedom or the level are outside their range.

    Source:
        Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.1: t^2 / (freedom + t^2) has
        a beta distribution of 1/2 and freedom / 2.

    >>> round(t_quantile(5), 3)
    2.571
    """
    if not (math.isfinite(freedom) and freedom > 0):
        raise ValueError(f"degrees of freedom must be more than 0, got {freedom}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    x = _beta_quantile(level, 0.5, 0.5 * freedom)
    return math.sqrt(freedom * x / (1.0 - x))


def distinct_groups(groups: np.ndarray | None, n: int) -> np.ndarray | None:
    """Group of each item as a number from 0, or None where every item stands alone.

    Args:
        groups: (n,) names of groups, or None. An empty name means that the group is not known; such
            an item is taken as a group of its own.
        n: number of items.

    Returns:
        (n,) int64, or None where no group holds more than one item.

    Raises:
        ValueError: where ``groups`` is not as long as the items.
    """
    if groups is None:
        return None
    groups = np.asarray(groups)
    if groups.shape != (n,):
        raise ValueError(f"groups must have shape ({n},), got {groups.shape}")
    if groups.dtype.kind in "USO":
        known = np.array([str(group) != "" for group in groups], dtype=bool)
        number = np.empty(n, dtype=np.int64)
        names, number[known] = np.unique(groups[known].astype(str), return_inverse=True)
        number[~known] = len(names) + np.arange(np.count_nonzero(~known))
    else:
        names, number = np.unique(groups, return_inverse=True)
    number = number.reshape(-1).astype(np.int64)
    return None if len(np.unique(number)) == n else number


def proportion(
    hits: np.ndarray, groups: np.ndarray | None = None, level: float = LEVEL
) -> Estimate:
    """Share of items that count, with an exact interval.

    Where groups are given and hold several items, the interval is that of Korn and Graubard:
    Clopper-Pearson on the effective number of items. That is n divided by the design effect of the
    groups, times the square of Student's t of n - 1 over that of the number of groups less one,
    since the spread of few groups is known badly; never more than n, and never less than one. Where
    the share is 0 or 1 there is no spread to measure, and the number of groups is taken.

    Args:
        hits: (n,) bool.
        groups: (n,) name or number of each item's group, or None for independent items.
        level: confidence level.

    Returns:
        The estimate; value and interval None where n = 0.

    Source:
        Korn and Graubard, Survey Methodology 24 (1998) 193-201.
    """
    hits = np.asarray(hits, dtype=bool).reshape(-1)
    n, k = len(hits), int(np.count_nonzero(hits))
    number = distinct_groups(groups, n)
    if n == 0:
        return Estimate(None, None, 0, "clopper-pearson", 0)
    share = k / n
    if number is None:
        return Estimate(share, clopper_pearson(k, n, level), n, "clopper-pearson", k)
    _, number = np.unique(number, return_inverse=True)
    m = int(number.max()) + 1
    if k in (0, n) or m == 1:
        effective = float(m)
    else:
        sums = np.bincount(number, weights=hits - share, minlength=m)
        variance = float(np.sum(sums**2)) / n**2 * m / (m - 1)
        effective = share * (1 - share) / variance if variance > 0 else math.inf
        effective *= (t_quantile(n - 1, level) / t_quantile(m - 1, level)) ** 2
        effective = min(max(effective, 1.0), float(n))
    interval = clopper_pearson(share * effective, effective, level)
    return Estimate(share, interval, n, "korn-graubard", k)


def bootstrap_weights(
    labels: np.ndarray, groups: np.ndarray | None = None, repeats: int = REPEATS, seed: int = 0
) -> Iterator[np.ndarray]:
    """Bootstrap samples, each as the number of times that every item was drawn.

    Units are drawn with replacement: groups, or items where there are none. Where each of them
    holds items of one label, the labels are strata. Where a group holds several, as a patient does,
    all groups are drawn from alike: strata of groups with the same set of labels would be so small
    that hardly any group could be left out, and intervals far too narrow. A sample without one of
    the labels is drawn again, `_TRIES` times at most.

    Args:
        labels: (n,) class of each item.
        groups: (n,) name or number of each item's group, or None.
        repeats: number of samples.
        seed: seed of NumPy's generator.

    Yields:
        (n,) int64 weights.
    """
    labels = np.asarray(labels)
    n = len(labels)
    rng = np.random.default_rng(seed)
    number = distinct_groups(groups, n)
    if number is None:
        number = np.arange(n)
    number, label = (np.unique(it, return_inverse=True)[1].reshape(-1) for it in (number, labels))
    holds = np.zeros((number.max(initial=-1) + 1, label.max(initial=-1) + 1), dtype=np.int64)
    holds[number, label] = 1
    is_mixed = bool((holds.sum(axis=1) > 1).any())
    columns = np.ones((len(holds), 1)) if is_mixed else holds
    strata = [np.flatnonzero(column) for column in columns.T]
    for _ in range(repeats):
        for _ in range(_TRIES if is_mixed else 1):
            drawn = np.zeros(len(holds), dtype=np.int64)
            for members in strata:
                m = len(members)
                drawn[members] = np.bincount(rng.integers(0, m, m), minlength=m)
            if not is_mixed or (drawn @ holds).all():
                break
        yield drawn[number]


def bootstrap_interval(
    statistic: Callable[[np.ndarray], np.ndarray | float],
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
    level: float = LEVEL,
) -> list[tuple[float, float] | None]:
    """Percentile intervals of one or several statistics, from one set of bootstrap samples.

    Args:
        statistic: from (n,) int64 weights to one number or to (s,) numbers, NaN where undefined.
        labels: (n,) class of each item, see :func:`bootstrap_weights`.
        groups: (n,) groups, or None.
        repeats: number of samples.
        seed: seed of NumPy's generator.
        level: confidence level.

    Returns:
        s intervals; None where a statistic is undefined in more than one sample of twenty.
    """
    samples = np.array(
        [
            np.atleast_1d(np.asarray(statistic(weights), dtype=float))
            for weights in bootstrap_weights(labels, groups, repeats, seed)
        ]
    )
    tail = (1.0 - level) / 2.0
    intervals: list[tuple[float, float] | None] = []
    for column in samples.T:
        defined = column[np.isfinite(column)]
        if len(defined) < 0.95 * len(column):
            intervals.append(None)
            continue
        low, high = np.quantile(defined, [tail, 1.0 - tail])
        intervals.append((float(low), float(high)))
    return intervals
