"""The list of images that everything is trained and measured on: one row a cell, as CSV.

A manifest is a folder with ``manifest.csv`` (a row for each image: where it is, what it shows,
where it came from, on which side of the split it stands) and ``manifest.json`` (where the paths are
rooted, how the list was made). Reading checks every row, so that later steps need not. Which rows
there are and how they are split is the business of `prepare`, `cohort` and `draw`.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from cellnet import __version__
from cellnet.cells import CLASSES
from cellnet.errors import CellnetError
from cellnet.outputs import write_text

__all__ = [
    "BY_CELL",
    "BY_SMEAR",
    "COHORT_SPLITS",
    "COLUMNS",
    "GROUPS",
    "PROOF",
    "SPLITS",
    "Manifest",
    "Row",
    "check_disjoint",
    "counts",
    "label_counts",
    "read_manifest",
    "ties_of",
    "write_manifest",
]

SPLITS = ("train", "validation", "test")
"""The roles of real cells."""

BY_CELL, BY_SMEAR, PROOF = "test-by-cell", "test-by-smear", "proof-of-concept"
COHORT_SPLITS = ("train", "validation", BY_CELL, BY_SMEAR, PROOF)
"""The five sets of the thesis's chapter 5 (table 5.1)."""

GROUPS = ("sha256", "source_cell", "patient", "smear")
"""The columns whose values may not stand in two splits."""

SCHEMA = "cellnet/manifest/1"


@dataclass(frozen=True)
class Row:
    """One image of a cell.

    Attributes:
        path: Where it is, relative to the manifest's root, with ``/`` between folders.
        sha256: Of the file's bytes, 64 hexadecimal digits in lower case.
        label: One of `cellnet.cells.CLASSES`, or of others that the reader asks for.
        subtype: What more is known, for example ``band neutrophil``; else empty.
        source: The data set that it comes from.
        licence: The licence of that data set.
        patient: Whose blood it is, where known; else empty.
        smear: The slide, where known; else empty.
        source_cell: The photograph that it was made or cropped from, where others were too; else
            empty.
        split: One of `SPLITS` or `COHORT_SPLITS`.
        suppression: Share of the granules taken out, g in [0, 1] as text; empty where nothing was
            simulated. The opposite of DysplasiaNet's granularity score.
    """

    path: str
    sha256: str
    label: str
    subtype: str = ""
    source: str = ""
    licence: str = ""
    patient: str = ""
    smear: str = ""
    source_cell: str = ""
    split: str = ""
    suppression: str = ""


COLUMNS = tuple(column.name for column in fields(Row))
"""The columns of ``manifest.csv``, in order."""

OLD_NAMES = {"granularity": "suppression"}
"""What a column was called in manifests that were written before."""


@dataclass(frozen=True)
class Manifest:
    """A checked list of images.

    Attributes:
        root: The folder that each row's path starts from.
        rows: One for each image, in the file's order.
        about: What ``manifest.json`` says beside (seed, adapter, counts, ...).
        file: The CSV file that it was read from.
    """

    root: Path
    rows: list[Row]
    about: dict[str, Any] = field(default_factory=dict)
    file: Path | None = None

    @property
    def is_cohort(self) -> bool:
        """Whether it has sets of the thesis's chapter 5, hypogranulated neutrophils among them."""
        return not {row.split for row in self.rows}.isdisjoint(set(COHORT_SPLITS) - set(SPLITS))

    def path_of(self, row: Row) -> Path:
        """Give the place of a row's image on this machine."""
        return self.root / row.path

    def split(self, *names: str) -> list[Row]:
        """Give the rows of the named splits, in the file's order.

        Raises:
            CellnetError: When one of them has no row.
        """
        found = {row.split for row in self.rows}
        for name in names:
            if name not in found:
                raise CellnetError(
                    f"the manifest {self.file or self.root} has no split '{name}'; "
                    f"it has: {', '.join(sorted(found)) or 'none'}"
                )
        return [row for row in self.rows if row.split in names]

    def check_files(self) -> None:
        """Check that every image is where the manifest says.

        Raises:
            CellnetError: When one is not, with how to say where the data are.
        """
        missing = [row.path for row in self.rows if not (self.root / row.path).is_file()]
        if missing:
            raise CellnetError(
                f"{len(missing)} of {len(self.rows)} images of the manifest "
                f"{self.file or self.root} are missing, the first is {self.root / missing[0]}; "
                "if the data were moved, write their folder as 'root' into manifest.json "
                "or give it where the manifest is read"
            )


def counts(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """Count rows by split and label.

    Returns:
        ``{split: {label: count}}``, splits in the order of their first row, labels in the order of
        `cellnet.cells.CLASSES`, then others; labels without a row are left out.
    """
    table: dict[str, list[Row]] = {}
    for row in rows:
        table.setdefault(row.split, []).append(row)
    return {split: label_counts(members) for split, members in table.items()}


def label_counts(rows: Iterable[Row]) -> dict[str, int]:
    """Count rows by label, in the order of `counts`."""
    found = Counter(row.label for row in rows)
    return {
        label: found[label] for label in dict.fromkeys([*CLASSES, *sorted(found)]) if found[label]
    }


def check_disjoint(rows: Iterable[Row], name: str = "the manifest") -> None:
    """Check that no copy, source cell, patient or smear stands in two splits.

    Empty values are unknown and are not compared. An image and what was made from it count as one
    photograph (`ties_of`).

    Args:
        rows: Those of all splits together.
        name: What to call them in the message.

    Raises:
        CellnetError: Naming the first value that stands on two sides.
    """
    seen: dict[tuple[str, str], Row] = {}
    for row in rows:
        for kind, value in ties_of(row):
            first = seen.setdefault((kind, value), row)
            if first.split != row.split:
                raise CellnetError(
                    f"{name} has the {kind} {value} on two sides: {first.path} is in "
                    f"'{first.split}' and {row.path} in '{row.split}'; "
                    "make the split again with 'cellnet data prepare'"
                )


def ties_of(row: Row) -> Iterator[tuple[str, str]]:
    """What ties a row to others that may not be parted from it.

    Yields:
        ``(kind, value)`` of each value that is known: ``patient``, ``smear``, and ``photograph``
        for the image itself (its ``sha256``) and for what it was made from (``source_cell``).
    """
    for column in GROUPS:
        value = getattr(row, column)
        if value:
            yield "photograph" if column in ("sha256", "source_cell") else column, value


def write_manifest(
    folder: str | Path,
    rows: Sequence[Row],
    root: str | Path,
    about: dict[str, Any] | None = None,
    also: Sequence[str] = (),
) -> Path:
    """Write ``manifest.csv`` and ``manifest.json`` into a folder.

    The same rows give the same bytes. A file is replaced only when the new one is complete.

    Args:
        folder: Where to write; made when it is not there.
        rows: What to write, in this order.
        root: Where the rows' paths start. An absolute path is written as it is; a relative one is
            meant (and written) relative to ``folder``.
        about: What else ``manifest.json`` should say (``seed``, ``adapter``, ...).
        also: Labels beside `cellnet.cells.CLASSES` that rows may have.

    Returns:
        The path of ``manifest.csv``.

    Raises:
        CellnetError: When a row could not be read again.
    """
    folder = Path(folder)
    target = folder / "manifest.csv"
    rows = list(rows)
    _check(rows, target, also=also)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    document = {
        "schema": SCHEMA,
        "cellnet": __version__,
        "root": os.fspath(root),
        "images": len(rows),
        "counts": counts(rows),
        **(about or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "manifest.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    write_text(target, text.getvalue())
    return target


def read_manifest(
    path: str | Path, root: str | Path | None = None, also: Sequence[str] = ()
) -> Manifest:
    """Read a manifest and check every row.

    Args:
        path: The folder with ``manifest.csv`` and ``manifest.json``, or the CSV file itself.
        root: Where the images are, when they were moved since; else what ``manifest.json`` says,
            else (there is none) the CSV file's folder.
        also: Labels beside `cellnet.cells.CLASSES` that the reader knows what to do with; a row
            with another one is an error.

    Returns:
        The checked rows. Whether the files are there is not looked at: see
        `Manifest.check_files`.

    Raises:
        CellnetError: When the file is missing or breaks a rule, naming file and line.
    """
    path = Path(path)
    file = path / "manifest.csv" if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CellnetError(
            f"there is no manifest at {file}; make one with 'cellnet data prepare'"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CellnetError(f"cannot read the manifest {file}: {error}") from None
    about = _read_about(file.with_suffix(".json"))
    rows = _parse(text, file, also)
    if root is None:
        root = file.parent / str(about.get("root", "."))
    return Manifest(Path(root), rows, about, file)


def _read_about(file: Path) -> dict[str, Any]:
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CellnetError(f"cannot read {file} beside its manifest: {error}") from None
    if not isinstance(about, dict):
        raise CellnetError(f"{file} must hold a JSON object, not a {type(about).__name__}")
    return about


def _parse(text: str, file: Path, also: Sequence[str]) -> list[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    lines: list[int] = []
    try:
        header = [OLD_NAMES.get(column, column) for column in next(reader, [])]
        missing = [
            column for column in ("path", "sha256", "label", "split") if column not in header
        ]
        if missing:
            raise CellnetError(
                f"{file}, line 1: the column {missing[0]} is missing; "
                f"a manifest has the columns {', '.join(COLUMNS)}"
            )
        unknown = [column for column in header if column not in COLUMNS]
        doubled = [column for column in header if header.count(column) > 1]
        if unknown or doubled:
            raise CellnetError(
                f"{file}, line 1: the column '{[*unknown, *doubled][0]}' is unknown or doubled; "
                f"a manifest has the columns {', '.join(COLUMNS)}"
            )
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise CellnetError(
                    f"{file}, line {reader.line_num}: {len(cells)} values for {len(header)} columns"
                )
            rows.append(Row(**dict(zip(header, cells, strict=True))))
            lines.append(reader.line_num)
    except csv.Error as error:
        raise CellnetError(f"{file}, line {reader.line_num}: no valid CSV: {error}") from None
    _check(rows, file, lines, also)
    return rows


def _check(
    rows: Sequence[Row],
    file: Path,
    lines: Sequence[int] | None = None,
    also: Sequence[str] = (),
) -> None:
    seen: dict[str, int] = {}
    for index, row in enumerate(rows):
        line = lines[index] if lines else 2 + index
        wrong = _fault(row, also)
        if not wrong and row.path in seen:
            wrong = f"the path {row.path} stands on line {seen[row.path]} already"
        if wrong:
            raise CellnetError(f"{file}, line {line}: {wrong}")
        seen[row.path] = line


def _fault(row: Row, also: Sequence[str]) -> str:
    """Say what is wrong with a row, or nothing."""
    splits = tuple(dict.fromkeys(SPLITS + COHORT_SPLITS))
    windows = PureWindowsPath(row.path)
    if not row.path or "\0" in row.path:
        return "the path is empty or has a null character"
    if row.path.startswith("/") or windows.is_absolute() or windows.drive:
        return f"the path {row.path} is absolute; it must be relative to the manifest's root"
    if ".." in PurePosixPath(row.path).parts or ".." in windows.parts:
        return f"the path {row.path} leaves the manifest's root; '..' is not allowed"
    if not re.fullmatch(r"[0-9a-f]{64}", row.sha256):
        return f"the sha256 '{row.sha256}' is not 64 hexadecimal digits in lower case"
    if row.label not in CLASSES and row.label not in also:
        return f"the label '{row.label}' is unknown; valid are: {', '.join((*CLASSES, *also))}"
    if row.split not in splits:
        return f"the split '{row.split}' is unknown; valid are: {', '.join(splits)}"
    if row.suppression:
        try:
            value = float(row.suppression)
        except ValueError:
            value = -1.0
        if not 0.0 <= value <= 1.0:
            return f"the suppression '{row.suppression}' is not a number in [0, 1]"
    return ""
