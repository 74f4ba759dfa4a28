"""The two comparisons, the fits, and the file with its refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

from cellnet.errors import CellnetError
from cellnet.operating_point import (
    OperatingPoint,
    fit_cutoff,
    fit_threshold,
    read_operating_point,
    write_operating_point,
)

CASES = json.loads((Path(__file__).parent / "cases" / "operating_point.json").read_text())
HASH = "ab" * 32


@pytest.fixture
def point():
    score = np.array([0.05, 0.1, 0.6, 0.55, 0.9, 0.95])
    dysplastic = np.array([True, True, True, False, False, False])
    cutoff, cell = fit_cutoff(dysplastic, score, fitted_on={"split": "test-by-cell"})
    fraction = np.array([0.3, 0.5, 0.05, 0.0])
    threshold, smear = fit_threshold(
        np.array([True, True, False, False]), fraction, fitted_on={"split": "test-by-smear"}
    )
    return OperatingPoint(
        cutoff,
        threshold,
        10,
        "dysplasianet",
        HASH,
        cell,
        smear,
        created="2026-01-01T00:00:00+00:00",
        cellnet="0.1.0",
    )


@pytest.mark.parametrize("case", CASES["cells"], ids=lambda case: case["why"])
def test_cell_cases(case):
    point = OperatingPoint(case["cutoff"], 0.1)
    assert point.is_dysplastic(case["score"]) is case["dysplastic"]
    assert point.is_dysplastic(np.array([case["score"]])).tolist() == [case["dysplastic"]]


@pytest.mark.parametrize("case", CASES["smears"], ids=lambda case: case["why"])
def test_smear_cases(case):
    point = OperatingPoint(0.5, case["threshold"], case["minimum_neutrophils"])
    assert point.is_suspected(case["dysplastic"], case["neutrophils"]) is case["suspected"]


def test_float32_scores_are_not_rounded_onto_the_cutoff():
    point = OperatingPoint(0.1, 0.1)
    score = np.float32(0.1)  # a little above 0.1
    assert float(score) > 0.1
    assert not point.is_dysplastic(score)
    assert not point.is_dysplastic(np.array([score]))[0]


def test_fit_by_hand(point):
    assert point.cutoff == pytest.approx((0.1 + 0.55) / 2)  # J 2/3, specificity 1, before 0.6..0.9
    assert point.cell.sensitivity["k"] == 2 and point.cell.sensitivity["n"] == 3
    assert point.cell.specificity["value"] == 1.0
    assert point.cell.auc["value"] == pytest.approx(8 / 9)
    assert point.cell.fitted_on == {
        "split": "test-by-cell",
        "cells": 6,
        "dysplastic": 3,
        "normal": 3,
    }
    assert point.threshold == pytest.approx(0.175)
    assert point.smear.fitted_on["mds"] == 2 and point.smear.fitted_on["healthy"] == 2


def test_whatever_smears_are_drawn_the_threshold_lies_between_them():
    """Each threshold from the highest healthy share to the lowest with MDS does the same."""
    mds = np.arange(24) < 12
    cut, fit = fit_threshold(mds, np.where(mds, 0.3, 0.05) + 0.01 * (np.arange(24) % 12) * mds)
    assert fit.cut["value"] == cut == pytest.approx(0.175)
    assert fit.cut["ci95"] == [0.05, pytest.approx(0.3)]


def test_both_cuts_are_refitted(point):
    for cut, fit in ((point.cutoff, point.cell), (point.threshold, point.smear)):
        assert fit.cut["value"] == cut
        assert fit.cut["ci95"] is None  # of so few of a kind
        assert fit.cut["method"] == "stratified bootstrap"
    assert (point.cell.cut["n"], point.smear.cut["n"]) == (6, 4)


def test_cuts_of_patients_with_several_smears_are_less_certain():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(24), 5)
    mds = patients % 2 == 0
    share = np.clip(0.15 + 0.2 * mds + rng.normal(0, 0.08, 24)[patients], 0, 1)
    share += rng.uniform(0, 0.01, 120)
    (same, alone), (cut, tied) = fit_threshold(mds, share), fit_threshold(mds, share, patients)
    assert same == cut
    assert tied.cut["method"] == "bootstrap by group"
    widths = [fit.cut["ci95"][1] - fit.cut["ci95"][0] for fit in (alone, tied)]
    assert widths[1] > widths[0]


def test_a_file_of_before_has_no_interval_and_is_read(tmp_path, point):
    document = point.to_json()
    for part in ("cell", "smear"):
        del document[part]["cut"]
    (tmp_path / "operating_point.json").write_text(json.dumps(document))
    found = read_operating_point(tmp_path, HASH)
    assert found.cell.cut is None and found.smear.cut is None
    assert found.to_json() == document


def test_a_cut_without_an_interval_is_written_and_read(tmp_path, point):
    """Where refits find no cut there is none, and that was found out."""
    document = point.to_json()
    document["cell"]["cut"]["ci95"] = None
    (tmp_path / "operating_point.json").write_text(json.dumps(document))
    assert read_operating_point(tmp_path, HASH).cell.cut["ci95"] is None


def test_counts_at_the_fitted_cut_equal_the_comparison(point):
    score = np.array([0.05, 0.1, 0.6, 0.55, 0.9, 0.95])
    assert point.is_dysplastic(score).sum() == 2


def test_fit_refuses_what_cannot_be_fitted():
    with pytest.raises(CellnetError, match="both kinds"):
        fit_cutoff(np.array([True, True]), np.array([0.1, 0.2]))
    with pytest.raises(CellnetError, match="better than guessing"):
        fit_cutoff(np.array([True, False]), np.array([0.9, 0.1]))
    with pytest.raises(CellnetError, match="better than guessing"):
        fit_threshold(np.array([True, False]), np.array([0.0, 0.0]))


def test_write_and_read_again(tmp_path, point):
    file = write_operating_point(tmp_path, point)
    assert file == tmp_path / "operating_point.json"
    assert [path.name for path in tmp_path.iterdir()] == ["operating_point.json"]
    assert read_operating_point(tmp_path, HASH) == point
    assert read_operating_point(file) == point
    document = json.loads(file.read_text())
    assert document["schema"] == "cellnet/operating-point/1"
    assert document["cell"]["comparison"] == "dysplastic where score <= cutoff"
    assert document["smear"]["comparison"] == "mds-suspected where dysplastic_fraction > threshold"


def test_missing_file_names_the_remedy_and_no_default(tmp_path):
    with pytest.raises(CellnetError, match="cellnet calibrate"):
        read_operating_point(tmp_path)


def test_other_weights_are_refused(tmp_path, point):
    write_operating_point(tmp_path, point)
    with pytest.raises(CellnetError, match="abababababab.*cdcdcdcdcdcd"):
        read_operating_point(tmp_path, "cd" * 32)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: d.update(schema="x"), "schema"),
        (lambda d: d["cell"].pop("cutoff"), "cell.cutoff"),
        (lambda d: d["cell"].update(cutoff="0.5"), "cutoff must be a number"),
        (lambda d: d["cell"].update(cutoff=True), "cutoff must be a number"),
        (lambda d: d["smear"].update(threshold=1.5), "threshold must be a number"),
        (lambda d: d["cell"].update(comparison="score < cutoff"), "cell.comparison"),
        (lambda d: d["cell"].update(fitted_on={}), "split"),
        (lambda d: d["smear"]["auc"].pop("ci95"), "smear.auc"),
        (lambda d: d["cell"].pop("criterion"), "criterion"),
        (lambda d: d["smear"].pop("youden"), "youden"),
        (lambda d: d.update(minimum_neutrophils=0), "minimum_neutrophils"),
        (lambda d: d.pop("minimum_neutrophils"), "minimum_neutrophils"),
        (lambda d: d.update(weights_sha256=""), "weights_sha256"),
        (lambda d: d.update(also=3), "also"),
        (lambda d: d.pop("smear"), "smear.threshold"),
        (lambda d: d["cell"].update(cut=0.5), "cell.cut must hold"),
        (lambda d: d["cell"]["cut"].update(ci95=[0.1]), "cell.cut must hold"),
        (lambda d: d["smear"]["cut"].update(value=0.9), "smear.cut is of 0.9.*threshold is 0.175"),
    ],
)
def test_damaged_files_are_refused(tmp_path, point, change, message):
    document = point.to_json()
    change(document)
    (tmp_path / "operating_point.json").write_text(json.dumps(document))
    with pytest.raises(CellnetError, match=message):
        read_operating_point(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema": NaN}'])
def test_what_is_no_operating_point_is_refused(tmp_path, text):
    (tmp_path / "operating_point.json").write_text(text)
    with pytest.raises(CellnetError, match="operating"):
        read_operating_point(tmp_path)


def test_writing_where_there_is_no_folder(tmp_path, point):
    with pytest.raises(CellnetError, match="cannot write"):
        write_operating_point(tmp_path / "none" / "operating_point.json", point)


@pytest.mark.parametrize("values", [(-0.1, 0.1), (0.5, float("nan")), (0.5, 2.0)])
def test_cuts_outside_their_range_are_refused(values):
    with pytest.raises(CellnetError, match="must be a number"):
        OperatingPoint(*values)


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="between 0"):
        OperatingPoint(0.5, 0.1).is_suspected(3, 2)
