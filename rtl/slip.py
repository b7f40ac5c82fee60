"""Packets on a line of bytes: SLIP (RFC 1055). Whatever was lost, the next packet is found again."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .uart import received_byte

__all__ = ["END", "ESC", "ESC_END", "ESC_ESC", "SlipDecoder", "SlipEncoder", "byte_packet", "slip_item"]

END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD  # RFC 1055, page 2


def byte_packet() -> stream.Signature:
    """Bytes of packets, ``last`` with the last one of each."""
    return stream.Signature(data.StructLayout({"data": 8, "last": 1}))


def slip_item() -> stream.Signature:
    """What a decoder finds, which cannot wait: a byte, an ``end``, or something ``bad``."""
    return stream.Signature(data.StructLayout({"data": 8, "end": 1, "bad": 1}), always_ready=True)


class SlipDecoder(wiring.Component):
    """Bytes and ends of packets from a line. Latency 0 cycles.

    An END is an end, also right after another one: empty packets are the reader's business.

    Members
    -------
    i : In(received_byte)
    o : Out(slip_item)
    """

    def __init__(self) -> None:
        super().__init__({"i": In(received_byte()), "o": Out(slip_item())})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        escaped_q = Signal()
        byte, item = self.i.payload, self.o.payload
        m.d.comb += item.data.eq(byte.data)
        with m.If(self.i.valid):
            m.d.sync += escaped_q.eq(0)
            m.d.comb += self.o.valid.eq(1)
            with m.If(byte.bad):
                m.d.comb += item.bad.eq(1)
            with m.Elif(byte.data == END):
                m.d.comb += item.end.eq(1)
            with m.Elif(escaped_q):
                m.d.comb += [item.data.eq(Mux(byte.data == ESC_END, END, ESC)),
                             item.bad.eq((byte.data != ESC_END) & (byte.data != ESC_ESC))]
            with m.Elif(byte.data == ESC):
                m.d.comb += self.o.valid.eq(0)
                m.d.sync += escaped_q.eq(1)
        return m


class SlipEncoder(wiring.Component):
    """Packets to bytes of a line: an END, the packet with END and ESC replaced, an END.

    Latency 0 cycles; a packet of ``n`` bytes takes ``n + 2`` cycles, and one more for each END or ESC in it.

    Members
    -------
    i : In(byte_packet)
    o : Out(stream of 8)
    """

    def __init__(self) -> None:
        super().__init__({"i": In(byte_packet()), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        inside_q = Signal()   # of a packet
        escaped_q = Signal()  # ESC was sent
        ends_q = Signal()
        byte = self.i.payload.data
        special = Signal()
        m.d.comb += special.eq((byte == END) | (byte == ESC))
        with m.If(ends_q):
            m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(END)]
            with m.If(self.o.ready):
                m.d.sync += [ends_q.eq(0), inside_q.eq(0)]
        with m.Else():
            m.d.comb += self.o.valid.eq(self.i.valid)
            with m.If(~inside_q):
                m.d.comb += self.o.payload.eq(END)
                m.d.sync += inside_q.eq(self.i.valid & self.o.ready)
            with m.Elif(special & ~escaped_q):
                m.d.comb += self.o.payload.eq(ESC)
                m.d.sync += escaped_q.eq(self.i.valid & self.o.ready)
            with m.Else():
                m.d.comb += [self.o.payload.eq(Mux(escaped_q, Mux(byte == END, ESC_END, ESC_ESC), byte)),
                             self.i.ready.eq(self.o.ready)]
                with m.If(self.i.valid & self.o.ready):
                    m.d.sync += [escaped_q.eq(0), ends_q.eq(self.i.payload.last)]
        return m
