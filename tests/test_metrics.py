"""Per-class metrics, calibration and rank correlation, by hand and against scikit-learn."""

import json
import subprocess
import sys

import numpy as np
import pytest

from cellnet.intervals import clopper_pearson
from cellnet.metrics import (
    balanced_accuracy,
    calibration_error,
    confusion_matrix,
    f1_scores,
    one_against_all,
    reliability,
    sign_test,
    spearman,
    spearman_within,
)

TRUTH = np.array([0, 0, 0, 1, 1, 2])
CALLED = np.array([0, 0, 1, 1, 3, 2])  # 3 is "other"


def test_confusion_matrix_by_hand():
    matrix = confusion_matrix(TRUTH, CALLED, 3, 4)
    assert matrix.tolist() == [[2, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    doubled = confusion_matrix(TRUTH, CALLED, 3, 4, weights=np.full(6, 2))
    assert (doubled == 2 * matrix).all()


@pytest.mark.parametrize(
    "truth, called", [([0, 3], [0, 0]), ([0], [4]), ([0, 1], [0]), ([-1], [0])]
)
def test_confusion_matrix_refuses(truth, called):
    with pytest.raises(ValueError, match="must"):
        confusion_matrix(np.array(truth), np.array(called), 3, 4)


def test_one_against_all_by_hand():
    found = one_against_all(TRUTH, CALLED, 1)
    assert (found["sensitivity"].k, found["sensitivity"].n) == (1, 2)
    assert (found["specificity"].k, found["specificity"].n) == (3, 4)
    assert (found["precision"].k, found["precision"].n) == (1, 2)
    assert found["specificity"].ci95 == clopper_pearson(3, 4)
    never = one_against_all(TRUTH, np.zeros(6, dtype=int), 2)
    assert never["precision"].value is None and never["sensitivity"].value == 0.0


def test_balanced_accuracy_and_f1_by_hand():
    found = balanced_accuracy(TRUTH, CALLED, 3, 4, repeats=200)
    assert found.value == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert found.ci95[0] <= found.value <= found.ci95[1]
    scores = f1_scores(TRUTH, CALLED, 3, 4, repeats=200)
    assert [score.value for score in scores] == pytest.approx([4 / 5, 2 / 4, 1.0])


def test_equals_sklearn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 8, 900)
    called = np.where(rng.random(900) < 0.8, truth, rng.integers(0, 8, 900))
    assert (confusion_matrix(truth, called, 8) == metrics.confusion_matrix(truth, called)).all()
    found = balanced_accuracy(truth, called, 8, repeats=50)
    assert found.value == pytest.approx(metrics.balanced_accuracy_score(truth, called))
    scores = [score.value for score in f1_scores(truth, called, 8, repeats=50)]
    assert scores == pytest.approx(metrics.f1_score(truth, called, average=None))
    for label in range(8):
        shares = one_against_all(truth, called, label)
        assert shares["precision"].value == pytest.approx(
            metrics.precision_score(truth == label, called == label)
        )
        assert shares["specificity"].value == pytest.approx(
            metrics.recall_score(truth != label, called != label)
        )


def test_classes_without_cells_are_undefined_and_not_averaged():
    truth, called = np.array([0, 0, 2]), np.array([0, 1, 2])
    assert balanced_accuracy(truth, called, 3, repeats=50).value == 0.75
    assert f1_scores(truth, called, 3, repeats=50)[1].value is None
    assert balanced_accuracy(np.zeros(0, int), np.zeros(0, int), 3).value is None
    assert f1_scores(np.zeros(0, int), np.zeros(0, int), 3)[0].value is None


def test_perfect_answers_still_have_an_interval():
    truth = np.repeat(np.arange(4), 25)
    found = balanced_accuracy(truth, truth, 4, repeats=50)
    assert found.value == 1.0 and found.method == "combined exact intervals"
    miss = 1 - clopper_pearson(25, 25)[0]
    assert found.ci95 == (pytest.approx(1 - miss / 2), 1.0)  # sqrt(4 miss^2) / 4
    score = f1_scores(truth, truth, 4, repeats=50)[0]
    low = clopper_pearson(25, 25)[0]
    assert score.ci95 == (pytest.approx(2 * low / (1 + low)), 1.0)


def test_f1_of_a_handful_of_cells_is_exact():
    truth = np.repeat([0, 1], [40, 3])
    called = truth.copy()
    called[[0, 1, 40]] = [1, 1, 0]
    many, few = f1_scores(truth, called, 2, repeats=200)
    assert (many.method, few.method) == ("stratified bootstrap", "exact on TP/(TP+FP+FN)")
    low, high = clopper_pearson(2, 5)
    assert few.value == pytest.approx(4 / 7)
    assert few.ci95 == (pytest.approx(2 * low / (1 + low)), pytest.approx(2 * high / (1 + high)))


def test_groups_widen_the_interval():
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(60), 10)
    truth = groups % 3
    called = np.where((rng.random(60) < 0.7)[groups], truth, (truth + 1) % 3)
    alone = balanced_accuracy(truth, called, 3, repeats=300)
    grouped = balanced_accuracy(truth, called, 3, groups=groups, repeats=300)
    assert grouped.value == alone.value
    assert grouped.ci95[1] - grouped.ci95[0] > 2 * (alone.ci95[1] - alone.ci95[0])


def test_reliability_by_hand():
    confidence = np.array([0.0, 0.25, 0.5, 0.74, 1.0])
    right = np.array([False, True, False, True, True])
    rows = reliability(confidence, right, bins=4)
    assert [row["n"] for row in rows] == [1, 1, 2, 1]
    assert rows[2]["confidence"] == pytest.approx(0.62) and rows[2]["right"] == 0.5
    assert reliability(confidence[:1], right[:1], bins=4)[3]["right"] is None
    expected = (0.0 + 0.75 + 2 * 0.12 + 0.0) / 5
    assert calibration_error(confidence, right, bins=4) == pytest.approx(expected)
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) is None
    with pytest.raises(ValueError, match="probabilities"):
        reliability(np.array([1.5]), np.array([True]))


def test_spearman_by_hand_and_scipy():
    assert spearman(np.array([1, 2, 3]), np.array([10, 20, 15])) == pytest.approx(0.5)
    assert spearman(np.array([1, 1, 1]), np.array([1, 2, 3])) is None
    assert spearman(np.array([1]), np.array([1])) is None
    with pytest.raises(ValueError, match="one shape"):
        spearman(np.array([1, 2]), np.array([1]))
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 9, 100), rng.integers(0, 9, 100)
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)


def test_spearman_within_groups():
    groups = np.array(["a", "b", "a", "b", "a", "b", "", "c"])
    g = np.array([0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 0.3, 0.2])
    score = np.array([0.9, 0.8, 0.5, 0.9, 0.1, 0.2, 0.5, 0.5])
    found = spearman_within(score, 1 - g, groups, repeats=50)
    assert found.n == 2  # c has one version, the nameless one no group
    assert found.value == pytest.approx((1.0 + 0.5) / 2)
    assert spearman_within(score[:2], g[:2], groups[:2]).value is None
    flat = spearman_within(np.ones(3), np.arange(3), np.array(["a"] * 3), repeats=10)
    assert flat.value == 0.0


def test_order_within_a_handful_of_cells_has_no_interval():
    left = np.tile([1.0, 0.5, 0.0], 12)
    groups = np.repeat([f"cell {at}" for at in range(12)], 3)
    score = left.copy()
    score[:2] = 0.5, 1.0
    many = spearman_within(score, left, groups)
    assert many.n == 12 and many.ci95[0] < many.value < 1
    assert spearman_within(score[:27], left[:27], groups[:27]).ci95 is None
    # Twelve cells that all agree do not say that the next one will.
    assert spearman_within(left, left, groups).ci95 is None


def test_needs_numpy_alone():
    code = (
        "import sys, json; import cellnet.metrics, cellnet.operating_point;"
        "print(json.dumps([m for m in ('scipy', 'sklearn', 'tensorflow', 'matplotlib', 'cv2')"
        " if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == []


def test_the_sign_test_by_hand_and_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    difference = np.array([1.0] * 7 + [-1.0] * 2 + [0.0] * 30)
    assert sign_test(difference) == pytest.approx(2 * (1 + 9 + 36) / 2**9)
    assert sign_test(difference) == pytest.approx(stats.binomtest(2, 9).pvalue)
    assert sign_test(-difference) == sign_test(difference)
    assert sign_test(np.zeros(5)) == sign_test(np.zeros(0)) == 1.0
    assert sign_test(np.array([1.0, -1.0])) == 1.0


def test_the_sign_test_counts_a_group_once():
    difference = np.array([1.0] * 6 + [-1.0] * 2)
    groups = np.array(["a"] * 4 + ["b", "", "b", "c"])
    # a is for the first, b even, the one without a name for the first, c for the second.
    assert sign_test(difference, groups) == 1.0
    assert sign_test(difference, np.array([*"abcdef", "", ""])) == sign_test(difference)
