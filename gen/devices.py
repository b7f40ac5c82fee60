"""Devices that designs are synthesised for, with what they hold."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.arguments import an, short

__all__ = ["DEVICES", "Device", "Family", "find_device", "find_named"]

T = TypeVar("T")

Family = Literal["ecp5", "ice40", "gowin", "xc7"]


@dataclass(frozen=True)
class Device:
    """A device, or a family without limits.

    Attributes
    ----------
    name : str
        As ``--device`` takes it.
    family : "ecp5", "ice40", "gowin" or "xc7"
    lut, ff, bram, dsp : int or None
        What the device holds; None where only the family is known. LUTs have 4 inputs, on ``xc7`` 6.
    package, speed_grade : str
        For place and route, if nobody says another: those of the boards that have the device, else the largest package
        and the slowest grade.
    part : str
        The maker's name of it, where tools ask for that.
    pins : tuple of str
        Four pins of the package, where tools ask for those: one that takes a clock, and three others.
    single_port_bits : int
        RAM that a bitstream cannot fill.
    """

    name: str
    family: Family
    lut: int | None
    ff: int | None
    bram: int | None
    dsp: int | None
    package: str = ""
    speed_grade: str = ""
    part: str = ""
    pins: tuple[str, ...] = ()
    single_port_bits: int = 0

    @property
    def ram_bits(self) -> int | None:
        """Bits of its memories: block RAM, and the single-port RAM of iCE40 UltraPlus; None where only the family is
        known."""
        if self.bram is None:
            return None
        return self.bram * (4096 if self.family == "ice40" else 18 * 1024) + self.single_port_bits

    @property
    def bram_unit(self) -> str:
        """The block RAM that ``bram`` counts: 18 Kbit, on iCE40 4 Kbit."""
        return {"ecp5": "DP16KD", "ice40": "SB_RAM40_4K", "gowin": "BSRAM", "xc7": "RAMB18"}[self.family]

    @property
    def dsp_unit(self) -> str:
        """The multiplier that ``dsp`` counts."""
        return {"ecp5": "MULT18X18D", "ice40": "SB_MAC16", "gowin": "MULT18X18", "xc7": "DSP48E1"}[self.family]

    @property
    def units(self) -> dict[str, str]:
        """What ``lut``, ``ff``, ``bram`` and ``dsp`` count."""
        return {"lut": "LUTs", "ff": "flip-flops", "bram": self.bram_unit, "dsp": self.dsp_unit}

    @property
    def synth_command(self) -> str:
        """Yosys's synthesis command."""
        if self.family == "ecp5":
            return "synth_ecp5"
        if self.family == "ice40":
            return "synth_ice40 -device u -dsp -spram -dffe_min_ce_use 8" if self.dsp else "synth_ice40 -device hx"
        if self.family == "gowin":
            # Pads would be put around every module that is kept; they belong around the whole.
            return f"synth_gowin -noiopads -family {'gw2a' if self.name.startswith('gw2') else 'gw1n'}"
        return "synth_xilinx -family xc7 -flatten"

    def capacity(self) -> dict[str, int | None]:
        """``lut``, ``ff``, ``bram`` and ``dsp``."""
        return {"lut": self.lut, "ff": self.ff, "bram": self.bram, "dsp": self.dsp}


# From the makers' data sheets. RAMB36 counts as two RAMB18.
DEVICES: dict[str, Device] = {d.name: d for d in (
    Device("lfe5u-25f", "ecp5", 24_288, 24_288, 56, 28, "CABGA381", "6"),
    Device("lfe5u-45f", "ecp5", 43_848, 43_848, 108, 72, "CABGA554", "6"),
    Device("lfe5u-85f", "ecp5", 83_640, 83_640, 208, 156, "CABGA756", "6"),
    Device("lfe5um5g-85f", "ecp5", 83_640, 83_640, 208, 156, "CABGA381", "8"),
    Device("ice40-up5k", "ice40", 5_280, 5_280, 30, 8, "sg48", single_port_bits=4 * 256 * 1024),
    Device("ice40-hx8k", "ice40", 7_680, 7_680, 32, 0, "ct256"),
    Device("gw1nr-9", "gowin", 8_640, 6_480, 26, 20, "QN88P", "C6/I5", "GW1NR-LV9QN88PC6/I5",
           ("52", "4", "3", "10")),
    Device("gw2ar-18", "gowin", 20_736, 15_552, 46, 48, "QN88", "C8/I7", "GW2AR-LV18QN88C8/I7",
           ("4", "88", "87", "15")),
    Device("xc7a35t", "xc7", 20_800, 41_600, 100, 90),
    Device("xc7a100t", "xc7", 63_400, 126_800, 270, 240),
    Device("xc7z020", "xc7", 53_200, 106_400, 280, 220),
    Device("xc7", "xc7", None, None, None, None),
)}


def find_device(name: str) -> Device:
    """A device by name.

    Raises
    ------
    SpikeloomError
        If it is not known; suggests names.
    """
    return find_named("device", name, DEVICES)


def find_named(kind: str, name: str, known: Mapping[str, T]) -> T:
    """An entry of a catalogue by its name in lower case.

    Raises
    ------
    SpikeloomError
        If it is not known; suggests names.
    """
    found = known.get(an(str, name, kind).lower())
    if found is None:
        near = [each for each in known if name.lower() in each] or difflib.get_close_matches(name.lower(), known, n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise SpikeloomError(f"{kind} {short(name)} is not known{hint} (known: {', '.join(known)})")
    return found
