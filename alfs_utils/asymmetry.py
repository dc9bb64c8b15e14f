"""Asymmetry of a loss on label noise: ratios, certificates with witnesses, certified minimisers.

A loss L is asymmetric on weights w with a unique maximum w_t if the weighted risk
F(u) = sum_i w_i L(u, i) has e_t as its only minimiser on the probability simplex (Definition 2 of
Zhou et al., "Asymmetric loss functions for learning with noisy labels", ICML 2021), and on a noise
model T if it is so on every row of T. Here L(u, i) = l(u_i) with l decreasing, g = -l' >= 0, and
w_n is the second largest weight. Every yes rests on one of these facts:

- convex l: e_t minimises the convex F iff w_t g(1) >= w_n g(0), its first-order condition, and is
  the only minimiser if l is strictly convex; so c r >= 1 decides, with r = g(1)/g(0);
- concave l: F(u) >= sum_i u_i F(e_i), so the best vertex e_t is the only minimiser, as if r = 1;
- a positive sum of losses that are asymmetric on w is asymmetric on w (Theorem 5);
- phi(u_i) / sum_j phi(u_j), a normalised loss, is asymmetric on w iff phi is on the positive part
  of the shifted weights w - F(e_t): F(u) >= F(e_t) iff sum_i (w_i - F(e_t)) phi(u_i) >= 0, and to
  move the mass of a class with negative shifted weight to t lowers that sum;
- the risk of a piecewise linear l is least at a vertex between its knots: these are finitely many,
  and are compared in Fractions (`_piecewise`);
- AMSE's risk is the distance from a point, NNCE's a mean of the weights: closed forms (`_whole`);
- sums of convex and concave losses of the library: branch and bound in interval arithmetic shows
  that there is no other minimiser (`_branch_and_bound`).

Every no comes with a `Witness` that is verified in Fractions or intervals (`_enclosure`).
The certificate names what it takes from the user: the shape of an l and its slope.

NCE, and any normalised loss with phi(0) = inf, has no value at e_t for three classes or more; its
risk there is read as its smallest limit, min {w_i : u_i = 0} (lower semicontinuous envelope).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from alfs_utils import _enclosure, _whole, noise
from alfs_utils._arguments import array as as_array
from alfs_utils._arguments import integer, option, shown
from alfs_utils._branch_and_bound import Enclosure
from alfs_utils._parts import SHAPES, Part, declare, of_callable, quotient, roughness
from alfs_utils._piecewise import PiecewiseLinear, worst_vertex
from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AMSELoss,
    AULLoss,
    LossSum,
    MAELoss,
    Normalized,
)

__all__ = [
    "Certificate",
    "Minimum",
    "PiecewiseLinear",
    "Region",
    "Witness",
    "admissible",
    "asymmetry_ratio",
    "asymmetry_ratio_exact",
    "asymmetry_ratio_upper",
    "certify",
    "is_asymmetric",
    "weighted_risk_minimiser",
]

TOLERANCE = 1e-12  # floats do not tell the two sides of |c r - 1| <= TOLERANCE apart
VERDICTS = ("not asymmetric", "undecided", "boundary", "asymmetric")  # the worst class decides


@dataclass(frozen=True)
class Witness:
    """A point u != e_t whose weighted risk is not above that of e_t.

    Entry t of the point is exactly 1 minus the others; as a float it may round to 1. `gain` is a
    lower bound on `vertex_risk - risk` there, proven in Fractions or by interval arithmetic, and
    is positive even where the two risks agree in float64. A gain of 0 is a tie, enough to refute:
    e_t is not the only minimiser. If l takes nothing but floats, the gain is computed in floats,
    minus the rounding error, which is measured: then `proven` is False.
    """

    u: tuple
    risk: float | Fraction
    vertex_risk: float | Fraction
    gain: float | Fraction
    proven: bool = True


@dataclass(frozen=True, repr=False)
class Certificate:
    """The result of `certify` for one row of weights; for a matrix, that of the binding row.

    Attributes
    ----------
    verdict : {"asymmetric", "not asymmetric", "boundary", "undecided"}
    binding : int
        The class t; for a matrix, the class of smallest margin among those with the worst verdict.
    c : float or Fraction
        Clean level w_t/w_n; for a normalised loss, that of the shifted weights.
    ratio, margin : float, Fraction or None
        The asymmetry ratio r that c is compared with, and c r - 1; None where r is not known.
        AMSE has no ratio; its margin is a (w_t - w_n) / W - 1, where W is the sum of the weights.
    method : str
    witness : Witness or None
        Given whenever the verdict is "not asymmetric", unless the witness needs a coordinate that
        underflows in float64.
    declarations : tuple of str
        What the caller declared, or what was measured, but not proven.
    missing : str
        For "undecided", what the caller can give to get a decision.
    attained : bool
        False if every minimising sequence converges to e_t but the risk has no minimum: NCE plus
        an asymmetric loss. At bounded logits, its minimiser is not the corner of class t.
    corner : float
        For "asymmetric": every minimiser has at most this probability in each class but t. 0 but
        for losses that clamp probabilities, NNCE and NNFL; there e_t is not the only minimiser.
    classes : tuple of Certificate
        One per row. Where a verdict needed no witness, only the binding class has one.
    """

    verdict: str
    binding: int
    c: float | Fraction
    ratio: float | Fraction | None
    margin: float | Fraction | None
    method: str
    witness: Witness | None = None
    declarations: tuple[str, ...] = ()
    attained: bool = True
    corner: float = 0.0
    missing: str = ""
    classes: tuple["Certificate", ...] = ()

    @property
    def asymmetric(self) -> bool | None:
        """True, False, or None for "boundary" and "undecided"."""
        return {"asymmetric": True, "not asymmetric": False}.get(self.verdict)

    @property
    def _rank(self):
        return VERDICTS.index(self.verdict), -1 if self.margin is None else self.margin

    def __repr__(self):
        shown = {"c": self.c, "ratio": self.ratio, "margin": self.margin}
        numbers = (f"{k}={v if v is None else f'{float(v):.4g}'}" for k, v in shown.items())
        limit = "" if self.attained else " (in the limit, never attained)"
        limit += f" (up to {self.corner:g} in every other class)" if self.corner else ""
        missing = f"; to decide it: {self.missing}" if self.missing else ""
        numbers = ", ".join(numbers)
        return f"<{self.verdict}{limit}: class {self.binding}, {numbers}; {self.method}{missing}>"


@dataclass(frozen=True)
class Minimum:
    """A point of the simplex, its weighted risk, and a proven lower bound on every risk."""

    u: np.ndarray
    risk: float
    lower_bound: float
    method: str

    @property
    def gap(self) -> float:
        """How far the risk can be above the global minimum, risk - lower_bound >= 0."""
        return self.risk - self.lower_bound


@dataclass(frozen=True, repr=False)
class Region:
    """The values of the parameter a for which a family is asymmetric; `a in region` works."""

    family: type
    fixed: dict
    c: float | Fraction
    threshold: float | Fraction
    closed: bool

    def __contains__(self, a) -> bool:
        return bool(a >= self.threshold if self.closed else a > self.threshold)

    def __repr__(self):
        call = ", ".join(["a", *(f"{name}={value}" for name, value in self.fixed.items())])
        sign = ">=" if self.closed else ">"
        return f"<{self.family.__name__}({call}) is asymmetric iff a {sign} {self.threshold}>"


# --- the ratios -----------------------------------------------------------------------------


def asymmetry_ratio(loss: Callable, definition: str = "printed") -> float | Fraction:
    """Return the asymmetry ratio r of l (Definition 3, eq. 7), as printed or repaired.

    "printed": Delta u is free in [0, u_2]; the infimum is that of g(a)/g(b) over a, b >= 0,
    a + b <= 1. It is at most 1, and 1 for affine l only. c r >= 1 means that no transfer of mass
    to t raises the risk, and c r > 1 that every one lowers it: there is no spurious local minimum.
    "repaired": Delta u = u_2. Theorem 6 needs this one, and it has the values that the paper
    states. Both ratios are g(1)/g(0) for convex l; for concave l the printed one is g(0)/g(1) and
    the repaired one is 1.

    Parameters
    ----------
    loss : pointwise loss, sum of such, or callable l(u)
        If its shape is not known, the infimum is over multiples of 1/720, or of 1/60 if l returns
        Fractions: an upper bound, exact if l is piecewise linear with its knots there. For a
        `PiecewiseLinear` they are the multiples of 1/n, with the least n for which all knots are
        multiples, if n <= 720.
    definition : {"printed", "repaired"}

    Returns
    -------
    float, or Fraction if l returns Fractions for Fractions.

    Examples
    --------
    >>> asymmetry_ratio(AGCELoss(a=1, q=2)), asymmetry_ratio(AGCELoss(a=1, q=2), "repaired")
    (0.5, 1.0)
    """
    option("definition", definition, ("printed", "repaired"))
    part = _pointwise(loss)
    if part.curvature == -1 and definition == "printed":
        return quotient(*part.g_ends)
    if part.curvature is not None:
        return float(part.ratio)
    if math.isinf(part.l0):
        return 0.0
    u, l = part.samples()
    n = len(u) - 1
    if definition == "repaired":
        quotients = [quotient((l[: n + 1 - j] - l[j:]).min(), l[0] - l[j]) for j in range(1, n)]
        return min(part.one, *quotients, *part.first_order(u))
    # Without slopes: a in cell i and b in cell j can have a + b <= 1 iff i + j < n.
    g = l[:-1] - l[1:] if part.slope is None else -part.slope(u)
    least = np.minimum.accumulate(g)
    return min(quotient(a, b) for a, b in zip(least[::-1], g, strict=True))


def asymmetry_ratio_upper(loss: Callable) -> float | Fraction:
    """Return r_u of eq. (8), the infimum over D in (0, 1] of [l(1 - D) - l(1)] / [l(0) - l(D)].

    It is g(1)/g(0) for convex l, 1 for concave l, and never above 1. It is the exact ratio of two
    classes; for more classes, c r_u >= 1 is only necessary (Theorem 8). Argument and result are
    those of `asymmetry_ratio`.
    """
    return asymmetry_ratio_exact(loss, 2)


def asymmetry_ratio_exact(loss: Callable, k: int) -> float | Fraction:
    """Return the exact ratio of k classes, inf [l(u_m) - l(1)] / sum_{i != m} [l(0) - l(u_i)].

    L is asymmetric on all weights (k,) with w_m/w_n = c iff c r*_k > 1, or c r*_k = 1 and the
    infimum over u != e_m is not attained. Always printed r <= repaired r <= r*_k <= r_u <= 1;
    repaired r, r*_k and r_u are equal for convex and for concave l. For other l, dynamic
    programming finds the worst way to split the mass that leaves m, exactly for a
    `PiecewiseLinear`. Argument and result are those of `asymmetry_ratio`.

    Raises
    ------
    ValueError, TypeError
        If `k` is not an int of at least 2 (and at most 2**15).
    """
    k = integer("k", k, 2, 2**15)
    part = _pointwise(loss)
    if part.curvature is not None:
        return float(part.ratio)
    if math.isinf(part.l0):
        return 0.0
    if part.polyline:
        # All u_i but one are knots, so only so many are positive.
        rivals = min(k - 1, math.floor(1 / part.polyline.knots[1]) + 1)
        return min(part.one, worst_vertex(part.polyline, [Fraction(1)] * rivals)[0])
    u, l = part.samples()
    n = len(u) - 1
    spread, _ = _allocate(np.tile(l - l[0], (min(k - 1, n), 1)), n)
    quotients = [quotient(l[n - j] - l[n], -spread[j]) for j in range(1, n)]
    return min(part.one, *quotients, *part.first_order(u[-1:]))


# --- what is known about a loss -------------------------------------------------------------


def _parts(loss, shape=None):
    """Split a loss into its pointwise part, if there is one, and its normalised parts."""
    if isinstance(loss, PiecewiseLinear):
        return [_polyline(loss, shape)]
    if not isinstance(loss, nn.Module):
        return [declare(of_callable(loss), shape)]
    if getattr(loss, "weight", None) is not None:
        raise ValueError(
            f"loss: expected no class weights (scale the columns of T), got {shown(loss)}"
        )
    pointwise, parts = [], []
    for coefficient, term in (pair for pair in LossSum([(1.0, loss)]).terms if pair[0]):
        if isinstance(term, Normalized):
            phi = _pointwise(term.loss, shape)
            if phi.l_ends[1] < 0:
                raise ValueError(f"loss: expected l(1) >= 0 in a normalised loss, got {term!r}")
            parts.append(replace(phi, normalised=True, coefficient=coefficient))
        elif whole := _whole.part(term, coefficient):
            parts.append(whole)
        else:
            pointwise.append((coefficient, term))
    return ([_merge(pointwise, shape)] if pointwise or not parts else []) + parts


def _pointwise(loss, shape=None):
    part = _parts(loss, shape)[0]
    if part.normalised or part.whole:
        raise TypeError(f"loss: expected a function l(u_i) of one probability, got {shown(loss)}")
    return part


def _merge(terms, shape):
    """Merge pointwise losses: slopes add, so convex terms are one convex l, concave ones too."""
    total = LossSum(terms or [(0.0, MAELoss())])
    part = Part(total.of_probability, total.slope)
    if not any(g > 0 for g in part.g_ends):
        raise ValueError(f"loss: expected l to decrease, got {total!r}")
    facts = [_fact(term, "curvature") for _, term in terms]
    signs = [fact() for fact in facts if fact is not None]
    if len(signs) < len(terms):
        return declare(replace(part, noise=roughness(part.value)), shape)
    part = replace(part, point=_enclosure.formula(terms), strict=True)
    part = replace(part, steepness=_enclosure.steepness(terms))
    up, flat, down = ([t for t, s in zip(terms, signs, strict=True) if s == x] for x in (1, 0, -1))
    if not up:
        method = "concave: vertices" if down else "affine: vertices"
        part = replace(part, curvature=min(signs), ratio=1, sharp=True, method=method)
    elif not down:
        ratio, inverse = quotient(*part.g_ends[::-1]), _inverse_slope(up, flat)
        part = replace(part, curvature=1, ratio=ratio, sharp=True, inverse=inverse)
        part = replace(part, method="convex: closed form")
    else:
        # Move v from another class to t. Convex terms gain at least a1 v and lose at most a0 v;
        # concave ones gain at least their loss h(v) = l(0) - l(v) >= b0 v. So the repaired r is at
        # least inf (a1 v + h)/(a0 v + h) >= (a1 + b0)/(a0 + b0) >= a1/a0 (mediant bound).
        a0, a1 = Part(None, LossSum(up + flat).slope).g_ends
        b0, _ = Part(None, LossSum(down).slope).g_ends
        part = replace(part, ratio=quotient(a1 + b0, a0 + b0), method="sum: mediant bound")
        part = replace(part, enclosure=Enclosure(terms))
    return declare(part, shape)


def _fact(loss, name):
    """Return what the loss's own class states about l, else None: a subclass may have changed l."""
    return getattr(loss, name) if name in vars(type(loss)) else None


def _inverse_slope(up, flat):
    """Return y -> u with g(u) = y for one strictly convex term plus affine ones, else None."""
    c, term = up[0]
    invert = _fact(term, "inverse_slope") if len(up) == 1 else None
    affine = -sum(k * loss.slope(0.0) for k, loss in flat)
    return invert and (lambda y: invert(np.maximum(y - affine, 0) / c))


# --- piecewise linear losses ----------------------------------------------------------------


def _polyline(loss: PiecewiseLinear, shape: str | None):
    if shape is not None:
        option("shape", shape, SHAPES)
    sign = SHAPES[shape] if shape else 0
    if any(sign * (b - a) < 0 for a, b in pairwise(loss.slopes)):
        raise ValueError(f"shape: expected the shape of l, got {shape!r}: l is not {shape}")
    return replace(of_callable(loss), polyline=loss, method="knots: exact")


def _decide_polyline(part, w, t):
    """Compare the exact ratio of these weights, the least loss over gain, with 1."""
    l, weights = part.polyline, [Fraction(x) for x in w.tolist()]
    rivals = sorted(_others(w, t), key=lambda i: -weights[i])
    level = quotient(weights[t], weights[rivals[0]])
    if l.slopes[-1] == 0:  # a flat end: no gain is needed
        worst, v = Fraction(0), [1 - l.knots[-2]]
    elif level == math.inf:
        worst, v = math.inf, []
    else:
        worst, v = worst_vertex(l, [weights[i] for i in rivals])
        worst = weights[t] * worst
    verdict = "asymmetric" if worst > 1 else "not asymmetric"
    if w.dtype != object and abs(worst - 1) <= TOLERANCE:
        verdict = "boundary"
    ratio = worst / level if level < math.inf else None
    witness = None
    if verdict == "not asymmetric":
        u = _vertex(np.array(weights), t) * 0
        u[rivals[: len(v)]] = v
        witness = _witness([part], np.array(weights), t, u)
    return Certificate(verdict, t, level, ratio, worst - 1, part.method, witness)


# --- certificates ---------------------------------------------------------------------------


def is_asymmetric(loss: Callable, weights: npt.ArrayLike, shape: str | None = None) -> bool | None:
    """Return whether a loss is asymmetric on weights (k,) (Definition 2); None if not known.

    `weights` are non-negative with a unique maximum and need not sum to 1. The call is short for
    `certify(loss, weights, shape).asymmetric`.
    """
    return certify(loss, _numbers("weights", weights, 1), shape).asymmetric


def certify(loss: Callable, T: npt.ArrayLike, shape: str | None = None) -> Certificate:
    """Certify that a loss is, or is not, asymmetric on a noise model, or say what would decide.

    "asymmetric" is a theorem: about the formula of a loss of the library, about the numbers of a
    `PiecewiseLinear`, or about what `declarations` lists. "not asymmetric" comes with a witness
    that exact or interval arithmetic has confirmed; see `Witness` for the exception.

    Parameters
    ----------
    loss : nn.Module or callable
        A pointwise loss, a normalised one, a sum of such, a `PiecewiseLinear`, or a decreasing
        function l(u) that maps a number in [0, 1] to a number. A callable may have a method or
        attribute `slope(u)`, its derivative.
    T : (k, k) or (k,) array_like
        Transition matrix whose rows sum to 1 with T[i, i] as unique maximum (Assumption 1), or
        one vector of non-negative weights with a unique maximum. Fractions are decided exactly if
        r is known exactly; for floats, |c r - 1| <= 1e-12 is "boundary".
    shape : {"convex", "concave"}, optional
        Declares the shape of an l that the library does not know. It is spot-checked, within the
        rounding errors that l shows, and named in the certificate. A convex l needs its slope,
        too: values alone, however many, do not say how l ends. Without a declaration such an l
        gets "not asymmetric" or "undecided", and `missing` says what would decide.

    Raises
    ------
    ValueError, TypeError
        If T is not stochastic, a row or `weights` has no unique maximum, a number is NaN, l does
        not decrease or is not finite, or a declaration is false. The message names the argument.

    Notes
    -----
    The losses of Corollaries 1 to 3 are decided for every legal parameter, equality included. Sums
    of convex losses are convex, sums of concave ones concave. A mixed sum is certified by the ratio
    of its convex terms (mediant bound), or decided by branch and bound in interval arithmetic,
    except very close to the boundary. NCE alone is not asymmetric for k >= 3: its risk approaches
    the infimum min_i w_i wherever the class of least weight vanishes fastest, whatever u_t. NCE
    plus an asymmetric loss is asymmetric in the limit only: see `Certificate.attained`. A
    normalised loss plus a pointwise one is certified if both are (Theorem 5), refuted by a search,
    or undecided. So is AMSE plus another loss. NNCE and NNFL are asymmetric on all weights, up to
    their clamp: see `Certificate.corner`.
    All of this is about the formula of l, without the clamps of `compat="official"`.

    Examples
    --------
    >>> certify(AGCELoss(a=1, q=0.5), noise.symmetric(10, 0.8))
    <asymmetric: class 0, c=2.25, ratio=0.7071, margin=0.591; convex: closed form>
    """
    rows, parts = _rows(T), _parts(loss, shape)
    results = [_certify_row(parts, w, t) for t, w in rows]
    worst = min(range(len(rows)), key=lambda i: results[i]._rank)
    if results[worst].verdict == "not asymmetric" and results[worst].witness is None:
        t, w = rows[worst]
        results[worst] = replace(results[worst], witness=_direct_witness(parts, w.astype(float), t))
    return replace(results[worst], classes=tuple(results))


def _certify_row(parts, w, t):
    bound = [part for part in parts if not part.elusive or len(w) == 2]
    if not bound:
        level = quotient(w[t], max(w[_others(w, t)]))
        return Certificate("not asymmetric", t, level, 0.0, -1.0, "infimum min w")
    held = [_hold(part, w, t) for part in bound]
    result = min(held, key=lambda h: h._rank)
    if len(bound) > 1:
        verdict = result.verdict if result.asymmetric else "undecided"
        result = replace(result, verdict=verdict, method=f"Theorem 5, {result.method}")
    result = replace(result, corner=min(h.corner for h in held))
    if len(bound) < len(parts):
        result = replace(result, attained=not result.asymmetric, method=f"limit, {result.method}")
    proven = bound[0].strict and len(bound) == 1  # of the library: its witness can wait
    if result.witness or (result.verdict == "not asymmetric" and proven):
        return result
    if result.verdict in ("undecided", "not asymmetric") or (
        result.verdict == "boundary" and w.dtype == object and parts[0].exact
    ):
        exact = w.dtype == object and parts[0].exact
        witness = _search(parts, w if exact else w.astype(float), t)
        unproven = "undecided" if result.verdict == "not asymmetric" else result.verdict
        result = replace(result, verdict="not asymmetric" if witness else unproven, witness=witness)
        if witness and not witness.proven:
            said = f"l is accurate to {max(part.noise for part in parts):.1e} (measured)"
            result = replace(result, declarations=(*result.declarations, said))
    missing = "" if result.verdict != "undecided" else result.missing or NO_PROCEDURE
    return replace(result, missing=missing)


NO_PROCEDURE = "nothing: no procedure here decides this sum, and no counterexample was found"


def _hold(part, w, t):
    """Compare the ratio of one part of a loss with one row of weights."""
    if part.polyline:
        return _decide_polyline(part, w, t)
    if part.whole:
        return _decide_whole(part, w, t)
    omega = _shifted(part, w, t)
    others = omega[_others(w, t)]
    top, second = omega[t], max(others)
    level, ratio = quotient(top, second), part.ratio
    margin = None if ratio is None else level * ratio - 1 if second > 0 else math.inf
    distance = 0 if ratio is None else top * ratio - second
    exact = isinstance(distance, Fraction | int)
    tolerance = 0 if exact else TOLERANCE * float(max(w[_others(w, t)]))
    tolerance += part.slack * float(top * ratio) if part.slack else 0
    method = part.method + (" on shifted weights" if part.normalised else "")
    if part.elusive:  # two classes: continuous, and smallest at e_t
        verdict, margin = "asymmetric", math.inf
    elif ratio is not None and distance > tolerance:
        verdict = "asymmetric"
    elif second <= 0 and (others == second).all():  # only l(u_t) > l(1) is needed
        verdict = "asymmetric" if part.strict else "undecided"
    elif part.enclosure:
        return _decide_sum(part, w, t, omega, level, method)
    elif not part.sharp:
        verdict = "undecided"
    else:
        verdict = "boundary" if distance >= -tolerance else "not asymmetric"
    missing = part.missing if verdict == "undecided" else ""
    said = part.declarations
    return Certificate(verdict, t, level, ratio, margin, method, None, said, missing=missing)


def _decide_whole(part, w, t):
    """Decide AMSE by its margin, equality included, and NNCE and NNFL at once; see `_whole`."""
    second = max(w[_others(w, t)])
    level, margin = quotient(w[t], second), part.whole.margin(w, t)
    tolerance = 0 if w.dtype == object else TOLERANCE
    if margin > tolerance or second <= 0:
        verdict = "asymmetric"
    elif w.dtype == object:
        verdict = "asymmetric" if margin == 0 else "not asymmetric"
    else:
        verdict = "boundary" if margin >= -tolerance else "not asymmetric"
    margin = margin if w.dtype == object else float(margin)
    corner = part.whole.corner
    return Certificate(verdict, t, level, None, margin, part.method, corner=corner)


def _decide_sum(part, w, t, omega, level, method):
    """Decide a sum of convex and concave losses by branch and bound, see `Enclosure`."""
    error = len(w) * 2.0**-50 * float(max(w)) if part.normalised else 0.0  # of the shift
    answer, u = part.enclosure.decide(omega, t, error)
    method = "sum: enclosures" + method.removeprefix(part.method)
    verdict, witness, missing = "asymmetric", None, ""
    if not answer:
        if u is not None:
            witness = _witness([part], w.astype(float), t, u)
        elif answer is False:
            witness = _direct_witness([part], w.astype(float), t)
        verdict = "not asymmetric" if witness else "undecided"
        missing = "" if witness else TOO_CLOSE
    return Certificate(verdict, t, level, None, None, method, witness, missing=missing)


TOO_CLOSE = "weights or parameters less close to the boundary: the enclosures did not settle these"


def _others(w, t):
    return [i for i in range(len(w)) if i != t]


def _shifted(part, w, t):
    """Return w, or w - F(e_t) for a normalised loss; differences come first, so that 0 stays 0."""
    if not part.normalised or part.elusive:
        return w
    l0, l1 = part.l_ends
    kappa = l1 / l0 if l1 else 0
    gaps = (w[:, None] - w[_others(w, t)]).sum(axis=1)
    return (kappa * (w - w[t]) + gaps) / (kappa + len(w) - 1)


def _risk(parts, w, u) -> np.ndarray:
    """Return the weighted risk at u (..., k), the smallest limit where an elusive loss has none."""
    total: Any = 0  # Fractions stay Fractions
    for part in parts:
        phi = part.value(u)
        with np.errstate(invalid="ignore"):  # classes of weight 0 may have an infinite loss
            risk = np.where(w > 0, w * phi, 0).sum(axis=-1)
            risk = risk / phi.sum(axis=-1) if part.normalised else risk
        if part.elusive:
            limit = np.where(np.isinf(phi), w, np.inf).min(axis=-1)
            risk = np.where(np.isinf(limit), risk, limit)
        total = total + part.coefficient * risk
    return total


def _vertex(w, t):
    return np.array([type(x)(i == t) for i, x in enumerate(w.tolist())])


def _witness(parts, w, t, u):
    """Return a `Witness` at u if its gain is proven, or at least above the noise; else None."""
    u = _enclosure.on_simplex(u, t)
    if u is None:
        return None
    found = _enclosure.gain(parts, [Fraction(x) for x in w.tolist()], t, u)
    shown = np.array(u if w.dtype == object else [float(x) for x in u], w.dtype)
    risk, vertex_risk = _risk(parts, w, np.stack([shown, _vertex(w, t)])).tolist()
    if found is None:
        size = abs(vertex_risk) + abs(risk)
        noise = sum(part.coefficient * part.noise for part in parts)
        low = vertex_risk - risk - 2 * noise * float(w.sum()) - len(w) * 2.0**-50 * size
        if not low > 0:
            return None
    else:
        low = found[0]
        if low < 0:
            return None
    return Witness(tuple(shown.tolist()), risk, vertex_risk, low, found is not None)


def _direct_witness(parts, w, t):
    """Return a witness in closed form: for losses of infinite l(0), for convex ones on an edge.

    The best (1 - d) e_t + d e_n with d a power of 2 has a gain of at least
    F(e_t) - F(u) >= grad F(u) (e_t - u) = d [w_n g(d) - w_t g(1 - d)].
    """
    if all(part.elusive for part in parts):
        least = min(_others(w, t), key=lambda i: w[i])  # without this class, F is min w as at e_t
        u = np.where(np.arange(len(w)) == least, 0.0, 1 / (len(w) - 1))
        risk, vertex_risk = _risk(parts, w, np.stack([u, _vertex(w, t)]))
        return Witness(tuple(u.tolist()), risk, vertex_risk, 0.0)
    if math.isinf(parts[0].l0) and not parts[0].normalised:
        u = w / w.sum()
        return Witness(tuple(u.tolist()), float(_risk(parts, w, u)), math.inf, math.inf)
    part = next(part for part in parts if not part.elusive)
    if part.whole:
        u = _vertex(w, t) * 0
        n = max(_others(w, t), key=lambda i: w[i])
        u[n] = part.whole.step(w, t)
        return _witness(parts, w, t, u)
    omega = _shifted(part, w, t).astype(float)
    n = max(_others(w, t), key=lambda i: omega[i])
    d = 0.5 ** np.arange(1.0, 1023.0)
    with np.errstate(all="ignore"):
        gains = d * (omega[n] * part.g(d, 1 - d) - omega[t] * part.g(1 - d, d))
    if not np.nanmax(gains) > 0:
        return None  # the mass of n is below 2^-1022
    u = _vertex(w, t) * 0
    u[n] = d[np.nanargmax(gains)]
    return _witness(parts, w, t, u)


def _search(parts, w, t):
    """Look below F(e_t) on segments from e_t and, if there is one part only, on a grid."""
    if math.isinf(parts[0].l0) and not parts[0].normalised:
        return _direct_witness(parts, w, t)
    number = Fraction if w.dtype == object else float
    rivals = sorted(_others(w, t), key=lambda i: -w[i])[:8]
    steps = [Fraction(j, 60) for j in range(1, 61)] + [Fraction(1, 2**j) for j in range(6, 81)]
    steps = np.array([[number(d)] for d in steps])
    start, points = _vertex(w, t), [_vertex(w, t)[None]]
    for m in range(1, len(rivals) + 1):
        end = start * 0
        end[rivals[:m]] = number(Fraction(1, m))
        points.append(start + steps * (end - start))
    if len(parts) == 1:
        some, n = [t, *rivals], 60 if number is Fraction else 240
        grid = np.array([number(Fraction(j, n)) for j in range(n + 1)])
        omega = _shifted(parts[0], w, t)[some]
        _, split = _allocate(omega[:, None] * parts[0].value(grid), n)
        points[0] = start[None] * 0
        points[0][0, some] = grid[split]
    points = np.concatenate(points)
    points = points[(points[:, _others(w, t)] > 0).any(axis=1)]
    order = _risk(parts, w, points).argsort()
    found = (_witness(parts, w, t, points[i]) for i in order[: 3 if number is float else 1])
    witness = next((one for one in found if one), None)
    if witness is None and parts[0].slope is not None:
        witness = _direct_witness(parts, w.astype(float), t)
    return witness


def _allocate(cost, total):
    """Find the least sum_i cost[i, j_i] with sum_i j_i = s, for s = 0..total.

    `cost` is (k, n + 1). Dynamic programming gives these sums, and the j_i of the sum for s = n.
    """
    n = cost.shape[1] - 1
    best = np.full(total + 1, np.inf, cost.dtype)
    best[0] = 0
    rest = np.subtract.outer(np.arange(total + 1), np.arange(n + 1))
    choices = []
    for row in cost:
        sums = np.where(rest >= 0, best[rest], np.inf) + row
        choices.append(sums.argmin(axis=1))
        best = np.take_along_axis(sums, choices[-1][:, None], 1)[:, 0]
    split, s = [], n
    for choice in reversed(choices):
        split.append(int(choice[s]))
        s -= split[-1]
    return best, split[::-1]


# --- the certified minimiser ----------------------------------------------------------------


def weighted_risk_minimiser(
    loss: Callable, weights: npt.ArrayLike, shape: str | None = None
) -> Minimum:
    """Find the global minimiser of the weighted risk on the simplex, with a proven lower bound.

    For convex l, water-filling finds it: u_i = [g^{-1}(lambda / w_i)]_+ with sum 1. The lower bound
    is that of the tangent plane, F(v) >= F(u) + grad F(u) (v - u). For concave l it is the best
    vertex. For any other l it is the best point of a grid; the lower bound is the least risk on
    the grid with every coordinate rounded up, which only needs l to decrease. For a normalised
    loss, Dinkelbach's iteration on the shifted weights finds it. For AMSE it is the projection of
    a w / W onto the simplex, W the sum of w. For NNCE and NNFL it is e_t, and every point close to
    it, see `Certificate.corner`. Bounds are computed in float64 and hold up to its rounding.

    Parameters
    ----------
    loss, shape
        As in `certify`. The loss is pointwise, or normalised with a finite phi(0), else TypeError.
    weights : (k,) array_like
        Non-negative, not all 0; they may tie.

    Examples
    --------
    >>> weighted_risk_minimiser(AELLoss(a=2.0), [2.0, 1.0]).u.round(6)
    array([1., 0.])
    """
    w = _numbers("weights", weights, 1).astype(float)
    if not w.any():
        raise ValueError(f"weights: expected a positive one, got {w}")
    parts = _parts(loss, shape)
    part, scale = replace(parts[0], exact=False, coefficient=1), float(parts[0].coefficient)
    if len(parts) > 1 or part.elusive:
        known = "a pointwise loss or a normalised one of finite phi(0)"
        raise TypeError(f"loss: expected {known}, got {shown(loss)}")
    if part.whole:
        u = part.whole.minimiser(w)
        risk, slopes = float(_risk([part], w, u)), part.whole.slopes(w, u)
        lower = risk - max(float(slopes @ u - slopes.min()), 0.0)
        return Minimum(u, scale * risk, scale * lower, part.method)
    if not part.normalised:
        return _minimise(part, w)
    u = _vertex(w, w.argmax())
    risk = float(_risk([part], w, u))
    while True:  # the optimum is the risk at which min_u sum_i (w_i - risk) phi(u_i) is 0
        inner = _minimise(replace(part, normalised=False), np.maximum(w - risk, 0))
        lower = inner.lower_bound + part.l0 * np.minimum(w - risk, 0).sum()
        new = float(_risk([part], w, inner.u))
        if new >= risk:
            break
        u, risk = inner.u, new
    # sum_j phi(u_j) >= phi(1/k), because some coordinate is at most 1/k
    lower = risk + min(lower, 0.0) / float(part.value(np.array([1 / len(w)]))[0])
    return Minimum(u, scale * risk, float(scale * lower), f"Dinkelbach, {inner.method}")


def _minimise(part, w):
    """Return the `Minimum` of sum_i w_i l(u_i); classes of weight 0 get no mass."""
    active, u, gap = np.flatnonzero(w), np.zeros(len(w)), 0.0
    if part.curvature in (0, -1) or not active.size:
        u[w.argmax()], method = 1, part.method
    elif part.curvature == 1 and part.slope is not None:
        u[active], method = _water_fill(part, w[active]), "water-filling"
        push = -w[active] * part.slope(u[active])
        used = u[active] > 0
        gap = max(push.max() - (push[used] * u[active][used]).sum(), 0.0)
    else:
        n, method = 720, "grid"
        cost = w[active, None] * part.value(np.arange(n + 1) / n)
        values, split = _allocate(cost, n + len(active) - 1)
        u[active], gap = np.array(split) / n, values[n] - values[-1]
    risk = float(_risk([part], w, u))
    return Minimum(u, risk, float(risk - gap), method)


def _water_fill(part, w):
    """Return u >= 0 with sum 1 and w_i g(u_i) = lambda wherever u_i > 0, for convex l and w > 0."""
    g0, g1 = part.g_ends
    t = w.argmax()
    if len(w) == 1 or max(w[_others(w, t)]) * g0 <= w[t] * g1:
        return _vertex(w, t)

    def invert(y):  # largest u with g(u) >= y
        if part.inverse is None:
            return _largest(lambda u: -part.slope(u) >= y[..., None], np.zeros(y.shape), 1.0)
        with np.errstate(all="ignore"):
            return np.clip(part.inverse(y), 0, 1)

    low, high = w[t] * g1, -w[t] * part.slope(np.array([1 / len(w)]))[0]
    level = _largest(lambda y: invert(y[..., None] / w).sum(axis=-1) >= 1, np.array(low), high)
    full, part_full = invert(level / w), invert(np.nextafter(level, np.inf) / w)
    spare = full.sum() - part_full.sum()
    u = part_full + (full - part_full) * ((1 - part_full.sum()) / spare if spare > 0 else 0)
    return u / u.sum()


def _largest(holds, low, high):
    """Return the largest float in [low, high) where a monotone condition holds, to the last bit.

    Non-negative floats are ordered like their bit patterns. So the search is one among integers,
    16 of them at a time along a new last axis.
    """
    low = np.asarray(low, float).view(np.int64)
    high = np.full(low.shape, np.float64(high).view(np.int64))
    while (high - low > 1).any():
        step = np.maximum((high - low) // 16, 1)[..., None]
        points = np.minimum(low[..., None] + step * np.arange(1, 17), high[..., None] - 1)
        good = holds(points.view(np.float64))
        bad = np.where(good, high[..., None], points).min(axis=-1)
        low, high = np.where(good, points, low[..., None]).max(axis=-1), bad
    return low.view(np.float64)


# --- admissible parameters ------------------------------------------------------------------


def admissible(family: type, T: npt.ArrayLike, **fixed: float) -> Region:
    """Return the a for which AGCE, AUL, AEL (Corollaries 1 to 3) or AMSE is asymmetric on T.

    Let c be the clean level of T. AGCE with q < 1 is asymmetric iff a >= 1 / (c^(1/(1-q)) - 1), AUL
    with p > 1 iff a >= 1 / (1 - c^(-1/(p-1))), AEL iff a >= 1 / ln c. AGCE with q >= 1 and AUL with
    p <= 1 are asymmetric for every legal a. AMSE looks at the margin and not at c: it is asymmetric
    iff a (w_t - w_n) >= W on every row w with sum W.

    Parameters
    ----------
    family : AGCELoss, AULLoss, AELLoss or AMSELoss
    T : (k, k) or (k,) array_like
        As in `certify`. For Fractions and an integer exponent, the threshold is a Fraction.
    **fixed : number
        q for AGCE, p for AUL.

    Examples
    --------
    >>> admissible(AULLoss, [Fraction(9), Fraction(4)], p=2)
    <AULLoss(a, p=2) is asymmetric iff a >= 9/5>
    """
    names = {AGCELoss: ["q"], AULLoss: ["p"], AELLoss: [], AMSELoss: []}
    if family not in names:
        known = "AGCELoss, AULLoss, AELLoss or AMSELoss"
        raise TypeError(f"family: expected {known}, got {shown(family)}")
    if list(fixed) != names[family]:
        raise TypeError(f"fixed: {family.__name__} takes {names[family]}, got {fixed}")
    family(a=2.0, **fixed)  # raises for NaN and the like
    c = min(quotient(w[t], max(w[_others(w, t)])) for t, w in _rows(T))
    if family is AMSELoss:
        shares = ((w / w[t], (w[t] - max(w[_others(w, t)])) / w[t]) for t, w in _rows(T))
        least = max(quotient(sum(all_of), lead) for all_of, lead in shares)
        return Region(family, fixed, c, least, True)
    least = 1 if family is AULLoss else 0
    power = {AGCELoss: lambda q: 1 - q, AULLoss: lambda p: p - 1, AELLoss: lambda: 1}[family]
    convexity = power(*(Fraction(float(x)) for x in fixed.values()))
    closed = all(value > 0 for value in fixed.values()) and family is not AELLoss
    if convexity <= 0 or c == math.inf:
        return Region(family, fixed, c, least, closed)
    if family is AELLoss:
        threshold = 1 / math.log(c)
    else:
        threshold = least + 1 / _power_minus_one(c, 1 / convexity)
    # a = least is legal for q, p > 0, but r is 0 there
    return Region(family, fixed, c, max(threshold, math.nextafter(least, math.inf)), True)


def _power_minus_one(c, exponent):
    if isinstance(c, Fraction) and exponent in range(65):
        return c ** int(exponent) - 1
    x = float(exponent) * math.log(c)
    return math.expm1(x) if x < 700 else math.inf


# --- input ----------------------------------------------------------------------------------


def _numbers(name, values, *dims):
    """Return an array of floats, or of Fractions if `values` holds one."""
    array = as_array(name, values, dtype=object)
    if any(isinstance(x, Fraction) for x in array.flat):
        try:
            array = np.array([Fraction(x) for x in array.flat], object).reshape(array.shape)
        except (OverflowError, TypeError, ValueError) as error:  # beside an inf, a NaN, a None
            raise TypeError(f"{name}: expected finite numbers, got {shown(values)}") from error
    else:
        array = as_array(name, array, dtype=np.float64)
    if array.ndim not in dims or len(array.T) < 2:
        shapes = " or ".join({1: "(k,)", 2: "(k, k)"}[d] for d in dims)
        raise ValueError(f"{name}: expected shape {shapes} with k >= 2, got {array.shape}")
    good = (array >= 0) & (array < np.inf)  # False for NaN
    if not good.all():
        raise ValueError(f"{name}: expected finite numbers >= 0, got {array[~good][0]}")
    return array


def _rows(T):
    """Return (t, weights) of every row of a transition matrix, or of one vector of weights."""
    array = _numbers("T", T, 1, 2)
    name = "weights" if array.ndim == 1 else "T"
    if array.ndim == 2:
        noise.clean_level(array)  # raises unless it is square and row-stochastic
        if array.dtype == object and (array.sum(axis=1) != 1).any():
            raise ValueError(f"T: expected rows with sum 1, got {array.sum(axis=1)}")
    rows = list(enumerate(array)) if array.ndim == 2 else [(int(array.argmax()), array)]
    for t, w in rows:
        rival = max(_others(w, t), key=lambda i: w[i])
        if w[rival] >= w[t]:
            raise ValueError(
                f"{name}: expected a unique maximum at {t}"
                f"{f' in row {t} (Assumption 1)' if name == 'T' else ''}, "
                f"got {w[t]} there and {w[rival]} at {rival}"
            )
    return rows
