"""Why a class can be lost although its label is certified (chapter 12b). The statements are ours.

Notation: g = -l' is the pull; a sample of class y is labelled y with weight w_y and n with weight
w_n = 1 - w_y; u is the probability of y among the two, d = ln(u / (1 - u)) its lead.
"""

import math
from functools import partial

import numpy as np
import torch
from scipy.integrate import solve_ivp

from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AULLoss,
    CELoss,
    GCELoss,
    Loss,
    MAELoss,
)
from alfs_utils.paper.checks import Check

__all__ = [
    "depth",
    "depth_of_fall",
    "escape_time",
    "fall",
    "fall_limit",
    "falls_behind",
    "first_move",
    "inverse_counts",
    "race",
    "return_time",
    "shared_logit",
    "two_classes",
    "way_back",
]

CE, GCE, MAE, AUL, CIFAR_AEL = (
    CELoss(),
    GCELoss(q=0.7),
    MAELoss(),
    AULLoss(a=3, p=0.1),
    AELLoss(a=2.5),
)
LOSSES = (CE, GCE, MAE, AUL, CIFAR_AEL, AGCELoss(a=4, q=0.2), AELLoss(a=3.5))
FLAT = LOSSES[2:]  # a pull at 0 that is finite
WEIGHT = 0.6  # asymmetric noise of rate 0.4


def _pull(loss, u):
    return -loss.slope(u)


# --- two labels, one sample -----------------------------------------------------------------


def race(loss: Loss, u, w: float):
    """du/dt under gradient flow on both logits of a sample that is labelled y with weight w."""
    return 2 * (u * (1 - u)) ** 2 * (w * _pull(loss, u) - (1 - w) * _pull(loss, 1 - u))


def return_time(loss: Loss, eps: float, w: float = WEIGHT, rate=race) -> float:
    """The time from u = eps to 1/2, by quadrature over the lead."""
    lead = math.log(eps / (1 - eps)) * (np.arange(20_000) + 0.5) / 20_000
    u = 1 / (1 + np.exp(-lead))
    return float(abs(math.log(eps / (1 - eps))) * (u * (1 - u) / rate(loss, u, w)).mean())


def escape_time(loss: Loss, eps: float, w: float = WEIGHT) -> float:
    """The time that the theorem gives from u = eps to 1/2, to leading order."""
    tiny = 1e-12
    s = math.log10(_pull(loss, tiny) / _pull(loss, 10 * tiny))  # the pull grows like u^-s
    if s > 1 - 1e-6:
        return math.log(1 / eps) / (2 * w)
    force = w * _pull(loss, eps) - (1 - w) * _pull(loss, 1.0)
    return 1 / (2 * (1 - s) * force * eps)


def _descend(loss, eps, time, steps, w=WEIGHT):
    """u after gradient descent on two logits, from u = eps."""
    z = torch.tensor([[math.log(eps / (1 - eps)), 0.0]], dtype=torch.float64)
    y, n = torch.tensor([0]), torch.tensor([1])
    for _ in range(steps):
        z.requires_grad_()
        risk = w * loss(z, y) + (1 - w) * loss(z, n)
        (gradient,) = torch.autograd.grad(risk, z)
        z = z.detach() - time / steps * gradient
    return float(z.softmax(1)[0, 0])


def _growth(time):
    """By how much a time grows from u = 1e-16 to u = 1e-20."""
    return time(1e-20) - time(1e-16)


def way_back(rate=race, law=escape_time) -> Check:
    """From u = eps back to 1/2: a time of order 1/eps for every flat loss, log(1/eps) for CE.

    Seven losses at w_y = 0.6. Gradient descent by autograd on two logits arrives when the equation
    says, and from ever smaller eps the time of the equation grows as the theorem says. The control:
    the growth of cross entropy is not that of MAE.
    """
    times = {loss: partial(return_time, loss, rate=rate) for loss in LOSSES}
    ends = [_descend(loss, 0.1, time(0.1), 500) for loss, time in times.items()]
    arrives = [abs(u - 0.5) < 0.02 for u in ends]
    growth = {loss: _growth(time) / _growth(partial(law, loss)) for loss, time in times.items()}
    grows = [abs(ratio - 1) < 1e-3 for ratio in growth.values()]
    swapped = _growth(times[CE]) / _growth(partial(law, MAE))
    at_equal_pull = {loss: time(1e-3) * _pull(loss, 0.5) for loss, time in times.items()}
    in_ce = {loss: time / at_equal_pull[CE] for loss, time in at_equal_pull.items()}
    return Check(
        printed=all(arrives) and all(grows),
        control=abs(swapped - 1) > 0.5,
        figures={
            "gradient descent is at u = 1/2 when the equation says": (sum(arrives), len(LOSSES)),
            "the time grows as the theorem says": (sum(grows), len(LOSSES)),
            "from eps = 0.001, in times of CE at equal pull: GCE": f"{in_ce[GCE]:.0f}",
            "AEL, a = 2.5": f"{in_ce[CIFAR_AEL]:.0f}",
            "MAE": f"{in_ce[MAE]:.0f}",
            "AUL, a = 3, p = 0.1": f"{in_ce[AUL]:.0f}",
        },
    )


# --- two classes with a shared logit --------------------------------------------------------


def two_classes(x, loss, prior, eta, apart, weights=(1.0, 1.0)):
    """Gradient flow on the noisy risk of two classes whose leads share a part.

    Samples of class y, a share `prior` of all, are labelled n with rate eta; those of n are
    labelled n. The lead of y over n is b + apart m_y on the former, b + apart m_n on the latter.

    Parameters
    ----------
    x : (3,) array_like
        b, m_y, m_n.
    weights : pair of float
        Of the labels y and n.

    Returns
    -------
    list of three floats, the time derivatives of x.
    """
    b, m_y, m_n = x
    u, v = (1 / (1 + math.exp(-lead)) for lead in (b + apart * m_y, b + apart * m_n))
    right, wrong = (1 - eta) * weights[0], eta * weights[1]
    y = prior * u * (1 - u) * (right * _pull(loss, u) - wrong * _pull(loss, 1 - u))
    n = (1 - prior) * v * (1 - v) * weights[1] * -_pull(loss, 1 - v)
    return [y + n, apart * y, apart * n]


def falls_behind(prior: float, eta: float, apart: float) -> bool:
    """Whether class y first loses ground on its own samples, whatever the loss: our theorem."""
    return 1 - prior > (1 + apart**2) * (1 - 2 * eta) * prior


def inverse_counts(prior: float, eta: float) -> tuple[float, float]:
    """Weights of the labels y and n: one over their shares."""
    share = prior * (1 - eta)
    return 1 / share, 1 / (1 - share)


def first_move(loss, prior, eta, apart, weights=(1.0, 1.0)) -> float:
    """How the lead of y on its own samples starts to move, by autograd on the risk of `x = 0`."""
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    leads = torch.stack([x[0] + apart * x[1], x[0] + apart * x[2]])
    logits = torch.stack([leads, 0 * leads], 1)
    y, n = torch.tensor([0]), torch.tensor([1])
    right, wrong = (1 - eta) * weights[0], eta * weights[1]
    risk = prior * (right * loss(logits[:1], y) + wrong * loss(logits[:1], n))
    risk = risk + (1 - prior) * weights[1] * loss(logits[1:], n)
    force = -torch.autograd.grad(risk, x)[0]
    return float(force[0] + apart * force[1])


def fall(loss, apart, eta=0.4, flow=two_classes, limit=3e4):
    """Times, and the lead of y on its own samples, until it is back at 0.001 or `limit` is over.

    Both classes have as many samples, and the loss is scaled to a pull of 1 at u = 1/2.
    """
    scaled = 1 / _pull(loss, 0.5) * loss

    def back(_, x):
        return x[0] + apart * x[1] - 1e-3

    back.terminal, back.direction = True, 1
    found = solve_ivp(
        lambda _, x: flow(x, scaled, 0.5, eta, apart),
        *((0, limit), [0, 0, 0], "LSODA"),
        events=back,
        rtol=1e-6,
        atol=1e-9,
    )
    return found.t, found.y[0] + apart * found.y[1]


def shared_logit(behind=falls_behind, flow=two_classes) -> Check:
    """What all samples share sends a flipped class the wrong way first; a flat loss stays there.

    The first move by autograd, for 300 random settings and seven losses: its sign is that of the
    theorem, and with each label weighed by one over its count it is never backwards. The whole way
    of four losses at eta = 0.4: CE is back first, GCE next, then AEL, then MAE. The controls:
    without noise, and where the classes are far apart from the start, nobody falls behind.
    """
    rng, signs, weighed, field = np.random.default_rng(0), [], [], []
    for loss in LOSSES:
        for prior, eta, apart in rng.uniform((0.1, 0, 0), (0.9, 0.5, 3), (43, 3)):
            move = first_move(loss, prior, eta, apart)
            formula = flow([0, 0, 0], loss, prior, eta, apart)
            field.append(abs(formula[0] + apart * formula[1] - move) < 1e-9 * _pull(loss, 0.5))
            signs.append((move < 0) == behind(prior, eta, apart))
            weights = inverse_counts(prior, eta)
            weighed.append(first_move(loss, prior, eta, apart, weights) >= -1e-12)
    ways = [fall(loss, 0.3, flow=flow) for loss in (CE, GCE, CIFAR_AEL, MAE)]
    backs = [times[-1] for times, _ in ways]
    returned = all(leads[-1] > 0 > leads.min() for _, leads in ways)
    controls = [fall(MAE, *case, flow=flow)[1].min() for case in ((0.3, 0.0), (2.5, 0.4))]
    least = [f"{100 / (1 + math.exp(-leads.min())):.2g} %" for _, leads in ways]
    return Check(
        printed=all([*signs, *weighed, *field, returned]) and backs == sorted(backs),
        control=bool(min(controls) > -1e-9),
        figures={
            "the first move has the sign of the theorem": (sum(signs), len(signs)),
            "weighed by one over the count, it is not backwards": (sum(weighed), len(weighed)),
            "least probability of y on its samples: CE, GCE, AEL, MAE": ", ".join(least),
            "back after, in times of CE": ", ".join(f"{back / backs[0]:.0f}" for back in backs),
            "without noise, or far apart: least lead": f"{min(controls):.2f}",
        },
    )


# --- how deep it falls ----------------------------------------------------------------------


def fall_limit(loss: Loss, prior: float, eta: float) -> float:
    """What s^2 times the depth of the fall tends to as the classes get alike: our theorem."""
    flat = _pull(loss, 0.0) / _pull(loss, 1.0)
    q = prior / (1 - prior) * ((1 - eta) * flat - eta)
    return math.log((1 + q) ** 2 / (4 * q)) if q < 1 else 0.0


def depth(loss, apart, prior, eta) -> float:
    """How far the lead of y falls on its own samples in `two_classes`.

    The clock is D, by how much the leads on the two classes differ, which only grows: in time the
    way takes e to the depth or more.
    """

    def ratio(D, lead):  # the force of the samples of y over that of those of n
        u, v = (1 / (1 + math.exp(min(-x, 700))) for x in (lead, lead - D))
        y = prior * (1 - u) * ((1 - eta) * _pull(loss, u) - eta * _pull(loss, 1 - u))
        n = (1 - prior) * (1 - v) * _pull(loss, 1 - v)
        return y / n * math.exp(np.logaddexp(0, D - lead) - np.logaddexp(0, -lead))

    def slope(D, x):
        R = ratio(D, x[0])
        return [((1 + apart**2) * R - 1) / (apart**2 * (1 + R))]

    def turn(D, x):
        return slope(D, x)[0]

    turn.terminal, turn.direction = True, 1
    found = solve_ivp(
        slope,
        *((0, 60), [0], "LSODA"),
        events=turn,
        rtol=1e-6,
        atol=1e-6,
    )
    return -float(found.y[0].min())


def depth_of_fall(law=fall_limit) -> Check:
    """The more alike the classes, the deeper a flat loss falls: like 1/s^2, times its own limit.

    Six flat losses, two priors, three rates. At s = 0.03, s^2 times the depth must be within 0.003
    of the limit; the largest difference must be larger at s = 0.1. At s = 0.3 the depth is that of
    `fall`. The control: cross entropy must not fall as MAE does.
    """
    losses = (*FLAT, AELLoss(a=1.5))  # of the last, q is above 1 at the smaller rates
    cases = [
        (loss, prior, eta) for loss in losses for prior in (0.4, 0.5) for eta in (0.2, 0.3, 0.4)
    ]
    far, near = (
        [abs(s**2 * depth(loss, s, *case) - law(loss, *case)) for loss, *case in cases]
        for s in (0.1, 0.03)
    )
    in_time = [
        abs(fall(loss, 0.3, eta)[1].min() + depth(loss, 0.3, 0.5, eta)) < 1e-3
        for loss in FLAT
        for eta in (0.2, 0.3)
    ]
    limits = [law(MAE, 0.5, eta) for eta in (0.2, 0.3, 0.4)]
    return Check(
        printed=max(near) < 0.003 and max(near) < max(far) and all(in_time),
        control=bool(abs(0.03**2 * depth(CE, 0.03, 0.5, 0.4) - limits[-1]) > 0.1),
        figures={
            "losses, priors and rates": len(cases),
            "s^2 times the depth less the limit, largest: s = 0.1": f"{max(far):.3f}",
            "s = 0.03": f"{max(near):.4f}",
            "the depth at s = 0.3 is that of the flow in time": (sum(in_time), len(in_time)),
            "limits of MAE at noise 0.2, 0.3, 0.4": ", ".join(f"{x:.2f}" for x in limits),
        },
    )
