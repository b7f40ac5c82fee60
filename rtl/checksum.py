"""A checksum at the end of each packet of bytes: CRC-16/XMODEM, its high byte first."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from .slip import byte_packet, slip_item

__all__ = ["CHECKSUM_BYTES", "ChecksumAdder", "ChecksumChecker", "checked_byte"]

CHECKSUM_BYTES = 2
HELD = CHECKSUM_BYTES + 1  # of which the first may be the packet's last one


def checked_byte() -> stream.Signature:
    """Bytes of packets, which cannot wait; ``good`` says with the last one whether the checksum was right."""
    return stream.Signature(data.StructLayout({"data": 8, "last": 1, "good": 1}), always_ready=True)


class ChecksumChecker(wiring.Component):
    """Takes the checksum off each packet and compares it.

    A packet without a byte between its ends is none. One that is shorter than a byte and a checksum comes out as a
    single byte 0 that is not good. Latency: three bytes, the last one 0 cycles after the packet's end.

    Members
    -------
    i : In(slip_item)
    o : Out(checked_byte)
    """

    def __init__(self) -> None:
        super().__init__({"i": In(slip_item()), "o": Out(checked_byte())})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.crc = crc = catalog.CRC16_XMODEM(data_width=8).create()
        held_q = [Signal(8, name=f"held{n}_q", reset_less=True) for n in range(HELD)]
        count_q = Signal(range(HELD + 1))
        bad_q = Signal()
        item, out = self.i.payload, self.o.payload
        full = count_q == HELD
        ends = Signal()
        byte = Signal()
        m.d.comb += [
            ends.eq(self.i.valid & item.end), byte.eq(self.i.valid & ~item.end & ~item.bad),
            crc.start.eq(ends), crc.data.eq(item.data), crc.valid.eq(byte),
            out.data.eq(Mux(full, held_q[-1], 0)), out.last.eq(item.end),
            # With its own checksum behind it, a packet's checksum is 0.
            out.good.eq(full & ~bad_q & (crc.crc == 0)),
            self.o.valid.eq(Mux(item.end, ends & ((count_q != 0) | bad_q), byte & full)),
        ]
        with m.If(byte):
            m.d.sync += Cat(held_q).eq(Cat(item.data, held_q[:-1]))
            with m.If(~full):
                m.d.sync += count_q.eq(count_q + 1)
        with m.If(self.i.valid & item.bad & ~item.end):
            m.d.sync += bad_q.eq(1)
        with m.If(ends):
            m.d.sync += [count_q.eq(0), bad_q.eq(0)]
        return m


class ChecksumAdder(wiring.Component):
    """Puts the checksum behind each packet. Latency 0 cycles; a packet takes two more.

    Members
    -------
    i : In(byte_packet)
    o : Out(byte_packet)
    """

    def __init__(self) -> None:
        super().__init__({"i": In(byte_packet()), "o": Out(byte_packet())})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.crc = crc = catalog.CRC16_XMODEM(data_width=8).create()
        left_q = Signal(range(CHECKSUM_BYTES + 1))
        take = Signal()
        m.d.comb += [take.eq(self.i.valid & self.i.ready), crc.data.eq(self.i.payload.data), crc.valid.eq(take)]
        with m.If(left_q == 0):
            m.d.comb += [self.o.valid.eq(self.i.valid), self.o.payload.data.eq(self.i.payload.data),
                         self.i.ready.eq(self.o.ready)]
            with m.If(take & self.i.payload.last):
                m.d.sync += left_q.eq(CHECKSUM_BYTES)
        with m.Else():
            m.d.comb += [self.o.valid.eq(1), self.o.payload.last.eq(left_q == 1),
                         self.o.payload.data.eq(Mux(left_q == 1, crc.crc[:8], crc.crc[8:])),
                         crc.start.eq(self.o.ready & (left_q == 1))]
            with m.If(self.o.ready):
                m.d.sync += left_q.eq(left_q - 1)
        return m
