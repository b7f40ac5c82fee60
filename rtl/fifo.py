"""A first-in first-out queue with stream ports."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

__all__ = ["Queue"]

PART_BITS = 512


class Queue(wiring.Component):
    """A queue of ``depth`` payloads of any shape.

    Latency 1 cycle, throughput 1 per cycle, ``depth * bits(shape)`` bits of LUT RAM.

    Members
    -------
    i : In(stream)
    o : Out(stream)
    """

    def __init__(self, shape: Any, depth: int) -> None:
        self.shape = shape
        self.depth = depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        sent, received = Value.cast(self.i.payload), Value.cast(self.o.payload)
        # Amaranth's simulator takes no memory much wider than this. The parts' equal controls are merged in synthesis.
        for first in range(0, len(sent), PART_BITS):
            part = slice(first, min(first + PART_BITS, len(sent)))
            m.submodules[f"part{first // PART_BITS}"] = fifo = SyncFIFO(width=part.stop - first, depth=self.depth)
            m.d.comb += [fifo.w_data.eq(sent[part]), fifo.w_en.eq(self.i.valid),
                         received[part].eq(fifo.r_data), fifo.r_en.eq(self.o.ready)]
        m.d.comb += [self.i.ready.eq(fifo.w_rdy), self.o.valid.eq(fifo.r_rdy)]
        return m
