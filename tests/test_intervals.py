"""Exact intervals against SciPy and by hand; the bootstrap against known spreads."""

import math

import numpy as np
import pytest

from cellnet.intervals import (
    bootstrap_interval,
    bootstrap_weights,
    clopper_pearson,
    distinct_groups,
    proportion,
    t_quantile,
)
from cellnet.metrics import balanced_accuracy


def test_clopper_pearson_by_hand():
    # k = 0: (1 - p)^n = 0.025, and its mirror image.
    low, high = clopper_pearson(0, 10)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025 ** (1 / 10), abs=1e-12)
    assert clopper_pearson(10, 10) == (pytest.approx(0.025 ** (1 / 10), abs=1e-12), 1.0)
    assert clopper_pearson(0, 1) == (0.0, pytest.approx(0.975))


@pytest.mark.parametrize("n", [1, 2, 7, 30, 61, 1000, 250_000])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_clopper_pearson_equals_scipy(n, level):
    beta = pytest.importorskip("scipy.stats").beta
    for k in {0, 1, n // 10, n // 2, n - 1, n}:
        low, high = clopper_pearson(k, n, level)
        tail = (1 - level) / 2
        assert low == pytest.approx(0.0 if k == 0 else beta.ppf(tail, k, n - k + 1), abs=1e-11)
        assert high == pytest.approx(1.0 if k == n else beta.ppf(1 - tail, k + 1, n - k), abs=1e-11)
        assert 0.0 <= low <= k / n <= high <= 1.0


@pytest.mark.parametrize("k, n", [(0, 0), (-1, 5), (6, 5), (1, math.nan), (math.nan, 5)])
def test_clopper_pearson_refuses(k, n):
    with pytest.raises(ValueError, match="must"):
        clopper_pearson(k, n)


def test_clopper_pearson_refuses_a_level_outside():
    with pytest.raises(ValueError, match="level"):
        clopper_pearson(1, 5, 1.0)


# Two-sided 95 % and 99 % columns of the printed tables of Student's distribution.
@pytest.mark.parametrize(
    "freedom, at_95, at_99",
    [
        (1, 12.706, 63.657),
        (2, 4.303, 9.925),
        (5, 2.571, 4.032),
        (9, 2.262, 3.250),
        (29, 2.045, 2.756),
        (120, 1.980, 2.617),
        (10_000_000, 1.960, 2.576),
    ],
)
def test_t_quantile_equals_the_tables(freedom, at_95, at_99):
    assert t_quantile(freedom) == pytest.approx(at_95, abs=5e-4)
    assert t_quantile(freedom, 0.99) == pytest.approx(at_99, abs=5e-4)


@pytest.mark.parametrize("freedom", [1, 2, 7, 30, 61, 1000, 250_000])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.999])
def test_t_quantile_equals_scipy(freedom, level):
    t = pytest.importorskip("scipy.stats").t
    assert t_quantile(freedom, level) == pytest.approx(t.ppf((1 + level) / 2, freedom), rel=1e-8)


@pytest.mark.parametrize("freedom, level", [(0, 0.95), (math.nan, 0.95), (3, 0.0), (3, 1.0)])
def test_t_quantile_refuses(freedom, level):
    with pytest.raises(ValueError, match="must"):
        t_quantile(freedom, level)


def test_distinct_groups():
    assert distinct_groups(None, 3) is None
    assert distinct_groups(np.array(["a", "b", "c"]), 3) is None
    assert distinct_groups(np.array(["", "", ""]), 3) is None
    found = distinct_groups(np.array(["a", "", "a", ""]), 4)
    assert found[0] == found[2]
    assert len(set(found.tolist())) == 3
    with pytest.raises(ValueError, match="shape"):
        distinct_groups(np.array(["a"]), 2)


def test_proportion_of_nothing_is_undefined():
    found = proportion(np.zeros(0, dtype=bool))
    assert found.value is None and found.ci95 is None and found.n == 0
    assert found.to_json() == {
        "value": None,
        "ci95": None,
        "n": 0,
        "method": "clopper-pearson",
        "k": 0,
    }


def test_proportion_of_independent_items_is_exact():
    found = proportion(np.arange(20) < 3, groups=np.arange(20))
    assert (found.k, found.n, found.value) == (3, 20, 0.15)
    assert found.ci95 == clopper_pearson(3, 20)


def test_proportion_by_group_is_wider():
    groups = np.repeat(np.arange(20), 5)
    hits = groups % 2 == 0  # each group all or nothing: twenty items in truth, not a hundred
    alone, grouped = proportion(hits), proportion(hits, groups)
    assert grouped.method == "korn-graubard"
    assert grouped.value == alone.value
    assert grouped.ci95[1] - grouped.ci95[0] > 2 * (alone.ci95[1] - alone.ci95[0])
    # 19 items' worth, by a variance with m - 1 in the denominator; less by what 20 groups leave
    # unknown of it: Student's t of 99 and of 19 degrees of freedom, from the tables.
    effective = 19 * (1.984217 / 2.093024) ** 2
    expected = clopper_pearson(effective / 2, effective)
    assert grouped.ci95 == pytest.approx(expected, abs=1e-6)


def test_few_groups_leave_their_spread_uncertain():
    """Ends by hand: two of three groups of four alike, so that t of 11 and of 2 are used."""
    hits = np.array([1, 1, 1, 0] + [1, 1, 0, 0] + [1, 0, 0, 0], dtype=bool)
    found = proportion(hits, np.repeat(np.arange(3), 4))
    # Sums about the mean: 1, 0, -1; variance 2 / 144 * 3 / 2, so 12 items' worth before.
    effective = 12 * (2.200985 / 4.302653) ** 2
    assert effective == pytest.approx(3.14, abs=0.01)
    assert found.ci95 == pytest.approx(clopper_pearson(effective / 2, effective), abs=1e-6)


def test_groups_alike_are_never_worth_more_than_their_items():
    hits = np.tile([True, False], 6)
    assert proportion(hits, np.repeat(np.arange(6), 2)).ci95 == clopper_pearson(6, 12)


def shares_of_groups(seed: int, groups: int, size: int, share: float, tie: float) -> np.ndarray:
    """(groups * size,) hits; each group has a share of its own, so that its items correlate."""
    rng = np.random.default_rng(seed)
    spread = (1 - tie) / tie
    own = rng.beta(share * spread, (1 - share) * spread, groups)
    return rng.random(groups * size) < np.repeat(own, size)


@pytest.mark.parametrize("groups, share", [(6, 0.5), (8, 0.4), (10, 0.3)])
def test_intervals_of_few_correlated_groups_hold_the_true_share(groups, share):
    """Without Student's correction they held it 92 to 93 times of a hundred."""
    number = np.repeat(np.arange(groups), 60)
    found = [
        proportion(shares_of_groups(seed, groups, 60, share, 0.1), number).ci95
        for seed in range(1000)
    ]
    inside = np.mean([low <= share <= high for low, high in found])
    assert 0.945 <= inside <= 0.985


def test_proportion_by_group_without_spread_counts_groups():
    hits, groups = np.ones(100, dtype=bool), np.repeat(np.arange(20), 5)
    assert proportion(hits, groups).ci95 == clopper_pearson(20, 20)


def test_bootstrap_is_stratified_and_seeded():
    labels = np.array([0] * 5 + [1] * 3)
    first = list(bootstrap_weights(labels, repeats=20, seed=4))
    for weights in first:
        assert weights[:5].sum() == 5 and weights[5:].sum() == 3
    again = list(bootstrap_weights(labels, repeats=20, seed=4))
    other = list(bootstrap_weights(labels, repeats=20, seed=5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_bootstrap_keeps_groups_together():
    labels = np.array([0, 1, 0, 1, 0, 0])
    groups = np.array(["a", "a", "b", "b", "c", ""])
    for weights in bootstrap_weights(labels, groups, repeats=20):
        assert weights[0] == weights[1] and weights[2] == weights[3]
        assert weights[[0, 2, 4, 5]].sum() == 4  # four units, one a group and one alone
        assert weights[[1, 3]].sum() > 0  # no label disappears


def patients(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, answers and patients of cells: each patient has a mix of eight classes of its own."""
    rng = np.random.default_rng(seed)
    truth, called, names = [], [], []
    for patient in range(30):
        right = rng.beta(4, 1)
        for label in rng.choice(8, rng.integers(5, 25), p=rng.dirichlet(np.full(8, 0.7))):
            truth.append(label)
            called.append(label if rng.random() < right else (label + 1) % 8)
            names.append(f"p{patient}")
    return np.array(truth), np.array(called), np.array(names)


def test_patients_with_several_classes_each_are_drawn_from_alike():
    # 0.8 of the cells are called right; among patients the share spreads. Groups with the same set
    # of classes as strata: coverage 32 %.
    inside, widths = 0, []
    for seed in range(40):
        truth, called, names = patients(seed)
        found = balanced_accuracy(truth, called, 8, None, names, repeats=200)
        inside += found.ci95[0] <= 0.8 <= found.ci95[1]
        widths.append(found.ci95[1] - found.ci95[0])
    assert inside >= 32
    assert np.mean(widths) > 0.1


def test_a_label_of_a_single_group_is_in_each_sample():
    labels = np.array([0, 1, 0, 0, 0, 0, 0, 2])
    groups = np.array(["a", "a", "b", "b", "c", "c", "d", "d"])
    for weights in bootstrap_weights(labels, groups, repeats=50):
        assert weights[1] > 0 and weights[7] > 0
        assert weights[[0, 2, 4, 6]].sum() == 4  # four groups, one item of each


def test_bootstrap_interval_of_a_mean():
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    low, high = bootstrap_interval(
        lambda w: w @ values / w.sum(), np.zeros(400), repeats=2000, seed=1
    )[0]
    error = values.std(ddof=1) / math.sqrt(400)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_bootstrap_interval_of_the_undefined_is_none():
    found = bootstrap_interval(lambda w: np.array([math.nan, float(w[0])]), np.zeros(4), repeats=50)
    assert found[0] is None and found[1] is not None
