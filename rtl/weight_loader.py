"""Weights from a host: bytes to words of weight RAMs."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .beat import index_shape
from .slip import byte_packet

__all__ = ["HEAD_BYTES", "WORD_NUMBER_BYTES", "WeightLoader"]

WORD_NUMBER_BYTES = 3
HEAD_BYTES = 1 + WORD_NUMBER_BYTES


class WeightLoader(wiring.Component):
    """Packets of a table's index, the number of a word (3 bytes, least significant first) and words from there on.

    What is left of a word that is broken off is forgotten. Throughput a byte a cycle.

    Parameters
    ----------
    bus_bytes : tuple of int
        Of each table's words.

    Members
    -------
    i : In(byte_packet)
    word : Out, its number
    data : Out, least significant byte first; narrower words than the widest one are its lowest bits
    write<n> : Out(1), for each table
    """

    def __init__(self, bus_bytes: tuple[int, ...]) -> None:
        self.bus_bytes = bus_bytes
        super().__init__({"i": In(byte_packet()), "word": Out(8 * WORD_NUMBER_BYTES), "data": Out(8 * max(bus_bytes)),
                          **{f"write{n}": Out(1) for n in range(len(bus_bytes))}})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        most = max(self.bus_bytes)
        head_q = Signal(range(HEAD_BYTES + 1))  # bytes of the head that have come
        tables_q = [Signal(name=f"table{n}_q") for n in range(len(self.bus_bytes))]  # whose words these are
        writes_q = [Signal(name=f"write{n}_q") for n in range(len(self.bus_bytes))]
        number_q = Signal(8 * WORD_NUMBER_BYTES)
        bytes_q = [Signal(8, name=f"byte{n}_q", reset_less=True) for n in range(most)]
        next_q = Signal(index_shape(most))
        byte = self.i.payload.data
        full = Signal()  # this byte is its word's last
        m.d.comb += [self.i.ready.eq(1), self.word.eq(number_q), self.data.eq(Cat(bytes_q))]
        for n, size in enumerate(self.bus_bytes):
            with m.If(tables_q[n]):
                m.d.comb += full.eq(next_q == size - 1)
            m.d.comb += getattr(self, f"write{n}").eq(writes_q[n])
            m.d.sync += writes_q[n].eq(0)
        with m.If(Cat(writes_q).any()):
            m.d.sync += number_q.eq(number_q + 1)
        with m.If(self.i.valid):
            with m.If(head_q == 0):
                m.d.sync += [next_q.eq(0), head_q.eq(1), *(here.eq(byte == n) for n, here in enumerate(tables_q))]
            with m.Elif(head_q != HEAD_BYTES):
                m.d.sync += head_q.eq(head_q + 1)
                for k in range(WORD_NUMBER_BYTES):
                    with m.If(head_q == 1 + k):
                        m.d.sync += number_q.word_select(k, 8).eq(byte)
            with m.Else():
                m.d.sync += [next_q.eq(next_q + 1), *(w.eq(full & h) for w, h in zip(writes_q, tables_q, strict=True))]
                for n, byte_q in enumerate(bytes_q):
                    with m.If(next_q == n):
                        m.d.sync += byte_q.eq(byte)
                with m.If(full):
                    m.d.sync += next_q.eq(0)
            with m.If(self.i.payload.last):
                m.d.sync += head_q.eq(0)
        return m
