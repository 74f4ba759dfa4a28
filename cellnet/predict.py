"""Images on disk to answers: one smear, a cohort of smears, or a handful of files.

What cannot be read is listed with its reason and the rest is answered; only where nothing is left
to answer is an error raised. How smears are read is in ``smears``, the rules of the decision in
``smear``, the text and pages made of an answer in ``report``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from cellnet.bundle import Source, as_bundle
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.listing import check_some, find_images, name_below, told_passed_over
from cellnet.operating_point import is_dysplastic
from cellnet.scoring import in_order, progress_bar, score_files
from cellnet.smear import SmearReport, name_cell
from cellnet.smears import CohortSummary, SmearReader, predict_smears
from cellnet.specialists import Declared

__all__ = [
    "PREDICTIONS_SCHEMA",
    "CohortSummary",
    "SmearReader",
    "collect",
    "predict",
    "predict_smear",
    "predict_smears",
    "score_files",
]

log = logging.getLogger(__name__)

PREDICTIONS_SCHEMA = "cellnet/predictions/1"


def predict_smear(
    folder: str | os.PathLike[str],
    *,
    model1: Source = "model1",
    dysplasianet: Source | None = None,
    specialists: Declared | None = None,
    cutoff: float | None = None,
    threshold: float | None = None,
    min_neutrophils: int | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> SmearReport:
    """Read a smear cell by cell and judge it.

    Args:
        folder: Single-cell images of one smear, sub-folders included.
        model1: The bundle that names cells: its name, its folder or the loaded bundle.
        dysplasianet: The bundle that scores neutrophils, likewise; None for the one that
            `specialists` declares, or ``dysplasianet``.
        specialists: Which networks cells of a class go on to: a YAML file, or by class a bundle or
            a list of them; None for ``specialists.yaml`` beside `model1`'s weights.
        cutoff: Takes the place of the fitted cell cut-off, in [0, 1].
        threshold: Takes the place of the fitted smear threshold, in [0, 1].
        min_neutrophils: Takes the place of the stated minimum.
        threads: How many files to read at a time; None for one a core.
        progress: Show a progress bar where standard error is a terminal.

    Returns:
        The report; `SmearReport.to_dict` gives its JSON document.

    Raises:
        CellnetError: There is no such folder, no image in it can be read, a model is missing or
            damaged, there is no operating point, or specialists cannot be used as declared.
    """
    folder = Path(folder)
    listing = find_images(folder)
    if not listing.files:
        check_some(listing, [])
    reader = SmearReader(
        model1,
        dysplasianet,
        specialists=specialists,
        cutoff=cutoff,
        threshold=threshold,
        min_neutrophils=min_neutrophils,
    )
    with closing(in_order(reader.cells, listing.files, threads)) as answers:
        shown = progress_bar(answers, "reading" if progress else None, len(listing.files))
        readings = [reading for _, reading in shown]
    return reader.report(Path(os.path.abspath(folder)).name, listing, readings)


def predict(
    paths: Iterable[str | os.PathLike[str]],
    model: Source = "model1",
    *,
    cutoff: float | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Run one network on images.

    Args:
        paths: Files and folders. In the answer a file of the only folder given is named by its path
            below that folder; every other one by the path that leads to it.
        model: The bundle: its name, its folder or the loaded bundle.
        cutoff: Takes the place of DysplasiaNet's fitted cut-off, in [0, 1].
        threads: How many files to read at a time; None for one a core.
        progress: Show a progress bar where standard error is a terminal.

    Returns:
        The document ``cellnet/predictions/1``: ``schema``, ``model``, ``cells``, ``unreadable``,
        and for DysplasiaNet the ``cutoff``.

    Raises:
        CellnetError: There is no image, none can be read, the model is missing or damaged, or
            DysplasiaNet has no cut-off.
    """
    files, unreadable = collect([Path(path) for path in paths])
    bundle = as_bundle(model)
    if bundle.kind == "granularity" and cutoff is None:
        cutoff = bundle.operating_point().cutoff
    elif cutoff is not None and bundle.kind != "granularity":
        raise CellnetError(f"a cut-off is for granularity scores, {bundle.name} answers none")
    elif cutoff is not None and not 0 <= cutoff <= 1:
        raise CellnetError(f"cutoff must be a number in [0, 1], got {cutoff}")
    cells = []
    answers = score_files(
        bundle, [path for path, _ in files], progress="reading" if progress else None,
        threads=threads,
    )  # fmt: skip
    with closing(answers):
        for (_, name), (_, output) in zip(files, answers, strict=True):
            if isinstance(output, UnreadableImage):
                unreadable.append({"file": name, "reason": output.reason})
            elif bundle.kind == "granularity":
                score = float(output[0])
                dysplastic = is_dysplastic(score, cutoff)
                cells.append({"file": name, "granularity": score, "dysplastic": dysplastic})
            else:
                label, probability = name_cell(output, bundle.classes)
                values = dict(zip(bundle.classes, map(float, output), strict=True))
                cells.append(
                    {
                        "file": name,
                        "label": label,
                        "probability": probability,
                        "probabilities": values,
                    }
                )
    if not cells:
        first = unreadable[0]
        raise CellnetError(
            f"none of {len(unreadable)} images can be read; the first is {first['file']}: "
            f"{first['reason']}"
        )
    document = {
        "schema": PREDICTIONS_SCHEMA,
        "model": bundle.identity(),
        "cells": cells,
        "unreadable": unreadable,
    }
    if bundle.kind == "granularity":
        document["cutoff"] = cutoff
    return document


def collect(paths: Sequence[Path]) -> tuple[list[tuple[Path, str]], list[dict[str, str]]]:
    """Find the images that were given as files and folders.

    Returns:
        Each file with the name that it has in the answer (see `predict`), and ``{"file",
        "reason"}`` of each folder that cannot be listed.

    Raises:
        CellnetError: Nothing was given, or there is no image in it.
    """
    files: list[tuple[Path, str]] = []
    unreadable: list[dict[str, str]] = []
    if not paths:
        raise CellnetError("no image was given; give files or folders")
    for path in paths:
        if not path.is_dir():
            files.append((path, path.as_posix()))
            continue
        listing = find_images(path)
        for note in told_passed_over(listing):
            log.warning("%s: %s", path, note)
        alone = len(paths) == 1
        for error in listing.unreadable:
            name = name_below(path, Path(error.path)) if alone else str(error.path)
            unreadable.append({"file": name, "reason": error.reason})
        for file in listing.files:
            files.append((file, listing.relative(file) if alone else file.as_posix()))
        if not listing.files and alone:
            check_some(listing, [])
        elif not listing.files:
            log.warning("%s: there is no image in this folder", path)
    if not files and not unreadable:
        raise CellnetError(f"there is no image in {', '.join(map(str, paths))}")
    return files, unreadable
