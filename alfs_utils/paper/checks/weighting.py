"""Checks of Theorem 7 and the Conclusion's "for any hypothesis class" (chapter 8).

Two classes, deterministic labels: a hypothesis f is given by u = f(x)_y, one number in [0, 1] per
sample x. The clean loss of x is l(u), its noisy risk F(u) = (1 - eta) l(u) + eta l(1 - u), and
g = -l'. The weight in question is dF/dl = (1 - eta) - eta g(1 - u) / g(u).
"""

import copy
from fractions import Fraction

import numpy as np
import torch

from alfs_utils.asymmetry import asymmetry_ratio
from alfs_utils.losses import AELLoss, AGCELoss, AULLoss, CELoss, MAELoss
from alfs_utils.paper.checks import Check

__all__ = [
    "convex_example",
    "convex_set_of_losses",
    "dominating_mixture",
    "explicit_weight",
    "gradient_identity",
    "largest_minimal_weight",
    "pairwise_interval",
    "pareto",
    "random_class",
    "theorem_7",
    "theorem_7_readings",
    "three_class_slopes",
]

CONCAVE = [MAELoss(), AGCELoss(a=1, q=2), AGCELoss(a=6, q=1.5), AULLoss(a=3, p=0.1)]
# u on each of two samples: f_1 and f_2 are each sure and right on one of them, f* is unsure.
EXAMPLE = ((1, 0), (0, 1), (Fraction(2, 5), Fraction(2, 5)))
CONVEX = [AGCELoss(a=0.6, q=0.6), AULLoss(a=2, p=2), AELLoss(a=2.5), AELLoss(a=1)]


def explicit_weight(loss, eta, u):
    """(1 - eta) - eta g(1 - u) / g(u), for float arrays."""
    return (1 - eta) - eta * loss.slope(1 - u) / loss.slope(u)


def noisy_risk(loss, eta, u):
    """(1 - eta) l(u) + eta l(1 - u)."""
    return (1 - eta) * loss.of_probability(u) + eta * loss.of_probability(1 - u)


# --- the exact example ----------------------------------------------------------------------


def convex_example(predictions=EXAMPLE):
    """AUL with a = p = 2, eta = 1/5, two equally probable samples, three hypotheses; exact.

    Returns the noisy risks (3,) and the clean losses (3, 2), lists of Fractions.
    """
    eta = Fraction(1, 5)

    def loss(u):
        return ((2 - u) ** 2 - Fraction(1)) / 2

    clean = [[loss(u) for u in f] for f in predictions]
    noisy = [sum((1 - eta) * loss(u) + eta * loss(1 - u) for u in f) / 2 for f in predictions]
    return noisy, clean


# --- linear programs ------------------------------------------------------------------------


def largest_minimal_weight(clean, best):
    """Largest min_x w(x) over all w of sum 1 for which `best` minimises the weighted clean risk.

    `clean` (hypotheses, samples) holds p(x) l(f(x)); -inf if there is no such w at all.
    """
    from scipy.optimize import linprog

    samples = clean.shape[1]
    # variables: w and t; maximise t subject to clean[best] w <= clean[f] w and t <= w
    not_worse = np.pad(clean[best] - clean, ((0, 0), (0, 1)))
    below = np.hstack([-np.eye(samples), np.ones((samples, 1))])
    rows = np.vstack([not_worse, below])
    total = [[1.0] * samples + [0.0]]
    solution = linprog(
        [0.0] * samples + [-1.0],
        A_ub=rows,
        b_ub=np.zeros(len(rows)),
        A_eq=total,
        b_eq=[1],
        bounds=(None, None),
    )
    return -solution.fun if solution.status == 0 else -np.inf


def dominating_mixture(clean, best):
    """By how much a mixture of hypotheses can be better than `best` on every sample at once.

    Positive: then no weights >= 0 (but w = 0) make `best` a minimiser (Farkas).
    """
    from scipy.optimize import linprog

    hypotheses, samples = clean.shape
    # variables: the mixture and s; maximise s subject to mixture clean + s <= clean[best]
    rows = np.hstack([(clean - clean[best]).T, np.ones((samples, 1))])
    solution = linprog(
        [0.0] * hypotheses + [-1.0],
        A_ub=rows,
        b_ub=np.zeros(samples),
        A_eq=[[1.0] * hypotheses + [0.0]],
        b_eq=[1],
        bounds=[(0, None)] * hypotheses + [(None, None)],
    )
    return -solution.fun


def random_class(ratio, rng):
    """A finite class on two samples, u (3, 2), and noise rates with (1 - eta)/eta ratio > 1.

    The first hypothesis is unsure, the others are mostly sure and right or wrong at random.
    """
    u = np.vstack([rng.uniform(0.3, 0.5, (1, 2)), rng.beta(0.15, 0.15, (2, 2))])
    return u, rng.uniform(0.9, 0.99, 2) * ratio / (1 + ratio)


# --- the checks -----------------------------------------------------------------------------


def theorem_7(weight=explicit_weight, predictions=EXAMPLE, classes=20) -> Check:
    """f* minimises a positively weighted clean risk, whose weights do not depend on f.

    As printed: the exact example, and random finite classes with convex losses. Repaired: concave
    losses, with the explicit weight at f*. It is positive, it is a tangent,
    F(u) - F(u*) <= w (l(u) - l(u*)) for all u and u*, and with it no hypothesis of a random
    class is better than f*. The control: a concave loss whose noise is too much for the
    printed ratio, though not for the paper's value 1.
    """
    noisy, clean = convex_example(predictions)
    mixture = [(x + y) / 2 for x, y in zip(*clean[:2], strict=True)]
    better = all(m < x for m, x in zip(mixture, clean[2], strict=True))
    rng = np.random.default_rng(0)
    refused = {-1: 0, 1: 0}  # by the sign of l''
    repaired = True
    for shape, loss in [(-1, loss) for loss in CONCAVE] + [(1, loss) for loss in CONVEX]:
        ratio = asymmetry_ratio(loss)
        for _ in range(classes):
            u, eta = random_class(ratio, rng)
            best = noisy_risk(loss, eta, u).sum(axis=1).argmin()
            clean_risk = loss.of_probability(u)
            if shape > 0:
                refused[shape] += dominating_mixture(clean_risk, best) > 1e-6
            else:
                w = weight(loss, eta, u[best])
                repaired &= bool(
                    (w > 0).all() and ((clean_risk - clean_risk[best]) @ w).min() > -1e-12
                )
                found = largest_minimal_weight(clean_risk, best)
                refused[shape] += found <= 0
                repaired &= bool(found >= w.min() / w.sum() - 1e-6)
        if shape < 0:
            repaired &= all(_is_tangent(weight, loss, x * ratio / (1 + ratio)) for x in (0.3, 0.9))

    return Check(
        printed=not (noisy[2] < min(noisy[:2]) and better and refused[1] > 0),
        repaired=repaired and refused[-1] == 0,
        control=_no_weights_beyond_the_ratio(),
        figures={
            "AUL(a=2, p=2), eta = 1/5: noisy risks of three hypotheses": _texts(noisy),
            "mean of the clean losses of the first two": _texts(mixture),
            "clean losses of the third, which are higher": _texts(clean[2]),
            "random classes without weights, concave losses": (refused[-1], classes * len(CONCAVE)),
            "random classes without weights, convex losses": (refused[1], classes * len(CONVEX)),
            "explicit weight, concave: positive, a tangent, and f* a minimiser": repaired,
        },
    )


def _no_weights_beyond_the_ratio():
    """Whether one sample with 3/2 r = 3/4 < 1 has no positive weight; r is 1 in the paper."""
    loss, u = AGCELoss(a=1, q=2), np.array([[0.0], [0.1]])
    best = noisy_risk(loss, 0.4, u).sum(axis=1).argmin()
    return bool(largest_minimal_weight(loss.of_probability(u), best) < 0)


def _is_tangent(weight, loss, eta):
    grid = np.linspace(0, 1, 101)
    l, rho = loss.of_probability(grid), noisy_risk(loss, eta, grid)
    rise = weight(loss, eta, grid) * (l[:, None] - l)  # [u, u*]
    return bool((rho[:, None] - rho <= rise + 1e-12).all())


def _texts(fractions):
    return "(" + ", ".join(map(str, fractions)) + ")"


def importance(clean, noisy):
    """p~(y|x) / p(y|x)."""
    return noisy / clean


def theorem_7_readings(weight=importance, tables=200) -> Check:
    """If all labels are possible, R^eta is itself a weighted clean risk: any loss, any class.

    An illustration of an identity, exact: random tables of numbers for L(f, x, y), which need not
    be losses, label probabilities p(y|x) > 0 and noise, dominant or not. The control: with
    deterministic labels the noisy label may never be a clean one, and no weight makes up for that.
    """
    rng = np.random.default_rng(0)
    equal = impossible = 0
    for _ in range(tables):
        p, a, b = (np.array([Fraction(n, 20) for n in rng.integers(1, 20, 3)]) for _ in range(3))
        p = np.stack([p, 1 - p], axis=1)
        T = np.array([[1 - a, a], [b, 1 - b]]).transpose(2, 0, 1)  # [x, true, given]
        noisy = (p[:, :, None] * T).sum(axis=1)
        loss = rng.integers(0, 100, (5, 3, 2)).astype(object)
        w = weight(p, noisy)
        equal += ((p * w * loss).sum(axis=(1, 2)) == (noisy * loss).sum(axis=(1, 2))).all()
        one_hot = np.array([[1, 0]] * 3, dtype=object)
        impossible += ((one_hot == 0) & ((one_hot[:, :, None] * T).sum(axis=1) > 0)).any()
    for_all = bool(equal == tables)
    return Check(
        printed=for_all,
        empty=for_all,
        control=bool(impossible > 0),
        figures={
            "exact cases, any loss": tables,
            "with w = p~/p the weighted clean risk is the noisy risk": int(equal),
            "with deterministic labels there is no such weight": int(impossible),
        },
    )


def pairwise_interval(eta, ratio):
    """The weight of a pair of predictions lies between (1 - eta) - eta/r and (1 - eta) - eta r."""
    return (1 - eta) - eta / ratio, (1 - eta) - eta * ratio


def pareto(interval=pairwise_interval, losses=(*CONCAVE, *CONVEX), classes=15) -> Check:
    """The Pareto form: no hypothesis has clean losses <= those of f* everywhere, and once less.

    For every loss with (1 - eta)/eta r > 1. A pair's weight, [F(u) - F(v)] / [l(u) - l(v)],
    must lie in the interval and come within 1 % of its lower end, which is positive. Random
    classes: f* must never be dominated, for two classes, and for k = 2 to 5 never by a hypothesis
    that has less on every wrong class. The controls: CE, some of whose weights are negative, and
    noise beyond the hypothesis, under which f* is dominated.
    """
    rng = np.random.default_rng(0)
    outside, dominated, transfers, beyond, close = 0, 0, 0, 0, True
    for loss in losses:
        ratio = asymmetry_ratio(loss)
        low, high = interval(eta := 0.95 * ratio / (1 + ratio), ratio)
        weights = _pairwise_weights(rng, loss, eta)
        outside += int(((weights < low - 1e-9) | (weights > high + 1e-9)).sum())
        close &= bool(0 < low and weights.min() < low + 0.01)
        for _ in range(classes):
            dominated += _is_dominated(loss, *random_class(ratio, rng))
            transfers += _transfer_is_lower(rng, loss, ratio) is False
        beyond += _is_dominated(loss, *_beyond(loss, ratio))
    negative = bool((_pairwise_weights(rng, CELoss(), 0.3) < 0).any())
    return Check(
        printed=outside == dominated == transfers == 0 and close,
        control=negative and beyond > 0,
        figures={
            "losses": len(losses),
            "pairs of predictions whose weight is outside the interval": outside,
            "the lower end is positive, and approached": close,
            "random classes in which f* is dominated": (dominated, classes * len(losses)),
            "transfers to the true class, k = 2 to 5, that do not pay": (
                transfers,
                classes * len(losses),
            ),
            "f* is dominated, noise beyond the hypothesis": (beyond, len(losses)),
            "CE has negative weights": negative,
        },
    )


def _pairwise_weights(rng, loss, eta):
    """[F(u) - F(v)] / [l(u) - l(v)] for pairs at random and pairs close to 0 and to 1."""
    u, v = rng.uniform(0.001, 1, (2, 2000))
    ends = np.array([[0.001, 0.002], [0.998, 0.999], [0.001, 0.999]]).T
    u, v = np.append(u, ends[0]), np.append(v, ends[1])
    u, v = u[abs(u - v) > 5e-4], v[abs(u - v) > 5e-4]
    rise = noisy_risk(loss, eta, u) - noisy_risk(loss, eta, v)
    return rise / (loss.of_probability(u) - loss.of_probability(v))


def _is_dominated(loss, u, eta):
    """Whether some hypothesis is at least as good as f* on every sample, and better on one."""
    clean = loss.of_probability(u)
    best = noisy_risk(loss, eta, u).sum(axis=1).argmin()
    return bool(((clean <= clean[best]).all(axis=1) & (clean < clean[best]).any(axis=1)).any())


def _beyond(loss, ratio):
    """One sample and two hypotheses, close to where the weight is least, with too much noise."""
    u = (
        np.array([[0.0], [0.05]])
        if loss.slope(0.0) > loss.slope(1.0)
        else np.array([[0.95], [1.0]])
    )
    return u, 1.2 * ratio / (1 + ratio)


def _transfer_is_lower(rng, loss, ratio):
    """Whether moving some mass of the wrong classes to class 0 lowers the noisy risk, c r > 1."""
    k = int(rng.integers(2, 6))
    w = np.append(0, rng.uniform(0.05, 1, k - 1))
    w[0] = rng.uniform(1.01, 2) * w.max() / ratio
    u = rng.dirichlet(np.ones(k))
    v = u * np.append(0, rng.uniform(0, 1, k - 1))
    v[0] = 1 - v.sum()
    return bool(w @ (loss.of_probability(v) - loss.of_probability(u)) < 0)


def convex_set_of_losses(weight=explicit_weight, losses=CONVEX, cases=8) -> Check:
    """If the clean losses of a class form a convex set, the explicit weight at f* works again.

    Convex losses and random segments in the space of the clean losses of three samples: the noisy
    risk is minimised along each, and no end may have a lower weighted clean risk. The control: two
    ends alone and a point a little above the minimum, not a convex set. Where that point has the
    lowest noisy risk, there may be no weights at all.
    """
    rng = np.random.default_rng(0)
    worst, inside, refused = 0.0, 0, 0
    for loss in losses:
        ratio = asymmetry_ratio(loss)
        for _ in range(cases):
            ends = loss.of_probability(rng.beta(0.3, 0.3, (2, 3)))
            eta = rng.uniform(0.9, 0.99, 3) * ratio / (1 + ratio)
            s, lowest = _minimise_on_segment(loss, eta, ends)
            gain = (ends - loss.of_probability(lowest)) @ weight(loss, eta, lowest)
            worst = min(worst, float(gain.min()))
            inside += 0 < s < 1
            clean = np.vstack([ends, loss.of_probability(lowest) + 1e-3])
            u = _probability(loss, clean)
            if 0 < s < 1 and noisy_risk(loss, eta, u).sum(axis=1).argmin() == 2:
                refused += (clean[:2].T @ [1 - s, s] < clean[2]).all()
    total = cases * len(losses)
    return Check(
        printed=worst > -1e-6 and 0 < inside < total,
        control=bool(refused > 0),
        figures={
            "segments of clean losses, four convex losses": total,
            "the minimum is inside": int(inside),
            "the explicit weight makes it a minimiser, to 1e-6": worst > -1e-6,
            "the ends and a point above the segment: no weights": int(refused),
        },
    )


def _probability(loss, values):
    """u with l(u) = values, clipped to [0, 1]: AEL, AGCE and AUL have an inverse in closed form."""
    match loss:
        case AELLoss(a=a):
            return np.clip(-a * np.log(values), 0, 1)
        case AGCELoss(a=a, q=q):
            return np.clip(np.maximum((a + 1) ** q - q * values, a**q) ** (1 / q) - a, 0, 1)
        case AULLoss(a=a, p=p):
            return np.clip(a - (p * values + (a - 1) ** p) ** (1 / p), 0, 1)


def _minimise_on_segment(loss, eta, ends, h=1e-5):
    """Where on the segment of clean losses the noisy risk, convex there, is least: s, and u."""

    def risk(s):
        return noisy_risk(loss, eta, _probability(loss, (1 - s) * ends[0] + s * ends[1])).sum()

    low, high = h, 1 - h
    for _ in range(30):
        s = (low + high) / 2
        low, high = (low, s) if risk(s + h) > risk(s - h) else (s, high)
    s = 0.0 if s < 2 * h else 1.0 if s > 1 - 2 * h else s
    return s, _probability(loss, (1 - s) * ends[0] + s * ends[1])


# --- the gradient ---------------------------------------------------------------------------


def three_class_slopes(w=(5, 4, 1), direction=(-1, 3, -2)):
    """Slopes of the noisy and of the clean risk of MAE, 2 - 2 u_i, along du/dtheta; exact."""
    total = sum(w)
    noisy = -2 * Fraction(sum(x * d for x, d in zip(w, direction, strict=True)), total)
    return noisy, Fraction(-2 * direction[0])


def gradient_identity(weight=explicit_weight, losses=(*CONCAVE, *CONVEX), seeds=3) -> Check:
    """The gradient of the noisy risk is that of a positively weighted clean risk.

    As printed, for any number of classes: with three, the two gradients can be opposite, already
    for MAE with w_1/w_2 r > 1. With two classes: a small network on random samples, each with its
    own noise rate, (1 - eta)/eta r > 1, autograd through the noisy risk, against autograd through
    the clean one with constant weights. The control: CE, where some weights are negative.
    """
    worst, smallest = 0.0, np.inf
    for seed in range(seeds):
        for loss in losses:
            gap, w = _gradient_gap(loss, asymmetry_ratio(loss), weight, seed)
            worst, smallest = max(worst, gap), min(smallest, w.min())
    gap, w = _gradient_gap(CELoss(), 2 / 3, weight, 0)
    noisy_slope, clean_slope = three_class_slopes()
    same = max(worst, gap) < 1e-12
    return Check(
        printed=noisy_slope * clean_slope > 0,
        assumed=bool(same and smallest > 0),
        control=bool((w < 0).any()),
        figures={
            "losses": len(losses),
            "networks, with 64 samples each": seeds,
            "the gradients agree to 1e-12 of their size, also for CE": same,
            "all weights are positive": bool(smallest > 0),
            "all weights are positive for CE": bool((w > 0).all()),
            "MAE, weights (5, 4, 1)/10: slope of the noisy risk along (-1, 3, -2)": noisy_slope,
            "slope of the clean risk along the same direction": clean_slope,
        },
    )


def _gradient_gap(loss, ratio, weight, seed):
    """Relative gap between the two gradients, and the weights."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(64, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(2, (64,), generator=generator)
    eta = torch.rand(64, generator=generator, dtype=torch.float64) * 0.999 * ratio / (1 + ratio)
    theta = [
        torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((4, 8), (8, 2))
    ]
    logits = torch.tanh(x @ theta[0]) @ theta[1]
    each = copy.copy(loss)
    each.reduction = "none"
    right, wrong = each(logits, y), each(logits, 1 - y)
    u = logits.softmax(dim=1).gather(1, y[:, None])[:, 0].detach().numpy()
    w = weight(loss, eta.numpy(), u)
    risks = ((1 - eta) * right + eta * wrong).mean(), (torch.tensor(w) * right).mean()
    one, other = (
        torch.cat([part.flatten() for part in torch.autograd.grad(r, theta, retain_graph=True)])
        for r in risks
    )
    return float((one - other).abs().max() / one.abs().max()), w
