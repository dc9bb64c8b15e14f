"""Theorem 1: completely asymmetric losses are classification-calibrated (chapter 3).

Two classes, eta = P(class 1 | x), and the conditional risk of u = u_1,
C(u) = eta l(u) + (1 - eta) l(1 - u). H is its infimum over [0, 1], H_minus that over the wrong
side, (2 u - 1)(2 eta - 1) <= 0. Calibrated: H_minus > H for every eta other than 1/2.
"""

from fractions import Fraction

import numpy as np

from alfs_utils.asymmetry import asymmetry_ratio, is_asymmetric
from alfs_utils.losses import AELLoss, AGCELoss, AULLoss, MAELoss
from alfs_utils.paper.checks import Check
from alfs_utils.paper.checks.asymmetric import every_subset

__all__ = [
    "calibration_functions",
    "converse",
    "infima_on_grid",
    "kinked",
    "minimal_risk",
    "monotonicity",
    "promised_gap",
    "theorem_1",
    "wrong_side_risk",
]

# Completely asymmetric, by Corollaries 1 and 2
COMPLETE = [
    MAELoss(),
    AGCELoss(a=1, q=2),
    AGCELoss(a=0.1, q=3),
    AGCELoss(a=6, q=1.5),
    AULLoss(a=2, p=0.5),
    AULLoss(a=3, p=0.1),
    AULLoss(a=1.1, p=0.9),
]
# Strictly convex, hence not completely asymmetric
CONVEX = [
    AGCELoss(a=1, q=0.5),
    AGCELoss(a=0.6, q=0.6),
    AULLoss(a=2, p=2),
    AULLoss(a=5.5, p=3),
    AELLoss(a=0.5),
    AELLoss(a=2.5),
]


# --- H and H_minus --------------------------------------------------------------------------


def _sorted_weights(eta):
    """The larger and the smaller of eta and 1 - eta."""
    eta = np.asarray(eta, float)
    return np.maximum(eta, 1 - eta), np.minimum(eta, 1 - eta)


def _vertex_risk(loss, eta):
    large, small = _sorted_weights(eta)
    return large * loss.of_probability(1.0) + small * loss.of_probability(0.0)


def interior_risk(loss, eta):
    """The risk where eta g(u) = (1 - eta) g(1 - u), for AGCE with q < 1, AUL with p > 1, AEL."""
    w = np.stack(_sorted_weights(eta))
    with np.errstate(divide="ignore"):  # at eta = 0 and 1 there is no such point
        match loss:
            case AGCELoss(a=a, q=q):
                total = (w ** (1 / (1 - q))).sum(axis=0)
                return ((a + 1) ** q - (1 + 2 * a) ** q * total ** (1 - q)) / q
            case AULLoss(a=a, p=p):
                total = (w ** (-1 / (p - 1))).sum(axis=0)
                return ((2 * a - 1) ** p * total ** (1 - p) - (a - 1) ** p) / p
            case AELLoss(a=a):
                return 2 * np.sqrt(w[0] * w[1]) * np.exp(-1 / (2 * a))


def is_convex(loss):
    """For a loss of the three families: strictly convex. Otherwise it is concave."""
    match loss:
        case AGCELoss(q=q):
            return q < 1
        case AULLoss(p=p):
            return p > 1
    return isinstance(loss, AELLoss)


def minimal_risk(loss, eta, interior=interior_risk, threshold=1.0):
    """H(eta) for AGCE, AUL, AEL and MAE: the risk of the better vertex, or an interior one.

    A convex loss has its minimum inside iff the ratio of the weights is below 1 / r.
    """
    risk = _vertex_risk(loss, eta)
    if not is_convex(loss):
        return risk
    large, small = _sorted_weights(eta)
    inside = large * asymmetry_ratio(loss) < threshold * small
    return np.where(inside, interior(loss, eta), risk)


def wrong_side_risk(loss, eta):
    """H_minus(eta): convex losses have it at u = 1/2, concave ones there or at the wrong vertex."""
    half = loss.of_probability(0.5)
    if is_convex(loss):
        return half + 0 * np.asarray(eta)
    large, small = _sorted_weights(eta)
    wrong_vertex = large * loss.of_probability(0.0) + small * loss.of_probability(1.0)
    return np.minimum(half, wrong_vertex)


def infima_on_grid(l, eta, u):
    """H and H_minus as minima over a grid of u that contains 0, 1/2 and 1 and is symmetric."""
    C = eta[:, None] * l(u) + (1 - eta)[:, None] * l(u)[::-1]
    wrong = (2 * u - 1) * (2 * eta - 1)[:, None] <= 0
    return C.min(axis=1), np.where(wrong, C, np.inf).min(axis=1)


def calibration_functions(H=minimal_risk, H_minus=wrong_side_risk) -> Check:
    """The closed forms of H and H_minus for MAE, AGCE, AUL and AEL, against a grid; H_minus > H.

    A minimum over a grid cannot be below the infimum, and with 4001 points and these losses is at
    most 1e-7 above it. The rates eta include 0.4 % on each side of the threshold between a vertex
    and the interior. Away from eta = 1/2, H_minus is above H (Figure 1). The controls: the vertex
    risk alone is not H for convex losses, and a loss with a kink at 1/2 has H_minus = H nearby.
    """
    u = np.linspace(0, 1, 4001)
    below = above = vertex_error = 0.0
    apart = True
    for loss in COMPLETE + CONVEX:
        rho = 1 / asymmetry_ratio(loss) * np.array([0.996, 1.004])
        eta = np.concatenate([np.linspace(0, 1, 101), rho / (1 + rho), 1 / (1 + rho)])
        found = np.array(infima_on_grid(loss.of_probability, eta, u))
        excess = found - np.array([H(loss, eta), H_minus(loss, eta)])
        below, above = min(below, excess.min()), max(above, excess.max())
        apart &= bool((found[1] > found[0])[abs(eta - 0.5) > 1e-9].all())
        if is_convex(loss):
            vertex_error = max(vertex_error, (_vertex_risk(loss, eta) - found[0]).max())
    agree = bool(-1e-12 <= below and above <= 1e-7)
    lowest, wrong_side = infima_on_grid(kinked, np.array([0.4, 0.6]), u)
    touching = bool((wrong_side <= lowest + 1e-12).all())
    return Check(
        printed=agree and apart,
        control=bool(vertex_error > 0.01) and touching,
        figures={
            "losses, with 105 rates each": len(COMPLETE + CONVEX),
            "grid minus closed form is within [-1e-12, 1e-7]": agree,
            "error of the vertex risk alone": f"{vertex_error:.2f}",
            "H_minus is above H at every eta but 1/2": apart,
            "a kinked loss has H_minus = H elsewhere": touching,
        },
    )


# --- the theorem ----------------------------------------------------------------------------


def promised_gap(l, eta):
    """|2 eta - 1| [l(1/2) - l(1)], what complete asymmetry promises for H_minus - H."""
    return abs(2 * eta - 1) * (l(Fraction(1, 2)) - l(Fraction(1)))


def kinked(u):
    """Convex, slope -3 up to u = 1/2 and -1 beyond."""
    return np.maximum(2 - 3 * u, 1 - u)


def agce_exact(u):
    """AGCE with a = 1, q = 2; keeps fractions."""
    return (4 - (1 + u) ** 2) / 2


def aul_exact(u):
    """AUL with a = 2, p = 2; keeps fractions."""
    return ((2 - u) ** 2 - 1) / 2


SIXTIETHS = np.array([Fraction(j, 60) for j in range(61)])


def theorem_1(gap_bound=promised_gap, infima=infima_on_grid) -> Check:
    """H_minus - H >= |2 eta - 1| [l(1/2) - l(1)] > 0 for completely asymmetric l.

    For concave l both infima lie at u = 0, 1/2 or 1, so a grid with these points is exact; AGCE
    with a = 1, q = 2 runs in fractions. The bound must be attained at eta = 0 and 1. The controls:
    every strictly convex loss violates it, and `kinked`, which decreases strictly, is not
    calibrated at all: H_minus = H for 1/4 <= eta <= 3/4.
    """
    u, eta = np.linspace(0, 1, 201), np.linspace(0, 1, 101)
    slack, attained, least = [], [], np.inf
    for loss in COMPLETE:
        H, H_minus = infima(loss.of_probability, eta, u)
        slack.append((H_minus - H - gap_bound(_as_float(loss), eta)).min())
        attained.append(abs(H_minus - H - gap_bound(_as_float(loss), eta))[[0, -1]].max())
        least = min(least, (H_minus - H)[eta != 0.5].min())
    H, H_minus = infima(agce_exact, SIXTIETHS, SIXTIETHS)
    exact = (H_minus - H >= gap_bound(agce_exact, SIXTIETHS)).all()
    violated = 0
    for loss in CONVEX:
        H, H_minus = infima(loss.of_probability, eta, u)
        violated += (H_minus - H - gap_bound(_as_float(loss), eta)).min() < -1e-3
    H, H_minus = infima(kinked, SIXTIETHS, SIXTIETHS)
    not_calibrated = H == H_minus
    kept, sharp = bool(min(slack) >= -1e-12), bool(max(attained) <= 1e-12)
    return Check(
        printed=bool(kept and sharp and least > 0 and exact),
        control=bool(violated == len(CONVEX) and not_calibrated.sum() == 31),
        figures={
            "completely asymmetric losses": len(COMPLETE),
            "least H_minus - H for eta outside (0.49, 0.51)": f"{least:.4f}",
            "the bound is kept": kept,
            "the bound is attained at eta = 0 and 1": sharp,
            "the bound is kept in fractions by AGCE (1, 2)": bool(exact),
            "strictly convex losses that violate it": (violated, len(CONVEX)),
            "rates at which the kinked loss has H_minus = H": (not_calibrated.sum(), 61),
        },
    )


def _as_float(loss):
    return lambda u: loss.of_probability(float(u))


def quadratic_gap(eta):
    """H_minus - H of AUL with a = 2, p = 2."""
    theta = abs(2 * eta - 1)
    return Fraction(9, 8) * theta**2 if theta <= Fraction(1, 3) else (6 * theta - 1) / 8


def converse(gap=quadratic_gap, counterexample=aul_exact) -> Check:
    """The converse of Theorem 1, calibrated => completely asymmetric (not claimed by the paper).

    Six strictly convex losses are calibrated, and asymmetric on no weights (eta, 1 - eta) close to
    (1/2, 1/2). AUL with a = 2, p = 2 is exact: its minimiser, 3 eta - 1 for 1/3 <= eta <= 2/3, is
    a point of the grid. The control: the completely asymmetric losses are asymmetric there.
    """
    u, eta = np.linspace(0, 1, 2001), np.linspace(0, 1, 101)
    near_half = [0.505, 0.495]
    calibrated = sum(
        bool(
            (np.diff(infima_on_grid(loss.of_probability, eta, u), axis=0)[0] > 0)[eta != 0.5].all()
        )
        for loss in CONVEX
    )
    asymmetric = sum(bool(is_asymmetric(loss, near_half)) for loss in CONVEX)
    H, H_minus = infima_on_grid(counterexample, SIXTIETHS, SIXTIETHS)
    exact = all(H_minus - H == [gap(x) for x in SIXTIETHS])
    positive = all((H_minus - H)[SIXTIETHS != Fraction(1, 2)] > 0)
    complete = sum(bool(is_asymmetric(loss, near_half)) for loss in COMPLETE)
    refuted = calibrated == len(CONVEX) and asymmetric == 0 and exact and positive
    return Check(
        printed=not refuted,
        control=complete == len(COMPLETE),
        figures={
            "strictly convex losses": len(CONVEX),
            "calibrated": calibrated,
            "asymmetric on (0.505, 0.495)": asymmetric,
            "completely asymmetric losses that are asymmetric there": (complete, len(COMPLETE)),
            "AUL (2, 2): H_minus - H is 9/8 (2 eta - 1)^2 near 1/2, exactly": exact,
        },
    )


def _place(n):
    return Fraction(1, 2) - Fraction(1, n + 2)


def _spike(n):
    return Fraction(1, n + 2)


def _second_class(first):
    return 1 - first


def monotonicity(place=_place, spike=_spike, second=_second_class) -> Check:
    """Theorem 1 without the standing assumption that L(u, y) decreases in u_y.

    Exact. L(u, 1) = 1 - u, but 1/(n + 2) at u = 1/2 - 1/(n + 2) for n = 1, 2, ...;
    L(u, 2) = 1 - L(u, 1). Each L(., t) is smallest at e_t only, and L is completely asymmetric;
    yet its risk falls to H along predictions of the wrong class. The control: without the spikes
    the same test finds nothing.
    """
    ns = [*range(1, 200), 10**3, 10**6, 10**9]
    plain = {u: 1 - u for u in SIXTIETHS}
    spiked = plain | {place(n): spike(n) for n in ns}

    def refutes(values):
        u, first = np.array(list(values)), np.array(list(values.values()))
        L = np.stack([first, second(first)], axis=1)
        vertices = [L[u == 1][0], L[u == 0][0]]
        complete = all(
            every_subset((L - vertices[t])[u != 1 - t], t) and (L[u != 1 - t, t] > 0).all()
            for t in (0, 1)
        )
        eta = Fraction(3, 4)
        excess = (L - vertices[0]) @ np.array([eta, 1 - eta])
        return bool(complete and excess[u < Fraction(1, 2)].min() < Fraction(1, 10**6))

    found, without = refutes(spiked), refutes(plain)
    return Check(
        printed=not found,
        control=not without,
        figures={
            "completely asymmetric, but the wrong side comes within 1e-6 of H": found,
            "the same without the spikes": without,
        },
    )
