"""Buses to registers: AXI4-Lite and Wishbone."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .registers import WORD_BITS, register_bus

__all__ = ["AxiLite", "Wishbone", "axi_lite", "wishbone"]

RESPONSE_OKAY, RESPONSE_SLVERR = 0b00, 0b10  # AMBA AXI4 (ARM IHI 0022E), A3.4.4


def axi_lite(address_bits: int) -> wiring.Signature:
    """AXI4-Lite with 32 data bits (ARM IHI 0022E, B1.1), as the master sees it."""
    return wiring.Signature({
        "awaddr": Out(address_bits), "awprot": Out(3), "awvalid": Out(1), "awready": In(1),
        "wdata": Out(WORD_BITS), "wstrb": Out(WORD_BITS // 8), "wvalid": Out(1), "wready": In(1),
        "bresp": In(2), "bvalid": In(1), "bready": Out(1),
        "araddr": Out(address_bits), "arprot": Out(3), "arvalid": Out(1), "arready": In(1),
        "rdata": In(WORD_BITS), "rresp": In(2), "rvalid": In(1), "rready": Out(1),
    })


class AxiLite(wiring.Component):
    """AXI4-Lite to registers. Addresses without a register answer SLVERR.

    Address and data of a write may come in any order. A write is done in the cycle after both are there, a read in the
    cycle after its address; one of each may be under way, back to back a write takes 2 cycles, a read 1.

    Members
    -------
    axi : In(axi_lite)
    bus : Out(register_bus)
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__({"axi": In(axi_lite(address_bits)), "bus": Out(register_bus(address_bits))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        axi: Any = self.axi
        bus: Any = self.bus
        has_address_q = Signal()
        has_data_q = Signal()
        respond_q = Signal()
        m.d.comb += [
            axi.awready.eq(~has_address_q), axi.wready.eq(~has_data_q),
            bus.write.eq(has_address_q & has_data_q & (~respond_q | axi.bready)), axi.bvalid.eq(respond_q),
        ]
        with m.If(axi.awvalid & axi.awready):
            m.d.sync += [has_address_q.eq(1), bus.write_address.eq(axi.awaddr)]
        with m.If(axi.wvalid & axi.wready):
            m.d.sync += [has_data_q.eq(1), bus.write_data.eq(axi.wdata), bus.strobes.eq(axi.wstrb)]
        with m.If(axi.bready):
            m.d.sync += respond_q.eq(0)
        with m.If(bus.write):
            m.d.sync += [has_address_q.eq(0), has_data_q.eq(0), respond_q.eq(1),
                         axi.bresp.eq(Mux(bus.write_known, RESPONSE_OKAY, RESPONSE_SLVERR))]

        m.d.comb += [axi.arready.eq(~axi.rvalid | axi.rready), bus.read_address.eq(axi.araddr)]
        with m.If(axi.arready):
            m.d.sync += axi.rvalid.eq(axi.arvalid)
            with m.If(axi.arvalid):
                m.d.sync += [axi.rdata.eq(bus.read_data),
                             axi.rresp.eq(Mux(bus.read_known, RESPONSE_OKAY, RESPONSE_SLVERR))]
        return m


def wishbone(address_bits: int) -> wiring.Signature:
    """Wishbone B4, classic cycles, 32 data bits with byte granularity, as the master sees it; ``adr`` counts bytes."""
    return wiring.Signature({
        "cyc": Out(1), "stb": Out(1), "we": Out(1), "adr": Out(address_bits), "sel": Out(WORD_BITS // 8),
        "dat_w": Out(WORD_BITS), "dat_r": In(WORD_BITS), "ack": In(1), "err": In(1),
    })


class Wishbone(wiring.Component):
    """Wishbone to registers. Addresses without a register answer with ``err``. A cycle takes 2 clock cycles.

    Members
    -------
    wb : In(wishbone)
    bus : Out(register_bus)
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__({"wb": In(wishbone(address_bits)), "bus": Out(register_bus(address_bits))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        wb: Any = self.wb
        bus: Any = self.bus
        begins = Signal()
        known = Signal()
        m.d.comb += [
            begins.eq(wb.cyc & wb.stb & ~wb.ack & ~wb.err), known.eq(Mux(wb.we, bus.write_known, bus.read_known)),
            bus.write.eq(begins & wb.we), bus.write_address.eq(wb.adr), bus.write_data.eq(wb.dat_w),
            bus.strobes.eq(wb.sel), bus.read_address.eq(wb.adr),
        ]
        m.d.sync += [wb.ack.eq(begins & known), wb.err.eq(begins & ~known)]
        with m.If(begins):
            m.d.sync += wb.dat_r.eq(bus.read_data)
        return m
