"""Assumption 2, Theorem 4, clean accuracy, the sentences after it; argmax tolerance (chapter 6).

A world is a handful of samples, each with a label y and a row of weights (the probabilities of
the given labels), and a few hypotheses, each of which gives every sample a point of the simplex.
"""

from fractions import Fraction

import numpy as np

from alfs_utils import asymmetry, noise
from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AULLoss,
    CELoss,
    FocalLoss,
    GCELoss,
    MAELoss,
    NormalizedGCELoss,
)
from alfs_utils.paper.checks import Check, listed

__all__ = [
    "accuracy_factor",
    "agce_example",
    "any_noise_model",
    "argmax_tolerance",
    "assumption_2",
    "assumption_2_cannot_be_dropped",
    "asymmetric_on_grid",
    "binary_risks",
    "clean_accuracy",
    "data_distribution",
    "dominant",
    "excess_modulus",
    "loss_with_ratio",
    "noisy_labels",
    "rates_not_needed",
    "swap_gain",
    "theorem_4",
    "theorem_4_limit",
    "top_probability",
    "two_worlds",
    "what_asymmetry_buys",
]

COMPLETE = (MAELoss(), AGCELoss(a=1, q=2), AGCELoss(a=6, q=1.5), AULLoss(a=3, p=0.1))


def _weights(rng, k, level):
    """Random weights with sum 1 whose largest, number 0, is `level` times the next."""
    others = rng.uniform(0.05, 1, k - 1)
    w = np.append(level * others.max(), others)
    return w / w.sum()


# --- Assumption 2 ---------------------------------------------------------------------------


def top_probability(power, k):
    """softmax_y where the logit of y is ahead of k - 1 others by ln(1/power): 1/(1 + (k-1) power).

    Exact if `power` is a Fraction.
    """
    return 1 / (1 + (k - 1) * power)


def assumption_2(softmax=top_probability) -> Check:
    """A universal network class contains the optimal function (after Assumption 2).

    Not if it ends with a softmax: u_y < 1 at every finite logit, here exact for logit gaps of
    1, 10, 100, 1000 times ln 3. Repaired: it comes arbitrarily close, and so does the loss. The
    control: the same test in float64, which rounds u_y to 1 from a gap of 37 on.
    """
    ks, gaps = (2, 10, 100), (1, 10, 100, 1000)
    exact = {(k, d): softmax(Fraction(1, 3**d), k) for k in ks for d in gaps}
    rounded = [d for d in range(60) if softmax(np.exp(-float(d)), 2) == 1.0]
    tops = [float(1 - exact[k, 100]) for k in ks]
    loss = AELLoss(a=2.5)
    excess = [loss.of_probability(float(softmax(np.exp(-d), 10))) for d in (5.0, 10.0, 30.0)]
    excess = [float(x - loss.of_probability(1.0)) for x in excess]
    return Check(
        printed=any(u == 1 for u in exact.values()),
        control=bool(rounded) and rounded[0] == 37,
        repaired=max(tops) < 1e-40 and 0 <= excess[2] < 1e-10 < excess[1] < excess[0],
        figures={
            "softmax_y < 1, exact": (sum(u < 1 for u in exact.values()), len(exact)),
            "1 - softmax_y < 1e-40 at a logit gap of 100 ln 3": max(tops) < 1e-40,
            "float64 says 1 from a logit gap of": rounded[0] if rounded else None,
        },
    )


def agce_example(u):
    """AGCE with a = 1/10, q = 2: [(11/10)^2 - (1/10 + u)^2] / 2, completely asymmetric."""
    return (Fraction(11, 10) ** 2 - (Fraction(1, 10) + u) ** 2) / 2


def binary_risks(l, eta, u):
    """Clean and noisy risk of a function with u_y = u on equiprobable samples of two classes."""
    clean = sum(l(x) for x in u) / len(u)
    noisy = sum((1 - eta) * l(x) + eta * l(1 - x) for x in u) / len(u)
    return clean, noisy


def assumption_2_cannot_be_dropped(loss=agce_example, risks=binary_risks) -> Check:
    """Completely asymmetric losses are noise-tolerant for any hypothesis class; they are not.

    Two equiprobable samples, symmetric noise 2/5, two hypotheses with u_y = (3/5, 3/5), right on
    both samples, and (0, 4/5), right on one: the first has the lower clean risk, the second the
    lower noisy risk. With Assumption 2 the perfect function is in the class, and has the least of
    both. The control: MAE orders the two alike on both; symmetric losses need no Assumption 2.
    """
    eta = Fraction(2, 5)
    right, wrong, perfect = (
        [Fraction(x, 5) for x in values] for values in ((3, 3), (0, 4), (5, 5))
    )
    (clean_r, noisy_r), (clean_w, noisy_w), best = (
        risks(loss, eta, u) for u in (right, wrong, perfect)
    )
    mae = [risks(lambda u: 2 - 2 * u, eta, u) for u in (right, wrong)]
    return Check(
        printed=not (clean_r < clean_w and noisy_w < noisy_r),
        control=mae[0][0] < mae[1][0] and mae[0][1] < mae[1][1],
        assumed=best[0] < min(clean_r, clean_w) and best[1] < min(noisy_r, noisy_w),
        figures={
            f"AGCE (1/10, 2), eta = {eta}: clean risks, right and wrong": f"{clean_r} < {clean_w}",
            "noisy risks, right and wrong": f"{noisy_r} > {noisy_w}",
            "clean and noisy risk of the perfect function": listed(best),
            "MAE: clean risks, right and wrong": f"{mae[0][0]} < {mae[1][0]}",
            "MAE: noisy risks, right and wrong": f"{mae[0][1]} < {mae[1][1]}",
        },
    )


# --- Theorem 4 ------------------------------------------------------------------------------


def _simplex_grid(n):
    """Points of the simplex of three classes in multiples of 1/n, as integers."""
    return np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)])


def asymmetric_on_grid(l, w, y, points):
    """Whether e_y alone minimises sum_i w_i l(u_i); l holds integers at the multiples of 1/n.

    l is linear between them, so that the grid decides for the whole simplex.
    """
    risks = l[points] @ w
    at_vertex = points[:, y] == len(l) - 1
    return bool((risks[~at_vertex] > risks[at_vertex]).all())


def theorem_4(asymmetric=asymmetric_on_grid, worlds=1500) -> Check:
    """L is noise-tolerant if it is asymmetric on the noise and Assumption 2 holds.

    Random worlds of three samples at k = 3: a piecewise linear loss with integer values, integer
    weights with the clean label ahead, the perfect function and seven others, most of them close
    to it. Every minimiser of the noisy risk must minimise the clean one. The controls, both of
    which must fail: the loss is not asymmetric; the perfect function is taken away.
    """
    rng = np.random.default_rng(0)
    n = 6
    points = _simplex_grid(n)
    failures = {"both": [0, 0], "not asymmetric": [0, 0], "no perfect function": [0, 0]}
    for number in range(worlds):
        slopes = rng.integers(1, 10, n)
        slopes = (slopes, np.sort(slopes), -np.sort(-slopes))[number % 3]
        l = np.append(np.cumsum(slopes[::-1])[::-1], 0)
        y = rng.integers(3, size=3)
        w = rng.integers(0, 6, size=(3, 3))
        w[range(3), y] = w.max(axis=1) + rng.integers(1, 8, 3)
        functions = n * np.eye(3, dtype=int)[np.tile(y, (8, 1))]
        for function in functions[1:]:  # move a few sixths of each sample to other classes
            moved = rng.multinomial(rng.integers(0, 4), np.ones(3) / 3, size=3)
            function += moved
            function[range(3), y] -= moved.sum(axis=1)
        noisy = (l[functions] * w).sum(axis=(1, 2))
        clean = l[functions][:, range(3), y].sum(axis=1)
        good = all(asymmetric(l, w[s], y[s], points) for s in range(3))
        cases = [("both" if good else "not asymmetric", slice(None))]
        cases += [("no perfect function", clean > 0)] if good else []
        for name, kept in cases:
            tolerant = (clean[kept][noisy[kept] == noisy[kept].min()] == clean[kept].min()).all()
            failures[name][0] += not tolerant
            failures[name][1] += 1
    held, bent, bare = failures.values()
    return Check(
        printed=held[0] == 0 and held[1] > 100,
        control=bent[0] > 0 < bare[0],
        figures={
            "failures, asymmetric loss and perfect function": (held[0], held[1]),
            "failures, loss not asymmetric": (bent[0], bent[1]),
            "failures, no perfect function": (bare[0], bare[1]),
        },
    )


def excess_modulus(w_y, w_n, ratio):
    """w_y - w_n / r: clean excess <= noisy excess / this."""
    return w_y - w_n / ratio


CERTIFIED = (
    MAELoss(),
    AGCELoss(a=6, q=1.5),
    AULLoss(a=3, p=0.1),
    AGCELoss(a=0.6, q=0.6),
    AULLoss(a=5.5, p=3),
    AELLoss(a=2.5),
)


def theorem_4_limit(modulus=excess_modulus) -> Check:
    """Noisy excess >= (w_y - w_n/r) clean excess at every point: the limit version of Theorem 4.

    r is the repaired asymmetry ratio. Random weights with c r from 1.02 to 4 and points at random,
    near e_y and on the edge to n. The bound must hold, and be attained to 0.1 % (on the edge: at
    e_y for convex losses, at e_n for concave ones). The control: without the ratio it must fail.
    """
    rng = np.random.default_rng(0)
    broken = loose = cases = without = 0
    for loss in CERTIFIED:
        ratio = asymmetry.asymmetry_ratio(loss, "repaired")
        for k in (2, 3, 10):
            w = _weights(rng, k, rng.uniform(1.02, 4) / ratio)
            n = 1 + int(w[1:].argmax())
            u = rng.dirichlet(np.full(k, 0.5), size=400)
            u[:200] = np.eye(k)[0] + (u[:200] - np.eye(k)[0]) * rng.uniform(0.01, 1, (200, 1)) ** 2
            d = np.array([1e-4, 1e-2, 0.5, 1.0])[:, None]
            u = np.vstack([u, (1 - d) * np.eye(k)[0] + d * np.eye(k)[n]])
            l, l0, l1 = (loss.of_probability(x) for x in (u, 0.0, 1.0))
            clean = l[:, 0] - l1
            noisy = w[0] * clean - ((l0 - l) * w)[:, 1:].sum(axis=1)
            quotients = noisy / clean
            bound = modulus(w[0], w[n], ratio)
            broken += bool(quotients.min() < bound - 1e-9)
            loose += bool(quotients.min() > 1.001 * bound)
            without += bool(quotients.min() < excess_modulus(w[0], w[n], 1.0) - 1e-9)
            cases += 1
    return Check(
        printed=broken == loose == 0,
        control=without > 0,
        figures={
            "pairs of loss and weights": cases,
            "the bound is broken": broken,
            "the bound is not attained": loose,
            "the bound without the ratio is broken": without,
        },
    )


def accuracy_factor(l, delta):
    """1 / (delta [l(1/2) - l(1)]): the clean error is at most this times the noisy excess."""
    return 1 / (delta * (l(0.5) - l(1.0)))


def _wrong_points(rng, w):
    """Predictions (points, k) whose largest entry is not entry 0; a tie counts as wrong."""
    k, n = len(w), 1 + int(w[1:].argmax())
    u = np.vstack([rng.dirichlet(np.full(k, a), size=60) for a in (0.1, 0.5, 2.0)])
    top = u.argmax(axis=1)
    u[range(len(u)), top], u[:, 0] = u[:, 0].copy(), u[range(len(u)), top].copy()
    j = rng.integers(1, k, len(u))  # class 0 has the largest entry by now: exchange it with j
    u[range(len(u)), j], u[:, 0] = u[:, 0].copy(), u[range(len(u)), j].copy()
    d = np.array([0.5, 0.501, 0.7, 1.0])[:, None]
    return np.vstack([u, (1 - d) * np.eye(k)[0] + d * np.eye(k)[n]])


def clean_accuracy(factor=accuracy_factor, classes=(2, 3, 10, 100)) -> Check:
    """Clean error <= noisy excess / (delta [l(1/2) - l(1)]), for any number of classes.

    Labels are a function of x, so that it is enough to look at one x and a wrong prediction u: the
    right-hand side must be at least 1. Random weights with c r from 1.02 to 4, predictions at
    random, on the edge to the strongest wrong class, and the tie of the two, where MAE must attain
    the bound for every k. The controls, both of which must break it: delta 1 % too large, and
    delta without the ratio.
    """
    rng = np.random.default_rng(0)
    cases = broken = too_large = without = 0
    attained = []
    for loss in CERTIFIED:
        l, ratio = loss.of_probability, asymmetry.asymmetry_ratio(loss, "repaired")
        for k in classes:
            for _ in range(5):
                w = _weights(rng, k, rng.uniform(1.02, 4) / ratio)
                u, w_n = _wrong_points(rng, w), w[1:].max()
                excess = (l(u) @ w - l(np.eye(k)[0]) @ w).min()
                delta = excess_modulus(w[0], w_n, ratio)
                broken += bool(factor(l, delta) * excess < 1 - 1e-9)
                too_large += bool(factor(l, 1.01 * delta) * excess < 1 - 1e-9)
                without += bool(factor(l, w[0] - w_n) * excess < 1 - 1e-9)
                attained += [factor(l, delta) * excess] * isinstance(loss, MAELoss)
                cases += 1
    sharp = bool(max(attained, default=2) < 1 + 1e-9)
    return Check(
        printed=broken == 0 and sharp,
        control=0 < too_large and 0 < without,
        figures={
            "pairs of loss and weights": cases,
            "numbers of classes": listed(classes),
            "the bound is broken": broken,
            "MAE attains it, to 1e-9, for every number of classes": sharp,
            "broken if delta is 1 % too large": too_large,
            "broken without the ratio": without,
        },
    )


# --- the sentences after Theorem 4 ----------------------------------------------------------


def noisy_labels(T, p):
    """Distribution of the given label from that of the true one: sum_i p_i T_ij."""
    return T.T @ p


def data_distribution(noisy=noisy_labels, rounds=20) -> Check:
    """The conclusion does not depend on the data distribution; it asks for labels without overlap.

    As printed: p(y|x) = (3/5, 2/5), 40 % of class 1 are given label 2. With the assumption: the
    certified minimiser of a completely asymmetric loss must be at the most probable true label,
    for labels that are a function of x under random T that satisfies Assumption 1, and for random
    p under symmetric noise of random rate. The controls, which must fail: random overlap with
    random T, and symmetric noise beyond (k - 1)/k.
    """
    T = np.array([[Fraction(3, 5), Fraction(2, 5)], [Fraction(0), Fraction(1)]])
    p = np.array([Fraction(3, 5), Fraction(2, 5)])
    given = noisy(T, p)
    refuted = clean_level_above_one(T) and p[0] > p[1] and given[0] < given[1]

    def misled(number, T, p):
        w = np.asarray(noisy(T, p), float)
        u = asymmetry.weighted_risk_minimiser(COMPLETE[number % len(COMPLETE)], w).u
        return bool(u[np.argmax(p)] < 1)

    rng = np.random.default_rng(0)
    names = ("no overlap", "symmetric noise", "overlap", "symmetric noise beyond (k - 1)/k")
    wrong = dict.fromkeys(names, 0)
    for number in range(3 * rounds):
        k = (2, 3, 5)[number % 3]
        T = rng.integers(0, 9, size=(k, k))
        T[range(k), range(k)] = T.max() + 1
        T = T / T.sum(axis=1, keepdims=True)
        p = rng.integers(0, 50, size=k)
        p[rng.integers(k)] = p.max() + 1
        p = p / p.sum()
        below, beyond = (rng.uniform(*ends) * (k - 1) / k for ends in ((0, 0.99), (1.01, 1.1)))
        wrong["no overlap"] += any(misled(number, T, e) for e in np.eye(k))
        wrong["symmetric noise"] += misled(number, noise.symmetric(k, below), p)
        wrong["overlap"] += misled(number, T, p)
        wrong[names[3]] += misled(number, noise.symmetric(k, beyond), p)
    return Check(
        printed=not refuted,
        control=wrong["overlap"] > 0 and wrong[names[3]] == 3 * rounds,
        assumed=wrong["no overlap"] == wrong["symmetric noise"] == 0,
        figures={
            "p(y|x) = (3/5, 2/5): distribution of the given label": f"({given[0]}, {given[1]})"
        }
        | {f"minimiser elsewhere, {name}": (n, 3 * rounds) for name, n in wrong.items()},
    )


def clean_level_above_one(T):
    """Assumption 1 for a transition matrix."""
    return all(T[i, i] > x for i in range(len(T)) for x in np.delete(T[i], i))


def dominant(w):
    """Assumption 1 for one row of weights, the clean label first."""
    return bool(w[0] > max(w[1:]))


def any_noise_model(assumption=dominant) -> Check:
    """Completely asymmetric losses are robust to any label noise model; to any dominant one.

    As printed: 60 % pair flip. No method can be robust to both of two worlds with the same noisy
    data: all samples of class 1, 60 % labelled 2, and all of class 2, 40 % labelled 1. With it:
    random weights, half of them within 1 % of the boundary; the certified minimiser must be the
    clean vertex. The control: where the assumption fails it must not be.
    """
    first, second = (noisy_labels(np.array(T), np.array(p)) for T, p in (
        ([[Fraction(2, 5), Fraction(3, 5)], [Fraction(0), Fraction(1)]], [1, 0]),
        ([[Fraction(1), Fraction(0)], [Fraction(2, 5), Fraction(3, 5)]], [0, 1]),
    ))  # fmt: skip
    same = first.tolist() == second.tolist()
    minimiser = asymmetry.weighted_risk_minimiser(MAELoss(), [0.4, 0.6]).u

    rng = np.random.default_rng(0)
    seen = {True: [0, 0], False: [0, 0]}  # assumption holds: [clean vertex is not it, cases]
    for number in range(200):
        k = (2, 3, 10)[number % 3]
        level = rng.uniform(0.99, 1.01) if number % 2 else rng.uniform(0.3, 3)
        w = _weights(rng, k, level)
        u = asymmetry.weighted_risk_minimiser(COMPLETE[number % 4], w).u
        case = seen[assumption(w)]
        case[0] += u[0] < 1
        case[1] += 1
    return Check(
        printed=not (same and minimiser[0] < 0.5),
        control=seen[False][0] == seen[False][1] > 0,
        assumed=seen[True][0] == 0 < seen[True][1],
        figures={
            "60 % pair flip of class 1: MAE predicts class": 1 + int(minimiser.argmax()),
            "two worlds have the same noisy data": same,
            "dominant weights: the minimiser is not the clean vertex": (
                seen[True][0],
                seen[True][1],
            ),
            "other weights: the minimiser is not the clean vertex": (
                seen[False][0],
                seen[False][1],
            ),
        },
    )


def loss_with_ratio(family, r):
    """AEL, AGCE (q = 1/2) or AUL (p = 2) with asymmetry ratio r in (0, 1)."""
    if family == "AEL":
        return AELLoss(a=-1 / np.log(r))
    if family == "AGCE":
        return AGCELoss(a=1 / (r**-2 - 1), q=0.5)
    return AULLoss(a=1 / (1 - r), p=2)


def largest(w):
    """The decision for the most frequent given label."""
    return int(np.argmax(w))


RULES = (
    largest,
    lambda w: int(asymmetry.weighted_risk_minimiser(AGCELoss(a=1, q=2), w).u.argmax()),
    lambda w: int(np.argsort(w)[-2]),
    lambda w: int(np.argmin(w)),
)


def two_worlds(rules=RULES, assumption=dominant) -> Check:
    """What is right where the clean label does not dominate is wrong where it does (Section 3.1).

    A row of weights that is not dominant, true label 0, is also the row of a second world in which
    the true label is the most frequent one: the noisy data are the same, and so is every decision
    made from them. Four rules (two find the largest weight) on random rows; none may be right in
    both worlds. The control: on dominant rows the two worlds are one, and the first rule is right.
    """
    rng = np.random.default_rng(0)
    both = right = dominant_rows = others = 0
    for _ in range(200):
        w = rng.dirichlet(np.ones(rng.integers(2, 6)))
        decisions = [rule(w) for rule in rules]
        if assumption(w):
            dominant_rows += 1
            right += decisions[0] == 0 == largest(w)
        else:
            others += 1
            both += sum(d == 0 == largest(w) for d in decisions)
    return Check(
        printed=both == 0 < others,
        control=right == dominant_rows > 0,
        figures={
            "decision rules": len(rules),
            "rows that are not dominant": others,
            "decisions that are right in both worlds": both,
            "dominant rows, on which there is one world": dominant_rows,
            "on those the largest weight is right": right,
        },
    )


def rates_not_needed(tune=loss_with_ratio, level=1.5) -> Check:
    """Noise tolerance without knowing the noise rates: from a lower bound on c, or from nothing.

    Losses with r = 1/1.5, tuned for that bound alone, on random weights with c from 1.501 to 10
    and 2 to 10 classes; completely asymmetric losses from c = 1.001 on. The certified minimiser
    must be the clean vertex. The control: c = 1.49 is below the bound.
    """
    rng = np.random.default_rng(0)
    missed, cases, below = 0, 0, []
    for number in range(24):
        k = (2, 3, 10)[number % 3]
        for family in ("AEL", "AGCE", "AUL"):
            loss = tune(family, 1 / level)
            w = _weights(rng, k, rng.uniform(level + 1e-3, 10) if number % 2 else level + 1e-3)
            missed += asymmetry.weighted_risk_minimiser(loss, w).u[0] < 1
            w = _weights(rng, k, level - 0.01)
            below.append(asymmetry.weighted_risk_minimiser(loss, w).u[0] < 1)
            cases += 1
        w = _weights(rng, k, rng.uniform(1.001, 10) if number % 2 else 1.001)
        missed += asymmetry.weighted_risk_minimiser(COMPLETE[number % 4], w).u[0] < 1
        cases += 1
    return Check(
        printed=bool(missed == 0),
        control=all(below),
        figures={
            "pairs of loss and weights": cases,
            "the minimiser is not the clean vertex": int(missed),
            "just below the bound it is not": (sum(below), len(below)),
        },
    )


# --- what needs asymmetry, and what does not ------------------------------------------------


def swap_gain(weights, losses, t, n):
    """F(u) - F(u with u_t and u_n exchanged) = (w_t - w_n)(L(u, t) - L(u, n))."""
    return (weights[t] - weights[n]) * (losses[t] - losses[n])


def normalise(w):
    """w / sum w: the minimiser of the weighted cross entropy."""
    return w / w.sum()


def _class_losses(loss, u):
    """L(u, i) for every i."""
    phi = getattr(loss, "loss", loss).of_probability(u)
    return phi / phi.sum() if hasattr(loss, "loss") else phi


ALIKE = (  # losses that treat classes alike
    CELoss(),
    GCELoss(q=0.7),
    FocalLoss(gamma=0.5),
    AELLoss(a=0.5),
    AGCELoss(a=0.1, q=0.5),
    AULLoss(a=1.1, p=3),
    NormalizedGCELoss(q=0.5),
)


def argmax_tolerance(gain=swap_gain, ce_minimiser=normalise) -> Check:
    """The minimiser of the noisy risk has its maximum at the clean label, for every loss.

    For every loss that treats classes alike: the swap identity at random points, and certified
    minimisers at random weights, half of them with w_t/w_n = 1.005. That of CE is w / sum w, so it
    is no vertex: argmax tolerance is not asymmetry. The control: class weights, which do not treat
    classes alike, must turn the maximum around.
    """
    rng = np.random.default_rng(0)
    error = ce_error = 0.0
    wrong = vertices = turned = cases = 0
    for loss in ALIKE:
        for k in (2, 3, 10):
            for level in (1.005, rng.uniform(1.01, 1.5)):
                w = _weights(rng, k, level)
                n = 1 + int(w[1:].argmax())
                v = rng.dirichlet(np.ones(k)) + 1e-3
                v /= v.sum()
                order = np.arange(k)
                order[[0, n]] = order[[n, 0]]
                at_v, at_swapped = (_class_losses(loss, x) for x in (v, v[order]))
                error = max(error, abs(w @ (at_v - at_swapped) - gain(w, at_v, 0, n)))
                u = asymmetry.weighted_risk_minimiser(loss, w).u
                wrong += not u[0] > u[1:].max()
                vertices += bool(u[0] == 1)
                if isinstance(loss, CELoss):
                    ce_error = max(ce_error, np.abs(u - ce_minimiser(w)).max())
                    scaled = w * np.where(np.arange(k) == n, 1.1 * level, 1.0)
                    turned += asymmetry.weighted_risk_minimiser(loss, scaled).u.argmax() == n
                cases += 1
    return Check(
        printed=bool(wrong == 0 and error < 1e-12 and ce_error < 1e-9),
        control=bool(turned == 6),
        figures={
            "pairs of loss and weights": cases,
            "the maximum is at another label": wrong,
            "the minimiser is one-hot": vertices,
            "the swap identity holds to 1e-12": bool(error < 1e-12),
            "the minimiser of CE is w / sum w to 1e-9": bool(ce_error < 1e-9),
            "class weights turn the maximum around": (turned, 6),
        },
    )


def what_asymmetry_buys(tune=loss_with_ratio, samples=24) -> Check:
    """At the noisy minimiser the clean excess risk is 0 iff c r >= 1; the accuracy is 1 anyway.

    Random clean-dominant noise, a row of weights per sample, c their smallest clean level; what a
    tabular softmax converges to is the certified minimiser of every row. Losses with r at 0.995,
    0.999, 1.001, 1.005 of 1/c. The control: with 0.5/c the excess is large.
    """
    rng = np.random.default_rng(0)
    rows = [_weights(rng, 3, rng.uniform(1.3, 4)) for _ in range(samples)]
    c = min(w[0] / w[1:].max() for w in rows)
    excess, accuracies = {}, []
    for family in ("AEL", "AGCE", "AUL"):
        for scale in (0.5, 0.995, 0.999, 1.001, 1.005):
            loss = tune(family, scale / c)
            u = np.array([asymmetry.weighted_risk_minimiser(loss, w).u for w in rows])
            l = loss.of_probability(u[:, 0]) - loss.of_probability(1.0)
            excess[family, scale] = l.mean() / (loss.of_probability(0.0) - loss.of_probability(1.0))
            accuracies.append((u.argmax(axis=1) == 0).mean())
    right = all((x > 1e-9) == (scale < 1) for (_, scale), x in excess.items())
    half = min(x for (_, scale), x in excess.items() if scale == 0.5)
    close = max(x for (_, scale), x in excess.items() if scale == 0.995)
    return Check(
        printed=bool(right and min(accuracies) == 1),
        control=bool(half > 0.01),
        figures={
            "losses": len(excess),
            "samples": samples,
            "least accuracy": f"{min(accuracies):.1f}",
            "the clean excess is 0 exactly where c r >= 1": right,
            "mean excess at c r = 0.5, in units of l(0) - l(1)": f"{half:.2f} and more",
            "mean excess at c r = 0.995": f"{close:.0e} and less",
        },
    )
