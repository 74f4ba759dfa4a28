"""Reasons for caution that stand beside measured numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cellnet.bundle import Bundle
from cellnet.manifest import Manifest, Row

__all__ = ["cautions", "drawn_cautions", "is_elsewhere", "simulated_cautions", "unit_cautions"]


def cautions(
    bundle: Bundle,
    manifest: Manifest,
    rows: Sequence[Row],
    unreadable: Sequence[dict[str, str]],
    left_out: dict[str, int],
) -> list[str]:
    """Reasons that hold for every number of a measurement.

    Args:
        bundle: What was measured.
        manifest: Where the cells are from.
        rows: The cells that were measured.
        unreadable: Files that could not be used.
        left_out: How many cells of other classes were left out, by class.
    """
    found = []
    has_smears = any(row.smear for row in rows) and not manifest.about.get("simulated")
    if not has_smears and not any(row.patient for row in rows):
        if is_elsewhere(bundle, rows):
            found.append(
                "no patient and no real smear is known for any cell: several may be of one "
                "patient, so the intervals are too narrow"
            )
        else:
            found.append(
                "no patient and no real smear is known for any cell: cells of one patient may "
                "stand in training and here, so the scores are optimistic"
            )
    if unreadable:
        found.append(f"{len(unreadable)} files could not be used and are not in the numbers")
    if left_out:
        told = ", ".join(f"{count} {name}" for name, count in left_out.items())
        found.append(f"cells of other classes were left out: {told}")
    unknown = (bundle.description.get("data") or {}).get("left_out") or ()
    for label in unknown:
        number = sum(row.label == label for row in rows)
        if number:
            found.append(
                f"{bundle.name} was trained without {label}: none of the {number} here can be "
                "named right; 'cellnet unknown' measures what it calls them"
            )
    return [*found, *drawn_cautions(rows)]


def drawn_cautions(rows: Sequence[Row]) -> list[str]:
    """Say how many cells are drawn; empty where all are photographed."""
    drawn = sum("drawn" in row.source.lower() for row in rows)
    return [f"{drawn} of {len(rows)} cells are drawn, not photographed"] if drawn else []


def unit_cautions(rows: Sequence[Row], column: str | None) -> list[str]:
    """Say so where patients are known and are not the unit of the intervals of every cell.

    Args:
        rows: The cells that were measured.
        column: What the intervals go by, from `groups_of`.
    """
    known = sum(bool(row.patient) for row in rows)
    if not known or (column == "patient" and known == len(rows)):
        return []
    if column == "patient":
        return [
            f"the patient of {len(rows) - known} of {len(rows)} cells is not known; of these the "
            "intervals go by smear or source cell, and are too narrow where a patient gave several"
        ]
    unit = "cell" if column is None else column.replace("_", " ")
    why = "" if known == len(rows) else f" of {known} of {len(rows)} cells"
    return [
        f"the patient is known{why}, but the intervals go by {unit}: where patients gave several, "
        "they are too narrow"
    ]


def simulated_cautions(manifest: Manifest, by_smear: bool) -> list[str]:
    """Say what of a manifest's cells and smears is simulated.

    Args:
        manifest: Which may have been made by ``cellnet data simulate``.
        by_smear: Whether a smear is what something is measured by.
    """
    about, found = manifest.about, []
    if about.get("simulated"):
        found.append(f"simulated: {about['simulated']}")
    if by_smear and about.get("repeats"):
        found.append(f"{about['repeats']}; intervals by smear take the smears as independent")
    return found


def is_elsewhere(bundle: Bundle, rows: Sequence[Row]) -> bool:
    """Tell whether no cell is of a data set that trained the bundle, as far as both are named.

    Args:
        bundle: Whose training it is.
        rows: The cells.
    """
    trained = json.dumps(bundle.description.get("data") or {}, ensure_ascii=False)
    return '"sources"' in trained and all(row.source and row.source not in trained for row in rows)
