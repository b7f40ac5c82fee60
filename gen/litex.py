"""A bus top as a module of LiteX."""

from __future__ import annotations

from typing import Any

from spikeloom.rtl.control import control_registers

from .bus_top import BusTop
from .manifest import Description
from .plan import Plan
from .rendering import rendered

__all__ = ["litex_file"]


def litex_file(plan: Plan, told: Description, bus: BusTop) -> str:
    """A Python module that wraps the AXI top ``bus`` of what is ``told``."""
    bits = {port["name"]: port["bits"] for port in bus.ports}
    values: dict[str, Any] = {
        "bus": bus.name, "core_clock": bus.core_clock, "address_bits": bits["s_axil_awaddr"],
        "register_bytes": control_registers(bus.control).bytes, "beat_bytes": bits["s_axis_tdata"] // 8,
        "result_bytes": bits["m_axis_tdata"] // 8, "sources": list(told.all_sources),
        "memories": sorted(told.memory_files), "tables": told.external,
        "beats": plan.channels[0].beats * plan.input_windows, "marked": plan.network.marked}
    return rendered("spikeloom.gen", "templates/litex.py.j2", values)
