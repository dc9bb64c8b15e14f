"""Powers without cancellation, and the functions of u on [0, 1] to the last bit."""

import decimal
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import torch
from torch import Tensor

from alfs_utils._arguments import array, real, shown

# Below this |q| the power law and its logarithmic limit agree to the last bit of a float64.
TINY_EXPONENT = 1e-20


def in_float32_range(loss: Any, *powers: tuple[float, float]) -> None:
    """Reject parameters whose loss or slope no float32 can hold; powers are (base, exponent)."""
    for base, exponent in powers:
        if base > 0 and exponent * math.log(base) > math.log(1e38):
            reached = f"{base:g}**{exponent:g} in {loss!r}"
            names = ", ".join(loss._arguments)
            raise ValueError(f"{names}: expected a loss and a slope below 1e38, got {reached}")


def power_gap(x: Tensor, q: float, log_scale: float, extreme: float, sign: float = 1.0) -> Tensor:
    """Compute sign (e^{q (x + log_scale)} - e^{q log_scale}) / q, or sign x for q -> 0.

    x lies between 0 and `extreme`. expm1 keeps the value where q x is small, but its derivative
    (result + 1) dies where e^{q x} does; exp keeps the derivative there. The clamp keeps the
    other branch finite.
    """
    if abs(q) < TINY_EXPONENT:
        return sign * x
    scale, y = sign * math.exp(q * log_scale) / q, q * x
    if abs(q * extreme) <= 2:
        return torch.expm1(y) * scale
    if abs(q) >= 0.1 and q * extreme < 0:
        return torch.rsub(torch.exp(y), -scale, alpha=-scale)
    near = torch.expm1(y.clamp(-1, 1)) * scale
    far = torch.exp(y + q * log_scale) * (sign / q) - scale
    return torch.where(y.abs() < 1, near, far)


def like(u: Any, *parameters: float) -> list[Any]:
    """Return parameters in the arithmetic of u: exact decimals, or floats for tensors."""
    return [Decimal(p) if isinstance(u, Decimal) else p for p in parameters]


def log(x: Any) -> Any:
    return x.ln() if isinstance(x, Decimal) else torch.log(x)


def exp(x: Any) -> Any:
    return x.exp() if isinstance(x, Decimal) else torch.exp(x)


def power(x: Any, exponent: Any) -> Any:
    return x**exponent if exponent else x * 0 + 1


def _at_end(exact, u):
    """Compute exact(u) for u = 0 or 1 to 60 digits, round once; infinities are IEEE's."""
    context = decimal.Context(prec=60, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[])
    with decimal.localcontext(context):
        return float(exact(Decimal(u)))


def on_probability(
    u: Any, function: Callable[[Tensor], Tensor], exact: Callable[[Any], Any]
) -> Any:
    """Apply a function of float64 tensors to a float, NumPy array or tensor; return that kind.

    At u = 0 and u = 1 the result is the correctly rounded value of `exact` instead.
    """
    if isinstance(u, Tensor):
        if u.layout != torch.strided or u.is_complex():
            raise TypeError(f"u: expected a dense tensor of real numbers, got {shown(u)}")
        x = u.double()
        y = torch.where(x == 1, _at_end(exact, 1), function(x))
        y = torch.where(x == 0, _at_end(exact, 0), y)
        return y.to(u.dtype) if u.is_floating_point() else y
    if hasattr(u, "__array__"):
        kind = u.dtype if u.dtype.kind == "f" else "float64"
        x = torch.tensor(array("u", u, "probabilities in [0, 1]", "float64").copy())
        legal = (x >= 0) & (x <= 1)
        if not bool(legal.all()):
            raise ValueError(f"u: expected probabilities in [0, 1], got {x[~legal][0].item()}")
        return on_probability(x, function, exact).numpy().astype(kind)[()]
    u = real("u", u, "a probability in [0, 1]", lambda u: 0 <= u <= 1)
    if u in (0.0, 1.0):
        return _at_end(exact, int(u))
    return function(torch.tensor(u, dtype=torch.float64)).item()
