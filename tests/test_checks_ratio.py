"""The checks of chapter 7: what they find, and that each dies of a wrong formula."""

from fractions import Fraction

import numpy as np
import pytest
from helpers import outcome
from test_checks import CHECKS, expected

from alfs_utils import noise
from alfs_utils.asymmetry import asymmetry_ratio, asymmetry_ratio_exact
from alfs_utils.losses import AELLoss, AGCELoss, AULLoss, GCELoss
from alfs_utils.paper.checks import ratio


def times(function, factor):
    return lambda loss: factor * function(loss)


def q_minus_1(loss):
    """The sign of the exponent the wrong way round."""
    if isinstance(loss, AGCELoss):
        return (loss.a / (loss.a + 1)) ** (loss.q - 1) if loss.q <= 1 else 1.0
    return ratio.paper_ratio(loss)


def a_plus_1(loss):
    """AUL with a/(a + 1) for (a - 1)/a."""
    if isinstance(loss, AULLoss) and loss.p >= 1:
        return (loss.a / (loss.a + 1)) ** (loss.p - 1)
    return ratio.paper_ratio(loss)


def ael_half(loss):
    return float(np.exp(-0.5 / loss.a)) if isinstance(loss, AELLoss) else ratio.paper_ratio(loss)


def gce_1(loss):
    return 1.0 if isinstance(loss, GCELoss) else ratio.paper_ratio(loss)


def whole_square(n):
    """Without u_1 + u_2 <= 1."""
    return [
        (i, j, d)
        for j in range(1, n + 1)
        for i in range(n + 1)
        for d in range(1, min(j, n - i) + 1)
    ]


def no_small_moves(n):
    """At least 2/n of the mass must move."""
    return [(n - j, j, j) for j in range(2, n + 1)]


def only_first_step(n):
    return [(0, j, j) for j in range(1, n + 1)]


def far_end(n):
    """Like (8), but the mass comes from the top of class n: l(u_2) - l(1) below the line."""
    return [(n - d, n, d) for d in range(1, n + 1)]


def two_class_ratio(h):
    return ratio.infimum(h, ratio.upper_moves)


def pairs_without_sum(h):
    n = len(h) - 1
    return min(Fraction(h[n] - h[n - i], h[i]) for i in range(1, n + 1))


def only_even_split(h):
    n = len(h) - 1
    return min(Fraction(h[n] - h[n - 2 * i], 2 * h[i]) for i in range(1, n // 2 + 1))


def includes_true_class(T):
    k = len(T)
    return noise.clean_level(T * (k - 1) / k + np.eye(k) / k)


MUTANTS = [
    ("definition_3_values", {"paper": q_minus_1}),
    ("definition_3_values", {"paper": a_plus_1}),
    ("definition_3_values", {"paper": ael_half}),
    ("definition_3_values", {"paper": gce_1}),
    ("definition_3_values", {"paper": times(ratio.paper_ratio, 0.995)}),
    ("definition_3_values", {"paper": times(ratio.paper_ratio, 1.005)}),
    ("definition_3_values", {"closed": ratio.paper_ratio}),
    ("definition_3_values", {"paper": ratio.printed_ratio}),
    ("equal_ratios", {"paper": q_minus_1}),
    ("equal_ratios", {"paper": times(ratio.paper_ratio, 0.995)}),
    ("equal_ratios", {"paper": ratio.printed_ratio}),
    ("equation_8", {"ratio": ratio.repaired_moves}),
    ("equation_8", {"ratio": ratio.upper_moves}),
    ("equation_8", {"upper": far_end}),
    ("equation_8", {"repair": only_first_step}),
    ("equation_8", {"ratio": whole_square}),
    ("theorem_6", {"repair": ratio.upper_moves}),
    ("theorem_6", {"repair": only_first_step}),
    ("theorem_6", {"enough": lambda x: x >= 1}),
    ("theorem_6", {"enough": lambda x: x > Fraction(199, 200) - Fraction(1, 10**6)}),
    ("theorem_6", {"ratio": ratio.upper_moves}),
    ("theorem_8", {"upper": ratio.printed_moves}),
    ("theorem_8", {"upper": ratio.repaired_moves}),
    ("theorem_8", {"upper": only_first_step}),
    ("theorem_8", {"upper": no_small_moves}),
    ("when_the_ratios_agree", {"repair": ratio.upper_moves}),
    ("when_the_ratios_agree", {"ratio": ratio.repaired_moves}),
    ("when_the_ratios_agree", {"upper": only_first_step}),
    ("remark_complete", {"ratio": ratio.upper_moves}),
    ("remark_complete", {"repair": only_first_step}),
    ("remark_complete", {"repair": ratio.printed_moves}),
    ("remark_complete", {"upper": ratio.printed_moves}),
    ("k_class_ratio", {"ratio": two_class_ratio}),
    ("k_class_ratio", {"ratio": pairs_without_sum}),
    ("k_class_ratio", {"ratio": only_even_split}),
    ("landscape", {"ratio": ratio.paper_ratio}),
    ("landscape", {"ratio": times(ratio.printed_ratio, 1.006)}),
    ("landscape", {"ratio": times(ratio.printed_ratio, 0.994)}),
    ("remark_clean_level", {"needed": Fraction(2, 3) * Fraction(199, 200)}),
    ("remark_clean_level", {"needed": Fraction(1)}),
    ("remark_clean_level", {"level": includes_true_class}),
    ("remark_clean_level", {"level": lambda T: 1.005 * noise.clean_level(T)}),
]


@pytest.mark.parametrize(("name", "mutant"), MUTANTS)
def test_a_wrong_formula_is_found(name, mutant):
    assert outcome(getattr(ratio, name)(**mutant)) != expected(getattr(ratio, name))


def test_every_check_has_three_mutants():
    names = [name for name, _ in MUTANTS]
    assert all(names.count(name[6:]) >= 3 for name in CHECKS if name.startswith("ratio."))


def test_moved_by_half_a_per_cent_theorem_8_is_false(monkeypatch):
    true = ratio.infimum
    monkeypatch.setattr(ratio, "infimum", lambda h, moves: true(h, moves) * Fraction(199, 200))
    check = ratio.theorem_8()
    assert not check.printed


def test_moved_by_half_a_per_cent_theorem_6_is_false(monkeypatch):
    true = ratio.infimum
    monkeypatch.setattr(ratio, "infimum", lambda h, moves: true(h, moves) * Fraction(201, 200))
    assert ratio.theorem_6().repaired is False


def test_the_library_agrees_with_the_enumeration():
    for h in ratio.random_drops(24):
        loss = ratio.polyline(h)
        assert asymmetry_ratio(loss, "printed") == ratio.infimum(h, ratio.printed_moves)
        assert asymmetry_ratio(loss, "repaired") == ratio.infimum(h, ratio.repaired_moves)
        assert asymmetry_ratio_exact(loss, 3) == ratio.three_class_ratio(h)


def test_descent_follows_the_gradient_of_the_risk():
    w, start, rate, d = np.array([2.0, 1.0, 0.5]), np.array([0.2, 0.5, 0.3]), 1e-3, 1e-6

    def risk(z):
        u = np.exp(z) / np.exp(z).sum()
        return w @ np.exp(-u / 1.5)

    z = np.log(start)
    gradient = [(risk(z + d * e) - risk(z - d * e)) / (2 * d) for e in np.eye(3)]
    u = ratio.descend(AELLoss(1.5).slope, w, start, rate, steps=1)
    step = np.log(u) - z
    np.testing.assert_allclose(step - step.mean(), -rate * np.array(gradient), atol=1e-9)
    best = ratio.descend(AELLoss(1.0).slope, w, start, rate=1, steps=1000)
    assert best[0] == pytest.approx(0.5 + 0.5 * np.log(2), abs=1e-3)
