"""``spikeloom explore``: folds that are worth having on a device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

import spikeloom
from spikeloom import shipped
from spikeloom.console import bar, command_line, out, print_json, print_next
from spikeloom.data_options import data_for, data_option, json_option, load_data
from spikeloom.model.connections import ALLOWED_WEIGHT_BITS
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.arguments import short
from spikeloom.model.system.writing import check_file, make_parents, write_file
from spikeloom.work_options import work_options

if TYPE_CHECKING:
    from spikeloom.gen.explore import Exploration, Point

__all__ = ["explore", "fold_text"]

BAR = 40  # letters of the longest bar


@click.command()
@click.argument("network")
@click.option("--device", default="lfe5u-85f", show_default=True, help="lfe5u-25f, lfe5u-85f, ice40-hx8k, ...")
@click.option("--objective", type=click.Choice(["latency", "throughput", "area", "energy"]), default="latency",
              show_default=True, help="Fewest cycles from sample to result, from result to result, fewest LUTs, or "
              "least energy.")
@click.option("--max-lut", type=click.IntRange(1), help="LUTs at most.  [default: 80 % of the device's]")
@click.option("--clock-mhz", type=click.FloatRange(0, min_open=True), default=100.0, show_default=True,
              help="Clock: cycles are shown as microseconds, and static power flows as long.")
@click.option("--bus-bits", type=click.Choice(["32", "64", "128", "256", "512"]), default="64", show_default=True,
              callback=lambda ctx, param, value: int(value), help="Width of the buses to external weights, where the "
              "device's memory is too small.")
@data_option
@click.option("--samples", type=click.IntRange(1), default=50, show_default=True,
              help="Samples whose activity the cycles are counted with.")
@click.option("--weight-bits", callback=lambda ctx, param, value: _widths(value),
              help="Widths of weights, as 2,3,4: NETWORK is a float network then, and quantised to each.")
@click.option("--min-accuracy", type=click.FloatRange(0, 1),
              help="With --weight-bits: the least accuracy, 0..1, of what is chosen.  [default: the most accurate is]")
@click.option("--accuracy-samples", type=click.IntRange(1), default=1000, show_default=True,
              help="With --weight-bits: samples that accuracy is measured on.")
@click.option("--calibration", type=click.IntRange(0), default=500, show_default=True,
              help="With --weight-bits: training images to calibrate the scales on; 0 for none.")
@work_options("the folds")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the chosen fold to this file (JSON); "
              "with --weight-bits also the network, beside it (.snn).")
@json_option
def explore(network: str, device: str, objective: str, max_lut: int | None, clock_mhz: float, bus_bits: int,
            data: str | None, samples: int, weight_bits: list[int] | None, min_accuracy: float | None,
            accuracy_samples: int, calibration: int, jobs: int | None, scheduler: str | None, output: Path | None,
            as_json: bool) -> None:
    """Search folds of NETWORK: cycles by the exact cycle model, LUTs and block RAMs by an estimate.

    Shows the front, where nothing is better in both cycles and LUTs, and the best fold that fits. `build --fold auto
    --device ...` does the same and builds it. With `--objective energy` the front is over energy, as predicted from the
    cycles and what a fold is made of; with `--weight-bits` also over accuracy.

    \b
    Examples:
      spikeloom explore fashion-mnist-128 --device lfe5u-25f --max-lut 4000 -o fold.json
      spikeloom explore my.snn --device lfe5u-25f --objective area --json
      spikeloom explore my.snn --device lfe5u-25f --objective energy --clock-mhz 60
      spikeloom explore fashion-mnist-128-float --weight-bits 3,4,6 --min-accuracy 0.87 -o fold.json
      spikeloom explore my.snn --scheduler tcp://192.168.0.2:8786
    """
    if output is not None:
        check_file(output, is_fold)
    if weight_bits is not None:
        options = {"objective": objective, "max_lut": max_lut, "clock_mhz": clock_mhz, "bus_bits": bus_bits,
                   "jobs": jobs, "scheduler": scheduler}
        _explore_widths(network, device, data, weight_bits, min_accuracy, accuracy_samples, samples, calibration,
                        output, as_json, options)
        return
    if min_accuracy is not None:
        raise SpikeloomError("--min-accuracy is for --weight-bits: of one network the accuracy is what it is "
                             "(spikeloom eval)")
    net = spikeloom.load(network)
    loaded = data_for(net, data, samples, labelled=False)
    with bar(f"folds for {device}") as advance:
        found = spikeloom.explore(net, device, loaded.images, objective=objective, max_lut=max_lut,
                                  clock_mhz=clock_mhz, bus_bits=bus_bits, jobs=jobs, scheduler=scheduler,
                                  progress=lambda tried, front: advance(
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


def _widths(value: str | None) -> list[int] | None:
    if value is None:
        return None
    try:
        widths = [int(each) for each in value.split(",")]
    except ValueError:
        widths = []
    if not widths or len(set(widths)) < len(widths) or any(bits not in ALLOWED_WEIGHT_BITS for bits in widths):
        allowed = ", ".join(map(str, ALLOWED_WEIGHT_BITS))
        raise click.BadParameter(f"must be some of {allowed}, each once, as 2,3,4, not {short(value)}")
    return widths


def _explore_widths(network: str, device: str, data: str | None, weight_bits: list[int], min_accuracy: float | None,
                    accuracy_samples: int, samples: int, calibration: int, output: Path | None, as_json: bool,
                    options: dict[str, Any]) -> None:
    from spikeloom.gen.explore_widths import chosen_width, explore_widths, front_of
    from spikeloom.model import container
    from spikeloom.model.float_network import load_float_network
    from spikeloom.model.network_file import KIND, save_network
    real = load_float_network(shipped.find(network, ".fsnn"))
    beside = None if output is None else output.with_suffix(".snn")
    if beside is not None:
        container.check_output(beside, KIND)
    named = data or str(real.metadata.get("data") or "fashion-mnist")
    images = load_data(named, calibration, "train").images if calibration else None
    loaded = data_for(spikeloom.quantize(real, weight_bits=weight_bits[0]), data, accuracy_samples)
    with bar(f"folds for {device}") as advance:
        widths = explore_widths(
            real, device, loaded.images, loaded.labels, weight_bits=weight_bits, samples=samples, calibration=images,
            progress=lambda bits, tried, front: advance(
                done=tried, what=f"folds for {device}, {bits} bits, {front} at the front"), **options)
    chosen = chosen_width(widths, min_accuracy)
    front = front_of(widths)
    value: dict[str, Any] = {
        "device": chosen.exploration.device, "data": loaded.name, "accuracy_samples": len(loaded),
        "widths": [width.to_json() for width in widths], "weight_bits": chosen.weight_bits,
        "accuracy": chosen.accuracy, "chosen": chosen.exploration.chosen.to_json(),
        "front": [{"weight_bits": width.weight_bits, "accuracy": width.accuracy, **point.to_json()}
                  for width, point in front]}
    if output is not None and beside is not None:
        make_parents(output)
        write_file(output, json.dumps(chosen.exploration.chosen.fold.to_dict(), indent=1) + "\n", is_own=is_fold)
        save_network(chosen.network, beside)
        value |= {"file": str(output), "network_file": str(beside)}
    if as_json:
        print_json(value)
        return
    out.print(_table(chosen.exploration, real.name, options["clock_mhz"],
                     [(point, [f"{width.weight_bits}", f"{width.accuracy:.2%}"]) for width, point in front],
                     ["bits", "accuracy"]))
    best = chosen.exploration.chosen
    out.print(f"{sum(width.exploration.tried for width in widths):,} folds tried; chosen: {chosen.weight_bits} bits, "
              f"{chosen.accuracy:.2%} of {len(loaded):,} samples, {best.cycles_mean:,.1f} cycles at {best.lut:,} LUTs")
    if beside is not None:
        print_next(command_line("build", beside, "--fold", output, "-o", f"build/{real.name}"))


def is_fold(path: Path) -> bool:
    """Whether a file is a fold that this command wrote."""
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("name") == "explored")
    except (OSError, ValueError, AttributeError):
        return False


def _print(found: Exploration, name: str, clock_mhz: float) -> None:
    out.print(_table(found, name, clock_mhz, [(point, []) for point in found.front], []))
    out.print(f"{found.tried:,} folds tried; chosen for {found.objective}: {found.chosen.cycles_mean:,.1f} cycles at "
              f"{found.chosen.lut:,} LUTs")


def _table(found: Exploration, name: str, clock_mhz: float, points: list[tuple[Point, list[str]]],
           first: list[str]) -> Table:
    """Of points, each with what stands in its ``first`` columns."""
    what = "cycles from result to result" if found.objective == "throughput" else "cycles from sample to result"
    table = Table(title=f"{name} on {found.device}: {what}, {found.samples} samples; LUTs estimated",
                  title_justify="left")
    energy_column = [] if found.chosen.energy_nj is None else ["uJ, predicted"]
    for column in (*first, "cycles", f"us at {clock_mhz:g} MHz", *energy_column, "LUTs", "flip-flops", "block RAMs"):
        table.add_column(column, justify="right")
    table.add_column("lanes x inputs a cycle / neuron units, a layer each")
    table.add_column("LUTs")
    most = max(point.lut for point, _ in points)
    for point, before in points:
        energy = [] if point.energy_nj is None else [f"{point.energy_nj / 1000:,.2f}"]
        table.add_row(*before, f"{point.cycles_mean:,.0f}", f"{point.cycles_mean / clock_mhz:,.2f}", *energy,
                      f"{point.lut:,}", f"{point.ff:,}", f"{point.bram:,}", fold_text(point),
                      "#" * round(BAR * point.lut / most), style="bold" if point is found.chosen else "")
    return table


def fold_text(point: Point) -> str:
    """A fold in a line."""
    def layer(own: Any) -> str:
        where = "" if own.external_bus_bits is None else " external"
        where += f" but {own.on_chip_lanes} lanes" if own.on_chip_lanes else ""
        how = " spiking" if own.updates == "spiking" else "" if own.pipelined else " stepping"
        return f"{own.lanes}x{own.inputs_per_cycle}/{own.neuron_units}{how}{where}"

    return f"{point.fold.input_per_beat} a beat; " + ", ".join(layer(own) for own in point.fold.layers)
