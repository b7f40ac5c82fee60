"""``spikeloom explore``: folds that are worth having on a device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

import spikeloom
from spikeloom.console import bar, command_line, out, print_json, print_next
from spikeloom.data_options import data_for, data_option, json_option
from spikeloom.model.system.writing import check_file, make_parents, write_file
from spikeloom.work_options import work_options

if TYPE_CHECKING:
    from spikeloom.gen.explore import Exploration, Point

__all__ = ["explore", "fold_text"]

BAR = 40  # letters of the longest bar


@click.command()
@click.argument("network")
@click.option("--device", default="lfe5u-85f", show_default=True, help="lfe5u-25f, lfe5u-85f, ice40-hx8k, ...")
@click.option("--objective", type=click.Choice(["latency", "throughput", "area"]), default="latency", show_default=True,
              help="Fewest cycles from sample to result, from result to result, or fewest LUTs.")
@click.option("--max-lut", type=click.IntRange(1), help="LUTs at most.  [default: 80 % of the device's]")
@click.option("--clock-mhz", type=click.FloatRange(0, min_open=True), default=100.0, show_default=True,
              help="Clock at which cycles are shown as microseconds.")
@click.option("--bus-bits", type=click.Choice(["32", "64", "128", "256", "512"]), default="64", show_default=True,
              callback=lambda ctx, param, value: int(value), help="Width of the buses to external weights, where the "
              "device's memory is too small.")
@data_option
@click.option("--samples", type=click.IntRange(1), default=50, show_default=True,
              help="Samples whose activity the cycles are counted with.")
@work_options("the folds")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the chosen fold to this file (JSON).")
@json_option
def explore(network: str, device: str, objective: str, max_lut: int | None, clock_mhz: float, bus_bits: int,
            data: str | None, samples: int, jobs: int | None, scheduler: str | None, output: Path | None,
            as_json: bool) -> None:
    """Search folds of NETWORK: cycles by the exact cycle model, LUTs and block RAMs by an estimate.

    Shows the front, where nothing is better in both cycles and LUTs, and the best fold that fits. `build --fold auto
    --device ...` does the same and builds it.

    \b
    Examples:
      spikeloom explore fashion-mnist-128 --device lfe5u-25f --max-lut 4000 -o fold.json
      spikeloom explore my.snn --device lfe5u-25f --objective area --json
      spikeloom explore my.snn --scheduler tcp://192.168.0.2:8786
    """
    net = spikeloom.load(network)
    if output is not None:
        check_file(output, is_fold)
    loaded = data_for(net, data, samples, labelled=False)
    with bar(f"folds for {device}") as advance:
        found = spikeloom.explore(net, device, loaded.images, objective=objective, max_lut=max_lut, bus_bits=bus_bits,
                                  jobs=jobs, scheduler=scheduler, progress=lambda tried, front: advance(
                                      done=tried, what=f"folds for {device}, {front} at the front"))
    value = found.to_json() | {"network": net.name, "clock_mhz": clock_mhz, "data": loaded.name,
                               "us_mean": found.chosen.cycles_mean / clock_mhz}
    if output is not None:
        make_parents(output)
        write_file(output, json.dumps(found.chosen.fold.to_dict(), indent=1) + "\n", is_own=is_fold)
        value["file"] = str(output)
    if as_json:
        print_json(value)
        return
    _print(found, net.name, clock_mhz)
    if output is not None:
        print_next(command_line("build", network, "--fold", output, "-o", f"build/{net.name}"))
    else:
        print_next(command_line("build", network, "--fold", "auto", "--device", device, "-o", f"build/{net.name}"))


def is_fold(path: Path) -> bool:
    """Whether a file is a fold that this command wrote."""
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("name") == "explored")
    except (OSError, ValueError, AttributeError):
        return False


def _print(found: Exploration, name: str, clock_mhz: float) -> None:
    what = "cycles from result to result" if found.objective == "throughput" else "cycles from sample to result"
    table = Table(title=f"{name} on {found.device}: {what}, {found.samples} samples; LUTs estimated",
                  title_justify="left")
    for column in ("cycles", f"us at {clock_mhz:g} MHz", "LUTs", "flip-flops", "block RAMs"):
        table.add_column(column, justify="right")
    table.add_column("lanes x inputs a cycle / neuron units, a layer each")
    table.add_column("LUTs")
    most = max(point.lut for point in found.front)
    for point in found.front:
        table.add_row(f"{point.cycles_mean:,.0f}", f"{point.cycles_mean / clock_mhz:,.2f}", f"{point.lut:,}",
                      f"{point.ff:,}", f"{point.bram:,}", fold_text(point), "#" * round(BAR * point.lut / most),
                      style="bold" if point is found.chosen else "")
    out.print(table)
    out.print(f"{found.tried:,} folds tried; chosen for {found.objective}: {found.chosen.cycles_mean:,.1f} cycles at "
              f"{found.chosen.lut:,} LUTs")


def fold_text(point: Point) -> str:
    """A fold in a line."""
    def layer(own: Any) -> str:
        where = "" if own.external_bus_bits is None else " external"
        return f"{own.lanes}x{own.inputs_per_cycle}/{own.neuron_units}{'' if own.pipelined else ' stepping'}{where}"

    return f"{point.fold.input_per_beat} a beat; " + ", ".join(layer(own) for own in point.fold.layers)
