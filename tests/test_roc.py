"""ROC curves, areas and cuts, by hand and against scikit-learn."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellnet import roc
from cellnet.auc import area, macro_auc
from cellnet.roc import cut_estimate, macro_curve, roc_curve, weighted_youden, youden


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


# --- the mean of several curves ------------------------------------------------------------------


def test_a_mean_curve_by_hand():
    one = roc_curve(np.array([True, True, False, False]), np.array([4.0, 2.0, 3.0, 1.0]))
    other = roc_curve(np.array([True, False]), np.array([1.0, 2.0]))
    rate, mean = macro_curve([one, other])
    # One rises to 1/2 at 0 and to 1 at 1/2, the other from 0 to 1 at 1.
    assert rate.tolist() == [0, 0, 0.5, 0.5, 1, 1]
    assert mean.tolist() == [0, 0.25, 0.25, 0.5, 0.5, 1]
    with pytest.raises(ValueError, match="one or more"):
        macro_curve([])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([0, 1, 3]))
def test_the_area_of_the_mean_is_the_mean_of_the_areas(seed, classes, digits):
    """Ties too: where a class's scores are equal its curve is a slope."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, 30)])
    scores = np.round(rng.normal(size=(len(truth), classes)), digits)
    scores[np.arange(len(truth)), truth] += rng.uniform(0, 3)
    curves = [roc_curve(truth == label, scores[:, label]) for label in range(classes)]
    rate, mean = macro_curve(curves)
    assert (rate[0], rate[-1], mean[0], mean[-1]) == (0, 1, 0, 1)
    assert (np.diff(rate) >= 0).all() and (np.diff(mean) >= -1e-12).all()
    wanted = np.mean([area(truth == label, scores[:, label]) for label in range(classes)])
    assert np.trapezoid(mean, rate) == pytest.approx(wanted)
    assert macro_auc(truth, scores, repeats=2).value == pytest.approx(wanted)


# --- the interval of a cut -----------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(pairs, st.data())
def test_resampled_cuts_are_fitted_as_copies_would_be(items, data):
    positive = np.array([item[0] for item in items])
    score = np.array([item[1] / 12 for item in items])
    size = len(items)
    weights = np.array(data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)))
    copies = np.repeat(np.arange(size), weights)
    for lower in (False, True):
        found = weighted_youden(positive, score, lower)(weights)
        if len(set(positive[copies].tolist())) < 2:
            assert math.isnan(found)
            continue
        cut = youden(roc_curve(positive[copies], score[copies], lower)).cut
        assert found == cut if math.isfinite(cut) else math.isnan(found)


def test_the_interval_of_a_cut_by_hand(monkeypatch):
    """Two items a kind: each sample is one of nine, and its cut is seen at once."""
    monkeypatch.setattr(roc, "FEWEST", 2)
    positive = np.array([False, False, True, True])
    score = np.array([0.1, 0.2, 0.4, 0.8])
    found = cut_estimate(positive, score)
    assert found.value == pytest.approx(0.3) and found.n == 4
    # Lowest: (0.1 + 0.4) / 2 is 0.25, highest: (0.2 + 0.8) / 2 is 0.5, both in one sample of
    # sixteen or more; but anywhere from 0.2 to 0.4 the cut does the same.
    assert found.ci95 == (pytest.approx(0.2), pytest.approx(0.5))
    assert found.method == "stratified bootstrap"
    assert cut_estimate(positive, score) == found  # seeded
    turned = cut_estimate(positive, -score, lower=True)
    assert turned.ci95 == (pytest.approx(-0.5), pytest.approx(-0.2))


def test_a_cut_of_groups_is_less_certain():
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(24), 20)
    positive = groups % 2 == 0
    score = 2.0 * positive + rng.normal(0, 1, 24)[groups] + rng.normal(0, 0.1, 480)
    alone, grouped = cut_estimate(positive, score), cut_estimate(positive, score, groups=groups)
    assert grouped.value == alone.value == youden(roc_curve(positive, score)).cut
    assert grouped.method == "bootstrap by group"
    assert grouped.ci95[1] - grouped.ci95[0] > 1.5 * (alone.ci95[1] - alone.ci95[0])
    assert grouped.ci95[0] <= grouped.value <= grouped.ci95[1]


def test_the_interval_holds_the_best_cut_also_where_the_kinds_are_far_apart():
    """Without the gap between the kinds, where every cut does the same, 85 times of a hundred."""
    rng = np.random.default_rng(1)
    positive = np.arange(60) < 30
    found = [
        cut_estimate(positive, rng.normal(0, 1, 60) + 6 * positive, repeats=200).ci95
        for _ in range(200)
    ]
    assert np.mean([low <= 3 <= high for low, high in found]) >= 0.95


def test_thousands_of_scores_are_fitted_again_in_seconds():
    rng = np.random.default_rng(0)
    positive = np.arange(4000) % 2 == 0
    began = time.process_time()
    found = cut_estimate(positive, rng.normal(size=4000) + 2 * positive)
    assert time.process_time() - began < 15  # 0.7 s where nothing else is done
    assert 0.5 < found.ci95[0] < found.value < found.ci95[1] < 1.5


def test_cuts_without_an_interval():
    nothing = cut_estimate(np.array([True, False]), np.array([0.3, 0.3]))
    assert nothing.value is None and nothing.ci95 is None
    # One sample of four holds the lower positive alone, and no cut beats guessing there.
    hardly = cut_estimate(np.array([1, 1, 0, 0], bool), np.array([1.0, 3.0, 2.0, 2.0]))
    assert hardly.value == 2.5 and hardly.ci95 is None
    with pytest.raises(ValueError, match="positives and negatives"):
        cut_estimate(np.array([True, True]), np.array([0.1, 0.2]))


def test_a_cut_of_a_handful_of_units_has_no_interval():
    """Fifty cells of one patient against fifty of another: every sample is the same."""
    rng = np.random.default_rng(0)
    score = np.concatenate([rng.normal(0.4, 0.1, 50), rng.normal(0.7, 0.1, 50)])
    positive = np.arange(100) < 50
    alone = cut_estimate(positive, score, True)
    assert alone.ci95[0] < alone.value < alone.ci95[1]
    of_two = cut_estimate(positive, score, True, np.where(positive, "A", "B"))
    assert of_two.value == alone.value and of_two.ci95 is None
