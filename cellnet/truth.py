"""What is known of a manifest's cells and smears.

Calibrating and evaluating need the truth of a row (its class, or normal and dysplastic by how many
granules were taken out) and the diagnosis of a smear (``truth.csv``). They stand here once, so that
a cut is fitted and judged on the same cells. What networks say of them is left to ``answering``.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellnet.cells import CLASSES, DYSPLASTIC_FROM, NEUTROPHIL, NORMAL_UP_TO, SUBTYPES
from cellnet.errors import CellnetError
from cellnet.intervals import distinct_groups
from cellnet.manifest import Manifest, Row

__all__ = [
    "describe_manifest",
    "groups_of",
    "normal_and_dysplastic",
    "places_of",
    "read_diagnoses",
    "read_patients",
    "suppression_of",
    "told_groups",
    "unknown_labels",
]

_ROUNDING = 1e-4  # manifests write g with four decimals

DIAGNOSES = ("mds", "healthy")

TRUTH = "truth.csv"


def suppression_of(rows: Sequence[Row]) -> np.ndarray:
    """Share of granules taken out of each row's cell.

    Returns:
        (n,) float64 in [0, 1]; NaN for a cell that is no neutrophil or has no known share.
    """
    return np.array(
        [
            float(row.suppression) if row.label == NEUTROPHIL and row.suppression else np.nan
            for row in rows
        ],
        dtype=np.float64,
    )


def normal_and_dysplastic(suppression: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which cells are known as normal, and which as dysplastic; (n,) bool each."""
    with np.errstate(invalid="ignore"):
        return (
            suppression <= NORMAL_UP_TO + _ROUNDING,
            suppression >= DYSPLASTIC_FROM - _ROUNDING,
        )


def unknown_labels(classes: Mapping[str, Sequence[str]]) -> list[str]:
    """List what classes of one's own are made of and only the user's folders can name.

    Args:
        classes: By class, labels and sub-types.

    Returns:
        Those that are neither one of the eight nor a sub-type that PBC knows, in small letters.
    """
    known = {*CLASSES, *SUBTYPES.values()}
    members = [member.lower() for group in classes.values() for member in group]
    return [member for member in members if member not in known]


def places_of(
    classes: Mapping[str, Sequence[str]], rows: Sequence[Row], manifest: Manifest
) -> list[int | None]:
    """Tell which of one's own classes each row shows.

    A class is made of labels or sub-types. What is a label of the manifest is compared with the
    label, everything else with the sub-type; small and large letters are the same.

    Args:
        classes: By class, labels and sub-types.
        rows: Which rows.
        manifest: Whose rows they are; all of its labels are known.

    Returns:
        For each row its class's place in `classes`; None for a row of none.

    Raises:
        CellnetError: A row is of two classes: one names its label, another one its sub-type.
    """
    labels = {*CLASSES, *(row.label for row in manifest.rows)}
    of_label, of_subtype = {}, {}
    for place, members in enumerate(classes.values()):
        for member in members:
            name = member.lower()
            (of_label if name in labels else of_subtype)[name] = place
    found: list[int | None] = []
    for row in rows:
        places = {of_label.get(row.label.lower()), of_subtype.get(row.subtype.lower())} - {None}
        if len(places) > 1:
            names = list(classes)
            raise CellnetError(
                f"{row.path} of {manifest.file} is of two classes: its label '{row.label}' makes "
                f"it {names[of_label[row.label.lower()]]}, its sub-type '{row.subtype}' "
                f"{names[of_subtype[row.subtype.lower()]]}; let each cell be of one"
            )
        found.append(places.pop() if places else None)
    return found


def groups_of(rows: Sequence[Row], by: str = "auto") -> tuple[str | None, np.ndarray | None]:
    """What ties cells together, so that they are not taken as independent.

    Args:
        rows: n rows.
        by: ``patient``, ``smear``, ``source_cell``, ``none``, or ``auto``: the first of these three
            that any row has. Of a row that lacks it, the next that it has is the unit: a name that
            is missing makes nobody else's cells independent.

    Returns:
        The column's name and (n,) names, empty where nothing is known that ties the row to others;
        None twice where nothing ties cells together.

    Raises:
        CellnetError: where the column is unknown, or no row has it.
    """
    columns = ("patient", "smear", "source_cell")
    if by == "none":
        return None, None
    if by == "auto":
        for place, column in enumerate(columns):
            if any(getattr(row, column) for row in rows):
                return column, _units(rows, columns[place:])
        return None, None
    if by not in columns:
        raise CellnetError(f"cells are grouped by {', '.join(columns)}, none or auto, not by {by}")
    names = np.array([getattr(row, by) for row in rows])
    if not (names != "").any():
        raise CellnetError(f"cells cannot be grouped by {by}: no row of the manifest names one")
    return by, names


def told_groups(column: str | None, groups: np.ndarray | None) -> dict[str, Any]:
    """Say what the unit of intervals is, and how many of them there are.

    Args:
        column: From `groups_of`.
        groups: From `groups_of`.

    Returns:
        ``by``, the column, and ``n``; None twice where nothing ties cells together. A cell that
        nothing ties is a unit of its own, as intervals take it.
    """
    if groups is None:
        return {"by": None, "n": None}
    number = distinct_groups(groups, len(groups))
    return {"by": column, "n": len(groups if number is None else np.unique(number))}


def _units(rows: Sequence[Row], columns: Sequence[str]) -> np.ndarray:
    """What ties each row to others, by the first of the columns that it has; (n,) names."""
    # A cell's patient is that of its smear's other cells, where those are of one.
    patients: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row.patient and row.smear:
            patients.setdefault((row.split, row.smear), set()).add(row.patient)
    patient_of = {smear: min(names) for smear, names in patients.items() if len(names) == 1}

    def unit(row: Row) -> str:
        for column in columns:
            name = getattr(row, column)
            if column == "patient" and not name:
                name = patient_of.get((row.split, row.smear), "")
            if name:
                # A smear that is called as a patient is must not become that patient.
                return name if column == columns[0] else f"{column} {name}"
        return ""

    return np.array([unit(row) for row in rows])


def read_diagnoses(manifest: Manifest) -> dict[tuple[str, str], bool]:
    """Diagnosis of each smear, from ``truth.csv`` beside the manifest.

    Returns:
        By (set, smear): True for MDS, False for healthy.

    Raises:
        CellnetError: where the file is missing, lacks a column, or names another diagnosis.
    """
    file, lines = _read_truth(manifest)
    found = {}
    for number, line in enumerate(lines, start=2):
        for column in ("set", "smear", "diagnosis"):
            if not line.get(column):
                raise CellnetError(f"{file}, line {number}: no {column} is given")
        if line["diagnosis"] not in DIAGNOSES:
            raise CellnetError(
                f"{file}, line {number}: the diagnosis must be {' or '.join(DIAGNOSES)}, "
                f"got '{line['diagnosis']}'"
            )
        found[line["set"], line["smear"]] = line["diagnosis"] == "mds"
    return found


def read_patients(manifest: Manifest) -> dict[tuple[str, str], str]:
    """Tell whose blood each smear is, as far as that is known.

    Either ``truth.csv`` says so in a column ``patient``, or all cells of the smear are of one
    patient. Simulated smears hold cells of many, so of those nothing is known.

    Returns:
        By (set, smear): the patient; smears of unknown patients are missing.

    Raises:
        CellnetError: where ``truth.csv`` cannot be read, or names another patient than the cells.
    """
    of_cells: dict[tuple[str, str], set[str]] = {}
    for row in manifest.rows:
        if row.smear:
            of_cells.setdefault((row.split, row.smear), set()).add(row.patient)
    found = {key: min(names) for key, names in of_cells.items() if len(names) == 1}
    file, lines = _read_truth(manifest)
    for number, line in enumerate(lines, start=2):
        key, patient = (line.get("set"), line.get("smear")), (line.get("patient") or "").strip()
        if not patient:
            continue
        if found.get(key) and found[key] != patient:
            raise CellnetError(
                f"{file}, line {number}: the smear {line['smear']} is of the patient '{patient}', "
                f"but its cells in the manifest are of '{found[key]}'; correct one of the two"
            )
        found[key] = patient
    return {key: patient for key, patient in found.items() if patient}


def _read_truth(manifest: Manifest) -> tuple[Path, list[dict[str, str]]]:
    """Read the lines of ``truth.csv`` beside a manifest."""
    folder = manifest.file.parent if manifest.file else manifest.root
    file = folder / TRUTH
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return file, list(csv.DictReader(stream))
    except FileNotFoundError:
        raise CellnetError(
            f"the diagnoses of the smears are missing: there is no {file}; "
            "`cellnet data simulate` writes one beside its manifest"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CellnetError(f"cannot read {file}: {error}") from error


def describe_manifest(manifest: Manifest) -> dict[str, Any]:
    """Name a manifest so that it can be told again: its folder's name, its hash, how it was made.

    The hash of ``truth.csv`` stands beside, where there is one: other diagnoses are other data.
    No absolute path is given away: the description goes into files that are shipped.
    """
    file = manifest.file or manifest.root / "manifest.csv"
    described: dict[str, Any] = {"manifest": f"{file.resolve().parent.name}/{file.name}"}
    for key, known in (("manifest_sha256", file), ("truth_sha256", file.parent / TRUTH)):
        if known.is_file():
            described[key] = hashlib.sha256(known.read_bytes()).hexdigest()
    for key in ("adapter", "seed", "dropped", "simulated", "repeats"):
        if manifest.about.get(key) is not None:
            described[key] = manifest.about[key]
    described["sources"] = sorted({row.source for row in manifest.rows if row.source})
    return described
