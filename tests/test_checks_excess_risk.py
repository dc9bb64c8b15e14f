"""Chapter 4's checks: their outcomes, and wrong formulas that make them fail."""

from fractions import Fraction

import numpy as np
import pytest
from helpers import outcome
from test_checks import expected

from alfs_utils.losses import AGCELoss, MAELoss
from alfs_utils.paper.checks import excess_risk as checks

HALF = Fraction(1, 2)


def test_the_search_repeats():
    mae, again = [MAELoss()], [MAELoss()]  # two losses: the cached search runs twice
    assert checks.excess_risk_multiclass(losses=mae) == checks.excess_risk_multiclass(losses=again)


def kappa_over(ms, weight=lambda m: m - 1):
    def kappa(loss, k):
        l = loss.of_probability
        return l(0.0) - l(1.0) - max(weight(m) * (l(0.0) - l(1 / m)) for m in ms(k))

    return kappa


MUTANTS = [
    # a tie counts as right; nothing does; the wrong side
    (checks.minimal_risk_minimal_error, {"right": lambda l, u: 2 * u >= len(l) - 1}),
    (checks.minimal_risk_minimal_error, {"right": lambda l, u: u > len(l) - 1}),
    (checks.minimal_risk_minimal_error, {"right": lambda l, u: 2 * u < len(l) - 1}),
    # the constants moved by 0.5 %
    (checks.theorem_2, {"printed": lambda l: Fraction(1005, 1000) * checks.printed_factor(l)}),
    (checks.theorem_2, {"printed": lambda l: Fraction(995, 1000) * checks.printed_factor(l)}),
    (checks.theorem_2, {"sharp": lambda l: Fraction(1005, 1000) * checks.sharp_factor(l)}),
    (checks.theorem_2, {"sharp": lambda l: Fraction(995, 1000) * checks.sharp_factor(l)}),
    # the 2 dropped; the wrong half of the loss; a constant that is right for symmetric losses only
    (checks.theorem_2, {"printed": lambda l: 1 / (l(0) - l(1))}),
    (checks.theorem_2, {"sharp": lambda l: 1 / (l(0) - l(HALF))}),
    (checks.theorem_2, {"sharp": checks.printed_factor}),
    (checks.excess_risk_convex, {"printed": lambda l: 1.005 * checks.printed_factor(l)}),
    (checks.excess_risk_convex, {"printed": checks.sharp_factor}),
    (checks.excess_risk_convex, {"wrong_side": 0.4}),
    (checks.excess_risk_convex, {"wrong_side": 0.5025}),
    (checks.excess_risk_multiclass, {"constant": lambda x, k: 1.005 * checks.kappa(x, k)}),
    (checks.excess_risk_multiclass, {"constant": lambda x, k: 0.995 * checks.kappa(x, k)}),
    # the maximum over m = k alone, over m = 2 alone, without m = 2, with m in place of m - 1
    (checks.excess_risk_multiclass, {"constant": kappa_over(lambda k: [k])}),
    (checks.excess_risk_multiclass, {"constant": kappa_over(lambda k: [2])}),
    (
        checks.excess_risk_multiclass,
        {"constant": kappa_over(lambda k: range(min(k, 3), k + 1))},
    ),
    (
        checks.excess_risk_multiclass,
        {"constant": kappa_over(lambda k: range(2, k + 1), lambda m: m)},
    ),
    # the printed constant
    (
        checks.excess_risk_multiclass,
        {"constant": lambda x, k: (x.of_probability(0.0) - x.of_probability(1.0)) / 2},
    ),
]


@pytest.mark.parametrize(("check", "mutant"), MUTANTS)
def test_a_wrong_formula_changes_the_outcome(check, mutant):
    assert outcome(check(**mutant)) != expected(check)


def test_psi_of_a_kinked_loss_by_hand():
    """l = 4, 2, 1 at u = 0, 1/2, 1: F is smallest at 1/2 up to theta = 1/3, then at 1."""
    for theta, value in ((Fraction(1, 4), 0), (Fraction(1, 2), Fraction(1, 4)), (1, 1)):
        assert checks.psi(np.array([4, 2, 1]), Fraction(theta)) == value


def test_the_sentence_about_three_classes_is_exact():
    excess_01, excess, bound = checks.three_class_example()
    assert (excess_01, excess, bound) == (
        Fraction(49, 100),
        Fraction(16699, 50000),
        Fraction(16699, 50000),
    )


def test_kappa_in_closed_form():
    for k in (2, 3, 10):
        assert checks.kappa(MAELoss(), k) == pytest.approx(2 / k, rel=1e-12)
    assert checks.kappa(AGCELoss(a=1, q=2), 10) == pytest.approx(0.5 + 1 / 20 + 1 / 200, rel=1e-12)
