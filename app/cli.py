"""The command line: one command a step, each with ``--help`` examples and ``--json``."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.table import Table

import spikeloom
from spikeloom import shipped
from spikeloom.console import Group, bar, command_line, out, print_json, print_next, print_table
from spikeloom.data_options import (
    data_for,
    data_option,
    default_data,
    json_option,
    load_data,
    samples_option,
    split_option,
)
from spikeloom.energy_command import energy
from spikeloom.explore_command import explore, fold_text
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.arguments import short
from spikeloom.model.system.paths import shown
from spikeloom.nir_command import check_nir, dialect_options, evaluate_nir, export_nir, import_nir, is_nir, save_spikes
from spikeloom.pnr_command import pnr, usage_rows
from spikeloom.run_command import run
from spikeloom.train_command import train
from spikeloom.work_options import work_options

if TYPE_CHECKING:
    from spikeloom.cosim.simulate import SimResult
    from spikeloom.gen.manifest import Manifest

__all__ = ["main"]

CLOCK_MHZ = 100.0


def _finite(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


def _offset(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Decimal, or hexadecimal as 0x..."""
    try:
        return None if value is None else int(value, 0)
    except ValueError:
        raise click.BadParameter(f"{short(value)} is not a number of bytes, like 131072 or 0x20000.") from None


network_argument = click.argument("network")
folder_argument = click.argument("folder", type=click.Path(path_type=Path))
device_option = click.option("--device", help="Move weights that its block RAM cannot hold to external memory: "
                             "lfe5u-85f, ice40-up5k, ...")
bus_option = click.option("--bus-bits", type=click.Choice(["32", "64", "128", "256", "512"]), default="64",
                          show_default=True, callback=lambda ctx, param, value: int(value),
                          help="Width of the AXI4 buses to external memory.")
fold_option = click.option("--fold", default="balanced", show_default=True,
                           help="small, balanced, fast, full, or a fold file (JSON).")
clock_option = click.option("--clock-mhz", type=click.FloatRange(0, min_open=True), default=CLOCK_MHZ,
                            show_default=True, callback=_finite,
                            help="Clock at which cycles are shown as microseconds.")


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(spikeloom.__version__)
def main() -> None:
    """Trained spiking neural networks to FPGA accelerators in Verilog, proved spike for spike.

    \b
    The journey:
      spikeloom demo                                          all of it, on a shipped network
      spikeloom train --hidden 400-400 -o runs/a              train, quantised from the start
      spikeloom quantize runs/b/network.fsnn -o b.snn         or quantise a float network
      spikeloom import model.nir --dialect snntorch --data d.npz -o c.snn     or take one from another framework
      spikeloom eval fashion-mnist-400-400                    accuracy of the integer golden model
      spikeloom check fashion-mnist-400-400 --fold fast       what each layer becomes, and its cycles
      spikeloom explore fashion-mnist-128 --device lfe5u-25f  which folds are worth having
      spikeloom build fashion-mnist-400-400 --fold fast -o build/fast
      spikeloom sim build/fast --samples 1000                 Verilog against golden model
      spikeloom synth build/fast --device lfe5u-85f           LUTs, flip-flops, block RAMs
      spikeloom pnr build/fast --device lfe5u-85f             the clock after place and route
      spikeloom energy build/fast --device lfe5u-85f          what an inference costs, estimated
      spikeloom pnr build/board --board ulx3s-85f             a bitstream
      spikeloom run build/board --port /dev/ttyUSB0           images to the board, answers against the golden model
      spikeloom report build/fast -o report.html
    """


main.add_command(train)
main.add_command(import_nir)
main.add_command(export_nir)
main.add_command(pnr)
main.add_command(energy)
main.add_command(explore)
main.add_command(run)


@main.command("list")
@click.argument("what", type=click.Choice(["networks", "data", "folds", "devices", "boards", "neurons"]))
@json_option
def list_what(what: str, as_json: bool) -> None:
    """What there is: shipped networks, data sets, folds, devices, boards, neuron types and their parts.

    \b
    Examples:
      spikeloom list networks
      spikeloom list devices --json
    """
    print_table(as_json, {what: dict(rows := _listed(what))}, what, rows)


def _listed(what: str) -> list[tuple[str, str]]:
    if what == "networks":
        return [(name, spikeloom.load(name).topology) for name in shipped.names()] + [
            (name, "float: for quantize") for name in shipped.names(".fsnn")]
    if what == "data":
        from spikeloom.model import datasets
        return [(name, datasets.described(name)) for name in datasets.names()]
    if what == "folds":
        from spikeloom.gen.fold import PRESETS
        return [(name, " ".join((preset.__doc__ or "").split("\n\n")[0].split())) for name, preset in PRESETS.items()]
    if what == "devices":
        from spikeloom.gen.devices import DEVICES
        return [(name, f"{device.family}, {device.lut or '?'} LUTs, {device.bram or '?'} {device.bram_unit}")
                for name, device in DEVICES.items()]
    if what == "boards":
        from spikeloom.gen.boards import BOARDS
        return [(name, f"{board.title}; serial line: {board.line}") for name, board in BOARDS.items()]
    from spikeloom.model.neurons.files import NEURONS, PARTS
    return [(name, (kind.__doc__ or "").split("\n")[0]) for name, kind in (NEURONS | PARTS).items()]


@main.command()
@click.option("--network", default=shipped.DEMO_NETWORK, show_default=True, help="A shipped network, or a file.")
@click.option("--data", default="fashion-mnist-demo", show_default=True, help="A data set's name, or files.")
@click.option("--samples", type=click.IntRange(1), default=100, show_default=True, help="Images to co-simulate.")
@click.option("--fold", default="fast", show_default=True, help="A preset, or a fold file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("build/demo"), show_default=True)
@clock_option
@json_option
def demo(network: str, data: str, samples: int, fold: str, output: Path, clock_mhz: float, as_json: bool) -> None:
    """Shipped network and images to Verilog, co-simulated against the golden model.

    \b
    Examples:
      spikeloom demo
      spikeloom demo --samples 20 --fold small -o build/small
    """
    net = spikeloom.load(network)
    loaded = load_data(data, samples, None, net)
    plan = spikeloom.compile(net, fold)
    manifest = _write(plan, output, overwrite=True)
    result = _simulate(output, loaded.images, loaded.labels)
    value = result.to_json() | {"folder": str(output), "memory_bits": manifest.memory_bits, "clock_mhz": clock_mhz,
                                "us_mean": result.cycles_mean / clock_mhz}
    print_table(as_json, value, f"{net.name}: {net.topology}, {net.duration}, fold {plan.fold.name}", [
        *_sim_rows(result, clock_mhz),
        ("memory", f"{manifest.memory_bits:,} bits"),
        ("Verilog", output / f"{manifest.top}.v"),
        ("next", command_line("report", output, "--data", data, "-o", "report.html")),
    ])
    sys.exit(0 if result.ok else 1)


def _write(plan: Any, folder: Path, overwrite: bool, **options: Any) -> Manifest:
    with bar("Verilog") as advance:
        manifest = spikeloom.write(plan, folder, overwrite=overwrite, **options,
                                   progress=lambda what: advance(1, what=what))
        advance(what="Verilog", total=1, done=1)
    return manifest


def _simulate(folder: Path, samples: Any, labels: Any, **options: Any) -> SimResult:
    with bar("co-simulation") as advance:
        return spikeloom.simulate(folder, samples, labels,
                                  progress=lambda stage, done, total: advance(what=stage, done=done, total=total),
                                  **options)


def _sim_rows(result: SimResult, clock_mhz: float) -> list[tuple[str, Any]]:
    def us(cycles: float) -> str:
        return f"{cycles / clock_mhz:.2f}"

    rows = [
        ("samples", f"{result.samples:,}"),
        ("mismatches", f"{result.mismatches:,} (every spike of every layer and step, every class)"),
        ("cycles", f"min {result.cycles_min:,}  mean {result.cycles_mean:,.1f}  max {result.cycles_max:,}"),
        (f"us at {clock_mhz:g} MHz", f"min {us(result.cycles_min)}  mean {us(result.cycles_mean)}  "
                                     f"max {us(result.cycles_max)}"),
        ("cycles mispredicted", "not compared" if result.cycles_mispredicted is None else result.cycles_mispredicted),
        ("accuracy", "no labels" if result.accuracy is None else f"{result.accuracy:.2%}"),
        ("wall time", f"{result.wall_s:.1f} s ({result.cycles_per_s:,.0f} cycles/s)"),
    ]
    if result.first_mismatch is not None:
        rows.insert(2, ("first mismatch", str(result.first_mismatch)))
    return rows


@main.command("eval")
@network_argument
@data_option
@split_option
@samples_option
@click.option("--float", "in_float", is_flag=True, help="Of a NIR file: in the arithmetic of its dialect.")
@dialect_options
@click.option("--steps", type=click.IntRange(1, 65536), help="With --float: the data are images, whose pixels are "
              "currents of 0 to 1 in so many steps.  [default: spikes, with steps of their own]")
@click.option("--save", type=click.Path(path_type=Path), help="Write the spikes of all populations, scores, potentials "
              "and classes to this .npz.")
@json_option
def evaluate(network: str, data: str | None, split: str | None, samples: int | None, in_float: bool,
             dialect: str | None, settings: tuple[str, ...], single_spike: bool, steps: int | None,
             save: Path | None, as_json: bool) -> None:
    """Accuracy of NETWORK by the integer golden model; of a NIR file by its float semantics.

    \b
    Examples:
      spikeloom eval fashion-mnist-400-400
      spikeloom eval runs/a/network.snn --data my.npz --samples 1000 --json
      spikeloom eval model.nir --float --dialect snntorch --data spikes.npz --save spikes_float.npz
    """
    if is_nir(network) != in_float:
        raise SpikeloomError(f"{network}: --float goes with a NIR file, and a NIR file with --float"
                             + ("; `spikeloom import` makes integers of it" if is_nir(network) else ""))
    if in_float:
        evaluate_nir(network, dialect, settings, single_spike, data, split, samples, steps, save, as_json)
        return
    from spikeloom.model import golden
    net = spikeloom.load(network)
    loaded = data_for(net, data, samples, split)
    with bar("golden model", len(loaded)) as advance:
        result = spikeloom.evaluate(net, loaded, progress=advance)
    value = {"network": net.name, "hash": net.hash, "data": loaded.name, "samples": result.samples,
             "accuracy": result.accuracy, "active": result.active}
    if save is not None:
        full = golden.run(net, loaded.images)
        save_spikes(save, {layer.name: spikes for layer, spikes in zip(net.layers, full.spikes, strict=True)},
                    full.scores, full.potentials, full.classes)
        value["saved"] = str(save)
    print_table(as_json, value, f"{net.name}: {net.topology}, {net.duration}", [
        ("data", f"{loaded.name}, {loaded.split}"), ("samples", f"{result.samples:,}"),
        ("accuracy", f"{result.accuracy:.2%}"),
        *((f"neurons active in {layer.name}", f"{share:.1%}")
          for layer, share in zip(net.layers, result.active, strict=True)),
        *([] if save is None else [("saved", save)]),
    ])


@main.command()
@network_argument
@fold_option
@device_option
@bus_option
@data_option
@click.option("--samples", type=click.IntRange(1), default=200, show_default=True,
              help="Samples on which cycles are predicted.")
@click.option("--no-cycles", is_flag=True, help="Widths and memories only: needs no data.")
@dialect_options
@click.option("--picture", type=click.Path(path_type=Path), help="Of a NIR file: draw its graph (.svg, .png, .pdf).")
@clock_option
@json_option
def check(network: str, fold: str, device: str | None, bus_bits: int, data: str | None, samples: int, no_cycles: bool,
          dialect: str | None, settings: tuple[str, ...], single_spike: bool, picture: Path | None, clock_mhz: float,
          as_json: bool) -> None:
    """What each layer of NETWORK becomes: widths, memories, predicted cycles; of a NIR file, what each node becomes.
    Generates nothing.

    \b
    Examples:
      spikeloom check fashion-mnist-400-400 --fold fast
      spikeloom check my.snn --fold my_fold.json --data my.npz --json
      spikeloom check model.nir --dialect norse --picture graph.svg
    """
    if is_nir(network):
        check_nir(network, dialect, settings, single_spike, picture, as_json)
        return
    from spikeloom.gen.build import describe
    from spikeloom.gen.cycles import count_cycles
    from spikeloom.model.neurons.wording import equations
    net = spikeloom.load(network)
    plan = spikeloom.compile(net, fold, device, bus_bits)
    value = describe(plan).to_json()
    for layer, described in zip(net.layers, value["layers"], strict=True):
        described["equations"] = equations(layer.program)
    if not no_cycles:
        loaded = data_for(net, data, samples, labelled=False)
        counts = count_cycles(plan, loaded.images)
        value["cycles"] = {"samples": len(loaded), "min": int(counts.latency.min()),
                           "mean": float(counts.latency.mean()), "max": int(counts.latency.max())}
        for index, layer in enumerate(value["layers"]):
            layer["events_mean"] = float(counts.events[:, index].mean())
            layer["end_cycle_mean"] = float(counts.layer_end[:, index].mean())
            layer["utilisation"] = float(counts.utilisation(plan)[index])
    if as_json:
        print_json(value)
        return
    table = Table(title=f"{net.name}: {net.topology}, {net.duration}, fold {plan.fold.name}",
                  title_justify="left")
    rows = {"kind": "kind", "from (': delayed)": "sources",
            "input shape": "input_shape", "output shape": "output_shape",
            "inputs": "inputs", "neurons": "neurons", "lanes": "lanes", "positions side by side": "tile",
            "inputs per cycle": "inputs_per_cycle",
            "neuron units": "units", "neurons updated": "updates", "multipliers": "multipliers",
            "passes": "groups", "weight, bits": "weight_bits",
            "accumulator, bits": "accumulator_bits", "drive, bits": "drive_bits",
            "registers, bits": "register_bits", "potential, bits": "potential_bits",
            "weights": "weights", "weight memory, bits": "weight_memory_bits",
            "event memory, bits": "event_memory_bits"}
    if not no_cycles:
        rows |= {"active inputs, mean": "events_mean", "last pass ends, cycle": "end_cycle_mean",
                 "lane utilisation": "utilisation"}
    table.add_column("")
    for layer in value["layers"]:
        table.add_column(layer["name"], justify="right")
    for title, key in rows.items():
        table.add_row(title, *(_shown(key, layer[key]) for layer in value["layers"]))
    out.print(table)
    for layer in value["layers"]:
        out.print(f"{layer['name']}: " + "; ".join(layer["equations"]))
    out.print(f"readout: {net.readout.kind}; ties: {net.readout.tie_winner}")
    out.print(f"weight and constant memories: {value['memory_bits']:,} bits")
    if not no_cycles:
        c = value["cycles"]
        out.print(f"cycles per sample: min {c['min']:,}  mean {c['mean']:,.1f}  max {c['max']:,}; "
                  f"mean {c['mean'] / clock_mhz:.2f} us at {clock_mhz:g} MHz ({c['samples']} samples of {loaded.name})")
    options = [*(["--device", device, "--bus-bits", str(bus_bits)] if device else []), "-o", f"build/{net.name}"]
    print_next(command_line("build", network, "--fold", fold, *options))


def _shown(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {bits}" for name, bits in value.items())
    if isinstance(value, list):
        return (", " if key == "sources" else " x ").join(map(str, value))
    if isinstance(value, str):
        return value
    return f"{value:.0%}" if key == "utilisation" else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


@main.command()
@network_argument
@click.option("--fold", default="balanced", show_default=True,
              help="small, balanced, fast, full, a fold file (JSON), or auto: the fastest that fits the device.")
@device_option
@bus_option
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--top", default="snn_top", show_default=True,
              help="Name of the top module; all other modules and memory files begin with it.")
@click.option("--interface", type=click.Choice(["stream", "axi", "wishbone", "uart", "spi"]), default="stream",
              show_default=True, help="Not stream: also a module around it, with AXI4-Stream for samples and results, "
              "and registers over AXI4-Lite or Wishbone; or all of it over a serial line, for boards.")
@click.option("--clock-mhz", type=click.FloatRange(0.001, 1000), help="With uart and spi: the clock that it will run "
              "at.  [default: 25]")
@click.option("--baud", type=click.IntRange(300), help="With uart: bits a second.  [default: 1000000]")
@click.option("--flash-offset", metavar="BYTES", callback=_offset, help="With uart and spi: external weights "
              "come from an SPI flash, from this byte on (decimal or 0x...), after every reset; not from the host.")
@click.option("--core-clock", is_flag=True, help="With axi: the accelerator has a clock of its own, core_clk.")
@click.option("--weight-sets", type=click.IntRange(0, 2), help="Write weights and constants at run time, so that one "
              "bitstream serves networks of the same shape: 1 set, or 2, one of which is written while the other is in "
              "use.  [default: as the fold says, or none]")
@click.option("--headroom-bits", type=click.IntRange(0, 16), help="With --weight-sets: how many bits larger the sums "
              "and constants of another network may be.  [default: 1]")
@click.option("--force", is_flag=True, help="Replace an earlier build.")
@json_option
def build(network: str, fold: str, device: str | None, bus_bits: int, output: Path, top: str, interface: str,
          clock_mhz: float | None, baud: int | None, flash_offset: int | None, core_clock: bool,
          weight_sets: int | None, headroom_bits: int | None, force: bool, as_json: bool) -> None:
    """Generate the Verilog of NETWORK, with memories, waivers and manifest.

    \b
    Examples:
      spikeloom build fashion-mnist-400-400 --fold fast -o build/fast
      spikeloom build my.snn --fold my_fold.json --top my_net -o build/mine --force
      spikeloom build fashion-mnist-128 --fold small --interface axi -o build/axi
      spikeloom build fashion-mnist-128 --interface uart --clock-mhz 50 --baud 2000000 -o build/board
      spikeloom build fashion-mnist-128 --fold auto --device lfe5u-25f -o build/auto
      spikeloom build large.snn --fold balanced --device lfe5u-45f --bus-bits 128 -o build/large
      spikeloom build fashion-mnist-128 --weight-sets 2 --interface axi -o build/loadable
    """
    serial = _serial(interface, clock_mhz, baud)
    net = spikeloom.load(network)
    plan = _auto(net, device, bus_bits) if fold == "auto" else spikeloom.compile(net, fold, device, bus_bits)
    sets = {name: value for name, value in (("weight_sets", weight_sets), ("headroom_bits", headroom_bits))
            if value is not None}
    if sets:
        plan = spikeloom.compile(net, replace(plan.fold, **sets))
    manifest = _write(plan, output, overwrite=force, top=top, interface=interface, serial=serial, core_clock=core_clock,
                      flash_offset=flash_offset)
    value = manifest.to_json() | {"folder": str(output)}
    chose = click.get_current_context().get_parameter_source("fold") is not ParameterSource.DEFAULT
    print_table(as_json, value, f"{net.name}: {net.topology}, fold {plan.fold.name}", [
        ("Verilog", output / f"{manifest.outer_top}.v"), ("memory", f"{manifest.memory_bits:,} bits"),
        *([] if chose or as_json else [("cycles, random samples", _against_fast(net, plan))]),
        ("network hash", net.hash[:16]), ("next", command_line("sim", output)),
    ])


def _serial(interface: str, clock_mhz: float | None, baud: int | None) -> Any:
    """The serial line that the options ask for, or None."""
    kinds = {"--clock-mhz": ("uart", "spi"), "--baud": ("uart",)}
    for name, value in (("--clock-mhz", clock_mhz), ("--baud", baud)):
        if value is not None and interface not in kinds[name]:
            raise SpikeloomError(f"{name} is for --interface {' and '.join(kinds[name])} only")
    if interface not in ("uart", "spi"):
        return None
    from spikeloom.gen.bus_top import Serial
    if interface == "spi":
        return None if clock_mhz is None else Serial.spi(round(clock_mhz * 1e6))
    options = {"clock_hz": None if clock_mhz is None else round(clock_mhz * 1e6), "baud": baud}
    return Serial(**{name: value for name, value in options.items() if value is not None})


def _against_fast(net: Any, plan: Any) -> str:
    """How slow a fold is that nobody chose."""
    from spikeloom.gen.cycles import count_cycles
    from spikeloom.gen.testbench import random_samples
    samples = random_samples(net, 4, seed=1)
    mine, fast = (count_cycles(each, samples).latency.mean() for each in (plan, spikeloom.compile(net, "fast")))
    return f"{mine:,.0f}; --fold fast would take {fast:,.0f}, --fold auto --device ... what fits"


def _auto(net: Any, device: str | None, bus_bits: int) -> Any:
    """A plan of the fold with the fewest cycles that fits the device."""
    if device is None:
        raise SpikeloomError("fold auto: name the device that it is to fit by --device")
    from spikeloom.gen.explore import SAMPLES
    loaded = data_for(net, None, SAMPLES, labelled=False)
    with bar(f"folds for {device}") as advance:
        chosen = spikeloom.explore(net, device, loaded.images, bus_bits=bus_bits, progress=lambda tried, front: advance(
            done=tried, what=f"folds for {device}, {front} at the front")).chosen
    click.echo(f"fold: {fold_text(chosen)}: {chosen.cycles_mean:,.1f} cycles, about {chosen.lut:,} LUTs", err=True)
    return spikeloom.compile(net, chosen.fold)


@main.command()
@folder_argument
@network_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write.")
@json_option
def weights(folder: Path, network: str, output: Path, as_json: bool) -> None:
    """Write the set of weights and constants that makes of the hardware in FOLDER that of NETWORK.

    FOLDER was built with --weight-sets, NETWORK has the same shape. The file is words of 32 bits, least significant
    byte first: "SNNW", what register load_shape shows, four of the network's hash, then what is written to load_word.

    
    Examples:
      spikeloom weights build/loadable runs/b/network.snn -o b.bin
      spikeloom sim build/loadable --network runs/b/network.snn
    """
    from spikeloom.gen.weight_sets import MAGIC
    from spikeloom.model.system.reading import open_regular
    from spikeloom.model.system.writing import check_file, write_file

    def is_own(path: Path) -> bool:
        with open_regular(path) as file:
            return file.read(len(MAGIC)) == MAGIC

    check_file(output, is_own)
    chosen = spikeloom.weight_set(folder, spikeloom.load(network))
    write_file(output, chosen.to_bytes(), is_own=is_own)
    value = {"file": str(output), "network": chosen.network.name, "hash": chosen.network.hash,
             "words": len(chosen.words), "shape": chosen.shape}
    print_table(as_json, value, f"{shown(folder)}: weights of {chosen.network.name}", [
        ("file", output), ("words", f"{len(chosen.words):,}"), ("network hash", chosen.network.hash[:32]),
        ("load_shape", f"{chosen.shape:#010x}")])


@main.command()
@folder_argument
@data_option
@split_option
@samples_option
@click.option("--network", help="Write the weights of this network into the hardware first: it was built with "
              "--weight-sets, and the network has the same shape.")
@work_options("the samples")
@click.option("--isolated", is_flag=True, help="Send samples one at a time, and no more.")
@click.option("--stream", is_flag=True, help="Send samples back to back instead of one at a time.")
@click.option("--input-gap", type=click.FloatRange(0, 1, max_open=True), default=0.0,
              help="Chance per cycle that the input pauses.")
@click.option("--output-stall", type=click.FloatRange(0, 1, max_open=True), default=0.0,
              help="Chance per cycle that the output has to wait.")
@click.option("--reset-at", type=click.IntRange(1), multiple=True, help="Reset in this cycle (may be repeated).")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random pauses.")
@click.option("--waves", type=click.Path(path_type=Path), help="Write waveforms (.vcd) or toggle counts (.saif) to "
              "this file.")
@click.option("--memory-latency", type=click.IntRange(1), default=32, show_default=True,
              help="Of external memories: cycles from an address to its first word.")
@click.option("--memory-interval", type=click.IntRange(1), default=1, show_default=True,
              help="Of external memories: cycles per word.")
@clock_option
@json_option
def sim(folder: Path, data: str | None, split: str | None, samples: int | None, network: str | None, jobs: int | None,
        scheduler: str | None, isolated: bool, stream: bool, input_gap: float, output_stall: float,
        reset_at: tuple[int, ...], seed: int, waves: Path | None, memory_latency: int, memory_interval: int,
        clock_mhz: float, as_json: bool) -> None:
    """Run the Verilog in FOLDER under Verilator; compare every spike, class and cycle count.

    Samples go in one at a time, which is when cycles can be predicted. Then a few of them do so again, between
    thinned, blank and full ones; and all these once more back to back, with random stalls and resets. An option that
    says how samples are sent stands instead of the three. Exit code 1 if anything differs.

    \b
    Examples:
      spikeloom sim build/fast --samples 1000
      spikeloom sim build/fast --data fashion-mnist-demo --input-gap 0.3 --output-stall 0.3 --seed 7
      spikeloom sim build/fast --data fashion-mnist-demo --samples 2 --waves two.vcd
      spikeloom sim build/fast --scheduler tcp://192.168.0.2:8786
    """
    if scheduler is not None and (isolated or stream or input_gap or output_stall or reset_at or waves or network):
        raise click.UsageError("--scheduler goes with none of --isolated, --stream, --input-gap, --output-stall, "
                               "--reset-at, --waves and --network")
    from spikeloom.gen.fetch_cycles import MemoryTiming
    from spikeloom.gen.manifest import read_manifest
    read_manifest(folder)  # a wrong folder is told before any data are fetched
    other = None if network is None else spikeloom.load(network)
    net = other or spikeloom.load(folder)
    loaded = data_for(net, data, samples, split, labelled=False)
    labels = loaded.labels if data or default_data(net) else None  # those of random samples mean nothing
    memory = MemoryTiming(latency_cycles=memory_latency, beat_interval_cycles=memory_interval)
    if not (isolated or stream or input_gap or output_stall or reset_at or waves):
        with bar("co-simulation") as advance:
            proof = spikeloom.prove(folder, loaded.images, labels, jobs=jobs, seed=seed, memory=memory,
                                    scheduler=scheduler, network=other,
                                    progress=lambda stage, done, total: advance(what=stage, done=done, total=total))
        result, ok, value = proof.isolated, proof.ok, proof.to_json()
        rows = _sim_rows(result, clock_mhz)
        odd, rough = proof.odd, proof.rough
        rows[2:2] = [("thinned, blank, full", f"{odd.samples} samples, {odd.mismatches:,} mismatches"),
                     ("back to back, with stalls", f"the same, {rough.resets} resets, {rough.mismatches:,} mismatches")]
        if proof.wrongly_marked:
            rows.insert(2, ("wrongly marked invalid, or not", proof.wrongly_marked))
        rows[2:2] = [("first mismatch there", str(one.first_mismatch)) for one in (odd, rough)
                     if one.first_mismatch is not None]
    else:
        result = _simulate(folder, loaded.images, labels, jobs=jobs, mode="stream" if stream else "isolated",
                           input_gap=input_gap, output_stall=output_stall, reset_cycles=reset_at, seed=seed,
                           waves=waves, memory=memory, network=other)
        ok, value, rows = result.ok, result.to_json(), _sim_rows(result, clock_mhz)
    value |= {"clock_mhz": clock_mhz, "us_mean": result.cycles_mean / clock_mhz}
    print_table(as_json, value, f"{shown(folder)}: Verilog against golden model", rows)
    sys.exit(0 if ok else 1)


@main.command()
@folder_argument
@json_option
def lint(folder: Path, as_json: bool) -> None:
    """Check the Verilog in FOLDER by Verilator, all warnings on; what is waived stands in its lint.vlt, with reasons.

    \b
    Examples:
      spikeloom lint build/fast
    """
    from spikeloom.cosim.verilator import find_verilator
    from spikeloom.cosim.verilator import lint as run
    run(folder)
    tool = find_verilator()
    print_table(as_json, {"folder": str(folder), "warnings": 0, "verilator": tool.version}, shown(folder),
                [("warnings", 0), ("Verilator", tool.version)])


@main.command()
@folder_argument
@click.option("--device", default="lfe5u-85f", show_default=True, help="lfe5u-85f, ice40-up5k, xc7, ...")
@json_option
def synth(folder: Path, device: str, as_json: bool) -> None:
    """Count what the Verilog in FOLDER takes of a device, by Yosys. Exit code 1 if it does not fit.

    \b
    Examples:
      spikeloom synth build/fast --device lfe5u-85f
      spikeloom synth build/128 --device lfe5u-25f --json
    """
    from spikeloom.gen.synth import DoesNotFitError
    try:
        with bar(f"Yosys for {device}") as advance:
            result = spikeloom.synthesize(folder, device, progress=lambda what: advance(1, what=f"Yosys {what}"[:60]))
    except DoesNotFitError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    too_much = result.too_much()
    print_table(as_json, result.to_json() | {"too_much": too_much}, f"{shown(folder)} on {device}", [
        *usage_rows(result),
        ("fits", {True: "yes", False: "no: " + "\n".join(too_much), None: "no limits known"}[result.fits]),
        ("tool", f"{result.tool}, {result.wall_s:.0f} s"),
    ])
    sys.exit(1 if result.fits is False else 0)


@main.command()
@folder_argument
@data_option
@split_option
@click.option("--samples", type=click.IntRange(1), default=1000, show_default=True,
              help="Samples for accuracy and distribution of cycles.")
@click.option("--device", help="Synthesise for this device too (takes minutes).")
@click.option("--energy", is_flag=True, help="Estimate the energy of an inference on the device too (takes minutes).")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True)
@clock_option
@json_option
def report(folder: Path, data: str | None, split: str | None, samples: int, device: str | None, energy: bool,
           output: Path, clock_mhz: float, as_json: bool) -> None:
    """One self-contained HTML page about the build in FOLDER.

    \b
    Examples:
      spikeloom report build/fast -o report.html
      spikeloom report build/fast --data fashion-mnist-demo --samples 500 --device lfe5u-85f --energy
    """
    from spikeloom.gen.manifest import read_manifest
    from spikeloom.html_report import check_page
    read_manifest(folder)
    if output.parent.exists():
        check_page(output)
    loaded = data_for(spikeloom.load(folder), data, samples, split)
    words = [*(["--data", data] if data else []), *(["--split", split] if split else []), "--samples", samples,
             "-o", output]
    made_by = {"command": command_line("report", folder, *words), "date": datetime.now(UTC).date().isoformat()}
    with bar("report") as advance:
        path = spikeloom.report(folder, output, loaded, device=device, energy=energy, clock_mhz=clock_mhz, **made_by,
                                progress=lambda what: advance(1, what=what))
    print_table(as_json, {"report": str(path), "samples": len(loaded)}, shown(folder), [("report", path)])


@main.command()
@network_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Network file to write (.snn).")
@click.option("--weight-bits", type=int, default=8, show_default=True, help="1..8 or 16.")
@click.option("--granularity", type=click.Choice(["layer", "channel"]), default="channel", show_default=True,
              help="One scale per layer, or per output channel.")
@click.option("--fraction-bits", type=int, default=4, show_default=True, help="Fractional bits of the states.")
@click.option("--input-bits", type=int, default=8, show_default=True, help="Bits of a pixel.")
@click.option("--calibration", type=click.IntRange(0), default=500, show_default=True,
              help="Training images to calibrate the scales on; 0 for none.")
@data_option
@json_option
def quantize(network: str, output: Path, calibration: int, data: str | None, as_json: bool, **options: Any) -> None:
    """Quantise the float network NETWORK (a shipped name or a .fsnn file) without training.

    \b
    Examples:
      spikeloom quantize fashion-mnist-128-float --weight-bits 6 -o q6.snn
      spikeloom quantize runs/float/network.fsnn --calibration 0 -o q8.snn
    """
    from spikeloom.model import container
    from spikeloom.model.float_network import load_float_network
    from spikeloom.model.network_file import KIND, save_network
    # What is wrong is told before any data are fetched.
    real = load_float_network(shipped.find(network, ".fsnn"))
    container.check_output(output, KIND)
    named = data or real.metadata.get("data") or "fashion-mnist"
    images = load_data(str(named), calibration, "train").images if calibration else None
    net = spikeloom.quantize(network, calibration=images, **options)
    save_network(net, output)
    value = {"network": str(output), "name": net.name, "hash": net.hash, **options}
    follows = command_line("eval", output, *(["--data", data] if data else []))
    print_table(as_json, value, f"{net.name}: {net.topology}", [("file", output), *options.items(), ("next", follows)])
