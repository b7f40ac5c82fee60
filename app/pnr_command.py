"""``spikeloom pnr``: the clock that a build reaches on a device, with the open tools."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

import spikeloom
from spikeloom.console import bar, out, print_json, print_table
from spikeloom.data_options import data_for, data_option, json_option
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.paths import shown
from spikeloom.work_options import work_options

if TYPE_CHECKING:
    from spikeloom.gen.place_route import Bitstream, PlaceRouteResult

__all__ = ["pnr", "usage_rows"]

DEVICE = "lfe5u-85f"


def usage_rows(result: Any) -> list[tuple[str, str]]:
    """What a design takes of a device: rows of a table."""
    from spikeloom.gen.devices import find_device
    device = find_device(result.device)

    def row(name: str) -> str:
        count, holds = getattr(result, name), device.capacity()[name]
        return f"{count:,}" if not holds else f"{count:,} of {holds:,} ({count / holds:.0%})"

    return [(unit, row(name)) for name, unit in device.units.items()]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--device", help="lfe5u-25f, lfe5u-85f, ice40-up5k, gw1nr-9, gw2ar-18, ...  [default: lfe5u-85f]")
@click.option("--board", help="Make a bitstream: ulx3s-85f, icebreaker, tang-nano-9k, ... (`spikeloom list boards`).")
@click.option("--seeds", type=click.IntRange(1, 1000), default=1, show_default=True,
              help="Placements to try, 1 to N; the worst one counts.")
@click.option("--clock-mhz", type=click.FloatRange(1, 1000),
              help="Clock that must be reached: exit code 1 if not.  [default: as fast as it goes]")
@work_options("the seeds")
@data_option
@click.option("--samples", type=click.IntRange(1), default=200, show_default=True,
              help="Samples whose cycles make microseconds of the clock.")
@json_option
def pnr(folder: Path, device: str | None, board: str | None, seeds: int, clock_mhz: float | None, jobs: int | None,
        scheduler: str | None, data: str | None, samples: int, as_json: bool) -> None:
    """Place and route the Verilog in FOLDER with nextpnr: what it takes of a device, and its clock.

    Needs `pip install 'spikeloom[pnr]'`; a nextpnr of your own on the PATH is preferred. Minutes a seed, for full
    devices 20 and more. The result is kept in FOLDER/results. Exit code 1 if the design does not fit, or misses the
    clock.

    With --board, of a build with --interface uart: its serial line, its clock and the class on the LEDs are connected,
    and the fastest seed becomes a bitstream, in FOLDER/results too. That needs 'spikeloom[pnr,board]'.

    \b
    Examples:
      spikeloom pnr build/128 --device lfe5u-25f
      spikeloom pnr build/128 --device gw2ar-18
      spikeloom pnr build/fast --device lfe5u-85f --seeds 3 --clock-mhz 80 --json
      spikeloom pnr build/board --board ulx3s-25f
    """
    from spikeloom.gen.cycles import MEMORY, count_cycles
    from spikeloom.gen.fetch_cycles import MemoryTiming
    from spikeloom.gen.manifest import read_build
    from spikeloom.gen.plan import plan_of
    from spikeloom.gen.results import keep_result
    from spikeloom.gen.synth import DoesNotFitError
    from spikeloom.rtl.weight_ram import LATENCY_CYCLES
    if board is not None and (device is not None or clock_mhz is not None):
        raise SpikeloomError("pnr: --device and --clock-mhz must not be given with --board: the board has the device, "
                             "and the build the clock (build --clock-mhz)")
    built = read_build(folder)
    plan = plan_of(built.manifest, spikeloom.load(folder))
    try:
        with bar(f"place and route for {board or device or DEVICE}") as advance:
            result = spikeloom.place_and_route(
                folder, device, board=board, seeds=range(1, seeds + 1), target_mhz=clock_mhz, jobs=jobs,
                scheduler=scheduler,
                progress=lambda what: advance(1, what=what))
    except DoesNotFitError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    loaded = data_for(plan.network, data, samples, labelled=False)
    bus = built.manifest.bus
    memory = MEMORY if bus is None or bus.serial is None else MemoryTiming(latency_cycles=LATENCY_CYCLES)
    cycles_mean = float(count_cycles(plan, loaded.images, memory).latency.mean())
    files = {}
    met: bool | None
    bits = result.bitstream
    if bits is not None:
        clock_mhz, met = bits.clock_mhz, bits.meets_clock
        flash = {} if bits.flash is None else {
            "flash_image": keep_result(folder, f"{bits.board}_flash{bits.suffix}", bits.flash)}
        files = {"bitstream": keep_result(folder, f"{bits.board}{bits.suffix}", bits.content),
                 "board_verilog": keep_result(folder, f"{bits.board}.v", bits.verilog),
                 "board_pins": keep_result(folder, f"{bits.board}_pins.txt", bits.constraints), **flash}
    else:
        met = None if clock_mhz is None else result.fmax_mhz >= clock_mhz
    value = result.to_json() | {
        "clock_met": met, "clock_mhz": clock_mhz, "cycles_mean": cycles_mean, "samples": len(loaded),
        "us_per_inference": cycles_mean / (result.fmax_mhz if bits is None else bits.clock_mhz)}
    kept = keep_result(folder, f"pnr_{result.device if bits is None else bits.board}.json",
                       json.dumps(value, indent=1) + "\n")
    value |= {"file": str(kept), **{name: str(path) for name, path in files.items()}}
    if as_json:
        print_json(value)
    else:
        _print(result, value, folder, kept)
    if met is False:
        reached = result.fmax_mhz if bits is None else bits.fmax_mhz
        click.echo(f"error: {shown(folder)}: {reached:g} MHz on {result.device}, {clock_mhz:g} were asked for; what "
                   "helps: more seeds (a bitstream is made of the best), fewer lanes, a slower clock, a faster speed "
                   "grade", err=True)
    sys.exit(1 if met is False else 0)


def _board_rows(bits: Bitstream, value: dict[str, Any]) -> list[tuple[str, Any]]:
    from spikeloom.gen.boards import BOARDS
    file = value["bitstream"]
    flash = value.get("flash_image")
    return [("clock on the board, MHz", f"{bits.clock_mhz:g} (seed {bits.seed} reaches {bits.fmax_mhz:g})"),
            ("us per sample at that clock", f"{value['us_per_inference']:.2f}"),
            ("bitstream", f"{file}, {len(bits.content):,} bytes"),
            *([] if bits.flash is None else [("with the weights", f"{flash}, {len(bits.flash):,} bytes")]),
            ("to load it", BOARDS[bits.board].load.format(file=flash or file)),
            ("serial line", BOARDS[bits.board].line)]


def _print(result: PlaceRouteResult, value: dict[str, Any], folder: Path, kept: Path) -> None:
    clocks = ", ".join(f"{seed.fmax_mhz:g}" for seed in result.seeds)
    print_table(False, {}, f"{shown(folder)} on {result.device}, {result.package} {result.speed_grade}".rstrip(), [
        *usage_rows(result),
        *([("pins", "four, by a shell that is counted too")] if result.shell and result.bitstream is None else []),
        ("clock, MHz", f"{result.fmax_mhz:g}" + (f" (worst of {clocks})" if len(result.seeds) > 1 else "")),
        ("cycles per sample, mean", f"{value['cycles_mean']:,.1f} ({value['samples']} samples)"),
        *([("us per sample at that clock", f"{value['us_per_inference']:.2f}")] if result.bitstream is None else
          _board_rows(result.bitstream, value)),
        ("tool", f"{result.tool}, {sum(seed.wall_s for seed in result.seeds):.0f} s"),
        ("kept in", kept),
    ])
    table = Table("ns", "", "critical path", title_justify="left")
    for step in result.critical_path:
        table.add_row(f"{step.ns:.2f}", step.kind, step.name)
    out.print(table)
