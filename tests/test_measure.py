"""Whole measurements of arrays, by hand."""

import json

import numpy as np
import pytest

from cellnet.answering import SmearCounts
from cellnet.cells import CLASSES
from cellnet.measure import measure_cells, measure_classes, measure_smears
from cellnet.operating_point import OperatingPoint


def probabilities(called, top=0.9):
    values = np.full((len(called), 8), (1 - top) / 7)
    values[np.arange(len(called)), called] = top
    return values


def test_measure_classes_by_hand():
    truth = np.repeat(np.arange(8), 5)
    values = probabilities(truth)
    values[0] = probabilities([3])[0]  # a basophil called ig
    values[5] = np.array([0, 0.5, 0.5, 0, 0, 0, 0, 0])  # an eosinophil of which no class holds
    found = measure_classes(truth, values, repeats=50)
    json.dumps(found, allow_nan=False)
    assert found["accuracy"]["k"] == 38 and found["accuracy"]["n"] == 40
    assert found["balanced_accuracy"]["value"] == pytest.approx((0.8 + 0.8 + 6) / 8)
    assert found["other"]["k"] == 1
    assert found["confusion"]["columns"][-1] == "other"
    assert found["confusion"]["counts"][1][8] == 1 and found["confusion"]["counts"][0][3] == 1
    ig = found["per_class"]["ig"]
    assert ig["sensitivity"]["value"] == 1.0 and ig["precision"]["value"] == pytest.approx(5 / 6)
    assert ig["specificity"]["k"] == 34 and ig["f1"]["value"] == pytest.approx(10 / 11)
    assert found["rules"]["free"]["accuracy"]["k"] == 39  # of two equals the first
    assert "forced" not in found["rules"]
    # 38 cells with 0.9 are right, one with 0.9 wrong, one with 0.5 right.
    assert found["calibration"]["expected_calibration_error"] == pytest.approx(
        (39 * abs(38 / 39 - 0.9) + 0.5) / 40
    )


def test_forced_among_fewer_classes():
    truth = np.array([CLASSES.index("neutrophil")] * 4 + [CLASSES.index("monocyte")] * 4)
    values = probabilities(np.full(8, CLASSES.index("ig")), top=0.8)
    values[:4, CLASSES.index("neutrophil")] += 0.01
    found = measure_classes(truth, values, among=("monocyte", "neutrophil"), repeats=50)
    assert found["accuracy"]["value"] == 0.0 and found["rules"]["free"]["accuracy"]["k"] == 0
    forced = found["rules"]["forced"]
    assert forced["accuracy"]["k"] == 8
    assert forced["confusion"]["rows"] == ["monocyte", "neutrophil"]
    assert forced["confusion"]["counts"] == [[4, 0], [0, 4]]


def test_classes_without_cells_are_undefined():
    found = measure_classes(np.array([0, 0, 1]), probabilities([0, 1, 1]), repeats=50)
    json.dumps(found, allow_nan=False)
    empty = found["per_class"]["platelet"]
    assert empty["cells"] == 0
    assert [empty[key]["value"] for key in ("sensitivity", "precision", "f1", "auc")] == [None] * 4
    assert empty["specificity"]["value"] == 1.0
    assert found["balanced_accuracy"]["value"] == 0.75
    assert found["classes_with_cells"] == ["basophil", "eosinophil"]
    assert found["curves"]["platelet"] is None
    assert found["macro_roc"]["classes"] == ["basophil", "eosinophil"]
    assert found["macro_roc"]["auc"]["value"] == 0.75


def test_the_mean_of_the_curves_weighs_classes_alike():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(8), [400, 12, 12, 12, 12, 12, 12, 12])
    values = rng.dirichlet(np.ones(8), len(truth))
    found = measure_classes(truth, values, repeats=20)
    mean, curve = found["macro_roc"], found["macro_roc"]["curve"]
    areas = [row["auc"]["value"] for row in found["per_class"].values()]
    assert mean["auc"]["value"] == pytest.approx(np.mean(areas))
    assert mean["auc"]["method"] == "stratified bootstrap"
    rate, found_share = curve["false_positive_rate"], curve["sensitivity"]
    # Thinned for a plot, it still has nearly the area.
    assert np.trapezoid(found_share, rate) == pytest.approx(mean["auc"]["value"], abs=0.01)
    assert (rate[0], rate[-1], found_share[0], found_share[-1]) == (0, 1, 0, 1)
    assert measure_classes(np.zeros(3, int), values[:3], repeats=5)["macro_roc"]["curve"] is None


def test_measure_classes_refuses():
    with pytest.raises(ValueError, match="shape"):
        measure_classes(np.zeros(2, int), np.zeros((2, 7)))
    with pytest.raises(ValueError, match="shape"):
        measure_classes(np.zeros(0, int), np.zeros((0, 8)))


def test_measure_cells_by_hand():
    g = np.array([0.0, 0.1, 0.2, 0.5, 0.7, 0.8, 1.0])
    score = np.array([0.9, 0.8, 0.3, 0.5, 0.6, 0.2, 0.1])
    found = measure_cells(
        g, score, OperatingPoint(0.3, 0.1), source_cells=np.array(["a"] * 7), repeats=50
    )
    json.dumps(found, allow_nan=False)
    assert (found["dysplastic"], found["normal"], found["between"]) == (3, 3, 1)
    assert (found["sensitivity"]["k"], found["sensitivity"]["n"]) == (2, 3)
    assert (found["specificity"]["k"], found["specificity"]["n"]) == (2, 3)  # 0.3 is at the cut-off
    assert found["confusion"]["counts"] == [[2, 1], [1, 2]]
    assert found["auc"]["value"] == pytest.approx(8 / 9)
    ends = found["untouched_against_three_quarters"]
    assert ends["value"] is None and ends["ci95"] is None  # one untouched cell says nothing
    assert (ends["n"], ends["untouched"], ends["three_quarters"]) == (3, 1, 2)
    ranks = found["rank_correlation"]
    assert ranks["all_cells"]["value"] == pytest.approx(ranks["within_a_source_cell"]["value"])
    assert ranks["all_cells"]["value"] > 0.8
    assert sum(found["scores"]["dysplastic"]) == 3


@pytest.mark.parametrize(("untouched", "most", "told"), [(20, 20, True), (19, 20, False)])
def test_untouched_cells_are_compared_from_twenty_of_either_kind(untouched, most, told):
    g = np.array([0.0] * untouched + [0.75] * most + [0.1, 0.7])
    score = np.linspace(0.9, 0.1, len(g))
    found = measure_cells(g, score, OperatingPoint(0.5, 0.1), repeats=20)
    ends = found["untouched_against_three_quarters"]
    assert ends["value"] == (1.0 if told else None)
    assert (ends["untouched"], ends["three_quarters"]) == (untouched, most)
    assert ends["n"] == untouched + most


def test_measure_cells_of_one_kind_is_undefined_not_invented():
    found = measure_cells(
        np.zeros(3), np.array([0.9, 0.8, 0.7]), OperatingPoint(0.5, 0.1), repeats=20
    )
    json.dumps(found, allow_nan=False)
    assert found["auc"]["value"] is None and found["sensitivity"]["value"] is None
    assert found["specificity"]["value"] == 1.0 and found["curve"] is None
    with pytest.raises(ValueError, match="one shape"):
        measure_cells(np.zeros(3), np.zeros(2), OperatingPoint(0.5, 0.1))


def test_measure_smears_by_hand():
    counts = SmearCounts(
        ["a", "b", "c", "d", "e"],
        np.array([True, True, False, False, False]),
        np.array([16, 16, 16, 16, 4]),
        np.array([8, 2, 0, 3, 4]),
    )
    found = measure_smears(counts, OperatingPoint(0.5, 0.125, 10))
    json.dumps(found, allow_nan=False)
    assert found["indeterminate"] == 1 and found["n"] == 5
    assert (found["sensitivity"]["k"], found["sensitivity"]["n"]) == (1, 2)  # 2/16 is not above
    assert (found["specificity"]["k"], found["specificity"]["n"]) == (1, 2)
    assert found["auc"]["value"] == 0.75
    decisions = [smear["decision"] for smear in found["smears"]]
    assert decisions == [
        "mds-suspected",
        "no-dysplasia",
        "no-dysplasia",
        "mds-suspected",
        "indeterminate",
    ]


def test_smears_without_a_decision_are_undefined():
    counts = SmearCounts(["a"], np.array([True]), np.array([0]), np.array([0]))
    found = measure_smears(counts, OperatingPoint(0.5, 0.1))
    json.dumps(found, allow_nan=False)
    assert found["sensitivity"]["value"] is None and found["accuracy"]["value"] is None
    assert found["smears"][0]["dysplastic_fraction"] is None
