"""Measure a trained bundle on a manifest: every number with its interval, as JSON and as a page.

A class network is measured on the rows' labels, a granularity network on neutrophils with known
suppression and on smears with known diagnoses, counted as the program counts them. The answer names
the model, the weights, the manifest and the split, and lists every file that could not be used and
every reason for caution. What is measured is written in ``measure``, the page in
``evaluation_page``.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellnet import __version__
from cellnet.answering import Answers, answer, count_smears, score_smears
from cellnet.calibrate import load_classifier
from cellnet.cautions import cautions, simulated_cautions, unit_cautions
from cellnet.cells import CLASSES, FIVE, OTHER
from cellnet.errors import CellnetError
from cellnet.intervals import REPEATS, proportion
from cellnet.manifest import BY_CELL, BY_SMEAR, PROOF, Manifest, Row, read_manifest
from cellnet.measure import measure_cells, measure_classes, measure_smears
from cellnet.operating_point import OperatingPoint, read_operating_point
from cellnet.outputs import write_text
from cellnet.seen import count_seen, seen_warnings
from cellnet.smear import name_cells
from cellnet.truth import (
    describe_manifest,
    groups_of,
    normal_and_dysplastic,
    places_of,
    read_diagnoses,
    read_patients,
    suppression_of,
    told_groups,
    unknown_labels,
)
from cellnet.versions import environment

if TYPE_CHECKING:
    from cellnet.bundle import Bundle

__all__ = ["MEASURING", "SCHEMA", "course_of", "evaluate"]

log = logging.getLogger(__name__)

SCHEMA = "cellnet/evaluation/1"

MEASURING = ("numpy", "ai-edge-litert", "opencv-python-headless", "simplejpeg")
"""Packages that decide what a network answers."""

SMEAR_SPLITS = (BY_SMEAR, PROOF)


THESIS = {"source": "Acevedo 2020, table 6.2", "balanced_accuracy": 0.954}
"""What the thesis reports of Model 1, on cells of its own that were never published."""

NO_TEST = ("train", "validation")
"""Splits that measure nothing: a model has seen them."""


def evaluate(
    model: str | Path | Bundle,
    manifest: str | Path | Manifest,
    split: str = "test",
    html: str | Path | None = None,
    out: str | Path | None = None,
    among: str | Sequence[str] | None = None,
    group: str = "auto",
    classifier: str | Path | Bundle | None = "model1",
    repeats: int = REPEATS,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure a bundle on one split of a manifest.

    Args:
        model: a bundle: its name, its folder, or the loaded bundle.
        manifest: a manifest: its folder, its file, or the manifest itself.
        split: the split to measure on. For a granularity network on a cohort without a split
            "test", that word stands for its three test sets.
        html: write a self-contained page there too.
        out: write the answer there too, as JSON.
        among: for a class network: only rows of these classes are measured, and the rule ``forced``
            chooses among them alone. ``"five"``, class names with commas between, or a sequence;
            None (or ``"eight"``) for all. Where a manifest holds only the five mature white cells,
            ``"five"`` is taken of itself.
        group: what ties cells together: ``patient``, ``smear``, ``source_cell``, ``none``, or
            ``auto``, the first of these that any row has; a row without it goes by the next that it
            has. Intervals treat a group as the unit.
        classifier: for smears: the Model 1 bundle that names neutrophils, as the program runs; None
            (or ``"none"``) to count the manifest's own neutrophils alone.
        repeats: bootstrap samples.
        seed: seed of the bootstrap.
        progress: show bars on standard error.

    Returns:
        The answer, ``"schema": "cellnet/evaluation/1"``, of plain JSON values; ``training`` is the
        course of the training as far as the bundle keeps it, ``kind`` is
        ``classes`` (see :func:`cellnet.measure.measure_classes`) or ``granularity``, with ``sets``:
        by split, ``cells`` (:func:`cellnet.measure.measure_cells`) and, for smears,
        ``smears_as_run`` and ``smears_by_known_neutrophils``
        (:func:`cellnet.measure.measure_smears`).

    Raises:
        CellnetError: where the split is missing, no image could be used, an operating point is
            missing or belongs to other weights, the extra for plots is not installed (``html``), or
            a file cannot be written.
    """
    from cellnet.bundle import Bundle, load

    if html is not None:
        from cellnet.evaluation_page import require_plots

        require_plots()
    bundle = model if isinstance(model, Bundle) else load(model)
    if not isinstance(manifest, Manifest):
        own = {} if bundle.names_the_eight else bundle.labels
        manifest = read_manifest(manifest, also=unknown_labels(own))
    head: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "classes" if bundle.kind == "probabilities" else "granularity",
        "model": bundle.identity(),
        "data": describe_manifest(manifest),
        "split": split,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "cellnet": __version__,
        "environment": environment(*MEASURING),
        "bootstrap": {"samples": repeats, "seed": seed},
        "training": course_of(bundle),
    }
    if bundle.kind == "probabilities":
        result = _classes(bundle, manifest, split, among, group, repeats, seed, progress)
    else:
        if among is not None:
            raise CellnetError(
                f"classes are chosen (--among {among}) for a class network; {bundle.name} answers "
                "a granularity score"
            )
        result = _granularity(bundle, manifest, split, group, classifier, repeats, seed, progress)
    result = {**head, **result}
    rows = [row for name in result.get("splits", [split]) for row in manifest.split(name)]
    seen = {"model": count_seen(bundle, rows)}
    warnings = seen_warnings(bundle, rows)
    if result.get("classifier") is not None:
        namer = load_classifier(classifier)
        seen["classifier"] = count_seen(namer, rows)
        warnings += seen_warnings(namer, rows)
    result = {**result, "seen": seen, "warnings": [*warnings, *result["warnings"]]}
    if split in NO_TEST:
        result["warnings"] = [
            f"cells of the split '{split}' train a model or choose its epoch: this says nothing of "
            "how it does on others",
            *result["warnings"],
        ]
    for entry in result["unreadable"]:
        log.warning("not used: %s: %s", entry["file"], entry["reason"])
    if out is not None:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(Path(out), text)
    if html is not None:
        from cellnet.evaluation_page import render

        write_text(Path(html), render(result))
    return result


def course_of(bundle: Bundle) -> dict[str, Any]:
    """Tell how a bundle was trained, epoch by epoch, where it says so.

    Returns:
        ``epoch_kept`` and ``history`` (``epoch`` and lists of figures as long as it); None where
        the bundle does not keep them.

    Raises:
        CellnetError: the lists are not of one length.
    """
    told = bundle.description.get("training") or {}
    history = told.get("history")
    if history is not None and len({len(values) for values in history.values()}) != 1:
        raise CellnetError(
            f"the bundle {bundle.folder} is damaged: the lists of training.history in its "
            "bundle.json differ in length; train it again, or take the history out"
        )
    return {"epoch_kept": told.get("epoch_kept"), "history": history}


# --- eight classes -----------------------------------------------------------------------------


def _classes(
    bundle: Bundle,
    manifest: Manifest,
    split: str,
    among: str | Sequence[str] | None,
    group: str,
    repeats: int,
    seed: int,
    progress: bool,
) -> dict[str, Any]:
    """Measure Model 1, or a specialist on the cells of its own classes; see :func:`evaluate`."""
    rows = manifest.split(split)
    classes = bundle.classes
    if bundle.names_the_eight:
        wanted = _among(among, rows)
        places = {row.path: CLASSES.index(row.label) for row in rows if row.label in CLASSES}
        used = [row for row in rows if not wanted or row.label in wanted]
    else:
        if among is not None:
            raise CellnetError(
                f"classes are chosen (--among {among}) among Model 1's eight; {bundle.name} tells "
                f"{', '.join(classes)} apart"
            )
        wanted = None
        shown = places_of(bundle.labels, rows, manifest)
        places = {
            row.path: place for row, place in zip(rows, shown, strict=True) if place is not None
        }
        used = [row for row in rows if row.path in places]
    kept = {row.path for row in used}
    left_out = Counter(row.label for row in rows if row.path not in kept)
    if not used:
        raise CellnetError(
            f"the split '{split}' has no cell of the classes {', '.join(wanted or classes)}"
        )
    found = answer(bundle, manifest, used, progress)
    column, groups = groups_of(found.rows, group)
    truth = np.array([places[row.path] for row in found.rows])
    measured = measure_classes(truth, found.outputs, groups, wanted, repeats, seed, classes)
    return {
        "n": len(found.rows),
        "groups": told_groups(column, groups),
        "among": None if wanted is None else list(wanted),
        "published": THESIS if wanted is None and _is_model1(bundle) else None,
        "left_out": {name: left_out[name] for name in sorted(left_out)},
        "unreadable": found.unreadable,
        "warnings": [
            *cautions(bundle, manifest, found.rows, found.unreadable, left_out),
            *unit_cautions(found.rows, column),
        ],
        **measured,
        "subsets": _subsets(found, truth, groups),
        "mistakes": _mistakes(found, truth, classes),
    }


def _is_model1(bundle: Bundle) -> bool:
    """Whether it is the thesis's Model 1, trained with all of its classes."""
    description = bundle.description
    left_out = (description.get("data") or {}).get("left_out")
    named = bundle.names_the_eight and description["network"]["name"] == "model1"
    return named and not left_out


def _among(among: str | Sequence[str] | None, rows: Sequence[Row]) -> tuple[str, ...] | None:
    """The classes to choose among, in the order of `CLASSES`; None for all eight."""
    if among is None:
        return FIVE if {row.label for row in rows} <= set(FIVE) else None
    if among == "eight":
        return None
    names = FIVE if among == "five" else among.split(",") if isinstance(among, str) else among
    names = [name.strip() for name in names]
    for name in names:
        if name not in CLASSES:
            raise CellnetError(
                f"there is no class '{name}' to choose among; valid are: five, eight, "
                f"{', '.join(CLASSES)}"
            )
    if len(set(names)) < 2:
        raise CellnetError(f"two classes or more are needed to choose among, got {len(set(names))}")
    return tuple(name for name in CLASSES if name in names)


def _subsets(found: Answers, truth: np.ndarray, groups: np.ndarray | None) -> list[dict[str, Any]]:
    """Accuracy, by the program's rule, of what a class or a split hides."""
    right = name_cells(found.outputs) == truth
    kinds: dict[tuple[str, str], list[int]] = {}
    sources = {row.source for row in found.rows}
    for number, row in enumerate(found.rows):
        if row.subtype:
            kinds.setdefault(("sub-type", f"{row.label}: {row.subtype}"), []).append(number)
        if row.suppression:
            _, dysplastic = normal_and_dysplastic(np.array(float(row.suppression)))
            made = "suppressed, g >= 2/3" if dysplastic else "g < 2/3"
            kinds.setdefault(("granules", f"{row.label}: {made}"), []).append(number)
        if len(sources) > 1:
            kinds.setdefault(("source", row.source or "not named"), []).append(number)
    return [
        {
            "by": by,
            "name": name,
            "accuracy": proportion(
                right[members], None if groups is None else groups[members]
            ).to_json(),
        }
        for (by, name), members in sorted(kinds.items())
    ]


def _mistakes(found: Answers, truth: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Every cell that the program's rule names wrongly, the surest mistakes first."""
    wrong = []
    called = name_cells(found.outputs)
    for row, label, values, named in zip(found.rows, truth, found.outputs, called, strict=True):
        if named == label:
            continue
        wrong.append(
            {
                "file": row.path,
                "truth": classes[label],
                "called": (*classes, OTHER)[named],
                "probability": float(values.max()),
                "probability_of_truth": float(values[label]),
            }
        )
    return sorted(wrong, key=lambda entry: (-entry["probability"], entry["file"]))


# --- granularity -------------------------------------------------------------------------------


def _granularity(
    bundle: Bundle,
    manifest: Manifest,
    split: str,
    group: str,
    classifier: str | Path | Bundle | None,
    repeats: int,
    seed: int,
    progress: bool,
) -> dict[str, Any]:
    """Measure DysplasiaNet; see :func:`evaluate`."""
    present = {row.split for row in manifest.rows}
    tests = [name for name in (BY_CELL, *SMEAR_SPLITS) if name in present]
    splits = tests if split == "test" and split not in present and tests else [split]
    rows_of = {name: manifest.split(name) for name in splits}
    has_smears = any(name in SMEAR_SPLITS for name in splits)
    point = read_operating_point(bundle.folder, bundle.sha256)
    namer = load_classifier(classifier) if has_smears else None
    diagnoses = read_diagnoses(manifest) if has_smears else {}
    patients = read_patients(manifest) if has_smears else {}
    sets, unreadable, warnings = {}, [], []
    for name, rows in rows_of.items():
        if name in SMEAR_SPLITS:
            smears = score_smears(bundle, namer, manifest, rows, progress)
            unreadable += smears.unreadable
            ways = {"smears_by_known_neutrophils": smears.known}
            if smears.called is not None:
                ways = {"smears_as_run": smears.called, **ways}
            measured: dict[str, Any] = {
                way: measure_smears(
                    count_smears(
                        smears.rows, smears.score, counted, diagnoses, point.cutoff, patients
                    ),
                    point,
                    repeats,
                    seed,
                )
                for way, counted in ways.items()
            }
            cells = [
                (row, score)
                for row, score, known in zip(smears.rows, smears.score, smears.known, strict=True)
                if known and row.suppression
            ]
            used = [row for row, _ in cells]
            scores = np.array([score for _, score in cells])
        else:
            wanted = [row for row in rows if row.suppression]
            if not wanted:
                raise CellnetError(
                    f"the split '{name}' has no neutrophil with known suppression, so there is "
                    "nothing to measure; make a cohort with `cellnet data simulate`"
                )
            found = answer(bundle, manifest, wanted, progress)
            unreadable += found.unreadable
            measured, used, scores = {}, found.rows, found.outputs[:, 0].astype(np.float64)
        if used:  # smears of patients, whose granules nobody has taken out, have no such cells
            column, groups = groups_of(used, group)
            warnings += unit_cautions(used, column)
            measured["cells"] = {
                "groups": told_groups(column, groups),
                **measure_cells(
                    suppression_of(used),
                    scores,
                    point,
                    groups,
                    np.array([row.source_cell for row in used]),
                    repeats,
                    seed,
                ),
            }
        sets[name] = measured
        warnings += _fitted_here(point, manifest, name)
    warnings += simulated_cautions(manifest, has_smears)
    every = [row for rows in rows_of.values() for row in rows]
    return {
        "splits": splits,
        "n": sum(found["cells"]["n"] for found in sets.values() if "cells" in found),
        "operating_point": {
            "cutoff": point.cutoff,
            "threshold": point.threshold,
            "minimum_neutrophils": point.minimum_neutrophils,
            "created": point.created,
        },
        "classifier": None if namer is None else namer.identity(),
        "unreadable": _once(unreadable),
        "warnings": list(
            dict.fromkeys([*cautions(bundle, manifest, every, unreadable, {}), *warnings])
        ),
        "sets": sets,
    }


def _fitted_here(point: OperatingPoint, manifest: Manifest, split: str) -> list[str]:
    """Say so where a cut is judged on the very cells that it was fitted on."""
    found = describe_manifest(manifest).get("manifest_sha256")
    return [
        f"the {what} was fitted on this very split ({split}): what it does here is optimistic"
        for what, fit in (("cell cut-off", point.cell), ("smear threshold", point.smear))
        if fit is not None
        and fit.fitted_on.get("split") == split
        and fit.fitted_on.get("manifest_sha256") == found
    ]


# --- what both say -----------------------------------------------------------------------------


def _once(entries: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [dict(pair) for pair in dict.fromkeys(tuple(entry.items()) for entry in entries)]
