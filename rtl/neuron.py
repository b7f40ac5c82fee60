"""LIF neurons with a first-order synapse: all steps of a window in a pipeline, or one unit stepping through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.model.numerics import Decay, Shift

from .decay import decay_value
from .flat_array import FlatArray

__all__ = ["NeuronConfig", "NeuronPipeline", "SteppingNeuron", "constants_layout", "drive_latency", "state_layout"]


@dataclass(frozen=True, kw_only=True)
class NeuronConfig:
    """Equations and widths of one population.

    Parameters
    ----------
    steps : int
        Time steps in a window.
    static : bool
        Whether one sum drives the neuron in all steps; else each step has a sum.
    synapse, membrane : Decay
    fraction_bits : int
    inclusive : bool
        Fires at ``U >= threshold``, else at ``U > threshold``.
    reset : "zero" or "subtract"
    threshold : int or None
        Shared threshold, or None if each neuron brings its own.
    has_bias : bool
    keeps_state : bool
        Whether the run has several windows, between which the states are kept.
    gives_potential : bool
        Whether the membrane potential in the window's last step is given beside the mask.
    accumulator_bits, drive_bits, current_bits, membrane_bits, threshold_bits, bias_bits : int
        Proved widths of the signed registers.
    """

    steps: int
    static: bool
    synapse: Decay
    membrane: Decay
    fraction_bits: int
    inclusive: bool
    reset: Literal["zero", "subtract"]
    threshold: int | None
    has_bias: bool
    keeps_state: bool
    gives_potential: bool
    accumulator_bits: int
    drive_bits: int
    current_bits: int
    membrane_bits: int
    threshold_bits: int
    bias_bits: int

    @property
    def sums(self) -> int:
        """Sums that arrive per neuron."""
        return 1 if self.static else self.steps

    @property
    def has_constants(self) -> bool:
        """Whether neurons bring constants of their own."""
        return self.threshold is None or self.has_bias

    @property
    def pipeline_latency_cycles(self) -> int:
        """Of :class:`NeuronPipeline`: drive, then two cycles a step."""
        return 1 + drive_latency(self) + 2 * self.steps

    @property
    def stepping_cycles(self) -> int:
        """Of :class:`SteppingNeuron`, from taking the sums to giving the mask: three cycles a step."""
        return 1 + drive_latency(self) + 3 * self.steps


def drive_latency(config: NeuronConfig) -> int:
    """Registers between the sums and the drive: one if there is a bias to add."""
    return int(config.has_bias)


def state_layout(config: NeuronConfig) -> data.StructLayout:
    """What is kept of a neuron between windows: synaptic current, and membrane potential after reset."""
    return data.StructLayout({"current": signed(config.current_bits), "membrane": signed(config.membrane_bits)})


def constants_layout(config: NeuronConfig) -> data.StructLayout:
    """What a neuron brings of its own."""
    fields: dict[str, Any] = {}
    if config.threshold is None:
        fields["threshold"] = signed(config.threshold_bits)
    if config.has_bias:
        fields["bias"] = signed(config.bias_bits)
    return data.StructLayout(fields)


def _ports(config: NeuronConfig) -> dict[str, Any]:
    ports: dict[str, Any] = {
        "sums": In(FlatArray(signed(config.accumulator_bits), config.sums)),
        "mask": Out(config.steps),
    }
    if config.has_constants:
        ports["constants"] = In(constants_layout(config))
    if config.gives_potential:
        ports["potential"] = Out(signed(config.membrane_bits))
    if config.keeps_state:
        ports["state"] = In(state_layout(config))
        ports["next_state"] = Out(state_layout(config))
    return ports


def _drives(m: Module, cfg: NeuronConfig, sums: list[Any], bias: Any) -> list[Any]:
    """The weighted inputs, ``S + bias``, registered ``drive_latency`` times."""
    if not cfg.has_bias:
        return sums
    drives = [Signal(signed(cfg.drive_bits), name=f"drive{k}_q", reset_less=True) for k in range(len(sums))]
    m.d.sync += [drive.eq(s + bias) for drive, s in zip(drives, sums, strict=True)]
    return drives


def _fires(cfg: NeuronConfig, membrane: Any, threshold: Any) -> Any:
    """By the sign of a difference: a comparison would be mapped with the wider of the two inverted, bit by bit."""
    difference = membrane - threshold if cfg.inclusive else membrane + ~threshold
    return ~difference[-1]


def _delayed(m: Module, value: Any, cycles: int, name: str) -> Any:
    """``value``, ``cycles`` cycles later."""
    for k in range(cycles):
        late = Signal(value.shape(), name=f"{name}_d{k}", reset_less=True)
        m.d.sync += late.eq(value)
        value = late
    return value


class NeuronPipeline(wiring.Component):
    """All steps of a window, one neuron per cycle, two cycles a step.

    For ``t = 1..steps`` (``J_0``, ``U_0``: the kept state, or 0)::

        J_t = decay_synapse(J_{t-1}) + (x_t << fraction_bits)
        V_t = decay_membrane(U_{t-1}) + J_t
        s_t = V_t > threshold                       # or >=
        U_t = 0 or V_t - threshold if s_t else V_t

    The reset is moved into the next step's sum, so that comparing and decaying run side by side and each
    cycle has one carry chain.

    Latency :attr:`NeuronConfig.pipeline_latency_cycles`; one neuron per cycle; no memory.

    Members
    -------
    sums : In(sums x accumulator_bits)
    constants : In(constants_layout), one cycle later than ``sums``; if there are any
    state : In(state_layout), one cycle later than ``sums``; next_state : Out, with ``mask``; if state is kept
    mask : Out(steps)
    potential : Out(signed membrane_bits), V_t of the last step, with ``mask``; if it is given
    """

    def __init__(self, config: NeuronConfig) -> None:
        self.config = config
        super().__init__(_ports(config))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config

        sums_q = Signal.like(self.sums, reset_less=True)
        m.d.sync += sums_q.eq(self.sums)
        drives = _drives(m, cfg, list(sums_q), self.constants.bias if cfg.has_bias else None)
        since_drive = drive_latency(cfg)
        if cfg.threshold is None:
            threshold: Any = _delayed(m, self.constants.threshold, since_drive, "threshold")
        else:
            threshold = Const(cfg.threshold, signed(cfg.threshold_bits))

        # Stage 2t-2 gives J_t, stage 2t-1 gives V_t, stage 2t gives s_t and both candidates for the decayed U_t.
        def drive(t: int) -> Any:
            return _delayed(m, drives[0 if cfg.static else t - 1], max(0, 2 * t - 3), f"x{t}")

        def threshold_at(stage: int) -> Any:
            return threshold if cfg.threshold is not None else _delayed(m, threshold, stage, f"threshold{stage}")

        current: Any
        decayed: Any
        if cfg.keeps_state:
            kept = _delayed(m, self.state.as_value(), since_drive, "state")
            kept = data.View(state_layout(cfg), kept)
            current_first = decay_value(cfg.synapse, kept.current) + (drives[0] << cfg.fraction_bits)
            decayed = Signal(signed(cfg.membrane_bits), name="decayed0", reset_less=True)
            m.d.sync += decayed.eq(decay_value(cfg.membrane, kept.membrane))
        else:
            current_first = drives[0] << cfg.fraction_bits
            decayed = Const(0, signed(1))
        current = Signal(signed(cfg.current_bits), name="current1", reset_less=True)
        m.d.comb += current.eq(current_first)
        if cfg.keeps_state:
            current_q = Signal.like(current, name="current1_q", reset_less=True)
            m.d.sync += current_q.eq(current)
            membrane_in = current_q
        else:
            membrane_in = _delayed(m, current, 1, "current1")

        spikes = []
        for t in range(1, cfg.steps + 1):
            # V_t, one stage after J_t.
            membrane = Signal(signed(cfg.membrane_bits), name=f"membrane{t}")
            if t == 1:
                m.d.comb += membrane.eq(decayed + membrane_in)
            else:
                membrane_q = Signal(signed(cfg.membrane_bits), name=f"membrane{t}_q", reset_less=True)
                m.d.sync += membrane_q.eq(decayed + current)
                m.d.comb += membrane.eq(membrane_q)

            # s_t and the decayed membrane potential, one stage later.
            theta = threshold_at(2 * t - 1)
            spike = Signal(name=f"spike{t}_q", reset_less=True)
            m.d.sync += spike.eq(_fires(cfg, membrane, theta))
            spikes.append(_delayed(m, spike, 2 * (cfg.steps - t), f"spike{t}"))
            if t < cfg.steps:
                quiet = Signal(signed(cfg.membrane_bits), name=f"quiet{t}_q", reset_less=True)
                m.d.sync += quiet.eq(decay_value(cfg.membrane, membrane))
                decayed = Signal(signed(cfg.membrane_bits), name=f"decayed{t}")
                if cfg.reset == "zero":
                    m.d.comb += decayed.eq(Mux(spike, 0, quiet))
                else:
                    fired = Signal(signed(cfg.membrane_bits), name=f"fired{t}_q", reset_less=True)
                    m.d.sync += fired.eq(decay_value(cfg.membrane, membrane - theta))
                    m.d.comb += decayed.eq(Mux(spike, fired, quiet))

                # J_{t+1}: decay, then add, in the two cycles that V_t takes.
                leaked = Signal(signed(cfg.current_bits), name=f"leaked{t}_q", reset_less=True)
                m.d.sync += leaked.eq(decay_value(cfg.synapse, current))
                current = Signal(signed(cfg.current_bits), name=f"current{t + 1}_q", reset_less=True)
                m.d.sync += current.eq(leaked + (drive(t + 1) << cfg.fraction_bits))
        m.d.comb += self.mask.eq(Cat(spikes))
        if cfg.keeps_state or cfg.gives_potential:
            last = Signal(signed(cfg.membrane_bits), name="quiet_last_q", reset_less=True)
            m.d.sync += last.eq(membrane)
        if cfg.gives_potential:
            m.d.comb += self.potential.eq(last)
        if cfg.keeps_state:
            after: Any = 0
            if cfg.reset == "subtract":
                after = Signal(signed(cfg.membrane_bits), name="fired_last_q", reset_less=True)
                m.d.sync += after.eq(membrane - theta)
            m.d.comb += [self.next_state.membrane.eq(Mux(spike, after, last)),
                         self.next_state.current.eq(_delayed(m, current, 2, "current_last"))]
        return m


class SteppingNeuron(wiring.Component):
    """One step every three cycles: the smallest unit. Equations as :class:`NeuronPipeline`.

    ``start`` takes the sums; ``stepping_cycles`` later ``mask`` (and ``next_state``, ``potential``) are valid and
    stay until the next start. One neuron at a time; no memory.

    Members
    -------
    start : In(1)
    sums, constants, state, next_state, mask, potential : as in NeuronPipeline
    phase : In(3): one-hot, which of the three cycles of a step this is
    """

    def __init__(self, config: NeuronConfig) -> None:
        self.config = config
        super().__init__(_ports(config) | {"start": In(1), "phase": In(3)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config

        sums_q = Signal.like(self.sums, reset_less=True)
        with m.If(self.start):
            m.d.sync += sums_q.eq(self.sums)
        (drive,) = _drives(m, cfg, [sums_q[0]], self.constants.bias if cfg.has_bias else None)
        threshold: Any = (self.constants.threshold if cfg.threshold is None
                          else Const(cfg.threshold, signed(cfg.threshold_bits)))

        # The step's sum is the lowest; the others move down as soon as it has been used.
        with m.If(self.phase[0]):
            m.d.sync += [sums_q[t].eq(sums_q[t + 1]) for t in range(cfg.sums - 1)]

        current = Signal(signed(cfg.current_bits), name="current_q", reset_less=True)
        membrane = Signal(signed(cfg.membrane_bits), name="membrane_q", reset_less=True)
        mask = Signal(cfg.steps, name="mask_q", reset_less=True)
        # The current's register decays after its use, the potential's before.
        leaked: Any = current
        rested: Any = membrane
        if cfg.keeps_state:
            fresh = Signal(name="fresh_q")  # the states are still those from before the window
            last = Signal.like(current, name="current_last_q", reset_less=True)
            with m.If(self.start):
                m.d.sync += fresh.eq(1)
            with m.If(self.phase[0]):
                m.d.sync += fresh.eq(0)
            with m.If(self.phase[1]):
                m.d.sync += last.eq(current)
            leaked = Mux(fresh, decay_value(cfg.synapse, self.state.current), current)
            rested = Mux(fresh, self.state.membrane, membrane)
            m.d.comb += [self.next_state.current.eq(last), self.next_state.membrane.eq(membrane)]
        with m.If(self.phase[0] | self.phase[1]):
            m.d.sync += [
                current.eq(_decay_or_add(cfg.synapse, self.phase[1], leaked, drive << cfg.fraction_bits)),
                membrane.eq(_decay_or_add(cfg.membrane, self.phase[0], rested, current)),
            ]
        spike = Signal()
        m.d.comb += spike.eq(_fires(cfg, membrane, threshold) & self.phase[2])
        with m.If(self.phase[2]):
            m.d.sync += mask.eq(Cat(mask[1:], spike))
        if cfg.reset == "subtract":
            with m.If(spike):
                m.d.sync += membrane.eq(membrane - threshold)
        # Last, and with a condition of their own, so that they become the flip-flops' resets.
        with m.If(self.start):
            m.d.sync += current.eq(0)
        with m.If(self.start | spike if cfg.reset == "zero" else self.start):
            m.d.sync += membrane.eq(0)
        m.d.comb += self.mask.eq(mask)
        if cfg.gives_potential:
            potential = Signal(signed(cfg.membrane_bits), name="potential_q", reset_less=True)
            with m.If(self.phase[2]):
                m.d.sync += potential.eq(membrane)
            m.d.comb += self.potential.eq(potential)
        return m


def _decay_or_add(decay: Decay, decays: Any, value: Any, addend: Any) -> Any:
    """``decay(value)``, or else ``value + addend``: of a shift, with the same adder."""
    if not isinstance(decay, Shift) or not decay.k:
        return Mux(decays, decay_value(decay, value), value + addend)
    # x - y = x + ~y + 1: the carry comes in by a bit below the others.
    other = Mux(decays, ~(value >> decay.k), addend)
    return (Cat(Const(1, 1), value).as_signed() + Cat(decays, other).as_signed()) >> 1
