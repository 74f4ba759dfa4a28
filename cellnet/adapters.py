"""A data set's folder in, labelled images out: an adapter knows how the folder is laid out.

An adapter says which file shows which class, and the sub-type, patient and smear where the data set
knows them. It opens no image: what is unreadable, doubled or on which side of the split is for
`prepare`. One function and one line in `ADAPTERS` add a data set.
"""

from __future__ import annotations

import csv
import difflib
import io
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from cellnet.cells import CLASSES, subtype_of
from cellnet.errors import CellnetError
from cellnet.listing import Listing, find_images

__all__ = ["ADAPTERS", "METADATA", "Candidate", "Dropped", "Found", "adapt", "dropped_csv"]

log = logging.getLogger(__name__)

METADATA = "metadata.csv"
"""What the optional table of patients, smears, source cells and sub-types is called."""

_ORIGIN = ("patient", "smear", "source_cell")
_KNOWN = (*_ORIGIN, "subtype")

_PBC = "Acevedo et al. 2020, doi 10.17632/snkd93bnjr.1"
# How that data set's files are named: BNE_191112.jpg.
_PREFIXES = {
    "basophil": ("BA",),
    "eosinophil": ("EO",),
    "erythroblast": ("ERB",),
    "ig": ("IG", "MMY", "MY", "PMY"),
    "lymphocyte": ("LY",),
    "monocyte": ("MO",),
    "neutrophil": ("BNE", "NEUTROPHIL", "SNE"),
    "platelet": ("PLATELET",),
}


@dataclass(frozen=True)
class Candidate:
    """A labelled image, not opened yet; the fields are those of `cellnet.manifest.Row`."""

    path: str
    label: str
    subtype: str = ""
    source: str = ""
    licence: str = ""
    patient: str = ""
    smear: str = ""
    source_cell: str = ""


@dataclass(frozen=True)
class Dropped:
    """A file that the manifest leaves out: its path below the source, and why."""

    path: str
    reason: str
    detail: str = ""


def dropped_csv(dropped: Iterable[Dropped]) -> str:
    """Write left-out files as ``dropped.csv`` has them: a row each, in the given order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "reason", "detail"])
    writer.writerows([it.path, it.reason, it.detail] for it in dropped)
    return text.getvalue()


@dataclass
class Found:
    """What an adapter found: candidates and left-out files, both in the order of their paths."""

    candidates: list[Candidate] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


def adapt(name: str, source: str | Path, also: Sequence[str] = ()) -> Found:
    """List a data set with the adapter of that name.

    Folders that are named after no class are passed over: a warning names them, and ``dropped``
    lists their images.

    Args:
        name: A key of `ADAPTERS`.
        source: The data set's folder.
        also: Classes beside `cellnet.cells.CLASSES` that it may have folders for.

    Raises:
        CellnetError: When there is no such adapter, or the source is not laid out as it expects.
    """
    if name not in ADAPTERS:
        raise CellnetError(
            f"there is no adapter '{name}'; valid adapters are: {', '.join(ADAPTERS)}"
        )
    return ADAPTERS[name](Path(source), also)


def pbc(source: Path, also: Sequence[str] = ()) -> Found:
    """Read the peripheral blood cells of Acevedo et al. (2020): one folder a class.

    The beginning of a file's name carries the sub-type of neutrophils and immature granulocytes.
    The data set knows neither patients nor smears. Images that are not named as it names them, or
    of which ``metadata.csv`` knows where they come from, are one's own: they are read as `folder`
    reads them.
    """

    def read(path: str, label: str, known: dict[str, str]) -> Candidate:
        if any(known.get(name) for name in _ORIGIN) or not _is_named_as_pbc(path, label):
            return _own(source, path, label, known)
        subtype = known.get("subtype") or subtype_of(path)
        return Candidate(path, label, subtype, source=_PBC, licence="CC BY 4.0")

    return _in_class_folders(source, also, read)


def folder(source: Path, also: Sequence[str] = ()) -> Found:
    """Read one's own images: one folder a class, named as in `cellnet.cells.CLASSES`.

    Sub-folders of a class folder are walked. A ``metadata.csv`` in the source may tell more about
    the images: a column ``path`` (below the source, as ``neutrophil/a.jpg``) and any of
    ``patient``, ``smear``, ``source_cell`` and ``subtype``; images that it does not name have none.
    """
    return _in_class_folders(source, also, partial(_own, source))


def _own(source: Path, path: str, label: str, known: dict[str, str]) -> Candidate:
    return Candidate(path, label, source=source.resolve().name, **known)


def _is_named_as_pbc(path: str, label: str) -> bool:
    prefix, _, rest = PurePosixPath(path).name.partition("_")
    return prefix in _PREFIXES.get(label, ()) and re.fullmatch(r"\d+\.\w+", rest) is not None


ADAPTERS: dict[str, Callable[[Path, Sequence[str]], Found]] = {"pbc": pbc, "folder": folder}
"""The adapters by name."""


def _in_class_folders(
    source: Path,
    also: Sequence[str],
    read: Callable[[str, str, dict[str, str]], Candidate],
) -> Found:
    """List the images in class folders; ``read`` gets what ``metadata.csv`` knows of each."""
    metadata = _read_metadata(source / METADATA)
    found = Found()
    listing = find_images(source)
    _note_passed_over(listing, found)
    others: Counter[str] = Counter()
    for file in listing.files:
        path = listing.relative(file)
        try:
            path.encode()
        except UnicodeEncodeError:
            shown = path.encode("utf-8", "backslashreplace").decode()
            found.dropped.append(Dropped(shown, "unreadable", "the name is not valid UTF-8"))
            continue
        first, *rest = PurePosixPath(path).parts
        if not rest:
            found.dropped.append(Dropped(path, "no class folder", "it stands beside the folders"))
            continue
        label = first.lower()
        if label in (*CLASSES, *also):
            found.candidates.append(read(path, label, metadata.pop(path, {})))
            continue
        others[first] += 1
        found.dropped.append(Dropped(path, "no class folder", _named_after_none(first, also)))
    told = [
        f"{number} image{'' if number == 1 else 's'}: {_named_after_none(name, also)}"
        for name, number in others.items()
    ]
    if not found.candidates:
        raise CellnetError(
            f"there is no image in a class folder of {source}; it must have folders named: "
            f"{', '.join((*CLASSES, *also))} (ig is an immature granulocyte)"
            + (f"; there are {'; '.join(told)}" if told else "")
        )
    for line in told:
        log.warning("passed over in %s: %s", source, line)
    dropped = {it.path for it in found.dropped}
    missing = [path for path in metadata if path not in dropped]
    if missing:
        raise CellnetError(
            f"{source / METADATA} names {len(missing)} files that are no images in {source}, "
            f"the first is '{missing[0]}'; paths start below the source, as neutrophil/a.jpg"
        )
    return found


def _named_after_none(name: str, also: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower(), (*CLASSES, *also), 1)
    hint = f"; if it means '{near[0]}', rename it" if near else ""
    return f"the folder '{name}' is named after no class{hint}"


def _note_passed_over(listing: Listing, found: Found) -> None:
    for path, reason in listing.passed_over:
        relative = listing.relative(path)
        if relative != METADATA:
            shown = relative.encode("utf-8", "backslashreplace").decode()
            found.dropped.append(Dropped(shown, reason))
    for folder in listing.unreadable:
        found.dropped.append(
            Dropped(listing.relative(Path(folder.path)), "unreadable folder", folder.reason)
        )


def _read_metadata(file: Path) -> dict[str, dict[str, str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CellnetError(f"cannot read {file}: {error}; it must be CSV in UTF-8") from None
    reader = csv.DictReader(text.splitlines(), strict=True)
    columns = [name.strip() for name in reader.fieldnames or []]
    unknown = [name for name in columns if name not in ("path", *_KNOWN)]
    if "path" not in columns or unknown or len(set(columns)) != len(columns):
        raise CellnetError(
            f"{file}, line 1: the columns are '{', '.join(columns)}'; "
            f"there must be 'path' and may be {', '.join(_KNOWN)}, each once"
        )
    reader.fieldnames = columns
    table: dict[str, dict[str, str]] = {}
    try:
        for row in reader:
            path = (row.pop("path") or "").strip().replace("\\", "/").removeprefix("./")
            if None in row or not path or path in table:
                what = "too many values" if None in row else f"'{path}' is empty or doubled"
                raise CellnetError(f"{file}, line {reader.line_num}: {what}")
            known = {name: (value or "").strip() for name, value in row.items()}
            if known.get("patient") and known.get("smear"):
                # Laboratories number the smears of each patient from 1.
                known["smear"] = f"{known['patient']}/{known['smear']}"
            table[path] = known
    except csv.Error as error:
        raise CellnetError(f"{file}, line {reader.line_num}: no valid CSV: {error}") from None
    return table
