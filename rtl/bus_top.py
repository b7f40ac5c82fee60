"""An accelerator with streams and registers under the names of ports that tools know."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer, ResetSynchronizer
from amaranth.lib.wiring import In, Out

from .byte_beats import beat_bytes
from .clock_crossing import AXI4_READ_CHANNELS, AXI_LITE_CHANNELS, StreamCrossing, cross_channels
from .flat_ports import connect_flat, flat_ports
from .packet_core import PacketCore, connect_weights, weight_ports
from .register_bus import AxiLite, Wishbone, axi_lite, wishbone

__all__ = ["BusTop"]


class BusTop(wiring.Component):
    """Packets over AXI4-Stream (ARM IHI 0051A), registers over AXI4-Lite or Wishbone.

    A packet of ``s_axis`` is a sample, beat for beat as the bare top takes it, each in whole bytes with zeros above;
    its last beat has TLAST. A packet of ``m_axis`` is a result; TUSER with its last beat says that it is a bad one.
    Latency: that of :class:`.PacketCore`, and of the crossings, if there are some.

    Parameters
    ----------
    inner : PacketCore
    kind : "axi" or "wishbone"
        How registers are reached.
    core_clock : bool
        With AXI: the accelerator has a clock of its own, and all channels cross over
        (:class:`.StreamCrossing`). ``aresetn`` is that of both, and lasts 16 cycles of the slower one.

    Members
    -------
    aclk, aresetn : In(1), with AXI; the reset is synchronous. With Wishbone, clock and reset are those of the design
    core_clk : In(1), with a clock of its own
    s_axis_t*, m_axis_t* : the streams
    s_axil_* : In(axi_lite), or wb_* : In(wishbone)
    m_axi_<layer>_* : Out(axi4_read), for external weights
    irq : Out(1)
    """

    def __init__(self, inner: PacketCore, kind: Literal["axi", "wishbone"], *, core_clock: bool = False) -> None:
        if core_clock and kind != "axi":
            raise ValueError(f"core_clock must be False with {kind!r}")
        self.inner = inner
        self.kind = kind
        self.core_clock = core_clock
        address_bits = inner.registers.address_bits
        self.registers = axi_lite(address_bits) if kind == "axi" else wishbone(address_bits)
        super().__init__({
            **({"aclk": In(1), "aresetn": In(1)} if kind == "axi" else {}),
            **({"core_clk": In(1)} if core_clock else {}),
            "s_axis_tvalid": In(1), "s_axis_tready": Out(1), "s_axis_tlast": In(1),
            "s_axis_tdata": In(8 * beat_bytes(inner.config.gate.bits)),
            "m_axis_tvalid": Out(1), "m_axis_tready": In(1), "m_axis_tlast": Out(1), "m_axis_tuser": Out(1),
            "m_axis_tdata": Out(8 * beat_bytes(inner.config.result_bits)),
            **flat_ports(self._prefix, self.registers.flip()),
            **weight_ports(inner),
            "irq": Out(1),
        })

    @property
    def _prefix(self) -> str:
        return "s_axil" if self.kind == "axi" else "wb"

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.packets = inner = self.inner
        address_bits = inner.registers.address_bits
        if self.core_clock:
            self._cross(m)
            return m
        if self.kind == "axi":
            m.domains += ClockDomain("sync")
            m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
            m.submodules.bridge = bridge = AxiLite(address_bits)
            connect_flat(m, self, self._prefix, bridge.axi)
        else:
            m.submodules.bridge = bridge = Wishbone(address_bits)
            connect_flat(m, self, self._prefix, bridge.wb)
        wiring.connect(m, bridge.bus, inner.bus)
        m.d.comb += [
            inner.i.valid.eq(self.s_axis_tvalid), self.s_axis_tready.eq(inner.i.ready),
            inner.i.payload.data.eq(self.s_axis_tdata), inner.i.payload.last.eq(self.s_axis_tlast),
            self.m_axis_tvalid.eq(inner.o.valid), inner.o.ready.eq(self.m_axis_tready),
            self.m_axis_tdata.eq(inner.o.payload.data), self.m_axis_tlast.eq(inner.o.payload.last),
            self.m_axis_tuser.eq(inner.o.payload.error), self.irq.eq(inner.irq),
        ]
        connect_weights(m, self, inner)
        return m

    def _cross(self, m: Module) -> None:
        """Everything behind the pins in the domain ``sync``, the pins in ``bus``."""
        inner = self.inner
        m.domains += [ClockDomain("bus"), ClockDomain("sync")]
        m.d.comb += [ClockSignal("bus").eq(self.aclk), ResetSignal("bus").eq(~self.aresetn),
                     ClockSignal().eq(self.core_clk)]
        m.submodules.reset = ResetSynchronizer(~self.aresetn)
        m.submodules.bridge = bridge = AxiLite(inner.registers.address_bits)
        wiring.connect(m, bridge.bus, inner.bus)
        cross_channels(m, self._prefix, AXI_LITE_CHANNELS, lambda name: getattr(self, f"{self._prefix}_{name}"),
                       lambda name: getattr(bridge.axi, name), ("bus", "sync"))
        for table in inner.config.tables:
            axi = getattr(inner, f"axi_{table.layer}")
            cross_channels(m, f"m_axi_{table.layer}", AXI4_READ_CHANNELS, partial(getattr, axi),
                           lambda name, layer=table.layer: getattr(self, f"m_axi_{layer}_{name}"), ("sync", "bus"))
        m.submodules.s_axis = sent = StreamCrossing(inner.i.payload.shape(), "bus", "sync")
        m.submodules.m_axis = given = StreamCrossing(inner.o.payload.shape(), "sync", "bus")
        wiring.connect(m, sent.o, inner.i)
        wiring.connect(m, inner.o, given.i)
        m.submodules.irq = FFSynchronizer(inner.irq, self.irq, o_domain="bus")
        m.d.comb += [
            sent.i.valid.eq(self.s_axis_tvalid), self.s_axis_tready.eq(sent.i.ready),
            sent.i.payload.data.eq(self.s_axis_tdata), sent.i.payload.last.eq(self.s_axis_tlast),
            self.m_axis_tvalid.eq(given.o.valid), given.o.ready.eq(self.m_axis_tready),
            self.m_axis_tdata.eq(given.o.payload.data), self.m_axis_tlast.eq(given.o.payload.last),
            self.m_axis_tuser.eq(given.o.payload.error),
        ]
