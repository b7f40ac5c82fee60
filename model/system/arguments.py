"""Arguments as callers give them: of the right type and in range, or one clear error that begins with their name."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import SpikeloomError

__all__ = ["an", "array", "called", "choice", "real", "short", "whole"]

T = TypeVar("T")


def whole(value: Any, what: str, low: int, high: int | None = None) -> int:
    """An integer in ``low..high``; NumPy's integers count, truth values do not.

    Raises
    ------
    SpikeloomError
        If it is something else; the message begins with ``what``.
    """
    allowed = (f"in {low}..{high}" if high is not None else
               "an integer above 0" if low == 1 else f"an integer of at least {low}")
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        raise SpikeloomError(f"{what} must be {allowed}, not {short(value)}")
    return number


def real(value: Any, what: str, low: float, high: float) -> float:
    """A finite number in ``low..high``; errors as :func:`whole`."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high or not math.isfinite(number):
        raise SpikeloomError(f"{what} must be a number in {low:g}..{high:g}, not {short(value)}")
    return number


def an(kind: type[T], value: Any, what: str) -> T:
    """A value of a class; errors as :func:`whole`."""
    if not isinstance(value, kind):
        raise SpikeloomError(f"{what} must be a {kind.__name__}, not {short(value)}")
    return value


def called(value: T, what: str) -> T:
    """Something to call, or None; errors as :func:`whole`."""
    if value is not None and not callable(value):
        raise SpikeloomError(f"{what} must be callable, not {short(value)}")
    return value


def choice(value: Any, what: str, allowed: Sequence[Any]) -> Any:
    """One of a few values, of their type; errors as :func:`whole`."""
    for one in allowed:
        if type(value) is type(one) and value == one:
            return value
    names = [repr(one) for one in allowed if one is not None]
    told = f"one of {tuple(allowed)}" if len(names) > 3 else f"{', '.join(names[:-1])} or {names[-1]}"
    raise SpikeloomError(f"{what} must be {told}, not {short(value)}")


def array(value: Any, what: str) -> npt.NDArray[Any]:
    """An array of booleans, integers or floats, of any shape; errors as :func:`whole`."""
    try:
        out = np.asarray(value)
    except Exception as error:  # whatever an object's own conversion raises
        raise SpikeloomError(f"{what} must be an array, not {short(value)} ({short(str(error))})") from None
    if out.dtype.kind not in "biuf":
        raise SpikeloomError(f"{what} must be an array of numbers, not {short(value)}")
    return out


def short(value: Any) -> str:
    """A value in one short line."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # of an object that cannot say what it is
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
