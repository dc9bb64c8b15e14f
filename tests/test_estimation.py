"""Intervals of noise models: an independent oracle, coverage by simulation, properties."""

import doctest
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from alfs_utils import estimation, noise
from alfs_utils.estimation import (
    class_clean_level_intervals,
    clean_level_interval,
    count_matrix,
    labels_to_decide,
    transition_intervals,
)

PROPERTY = settings(derandomize=True, deadline=None, max_examples=40)
LEVELS = st.sampled_from([0.5, 0.9, 0.95, 0.99])


@st.composite
def count_matrices(draw):
    """Two to four classes, zeros and empty rows included."""
    k = draw(st.integers(2, 4))
    row = st.lists(st.integers(0, 30) | st.just(0), min_size=k, max_size=k)
    return np.array(draw(st.lists(row, min_size=k, max_size=k)))


def exact(successes, trials, level):
    """Clopper and Pearson's interval, by SciPy's own function."""
    if trials == 0:
        return 0.0, 1.0
    interval = binomtest(int(successes), int(trials)).proportion_ci(level, method="exact")
    return interval.low, interval.high


def odds(p):
    return math.inf if p == 1 else p / (1 - p)


def test_examples():
    assert doctest.testmod(estimation).failed == 0


@pytest.mark.parametrize("tail", [0.4999999, 0.25, 0.025, 1e-6, 1e-20])
def test_the_beta_quantile_is_scipys(tail):
    sizes = [*range(31), *np.geomspace(31, 1e6, 25).astype(int)]
    pairs = [
        (s, n)
        for n in sizes
        for part in np.geomspace(1, n + 1, 20).astype(int) - 1
        for s in {part, n - part, n // 2}
    ]
    successes, trials = np.array(pairs).T
    expected = beta.ppf(tail, np.maximum(successes, 1), trials - successes + 1)
    expected[successes == 0] = 0
    found = estimation._lower(successes, trials, tail)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=0)


def test_100_classes_take_less_than_a_second():
    counts = np.random.default_rng(0).integers(0, 500, (100, 100))
    start = time.process_time()
    clean_level_interval(counts)
    assert time.process_time() - start < 1


@PROPERTY
@given(counts=count_matrices(), level=LEVELS)
def test_transition_intervals_are_those_of_clopper_and_pearson(counts, level):
    low, estimate, high = transition_intervals(counts, level)
    for i, j in np.ndindex(counts.shape):
        size = counts[i].sum()
        assert (low[i, j], high[i, j]) == pytest.approx(exact(counts[i, j], size, level))
        assert size == 0 or estimate[i, j] == counts[i, j] / size
    assert np.isnan(estimate[counts.sum(axis=1) == 0]).all()


@PROPERTY
@given(counts=count_matrices(), level=LEVELS)
def test_clean_levels_are_the_smallest_of_exact_ratios(counts, level):
    k = len(counts)

    def ends(i, correction):  # low without, high with the correction for the number of ratios
        pairs = [(counts[i, i], counts[i, i] + counts[i, j]) for j in range(k) if j != i]
        low = min(odds(exact(*pair, level)[0]) for pair in pairs)
        return low, min(odds(exact(*pair, 1 - (1 - level) / correction)[1]) for pair in pairs)

    found = class_clean_level_intervals(counts, level)
    for i in range(k):
        assert (found.low[i], found.high[i]) == pytest.approx(ends(i, k - 1), rel=1e-6)
    c = clean_level_interval(counts, level)
    assert c.low == pytest.approx(min(ends(i, k * (k - 1))[0] for i in range(k)), rel=1e-6)
    assert c.high == pytest.approx(min(ends(i, k * (k - 1))[1] for i in range(k)), rel=1e-6)


@PROPERTY
@given(counts=count_matrices(), level=LEVELS, data=st.data())
def test_intervals_hold_the_estimate_and_follow_the_names_of_the_classes(counts, level, data):
    c = clean_level_interval(counts, level)
    if (counts.sum(axis=1) > 0).all():
        T = counts / counts.sum(axis=1, keepdims=True)
        assert c.estimate == pytest.approx(noise.clean_level(T))
        assert c.low <= c.estimate * (1 + 1e-12) and c.estimate <= c.high * (1 + 1e-12)
    else:
        assert np.isnan(c.estimate) and c.low == 0
    order = data.draw(st.permutations(range(len(counts))))
    renamed = counts[np.ix_(order, order)]
    np.testing.assert_allclose(clean_level_interval(renamed, level), c)
    for before, after in zip(
        class_clean_level_intervals(counts, level),
        class_clean_level_intervals(renamed, level),
        strict=True,
    ):
        np.testing.assert_allclose(before[order], after)
    wider = clean_level_interval(counts, 0.999)
    assert wider.low <= c.low and c.high <= wider.high


# All wrong labels tie in the first model, where the upper end is hardest; one rival in the others.
MODELS = {
    "symmetric": (noise.symmetric(6, 0.5), 60),
    "pair flip": (noise.pairflip(4, 0.4), 40),
    "one class": (np.array([[0.6, 0.4, 0], [0, 1, 0], [0, 0, 1.0]]), 30),
    "sparse rows": (noise.pairflip(5, 0.45), [1, 2, 4, 7, 40]),
    "few labels": (np.array([[0.5, 0.3, 0.2], [0.1, 0.9, 0], [0.3, 0.3, 0.4]]), [9, 3, 12]),
}


@pytest.mark.parametrize("T, size", MODELS.values(), ids=list(MODELS))
def test_the_interval_of_the_clean_level_covers_it(T, size):
    rng, runs, level = np.random.default_rng(0), 600, 0.9
    allowed = runs * 0.05 + 4 * math.sqrt(runs * 0.05 * 0.95)
    c, levels = noise.clean_level(T), noise.class_clean_levels(T)
    missed = np.zeros(4)
    uncorrected = 0
    for _ in range(runs):
        counts = rng.multinomial(size, T)
        whole = clean_level_interval(counts, level)
        single = class_clean_level_intervals(counts, level)
        missed += [whole.low > c, whole.high < c, single.low[0] > levels[0], 0]
        missed[3] += single.high[0] < levels[0]
        uncorrected += estimation._ratios(counts, 0.05, 0.05)[1].min() < c
    assert (missed <= allowed).all(), missed
    if len(T) == 6:  # control: without the correction the upper end fails
        assert uncorrected > allowed


def test_the_lower_end_is_not_needlessly_low():
    """One ratio decides: the error is about the stated one, not a fraction of it."""
    T, size = MODELS["one class"][0], 2000
    rng = np.random.default_rng(1)
    missed = sum(clean_level_interval(rng.multinomial(size, T), 0.8).low > 1.5 for _ in range(1000))
    assert 60 < missed < 140


@PROPERTY
@given(counts=count_matrices(), data=st.data())
def test_the_lower_end_is_monotone_as_the_proof_of_its_optimality_says(counts, data):
    low, k = clean_level_interval(counts, 0.9).low, len(counts)
    i, j, a, b = (data.draw(st.integers(0, k - 1)) for _ in range(4))
    corrected, dropped = counts.copy(), counts.copy()
    corrected[i, j] = 0
    corrected[i, i] += counts[i, j]
    dropped[a, [c for c in range(k) if c not in (a, b)]] = 0
    assert clean_level_interval(corrected, 0.9).low >= low * (1 - 1e-9)
    assert clean_level_interval(dropped, 0.9).low >= low * (1 - 1e-9)


def test_the_labels_that_decide_are_about_those_that_it_takes():
    """Of 300, 700 and 900 labels in all, the last are enough in nine of ten samples."""
    T, rng = noise.symmetric(10, 0.6), np.random.default_rng(0)

    def shown(n):
        tables = rng.multinomial(n, T.ravel() / 10, 200).reshape(-1, 10, 10)
        return np.mean([clean_level_interval(table, 0.9).low > 1 for table in tables])

    assert shown(700) < 0.9 < shown(900)
    found = [
        labels_to_decide(rng.multinomial(300, T.ravel() / 10).reshape(10, 10)) for _ in range(9)
    ]
    assert 600 < np.median(found) < 1200


@PROPERTY
@given(counts=count_matrices(), level=st.sampled_from([0.6, 0.9, 0.95]))
def test_no_more_labels_are_asked_for_than_were_seen_where_those_decide(counts, level):
    decided = clean_level_interval(counts, 2 * level - 1).low > 1
    assert (labels_to_decide(counts, level) == counts.sum() > 0) == decided


def test_no_number_of_labels_shows_what_is_not_so():
    assert labels_to_decide([[40, 60], [0, 90]]) == math.inf
    assert labels_to_decide([[0, 0], [0, 0]]) == math.inf
    assert labels_to_decide([[9, 0], [0, 9]]) == 18  # they do
    # Five of five: 1/32 = 0.03125 is the probability if both labels are as frequent.
    assert labels_to_decide([[5, 0], [0, 5]], 0.968) == 10
    assert labels_to_decide([[5, 0], [0, 5]], 0.969) > 10


def test_at_least_one_draw_decides():
    for draws, error in ((0, ValueError), (2.5, TypeError)):
        with pytest.raises(error, match="draws: expected an int of at least 1, got"):
            labels_to_decide([[5, 0], [0, 5]], draws=draws)


def test_counting():
    np.testing.assert_array_equal(
        count_matrix(clean=[0, 1, 1], noisy=[1, 1, 1], num_classes=3),
        [[0, 1, 0], [0, 2, 0], [0] * 3],
    )
    with pytest.raises(ValueError, match="noisy: expected 2 labels"):
        count_matrix(clean=[0, 1], noisy=[1])


def test_what_was_not_seen_is_not_known():
    counts = [[0, 0], [0, 10]]
    low, estimate, high = class_clean_level_intervals(counts)
    assert (low[0], high[0]) == (0, math.inf) and np.isnan(estimate[0])
    assert low[1] > 1 and estimate[1] == high[1] == math.inf
    lost = clean_level_interval([[0, 50], [0, 50]])
    assert lost.low == lost.estimate == 0 < lost.high < 1


@pytest.mark.parametrize(
    "counts, level, error, words",
    [
        ([[1, 2]], 0.95, ValueError, "counts: expected shape .k, k. with k >= 2, got .1, 2."),
        ([[1]], 0.95, ValueError, "k >= 2"),
        ([[0.5, 0.5], [0, 1]], 0.95, TypeError, "counts: expected integers, got float64"),
        ([[1, -2], [0, 1]], 0.95, ValueError, r"got -2 at \[0, 1\]"),
        ([[1, 0], [0, 1]], 1, ValueError, "level: expected a number in .0, 1., got 1"),
        ([[1, 0], [0, 1]], 95, ValueError, "level"),
    ],
)
def test_bad_input(counts, level, error, words):
    for function in (transition_intervals, class_clean_level_intervals, clean_level_interval):
        with pytest.raises(error, match=words):
            function(counts, level)
