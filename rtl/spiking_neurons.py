"""Neurons of a static input that spike, one after the other through one unit; all others are only compared."""

from __future__ import annotations

from collections.abc import Sequence
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .balanced import balanced
from .beat import beat_layout, beat_stream, index_shape
from .counter import rows_in_turn
from .fifo import Queue, occupancy
from .flat_array import FlatArray
from .neuron import constants_layout
from .neuron_array import NeuronArrayConfig
from .neuron_pipeline import CONSTANTS_CYCLES, NeuronPipeline
from .share import Rom, add_instance

__all__ = ["SpikingNeurons", "limit_bits", "place_bits"]

LIMIT_CYCLES = 2  # from a beat's number to its limits: a block RAM, and the register behind it


def limit_bits(config: NeuronArrayConfig) -> int:
    """Of a limit, which is a sum or, for neurons that never spike, more than any sum."""
    return config.neuron.accumulator_bits + 1


def place_bits(config: NeuronArrayConfig) -> int:
    """Of a neuron's place in its beat."""
    return int(index_shape(config.units).width)


class SpikingNeurons(wiring.Component):
    """In the place of a :class:`.NeuronArray` whose neurons start from nothing and are driven by one sum in all steps:
    whether such a neuron spikes at all can be seen from its sum.

    For each neuron ``n`` of a beat, at once: ``fires[n] = sum[n] >= limit[n]``. Those that do go through the unit, in
    the order of their places, one a cycle; its equations are the population's program. All other masks of the beat
    are 0.

    Timing, of a beat with ``k`` neurons that fire, taken in ``t``: it is compared until ``c``, the first cycle from
    ``t + 1`` on in which the beat before it moves on or is gone; it moves on in ``f``, the first one from ``c + 1`` on
    in which the last neuron of the beat before it enters the unit or has done so. Its own last one enters in
    ``f + max(1, k)``; the beat is offered :attr:`.NeuronArrayConfig.unit_cycles` + 1 cycles later. The next beat is
    taken in ``c`` at the earliest, while fewer than :attr:`.NeuronArrayConfig.queue_depth` are inside, where one
    that is handed over counts for a cycle more. Latency without neurons that wait
    :attr:`.NeuronArrayConfig.latency_cycles`.

    Memory bits: ``queue_depth * units * steps`` of LUT RAM, ``constant_beats * units * (accumulator_bits + 1)`` for the
    limits, and, if neurons have constants of their own, these for ``constant_beats << place_bits`` neurons.

    Parameters
    ----------
    config : NeuronArrayConfig
        One with ``spiking_only``.
    constants : sequence of int
        One word per neuron, packed :func:`.constants_layout`, at ``beat << place_bits | place``; empty if there are
        none.
    limits : sequence of int
        One word per beat: for each unit, ``limit_bits`` in two's complement.

    Members
    -------
    i : In(stream of units x sum); no beat may come in the first cycle after a reset, in which limits are read
    o : Out(beat stream)
    """

    def __init__(self, config: NeuronArrayConfig, constants: Sequence[int], limits: Sequence[int]) -> None:
        self.config = config
        self.constants = constants
        self.limits = limits
        n = config.neuron
        super().__init__({"i": In(stream.Signature(FlatArray(FlatArray(signed(n.accumulator_bits), 1), config.units))),
                          "o": Out(beat_stream(config.units, n.steps))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        units, sum_bits = cfg.units, cfg.neuron.accumulator_bits
        # A beat is compared, then its first neuron is found, then its neurons go into the unit. Each has registers of
        # its own, and moves on when the next ones are free.
        compares_q = Signal()
        finds_q = Signal()
        sends_q = Signal()
        more_q = Signal()
        take = Signal()
        beat_q, limits_row = rows_in_turn(m, cfg.constant_beats, take)
        compared = Signal()
        found = Signal()
        sent = Signal()
        m.d.comb += [sent.eq(~more_q), found.eq(finds_q & (~sends_q | sent)),
                     compared.eq(compares_q & (~finds_q | found))]
        m.d.sync += [compares_q.eq(take | (compares_q & ~compared)), finds_q.eq(compared | (finds_q & ~found)),
                     sends_q.eq(found | (sends_q & ~sent))]
        stages = []
        before: tuple[Any, Any] = (self.i.payload.as_value(), beat_q)
        for name, moves in (("compared", take), ("found", compared), ("sent", found)):
            sums_q = Signal(units * sum_bits, name=f"{name}_sums_q", reset_less=True)
            number_q = Signal.like(beat_q, name=f"{name}_beat_q")
            with m.If(moves):
                m.d.sync += [sums_q.eq(before[0]), number_q.eq(before[1])]
            before = sums_q, number_q
            stages.append(before)

        gone_q = Signal()  # the consumer may be far away
        m.d.sync += gone_q.eq(self.o.valid & self.o.ready)
        full = occupancy(m, "inside", cfg.queue_depth, take, gone_q)[-1]
        m.d.comb += [self.i.ready.eq((~compares_q | compared) & ~full), take.eq(self.i.valid & self.i.ready)]
        fires = self._compare(m, take, limits_row, stages[0][0])
        fires_q = Signal(units)
        with m.If(compared):
            m.d.sync += fires_q.eq(fires)

        first_q = Signal(units)
        left_q = Signal(units)
        left = Signal(units)
        first = Signal(units)
        rest = Signal(units)
        m.d.comb += [left.eq(Mux(found, fires_q, left_q)), first.eq(left & ~(left - 1)[:units]),
                     rest.eq(left & ~first)]
        m.d.sync += [first_q.eq(first), left_q.eq(rest), more_q.eq(rest.any())]

        unit = add_instance(m, platform, "unit", NeuronPipeline, cfg.neuron, f"{cfg.name}_neuron")
        sums, number_q = stages[-1]
        m.d.comb += unit.sums.as_value().eq(balanced(or_, [
            sums.word_select(n, sum_bits) & first_q[n].replicate(sum_bits) for n in range(units)]))
        place = Cat(*(Cat(Const(0, 1), *(first_q[n] for n in range(units) if n >> bit & 1)).any()
                      for bit in range(place_bits(cfg))))
        if cfg.neuron.has_constants:
            layout = constants_layout(cfg.neuron)
            m.submodules.constants = rom = Rom(f"{cfg.name}_constants", layout.size, self.constants, CONSTANTS_CYCLES)
            m.d.comb += [rom.address.eq(Cat(place, number_q)), unit.constants.as_value().eq(rom.data)]
        self._collect(m, unit.mask, Cat(first_q.any(), sends_q & sent, place))
        return m

    def _compare(self, m: Module, take: Any, row: Any, sums_q: Any) -> Signal:
        """Which neurons fire of the beat that was taken; kept while it waits."""
        cfg, bits = self.config, limit_bits(self.config)
        m.submodules.limits = rom = Rom(f"{cfg.name}_limits", cfg.units * bits, self.limits, LIMIT_CYCLES)
        m.d.comb += rom.address.eq(row)

        fresh_q = Signal()  # its limits are there in this cycle only
        fires = Signal(cfg.units)
        held_q = Signal(cfg.units)
        m.d.sync += [fresh_q.eq(take), held_q.eq(fires)]
        for n in range(cfg.units):
            margin = (sums_q.word_select(n, bits - 1).as_signed() - rom.data.word_select(n, bits).as_signed())
            m.d.comb += fires[n].eq(Mux(fresh_q, ~margin[-1], held_q[n]))
        return fires

    def _collect(self, m: Module, mask: Any, token: Any) -> None:
        """Put the masks that leave the unit in their places, and send the beat with its last one.

        ``token`` enters the unit with a neuron: whether there is one, whether it is the beat's last, its place.
        """
        cfg, steps = self.config, self.config.neuron.steps
        for k in range(cfg.unit_cycles):
            token, before = Signal(len(token), name=f"token{k}_q"), token
            m.d.sync += token.eq(before)
        some, last, place = token[0], token[1], token[2:]
        mask_q = Signal(steps, reset_less=True)
        m.d.sync += mask_q.eq(mask)
        m.submodules.queue = queue = Queue(beat_layout(cfg.units, steps), cfg.queue_depth, has_room=True,
                                           registers_input=True)
        wiring.connect(m, wiring.flipped(self.o), queue.o)
        kept_q = Signal(cfg.units * steps)
        masks = Cat(Mux(some & (place == n), mask_q, kept_q.word_select(n, steps)) for n in range(cfg.units))
        m.d.comb += [queue.i.valid.eq(last), queue.i.payload.as_value().eq(masks)]
        m.d.sync += kept_q.eq(Mux(last, Const(0), masks))
