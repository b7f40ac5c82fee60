"""A synchronous serial line: SPI, mode 0 (clock idle low, data looked at as it rises), most significant bit first."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from .uart import received_byte

__all__ = ["SCK_CYCLES_MIN", "SpiTarget"]

SCK_CYCLES_MIN = 8  # of a period of sck: synchronised, seen and answered within half of it


class SpiTarget(wiring.Component):
    """Bytes from and to an SPI controller.

    Both ways are independent: a byte comes with every eight rising edges of ``sck``, and what leaves meanwhile is the
    next byte of ``i``, or ``idle`` if there is none as the byte begins. A byte that is broken off is bad.

    A byte comes 3 to 4 cycles after its last rising edge; ``miso`` changes 3 to 4 cycles after a falling one.
    Throughput: the line's; a period of ``sck`` is at least :data:`SCK_CYCLES_MIN` cycles, and between ``cs_n`` and the
    first or last edge there are half as many.

    Parameters
    ----------
    idle : int
        What the other side ignores.

    Members
    -------
    sck, cs_n, mosi : In(1), asynchronous
    miso : Out(1); miso_enable : Out(1), while ``cs_n`` is low: others may share the wire
    i : In(stream of 8)
    o : Out(received_byte)
    """

    def __init__(self, idle: int) -> None:
        self.idle = idle
        super().__init__({"sck": In(1), "cs_n": In(1, init=1), "mosi": In(1), "miso": Out(1), "miso_enable": Out(1),
                          "i": In(stream.Signature(8)), "o": Out(received_byte())})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        sck = Signal()
        cs_n = Signal(init=1)
        mosi = Signal()
        m.submodules.sck = FFSynchronizer(self.sck, sck)
        m.submodules.cs_n = FFSynchronizer(self.cs_n, cs_n, init=1)
        m.submodules.mosi = FFSynchronizer(self.mosi, mosi)
        sck_q = Signal()
        cs_n_q = Signal(init=1)
        m.d.sync += [sck_q.eq(sck), cs_n_q.eq(cs_n)]
        rises = Signal()
        falls = Signal()
        begins = Signal()
        m.d.comb += [rises.eq(~cs_n & sck & ~sck_q), falls.eq(~cs_n & ~sck & sck_q), begins.eq(~cs_n & cs_n_q)]

        bits_q = Signal(8, reset_less=True)  # that have come
        count_q = Signal(3)                  # how many, of this byte
        send_q = Signal(8)                   # what leaves, from its highest bit on
        from_i_q = Signal()                  # the byte in send_q is that of i
        whole = Signal()
        loads = Signal()
        m.d.comb += [
            whole.eq(rises & (count_q == 7)), loads.eq(begins | (falls & (count_q == 0))),
            self.o.valid.eq(whole | (cs_n & ~cs_n_q & (count_q != 0))),
            self.o.payload.data.eq(Cat(mosi, bits_q[:7])), self.o.payload.bad.eq(~whole),
            # It may be that no edge follows: only with the first one the byte is on its way.
            self.i.ready.eq(rises & (count_q == 0) & from_i_q),
            self.miso.eq(send_q[7]), self.miso_enable.eq(~self.cs_n),
        ]
        with m.If(cs_n):
            m.d.sync += [count_q.eq(0), from_i_q.eq(0)]
        with m.Elif(rises):
            m.d.sync += [bits_q.eq(Cat(mosi, bits_q[:7])), count_q.eq(count_q + 1)]
        with m.If(loads):
            m.d.sync += [send_q.eq(Mux(self.i.valid, self.i.payload, self.idle)), from_i_q.eq(self.i.valid)]
        with m.Elif(falls):
            m.d.sync += send_q.eq(Cat(Const(0, 1), send_q[:7]))
        return m
