"""ROC curves, areas and cuts, by hand and against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellnet.roc import area, auc, midranks, roc_curve, youden


def test_roc_by_hand_with_a_tie():
    positive = np.array([True, True, False, True, False])
    score = np.array([0.9, 0.5, 0.5, 0.4, 0.1])
    curve = roc_curve(positive, score)
    assert np.allclose(curve.cuts, [math.inf, 0.7, 0.45, 0.25, -math.inf])
    assert curve.true_positives.tolist() == [0, 1, 2, 3, 3]
    assert curve.false_positives.tolist() == [0, 0, 1, 1, 2]
    assert area(positive, score) == pytest.approx((1 + 0.5 + 0 + 1 + 1 + 1) / 6)


def test_lower_turns_the_curve():
    positive = np.array([True, True, False, False])
    score = np.array([0.1, 0.6, 0.5, 0.9])
    curve = roc_curve(positive, score, lower=True)
    assert np.allclose(curve.cuts, [-math.inf, 0.3, 0.55, 0.75, math.inf])
    assert curve.true_positives.tolist() == [0, 1, 1, 2, 2]
    assert curve.false_positives.tolist() == [0, 0, 1, 1, 2]
    assert area(positive, score, lower=True) == 0.75
    assert area(positive, score) == 0.25


def test_youden_takes_the_middle_of_the_gap():
    choice = youden(roc_curve(np.array([1, 1, 0, 0], bool), np.array([0.1, 0.2, 0.8, 0.9]), True))
    assert (choice.cut, choice.youden) == (0.5, 1.0)
    assert (choice.sensitivity, choice.specificity) == (1.0, 1.0)


@pytest.mark.parametrize("lower", [False, True])
def test_youden_takes_the_highest_specificity_of_equal_j(lower):
    # Positives 4, 2; negatives 3, 1: J = 1/2 above 3.5 (specificity 1) and above 1.5 (1/2).
    score = np.array([4.0, 2.0, 3.0, 1.0])
    positive = np.array([True, True, False, False])
    choice = youden(roc_curve(positive, -score if lower else score, lower))
    assert choice.cut == (-3.5 if lower else 3.5)
    assert choice.specificity == 1.0 and choice.sensitivity == 0.5


def test_youden_tells_where_nothing_is_better_than_guessing():
    choice = youden(roc_curve(np.array([True, False]), np.array([0.3, 0.3])))
    assert not math.isfinite(choice.cut) and choice.youden == 0.0


def test_cut_between_neighbouring_floats_serves_both_comparisons():
    low = 0.5
    high = np.nextafter(low, 1.0)
    for lower, positive in ((True, [True, False]), (False, [False, True])):
        cut = youden(roc_curve(np.array(positive), np.array([low, high]), lower)).cut
        assert low <= cut < high


@pytest.mark.parametrize(
    "positive, score, message",
    [
        ([True, True], [0.1, 0.2], "positives and negatives"),
        ([True, False], [0.1, math.nan], "finite"),
        ([True, False], [0.1], "one shape"),
    ],
)
def test_roc_refuses(positive, score, message):
    with pytest.raises(ValueError, match=message):
        roc_curve(np.array(positive), np.array(score))


def test_midranks():
    assert midranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


pairs = st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=60).filter(
    lambda items: len({item[0] for item in items}) == 2
)


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_curve_and_area_agree_with_counting(items):
    positive = np.array([item[0] for item in items])
    score = np.array([item[1] / 12 for item in items])
    for lower in (False, True):
        curve = roc_curve(positive, score, lower)
        for cut, tp, fp in zip(
            curve.cuts, curve.true_positives, curve.false_positives, strict=True
        ):
            called = score <= cut if lower else score > cut
            assert (called & positive).sum() == tp and (called & ~positive).sum() == fp
        best = (curve.sensitivity + curve.specificity - 1).max()
        assert youden(curve).youden == pytest.approx(best, abs=1e-12)
        trapezia = np.trapezoid(curve.sensitivity, 1 - curve.specificity)
        assert area(positive, score, lower) == pytest.approx(trapezia, abs=1e-12)


def test_area_equals_sklearn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    positive = rng.random(500) < 0.3
    score = np.round(rng.random(500) + 0.4 * positive, 2)
    assert area(positive, score) == pytest.approx(metrics.roc_auc_score(positive, score))
    curve = roc_curve(positive, score)
    fpr, tpr, _ = metrics.roc_curve(positive, score, drop_intermediate=False)
    assert np.allclose(fpr, 1 - curve.specificity) and np.allclose(tpr, curve.sensitivity)


def test_delong_by_definition():
    rng = np.random.default_rng(1)
    high, low = np.round(rng.normal(1, 1, 40), 1), np.round(rng.normal(0, 1, 60), 1)
    wins = (high[:, None] > low).astype(float) + 0.5 * (high[:, None] == low)
    variance = wins.mean(axis=1).var(ddof=1) / 40 + wins.mean(axis=0).var(ddof=1) / 60
    found = auc(np.arange(100) < 40, np.concatenate([high, low]))
    assert found.method == "delong"
    assert found.value == pytest.approx(wins.mean())
    half = 1.959963984540054 * math.sqrt(variance)
    assert found.ci95 == pytest.approx((wins.mean() - half, min(1.0, wins.mean() + half)))


def test_auc_of_complete_separation_has_an_interval():
    found = auc(np.arange(60) < 30, np.arange(60.0), lower=True)
    assert found.value == 1.0 and found.method == "newcombe"
    assert 0.9 < found.ci95[0] < 0.95 and found.ci95[1] == 1.0
    more = auc(np.arange(600) < 300, np.arange(600.0), lower=True)
    assert found.ci95[0] < more.ci95[0] < 1.0


def test_the_interval_near_one_holds_the_true_area():
    rng = np.random.default_rng(3)
    positive = np.arange(200) < 100
    # Two normals 4.37 apart: the area between them is 0.999.
    found = [auc(positive, rng.normal(0, 1, 200) + 4.370 * positive).ci95 for _ in range(300)]
    assert np.mean([low <= 0.999 <= high for low, high in found]) >= 0.95


def test_auc_by_group_is_wider():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(40), 10)
    positive = groups % 2 == 0
    score = positive + rng.normal(0, 1.5, 40)[groups] + rng.normal(0, 0.01, 400)
    alone, grouped = auc(positive, score), auc(positive, score, groups=groups, repeats=500)
    assert grouped.method == "bootstrap by group"
    assert grouped.ci95[1] - grouped.ci95[0] > 2 * (alone.ci95[1] - alone.ci95[0])


def test_auc_of_one_class_is_undefined():
    assert auc(np.array([True, True]), np.array([0.1, 0.2])).value is None
    assert area(np.array([True]), np.array([0.1])) is None


def test_auc_with_a_single_positive_has_an_interval():
    found = auc(np.array([True, False, False]), np.array([0.5, 0.4, 0.6]))
    assert found.value == 0.5 and found.method == "newcombe"
    assert 0.0 <= found.ci95[0] < 0.5 < found.ci95[1] <= 1.0
