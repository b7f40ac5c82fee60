"""Readout: scores from the output spikes, and the class with the highest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from .adder_tree import tree_sum
from .beat import beat_masks, beat_stream, index_shape, memory_depth

__all__ = ["Readout", "ReadoutConfig"]


@dataclass(frozen=True, kw_only=True)
class ReadoutConfig:
    """Shape of a readout.

    Parameters
    ----------
    classes : int
    units : int
        Neurons in a beat.
    lanes : int
        Neurons in a group; a group is ``ceil(lanes / units)`` beats.
    step_weights : tuple of tuple of int
        Score of a spike, for each window and step in it.
    membrane_bits : int
        Width of the membrane potentials that decide between equal scores; 0 if the lowest index does.
    """

    classes: int
    units: int
    lanes: int
    step_weights: tuple[tuple[int, ...], ...]
    membrane_bits: int

    @property
    def group_beats(self) -> int:
        return -(-self.lanes // self.units)

    @property
    def groups(self) -> int:
        return -(-self.classes // self.lanes)

    @property
    def score_bits(self) -> int:
        """Of the largest possible score."""
        return int(bits_for(sum(sum(window) for window in self.step_weights)))


class Readout(wiring.Component):
    """Reads one neuron per cycle; after the last one of the run, gives the class.

    ::

        score[n] = sum over windows v and steps t of step_weights[v][t] * mask[n][t]
        key[n]   = score[n], or score[n] * 2**membrane_bits + potential[n] + 2**(membrane_bits - 1)
        class    = the lowest n with the highest key

    ``potential`` is that of the last window. The key holds it with its sign bit flipped, below the score, so that one
    unsigned comparison orders by score first and by potential second.

    Timing: a beat takes ``units`` cycles; the class is offered 2 cycles after the last neuron of the run was
    read. Memory: ``classes * score_bits`` bits if there are several windows.

    Members
    -------
    i : In(beat stream)
    o : Out(stream of class index)
    """

    def __init__(self, config: ReadoutConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(beat_stream(config.units, len(config.step_weights[0]), config.membrane_bits)),
            "o": Out(stream.Signature(range(max(2, config.classes)))),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        windows = len(cfg.step_weights)

        # Which neuron this is. A group's last beat and the last group may be padded.
        unit_q = Signal(index_shape(cfg.units))
        lane_q = Signal(index_shape(cfg.group_beats * cfg.units))
        class_q = Signal(index_shape(cfg.groups * cfg.lanes + 1))
        group_q = Signal(index_shape(cfg.groups))
        window_q = Signal(index_shape(windows))
        finishing_q = Signal()
        read = Signal()
        real = Signal()
        beat_ends, group_ends, window_ends, run_ends = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            read.eq(self.i.valid & ~finishing_q),
            real.eq((lane_q < cfg.lanes) & (class_q < cfg.classes)),
            beat_ends.eq(unit_q == cfg.units - 1),
            group_ends.eq(lane_q == cfg.group_beats * cfg.units - 1),
            window_ends.eq(group_ends & (group_q == cfg.groups - 1)),
            run_ends.eq(window_ends & (window_q == windows - 1)),
            self.i.ready.eq(beat_ends & ~finishing_q),
        ]
        with m.If(read):
            m.d.sync += [unit_q.eq(Mux(beat_ends, 0, unit_q + 1)), lane_q.eq(Mux(group_ends, 0, lane_q + 1)),
                         class_q.eq(class_q + (lane_q < cfg.lanes))]
            with m.If(group_ends):
                m.d.sync += group_q.eq(group_q + 1)
            with m.If(window_ends):
                m.d.sync += [class_q.eq(0), group_q.eq(0), window_q.eq(window_q + 1)]
            with m.If(run_ends):
                m.d.sync += [window_q.eq(0), finishing_q.eq(1)]

        def of_unit(items: Any) -> Any:
            return items[unit_q] if cfg.units > 1 else items[0]

        # Score of this neuron in this window.
        mask = Signal(len(cfg.step_weights[0]))
        m.d.comb += mask.eq(of_unit(beat_masks(self.i.payload)))
        gained = Signal(cfg.score_bits)
        for v, weights in enumerate(cfg.step_weights):
            terms = [Const(c) & mask[t].replicate(max(1, c.bit_length())) for t, c in enumerate(weights)]
            total, _ = tree_sum(m, terms, f"gained{v}", len(terms) + 1)
            with m.If(window_q == v):
                m.d.comb += gained.eq(total)

        read_q, real_q, class_read_q, run_ends_q = Signal(), Signal(), Signal.like(class_q), Signal()
        gained_q = Signal.like(gained)
        m.d.sync += [read_q.eq(read), real_q.eq(real), class_read_q.eq(class_q), run_ends_q.eq(read & run_ends),
                     gained_q.eq(gained)]
        score = Signal(cfg.score_bits)
        if windows > 1:
            m.submodules.scores = scores = Memory(shape=cfg.score_bits, depth=memory_depth(cfg.classes), init=[])
            kept, write = scores.read_port(domain="comb"), scores.write_port()
            first_q = Signal()
            m.d.sync += first_q.eq(window_q == 0)
            m.d.comb += [kept.addr.eq(class_read_q), score.eq(gained_q + Mux(first_q, 0, kept.data)),
                         write.addr.eq(class_read_q), write.data.eq(score), write.en.eq(read_q & real_q)]
        else:
            m.d.comb += score.eq(gained_q)

        key: Any = score
        if cfg.membrane_bits:
            potential_q = Signal(cfg.membrane_bits)
            m.d.sync += potential_q.eq(of_unit(self.i.payload.potential))
            key = Cat(potential_q[:-1], ~potential_q[-1], score)

        # The best so far; class 0 starts anew, in every window.
        best_q = Signal(len(key))
        best_class_q = Signal.like(self.o.payload)
        with m.If(read_q & real_q & ((class_read_q == 0) | (key > best_q))):
            m.d.sync += [best_q.eq(key), best_class_q.eq(class_read_q)]
        valid_q = Signal()
        with m.If(run_ends_q):
            m.d.sync += valid_q.eq(1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [valid_q.eq(0), finishing_q.eq(0)]
        m.d.comb += [self.o.valid.eq(valid_q), self.o.payload.eq(best_class_q)]
        return m
