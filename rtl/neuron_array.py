"""A row of neuron units between two streams: sums in, masks of spikes out, with potentials where they are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .beat import beat_layout, beat_stream, index_shape, memory_depth
from .counter import rows_in_turn
from .fifo import Queue, occupancy
from .flat_array import FlatArray
from .neuron import NeuronConfig, constants_layout, state_layout
from .neuron_pipeline import CONSTANTS_CYCLES, NeuronPipeline, pipeline_latency_cycles
from .share import Rom, add_instance
from .stepping_neuron import SteppingNeuron, schedule_of, stepping_cycles
from .weight_sets import LoadedMemory, write_bus

__all__ = ["NeuronArray", "NeuronArrayConfig"]


@dataclass(frozen=True, kw_only=True)
class NeuronArrayConfig:
    """Shape of a neuron array.

    Parameters
    ----------
    name : str
        The layer's name; names modules and memories.
    neuron : NeuronConfig
    units : int
        Neurons per beat.
    beats : int
        Beats in a window: all neurons of the layer.
    windows : int
        Windows in a run.
    constant_beats : int
        Beats after which the neurons' constants repeat; divides ``beats``.
    pipelined : bool
        Units that take a beat every cycle, or units that step through a beat before they take the next.
    weight_sets : int
        Sets of constants that are written at run time; 0: they are fixed.
    spiking_only : bool
        One unit, for those neurons only that spike (:class:`.SpikingNeurons`).
    """

    name: str
    neuron: NeuronConfig
    units: int
    beats: int
    windows: int
    constant_beats: int
    pipelined: bool
    weight_sets: int = 0
    spiking_only: bool = False

    @property
    def loaded(self) -> tuple[LoadedMemory, ...]:
        """The memory of constants, if it is written at run time."""
        return ((self.constant_beats, constants_layout(self.neuron).size * self.units),
                ) if self.weight_sets and self.neuron.has_constants else ()

    @property
    def potential_bits(self) -> int:
        """Of a membrane potential in a beat, 0 without."""
        return self.neuron.potential_bits

    @property
    def queue_depth(self) -> int:
        """Beats between the pipeline and the consumer: enough that the pipeline never waits for room it has."""
        return 1 << int(ceil_log2(self.latency_cycles + 3))

    @cached_property
    def unit_cycles(self) -> int:
        """From taking a beat of sums to the units' masks; those that go to one of many places do so from a register."""
        return (pipeline_latency_cycles if self.pipelined else stepping_cycles)(self.neuron) + self.spiking_only

    @property
    def latency_cycles(self) -> int:
        """From taking a beat of sums to offering its masks."""
        return self.unit_cycles + self.pipelined + 3 * self.spiking_only


class NeuronArray(wiring.Component):
    """``units`` neuron units side by side. Equations: the population's program.

    Pipelined units never stop: a beat of sums is taken when its masks are sure of room in the output queue, where one
    that is handed over counts for a cycle more. Stepping units take a beat when they are free. States of several
    windows lie in a memory; the first beat of a window waits until the window before has been written back.

    Latency :attr:`NeuronArrayConfig.latency_cycles`. Throughput: one beat per cycle, or (stepping) per
    ``latency_cycles + 1`` cycles. Memory bits: ``queue_depth * units * (steps + potential_bits)`` (pipelined), plus
    ``beats * units`` times the bits of a neuron's registers if there are several windows, plus ``constant_beats *
    units`` constants if neurons have their own.

    Parameters
    ----------
    config : NeuronArrayConfig
    constants : sequence of int
        One word per beat, as far as they differ: the units' packed :func:`.constants_layout`; empty if there are none.

    Members
    -------
    i : In(stream of units x sums); no beat may come in the first cycle after a reset, in which constants are read
    o : Out(beat stream)
    load : In(write_bus), where constants are written at run time; chosen_set : In(1) with two sets of them
    """

    def __init__(self, config: NeuronArrayConfig, constants: Sequence[int]) -> None:
        self.config = config
        self.constants = constants
        n = config.neuron
        sums = FlatArray(FlatArray(signed(n.accumulator_bits), n.sums), config.units)
        super().__init__({"i": In(stream.Signature(sums)),
                          "o": Out(beat_stream(config.units, n.steps, config.potential_bits)),
                          **({"load": In(write_bus(1, config.loaded[0][0]))} if config.loaded else {}),
                          **({"chosen_set": In(1)} if config.loaded and config.weight_sets == 2 else {})})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config

        take = Signal()
        m.d.comb += take.eq(self.i.valid & self.i.ready)
        # Which beat this is. Stepping units need its constants until they are done with it.
        passed = Signal()
        beat_q = Signal(index_shape(cfg.beats))
        window_q = Signal(index_shape(cfg.windows))
        with m.If(passed):
            m.d.sync += beat_q.eq(beat_q + 1)
            with m.If(beat_q == cfg.beats - 1):
                m.d.sync += [beat_q.eq(0), window_q.eq(window_q + 1)]
                with m.If(window_q == cfg.windows - 1):
                    m.d.sync += window_q.eq(0)

        # Whether the neurons start from nothing.
        fresh: Any = window_q == 0
        if cfg.neuron.endless:
            fresh = fresh_q = Signal(init=1)
            with m.If(passed & (beat_q == cfg.beats - 1)):
                m.d.sync += fresh_q.eq(0)

        kind = NeuronPipeline if cfg.pipelined else SteppingNeuron
        units = [add_instance(m, platform, f"unit{k}", kind, cfg.neuron, f"{cfg.name}_neuron")
                 for k in range(cfg.units)]
        for k, u in enumerate(units):
            m.d.comb += u.sums.eq(self.i.payload[k])
        beat = Cat(u.mask for u in units)
        if cfg.neuron.gives_potential:
            beat = Cat(beat, *(u.potential for u in units))

        if cfg.neuron.has_constants:
            self._constants(m, units, passed, beat_q)
        if cfg.pipelined:
            done = self._pipeline(m, take, beat, (beat_q == 0) & ~fresh)
        else:
            done = self._stepping(m, take, beat, units)
        m.d.comb += passed.eq(take if cfg.pipelined else done)
        if cfg.neuron.keeps_state:
            self._state(m, units, beat_q, fresh, done)
        return m

    def _constants(self, m: Module, units: list[Any], passed: Signal, beat_q: Signal) -> None:
        cfg = self.config
        layout = constants_layout(cfg.neuron)
        # Pipelined units are far apart: the row is read ahead, for the sake of a register next to each of them.
        m.submodules.constants = rom = Rom(f"{cfg.name}_constants", layout.size * cfg.units, self.constants,
                                           CONSTANTS_CYCLES if cfg.pipelined else 1, cfg.weight_sets)
        if cfg.loaded:
            wiring.connect(m, wiring.flipped(self.load), rom.load)
        if cfg.weight_sets == 2:
            m.d.comb += rom.chosen_set.eq(self.chosen_set)
        m.d.comb += rom.address.eq(self._row(m, passed, beat_q))
        for k, u in enumerate(units):
            constants: Any = rom.data[k * layout.size:(k + 1) * layout.size]
            if cfg.pipelined:
                constants, row = Signal(layout.size, name=f"constants{k}_q", reset_less=True), constants
                m.d.sync += constants.eq(row)
            m.d.comb += u.constants.as_value().eq(constants)

    def _row(self, m: Module, passed: Signal, beat_q: Signal) -> Any:
        """Where the constants are: for pipelined units those of the beat that comes next."""
        rows = self.config.constant_beats
        if not self.config.pipelined and rows == self.config.beats:
            return beat_q
        if self.config.pipelined:
            return rows_in_turn(m, rows, passed)[1]
        row_q = Signal(index_shape(rows))
        with m.If(passed):
            m.d.sync += row_q.eq(Mux(row_q == rows - 1, 0, row_q + 1))
        return row_q

    def _pipeline(self, m: Module, take: Signal, beat: Any, window_starts: Any) -> Signal:
        """Free-running units, credits for the output queue. Returns when a beat comes out."""
        cfg = self.config
        latency = cfg.unit_cycles
        layout = beat_layout(cfg.units, cfg.neuron.steps, cfg.potential_bits)
        m.submodules.queue = queue = Queue(layout, cfg.queue_depth, has_room=True, registers_input=True)
        wiring.connect(m, wiring.flipped(self.o), queue.o)

        valid = Signal(latency)
        m.d.sync += valid.eq(Cat(take, valid[:-1]))
        done = valid[-1]
        m.d.comb += [queue.i.valid.eq(done), queue.i.payload.as_value().eq(beat)]

        gone_q = Signal()  # the consumer may be far away
        m.d.sync += gone_q.eq(self.o.valid & self.o.ready)
        full = occupancy(m, "inside", cfg.queue_depth, take, gone_q)[-1]
        waits = window_starts & valid.any() if cfg.neuron.keeps_state else Const(0)
        m.d.comb += self.i.ready.eq(~full & ~waits)
        return done

    def _stepping(self, m: Module, take: Signal, beat: Any, units: list[Any]) -> Signal:
        """Units in lockstep, one beat at a time. Returns when it is ready."""
        cfg = self.config
        # Where the beat is, as a one that moves on.
        at_q = Signal(cfg.unit_cycles - 1)
        busy_q = Signal()
        full_q = Signal()
        done = Signal()
        given = Signal()
        plan = schedule_of(cfg.neuron)
        phase = Cat(Cat(at_q[at] for at in range(k, len(at_q), plan.interval_cycles)
                        if at - k < cfg.neuron.steps * plan.interval_cycles).any() for k in range(plan.depth_cycles))
        m.d.comb += [done.eq(at_q[-1]), given.eq(self.o.valid & self.o.ready), self.i.ready.eq(~busy_q)]
        m.d.sync += [at_q.eq(Cat(take, at_q[:-1])), busy_q.eq(take | (busy_q & ~given)),
                     full_q.eq(done | (full_q & ~given))]
        m.d.comb += [self.o.valid.eq(full_q), self.o.payload.as_value().eq(beat)]
        for u in units:
            m.d.comb += [u.start.eq(take), u.phase.eq(phase)]
        return done

    def _state(self, m: Module, units: list[Any], beat_q: Signal, fresh: Any, done: Signal) -> None:
        """States between windows: read as a beat is taken, written back as its masks are done."""
        cfg = self.config
        layout = FlatArray(state_layout(cfg.neuron), cfg.units)
        m.submodules.state = memory = Memory(shape=layout, depth=memory_depth(cfg.beats), init=[])
        read, write = memory.read_port(domain="comb"), memory.write_port()
        written_q = Signal(index_shape(cfg.beats))
        # A stepping unit writes one cycle after its last phase, when the masks are offered.
        ready = Signal()
        if cfg.pipelined:
            m.d.comb += ready.eq(done)
        else:
            m.d.sync += ready.eq(done)
        m.d.comb += [read.addr.eq(beat_q), write.addr.eq(written_q), write.en.eq(ready)]
        with m.If(ready):
            m.d.sync += written_q.eq(written_q + 1)
            with m.If(written_q == cfg.beats - 1):
                m.d.sync += written_q.eq(0)
        for k, u in enumerate(units):
            m.d.comb += [u.state.eq(read.data[k]), u.fresh.eq(fresh), write.data[k].eq(u.next_state)]
