"""The neuron types that come with spikeloom: spiking neurons from parts, and the integrator that does not spike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import SpikeloomError
from ..numerics import Decay, IntArray, Multiply, Shift, Shifts, integer_array
from ..system.arguments import choice, short, whole
from .intervals import MAX_BITS
from .neuron_type import NeuronType, Registers
from .parts import Adaptation, Clamp, Gain, Offset, Part, ResetTo, Synapse, Trace, a_decay, spent
from .program import Number, select

__all__ = ["Integrator", "Neuron"]


def _check_front(neuron: Neuron | Integrator) -> None:
    synapse = neuron.synapse
    if synapse is not None and not isinstance(synapse, Shift | Shifts | Multiply | Synapse):
        raise SpikeloomError("synapse must be None, a decay (Shift, Shifts, Multiply) or a DualExponential, Alpha, "
                             f"LateCurrent or Ramp, not {short(synapse)}")
    if neuron.membrane is not None:
        a_decay(neuron.membrane, "membrane")
    spent(neuron.gain, "gain", Gain)
    spent(neuron.offset, "offset", Offset)
    spent(neuron.clamp, "clamp", Clamp)
    object.__setattr__(neuron, "fraction_bits", whole(neuron.fraction_bits, "fraction_bits", 0, 16))


def _integrated(neuron: Neuron | Integrator, x: Number, r: Registers) -> Number:
    """``U + current``: synapse and leak."""
    if neuron.gain is not None:
        x = neuron.gain(x)
    current = x << neuron.fraction_bits
    if neuron.offset is not None:
        current = current + neuron.offset.value
    if isinstance(neuron.synapse, Synapse):
        current = neuron.synapse.current(current, r)
    elif neuron.synapse is not None:
        current = r.current = neuron.synapse(r.current) + current
    return (r.membrane if neuron.membrane is None else neuron.membrane(r.membrane)) + current


def _registers(neuron: Neuron | Integrator, *parts: Part | None) -> dict[str, int | bool]:
    front = neuron.synapse.registers if isinstance(neuron.synapse, Synapse) else {"current": 0}
    out = {**front, "membrane": 0}
    for part in parts:
        out |= {} if part is None else part.registers
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Neuron(NeuronType):
    """A spiking neuron from parts: synapse, leaky membrane, threshold, reset, and what else it needs.

    In every step, in this order (``x`` is the weighted input with its bias; a part that is left out is skipped)::

        x       <- (gain(x) << fraction_bits) + offset
        J       <- synapse(J) + x
        U       <- membrane(U) + J, within clamp
        U       <- 0 while the neuron is refractory
        spike   =  U > threshold + adaptation
        U       <- reset(U) on a spike

    LIF with a first-order synapse and reset to zero is TSSL-BP's neuron (Zhang & Li, NeurIPS 2020), in the scaled form
    in which the synaptic filter stands behind the weights.

    Parameters
    ----------
    synapse : decay, Synapse or None
        A decay: first order, the post-synaptic current J of exponential form. None: the input acts at once. Or one of
        :class:`.DualExponential`, :class:`.Alpha`, :class:`.LateCurrent`, :class:`.Ramp`.
    membrane : decay or None
        Leak of the membrane potential U. None: it keeps all. ``Shift(0)``: it forgets all, so that the neuron is a
        binary activation of its input.
    threshold : integer array (neurons,), (channels,) or (1,)
        Firing threshold in state LSB (weight LSB * 2**-fraction_bits); at least 0.
    fraction_bits : int
        0..16: fractional bits of the states below a weight LSB.
    compare : ">" or ">="
        Fires if ``U compare threshold``.
    reset : "zero", "subtract", "subtract_again", "none", ResetTo or Trace
        Membrane potential after a spike: 0, ``U - threshold``, as it is, a value; or a trace that is subtracted. With
        ``subtract_again``, a membrane potential that is above the threshold after its reset has the threshold
        subtracted once more from what is compared in the next step, not from what is kept (snnTorch with
        ``reset_delay=False``).
    reset_delay : 0 or 1
        1: a spike resets the membrane in the next step, after its leak and input (snnTorch's ``reset_delay``).
    refractory_steps : int
        0..255 steps after a spike in which the membrane potential is held at 0.
    once : bool
        It fires once in a run at most.
    adaptation : Adaptation or None
    gain : Gain or None
    offset : Offset or None
    clamp : Clamp or None
    """

    threshold: IntArray
    synapse: Decay | Synapse | None = None
    membrane: Decay | None = None
    fraction_bits: int = 0
    compare: Literal[">", ">="] = ">"
    reset: Literal["zero", "subtract", "subtract_again", "none"] | ResetTo | Trace = "zero"
    reset_delay: int = 0
    refractory_steps: int = 0
    once: bool = False
    adaptation: Adaptation | None = None
    gain: Gain | None = None
    offset: Offset | None = None
    clamp: Clamp | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", integer_array(self.threshold, "threshold", 0, (1 << MAX_BITS) - 1))
        _check_front(self)
        choice(self.compare, "compare", (">", ">="))
        if not isinstance(self.reset, ResetTo | Trace):
            choice(self.reset, "reset", ("zero", "subtract", "subtract_again", "none"))
        object.__setattr__(self, "reset_delay", whole(self.reset_delay, "reset_delay", 0, 1))
        if self.reset_delay and self.reset not in ("zero", "subtract"):
            raise SpikeloomError(f"reset_delay 1 needs reset 'zero' or 'subtract', not {short(self.reset)}")
        object.__setattr__(self, "refractory_steps", whole(self.refractory_steps, "refractory_steps", 0, 255))
        if self.refractory_steps and self.reset == "subtract_again":
            raise SpikeloomError(f"refractory_steps must be 0 with reset 'subtract_again', not {self.refractory_steps}")
        choice(self.once, "once", (True, False))
        spent(self.adaptation, "adaptation", Adaptation)

    @property
    def registers(self) -> Mapping[str, int | bool]:  # type: ignore[override]
        flags: dict[str, int | bool] = {}
        if self.reset_delay or self.once:
            flags["fired"] = False
        if self.refractory_steps:
            flags["refractory"] = 0
        return {**_registers(self, self.reset if isinstance(self.reset, Part) else None, self.adaptation), **flags}

    def step(self, x: Number, r: Registers) -> tuple[Number, Number]:
        potential = membrane = _integrated(self, x, r)
        if self.reset_delay:
            later = 0 if self.reset == "zero" else membrane - self.threshold
            potential = membrane = select(r.fired, later, membrane)
        if self.clamp is not None:
            potential = membrane = self.clamp(membrane)
        if self.reset == "subtract_again":
            potential = select(r.membrane > self.threshold, membrane - self.threshold, membrane)
        if self.refractory_steps:
            potential = membrane = select(r.refractory > 0, 0, membrane)
        if isinstance(self.reset, Trace):
            potential = membrane - r.trace
        limit = self.threshold if self.adaptation is None else r.adaptation + self.threshold
        spike = potential > limit if self.compare == ">" else potential >= limit
        if self.once:
            spike = spike & ~r.fired
        r.membrane = self._after(spike, membrane, r)
        if self.adaptation is not None:
            self.adaptation.adapt(spike, r)
        if self.refractory_steps:
            left = select(r.refractory > 0, r.refractory - 1, 0)
            r.refractory = select(spike, self.refractory_steps, left)
        if self.reset_delay:
            r.fired = spike
        elif self.once:
            r.fired = spike | r.fired
        return spike, potential

    def _after(self, spike: Number, membrane: Number, r: Registers) -> Number:
        """The membrane potential behind a step."""
        if isinstance(self.reset, Trace):
            r.trace = self.reset.decay(r.trace) + select(spike, self.reset.amount, 0)
        if isinstance(self.reset, Trace) or self.reset == "none" or self.reset_delay:
            return membrane
        value = (self.reset.value if isinstance(self.reset, ResetTo) else 0 if self.reset == "zero"
                 else membrane - self.threshold)
        return select(spike, value, membrane)


@dataclass(frozen=True, kw_only=True, eq=False)
class Integrator(NeuronType):
    """A leaky integrator that never spikes (LI), as an output whose membrane potential is read.

    ``J <- synapse(J) + (gain(x) << fraction_bits) + offset;  U <- membrane(U) + J, within clamp``. Parameters as
    those of :class:`Neuron`.
    """

    synapse: Decay | Synapse | None = None
    membrane: Decay | None = None
    fraction_bits: int = 0
    gain: Gain | None = None
    offset: Offset | None = None
    clamp: Clamp | None = None

    def __post_init__(self) -> None:
        _check_front(self)

    @property
    def registers(self) -> Mapping[str, int | bool]:  # type: ignore[override]
        return _registers(self)

    def step(self, x: Number, r: Registers) -> tuple[Number, Number]:
        potential = _integrated(self, x, r)
        if self.clamp is not None:
            potential = self.clamp(potential)
        r.membrane = potential
        return x.never(), potential
