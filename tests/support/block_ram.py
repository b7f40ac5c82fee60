"""Memories as they are on iCE40, for what stands around them."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Fragment, Module, Signal, Value
from amaranth.lib.memory import Memory

__all__ = ["NoLutRam", "without_lut_ram"]


class NoLutRam:
    """A platform without LUT RAM. Where ``no_rw_check`` says that it does not matter, a row that is read as it is
    written comes out inverted. Counts the memories that say so."""

    lut_ram = False

    def __init__(self) -> None:
        self.unchecked = 0

    def get_memory(self, memory: Memory) -> Any:
        """Amaranth's way to say what a memory becomes."""
        if "no_rw_check" not in memory.attrs:
            return memory.elaborate(None)
        self.unchecked += 1
        m = Module()
        inner = Memory(memory.data)
        (outer_write,), (outer_read,) = memory.write_ports, memory.read_ports
        write, read = inner.write_port(), inner.read_port(domain=outer_read.domain)
        assert outer_read.domain != "comb"
        given, target = Value.cast(read.data), Value.cast(outer_read.data)
        wrong_q = Signal()
        m.d.comb += [write.addr.eq(outer_write.addr), write.data.eq(outer_write.data), write.en.eq(outer_write.en),
                     read.addr.eq(outer_read.addr), read.en.eq(outer_read.en),
                     target.eq(given ^ wrong_q.replicate(len(given)))]
        with m.If(read.en):
            m.d.sync += wrong_q.eq(write.en & (write.addr == read.addr))
        m.submodules.inner = inner.elaborate(None)
        return m


def without_lut_ram(dut: Any) -> Any:
    """``dut``, which from now on is elaborated for that platform."""
    platform, elaborate = NoLutRam(), dut.elaborate

    def elaborated(_: Any) -> Fragment:
        fragment = Fragment.get(elaborate(platform), platform)
        assert platform.unchecked, "no memory of it is a block RAM"
        return fragment

    dut.elaborate = elaborated
    return dut
