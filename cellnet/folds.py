"""Cross-validation: cells dealt out to folds, and what the folds' networks say of cells kept back.

Versions of one source cell, cells of one smear and smears of one patient look alike, so a fold
keeps them together. Dealt out by image, as the thesis did, they train and test at once; that is
offered under its own name, and `flattery` says how much better a network then looks. Each fold is a
small manifest that ``cellnet train`` takes as its data and its cohort; training is left to
``selection``.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from cellnet.answering import answer
from cellnet.auc import auc
from cellnet.bundle import Bundle
from cellnet.duplicates import connected
from cellnet.errors import CellnetError
from cellnet.intervals import FEWEST, Estimate, bootstrap_interval, proportion
from cellnet.manifest import COHORT_SPLITS, Manifest, Row, read_manifest, ties_of, write_manifest
from cellnet.metrics import mean_and_sd
from cellnet.truth import normal_and_dysplastic, suppression_of

__all__ = [
    "Pool",
    "check_fold",
    "choosers",
    "deal",
    "divide",
    "difference_of_folds",
    "flattery",
    "measure_fold",
    "pool_of",
    "summarise",
    "tied",
    "tied_in_training",
    "write_fold",
]

TRAIN, VALIDATION, HELD = COHORT_SPLITS[:3]
HALF = 0.5
"""The score that divides normal from dysplastic here, as in training's own accuracy: a cut-off
fitted on the fold would flatter it."""


@dataclass(frozen=True)
class Pool:
    """Cells to be dealt out.

    Attributes:
        rows: n neutrophils that are known as normal or as dysplastic.
        normal: (n,) bool.
        groups: (n,) int64; rows tied by patient, smear or source cell, through others too, have
            the same number.
    """

    rows: list[Row]
    normal: np.ndarray
    groups: np.ndarray

    def describe(self) -> dict[str, Any]:
        """Counts, and what ties the cells."""
        sizes = np.bincount(self.groups)
        return {
            "n": len(self.rows),
            "normal": int(self.normal.sum()),
            "dysplastic": int((~self.normal).sum()),
            "tied_by": [
                column
                for column in ("patient", "smear", "source_cell")
                if any(getattr(row, column) for row in self.rows)
            ],
            "groups": len(sizes),
            "largest_group": int(sizes.max()),
        }


def pool_of(cohort: Manifest) -> Pool:
    """Gather the train and validation cells of a cohort; its test sets stay untouched.

    Raises:
        CellnetError: There are none, or one of the kinds is missing.
    """
    rows = cohort.split(TRAIN, VALIDATION)
    normal, dysplastic = normal_and_dysplastic(suppression_of(rows))
    known = np.flatnonzero(normal | dysplastic)
    rows, normal = [rows[at] for at in known], normal[known]
    if not normal.any() or normal.all():
        raise CellnetError(
            f"cross-validation needs normal and dysplastic neutrophils; {cohort.file} has "
            f"{int(normal.sum())} normal and {int((~normal).sum())} dysplastic ones to train with"
        )
    return Pool(rows, normal, tied(rows))


def tied(rows: Sequence[Row]) -> np.ndarray:
    """Number the groups of rows that are tied by patient, smear or photograph.

    Returns:
        (n,) int64; rows that are tied, through others too, have the same number.
    """
    first: dict[tuple[str, str], int] = {}
    pairs = [
        (first.setdefault(tie, number), number)
        for number, row in enumerate(rows)
        for tie in ties_of(row)
    ]
    groups = np.empty(len(rows), np.int64)
    for number, members in enumerate(connected(len(rows), pairs)):
        groups[members] = number
    return groups


def deal(labels: Sequence[Hashable], groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Deal items out to folds of equal size and mix, groups whole.

    Args:
        labels: n labels; each is spread evenly over the folds, as far as groups allow.
        groups: (n,) int, the group of each item.
        folds: Number of folds.
        seed: Another one gives another division.

    Returns:
        (n,) int64 in [0, folds); the groups in random order, the largest first, each to the fold
        that has least of what it holds.

    Raises:
        CellnetError: There are fewer groups than folds.
    """
    names, place = np.unique(np.asarray(labels), return_inverse=True)
    totals = np.bincount(place, minlength=len(names))
    numbers, group = np.unique(groups, return_inverse=True)
    if len(numbers) < folds:
        raise CellnetError(
            f"{folds} folds need {folds} independent groups of cells or more, got {len(numbers)}; "
            "use fewer folds, or cells of more patients"
        )
    content = np.zeros((len(numbers), len(names)))
    np.add.at(content, (group, place), 1.0 / totals[place])
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(numbers))
    order = order[np.argsort(-content[order].sum(axis=1), kind="stable")]
    held = np.zeros((folds, len(names)))
    fold_of = np.empty(len(numbers), np.int64)
    for number in order:
        load = held @ content[number]
        fold = min(range(folds), key=lambda fold: (load[fold], held[fold].sum(), fold))
        fold_of[number] = fold
        held[fold] += content[number]
    return fold_of[group]


def divide(pool: Pool, by: str, folds: int, seed: int) -> np.ndarray:
    """The fold of each cell of a pool.

    Args:
        pool: The cells.
        by: ``group`` or ``image``.
        folds: Number of folds.
        seed: Of the division.

    Returns:
        (n,) int64 in [0, folds).
    """
    return deal(pool.normal, _units(pool, by), folds, seed)


def _units(pool: Pool, by: str) -> np.ndarray:
    if by == "group":
        return pool.groups
    # Copies of a file are one image.
    first: dict[str, int] = {}
    return np.array([first.setdefault(row.sha256, len(first)) for row in pool.rows])


def choosers(pool: Pool, held: np.ndarray, by: str, validation: float, seed: int) -> np.ndarray:
    """Cells beside a fold that choose its epoch and train nothing.

    They are dealt out in equal parts, and the first part that holds both kinds is taken, where both
    are left to train with: by one kind alone no epoch can be chosen.

    Args:
        pool: The cells.
        held: (n,) bool, the cells kept back.
        by: ``group`` or ``image``.
        validation: Their share of the others, 1 divided by a whole number (which the recipe of a
            study makes sure of).
        seed: Of the choice.

    Returns:
        (n,) bool.

    Raises:
        CellnetError: There are too few groups, or no part holds both kinds.
    """
    others = np.flatnonzero(~held)
    parts = max(2, round(1 / validation))
    units = _units(pool, by)[others]
    remedy = "raise cross_validation.validation, use fewer folds, or give cells of more patients"
    if len(np.unique(units)) < parts:
        raise CellnetError(
            f"beside a fold there are {len(np.unique(units))} independent groups of cells, too few "
            f"to choose its epoch by one part of {parts}; {remedy}"
        )
    dealt = deal(pool.normal[others], units, parts, seed)
    for part in range(parts):
        normal, rest = pool.normal[others[dealt == part]], pool.normal[others[dealt != part]]
        if all(kinds.any() and not kinds.all() for kinds in (normal, rest)):
            chosen = np.zeros(len(pool.rows), bool)
            chosen[others[dealt == part]] = True
            return chosen
    raise CellnetError(
        f"beside a fold no part of {parts} holds normal and dysplastic cells, so that nothing "
        f"could choose its epoch; {remedy}"
    )


def write_fold(
    pool: Pool,
    cohort: Manifest,
    folder: Path,
    root: str | Path,
    held: np.ndarray,
    by: str,
    validation: float,
    seed: int,
) -> Path:
    """Write the manifest of a fold.

    The cells kept back have the split ``test-by-cell``; of the others a share is ``validation``.
    Divided by image, rows name no patient, smear or source cell: that is what the division ignores,
    and ``cellnet train`` would refuse cells of one photograph on two sides.

    Args:
        pool: The cells.
        cohort: Where they are from.
        folder: Where ``manifest.csv`` goes.
        root: Where the images are, absolute or as seen from the folder.
        held: (n,) bool, the cells kept back.
        by: ``group`` or ``image``.
        validation: Share of the others that chooses the epoch, see `choosers`.
        seed: Of the choice.

    Returns:
        The manifest's file.

    Raises:
        CellnetError: Nothing can choose the epoch, or it cannot be written.
    """
    side = np.where(choosers(pool, held, by, validation, seed), VALIDATION, TRAIN).astype(object)
    side[held] = HELD
    rows = []
    for row, split in zip(pool.rows, side, strict=True):
        cut = dict.fromkeys(("patient", "smear", "source_cell"), "") if by == "image" else {}
        rows.append(replace(row, split=split, **cut))
    about = {
        "adapter": "fold",
        "seed": seed,
        "folds_by": by,
        "made_from": cohort.about.get("adapter"),
        "simulated": cohort.about.get("simulated"),
    }
    return write_manifest(folder, rows, root, about)


def check_fold(pool: Pool, manifest: Manifest, held: np.ndarray) -> None:
    """Check that a fold that was written earlier keeps back what is kept back now.

    Args:
        pool: The cells.
        manifest: The fold's.
        held: (n,) bool, the cells to be kept back.

    Raises:
        CellnetError: It keeps back others, and was trained on some of these.
    """
    kept = {row.path for row in manifest.rows if row.split == HELD}
    if kept != {row.path for row, keeps in zip(pool.rows, held, strict=True) if keeps}:
        raise CellnetError(
            f"{manifest.file} was divided otherwise than this version of cellnet divides: its "
            "network has seen cells that it would be tested on; run the study in another --run, "
            "or go on with the version that began it"
        )


def measure_fold(
    bundle: Bundle, pool: Pool, folder: Path, held: np.ndarray, progress: bool = True
) -> tuple[dict[str, Any], np.ndarray]:
    """Measure the network of a fold on the cells kept back from it.

    Args:
        bundle: What the fold's training ended in.
        pool: The cells.
        folder: Where the fold's manifest is.
        held: (n,) bool, the cells kept back.
        progress: Show a bar on standard error.

    Returns:
        ``n``, ``normal``, ``dysplastic``, ``accuracy``, ``sensitivity``, ``specificity`` and
        ``auc`` with intervals by group, and (n,) float64 scores, NaN for the cells of other folds
        and for those whose image could not be used.

    Raises:
        CellnetError: No image could be used.
    """
    manifest = read_manifest(folder)
    found = answer(bundle, manifest, manifest.split(HELD), progress)
    score_of = {
        row.path: float(value) for row, value in zip(found.rows, found.outputs[:, 0], strict=True)
    }
    scores = np.array(
        [
            score_of.get(row.path, math.nan) if kept else math.nan
            for row, kept in zip(pool.rows, held, strict=True)
        ]
    )
    used = np.isfinite(scores)
    normal, groups, score = pool.normal[used], pool.groups[used], scores[used]
    called = score > HALF
    return {
        "n": int(used.sum()),
        "normal": int(normal.sum()),
        "dysplastic": int((~normal).sum()),
        "unreadable": len(found.unreadable),
        "accuracy": proportion(called == normal, groups).to_json(),
        "sensitivity": proportion(~called[~normal], groups[~normal]).to_json(),
        "specificity": proportion(called[normal], groups[normal]).to_json(),
        "auc": auc(~normal, score, True, groups).to_json(),
    }, scores


def summarise(pool: Pool, rows: Sequence[dict[str, Any]], scores: np.ndarray) -> dict[str, Any]:
    """What all folds of a division say together.

    Args:
        pool: The cells.
        rows: What `measure_fold` measured of each.
        scores: (n,) float64, the score of each cell from the network that had not seen it.

    Returns:
        ``pooled`` and ``pooled_auc``, accuracy and AUC over all cells with intervals by group, and
        ``mean``, ``sd`` and ``ci95`` over the folds of ``accuracy`` and ``auc``. Intervals by group
        hold for the networks that were trained; those over the folds let training differ too. The
        pooled AUC sets scores of different networks on one scale: where one scores higher than
        another, it comes out lower than the folds' own.
    """
    used = np.isfinite(scores)
    normal, groups, score = pool.normal[used], pool.groups[used], scores[used]
    return {
        "n": int(used.sum()),
        "pooled": proportion((score > HALF) == normal, groups).to_json(),
        "pooled_auc": auc(~normal, score, True, groups).to_json(),
        **{key: _over_folds([row[key]["value"] for row in rows]) for key in ("accuracy", "auc")},
    }


def _over_folds(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean, standard deviation and Student's t interval of the folds' values.

    Folds share most of the cells that they train with, so the interval is no more than a good guess
    (Bengio and Grandvalet, Journal of Machine Learning Research 5 (2004) 1089). None where fewer
    than two values are known, or all are the same.
    """
    found, ends = mean_and_sd(values), None
    known = [value for value in values if value is not None]
    if found["sd"]:
        half = stats.t.ppf(0.975, len(known) - 1) * found["sd"] / math.sqrt(len(known))
        ends = [max(0.0, found["mean"] - half), min(1.0, found["mean"] + half)]
    return {**found, "ci95": ends}


def difference_of_folds(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """How much higher the folds of a second division come out than those of a first.

    Args:
        first: A value for each fold.
        second: A value for each fold; they need not be as many.

    Returns:
        The difference of the means with Welch's t interval, of as many values as both have; no
        interval where no value differs within a division.
    """
    value, ends = float(np.mean(second) - np.mean(first)), None
    if np.ptp(first) or np.ptp(second):
        ends = tuple(map(float, stats.ttest_ind(second, first, equal_var=False)
                         .confidence_interval(0.95)))  # fmt: skip
    return Estimate(value, ends, len(first) + len(second), "Welch's t over the folds").to_json()


def tied_in_training(pool: Pool, fold_of: np.ndarray) -> dict[str, int]:
    """What the networks of a division by image are taught of the cells that they are tried on.

    Args:
        pool: The cells.
        fold_of: (n,) int64, the fold of each.

    Returns:
        Pairs of a cell and another of its group beside the cell's fold, ``same`` of one kind and
        ``other`` of both. Where the second are more, to recall what was seen misleads.
    """
    kinds = np.zeros((2, pool.groups.max() + 1, fold_of.max() + 1), np.int64)
    np.add.at(kinds, (pool.normal.astype(int), pool.groups, fold_of), 1)
    outside = kinds.sum(axis=2, keepdims=True) - kinds
    return {
        "same": int((kinds * outside).sum()),
        "other": int((kinds * outside[::-1]).sum()),
    }


def flattery(pool: Pool, by_group: np.ndarray, by_image: np.ndarray) -> dict[str, Any]:
    """How much better a network looks where cells were dealt out by image.

    Args:
        pool: The cells.
        by_group: (n,) float64 scores of the division by group, NaN where there is none.
        by_image: The same of the division by image, into as many folds.

    Returns:
        The difference of the two accuracies on the cells that both scored, with an interval from a
        bootstrap of the groups.
    """
    used = np.isfinite(by_group) & np.isfinite(by_image)
    normal, groups = pool.normal[used], pool.groups[used]
    gain = ((by_image[used] > HALF) == normal).astype(float)
    gain -= (by_group[used] > HALF) == normal
    method = "bootstrap by group"
    if not len(gain):
        return Estimate(None, None, 0, method).to_json()
    value = float(gain.mean())
    ends = bootstrap_interval(
        lambda weights: float(weights @ gain / weights.sum()), np.zeros(len(gain)), groups
    )[0]
    if ends is None or ends[0] == ends[1] or len(np.unique(groups)) < FEWEST:
        # No two answers differ, or too few groups for a bootstrap: as many may as the exact
        # interval of that share allows.
        method = "exact on the cells that differ"
        most = proportion(gain != 0, groups).ci95[1]
        ends = (max(-1.0, value - most), min(1.0, value + most))
    return Estimate(value, ends, len(gain), method).to_json()
