"""Measures of hard answers, against numbers worked out by hand."""

import numpy as np
import pytest

from cellnet.answer_measures import measure_answers

NAMES = ("a", "b", "c")


def test_shares_and_their_average():
    truth = np.array([0, 0, 0, 0, 1, 1])
    called = np.array([0, 0, 0, 1, 1, 2])
    found = measure_answers(truth, called, NAMES, repeats=50)
    assert found["n"] == 6
    assert found["accuracy"]["value"] == pytest.approx(4 / 6)
    assert found["balanced_accuracy"]["value"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    a, b, c = (found["per_class"][name] for name in NAMES)
    assert (a["sensitivity"]["value"], a["specificity"]["value"]) == (0.75, 1.0)
    assert (b["cells"], b["called"], b["precision"]["value"]) == (2, 2, 0.5)
    assert c["sensitivity"]["value"] is None and c["precision"]["value"] == 0.0
    assert found["confusion"]["counts"] == [[3, 1, 0], [0, 1, 1], [0, 0, 0]]
    # A class without cells takes no part in the averages; the spread is that of a sample.
    sensitivity = found["average"]["sensitivity"]
    assert sensitivity["mean"] == pytest.approx(0.625) and sensitivity["classes"] == 2
    assert sensitivity["sd"] == pytest.approx(np.sqrt(2 * 0.125**2))


def test_a_class_that_is_never_called_has_no_precision():
    found = measure_answers(np.array([0, 1]), np.array([0, 0]), ("a", "b"), repeats=10)
    assert found["per_class"]["b"]["precision"]["value"] is None
    assert found["average"]["precision"] == {"mean": 0.5, "sd": None, "classes": 1}


def test_cells_of_one_patient_widen_the_interval():
    truth = np.repeat([0, 1], 40)
    called = np.where(np.arange(80) % 40 < 20, truth, 1 - truth)
    alone = measure_answers(truth, called, ("a", "b"), repeats=50)["accuracy"]["ci95"]
    tied = np.repeat(np.arange(4), 20)
    wider = measure_answers(truth, called, ("a", "b"), tied, repeats=50)["accuracy"]["ci95"]
    assert wider[1] - wider[0] > alone[1] - alone[0]


def test_nothing_to_measure_is_an_error():
    with pytest.raises(ValueError, match="no cell"):
        measure_answers(np.array([]), np.array([]), NAMES)
