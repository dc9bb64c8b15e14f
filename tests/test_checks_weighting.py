"""Chapter 8's checks: their outcomes, and wrong formulas that make them fail."""

from fractions import Fraction

import numpy as np
import pytest
from helpers import outcome
from test_checks import expected

from alfs_utils.asymmetry import asymmetry_ratio
from alfs_utils.losses import AGCELoss, AULLoss
from alfs_utils.paper.checks import weighting as checks


@pytest.mark.parametrize(
    "interval",
    [
        lambda eta, r: (1 - eta - eta * r, 1 - eta - eta / r),
        lambda eta, r: (1 - eta - 1.01 * eta / r, 1 - eta - 1.01 * eta * r),
        lambda eta, r: (1 - eta - 0.9 * eta / r, 1 - eta - 0.9 * eta * r),
        lambda eta, r: (0.01, 1 - eta - eta * r),
    ],
    ids=["upside down", "eta 1 % more", "eta 10 % less", "a constant"],
)
def test_a_wrong_interval_changes_the_outcome(interval):
    assert not checks.pareto(interval, classes=1).printed


def slopes(loss, u):
    return loss.slope(1 - u) / loss.slope(u)


WRONG_WEIGHTS = {
    "eta moved by 0.5 %": lambda l, eta, u: 1 - eta - 1.005 * eta * slopes(l, u),
    "eta moved by -0.5 %": lambda l, eta, u: 1 - eta - 0.995 * eta * slopes(l, u),
    "upside down": lambda l, eta, u: 1 - eta - eta / slopes(l, u),
    "a plus": lambda l, eta, u: 1 - eta + eta * slopes(l, u),
    "1 for 1 - eta": lambda l, eta, u: 1 - eta * slopes(l, u),
    "that of a symmetric loss": lambda l, eta, u: 1 - 2 * eta + 0 * u,
}
EXPLICIT = [checks.theorem_7, checks.convex_set_of_losses, checks.gradient_identity]


@pytest.mark.parametrize("mutant", WRONG_WEIGHTS)
@pytest.mark.parametrize("check", EXPLICIT, ids=lambda check: check.__name__)
def test_a_wrong_weight_changes_the_outcome(check, mutant):
    assert outcome(check(weight=WRONG_WEIGHTS[mutant])) != expected(check)


@pytest.mark.parametrize("m", [Fraction(1, 2), Fraction(3, 10)])
def test_the_example_needs_its_third_hypothesis(m):
    """At 1/2 a clean risk can prefer it; at 3/10 the noisy risk does not."""
    predictions = ((1, 0), (0, 1), (m, m))
    assert checks.theorem_7(predictions=predictions).printed


@pytest.mark.parametrize(
    "weight",
    [lambda p, noisy: p / noisy, lambda p, noisy: noisy, lambda p, noisy: noisy / p + p / 200],
    ids=["upside down", "not divided", "a little more"],
)
def test_a_wrong_importance_weight_changes_the_outcome(weight):
    assert outcome(checks.theorem_7_readings(weight)) != expected(checks.theorem_7_readings)


def test_the_example_by_the_library():
    noisy, clean = checks.convex_example()
    u, loss = np.array(checks.EXAMPLE, dtype=float), AULLoss(a=2, p=2)
    np.testing.assert_allclose(loss.of_probability(u), np.array(clean, float), rtol=1e-14)
    by_library = checks.noisy_risk(loss, 0.2, u).mean(axis=1)
    np.testing.assert_allclose(by_library, np.array(noisy, float), rtol=1e-14)
    assert 4 * asymmetry_ratio(loss) == 2  # the hypothesis of Theorem 7
    assert not checks._is_dominated(loss, u, np.full(2, 0.2))  # Pareto-optimal, and yet no weights


def test_the_linear_programs_know_three_small_cases():
    # weights (1/2, 1/2) are possible; only (1, 0); none
    best_of = {0.5: [[1, 1], [2, 0]], 0.0: [[0, 1], [0, 0]], -np.inf: [[1, 1], [2, 0], [0, 1.5]]}
    for value, clean in best_of.items():
        clean = np.array(clean, float)
        assert checks.largest_minimal_weight(clean, 0) == pytest.approx(value, abs=1e-9)
        if value >= 0:
            assert checks.dominating_mixture(clean, 0) == pytest.approx(0, abs=1e-9)
    assert checks.dominating_mixture(np.array([[1, 1], [1.5, 0], [0, 1.5]]), 0) == pytest.approx(
        0.25
    )


def test_the_weight_is_positive_exactly_as_long_as_the_printed_ratio_allows():
    u = np.linspace(0, 1, 101)
    for loss in (*checks.CONCAVE, *checks.CONVEX, AGCELoss(a=0.3, q=1.2)):
        limit = asymmetry_ratio(loss) / (1 + asymmetry_ratio(loss))  # (1 - eta)/eta r = 1
        assert checks.explicit_weight(loss, 0.995 * limit, u).min() > 0
        assert checks.explicit_weight(loss, 1.005 * limit, u).min() < 0
