"""What the paper says of earlier losses, and what its tables say of label noise (chapter 5)."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AULLoss,
    CELoss,
    GCELoss,
    MAELoss,
    RCELoss,
    SCELoss,
)
from alfs_utils.paper.checks import Check, listed
from alfs_utils.paper.checks.asymmetric import staircases, sum_is_constant
from alfs_utils.paper.printed import CELLS

__all__ = [
    "gce_and_agce",
    "mae_weights",
    "nce_alone",
    "nce_gradient",
    "noisy_labels_degrade",
    "only_convex",
    "sce_and_rce",
]

GRID = np.linspace(0.001, 1, 200)


def same_up_to_affine(first, second) -> bool:
    """Whether two curves of values agree up to a positive factor and a constant."""
    first, second = ((x - x[-1]) / (x[0] - x[-1]) for x in (first, second))
    return bool(np.abs(first - second).max() < 1e-9)


def reflected(l):
    """l(1 - u) from the values of l on a grid of u."""
    return l[::-1]


def only_convex(flip=reflected, slopes=(1, 2, 3)) -> Check:
    """The unhinged loss, a scaled MAE, is the only convex loss that is strongly robust.

    Two classes, exhaustive and exact: piecewise linear losses with six slopes. Strongly robust to
    symmetric noise: for every distribution the noisy risk orders all hypotheses as the clean one
    does, which is so iff l(1 - u) is an affine function of l(u); at once for all rates. The convex
    ones must be the straight lines. The control: other losses are strongly robust, too.
    """
    counts = {"straight lines": 0, "other convex losses": 0, "losses that are not convex": 0}
    robust, symmetric_differs = dict.fromkeys(counts, 0), 0
    for g, l in staircases(slopes=slopes):
        convex = all(x >= y for x, y in pairwise(g))
        name = list(counts)[0 if len(set(g)) == 1 else 1 if convex else 2]
        flipped = flip(l)
        strong = bool(  # flipped is an affine function of l, in integers
            (
                (flipped - flipped[-1]) * (l[0] - l[-1]) == (l - l[-1]) * (flipped[0] - flipped[-1])
            ).all()
        )
        counts[name] += 1
        robust[name] += strong
        symmetric_differs += strong != sum_is_constant(l)
    unhinged = same_up_to_affine(
        AULLoss(a=1, p=1).of_probability(GRID), MAELoss().of_probability(GRID)
    )
    lines, others, bent = robust.values()
    return Check(
        printed=unhinged
        and symmetric_differs == 0
        and lines == counts["straight lines"] > 0 == others,
        control=0 < bent < counts["losses that are not convex"],
        figures={
            "unhinged is MAE up to scale": unhinged,
            **{f"strongly robust, {name}": (robust[name], counts[name]) for name in counts},
            "“strongly robust” and “symmetric” differ": symmetric_differs,
        },
    )


def mae_weights(loss=MAELoss()) -> Check:  # noqa: B008, an immutable default
    """MAE treats every sample equally: its slope is the same wherever the sample stands.

    In the probability u_y it is. In the logits, where one trains, the pull is g(u) u (1 - u): at
    u = 1/k, the start, it is the smaller the more classes there are. The control: AEL's slope is
    not constant.
    """
    u = np.array([0.01, 0.1, 0.5, 0.9])
    in_u, in_logits = loss.slope(u), loss.slope(u) * u * (1 - u)
    equal = bool(np.ptp(in_u) < 1e-12)
    starts = {k: float(-loss.slope(1 / k) * (1 / k) * (1 - 1 / k)) for k in (2, 10, 100)}
    return Check(
        printed=equal and bool(np.ptp(in_logits) < 1e-12),
        assumed=equal,
        control=bool(np.ptp(AELLoss(a=2.5).slope(u)) > 0.01),
        figures={
            "slope in u_y at u_y = 0.01, 0.1, 0.5, 0.9": listed(f"{x:.2f}" for x in in_u),
            "slope in the logit of y": listed(f"{x:.2f}" for x in in_logits),
        }
        | {f"pull at the start, k = {k}": f"{pull:.4f}" for k, pull in starts.items()},
    )


def gce_and_agce(gce=lambda q: GCELoss(q=q), agce=lambda q: AGCELoss(a=0, q=q)) -> Check:
    """GCE is MAE at q = 1, tends to CE as q -> 0, and is AGCE at a = 0, as the paper says.

    AGCE is the negative of the Box-Cox transformation ((a + u)^q - 1)/q, up to a constant. The
    control: GCE at q = 0.99 is not MAE, and at q = 0.01 not CE.
    """
    u, ce = GRID, CELoss().of_probability(GRID)
    mae = MAELoss().of_probability(u)
    distances = [float(np.abs(gce(q).of_probability(u) - ce).max()) for q in (1e-2, 1e-4, 1e-6)]
    at_0 = [
        float(np.abs(agce(q).of_probability(u) - gce(q).of_probability(u)).max())
        for q in (0.2, 0.7, 1.0)
    ]
    box_cox = [
        float(np.ptp(AGCELoss(a=a, q=q).of_probability(u) + ((a + u) ** q - 1) / q))
        for a, q in ((0.6, 0.6), (1, 2), (6, 1.5))
    ]
    limits = distances[2] < 1e-3 and all(y < x / 50 for x, y in pairwise(distances))
    return Check(
        printed=same_up_to_affine(gce(1.0).of_probability(u), mae)
        and bool(limits and max(at_0) < 1e-12 and max(box_cox) < 1e-12),
        control=not same_up_to_affine(gce(0.99).of_probability(u), mae) and distances[0] > 0.1,
        figures={
            "GCE at q = 1 is MAE up to scale": same_up_to_affine(gce(1.0).of_probability(u), mae),
            "GCE to CE at q = 1e-2, 1e-4, 1e-6": listed(f"{x:.0e}" for x in distances),
            "AGCE at a = 0 is GCE to 1e-12": max(at_0) < 1e-12,
            "AGCE is a negative shifted Box-Cox transformation to 1e-12": max(box_cox) < 1e-12,
        },
    )


def reverse_cross_entropy(u, A):
    """-sum_i u_i ln q_i with ln q_i = 0 for the label and A for every other class."""
    return -A * (1 - u)


def sce_and_rce(rce=reverse_cross_entropy) -> Check:
    """RCE is a variant of MAE, -(A/2) MAE; SCE is the sum of CE and RCE. The control: CE is not."""
    u, A = GRID, -4.0
    scaled = -A / 2 * MAELoss().of_probability(u)
    by_definition, by_library = rce(u, A), RCELoss(A=A).of_probability(u)
    same = bool(
        max(np.abs(by_definition - by_library).max(), np.abs(by_library - scaled).max()) < 1e-12
    )
    sce = SCELoss(alpha=0.1, beta=2.0, A=A)
    expected = 0.1 * CELoss().of_probability(u) + 2.0 * by_definition
    summed = bool(np.abs(sce.of_probability(u) - expected).max() < 1e-12)
    return Check(
        printed=same and summed,
        control=not same_up_to_affine(CELoss().of_probability(u), scaled),
        figures={
            "RCE is -(A/2) MAE to 1e-12": same,
            "SCE is alpha CE + beta RCE to 1e-12": summed,
            "CE is MAE up to scale": same_up_to_affine(CELoss().of_probability(u), scaled),
        },
    )


def gradient_bound(k):
    """(1 - 1/k)/(k ln k), the derivative of NCE in the label's logit at the uniform prediction."""
    return (1 - 1 / k) / (k * np.log(k))


def nce_gradient(bound=gradient_bound, draws=400) -> Check:
    """Normalised losses are prone to gradient explosion; NCE in the logits, where one trains.

    NCE is v_y / S with v_i = -ln u_i and S = sum_i v_i >= k ln k. Its derivative in z_j is
    (u_j - 1[j = y])/S - v_y (k u_j - 1)/S^2, so at most k/S <= 1/ln k. Logits of every size: none
    may exceed the derivative at the uniform prediction. Repaired: with respect to the probability
    it is unbounded for k >= 3, (S - v_y)/(u_y S^2), as that of CE is. The control: a bound 1 %
    smaller is broken.
    """
    rng = np.random.default_rng(0)
    worst = {}
    for k in (2, 3, 10, 100):
        z = rng.normal(size=(draws, k)) * 10 ** rng.uniform(-3, 2, (draws, 1))
        z = np.vstack([z, 30 * np.eye(k), -30 * np.eye(k), np.zeros(k)])
        z = z - z.max(axis=1, keepdims=True)
        v = np.log(np.exp(z).sum(axis=1, keepdims=True)) - z
        total, u = v.sum(axis=1, keepdims=True), np.exp(-v)
        gradient = (u - np.eye(k)[0]) / total - v[:, :1] * (k * u - 1) / total**2
        worst[k] = float(np.abs(gradient).max() / bound(k))
    u = 1e-12
    v, rest = -np.log(u), -2 * np.log((1 - u) / 2)
    in_u = rest / (u * (v + rest) ** 2)
    bounded = max(worst.values()) <= 1 + 1e-9
    return Check(
        printed=not bounded,
        repaired=bounded and in_u > 1e6,
        control=min(worst.values()) > 0.99,
        figures={
            "largest derivative in a logit, in units of that at u = 1/k": listed(
                f"{x:.3f} (k = {k})" for k, x in worst.items()
            ),
            "derivative in the probability at u = 1e-12, k = 3": f"{in_u:.0e}",
        },
    )


def nce_alone(cells: Iterable = CELLS) -> Check:
    """Normalised losses are not sufficient to train accurate networks: the paper's own tables.

    On clean labels NCE must have the lowest printed mean of each data set. The control: NCE+AUL,
    or on MNIST NCE+RCE, does not.
    """
    clean = [c for c in cells if c.table == 1 and c.eta == 0 and c.mean is not None]
    lowest, sums_lowest, shown = 0, 0, {}
    for name in ("mnist", "cifar10", "cifar100"):
        means = {c.method: c.mean for c in clean if c.dataset == name and c.mean is not None}
        lowest += min(means, key=means.get) == "NCE"
        other = "NCE+RCE" if name == "mnist" else "NCE+AUL"
        sums_lowest += min(means, key=means.get) == other
        shown[f"clean {name}: NCE, and the highest"] = f"{means['NCE']}, {max(means.values())}"
    return Check(
        printed=lowest == 3,
        control=sums_lowest == 0,
        figures={"NCE is lowest": (lowest, 3), **shown},
    )


def noisy_labels_degrade(cells: Iterable = CELLS, method="CE") -> Check:
    """Noisy labels degrade generalisation: CE's printed means fall with every step of the rate.

    On the three data sets, for both kinds of noise. The control: AGCE on MNIST loses less than
    3 points up to symmetric noise 0.8, so that the fall is not the data's alone.
    """
    falls = []
    for dataset in ("mnist", "cifar10", "cifar100"):
        for table in (1, 2):
            found = sorted(
                (c.eta, c.mean)
                for c in cells
                if (c.dataset, c.table, c.method) == (dataset, table, method) and c.mean is not None
            )
            falls.append(len(found) > 3 and all(x > y for (_, x), (_, y) in pairwise(found)))
    agce = {c.eta: c.mean for c in cells if (c.dataset, c.table, c.method) == ("mnist", 1, "AGCE")}
    return Check(
        printed=all(falls),
        control=agce[0] - agce[0.8] < 3,
        figures={
            f"{method}: rows that fall at every step of the rate": (sum(falls), len(falls)),
            "AGCE on MNIST, clean less symmetric 0.8": f"{agce[0] - agce[0.8]:.2f} points",
        },
    )
