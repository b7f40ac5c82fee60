"""Many values combined by a tree that is as flat as can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["balanced"]


def balanced(combine: Callable[[Any, Any], Any], values: Sequence[Any]) -> Any:
    """``combine`` over one or more values, ``ceil(log2(len(values)))`` of them one behind the other."""
    if len(values) == 1:
        return values[0]
    half = len(values) // 2
    return combine(balanced(combine, values[:half]), balanced(combine, values[half:]))
