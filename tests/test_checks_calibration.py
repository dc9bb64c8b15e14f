"""Chapter 3's checks: their outcomes, and wrong formulas that make them fail."""

from fractions import Fraction

import numpy as np
import pytest
from helpers import outcome
from test_checks import expected

from alfs_utils.asymmetry import weighted_risk_minimiser
from alfs_utils.losses import AELLoss, AGCELoss, AULLoss
from alfs_utils.paper.checks import calibration as checks


def with_interior(family, formula):
    """H whose interior formula is wrong for one family."""

    def interior(loss, eta):
        right = checks.interior_risk(loss, eta)
        return formula(loss, eta, right) if isinstance(loss, family) else right

    return {"H": lambda loss, eta: checks.minimal_risk(loss, eta, interior=interior)}


def agce_with_wrong_sign(loss, eta, right):
    a, q, w = loss.a, loss.q, np.stack([eta, 1 - eta])
    with np.errstate(divide="ignore"):
        total = (w ** (1 / (q - 1))).sum(axis=0)  # 1 - q
    return ((a + 1) ** q - (1 + 2 * a) ** q * total ** (1 - q)) / q


def aul_with_wrong_sign(loss, eta, right):
    a, p, w = loss.a, loss.p, np.stack([eta, 1 - eta])
    return ((2 * a - 1) ** p * (w ** (1 / (p - 1))).sum(axis=0) ** (1 - p) - (a - 1) ** p) / p


MUTANTS = [
    (checks.calibration_functions, with_interior(AGCELoss, agce_with_wrong_sign)),
    (checks.calibration_functions, with_interior(AULLoss, aul_with_wrong_sign)),
    (
        checks.calibration_functions,
        with_interior(AULLoss, lambda l, eta, H: H + (l.a - 1) ** l.p / l.p),
    ),
    (
        checks.calibration_functions,
        with_interior(AELLoss, lambda l, eta, H: H * np.exp(-0.005 / (2 * l.a))),
    ),
    (
        checks.calibration_functions,
        {"H": lambda l, eta: checks.minimal_risk(l, eta, threshold=1.005)},
    ),
    (
        checks.calibration_functions,
        {"H": lambda l, eta: checks.minimal_risk(l, eta, threshold=0.995)},
    ),
    # H_minus of a concave loss without the wrong vertex
    (
        checks.calibration_functions,
        {"H_minus": lambda l, eta: l.of_probability(0.5) + 0 * eta},
    ),
    (
        checks.calibration_functions,
        {"H_minus": lambda l, eta: 1.005 * checks.wrong_side_risk(l, eta)},
    ),
    (checks.theorem_1, {"gap_bound": lambda l, eta: 1.005 * checks.promised_gap(l, eta)}),
    (checks.theorem_1, {"gap_bound": lambda l, eta: 0.995 * checks.promised_gap(l, eta)}),
    # the exponent 1 dropped, l(0) for l(1/2), the weight dropped
    (
        checks.theorem_1,
        {"gap_bound": lambda l, eta: abs(2 * eta - 1) * checks.promised_gap(l, eta)},
    ),
    (checks.theorem_1, {"gap_bound": lambda l, eta: abs(2 * eta - 1) * (l(0) - l(1))}),
    (checks.theorem_1, {"gap_bound": lambda l, eta: eta * (l(Fraction(1, 2)) - l(1))}),
    # the right side taken for the wrong one
    (
        checks.theorem_1,
        {"infima": lambda l, eta, u: checks.infima_on_grid(l, eta, u)[:1] * 2},
    ),
    (checks.converse, {"gap": lambda eta: checks.quadratic_gap(eta) * Fraction(995, 1000)}),
    (checks.converse, {"gap": lambda eta: Fraction(9, 8) * (2 * eta - 1) ** 2}),
    (checks.converse, {"counterexample": lambda u: 1 - u}),
    (checks.converse, {"counterexample": checks.kinked}),
    # spikes that do not vanish, that lie on the right side; a second class that is not 1 - L_1
    (checks.monotonicity, {"spike": lambda n: Fraction(1, 6)}),
    (checks.monotonicity, {"place": lambda n: Fraction(1, 2) + Fraction(1, n + 2)}),
    (checks.monotonicity, {"second": lambda first: 1 - Fraction(1005, 1000) * first}),
    (checks.monotonicity, {"spike": lambda n: -Fraction(1, n + 2)}),
]


@pytest.mark.parametrize(("check", "mutant"), MUTANTS)
def test_a_wrong_formula_changes_the_outcome(check, mutant):
    assert outcome(check(**mutant)) != expected(check)


def test_minimal_risk_agrees_with_the_certified_minimiser():
    for loss in checks.COMPLETE + checks.CONVEX:
        for eta in (0.03, 0.4, 0.45, 0.55, 0.7, 1.0):
            minimum = weighted_risk_minimiser(loss, [eta, 1 - eta])
            H = checks.minimal_risk(loss, eta)
            assert minimum.lower_bound - 1e-12 <= H <= minimum.risk + 1e-12


def test_the_exact_losses_are_the_library_s():
    u = np.linspace(0, 1, 7)
    for mine, loss in (
        (checks.agce_exact, AGCELoss(a=1, q=2)),
        (checks.aul_exact, AULLoss(a=2, p=2)),
    ):
        np.testing.assert_allclose(mine(u), loss.of_probability(u), rtol=1e-14, atol=1e-15)
