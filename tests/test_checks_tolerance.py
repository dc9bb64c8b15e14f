"""The checks of chapter 6 find what the chapter says, and fail when their formulas are wrong."""

import numpy as np
import pytest
from helpers import outcome
from test_checks import expected

from alfs_utils.losses import AELLoss
from alfs_utils.paper.checks import tolerance as t


def vertices_only(l, w, y, points):
    return t.asymmetric_on_grid(l, w, y, points[points.max(axis=1) == len(l) - 1])


def wrong_ael(family, r):
    return AELLoss(a=1 / r) if family == "AEL" else t.loss_with_ratio(family, r)


MUTANTS = {
    "assumption 2: a hard maximum": (t.assumption_2, {"softmax": lambda p, k: 1 + 0 * p}),
    "assumption 2: never close to 1": (t.assumption_2, {"softmax": lambda p, k: 1 / (k + p)}),
    "assumption 2: no softmax": (t.assumption_2, {"softmax": lambda p, k: 1 - (k - 1) * p}),
    "example: affine": (t.assumption_2_cannot_be_dropped, {"loss": lambda u: 1 - u}),
    "example: convex": (t.assumption_2_cannot_be_dropped, {"loss": lambda u: (2 - u) ** 2}),
    "example: noise dropped": (
        t.assumption_2_cannot_be_dropped,
        {"risks": lambda l, eta, u: t.binary_risks(l, 0, u)},
    ),
    "theorem 4: any loss": (t.theorem_4, {"asymmetric": lambda *x: True}),
    "theorem 4: vertices only": (t.theorem_4, {"asymmetric": vertices_only}),
    "theorem 4: weights the wrong way round": (
        t.theorem_4,
        {"asymmetric": lambda l, w, y, p: t.asymmetric_on_grid(l, 8 - w, y, p)},
    ),
    "theorem 4: never asymmetric": (t.theorem_4, {"asymmetric": lambda *x: False}),
    "limit: without the ratio": (t.theorem_4_limit, {"modulus": lambda y, n, r: y - n}),
    "limit: ratio 0.5 % higher": (
        t.theorem_4_limit,
        {"modulus": lambda y, n, r: t.excess_modulus(y, n, 1.005 * r)},
    ),
    "limit: ratio 0.5 % lower": (
        t.theorem_4_limit,
        {"modulus": lambda y, n, r: t.excess_modulus(y, n, r / 1.005)},
    ),
    "limit: noise dropped": (t.theorem_4_limit, {"modulus": lambda y, n, r: y}),
    "accuracy: a factor of 2 less": (
        t.clean_accuracy,
        {"factor": lambda l, d: t.accuracy_factor(l, d) / 2, "classes": (2, 3)},
    ),
    "accuracy: 0.5 % less": (
        t.clean_accuracy,
        {"factor": lambda l, d: t.accuracy_factor(l, d) / 1.005, "classes": (2, 10)},
    ),
    "accuracy: 0.5 % more": (
        t.clean_accuracy,
        {"factor": lambda l, d: t.accuracy_factor(l, d) * 1.005, "classes": (2, 10)},
    ),
    "accuracy: l(0) for l(1/2)": (
        t.clean_accuracy,
        {"factor": lambda l, d: 1 / (d * (l(0.0) - l(1.0))), "classes": (2, 3)},
    ),
    "worlds: above 1/k": (t.two_worlds, {"assumption": lambda w: w[0] > 1 / len(w)}),
    "worlds: a stronger assumption": (
        t.two_worlds,
        {"assumption": lambda w: w[0] > 1.2 * max(w[1:])},
    ),
    "rates: 1 % more": (
        t.rates_not_needed,
        {"tune": lambda family, r: t.loss_with_ratio(family, 1.01 * r)},
    ),
    "rates: 0.5 % less": (
        t.rates_not_needed,
        {"tune": lambda family, r: t.loss_with_ratio(family, r / 1.005)},
    ),
    "distribution: no noise": (t.data_distribution, {"noisy": lambda T, p: p}),
    "distribution: T for its transpose": (t.data_distribution, {"noisy": lambda T, p: T @ p}),
    "distribution: clean labels dropped": (
        t.data_distribution,
        {"noisy": lambda T, p: T.T @ p - np.diag(T) * p + 1e-9},
    ),
    "any noise: no assumption": (t.any_noise_model, {"assumption": lambda w: True}),
    "any noise: above 1/k": (t.any_noise_model, {"assumption": lambda w: w[0] > 1 / len(w)}),
    "any noise: 0.5 % weaker": (
        t.any_noise_model,
        {"assumption": lambda w: w[0] > 0.995 * max(w[1:])},
    ),
    "any noise: 0.5 % stronger": (
        t.any_noise_model,
        {"assumption": lambda w: w[0] > 1.005 * max(w[1:])},
    ),
    "argmax: sum of weights": (
        t.argmax_tolerance,
        {"gain": lambda w, L, i, j: (w[i] + w[j]) * (L[i] - L[j])},
    ),
    "argmax: one term dropped": (
        t.argmax_tolerance,
        {"gain": lambda w, L, i, j: w[i] * (L[i] - L[j])},
    ),
    "argmax: softmax of the weights": (
        t.argmax_tolerance,
        {"ce_minimiser": lambda w: np.exp(w) / np.exp(w).sum()},
    ),
    "argmax: the vertex": (
        t.argmax_tolerance,
        {"ce_minimiser": lambda w: np.eye(len(w))[w.argmax()]},
    ),
    "threshold: 0.75 % higher": (
        t.what_asymmetry_buys,
        {"tune": lambda family, r: t.loss_with_ratio(family, 1.0075 * r)},
    ),
    "threshold: 0.75 % lower": (
        t.what_asymmetry_buys,
        {"tune": lambda family, r: t.loss_with_ratio(family, r / 1.0075)},
    ),
    "threshold: 1/r for ln": (t.what_asymmetry_buys, {"tune": wrong_ael}),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_check_fails_when_its_formula_is_wrong(name):
    check, wrong = MUTANTS[name]
    wrong |= {t.theorem_4: {"worlds": 500}, t.what_asymmetry_buys: {"samples": 6}}.get(check, {})
    assert outcome(check(**wrong)) != expected(check)
