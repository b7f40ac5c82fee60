"""Integer arithmetic of the network: decays, rounding and register widths.

This is the one place that owns rounding. The golden model, the width proof, the trainer and the
hardware all take it from here:

* ``Shift(k)``: ``decay(x) = x - (x >> k)``, the time constant is ``2**k`` steps;
* ``Multiply(c)``: ``decay(x) = (x * c) >> 12``, the time constant is ``4096 / (4096 - c)`` steps.

``>>`` is the arithmetic shift: it rounds to minus infinity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from .system.arguments import real, whole

__all__ = ["MULTIPLY_FRACTION_BITS", "Decay", "Multiply", "Shift", "decay_for_tau", "signed_bits",
           "unsigned_bits"]

MULTIPLY_FRACTION_BITS = 12

X = TypeVar("X", bound=Any)


@dataclass(frozen=True)
class Shift:
    """Decay by ``x - (x >> k)``: one subtraction, no multiplier.

    Parameters
    ----------
    k : int
        0..15; the time constant is ``2**k`` steps. ``k = 0`` forgets everything at once.

    Raises
    ------
    SpikeloomError
        If ``k`` is out of range.
    """

    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", whole(self.k, "decay shift k", 0, 15))

    def __call__(self, x: X) -> X:
        """Decay ``x`` (an int or an integer array of any shape), rounding to minus infinity."""
        out: X = x - (x >> self.k)
        return out

    @property
    def tau_steps(self) -> float:
        """Time constant in steps."""
        return float(2**self.k)


@dataclass(frozen=True)
class Multiply:
    """Decay by ``(x * c) >> 12``: any time constant, one multiplier.

    Parameters
    ----------
    c : int
        0..4096; the fraction that is kept, in units of 1/4096 (4096 is no decay).

    Raises
    ------
    SpikeloomError
        If ``c`` is out of range.
    """

    c: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "c", whole(self.c, "decay factor c", 0, 1 << MULTIPLY_FRACTION_BITS))

    def __call__(self, x: X) -> X:
        """Decay ``x`` (an int or an integer array of any shape), rounding to minus infinity."""
        out: X = (x * self.c) >> MULTIPLY_FRACTION_BITS
        return out

    @property
    def tau_steps(self) -> float:
        """Time constant in steps."""
        one = 1 << MULTIPLY_FRACTION_BITS
        return float("inf") if self.c == one else one / (one - self.c)


Decay = Shift | Multiply


def decay_for_tau(tau_steps: float) -> Decay:
    """The cheapest decay that has this time constant: a shift for powers of two, else a multiply.

    Parameters
    ----------
    tau_steps : float
        Time constant in steps, at least 1 (``1`` forgets everything in one step).

    Raises
    ------
    SpikeloomError
        If ``tau_steps`` is below 1 or not finite.
    """
    tau_steps = real(tau_steps, "time constant tau in steps", 1, (1 << 15) - 1)
    k = int(tau_steps).bit_length() - 1
    if tau_steps == 1 << k:
        return Shift(k)
    return Multiply(round((1 << MULTIPLY_FRACTION_BITS) * (1 - 1 / tau_steps)))


def signed_bits(low: int, high: int) -> int:
    """Bits of the narrowest two's complement register that holds every integer in ``low..high``."""
    return max((~int(end) if end < 0 else int(end)).bit_length() for end in (low, high)) + 1


def unsigned_bits(high: int) -> int:
    """Bits of the narrowest unsigned register that holds every integer in ``0..high`` (at least 1)."""
    return max(int(high).bit_length(), 1)
