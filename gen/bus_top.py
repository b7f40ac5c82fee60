"""Bus tops: a module around a build's bare top, with packets and registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from amaranth.hdl import ClockSignal, Elaboratable, Instance, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.arguments import whole
from spikeloom.rtl.bus_top import BusTop as BusTopComponent
from spikeloom.rtl.byte_beats import beat_bytes
from spikeloom.rtl.control import ControlConfig
from spikeloom.rtl.flash_loader import ADDRESS_SPAN, FlashLoaderConfig
from spikeloom.rtl.packet_core import PacketCore, PacketCoreConfig, Scores, Table
from spikeloom.rtl.packet_gate import PacketGateConfig
from spikeloom.rtl.registers import WORD_BITS
from spikeloom.rtl.serial_top import SerialConfig, SerialTop
from spikeloom.rtl.spi import SCK_CYCLES_MIN
from spikeloom.rtl.uart import BIT_CYCLES_MIN
from spikeloom.rtl.weight_loader import WORD_NUMBER_BYTES

from .plan import Plan
from .verilog import check_top, emit_component
from .weight_sets import set_length, set_shape

__all__ = ["INTERFACES", "BusTop", "Interface", "Serial", "bus_top", "packet_config", "shown_scores"]

Interface = Literal["stream", "axi", "wishbone", "uart", "spi"]
INTERFACES: tuple[str, ...] = get_args(Interface)
SERIAL: tuple[str, ...] = ("uart", "spi")
BUFFER_BYTES = range(64, 4096 + 1)
SECTOR_BYTES = 4096  # of a flash
_CORE_CLOCK = "core_clk"
BAUD_TOLERANCE = 0.02  # of a receiver that looks at the middle of ten bits, half is left for the other side


@dataclass(frozen=True, kw_only=True)
class Serial:
    """A serial line: a UART with eight data bits, no parity, one stop bit; or SPI.

    Parameters
    ----------
    clock_hz, baud : int
        Of the design, and bits a second; of SPI at most.

    Raises
    ------
    SpikeloomError
        If so many bits a second cannot be made of the clock.
    """

    clock_hz: int = 25_000_000
    baud: int = 1_000_000

    def __post_init__(self) -> None:
        whole(self.clock_hz, "clock_hz", 1_000, 10**9)
        whole(self.baud, "baud", 300, self.clock_hz // BIT_CYCLES_MIN)
        off = self.clock_hz / self.bit_cycles / self.baud - 1
        if abs(off) > BAUD_TOLERANCE:
            raise SpikeloomError(f"baud {self.baud:,}: {self.bit_cycles} cycles of {self.clock_hz:,} Hz are "
                                 f"{abs(off):.1%} {'more' if off > 0 else 'less'}; it must be at most "
                                 f"{BAUD_TOLERANCE:.0%}: choose a divisor of the clock")

    @property
    def bit_cycles(self) -> int:
        """Clock cycles a bit."""
        return round(self.clock_hz / self.baud)

    @classmethod
    def spi(cls, clock_hz: int) -> Serial:
        """The fastest SPI line for a clock."""
        return cls(clock_hz=clock_hz, baud=whole(clock_hz, "clock_hz", 1_000 * SCK_CYCLES_MIN, 10**9) // SCK_CYCLES_MIN)


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
    control : ControlConfig
        What its registers depend on.
    buffer_bytes : int or None
        Of a serial line.
    flash : FlashLoaderConfig or None
        Where its weights come from.
    core_clock : str or None
        The accelerator's own clock.
    """

    name: str
    verilog: str
    clock: str
    reset: str
    reset_active: Literal["low", "high"]
    ports: list[dict[str, Any]]
    control: ControlConfig
    buffer_bytes: int | None = None
    flash: FlashLoaderConfig | None = None
    core_clock: str | None = None

    @property
    def interface(self) -> dict[str, Any]:
        """What ``interface.json`` says of it."""
        return {"top": self.name, "clock": self.clock, "core_clock": self.core_clock, "reset": self.reset,
                "reset_active": self.reset_active, "ports": self.ports}


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


def shown_scores(plan: Plan, interface: Interface) -> Scores | None:
    """What registers show of the scores of a plan's accelerator: nothing without a bus, without scores, and of scores
    wider than a register."""
    if plan.readout is None or interface not in ("axi", "wishbone") or plan.readout.score_shape.width > WORD_BITS:
        return None
    shape = plan.readout.score_shape
    return Scores(classes=plan.readout.classes, bits=shape.width, signed=shape.signed, held=plan.network.breaks_off)


def packet_config(plan: Plan, interface: Interface, *, filled: bool = False) -> PacketCoreConfig:
    """Shape of packets and registers for a plan's accelerator.

    The host of a serial line waits anyway, and the parts on small boards have no LUT RAM: few results are under way.
    Its weight tables have RAMs of their own, where they begin at address 0; with ``filled`` something else than the
    host fills them.

    Raises
    ------
    SpikeloomError
        If the network gives results whose end cannot be told.
    """
    network, items, sets = plan.network, plan.channels[0], plan.fold.weight_sets
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
    serial: dict[str, Any] = {"has_bases": False, "results_under_way": 1, "ends_packets": False}
    options = serial if interface in SERIAL else {}
    return PacketCoreConfig(
        **options, gate=gate, result_bits=result_bits,
        result_beats=1 if plan.readout is not None else out.beats * plan.windows,
        network_hash=network.hash, gives_class=plan.readout is not None, weight_sets=sets, set_words=set_length(plan),
        set_cycles=plan.set_cycles, set_shape=set_shape(plan) if sets else 0,
        words_apart=interface in SERIAL and sets > 0, scores=shown_scores(plan, interface), filled=filled,
        tables=tuple(Table(table.layer, table.config.address_bits, table.config.bus_bits) for table in plan.tables))


def bus_top(plan: Plan, top: str, interface: Literal["axi", "wishbone", "uart", "spi"], signature: wiring.Signature,
            serial: Serial | None = None, core_clock: bool = False, flash_offset: int | None = None) -> BusTop:
    """The top for a bus, around the bare ``top`` with its ``signature``; ``serial`` for a serial line. With
    ``core_clock`` the accelerator has a clock of its own; with ``flash_offset`` external weights come from a flash.

    Raises
    ------
    SpikeloomError
        As :func:`packet_config`.
    """
    name = f"{top}_{interface}"
    check_top(name)
    # What can be wrong, before there are components that nobody would use.
    packets = packet_config(plan, interface, filled=flash_offset is not None)
    line = None
    if interface == "uart" or interface == "spi":
        assert serial is not None
        most = 1 << 8 * WORD_NUMBER_BYTES
        for index, table in enumerate(plan.tables):
            words = table.config.table_bytes // table.config.bus_bytes
            if index > 255 or words > most:
                raise SpikeloomError(f"fold {plan.fold.name}: layer {table.layer}: weights behind a serial line must "
                                     f"be at most 256 tables of {most:,} words, not {words:,} in number {index}")
        line = SerialConfig(kind=interface, bit_cycles=serial.bit_cycles, buffer_bytes=_buffer_bytes(packets.gate),
                            flash=None if flash_offset is None else _flash(plan, flash_offset, serial.clock_hz))
    bare = _Bare(top, signature)
    inner = PacketCore(packets, bare)
    component: wiring.Component
    if line is not None:
        component = SerialTop(inner, line, tuple(table.config for table in plan.tables))
    else:
        assert interface == "axi" or interface == "wishbone"
        component = BusTopComponent(inner, interface, core_clock=core_clock)
    text = emit_component(component, name, around={top: bare.outputs})
    ports = [{"name": "__".join(map(str, path)), "direction": "in" if member.flow == In else "out",
              "bits": len(Value.cast(value))} for path, member, value in component.signature.flatten(component)]
    clock, reset = ("aclk", "aresetn") if interface == "axi" else ("clk", "rst")
    return BusTop(name=name, verilog=f"// {interface} top for {top}: yours, no licence is claimed on it.\n{text}",
                  clock=clock, reset=reset, reset_active="low" if interface == "axi" else "high",
                  ports=[port for port in ports if port["name"] not in ("aclk", "aresetn", _CORE_CLOCK)],
                  core_clock=_CORE_CLOCK if core_clock else None,
                  control=packets.control, buffer_bytes=None if line is None else line.buffer_bytes,
                  flash=None if line is None else line.flash)


def _flash(plan: Plan, offset: int, clock_hz: int) -> FlashLoaderConfig:
    if not plan.tables:
        raise SpikeloomError(f"flash_offset: fold {plan.fold.name} keeps all weights on the chip, so that none come "
                             "from a flash: give a layer of it external_bus_bits")
    whole(offset, "flash_offset", 0, ADDRESS_SPAN - 1)
    if offset % SECTOR_BYTES:
        raise SpikeloomError(f"flash_offset must be a multiple of {SECTOR_BYTES}, what a flash erases at a time, not "
                             f"{offset}")
    try:
        return FlashLoaderConfig(offset=offset, network_hash=plan.network.hash, clock_hz=clock_hz,
                                 table_bytes=tuple(table.config.table_bytes for table in plan.tables))
    except ValueError as error:
        raise SpikeloomError(f"flash_{error}") from None


def _buffer_bytes(gate: PacketGateConfig) -> int:
    """Room for a sample if that is not too much, since then a line never waits for another answer than its result."""
    needed = gate.beats * (gate.steps or 1) * beat_bytes(gate.bits)
    return 1 << (min(max(needed, BUFFER_BYTES.start), BUFFER_BYTES.stop - 1) - 1).bit_length()
