"""An asynchronous serial line: one start bit, eight data bits, no parity, one stop bit."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from .beat import index_shape

__all__ = ["BIT_CYCLES_MIN", "UartReceiver", "UartTransmitter", "received_byte"]

BIT_CYCLES_MIN = 4  # fewer, and the middle of a bit is not where the receiver looks
FRAME_BITS = 10


def received_byte() -> stream.Signature:
    """Bytes as they come, which cannot wait; ``bad`` stands for something that was none."""
    return stream.Signature(data.StructLayout({"data": 8, "bad": 1}), always_ready=True)


class UartReceiver(wiring.Component):
    """Bytes from a line.

    Each bit is looked at once, in its middle. A start bit that is over by its middle was noise. A stop bit that is not
    there makes the byte bad, and the line must be idle again before the next one.

    A byte comes ``bit_cycles // 2 + 9 * bit_cycles + 3`` cycles after the line fell. Throughput: the line's.

    Parameters
    ----------
    bit_cycles : int
        Clock cycles a bit.

    Members
    -------
    rx : In(1), asynchronous
    o : Out(received_byte)
    """

    def __init__(self, bit_cycles: int) -> None:
        if bit_cycles < BIT_CYCLES_MIN:
            raise ValueError(f"bit_cycles must be at least {BIT_CYCLES_MIN}, not {bit_cycles!r}")
        self.bit_cycles = bit_cycles
        super().__init__({"rx": In(1, init=1), "o": Out(received_byte())})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchroniser = FFSynchronizer(self.rx, rx, init=1)
        count_q = Signal(index_shape(self.bit_cycles))
        left_q = Signal(range(FRAME_BITS + 1))  # bits to look at
        bits_q = Signal(8, reset_less=True)
        broken_q = Signal()  # until the line is idle
        m.d.comb += self.o.payload.data.eq(bits_q)
        m.d.sync += [self.o.valid.eq(0), self.o.payload.bad.eq(~rx)]
        with m.If(left_q == 0):
            m.d.sync += count_q.eq(self.bit_cycles // 2 - 1)
            with m.If(rx):
                m.d.sync += broken_q.eq(0)
            with m.Elif(~broken_q):
                m.d.sync += left_q.eq(FRAME_BITS)
        with m.Elif(count_q != 0):
            m.d.sync += count_q.eq(count_q - 1)
        with m.Else():
            m.d.sync += [count_q.eq(self.bit_cycles - 1), left_q.eq(left_q - 1)]
            with m.If((left_q == FRAME_BITS) & rx):
                m.d.sync += left_q.eq(0)
            with m.Elif(left_q == 1):
                m.d.sync += [self.o.valid.eq(1), broken_q.eq(~rx)]
            with m.Else():
                m.d.sync += bits_q.eq(Cat(bits_q[1:], rx))
        return m


class UartTransmitter(wiring.Component):
    """Bytes to a line. A byte takes ``10 * bit_cycles`` cycles; its start bit begins in the cycle after it is taken.

    Parameters
    ----------
    bit_cycles : int
        Clock cycles a bit.

    Members
    -------
    i : In(stream of 8)
    tx : Out(1)
    """

    def __init__(self, bit_cycles: int) -> None:
        if bit_cycles < BIT_CYCLES_MIN:
            raise ValueError(f"bit_cycles must be at least {BIT_CYCLES_MIN}, not {bit_cycles!r}")
        self.bit_cycles = bit_cycles
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        count_q = Signal(index_shape(self.bit_cycles))
        left_q = Signal(range(FRAME_BITS + 1))
        bits_q = Signal(FRAME_BITS, init=(1 << FRAME_BITS) - 1)
        last = Signal()
        m.d.comb += [self.tx.eq(bits_q[0]), last.eq((left_q == 0) | ((left_q == 1) & (count_q == 0))),
                     self.i.ready.eq(last)]
        with m.If(last & self.i.valid):
            m.d.sync += [bits_q.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1))), left_q.eq(FRAME_BITS),
                         count_q.eq(self.bit_cycles - 1)]
        with m.Elif(left_q != 0):
            m.d.sync += count_q.eq(count_q - 1)
            with m.If(count_q == 0):
                m.d.sync += [count_q.eq(self.bit_cycles - 1), left_q.eq(left_q - 1),
                             bits_q.eq(Cat(bits_q[1:], Const(1, 1)))]
        return m
