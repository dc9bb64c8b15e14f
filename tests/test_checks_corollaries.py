"""The checks of chapter 9: what they find, and that each dies of a wrong formula."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from helpers import outcome
from test_checks import CHECKS, expected

from alfs_utils.asymmetry import asymmetry_ratio, weighted_risk_minimiser
from alfs_utils.losses import AELLoss, AGCELoss, AULLoss
from alfs_utils.paper.checks import corollaries


def times(function, factor):
    factor = Decimal(str(factor))
    return lambda *parameters: function(*parameters) * factor


below = corollaries.minimiser_below
A = (Fraction(16, 65), Fraction(9, 5), 1 / math.log(2.25))


def one_loss(name, loss):
    return {**corollaries.TABLE_LOSSES, name: loss}


MUTANTS = [
    ("corollary_1", {"threshold": times(corollaries.agce_threshold, 0.995)}),
    ("corollary_1", {"threshold": times(corollaries.agce_threshold, 1.005)}),
    ("corollary_1", {"threshold": lambda a, q: (a / (a + 1)) ** (1 - q) if q <= 1 else Decimal(1)}),
    ("corollary_1", {"threshold": lambda a, q: ((a + 1) / a) ** (1 + q) if q <= 1 else Decimal(1)}),
    ("corollary_1", {"threshold": lambda a, q: ((a + 1) / (a or 1)) ** abs(1 - q)}),
    ("corollary_1", {"threshold": lambda a, q: Decimal(1)}),
    ("corollary_2", {"threshold": times(corollaries.aul_threshold, 0.995)}),
    ("corollary_2", {"threshold": times(corollaries.aul_threshold, 1.005)}),
    ("corollary_2", {"threshold": lambda a, p: ((a + 1) / a) ** (p - 1) if p > 1 else Decimal(1)}),
    ("corollary_2", {"threshold": lambda a, p: (a / (a - 1)) ** p if p > 1 else Decimal(1)}),
    ("corollary_3", {"threshold": times(corollaries.ael_threshold, 0.995)}),
    ("corollary_3", {"threshold": times(corollaries.ael_threshold, 1.005)}),
    ("corollary_3", {"threshold": lambda a: a.exp()}),
    ("corollary_3", {"threshold": lambda a: 1 + 1 / a}),
    ("figure_2_gap", {"u_m": lambda f, a, rho, p=None: below(f, 0.995 * a, rho, p)}),
    ("figure_2_gap", {"u_m": lambda f, a, rho, p=None: below(f, a, 1 / rho, p)}),
    ("figure_2_gap", {"u_m": lambda f, a, rho, p=None: below(f, a, rho, p) / 1.005}),
    ("figure_2_growth", {"minimiser": lambda loss, w: 1 - weighted_risk_minimiser(loss, w).u}),
    ("figure_2_growth", {"minimiser": lambda loss, w: w / w.sum()}),
    ("figure_2_growth", {"minimiser": lambda loss, w: np.eye(len(w))[w.argmax()]}),
    ("numeric_remarks", {"c": Fraction(7, 2)}),
    ("numeric_remarks", {"claims": (A[0] * Fraction(201, 200), *A[1:])}),
    ("numeric_remarks", {"claims": (A[0], A[1] * Fraction(199, 200), A[2])}),
    ("numeric_remarks", {"claims": (*A[:2], A[2] * 1.005)}),
    ("numeric_remarks", {"claims": (*A[:2], 1 / math.log10(2.25))}),
    ("sixteen_65ths", {"slip": 4 / 9}),
    ("sixteen_65ths", {"meant": 0.995 * 4 / 9}),
    ("sixteen_65ths", {"meant": 1.005 * 4 / 9}),
    ("sixteen_65ths", {"ratio": lambda a: a / (a + 1)}),
    ("remark_growth", {"ratio": lambda loss: 1 / asymmetry_ratio(loss, "repaired")}),
    ("remark_growth", {"ratio": lambda loss: 0.5}),
    ("remark_growth", {"ratio": lambda loss: asymmetry_ratio(loss, "printed")}),
    ("remarks_on_completeness", {"agce_from": 0.995}),
    ("remarks_on_completeness", {"aul_up_to": 1.005}),
    ("remarks_on_completeness", {"agce_from": 0.5, "aul_up_to": 2}),
    ("hyper_parameters", {"c": 1.5 * 0.995}),
    ("hyper_parameters", {"c": 2.0}),
    ("hyper_parameters", {"losses": one_loss("CIFAR-10 AEL", AELLoss(a=2.4))}),
    ("hyper_parameters", {"losses": one_loss("CIFAR-100 NCE+AEL", AELLoss(a=5))}),
]


@pytest.mark.parametrize(("name", "mutant"), MUTANTS)
def test_a_wrong_formula_is_found(name, mutant):
    try:
        found = outcome(getattr(corollaries, name)(**mutant))
    except ArithmeticError:
        found = None
    assert found != expected(getattr(corollaries, name))


def test_every_check_has_three_mutants():
    names = [name for name, _ in MUTANTS]
    assert all(names.count(name[12:]) >= 3 for name in CHECKS if name.startswith("corollaries."))


def test_equality_is_decided_to_the_last_bit():
    """A threshold that is off by 1e-9 is found at equality, where floats see nothing."""
    for nudge in ("1.000000001", "0.999999999"):
        check = corollaries.corollary_3(times(corollaries.ael_threshold, nudge))
        assert not check.printed
        assert "at equality the risk rises from e_m to e_n, in 60 digits: 0 of 5" in str(check)


def test_the_formulas_are_those_of_the_library():
    for u in ("0", "0.3", "1"):
        for loss, formula, parameters in [
            (AGCELoss(0.6, 0.6), corollaries.agce, ("0.6", "0.6")),
            (AGCELoss(2, 0), corollaries.agce, ("2", "0")),
            (AULLoss(5.5, 3), corollaries.aul, ("5.5", "3")),
            (AULLoss(3, 0), corollaries.aul, ("3", "0")),
            (AELLoss(2.5), corollaries.ael, ("2.5",)),
        ]:
            value = formula(Decimal(u), *map(Decimal, parameters))
            assert loss.of_probability(float(u)) == pytest.approx(
                float(value), rel=1e-14, abs=1e-15
            )


def test_a_loss_with_the_same_end_slopes_that_is_not_convex_is_found():
    """The certified minimiser tests the slopes at the ends; F off e_m is held against F(e_m)."""

    def dented(u, a):  # AEL less a dent in the middle, slopes at 0 and 1 as before
        return corollaries.ael(u, a) - Decimal("0.5") * (u * (1 - u)) ** 2

    assert not corollaries.corollary(
        AELLoss, dented, corollaries.ael_threshold, [(2.5,)], []
    ).printed
    assert corollaries.corollary(
        AELLoss, corollaries.ael, corollaries.ael_threshold, [(2.5,)], []
    ).printed
