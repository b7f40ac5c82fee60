"""Beats of any width to bytes, and back: least significant byte first."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .beat import index_shape
from .packet_gate import packet_layout
from .slip import byte_packet

__all__ = ["BeatsToBytes", "BytesToBeats", "beat_bytes"]


def beat_bytes(bits: int) -> int:
    """Bytes of a beat."""
    return -(-bits // 8)


class BytesToBeats(wiring.Component):
    """Bytes of a packet to beats of ``bits`` bits. A beat that is broken off has zeros above.

    Latency: a beat is there in the cycle after its last byte; 0 cycles if a byte holds it. Throughput a byte a cycle.

    Members
    -------
    i : In(byte_packet)
    o : Out(stream of packet_layout)
    clear : In(1), forgets what has come of a beat
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__({"i": In(byte_packet()), "o": Out(stream.Signature(packet_layout(bits))), "clear": In(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        count = beat_bytes(self.bits)
        if count == 1:
            m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready),
                         self.o.payload.data.eq(self.i.payload.data), self.o.payload.last.eq(self.i.payload.last)]
            return m
        bytes_q = [Signal(8, name=f"byte{n}_q") for n in range(count)]
        next_q = Signal(index_shape(count))
        m.d.comb += [self.i.ready.eq(~self.o.valid | self.o.ready), self.o.payload.data.eq(Cat(bytes_q))]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(0)
            with m.If(self.i.valid):
                ends = self.i.payload.last | (next_q == count - 1)
                m.d.sync += [self.o.valid.eq(ends), self.o.payload.last.eq(self.i.payload.last), next_q.eq(next_q + 1)]
                with m.If(ends):
                    m.d.sync += next_q.eq(0)
                for n, byte_q in enumerate(bytes_q):
                    with m.If(next_q == n):
                        m.d.sync += byte_q.eq(self.i.payload.data)
                    with m.Elif(next_q == 0):
                        m.d.sync += byte_q.eq(0)
        with m.If(self.clear):
            m.d.sync += [self.o.valid.eq(0), next_q.eq(0)]
        return m


class BeatsToBytes(wiring.Component):
    """Beats of ``bits`` bits to bytes; with the last byte of a beat, the beat is taken. Latency 0 cycles.

    Members
    -------
    i : In(stream of packet_layout)
    o : Out(byte_packet)
    clear : In(1), begins anew
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__({"i": In(stream.Signature(packet_layout(bits))), "o": Out(byte_packet()), "clear": In(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        count = beat_bytes(self.bits)
        nth_q = Signal(index_shape(count))
        last = Signal()
        payload: Any = Signal(8 * count)
        m.d.comb += [payload.eq(Value.cast(self.i.payload.data)), last.eq(nth_q == count - 1),
                     self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready & last),
                     self.o.payload.data.eq(payload.word_select(nth_q, 8)),
                     self.o.payload.last.eq(self.i.payload.last & last)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += nth_q.eq(nth_q + 1)
            with m.If(last):
                m.d.sync += nth_q.eq(0)
        with m.If(self.clear):
            m.d.sync += nth_q.eq(0)
        return m
