"""Checks of Theorem 2, the excess risk bound (chapter 4).

Everything is about one x with class probabilities w: a bound of the form of eq. (6) holds for all
distributions and predictors iff it holds there, for all w and u. The excess 0-1 risk is then
w_t - w_j, where t is the most probable and j the predicted class (of several largest u_j, that
with the smallest w_j), and the excess risk of l is F(u) - min F with F(u) = sum_i w_i l(u_i).
For two classes w = ((1 + theta)/2, (1 - theta)/2), and a constant C is enough iff
theta <= C psi(theta), psi(theta) = min_{u <= 1/2} F - min F.
"""

from fractions import Fraction
from functools import cache

import numpy as np

from alfs_utils.asymmetry import weighted_risk_minimiser
from alfs_utils.losses import AELLoss, AGCELoss, AULLoss, MAELoss
from alfs_utils.paper.checks import Check
from alfs_utils.paper.checks.asymmetric import staircases

__all__ = [
    "excess_risk_convex",
    "excess_risk_multiclass",
    "kappa",
    "largest_factor",
    "minimal_risk_minimal_error",
    "printed_factor",
    "psi",
    "sharp_factor",
    "theorem_2",
]

CONVEX = [
    AELLoss(a=2.5),
    AELLoss(a=100),
    AGCELoss(a=0.6, q=0.6),
    AGCELoss(a=4, q=0.2),
    AULLoss(a=5.5, p=3),
    AULLoss(a=2, p=2),
]
CONCAVE = [
    MAELoss(),
    AGCELoss(a=1, q=2),
    AGCELoss(a=0.5, q=3),
    AGCELoss(a=0.1, q=3),
    AULLoss(a=3, p=0.1),
]
CLASSES = (2, 3, 5, 10)


# --- the constants --------------------------------------------------------------------------


def printed_factor(l):
    """2 / (l(0) - l(1)), the constant of eq. (6); l maps {0, 1/2, 1} to numbers."""
    return 2 / (l(0) - l(1))


def sharp_factor(l):
    """1 / (l(1/2) - l(1)), the smallest constant for two classes."""
    return 1 / (l(Fraction(1, 2)) - l(1))


def kappa(loss, k):
    """D - max_{2 <= m <= k} (m - 1) h(1/m), h(u) = l(0) - l(u), D = h(1): its inverse is sharp."""
    l = loss.of_probability
    return l(0.0) - l(1.0) - max((m - 1) * (l(0.0) - l(1 / m)) for m in range(2, k + 1))


# --- two classes, exactly -------------------------------------------------------------------


def psi(l, theta):
    """psi(theta) for the piecewise linear loss through l[0], ..., l[n], n even, exact.

    The weighted risk is linear between grid points, so both minima are attained on the grid.
    """
    s, d = l + l[::-1], l - l[::-1]
    risk = [Fraction(int(x)) + theta * int(y) for x, y in zip(s, d, strict=True)]
    return (min(risk[: len(l) // 2 + 1]) - min(risk)) / 2


def _kind(values):
    """The first that applies: symmetric, completely asymmetric, convex and bent, or else."""
    both, bends = values + values[::-1], np.diff(values, 2)
    if (both == both[0]).all():
        return "symmetric"
    if (both >= both[0]).all():
        return "complete"
    return "convex" if (bends >= 0).all() and bends.any() else "else"


def theorem_2(printed=printed_factor, sharp=sharp_factor) -> Check:
    """The bound (6) where its hypothesis can be met: two classes and a symmetric loss.

    Exhaustive and exact: all 729 piecewise linear losses with six slopes out of -1, -2, -3, for
    theta = 1/8, ..., 1. Repaired: every loss that is completely asymmetric for two classes,
    l(u) + l(1 - u) >= l(0) + l(1), obeys the bound with the sharp constant, and attains it at
    theta = 1. The control: every convex loss with two different slopes violates (6) everywhere.
    """
    thetas = [Fraction(j, 8) for j in range(1, 9)]
    counts = dict.fromkeys(("symmetric", "complete", "convex", "else"), 0)
    holds = dict.fromkeys(counts, 0)
    repaired = attained = 0
    violated = tight = True
    for _, values in staircases():
        l = {u: Fraction(int(values[int(6 * u)])) for u in (0, Fraction(1, 2), 1)}.get
        gaps = [psi(values, theta) for theta in thetas]
        bound = [t <= printed(l) * gap for t, gap in zip(thetas, gaps, strict=True)]
        kind = _kind(values)
        counts[kind] += 1
        holds[kind] += all(bound)
        violated &= not (kind == "convex" and any(bound))
        tight &= kind != "symmetric" or printed(l) == sharp(l)
        if kind in ("symmetric", "complete"):
            repaired += all(t <= sharp(l) * gap for t, gap in zip(thetas, gaps, strict=True))
            attained += sharp(l) * gaps[-1] == 1
    complete = counts["symmetric"] + counts["complete"]
    return Check(
        printed=0 < counts["symmetric"] == holds["symmetric"],
        repaired=tight and repaired == attained == complete,
        control=violated and counts["convex"] > 0,
        figures={
            "exact losses of two classes": 729,
            "(6) holds, symmetric losses": (holds["symmetric"], counts["symmetric"]),
            "(6) holds, other completely asymmetric losses": (
                holds["complete"],
                counts["complete"],
            ),
            "1/(l(1/2) - l(1)) is enough, completely asymmetric losses": (repaired, complete),
            "and is attained": attained,
            "both constants agree for symmetric losses": tight,
            "(6) fails at every theta, convex losses": f"all {counts['convex']}"
            if violated
            else "not always",
            "(6) holds, remaining losses": (holds["else"], counts["else"]),
        },
    )


def decides_rightly(values, u_t):
    """Whether u_t, in grid steps, is a decision for the likelier of two classes; a tie is not."""
    return 2 * u_t > len(values) - 1


def minimal_risk_minimal_error(right=decides_rightly) -> Check:
    """If R_l(f) is minimal, R_01(f) is: every minimiser of F decides for the likeliest class.

    Exhaustive and exact, two classes, theta = 1/8, ..., 1: every minimiser on the grid of each of
    the 729 piecewise linear losses that is completely asymmetric (among them the symmetric ones).
    As all minima over the interval are attained on the grid and at the ends of flat pieces, a flat
    piece with its ends on the right side lies there. The control: other losses with kinks can have
    a minimiser at the tie.
    """
    cases = wrong = others_wrong = 0
    for _, values in staircases():
        both = values + values[::-1]
        complete = (both >= both[0]).all()
        for j in range(1, 9):
            risk = (8 + j) * values + (8 - j) * values[::-1]
            minimisers = np.flatnonzero(risk == risk.min())
            bad = not all(right(values, u) for u in minimisers)
            cases, wrong = cases + complete, wrong + (complete and bad)
            others_wrong += bad and not complete
    return Check(
        printed=bool(cases > 0 == wrong),
        control=others_wrong > 0,
        figures={
            "completely asymmetric losses with theta": int(cases),
            "a minimiser decides wrongly, or not at all": int(wrong),
            "the same, other losses with kinks": int(others_wrong),
        },
    )


# --- convex losses --------------------------------------------------------------------------


def excess_risk_convex(printed=printed_factor, wrong_side=0.5, losses=CONVEX) -> Check:
    """Bound (6) fails for strictly convex losses wherever eta != 1/2, and what holds there.

    psi, 0 at theta = 0, is bracketed by the certified minimiser's risk and its lower bound; the
    least risk on the wrong side is that at u = 1/2. Repaired: theta0 / psi(theta0) is enough for
    all theta >= theta0. The controls: it is not enough for any theta < theta0, and (6) never holds.
    """
    thetas = np.arange(41) / 40
    from_theta0 = np.triu(np.ones((40, 40), bool))
    fails, repaired, control, worst = [], True, True, 0.0
    for loss in losses:
        l = loss.of_probability
        factor = printed(lambda u, l=l: l(float(u)))
        minima = [weighted_risk_minimiser(loss, [(1 + t) / 2, (1 - t) / 2]) for t in thetas]
        h_minus = l(wrong_side) * (1 + thetas) / 2 + l(1 - wrong_side) * (1 - thetas) / 2
        low = h_minus - [minimum.risk for minimum in minima]
        high = h_minus - [minimum.lower_bound for minimum in minima]
        at_0, low, high, theta = high[0], low[1:], high[1:], thetas[1:]
        fails += (theta > factor * high).tolist()
        enough = theta[:, None] / low[:, None] * high >= theta * (1 - 1e-9)  # [theta0, theta]
        repaired &= bool(abs(at_0) < 1e-12 and (low > 0).all() and enough[from_theta0].all())
        control &= not enough[~from_theta0].any()
        worst = max(worst, float(factor * low[-1]))
    return Check(
        printed=not any(fails),
        repaired=repaired,
        control=control and all(fails),
        figures={
            "strictly convex losses": len(losses),
            "(6) fails": f"{sum(fails)} of {len(fails)} cases",
            "right-hand side of (6) at eta = 1, the left one is 1": f"at most {worst:.3f}",
            "theta0/psi(theta0) is enough from theta0 on": repaired,
            "theta0/psi(theta0) is never enough below theta0": control,
        },
    )


# --- k classes ------------------------------------------------------------------------------


@cache
def largest_factor(loss, k, c=1.0):
    """The largest (w_t - w_j) / (F(u) - F(e_t)) that a random hill climb over w and u finds.

    It starts anywhere and is not told where the maximum is. A move adds noise to some entries of
    w or u, replaces them by their mean, or sets the others to 0. Weights have a clean level of at
    least c, and the loss is to be asymmetric on these: F(e_t) is then the minimum of F.
    """
    rng, points = np.random.default_rng(0), 50
    l0, l1 = loss.of_probability(0.0), loss.of_probability(1.0)

    def factor(w, u):
        predicted = np.where(u == u.max(axis=1, keepdims=True), w, np.inf).min(axis=1)
        gap = w.max(axis=1) - predicted
        h = l0 - loss.of_probability(u)
        excess = w.max(axis=1) * (l0 - l1) - (w * h).sum(axis=1)
        return np.where(gap > 1e-3, gap / np.maximum(excess, 1e-9), 0)

    def move(x, size):
        noise = size * rng.standard_normal(x.shape) * (rng.random(x.shape) < 0.5)
        y = np.maximum(x + noise, 0)
        y = np.where(y.sum(axis=1, keepdims=True) > 0, y, x)
        some = rng.random(x.shape) < rng.random((len(x), 1))
        mean = (x * some).sum(axis=1, keepdims=True) / np.maximum(some.sum(axis=1), 1)[:, None]
        kind = rng.random((len(x), 1))
        y = np.select([kind < 0.4, kind < 0.7, mean > 0], [y, np.where(some, mean, x), x * some], x)
        return y / y.sum(axis=1, keepdims=True)

    def lower(w):
        top, largest = w.max(axis=1, keepdims=True), w.argmax(axis=1)[:, None]
        return np.where(np.arange(k) == largest, w, np.minimum(w, top / c))

    w, u = rng.dirichlet(np.full(k, 0.5), points), rng.dirichlet(np.full(k, 2.0), points)
    w = lower(w)
    found = factor(w, u)
    for step in range(200):
        which = rng.random((points, 1))
        new_w = lower(np.where(which < 0.6, move(w, 0.96**step), w))
        new_u = np.where(which > 0.3, move(u, 0.96**step), u)
        new = factor(new_w, new_u)
        better = new > found
        w[better], u[better], found[better] = new_w[better], new_u[better], new[better]
    return float(found.max())


def three_class_example():
    """MAE, w = (.50, .49, .01), u = (.333, .333, .334): both excess risks, and the bound."""
    w = [Fraction(x, 100) for x in (50, 49, 1)]
    u = [Fraction(x, 1000) for x in (333, 333, 334)]

    def risk(u):
        return sum(p * (2 - 2 * q) for p, q in zip(w, u, strict=True))

    excess = risk(u) - risk([1, 0, 0])
    return w[0] - w[2], excess, 2 * excess / (2 - 0)


def _rises(l, d=0.1, e=1e-3):
    """F_w(v) > F_w(u) for w = (1, 1 - e, 0), u = (0, 1, 0), v = (d, 0, 1 - d), where v_1 > u_1."""
    return bool((1 - e) * (l(0.0) - l(1.0)) > l(0.0) - l(d))


def excess_risk_multiclass(constant=kappa, losses=CONCAVE) -> Check:
    """Bound (6) for k >= 3: no l(u_i) is strictly asymmetric; for concave ones 1/kappa_k is right.

    Nothing meets the premise: at w = (1, 1 - e, 0) the risk rises from u = (0, 1, 0) to
    (d, 0, 1 - d), for every loss. Without the word (6) is false: MAE, k = 3. Repaired: a hill
    climb for five concave losses and k = 2, 3, 5, 10 must come within 0.1 % of 1/kappa_k and
    never exceed it. The control: for some of them it exceeds the constant of (6).
    """
    excess_01, _, bound = three_class_example()
    reached = exceeded = beyond_printed = 0
    for loss in losses:
        printed = printed_factor(lambda u, l=loss: l.of_probability(float(u)))
        for k in CLASSES:
            found = largest_factor(loss, k)
            reached += found * constant(loss, k) >= 1 - 1e-3
            exceeded += found * constant(loss, k) > 1 + 1e-9
            beyond_printed += found > 1.001 * printed
    cases = len(losses) * len(CLASSES)
    all_losses = (*CONCAVE, *CONVEX)
    not_strict = sum(_rises(loss.of_probability) for loss in all_losses)
    return Check(
        printed=True,
        empty=not_strict == len(all_losses) and excess_01 > bound,
        repaired=reached == cases and exceeded == 0,
        control=beyond_printed > 0,
        figures={
            "losses that are not strictly asymmetric for k = 3": (not_strict, len(all_losses)),
            "MAE, k = 3, w = (.50, .49, .01), u = (.333, .333, .334): excess 0-1 risk": excess_01,
            "right-hand side of (6) there, without “strictly”": bound,
            "concave losses with numbers of classes": cases,
            "a hill climb comes within 0.1 % of 1/kappa_k": reached,
            "a hill climb exceeds 1/kappa_k": exceeded,
            "a hill climb exceeds 2/(l(0) - l(1))": beyond_printed,
        },
    )
