"""Fit the two operating points of a trained granularity network on a simulated cohort.

The cell cut-off comes from the neutrophils of ``test-by-cell``, the smear threshold from the shares
of dysplastic neutrophils in the smears of ``test-by-smear``, at that cut-off; neither set trained
anything, and neither is used to judge the result (that is ``proof-of-concept``, see ``evaluate``).
By default the smears are counted as the program will count them: over the cells that Model 1 calls
neutrophils. The choice of the cut and the file are those of ``operating_point``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellnet import __version__
from cellnet.answering import SmearCounts, SmearScores, answer, count_smears, score_smears
from cellnet.cells import NEUTROPHIL
from cellnet.errors import CellnetError
from cellnet.intervals import FEWEST, distinct_groups
from cellnet.manifest import BY_CELL, BY_SMEAR, Manifest, read_manifest
from cellnet.operating_point import (
    MINIMUM_NEUTROPHILS,
    Fit,
    OperatingPoint,
    fit_cutoff,
    fit_threshold,
    point_file,
    write_operating_point,
)
from cellnet.outputs import check_writable
from cellnet.seen import count_seen, seen_warnings
from cellnet.truth import (
    describe_manifest,
    groups_of,
    normal_and_dysplastic,
    read_diagnoses,
    read_patients,
    suppression_of,
    told_groups,
)

if TYPE_CHECKING:
    from cellnet.bundle import Bundle

__all__ = ["calibrate", "load_classifier", "summary"]

log = logging.getLogger(__name__)


def calibrate(
    model: str | Path | Bundle,
    manifest: str | Path | Manifest,
    out: str | Path | None = None,
    classifier: str | Path | Bundle | None = "model1",
    minimum_neutrophils: int = MINIMUM_NEUTROPHILS,
    progress: bool = True,
) -> OperatingPoint:
    """Fit cell cut-off and smear threshold, and write them beside the weights.

    Args:
        model: a DysplasiaNet bundle: its name, its folder, or the loaded bundle.
        manifest: a cohort as ``cellnet data simulate`` writes it: its folder, its manifest's file,
            or the manifest itself. Needs the splits ``test-by-cell`` and ``test-by-smear``, and
            ``truth.csv`` with the smears' diagnoses. Where that has a column ``patient``, or all
            cells of a smear are of one patient, smears of one patient are one unit of the
            threshold's intervals.
        out: where to write: a folder or a ``.json`` file; None for the bundle's folder.
        classifier: the Model 1 bundle whose neutrophils the smears are counted over, as the program
            does when it runs. None (or ``"none"``) counts the manifest's own neutrophils instead.
            With a classifier the fit on the manifest's neutrophils is stated beside, under
            ``also``, and decides nothing.
        minimum_neutrophils: smears with fewer do not take part, and will get no decision.
        progress: show bars on standard error.

    Returns:
        The operating point, as written.

    Raises:
        CellnetError: where the bundle answers no granularity score, the cohort lacks a split, cells
            of either kind or diagnoses, no cut is better than guessing, or the operating point
            cannot be written; the last is found out before the work.
    """
    from cellnet.bundle import Bundle, load

    bundle = (model if isinstance(model, Bundle) else load(model)).require("granularity")
    place = point_file(bundle.folder if out is None else out)
    check_writable(place)
    namer = load_classifier(classifier)
    if not isinstance(manifest, Manifest):
        manifest = read_manifest(manifest)
    diagnoses = read_diagnoses(manifest)
    by_cell, by_smear = manifest.split(BY_CELL), manifest.split(BY_SMEAR)
    data = describe_manifest(manifest)

    cells = answer(bundle, manifest, [row for row in by_cell if row.suppression], progress)
    normal, dysplastic = normal_and_dysplastic(suppression_of(cells.rows))
    used = normal | dysplastic
    column, groups = groups_of([row for row, use in zip(cells.rows, used, strict=True) if use])
    told = told_groups(column, groups)
    cutoff, cell_fit = fit_cutoff(
        dysplastic[used],
        cells.outputs[used, 0].astype(np.float64),
        groups,
        {
            **data,
            "split": BY_CELL,
            "positive": "dysplastic: two thirds or more of the granules taken out",
            "negative": "normal: at most a fifth taken out",
            **({} if told["n"] is None else {"grouped_by": told["by"], "groups": told["n"]}),
            "between": int(np.count_nonzero(~used)),
            "unreadable": len(cells.unreadable),
            "seen": count_seen(bundle, cells.rows),
        },
    )
    smears = score_smears(bundle, namer, manifest, by_smear, progress)
    data = {**data, "seen": count_seen(bundle, smears.rows)}
    for judged in (bundle, namer):
        for warning in seen_warnings(judged, [*cells.rows, *smears.rows]) if judged else ():
            log.warning("%s", warning)
    point = fit_point(
        cutoff,
        cell_fit,
        smears,
        diagnoses,
        minimum_neutrophils,
        data,
        bundle,
        namer,
        read_patients(manifest),
    )
    for entry in [*cells.unreadable, *smears.unreadable]:
        log.warning("not used: %s: %s", entry["file"], entry["reason"])
    log.info("wrote %s", write_operating_point(place, point))
    return point


def fit_point(
    cutoff: float,
    cell_fit: Fit,
    smears: SmearScores,
    diagnoses: dict[tuple[str, str], bool],
    minimum_neutrophils: int,
    data: dict[str, Any],
    bundle: Bundle,
    classifier: Bundle | None,
    patients: Mapping[tuple[str, str], str] | None = None,
) -> OperatingPoint:
    """Fit the smear threshold at a cut-off, and put the operating point together.

    Args:
        cutoff: the fitted cell cut-off.
        cell_fit: how it was fitted.
        smears: the scored cells of the smears.
        diagnoses: from :func:`cellnet.truth.read_diagnoses`.
        minimum_neutrophils: smears with fewer take no part.
        data: what names the manifest.
        bundle: the granularity network, for its name and hash.
        classifier: Model 1 or None, for its name and hash.
        patients: from :func:`cellnet.truth.read_patients`; smears of one patient are one unit of
            the threshold's intervals, a smear of an unknown patient stands alone.

    Raises:
        CellnetError: where the threshold cannot be fitted.
    """
    known = count_smears(smears.rows, smears.score, smears.known, diagnoses, cutoff, patients)
    by_label = "neutrophils by the manifest's label"
    also: dict[str, Any] = {}
    if classifier is None or smears.called is None:
        threshold, smear_fit = _fit_smears(
            known, minimum_neutrophils, {**data, "split": BY_SMEAR, "neutrophils": by_label}
        )
    else:
        called = count_smears(smears.rows, smears.score, smears.called, diagnoses, cutoff, patients)
        as_run = f"cells that {classifier.name} calls neutrophil, as the program runs"
        threshold, smear_fit = _fit_smears(
            called,
            minimum_neutrophils,
            {
                **data,
                "split": BY_SMEAR,
                "neutrophils": as_run,
                "classifier": classifier.identity(),
            },
        )
        try:
            other, other_fit = _fit_smears(
                known, minimum_neutrophils, {"split": BY_SMEAR, "neutrophils": by_label}
            )
            also["smear_by_known_neutrophils"] = {"threshold": other, **other_fit.to_json()}
        except CellnetError as error:  # it decides nothing, so it may not fail what does
            log.warning("no threshold over the manifest's own neutrophils: %s", error)
    return OperatingPoint(
        cutoff=cutoff,
        threshold=threshold,
        minimum_neutrophils=minimum_neutrophils,
        model=bundle.name,
        weights_sha256=bundle.sha256,
        cell=cell_fit,
        smear=smear_fit,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        cellnet=__version__,
        also=also,
    )


def _fit_smears(
    counts: SmearCounts, minimum_neutrophils: int, fitted_on: dict[str, Any]
) -> tuple[float, Fit]:
    enough = counts.neutrophils >= minimum_neutrophils
    left_out = [name for name, yes in zip(counts.names, enough, strict=True) if not yes]
    if left_out:
        log.warning(
            "%d of %d smears have fewer than %d %ss and take no part: %s",
            len(left_out),
            len(counts.names),
            minimum_neutrophils,
            NEUTROPHIL,
            ", ".join(left_out[:5]),
        )
    groups = None if counts.patients is None else counts.patients[enough]
    units = distinct_groups(groups, int(np.count_nonzero(enough)))
    return fit_threshold(
        counts.mds[enough],
        counts.fraction[enough],
        groups,
        {
            **fitted_on,
            **({} if units is None else {"grouped_by": "patient", "groups": len(set(units))}),
            "counted_neutrophils": int(counts.neutrophils[enough].sum()),
            "minimum_neutrophils": minimum_neutrophils,
            "left_out_for_few_neutrophils": left_out,
        },
    )


def load_classifier(classifier: str | Path | Bundle | None) -> Bundle | None:
    """Load the Model 1 bundle that names the neutrophils of smears.

    Args:
        classifier: its name, its folder or the bundle; None or ``"none"`` for none.

    Raises:
        CellnetError: where there is no such bundle, or it names no classes.
    """
    from cellnet.bundle import Bundle, load

    if classifier is None or classifier == "none":
        return None
    try:
        bundle = classifier if isinstance(classifier, Bundle) else load(classifier)
        return bundle.require_eight()
    except CellnetError as error:
        raise CellnetError(
            f"the neutrophils of smears are named by a Model 1 bundle: {error}; name one with "
            "--classifier, in a study by classifier: in its recipe, or count the manifest's own "
            "neutrophils with --classifier none, in a study by classifier: none"
        ) from error


def summary(point: OperatingPoint) -> str:
    """The operating point in a few lines for people."""
    lines = [f"operating point of {point.model} ({point.weights_sha256[:12]})"]
    for name, cut, fit in (
        ("cell cut-off", point.cutoff, point.cell),
        ("smear threshold", point.threshold, point.smear),
    ):
        if fit is None:
            lines.append(f"  {name} {cut:.4f}: given by hand")
            continue
        lines.append(f"  {name} {cut:.4f}{_ends(fit.cut)}: {fit.comparison}")
        on = fit.fitted_on
        kinds = ("dysplastic", "normal") if "cells" in on else ("mds", "healthy")
        told = ", ".join(f"{on[kind]} {kind}" for kind in kinds)
        if on.get("grouped_by"):
            told += f", in {on['groups']} groups by {on['grouped_by'].replace('_', ' ')}"
        lines.append(f"    fitted on {on.get('manifest', '')} {on['split']}: {told}".rstrip())
        if "neutrophils" in on:
            lines.append(f"    neutrophils: {on['neutrophils']}")
        for key, title in (
            ("auc", "AUC"),
            ("sensitivity", "sensitivity"),
            ("specificity", "specificity"),
        ):
            found = getattr(fit, key)
            low, high = found["ci95"]
            lines.append(
                f"    {title} {found['value']:.4f} (95 % interval {low:.4f} to {high:.4f})"
            )
    lines.append(f"  no decision with fewer than {point.minimum_neutrophils} neutrophils")
    return "\n".join(lines)


def _ends(cut: dict[str, Any] | None) -> str:
    """The interval of a cut in brackets; nothing where the file was made before there was one."""
    if cut is None:
        return ""
    if cut["ci95"] is None:
        return f" (without an interval: it takes {FEWEST} of a kind, and cuts that beat guessing)"
    low, high = cut["ci95"]
    return f" (95 % interval {low:.4f} to {high:.4f})"
