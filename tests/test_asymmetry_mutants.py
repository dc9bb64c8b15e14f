"""Broken copies of `certify` and its rooms must fail some test or some of the attack.

Each mutant replaces one piece of the source of one file; the piece must still be there, so a mutant
cannot go stale unnoticed. ``python tests/test_asymmetry_mutants.py`` prints what kills which.
"""

# ruff: noqa: E501 (one mutant a line)

import contextlib
import importlib
import importlib.util
import math
import sys
import warnings

import numpy as np
import pytest
import test_asymmetry as T
import test_asymmetry_attack as A

pytestmark = pytest.mark.long
ROOMS = ("_enclosure", "_piecewise", "_branch_and_bound", "_parts", "_whole", "asymmetry")
MUTANTS = {
    # intervals and gains
    "intervals: open comparisons pass": ("_enclosure", "if answer is None:", "if False:"),
    "intervals: equal where they overlap": ("_enclosure", "if x.a > y.b or x.b < y.a:", "if True:"),
    "intervals: become floats": ("_enclosure", "iv.mpf.__float__ = iv.mpf.__complex__ = refuse", "pass"),
    "intervals: rounded to nearest": ("_enclosure", "return math.nextafter(low, -math.inf), math.nextafter(high, math.inf)", "return low, high"),
    "gain: one precision": ("_enclosure", "PRECISIONS = (128, 512, 2048, 8192)", "PRECISIONS = (128,)"),
    "gain: the other way round": ("_enclosure", "_risk(parts, w, vertex, interval) - _risk(parts, w, u, interval)", "_risk(parts, w, u, interval) - _risk(parts, w, vertex, interval)"),
    "gain: normalised by nothing": ("_enclosure", "risk = risk / sum(known[x] for x in u)", "pass"),
    "gain: points beyond the simplex": ("_enclosure", "    if excess > 0:\n", "    if False:\n"),
    "AUL: slope from a rounded u": ("_enclosure", "L.AULLoss: lambda u, v, a, p: _power(a - 1 + v, p - 1)", "L.AULLoss: lambda u, v, a, p: _power(a - u, p - 1)"),
    "AGCE: wrong sign of l''": ("_enclosure", "(1 - q) * _power(a + u, q - 2)", "(q - 1) * _power(a + u, q - 2)"),
    # knots
    "knots: all u_i at knots": ("_piecewise", "for free in {a: i for i, a in enumerate(self.sizes) if a}.values():", "for free in []:"),
    "knots: only u_t at a knot": ("_piecewise", "for s, gain, v in self.splits(self.sizes):", "for s, gain, v in []:"),
    "knots: one weight for all": ("_piecewise", "gain + size * fall", "gain + sizes[0] * fall"),
    "knots: convex upside down": ("_piecewise", "l.slopes[-1] / (weights[0] * l.slopes[0])", "l.slopes[0] / (weights[0] * l.slopes[-1])"),
    "knots: floats decide": ("_piecewise", "* (1 + 1e-9)", "* (1 - 1e-2)"),
    # branch and bound
    "bound: a little below 0 will do": ("_branch_and_bound", "if total > FLOAT * size:", "if total > -1e-2 * size:"),
    "bound: concave as convex": ("_branch_and_bound", "        elif shape:\n", "        elif True:\n"),
    "first order: low end of the pull": ("_branch_and_bound", "if pull[1] * (1 + FLOAT) < push[0]:", "if pull[0] * (1 + FLOAT) < push[0]:"),
    "first order: any push": ("_branch_and_bound", "if pull[0] * (1 - FLOAT) > push[1]:", "if pull[0] * (1 - FLOAT) > push[0]:"),
    "second order: one bend is enough": ("_branch_and_bound", "bends[0] + bends[1] <", "bends[0] <"),
    "order of the classes: too strict": ("_branch_and_bound", "_share(high, i + 1)", "_share(high, i + 2)"),
    "no local minimum, but a yes": ("_branch_and_bound", "            return False, None  # not even", "            return True, None  # not even"),
    "pieces: convex and concave swapped": ("_branch_and_bound", "cells.append((a, b, high >= 0))", "cells.append((a, b, high < 0))"),
    # a user's own l
    "noise: none": ("_parts", "max(close, np.median(steps))", "0"),
    "noise: of double precision only": ("_parts", "max(close, np.median(steps))", "close"),
    "slopes: measured": ("_parts", 'return replace(part, missing="the derivative of l, as a method slope(u)")', "return replace(part, ratio=quotient(chords[-1], chords[0]), sharp=True, strict=True)"),
    "flat end: overlooked": ("_parts", "strict=g1 > error", "strict=True"),
    "exact: seen at 1/2 alone": ("_parts", "EXACT_AT = [Fraction(j, 7) for j in range(8)] + ", "EXACT_AT = "),
    # losses of all probabilities
    "AMSE: the sum of the others alone": ("_whole", "/ (top + sum(rest)) - 1", "/ sum(rest) - 1"),
    "AMSE: the witness goes too far": ("_whole", "max(-self.margin(w, t) / 2, 0)", "min(max(-3 * self.margin(w, t), 0), 1)"),
    "AMSE: the corner is not scaled": ("_whole", "2 * self.a * x + square", "2 * x + square"),
    "AMSE: equality is not enough": ("asymmetry", '"asymmetric" if margin == 0 else "not asymmetric"', '"not asymmetric"'),
    "NNCE: no clamp to answer for": ("_whole", "self.corner, self.loss = loss.p_min, loss", "self.corner, self.loss = 0.0, loss"),
    "biased MAE: half the bend": ("_enclosure", "4 * np.exp(eps) * (np.exp(eps) - 1)", "2 * np.exp(eps) * (np.exp(eps) - 1)"),
    # certify
    "flat end of others: certified": ("asymmetry", '"asymmetric" if part.strict else "undecided"', '"asymmetric"'),
    "flat end of knots: overlooked": ("asymmetry", "if l.slopes[-1] == 0:", "if False:"),
    "witness: unproven": ("asymmetry", "        if low < 0:\n", "        if False:\n"),
    "witness: within the noise": ("asymmetry", "        if not low > 0:\n", "        if not vertex_risk > risk:\n"),
    "answer: nothing missing": ("asymmetry", "return replace(result, missing=missing)", 'return replace(result, missing="")'),
}  # fmt: skip
TESTS = (
    "test_intervals_answer_only_what_they_know",
    "test_points_are_on_the_simplex",
    "test_what_floats_only_show_is_said_to_be_measured",
    "test_the_answer_says_what_would_decide",
    "test_slopes_between_the_samples_are_never_certified",
    "test_an_l_that_is_exact_here_and_there_is_not_taken_for_exact",
    "test_amse_looks_at_the_margin_and_not_at_c",
)


@contextlib.contextmanager
def mutated(room, old, new):
    """`certify` and what else the tests hold, made of a mutated room and its neighbours."""
    names = [f"alfs_utils.{name}" for name in ROOMS]
    package = sys.modules["alfs_utils"]
    before = {name: sys.modules[name] for name in names}
    globals_before = dict(vars(T)), dict(vars(A))
    try:
        for name in names:
            spec = importlib.util.find_spec(name)
            source = spec.loader.get_source(name)
            if name.endswith(f".{room}"):
                assert old in source, f"stale mutant: {old!r} is not in {room}"
                source = source.replace(old, new)
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            setattr(package, name.rpartition(".")[2], module)
            exec(compile(source, name, "exec"), vars(module))
        for tests in (T, A):
            for name, value in vars(tests).items():
                home = getattr(value, "__module__", None)
                if home in names and hasattr(sys.modules[home], name):
                    setattr(tests, name, getattr(sys.modules[home], name))
        T._enclosure, T.asymmetry = (
            sys.modules[f"alfs_utils.{x}"] for x in ("_enclosure", "asymmetry")
        )
        yield
    finally:
        for name, module in before.items():
            sys.modules[name] = module
            setattr(package, name.rpartition(".")[2], module)
        for tests, held in zip((T, A), globals_before, strict=True):
            vars(tests).update(held)


def checks():
    """Tests, then the families, those that take longest last."""
    for name in TESTS:
        yield name, getattr(T, name)
    for loss in T.FORMULAS:
        yield "formulas", lambda loss=loss: T.test_intervals_hold_the_formulas_of_the_losses(loss)
    yield "clamp", lambda: T.test_nnce_is_lowest_on_the_corner_that_the_clamp_cuts_off(T.NNCELoss())
    for rows in ([1, 0, 0], np.eye(3)):
        yield "flat end", lambda T_=rows: T.test_a_flat_end_is_never_certified(T.flat_floats, T_)
    yield "flat end", lambda: T.test_a_flat_end_is_never_certified(T.FlatEnd(), np.eye(3))

    def floats_only(u):
        return (math.pow(1e4 - u, 0.5) - math.pow(9999, 0.5)) / 0.5

    yield "noise", lambda: T.test_rounding_refutes_no_concave_formula(floats_only, [0.6, 0.4])
    yield "single", lambda: T.test_single_precision_refutes_no_concave_formula(1.5)
    for loss, l in T.CLOSE:
        yield "close", lambda loss=loss, l=l: T.test_mixed_sums_are_decided_close(loss, l)
    for loss, l in T.CLOSE + T.MORE:
        yield "bounds", lambda loss=loss, l=l: T.test_bounds_hold_on_their_boxes(loss, l)
        yield "boxes", lambda loss=loss, l=l: T.test_no_box_with_a_minimiser_is_dropped(loss, l)
    yield "ratios", T.test_ratios_of_piecewise_linear_losses_are_exact
    for family, share in FAMILIES.items():
        yield family.__name__, lambda family=family, share=share: A.hold(family, share)


FAMILIES = {
    A.alone: 0.1,
    A.flat: 1,
    A.tiny_knots: 0.5,
    A.with_knots: 0.3,
    A.with_float_knots: 0.5,
    A.formula_declared: 0.2,
    A.steep_end: 0.1,
    A.normalised: 0.1,
    A.mixed: 0.3,
    A.scaled_corner: 0.2,
}


def killer(room, old, new):
    """Name of the first check that fails on the mutant, or None."""
    with mutated(room, old, new), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, check in checks():
            try:
                check()
            except (Exception, pytest.fail.Exception):
                return name
    return None


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_killed(mutant):
    assert killer(*MUTANTS[mutant]), f"survived: {mutant}"


def test_the_checks_pass_without_a_mutation():
    assert killer("asymmetry", "import math", "import math") is None


if __name__ == "__main__":
    for name, mutant in {"(none)": ("asymmetry", "import math", "import math"), **MUTANTS}.items():
        print(f"{name:40} {killer(*mutant)}", flush=True)
