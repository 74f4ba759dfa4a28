"""Folds: what belongs together stays together, and what that costs is measured rightly."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from bundles import make_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from painted_cohort import PaintedCohort

from cellnet.bundle import load
from cellnet.errors import CellnetError
from cellnet.folds import (
    Pool,
    check_fold,
    choosers,
    deal,
    difference_of_folds,
    divide,
    flattery,
    measure_fold,
    pool_of,
    summarise,
    tied_in_training,
    write_fold,
)
from cellnet.manifest import check_disjoint, read_manifest


@given(
    sizes=st.lists(st.integers(1, 6), min_size=4, max_size=60),
    folds=st.integers(2, 4),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_groups_stay_whole_and_folds_are_even(sizes, folds, seed):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.zeros(len(groups), bool)
    fold = deal(labels, groups, folds, seed)
    assert set(fold) == set(range(folds))
    for group in range(len(sizes)):
        assert len(set(fold[groups == group])) == 1
    counts = np.bincount(fold, minlength=folds)
    assert counts.max() - counts.min() <= max(sizes)
    assert (deal(labels, groups, folds, seed) == fold).all()


def test_every_label_is_spread_evenly():
    labels = np.array([True] * 30 + [False] * 90)
    fold = deal(labels, np.arange(120), 3, 0)
    for label in (True, False):
        assert np.bincount(fold[labels == label]).tolist() == [(labels == label).sum() // 3] * 3


def test_another_seed_is_another_division():
    labels, groups = np.zeros(40, bool), np.arange(40)
    assert (deal(labels, groups, 4, 0) != deal(labels, groups, 4, 1)).any()


def test_too_few_groups_are_refused():
    with pytest.raises(CellnetError, match="5 folds need 5 independent groups.*got 2"):
        deal(np.zeros(10, bool), np.repeat([0, 1], 5), 5, 0)


@pytest.fixture
def cohort(tmp_path):
    """Sixteen source cells, each once normal and once dysplastic, on two sides; a test cell too."""
    made = PaintedCohort(tmp_path / "cohort")
    for number in range(16):
        split = "train" if number < 12 else "validation"
        for g, score in ((0.1, 0.9), (0.8, 0.2)):
            made.cell(split, g=g, score=score, source_cell=f"{number:064x}")
    made.cell("train", g=0.5, score=0.5, source_cell="f" * 64)
    made.cell("test-by-cell", g=0.1, score=0.9)
    return made.write()


def test_a_pool_holds_what_trains_and_is_known(cohort):
    pool = pool_of(cohort)
    assert len(pool.rows) == 32
    assert pool.normal.sum() == 16
    told = pool.describe()
    assert told["tied_by"] == ["source_cell"]
    assert (told["groups"], told["largest_group"]) == (16, 2)


def test_ties_reach_through_others(tmp_path):
    """One patient's smears and one smear's cells are one group, however they are tied."""
    made = PaintedCohort(tmp_path)
    for g, more in (
        (0.1, {"patient": "p", "smear": "a"}),
        (0.8, {"smear": "a", "source_cell": "x"}),
        (0.1, {"source_cell": "x"}),
        (0.8, {}),
    ):
        made.cell("train", g=g, **more)
    made.cell("validation", g=0.1)
    pool = pool_of(made.write())
    assert pool.groups.tolist() == [0, 0, 0, 1, 2]


def test_a_pool_of_one_kind_is_refused(tmp_path):
    made = PaintedCohort(tmp_path)
    made.cell("train", g=0.1)
    made.cell("validation", g=0.0)
    with pytest.raises(CellnetError, match="2 normal and 0 dysplastic"):
        pool_of(made.write())


def fold_of(cohort, folder, by, fold=0, folds=4):
    pool = pool_of(cohort)
    held = divide(pool, by, folds, seed=0) == fold
    root = os.path.relpath(cohort.root, folder)
    write_fold(pool, cohort, folder, root, held, by, 0.25, seed=0)
    return pool, held, read_manifest(folder)


def patients(folder, *kinds):
    """A pool of so many patients of one kind each, four cells a patient; n for normal."""
    made = PaintedCohort(folder)
    for number, kind in enumerate(kinds):
        split = "train" if number + 1 < len(kinds) else "validation"
        g = 0.1 if kind == "n" else 0.8
        for cell in range(4):
            source = f"{10 * number + cell:064x}"
            made.cell(split, g=g, patient=f"P{number}", source_cell=source)
    return pool_of(made.write())


def test_an_epoch_is_chosen_by_both_kinds(tmp_path):
    """Patients are often of one kind each; one alone would let every network look perfect."""
    pool = patients(tmp_path, *"nnnnnnnnnddddd")
    for fold in range(3):
        held = divide(pool, "group", 3, seed=0) == fold
        for seed in range(5):
            chosen = choosers(pool, held, "group", 0.25, seed)
            assert not (chosen & held).any()
            for side in (chosen, ~chosen & ~held):
                assert 0 < pool.normal[side].sum() < side.sum()
            assert not set(pool.groups[chosen]) & set(pool.groups[~chosen])


def test_where_no_epoch_could_be_chosen_it_is_said_beforehand(tmp_path):
    pool = patients(tmp_path, *"nnnnnd")
    held = divide(pool, "group", 3, seed=0) == 0
    with pytest.raises(CellnetError, match="too few to choose its epoch by one part of 10.*raise"):
        choosers(pool, held, "group", 0.1, 0)
    with pytest.raises(CellnetError, match="holds normal and dysplastic.*cross_validation.valida"):
        choosers(pool, np.zeros(len(held), bool), "group", 0.5, 0)


def test_copies_of_a_file_are_one_image(tmp_path):
    made = PaintedCohort(tmp_path)
    for number in range(8):
        split = "train" if number < 6 else "validation"
        made.cell(split, g=0.1 if number % 2 else 0.8, source_cell=f"{number:064x}")
    pool = pool_of(made.write())
    copies = [*pool.rows, *(replace(row, path=f"again/{row.path}") for row in pool.rows)]
    doubled = replace(
        pool, rows=copies, normal=np.tile(pool.normal, 2), groups=np.tile(pool.groups, 2)
    )
    fold = divide(doubled, "image", 4, seed=0)
    assert (fold[:8] == fold[8:]).all()


def test_images_that_are_all_different_are_dealt_by_their_place(cohort):
    """So that a study that an earlier version began can be gone on with."""
    pool = pool_of(cohort)
    wanted = deal(pool.normal, np.arange(len(pool.rows)), 4, seed=0)
    assert (divide(pool, "image", 4, seed=0) == wanted).all()


def test_a_fold_that_was_divided_otherwise_is_refused(cohort, tmp_path):
    pool, held, made = fold_of(cohort, tmp_path / "fold", "image")
    check_fold(pool, made, held)
    with pytest.raises(CellnetError, match="divided otherwise.*another --run"):
        check_fold(pool, made, np.roll(held, 1))


def test_by_group_no_photograph_stands_on_two_sides(cohort, tmp_path):
    pool, held, made = fold_of(cohort, tmp_path / "fold", "group")
    check_disjoint(made.rows)
    made.check_files()
    sides = {}
    for row in made.rows:
        sides.setdefault(row.split, set()).add(row.source_cell)
    assert len(made.rows) == 32
    assert len(sides["test-by-cell"]) == 4
    assert len(sides["validation"]) == 3
    assert len(sides["train"]) == 9
    assert {row.path for row in made.split("test-by-cell")} == {
        row.path for row, kept in zip(pool.rows, held, strict=True) if kept
    }


def test_by_image_photographs_do_and_the_manifest_forgets_them(cohort, tmp_path):
    pool, held, made = fold_of(cohort, tmp_path / "fold", "image")
    tested = set(pool.groups[held])
    assert tested & set(pool.groups[~held])
    assert not any(row.source_cell or row.patient or row.smear for row in made.rows)
    check_disjoint(made.rows)  # as `cellnet train` does
    assert made.about["folds_by"] == "image"


def test_every_cell_is_tested_once(cohort, tmp_path):
    for by in ("group", "image"):
        fold = divide(pool_of(cohort), by, 4, seed=0)
        assert np.bincount(fold).tolist() == [8, 8, 8, 8]


def test_a_fold_is_measured_on_its_own_cells(cohort, tmp_path):
    bundle = load(make_bundle(tmp_path, "dysplasianet"))
    pool, held, _ = fold_of(cohort, tmp_path / "fold", "group")
    measured, scores = measure_fold(bundle, pool, tmp_path / "fold", held, progress=False)
    assert np.isfinite(scores).tolist() == held.tolist()
    assert (measured["n"], measured["normal"], measured["dysplastic"]) == (8, 4, 4)
    for key in ("accuracy", "sensitivity", "specificity", "auc"):
        assert measured[key]["value"] == 1.0
    # Eight cells of four photographs are four things that are known, not eight.
    assert measured["accuracy"]["ci95"][0] == pytest.approx(0.025 ** (1 / 4))
    (tmp_path / "cohort" / pool.rows[int(np.flatnonzero(held)[0])].path).unlink()
    measured, scores = measure_fold(bundle, pool, tmp_path / "fold", held, progress=False)
    assert (measured["n"], measured["unreadable"]) == (7, 1)
    assert np.isfinite(scores).sum() == 7


def test_folds_are_summed_up():
    pool = Pool([None] * 4, np.array([True, True, False, False]), np.arange(4))
    rows = [
        {"accuracy": {"value": 1.0}, "auc": {"value": 1.0}},
        {"accuracy": {"value": 0.5}, "auc": {"value": None}},
    ]
    found = summarise(pool, rows, np.array([0.9, 0.4, 0.1, np.nan]))
    assert found["accuracy"] == {
        "mean": 0.75,
        "sd": pytest.approx(0.35355, abs=1e-5),
        "ci95": [0.0, 1.0],  # of two folds
    }
    assert found["auc"] == {"mean": 1.0, "sd": None, "ci95": None}
    assert (found["pooled"]["k"], found["pooled"]["n"]) == (2, 3)
    assert (found["pooled_auc"]["value"], found["pooled_auc"]["n"]) == (1.0, 3)


def test_the_pooled_area_compares_cells_of_different_folds_with_an_interval_by_group():
    """Two folds, each ordered rightly, of which the second scores all cells lower."""
    normal = np.tile([True, False], 20)
    scores = np.where(normal, 0.9, 0.6)
    scores[20:] -= 0.5
    pool = Pool([None] * 40, normal, np.repeat(np.arange(20), 2))
    rows = [{"accuracy": {"value": 0.5}, "auc": {"value": 1.0}}] * 2
    found = summarise(pool, rows, scores)
    assert found["auc"]["mean"] == 1.0
    # Of four pairs of folds, the normal cells of the second lie below the first's dysplastic ones.
    pooled = found["pooled_auc"]
    assert (pooled["value"], pooled["method"]) == (0.75, "bootstrap by group")
    assert pooled["ci95"][0] <= 0.75 < pooled["ci95"][1]
    # One kind alone has no curve.
    assert summarise(pool, rows, np.where(normal, scores, np.nan))["pooled_auc"]["value"] is None


def test_intervals_over_the_folds_let_training_differ():
    """By hand, with the quantiles of Student's t of a table."""
    pool = Pool([None] * 4, np.array([True, False] * 2), np.arange(4))
    rows = [{"accuracy": {"value": it}, "auc": {"value": None}} for it in (0.96, 0.98, 0.97)]
    found = summarise(pool, rows, np.array([0.9, 0.1, 0.9, 0.1]))
    half = 4.302653 * 0.01 / 3**0.5
    assert found["accuracy"]["ci95"] == pytest.approx([0.97 - half, 0.97 + half], abs=1e-6)
    assert found["auc"] == {"mean": None, "sd": None, "ci95": None}
    same = [{"accuracy": {"value": 1.0}, "auc": {"value": 1.0}}] * 3
    assert summarise(pool, same, np.array([0.9, 0.1, 0.9, 0.1]))["accuracy"]["ci95"] is None

    gain = difference_of_folds([0.96, 0.98, 0.97], [0.97, 0.99, 0.98])
    assert gain["value"] == pytest.approx(0.01)
    half = 2.776445 * (2 * 0.01**2 / 3) ** 0.5  # four degrees of freedom, as the spreads are equal
    assert gain["ci95"] == pytest.approx([0.01 - half, 0.01 + half], abs=1e-6)
    assert difference_of_folds([1.0, 1.0], [1.0, 1.0])["ci95"] is None


def test_what_a_division_by_image_teaches_of_a_cell_is_counted():
    normal = np.array([True, False, False, True, True])
    pool = Pool([None] * 5, normal, np.array([0, 0, 0, 1, 1]))
    # The first cell's two versions are hypogranulated; the second group lies in one fold.
    fold_of = np.array([0, 1, 1, 0, 0])
    assert tied_in_training(pool, fold_of) == {"same": 0, "other": 4}
    assert tied_in_training(pool, np.array([0, 1, 2, 0, 1])) == {"same": 4, "other": 4}


def test_flattery_is_the_paired_difference():
    rng = np.random.default_rng(0)
    normal = np.tile([True, False], 200)
    pool = Pool([None] * 400, normal, np.repeat(np.arange(200), 2))
    right = np.where(normal, 0.9, 0.1)
    worse = np.where(rng.random(400) < 0.2, 1 - right, right)
    found = flattery(pool, worse, right)
    share = float((worse != right).mean())
    assert found["value"] == pytest.approx(share)
    assert found["ci95"][0] < share < found["ci95"][1]
    assert 0 < found["ci95"][0]
    assert flattery(pool, right, worse)["value"] == pytest.approx(-share)


def test_a_handful_of_groups_gives_flattery_no_false_certainty():
    normal = np.tile([True, False], 20)
    pool = Pool([None] * 40, normal, np.repeat(np.arange(4), 10))
    right = np.where(normal, 0.9, 0.1)
    worse = right.copy()
    worse[:4] = 1 - worse[:4]
    found = flattery(pool, worse, right)
    assert found["value"] == pytest.approx(0.1)
    assert found["method"] == "exact on the cells that differ"
    assert found["ci95"][0] < -0.3 and found["ci95"][1] > 0.5


def test_where_no_answer_differs_the_interval_still_has_a_width():
    normal = np.tile([True, False], 10)
    pool = Pool([None] * 20, normal, np.repeat(np.arange(10), 2))
    right = np.where(normal, 0.9, 0.1)
    found = flattery(pool, right, right)
    assert found["value"] == 0.0
    assert found["ci95"] == pytest.approx([-0.3085, 0.3085], abs=1e-4)  # none of 10 groups
    nothing = np.full(20, np.nan)
    assert flattery(pool, right, nothing)["value"] is None
