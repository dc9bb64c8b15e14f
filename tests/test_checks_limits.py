"""Chapter 9b's checks: wrong formulas that make them fail, and what they compute by other means."""

import math

import numpy as np
import pytest
from helpers import outcome
from test_checks import CHECKS, expected

from alfs_utils.losses import AELLoss, CELoss, MAELoss
from alfs_utils.paper.checks import limits as L
from alfs_utils.recommend import time_to_start


def times(function, factor):
    return lambda *arguments: factor * function(*arguments)


def convex_in_u(loss):
    return not isinstance(loss, CELoss | AELLoss | MAELoss)


def two_classes(loss, k, c):
    return L.calibration_constant(loss, 2, c)


def margin_only(loss, k, c):
    l = loss.of_probability
    g0, g1 = -loss.slope(0.0), -loss.slope(1.0)
    return 1 / ((l(0.5) - l(1.0)) * (1 - g0 / g1 / c))


def largest_first(margins, budget):
    return np.minimum(np.asarray(budget) / margins.max(), (margins > 0).mean())


def clean_labels(counts, rng):
    return np.eye(counts.shape[1])[counts.argmax(axis=1)]


MUTANTS = {
    "logits: convex in u is convex in z": (L.not_convex_in_logits, {"never_convex": convex_in_u}),
    "logits: no loss is convex": (L.not_convex_in_logits, {"never_convex": lambda loss: True}),
    "logits: every loss may be": (L.not_convex_in_logits, {"never_convex": lambda loss: False}),
    "flow: without k/(k - 1)": (L.start_times, {"rate": lambda u, g, k: g * (u - u * u) ** 2}),
    "flow: without the softmax": (L.start_times, {"rate": lambda u, g, k: g + 0 * u}),
    "flow: one factor u (1 - u)": (L.start_times, {"rate": lambda u, g, k: g * (u - u * u)}),
    "flow: u (1 - u)^2": (L.start_times, {"rate": lambda u, g, k: L.flow(u, g, k) / u}),
    "start: c forgotten": (L.slow_start, {"convex": lambda k, c: L.concave_time(k)}),
    "start: root of c": (L.slow_start, {"convex": lambda k, c: L.convex_time(k, c**0.5)}),
    "start: the simple bound": (
        L.slow_start,
        {"convex": lambda k, c: (k - 1) * (k - 2) / (4 * c * k)},
    ),
    "start: convex 0.2 % more": (L.slow_start, {"convex": times(L.convex_time, 1.002)}),
    "start: convex 0.2 % less": (L.slow_start, {"convex": times(L.convex_time, 0.998)}),
    "start: concave without its logarithm": (L.slow_start, {"concave": lambda k: (k - 2) / 4}),
    "start: cross entropy needs k": (L.slow_start, {"cross_entropy": lambda k: (k - 2) / 4}),
    "range: 1 for 4/e^2": (L.time_and_range, {"bound": times(L.time_range_bound, 1.85)}),
    "range: a third": (L.time_and_range, {"bound": times(L.time_range_bound, 1 / 3)}),
    "range: c forgotten": (L.time_and_range, {"bound": lambda k, c: L.time_range_bound(k, 1)}),
    "range: one k more": (L.time_and_range, {"bound": lambda k, c: k * L.time_range_bound(k, c)}),
    "bent twice: cap of the start": (L.twice_bent, {"cap": lambda k, c: k**2 / (k - 1)}),
    "bent twice: a quarter of the exponent": (
        L.twice_bent,
        {"cap": lambda k, c: L.cap_near_one(k, c) ** 0.25},
    ),
    "bent twice: c cubed": (L.twice_bent, {"cap": lambda k, c: L.cap_near_one(k, c**3)}),
    "Bernstein: c r for c r + 1": (
        L.bernstein_condition,
        {"constant": lambda D, x: D * x / (x - 1)},
    ),
    "Bernstein: level squared": (
        L.bernstein_condition,
        {"constant": lambda D, x: L.bernstein_constant(D, x**2)},
    ),
    "Bernstein: range squared": (
        L.bernstein_condition,
        {"constant": lambda D, x: L.bernstein_constant(D * D, x)},
    ),
    "Bernstein: 0.1 % less": (
        L.bernstein_condition,
        {"constant": times(L.bernstein_constant, 0.999)},
    ),
    "Bernstein: 0.1 % more": (
        L.bernstein_condition,
        {"constant": times(L.bernstein_constant, 1.001)},
    ),
    "rate: exponent of another bound": (
        L.fast_rate,
        {"predicted": lambda alpha: -1 if math.isinf(alpha) else -alpha / (1 + alpha)},
    ),
    "rate: always slow": (L.fast_rate, {"predicted": lambda alpha: -0.5}),
    "rate: always fast": (L.fast_rate, {"predicted": lambda alpha: -1.0}),
    "rate: faster than 1/n guaranteed": (
        L.fast_rate,
        {"guarantee": lambda D, x, size, n: L.sample_guarantee(D, x, size, n) / n},
    ),
    "interpolation: the distribution": (L.interpolation, {"labels": lambda counts, rng: counts}),
    "interpolation: clean labels": (L.interpolation, {"labels": clean_labels}),
    "part: largest margins first": (L.partial_certificate, {"bound": largest_first}),
    "part: half the budget": (
        L.partial_certificate,
        {"bound": lambda m, budget: L.fill_up(m, np.asarray(budget) / 2)},
    ),
    "part: twice the budget": (
        L.partial_certificate,
        {"bound": lambda m, budget: L.fill_up(m, 2 * np.asarray(budget))},
    ),
    "part: exponent alpha": (L.partial_certificate, {"power_law": lambda b, alpha: b**alpha}),
    "part: factor forgotten": (
        L.partial_certificate,
        {"power_law": lambda b, alpha: b ** (alpha / (1 + alpha))},
    ),
    "part: Markov's constant": (
        L.partial_certificate,
        {"power_law": lambda b, x: (1 + x) * (b / x) ** (x / (1 + x))},
    ),
    "part: no slack": (L.partial_certificate, {"slack": lambda b, p0: 0}),
    "calibration: two classes": (L.convex_calibration, {"constant": two_classes}),
    "calibration: the margin alone": (L.convex_calibration, {"constant": margin_only}),
    "calibration: 1 % less": (
        L.convex_calibration,
        {"constant": times(L.calibration_constant, 0.99)},
    ),
    "calibration: 1 % more": (
        L.convex_calibration,
        {"constant": times(L.calibration_constant, 1.01)},
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_check_fails_when_its_formula_is_wrong(name):
    check, wrong = MUTANTS[name]
    assert outcome(check(**wrong)) != expected(check)


def test_every_check_has_two_mutants():
    checks = [check for check, _ in MUTANTS.values()]
    ours = [check for name, check in CHECKS.items() if name.startswith("limits.")]
    assert len(ours) == 10 and all(checks.count(check) >= 2 for check in ours)


@pytest.mark.parametrize("k", [3, 10, 100, 1000])
def test_times_in_closed_form(k):
    assert time_to_start(CELoss(), k) == pytest.approx(L.cross_entropy_time(k), rel=1e-5)
    assert time_to_start(MAELoss(), k) == pytest.approx(L.concave_time(k), rel=1e-5)
    assert time_to_start(3 * MAELoss(), k) == pytest.approx(time_to_start(MAELoss(), k))
    assert L.convex_time(k, 1.0) == pytest.approx(L.concave_time(k))


def test_fill_up():
    margins = [0.3, -1.0, 0.1, 0.2]
    assert L.fill_up(margins, 0) == 0
    assert L.fill_up(margins, 0.025) == pytest.approx(0.25)  # the smallest, of four
    assert L.fill_up(margins, 0.05) == pytest.approx(0.375)  # and half of the next
    assert L.fill_up(margins, 9) == pytest.approx(0.75)  # never those that are not positive
    assert L.fill_up([0.5, 0.1], 0.02, [0.8, 0.2]) == pytest.approx(0.2)


def test_the_confidence_minimises_the_empirical_risk():
    loss, v = AELLoss(a=0.7), np.linspace(0.5, 1, 100_001)
    l = loss.of_probability
    for agreement in (0.55, 0.7, 0.95):
        best = v[(agreement * l(v) + (1 - agreement) * l(1 - v)).argmin()]
        excess, limit = L.above_the_limit(
            loss, np.zeros(1), np.array([agreement]), limit_at=agreement
        )
        assert excess[0] == pytest.approx(limit) == pytest.approx(l(best) - l(1.0), abs=1e-6)


def test_a_threshold_has_the_most_agreements():
    error, agreement = L.threshold_runs(1, 16, reps=5)
    rng = np.random.default_rng([16, 10])
    x = np.sort(rng.random((5, 16)), axis=1)
    given = (x > 0.5) ^ (rng.random(x.shape) < (1 - abs(2 * x - 1)) / 2)
    for i in range(5):
        thetas = np.r_[0, x[i]]
        agreed = [((x[i] > theta) == given[i]).mean() for theta in thetas]
        assert max(agreed) == agreement[i]
        assert error[i] == abs(thetas[int(np.argmax(agreed))] - 0.5)
