"""The cells to explain: images and folders as they are given, or a split of a manifest.

What a cell is known to be comes from its folder's name or from the manifest; it is never needed,
but without it nothing can be said of how well classes part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cellnet.bundle import Bundle
from cellnet.cautions import cautions, simulated_cautions, unit_cautions
from cellnet.cells import CLASSES, GRANULARITY, NEUTROPHIL
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.images import decode_image, read_bytes
from cellnet.manifest import Manifest, Row, read_manifest
from cellnet.predict import collect
from cellnet.truth import (
    describe_manifest,
    groups_of,
    normal_and_dysplastic,
    places_of,
    suppression_of,
    unknown_labels,
)

__all__ = [
    "SPLIT",
    "Cell",
    "Cells",
    "find_cells",
    "is_manifest",
    "manifest_cautions",
    "place_below",
    "read_cell",
]

SPLIT = "test"
"""The split of a manifest that is explained where none is named."""


@dataclass(frozen=True)
class Cell:
    """One image to explain.

    Attributes:
        path: Its file.
        name: What it is called in the answer.
        label: What it is known to show, such as ``neutrophil`` or ``dysplastic``; None if unknown.
        group: What ties it to others (a patient, a smear, a source cell); empty if nothing does.
        source_cell: The photograph that it was made of; empty if none.
        sha256: What its file must have; empty to take it as it is.
        below: Where it lies below the folder given, or the manifest's, without the ending of its
            name; empty for an image given by itself.
        folders: Names of the folders that may tell what it is, the innermost first; none of a
            manifest's cells.
        listed: The manifest's row of it; None for images and folders.
    """

    path: Path
    name: str
    label: str | None
    group: str = ""
    source_cell: str = ""
    sha256: str = ""
    below: str = ""
    folders: tuple[str, ...] = ()
    listed: Row | None = None

    def row(self) -> Row:
        """The cell as a manifest lists it, or would, for whoever asks which photographs these are.

        The hash is that of the file, where it has been read.
        """
        if self.listed is not None:
            return self.listed
        return Row(self.name, self.sha256, self.label or "", source_cell=self.source_cell)


@dataclass(frozen=True)
class Cells:
    """All images to explain.

    Attributes:
        cells: In the order given.
        grouped_by: The manifest's column that ties cells together; None where nothing does.
        unreadable: ``{"file", "reason"}`` of folders that cannot be listed.
        data: What is known of the manifest; None for images and folders.
        warnings: What was left out, in words.
        others: Images that were given, or that the manifest has, and that are not explained.
        manifest: The manifest; None for images and folders.
    """

    cells: list[Cell]
    grouped_by: str | None = None
    unreadable: list[dict[str, str]] = field(default_factory=list)
    data: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)
    others: list[Cell] = field(default_factory=list)
    manifest: Manifest | None = None


def is_manifest(path: Path) -> bool:
    """Say whether a path is a manifest or a folder that holds one, by its name."""
    return path.suffix.lower() == ".csv" or (path / "manifest.csv").is_file()


def find_cells(
    paths: Sequence[Path],
    kind: str,
    split: str | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
) -> Cells:
    """List the images to explain.

    Args:
        paths: Images and folders of them, or one manifest. An image is labelled by the innermost
            folder that is called like a class, ``normal`` or ``dysplastic``; or else by the
            sub-folder of the folder given that it lies in.
        kind: What the network answers. Of a manifest, ``granularity`` takes the neutrophils alone,
            labelled ``normal`` or ``dysplastic`` where it is known what was taken out of them.
        split: Of the manifest; None for `SPLIT`.
        classes: Of a network with classes of its own, the labels and sub-types that each is made
            of: of a manifest, these cells alone are taken, labelled by their class.

    Raises:
        CellnetError: There is no image, or the manifest cannot be read or lacks the split.
    """
    manifests = [path for path in paths if is_manifest(path)]
    if not manifests:
        files, unreadable = collect(paths)
        folders = [path for path in paths if path.is_dir()]
        cells = [_cell(file, name, folders) for file, name in files]
        return Cells(cells, unreadable=unreadable)
    if len(paths) > 1:
        raise CellnetError(f"a manifest is explained alone, got {', '.join(map(str, paths))}")
    manifest = read_manifest(manifests[0], also=unknown_labels(classes or {}))
    rows = manifest.split(split or SPLIT)
    warnings = []
    if classes:
        shown = places_of(classes, rows, manifest)
        others = shown.count(None)
        rows = [
            replace(row, label=list(classes)[place])
            for row, place in zip(rows, shown, strict=True)
            if place is not None
        ]
        if others:
            warnings.append(
                f"left out: {others} cells of the manifest that are not of {', '.join(classes)}"
            )
        if not rows:
            raise CellnetError(
                f"the split '{split or SPLIT}' of {manifest.file} has no cell of "
                f"{', '.join(classes)}"
            )
    if kind == "granularity":
        others = sum(row.label != NEUTROPHIL for row in rows)
        rows = [row for row in rows if row.label == NEUTROPHIL]
        if others:
            warnings.append(f"left out: {others} cells of the manifest that are no neutrophils")
        if not rows:
            raise CellnetError(f"the split '{split or SPLIT}' of {manifest.file} has no neutrophil")
    by, groups = groups_of(rows)
    names = [""] * len(rows)
    if groups is not None:
        # Cells that nothing ties are no group: each has a name of its own.
        names = [str(it) or f"cell {row.path}" for it, row in zip(groups, rows, strict=True)]
    cells = [
        Cell(
            manifest.path_of(row),
            row.path,
            label,
            group,
            row.source_cell,
            row.sha256,
            _without_ending(row.path),
            listed=row,
        )
        for row, label, group in zip(rows, _labels(rows, kind), names, strict=True)
    ]
    data = describe_manifest(manifest) | {"split": split or SPLIT}
    explained = {row.path for row in rows}
    others = [
        Cell(manifest.path_of(row), row.path, None, below=_without_ending(row.path))
        for row in manifest.rows
        if row.path not in explained
    ]
    return Cells(cells, by, data=data, warnings=warnings, others=others, manifest=manifest)


def manifest_cautions(bundle: Bundle, found: Cells, rows: Sequence[Row]) -> list[str]:
    """Reasons for caution that hold for all that is measured of a manifest's cells.

    Args:
        bundle: The network that is explained.
        found: From `find_cells`.
        rows: Those of the cells that could be read.

    Returns:
        Sentences for people; none for images and folders, of which nothing is known.
    """
    if found.manifest is None:
        return []
    return [
        *cautions(bundle, found.manifest, rows, (), {}),
        *unit_cautions(rows, found.grouped_by),
        *simulated_cautions(found.manifest, found.grouped_by == "smear"),
    ]


def place_below(file: Path, folder: Path) -> str:
    """Where a file lies below a folder, without its ending: ``neutrophil/001``."""
    return _without_ending(file.relative_to(folder).as_posix())


def _without_ending(path: str) -> str:
    return PurePosixPath(path).with_suffix("").as_posix()


def read_cell(cell: Cell) -> tuple[Cell, np.ndarray]:
    """Read a cell's image.

    Returns:
        The cell with the hash of its file, and ``(h, w, 3) uint8, RGB``.

    Raises:
        UnreadableImage: It cannot be read, or is not the file that was to be read.
    """
    data = read_bytes(cell.path)
    found = hashlib.sha256(data).hexdigest()
    if cell.sha256 not in ("", found):
        raise UnreadableImage(cell.path, "its sha256 is not that of the manifest")
    return replace(cell, sha256=found), decode_image(data, cell.path)


def _cell(file: Path, name: str, folders: Sequence[Path]) -> Cell:
    """A file that was given by itself or in one of the folders, with its label."""
    given = next((folder for folder in folders if file.is_relative_to(folder)), None)
    folder = file.parent if given is None else given
    above = file.relative_to(folder).parts[:-1]
    parts = [*reversed(above), folder.absolute().name]
    label = next((part for part in parts if part in (*CLASSES, *GRANULARITY)), None)
    if label is None and above:
        label = above[0]
    below = "" if given is None else place_below(file, given)
    return Cell(file, name, label, below=below, folders=tuple(parts))


def _labels(rows: Sequence[Row], kind: str) -> list[str | None]:
    if kind != "granularity":
        return [row.label for row in rows]
    normal, dysplastic = normal_and_dysplastic(suppression_of(rows))
    return [
        GRANULARITY[1] if is_normal else GRANULARITY[0] if is_dysplastic else None
        for is_normal, is_dysplastic in zip(normal, dysplastic, strict=True)
    ]
