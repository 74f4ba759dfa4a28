"""Which photographs a bundle has seen, so that nobody measures it on what it learnt from.

Names and splits say which cells trained a network only as long as everyone keeps to one division. A
bundle therefore carries the first 12 hexadecimal digits of the SHA-256 of every photograph of its
train and validation sides (two of 11,000 files agree in them once in millions of such sets), and
whatever measures or calibrates it looks there. What was made of a photograph counts as it.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cellnet.errors import CellnetError

if TYPE_CHECKING:
    from cellnet.bundle import Bundle
    from cellnet.manifest import Row

__all__ = [
    "FILE",
    "bundles_of_file",
    "count_seen",
    "pack_seen",
    "read_seen",
    "seen_warnings",
    "sides_of",
    "unseen",
]

FILE = "seen.npz"
SIDES = ("train", "validation")
DIGITS = 12
_HASH = re.compile(f"[0-9a-f]{{{DIGITS},64}}")

_TOLD = {
    "train": "trained",
    "validation": "chose the epoch of",
}


def sides_of(rows: Iterable[Row]) -> dict[str, set[str]]:
    """Gather the photographs of the train and validation sides.

    Args:
        rows: Of one or more manifests.

    Returns:
        By side, the SHA-256 of each image and the name of each cell that one was made of, which is
        a SHA-256 where cellnet made it.
    """
    found: dict[str, set[str]] = {side: set() for side in SIDES}
    for row in rows:
        if row.split in found:
            found[row.split] |= _names(row)
    return found


def _names(row: Row) -> set[str]:
    return {row.sha256, row.source_cell} - {""}


def pack_seen(sides: Mapping[str, Iterable[str]]) -> bytes:
    """Write the file of a bundle; the same photographs give the same bytes.

    Args:
        sides: By side (``train``, ``validation``), SHA-256 in hexadecimal, its first 12 digits, or
            any other name of a cell.
    """
    arrays = {side: _numbers(sides.get(side, ())) for side in SIDES}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for side, values in arrays.items():
            entry = io.BytesIO()
            np.save(entry, values)
            # A fixed date: zip files carry one, and hashes of bundles are compared.
            archive.writestr(zipfile.ZipInfo(f"{side}.npy"), entry.getvalue())
    return file.getvalue()


def _numbers(names: Iterable[str]) -> np.ndarray:
    """``(n,) uint64``, sorted."""
    return np.array(sorted({_number(name) for name in names}), np.uint64)


def _number(name: str) -> int:
    """The first digits of a hash; of any other name, those of its own hash."""
    if not _HASH.fullmatch(name):
        name = hashlib.sha256(name.encode()).hexdigest()
    return int(name[:DIGITS], 16)


def read_seen(bundle: Bundle) -> dict[str, frozenset[int]] | None:
    """Read which photographs a bundle has seen.

    Returns:
        By side, the first 12 digits of each SHA-256, as numbers; None for a bundle that does not
        say (one made by other programs, or by cellnet before it kept them).

    Raises:
        CellnetError: The file is missing or damaged though the bundle names it.
    """
    entry = bundle.description.get("seen")
    if entry is None:
        return None
    file = Path(bundle.folder) / entry["file"]
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {side: frozenset(arrays[side].tolist()) for side in SIDES}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CellnetError(
            f"{file} of the bundle {bundle.name} cannot be read ({error}); fetch the bundle again"
        ) from error


def count_seen(bundle: Bundle, rows: Iterable[Row]) -> dict[str, int] | None:
    """Count the cells that a bundle has seen.

    Args:
        bundle: Any bundle.
        rows: Of a manifest.

    Returns:
        By side, how many rows show a photograph of it; None where the bundle does not say.
    """
    seen = read_seen(bundle)
    if seen is None:
        return None
    found: Counter[str] = Counter()
    for row in rows:
        numbers = {_number(name) for name in _names(row)}
        for side in SIDES:
            found[side] += not numbers.isdisjoint(seen[side])
    return {side: found[side] for side in SIDES}


def unseen(bundle: Bundle, rows: Iterable[Row]) -> list[Row] | None:
    """Leave out the cells that a bundle has seen.

    Args:
        bundle: Any bundle.
        rows: Of a manifest.

    Returns:
        The rows whose photographs stood on neither side, in their order; None where the bundle does
        not say.
    """
    seen = read_seen(bundle)
    if seen is None:
        return None
    known = frozenset().union(*seen.values())
    return [row for row in rows if known.isdisjoint(_number(name) for name in _names(row))]


def bundles_of_file(weights: str | Path) -> tuple[list[Bundle], bool]:
    """Find out which cells trained a file of weights that ``cellnet train`` left in a run folder.

    Args:
        weights: The file; ``bundle/`` beside it says which cells its training saw, and
            ``recipe.yaml`` which weights that training began with, which are asked in their turn.

    Returns:
        The bundles that say which cells trained the file; and whether they name all of them: not
        where one of those weights has no such bundle or recipe beside it.

    Raises:
        CellnetError: A bundle or a recipe beside the file is damaged.
    """
    from cellnet import bundle as bundles
    from cellnet.recipe import Recipe, read_recipe

    found: list[Bundle] = []
    asked: set[Path] = set()
    file = Path(weights)
    while True:
        folder = file.resolve().parent
        recipe = folder / "recipe.yaml"
        if folder in asked or not (folder / "bundle" / bundles.FILE).is_file():
            return found, False
        asked.add(folder)
        bundle = bundles.load(folder / "bundle")
        if read_seen(bundle) is None:
            return found, False
        found.append(bundle)
        if not recipe.is_file():
            return found, False
        began = read_recipe(recipe, Recipe).network.arguments.get("weights", "random")
        if began in ("random", "imagenet"):
            return found, True
        file = Path(str(began))


def seen_warnings(bundle: Bundle, rows: Iterable[Row]) -> list[str]:
    """Say for people which cells a bundle should not be measured on.

    Args:
        bundle: Any bundle.
        rows: The cells that it is measured on, of a manifest.
    """
    rows = list(rows)
    counts = count_seen(bundle, rows)
    if counts is None:
        return [
            f"the bundle {bundle.name} does not say which cells trained it, so whether it has seen "
            "these is not known"
        ]
    return [
        f"{counts[side]} of {len(rows)} cells {_TOLD[side]} {bundle.name} {bundle.version}: the "
        "figures flatter it; measure it on cells that it has not seen"
        for side in SIDES
        if counts[side]
    ]
