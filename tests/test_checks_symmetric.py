"""The checks of chapter 5 find what the chapter says, and fail when their formulas are wrong."""

from fractions import Fraction

import numpy as np
import pytest
from helpers import outcome
from test_checks import expected

from alfs_utils.paper.checks import symmetric as s


def unnormalised(u):
    return [2 - 2 * Fraction(x) ** 2 for x in u]


def ngce_two(u):
    values = [1 - Fraction(x) ** 2 for x in u]
    return [x / sum(values) for x in values]


def only_the_next_class(table, t):
    i = (t + 1) % table.shape[1]
    return bool((table[:, i] <= table[t, i]).all())


def difference_of_tables(alpha, first, beta, second):
    return s.weighted_sum(alpha, first, beta if first.ndim == 1 else -beta, second)


def corner_without_nce(alpha, beta, loss, w, logit_range):
    return s.minimise_on_box(0, beta, loss, w, logit_range)


MUTANTS = {
    "theorem 3: a loss that is bounded at the vertex": (s.theorem_3, {"loss": ngce_two}),
    "theorem 3: a loss that is not symmetric": (s.theorem_3, {"loss": unnormalised}),
    "theorem 3: no criterion": (s.theorem_3, {"criterion": lambda table, t: True}),
    "theorem 3: one class only": (s.theorem_3, {"criterion": only_the_next_class}),
    "theorem 3: vertices only": (
        s.theorem_3,
        {"criterion": lambda table, t: s.bound_at_the_vertex(table[: table.shape[1]], t)},
    ),
    "theorem 3: a weaker bound": (
        s.theorem_3,
        {"criterion": lambda table, t: s.bound_at_the_vertex(table - (table > 3), t)},
    ),
    "theorem 3: w_t for w_t - w_i": (
        s.theorem_3,
        {"gap": lambda w, x, e, t: (e - x) @ (w[:, [t]] + 0 * w).T},
    ),
    "theorem 3: opposite sign": (
        s.theorem_3,
        {"gap": lambda w, x, e, t: -s.gap_by_differences(w, x, e, t)},
    ),
    "symmetric noise: 1 - eta": (
        s.ghosh_symmetric_noise,
        {"noisy": lambda R, eta, k, C: (1 - eta) * R + eta * Fraction(C, k - 1)},
    ),
    "symmetric noise: constant dropped": (
        s.ghosh_symmetric_noise,
        {"noisy": lambda R, eta, k, C: s.noisy_from_clean(R, eta, k, 0)},
    ),
    "symmetric noise: eta 0.5 % off": (
        s.ghosh_symmetric_noise,
        {"noisy": lambda R, eta, k, C: s.noisy_from_clean(R, eta * Fraction(201, 200), k, C)},
    ),
    "quotation: no bound": (s.ghosh_quotation, {"bound": lambda table, C: True}),
    "quotation: bound at the vertices only": (
        s.ghosh_quotation,
        {"bound": lambda table, C: s.ghosh_bound(table[: table.shape[1]], C)},
    ),
    "quotation: bound one too high": (
        s.ghosh_quotation,
        {"bound": lambda table, C: s.ghosh_bound(table - 1, C)},
    ),
    "quotation: no domination": (s.ghosh_quotation, {"domination": lambda w, y: True}),
    "quotation: above the mean": (
        s.ghosh_quotation,
        {"domination": lambda w, y: bool(w[y] > w.mean())},
    ),
    "NCE: inverse of cross entropy": (s.nce_infimum, {"inverse": np.log}),
    "NCE: scale dropped": (s.nce_infimum, {"inverse": lambda p: -p}),
    "NCE: scale 0.5 % off": (s.nce_infimum, {"inverse": lambda p: 1.005 * s.point_with_nce(p)}),
    "NCE: mean of the weights": (s.nce_infimum, {"least": np.mean}),
    "NCE: minimum 0.5 % higher": (s.nce_infimum, {"least": lambda w: 1.005 * w.min()}),
    "NCE: minimum 0.5 % lower": (s.nce_infimum, {"least": lambda w: 0.995 * w.min()}),
    "normalised: no shift": (s.normalised_losses, {"threshold": lambda w, r, c: max(w) / r}),
    "normalised: phi(1) neglected": (
        s.normalised_losses,
        {"threshold": lambda w, r, c: s.shifted_threshold(w, r, 0.0)},
    ),
    "normalised: threshold 0.75 % higher": (
        s.normalised_losses,
        {"threshold": lambda w, r, c: 1.0075 * s.shifted_threshold(w, r, c)},
    ),
    "normalised: threshold 0.75 % lower": (
        s.normalised_losses,
        {"threshold": lambda w, r, c: s.shifted_threshold(w, r, c) / 1.0075},
    ),
    "sum: a difference": (s.theorem_5, {"combine": difference_of_tables}),
    "sum: the greater ratio": (s.theorem_5, {"bound": max}),
    "sum: the mean ratio": (s.theorem_5, {"bound": lambda a, b: (a + b) / 2}),
    "sum: ratio 0.5 % higher": (
        s.theorem_5,
        {"bound": lambda a, b: min(a, b) * Fraction(201, 200)},
    ),
    "NCE + ALF: rate 0.5 % off": (
        s.nce_plus_alf,
        {"rate": lambda *x: 1.005 * s.rate_constant(*x)},
    ),
    "NCE + ALF: least weight dropped": (
        s.nce_plus_alf,
        {"rate": lambda a, b, loss, w: s.rate_constant(a, b, loss, (*w[:2], 0))},
    ),
    "NCE + ALF: coefficients dropped": (
        s.nce_plus_alf,
        {"rate": lambda a, b, loss, w: s.rate_constant(1, 1, loss, w)},
    ),
    "NCE + ALF: without NCE": (s.nce_plus_alf, {"minimise": corner_without_nce}),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_check_fails_when_its_formula_is_wrong(name):
    check, wrong = MUTANTS[name]
    wrong |= {"rounds": 1} if check is s.normalised_losses else {}
    assert outcome(check(**wrong)) != expected(check)


def test_squares_only():
    with pytest.raises(ValueError, match="squares of fractions"):
        s.ngce_half([Fraction(1, 2), Fraction(1, 2), Fraction(0)])
