"""Checks of arguments. Every message reads "name: expected what is legal, got value"."""

import math
from collections.abc import Callable, Collection
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt


def real(
    name: str,
    value: Any,
    legal: str = "a finite number",
    accept: Callable[[float], bool] = lambda value: True,
) -> float:
    """`value` as a float; TypeError if it is no number, ValueError if it is not legal."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected {legal}, got {shown(value)}")
    try:
        found = float(value)
    except OverflowError:  # an int or a Fraction beyond 1.8e308
        found = math.inf
    if not math.isfinite(found) or not accept(found):
        raise ValueError(f"{name}: expected {legal}, got {shown(value)}")
    return found


def integer(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """`value` as an int; TypeError if it is none, ValueError if it is not in [least, most]."""
    legal = "an int" if least is None else f"an int of at least {least}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}: expected {legal}, got {shown(value)}")
    if least is not None and value < least:
        raise ValueError(f"{name}: expected {legal}, got {shown(value)}")
    if most is not None and int(value) > most:
        raise ValueError(f"{name}: expected an int of at most {most}, got {shown(value)}")
    return int(value)


def option(name: str, value: Any, options: Collection[Any]) -> Any:
    """`value` if it is one of `options`; else a ValueError that lists them."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(
            f"{name}: expected one of {', '.join(map(repr, options))}, got {shown(value)}"
        )
    return value


def array(
    name: str, values: Any, legal: str = "an array of numbers", dtype: npt.DTypeLike | None = None
) -> np.ndarray:
    """Make a NumPy array of what holds numbers, a torch tensor included, wherever it lies.

    TypeError if that fails, and ValueError if a number is too large for `dtype`.
    """
    try:
        if hasattr(values, "detach"):
            values = values.detach().cpu()
            if values.is_floating_point() and values.itemsize < 4:  # NumPy has no bfloat16
                values = values.float()
        found = np.asarray(values)
        if found.dtype == object and any(x is None for x in found.flat):  # NumPy's nan
            raise TypeError("None is no number")
        return found if dtype is None else found.astype(dtype, copy=False)
    except OverflowError as error:
        raise ValueError(f"{name}: expected {legal}, got {shown(values)}") from error
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected {legal}, got {shown(values)}") from error


def shown(value: Any) -> str:
    """The repr of a value for a message, cut where it is long."""
    try:
        text = repr(value)
    except Exception:  # an int of 5,000 digits has no repr; nor may anything else hide the error
        return f"{type(value).__name__} without a repr"
    return text if len(text) <= 300 else f"{text[:300]}..."
