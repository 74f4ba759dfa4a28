"""Areas under ROC curves, by hand and against scikit-learn."""

import math

import numpy as np
import pytest

from cellnet.auc import area, auc, macro_auc, midranks, weighted_area
from cellnet.roc import roc_curve


def test_midranks():
    assert midranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


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


def test_auc_of_a_handful_of_groups_takes_newcombes_interval():
    """Bootstrap samples of four patients hardly differ."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(20), 10)
    positive = groups % 2 == 0
    score = rng.normal(size=200) + positive
    many = auc(positive, score, groups=groups)
    few = auc(positive, score, groups=groups % 8)
    assert (many.method, few.method) == ("bootstrap by group", "newcombe")
    assert few.value == many.value
    assert np.diff(few.ci95) > 1.5 * np.diff(many.ci95)


def test_areas_of_a_handful_of_cells_take_newcombes_interval():
    """With three positives DeLong's held the true area 73 times in a hundred."""
    rng = np.random.default_rng(2)
    positive = np.arange(100) < 3
    score = rng.normal(size=100) + 1.5 * positive
    few = auc(positive, score)
    assert few.method == "newcombe" and np.diff(few.ci95) > 0.3
    truth = np.repeat([0, 1, 2], [50, 50, 3])
    scores = rng.normal(size=(103, 3))
    scores[np.arange(103), truth] += 1
    assert macro_auc(truth, scores, repeats=50).method == "combined newcombe"


def test_auc_of_one_class_is_undefined():
    assert auc(np.array([True, True]), np.array([0.1, 0.2])).value is None
    assert area(np.array([True]), np.array([0.1])) is None


def test_auc_with_a_single_positive_has_an_interval():
    found = auc(np.array([True, False, False]), np.array([0.5, 0.4, 0.6]))
    assert found.value == 0.5 and found.method == "newcombe"
    assert 0.0 <= found.ci95[0] < 0.5 < found.ci95[1] <= 1.0


def test_the_mean_area_has_a_bootstrap_interval():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    scores = rng.normal(size=(200, 3))
    scores[np.arange(200), truth] += 1
    found = macro_auc(truth, scores, repeats=300)
    assert found.method == "stratified bootstrap" and found.n == 200
    assert found.ci95[0] < found.value < found.ci95[1]
    assert found.ci95[1] - found.ci95[0] < 0.12
    groups = np.repeat(np.arange(50), 4)
    assert macro_auc(truth, scores, groups, repeats=50).method == "bootstrap by group"


def test_mean_areas_at_the_end_and_without_classes():
    truth = np.arange(16) % 4
    perfect = macro_auc(truth, np.eye(4)[truth], repeats=50)
    assert perfect.value == 1 and perfect.method == "combined newcombe"
    assert 0.7 < perfect.ci95[0] < 1 and perfect.ci95[1] == 1
    alone = macro_auc(np.zeros(5, int), np.ones((5, 3)))
    assert alone.value is None and alone.ci95 is None
    # A class without cells has no curve and no part in the mean.
    part = macro_auc(np.array([0, 0, 1, 1]), np.array([[2, 1, 0], [1, 2, 0], [0, 3, 0], [1, 2, 0]]))
    assert part.value == pytest.approx(0.875)


def test_resampled_areas_count_as_copies_would():
    rng = np.random.default_rng(2)
    positive = rng.random(30) < 0.4
    score = np.round(rng.normal(size=30), 1)
    weights = rng.integers(0, 3, 30)
    copies = np.repeat(np.arange(30), weights)
    found = weighted_area(positive, score)(weights)
    assert found == pytest.approx(area(positive[copies], score[copies]))
    assert math.isnan(weighted_area(positive, score)(weights * positive))
