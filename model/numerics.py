"""Integer arithmetic of the network: decays, rounding and register widths.

This is the one place that owns rounding. The golden model, the width proof, the trainer and the
hardware all take it from here:

* ``Shift(k)``: ``decay(x) = x - (x >> k)``, the time constant is ``2**k`` steps;
* ``Shifts(k, l)``: ``decay(x) = x - (x >> k) - (x >> l)``, what is kept in a step is ``1 - 2**-k - 2**-l``;
* ``Multiply(c)``: ``decay(x) = (x * c) >> 12``, the time constant is ``4096 / (4096 - c)`` steps.

``>>`` is the arithmetic shift: it rounds to minus infinity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .errors import SpikeloomError
from .system.arguments import array, real, short, whole

__all__ = ["MULTIPLY_FRACTION_BITS", "Decay", "IntArray", "Multiply", "Shift", "Shifts", "decay_for_tau",
           "integer_array", "signed_bits", "unsigned_bits"]

IntArray = npt.NDArray[np.integer[Any]]

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
class Shifts:
    """Decay by ``x - (x >> k) - (x >> l)``: two subtractions, for time constants between the powers of two.

    Parameters
    ----------
    k, l : int
        1..15. What is kept in a step is ``1 - 2**-k - 2**-l``: ``Shifts(3, 4)`` keeps 13/16, a time constant of 5.3.

    Raises
    ------
    SpikeloomError
        If one is out of range.
    """

    k: int
    l: int  # noqa: E741

    def __post_init__(self) -> None:
        for name in ("k", "l"):
            object.__setattr__(self, name, whole(getattr(self, name), f"decay shift {name}", 1, 15))

    def __call__(self, x: X) -> X:
        """Decay ``x`` (an int or an integer array of any shape), each shift rounding to minus infinity."""
        out: X = x - (x >> self.k) - (x >> self.l)
        return out

    @property
    def tau_steps(self) -> float:
        """Time constant in steps."""
        return 1 / (2.0**-self.k + 2.0**-self.l)


@dataclass(frozen=True, eq=False)
class Multiply:
    """Decay by ``(x * c) >> 12``: any time constant, one multiplier.

    Parameters
    ----------
    c : int or integer array
        0..4096; the fraction that is kept, in units of 1/4096 (4096 is no decay). An array has a factor for each
        channel or neuron.

    Raises
    ------
    SpikeloomError
        If ``c`` is out of range.
    """

    c: int | IntArray

    def __post_init__(self) -> None:
        one = 1 << MULTIPLY_FRACTION_BITS
        if isinstance(self.c, np.ndarray) and self.c.ndim:
            object.__setattr__(self, "c", integer_array(self.c, "decay factor c", 0, one))
        else:
            object.__setattr__(self, "c", whole(self.c, "decay factor c", 0, one))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Multiply) and np.array_equal(self.c, other.c)

    def __hash__(self) -> int:
        return hash(np.asarray(self.c).tobytes())

    def __call__(self, x: X) -> X:
        """Decay ``x`` (an int or an integer array of any shape), rounding to minus infinity."""
        if isinstance(self.c, int) and self.c == 1 << MULTIPLY_FRACTION_BITS:
            return x
        out: X = (x * self.c) >> MULTIPLY_FRACTION_BITS
        return out

    @property
    def tau_steps(self) -> float:
        """Time constant in steps; raises :class:`.SpikeloomError` if neurons have their own."""
        one = 1 << MULTIPLY_FRACTION_BITS
        if isinstance(self.c, np.ndarray):
            raise SpikeloomError(f"decay factor c is of each neuron's own ({self.c.size} values): there is no one time "
                                 "constant")
        return float("inf") if self.c == one else one / (one - self.c)


Decay = Shift | Shifts | Multiply


def integer_array(raw: Any, what: str, low: int, high: int) -> npt.NDArray[np.int64]:
    """A read-only int64 copy of a vector of integers in ``low..high``; raises :class:`.SpikeloomError` if it is not."""
    given = array(raw, what)
    if given.dtype.kind not in "iu":
        raise SpikeloomError(f"{what} must be integers, not {given.dtype}")
    if given.ndim != 1:
        raise SpikeloomError(f"{what} must have 1 dimensions, not shape {given.shape}")
    if given.size == 0:
        raise SpikeloomError(f"{what} must be in {_power(low)}..{_power(high)}, not empty")
    bad = (given < low) | (given > high)
    if bad.any():
        raise SpikeloomError(f"{what} must be in {_power(low)}..{_power(high)}, not {short(int(given[bad][0]))}")
    out = given.astype(np.int64)
    out.setflags(write=False)
    return out


def _power(value: int) -> str:
    """Large limits as people write them."""
    for offset, tail in ((0, ""), (1, "-1")):
        size = abs(value) + offset
        if size > 1 << 16 and size & (size - 1) == 0 and (value > 0 or not offset):
            return f"{'-' if value < 0 else ''}2**{size.bit_length() - 1}{tail}"
    return str(value)


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
