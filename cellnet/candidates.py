"""What is measured of the candidates of a study, and which of them wins.

Whether one has left chance is told from its validation cells; its cut-off comes from
``test-by-cell`` and its threshold from ``test-by-smear``, as of any bundle (``calibrate``), and the
winner alone is tried on ``proof-of-concept``. Pure arithmetic is left to ``metrics``, training to
``selection``.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from cellnet.answering import answer, is_called_neutrophil
from cellnet.bundle import Bundle, load
from cellnet.calibrate import calibrate, load_classifier
from cellnet.cells import NEUTROPHIL
from cellnet.errors import CellnetError, NoBetterThanGuessing
from cellnet.evaluate import evaluate
from cellnet.folds import HALF
from cellnet.intervals import proportion
from cellnet.manifest import BY_CELL, BY_SMEAR, PROOF, Manifest, check_disjoint
from cellnet.metrics import balanced_accuracy, sign_test
from cellnet.operating_point import OperatingPoint, read_operating_point
from cellnet.outputs import write_text
from cellnet.run_folder import read_kept
from cellnet.study import CHOICE, Study
from cellnet.truth import (
    describe_manifest,
    groups_of,
    normal_and_dysplastic,
    read_diagnoses,
    read_patients,
    suppression_of,
    told_groups,
)

__all__ = [
    "check_cohort",
    "check_namer",
    "choose",
    "measure_candidate",
    "proof_of_concept",
    "standing",
]

log = logging.getLogger(__name__)

SIGNIFICANT = 0.05
"""What chance alone explains with a lower probability is taken for a difference."""

WAYS = {
    "smears_as_run": "cells that the classifier calls neutrophil, as the program runs",
    "smears_by_known_neutrophils": "neutrophils by the manifest's label",
}


def check_cohort(cohort: Manifest, minimum_neutrophils: int = 1) -> None:
    """Check, before hours of training, that a cohort can decide a study.

    Args:
        cohort: The cohort.
        minimum_neutrophils: Smears with fewer take no part.

    Raises:
        CellnetError: A set is missing, cells stand on two sides, a smear set lacks MDS or healthy
            smears with enough neutrophils, a cell of it has no smear or a smear no diagnosis,
            patients contradict each other, or an image is not there.
    """
    cohort.check_files()
    check_disjoint(cohort.rows, str(cohort.file))
    for split in ("train", "validation", BY_CELL):
        normal, dysplastic = normal_and_dysplastic(suppression_of(cohort.split(split)))
        if not normal.any() or not dysplastic.any():
            raise CellnetError(
                f"the set '{split}' of {cohort.file} needs normal and dysplastic neutrophils, it "
                f"has {int(normal.sum())} and {int(dysplastic.sum())}: their 'suppression' is the "
                "share of granules that is missing, at most 0.2 or at least 2/3"
            )
    diagnoses = read_diagnoses(cohort)
    read_patients(cohort)
    for split in (BY_SMEAR, PROOF):
        neutrophils: Counter[str] = Counter()
        for row in cohort.split(split):
            if not row.smear:
                raise CellnetError(
                    f"{row.path} of the set '{split}' of {cohort.file} belongs to no smear; name "
                    "its smear, or take it out of the set"
                )
            if (split, row.smear) not in diagnoses:
                raise CellnetError(
                    f"the smear {row.smear} of the set '{split}' of {cohort.file} has no diagnosis "
                    "in truth.csv; give it one, or take it out of the set"
                )
            neutrophils[row.smear] += row.label == NEUTROPHIL
        enough = {smear for smear, number in neutrophils.items() if number >= minimum_neutrophils}
        if {diagnoses[split, smear] for smear in enough} != {True, False}:
            raise CellnetError(
                f"the set '{split}' of {cohort.file} needs smears of patients with MDS and of "
                f"healthy ones, with their diagnoses in truth.csv and {minimum_neutrophils} "
                f"neutrophils or more; it has {len(enough)} of so many among {len(neutrophils)}; "
                "give more, or lower minimum_neutrophils in the recipe"
            )


def check_namer(
    cohort: Manifest, classifier: Bundle, minimum_neutrophils: int, progress: bool = True
) -> None:
    """Check, before hours of training, that Model 1 finds the neutrophils of the smears.

    Thresholds are fitted on the cells that it calls neutrophil, as the program runs, and of another
    laboratory's stain it may call few.

    Args:
        cohort: The cohort, as `check_cohort` accepts it.
        classifier: Model 1.
        minimum_neutrophils: Smears with fewer take no part.
        progress: Show a bar on standard error.

    Raises:
        CellnetError: Too few smears of one diagnosis have so many, or no image could be used.
    """
    diagnoses = read_diagnoses(cohort)
    for split in (BY_SMEAR, PROOF):
        rows = cohort.split(split)
        found = answer(classifier, cohort, rows, progress)
        called = is_called_neutrophil(found.outputs)
        named = Counter(row.smear for row, yes in zip(found.rows, called, strict=True) if yes)
        labelled = Counter(row.smear for row in rows if row.label == NEUTROPHIL)
        enough = {smear for smear, number in named.items() if number >= minimum_neutrophils}
        if {diagnoses[split, smear] for smear in enough} != {True, False}:
            raise CellnetError(
                f"{classifier.name} finds too few neutrophils in the smears of '{split}' of "
                f"{cohort.file}: {named.total()} where the manifest has {labelled.total()}, and "
                f"smears of both diagnoses with {minimum_neutrophils} or more are needed; name "
                "another classifier in the recipe, 'none' to count the manifest's own neutrophils, "
                "or lower minimum_neutrophils, and begin in another --run"
            )


def standing(
    bundle: Bundle, cohort: Manifest, study: Study, progress: bool = True
) -> dict[str, Any]:
    """Measure a candidate of the first stage on the validation cells, and say whether it goes on.

    Args:
        bundle: The weights of its best epoch.
        cohort: Where the validation cells are.
        study: Whose rule holds.
        progress: Show a bar on standard error.

    Returns:
        ``accuracy`` and ``balanced_accuracy`` (at a score of one half, intervals by group),
        ``groups``, ``goes_on`` and ``reason``. The second decides: always naming the more frequent
        kind is right for most cells of an uneven set, and has learned nothing.

    Raises:
        CellnetError: No image could be used.
    """
    found = _validated(bundle, cohort, progress)
    balanced = found["balanced_accuracy"]
    first = study.first_stage
    line = first.chance + first.margin
    low, high = (f"{100 * end:.1f}" for end in balanced["ci95"])
    goes_on = balanced["ci95"][1] > line
    told = (
        f"balanced accuracy {100 * balanced['value']:.1f} % ({low} to {high}) on {balanced['n']} "
        "validation images"
    )
    return {
        **found,
        "goes_on": bool(goes_on),
        "reason": (
            f"{told}: the interval reaches above {100 * line:g} %"
            if goes_on
            else f"{told}: the interval lies at or below {100 * line:g} %, so it stayed at chance"
        ),
    }


def _validated(bundle: Bundle, cohort: Manifest, progress: bool) -> dict[str, Any]:
    """What kept weights answer on the validation cells, at a score of one half."""
    found = answer(bundle, cohort, cohort.split("validation"), progress)
    normal, dysplastic = normal_and_dysplastic(suppression_of(found.rows))
    used = normal | dysplastic
    column, groups = groups_of([row for row, use in zip(found.rows, used, strict=True) if use])
    truth, called = normal[used], found.outputs[used, 0] > HALF
    return {
        "accuracy": proportion(called == truth, groups).to_json(),
        "balanced_accuracy": balanced_accuracy(truth, called, 2, groups=groups).to_json(),
        "groups": told_groups(column, groups),
    }


def measure_candidate(
    folder: Path, cohort: Manifest, study: Study, progress: bool = True
) -> dict[str, Any]:
    """Fit and measure a candidate of the second stage on ``test-by-cell`` and ``test-by-smear``.

    What was fitted and evaluated before of the same weights and cells is read, not made again.

    Args:
        folder: Its run folder; operating point and evaluations are written there.
        cohort: The study's cohort.
        study: The study.
        progress: Show bars on standard error.

    Returns:
        ``accuracy``, ``balanced_accuracy`` and ``groups`` on the validation cells, as of
        `standing`; ``failed`` (None, or why no cut could be fitted: what follows is then missing);
        ``cutoff`` and ``threshold``, with ``cutoff_ci95`` and ``threshold_ci95`` (None where
        `cellnet.roc.cut_estimate` gives none); ``by_cell`` and ``by_smear``.

    Raises:
        CellnetError: Anything else that keeps it from being measured.
    """
    bundle = load(folder / "bundle")
    validated = _validated(bundle, cohort, progress)
    try:
        point = _fitted(bundle, cohort, study, progress)
    except NoBetterThanGuessing as error:
        log.warning("%s: %s", folder, error)
        return {**validated, "failed": str(error)}
    cells = _evaluated(bundle, cohort, study, BY_CELL, folder / "by-cell.json", progress)
    smears = _evaluated(bundle, cohort, study, BY_SMEAR, folder / "by-smear.json", progress)
    found = cells["sets"][BY_CELL]["cells"]
    kept = ("n", "dysplastic", "normal", "groups", "auc", "accuracy", "sensitivity", "specificity")
    return {
        **validated,
        "failed": None,
        "cutoff": point.cutoff,
        "cutoff_ci95": point.cell.cut["ci95"],
        "threshold": point.threshold,
        "threshold_ci95": point.smear.cut["ci95"],
        "by_cell": {
            **{key: found[key] for key in kept},
            "confusion": found["confusion"],
            "curve": found["curve"],
        },
        "by_smear": _smears(smears, BY_SMEAR),
        "warnings": list(dict.fromkeys([*cells["warnings"], *smears["warnings"]])),
        "unreadable": len(cells["unreadable"]) + len(smears["unreadable"]),
    }


def proof_of_concept(
    folder: Path, cohort: Manifest, study: Study, progress: bool = True
) -> dict[str, Any]:
    """Try the winner on smears that decided nothing (figure 5.5).

    Args:
        folder: Its run folder.
        cohort: The study's cohort.
        study: The study.
        progress: Show bars on standard error.

    Returns:
        As ``by_smear`` of `measure_candidate`, with ``warnings`` and ``unreadable``.
    """
    bundle = load(folder / "bundle")
    found = _evaluated(bundle, cohort, study, PROOF, folder / "proof-of-concept.json", progress)
    return {
        **_smears(found, PROOF),
        "warnings": found["warnings"],
        "unreadable": len(found["unreadable"]),
    }


def choose(measured: dict[str, dict[str, Any]], parameters: dict[str, int]) -> dict[str, Any]:
    """Choose the winner.

    Args:
        measured: By candidate, what `measure_candidate` found.
        parameters: By candidate.

    Returns:
        ``name`` (None where no candidate could be judged), ``rule``, ``order`` from first to last,
        ``p_values`` by candidate: how likely it is that two equally good ones differ as much on
        these smears as it does from the winner (`cellnet.metrics.sign_test`, by patient where
        patients are known), and ``also_possible``: the others of over 0.05, so that chance alone
        may have put them behind.
    """

    def rank(name: str) -> tuple[float, float, float, int]:
        found = measured[name]
        by_smear, by_cell = found["by_smear"], found["by_cell"]
        return (
            -by_smear["accuracy"]["value"],
            -by_smear["auc"]["value"],
            -by_cell["accuracy"]["value"],
            parameters[name],
        )

    judged = [
        name
        for name, found in measured.items()
        if found["failed"] is None and found["by_smear"]["accuracy"]["value"] is not None
    ]
    order = sorted(judged, key=rank)
    p_values = {
        name: _chance(measured[order[0]]["by_smear"], measured[name]["by_smear"])
        for name in order[1:]
    }
    return {
        "name": order[0] if order else None,
        "rule": CHOICE,
        "order": order,
        "p_values": p_values,
        "also_possible": [name for name, found in p_values.items() if found > SIGNIFICANT],
    }


def _chance(winner: dict[str, Any], other: dict[str, Any]) -> float:
    """How likely chance alone makes two of a kind judge the same smears so differently."""
    right = [
        {
            row["smear"]: (row["decision"] == "mds-suspected") == (row["diagnosis"] == "mds")
            for row in found["smears"]
            if row["decision"] != "indeterminate"
        }
        for found in (winner, other)
    ]
    both = [
        row for row in winner["smears"] if row["smear"] in right[0] and row["smear"] in right[1]
    ]
    difference = [float(right[0][row["smear"]]) - right[1][row["smear"]] for row in both]
    return sign_test(np.array(difference), np.array([row.get("patient", "") for row in both]))


def _fitted(bundle: Bundle, cohort: Manifest, study: Study, progress: bool) -> OperatingPoint:
    """The operating point of these weights on this cohort; fitted where there is none yet.

    One that was fitted with other diagnoses or another classifier is fitted again, and so is one of
    before cuts had intervals.
    """
    if (bundle.folder / "operating_point.json").exists():
        point = read_operating_point(bundle.folder)
        on = point.smear.fitted_on
        if (
            point.weights_sha256 == bundle.sha256
            and _is_of(on, cohort)
            and on.get("classifier") == _identity(load_classifier(study.classifier))
            and point.minimum_neutrophils == study.minimum_neutrophils
            and point.cell.cut is not None
            and point.smear.cut is not None
        ):
            return point
    return calibrate(
        bundle,
        cohort,
        classifier=study.classifier,
        minimum_neutrophils=study.minimum_neutrophils,
        progress=progress,
    )


def _evaluated(
    bundle: Bundle, cohort: Manifest, study: Study, split: str, file: Path, progress: bool
) -> dict[str, Any]:
    """An evaluation; read where the same was made before."""
    point = read_operating_point(bundle.folder, bundle.sha256)
    found = read_kept(file, "remove it, and it is measured again")
    if (
        isinstance(found, dict)
        and found["model"]["sha256"] == bundle.sha256
        and _is_of(found["data"], cohort)
        and found["classifier"] == point.smear.fitted_on.get("classifier")
        and found["operating_point"]["created"] == point.created
    ):
        return found
    found = evaluate(bundle, cohort, split, classifier=study.classifier, progress=progress)
    write_text(file, json.dumps(found, indent=1, allow_nan=False) + "\n")
    return found


def _is_of(described: dict[str, Any], cohort: Manifest) -> bool:
    """Whether something was made of these cells with these diagnoses."""
    known = describe_manifest(cohort)
    return all(described.get(key) == known.get(key) for key in ("manifest_sha256", "truth_sha256"))


def _identity(classifier: Bundle | None) -> dict[str, Any] | None:
    return None if classifier is None else classifier.identity()


def _smears(evaluated: dict[str, Any], split: str) -> dict[str, Any]:
    """Diagnostic figures of a set of smears, as the program counts its neutrophils if it does."""
    sets = evaluated["sets"][split]
    way = next(way for way in WAYS if way in sets)
    kept = ("n", "mds", "healthy", "indeterminate", "groups", "auc", "accuracy", "sensitivity",
            "specificity", "precision", "confusion", "curve", "smears")  # fmt: skip
    return {"neutrophils": WAYS[way], **{key: sets[way][key] for key in kept}}
