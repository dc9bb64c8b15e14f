"""Chapter 12b's checks: wrong formulas make them fail, and what they compute by other means."""

import math

import numpy as np
import pytest
from helpers import outcome
from test_checks import CHECKS, expected

from alfs_utils.losses import AELLoss
from alfs_utils.paper.checks import lost_classes as L


def one_factor(loss, u, w):
    return L.race(loss, u, w) / (u * (1 - u))


def slower(loss, u, w):
    return L.race(loss, u, w) / 2


def log_for_all(loss, eps, w=L.WEIGHT):
    return math.log(1 / eps) / (2 * w)


def inverse_for_all(loss, eps, w=L.WEIGHT):
    return 1 / (2 * w * eps)


def only_the_right_label(loss, eps, w=L.WEIGHT):
    return L.escape_time(loss, eps, w) if loss in (L.CE, L.GCE) else inverse_for_all(loss, eps)


def nothing_shared(x, *rest):
    _, y, n = L.two_classes(x, *rest)
    return [0.0, y, n]


def without_an_end(loss, prior, eta):
    q = prior / (1 - prior) * ((1 - eta) * loss.slope(0.0) / loss.slope(1.0) - eta)
    return math.log((1 + q) ** 2 / (4 * q))


MUTANTS = {
    "race: one factor u (1 - u)": (L.way_back, {"rate": one_factor}),
    "race: half as fast": (L.way_back, {"rate": slower}),
    "law: logarithm for all": (L.way_back, {"law": log_for_all}),
    "law: 1/eps for all": (L.way_back, {"law": inverse_for_all}),
    "law: the wrong label does not pull": (L.way_back, {"law": only_the_right_label}),
    "first move: nothing of its own": (
        L.shared_logit,
        {"behind": lambda prior, eta, apart: 1 - prior > (1 - 2 * eta) * prior},
    ),
    "first move: 1 - eta": (
        L.shared_logit,
        {"behind": lambda prior, eta, apart: 1 - prior > (1 + apart**2) * (1 - eta) * prior},
    ),
    "first move: never back": (L.shared_logit, {"behind": lambda *arguments: False}),
    "flow: nothing shared": (L.shared_logit, {"flow": nothing_shared}),
    "depth: as MAE": (
        L.depth_of_fall,
        {"law": lambda loss, prior, eta: L.fall_limit(L.MAE, prior, eta)},
    ),
    "depth: also from q = 1 on": (L.depth_of_fall, {"law": without_an_end}),
    "depth: equal classes": (
        L.depth_of_fall,
        {"law": lambda loss, prior, eta: L.fall_limit(loss, 0.5, eta)},
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_check_fails_when_its_formula_is_wrong(name):
    check, wrong = MUTANTS[name]
    assert outcome(check(**wrong)) != expected(check)


def test_every_check_has_two_mutants():
    checks = [check for check, _ in MUTANTS.values()]
    ours = [check for name, check in CHECKS.items() if name.startswith("lost_classes.")]
    assert len(ours) == 3 and all(checks.count(check) >= 2 for check in ours)


def test_times_in_closed_form():
    """MAE pulls with 2 everywhere: du/dt = 0.8 (u (1 - u))^2; CE: du/dt = 2 u (1 - u) (0.6 - u)."""

    def primitive(u):
        return 2 * math.log(u / (1 - u)) - 1 / u + 1 / (1 - u)

    for eps in (0.2, 0.01, 1e-4):
        exact = (primitive(0.5) - primitive(eps)) / 0.8
        assert L.return_time(L.MAE, eps) == pytest.approx(exact, rel=1e-4)
    u = (np.arange(10**6) + 0.5) * 0.4 / 10**6 + 0.1
    exact = (0.4 / 10**6 / (2 * u * (1 - u) * (0.6 - u))).sum()
    assert L.return_time(L.CE, 0.1) == pytest.approx(exact, rel=1e-6)


def test_weights_of_one_over_the_count_make_both_labels_equal():
    y, n = L.inverse_counts(0.3, 0.4)
    assert y * 0.18 == pytest.approx(n * 0.82) == pytest.approx(1)


def test_the_limit_of_mae_in_closed_form():
    """Its q is 1 - 2 eta; a loss whose pull at 0 is at least (1 + eta) / (1 - eta) has none."""
    for eta in (0.1, 0.3, 0.45):
        exact = math.log((1 - eta) ** 2 / (1 - 2 * eta))
        assert L.fall_limit(L.MAE, 0.5, eta) == pytest.approx(exact)
        border = AELLoss(a=1 / math.log((1 + eta) / (1 - eta)))
        assert L.fall_limit(border, 0.5, eta) == pytest.approx(0, abs=1e-12)
        assert L.fall_limit(AELLoss(a=0.9 * border.a), 0.5, eta) == 0
