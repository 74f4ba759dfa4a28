"""What a network makes of cells of kinds that it never saw, as a dictionary of plain JSON values.

Two questions: what it calls them (a matrix of nine columns, section 6.4 of the thesis), and how
well a score tells them from cells of the classes that it was taught. Pure functions of arrays; the
scores are made in ``novelty``, images and networks are left to ``unknown``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from cellnet.auc import NEAR_END, auc
from cellnet.cells import CLASSES, OTHER
from cellnet.intervals import (
    FEWEST,
    REPEATS,
    Estimate,
    bootstrap_interval,
    distinct_groups,
    proportion,
)
from cellnet.roc import roc_curve, thinned
from cellnet.smear import name_cells

__all__ = ["ACCEPTED", "compare_scores", "nine_columns"]

ACCEPTED = 0.95
"""Share of the known cells that stay known at the cut of ``fpr_at_95_tpr``."""

_POINTS = 200
_BINS = 30


def nine_columns(
    probabilities: np.ndarray,
    kinds: Sequence[tuple[str, bool, np.ndarray]],
    groups: np.ndarray | None = None,
) -> dict[str, Any]:
    """Count what each kind of cell is called by the program's rule.

    Args:
        probabilities: ``(n, 8) float`` in [0, 1].
        kinds: For each row of the matrix its name, whether the network was taught it, and ``(n,)
            bool``, its cells.
        groups: ``(n,)`` patient, smear or source cell of each cell, or None for independent cells.

    Returns:
        ``columns`` (the eight classes and ``other``) and ``rows``: ``name``, ``known``, ``n``,
        ``counts`` and ``shares``, nine each; a share is a dictionary with ``value``, ``ci95``,
        ``n``, ``method`` and ``k``.
    """
    called = name_cells(probabilities)
    columns = (*CLASSES, OTHER)
    rows = []
    for name, known, members in kinds:
        own = None if groups is None else np.asarray(groups)[members]
        shares = [proportion(called[members] == at, own) for at in range(len(columns))]
        rows.append(
            {
                "name": name,
                "known": known,
                "n": int(np.count_nonzero(members)),
                "counts": [share.k for share in shares],
                "shares": [share.to_json() for share in shares],
            }
        )
    return {"columns": list(columns), "rows": rows}


def compare_scores(
    scores: Mapping[str, np.ndarray],
    unknown: np.ndarray,
    strata: np.ndarray,
    types: Sequence[str],
    refused: np.ndarray,
    groups: np.ndarray | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare how well scores tell unknown cells from known ones.

    All scores see the same bootstrap samples, so that differences are paired. Samples are
    stratified by class and type, or draws groups where they are given.

    Args:
        scores: By name, ``(n,)`` finite float; higher for what looks unknown.
        unknown: ``(n,) bool``.
        strata: ``(n,) str``, class of each known cell, type of each unknown one.
        types: Names of the unknown types.
        refused: ``(n,) bool``, the cells that the program calls ``other``.
        groups: ``(n,)`` groups, or None for independent cells.
        repeats: Bootstrap samples.
        seed: Seed of the bootstrap.

    Returns:
        ``scores``, by name: ``auc`` (unknown against known), ``fpr_at_95_tpr`` (share of unknown
        cells that pass as known at the ``cut`` which lets 95 % of the known ones pass), ``cut``,
        ``found_at_rule`` (share of the unknown cells that are found where as many known ones are
        refused as by the program's rule; samples draw the number that it refuses, too), ``by_type``
        (``auc`` of each type), ``curve``, ``histogram``; and ``differences``, for each pair:
        ``of``, ``less``, ``auc``, ``fpr_at_95_tpr``. With fewer than `FEWEST` known or unknown
        cells or groups no sample is trusted: areas have the interval of `cellnet.auc.auc`, shares
        the exact one for the cut as it is, differences none.

    Raises:
        ValueError: There is no known or no unknown cell, or a score is not finite.
    """
    unknown = np.asarray(unknown, dtype=bool)
    number = distinct_groups(groups, len(unknown))
    method = "stratified bootstrap" if number is None else "bootstrap by group"
    refused = np.asarray(refused, dtype=bool) & ~unknown
    of_type = [unknown & (np.asarray(strata) == name) for name in types]
    values = {name: np.asarray(score, dtype=np.float64) for name, score in scores.items()}
    drawn = [_Resampled(score, unknown, refused, of_type) for score in values.values()]
    pairs = list(combinations(range(len(drawn)), 2))

    def statistics(weights: np.ndarray) -> np.ndarray:
        each = np.array([one(weights) for one in drawn])
        return np.concatenate([each.ravel(), *(each[b, :2] - each[a, :2] for a, b in pairs)])

    once = statistics(np.ones(len(unknown)))
    labels = np.char.add(np.where(unknown, "u:", "k:"), np.asarray(strata).astype(str))
    width = 3 + len(types)
    units = np.arange(len(unknown)) if number is None else number

    def too_few(members: np.ndarray) -> bool:
        kinds = (members & unknown, members & ~unknown)
        return min(len(np.unique(units[kind])) for kind in kinds) < FEWEST

    every = np.ones(len(unknown), dtype=bool)
    intervals: list[tuple[float, float] | None] = [None] * len(once)
    if not too_few(every):
        intervals = bootstrap_interval(statistics, labels, number, repeats, seed)
    found: dict[str, Any] = {}
    for at, (name, score) in enumerate(values.items()):
        own, ends = once[at * width : (at + 1) * width], intervals[at * width : (at + 1) * width]

        def area_of(
            place: int, members: np.ndarray, score=score, own=own, ends=ends
        ) -> dict[str, Any]:
            value, interval = float(own[place]), ends[place]
            if too_few(members) or _collapsed(value, interval):
                tied = None if number is None else number[members]
                return auc(unknown[members], score[members], False, tied, repeats, seed).to_json()
            return Estimate(value, interval, int(members.sum()), method).to_json()

        cut = _cut(score[~unknown])
        found[name] = {
            "auc": area_of(0, every),
            "fpr_at_95_tpr": _share(score[unknown] <= cut, ends[1], method, number, unknown),
            "cut": cut,
            "found_at_rule": _share(
                score[unknown] > _cut_that_refuses(score[~unknown], int(refused.sum())),
                ends[2],
                method,
                number,
                unknown,
            ),
            "by_type": {
                kind: {"auc": area_of(3 + place, of_type[place] | ~unknown)}
                for place, kind in enumerate(types)
            },
            "curve": _curve(unknown, score),
            "histogram": _histogram(unknown, score),
        }
    names = list(values)
    differences = []
    for place, (a, b) in enumerate(pairs):
        at = len(drawn) * width + 2 * place
        estimates = [
            # Where all samples agree they say nothing of other cells.
            Estimate(
                float(once[at + k]),
                None if _has_no_width(intervals[at + k]) else intervals[at + k],
                len(unknown),
                f"paired {method}",
            )
            for k in range(2)
        ]
        differences.append(
            {
                "of": names[b],
                "less": names[a],
                "auc": estimates[0].to_json(),
                "fpr_at_95_tpr": estimates[1].to_json(),
            }
        )
    return {"scores": found, "differences": differences}


class _Resampled:
    """What one score is worth in a bootstrap sample.

    Area, share that passes at 95 %, share that is found at the rule's price, and area by type. Both
    cuts are set anew by the known cells of the sample, and so is the rule's price: the number of
    them that the program refuses.
    """

    def __init__(
        self,
        score: np.ndarray,
        unknown: np.ndarray,
        refused: np.ndarray,
        of_type: Sequence[np.ndarray],
    ):
        if not unknown.any() or unknown.all():
            raise ValueError(
                f"known and unknown cells are needed, got {np.count_nonzero(~unknown)} and "
                f"{np.count_nonzero(unknown)}"
            )
        if not np.isfinite(score).all():
            raise ValueError(f"scores must be finite, got {score[~np.isfinite(score)][0]}")
        values, place = np.unique(score, return_inverse=True)
        self.place, self.size = place.reshape(-1), len(values)
        self.known, self.refused, self.parts = ~unknown, refused, [unknown, *of_type]

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        low = self._count(weights * self.known)
        below = np.cumsum(low)
        middle = below - 0.5 * low
        total = below[-1]
        areas, passed, found = [], np.nan, np.nan
        for number, members in enumerate(self.parts):
            high = self._count(weights * members)
            some = high.sum()
            areas.append(high @ middle / (some * total) if some and total else np.nan)
            if number == 0 and some and total:
                cut = np.searchsorted(below, ACCEPTED * total - 1e-9)
                passed = high[: cut + 1].sum() / some
                stay = total - float(weights @ self.refused)
                strict = np.searchsorted(below, stay - 1e-9) + 1 if stay > 0 else 0
                found = high[strict:].sum() / some
        return np.array([areas[0], passed, found, *areas[1:]])

    def _count(self, weights: np.ndarray) -> np.ndarray:
        return np.bincount(self.place, weights=weights, minlength=self.size)


def _collapsed(value: float, interval: tuple[float, float] | None) -> bool:
    """Whether a bootstrap says nothing here: see `cellnet.auc.auc`."""
    return _has_no_width(interval) or not NEAR_END < value < 1 - NEAR_END


def _has_no_width(interval: tuple[float, float] | None) -> bool:
    return interval is None or interval[1] - interval[0] < 1e-12


def _cut(known: np.ndarray) -> float:
    """The smallest score at or below which 95 % of the known cells lie."""
    ordered = np.sort(known)
    return float(ordered[int(np.ceil(ACCEPTED * len(ordered) - 1e-9)) - 1])


def _cut_that_refuses(known: np.ndarray, number: int) -> float:
    """The smallest score that no more than so many known cells lie above."""
    ordered = np.sort(known)
    return -np.inf if number >= len(ordered) else float(ordered[len(ordered) - 1 - number])


def _share(
    hits: np.ndarray,
    interval: tuple[float, float] | None,
    method: str,
    number: np.ndarray | None,
    unknown: np.ndarray,
) -> dict[str, Any]:
    """Share of the unknown cells on one side of a cut that known cells set.

    The interval is the bootstrap's, which sets the cut anew in each sample; where there is none, or
    all samples give one value, it is exact for the cut as it is.
    """
    share = proportion(hits, None if number is None else number[unknown])
    if _has_no_width(interval):
        return share.to_json()
    return Estimate(share.value, interval, share.n, method, share.k).to_json()


def _curve(unknown: np.ndarray, score: np.ndarray) -> dict[str, list[float]]:
    """A ROC curve for a plot, unknown cells being positive."""
    curve = roc_curve(unknown, score)
    alarm, found = 1.0 - curve.specificity, curve.sensitivity
    at = thinned(alarm, found, _POINTS)
    return {
        "false_positive_rate": alarm[at].round(6).tolist(),
        "sensitivity": found[at].round(6).tolist(),
    }


def _histogram(unknown: np.ndarray, score: np.ndarray) -> dict[str, list]:
    """Both kinds in bins of one width; what lies beyond 99.5 % of all cells is in the last one."""
    low, high = np.quantile(score, [0.005, 0.995])
    if not low < high:
        low, high = low - 0.5, low + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    inside = np.clip(score, low, high)
    return {
        "edges": edges.tolist(),
        "known": np.histogram(inside[~unknown], edges)[0].tolist(),
        "unknown": np.histogram(inside[unknown], edges)[0].tolist(),
    }
