"""Sides: the shares asked for, the same again with the same seed, and nobody on two of them."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellnet.errors import CellnetError
from cellnet.manifest import SPLITS, Row, check_disjoint
from cellnet.splits import assign_splits, keep_sides, read_sides

FRACTIONS = (0.8, 0.08, 0.12)


def rows_of(*specs: tuple[int, str, str]) -> list[Row]:
    rows = []
    for number, label, subtype in specs:
        for _ in range(number):
            index = len(rows)
            rows.append(Row(f"{label}/{index}.png", f"{index:064x}", label, subtype))
    return rows


def table(rows, sides, key=lambda row: row.label):
    found = {}
    for row, side in zip(rows, sides, strict=True):
        found.setdefault(key(row), Counter())[side] += 1
    return {name: tuple(counter[side] for side in SPLITS) for name, counter in found.items()}


def test_shares_by_class_and_by_subtype():
    rows = rows_of((1000, "neutrophil", "band"), (500, "neutrophil", "seg"), (50, "ig", ""))
    sides = assign_splits(rows, 0, FRACTIONS)
    assert table(rows, sides) == {"neutrophil": (1200, 120, 180), "ig": (40, 4, 6)}
    assert table(rows, sides, lambda row: row.subtype) == {
        "band": (800, 80, 120),
        "seg": (400, 40, 60),
        "": (40, 4, 6),
    }


def test_the_cap_sends_the_surplus_to_test():
    rows = rows_of((1000, "neutrophil", ""), (100, "ig", ""))
    sides = assign_splits(rows, 0, FRACTIONS, train_cap=300)
    assert table(rows, sides) == {"neutrophil": (300, 80, 620), "ig": (80, 8, 12)}


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (4, (2, 1, 1)), (10, (8, 1, 1))],
)
def test_small_classes(number, expected):
    rows = rows_of((number, "ig", ""))
    assert table(rows, assign_splits(rows, 0, FRACTIONS)) == {"ig": expected}


def test_same_seed_same_sides_whatever_the_order_another_seed_others():
    rows = rows_of((200, "ig", "a"), (100, "monocyte", ""))
    sides = dict(zip(rows, assign_splits(rows, 7, FRACTIONS), strict=True))
    turned = rows[::-1]
    assert dict(zip(turned, assign_splits(turned, 7, FRACTIONS), strict=True)) == sides
    assert dict(zip(rows, assign_splits(rows, 8, FRACTIONS), strict=True)) != sides


def test_one_more_file_moves_hardly_anybody():
    rows = rows_of((500, "ig", ""))
    before = dict(zip(rows[1:], assign_splits(rows[1:], 0, FRACTIONS), strict=True))
    after = dict(zip(rows, assign_splits(rows, 0, FRACTIONS), strict=True))
    assert sum(after[row] != side for row, side in before.items()) <= 2


def test_patients_stay_whole_and_shares_come_close():
    rows = []
    for index, row in enumerate(rows_of((600, "ig", ""), (400, "monocyte", ""))):
        rows.append(replace(row, patient=f"p{index % 37}"))
    sides = assign_splits(rows, 0, FRACTIONS)
    check_disjoint([replace(row, split=side) for row, side in zip(rows, sides, strict=True)])
    for train, validation, test in table(rows, sides).values():
        total = train + validation + test
        assert train / total == pytest.approx(0.8, abs=0.06)
        assert validation / total == pytest.approx(0.08, abs=0.06)
        assert test / total == pytest.approx(0.12, abs=0.06)


def test_three_patients_fill_three_sides():
    rows = [replace(row, patient=str(i % 3)) for i, row in enumerate(rows_of((30, "ig", "")))]
    assert set(assign_splits(rows, 0, FRACTIONS)) == set(SPLITS)


def test_patients_and_single_images_together_meet_the_shares():
    rows = rows_of((300, "ig", ""))
    rows = [replace(row, patient=f"p{i // 10}" if i < 100 else "") for i, row in enumerate(rows)]
    assert table(rows, assign_splits(rows, 0, FRACTIONS)) == {"ig": (240, 24, 36)}


def test_overlapping_images_follow_the_one_that_trains_and_move_nobody_else():
    rows = rows_of((100, "ig", ""), (100, "monocyte", ""))
    plain = assign_splits(rows, 0, FRACTIONS)
    test = [i for i, side in enumerate(plain) if side == "test"]
    train = plain.index("train")
    validation = plain.index("validation")
    pairs = [(test[0], train), (test[1], test[2]), (validation, test[-1])]
    sides = assign_splits(rows, 0, FRACTIONS, overlapping=pairs)
    changed = {i: side for i, side in enumerate(sides) if side != plain[i]}
    assert changed == {test[0]: "train", test[-1]: "validation"}


def test_overlapping_images_follow_a_patient():
    rows = rows_of((60, "ig", ""))
    rows = [replace(row, patient="p" if i < 5 else "") for i, row in enumerate(rows)]
    sides = assign_splits(rows, 0, FRACTIONS, overlapping=[(0, 20), (20, 30)])
    assert len({sides[i] for i in (0, 1, 2, 3, 4, 20, 30)}) == 1


@pytest.mark.parametrize(
    "fractions", [(0.8, 0.1, 0.2), (1.0, 0.0, 0.0), (0.5, 0.5), (1.2, -0.1, -0.1)]
)
def test_shares_that_make_no_whole_are_refused(fractions):
    with pytest.raises(CellnetError, match="must be positive and make 1"):
        assign_splits(rows_of((3, "ig", "")), 0, fractions)


def test_no_rows_no_sides():
    assert assign_splits([], 0, FRACTIONS) == []


known = st.sampled_from(["", "", "1", "2", "3", "4", "5"])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["ig", "monocyte"]), known, known, known, st.integers(0, 20)),
        max_size=40,
    ),
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=4),
    st.integers(0, 3),
    st.sampled_from([None, 1, 5]),
)
def test_nothing_known_stands_on_two_sides(cells, pairs, seed, cap):
    rows = [
        # A source cell may be an image that is there itself.
        Row(f"{i}.png", f"{content:064x}", label, "", "", "", patient, smear, source_cell.zfill(64))
        if source_cell in ("4", "5")
        else Row(f"{i}.png", f"{content:064x}", label, "", "", "", patient, smear, source_cell)
        for i, (label, patient, smear, source_cell, content) in enumerate(cells)
    ]
    pairs = [pair for pair in pairs if max(pair) < len(rows)]
    sides = assign_splits(rows, seed, FRACTIONS, cap, pairs)
    assert set(sides) <= set(SPLITS)
    check_disjoint([replace(row, split=side) for row, side in zip(rows, sides, strict=True)])
    assert all(sides[one] == sides[two] for one, two in pairs)


def test_a_division_that_was_made_before_is_kept(tmp_path):
    file = tmp_path / "sides.csv"
    file.write_text(f"sha256,label,side\n{'a' * 12},ig,train\n{'b' * 64},ig,validation\n")
    assert read_sides(file) == {"a" * 12: "train", "b" * 12: "validation"}
    stood = ["train", None, "validation", None, None, "test", "train"]
    assert keep_sides(stood, [[0], [1, 2], [3], [4], [5, 6]]) == [
        "train", "validation", "validation", "test", "test", "train", "train",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sha256,label\n", "has no column 'side'"),
        ("sha256,side\nabc,train\n", "line 2: needs 12 hexadecimal digits or more"),
        (f"sha256,side\n{'a' * 12},left\n", "'left'"),
        (f"sha256,side\n{'a' * 12},train\n{'a' * 12},test\n", "line 3: a+ stands on two sides"),
    ],
)
def test_a_file_of_sides_must_hold(tmp_path, text, message):
    file = tmp_path / "sides.csv"
    file.write_text(text)
    with pytest.raises(CellnetError, match=message):
        read_sides(file)
    with pytest.raises(CellnetError, match="cannot read the sides"):
        read_sides(tmp_path)
