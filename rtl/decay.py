"""The decays of :mod:`spikeloom.model.numerics` as hardware expressions."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, signed

from spikeloom.model.numerics import MULTIPLY_FRACTION_BITS, Decay, Shift

__all__ = ["decay_value"]


def decay_value(decay: Decay, x: Any) -> Any:
    """``decay(x)`` of a signed value: one subtraction, or one multiplication by a constant."""
    if isinstance(decay, Shift):
        return x - (x >> decay.k) if decay.k else Const(0, signed(1))
    return (x * decay.c) >> MULTIPLY_FRACTION_BITS
