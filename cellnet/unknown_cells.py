"""Which cells are known to a Model 1, and which may stand for kinds that it never saw.

A cell that trained the model, that the manifest lists, or that repeats another one is not taken as
unknown; each is told with its reason. Files are compared byte for byte: one that was saved again is
not found so. What the model makes of the others is left to ``unknown``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellnet.bundle import Bundle, sha256_of
from cellnet.cells import CLASSES
from cellnet.errors import CellnetError
from cellnet.listing import find_images
from cellnet.manifest import Manifest, Row
from cellnet.seen import count_seen, unseen
from cellnet.truth import groups_of

__all__ = [
    "Strangers",
    "known_rows",
    "left_out_of",
    "nothing_left",
    "own_rows",
    "strangers_in",
    "tied",
]

_NO_FILE = "0" * 64
"""The SHA-256 of what is no file; reading it says why it cannot be used."""


@dataclass(frozen=True)
class Strangers:
    """Images of a folder that may stand for unknown cells, and those that may not.

    Attributes:
        manifest: Rows whose label is the type, and where their images are.
        refused: ``{"file", "reason"}`` of images that are no unknown cells.
        unreadable: ``{"file", "reason"}`` of folders that could not be listed.
    """

    manifest: Manifest
    refused: list[dict[str, str]]
    unreadable: list[dict[str, str]]


def left_out_of(bundle: Bundle) -> tuple[str, ...]:
    """Give the classes whose outputs a bundle has and whose cells it was never shown.

    Raises:
        CellnetError: What the bundle says was left out is no part of the eight classes.
    """
    told = (bundle.description.get("data") or {}).get("left_out") or []
    if not isinstance(told, list) or not set(map(str, told)) < set(CLASSES):
        raise CellnetError(
            f"{bundle.folder}: data.left_out must name some of {', '.join(CLASSES)}, got {told!r}"
        )
    return tuple(name for name in CLASSES if name in told)


def known_rows(
    bundle: Bundle, manifest: Manifest, split: str, left_out: Sequence[str]
) -> tuple[list[Row], dict[str, int] | None]:
    """Choose cells of the classes that were taught, less those that taught them.

    Args:
        bundle: A Model 1.
        manifest: Of cells.
        split: Where the known cells stand.
        left_out: Classes that the model was trained without.

    Returns:
        The cells, and by side how many were left out since the model has seen them; None where the
        bundle does not say what it has seen.

    Raises:
        CellnetError: There is no such split, or no cell is left in it.
    """
    rows = [row for row in manifest.split(split) if row.label not in left_out]
    if not rows:
        raise CellnetError(
            f"the split '{split}' has no cell of a class that {bundle.name} was taught; "
            "give another --split"
        )
    seen, kept = count_seen(bundle, rows), unseen(bundle, rows)
    if kept is None:
        return rows, None
    if not kept:
        raise CellnetError(
            f"all {len(rows)} known cells of the split '{split}' trained {bundle.name} or chose "
            "its epoch, so nothing can be measured on them; give cells that it has not seen"
        )
    return kept, seen


def own_rows(bundle: Bundle, manifest: Manifest, left_out: Sequence[str]) -> tuple[list[Row], int]:
    """Choose the manifest's cells, of every side, whose class the model was trained without.

    Returns:
        The cells, and how many were left out: their class gave training no image, but the manifest
        says that they show the same photograph as a cell of another class that did.
    """
    rows = [row for row in manifest.rows if row.label in left_out]
    kept = unseen(bundle, rows)
    return (rows, 0) if kept is None else (kept, len(rows) - len(kept))


def strangers_in(
    folder: Path, bundle: Bundle, manifest: Manifest, left_out: Sequence[str]
) -> Strangers:
    """List a folder of unknown cells.

    Args:
        folder: A sub-folder for each type; images that stand in it directly are one type, called
            like the folder.
        bundle: A Model 1.
        manifest: What it lists is known, or brings its own unknown cells.
        left_out: Classes that the model was trained without; a sub-folder may be called so.

    Returns:
        The images that may be measured and those that may not, by the bytes of their files; none
        has been opened, so a known cell that was saved again passes.

    Raises:
        CellnetError: There is no image, or a sub-folder is called like a class that the model was
            taught.
    """
    listing = find_images(folder)
    if not listing.files:
        raise CellnetError(
            f"there is no image in {folder}; --unknown is a folder of unknown cells, a sub-folder "
            "for each type"
        )
    listed = {row.sha256: row for row in manifest.rows}
    first_of: dict[str, str] = {}
    rows: list[Row] = []
    refused: list[dict[str, str]] = []
    for file in listing.files:
        name = listing.relative(file)
        first, *rest = Path(name).parts
        kind = first if rest else folder.resolve().name
        if kind.lower() in CLASSES:
            kind = kind.lower()
            if kind not in left_out:
                raise CellnetError(
                    f"{folder / first if rest else folder} is called like the class '{kind}', "
                    f"which {bundle.name} was taught; unknown cells are of other types: rename the "
                    "folder, or leave it out"
                )
        row = Row(name, _hash_of(file), kind)
        if row.sha256 in listed:
            twin = listed[row.sha256]
            refused.append(_refusal(row, f"the manifest lists it as {twin.label}: {twin.path}"))
        elif row.sha256 in first_of:
            refused.append(_refusal(row, f"it repeats {first_of[row.sha256]}"))
        else:
            rows.append(row)
            if row.sha256 != _NO_FILE:
                first_of[row.sha256] = name
    kept = unseen(bundle, rows)
    if kept is not None:
        new = {row.path for row in kept}
        told = f"it trained {bundle.name} or chose its epoch"
        refused += [_refusal(row, told) for row in rows if row.path not in new]
        rows = kept
    unreadable = [
        {"file": listing.relative(Path(error.path)), "reason": error.reason}
        for error in listing.unreadable
    ]
    return Strangers(Manifest(folder, rows), refused, unreadable)


def _hash_of(file: Path) -> str:
    try:
        return sha256_of(file) if file.is_file() else _NO_FILE
    except OSError:
        return _NO_FILE


def _refusal(row: Row, reason: str) -> dict[str, str]:
    return {"file": row.path, "reason": reason}


def nothing_left(
    bundle: Bundle,
    folder: str | Path | None,
    left_out: Sequence[str],
    strangers: Strangers | None,
) -> str:
    """Say why there is no unknown cell.

    Args:
        bundle: The model.
        folder: The folder of unknown cells that was given, or None.
        left_out: Classes that the model was trained without.
        strangers: What is in the folder; None without one.
    """
    if strangers is None:
        return (
            f"the manifest has no cell of {', '.join(left_out)}, which {bundle.name} was trained "
            "without; give --unknown DIR"
        )
    first = strangers.refused[0]
    return (
        f"none of the {len(strangers.refused)} images of {folder} is an unknown cell; the first "
        f"is {first['file']}: {first['reason']}"
    )


def tied(
    rows: Sequence[Row], strangers: Strangers | None, by: str
) -> tuple[str | None, np.ndarray | None]:
    """Tell what ties cells together; images of a folder stand alone.

    Args:
        rows: All cells.
        strangers: Those of the folder, or None.
        by: See `cellnet.truth.groups_of`.

    Returns:
        The column's name and ``(n,)`` names, empty for a cell that stands alone; or None twice.

    Raises:
        CellnetError: The column is unknown, or no cell of the manifest has it.
    """
    alone = set(map(id, strangers.manifest.rows)) if strangers else set()
    others = [row for row in rows if id(row) not in alone]
    column, names = groups_of(others, by)
    if column is None:
        return None, None
    name_of = {id(row): name for row, name in zip(others, names, strict=True)}
    return column, np.array([name_of.get(id(row), "") for row in rows])
