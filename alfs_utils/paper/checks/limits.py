"""What a certificate cannot promise (chapter 9b). The statements are ours, none is the paper's.

Three facts about losses that are certified, that is, asymmetric on noise of clean level c: they
start slowly on many classes, they need few labels but do not stop a network from memorising, and
where the noise is certified on some samples only, the error is bounded all the same.

Notation: g = -l' is the pull, D = l(0) - l(1) the range, r the repaired asymmetry ratio; for a
sample with weights w and true class y, X = l(u_y) - l(1), Y = sum_{i != y} [l(0) - l(u_i)], w_n the
largest weight of a wrong class and delta = w_y - w_n/r, its margin.
"""

import math
from functools import cache, partial

import numpy as np
import torch

from alfs_utils.asymmetry import asymmetry_ratio, weighted_risk_minimiser
from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AULLoss,
    CELoss,
    GCELoss,
    LossSum,
    MAELoss,
    NCELoss,
    NormalizedGCELoss,
    value_and_pull,
)
from alfs_utils.paper.checks import Check, listed
from alfs_utils.paper.checks.excess_risk import CONVEX, largest_factor
from alfs_utils.paper.checks.tolerance import CERTIFIED, _weights
from alfs_utils.recommend import largest_step, time_to_start

__all__ = [
    "above_the_limit",
    "bernstein_condition",
    "bernstein_constant",
    "bounded",
    "calibration_constant",
    "cap_near_one",
    "concave_time",
    "convex_calibration",
    "convex_time",
    "cross_entropy_time",
    "error_slope",
    "fast_rate",
    "fastest_pull",
    "fill_up",
    "flow",
    "interpolation",
    "midpoint_excess",
    "not_convex_in_logits",
    "one_label_each",
    "partial_certificate",
    "power_law_bound",
    "sample_guarantee",
    "slope",
    "slow_start",
    "start_times",
    "threshold_runs",
    "time_and_range",
    "time_range_bound",
    "twice_bent",
    "twice_bent_excess",
]

# --- the logits -----------------------------------------------------------------------------


def bounded(loss, k=10):
    """Whether the loss of a label stays bounded as its logit goes to minus infinity."""
    z = torch.zeros(2, 1, k, dtype=torch.float64)
    z[:, 0, 0] = torch.tensor([-1e4, -2e4])
    near, far = (float(loss(x, torch.tensor([0]))) for x in z)
    return far < 1.5 * near


def midpoint_excess(loss, k=10, pairs=3000):
    """Largest L((z + z')/2) - [L(z) + L(z')]/2 over random logits; above 0 it refutes convexity."""
    generator = torch.Generator().manual_seed(0)
    z = 8 * torch.randn(2, pairs, k, generator=generator, dtype=torch.float64)
    target = torch.zeros(pairs, dtype=torch.int64)
    loss = LossSum([(1.0, loss)])
    loss.reduction = "none"
    first, second, middle = (loss(x, target) for x in (*z, z.mean(dim=0)))
    return float((middle - (first + second) / 2).max())


def not_convex_in_logits(never_convex=bounded) -> Check:
    """A loss that is bounded, as every asymmetric one is, is not convex in the logits.

    Random pairs of logits must refute convexity for every bounded loss, whatever its shape in u.
    The control: they find nothing against cross entropy, which is convex in the logits.
    """
    losses = (*CERTIFIED, GCELoss(q=0.7), NCELoss(), NCELoss() + 4 * AGCELoss(a=6, q=1.5))
    found = {loss: midpoint_excess(loss) / largest_step(loss, 10) for loss in losses}
    refuted = {loss: excess > 1e-3 for loss, excess in found.items()}
    ce = midpoint_excess(CELoss()) > 1e-9
    return Check(
        printed=all(refuted[loss] == never_convex(loss) for loss in losses),
        control=not ce and not never_convex(CELoss()),
        figures={
            "bounded losses, each with 3000 pairs of logits": len(losses),
            "a midpoint lies above its chord": (sum(refuted.values()), len(losses)),
            "by at least this much, at a largest step of 1": f"{min(found.values()):.2f}",
            "a midpoint of cross entropy lies above its chord": ce,
        },
    )


# --- the time to start ----------------------------------------------------------------------


def flow(u, pull, k):
    """du/dt under gradient flow on one sample, the other k - 1 classes sharing 1 - u evenly."""
    return pull * u**2 * (1 - u) ** 2 * k / (k - 1)


def _quadrature(pull, k, rate=flow):
    """Time from u = 1/k to 1/2 for a pull given as a function of u: midpoints in log-odds of u."""
    odds = -math.log(k - 1) * (np.arange(20_000) + 0.5) / 20_000
    u = 1 / (1 + np.exp(-odds))
    return float(math.log(k - 1) * (u * (1 - u) / rate(u, pull(u), k)).mean())


def _run(loss, k, time, steps, stages):
    """u after gradient descent, or Runge-Kutta's 4 stages, on k logits that start at 0."""
    target, dt = torch.tensor([0]), time / steps

    def force(z):
        z = z.detach().requires_grad_()
        return -torch.autograd.grad(loss(z, target), z)[0]

    z = torch.zeros(1, k, dtype=torch.float64)
    for _ in range(steps):
        a = force(z)
        if stages == 4:
            b = force(z + dt / 2 * a)
            c = force(z + dt / 2 * b)
            a = (a + 2 * b + 2 * c + force(z + dt * c)) / 6
        z = z + dt * a
    return float(z.softmax(1)[0, 0])


def start_times(rate=flow) -> Check:
    """The time to start, by quadrature, is when the logits of a real loss arrive at u = 1/2.

    Six losses, sums with NCE among them, k = 10 and 100, each scaled to a largest step of 1: the
    differential equation on all k logits (Runge-Kutta, autograd) and plain gradient descent. The
    control: at 0.9 of that time none has arrived.
    """
    losses = (
        CELoss(),
        GCELoss(q=0.7),
        MAELoss(),
        AELLoss(a=2.5),
        NCELoss() + 4 * AGCELoss(a=6, q=1.5),
        10 * NCELoss() + 0.1 * AGCELoss(a=1.8, q=3),
    )
    worst = {"equation": 0.0, "descent": 0.0, "control": 0.0, "library": 0.0}
    for k in (10, 100):
        for loss in losses:
            scaled = 1 / largest_step(loss, k) * loss
            time = _quadrature(partial(_pull, scaled, k), k, rate)
            at = {
                "equation": abs(_run(scaled, k, time, 40, 4) - 0.5),
                "descent": abs(_run(scaled, k, time, 400, 1) - 0.5),
                "control": _run(scaled, k, 0.9 * time, 40, 4),
                "library": abs(time_to_start(loss, k) / time - 1),
            }
            worst = {name: max(worst[name], at[name]) for name in worst}
    agree = worst["equation"] < 1e-3 and worst["descent"] < 0.05 and worst["library"] < 1e-6
    return Check(
        printed=bool(agree),
        control=bool(worst["control"] < 0.49),
        figures={
            "losses, each with 10 and 100 classes": len(losses),
            "the equation on all logits is at u = 1/2 to 0.001": worst["equation"] < 1e-3,
            "400 steps of gradient descent are at u = 1/2 to 0.05": worst["descent"] < 0.05,
            "`time_to_start` agrees to one in a million": worst["library"] < 1e-6,
            "largest u at 0.9 of the time": f"{worst['control']:.2f}",
        },
    )


def _pull(loss, k, u):
    return value_and_pull(loss, u, k)[1]


def _primitive(u):
    """A primitive of 1/(u^2 (1 - u)^2)."""
    return -1 / u + 1 / (1 - u) + 2 * np.log(u / (1 - u))


def concave_time(k):
    """Least time to start of a concave loss with largest step 1: that of MAE."""
    return (k - 2) / 4 + (k - 1) / (2 * k) * math.log(k - 1)


def convex_time(k, c):
    """Greatest lower bound on the time to start of a convex loss asymmetric at clean level c.

    It is that of `fastest_pull`, and at least (k - 1)(k - 2)/(4 c k).
    """
    turn = max((1 - math.sqrt(1 - 1 / c)) / 2, 1 / k)
    early = (_primitive(turn) - _primitive(1 / k)) / (4 * c)
    return float((k - 1) / k * (early + math.log((1 - turn) / turn)))


def cross_entropy_time(k):
    """Time to start of cross entropy: of the order of log k."""
    return (k - 1) / k * (2 + math.log(k - 1)) - 1


def fastest_pull(u, c):
    """Pull of the fastest convex loss with 1/r = c: capped at 4c, logistic, and 4 from u = 1/2."""
    return np.where(u < 0.5, np.minimum(4 * c, 1 / (u * (1 - u))), 4.0)


def _random_sum(rng, shape):
    """A random positive sum of convex (1) or of concave (-1) losses."""
    terms = [(rng.uniform(0, 1), MAELoss())]
    for _ in range(3):
        a = np.exp(rng.uniform(-3, 2))
        convex = (
            AELLoss(a=a),
            AGCELoss(a=a, q=rng.uniform(-1, 1)),
            AULLoss(1 + a, rng.uniform(1, 9)),
        )
        concave = (AGCELoss(a=a, q=rng.uniform(1, 6)), AULLoss(1 + a, rng.uniform(-1, 1)))
        family = convex if shape == 1 else concave
        loss = family[rng.integers(len(family))]
        terms.append((rng.uniform(0, 1) / largest_step(loss, 10), loss))
    return LossSum(terms)


def slow_start(convex=convex_time, concave=concave_time, cross_entropy=cross_entropy_time) -> Check:
    """Certified losses of one curvature start slowly, by a factor of the order of k/c.

    30 random convex and 30 random concave sums at k = 10, 100, 1000 may not beat their bounds;
    the fastest convex loss must come within 0.1 % of the one, MAE of the other, and cross entropy
    within 0.1 % of its own time. The controls: cross entropy beats the bounds at k = 100 and 1000;
    at k = 2 there is nothing to be slow about, every time and every bound is 0.
    """
    rng = np.random.default_rng(0)
    broken, tight = 0, True
    for number in range(60):
        shape, k = (1, -1)[number % 2], (10, 100, 1000)[number % 3]
        loss = _random_sum(rng, shape)
        c = 1 / asymmetry_ratio(loss, "repaired")
        bound = convex(k, c) if shape == 1 else concave(k)
        broken += time_to_start(loss, k) < bound * (1 - 1e-5)
    for k in (10, 100, 1000):
        for c in (1.0, 1.5, 4.0, 25.0):
            time = _quadrature(lambda u, c=c: fastest_pull(u, c), k)
            tight &= abs(convex(k, c) / time - 1) < 1e-3
            tight &= convex(k, c) >= (k - 1) * (k - 2) / (4 * c * k)
        broken += time_to_start(CELoss(), k) < (k - 1) / k * math.log(k - 1)
        tight &= abs(concave(k) / time_to_start(MAELoss(), k) - 1) < 1e-3
        tight &= abs(cross_entropy(k) / time_to_start(CELoss(), k) - 1) < 1e-3
    beaten = all(cross_entropy(k) < convex(k, 1.5) < concave(k) for k in (100, 1000))
    nothing = [convex(2, 1.5), concave(2), cross_entropy(2), time_to_start(MAELoss(), 2)]
    none = bool(max(map(abs, nothing)) < 1e-12)
    return Check(
        printed=bool(broken == 0 and tight),
        control=bool(beaten and none),
        figures={
            "random sums of one curvature": 60,
            "start earlier than their bound allows": int(broken),
            "bounds attained to 0.1 %": bool(tight),
            "k = 100, least time of convex losses certified at c = 3/2": f"{convex(100, 1.5):.1f}",
            "k = 100, least time of concave losses": f"{concave(100):.1f}",
            "k = 100, time of cross entropy": f"{cross_entropy(100):.1f}",
            "k = 2, all of these are 0": none,
        },
    )


# --- any shape: time times range ------------------------------------------------------------


def time_range_bound(k, c):
    """Lower bound on (time to start) x (range) of every loss asymmetric on (c, 1, ..., 1)."""
    return 4 / math.e**2 * (k - 1) ** 2 / (k * c)


def _clean_level_needed(drops, k):
    """1/r*_k for the loss with l(0) - l(j/n) = drops[j]: the level needed with equal rivals."""
    n = len(drops) - 1
    most = drops.copy()  # the most that one rival, then two, ... can win with a mass of j/n
    for _ in range(k - 2):
        more = most.copy()
        for j in range(1, n + 1):
            np.maximum(more[j:], most[: n + 1 - j] + drops[j], out=more[j:])
        most = more
    kept = (drops[-1] - drops[::-1])[1:]  # l(1 - j/n) - l(1) for j = 1, ..., n
    return float((most[1:] / kept).max())


def _shapes(rng, n, k):
    """Pulls on n equal pieces: random, convex, concave, bent twice, and nearly the fastest."""
    u = (np.arange(n) + 0.5) / n
    for _ in range(5):
        pull = np.repeat(np.exp(rng.normal(0, 1.5, n)), rng.integers(1, 30))[:n]
        yield from (pull, np.sort(pull)[::-1], np.sort(pull))
        yield np.r_[np.sort(pull[: n // 2])[::-1], np.sort(pull[n // 2 :])]
    yield _capped_cross_entropy(n, k)
    for factor in (1.0, 1.5, 3.0):
        for jump in (0.0, 0.2, 0.5):
            pull = factor * np.select([k * u < 1, k * u < math.e], [1e-3, math.e / (k * u)], 1.0)
            pull[n // 2 :] = 1.0
            pull[-1] += jump * pull.sum()
            yield pull


def _capped_cross_entropy(n, k):
    return np.minimum(n / (np.arange(n) + 0.5), k)


def _time_and_drops(pull, k):
    """Time to start of the loss with this pull on n equal pieces, and l(0) - l(j/n)."""
    knots = np.arange(len(pull) + 1) / len(pull)
    slow = np.diff(_primitive(np.clip(knots, 1 / k, 0.5))) / pull
    return (k - 1) / k * slow.sum(), np.r_[0, np.cumsum(pull)] / len(pull)


def time_and_range(bound=time_range_bound) -> Check:
    """Whatever its shape, a certified loss that starts fast has a large range.

    Piecewise linear losses of any shape, k = 12, 24 and 60, with the clean level c that each needs,
    exactly, by dynamic programming: time x range >= (4/e^2) (k-1)^2/(k c), at whatever scale.
    Some must come within a factor of 1.7. The control: at a clean level that does not certify it,
    c = 1, capped cross entropy must break the bound for k = 60.
    """
    rng = np.random.default_rng(0)
    found = []
    for k in (12, 24, 60):
        for pull in _shapes(rng, 240, k):
            time, drops = _time_and_drops(pull, k)
            found.append(time * drops[-1] / bound(k, _clean_level_needed(drops, k)))
    least = min(found)
    time, drops = _time_and_drops(_capped_cross_entropy(240, 60), 60)
    capped = time * drops[-1] / bound(60, 1.0)
    return Check(
        printed=bool(1 <= least < 1.7),
        control=bool(capped < 1),
        figures={
            "losses of any shape, each with the clean level it needs": len(found),
            "least time x range, in units of the bound": f"{least:.2f}",
            "capped cross entropy, k = 60: in units of the bound at c = 1": f"{capped:.2f}",
        },
    )


def _logistic_part(d, cap):
    """Integral from 0 to d <= 1/2 of min(cap, 1/(u (1 - u)))."""
    turn = 2 / (cap * (1 + np.sqrt(1 - 4 / cap)))
    late = np.maximum(d, turn)
    return cap * np.minimum(d, turn) + np.log(late / (1 - late)) - np.log(turn / (1 - turn))


def cap_near_one(k, c):
    """Cap on the pull near u = 1 that certifies a twice bent loss: exponential in k/c."""
    start = k**2 / (k - 1)
    return max(start, 1 + math.exp(max(start / c, start / (2 * (c - 1)))))


def twice_bent_excess(d, rivals, k, c, cap):
    """F(u) - F(e_y) on weights (c, 1, ..., 1) of the loss with pull min(cap, 1/(u (1 - u))).

    The cap is k^2/(k - 1) below 1/2 and `cap` above; d (n,) = 1 - u_y = the sum of rivals (n, j).
    """
    start = k**2 / (k - 1)
    D = _logistic_part(0.5, start) + _logistic_part(0.5, cap)

    def lost(x, below, above):  # integral of the pull over [0, x], or over [1 - x, 1]
        far = D - _logistic_part(np.minimum(1 - x, 0.5), above)
        return np.where(x <= 0.5, _logistic_part(np.minimum(x, 0.5), below), far)

    return c * lost(d, cap, start) - lost(rivals, start, cap).sum(axis=-1)


def twice_bent(cap=cap_near_one) -> Check:
    """Bent twice, a loss can be certified at c and start as fast as any: its range is the price.

    For k = 24 and 60, c = 3/2, 2 and 5/2: e_y must beat 20,000 points, even splits and large rivals
    among them. The pull times u (1 - u) is 1 from 1/k to 1/2, so the time is (k - 1)/k ln(k - 1).
    The control: with a cap near 1 as low as that near 0, k^2/(k - 1), e_y must lose.
    """
    rng = np.random.default_rng(0)
    won, lost, cases, widest = 0, 0, 0, 0.0
    for k in (24, 60):
        size = 20_000
        shape = rng.dirichlet(np.ones(k - 1), size) ** rng.choice([0, 1, 4], (size, 1))
        shape *= rng.random(shape.shape) < rng.random((size, 1)) + 1 / k
        shape[:, 0] += 1e-3 + (shape[:, 0] + 3 * k) * (rng.random(size) < 0.2)
        d = np.where(rng.random(size) < 0.5, rng.random(size), np.exp(-rng.uniform(0, 30, size)))
        rivals = d[:, None] * shape / shape.sum(axis=1, keepdims=True)
        for c in (1.5, 2.0, 2.5):
            won += bool((twice_bent_excess(d, rivals, k, c, cap(k, c)) > 0).all())
            lost += bool((twice_bent_excess(d, rivals, k, c, k**2 / (k - 1)) < 0).any())
            D = sum(_logistic_part(0.5, x) for x in (k**2 / (k - 1), cap(k, c)))
            enough = (k - 1) / k * math.log(k - 1) * D / time_range_bound(k, c)
            widest = max(widest, float(enough))
            cases += 1
    return Check(
        printed=bool(won == cases and 1 < widest < 20),
        control=lost == cases,
        figures={
            "e_y beats 20,000 points, of pairs of k and c": (won, cases),
            "largest time x range, in units of its bound": f"{widest:.1f}",
            "e_y loses if the cap near 1 is that near 0": (lost, cases),
        },
    )


# --- samples: the Bernstein condition and the fast rate -------------------------------------


def bernstein_constant(D, level):
    """B with E Z^2 <= B E Z for the difference Z of noisy losses of u and e_y; level = c r > 1."""
    return D * (level + 1) / (level - 1)


def _moments(l, w, u):
    """E Z and E Z^2 for points u (n, k); l is a function of u, class 0 is the true one."""
    differences = np.column_stack([l(u[:, 0]) - l(1.0), l(u[:, 1:]) - l(0.0)])
    return differences @ w, differences**2 @ w


def _points(rng, w):
    """Points of the simplex: random ones, near e_0, and the edge from e_0 to e_n."""
    k, n = len(w), 1 + int(w[1:].argmax())
    u = rng.dirichlet(np.full(k, 0.4), 300)
    u[:100] = np.eye(k)[0] + (u[:100] - np.eye(k)[0]) * rng.uniform(0, 1, (100, 1)) ** 4
    d = np.r_[np.geomspace(1e-6, 1, 100), 0.5][:, None]
    return np.vstack([u, (1 - d) * np.eye(k)[0] + d * np.eye(k)[n]])


def bernstein_condition(constant=bernstein_constant) -> Check:
    """E Z^2 <= D (c r + 1)/(c r - 1) E Z, for every u and k.

    Random weights with c r from 1.02 to 6 for six losses, k = 2, 3, 10. Equality at e_n for r = 1;
    where r < 1, a loss with one kink comes within a factor of 2 as c r -> 1. The control: for
    c r < 1 there is no constant at all, since E Z <= 0 < E Z^2 at some u.
    """
    rng = np.random.default_rng(0)
    broken = below = cases = 0
    attained, half = math.inf, math.inf
    for loss in CERTIFIED:
        r = asymmetry_ratio(loss, "repaired")
        l = loss.of_probability
        for k in (2, 3, 10):
            for level in (1.02, rng.uniform(1.02, 6)):
                w = _weights(rng, k, level / r)
                first, second = _moments(l, w, _points(rng, w))
                B = constant(l(0.0) - l(1.0), level)
                moved = second > 0  # u = e_y up to rounding says nothing
                largest = (second[moved] / first[moved]).max() / B
                broken += bool(largest > 1 + 1e-9 or first[moved].min() <= 0)
                attained = min(attained, largest) if r == 1 else attained
                cases += 1
            w = _weights(rng, k, max(0.9 / r, 1.0))
            first, second = _moments(l, w, _points(rng, w))
            below += bool(r < 0.9 and (second[first <= 0] > 0).any())
    for r in (0.1, 0.5, 0.9):
        w = np.array([1.0001 / r, 1.0]) / (1 + 1.0001 / r)
        first, second = _moments(
            lambda u, r=r: np.interp(u, [0, 0.5, 1], [1 / r + 1, 1, 0]), w, _points(rng, w)
        )
        half = min(half, (second / first).max() / constant(1 / r + 1, 1.0001))
    return Check(
        printed=bool(broken == 0 and attained > 0.9999 and 0.49 < half <= 1),
        control=below == 9,
        figures={
            "pairs of loss and weights with c r > 1": cases,
            "the constant is too small": broken,
            "attained where r = 1": bool(attained > 0.9999),
            "share of it that a loss with one kink needs, c r = 1.0001": f"{half:.2f}",
            "no constant is enough, of pairs with r < 1 and c r < 1": (below, 9),
        },
    )


def sample_guarantee(D, level, log_size, n, p=0.05):
    """Noisy excess of an empirical minimiser over a finite class with one right function.

    `log_size` is the logarithm of its size. Holds with probability 1 - p over n independent
    samples; divide by the margin for clean excess.
    """
    B = bernstein_constant(D, level)
    return (2 * B + 4 * D / 3) * (log_size - math.log(p)) / n


@cache
def threshold_runs(alpha, n, reps=200):
    """Majority-vote thresholds on noisy labels of two classes, x uniform on [0, 1], y = [x > 1/2].

    The margin of x is |2x - 1|^(1/alpha), or 3/5 everywhere (c = 4) for alpha = inf. The threshold
    minimises the number of labels that it contradicts; so it does for every loss that has
    l(v) < l(1 - v).

    Returns
    -------
    (error, agreement), two (reps,) float64 arrays: the share of x on the wrong side, and that of
    the given labels which the threshold repeats.
    """
    rng = np.random.default_rng([n, int(10 * alpha) if alpha < math.inf else 0])
    x = np.sort(rng.random((reps, n)), axis=1)
    margin = 0.6 if math.isinf(alpha) else abs(2 * x - 1) ** (1 / alpha)
    given = (x > 0.5) ^ (rng.random(x.shape) < (1 - margin) / 2)
    agreed = np.cumsum(np.where(given, -1, 1), axis=1)
    agreed = np.column_stack([np.zeros(reps, int), agreed]) + given.sum(axis=1, keepdims=True)
    best = agreed.argmax(axis=1)
    theta = np.column_stack([np.zeros(reps), x])[np.arange(reps), best]
    return abs(theta - 0.5), agreed.max(axis=1) / n


def above_the_limit(loss, error, agreement, limit_at=0.8):
    """Clean excess of AEL at the least noisy risk, and what it tends to as the agreement does.

    The confidence v of the two sides minimises A l(v) + (1 - A) l(1 - v), A the agreement.
    """

    def confidence(A):
        with np.errstate(divide="ignore"):
            return np.clip(0.5 + loss.a / 2 * np.log(A / (1 - A)), 0.5, 1)

    v, l = confidence(agreement), loss.of_probability
    excess = (1 - error) * l(v) + error * l(1 - v) - l(1.0)
    return excess, float(l(confidence(np.array([limit_at])))[0] - l(1.0))


def slope(sizes, values):
    """Least-squares slope of log values against log sizes."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def error_slope(alpha):
    """Exponent of n in the error of the threshold whose margin has exponent alpha."""
    return -1.0 if math.isinf(alpha) else -alpha / (2 + alpha)


SIZES = tuple(2**j for j in range(7, 14))


def fast_rate(predicted=error_slope, guarantee=sample_guarantee) -> Check:
    """With c r > 1 everywhere the clean excess of empirical minimisers falls like 1/n.

    Thresholds with a confidence, 200 repetitions, n = 128 to 8192: AEL with c r = 2, and the
    guarantee for the 2^(124) pairs of floats in [0, 1] kept in 95 % of them. Controls: AEL with
    c r = 1/2, where the excess does not go to 0, and its distance from its limit falls like
    n^(-1/2); and margins that are not bounded below, where the error falls like
    n^(-alpha/(2 + alpha)).
    """
    c, levels = 4.0, {"above": 2.0, "below": 0.5}
    found, kept = {"above": [], "below": []}, True
    for n in SIZES:
        runs = threshold_runs(math.inf, n)
        for name, level in levels.items():
            loss = AELLoss(a=-1 / math.log(level / c))
            excess, limit = above_the_limit(loss, *runs)
            found[name].append(abs(excess - limit).mean())
            if name == "above":
                D, margin = loss.of_probability(0.0) - loss.of_probability(1.0), 0.8 - 0.2 / 0.5
                bound = guarantee(D, level, 124 * math.log(2), n) / margin
                kept &= bool(np.quantile(excess, 0.95) <= bound) and limit == 0
    slopes = {name: slope(SIZES, values) for name, values in found.items()}
    errors = {
        alpha: slope(SIZES, [threshold_runs(alpha, n)[0].mean() for n in SIZES])
        for alpha in (0.5, 1, 2, math.inf)
    }
    seen = all(abs(errors[alpha] - predicted(alpha)) < 0.08 for alpha in errors)
    return Check(
        printed=bool(abs(slopes["above"] + 1) < 0.08 and kept and seen),
        control=bool(limit > 0.05 and abs(slopes["below"] + 0.5) < 0.08),
        figures={
            "numbers of samples, each with 200 repetitions": f"{SIZES[0]} to {SIZES[-1]}",
            "c r = 2: exponent of n in the clean excess": f"{slopes['above']:.2f}",
            "c r = 2: the guarantee is kept in 95 %": kept,
            "c r = 1/2: limit of the clean excess": f"{limit:.3f}",
            "c r = 1/2: exponent of n in the distance from it": f"{slopes['below']:.2f}",
            "exponents of n in the error, for margins of exponent 1/2, 1, 2, infinity": listed(
                f"{x:.2f}" for x in errors.values()
            ),
        },
    )


def one_label_each(counts, rng):
    """One label per sample, drawn from its counts."""
    p = counts / counts.sum(axis=1, keepdims=True)
    return np.array([np.eye(len(row))[rng.choice(len(row), p=row)] for row in p])


def interpolation(labels=one_label_each) -> Check:
    """A class that can fit every given label does so under every loss, certified or not.

    60 samples of five classes, five logits each, symmetric noise of rate 0.4, c = 6, one label
    per sample: 300 steps of gradient descent, and every loss repeats every wrong label. The
    control: with the label *distribution* of each sample instead, none repeats one.
    """
    rng = np.random.default_rng(0)
    k, size = 5, 60
    clean = rng.integers(k, size=size)
    counts = np.full((size, k), 0.1)
    counts[np.arange(size), clean] = 0.6
    given = labels(counts, rng)
    wrong = given.argmax(axis=1) != clean
    repeated = {}
    for loss in (CELoss(), GCELoss(q=0.7), *CERTIFIED, NormalizedGCELoss(q=0.7)):
        for name, target in (("given", given), ("distribution", counts)):
            z = torch.zeros(size, k, dtype=torch.float64, requires_grad=True)
            scaled, aim = 1 / largest_step(loss, k) * loss, torch.from_numpy(target)
            scaled.reduction = "sum"
            optimiser = torch.optim.SGD([z], lr=1.0)
            for _ in range(300):
                optimiser.zero_grad()
                scaled(z, aim).backward()
                optimiser.step()
            same = z.argmax(1).numpy() == given.argmax(axis=1)
            repeated.setdefault(name, []).append(float(same[wrong].mean()) if wrong.any() else 0)
    least, most = min(repeated["given"]), max(repeated["distribution"])
    return Check(
        printed=bool(wrong.sum() > 10 and least == 1),
        control=bool(wrong.any() and most == 0),
        figures={
            "losses": len(repeated["given"]),
            "wrong labels": (int(wrong.sum()), size),
            "repeated with one label each, by every loss at least": f"{least:.0%}",
            "repeated with the label distribution, by any loss at most": f"{most:.0%}",
        },
    )


# --- noise that is certified in part --------------------------------------------------------


def fill_up(margins, budget, shares=None):
    """Largest share of the smallest positive margins whose sum, weighted by shares, is <= budget.

    Parameters
    ----------
    margins : (n,) array_like
        delta of each sample, or of groups of them; those <= 0 do not count.
    budget : float or array_like
        Noisy excess divided by l(1/2) - l(1).
    shares : (n,) array_like, optional
        Share of each group; 1/n each if not given.
    """
    margins = np.asarray(margins, float)
    shares = np.full(len(margins), 1 / len(margins)) if shares is None else np.asarray(shares)
    order = np.argsort(margins)
    order = order[margins[order] > 0]
    spent = np.r_[0, np.cumsum(margins[order] * shares[order])]
    return np.interp(budget, spent, np.r_[0, np.cumsum(shares[order])])


def power_law_bound(budget, alpha, A=1.0):
    """Bound on the error, less p0, if positive margins up to s have at most the share A s^alpha.

    `budget` as in `fill_up`.
    """
    return A ** (1 / (1 + alpha)) * ((1 + alpha) / alpha * budget) ** (alpha / (1 + alpha))


@cache
def _partly_certified(loss, k=4, size=200):
    """Weights, n, margins, least risks and risks of e_y; a third of the samples not certified."""
    rng = np.random.default_rng(0)
    r, l = asymmetry_ratio(loss, "repaired"), loss.of_probability
    w = np.array([_weights(rng, k, rng.uniform(1, 4) / r) for _ in range(size)])
    n = 1 + w[:, 1:].argmax(axis=1)
    lost = np.arange(size) % 3 == 0
    w[lost, 0], w[lost, n[lost]] = w[lost, n[lost]], w[lost, 0]
    margins = w[:, 0] - w[:, 1:].max(axis=1) / r
    least = np.array([weighted_risk_minimiser(loss, row).lower_bound for row in w])
    right = w @ np.r_[l(1.0), [l(0.0)] * (k - 1)]
    return w, n, margins, np.where(margins > 0, right, least), right


def _distance_from_mae(bound, power_law):
    """Largest relative distance of the bounds from the errors that MAE makes at its worst."""
    x = (np.arange(200_000) + 0.5) / 200_000
    distance = 0.0
    for alpha in (0.5, 1, 2):
        for share in (0.05, 0.3):
            spent = (x[x < share] ** (1 / alpha)).sum() / len(x)  # MAE: excess = gap * margin
            for value in (power_law(spent, alpha), bound(x ** (1 / alpha), spent)):
                distance = max(distance, float(abs(value / share - 1)))
    return distance


def share_of_slack(slack, p0):
    """The part b p0 of the excess against the right predictor."""
    return slack * p0


def partial_certificate(bound=fill_up, power_law=power_law_bound, slack=share_of_slack) -> Check:
    """Clean error <= p0 + share of the smallest positive margins that the noisy excess pays for.

    Six losses, 200 samples, one third of them not certified: predictors that are wrong at random,
    and the cheapest ones, wrong at (1/2, 1/2) where the margin is smallest. For MAE and two classes
    these attain it; if margins up to s have the share s^alpha, also the power law. Excess over the
    right predictor e_y instead of the least noisy risk must be raised by b p0, b the most that
    another prediction gains where the margin is not positive. The controls, for every loss:
    without p0, and over e_y without b p0, it must fail.
    """
    rng = np.random.default_rng(0)
    broken = bare = unraised = cases = 0
    for loss in CERTIFIED:
        l = loss.of_probability
        gap = l(0.5) - l(1.0)
        w, n, margins, least, right = _partly_certified(loss)
        (size, k), p0 = w.shape, (margins <= 0).mean()
        raised = slack((right - least).max(), p0)
        failed = [0, 0]
        for number in range(60):
            cheap = margins < np.quantile(margins, number / 60)
            chosen = rng.random(size) < 0.2 if number % 2 else cheap
            u = np.tile(np.eye(k)[0], (size, 1))
            u[margins <= 0] = np.eye(k)[n[margins <= 0]]
            u[chosen] = 0.5 * (np.eye(k)[0] + np.eye(k)[n[chosen]])
            risks = (w * l(u)).sum(axis=1)
            wrong = (u[:, 1:].max(axis=1) >= u[:, 0]).mean() - 1e-9
            excess, over_right = (risks - least).mean(), (risks - right).mean()
            allowed = bound(margins, np.array([excess, over_right + raised, over_right]) / gap)
            broken += bool((wrong > p0 + allowed[:2]).any())
            failed = [failed[0] + (wrong > allowed[0]), failed[1] + (wrong > p0 + allowed[2])]
            cases += 1
        bare, unraised = bare + (failed[0] > 0), unraised + (failed[1] > 0)
    attained = _distance_from_mae(bound, power_law) < 1e-3
    return Check(
        printed=broken == 0 and attained,
        control=bool(bare == unraised == len(CERTIFIED) > 0),
        figures={
            "predictors": cases,
            "err more often than the bound": broken,
            "MAE attains it to 0.1 % for alpha = 1/2, 1, 2": attained,
            "losses for which it fails without p0": (int(bare), len(CERTIFIED)),
            "losses for which it fails without b p0": (int(unraised), len(CERTIFIED)),
        },
    )


# --- convex losses, k classes, clean level c ------------------------------------------------


def calibration_constant(loss, k, c):
    """Sharp factor from excess risk to excess 0-1 risk, for a convex loss at clean level c.

    Two predictions compete, both with u_y = u_j = a >= 1/k and the rest even: one decides for a
    class of weight 0, the other for one of weight w_y/c.
    """
    l = loss.of_probability
    a = np.linspace(1 / k, 0.5, 4001)
    rest = (k - 2) * (l(0.0) - l((1 - 2 * a) / max(k - 2, 1))) if k > 2 else 0 * a
    lost = l(a) - l(1.0)
    weightless = (lost - rest / c).min()
    rival = ((c * lost - (l(0.0) - l(a)) - rest) / (c - 1)).min()
    return 1 / min(weightless, rival)


def convex_calibration(constant=calibration_constant, losses=CONVEX[::2]) -> Check:
    """For a convex loss certified at clean level c the best factor from excess risk to decisions.

    A random hill climb over all weights of clean level at least c and all predictions must come
    within 0.5 % of it and never exceed it, at c r = 1.1 and 2. The control: without the floor under
    the clean level it goes beyond.
    """
    reached = exceeded = beyond = cases = 0
    for loss in losses:
        for k in (2, 3, 10):
            for level in (1.1, 2.0):
                c = level / asymmetry_ratio(loss, "repaired")
                found = largest_factor(loss, k, c=c)
                value = constant(loss, k, c)
                reached += found / value >= 0.995
                exceeded += found / value > 1 + 1e-6
                cases += 1
            beyond += largest_factor(loss, k, c=1.05 * c / 2) > 1.001 * value
    return Check(
        printed=bool(reached == cases and exceeded == 0),
        control=beyond == 3 * len(losses) > 0,
        figures={
            "cases of a loss, k and c": cases,
            "a hill climb comes within 0.5 % of the factor": int(reached),
            "a hill climb exceeds it": int(exceeded),
            "a hill climb exceeds it at a clean level closer to 1/r": (
                int(beyond),
                3 * len(losses),
            ),
        },
    )
