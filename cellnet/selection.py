"""Choose among candidates as the thesis's chapter 5 did: two stages, cut-offs, smears, folds.

A study folder holds::

    recipe.yaml             the resolved recipe of the study
    data/ cohort/ drawn/    what was prepared for it, once; every run below has links to it
    stage-1/M1/ ...         a run of ``cellnet train`` for each candidate
    stage-2/M1/ ...         the same for those that left chance, from scratch
    cross-validation/M1/5-fold/1/ ...   the same for each fold, of the winner's form
    runs.json               how long each run took, and how often it was begun
    report.html report.json what came of it (``cellnet/selection/1``)
    bundle/                 the winner

Runs are independent and each is a process of its own (``jobs``). A study that was stopped goes on:
finished runs are not repeated, others go on from their last whole epoch (``study_runs``). What is
measured is written in ``candidates`` and ``folds``, the page in ``selection_page``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cellnet import __version__, candidates, folds, jobs
from cellnet.bundle import Bundle, load
from cellnet.calibrate import load_classifier
from cellnet.cautions import unit_cautions
from cellnet.errors import CellnetError
from cellnet.manifest import Manifest, counts, read_manifest
from cellnet.measured_page import require_plots
from cellnet.outputs import hold, new_folder, write_text
from cellnet.run_folder import claim, data_of, folder_of, release
from cellnet.study import FIRST, SECOND, Study, read_study
from cellnet.study_runs import StudyRuns, epochs_of
from cellnet.train import check_network
from cellnet.training_set import assemble
from cellnet.truth import describe_manifest, groups_of
from cellnet.versions import environment

__all__ = ["SCHEMA", "select"]

log = logging.getLogger(__name__)

SCHEMA = "cellnet/selection/1"
FOLDS = "cross-validation"


def select(
    recipe: str | Path,
    data: str | Path | None = None,
    run: str | Path | None = None,
    resume: bool = False,
    side_by_side: int | None = None,
    ray: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Run a study, or go on with one.

    Args:
        recipe: The study's recipe (``training/dysplasianet-selection.yaml``).
        data: A folder with one sub-folder a class, one that ``cellnet data prepare`` wrote, or a
            cohort: as ``cellnet data simulate`` writes it, or a laboratory's own in that form.
            Default: the environment variable ``CELLNET_DATA``.
        run: The study's folder; default ``runs/NAME`` below the current folder.
        resume: Go on with the study that the folder holds.
        side_by_side: Runs at a time; None for one on this machine, or one a machine of a cluster.
        ray: Address of a Ray cluster that runs them; None for this machine.
        progress: Show bars on standard error.

    Returns:
        The report, as ``report.json`` in the study's folder has it.

    Raises:
        CellnetError: The recipe does not hold, the data cannot decide the study, the folder holds
            another study or another process works in it, a run failed, or no candidate could be
            chosen (the report says why).
    """
    study = read_study(recipe)
    require_plots()
    folder = folder_of(run, study.name)
    images = data_of(data, "a study")
    namer = load_classifier(study.classifier)
    with _workplace(ray, side_by_side) as place:
        made = claim(folder, study, resume)
        with hold(folder, "runs a study"):
            cohort = _begin(study, images, folder, made, namer, progress)
            runs = StudyRuns(folder.absolute(), place, progress)
            return _Course(study, cohort, runs, progress).run()


def _begin(
    study: Study, data: Path, folder: Path, made: bool, namer: Bundle | None, progress: bool
) -> Manifest:
    """Find out what would fail hours later, and make the cohort that all runs share."""
    try:
        for name in study.candidates:
            check_network(study.run_of(name, FIRST))
        cohort = _prepare(study, data, folder)
        if namer is not None and not (folder / FIRST).exists():
            log.info("asking %s for the neutrophils of the smears", namer.name)
            candidates.check_namer(cohort, namer, study.minimum_neutrophils, progress)
    except CellnetError:
        release(folder, made)
        raise
    return cohort


def _prepare(study: Study, data: Path, folder: Path) -> Manifest:
    """The cohort that all runs share, made in the study's folder where the data are none."""
    own, checked = folder / "cohort", False
    if (data / "manifest.csv").exists() and not own.exists():
        given = read_manifest(data)
        if given.is_cohort:
            _check(study, given)
            checked = True
    assemble(study.run_of(next(iter(study.candidates)), FIRST), data, folder, study.plan())
    cohort = read_manifest(own)
    if not checked:
        _check(study, cohort)
    return cohort


def _check(study: Study, cohort: Manifest) -> None:
    """Refuse before anything is trained, or kept, what would fail hours later."""
    candidates.check_cohort(cohort, study.minimum_neutrophils)
    rule = study.cross_validation
    if rule is not None:
        pool = folds.pool_of(cohort)
        for division in rule.divisions:
            fold_of = folds.divide(pool, division.by, division.folds, rule.seed)
            for fold in range(division.folds):
                folds.choosers(pool, fold_of == fold, division.by, rule.validation, rule.seed)


@contextlib.contextmanager
def _workplace(ray: str | None, side_by_side: int | None) -> Iterator[jobs.Workplace]:
    if ray is None:
        yield jobs.local(side_by_side or 1)
    else:
        with jobs.ray_cluster(ray, side_by_side) as place:
            yield place


class _Course:
    """One study under way."""

    def __init__(self, study: Study, cohort: Manifest, runs: StudyRuns, progress: bool):
        self.study = study
        self.cohort = cohort
        self.runs = runs
        self.folder = runs.folder
        self.progress = progress

    def run(self) -> dict[str, Any]:
        """Run all of it."""
        study, place = self.study, self.runs.place
        log.info(
            "%s: %d candidates, %d at a time on %s with %d threads each",
            study.name, len(study.candidates), place.side_by_side, place.told,
            place.threads,
        )  # fmt: skip
        self.runs.train({f"{FIRST}/{name}": study.run_of(name, FIRST) for name in study.candidates})
        found = {name: self._first_stage(name) for name in study.candidates}
        left = [name for name in found if found[name]["stage1"]["goes_on"]]
        for name in set(found) - set(left):
            log.info("%s is dropped: %s", name, found[name]["stage1"]["reason"])
        # The slowest first, so that side by side none of them is left alone at the end.
        slowest = sorted(left, key=lambda name: -(found[name]["stage1"]["seconds"] or 0))
        self.runs.train({f"{SECOND}/{name}": study.run_of(name, SECOND) for name in slowest})
        for name in left:
            found[name]["stage2"] = self._second_stage(name)
        measured = {name: found[name]["stage2"] for name in left}
        chosen = candidates.choose(measured, {name: found[name]["parameters"] for name in left})
        proof = None
        if chosen["name"] is not None:
            log.info("%s is chosen: %s", chosen["name"], chosen["rule"])
            proof = candidates.proof_of_concept(
                self.folder / SECOND / chosen["name"], self.cohort, study, self.progress
            )
            self._write_bundle(chosen["name"])
        report = self._report(found, chosen, proof)
        if chosen["name"] is not None and study.cross_validation is not None:
            # The folds take hours; the choice can be read meanwhile.
            self._write_report(report)
            report["cross_validation"] = self._cross_validate(chosen["name"])
        report["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        report["time"] = self.runs.note_time()
        self._write_report(report)
        if chosen["name"] is None:
            raise CellnetError(
                f"no candidate of {len(found)} could be chosen, {self.folder / 'report.html'} says "
                "why; train longer, give more cells, or other candidates, in another --run"
            )
        return report

    # --- what came of it -----------------------------------------------------------------------

    def _first_stage(self, name: str) -> dict[str, Any]:
        folder = self.folder / FIRST / name
        bundle = load(folder / "bundle")
        return {
            "arguments": self.study.candidates[name],
            "parameters": bundle.description["network"]["parameters"],
            "stage1": {
                **self._course_of(FIRST, name),
                **candidates.standing(bundle, self.cohort, self.study, self.progress),
            },
            "stage2": None,
        }

    def _second_stage(self, name: str) -> dict[str, Any]:
        folder = self.folder / SECOND / name
        stop_at = self.study.training.stop_at
        course = self._course_of(SECOND, name)
        return {
            **course,
            "reached": stop_at is not None and course["validation_accuracy"][-1] >= stop_at,
            "weights_sha256": load(folder / "bundle").sha256,
            **candidates.measure_candidate(folder, self.cohort, self.study, self.progress),
        }

    def _course_of(self, stage: str, name: str) -> dict[str, Any]:
        rows = epochs_of(self.folder / stage / name)
        watched = [row[self.study.training.monitor] for row in rows]
        return {
            "epochs": len(rows),
            # Of equals the later is kept, as the run does.
            "epoch_kept": len(rows) - watched[::-1].index(max(watched)),
            "validation_accuracy": [row["val_accuracy"] for row in rows],
            "validation_balanced_accuracy": [row["val_balanced_accuracy"] for row in rows],
            "training_loss": [row["loss"] for row in rows],
            **self.runs.time_of(f"{stage}/{name}"),
        }

    def _cross_validate(self, winner: str) -> dict[str, Any]:
        """Train and measure the winner's form on every division of the cells."""
        rule = self.study.cross_validation
        pool = folds.pool_of(self.cohort)
        root: str | Path = self.cohort.root.resolve()
        recipe = self.study.run_of(winner, FOLDS)
        dealt, recipes = {}, {}
        for division in rule.divisions:
            dealt[division.by, division.folds] = folds.divide(
                pool, division.by, division.folds, rule.seed
            )
            for fold in range(division.folds):
                run = f"{FOLDS}/{winner}/{division.name}/{fold + 1}"
                folder = self.folder / run / "cohort"
                if not (folder / "manifest.csv").exists():
                    folder.mkdir(parents=True, exist_ok=True)
                    if self.cohort.about.get("root", ".") == ".":
                        # So that a study can be moved.
                        root = os.path.relpath(self.folder / "cohort", folder)
                    folds.write_fold(
                        pool, self.cohort, folder, root, dealt[division.by, division.folds] == fold,
                        division.by, rule.validation, rule.seed,
                    )  # fmt: skip
                folds.check_fold(
                    pool, read_manifest(folder), dealt[division.by, division.folds] == fold
                )
                recipes[run] = recipe
        self.runs.train(recipes)
        measured, scores, right = [], {}, {}
        for division in rule.divisions:
            rows, together = [], np.full(len(pool.rows), np.nan)
            for fold in range(division.folds):
                run = f"{FOLDS}/{winner}/{division.name}/{fold + 1}"
                held = dealt[division.by, division.folds] == fold
                row, own = folds.measure_fold(
                    load(self.folder / run / "bundle"), pool, self.folder / run / "cohort", held,
                    self.progress,
                )  # fmt: skip
                together[held] = own[held]
                epochs = len(epochs_of(self.folder / run))
                rows.append({"fold": fold + 1, "epochs": epochs, **self.runs.time_of(run), **row})
            scores[division.by, division.folds] = together
            right[division.by, division.folds] = [row["accuracy"]["value"] for row in rows]
            measured.append(
                {
                    "name": division.name,
                    "by": division.by,
                    "folds": division.folds,
                    **folds.summarise(pool, rows, together),
                    "rows": rows,
                }
            )
        gains = [
            {
                "folds": number,
                "difference": folds.flattery(
                    pool, scores["group", number], scores["image", number]
                ),
                "of_folds": folds.difference_of_folds(
                    right["group", number], right["image", number]
                ),
                "tied_in_training": folds.tied_in_training(pool, dealt["image", number]),
            }
            for by, number in scores
            if by == "group" and ("image", number) in scores
        ]
        return {
            "cells": pool.describe(),
            "divisions": measured,
            "by_image_minus_by_group": gains,
        }

    def _write_bundle(self, name: str) -> None:
        """Copy the winner's bundle, with its operating point, to the study's own."""
        source, target = self.folder / SECOND / name / "bundle", self.folder / "bundle"
        with new_folder(target, replaces=lambda _: True) as made:
            for file in sorted(source.iterdir()):
                shutil.copyfile(file, made / file.name)
        from cellnet import card

        card.refresh(target)

    # --- the report ----------------------------------------------------------------------------

    def _report(
        self,
        found: dict[str, Any],
        chosen: dict[str, Any],
        proof: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """All but the cross-validation."""
        study = self.study
        return {
            "schema": SCHEMA,
            "study": study.name,
            "source": study.source,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "cellnet": __version__,
            "environment": {
                **environment("tensorflow-cpu", "tensorflow", "keras", "ai-edge-litert", "ray"),
                "cores": str(os.cpu_count()),
            },
            "data": {**describe_manifest(self.cohort), "counts": counts(self.cohort.rows)},
            "warnings": self._warnings(found, proof),
            "recipe": study.model_dump(mode="json"),
            "first_stage": study.first_stage.rule,
            "candidates": found,
            "chosen": chosen,
            "proof_of_concept": proof,
            "cross_validation": None,
            "published": None if study.published is None else study.published.model_dump(),
            "time": self.runs.note_time(),
        }

    def _warnings(self, found: dict[str, Any], proof: dict[str, Any] | None) -> list[str]:
        told = [
            "validation cells choose each training's epoch and end it, so accuracy on them is "
            "optimistic"
        ]
        if proof is not None:
            told.append(
                "the cell cut-offs were fitted on test-by-cell, the thresholds on test-by-smear, "
                "and the winner was chosen there: what stands in these tables is optimistic; "
                "proof-of-concept decided nothing"
            )
        if self.study.data.drawn:
            told.append(
                f"{100 * self.study.data.drawn:g} % of the images that each class gave to an epoch "
                "were drawn, not photographed (data.drawn in the recipe; 0 leaves them out); none "
                "is validated or tested on"
            )
        validated = self.cohort.split("validation")
        told += unit_cautions(validated, groups_of(validated)[0])
        parts = [part["stage2"] or {} for part in found.values()] + [proof or {}]
        for part in parts:
            told += part.pop("warnings", [])
        # What the first says of both sets at once, evaluations say of each.
        return [text for text in dict.fromkeys(told) if "fitted on this very split" not in text]

    def _write_report(self, report: dict[str, Any]) -> None:
        from cellnet.selection_page import render

        text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(self.folder / "report.json", text)
        write_text(self.folder / "report.html", render(report))
        log.info("wrote %s", self.folder / "report.html")
