"""The facts that `asymmetry` knows about an l(u); those of a user's l are spot-checked."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from alfs_utils._arguments import option, shown
from alfs_utils._branch_and_bound import Enclosure
from alfs_utils._piecewise import PiecewiseLinear

SHAPES = {"convex": 1, "concave": -1}
EXACT_AT = [Fraction(j, 7) for j in range(8)] + [Fraction(1, 2), Fraction(1, 2**40)]
CLOSE = 2.0 ** -np.arange(24.0, 53.0)  # distances over which any l is smooth, but for rounding
APART = 2.0 ** -np.arange(8.0, 24.0)  # single precision makes larger steps
SHAPE_OR_KNOTS = (
    "a method slope and shape='convex', or shape='concave', if l is so; "
    "a PiecewiseLinear; or a sum of the library's losses"
)


def quotient(a, b):
    """Return a/b, exact for Fractions; 0 for b = inf, and inf (no constraint) for b <= 0."""
    if b <= 0:
        return math.inf
    return a / b if isinstance(b, Fraction) else float(a) / float(b)


@dataclass(frozen=True)
class Part:
    """The function l, or the phi of a normalised loss, on [0, 1], with the facts known about it."""

    value: Any  # l(u), elementwise on arrays
    slope: Any = None  # l'(u), likewise
    curvature: int | None = None  # 1 convex, 0 affine, -1 concave
    ratio: Any = None  # a number: proven lower bound on the repaired ratio ...
    sharp: bool = False  # ... which is the exact one, so that c ratio < 1 refutes
    method: str = "search"
    inverse: Callable | None = None  # u with g(u) = y
    exact: bool = False  # l keeps Fractions
    declarations: tuple[str, ...] = ()
    normalised: bool = False
    coefficient: float = 1
    point: Callable | None = None  # l of one Fraction or interval, for proofs
    steepness: Callable | None = None  # g(u, 1 - u), also where u rounds to 1
    strict: bool = False  # l(u) > l(1) for all u < 1 is known
    noise: float = 0.0  # how far value may be off by rounding, measured
    slack: float = 0.0  # relative error of the ratio, where a user's slope gave it
    missing: str = ""  # what would decide
    polyline: PiecewiseLinear | None = None
    enclosure: Enclosure | None = None  # of a sum that is neither convex nor concave
    whole: Any = None  # of a loss of all probabilities, see `_whole`; value(u) is L(u, .) then

    def points(self, fractions):
        return np.array([x if self.exact else float(x) for x in fractions])

    def samples(self):
        n = 60 if self.exact else 720
        if self.polyline and self.polyline.cells <= 720:
            n = self.polyline.cells
        u = self.points(Fraction(j, n) for j in range(n + 1))
        return u, self.value(u)

    @cached_property
    def l_ends(self):
        return self.value(self.points([Fraction(0), Fraction(1)])).tolist()

    @cached_property
    def g_ends(self):
        return (0 - self.slope(self.points([Fraction(0), Fraction(1)]))).tolist()  # no -0.0

    @property
    def l0(self):
        return self.l_ends[0]

    def g(self, u, v):
        """g = -l' at u = 1 - v."""
        return -self.slope(u) if self.steepness is None else self.steepness(u, v)

    @property
    def one(self):
        return Fraction(1) if self.exact else 1.0

    @property
    def elusive(self):
        """Like NCE: normalised with phi(0) = inf."""
        return self.normalised and math.isinf(self.l0)

    def first_order(self, u):
        """Return g(u)/g(0), the limits of the quotients as the mass that moves to t vanishes."""
        return [] if self.slope is None else [quotient(-s, self.g_ends[0]) for s in self.slope(u)]


# --- a user's own l ---------------------------------------------------------------------------


def of_callable(loss):
    """Make a part of a user's l(u), which is called with one float or Fraction at a time."""
    if not callable(loss):
        raise TypeError(f"loss: expected a loss or a function l(u), got {shown(loss)}")
    try:
        exact = all(isinstance(loss(u), Fraction | int) for u in EXACT_AT)
    except (TypeError, ArithmeticError, ValueError, RuntimeError):  # NumPy and torch: no Fractions
        exact = False

    def on_arrays(function):
        def call(u):
            values = []
            for x in u.ravel().tolist():
                try:
                    value = function(x)
                    values.append(_exactly(value) if u.dtype == object else float(value))
                except (TypeError, ArithmeticError, ValueError) as error:  # such as log(0)
                    raise ValueError(f"loss: expected a number at u = {x}: {error}") from error
            return np.array(values, u.dtype).reshape(u.shape)

        return call

    slope = getattr(loss, "slope", None)
    part = Part(on_arrays(loss), slope and on_arrays(slope), exact=exact, point=loss)
    return part if exact else replace(part, noise=roughness(part.value))


def _exactly(value):
    if isinstance(value, Fraction | int):
        return Fraction(value)
    raise ValueError(f"it is a Fraction elsewhere, here it is {value!r}")


def roughness(value):
    """Estimate the rounding error of float values of l: the roughness of l between close numbers.

    The fourth differences of a smooth l are almost 0, and rounding adds more than its own error to
    them: they show the steps of u + 1e5 as well as the last bits of a logarithm. So do the eighth
    differences of numbers further apart, up to 1/32, which also show single precision. There l may
    have a kink, next to a few of the numbers; so their median counts.
    """
    start = ((np.arange(1, 12) * (math.sqrt(5) - 1) / 2) % 0.98 + 0.01)[:, None, None]
    l = value(start + CLOSE[:, None] * np.arange(5.0))
    close = np.abs(np.diff(l, 4, axis=-1)).max() / 2
    apart = value(start * (1 - 8 * APART[:, None]) + APART[:, None] * np.arange(9.0))
    steps = np.abs(np.diff(apart, 8, axis=-1)).max(axis=(1, 2)) / 24
    return float(max(close, np.median(steps)) + 2.0**-52 * np.abs(l).max())


def declare(part, shape):
    """Check that l is finite and decreasing; spot-check a declared shape, then use it."""
    if shape is not None:
        option("shape", shape, SHAPES)
    if part.curvature is not None or (part.ratio is not None and shape is None):
        if SHAPES.get(shape, 0) * (part.curvature or 0) < 0:
            raise ValueError(f"shape: expected the shape of l, got {shape!r}: l is not {shape}")
        return part
    small = [Fraction(1, 2**j) for j in range(6, 31)]
    u = {*(Fraction(j, 60) for j in range(61)), *small, *(1 - d for d in small)}
    u = part.points(sorted(u))
    l, du, fuzz = part.value(u), np.diff(u), 2 * part.noise
    for i in range(len(u) - 1):
        finite = math.isfinite(l[i]) and math.isfinite(l[i + 1])
        if not (finite and l[i + 1] <= l[i] + fuzz and l[-1] + fuzz < l[0]):
            raise ValueError(
                "loss: expected l to be finite and to decrease, got "
                f"l({u[i]}) = {l[i]}, l({u[i + 1]}) = {l[i + 1]}, l(1) = {l[-1]}"
            )
    if shape is None:
        return part if part.missing else replace(part, missing=SHAPE_OR_KNOTS)
    chords = np.diff(l) / du
    wrong = SHAPES[shape] * np.diff(chords) < -fuzz * (1 / du[1:] + 1 / du[:-1])
    if wrong.any():
        at = f"l is not {shape} at u = {u[wrong.argmax() + 1]}"
        raise ValueError(f"shape: expected the shape of l, got {shape!r}: {at}")
    said = (f"l is {shape} (declared, spot-checked)",)
    part = replace(part, curvature=SHAPES[shape], declarations=said)
    if shape == "concave":  # and then l(u) >= l(1) + (1 - u) [l(0) - l(1)]
        return replace(part, ratio=1, sharp=True, strict=True, method="concave: vertices")
    return _convex(part, u, chords, fuzz / du)


def _convex(part, u, chords, fuzz):
    """Use a declared convex l: its slope gives the ratio; values only bound it from above."""
    if part.slope is None:
        return replace(part, missing="the derivative of l, as a method slope(u)")
    slope = part.slope(u)
    fuzz = fuzz + 1e-12 * np.abs(chords)
    if (slope[:-1] > chords + fuzz).any() or (slope[1:] < chords - fuzz).any():
        raise ValueError("loss: its method slope is not the derivative of l")
    g0, g1 = part.g_ends
    error = 0 if part.exact else 2 * roughness(part.slope)
    return replace(
        part,
        ratio=quotient(g1, g0),
        sharp=True,
        strict=g1 > error,
        slack=quotient(error, g0) + (quotient(error, g1) if g1 > 0 else 0.0) if error else 0.0,
        method="convex",
        declarations=(*part.declarations, "l' is its method slope (declared, spot-checked)"),
        missing="a loss that is known to fall up to u = 1: its slope there is not seen to be < 0",
    )
