"""Interval arithmetic for `asymmetry`: losses with outward rounding, and proven gains.

An interval of mpmath holds every value that a formula can take on it, rounding included. The
formulas are those of the paper, for numbers, arrays or intervals. They are functions of u and
v = 1 - u: v is an argument of its own, because 1 - u of a float is 0 where u rounds to 1.

A comparison of intervals raises `Unsettled` if their bounds do not settle it. An interval is never
turned into a float: a user's function either keeps intervals, or fails, and then has no proof.
"""

import math
from fractions import Fraction
from functools import cache

import numpy as np

from alfs_utils import losses as L

PRECISIONS = (128, 512, 2048, 8192)  # bits, until the sign of a gain is settled


class Unsettled(ArithmeticError):
    """An interval answers neither yes nor no."""


# --- intervals ------------------------------------------------------------------------------


@cache
def context():
    """Make an mpmath context of our own, whose intervals compare strictly and work in NumPy."""
    from mpmath.ctx_iv import MPIntervalContext  # comes with torch; only proofs need it

    iv = MPIntervalContext()

    def compare(name):
        plain = getattr(iv.mpf, name)

        def strict(x, y):
            answer = plain(x, y)
            if answer is None:
                raise Unsettled(f"{x} and {y} overlap")
            return answer

        return strict

    def equal(x, y):
        y = iv.convert(y)
        if x._mpi_ == y._mpi_ and x.a._mpi_ == x.b._mpi_:
            return True
        if x.a > y.b or x.b < y.a:
            return False
        raise Unsettled(f"{x} and {y} overlap")

    def refuse(x):
        raise TypeError("an interval is no float")

    for name in ("__lt__", "__le__", "__gt__", "__ge__"):
        setattr(iv.mpf, name, compare(name))
    iv.mpf.__eq__ = equal
    iv.mpf.__ne__ = lambda x, y: not equal(x, y)
    iv.mpf.__bool__ = lambda x: not equal(x, 0)
    iv.mpf.__float__ = iv.mpf.__complex__ = refuse

    def method(function):
        return lambda x: function(x)

    for name in ("exp", "log", "sqrt", "sin", "cos"):  # what NumPy calls for an object
        setattr(iv.mpf, name, method(getattr(iv, name)))
    return iv


def interval(x):
    """Return the interval of a number at the current precision; intervals pass through."""
    iv = context()
    if isinstance(x, Fraction):
        return iv.mpf(x.numerator) / iv.mpf(x.denominator)
    return iv.mpf(float(x) if isinstance(x, np.floating) else x)


def bounds(x):
    """Return floats around an interval, rounded outwards."""
    import mpmath

    low, high = (float(mpmath.mp.make_mpf(end._mpi_[0])) for end in (x.a, x.b))
    return math.nextafter(low, -math.inf), math.nextafter(high, math.inf)


# --- the losses of the library, on paper ----------------------------------------------------


def _power(x, exponent):
    """Return x ** exponent, also for an interval that is exactly 0."""
    if isinstance(x, np.ndarray | float) or x.a._mpi_ != x.b._mpi_ or x != 0:
        return x**exponent
    return x if exponent > 0 else x + 1 if exponent == 0 else x + math.inf


def _power_gap(x, y, exponent):
    """Return (x^e - y^e) / e, or ln(x / y) for e = 0."""
    if exponent == 0:
        return np.log(x / y)
    return (_power(x, exponent) - _power(y, exponent)) / exponent


VALUES = {  # l(u) for v = 1 - u; the parameters follow in the order of the loss's arguments
    L.AGCELoss: lambda u, v, a, q: _power_gap(a + 1, a + u, q),
    L.GCELoss: lambda u, v, q: _power_gap(1 + 0 * u, u, q),
    L.AULLoss: lambda u, v, a, p: _power_gap(a - 1 + v, a - 1, p),
    L.AELLoss: lambda u, v, a: np.exp(-u / a),
    L.CELoss: lambda u, v: -np.log(u),
    L.FocalLoss: lambda u, v, gamma: -_power(v, gamma) * np.log(u),
    L.SCELoss: lambda u, v, alpha, beta, A: -beta * A * v - (alpha * np.log(u) if alpha else 0),
    L.MAELoss: lambda u, v: 2 * v,
    L.UnhingedLoss: lambda u, v: v,
    L.RCELoss: lambda u, v, A: -A * v,
    L.BiasedMAELoss: lambda u, v, eps: 2 * v / (v + np.exp(eps) * u),
}
SLOPES = {  # g(u) = -l'(u)
    L.AGCELoss: lambda u, v, a, q: _power(a + u, q - 1),
    L.GCELoss: lambda u, v, q: _power(u, q - 1),
    L.AULLoss: lambda u, v, a, p: _power(a - 1 + v, p - 1),
    L.AELLoss: lambda u, v, a: np.exp(-u / a) / a,
    L.CELoss: lambda u, v: 1 / u,
    L.FocalLoss: lambda u, v, gamma: (
        _power(v, gamma) / u - (gamma * _power(v, gamma - 1) * np.log(u) if gamma else 0)
    ),
    L.SCELoss: lambda u, v, alpha, beta, A: (alpha / u if alpha else 0 * u) - beta * A,
    L.MAELoss: lambda u, v: 2 + 0 * u,
    L.UnhingedLoss: lambda u, v: 1 + 0 * u,
    L.RCELoss: lambda u, v, A: 0 * u - A,
    L.BiasedMAELoss: lambda u, v, eps: 2 * np.exp(eps) / (v + np.exp(eps) * u) ** 2,
}


def no_bend(u, v, *parameters):
    return 0 * u


BENDS = {  # l''(u), where it is not 0 and l(0) is finite; each is monotone in u
    L.AGCELoss: lambda u, v, a, q: (1 - q) * _power(a + u, q - 2),
    L.GCELoss: lambda u, v, q: (1 - q) * _power(u, q - 2),
    L.AULLoss: lambda u, v, a, p: (p - 1) * _power(a - 1 + v, p - 2),
    L.AELLoss: lambda u, v, a: np.exp(-u / a) / a**2,
    L.BiasedMAELoss: lambda u, v, eps: (
        4 * np.exp(eps) * (np.exp(eps) - 1) / (v + np.exp(eps) * u) ** 3
    ),
}


def formula(terms):
    """Make l(u) of a sum of losses, for an interval u; None if one of them has no formula."""
    if any(type(loss) not in VALUES for _, loss in terms):
        return None

    def value(u):
        return sum(
            (
                interval(coefficient) * VALUES[type(loss)](u, 1 - u, *parameters(loss, interval))
                for coefficient, loss in terms
            ),
            start=interval(0),
        )

    return value


def steepness(terms):
    """Make g(u, 1 - u) of such a sum, for arrays; None if one has no formula."""
    if any(type(loss) not in SLOPES for _, loss in terms):
        return None

    def g(u, v):
        return sum(c * SLOPES[type(loss)](u, v, *parameters(loss, float)) for c, loss in terms)

    return g


def parameters(loss, number):
    return [number(getattr(loss, name)) for name in loss._arguments]


# --- gains ----------------------------------------------------------------------------------


def on_simplex(u, t):
    """Return the exact point behind numbers u: entry t is 1 minus the others. None for e_t itself.

    If rounding makes the others add up to more than 1, the largest of them is reduced.
    """
    exact = [Fraction(x) for x in u]
    exact[t] = Fraction(0)
    excess = sum(exact) - 1
    if excess > 0:
        largest = max(range(len(exact)), key=exact.__getitem__)
        exact[largest] = Fraction(math.nextafter(float(exact[largest] - excess), 0))
    if min(exact) < 0 or not any(exact):
        return None
    exact[t] = 1 - sum(exact)
    return exact


def gain(parts, w, t, u):
    """Prove bounds (low, high) on F(e_t) - F(u) at an exact point; None if a part has no proof.

    The bounds are Fractions if every part is exact, else floats that are rounded outwards. `parts`
    are those of `asymmetry`; `w` and `u` are Fractions.
    """
    vertex = [Fraction(i == t) for i in range(len(w))]
    if all(part.exact for part in parts):
        low = _risk(parts, w, vertex, Fraction) - _risk(parts, w, u, Fraction)
        return low, low
    iv = context()
    for iv.prec in PRECISIONS:
        try:
            found = _risk(parts, w, vertex, interval) - _risk(parts, w, u, interval)
        except Exception:  # whatever a user's function raises for an interval
            return None
        low, high = (end._mpi_[0] for end in (found.a, found.b))
        if low == high or found.a > 0 or found.b < 0:
            break
    if low == high and found == 0:
        return 0.0, 0.0  # a tie
    low, high = bounds(found)
    return (max(low, 0.0) if found.a >= 0 else low), high


def _risk(parts, w, u, number):
    """Return the weighted risk at a point, in the arithmetic of `number`; NCE's smallest limit."""
    total = 0
    for part in parts:
        if part.whole:
            values = part.whole.values(u, number)
            risk = sum(number(a) * x for a, x in zip(w, values, strict=True) if a)
            total = total + number(Fraction(part.coefficient)) * risk
            continue
        if part.elusive and any(x == 0 for x in u):
            total += number(Fraction(part.coefficient)) * number(
                min(a for a, x in zip(w, u, strict=True) if x == 0)
            )
            continue
        known = {}
        for a, x in zip(w, u, strict=True):
            if (a or part.normalised) and x not in known:
                known[x] = _number(part.point(number(x)), number)
        risk = sum(number(a) * known[x] for a, x in zip(w, u, strict=True) if a)
        if part.normalised:
            risk = risk / sum(known[x] for x in u)
        total = total + number(Fraction(part.coefficient)) * risk
    return total


def _number(value, number):
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    return value if number is Fraction else context().convert(value)
