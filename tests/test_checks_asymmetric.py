"""Chapter 2's checks: their outcomes, and wrong formulas that make them fail."""

import numpy as np
import pytest
from helpers import outcome
from test_checks import expected

from alfs_utils import losses
from alfs_utils.asymmetry import asymmetry_ratio_exact
from alfs_utils.paper.checks import asymmetric as checks
from alfs_utils.paper.checks.asymmetric import every_subset, sum_is_large_enough

MUTANTS = [
    # all subsets but the whole set; no pairs; strict inequality; the wrong class
    (checks.complete_asymmetry_criterion, {"criterion": checks._whole_set_only}),
    (checks.complete_asymmetry_criterion, {"criterion": lambda x, t: every_subset(x[..., :1], 0)}),
    (checks.complete_asymmetry_criterion, {"criterion": lambda x, t: every_subset(x - 0.01, t)}),
    (
        checks.complete_asymmetry_criterion,
        {"criterion": lambda x, t: every_subset(x, (t + 1) % x.shape[-1])},
    ),
    # k for k - 1, k - 2 for k - 1, a dropped l(1), > for >=, 0.5 % off
    (checks.one_inequality, {"inequality": lambda l, u, k: sum_is_large_enough(l, u, k + 1)}),
    (checks.one_inequality, {"inequality": lambda l, u, k: sum_is_large_enough(l, u, k - 1)}),
    (
        checks.one_inequality,
        {"inequality": lambda l, u, k: l[u].sum(axis=1).min() > (k - 1) * l[0]},
    ),
    (
        checks.one_inequality,
        {"inequality": lambda l, u, k: l[u].sum(axis=1).min() >= 1.005 * (k - 1) * l[0]},
    ),
    (checks.convex_and_complete, {"threshold": lambda g: checks._threshold(g) * 995 / 1000}),
    (checks.convex_and_complete, {"threshold": lambda g: checks._threshold(g) * 1005 / 1000}),
    (checks.convex_and_complete, {"threshold": lambda g: 1 / checks._threshold(g)}),
    (
        checks.convex_and_complete,
        {"inequality": lambda l, u, k: sum_is_large_enough(l, u, k - 1)},
    ),
    # always; never; the bend upside down; no bend
    (checks.symmetric_and_convex, {"symmetric": lambda l: True}),
    (checks.symmetric_and_convex, {"symmetric": lambda l: False}),
    (checks.convex_in_logits, {"bend": lambda loss, z: -checks.logit_bend(loss, z)}),
    (checks.convex_in_logits, {"bend": lambda loss, z: 1.0}),
    (checks.convex_in_logits, {"stops": lambda loss, rho: checks.stationary(loss, 0.8 * rho)}),
    # a difference for the sum; one class only; 0.5 % more of one class
    (
        checks.strict_asymmetry,
        {"two_sum": lambda loss, u: -np.diff(checks.loss_values(loss, u))[:, 0]},
    ),
    (checks.strict_asymmetry, {"two_sum": lambda loss, u: checks.loss_values(loss, u)[:, 0]}),
    (
        checks.strict_asymmetry,
        {"two_sum": lambda loss, u: checks.loss_values(loss, u) @ [1, 1.005]},
    ),
    (checks.strict_asymmetry, {"rise": lambda l, d, e: (1 - e) * (l(0) - l(1))}),
    (checks.strict_asymmetry, {"rise": lambda l, d, e: l(0) - l(1) - (l(0) - l(d))}),
    # pairs in the wrong order; a search that returns a fall
    (
        checks.strict_asymmetry,
        {"search": lambda loss, w, u, v: checks.largest_rise(loss, w[::-1], u, v)},
    ),
    (
        checks.strict_asymmetry,
        {"search": lambda loss, w, u, v: -abs(checks.largest_rise(loss, w, u, v))},
    ),
]


@pytest.mark.parametrize(("check", "mutant"), MUTANTS)
def test_a_wrong_formula_changes_the_outcome(check, mutant):
    assert outcome(check(**mutant)) != expected(check)


@pytest.mark.parametrize("k", [2, 3])
def test_the_inequality_agrees_with_the_library(k):
    """r*_k >= 1 is the same statement; knots at multiples of 1/6 are exact there."""
    rng = np.random.default_rng(k)
    points = checks.grid_of_simplex(k, 6)
    answers = set()
    for _ in range(8):
        g = rng.integers(1, 4, 6)
        l = np.append(np.cumsum(g[::-1])[::-1], 0)

        def loss(u, l=l):
            i = min(int(6 * u), 5)
            return int(l[i]) - (6 * u - i) * int(l[i] - l[i + 1])

        answer = sum_is_large_enough(l, points, k)
        assert answer == (asymmetry_ratio_exact(loss, k) >= 1)
        answers.add(answer)
    assert answers == {True, False}


def test_the_exact_examples_are_the_library_s_losses():
    u = np.linspace(0, 1, 7)
    for name, loss in {
        "MAE / 2": 0.5 * losses.MAELoss(),
        "AGCE (1, 2)": losses.AGCELoss(a=1, q=2),
        "AUL (2, 2)": losses.AULLoss(a=2, p=2),
    }.items():
        mine = np.array([float(checks.EXAMPLES[name](x)) for x in u])
        np.testing.assert_allclose(mine, loss.of_probability(u), rtol=1e-14, atol=1e-15)
