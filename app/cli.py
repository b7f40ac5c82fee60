"""The command line: one command a step, each with ``--help`` examples and ``--json``."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import shlex
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

import spikeloom
from spikeloom import shipped
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.paths import shown

if TYPE_CHECKING:
    from spikeloom.cosim.simulate import SimResult
    from spikeloom.gen.fetch_cycles import MemoryTiming
    from spikeloom.gen.manifest import Manifest
    from spikeloom.model.datasets import Dataset
    from spikeloom.model.network import Network

__all__ = ["main"]

CLOCK_MHZ = 100.0
LINE_SECONDS = 5
LEAST_TRAINING_STEPS = 3000
ROUGH_SAMPLES, ROUGH_CYCLES = 20, 400_000

# Paths and names are not markup.
out = Console(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except SpikeloomError as error:
        _fail(str(error))
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        see = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        _fail(" ".join(error.format_message().split()) + see)
    except (click.exceptions.Exit, click.Abort):
        raise
    except click.ClickException as error:
        _fail(error.format_message())
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever read the output has gone; click knows what to do
            raise
        _fail(f"{shown(error.filename)}: {error.strerror}" if error.filename else str(error))
    except Exception as error:
        _unexpected(error)


class _Group(click.Group):
    """Bad input is one line on standard error and exit code 2; what nobody has thought of, and code 70."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a name that the terminal has no letters for must not end it
                stream.reconfigure(errors="backslashreplace")
        with _one_line_errors():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line_errors():
            return super().invoke(ctx)


def _unexpected(error: Exception) -> NoReturn:
    """A defect, or a machine out of memory: one line, the rest in a file."""
    text = "".join([f"spikeloom {spikeloom.__version__}, Python {sys.version}\n{shlex.join(sys.argv)}\n\n",
                    *traceback.format_exception(error)])
    with tempfile.NamedTemporaryFile("w", prefix="spikeloom-error-", suffix=".log", encoding="utf-8",
                                     errors="backslashreplace", delete=False) as log:
        log.write(text)
    what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    click.echo(f"error: unexpected: {what}; please report it with {log.name}", err=True)
    sys.exit(70)


def _fail(message: str) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(2)


def _finite(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


@contextmanager
def _bar(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Progress on standard error; yields ``advance(n=1, what=None, done=None, total=None)``.

    A bar on a terminal; else a line every few seconds.
    """
    if not err.is_terminal:
        with _lines(what, total) as advance:
            yield advance
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(what, total=total)

        def advance_bar(n: int = 0, *, what: str | None = None, done: int | None = None,
                        total: int | None = None) -> None:
            fields: dict[str, Any] = {"advance": n} if done is None else {"completed": done}
            if what is not None:
                fields["description"] = what
            if total is not None:
                fields["total"] = total
            progress.update(task, **fields)

        yield advance_bar


@contextmanager
def _lines(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    began, stop = time.monotonic(), threading.Event()
    now: dict[str, Any] = {"what": what, "done": 0, "total": total}

    def advance(n: int = 0, **fields: Any) -> None:
        now["done"] = fields.pop("done", None) or now["done"] + n
        now.update({key: value for key, value in fields.items() if value is not None})

    def show() -> None:
        while not stop.wait(LINE_SECONDS):
            of = f"/{now['total']:,}" if now["total"] else ""
            click.echo(f"{now['what']}: {now['done']:,}{of}, {time.monotonic() - began:.0f} s", err=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield advance
    finally:
        stop.set()
        thread.join()


def _print(as_json: bool, value: dict[str, Any], title: str, rows: list[tuple[str, Any]]) -> None:
    """JSON, or a table of names and values."""
    if as_json:
        _print_json(value)
        return
    table = Table(title=title, show_header=False, title_justify="left")
    for name, given in rows:
        table.add_row(name, shown(given) if isinstance(given, Path) else str(given))
    out.print(table)


def _print_json(value: dict[str, Any]) -> None:
    """With format and version, unless it is of a format of its own."""
    command = click.get_current_context().info_name
    click.echo(json.dumps({"format": f"spikeloom-{command}", "version": 1} | value, indent=1))


def _default_data(network: Network) -> str:
    """The data set that a network was trained on, or one of its shape."""
    from spikeloom.model import datasets
    named = network.metadata.get("data")
    if isinstance(named, str):
        if named not in datasets.names():  # a file has one split only
            click.echo(f"warning: {shown(named)} are the data that the network was trained on: what is measured on "
                       "them says little of others; name those by --data", err=True)
        return named
    of_shape = {(28, 28): "fashion-mnist", (1, 28, 28): "fashion-mnist", (3, 32, 32): "cifar10", (2, 34, 34): "n-mnist"}
    try:
        return of_shape[network.input.shape]
    except KeyError:
        raise SpikeloomError(f"network {network.name} does not say on which data it was trained: name some by --data, "
                             f"with samples of shape {network.input.shape}") from None


def _dataset(data: str, samples: int | None, split: str = "test") -> Any:
    with _bar(f"data {data}") as advance:
        loaded = spikeloom.dataset(data, samples, split=split,
                                   progress=lambda done, total: advance(done=done, total=total or None))
        advance(1, total=1)
    return loaded


network_argument = click.argument("network")
folder_argument = click.argument("folder", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
data_option = click.option("--data", help="A data set's name, or files: .npz with images and labels, IDX, ...  "
                           "[default: what the network was trained on]")
samples_option = click.option("--samples", type=click.IntRange(1), help="At most the first N samples.")
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


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(spikeloom.__version__)
def main() -> None:
    """Trained spiking neural networks to FPGA accelerators in Verilog, proved spike for spike.

    \b
    The journey:
      spikeloom demo                                          all of it, on a shipped network
      spikeloom train --hidden 400-400 -o runs/a              train, quantised from the start
      spikeloom quantize runs/b/network.fsnn -o b.snn         or quantise a float network
      spikeloom eval fashion-mnist-400-400                    accuracy of the integer golden model
      spikeloom check fashion-mnist-400-400 --fold fast       what each layer becomes, and its cycles
      spikeloom build fashion-mnist-400-400 --fold fast -o build/fast
      spikeloom sim build/fast --samples 1000                 Verilog against golden model
      spikeloom synth build/fast --device lfe5u-85f           LUTs, flip-flops, block RAMs
      spikeloom report build/fast -o report.html
    """


@main.command("list")
@click.argument("what", type=click.Choice(["networks", "data", "folds", "devices", "neurons"]))
@json_option
def list_what(what: str, as_json: bool) -> None:
    """What there is: shipped networks, data sets, folds, devices, neuron types.

    \b
    Examples:
      spikeloom list networks
      spikeloom list devices --json
    """
    _print(as_json, {what: dict(rows := _listed(what))}, what, rows)


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
    from spikeloom.model.network import Neuron
    return [("lif_psc", (Neuron.__doc__ or "").split("\n")[0])]


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
      spikeloom demo --samples 500 --fold small -o build/small
    """
    net = spikeloom.load(network)
    loaded = _dataset(data, samples)
    plan = spikeloom.compile(net, fold)
    manifest = _write(plan, output, overwrite=True)
    result = _simulate(output, loaded)
    value = result.to_json() | {"folder": str(output), "memory_bits": manifest.memory_bits, "clock_mhz": clock_mhz,
                                "us_mean": result.cycles_mean / clock_mhz}
    _print(as_json, value, f"{net.name}: {net.topology}, {net.steps} time steps, fold {plan.fold.name}", [
        *_sim_rows(result, clock_mhz),
        ("memory", f"{manifest.memory_bits:,} bits"),
        ("Verilog", output / f"{manifest.top}.v"),
        ("next", _command("report", output, "--data", data, "-o", "report.html")),
    ])
    sys.exit(0 if result.ok else 1)


def _command(*words: object) -> str:
    """A command that can be typed as it is shown."""
    return shlex.join(["spikeloom", *map(str, words)])


def _write(plan: Any, folder: Path, overwrite: bool) -> Manifest:
    with _bar("Verilog") as advance:
        manifest = spikeloom.write(plan, folder, overwrite=overwrite, progress=lambda what: advance(1, what=what))
        advance(what="Verilog", total=1, done=1)
    return manifest


def _simulate(folder: Path, loaded: Any, **options: Any) -> SimResult:
    with _bar("co-simulation") as advance:
        return spikeloom.simulate(folder, loaded.images, loaded.labels,
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
@samples_option
@json_option
def evaluate(network: str, data: str | None, samples: int | None, as_json: bool) -> None:
    """Accuracy of NETWORK by the integer golden model.

    \b
    Examples:
      spikeloom eval fashion-mnist-400-400
      spikeloom eval runs/a/network.snn --data my.npz --samples 1000 --json
    """
    net = spikeloom.load(network)
    loaded = _dataset(data or _default_data(net), samples)
    with _bar("golden model", len(loaded)) as advance:
        result = spikeloom.evaluate(net, loaded, progress=advance)
    value = {"network": net.name, "hash": net.hash, "data": loaded.name, "samples": result.samples,
             "accuracy": result.accuracy, "active": result.active}
    _print(as_json, value, f"{net.name}: {net.topology}, {net.steps} time steps", [
        ("data", f"{loaded.name}, {loaded.split}"), ("samples", f"{result.samples:,}"),
        ("accuracy", f"{result.accuracy:.2%}"),
        *((f"neurons active in {layer.name}", f"{share:.1%}")
          for layer, share in zip(net.layers, result.active, strict=True)),
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
@clock_option
@json_option
def check(network: str, fold: str, device: str | None, bus_bits: int, data: str | None, samples: int, no_cycles: bool,
          clock_mhz: float, as_json: bool) -> None:
    """What each layer of NETWORK becomes: widths, memories, predicted cycles. Generates nothing.

    \b
    Examples:
      spikeloom check fashion-mnist-400-400 --fold fast
      spikeloom check my.snn --fold my_fold.json --data my.npz --json
    """
    from spikeloom.gen.build import describe
    from spikeloom.gen.cycles import count_cycles
    from spikeloom.model.neurons.wording import equations
    net = spikeloom.load(network)
    plan = spikeloom.compile(net, fold, device, bus_bits)
    value = describe(plan).to_json()
    for layer, described in zip(net.layers, value["layers"], strict=True):
        described["equations"] = equations(layer.neuron.program)
    if not no_cycles:
        loaded = _dataset(data or _default_data(net), samples)
        counts = count_cycles(plan, loaded.images)
        value["cycles"] = {"samples": len(loaded), "min": int(counts.latency.min()),
                           "mean": float(counts.latency.mean()), "max": int(counts.latency.max())}
        for index, layer in enumerate(value["layers"]):
            layer["events_mean"] = float(counts.events[:, index].mean())
            layer["end_cycle_mean"] = float(counts.layer_end[:, index].mean())
            layer["utilisation"] = float(counts.utilisation(plan)[index])
    if as_json:
        _print_json(value)
        return
    table = Table(title=f"{net.name}: {net.topology}, {net.steps} time steps, fold {plan.fold.name}",
                  title_justify="left")
    rows = {"kind": "kind", "input shape": "input_shape", "output shape": "output_shape",
            "inputs": "inputs", "neurons": "neurons", "lanes": "lanes", "positions side by side": "tile",
            "inputs per cycle": "inputs_per_cycle",
            "neuron units": "units", "passes": "groups", "weight, bits": "weight_bits",
            "accumulator, bits": "accumulator_bits", "drive, bits": "drive_bits", "current, bits": "current_bits",
            "membrane, bits": "membrane_bits", "weights": "weights", "weight memory, bits": "weight_memory_bits",
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


def _shown(key: str, value: Any) -> str:
    if isinstance(value, list):
        return " x ".join(map(str, value))
    if isinstance(value, str):
        return value
    return f"{value:.0%}" if key == "utilisation" else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


@main.command()
@network_argument
@fold_option
@device_option
@bus_option
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--force", is_flag=True, help="Replace an earlier build.")
@json_option
def build(network: str, fold: str, device: str | None, bus_bits: int, output: Path, force: bool,
          as_json: bool) -> None:
    """Generate the Verilog of NETWORK, with memories, waivers and manifest.

    \b
    Examples:
      spikeloom build fashion-mnist-400-400 --fold fast -o build/fast
      spikeloom build my.snn --fold my_fold.json -o build/mine --force
      spikeloom build large.snn --fold balanced --device lfe5u-45f --bus-bits 128 -o build/large
    """
    net = spikeloom.load(network)
    plan = spikeloom.compile(net, fold, device, bus_bits)
    manifest = _write(plan, output, overwrite=force)
    value = manifest.to_json() | {"folder": str(output)}
    _print(as_json, value, f"{net.name}: {net.topology}, fold {plan.fold.name}", [
        ("Verilog", output / f"{manifest.top}.v"), ("memory", f"{manifest.memory_bits:,} bits"),
        ("network hash", net.hash[:16]), ("next", _command("sim", output)),
    ])


@main.command()
@folder_argument
@data_option
@samples_option
@click.option("--jobs", type=click.IntRange(1, 1024), default=len(os.sched_getaffinity(0)), show_default="cores",
              help="Processes.")
@click.option("--stream", is_flag=True, help="Send samples back to back instead of one at a time.")
@click.option("--input-gap", type=click.FloatRange(0, 1, max_open=True), default=0.0,
              help="Chance per cycle that the input pauses.")
@click.option("--output-stall", type=click.FloatRange(0, 1, max_open=True), default=0.0,
              help="Chance per cycle that the output has to wait.")
@click.option("--reset-at", type=click.IntRange(1), multiple=True, help="Reset in this cycle (may be repeated).")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random pauses.")
@click.option("--waves", type=click.Path(path_type=Path), help="Write waveforms (.vcd) to this file.")
@click.option("--memory-latency", type=click.IntRange(1), default=32, show_default=True,
              help="Of external memories: cycles from an address to its first word.")
@click.option("--memory-interval", type=click.IntRange(1), default=1, show_default=True,
              help="Of external memories: cycles per word.")
@clock_option
@json_option
def sim(folder: Path, data: str | None, samples: int | None, jobs: int, stream: bool, input_gap: float,
        output_stall: float, reset_at: tuple[int, ...], seed: int, waves: Path | None, memory_latency: int,
        memory_interval: int, clock_mhz: float, as_json: bool) -> None:
    """Run the Verilog in FOLDER under Verilator; compare every spike, class and cycle count.

    Samples go in one at a time, which is when cycles can be predicted; a few of them once more back to back, with
    random stalls and resets, unless an option says how. Exit code 1 if anything differs.

    \b
    Examples:
      spikeloom sim build/fast --samples 1000
      spikeloom sim build/fast --data fashion-mnist-demo --input-gap 0.3 --output-stall 0.3 --seed 7
      spikeloom sim build/fast --data fashion-mnist-demo --samples 2 --waves two.vcd
    """
    from spikeloom.gen.fetch_cycles import MemoryTiming
    from spikeloom.gen.manifest import read_manifest
    read_manifest(folder)  # a wrong folder is told before any data are fetched
    loaded = _dataset(data or _default_data(spikeloom.load(folder)), samples)
    memory = MemoryTiming(latency_cycles=memory_latency, beat_interval_cycles=memory_interval)
    result = _simulate(folder, loaded, jobs=jobs, mode="stream" if stream else "isolated", input_gap=input_gap,
                       output_stall=output_stall, reset_cycles=reset_at, seed=seed, waves=waves, memory=memory)
    value = result.to_json() | {"clock_mhz": clock_mhz, "us_mean": result.cycles_mean / clock_mhz}
    rows = _sim_rows(result, clock_mhz)
    ok = result.ok
    if not (stream or input_gap or output_stall or reset_at or waves):
        rough = _rough_pass(folder, loaded, result.cycles_mean, seed, memory)
        ok = ok and rough.ok
        value["rough_pass"] = rough.to_json()
        said = f"{rough.samples} samples, {rough.mismatches:,} mismatches"
        rows.insert(2, ("back to back, with stalls and resets", said))
        if rough.first_mismatch is not None:
            rows.insert(3, ("first mismatch there", str(rough.first_mismatch)))
    _print(as_json, value, f"{shown(folder)}: Verilog against golden model", rows)
    sys.exit(0 if ok else 1)


def _rough_pass(folder: Path, data: Dataset, cycles_mean: float, seed: int, memory: MemoryTiming) -> SimResult:
    """A few samples back to back, with stalls and resets: what goes wrong between samples shows only so."""
    import numpy as np

    from spikeloom.model.datasets import Dataset
    count = min(len(data), ROUGH_SAMPLES, max(2, int(ROUGH_CYCLES / cycles_mean)))
    few = Dataset(data.name, data.split, data.images[:count], data.labels[:count], data.classes)
    # In the first half of what they take one by one: back to back they end sooner.
    resets = np.random.default_rng(seed).integers(1, max(2, int(count * cycles_mean / 2)), 3).tolist()
    return _simulate(folder, few, jobs=1, mode="stream", input_gap=0.25, output_stall=0.25, reset_cycles=resets,
                     seed=seed, memory=memory)


@main.command()
@folder_argument
@click.option("--device", default="lfe5u-85f", show_default=True, help="lfe5u-85f, ice40-up5k, xc7, ...")
@json_option
def synth(folder: Path, device: str, as_json: bool) -> None:
    """Count what the Verilog in FOLDER takes of a device, by Yosys.

    \b
    Examples:
      spikeloom synth build/fast --device lfe5u-85f
      spikeloom synth build/small --device ice40-up5k --json
    """
    from spikeloom.gen.devices import find_device
    target = find_device(device)
    with _bar(f"Yosys for {device}") as advance:
        result = spikeloom.synthesize(folder, device, progress=lambda what: advance(1, what=f"Yosys {what}"[:60]))
    def row(name: str, count: int) -> tuple[str, str]:
        holds = target.capacity()[name]
        return f"{count:,}" if not holds else f"{count:,} of {holds:,} ({count / holds:.0%})", ""

    units = {"lut": "LUTs", "ff": "flip-flops", "bram": result.bram_unit, "dsp": target.dsp_unit}
    _print(as_json, result.to_json(), f"{folder} on {device}", [
        *((shown, row(name, getattr(result, name))[0]) for name, shown in units.items()),
        ("fits", {True: "yes", False: "no", None: "no limits known"}[result.fits]),
        ("tool", f"{result.tool}, {result.wall_s:.0f} s"),
    ])


@main.command()
@folder_argument
@data_option
@click.option("--samples", type=click.IntRange(1), default=1000, show_default=True,
              help="Samples for accuracy and distribution of cycles.")
@click.option("--device", help="Synthesise for this device too (takes minutes).")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True)
@clock_option
@json_option
def report(folder: Path, data: str | None, samples: int, device: str | None, output: Path, clock_mhz: float,
           as_json: bool) -> None:
    """One self-contained HTML page about the build in FOLDER.

    \b
    Examples:
      spikeloom report build/fast -o report.html
      spikeloom report build/fast --data fashion-mnist-demo --samples 500 --device lfe5u-85f
    """
    from spikeloom.gen.manifest import read_manifest
    from spikeloom.html_report import check_page
    read_manifest(folder)
    if output.parent.exists():
        check_page(output)
    loaded = _dataset(data or _default_data(spikeloom.load(folder)), samples)
    with _bar("report") as advance:
        path = spikeloom.report(folder, output, loaded, device=device, clock_mhz=clock_mhz,
                                progress=lambda what: advance(1, what=what))
    _print(as_json, {"report": str(path), "samples": len(loaded)}, shown(folder), [("report", path)])


@main.command()
@data_option
@samples_option
@click.option("--hidden", default="400-400", show_default=True,
              help="Layers between input and classes, e.g. 400-400 or 15C5-P2-40C5-P2-300 (C: convolution, "
                   "D: depthwise, P, A, O: sum, average and OR pool; s: stride, p: padding).")
@click.option("--weight-bits", type=int, default=4, show_default=True, help="1..8 or 16; 0 trains a float network.")
@click.option("--input-bits", type=int, default=4, show_default=True, help="Bits of a pixel.")
@click.option("--fraction-bits", type=int, default=4, show_default=True, help="Fractional bits of the states.")
@click.option("--steps", type=int, default=5, show_default=True, help="Time steps T.")
@click.option("--tau-m", type=float, default=4.0, show_default=True, help="Membrane time constant in steps.")
@click.option("--tau-s", type=float, default=2.0, show_default=True, help="Synapse time constant in steps.")
@click.option("--loss", type=click.Choice(["softmax", "mse", "kernel", "count"]), default="mse", show_default=True)
@click.option("--epochs", type=click.IntRange(1),
              help=f"[default: 30, or as many as make {LEAST_TRAINING_STEPS:,} steps]")
@click.option("--batch", type=int, default=100, show_default=True)
@click.option("--lr", type=float, default=1e-3, show_default=True)
@click.option("--dropout", type=float, default=0.1, show_default=True)
@click.option("--mean", type=float, help="Of the pixels, 0..1.  [default: the training images']")
@click.option("--std", type=float, help="Of the pixels, above 0.  [default: the training images']")
@click.option("--validation", type=int, help="Training images held back.  [default: a tenth, at most 5000]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--name", default="network", show_default=True)
@click.option("--fused", is_flag=True, help="Fuse elementwise operations (a third faster; needs a C++ compiler).")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the output folder.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for network and log.")
@json_option
def train(data: str | None, samples: int | None, hidden: str, weight_bits: int, epochs: int | None, resume: bool,
          output: Path, as_json: bool, **options: Any) -> None:
    """Train a TSSL-BP network, quantised from the start; needs the `train` extra (PyTorch).

    An interrupted training goes on with --resume.

    \b
    Examples:
      spikeloom train --hidden 400-400 --epochs 100 -o runs/a
      spikeloom train --hidden 15C5-P2-40C5-P2-300 --fused -o runs/conv
      spikeloom train --hidden 128 --weight-bits 0 -o runs/float      # then: spikeloom quantize
    """
    from spikeloom.model.train import EpochMetrics, TrainConfig, check_output, plot_metrics
    check_output(output, resume)
    source = data or "fashion-mnist"
    TrainConfig(hidden=hidden, weight_bits=weight_bits or None, epochs=epochs or 1,  # before any data are fetched
                **{key: value for key, value in options.items() if value is not None})
    loaded = _dataset(source, samples, split="train")
    if options["validation"] is None:
        options["validation"] = min(5000, len(loaded) // 10)
    batches = -(-(len(loaded) - options["validation"]) // options["batch"])
    # Small data sets need as many steps as large ones, not as many epochs.
    epochs = epochs or max(30, -(-LEAST_TRAINING_STEPS // max(1, batches)))
    if options["mean"] is None:
        options["mean"] = round(float(loaded.images.mean()) / 255, 4)
    if options["std"] is None:
        options["std"] = round(max(float(loaded.images.std()) / 255, 1e-3), 4)
    config = TrainConfig(hidden=hidden, weight_bits=weight_bits or None, epochs=epochs,
                         classes=len(loaded.classes), **options)
    if 0 < batches * epochs < LEAST_TRAINING_STEPS:
        click.echo(f"warning: {batches * epochs:,} steps are few, networks like this one want "
                   f"{LEAST_TRAINING_STEPS:,}: more --epochs, or a smaller --batch", err=True)
    said = "starting"

    with _bar("training") as advance:
        def on_batch(epoch: int, done: int, loss: float) -> None:
            advance(done=done, total=batches * epochs, what=f"epoch {epoch}/{epochs} loss {loss:.3f} {said}")

        def on_epoch(metrics: EpochMetrics) -> None:
            nonlocal said
            best = metrics.validation_accuracy
            said = f"validation {best:.2%}" if best is not None else f"train {metrics.train_accuracy:.2%}"

        result = spikeloom.train(config, loaded, output, resume=resume, source=source, progress=on_batch,
                                 on_epoch=on_epoch)
    plot_metrics(result.metrics, output / "metrics.png")
    last = result.metrics[-1]
    value = {"network": str(result.path), "epochs": len(result.metrics), "train_accuracy": last.train_accuracy,
             "validation_accuracy": last.validation_accuracy}
    kind = "eval" if config.weight_bits else "quantize"
    more = [] if config.weight_bits else ["-o", output / "network.snn"]
    _print(as_json, value, f"{config.name}: {result.path}",
           [*value.items(), ("next", _command(kind, result.path, "--data", source, *more))])


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
    images = _dataset(str(named), calibration, split="train").images if calibration else None
    net = spikeloom.quantize(network, calibration=images, **options)
    save_network(net, output)
    value = {"network": str(output), "name": net.name, "hash": net.hash, **options}
    _print(as_json, value, f"{net.name}: {net.topology}", [
        ("file", output), *options.items(), ("next", _command("eval", output, *(["--data", data] if data else [])))])
