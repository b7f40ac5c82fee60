"""The way in, where the input says which step is a run's last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .beat import beat_stream
from .counter import counter

__all__ = ["MarkGate", "MarkGateConfig"]


@dataclass(frozen=True, kw_only=True)
class MarkGateConfig:
    """Shape of a mark gate: ``items`` masks of ``item_bits`` bits in a beat, ``beats`` in a step, ``steps`` at most."""

    items: int
    item_bits: int
    beats: int
    steps: int


class MarkGate(wiring.Component):
    """Lets the beats of a run through, and those of the next one after ``release``.

    A run ends with the step whose last beat is marked, or after ``steps`` steps. From the cycle after that beat until
    ``release``, ``ended`` is set and ``length`` is the number of its steps. Latency 0; 1 cycle from ``release`` to the
    next beat.

    Members
    -------
    i : In(beat stream with a mark)
    o : Out(beat stream)
    release : In(1)
    ended : Out(1)
    length : Out(range(steps + 1))
    """

    def __init__(self, config: MarkGateConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(beat_stream(config.items, config.item_bits, marked=True)),
            "o": Out(beat_stream(config.items, config.item_bits)),
            "release": In(1), "ended": Out(1), "length": Out(range(config.steps + 1)),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        length_q = Signal(range(cfg.steps + 1))
        ended_q = Signal()
        take = Signal()
        _, step_ends = counter(m, "beat", cfg.beats, take)
        m.d.comb += [
            self.o.valid.eq(self.i.valid & ~ended_q), self.o.payload.eq(self.i.payload.mask),
            self.i.ready.eq(self.o.ready & ~ended_q), take.eq(self.o.valid & self.o.ready),
            self.ended.eq(ended_q), self.length.eq(length_q),
        ]
        with m.If(self.release):
            m.d.sync += [ended_q.eq(0), length_q.eq(0)]
        with m.Elif(step_ends):
            m.d.sync += [length_q.eq(length_q + 1), ended_q.eq(self.i.payload.last | (length_q == cfg.steps - 1))]
        return m
