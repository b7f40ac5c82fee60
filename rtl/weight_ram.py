"""Weights in a RAM on the chip that is filled at run time: what stands at an AXI4 read master instead of a memory."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from .beat import index_shape, memory_depth
from .weight_fetch import WeightFetchConfig, axi4_read

__all__ = ["LATENCY_CYCLES", "WeightRam"]

LATENCY_CYCLES = 2  # from a burst's address to its first word


class WeightRam(wiring.Component):
    """The table of a weight fetch in a RAM with a single port.

    Word ``w`` of the table answers at byte address ``w * bus_bytes``; higher bits of an address mean nothing. A burst's
    first word comes 2 cycles after its address, then one every cycle, and the next burst's follow without a gap. A word
    that is written takes a cycle from them.

    Memory: ``table_bytes`` of RAM.

    Parameters
    ----------
    config : WeightFetchConfig

    Members
    -------
    axi : In(axi4_read)
    write : In(1), write_word, write_data : In; a word is written
    """

    def __init__(self, config: WeightFetchConfig) -> None:
        self.config = config
        self.words = memory_depth(config.table_bytes // config.bus_bytes)
        super().__init__({"axi": In(axi4_read(config.address_bits, config.bus_bits)), "write": In(1),
                          "write_word": In(index_shape(self.words)), "write_data": In(config.bus_bits)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        axi: Any = self.axi
        m.submodules.memory = memory = Memory(shape=self.config.bus_bits, depth=self.words, init=[])
        write, read = memory.write_port(), memory.read_port()
        word_q = Signal(index_shape(self.words))
        left_q = Signal(9)  # words of the burst that have not been read
        last_q = Signal()
        reads = Signal()
        address = Signal(index_shape(self.words))  # the RAM has one port
        m.d.comb += [
            reads.eq((left_q != 0) & ~self.write & (~axi.rvalid | axi.rready)),
            address.eq(Mux(self.write, self.write_word, word_q)),
            write.addr.eq(address), write.data.eq(self.write_data), write.en.eq(self.write),
            read.addr.eq(address), read.en.eq(reads),
            axi.arready.eq((left_q == 0) | ((left_q == 1) & reads)),
            axi.rdata.eq(read.data), axi.rlast.eq(last_q), axi.rresp.eq(0),
        ]
        with m.If(axi.rready):
            m.d.sync += axi.rvalid.eq(0)
        with m.If(reads):
            m.d.sync += [axi.rvalid.eq(1), last_q.eq(left_q == 1), left_q.eq(left_q - 1), word_q.eq(word_q + 1)]
        with m.If(axi.arvalid & axi.arready):
            low = (self.config.bus_bytes - 1).bit_length()
            m.d.sync += [left_q.eq(axi.arlen + 1), word_q.eq(axi.araddr[low:]), axi.rid.eq(axi.arid)]
        return m
