"""A data set in, a manifest out: everything readable once, labelled once, on one side of a split.

Unreadable files, copies, near copies (turned and mirrored ones too) and images under two labels are
left out, each listed with its reason in ``dropped.csv``: nothing goes in silence. Crops that
overlap, each around another cell of one field, stay, with the field as their ``source_cell``. How a
source is laid out is known to `adapters`, what a copy is to `duplicates`, and who stands on which
side to `splits`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cellnet.adapters import Candidate, Dropped, adapt, dropped_csv
from cellnet.bundle import sha256_of
from cellnet.duplicates import (
    CORRELATION,
    HASH_DISTANCE,
    SAME_CENTRE,
    SPECTRUM_SIMILARITY,
    TURNED_SIMILARITY,
    Fingerprint,
    Overlap,
    connected,
    fingerprint,
    overlaps,
)
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.images import decode_image, read_bytes
from cellnet.manifest import (
    Manifest,
    Row,
    check_disjoint,
    counts,
    read_manifest,
    write_manifest,
)
from cellnet.outputs import write_text
from cellnet.splits import DIGITS, assign_splits, check_fractions, keep_sides, read_sides

__all__ = ["FRACTIONS", "TRAIN_CAP", "Prepared", "prepare"]

FRACTIONS = (0.80, 0.08, 0.12)
"""Shares of train, validation and test."""

TRAIN_CAP = 1600
"""At most so many cells of a class train. The surplus of an abundant class makes the test larger:
simulated smears need many neutrophils that trained nothing."""


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made: the manifest that it wrote, and the files that it left out."""

    manifest: Manifest
    dropped: list[Dropped]

    def summary(self) -> str:
        """Say for people what came of the files, in a few lines."""
        table = counts(self.manifest.rows)
        lines = [f"{len(self.manifest.rows)} images in {self.manifest.file}"]
        for split, found in table.items():
            detail = ", ".join(f"{label} {number}" for label, number in found.items())
            lines.append(f"  {split}: {sum(found.values())} ({detail})")
        if self.dropped:
            reasons = Counter(it.reason for it in self.dropped)
            detail = ", ".join(f"{number} {reason}" for reason, number in reasons.items())
            lines.append(f"{len(self.dropped)} left out, see dropped.csv: {detail}")
        return "\n".join(lines)


def prepare(
    source: str | Path,
    adapter: str,
    out: str | Path,
    seed: int = 0,
    fractions: Sequence[float] = FRACTIONS,
    train_cap: int | None = TRAIN_CAP,
    workers: int | None = None,
    sides: str | Path | None = None,
    also: Sequence[str] = (),
) -> Prepared:
    """List, check and divide a data set, and write ``manifest.csv``, ``.json`` and ``dropped.csv``.

    The same source, adapter and seed give the same bytes. The source is only read.

    Args:
        source: The data set's folder.
        adapter: A name in `cellnet.adapters.ADAPTERS`.
        out: The manifest's folder; made when it is not there.
        seed: Of the division into train, validation and test.
        fractions: Their shares.
        train_cap: At most so many images of a class train, the surplus goes to test; None for no
            limit. Patients are never divided to keep it.
        workers: Threads that read images; as many as there are processors when None.
        sides: A division that was made before (``training/splits/*.csv``), to be kept whatever seed
            and shares are: each image that it names stands where it stood, as does whatever shows
            the same photograph, and every other image, which trained nothing, in test.
        also: Classes beside `cellnet.cells.CLASSES` that the source may have folders for.

    Returns:
        The manifest, as read back, and what was left out.

    Raises:
        CellnetError: When the source does not fit the adapter, the shares are wrong, nothing is
            left, or ``out`` holds another division or cannot be written.
    """
    check_fractions(fractions)
    if train_cap is not None and train_cap < 1:
        raise CellnetError(f"the training cap must be at least 1; got {train_cap}")
    source = Path(source)
    made_by = {
        "adapter": adapter,
        "seed": seed,
        "fractions": list(fractions),
        "train_cap": train_cap,
        "sides": None if sides is None else sha256_of(_existing(Path(sides))),
    }
    known = {} if sides is None else read_sides(Path(sides))
    if also:
        made_by["also"] = sorted(also)
    _check_same_division(Path(out), source, made_by, also)
    found = adapt(adapter, source, also)
    dropped = list(found.dropped)
    candidates, prints = _scan(source, found.candidates, dropped, workers)
    kept = _leave_out_copies(candidates, prints, dropped)
    pairs = _find_overlaps(prints, kept, workers)
    kept = _leave_out_near_copies(candidates, kept, pairs, dropped)
    if not kept:
        raise CellnetError(
            f"no image of {source} is left of {len(found.candidates)}: the first was left out "
            f"because it is {dropped[0].reason} ({dropped[0].detail})"
        )
    rows = [Row(sha256=prints[i].sha256, **asdict(candidates[i])) for i in kept]
    overlapping = _overlapping(kept, pairs)
    if sides is None:
        placed = assign_splits(rows, seed, fractions, train_cap, overlapping)
    else:
        stood = [known.get(it.sha256[:DIGITS]) for it in prints]
        ties = [*_copies(prints), *((it.first, it.second) for it in pairs)]
        all_placed = keep_sides(stood, connected(len(prints), ties))
        placed = [all_placed[i] for i in kept]
    photographs = _photographs(rows, overlapping)
    rows = [
        replace(row, split=side, source_cell=photographs.get(index, row.source_cell))
        for index, (row, side) in enumerate(zip(rows, placed, strict=True))
    ]
    check_disjoint(rows)
    dropped.sort(key=lambda it: it.path)
    about = {
        **made_by,
        "dropped": dict(sorted(Counter(it.reason for it in dropped).items())),
        "overlapping": len(photographs),
        "near_copy": {
            "hash_distance": HASH_DISTANCE,
            "spectrum_similarity": SPECTRUM_SIMILARITY,
            "turned_similarity": TURNED_SIMILARITY,
            "correlation": CORRELATION,
            "same_centre": SAME_CENTRE,
        },
    }
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        write_text(Path(out) / "dropped.csv", dropped_csv(dropped))
        file = write_manifest(out, rows, source.resolve(), about, also)
    except OSError as error:
        raise CellnetError(f"cannot write the manifest to {out}: {error.strerror}") from None
    return Prepared(read_manifest(file, also=also), dropped)


def _existing(sides: Path) -> Path:
    if not sides.is_file():
        raise CellnetError(
            f"there is no file {sides} of sides; give one such as training/splits/pbc.csv"
        )
    return sides


def _check_same_division(
    out: Path, source: Path, made_by: dict[str, Any], also: Sequence[str]
) -> None:
    """Check that no other division stands in the folder: a model may have been trained on it."""
    if not (out / "manifest.csv").exists():
        return
    there = read_manifest(out, also=also)
    told = {name: there.about.get(name) for name in made_by} | {"source": there.root.resolve()}
    wanted = made_by | {"source": source.resolve()}
    differs = [f"{name} {told[name]}" for name in wanted if told[name] != wanted[name]]
    if differs:
        raise CellnetError(
            f"{out} holds another division, made with {', '.join(differs)}; choose another --out"
        )


def _scan(
    source: Path, candidates: list[Candidate], dropped: list[Dropped], workers: int | None
) -> tuple[list[Candidate], list[Fingerprint]]:
    """Take the fingerprint of every readable candidate; the rest is dropped."""

    def look(candidate: Candidate) -> Fingerprint | UnreadableImage:
        path = source / candidate.path
        try:
            data = read_bytes(path)
            return fingerprint(data, decode_image(data, path))
        except UnreadableImage as error:
            return error

    readable, prints = [], []
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        results = pool.map(look, candidates)
        bar = tqdm(results, "reading", len(candidates), unit="image", disable=None)
        for candidate, result in zip(candidates, bar, strict=True):
            if isinstance(result, UnreadableImage):
                dropped.append(Dropped(candidate.path, "unreadable", result.reason))
            else:
                readable.append(candidate)
                prints.append(result)
    return readable, prints


def _leave_out_copies(
    candidates: list[Candidate], prints: list[Fingerprint], dropped: list[Dropped]
) -> list[int]:
    """Keep one of each set of images with the same pixels, none where their labels differ."""
    groups = connected(len(prints), _copies(prints))
    return _keep_first(candidates, groups, "exact copy", "two labels", dropped, lambda *_: "")


def _copies(prints: list[Fingerprint]) -> list[tuple[int, int]]:
    """Give the pairs of images with the same pixels, the first of each beside every other."""
    first: dict[bytes, int] = {}
    pairs = [(first.setdefault(it.pixels, index), index) for index, it in enumerate(prints)]
    return [(one, other) for one, other in pairs if one != other]


def _find_overlaps(
    prints: list[Fingerprint], kept: list[int], workers: int | None
) -> list[Overlap]:
    """Find what is of one photograph among the kept; the indices are those of ``prints``."""
    return [
        replace(it, first=kept[it.first], second=kept[it.second])
        for it in overlaps([prints[index] for index in kept], workers)
    ]


def _leave_out_near_copies(
    candidates: list[Candidate], kept: list[int], pairs: list[Overlap], dropped: list[Dropped]
) -> list[int]:
    same_cell = {(it.first, it.second): it for it in pairs if it.shift <= SAME_CENTRE}
    remaining = set(kept)
    groups = [group for group in connected(len(candidates), same_cell) if group[0] in remaining]

    def told(one: int, other: int) -> str:
        # Two that are near copies of a third need not have been found to be so of each other.
        found = same_cell.get((min(one, other), max(one, other)))
        turn = found.turn if found else 0
        return "" if turn == 0 else ", turned" if turn < 4 else ", mirrored"

    return _keep_first(candidates, groups, "near copy", "near copy with two labels", dropped, told)


def _overlapping(kept: list[int], pairs: list[Overlap]) -> list[tuple[int, int]]:
    """Give the pairs of kept images of one photograph, as places in ``kept``.

    Two that overlap with a third, which was left out, are of one photograph too.
    """
    place = {index: position for position, index in enumerate(kept)}
    indices = sorted({index for it in pairs for index in (it.first, it.second)})
    number = {index: position for position, index in enumerate(indices)}
    ties = [(number[it.first], number[it.second]) for it in pairs]
    found = []
    for group in connected(len(indices), ties):
        here = [place[indices[i]] for i in group if indices[i] in place]
        found += [(here[0], other) for other in here[1:]]
    return found


def _photographs(rows: list[Row], overlapping: list[tuple[int, int]]) -> dict[int, str]:
    """Name the photograph of each overlapping row, so that the manifest says who belongs together.

    The name is the source cell that the data set gives to one of them, else the first one's hash.
    """
    given: dict[str, int] = {}
    ties = list(overlapping)
    for index, row in enumerate(rows):
        if row.source_cell:
            ties.append((given.setdefault(row.source_cell, index), index))
    touched = {index for pair in overlapping for index in pair}
    names: dict[int, str] = {}
    for group in connected(len(rows), ties):
        if not touched.isdisjoint(group):
            known = [rows[i].source_cell for i in group if rows[i].source_cell]
            names |= dict.fromkeys(group, known[0] if known else rows[group[0]].sha256)
    return names


def _keep_first(
    candidates: list[Candidate],
    groups: list[list[int]],
    copy: str,
    two_labels: str,
    dropped: list[Dropped],
    told: Callable[[int, int], str],
) -> list[int]:
    """Keep the first of each group, none where labels differ; `told` says what is odd of a pair."""
    kept = []
    for group in groups:
        first, *others = group
        if len({candidates[index].label for index in group}) == 1:
            kept.append(first)
            for index in others:
                detail = f"of {candidates[first].path}{told(first, index)}"
                dropped.append(Dropped(candidates[index].path, copy, detail))
            continue
        for index in group:
            one = candidates[index]
            place = next(i for i in group if candidates[i].label != one.label)
            other = candidates[place]
            detail = f"{one.label} here, {other.label} as {other.path}{told(index, place)}"
            dropped.append(Dropped(one.path, two_labels, detail))
    return sorted(kept)
