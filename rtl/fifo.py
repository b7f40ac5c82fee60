"""A first-in first-out queue with stream ports."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

__all__ = ["Queue"]


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
        payload = Value.cast(self.i.payload)
        m.submodules.fifo = fifo = SyncFIFO(width=len(payload), depth=self.depth)
        m.d.comb += [
            fifo.w_data.eq(payload), fifo.w_en.eq(self.i.valid), self.i.ready.eq(fifo.w_rdy),
            Value.cast(self.o.payload).eq(fifo.r_data), self.o.valid.eq(fifo.r_rdy), fifo.r_en.eq(self.o.ready),
        ]
        return m
