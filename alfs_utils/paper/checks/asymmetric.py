"""Definition 2: asymmetric, completely asymmetric, strictly asymmetric losses (chapter 2).

What is decided in integers or fractions is exact. A pointwise loss with integer values on the grid
0, 1/n, ..., 1 stands for the piecewise linear one through them: between grid points a weighted
risk is linear, and the corners of each cell of the simplex are grid points, so that its minimum
over the grid is its minimum over the simplex.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np

from alfs_utils.asymmetry import asymmetry_ratio
from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AULLoss,
    CELoss,
    FocalLoss,
    GCELoss,
    Loss,
    MAELoss,
    NCELoss,
    Normalized,
    NormalizedGCELoss,
    PointwiseLoss,
    RCELoss,
)
from alfs_utils.paper.checks import Check, listed

__all__ = [
    "complete_asymmetry_criterion",
    "convex_and_complete",
    "convex_in_logits",
    "every_subset",
    "grid_of_simplex",
    "largest_rise",
    "logit_bend",
    "loss_values",
    "one_inequality",
    "smoothstep",
    "staircases",
    "strict_asymmetry",
    "sum_is_constant",
    "sum_is_large_enough",
    "symmetric_and_convex",
    "two_class_sum",
]


# --- the criterion over subsets -------------------------------------------------------------


def every_subset(excess, t):
    """Whether sum_{i in T} [L(u, i) - L(e_t, i)] >= 0 for all points u and all T that contain t.

    `excess` has shape (..., points, k); the answer has shape (...).
    """
    subsets = [T for T in product((0, 1), repeat=excess.shape[-1]) if T[t]]
    return (excess @ np.transpose(subsets) >= 0).all(axis=(-2, -1))


def _whole_set_only(excess, t):
    return (excess.sum(axis=-1) >= 0).all(axis=-1)


def _asymmetric_on_all(weights, excess, t):
    """Whether sum_i w_i [L(u, i) - L(e_t, i)] > 0 for all points u and all given weights."""
    weights = weights[weights[:, t] > np.delete(weights, t, axis=1).max(axis=1)]
    return (excess @ weights.T > 0).all(axis=(-2, -1))


def complete_asymmetry_criterion(criterion=every_subset, tables=600) -> Check:
    """L is completely asymmetric iff the sum over every T that contains t is smallest at e_t.

    Random loss tables: k vertices and two more points, L(e_t, t) = 0, elsewhere 1, 2 or 3. For
    each, the criterion is compared with all weights in {0, ..., 5}^k. Those are enough: where the
    sum over T is below that at e_t, it is so by 1 at least, and the weights 5 for t, 4 for the
    rest of T, 0 elsewhere give a risk lower than that of e_t by at least 4 - 3. The control is the
    inequality for the whole set of classes alone.
    """
    rng = np.random.default_rng(0)
    wrong, shortcut_wrong, counts = 0, 0, []
    for k, rate in ((2, 0.2), (3, 0.08), (4, 0.05)):
        L = 2 + rng.choice([-1, 0, 1], p=[rate, 1 - 2 * rate, rate], size=(tables, k + 2, k))
        L[:, range(k), range(k)] = 0
        weights = np.array(list(product(range(6), repeat=k)))
        answers = []
        for test in (
            criterion,
            _whole_set_only,
            lambda x, t, w=weights: _asymmetric_on_all(w, x, t),
        ):
            excess = ((np.delete(L - L[:, [t]], t, axis=1), t) for t in range(k))
            answers.append(np.all([test(*x) for x in excess], axis=0))
        claimed, shortcut, found = answers
        wrong += (claimed != found).sum()
        shortcut_wrong += (shortcut != found).sum()
        counts.append(int(found.sum()))
    both = all(50 < count < tables - 50 for count in counts)
    return Check(
        printed=bool(wrong == 0 and both),
        control=bool(shortcut_wrong > 0),
        figures={
            "loss tables for each of k = 2, 3, 4": tables,
            "completely asymmetric": listed(counts),
            "the criterion is wrong": int(wrong),
            "the whole set of classes alone is wrong": int(shortcut_wrong),
        },
    )


# --- losses l(u_i) --------------------------------------------------------------------------


def sum_is_large_enough(l, points, k):
    """Whether sum_i l(u_i) >= l(1) + (k - 1) l(0) at all points; l holds values on the grid."""
    return bool((l[points].sum(axis=1) >= l[-1] + (k - 1) * l[0]).all())


def grid_of_simplex(k, n):
    """All points with k integer coordinates >= 0 and sum n, an int array (points, k)."""
    return np.array([u for u in product(range(n + 1), repeat=k) if sum(u) == n])


def staircases(slopes=(1, 2, 3)):
    """Every piecewise linear l with six of these slopes -g: (g, values on the grid), l(1) = 0."""
    for g in product(slopes, repeat=6):
        yield g, np.append(np.cumsum(g[::-1])[::-1], 0)


def _shape(g):
    """Set of the words that apply."""
    rising, falling = sorted(g), sorted(g, reverse=True)
    return {name for name, order in (("concave", rising), ("convex", falling)) if list(g) == order}


def one_inequality(inequality=sum_is_large_enough) -> Check:
    """For l(u_i), completely asymmetric iff sum_i l(u_i) >= l(1) + (k - 1) l(0) on the simplex.

    Exhaustive and exact: all 729 piecewise linear losses with six slopes out of 1, 2, 3, for
    k = 2, 3, 4, against the criterion over subsets, and against integer weights: the equal ones,
    so enlarged that one more on t cannot make up for a gap, and twenty random ones. Concave losses
    must all pass. The control is the converse of that, together with "k = 2 decides for all k":
    losses must pass that are not concave, and fewer pass the more classes there are.
    """
    rng = np.random.default_rng(0)
    wrong = 0
    passed = {2: [], 3: [], 4: []}
    for k in passed:
        points = grid_of_simplex(k, 6)
        others = points[points[:, 0] < 6]
        vertex = np.array([6] + [0] * (k - 1))
        w = rng.integers(0, 10, size=(20, k))
        w[:, 0] += w.max() + 1
        for g, l in staircases():
            complete = inequality(l, points, k)
            excess = l[others] - l[vertex]
            nearly_equal = l[0] + (vertex > 0)[None]
            wrong += complete != every_subset(excess, 0)
            wrong += complete != _asymmetric_on_all(np.vstack([w, nearly_equal]), excess, 0)
            if complete:
                passed[k].append(g)
    concave = {g for g, _ in staircases() if "concave" in _shape(g)}
    missed = sum(len(concave - set(names)) for names in passed.values())
    nested = set(passed[4]) < set(passed[3]) < set(passed[2])
    return Check(
        printed=bool(wrong == missed == 0),
        control=bool(nested and set(passed[4]) - concave),
        figures={
            "losses": 3**6,
            "completely asymmetric for k = 2, 3, 4": listed(map(len, passed.values())),
            "the inequality is wrong, against subsets and weights": int(wrong),
            "concave, but not completely asymmetric": missed,
            "completely asymmetric for k = 4, but not concave": len(set(passed[4]) - concave),
        },
    )


def _threshold(g):
    """The smallest w_t / w_n on which a convex l is asymmetric, g(0)/g(1)."""
    return Fraction(g[0], g[-1])


def convex_and_complete(inequality=sum_is_large_enough, threshold=_threshold) -> Check:
    """Many convex losses l(u_i) are asymmetric (on some weights), and none but affine ones on all.

    Exhaustive and exact over the piecewise linear convex losses with six slopes out of 1, ..., 5:
    each is asymmetric on all weights with w_t/w_n > g(0)/g(1), tried just above it with all other
    weights equal to w_n. Those that are completely asymmetric are the five straight lines. The
    control: just below the threshold no curved one is asymmetric.
    """
    complete, curved, held, refuted = [], 0, True, 0
    points = grid_of_simplex(3, 6)
    others, vertex = points[points[:, 0] < 6], np.array([6, 0, 0])
    for g, l in staircases(slopes=(1, 2, 3, 4, 5)):
        if "convex" not in _shape(g):
            continue
        bound, excess = threshold(g), l[others] - l[vertex]
        if inequality(l, points, 3):
            complete.append(g)
        above, below = (
            np.array([[scale * bound.numerator] + [1000 * bound.denominator] * 2])
            for scale in (1001, 999)
        )
        held &= bool(_asymmetric_on_all(above, excess, 0))
        if g[0] > g[-1]:
            curved += 1
            refuted += not _asymmetric_on_all(below, excess, 0)
    affine = sum(g[0] == g[-1] for g in complete)
    return Check(
        printed=bool(held and curved > 100),
        control=bool(curved == refuted),
        repaired=bool(affine == len(complete) == 5),
        figures={
            "convex losses at k = 3": curved + affine,
            "completely asymmetric": len(complete),
            "completely asymmetric and affine": affine,
            "0.1 % above the threshold all are asymmetric": held,
            "0.1 % below it, curved ones that are asymmetric": (curved - refuted, curved),
        },
    )


# --- convexity --------------------------------------------------------------------------------


def sum_is_constant(l):
    """l(u) + l(1 - u) is constant: symmetric, for two classes."""
    both = l + l[::-1]
    return bool((both == both[0]).all())


def symmetric_and_convex(symmetric=sum_is_constant, slopes=(1, 2, 3)) -> Check:
    """The symmetric condition is too stringent to find a convex loss, other than MAE.

    Exhaustive and exact, for two classes: piecewise linear losses with six slopes. Read alone it
    fails: MAE, a straight line, is convex and symmetric. With the exception that the Introduction
    makes for the unhinged loss it holds: the convex symmetric losses are the straight lines. The
    control: among the losses that are not convex some others are symmetric.
    """
    counts = dict.fromkeys(("convex", "affine", "else"), 0)
    found = dict.fromkeys(counts, 0)
    for g, l in staircases(slopes=slopes):
        kind = "affine" if len(set(g)) == 1 else "convex" if "convex" in _shape(g) else "else"
        counts[kind] += 1
        found[kind] += symmetric(l)
    return Check(
        printed=found["affine"] + found["convex"] == 0,
        assumed=bool(found["affine"] == counts["affine"] > 0 == found["convex"]),
        control=0 < found["else"] < counts["else"],
        figures={
            f"symmetric, {name}": (found[kind], counts[kind])
            for kind, name in (
                ("affine", "straight lines, such as MAE"),
                ("convex", "other convex losses"),
                ("else", "losses that are not convex"),
            )
        },
    )


CERTIFIABLE = {
    "MAE": MAELoss(),
    "AEL (2.5)": AELLoss(a=2.5),
    "AEL (100)": AELLoss(a=100),
    "AGCE (1, 0.5)": AGCELoss(a=1, q=0.5),
    "AGCE (1, 2)": AGCELoss(a=1, q=2),
    "AUL (5.5, 3)": AULLoss(a=5.5, p=3),
    "AUL (3, 0.1)": AULLoss(a=3, p=0.1),
}


def logit_bend(loss, z):
    """l at z_y = 0 minus the mean of its values at -z and z, two classes; > 0: not convex."""
    ends = loss.of_probability(1 / (1 + np.exp(np.array([z, -z]))))
    return float(loss.of_probability(0.5) - ends.mean())


def stationary(loss, rho):
    """Whether the risk with weights (rho, 1) has a stationary point at some finite logits.

    Its derivative by the lead is u (1 - u) [rho l'(u) - l'(1 - u)], and negative at u = 1/2.
    """
    u = np.linspace(0, 1, 1001)[1:-1]
    return bool((rho * loss.slope(u) >= loss.slope(1 - u)).any())


def convex_in_logits(bend=logit_bend, stops=stationary, certifiable=None) -> Check:
    """Many asymmetric losses are convex, which facilitates the optimisation.

    Not because they were convex in the logits: each is bounded and not constant, and so fails the
    inequality of convexity along some line of logits, which is sought on 200 segments of the
    two-class softmax. Repaired: the risk of a certified convex loss has no stationary point at any
    logits. Where only the first of the k weights is larger, two labels tell: w_i l'(u_i) are never
    all equal. The controls: cross entropy, which is convex in the logits, must not be refuted, and
    is asymmetric on no weights with w_n > 0; the risk of a certified concave loss has such a point.
    """
    losses = CERTIFIABLE if certifiable is None else certifiable
    ends = np.linspace(0.1, 20, 200)
    shifts = (-8.0, -3.0, 0.0, 3.0, 8.0)

    def refuted(loss):
        return any(bend(_Shifted(loss, shift), z) > 1e-12 for shift in shifts for z in ends)

    convex = [name for name, loss in losses.items() if not refuted(loss)]
    ratios = {name: asymmetry_ratio(loss, "repaired") for name, loss in losses.items()}
    ce = not refuted(CELoss()) and asymmetry_ratio(CELoss(), "repaired") == 0
    bowls = [name for name, loss in losses.items() if loss.curvature() >= 0]
    stuck = [name for name in bowls if stops(losses[name], 1.001 / ratios[name])]
    concave = stops(AGCELoss(a=1, q=2), 1.2)
    return Check(
        printed=bool(convex) and min(ratios.values()) > 0,
        repaired=bool(bowls) and not stuck,
        control=ce and concave,
        figures={
            "losses that are asymmetric where c is large enough": sum(
                r > 0 for r in ratios.values()
            ),
            "convex in the logits": listed(convex),
            "cross entropy is convex in the logits, with asymmetry ratio 0": ce,
            "convex in u, with a stationary point where certified": (len(stuck), len(bowls)),
            "AGCE (1, 2), concave and certified, has one at u = 4/11": concave,
        },
    )


@dataclass(frozen=True)
class _Shifted:
    """The loss at logits that are larger by `shift`."""

    loss: Loss
    shift: float

    def of_probability(self, u):
        odds = np.exp(self.shift) * u / (1 - u)
        return self.loss.of_probability(odds / (1 + odds))


# --- strict asymmetry -----------------------------------------------------------------------


def smoothstep(u):
    """l(u) = 1 - 3 u^2 + 2 u^3, neither convex nor concave, with l(u) + l(1 - u) = 1."""
    return 1 - 3 * u**2 + 2 * u**3


def loss_values(loss, u):
    """L(u, i) for every class i; u and the result have shape (..., k)."""
    if isinstance(loss, Normalized):
        phi = loss_values(loss.loss, u)
        return phi / phi.sum(axis=-1, keepdims=True)
    return loss.of_probability(u) if isinstance(loss, Loss) else loss(u)


def largest_rise(loss, w, u, v, t=0):
    """Largest F_w(v) - F_w(u) over the pairs with v_t > u_t; strict asymmetry wants it < 0."""
    rise = (loss_values(loss, v) - loss_values(loss, u)) @ w
    return rise[v[:, t] > u[:, t]].max()


def two_class_sum(loss, u):
    """L(u, 1) + L(u, 2) at u = (u_1, u_2)."""
    return loss_values(loss, u).sum(axis=-1)


def rise_of_example(l, d, e):
    """F_w(v) - F_w(u) for w = (1, 1 - e, 0), u = (0, 1, 0), v = (d, 0, 1 - d)."""
    return (1 - e) * (l(0) - l(1)) - (l(0) - l(d))


LOSSES = {
    "MAE": MAELoss(),
    "RCE": RCELoss(A=-4),
    "CE": CELoss(),
    "focal": FocalLoss(gamma=0.5),
    "GCE (0.7)": GCELoss(q=0.7),
    "AGCE (1, 0.5)": AGCELoss(a=1, q=0.5),
    "AGCE (1, 2)": AGCELoss(a=1, q=2),
    "AGCE (1.8, 3)": AGCELoss(a=1.8, q=3),
    "AUL (5.5, 3)": AULLoss(a=5.5, p=3),
    "AUL (3, 0.1)": AULLoss(a=3, p=0.1),
    "AEL (2.5)": AELLoss(a=2.5),
    "NCE": NCELoss(),
    "NGCE (0.7)": NormalizedGCELoss(q=0.7),
    "smoothstep": smoothstep,
}
# Rational values at rational points
EXAMPLES = {
    "MAE / 2": lambda u: 1 - u,
    "AGCE (1, 2)": lambda u: (4 - (1 + u) ** 2) / Fraction(2),
    "AUL (2, 2)": lambda u: ((2 - u) ** 2 - 1) / Fraction(2),
    "smoothstep": smoothstep,
}


def _rises_above_the_ratio(rng, u):
    """The largest rise by transfers from one class to t, per loss, 5 % above 1/r."""
    moved = u * rng.uniform(0, 1, size=(2000, 1)) * (np.arange(3) == rng.integers(1, 3, (2000, 1)))
    after = u - moved
    after[:, 0] += moved.sum(axis=1)
    pointwise = [loss for loss in LOSSES.values() if isinstance(loss, PointwiseLoss)]
    ratios = [(loss, asymmetry_ratio(loss)) for loss in pointwise]
    return [
        largest_rise(loss, np.array([1, r / 1.05, r / 2]), u, after) for loss, r in ratios if r > 0
    ]


def strict_asymmetry(two_sum=two_class_sum, rise=rise_of_example, search=largest_rise) -> Check:
    """Strictly asymmetric losses: a definition that no loss meets for k = 3.

    A random search with weights close to (1, 1, 0) must find, for each loss, a pair with v_t > u_t
    and a higher risk at v; a rise of 1e-9 counts, rounding is 1e-15. For k = 2 it finds one iff
    l(u) + l(1 - u) is not constant: there the definition is met, by the symmetric losses. Exact
    pairs are given in fractions for four losses. The control: among transfers from one class to t
    no rise is found where w_t/w_n is 5 % above 1/r, r the printed asymmetry ratio.
    """
    rng = np.random.default_rng(0)
    u, v = rng.dirichlet(np.ones(3), size=(2, 2000))
    near_face = np.array([1, 1 - 1e-6, 0])
    rises = {name: search(loss, near_face, u, v) for name, loss in LOSSES.items()}
    survivors = [name for name, value in rises.items() if value < 1e-9]

    x = rng.uniform(0.001, 0.999, size=(2, 2000, 1))
    u2, v2 = np.concatenate([x, 1 - x], axis=-1)
    symmetric, wrong = [], 0
    for name, loss in LOSSES.items():
        strict = search(loss, near_face[:2], u2, v2) < 1e-9
        constant = np.ptp(two_sum(loss, u2)) < 1e-9
        wrong += strict != constant
        symmetric += [name] if constant else []

    d, e = Fraction(1, 10), Fraction(1, 100)
    w, a, b = (1, 1 - e, 0), (0, 1, 0), (d, 0, 1 - d)
    exact = all(
        rise(l, d, e) == sum(wi * (l(bi) - l(ai)) for wi, ai, bi in zip(w, a, b, strict=True)) > 0
        for l in EXAMPLES.values()
    )

    rises_of_transfers = _rises_above_the_ratio(rng, u)
    return Check(
        printed=True,
        empty=not survivors,
        control=bool(max(rises_of_transfers) < 0),
        repaired=bool(wrong == 0 and exact and 0 < len(symmetric) < len(LOSSES)),
        figures={
            "losses": len(LOSSES),
            "losses with a violating pair at k = 3": len(LOSSES) - len(survivors),
            "losses without one at k = 2": listed(symmetric),
            "“iff l(u) + l(1 - u) is constant” is wrong at k = 2": wrong,
            "transfers above the ratio: losses whose risk rises": (
                sum(value >= 0 for value in rises_of_transfers),
                len(rises_of_transfers),
            ),
        },
    )
