"""Bus tops: a module around a build's bare top, with packets and registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from amaranth.hdl import ClockSignal, Elaboratable, Instance, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from spikeloom.model.errors import SpikeloomError
from spikeloom.rtl.bus_top import BusTop as BusTopComponent
from spikeloom.rtl.packet_core import PacketCore, PacketCoreConfig, Table
from spikeloom.rtl.packet_gate import PacketGateConfig
from spikeloom.rtl.registers import RegisterMap

from .plan import Plan
from .verilog import check_top, emit_component

__all__ = ["INTERFACES", "BusTop", "Interface", "bus_top", "packet_core"]

Interface = Literal["stream", "axi", "wishbone"]
INTERFACES: tuple[str, ...] = get_args(Interface)


@dataclass(frozen=True, kw_only=True)
class BusTop:
    """A bus top as it is written.

    Attributes
    ----------
    name : str
        Of the module.
    verilog : str
        It alone: it instantiates the bare top.
    clock, reset : str
        The reset is synchronous.
    reset_active : "low" or "high"
    ports : list of dict
        Name, direction, bits, as ``interface.json`` has them.
    registers : RegisterMap
    """

    name: str
    verilog: str
    clock: str
    reset: str
    reset_active: Literal["low", "high"]
    ports: list[dict[str, Any]]
    registers: RegisterMap

    @property
    def interface(self) -> dict[str, Any]:
        """What ``interface.json`` says of it."""
        return {"top": self.name, "clock": self.clock, "reset": self.reset, "reset_active": self.reset_active,
                "ports": self.ports}


class _Bare(wiring.Component):
    """The bare top as a module that is there already."""

    def __init__(self, top: str, signature: wiring.Signature) -> None:
        self.top = top
        super().__init__(signature)

    @property
    def outputs(self) -> frozenset[str]:
        return frozenset(name for name, (way, _) in self._ports().items() if way == "o")

    def _ports(self) -> dict[str, tuple[str, Value]]:
        return {"__".join(map(str, path)): ("i" if member.flow == In else "o", Value.cast(value))
                for path, member, value in self.signature.flatten(self)}

    def elaborate(self, platform: Any) -> Elaboratable:
        ports = {f"{way}_{name}": value for name, (way, value) in self._ports().items()}
        return Instance(self.top, i_clk=ClockSignal(), i_rst=ResetSignal(), **ports)


def packet_core(plan: Plan, core: wiring.Component) -> PacketCore:
    """Packets and registers for a plan's accelerator.

    Raises
    ------
    SpikeloomError
        If the network gives results whose end cannot be told.
    """
    network, items = plan.network, plan.channels[0]
    out = plan.channels[network.output_index + 1]
    if plan.readout is None and network.marked:
        raise SpikeloomError(f"network {network.name}: interface must be 'stream' where runs are marked and the "
                             "readout is of kind 'raster': the last beat of a result cannot be told from the others")
    marked = network.marked
    gate = PacketGateConfig(bits=items.units * plan.input_bits,
                            beats=items.beats * (1 if marked else plan.input_windows),
                            steps=network.steps if marked else None)
    result_bits = (out.units * plan.window_steps if plan.readout is None
                   else max(1, (max(2, network.classes) - 1).bit_length()))
    return PacketCore(PacketCoreConfig(
        gate=gate, result_bits=result_bits, result_beats=1 if plan.readout is not None else out.beats * plan.windows,
        network_hash=network.hash, gives_class=plan.readout is not None,
        tables=tuple(Table(table.layer, table.config.address_bits, table.config.bus_bits) for table in plan.tables)),
        core)


def bus_top(plan: Plan, top: str, interface: Literal["axi", "wishbone"], signature: wiring.Signature) -> BusTop:
    """The top for a bus, around the bare ``top`` with its ``signature``.

    Raises
    ------
    SpikeloomError
        As :func:`packet_core`.
    """
    name = f"{top}_{interface}"
    check_top(name)
    bare = _Bare(top, signature)
    inner = packet_core(plan, bare)
    component = BusTopComponent(inner, interface)
    text = emit_component(component, name, around={top: bare.outputs})
    ports = [{"name": "__".join(map(str, path)), "direction": "in" if member.flow == In else "out",
              "bits": len(Value.cast(value))} for path, member, value in component.signature.flatten(component)]
    clock, reset = ("aclk", "aresetn") if interface == "axi" else ("clk", "rst")
    return BusTop(name=name, verilog=f"// {interface} top for {top}: yours, no licence is claimed on it.\n{text}",
                  clock=clock, reset=reset, reset_active="low" if interface == "axi" else "high",
                  ports=[port for port in ports if port["name"] not in ("aclk", "aresetn")],
                  registers=inner.registers)
