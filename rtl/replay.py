"""The sums of a static input, kept for all windows of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .beat import memory_depth
from .counter import counter
from .flat_array import FlatArray

__all__ = ["Replay", "ReplayConfig"]

PART_BITS = 512


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """Shape of a replay: ``units`` sums of ``sum_bits`` bits in a beat, ``beats`` in a window, ``windows`` in a run."""

    units: int
    sum_bits: int
    beats: int
    windows: int


class Replay(wiring.Component):
    """Gives the beats of the first window as they come, and in all other windows once more.

    Latency 0, a beat per cycle. Memory: ``beats * units * sum_bits`` bits of LUT RAM.

    Members
    -------
    i, o : In, Out(stream of units x 1 x sum)
    """

    def __init__(self, config: ReplayConfig) -> None:
        self.config = config
        beats = stream.Signature(FlatArray(FlatArray(signed(config.sum_bits), 1), config.units))
        super().__init__({"i": In(beats), "o": Out(beats)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        beat_q, window_ends = counter(m, "beat", cfg.beats, self.o.valid & self.o.ready)
        window_q, _ = counter(m, "window", cfg.windows, window_ends)
        fresh = Signal()
        m.d.comb += [fresh.eq(window_q == 0), self.o.valid.eq(self.i.valid | ~fresh),
                     self.i.ready.eq(self.o.ready & fresh)]
        sent, given = self.i.payload.as_value(), self.o.payload.as_value()
        # Amaranth's simulator takes no memory much wider than this.
        for first in range(0, len(sent), PART_BITS):
            part = slice(first, min(first + PART_BITS, len(sent)))
            memory = Memory(shape=part.stop - first, depth=memory_depth(cfg.beats), init=[])
            m.submodules[f"part{first // PART_BITS}"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [write.addr.eq(beat_q), write.data.eq(sent[part]), write.en.eq(self.i.valid & self.i.ready),
                         read.addr.eq(beat_q), given[part].eq(Mux(fresh, sent[part], read.data))]
        return m
