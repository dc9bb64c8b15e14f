"""Every check: what it finds, and that its control can say that nothing was refuted."""

import inspect
import json
import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from html import escape
from importlib import import_module
from pkgutil import iter_modules
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import ROOT, outcome

from alfs_utils.instance_noise import class_matrix
from alfs_utils.losses import GCELoss, MAELoss, NCELoss
from alfs_utils.paper import checks
from alfs_utils.paper.checks import (
    Check,
    corollaries,
    excess_risk,
    limits,
    lost_classes,
    ratio,
    tolerance,
)
from alfs_utils.paper.checks.limits import _partly_certified as partly_certified
from alfs_utils.paper.checks.limits import above_the_limit
from alfs_utils.paper.printed import CELLS
from alfs_utils.paper.verdicts import VERDICTS

ROOMS = [import_module(f"{checks.__name__}.{room.name}") for room in iter_modules(checks.__path__)]
CHECKS = {
    f"{room.__name__.split('.')[-1]}.{name}": function
    for room in ROOMS
    for name, function in inspect.getmembers(room, inspect.isfunction)
    if function.__module__ == room.__name__ and function.__annotations__.get("return") is Check
}


# The word of each check. The first five are of statements that are refuted here, for which an entry
# allows several words; on the rest no verdict rests.
EXPECTED = {entry.check: entry.verdict.replace("proved here", "true") for entry in VERDICTS} | {
    "calibration.converse": "false",
    "corollaries.hyper_parameters": "repaired",
    "domination.cifar100_flips": "repaired",
    "excess_risk.excess_risk_convex": "repaired",
    "instance.class_certificate": "true with a hidden assumption",
    "asymmetric.complete_asymmetry_criterion": "true",
    "calibration.monotonicity": "false",
    "ratio.k_class_ratio": "true",
    "ratio.landscape": "true",
    "tolerance.theorem_4_limit": "true",
    "tolerance.what_asymmetry_buys": "true",
    "limits.start_times": "true",
    "instance.posteriors": "true",
}


def expected(check):
    """The `outcome` of a check with its true formulas."""
    (name,) = (name for name, function in CHECKS.items() if function is check)
    return EXPECTED[name], True, True


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_finds_what_every_entry_says(name):
    found = CHECKS[name]()
    assert outcome(found) == (EXPECTED[name], True, True), found
    assert all(entry.agrees_with(found) for entry in VERDICTS if entry.check == name)
    assert len(found.figures) >= 2
    assert all(escape(name) in found._repr_html_() for name in found.figures)


# --- the controls ---------------------------------------------------------------------------


def everything(*arguments):
    return True


def certified(loss, T):
    return SimpleNamespace(asymmetric=True, witness=None, verdict="asymmetric")


def refuted(loss, T):
    return SimpleNamespace(asymmetric=False, witness=None, verdict="not asymmetric")


def at_first_vertex(loss, w):
    return SimpleNamespace(u=np.eye(len(w))[0])


def always_asymmetric(alpha, first, beta, second):
    total = np.ones_like(first)
    if first.ndim == 3:
        total[:, 0] = 0  # the vertex
    return total


def cells_with(mean, method, eta=None):
    """The paper's cells with another mean in some of them."""
    return [
        replace(c, mean=mean) if c.method == method and eta in (None, c.eta) else c for c in CELLS
    ]


def affine(u):
    return 1 - u


def some_concave(l, points, k):
    return bool((np.diff(l, 2) <= 0).all() and l[0] > 3 * k)


def no_cases(*arguments, **options):
    return []


def with_limit_zero(loss, error, agreement):
    excess, limit = above_the_limit(loss, error, agreement)
    return excess - limit, 0.0


def fast_to_its_limit(loss, error, agreement):
    excess, limit = above_the_limit(loss, error, agreement)
    return limit + (excess - limit) ** 2, limit


def one_label_is_the_distribution(counts, rng):
    counts[:] = limits.one_label_each(counts, rng)
    return counts


def with_p0_added(margins, budget):
    return limits.fill_up(margins, budget) + (margins <= 0).mean() * (np.asarray(budget) > 0)


def by_class(clean, posterior):
    return class_matrix(clean, posterior)[clean]


def nothing_to_gain(loss):
    w, n, margins, least, _ = partly_certified(loss)
    return w, n, margins, least, least


# For each check, arguments and names of its module under which its control has nothing to refute.
# Where a control has two parts, either is left without.
SILENT = {
    "asymmetric.complete_asymmetry_criterion": [{"tables": 0}],
    "asymmetric.convex_and_complete": [{"threshold": lambda g: Fraction(100)}],
    "asymmetric.convex_in_logits": [
        {"bend": lambda loss, z: 1.0},
        {"stops": lambda loss, rho: False},
    ],
    "asymmetric.one_inequality": [{"inequality": everything}, {"inequality": some_concave}],
    "asymmetric.strict_asymmetry": [{"asymmetry_ratio": lambda loss: 100.0}],
    "asymmetric.symmetric_and_convex": [{"symmetric": everything}],
    "calibration.calibration_functions": [{"kinked": affine}, {"is_convex": lambda loss: False}],
    "calibration.converse": [{"is_asymmetric": lambda loss, w: False}],
    "calibration.monotonicity": [{"every_subset": everything, "second": lambda f: 3 * (1 - f)}],
    "calibration.theorem_1": [{"gap_bound": lambda l, eta: 0 * eta}, {"kinked": affine}],
    "corollaries.corollary_1": [{"threshold": lambda a, q: Decimal(1)}],
    "corollaries.corollary_2": [{"threshold": lambda a, p: Decimal(1)}],
    "corollaries.corollary_3": [
        {"threshold": lambda a: Decimal(1)},
        {"threshold": lambda a: 2 * corollaries.ael_threshold(a)},
    ],
    "corollaries.figure_2_gap": [
        {"u_m": lambda f, a, rho, p=None: corollaries.minimiser_below(f, a / 1.005, rho, p)}
    ],
    "corollaries.figure_2_growth": [{"minimiser": lambda loss, w: w / w.sum()}],
    "corollaries.hyper_parameters": [{"certify": certified}],
    "corollaries.numeric_remarks": [{"certify": refuted}],
    "corollaries.remark_growth": [{"ratio": lambda loss: loss.a}],
    "corollaries.remarks_on_completeness": [{"certify": certified}],
    "corollaries.sixteen_65ths": [{"meant": 4 / 9 / 1.005}],
    "domination.assumption_1": [{"bound": lambda k: 2}],
    "domination.average_rate": [{"dominant": lambda clean, given: np.ones(10, bool)}],
    "domination.cifar100_flips": [{"superclass": np.zeros(100)}],
    "domination.definition_1": [{"tables": 0}],
    "domination.noise_definitions": [
        {"asymmetric": lambda T, eta, every_class=True: True},
        {"asymmetric": lambda T, eta, every_class=True: False},
    ],
    "earlier.gce_and_agce": [{"gce": lambda q: GCELoss(q=1)}],
    "earlier.mae_weights": [{"AELLoss": lambda a: MAELoss()}],
    "earlier.nce_alone": [
        {"cells": cells_with(0.0, "NCE+AUL")},
        {"cells": cells_with(0, "NCE+RCE")},
    ],
    "earlier.nce_gradient": [{"bound": lambda k: 1 / np.log(k)}],
    "earlier.noisy_labels_degrade": [{"cells": cells_with(100.0, "AGCE", eta=0.0)}],
    "earlier.only_convex": [{"flip": lambda l: -l}],
    "earlier.sce_and_rce": [{"CELoss": MAELoss}],
    "excess_risk.excess_risk_convex": [
        {"printed": lambda l: 1e9},
        # (6) fails at some rates only; theta0 / psi(theta0) is enough below theta0, too
        {
            "losses": excess_risk.CONVEX[:1],
            "printed": lambda l: 1.2 * excess_risk.printed_factor(l),
        },
        {"losses": [MAELoss()], "printed": lambda l: excess_risk.printed_factor(l) / 2},
    ],
    "excess_risk.excess_risk_multiclass": [{"losses": ()}],
    "excess_risk.minimal_risk_minimal_error": [{"right": everything}],
    "excess_risk.theorem_2": [{"printed": lambda l: 10**9}],
    "instance.class_certificate": [{"losses": ()}, {"weights_of": by_class}],
    "instance.part_dependent_noise": [
        {"_on_one_class": lambda clean, posterior: 1.0},
        {"_samples": lambda n, k: (np.arange(n) % k, np.ones((n, 20)))},
    ],
    "instance.posteriors": [{"surprise": lambda *arguments: 1.0}],
    "limits.bernstein_condition": [{"CERTIFIED": (MAELoss(),)}],
    "limits.convex_calibration": [
        {"losses": ()},
        {"losses": excess_risk.CONVEX[:1], "constant": lambda loss, k, c: 1e9},
    ],
    "limits.fast_rate": [
        {"above_the_limit": with_limit_zero},
        {"above_the_limit": fast_to_its_limit},
    ],
    "limits.interpolation": [
        {"labels": lambda counts, rng: counts},  # none is wrong
        {"labels": one_label_is_the_distribution},
    ],
    "limits.not_convex_in_logits": [{"never_convex": everything}, {"CELoss": MAELoss}],
    "limits.partial_certificate": [
        {"CERTIFIED": ()},
        {"bound": with_p0_added},
        {"_partly_certified": nothing_to_gain},
    ],
    "limits.slow_start": [
        {"cross_entropy": lambda k: k - 2},
        {"convex": lambda k, c: limits.convex_time(k, c) + 1e-3},
    ],
    "limits.start_times": [{"rate": lambda u, pull, k: limits.flow(u, pull, k) / 1.2}],
    "limits.time_and_range": [{"bound": lambda k, c: limits.time_range_bound(k, c) / 2}],
    "limits.twice_bent": [{"twice_bent_excess": lambda d, *others: 0 * d + 1}],
    "lost_classes.depth_of_fall": [{"CE": lost_classes.MAE}],
    "lost_classes.shared_logit": [{"fall": lambda *_, **options: (np.ones(2), -np.ones(2))}],
    "lost_classes.way_back": [{"MAE": lost_classes.CE}],
    "ratio.definition_3_values": [
        {"paper": lambda loss: (ratio.paper_ratio(loss) - 1e-3) / 1.005, "losses": [MAELoss()]}
    ],
    "ratio.equal_ratios": [
        {"paper": lambda loss: (ratio.paper_ratio(loss) - 1e-3) / 1.005, "losses": [MAELoss()]},
        {"infimum": lambda h, moves: 1},
    ],
    "ratio.equation_8": [
        {"random_drops": lambda: [[0, 1, 4]]},  # r = 1/3, r_u = 1
        {"upper": ratio.printed_moves},
    ],
    "ratio.k_class_ratio": [{"random_drops": no_cases}],
    "ratio.landscape": [{"LOSSES": []}],
    "ratio.remark_clean_level": [{"needed": Fraction(1)}],
    "ratio.remark_complete": [{"random_drops": no_cases}],
    "ratio.theorem_6": [{"random_drops": no_cases}],
    "ratio.theorem_8": [{"random_drops": no_cases}],
    "ratio.when_the_ratios_agree": [{"random_drops": no_cases}],
    "symmetric.ghosh_quotation": [
        {"_worlds": no_cases},
        {"bound": everything},
        {"domination": everything},
    ],
    "symmetric.ghosh_symmetric_noise": [{"_worlds": no_cases}],
    "symmetric.nce_infimum": [{"MAELoss": NCELoss}],
    "symmetric.nce_plus_alf": [{"minimise": lambda *arguments: np.array([0.5, 0.5, 0.0])}],
    "symmetric.normalised_losses": [{"rounds": 0}],
    "symmetric.theorem_3": [
        {"EXACT_AND_BOUNDED": {"constant": lambda u: [0, 0, 0]}},
        {"asymmetry": SimpleNamespace(is_asymmetric=everything)},
        {"symmetric_tables": lambda k, count: (np.zeros((count, k + 2, k), int), 0)},
    ],
    "symmetric.theorem_5": [{"combine": always_asymmetric}],
    "tolerance.any_noise_model": [{"assumption": everything}],
    "tolerance.argmax_tolerance": [
        {"asymmetry": SimpleNamespace(weighted_risk_minimiser=at_first_vertex)}
    ],
    "tolerance.assumption_2": [
        {"softmax": lambda p, k: tolerance.top_probability(p, k) / 2},
        {"softmax": lambda p, k: tolerance.top_probability(p * p, k)},  # is 1 from a gap of 19
    ],
    "tolerance.assumption_2_cannot_be_dropped": [
        {"risks": lambda l, eta, u: (0, u[1])},
        {"risks": lambda l, eta, u: (u[1], 0)},
    ],
    "tolerance.clean_accuracy": [
        {"factor": lambda l, delta: 1e9, "classes": (2,)},
        {"CERTIFIED": [MAELoss()], "classes": (2,)},
    ],
    "tolerance.data_distribution": [{"noisy": lambda T, p: p}],
    "tolerance.rates_not_needed": [{"tune": lambda family, r: MAELoss()}],
    "tolerance.theorem_4": [
        {"asymmetric": everything, "worlds": 100},
        {"asymmetric": lambda *arguments: False, "worlds": 100},
    ],
    "tolerance.theorem_4_limit": [{"CERTIFIED": [MAELoss()]}],
    "tolerance.two_worlds": [{"rules": (lambda w: -1,)}],
    "tolerance.what_asymmetry_buys": [{"tune": lambda family, r: MAELoss(), "samples": 2}],
    "weighting.convex_set_of_losses": [{"cases": 0}],
    "weighting.gradient_identity": [
        {"weight": lambda loss, eta, u: 1 + 0 * u, "seeds": 0},
    ],
    "weighting.pareto": [
        {"CELoss": MAELoss, "classes": 0},
        {"_is_dominated": lambda *arguments: False, "classes": 0},
    ],
    "weighting.theorem_7": [{"largest_minimal_weight": lambda clean, best: 1.0, "classes": 1}],
    "weighting.theorem_7_readings": [{"tables": 0}],
}
CASES = [(name, case) for name, cases in SILENT.items() for case in cases]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_the_control_can_say_that_nothing_was_refuted(name, case, monkeypatch):
    check = CHECKS[name]
    arguments = {key: case[key] for key in case.keys() & inspect.signature(check).parameters}
    for key in case.keys() - arguments:
        monkeypatch.setattr(inspect.getmodule(check), key, case[key])
    assert check(**arguments).control is False


def test_no_check_is_left_out():
    """Each check is on a page, too, whose cell nbval compares: another process, the same answer."""
    assert SILENT.keys() == EXPECTED.keys() == CHECKS.keys()
    notebooks = [json.loads(path.read_text()) for path in (ROOT / "notebooks").rglob("*.ipynb")]
    cells = [cell for notebook in notebooks for cell in notebook["cells"]]
    compared = [c for c in cells if "nbval-ignore-output" not in c["metadata"].get("tags", [])]
    shown = "".join(line for cell in compared for line in cell["source"])
    called = {*re.findall(r"(\w+)\(", shown)}
    assert {name.split(".")[1] for name in CHECKS} <= called
