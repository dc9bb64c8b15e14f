"""An attack on `certify`: thousands of cases near and far from the boundary, with oracles of ours.

The oracles share no formula with the library. L(u, i) is typed again below; the least top weight
for which the loss is asymmetric comes from a global search in extended precision, from the limit
at e_t in 60 digits, or, for piecewise linear losses, from an exact dynamic programme. A "yes" is
wrong if the search has a counterexample that 60 digits confirm; a "no" is wrong if the oracle says
yes, and its witness is invalid if 60 digits do not confirm it.

    pytest tests/test_asymmetry_attack.py -m long    all cases, takes minutes
    python tests/test_asymmetry_attack.py [share]    the table of outcomes by family
"""

import itertools
import math
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction as F

import mpmath
import numpy as np
import pytest

from alfs_utils.asymmetry import PiecewiseLinear, certify
from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AMSELoss,
    AULLoss,
    BiasedMAELoss,
    CELoss,
    FocalLoss,
    GCELoss,
    MAELoss,
    NCELoss,
    NNCELoss,
    NNFLLoss,
    Normalized,
    RCELoss,
    SCELoss,
    UnhingedLoss,
)

mp = mpmath.mp


# --- the losses, typed again: for arrays and for mpmath's numbers ------------------------------


def exp(x):
    return np.exp(x) if isinstance(x, np.ndarray) else mp.exp(x)


def log(x):
    return np.log(x) if isinstance(x, np.ndarray) else mp.log(x)


def number(x, like):
    return np.longdouble(x) if isinstance(like, np.ndarray) else mp.mpf(x)


def agce(a, q):
    def value(u):
        b, e = number(a, u), number(q, u)
        return ((b + 1) ** e - (b + u) ** e) / e if q else log((b + 1) / (b + u))

    return value


def aul(a, p):
    def value(u):
        b, e = number(a, u), number(p, u)
        return ((b - u) ** e - (b - 1) ** e) / e if p else log((b - u) / (b - 1))

    return value


def ael(a):
    return lambda u: exp(-u / number(a, u))


def linear(scale):
    return lambda u: number(scale, u) * (1 - u)


def biased(eps):
    """MAE of the softmax whose logit of the label has been raised by eps."""

    def value(u):
        b = exp(number(eps, u)) if isinstance(u, mp.mpf) else np.exp(number(eps, u))
        return 2 - 2 * b * u / (b * u + 1 - u)

    return value


def amse(a):
    """L(u, .) of all labels at once: the squared distances of u from the scaled corners."""

    def value(u):
        if isinstance(u, np.ndarray):
            corners = number(a, u) * np.eye(u.shape[-1], dtype=u.dtype)
            return ((u[..., None, :] - corners) ** 2).mean(axis=-1)
        corners = [[mp.mpf(a) * (i == j) for i in range(len(u))] for j in range(len(u))]
        return [sum((x - y) ** 2 for x, y in zip(u, e, strict=True)) / len(u) for e in corners]

    return value


def weighted(terms):
    return lambda u: sum(number(c, u) * l(u) for c, l in terms)


# --- one case ----------------------------------------------------------------------------------


@dataclass
class Case:
    loss: object
    parts: list  # (coefficient, l, normalised): L(u, i) of the oracle; or (c, L(u, .), "whole")
    w: list
    t: int
    truth: bool | None  # True asymmetric, False not; None: nobody knows
    counterexample: list | None = None  # of the search, where truth is False
    shape: str | None = None
    margin: float = math.nan  # distance to the boundary, where it is known
    extra: dict = field(default_factory=dict)


def difference(case, others):
    """F(e_t) - F(u) with at least 60 digits; `others` maps classes to exact probabilities."""
    small = min(float(x) for x in others.values())
    with mp.workdps(60 - 4 * min(math.floor(math.log10(small)) if small else -330, 0)):
        u = [mp.mpf(0)] * len(case.w)
        for i, x in others.items():
            u[i] = mp.mpf(x.numerator) / x.denominator
        u[case.t] = 1 - sum(u)
        corner = [mp.mpf(i == case.t) for i in range(len(u))]
        w = [mp.mpf(F(x).numerator) / F(x).denominator for x in case.w]
        total = mp.mpf(0)
        for coefficient, l, normalised in case.parts:
            if l == "NCE":  # the smallest limit at points with a zero
                least = [min(a for a, x in zip(w, y, strict=True) if x == 0) for y in (corner, u)]
                total += coefficient * (least[0] - least[1])
                continue
            if normalised == "whole":
                risks = [sum(a * x for a, x in zip(w, l(y), strict=True)) for y in (corner, u)]
                total += mp.mpf(coefficient) * (risks[0] - risks[1])
                continue
            at = {x: l(x) for x in {*u, *corner}}
            risks = [
                sum(a * at[x] for a, x in zip(w, y, strict=True) if a)
                / (sum(at[x] for x in y) if normalised else 1)
                for y in (corner, u)
            ]
            total += mp.mpf(coefficient) * (risks[0] - risks[1])
        return total


def valid(case, witness):
    """Whether the witness is a point u != e_t with F(u) <= F(e_t), its gain no more than that."""
    if witness is None:
        return False
    others = {i: F(x) for i, x in enumerate(witness.u) if i != case.t and x}
    if not others or min(others.values()) < 0 or sum(others.values()) > 1:
        return False
    if abs(1 - sum(others.values()) - F(witness.u[case.t])) > F(1, 2**50):
        return False
    if case.extra.get("infinite"):  # F(e_t) = inf, and F(u) is finite
        return all(witness.u[i] > 0 for i, a in enumerate(case.w) if a)
    gain = difference(case, others)
    named = mp.mpf(F(witness.gain).numerator) / F(witness.gain).denominator
    return 0 <= named <= gain + mp.mpf(10) ** -50


# --- the oracle for smooth losses ----------------------------------------------------------------


def losses_of(parts, u):
    """L(u, i) for rows u in extended precision."""
    total = 0
    for coefficient, l, normalised in parts:
        values = l(u)
        if normalised is True:
            values = values / values.sum(axis=-1, keepdims=True)
        total = total + np.longdouble(coefficient) * values
    return total


def threshold(parts, others, rng):
    """The least w_0 beyond which L is asymmetric on (w_0, *others), and a v that shows it.

    F(u) - F(e_0) = w_0 A(u) + B(u): the greatest -B/A over many points, the best ones refined.
    """
    others = np.array([float(x) for x in others], np.longdouble)
    m = len(others)

    def needed(v):
        v = np.maximum(v, 0)
        u = np.concatenate([1 - v.sum(axis=-1, keepdims=True), v], axis=-1).clip(0, 1)
        corner = np.eye(m + 1, dtype=np.longdouble)[:1]
        gap = losses_of(parts, u) - losses_of(parts, corner)
        with np.errstate(all="ignore"):
            ratio = -(gap[..., 1:] * others).sum(axis=-1) / gap[..., 0]
        legal = (v.sum(axis=-1) <= 1) & (v.sum(axis=-1) > 1e-9)
        return np.where(legal & np.isfinite(ratio), ratio, -np.inf)

    D = np.concatenate([np.linspace(0, 1, 41)[1:], np.geomspace(1e-7, 0.02, 30)])
    order = np.argsort(-others)
    starts = []
    for j in range(1, m + 1):
        even = np.zeros(m)
        even[order[:j]] = 1 / j
        starts.append(D[:, None] * even)
        tilted = np.zeros(m)
        tilted[order[:j]] = others[order[:j]] ** 3
        starts.append(D[:, None] * (tilted / max(tilted.sum(), 1e-300)).astype(float))
        for D1 in np.linspace(0.05, 0.95, 10):  # one has much, the others little
            if j > 1:
                uneven = np.zeros(m)
                uneven[order[1:j]] = 1 / (j - 1)
                uneven = (1 - D1) * uneven
                uneven[order[0]] = D1
                starts.append(D[::3, None] * uneven)
    starts.append(rng.dirichlet(np.full(m + 1, 0.5), 300)[:, 1:])
    starts.append(rng.dirichlet(np.full(m + 1, 0.1), 100)[:, 1:])
    points = np.concatenate(starts).astype(np.longdouble)
    values = needed(points)
    moves = [np.eye(m)[i] for i in range(m)]
    moves += [np.eye(m)[i] - np.eye(m)[j] for i, j in itertools.permutations(range(m), 2)]
    moves = np.array([*moves, *(-x for x in moves[:m]), np.full(m, 1 / m), np.full(m, -1 / m)])
    best, shown = -np.inf, None
    chosen = []
    for i in np.argsort(-values):
        if all(np.abs(points[i] - points[j]).max() > 0.02 for j in chosen):
            chosen.append(i)
        if len(chosen) == 3:
            break
    for i in chosen:
        v, here, step = points[i], values[i], points[i].sum() / 8
        scale = step
        while step > 3e-6 * scale:  # the value is then right to its square
            tried = v + step * moves
            found = needed(tried)
            k = found.argmax()
            if found[k] > here:
                v, here = np.maximum(tried[k], 0), found[k]
            else:
                step = step / 3
        if here > best:
            best, shown = here, v
    limit = edge_limit(parts, others, int(order[0]))
    if limit > best:
        return limit, None
    return best, [float(x) for x in shown]


def edge_limit(parts, others, n):
    """w_0 needed for moves of 10^-45 to class n, in 120 digits."""
    with mp.workdps(120):
        d = mp.mpf(10) ** -45
        k = len(others) + 1
        u = [mp.mpf(0)] * k
        u[0], u[n + 1] = 1 - d, d
        corner = [mp.mpf(i == 0) for i in range(k)]
        A = B = mp.mpf(0)
        w = [mp.mpf(0), *(mp.mpf(float(x)) for x in others)]
        for coefficient, l, normalised in parts:
            if normalised == "whole":
                gaps = [mp.mpf(coefficient) * (x - y) for x, y in zip(l(u), l(corner), strict=True)]
                A, B = A + gaps[0], B + sum(a * g for a, g in zip(w, gaps, strict=True))
                continue
            at = {x: l(x) for x in {*u, *corner}}
            scale = [sum(at[x] for x in y) if normalised else 1 for y in (corner, u)]
            gaps = [at[b] / scale[1] - at[a] / scale[0] for a, b in zip(corner, u, strict=True)]
            A += coefficient * gaps[0]
            B += coefficient * sum(a * g for a, g in zip(w, gaps, strict=True))
        return np.longdouble(float(-B / A)) if A else np.longdouble("inf")


def on_edge(case, n):
    """A d for which 60 digits see F((1 - d) e_t + d e_n) < F(e_t), or None."""
    for j in range(1, 1000):
        if difference(case, {n: F(1, 2**j)}) > 0:
            return F(1, 2**j)
    return None


def place(rng, others, top, margin):
    """Weights (top and others, shuffled) and t; only if top is the unique maximum."""
    if not top > max(others) * (1 + 1e-13):
        return None
    k = len(others) + 1
    t = int(rng.integers(k))
    w = list(others)
    w.insert(t, top)
    return w, t


def rivals(rng, most=6):
    k = int(rng.integers(2, most + 1))
    others = np.sort(rng.random(k - 1))[::-1]
    if rng.random() < 0.3:
        others[:] = others[0]
    if k > 2 and rng.random() < 0.2:
        others[-1] = 0.0
    return [float(x) for x in others]


def epsilon(rng):
    """One case in three within 1e-6 to 1e-2 of the boundary."""
    return float(10 ** rng.uniform(-6, -2) if rng.random() < 0.4 else rng.uniform(0.01, 0.9))


def smooth_case(rng, loss, parts, others, shape=None, oracle=None):
    """A case at a random distance from the boundary that the oracle finds, on a random side."""
    oracle = parts if oracle is None else oracle
    least, shown = threshold(oracle, others, rng)
    margin = epsilon(rng)
    sign = rng.choice([-1, 1])
    for side in (sign, 1):
        placed = place(rng, others, float(least) * (1 + side * margin), margin)
        if placed:
            break
    else:  # the threshold is the largest weight: a loss that is completely asymmetric
        side, placed = 1, place(rng, others, max(others) * (1 + margin), margin)
        if placed is None:
            side, placed = 1, place(rng, others, 1.0, 1.0)
    w, t = placed
    case = Case(loss, parts, w, t, bool(side > 0), shape=shape, margin=margin)
    if side < 0:
        position = [i for i in range(len(w)) if i != t]
        if shown is not None:
            case.counterexample = {i: F(x) for i, x in zip(position, shown, strict=True) if x > 0}
        if (
            shown is None
            or not sum(case.counterexample.values()) <= 1
            or not (difference(case, case.counterexample) > 0)
        ):
            n = max(position, key=lambda i: w[i])
            d = on_edge(case, n)
            case.counterexample = None if d is None else {n: d}
        if case.counterexample is None:
            case.truth = None  # the oracle has no proof
    return case


# --- families -----------------------------------------------------------------------------------


def convex_term(rng):
    kind = rng.integers(5)
    a = float(10 ** rng.uniform(-1.3, 1))
    if kind < 2:
        q = float(rng.choice([-1, 0, 0.2, 0.5, 0.6, 0.9, rng.uniform(-2, 1)]))
        return AGCELoss(a, q), agce(a, q)
    if kind < 4:
        p = float(rng.choice([1.2, 1.5, 2, 3, rng.uniform(1, 4)]))
        return AULLoss(1 + a, p), aul(1 + a, p)
    return AELLoss(a + 0.1), ael(a + 0.1)


def concave_term(rng):
    a = float(10 ** rng.uniform(-1.3, 1))
    if rng.random() < 0.5:
        q = float(rng.choice([1.1, 1.5, 2, 3, rng.uniform(1, 4)]))
        a = 0.0 if rng.random() < 0.2 else a
        return AGCELoss(a, q), agce(a, q)
    p = float(rng.choice([-1, 0, 0.1, 0.5, 0.9, rng.uniform(-2, 1)]))
    return AULLoss(1 + a, p), aul(1 + a, p)


def affine_term(rng):
    return [(MAELoss(), linear(2)), (UnhingedLoss(), linear(1)), (RCELoss(A=-4.0), linear(4))][
        rng.integers(3)
    ]


def combine(rng, pairs, low=0.1, high=3):
    terms = [(float(rng.uniform(low, high)), loss, l) for loss, l in pairs]
    total = sum((c * loss for c, loss, _ in terms[1:]), terms[0][0] * terms[0][1])
    return total, weighted([(c, l) for c, _, l in terms])


def alone(rng):
    loss, l = [convex_term, concave_term, affine_term][rng.integers(3)](rng)
    return smooth_case(rng, loss, [(1, l, False)], rivals(rng))


def infinite(rng):
    q = float(rng.uniform(0, 2))
    loss, l = [
        (CELoss(), lambda u: -log(u)),
        (FocalLoss(q), lambda u: -((1 - u) ** number(q, u)) * log(u)),
        (SCELoss(0.1, 1.0, A=-4.0), lambda u: -number(0.1, u) * log(u) + 4 * (1 - u)),
    ][rng.integers(3)]
    others = rivals(rng)
    w, t = place(rng, others, max(others) * (1 + epsilon(rng)), 1)
    return Case(loss, [(1, l, False)], w, t, False, extra={"infinite": True}, margin=1.0)


def one_curvature(rng):
    term = [convex_term, concave_term][rng.integers(2)]
    pairs = [term(rng) for _ in range(int(rng.integers(2, 4)))]
    if rng.random() < 0.3:
        pairs.append(affine_term(rng))
    loss, l = combine(rng, pairs)
    return smooth_case(rng, loss, [(1, l, False)], rivals(rng))


def normalised(rng):
    loss, l = [convex_term, concave_term][rng.integers(2)](rng)
    return smooth_case(rng, Normalized(loss), [(1, l, True)], [*rivals(rng, 5), 0.05])


def mixed_pair(rng):
    pairs = [convex_term(rng), concave_term(rng)]
    if rng.random() < 0.3:
        pairs.append([convex_term, concave_term, affine_term][rng.integers(3)](rng))
    return combine(rng, pairs, *((0.05, 3) if rng.random() < 0.7 else (0.9, 1)))


def mixed(rng):
    loss, l = mixed_pair(rng)
    others = rivals(rng) if rng.random() < 0.9 else [*rivals(rng, 6), 0.1, 0.1, 0.05, 0.01]
    return smooth_case(rng, loss, [(1, l, False)], others)


def normalised_mixed(rng):
    loss, l = mixed_pair(rng)
    return smooth_case(rng, Normalized(loss), [(1, l, True)], [*rivals(rng, 4), 0.05])


def steep_end(rng):
    """AUL at a = 1 or just above, p > 1: infinitely bent at u = 1; and GCE near q = 1."""
    kind = rng.integers(4)
    others = rivals(rng)
    if kind == 3:
        q = float(rng.choice([0.5, 0.9, 0.95, 0.98]))
        loss, l = GCELoss(q), agce(0, q)
    else:
        a = 1.0 if kind < 2 else 1 + float(10 ** rng.uniform(-12, -3))
        p = float(rng.choice([1.02, 1.05, 1.2, 1.5, 2, 3]))
        loss, l = AULLoss(a, p), aul(a, p)
    w, t = place(rng, others, max(others) * (1 + float(10 ** rng.uniform(-2, 3))), 1)
    norm = len(w) > 2 and rng.random() < 0.4
    if norm:  # symmetric weights would make it true
        w[max((i for i in range(len(w)) if i != t), key=lambda i: w[i])] *= 0.9
    loss = Normalized(loss) if norm else loss
    case = Case(loss, [(1, l, norm)], w, t, None)
    d = on_edge(case, max((i for i in range(len(w)) if i != t), key=lambda i: w[i]))
    if d is not None:
        case.truth, case.counterexample, case.margin = False, {0: d}, 1.0
    return case


# Piecewise linear losses: everything is a Fraction.


def slopes_of(rng, m, form):
    s = [F(int(x), 4) for x in rng.integers(1, 40, m)]
    if form == "near affine":
        return [F(10) + x / 1000 for x in s]
    if form == "convex":
        return sorted(s, reverse=True)
    if form == "concave":
        return sorted(s)
    half = m // 2
    if form == "S":
        return sorted(s[:half]) + sorted(s[half:], reverse=True)
    if form == "reverse S":
        return sorted(s[:half], reverse=True) + sorted(s[half:])
    return s


FORMS = ("convex", "concave", "S", "reverse S", "random", "near affine")


def interpolate(knots, values):
    def value(u):
        i = next(j for j in range(1, len(knots)) if u <= knots[j])
        a, b = values[i - 1], values[i]
        return a + (b - a) * (u - knots[i - 1]) / (knots[i] - knots[i - 1])

    return value


def values_of(knots, slopes):
    values = [F(0)]
    for i in range(len(slopes) - 1, -1, -1):
        values.insert(0, values[0] + slopes[i] * (knots[i + 1] - knots[i]))
    return values


def polyline_threshold(knots, l, others):
    """Exact least top weight: every subset of rivals on knots, one coordinate free."""
    n = math.lcm(*(x.denominator for x in knots))
    if n <= 60:  # then every vertex is on the grid of 1/n: a knapsack
        drops = [l(F(0)) - l(F(j, n)) for j in range(n + 1)]
        best = [F(0)] + [None] * n
        for w in others:
            new = list(best)
            for s in range(n + 1):
                for j in range(1, s + 1):
                    if best[s - j] is not None:
                        value = best[s - j] + w * drops[j]
                        if new[s] is None or value > new[s]:
                            new[s] = value
            best = new
        return max(best[s] / (l(1 - F(s, n)) - l(F(1))) for s in range(1, n + 1))
    found = F(0)
    for free in range(len(others) + 1):  # 0 is the top class
        fixed = [i for i in range(len(others) + 1) if i != free]
        for at in itertools.product(knots, repeat=len(fixed)):
            if sum(at) <= 1:
                u = dict(zip(fixed, at, strict=True)) | {free: 1 - sum(at)}
                if u[0] < 1:
                    gain = sum(w * (l(F(0)) - l(u[i + 1])) for i, w in enumerate(others))
                    found = max(found, gain / (l(u[0]) - l(F(1))))
    return found


def polyline_case(rng, wrap, form, shape=None, floats=False):
    m = int(rng.integers(2, 7))
    if floats:
        knots = [F(0), *sorted(F(float(x)) for x in rng.random(m - 1)), F(1)]
        k = int(rng.integers(2, 4))
    else:
        n = int(rng.choice([m, 12, 20, 30]))
        knots = [F(0), *(F(int(x), n) for x in sorted(rng.choice(n - 1, min(m, n) - 1, False) + 1))]
        knots, k = [*knots, F(1)], int(rng.integers(2, 7))
    values = values_of(knots, slopes_of(rng, len(knots) - 1, form))
    l = interpolate(knots, values)
    others = [F(int(x), 100) for x in sorted(rng.integers(1, 100, k - 1), reverse=True)]
    if rng.random() < 0.3:
        others = [others[0]] * len(others)
    least = polyline_threshold(knots, l, others)
    margin = F(epsilon(rng)).limit_denominator(10**8) if rng.random() < 0.95 else F(0)
    side = int(rng.choice([-1, 1]))
    if least * (1 + side * margin) <= others[0]:
        side = 1
    top = max(least * (1 + side * margin), others[0] * (1 + F(1, 10**6)))
    t = int(rng.integers(k))
    w = list(others)
    w.insert(t, top)
    truth = top > least
    if floats and margin > 0:
        w = [float(x) for x in w]
        truth = F(w[t]) > polyline_threshold(knots, l, [F(x) for x in w[:t] + w[t + 1 :]])

    loss = wrap(knots, values)
    margin = float(abs(top / least - 1))
    parts = [(1, polyline(knots, values), False)]
    return Case(loss, parts, w, t, truth, shape=shape, margin=margin)


def polyline(knots, values):
    """The interpolation for mpmath's numbers."""

    def value(u):
        x, y = ([mp.mpf(z.numerator) / z.denominator for z in given] for given in (knots, values))
        i = next(j for j in range(1, len(x)) if u <= x[j])
        return y[i - 1] + (y[i] - y[i - 1]) * (u - x[i - 1]) / (x[i] - x[i - 1])

    return value


def with_knots(rng):
    return polyline_case(rng, PiecewiseLinear, str(rng.choice(FORMS)))


def with_float_knots(rng):
    return polyline_case(rng, PiecewiseLinear, str(rng.choice(FORMS)), floats=True)


def knots_hidden(rng):
    return polyline_case(rng, interpolate, str(rng.choice(FORMS)))


def knots_hidden_declared(rng):
    form = str(rng.choice(["convex", "concave"]))
    return polyline_case(rng, interpolate, form, shape=form)


# Callables: formulas as a reader would type them.


def typed(rng):
    """A concave formula, its parameter up to 1e5, with its shape; all are asymmetric."""
    a = float(10 ** rng.uniform(0, 5))
    if rng.random() < 0.3:
        a = float(rng.choice([3.0, 4.0, 300.0, 2e4, 1e4, 1e5]))
    if rng.random() < 0.5:
        p = float(rng.choice([0.1, 0.5, -1, rng.uniform(0.05, 0.95)]))
        return (lambda u: ((a + 0.5 - u) ** p - (a - 0.5) ** p) / p), aul(a + 0.5, p)
    q = float(rng.choice([1.5, 2, 1.1, rng.uniform(1.05, 3)]))
    return (lambda u: ((a + 1) ** q - (a + u) ** q) / q), agce(a, q)


def callable_case(rng, l, own, shape, truth=True):
    others = rivals(rng)
    margin = epsilon(rng)
    w, t = place(rng, others, max(others) * (1 + margin), margin)
    return Case(l, [(1, own, False)], w, t, truth, shape=shape, margin=margin)


def formula_undeclared(rng):
    return callable_case(rng, *typed(rng), None)


def formula_declared(rng):
    return callable_case(rng, *typed(rng), "concave")


def formula_convex(rng):
    """A convex formula typed as it stands, declared; with its slope in half of the cases."""
    a = float(10 ** rng.uniform(-0.5, 3))
    kind = rng.integers(3)
    if kind == 0:
        q = float(rng.choice([0.2, 0.5, 0.9]))
        l, slope, own = (
            (lambda u: ((a + 1) ** q - (a + u) ** q) / q),
            (lambda u: -((a + u) ** (q - 1))),
            agce(a, q),
        )
    elif kind == 1:
        p = float(rng.choice([1.5, 2, 3]))
        l, slope, own = (
            (lambda u: ((a + 1 - u) ** p - a**p) / p),
            (lambda u: -((a + 1 - u) ** (p - 1))),
            aul(a + 1, p),
        )
    else:
        l, slope, own = (
            (lambda u: math.exp(-u / a)),
            (lambda u: -math.exp(-u / a) / a),
            ael(a),
        )
    if rng.random() < 0.5:
        l.slope = slope
    return smooth_case(rng, l, [(1, own, False)], rivals(rng), shape="convex")


def s_shaped(rng):
    s = float(rng.uniform(2, 20))
    l, own = [
        (lambda u: 1 - 3 * u**2 + 2 * u**3, lambda u: 1 - 3 * u**2 + 2 * u**3),
        (
            lambda u: 1 / (1 + math.exp(s * (u - 0.5))),
            lambda u: 1 / (1 + exp(number(s, u) * (u - number(0.5, u)))),
        ),
        (
            lambda u: 1 / (1 + np.exp(s * (u - 0.5))),
            lambda u: 1 / (1 + exp(number(s, u) * (u - number(0.5, u)))),
        ),
    ][rng.integers(3)]
    return smooth_case(rng, l, [(1, own, False)], rivals(rng))


def theorem_5(rng):
    """A pointwise loss plus a normalised one."""
    (loss, l), (phi, f) = ([convex_term, concave_term][rng.integers(2)](rng) for _ in range(2))
    c = float(rng.uniform(0.1, 3))
    parts = [(1, l, False), (c, f, True)]
    return smooth_case(rng, loss + c * Normalized(phi), parts, [*rivals(rng, 5), 0.05])


def with_nce(rng):
    """NCE plus a pointwise loss: as that loss, in the limit."""
    loss, l = [convex_term, concave_term, mixed_pair][rng.integers(3)](rng)
    case = smooth_case(rng, loss, [(1, l, False)], [*rivals(rng, 5), 0.05])
    case.loss = NCELoss() + case.loss
    case.parts = [*case.parts, (1, "NCE", True)]
    return case


# The losses that came after the paper.


def logit_bias(rng):
    eps = float(rng.choice([0.0, 0.5, rng.uniform(0, 3)]))
    return smooth_case(rng, BiasedMAELoss(eps), [(1, biased(eps), False)], rivals(rng))


def biased_sum(rng):
    eps = float(rng.uniform(0.1, 2))
    other = [convex_term, concave_term, affine_term][rng.integers(3)](rng)
    loss, l = combine(rng, [(BiasedMAELoss(eps), biased(eps)), other])
    return smooth_case(rng, loss, [(1, l, False)], rivals(rng))


def scaled_corner(rng):
    a = float(1 + 10 ** rng.uniform(-0.5, 1.5))
    return smooth_case(rng, AMSELoss(a), [(1, amse(a), "whole")], rivals(rng))


def scaled_corner_sum(rng):
    a, (loss, l) = float(1 + 10 ** rng.uniform(-0.5, 1.5)), convex_term(rng)
    parts = [(1, l, False), (1, amse(a), "whole")]
    return smooth_case(rng, loss + AMSELoss(a), parts, rivals(rng))


def jal(rng):
    a = float(1 + 10 ** rng.uniform(-0.5, 1.5))
    case = smooth_case(rng, AMSELoss(a), [(1, amse(a), "whole")], [*rivals(rng, 5), 0.05])
    case.loss = NCELoss() + case.loss
    case.parts = [*case.parts, (1, "NCE", True)]
    return case


def anl(rng):
    """Asymmetric up to the clamp, whatever the weights; alone, with NCE, and with another."""
    p_min = float(rng.choice([1e-7, 1e-3]))
    loss = [NNCELoss(p_min), NNFLLoss(float(rng.uniform(0, 3)), p_min)][rng.integers(2)]
    loss = [loss, 5 * NCELoss() + 5 * loss, loss + MAELoss()][rng.integers(3)]
    others, margin = rivals(rng), epsilon(rng)
    return Case(loss, [], *place(rng, others, max(others) * (1 + margin), margin), True)


# Declarations that are true, and made to mislead.


def flat(rng):
    """Flat from s on: every u with u_t >= s ties with e_t."""
    s = float(rng.uniform(0.9, 0.9999))
    exact = F(s)
    l = [
        lambda u: max(0, s - u),
        lambda u: max(F(0), exact - F(u)) if isinstance(u, F) else max(0.0, s - u),
        PiecewiseLinear([0, exact, 1], [exact, 0, 0]),
    ][rng.integers(3)]
    k = int(rng.integers(2, 5))
    t = int(rng.integers(k))
    w = [float(i == t) for i in range(k)]
    case = Case(l, [(1, lambda u: max(mp.mpf(0), mp.mpf(s) - u), False)], w, t, False)
    case.shape, case.margin = "convex", 0.0
    case.counterexample = {(t + 1) % k: F(1, 2**15)}
    return case


def tiny_knots(rng):
    """Convex, with knots that no grid sees: slopes at 0 far above those a little further on."""
    e = int(rng.integers(40, 90))
    knots = [F(0), F(1, 2**e), F(1, 2**36), F(1, 2**35), F(1, 2**34), F(1)]
    slopes = [F(10 ** int(rng.integers(3, 8))), F(3, 2), F(3, 2), F(2, 5), F(1, 5)]
    values = values_of(knots, slopes)
    wrap = PiecewiseLinear if rng.random() < 0.3 else interpolate
    w = [F(100), F(1), F(1)][: int(rng.integers(2, 4))]
    parts = [(1, polyline(knots, values), False)]
    case = Case(wrap(knots, values), parts, w, 0, False, {1: knots[1]}, "convex", 1.0)
    assert difference(case, case.counterexample) > 0
    return case


def hidden_power(rng):
    """l' = -(2 - u - s u^0.1): just steeper at 0 than differences show."""
    s = float(10 ** rng.uniform(-7, -4))

    def typed_in(u):
        return 2 * (1 - u) - (1 - u**2) / 2 - s * (1 - u**1.1) / 1.1

    def own(u):
        e = number(1.1, u)
        return 2 * (1 - u) - (1 - u**2) / 2 - number(s, u) * (1 - u**e) / e

    case = Case(typed_in, [(1, own, False)], [(2 - 1e-9) / (1 - s), 1.0], 0, None, shape="convex")
    d = on_edge(case, 1)
    if d is not None:
        case.truth, case.counterexample = False, {1: d}
    return case


FAMILIES = {  # cases, and whether everything must be decided
    alone: (270, True),
    infinite: (50, True),
    one_curvature: (160, True),
    normalised: (200, True),
    mixed: (320, True),
    normalised_mixed: (110, True),
    steep_end: (160, True),
    with_knots: (260, True),
    with_float_knots: (80, True),
    with_nce: (60, True),
    theorem_5: (60, False),
    knots_hidden: (80, False),
    knots_hidden_declared: (60, False),
    formula_undeclared: (100, False),
    formula_declared: (80, True),
    formula_convex: (80, False),
    s_shaped: (60, False),
    flat: (20, False),
    tiny_knots: (20, False),
    hidden_power: (10, False),
    logit_bias: (100, True),
    biased_sum: (60, True),
    scaled_corner: (160, True),
    scaled_corner_sum: (60, False),
    jal: (60, True),
    anl: (60, True),
}
COLUMNS = ("cases", "near", "wrong yes", "wrong no", "invalid", "refused", "undecided", "boundary")


def judge(case):
    """What a certificate got wrong, in the words of COLUMNS."""
    assert case.truth in (True, False, None) and not isinstance(case.truth, np.bool_)
    found = Counter(cases=1, near=int(1e-6 * 0.99 <= case.margin <= 1e-2))
    try:
        certificate = certify(case.loss, case.w, case.shape)
    except ValueError:
        found["refused"] = 1
        return found
    if certificate.binding != case.t:
        raise AssertionError(f"class {certificate.binding} for {case}")
    if certificate.asymmetric is True:
        if case.truth is False:
            shown = case.extra.get("infinite") or difference(case, case.counterexample) >= 0
            found["wrong yes"] = int(bool(shown)) if case.counterexample else 1
    elif certificate.asymmetric is False:
        right = valid(case, certificate.witness)
        found["invalid"] = int(not right)
        found["wrong no"] = int(case.truth is True and not right)
        found["oracle missed"] = int(case.truth is True and right)
    else:
        found[certificate.verdict] = 1
        if certificate.verdict == "undecided" and not certificate.missing:
            raise AssertionError(f"nothing named that would decide {case}")
    return found


def attack(family, share=1.0):
    total, seconds = Counter(), 0.0
    count = round(FAMILIES[family][0] * share)
    for i in range(count):
        case = family(np.random.default_rng([i, *family.__name__.encode()]))
        start = time.process_time()
        found = judge(case)
        seconds = max(seconds, time.process_time() - start)
        total += found
    return total, seconds


def hold(family, share):
    found, _ = attack(family, share)
    line = f"{family.__name__}: {dict(found)}"
    for wrong in ("wrong yes", "wrong no", "invalid", "refused", "oracle missed"):
        assert not found[wrong], line
    if FAMILIES[family][1]:
        assert found["undecided"] + found["boundary"] <= 0.05 * found["cases"], line


def named(family):
    return family.__name__


@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_a_tenth_of_the_attack(family):
    hold(family, 0.1)


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_the_whole_attack(family):
    hold(family, 1.0)


def main():
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    print(f"{'family':<24}" + "".join(f"{name:>11}" for name in COLUMNS) + f"{'max s':>8}")
    total = Counter()
    for family in FAMILIES:
        found, seconds = attack(family, share)
        total += found
        print(
            f"{family.__name__:<24}"
            + "".join(f"{found[name]:>11}" for name in COLUMNS)
            + f"{seconds:8.2f}",
            flush=True,
        )
    print(f"{'all':<24}" + "".join(f"{total[name]:>11}" for name in COLUMNS))
    print("oracle missed:", total["oracle missed"])


if __name__ == "__main__":
    main()
