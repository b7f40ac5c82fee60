"""Frames wait until they are known to be whole."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["FrameBuffer", "buffered_byte"]


def buffered_byte() -> data.StructLayout:
    """A byte; whether it is its frame's last, and its packet's, which may be of several frames; whether the frame
    holds weights."""
    return data.StructLayout({"data": 8, "ends_frame": 1, "ends_packet": 1, "weights": 1})


class FrameBuffer(wiring.Component):
    """A queue of bytes that come out when their frame is committed, or never.

    Latency 2 cycles after ``commit``, throughput a byte a cycle, ``11 * depth`` bits of block RAM.

    Parameters
    ----------
    depth : int
        Bytes; a power of two.

    Members
    -------
    i : In(stream of buffered_byte), ready unless full
    o : Out(stream of buffered_byte)
    commit, drop : In(1), what has come since the last of these belongs to the queue, is forgotten; not both, and not
        while a byte comes
    flush : In(1), everything is forgotten
    """

    def __init__(self, depth: int) -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two, not {depth!r}")
        self.depth = depth
        super().__init__({"i": In(stream.Signature(buffered_byte())), "o": Out(stream.Signature(buffered_byte())),
                          "commit": In(1), "drop": In(1), "flush": In(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=buffered_byte(), depth=self.depth, init=[],
                                               attrs={"no_rw_check": 1})  # no byte is read as it is written
        write, read = memory.write_port(), memory.read_port()
        places = range(2 * self.depth)  # twice around: full and empty differ
        written_q = Signal(places)
        committed_q = Signal(places)
        read_q = Signal(places)
        shown_q = Signal()  # the memory's output is the queue's first byte
        m.d.comb += [
            # A byte that is shown may be overwritten: it stays in the memory's output.
            self.i.ready.eq(written_q ^ self.depth != read_q),
            write.addr.eq(written_q), write.data.eq(self.i.payload), write.en.eq(self.i.valid & self.i.ready),
            read.addr.eq(read_q), read.en.eq((read_q != committed_q) & (~shown_q | self.o.ready)),
            self.o.valid.eq(shown_q), self.o.payload.eq(read.data),
        ]
        with m.If(self.drop):
            m.d.sync += written_q.eq(committed_q)
        with m.Elif(write.en):
            m.d.sync += written_q.eq(written_q + 1)
        m.d.sync += [read_q.eq(read_q + read.en), shown_q.eq(read.en | (shown_q & ~self.o.ready))]
        with m.If(self.commit):
            m.d.sync += committed_q.eq(written_q)
        with m.If(self.flush):
            m.d.sync += [written_q.eq(0), committed_q.eq(0), read_q.eq(0), shown_q.eq(0)]
        return m
