"""Theorems 3 and 5, Section 2.3 on symmetric losses, NCE and NCE + ALF (chapter 5).

A loss table is an array of integers: one row per point u, one column per class i, the entry is
L(u, i). Its first k rows are the vertices e_1, ..., e_k. What is decided on tables, and what is
in fractions, is exact.
"""

from fractions import Fraction
from itertools import product
from math import isqrt

import numpy as np
import torch

from alfs_utils import asymmetry
from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AULLoss,
    MAELoss,
    NCELoss,
    Normalized,
    NormalizedGCELoss,
)
from alfs_utils.paper.checks import Check, listed

__all__ = [
    "PAIR_FLIP",
    "SQUARES",
    "THREE_LABELS",
    "bound_at_the_vertex",
    "gap_by_differences",
    "ghosh_quotation",
    "ghosh_symmetric_noise",
    "minimise_on_box",
    "nce_infimum",
    "nce_plus_alf",
    "ngce_half",
    "noisy_from_clean",
    "normalised_losses",
    "point_with_nce",
    "rate_constant",
    "shifted_threshold",
    "symmetric_tables",
    "theorem_3",
    "theorem_5",
    "weighted_risk",
]

# Two rows of weights for class 1. The second is 40 % pair flip, an asymmetric noise.
THREE_LABELS = (Fraction(1), Fraction(9, 10), Fraction(1, 100))
PAIR_FLIP = (Fraction(3, 5), Fraction(2, 5), Fraction(0))
SQUARES = (Fraction(16, 25), Fraction(9, 25), Fraction(0))  # a point with rational square roots


# --- exact losses and tables ----------------------------------------------------------------


def weighted_risk(weights, losses):
    """sum_i w_i L(u, i)."""
    return sum(w * x for w, x in zip(weights, losses, strict=True))


def _normalised(values):
    return [value / sum(values) for value in values]


def ngce_half(u):
    """L(u, 1), ..., L(u, k) of NGCE with q = 1/2; the u_i are squares of fractions, L is exact."""
    roots = [Fraction(isqrt(x.numerator), isqrt(x.denominator)) for x in map(Fraction, u)]
    if any(root**2 != x for root, x in zip(roots, u, strict=True)):
        raise ValueError(f"u: expected squares of fractions, got {u}")
    return _normalised([2 * (1 - root) for root in roots])


EXACT_AND_BOUNDED = {
    "MAE": lambda u: [2 - 2 * x for x in u],
    "NGCE (2)": lambda u: _normalised([(1 - x**2) / 2 for x in u]),
}


def symmetric_tables(k, count, seed=0, extra=2):
    """Random symmetric loss tables (count, k + extra, k) for k = 2, 3, 4, and their row sum C.

    L(e_t, t) = 0 and all else is positive. In nine tables of ten L(e_t, .) is flat off t.
    """
    rng = np.random.default_rng(seed)
    C = {2: 3, 3: 6, 4: 6}[k]

    def rows(length):
        return np.array([x for x in product(range(1, C + 1), repeat=length) if sum(x) == C])

    inner, outer = rows(k), rows(k - 1)
    tables = inner[rng.integers(len(inner), size=(count, k + extra))]
    for table in tables:
        flat = rng.random() < 0.9
        for t in range(k):
            others = [C // (k - 1)] * (k - 1) if flat else outer[rng.integers(len(outer))]
            table[t] = np.insert(others, t, 0)
    return tables, C


def _dominated_by(weights, t):
    return weights[weights[:, t] > np.delete(weights, t, axis=1).max(axis=1)]


# --- Theorem 3 ------------------------------------------------------------------------------


def bound_at_the_vertex(table, t):
    """Whether L(u, i) <= L(e_t, i) for all u and all i != t."""
    return bool((np.delete(table, t, axis=1) <= np.delete(table[t], t)).all())


def gap_by_differences(weights, losses, at_vertex, t):
    """F(u) - F(e_t) of a symmetric loss: sum over i != t of (w_t - w_i)(L(e_t, i) - L(u, i))."""
    others = [i for i in range(len(at_vertex)) if i != t]
    return (at_vertex - losses)[..., others] @ (weights[..., [t]] - weights)[..., others].T


def theorem_3(loss=ngce_half, criterion=bound_at_the_vertex, gap=gap_by_differences) -> Check:
    """Symmetric losses are completely asymmetric (repaired: iff L(u, i) <= L(e_t, i), i != t).

    As printed: the risk of NGCE (1/2) at (16/25, 9/25, 0) against that at e_1, in fractions, for
    two rows of weights. Repaired: random symmetric loss tables, the criterion against all weights
    in {0, ..., 9}^k. Those are enough: where L(u, j) > L(e_t, j), the weights 9 for t, 0 for j
    and 8 elsewhere give F(u) - F(e_t) <= -9 + 2 (4 - 0) < 0. The control: MAE and NGCE (2) must
    survive the attack that refutes NGCE (1/2), and for k = 2 every table must pass.
    """
    rows = (THREE_LABELS, PAIR_FLIP)
    at_u, at_vertex = loss(SQUARES), loss((1, 0, 0))
    found = [(weighted_risk(w, at_u), weighted_risk(w, at_vertex)) for w in rows]
    symmetric = sum(at_u) == sum(at_vertex) and at_vertex[0] < at_u[0]
    refuted = symmetric and all(low < high for low, high in found)
    library = [asymmetry.is_asymmetric(NormalizedGCELoss(q), w) for q in (0.5, 2) for w in rows]

    lattice = [
        [Fraction(x, 25) for x in (i, j, 25 - i - j)] for i in range(25) for j in range(26 - i)
    ]
    survive = all(
        weighted_risk(w, bounded(point)) > weighted_risk(w, bounded([Fraction(1), 0, 0]))
        for bounded in EXACT_AND_BOUNDED.values()
        for w in rows
        for point in lattice
    )

    count = 300
    wrong, identity, complete = _on_tables(criterion, gap, count)
    both = all(30 < c < count - 30 for c in complete[1:])
    return Check(
        printed=not refuted,
        control=bool(survive and complete[0] == count and library == [False] * 2 + [True] * 2),
        repaired=bool(wrong == 0 and identity and both),
        figures={
            "NGCE (1/2), risk at (16/25, 9/25, 0) against e_1": listed(
                f"{a} < {b}" for a, b in found
            ),
            "symmetric tables for each of k = 2, 3, 4": count,
            "completely asymmetric": listed(complete),
            "the criterion is wrong": wrong,
            f"MAE and NGCE (2) survive {len(lattice)} points": survive,
        },
    )


def _on_tables(criterion, gap, count):
    """How often the criterion is wrong, whether the gap is exact, how many tables are complete."""
    wrong, identity, complete = 0, True, []
    for k in (2, 3, 4):
        tables, _ = symmetric_tables(k, count)
        weights = np.array(list(product(range(10), repeat=k)))
        answers = np.ones(count, bool)
        for t in range(k):
            w = _dominated_by(weights, t)
            excess = (np.delete(tables - tables[:, [t]], t, axis=1) * 1.0) @ w.T
            answers &= (excess > 0).all(axis=(1, 2))
            identity &= np.array_equal(
                gap(w[::7], np.delete(tables[0], t, axis=0), tables[0][t], t), excess[0][:, ::7]
            )
        claimed = [all(criterion(table, t) for t in range(k)) for table in tables]
        wrong += int((answers != claimed).sum())
        complete.append(int(answers.sum()))
    return wrong, identity, complete


# --- Section 2.3 ----------------------------------------------------------------------------


def noisy_from_clean(clean, eta, k, C):
    """Noisy risk under symmetric noise: (1 - eta k/(k-1)) R + eta C/(k-1)."""
    return (1 - eta * Fraction(k, k - 1)) * clean + eta * Fraction(C, k - 1)


def _worlds(k, count, seed, extra=4):
    """Random tables, labels (3,), and eight functions from three samples to the table's rows.

    The first function is perfect: it gives e_y.
    """
    rng = np.random.default_rng(seed)
    tables, C = symmetric_tables(k, count, seed, extra)
    for table in tables:
        y = rng.integers(k, size=3)
        yield rng, table, C, y, np.vstack([y, rng.integers(k + extra, size=(7, 3))])


def _risks(table, functions, weights):
    """Sum over the samples of the weighted loss, for each function; weights (samples, k)."""
    return (table[functions] * weights).sum(axis=(1, 2))


def _tolerant(noisy, clean):
    return bool((clean[noisy == noisy.min()] == clean.min()).all())


def ghosh_symmetric_noise(noisy=noisy_from_clean) -> Check:
    """Symmetric losses are noise-tolerant under symmetric noise with eta < (k - 1)/k (Section 2.3).

    Random symmetric tables with eight hypotheses on three samples: the noisy risk, summed label
    by label, against the closed form; and every noisy minimiser must be a clean one. The control:
    beyond (k - 1)/k that must fail.
    """
    identity, tolerant, beyond, cases = True, True, 0, 0
    for k in (2, 3, 4):
        for _, table, C, y, functions in _worlds(k, 60, seed=k):
            clean = _risks(table, functions, np.eye(k, dtype=int)[y])
            for eta in (Fraction(1, 5), Fraction(2, 5), Fraction(99, 100) * Fraction(k - 1, k)):
                w = np.array([[1 - eta if i == t else eta / (k - 1) for i in range(k)] for t in y])
                risks = _risks(table, functions, w)
                identity &= all(
                    r == 3 * noisy(Fraction(int(c), 3), eta, k, C)
                    for r, c in zip(risks, clean, strict=True)
                )
                tolerant &= _tolerant(risks, clean)
                cases += 1
            w = np.where(np.eye(k, dtype=int)[y] > 0, 1, 2)  # one wrong label is twice as likely
            beyond += not _tolerant(_risks(table, functions, w), clean)
    return Check(
        printed=bool(identity and tolerant),
        control=beyond > 0,
        figures={
            "cases at k = 2, 3, 4, up to 99 % of (k - 1)/k": cases,
            "the closed form is exact": bool(identity),
            "noisy minimisers are clean ones": bool(tolerant),
            "failures beyond (k - 1)/k": beyond,
        },
    )


def ghosh_bound(table, C):
    """L(u, i) <= C/(k - 1), the hypothesis of Ghosh et al."""
    return bool((table * (table.shape[1] - 1) <= C).all())


def dominant(w, y):
    """Whether w_y is the unique maximum."""
    return bool(w[y] > np.delete(w, y).max())


def ghosh_quotation(bound=ghosh_bound, domination=dominant) -> Check:
    """If R_L(f*) = 0, symmetric losses are noise-tolerant under asymmetric noise (Section 2.3).

    As quoted: NGCE (1/2) under 40 % pair flip, where e_1 has clean loss 0 and another point has a
    lower noisy risk. Repaired (L <= C/(k - 1), clean labels dominate): random symmetric tables
    with eight hypotheses on three samples, one of them perfect. The control: without the bound,
    or without domination, it must fail.
    """
    points = [ngce_half(u) for u in ((1, 0, 0), SQUARES)]
    clean = [losses[0] for losses in points]
    noisy = [weighted_risk(PAIR_FLIP, losses) for losses in points]
    refuted = clean[0] == 0 < clean[1] and noisy[1] < noisy[0]

    failures = {(b, d): [0, 0] for b in (True, False) for d in (True, False)}
    for k in (3, 4):
        for rng, table, C, y, functions in _worlds(k, 800, seed=k):
            w = rng.integers(0, 10, size=(3, k))
            if rng.random() < 0.5:
                w[range(3), y] = w.max(axis=1) + 1
            clean_risks = _risks(table, functions, np.eye(k, dtype=int)[y])
            case = failures[
                bound(table, C), all(domination(*row) for row in zip(w, y, strict=True))
            ]
            case[0] += not _tolerant(_risks(table, functions, w), clean_risks)
            case[1] += 1
    held, without_bound, without_domination = (
        failures[key] for key in ((True, True), (False, True), (True, False))
    )
    return Check(
        printed=not refuted,
        control=without_bound[0] > 0 < without_domination[0],
        repaired=held[0] == 0 < held[1],
        figures={
            "NGCE (1/2) at e_1, 40 % pair flip": f"clean loss {clean[0]}, noisy {noisy[0]}",
            "the same at (16/25, 9/25, 0)": f"clean loss {clean[1]}, noisy {noisy[1]}",
            "failures with bound and domination": (held[0], held[1]),
            "failures without the bound": (without_bound[0], without_bound[1]),
            "failures without domination": (without_domination[0], without_domination[1]),
        },
    )


# --- NCE ------------------------------------------------------------------------------------


def point_with_nce(p):
    """Logits at which NCE takes given values p > 0 with sum 1: log u_i = -s p_i with sum u_i = 1.

    sum_i exp(-s p_i) falls from k to 0 in s, so there is exactly one such s; bisection.
    """
    low, high = 0.0, np.log(len(p)) / p.min() + 1
    for _ in range(200):
        s = (low + high) / 2
        low, high = (s, high) if np.exp(-s * p).sum() > 1 else (low, s)
    return -s * p


def _all_losses(loss, logits):
    """L(u, i) for every class i, in float64."""
    input = torch.as_tensor(np.atleast_2d(logits), dtype=torch.float64)
    k = input.shape[1]
    per_class = [torch.full((len(input),), i) for i in range(k)]
    loss.reduction = "none"
    return torch.stack([loss(input, target) for target in per_class], dim=1).numpy()


def nce_infimum(inverse=point_with_nce, least=np.min) -> Check:
    """NCE satisfies argmin_u L(u, y) = e_y (Section 2.1, and so Theorem 3); it does not.

    A sequence of wrong predictions, u_1 = 0.1 and u_2 -> 0.9, brings the clean risk of class 1
    to 0. What holds: NCE maps the open simplex onto itself, so that the infimum of the weighted
    risk is min_i w_i, tried on random weights from both sides. The control: along the same
    sequence MAE stays above 1.
    """
    rng = np.random.default_rng(0)
    onto, below, reached = 0.0, 0, 0.0
    for k in (3, 5, 10):
        for p in rng.dirichlet(np.ones(k), size=10):
            onto = max(onto, np.abs(_all_losses(NCELoss(), inverse(p)) - p).max())
        w = rng.uniform(0.1, 1, size=(20, k))
        points = _all_losses(NCELoss(), rng.normal(size=(500, k)) * rng.exponential(5, (500, 1)))
        below += sum((points @ row < least(row)).sum() for row in w)
        attack = _all_losses(NCELoss(), np.where(np.eye(k, dtype=bool), -1e9, 0.0))
        reached = max(reached, *(np.abs((attack @ row).min() / least(row) - 1) for row in w))

    sizes = [10.0, 1e3, 1e6]
    wrong = np.array([[np.log(0.1), np.log(0.9), -size] for size in sizes])
    clean = _all_losses(NCELoss(), wrong)[:, 0]
    mae = _all_losses(MAELoss(), wrong)[:, 0]
    return Check(
        printed=bool(clean[-1] > 1e-3),
        control=bool(mae.min() > 1),
        repaired=bool(onto < 1e-9 and below == 0 and reached < 1e-6),
        figures={
            "clean NCE of a wrong prediction, u_3 = exp(-10), exp(-1e3), exp(-1e6)": listed(
                f"{x:.1e}" for x in clean
            ),
            "MAE of the same predictions": f"{mae.min():.1f} and more",
            "NCE takes given values p to 1e-9": bool(onto < 1e-9),
            "risks below min w": int(below),
            "min w is reached to 1e-6": bool(reached < 1e-6),
        },
    )


# --- normalised losses ----------------------------------------------------------------------


def shifted_threshold(others, ratio, kappa):
    """The w_t above which a normalised convex loss is asymmetric, given the other weights.

    (w_t - m) r = w_n - m, where m = (kappa w_t + sum of the others) / (kappa + k - 1) is the risk
    at e_t, r = g(1)/g(0) and kappa = phi(1)/phi(0).
    """
    total, number = np.sum(others), len(others)
    return ((kappa + number) * np.max(others) - (1 - ratio) * total) / (number * ratio + kappa)


BASES = (
    AELLoss(a=2.5),
    AELLoss(a=1.0),
    AGCELoss(a=1, q=0.5),
    AGCELoss(a=0.6, q=0.6),
    AULLoss(a=5.5, p=3),
    AULLoss(a=2, p=2),
)


def _edge_gain(loss, w):
    """F(e_1) minus the least risk of the normalised loss on (1 - d, d, 0, ...), w_2 = max w_i."""
    d = np.append(0, np.geomspace(1e-5, 0.9, 4000))
    u = np.zeros((len(d), len(w)))
    u[:, 0], u[:, 1] = 1 - d, d
    phi = loss.of_probability(u)
    risk = phi @ w / phi.sum(axis=1)
    return risk[0] - risk[1:].min()


def normalised_losses(threshold=shifted_threshold, rounds=2) -> Check:
    """Normalisation makes any loss robust (Introduction); repaired: robust to symmetric noise.

    Elsewhere a normalised convex loss is asymmetric iff the base loss is so on the weights minus
    their risk at e_t. Random weights with w_t at 0.995 and 1.005 of the threshold: above it the
    certified minimiser must be e_t, below it a point of the edge to n must have a lower risk.
    Under symmetric noise e_t must win. The control: the threshold without the shift.
    """
    rng = np.random.default_rng(0)
    wrong = without_shift = cases = symmetric = 0
    for loss in BASES:
        ratio = loss.slope(1.0) / loss.slope(0.0)
        kappa = loss.of_probability(1.0) / loss.of_probability(0.0)
        for k in (3, 5, 10):
            for _ in range(rounds):
                others = np.sort(rng.uniform(0, 1, k - 1))[::-1]
                for scale in (0.995, 1.005):
                    w = np.append(scale * threshold(others, ratio, kappa), others)
                    if w[0] <= 1.001 * w[1]:
                        continue
                    minimum = asymmetry.weighted_risk_minimiser(Normalized(loss), w)
                    at_vertex = minimum.u[0] > 1 - 1e-12 and minimum.gap < 1e-9
                    below = _edge_gain(loss, w) > 1e-14
                    wrong += not (at_vertex == (scale > 1) != below)
                    without_shift += (w[0] * ratio > w[1]) != at_vertex
                    cases += 1
                w = np.append(1.05, np.ones(k - 1))
                u = asymmetry.weighted_risk_minimiser(Normalized(loss), w).u
                symmetric += u[0] < 1 - 1e-12
    refuted, at_vertex = (weighted_risk(PAIR_FLIP, ngce_half(u)) for u in (SQUARES, (1, 0, 0)))
    return Check(
        printed=refuted >= at_vertex,
        control=without_shift > 0,
        repaired=bool(wrong == symmetric == 0 < cases),
        figures={
            "NGCE (1/2), 40 % pair flip, (16/25, 9/25, 0) against e_1": f"{refuted} < {at_vertex}",
            "weights at 0.995 and 1.005 of the shifted threshold": cases,
            "the shifted threshold is wrong": wrong,
            "the threshold without the shift is wrong": without_shift,
            "failures under symmetric noise": symmetric,
        },
    )


# --- Theorem 5 ------------------------------------------------------------------------------


def weighted_sum(alpha, first, beta, second):
    """alpha L_1 + beta L_2."""
    return alpha * first + beta * second


def transfer_ratio(slopes):
    """The repaired ratio of a piecewise linear l with slopes -g on equal cells: exact.

    Infimum of [l(x) - l(x + d)] / [l(0) - l(d)] over x + d <= 1; enough at the grid points.
    """
    h = [0, *np.cumsum(slopes).tolist()]
    n = len(slopes)
    return min(
        (h[i + d] - h[i]) / Fraction(h[d]) for d in range(1, n + 1) for i in range(n - d + 1)
    )


def theorem_5(combine=weighted_sum, bound=min) -> Check:
    """alpha L_1 + beta L_2 is asymmetric where both are, alpha, beta > 0; its ratio >= the less.

    Random pairs of loss tables at k = 3 and 4 with random integer weights; random pairs of
    piecewise linear losses for the ratio. The control: one asymmetric loss of two is not enough.
    """
    rng = np.random.default_rng(0)
    both = failures = one = one_fails = 0
    for k in (3, 4):
        size = (4000, k + 1, k)
        first, second = rng.integers(1, 6, size=size), rng.integers(1, 6, size=size)
        first[:, 0, 0] = second[:, 0, 0] = 0
        w = rng.integers(0, 5, size=(4000, k, 1))
        w[:, 0] = w.max(axis=1) + 1
        alpha, beta = rng.integers(1, 9, size=(2, 4000, 1, 1))

        def asymmetric(L, w=w):
            return (((L[:, 1:] - L[:, :1]) @ w) > 0).all(axis=(1, 2))

        a, b = asymmetric(first), asymmetric(second)
        total = asymmetric(combine(alpha, first, beta, second))
        both += int((a & b).sum())
        failures += int((a & b & ~total).sum())
        one += int((a ^ b).sum())
        one_fails += int(((a ^ b) & ~total).sum())

    pairs, broken = 300, 0
    for number in range(pairs):
        g1, g2 = rng.integers(1, 10, size=(2, 5))
        g2 = g1 if number % 10 == 0 else g2
        alpha, beta = rng.integers(1, 9, size=2)
        least = bound(transfer_ratio(g1), transfer_ratio(g2))
        broken += transfer_ratio(combine(alpha, g1, beta, g2)) < least
    return Check(
        printed=bool(failures == 0 < both and broken == 0),
        control=one_fails > 0,
        figures={
            "pairs of tables, both asymmetric": both,
            "their sum is not asymmetric": failures,
            "pairs of tables, one asymmetric": one,
            "the sum of such a pair is not asymmetric": one_fails,
            "pairs of losses": pairs,
            "the ratio of the sum is below the smaller one": broken,
        },
    )


# --- NCE + ALF ------------------------------------------------------------------------------


def _mixed_risk(alpha, beta, loss, w, d):
    """Risk of alpha NCE + beta l at logits -d (..., k), and u."""
    log_u = -d - np.log(np.exp(-d).sum(axis=-1, keepdims=True))
    u = np.exp(log_u)
    return alpha * (-log_u @ w) / -log_u.sum(axis=-1) + beta * (loss.of_probability(u) @ w), u


def minimise_on_box(alpha, beta, loss, w, logit_range):
    """u at the global minimum of alpha F_NCE + beta F_l over three logits in a box of that width.

    With z_1 largest, as it is at the minimum, two gaps d_i = z_1 - z_i in [0, width] are left. A
    grid, geometric in the gaps, is refined around its best point forty times.
    """
    axis = np.append(0, np.geomspace(1e-2, logit_range, 80))
    axes = [axis, axis]
    for _ in range(40):
        d = np.stack(np.meshgrid([0.0], *axes, indexing="ij"), axis=-1)[0]
        risk, u = _mixed_risk(alpha, beta, loss, np.array(w, dtype=float), d)
        best = np.unravel_index(risk.argmin(), risk.shape)
        ends = [
            (a[max(i - 1, 0)], a[min(i + 1, len(a) - 1)]) for a, i in zip(axes, best, strict=True)
        ]
        axes = [np.linspace(*pair, 13) for pair in ends]
    return u[best]


def rate_constant(alpha, beta, loss, w):
    """b in 1 - u_t ~ b / (logit range) for k = 3: alpha (w_n - w_j) / (beta (w_t g(1) - w_n g(0))).

    w = (w_t, w_n, w_j) in falling order, g = -l'.
    """
    w_t, w_n, w_j = map(float, w)
    g0, g1 = -loss.slope(0.0), -loss.slope(1.0)
    return alpha * (w_n - w_j) / (beta * (w_t * g1 - w_n * g0))


MIXTURES = (
    (1, 1, MAELoss(), THREE_LABELS),
    (1, 4, AGCELoss(a=6, q=1.5), PAIR_FLIP),
    (10, 0.1, AGCELoss(a=1.8, q=3), PAIR_FLIP),
)


def nce_plus_alf(rate=rate_constant, minimise=minimise_on_box) -> Check:
    """NCE + ALF is asymmetric by Theorems 3 and 5 (Section 4.2); repaired: in the limit.

    Logits in an interval of width B. As printed: at B = 20 the minimiser must be the corner of
    class t. Repaired: u_t rises to 1, with (1 - u_t) B -> b, to 0.3 % at B = 2e5. The control:
    without NCE the corner is the minimiser.
    """
    values, leaked, constants, increasing, alone = [], [], [], True, True
    corner = 1.001 * np.exp(-20.0)  # u_n in the corner of class t at B = 20
    for alpha, beta, loss, w in MIXTURES:
        points = np.array([minimise(alpha, beta, loss, w, B) for B in (10, 20, 40, 400, 2000)])
        u = points[:, 0]
        values.append(u)
        leaked.append(points[1, 1])
        increasing &= bool(np.all(np.diff(u) > 0) and u[-1] > 0.98)
        far = minimise(alpha, beta, loss, w, 2e5)
        constants.append(far[1] * 2e5 / rate(alpha, beta, loss, w))
        alone &= bool(minimise(0, beta, loss, w, 20)[1] <= corner)
    return Check(
        printed=bool(min(leaked) <= corner),
        control=alone,
        repaired=bool(increasing and max(abs(x - 1) for x in constants) < 3e-3),
        figures={
            "NCE + MAE, w = (1, .9, .01): u_t at B = 10, 20, 40, 400, 2000": listed(
                f"{x:.3f}" for x in values[0]
            ),
            f"largest u_t of {len(MIXTURES)} mixtures at B = 20": f"{1 - min(leaked):.3f}",
            "(1 - u_t) B / b at B = 2e5 is within 0.3 % of 1": bool(
                max(abs(x - 1) for x in constants) < 3e-3
            ),
            "without NCE the corner is the minimiser": alone,
        },
    )
