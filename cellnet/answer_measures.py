"""What hard answers are worth: one name for each cell, whatever named it.

For machines and networks that are judged by the class they choose, with any names for the classes.
A pure function of arrays; `measure` knows what more a network's probabilities tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cellnet.intervals import REPEATS, proportion
from cellnet.metrics import balanced_accuracy, confusion_matrix, mean_and_sd, one_against_all

__all__ = ["SHARES", "measure_answers"]

SHARES = ("sensitivity", "specificity", "precision")


def measure_answers(
    truth: np.ndarray,
    called: np.ndarray,
    names: Sequence[str],
    groups: np.ndarray | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure what cells were called.

    Args:
        truth: ``(n,) int``, indices into ``names``; n at least 1.
        called: ``(n,) int``, indices into ``names``.
        names: Of the classes.
        groups: ``(n,)`` patient, smear or source cell, or None for independent cells.
        repeats: Bootstrap samples.
        seed: Seed of the bootstrap.

    Returns:
        ``n``, ``accuracy``, ``balanced_accuracy``, ``per_class`` (``cells``, ``called`` and the
        three shares), ``average`` (of each share over the classes that have it: ``mean``, ``sd``,
        the standard deviation of a sample, and ``classes``; figure 4.13 of the thesis), and
        ``confusion``. Estimates are dictionaries with ``value``, ``ci95``, ``n`` and ``method``.

    Raises:
        ValueError: There is no cell, or shapes differ.
    """
    truth, called = np.asarray(truth, np.int64), np.asarray(called, np.int64)
    if not len(truth):
        raise ValueError("there is no cell to measure on")
    per_class: dict[str, Any] = {}
    for label, name in enumerate(names):
        shares = one_against_all(truth, called, label, groups)
        per_class[name] = {
            "cells": int(np.count_nonzero(truth == label)),
            "called": int(np.count_nonzero(called == label)),
            **{key: shares[key].to_json() for key in SHARES},
        }
    return {
        "n": len(truth),
        "accuracy": proportion(called == truth, groups).to_json(),
        "balanced_accuracy": balanced_accuracy(
            truth, called, len(names), None, groups, repeats, seed
        ).to_json(),
        "per_class": per_class,
        "average": {
            key: _average([row[key]["value"] for row in per_class.values() if row["cells"]])
            for key in SHARES
        },
        "confusion": {
            "rows": list(names),
            "columns": list(names),
            "counts": confusion_matrix(truth, called, len(names)).tolist(),
        },
    }


def _average(values: Sequence[float | None]) -> dict[str, Any]:
    return {**mean_and_sd(values), "classes": sum(value is not None for value in values)}
