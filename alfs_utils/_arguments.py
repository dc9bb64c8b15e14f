"""Checks of arguments. Every message reads "name: expected what is legal, got value"."""

import math
from collections.abc import Callable, Collection
from numbers import Integral, Real
from typing import Any


def real(
    name: str,
    value: Any,
    legal: str = "a finite number",
    accept: Callable[[Any], bool] = lambda value: True,
) -> float:
    """`value` as a float; TypeError if it is no number, ValueError if it is not legal."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected {legal}, got {value!r}")
    if not math.isfinite(value) or not accept(value):
        raise ValueError(f"{name}: expected {legal}, got {value!r}")
    return float(value)


def integer(name: str, value: Any, least: int | None = None) -> int:
    """`value` as an int; TypeError if it is none, ValueError if it is below `least`."""
    legal = "an int" if least is None else f"an int of at least {least}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}: expected {legal}, got {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{name}: expected {legal}, got {value!r}")
    return int(value)


def option(name: str, value: Any, options: Collection[Any]) -> Any:
    """`value` if it is one of `options`; else a ValueError that lists them."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, options))}, got {value!r}")
    return value
