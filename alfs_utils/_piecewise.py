"""Piecewise linear losses, and the exact minimum of their weighted risk; for `asymmetry`."""

import math
from bisect import bisect_right
from fractions import Fraction
from itertools import pairwise


class PiecewiseLinear:
    """A decreasing l(u) that is linear between knots; `certify` decides it in exact arithmetic.

    Parameters
    ----------
    knots : sequence of numbers
        Increasing from 0 to 1. Floats count as the exact binary numbers that they are.
    values : sequence of numbers
        l at the knots, nowhere increasing, l(0) > l(1).

    Raises
    ------
    ValueError
        For knots or values that are not of this kind.

    Examples
    --------
    >>> l = PiecewiseLinear([0, Fraction(1, 2), 1], [2, Fraction(1, 2), 0])
    >>> l(Fraction(1, 4)), l(0.25)
    (Fraction(5, 4), 1.25)
    """

    def __init__(self, knots, values):
        try:
            self.knots, self.values = ([Fraction(x) for x in given] for given in (knots, values))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"knots, values: expected finite numbers: {error}") from error
        x, l = self.knots, self.values
        if len(x) < 2 or (x[0], x[-1]) != (0, 1) or any(a >= b for a, b in pairwise(x)):
            raise ValueError(f"knots: expected numbers increasing from 0 to 1, got {knots}")
        if len(l) != len(x):
            raise ValueError(f"values: expected {len(x)}, one per knot, got {len(l)}")
        if any(a < b for a, b in pairwise(l)) or l[0] == l[-1]:
            raise ValueError(f"values: expected l to decrease, got {values}")

    def __call__(self, u):
        exact = Fraction(u)
        if not 0 <= exact <= 1:
            raise ValueError(f"u: expected a probability in [0, 1], got {u}")
        i = min(bisect_right(self.knots, exact), len(self.knots) - 1)
        (x, y), (a, b) = self.knots[i - 1 : i + 1], self.values[i - 1 : i + 1]
        value = a + (b - a) * (exact - x) / (y - x)
        return value if isinstance(u, Fraction | int) else float(value)

    @property
    def cells(self):
        """The least n such that every knot is a multiple of 1/n."""
        return math.lcm(*(x.denominator for x in self.knots))


def worst_vertex(l, weights, top):
    """The least quotient top [l(1 - D) - l(1)] / sum_i w_i [l(0) - l(v_i)], and its v."""
    steps = [(x, l.values[0] - a) for x, a in zip(l.knots, l.values, strict=True)]
    worst = math.inf, [Fraction(0)] * len(weights)

    def hold(D, gain, v):
        nonlocal worst
        if gain > 0:
            worst = min(worst, (top * (l(1 - D) - l.values[-1]) / gain, v))

    for s, gain, v in _splits(steps, weights):  # u_t need not be a knot
        hold(s, gain, v)
    for free in {a: i for i, a in enumerate(weights) if a}.values():  # nor need this v_i
        others = _splits(steps, weights[:free] + weights[free + 1 :])
        for D in (1 - x for x in l.knots[:-1]):
            for s, gain, v in others:
                if s < D:
                    gain += weights[free] * (l.values[0] - l(D - s))
                    hold(D, gain, [*v[:free], D - s, *v[free:]])
    return worst


def _splits(steps, weights):
    """(sum, gain, v) for v of knots with sum <= 1, without those that cost more and gain less."""
    states = [(Fraction(0), Fraction(0), [])]
    for weight in weights:
        longer = [
            (s + x, gain + weight * drop, [*v, x])
            for s, gain, v in states
            for x, drop in steps
            if s + x <= 1
        ]
        longer.sort(key=lambda state: (state[0], -state[1]))
        states = longer[:1]
        for state in longer:
            if state[1] > states[-1][1]:
                states.append(state)
    return states
