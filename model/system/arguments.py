"""Arguments as callers give them: of the right type and in range, or one clear error."""

from __future__ import annotations

import math
import operator
from typing import Any, TypeVar

from ..errors import SpikeloomError

__all__ = ["an", "real", "whole"]

T = TypeVar("T")


def whole(value: Any, what: str, low: int, high: int | None = None) -> int:
    """An integer in ``low..high``; NumPy's integers count, truth values do not.

    Raises
    ------
    SpikeloomError
        If it is something else; the message begins with ``what``.
    """
    allowed = f"an integer of at least {low}" if high is None else f"in {low}..{high}"
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        raise SpikeloomError(f"{what} must be {allowed}, not {_short(value)}")
    return number


def real(value: Any, what: str, low: float, high: float) -> float:
    """A finite number in ``low..high``; errors as :func:`whole`."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high or not math.isfinite(number):
        raise SpikeloomError(f"{what} must be a number in {low:g}..{high:g}, not {_short(value)}")
    return number


def an(kind: type[T], value: Any, what: str) -> T:
    """A value of a class; errors as :func:`whole`."""
    if not isinstance(value, kind):
        raise SpikeloomError(f"{what} must be a {kind.__name__}, not {_short(value)}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
