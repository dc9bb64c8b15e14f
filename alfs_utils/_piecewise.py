"""Piecewise linear losses, and the exact minimum of their weighted risk; for `asymmetry`."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from numbers import Real


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

    def __init__(self, knots: Iterable[Real], values: Iterable[Real]) -> None:
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
    def cells(self) -> int:
        """The least n for which every knot is a multiple of 1/n."""
        return math.lcm(*(x.denominator for x in self.knots))

    @cached_property
    def slopes(self):
        """l' on the cells between the knots."""
        points = pairwise(zip(self.knots, self.values, strict=True))
        return [(b - a) / (y - x) for (x, a), (y, b) in points]

    @cached_property
    def worst(self):
        """A cache for `worst_vertex`, since many rows of a noise model have the same weights."""
        return {}


def worst_vertex(l, weights):
    """Minimise [l(1 - D) - l(1)] / sum_i w_i [l(0) - l(v_i)] over v != 0, D = sum_i v_i <= 1.

    On every cell between the hyperplanes u_i = knot the risk is linear. So the least quotient is at
    a vertex of a cell, where all u_i but one are knots.

    Parameters
    ----------
    weights : list of Fraction
        Those of the rivals of the top class, in falling order; the first is positive.

    Returns
    -------
    Fraction, list of Fraction
        The quotient and the v that has it.
    """
    key = tuple(weights)
    if key not in l.worst:
        end = min(l.knots[1], 1 - l.knots[-2])
        rest = [Fraction(0)] * (len(weights) - 1)
        if all(a <= b for a, b in pairwise(l.slopes)):  # convex: the first step to the first rival
            l.worst[key] = l.slopes[-1] / (weights[0] * l.slopes[0]), [end, *rest]
        elif all(a >= b for a, b in pairwise(l.slopes)):  # concave: its corner
            l.worst[key] = 1 / weights[0], [Fraction(1), *rest]
        else:
            l.worst[key] = _Vertices(l, weights).worst()
    return l.worst[key]


class _Vertices:
    """The search of `worst_vertex`: sums in integers; floats tell which vertices need Fractions."""

    def __init__(self, l, weights):
        self.l, self.weights, self.n = l, weights, l.cells
        self.knots = [int(x * self.n) for x in l.knots]
        falls = [l.values[0] - a for a in l.values]
        self.unit = math.lcm(*(x.denominator for x in falls + weights)) ** 2
        scale = math.isqrt(self.unit)
        self.falls, self.sizes = ([int(x * scale) for x in xs] for xs in (falls, weights))
        self.steep = [float(-x) for x in l.slopes]
        self.near_falls = [float(x) for x in falls]
        self.near_rises = [float(a - l.values[-1]) for a in l.values]
        self.near_weights = [float(x) for x in weights]
        self.least = math.inf, None

    def worst(self):
        for s, gain, v in self.splits(self.sizes):  # u_t need not be a knot
            self.hold(s, gain / self.unit, v)
        for free in {a: i for i, a in enumerate(self.sizes) if a}.values():  # nor this v_i
            others = self.splits(self.sizes[:free] + self.sizes[free + 1 :])
            for D in (self.n - x for x in self.knots[:-1]):
                for s, gain, v in others:
                    if s < D:
                        fall = self.near_fall(D - s) * self.near_weights[free]
                        self.hold(D, gain / self.unit + fall, (*v[:free], D - s, *v[free:]))
        return self.least

    def splits(self, sizes):
        """List (sum, gain, v) for v of knots with sum <= 1, if no smaller sum gains as much."""
        states = [(0, 0, ())]
        for size in sizes:
            longer = [
                (s + x, gain + size * fall, (*v, x))
                for s, gain, v in states
                for x, fall in zip(self.knots, self.falls, strict=True)
                if s + x <= self.n
            ]
            longer.sort(key=lambda state: (state[0], -state[1]))
            states = longer[:1]
            for state in longer:
                if state[1] > states[-1][1]:
                    states.append(state)
        return states

    def near_fall(self, x):
        i = bisect_right(self.knots, x, hi=len(self.steep)) - 1
        return self.near_falls[i] + self.steep[i] * ((x - self.knots[i]) / self.n)

    def near_rise(self, D):
        x = self.n - D
        i = bisect_left(self.knots, x, lo=1)
        return self.near_rises[i] + self.steep[i - 1] * ((self.knots[i] - x) / self.n)

    def hold(self, D, near_gain, v):
        """Keep a vertex if it is worse than the worst so far; floats skip most of the others."""
        if self.near_rise(D) >= near_gain * float(self.least[0]) * (1 + 1e-9):
            return
        exact, l = [Fraction(x, self.n) for x in v], self.l
        gain = sum(a * (l.values[0] - l(x)) for a, x in zip(self.weights, exact, strict=True) if x)
        if gain > 0:
            quotient = (l(1 - sum(exact)) - l.values[-1]) / gain
            self.least = min(self.least, (quotient, exact))
