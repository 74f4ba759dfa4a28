"""Put images on the sides train, validation and test, so that nothing known stands on two of them.

Images that share a patient, a smear or a source cell stay together. The order within a class is a
hash of seed and content: the same images and seed give the same sides on every machine, and a file
more or less moves only what stands at a boundary.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from cellnet.duplicates import connected
from cellnet.errors import CellnetError
from cellnet.manifest import SPLITS, Row, ties_of

__all__ = ["DIGITS", "assign_splits", "check_fractions", "keep_sides", "read_sides"]

DIGITS = 12
"""Of a SHA-256 in a file of sides: two of 11,128 files agree in them once in millions of sets."""


def check_fractions(fractions: Sequence[float]) -> None:
    """Check the shares of train, validation and test.

    Raises:
        CellnetError: When they are not three positive numbers that make 1.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise CellnetError(
            f"the shares of train, validation and test must be positive and make 1; got {fractions}"
        )


def assign_splits(
    rows: Sequence[Row],
    seed: int,
    fractions: Sequence[float],
    train_cap: int | None = None,
    overlapping: Sequence[tuple[int, int]] = (),
) -> list[str]:
    """Choose a side for each row.

    Classes are divided in the wanted shares, and so are the sub-types within a class, but for
    rounding; a class of three images or more has at least one on each side. Where rows are tied
    together (by patient, smear, source cell or the same bytes), whole groups are placed, the
    largest first, each where its classes lack most; the shares are met as far as groups allow.

    Args:
        rows: What to divide; their ``split`` is not looked at.
        seed: Another one gives another division.
        fractions: Of train, validation and test.
        train_cap: At most so many single images of a class train; the surplus goes to test.
        overlapping: Pairs of rows that show a part of the same photograph. They stand on one side:
            with a patient's or smear's other images, else where the first of train, validation and
            test has one of them. So they move nobody else.

    Returns:
        A name of `SPLITS` for each row, in the order of the rows.
    """
    check_fractions(fractions)
    targets = {
        label: _targets(number, fractions, train_cap)
        for label, number in Counter(row.label for row in rows).items()
    }
    sides = [""] * len(rows)
    ties = _ties(rows)
    tied = {index for pair in ties for index in pair}
    groups = [
        group for group in connected(len(rows), [*ties, *overlapping]) if not tied.isdisjoint(group)
    ]
    _place_groups(rows, groups, seed, targets, sides)
    singles: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if not sides[index]:
            singles[row.label].append(index)
    for label, indices in sorted(singles.items()):
        placed = Counter(
            side for side, row in zip(sides, rows, strict=True) if side and row.label == label
        )
        wanted = [max(0, targets[label][k] - placed[side]) for k, side in enumerate(SPLITS)]
        _place_singles(rows, indices, seed, wanted, sides)
    for group in connected(len(rows), overlapping):
        side = min((sides[index] for index in group), key=SPLITS.index)
        for index in group:
            sides[index] = side
    return sides


def read_sides(file: Path) -> dict[str, str]:
    """Read which side every photograph of a division stood on.

    Args:
        file: CSV with the columns ``sha256`` (its first 12 digits, or more of them) and ``side``;
            others are not looked at.

    Returns:
        By the first 12 digits of its SHA-256, a name of `SPLITS`.

    Raises:
        CellnetError: The file cannot be read, or a line does not hold; the message names it.
    """
    found: dict[str, str] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = {"sha256", "side"} - set(reader.fieldnames or ())
            if missing:
                raise CellnetError(
                    f"{file} has no column '{min(missing)}'; it needs sha256 and side"
                )
            for entry in reader:
                digest, side = entry["sha256"] or "", entry["side"]
                if side not in SPLITS or not re.fullmatch(f"[0-9a-f]{{{DIGITS},64}}", digest):
                    raise CellnetError(
                        f"{file}, line {reader.line_num}: needs {DIGITS} hexadecimal digits or "
                        f"more and one of {', '.join(SPLITS)}, got '{digest}' and '{side}'"
                    )
                if found.setdefault(digest[:DIGITS], side) != side:
                    raise CellnetError(
                        f"{file}, line {reader.line_num}: {digest} stands on two sides"
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CellnetError(f"cannot read the sides {file}: {error}") from error
    return found


def keep_sides(stood: Sequence[str | None], groups: Sequence[Sequence[int]]) -> list[str]:
    """Keep a division that was made before.

    Args:
        stood: For each image its side in that division, None for one that was not in it.
        groups: Places of the images that show a part of the same photograph; an image that shares
            its photograph with none may be missing.

    Returns:
        A name of `SPLITS` for each image: where one of its photograph stood, the first of train,
        validation and test where they differ; test where none did.
    """
    sides = [side or "test" for side in stood]
    for group in groups:
        known = [stood[index] for index in group if stood[index]]
        for index in group:
            sides[index] = min(known, key=SPLITS.index) if known else "test"
    return sides


def _rank(seed: int, key: str) -> str:
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def _targets(number: int, fractions: Sequence[float], train_cap: int | None) -> list[int]:
    least = 1 if number >= 3 else 0
    validation = max(least, round(number * fractions[1]))
    test = max(least, round(number * fractions[2]))
    train = max(0, number - validation - test)
    if train_cap is not None:
        train = min(train, train_cap)
    return [train, validation, number - train - validation]


def _ties(rows: Sequence[Row]) -> list[tuple[int, int]]:
    first: dict[tuple[str, str], int] = {}
    ties = []
    for index, row in enumerate(rows):
        for tie in ties_of(row):
            other = first.setdefault(tie, index)
            if other != index:
                ties.append((other, index))
    return ties


def _place_groups(
    rows: Sequence[Row],
    groups: list[list[int]],
    seed: int,
    targets: dict[str, list[int]],
    sides: list[str],
) -> None:
    def order(group: list[int]) -> tuple[int, str]:
        return -len(group), _rank(seed, min(rows[index].sha256 for index in group))

    tied = Counter(rows[index].label for group in groups for index in group)
    total = {label: sum(target) for label, target in targets.items()}
    # What the tied images should fill: the class's target, in proportion, where others are single.
    lack = {
        label: [target * number / total[label] for target in targets[label]]
        for label, number in tied.items()
    }
    empty = set(range(len(SPLITS)))
    for position, group in enumerate(sorted(groups, key=order)):
        content = Counter(rows[index].label for index in group)
        # With no more groups left than empty sides, each of these gets one.
        few = len(groups) - position <= len(empty) and len(groups) >= len(SPLITS)
        open_sides = sorted(empty) if few else range(len(SPLITS))
        side = max(
            open_sides,
            key=lambda k, content=content: sum(
                number * lack[label][k] / total[label] for label, number in content.items()
            ),
        )
        empty.discard(side)
        for label, number in content.items():
            lack[label][side] -= number
        for index in group:
            sides[index] = SPLITS[side]


def _place_singles(
    rows: Sequence[Row], indices: list[int], seed: int, wanted: list[int], sides: list[str]
) -> None:
    strata: dict[str, list[int]] = defaultdict(list)
    for index in sorted(indices, key=lambda index: _rank(seed, rows[index].sha256)):
        strata[rows[index].subtype].append(index)
    sizes = {subtype: len(found) for subtype, found in sorted(strata.items())}
    spare = len(indices) - sum(wanted)
    wanted = [wanted[0], wanted[1], wanted[2] + spare]  # groups fell short of, or went over, theirs
    if wanted[2] < 0:
        wanted = [max(0, wanted[0] + wanted[2]), wanted[1], 0]
    # Validation and train are dealt out to the sub-types; what is left of each is the test.
    validation = _deal(min(wanted[1], len(indices)), sizes)
    left = {subtype: size - validation[subtype] for subtype, size in sizes.items()}
    train = _deal(min(wanted[0], sum(left.values())), left)
    for subtype, found in strata.items():
        one, two = validation[subtype], validation[subtype] + train[subtype]
        for place, index in enumerate(found):
            sides[index] = SPLITS[1 if place < one else 0 if place < two else 2]


def _deal(number: int, sizes: dict[str, int]) -> dict[str, int]:
    """Deal a number out in proportion to sizes; the largest remainders get what rounding leaves."""
    total = sum(sizes.values())
    if not total:
        return dict.fromkeys(sizes, 0)
    shares = {key: Fraction(number * size, total) for key, size in sizes.items()}
    dealt = {key: int(share) for key, share in shares.items()}
    remainders = sorted(sizes, key=lambda key: (dealt[key] - shares[key], key))
    for key in remainders[: number - sum(dealt.values())]:
        dealt[key] += 1
    return dealt
