"""Parts of neurons: what stands between the weighted input and the membrane, and what a spike leaves behind.

A part declares the registers it needs and acts on them. Only what a neuron has is built: a part that is left out costs
nothing. The simplest synapse is a decay (a first-order filter), the simplest leak too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import SpikeloomError
from ..numerics import Decay, IntArray, Multiply, Shift, Shifts, integer_array
from ..system.arguments import an, short, whole
from .program import Number, maximum, minimum, select

if TYPE_CHECKING:
    from .neuron_type import Registers

__all__ = ["Adaptation", "Alpha", "Clamp", "DualExponential", "Gain", "LateCurrent", "Ramp", "ResetTo", "Synapse",
           "Trace", "a_decay", "constant"]

_LARGEST = (1 << 47) - 1


def a_decay(value: Any, what: str) -> Decay:
    """A decay; raises :class:`.SpikeloomError` if it is something else."""
    if not isinstance(value, Shift | Shifts | Multiply):
        raise SpikeloomError(f"{what} must be a Shift, a Shifts or a Multiply decay, not {short(value)}")
    return value


def constant(value: Any, what: str, low: int, high: int) -> int | IntArray:
    """One integer for all, or one for each channel or neuron."""
    if isinstance(value, np.ndarray) and value.ndim:
        return integer_array(value, what, low, high)
    return whole(value, what, low, high)


class Part:
    """Base of parts: a frozen dataclass. ``registers``: names and values after a reset."""

    registers: ClassVar[Mapping[str, int | bool]] = {}


class Synapse(Part):
    """What the weighted input goes through on its way to the membrane."""

    def current(self, x: Number, r: Registers) -> Number:
        """The synaptic current of this step, given the weighted input in state LSB."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, eq=False)
class DualExponential(Synapse):
    """A current that rises and falls: the difference of two exponentials.

    ::

        F <- fall(F + x);  R <- rise(R + x);  current = F - R

    so that a spike gives ``p**(n+1) - q**(n+1)`` after ``n`` steps: the second-order filter of Fang et al., "Exploiting
    Neuron and Synapse Filter Dynamics in Spatial Temporal Learning of Deep Spiking Neural Network" (IJCAI 2020), with
    coefficients that a layer shares.
    """

    fall: Decay
    rise: Decay
    registers: ClassVar[Mapping[str, int | bool]] = {"fall": 0, "rise": 0}

    def __post_init__(self) -> None:
        a_decay(self.fall, "fall")
        a_decay(self.rise, "rise")

    def current(self, x: Number, r: Registers) -> Number:
        r.fall = self.fall(r.fall + x)
        r.rise = self.rise(r.rise + x)
        difference: Number = r.fall - r.rise
        return difference


@dataclass(frozen=True, kw_only=True, eq=False)
class Alpha(Synapse):
    """Two first-order filters, one behind the other: ``J <- first(J) + x;  K <- second(K) + J;  current = K``."""

    first: Decay
    second: Decay
    registers: ClassVar[Mapping[str, int | bool]] = {"current": 0, "second": 0}

    def __post_init__(self) -> None:
        a_decay(self.first, "first")
        a_decay(self.second, "second")

    def current(self, x: Number, r: Registers) -> Number:
        r.current = self.first(r.current) + x
        second: Number = self.second(r.second) + r.current
        r.second = second
        return second


@dataclass(frozen=True, kw_only=True, eq=False)
class LateCurrent(Synapse):
    """A first-order synapse whose input reaches the membrane a step later: ``current = J;  J <- decay(J) + x``.

    Norse's order of things (``norse.torch.functional.lif``).
    """

    decay: Decay
    registers: ClassVar[Mapping[str, int | bool]] = {"current": 0}

    def __post_init__(self) -> None:
        a_decay(self.decay, "decay")

    def current(self, x: Number, r: Registers) -> Number:
        late = r.current
        r.current = self.decay(late) + x
        return late


@dataclass(frozen=True, kw_only=True, eq=False)
class Ramp(Synapse):
    """A piecewise-linear current: every input changes its slope now, and again after some steps.

    ::

        slope <- slope + sum over taps (d, c) of c * x[t - d];  current = slope

    ``((0, 1), (8, -1))`` ramps for eight steps and then holds: the potentials of Mirsadeghi et al., "Spike time
    displacement based error backpropagation in convolutional spiking neural networks" (2021).

    Parameters
    ----------
    taps : tuple of (delay in steps, gain)
        1..4 of them, delays 0..64, gains -64..64, both integers; kept are the inputs of as many steps as the longest
        delay.
    """

    taps: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        try:
            taps = tuple((delay, gain) for delay, gain in self.taps)
        except (TypeError, ValueError):
            taps = ()
        if not 1 <= len(taps) <= 4:
            raise SpikeloomError(f"ramp taps must be 1..4 pairs of delay and gain, not {short(self.taps)}")
        object.__setattr__(self, "taps", tuple((whole(delay, "ramp delay", 0, 64), whole(gain, "ramp gain", -64, 64))
                                               for delay, gain in taps))

    @property
    def registers(self) -> Mapping[str, int | bool]:  # type: ignore[override]
        return {"slope": 0, **{f"past{k}": 0 for k in range(1, 1 + max(delay for delay, _ in self.taps))}}

    def current(self, x: Number, r: Registers) -> Number:
        past = [x, *(getattr(r, name) for name in self.registers if name != "slope")]
        for delay, gain in self.taps:
            r.slope = r.slope - past[delay] if gain == -1 else r.slope + past[delay] * gain
        for k in range(1, len(past)):
            setattr(r, f"past{k}", past[k - 1])
        return r.slope


@dataclass(frozen=True, kw_only=True, eq=False)
class Gain(Part):
    """What the weighted input is multiplied by: ``x <- (x * multiplier) >> shift``.

    Parameters
    ----------
    multiplier : int or integer array
        -32768..32767, of all, or of each channel or neuron.
    shift : int
        0..31.
    """

    multiplier: int | IntArray
    shift: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "multiplier", constant(self.multiplier, "gain multiplier", -32768, 32767))
        object.__setattr__(self, "shift", whole(self.shift, "gain shift", 0, 31))

    def __call__(self, x: Number) -> Number:
        return (x * self.multiplier) >> self.shift


@dataclass(frozen=True, kw_only=True, eq=False)
class Offset(Part):
    """What is added to the weighted input in every step, ``value`` in state LSB: finer than a bias in weight LSB."""

    value: int | IntArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", constant(self.value, "offset value", -_LARGEST, _LARGEST))


@dataclass(frozen=True, kw_only=True, eq=False)
class ResetTo(Part):
    """After a spike the membrane potential is ``value`` (state LSB)."""

    value: int | IntArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", constant(self.value, "reset value", -_LARGEST, _LARGEST))


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace(Part):
    """A reset that decays: ``potential = U - R;  R <- decay(R) + amount`` on a spike, ``decay(R)`` without.

    The membrane itself is not reset (Fang et al., IJCAI 2020, their equation of the reset).
    """

    decay: Decay
    amount: int | IntArray
    registers: ClassVar[Mapping[str, int | bool]] = {"trace": 0}

    def __post_init__(self) -> None:
        a_decay(self.decay, "trace decay")
        object.__setattr__(self, "amount", constant(self.amount, "trace amount", 0, _LARGEST))


@dataclass(frozen=True, kw_only=True, eq=False)
class Adaptation(Part):
    """A threshold that each spike raises: ``limit = threshold + A;  A <- decay(A) + amount`` on a spike.

    The adaptive LIF neuron (ALIF) of Bellec et al., "Long short-term memory and learning-to-learn in networks of
    spiking neurons" (NeurIPS 2018).
    """

    decay: Decay
    amount: int | IntArray
    registers: ClassVar[Mapping[str, int | bool]] = {"adaptation": 0}

    def __post_init__(self) -> None:
        a_decay(self.decay, "adaptation decay")
        object.__setattr__(self, "amount", constant(self.amount, "adaptation amount", -_LARGEST, _LARGEST))

    def adapt(self, spike: Number, r: Registers) -> None:
        r.adaptation = self.decay(r.adaptation) + select(spike, self.amount, 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Clamp(Part):
    """The membrane potential stays in ``low..high`` (state LSB); ``None`` is no limit."""

    low: int | None = None
    high: int | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole(getattr(self, name), f"clamp {name}", -_LARGEST, _LARGEST))
        if self.low is not None and self.high is not None and self.low > self.high:
            raise SpikeloomError(f"clamp low must be at most high={self.high}, not {self.low}")

    def __call__(self, x: Number) -> Number:
        x = x if self.low is None else maximum(x, self.low)
        return x if self.high is None else minimum(x, self.high)


def spent(part: Any, name: str, kind: type) -> None:
    """Check an optional part's class."""
    if part is not None:
        an(kind, part, name)
