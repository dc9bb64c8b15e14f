"""Recommendations: certified on the whole matrix, not beyond, honest where nothing is."""

import doctest
import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from alfs_utils import noise
from alfs_utils import recommend as room
from alfs_utils.asymmetry import certify
from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AULLoss,
    CELoss,
    MAELoss,
    loss_from_string,
    value_and_pull,
)
from alfs_utils.recommend import largest_step, recommend, start_of, time_to_start

PROPERTY = settings(derandomize=True, deadline=None, max_examples=40)


@st.composite
def dominated(draw):
    """Transition matrices of 2 to 5 classes in which every class dominates."""
    k = draw(st.integers(2, 5))
    rows = []
    for i in range(k):
        row = np.array(draw(st.lists(st.integers(0, 20), min_size=k, max_size=k)), float)
        row[i] = 0
        row[i] = max(row.max(), 1) * draw(st.sampled_from([1.001, 1.1, 1.5, 3, 40, 1e9]))
        rows.append(row / row.sum())
    return np.array(rows)


def by_name(found):
    return {option.loss.split("Loss")[0]: option for option in found.options}


def test_examples():
    assert doctest.testmod(room).failed == 0


@PROPERTY
@given(T=dominated())
def test_certified_losses_are_asymmetric_on_the_whole_matrix(T):
    found = recommend(T=T)
    assert found.c.low == found.c.estimate == found.c.high == noise.clean_level(T)
    if math.isinf(found.c.low):
        assert found.choice.loss == "CELoss()"
        return
    assert found.doubtful == () and len(found.regions) == 3 and len(found.options) == 7
    for option in found.options:
        certificate = certify(loss_from_string(option.loss), T)
        if option.verdict.startswith("asymmetric"):
            assert certificate.asymmetric and option.needs <= found.c.low
            assert option.verdict.endswith("(limit)") != certificate.attained
        elif found.c.low < 1e6:
            assert not certificate.asymmetric
    certified = [option for option in found.options if option.verdict == "asymmetric"]
    assert found.choice in certified
    assert found.choice.start == max(option.start for option in certified)


@pytest.mark.parametrize(
    "k, eta, slow", [(10, 0.45, False), (20, 0.3, False), (20, 0.42, True), (100, 0.3, True)]
)
def test_a_slow_choice_gives_way_to_the_sum_with_nce(k, eta, slow):
    found = recommend(T=noise.pairflip(k, eta))
    certified = max((o for o in found.options if o.verdict == "asymmetric"), key=lambda o: o.start)
    assert found.choice == (found.options[-1] if slow else certified)
    assert slow == (certified.time > 1.25 * time_to_start(CELoss(), k))
    assert slow == (certified.loss in found.reason)


@pytest.mark.parametrize(
    "k, words", [(10, "GCELoss(q=0.7) did"), (30, "GCELoss(q=0.7) did"), (100, "CE, stopped where")]
)
def test_a_refusal_says_what_to_do_until_then(k, words):
    assert f"Until then, {words}" in recommend(counts=np.eye(k, dtype=int) + 1).reason


@PROPERTY
@given(c=st.floats(1.001, 1e5), k=st.integers(2, 100))
@example(c=1.01, k=2)  # AUL's threshold is 100 less one rounding error
def test_parameters_are_the_least_of_three_digits(c, k):
    T = np.full((k, k), (1 - c / (c + k - 1)) / (k - 1))
    np.fill_diagonal(T, c / (c + k - 1))
    found = recommend(T=T)
    for option, region in zip(found.options, found.regions, strict=False):
        loss = loss_from_string(option.loss)
        base = 1 if isinstance(loss, AULLoss) else 0
        assert option.verdict == "asymmetric" and loss.a in region
        assert float(f"{loss.a - base:.3g}") == pytest.approx(loss.a - base, rel=1e-9)
        assert (region.threshold - base) * 1.0102 > loss.a - base > region.threshold - base
        less = type(loss)(base + 0.98 * (loss.a - base), **region.fixed)
        assert not certify(less, T).asymmetric


@pytest.mark.parametrize("k", [2, 10, 100])
def test_start(k):
    u = 1 / k
    assert start_of(CELoss(), k) == pytest.approx(1 - u, rel=1e-6)
    assert largest_step(CELoss(), k) == pytest.approx(1, rel=1e-6)
    assert start_of(MAELoss(), k) == pytest.approx(4 * u * (1 - u), rel=1e-5)
    assert start_of(7 * MAELoss(), k) == pytest.approx(start_of(MAELoss(), k))
    for loss, pull in [
        (AGCELoss(a=0.03, q=0.5), lambda u: (0.03 + u) ** -0.5),
        (AULLoss(a=1.2, p=2), lambda u: 1.2 - u),
        (AELLoss(a=0.5), lambda u: math.exp(-u / 0.5) / 0.5),
    ]:
        top = minimize_scalar(
            lambda u, g=pull: -g(u) * u * (1 - u), bounds=(0, 1), method="bounded"
        )
        assert largest_step(loss, k) == pytest.approx(-top.fun, rel=1e-5)
        assert start_of(loss, k) == pytest.approx(pull(u) * u * (1 - u) / -top.fun, rel=1e-5)


def test_robustness_is_paid_for_in_fitting():
    """More noise: a smaller clean level needed, and a slower start, down to that of MAE."""
    choices = [recommend(T=noise.symmetric(10, eta)).choice for eta in (0.2, 0.6, 0.8, 0.89)]
    for before, after in pairwise(choices):
        assert before.needs > after.needs and before.start > after.start
    assert choices[-1].start == pytest.approx(start_of(MAELoss(), 10), abs=0.02)


def test_labels_and_counts_agree():
    noisy = noise.corrupt(np.arange(3).repeat(200), noise.symmetric(3, 0.3), seed=0)
    counts = [
        [((noisy.clean == i) & (noisy.labels == j)).sum() for j in range(3)] for i in range(3)
    ]
    found = recommend(clean=noisy.clean, noisy=noisy.labels)
    assert found == recommend(counts=np.array(counts))
    # Swapped, it is another matrix.
    assert found != recommend(clean=noisy.labels, noisy=noisy.clean)


def test_the_answer_says_which_class_is_called_what():
    clean, noisy = np.repeat([0, 1, 2], 20), np.repeat([0, 1, 1, 1, 2, 0], [20, 2, 7, 11, 15, 5])
    noisy[20:22] = 0
    found, swapped = recommend(clean=clean, noisy=noisy), recommend(clean=noisy, noisy=clean)
    assert found.mistakes == (
        "class 2 is labelled 0 in 25 % (5 of 20); class 1 is labelled 0 in 10 % (2 of 20)"
    )
    assert "class 0 is labelled 2 in 18.5 % (5 of 27)" in swapped.mistakes
    assert recommend(T=noise.pairflip(9, 0.25)).mistakes.count("25 %;") == 2
    assert recommend(T=np.eye(3)).mistakes == "" and "swapped" in repr(found)


def test_certificates_are_right_as_often_as_promised():
    T, level, runs = np.array([[0.7, 0.3], [0, 1]]), 0.8, 200  # one ratio decides
    rng, wrong, certified = np.random.default_rng(0), 0, 0
    for _ in range(runs):
        found = recommend(counts=rng.multinomial(120, T), level=level)
        certified += bool(found.options)
        wrong += any(o.verdict == "asymmetric" and o.needs > 0.7 / 0.3 for o in found.options)
    assert certified > runs / 2 and wrong <= runs * 0.2 + 4 * math.sqrt(runs * 0.16)
    assert wrong > runs * 0.1  # more confident than promised would be a waste of labels


def test_too_few_labels_name_a_number_that_would_do():
    T, rng = noise.symmetric(10, 0.6), np.random.default_rng(0)

    def checked(n):
        return rng.multinomial(n, T.ravel() / 10).reshape(10, 10)

    counts = checked(300)
    found = recommend(counts=counts)
    assert found.choice is None and f"these {300} and others" in found.reason
    assert f"About {float(f'{found.labels:.2g}'):.0f} trusted" in found.reason
    more = [counts + checked(round(found.labels) - 300) for _ in range(10)]
    assert sum(recommend(counts=table).choice is not None for table in more) >= 7
    lost = recommend(counts=np.array([[28, 32], [5, 95]]))
    assert math.isinf(lost.labels) and "Even 160000 trusted labels" in lost.reason
    assert recommend(counts=10 * np.eye(2, dtype=int)).labels is None


def test_more_trusted_labels_give_a_bolder_loss():
    counts = 30 * np.eye(4, dtype=int) + 10
    choices = [recommend(counts=n * counts).choice for n in (1, 10, 100)]
    assert 1 < choices[0].needs < choices[1].needs < choices[2].needs < 4


def test_two_classes_get_mae():
    """It starts with its largest step, u (1 - u) at 1/2, and needs no more than domination."""
    assert recommend(T=noise.symmetric(2, 0.2)).choice.loss == "MAELoss()"


def test_the_words_do_not_depend_on_the_kind_of_number():
    counts = np.array([[200, 100], [50, 200]])
    assert repr(recommend(counts=counts.astype(np.uint8))) == repr(recommend(counts=counts))
    T = [[Fraction(3, 4), Fraction(1, 4)], [Fraction(1, 8), Fraction(7, 8)]]
    assert repr(recommend(T=T)) == repr(recommend(T=np.array(T, float)))


# --- refusals -------------------------------------------------------------------------------


def test_too_few_labels():
    found = recommend(counts=np.array([[8, 4, 0], [0, 90, 0], [0, 0, 90]]))
    assert found.c.low < 1 < found.c.high and found.c.estimate == 2
    assert found.choice is None and found.options == () and found.regions == ()
    assert found.doubtful == (0,) and "not shown" in found.reason and "in doubt: 0)" in found.reason
    assert "recommended: none is certified" in repr(found)


def test_a_lost_class():
    found = recommend(counts=np.array([[30, 70], [5, 95]]))
    assert found.c.high < 1 and found.choice is None
    assert "wrong label is at least as frequent" in found.reason and found.doubtful == (0,)
    assert found.labels is None  # no number of labels would show what is not so


@pytest.mark.parametrize("eta", [0.5, 0.5 - 1e-14, 0.6])
def test_no_lead_no_certificate(eta):
    found = recommend(T=noise.pairflip(7, eta))
    assert found.choice is None and found.level is None
    assert "in doubt: 0, 1, 2, 3, 4 and 2 more)" in found.reason


def test_a_class_that_was_never_seen():
    found = recommend(counts=np.array([[90, 2, 0], [3, 90, 0], [0, 0, 0]]))
    assert found.choice is None and found.doubtful == (2,)


def test_no_noise():
    found = recommend(T=np.eye(4))
    assert found.choice.loss == "CELoss()" and "no noise" in found.reason


def test_huge_clean_levels_stay_within_floats():
    T = np.array([[1 - 1e-200, 1e-200], [0, 1]])
    assert recommend(T=T).choice.verdict == "asymmetric"
    assert recommend(counts=np.eye(2, dtype=int) * 10**9).choice is not None


# --- shape of the result --------------------------------------------------------------------


def test_the_printed_table():
    lines = repr(recommend(counts=np.array([[90, 10], [5, 95]]))).splitlines()
    assert lines[0] == "c = 9; at least 5.11 and at most 19.4, each with 95 % confidence"
    assert lines[1].startswith("Class 0 is labelled 1 in 10 % (10 of 100); class 1 is labelled 0")
    assert lines[3].split() == ["loss", "needs", "c", "start", "time", "certified"]
    assert [line.split("Loss")[0] for line in lines[4:10]] == "AGCE AUL AEL CE GCE MAE".split()
    assert lines[10].startswith("10.0 * NCELoss() + 1.0 * AGCELoss")
    assert lines[11].startswith("recommended: ")
    assert all(len(line) <= 100 for line in lines)


def test_the_sum_with_nce_is_certified_in_the_limit_only():
    found = recommend(T=noise.symmetric(10, 0.4))
    assert found.options[-1].verdict == "asymmetric (limit)" and found.num_classes == 10
    assert found.options[-1].start > found.choice.start
    assert found.options[-1].time < found.choice.time


@pytest.mark.parametrize("k", [2, 10, 100])
def test_time_to_start(k):
    """Against an independent integral in u; that of cross entropy is the logarithm of k."""
    for option in recommend(T=noise.symmetric(k, 0.3)).options:
        loss = loss_from_string(option.loss)

        def slowness(u, loss=loss):
            return (k - 1) / k / (value_and_pull(loss, u, k)[1] * (u * (1 - u)) ** 2)

        time = largest_step(loss, k) * quad(slowness, 1 / k, 0.5)[0]
        assert option.time == time_to_start(loss, k) == pytest.approx(time, rel=1e-6, abs=1e-12)
    assert time_to_start(CELoss(), k) < 1.2 * math.log(k) + 1


def test_bad_input():
    T = noise.symmetric(3, 0.1)
    with pytest.raises(TypeError, match=r"^clean, counts, T: expected one of them.*, got none"):
        recommend()
    with pytest.raises(TypeError, match="got counts, T"):
        recommend(counts=[[1, 0], [0, 1]], T=T)
    with pytest.raises(TypeError, match="got labels without noisy"):
        recommend(clean=[0, 1])
    with pytest.raises(TypeError, match="got labels without clean"):
        recommend(noisy=[0, 1])
    with pytest.raises(TypeError, match="positional"):
        recommend([0, 1], [0, 1])
    with pytest.raises(ValueError, match="T: expected rows of probabilities"):
        recommend(T=2 * T)
    for one in ({"T": [[1.0]]}, {"counts": [[7]]}):
        with pytest.raises(ValueError, match=r"expected shape \(k, k\) with k >= 2, got \(1, 1\)"):
            recommend(**one)
    with pytest.raises(ValueError, match="counts: expected at least one label, got none"):
        recommend(counts=np.zeros((3, 3), int))
    with pytest.raises(ValueError, match="level"):
        recommend(counts=[[1, 0], [0, 1]], level=2)
    with pytest.raises(TypeError, match="counts: expected integers"):
        recommend(counts=T)
