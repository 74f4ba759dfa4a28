"""All that is measured of one network on one set of cells, as a dictionary of plain JSON values.

`metrics` knows single measures; this module knows which of them belong together for the eight
classes of Model 1, for DysplasiaNet's cells, and for smears. Pure functions of arrays, so they are
tested without images and without a network. Reading the data is left to ``evaluate``, showing the
result to ``evaluation_page``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cellnet.answering import SmearCounts
from cellnet.auc import area, auc, macro_auc
from cellnet.cells import CLASSES, OTHER
from cellnet.intervals import REPEATS, Estimate, distinct_groups, proportion
from cellnet.metrics import (
    CALIBRATION_BINS,
    balanced_accuracy,
    calibration_error,
    confusion_matrix,
    f1_scores,
    one_against_all,
    reliability,
    spearman,
    spearman_within,
)
from cellnet.operating_point import OperatingPoint
from cellnet.roc import macro_curve, roc_curve, thinned
from cellnet.smear import HOLDS, name_cells
from cellnet.truth import normal_and_dysplastic

__all__ = ["measure_cells", "measure_classes", "measure_smears"]

CURVE_POINTS = 200

FEWEST_AT_AN_END = 20
"""Untouched cells against those with 3/4 suppressed are told from no fewer cells of either kind:
the AUC of a single untouched cell says nothing of the next one."""


def measure_classes(
    truth: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray | None = None,
    among: Sequence[str] | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
    classes: Sequence[str] = CLASSES,
) -> dict[str, Any]:
    """Measure a network that names classes, Model 1's eight or a specialist's own.

    Three rules name a cell. ``program``, the one that the program follows and the one that the
    top-level numbers stand for: the class whose probability is over 0.5, else "other", which is
    never right. ``free``: the most probable of all. ``forced``, where ``among`` is given: the
    most probable of those classes alone, for laboratories that name fewer.

    Args:
        truth: (n,) int, indices into ``classes``; n at least 1.
        probabilities: (n, classes) float in [0, 1].
        groups: (n,) patient, smear or source cell of each item, or None for independent cells.
        among: the classes of the rule ``forced``, or None.
        repeats: bootstrap samples.
        seed: seed of the bootstrap.
        classes: what the network tells apart, in the order of its probabilities.

    Returns:
        ``accuracy``, ``balanced_accuracy``, ``other``, ``per_class``, ``confusion``,
        ``calibration``, ``curves`` (a ROC curve for each class against all others), ``macro_roc``
        (their mean: ``auc``, ``classes``, ``curve``) and ``rules``. Estimates are dictionaries with
        ``value``, ``ci95``, ``n`` and ``method``; None where the data cannot give a value.

    Raises:
        ValueError: where shapes or classes are wrong, or there is no cell.
    """
    truth = np.asarray(truth, dtype=np.int64)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    size = len(classes)
    if not len(truth) or probabilities.shape != (len(truth), size):
        raise ValueError(
            f"probabilities must have shape (n, {size}) for n > 0 cells, got "
            f"{probabilities.shape} for {len(truth)}"
        )
    best = probabilities.argmax(axis=1)
    top = probabilities.max(axis=1)
    called = name_cells(probabilities)
    scores = f1_scores(truth, called, size, size + 1, groups, repeats, seed)
    per_class: dict[str, Any] = {}
    for label, name in enumerate(classes):
        shares = one_against_all(truth, called, label, groups)
        per_class[name] = {
            "cells": int(np.count_nonzero(truth == label)),
            "called": int(np.count_nonzero(called == label)),
            **{key: share.to_json() for key, share in shares.items()},
            "f1": scores[label].to_json(),
            "auc": auc(
                truth == label, probabilities[:, label], False, groups, repeats, seed
            ).to_json(),
        }
    right = best == truth
    told = f"the most probable of the {'eight' if tuple(classes) == CLASSES else size}"
    rules = {"free": _rule(truth, best, classes, told, groups, repeats, seed, classes)}
    if among is not None:
        kept = [label for label, name in enumerate(classes) if name in among]
        forced = np.asarray(kept)[probabilities[:, kept].argmax(axis=1)]
        rules["forced"] = _rule(
            truth,
            forced,
            [classes[label] for label in kept],
            "the most probable of " + ", ".join(classes[label] for label in kept),
            groups,
            repeats,
            seed,
            classes,
        )
    return {
        "rule": f"the class with a probability over {HOLDS}, else {OTHER}, which is never right",
        "accuracy": proportion(called == truth, groups).to_json(),
        "balanced_accuracy": balanced_accuracy(
            truth, called, size, size + 1, groups, repeats, seed
        ).to_json(),
        "classes_with_cells": [name for name in classes if per_class[name]["cells"]],
        "other": proportion(called == size, groups).to_json(),
        "per_class": per_class,
        "confusion": {
            "rows": list(classes),
            "columns": [*classes, OTHER],
            "counts": confusion_matrix(truth, called, size, size + 1).tolist(),
        },
        "calibration": _calibration(
            top, right, "probability of the most probable class against how often it is right"
        ),
        "curves": {
            name: _curve(truth == label, probabilities[:, label], lower=False)
            for label, name in enumerate(classes)
        },
        "macro_roc": _macro(truth, probabilities, groups, repeats, seed, classes),
        "rules": rules,
    }


def _macro(
    truth: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray | None,
    repeats: int,
    seed: int,
    classes: Sequence[str],
) -> dict[str, Any]:
    """The mean of the classes' ROC curves, of those that have one, and its area."""
    kept = [label for label in range(len(classes)) if 0 < np.sum(truth == label) < len(truth)]
    curve = None
    if len(kept) > 1:
        rate, mean = macro_curve(
            [roc_curve(truth == label, probabilities[:, label]) for label in kept]
        )
        at = thinned(rate, mean, 2 * CURVE_POINTS)
        curve = {
            "false_positive_rate": rate[at].round(6).tolist(),
            "sensitivity": mean[at].round(6).tolist(),
        }
    return {
        "auc": macro_auc(truth, probabilities, groups, repeats, seed).to_json(),
        "classes": [classes[label] for label in kept],
        "curve": curve,
    }


def _rule(
    truth: np.ndarray,
    called: np.ndarray,
    names: Sequence[str],
    told: str,
    groups: np.ndarray | None,
    repeats: int,
    seed: int,
    classes: Sequence[str],
) -> dict[str, Any]:
    """Accuracy, sensitivity by class and confusion of another way to name cells."""
    size = len(classes)
    columns = [list(classes).index(name) for name in names]
    rows = [label for label in range(size) if (truth == label).any()]
    return {
        "rule": told,
        "accuracy": proportion(called == truth, groups).to_json(),
        "balanced_accuracy": balanced_accuracy(
            truth, called, size, None, groups, repeats, seed
        ).to_json(),
        "sensitivity": {
            classes[label]: one_against_all(truth, called, label, groups)["sensitivity"].to_json()
            for label in rows
        },
        "confusion": {
            "rows": [classes[label] for label in rows],
            "columns": list(names),
            "counts": confusion_matrix(truth, called, size)[np.ix_(rows, columns)].tolist(),
        },
    }


def measure_cells(
    suppression: np.ndarray,
    score: np.ndarray,
    point: OperatingPoint,
    groups: np.ndarray | None = None,
    source_cells: np.ndarray | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a granularity network on neutrophils whose suppression is known.

    Args:
        suppression: (n,) share g of the granules taken out, in [0, 1]; n at least 1. Cells with g
            up to 0.2 are normal, from 2/3 dysplastic; those between take part in the rank
            correlations alone.
        score: (n,) granularity score in [0, 1].
        point: the operating point; its cut-off is used.
        groups: (n,) patient, smear or source cell, or None for independent cells.
        source_cells: (n,) photograph that each version was made from, or None.
        repeats: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        Counts, ``auc``, ``accuracy``, ``balanced_accuracy``, ``sensitivity`` (of dysplastic cells),
        ``specificity``, ``confusion``, ``calibration`` (score against share of normal cells),
        ``rank_correlation`` with the granules left, 1 - g, over all cells and within a source cell,
        ``untouched_against_three_quarters`` (AUC of g = 0 against g of 3/4 and more, with
        the numbers of both, ``untouched`` and ``three_quarters``; no value below 20 of either),
        ``curve``, and ``scores``, a histogram of both kinds.

    Raises:
        ValueError: where shapes differ or there is no cell.
    """
    suppression = np.asarray(suppression, dtype=np.float64)
    score = np.asarray(score, dtype=np.float64)
    if not len(score) or suppression.shape != score.shape or score.ndim != 1:
        raise ValueError(
            f"suppression and score must have one shape (n,), n > 0, got {suppression.shape} and "
            f"{score.shape}"
        )
    normal, dysplastic = normal_and_dysplastic(suppression)
    used = normal | dysplastic
    tied = None if groups is None else np.asarray(groups)[used]
    truth, scores = dysplastic[used], score[used]
    called = np.asarray(point.is_dysplastic(scores), dtype=bool)
    shares = one_against_all(truth, called, True, tied)
    within = None
    if source_cells is not None:
        within = spearman_within(
            score, 1 - suppression, source_cells, repeats=repeats, seed=seed
        ).to_json()
    return {
        "rule": f"dysplastic where score <= {point.cutoff!r}",
        "n": len(score),
        "dysplastic": int(np.count_nonzero(dysplastic)),
        "normal": int(np.count_nonzero(normal)),
        "between": int(np.count_nonzero(~used)),
        "auc": auc(truth, scores, True, tied, repeats, seed).to_json(),
        "accuracy": proportion(called == truth, tied).to_json(),
        "balanced_accuracy": balanced_accuracy(
            truth.astype(np.int64), called.astype(np.int64), 2, None, tied, repeats, seed
        ).to_json(),
        "sensitivity": shares["sensitivity"].to_json(),
        "specificity": shares["specificity"].to_json(),
        "confusion": {
            "rows": ["dysplastic", "normal"],
            "columns": ["dysplastic", "normal"],
            "counts": confusion_matrix(1 - truth.astype(int), 1 - called.astype(int), 2).tolist(),
        },
        "calibration": _calibration(scores, ~truth, "score against the share of normal cells"),
        "rank_correlation": {
            "of": "granularity score and granules left, 1 - g (Spearman)",
            "all_cells": {"value": spearman(score, 1 - suppression), "n": len(score)},
            "within_a_source_cell": within,
        },
        "untouched_against_three_quarters": _ends(suppression, score, groups, repeats, seed),
        "curve": _curve(truth, scores, lower=True),
        "scores": {
            "edges": np.linspace(0, 1, 21).round(2).tolist(),
            "dysplastic": _histogram(scores[truth]),
            "normal": _histogram(scores[~truth]),
        },
    }


def _ends(
    suppression: np.ndarray,
    score: np.ndarray,
    groups: np.ndarray | None,
    repeats: int,
    seed: int,
) -> dict[str, Any]:
    """AUC of untouched cells against those with 3/4 of their granules suppressed, and how many."""
    untouched, most = suppression <= 1e-4, suppression >= 0.75 - 1e-4
    numbers = {
        "untouched": int(np.count_nonzero(untouched)),
        "three_quarters": int(np.count_nonzero(most)),
    }
    ends = untouched | most
    found = Estimate(None, None, int(np.count_nonzero(ends)), "delong")
    if min(numbers.values()) >= FEWEST_AT_AN_END:
        tied = None if groups is None else np.asarray(groups)[ends]
        found = auc(most[ends], score[ends], True, tied, repeats, seed)
    return {**found.to_json(), **numbers}


def measure_smears(
    counts: SmearCounts, point: OperatingPoint, repeats: int = REPEATS, seed: int = 0
) -> dict[str, Any]:
    """Measure the decision on smears whose diagnosis is known.

    A smear with fewer neutrophils than the minimum is indeterminate: it is counted and listed, and
    takes no part in sensitivity, specificity and AUC.

    Args:
        counts: neutrophils and dysplastic neutrophils of each smear, at the point's cut-off; smears
            of one patient, where that is known, are one unit of the intervals.
        point: the operating point; its threshold and minimum are used.
        repeats: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        Counts, ``groups`` (what ties smears together), ``auc`` of the dysplastic share,
        ``accuracy``, ``balanced_accuracy``, ``sensitivity`` (of MDS smears), ``specificity``,
        ``precision``, ``confusion``, ``curve`` and ``smears``, a row for each.
    """
    decisions = [
        point.is_suspected(int(dysplastic), int(neutrophils))
        for dysplastic, neutrophils in zip(counts.dysplastic, counts.neutrophils, strict=True)
    ]
    decided = np.array([decision is not None for decision in decisions], dtype=bool)
    truth = counts.mds[decided]
    patients = None if counts.patients is None else counts.patients[decided]
    units = distinct_groups(patients, len(truth))
    called = np.array([bool(decision) for decision in decisions], dtype=bool)[decided]
    fraction = counts.fraction
    shares = one_against_all(truth, called, True, patients)
    names = {True: "mds-suspected", False: "no-dysplasia", None: "indeterminate"}
    return {
        "rule": f"mds-suspected where dysplastic_fraction > {point.threshold!r}",
        "n": len(counts.names),
        "mds": int(np.count_nonzero(counts.mds)),
        "healthy": int(np.count_nonzero(~counts.mds)),
        "indeterminate": int(np.count_nonzero(~decided)),
        "groups": {
            "by": None if units is None else "patient",
            "n": None if units is None else len(set(units.tolist())),
        },
        "auc": auc(truth, fraction[decided], False, patients, repeats, seed).to_json(),
        "accuracy": proportion(called == truth, patients).to_json(),
        "balanced_accuracy": balanced_accuracy(
            truth.astype(np.int64), called.astype(np.int64), 2, None, patients, repeats, seed
        ).to_json(),
        "sensitivity": shares["sensitivity"].to_json(),
        "specificity": shares["specificity"].to_json(),
        "precision": shares["precision"].to_json(),
        "confusion": {
            "rows": ["mds", "healthy"],
            "columns": ["mds-suspected", "no-dysplasia"],
            "counts": confusion_matrix(1 - truth.astype(int), 1 - called.astype(int), 2).tolist(),
        },
        "curve": _curve(truth, fraction[decided], lower=False),
        "smears": [
            {
                "smear": name,
                **({"patient": patient} if patient else {}),
                "diagnosis": "mds" if mds else "healthy",
                "neutrophils": int(neutrophils),
                "dysplastic": int(dysplastic),
                "dysplastic_fraction": None if np.isnan(share) else float(share),
                "decision": names[decision],
            }
            for name, patient, mds, neutrophils, dysplastic, share, decision in zip(
                counts.names,
                [""] * len(counts.names) if counts.patients is None else counts.patients.tolist(),
                counts.mds,
                counts.neutrophils,
                counts.dysplastic,
                fraction,
                decisions,
                strict=True,
            )
        ],
    }


def _calibration(confidence: np.ndarray, right: np.ndarray, of: str) -> dict[str, Any]:
    return {
        "of": of,
        "expected_calibration_error": calibration_error(confidence, right),
        "bins": CALIBRATION_BINS,
        "binning": "equal width over [0, 1]",
        "rows": reliability(confidence, right),
    }


def _curve(positive: np.ndarray, score: np.ndarray, lower: bool) -> dict[str, Any] | None:
    """A ROC curve's corners for a plot; None where one side is missing."""
    if area(positive, score, lower) is None:
        return None
    curve = roc_curve(positive, score, lower)
    alarm, found = 1.0 - curve.specificity, curve.sensitivity
    turn = np.ones(len(alarm), dtype=bool)
    run, rise = np.diff(curve.false_positives), np.diff(curve.true_positives)
    turn[1:-1] = run[:-1] * rise[1:] != run[1:] * rise[:-1]
    at = np.flatnonzero(turn)
    if len(at) > CURVE_POINTS:
        at = at[np.unique(np.linspace(0, len(at) - 1, CURVE_POINTS).round().astype(int))]
    return {
        "false_positive_rate": alarm[at].round(6).tolist(),
        "sensitivity": found[at].round(6).tolist(),
    }


def _histogram(values: np.ndarray) -> list[int]:
    return np.histogram(values, bins=20, range=(0.0, 1.0))[0].tolist()
