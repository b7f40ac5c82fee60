"""The way in, where a run may end before all of its input has been looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .beat import beat_stream, index_shape

__all__ = ["InputGate", "InputGateConfig"]


@dataclass(frozen=True, kw_only=True)
class InputGateConfig:
    """Shape of an input gate: ``items`` masks of ``item_bits`` bits in a beat, ``beats`` in a run."""

    items: int
    item_bits: int
    beats: int


class InputGate(wiring.Component):
    """Lets the beats of a run through, and those of the next one after ``flush``.

    With ``flush`` the run is over: beats of it that have not come yet are taken and thrown away, one per cycle.
    Latency 0; nothing is taken in the cycle of ``flush``.

    Members
    -------
    i, o : In, Out(beat stream)
    flush : In(1)
    """

    def __init__(self, config: InputGateConfig) -> None:
        self.config = config
        beats = beat_stream(config.items, config.item_bits)
        super().__init__({"i": In(beats), "o": Out(beats), "flush": In(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        beats = self.config.beats
        taken_q = Signal(index_shape(beats + 1))  # beats of this run
        discards_q = Signal()
        passes = Signal()
        take = Signal()
        m.d.comb += [
            passes.eq(~self.flush & ~discards_q & (taken_q != beats)),
            self.o.valid.eq(self.i.valid & passes), self.o.payload.eq(self.i.payload),
            self.i.ready.eq(discards_q | (passes & self.o.ready)),
            take.eq(self.i.valid & self.i.ready),
        ]
        last = taken_q == beats - 1
        with m.If(discards_q), m.If(take):
            m.d.sync += [taken_q.eq(Mux(last, 0, taken_q + 1)), discards_q.eq(~last)]
        with m.Elif(self.flush):
            m.d.sync += [taken_q.eq(Mux(taken_q == beats, 0, taken_q)), discards_q.eq(taken_q != beats)]
        with m.Elif(take):
            m.d.sync += taken_q.eq(taken_q + 1)
        return m
