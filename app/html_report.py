"""The report: one self-contained HTML page about a build folder, as one would put it beside a paper.

What it says is measured when it is written: accuracy and spikes by the golden model, cycles by the cycle model
(which co-simulation proves equal to the Verilog), resources by Yosys. Energy is an estimate, and says so.
"""

from __future__ import annotations

import itertools
import json
import platform
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from spikeloom import report_pictures as pictures
from spikeloom.cosim.build_folder import BuildFolder
from spikeloom.cosim.energy import estimate_energy
from spikeloom.gen.cycles import count_cycles, count_stream_cycles
from spikeloom.gen.devices import find_device
from spikeloom.gen.energy_constants import constants_of
from spikeloom.gen.energy_published import PUBLISHED
from spikeloom.gen.plan import Plan, plan_of
from spikeloom.gen.synth import synthesize
from spikeloom.model import golden
from spikeloom.model.datasets import Dataset, check_labels
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network, SpikeInput
from spikeloom.model.neurons.wording import equations
from spikeloom.model.readout import KINDS
from spikeloom.model.samples import encode_input
from spikeloom.model.system.arguments import an, called, choice, real
from spikeloom.model.system.paths import path_of
from spikeloom.model.system.reading import open_regular
from spikeloom.model.system.writing import check_file, make_parents, write_file

__all__ = ["write_report"]

Progress = Callable[[str], None]

_RIGHT_SAMPLES, _WRONG_SAMPLES = 3, 2  # rasters shown
_STREAM_SAMPLES = 40      # sent back to back to measure throughput
_ENERGY_SAMPLES = 20      # whose switching is counted
_BATCH = 1000
_BATCH_BITS = 1 << 28     # spikes held at a time
_LISTED_CLASSES = 20      # with more, the worst are listed

# Keys of a layer in the manifest, as the table shows them; others follow under "more".
_LAYER_COLUMNS: dict[str, dict[str, str]] = {
    "shape": {"inputs": "inputs", "neurons": "neurons"},
    "fold": {"lanes": "lanes", "inputs_per_cycle": "inputs per cycle", "units": "neuron units",
             "pipelined": "pipelined", "updates": "neurons updated", "multipliers": "multipliers", "groups": "passes"},
    "register widths, bits": {"weight_bits": "weight", "accumulator_bits": "accumulator", "drive_bits": "drive",
                              "register_bits": "registers", "potential_bits": "potential"},
    "storage": {"accumulators": "accumulators", "weight_memory_bits": "weight memory, bits"},
}
_LAYER_REPEATED = {"name", "beats_per_window", "item_bits"}
_RESOURCES = {"lut": "LUTs", "ff": "flip-flops", "bram": "block RAMs", "dsp": "multipliers"}


def write_report(folder: str | Path, file: str | Path, data: Dataset, *, device: str | None = None,
                 energy: bool = False, clock_mhz: float = 100.0, command: str = "", date: str = "",
                 progress: Progress | None = None) -> Path:
    """Write one self-contained HTML page about a build folder.

    Parameters
    ----------
    folder : path
        What :func:`spikeloom.write` wrote.
    file : path
        The page, which needs nothing beside it. An earlier page of this kind is replaced, no other file is.
    data : Dataset
        Samples on which accuracy, spikes and cycles are measured.
    device : str or None
        Synthesise for this device too (minutes, unless cached).
    energy : bool
        Estimate the energy of an inference on the device, too (minutes).
    clock_mhz : float
        Clock at which cycles are shown as microseconds.
    command, date : str
        How and when it was made, to put at the end; by default neither, so that the same input gives the same bytes.
    progress : callable or None
        Called with the name of each stage.

    Returns
    -------
    Path
        ``file``.

    Raises
    ------
    SpikeloomError
        If the folder is no build, the data do not suit its network, the device is unknown, synthesis fails or
        the page cannot be written. Nothing half-written is left.
    """
    tell = called(progress, "progress") or (lambda what: None)
    clock_mhz = real(clock_mhz, "clock_mhz", 1e-3, 1e6)
    folder = path_of(folder, "folder")
    build = BuildFolder.load(folder)
    network = build.network
    plan = plan_of(build.manifest, network)
    manifest = build.manifest.to_json()
    for layer in manifest["layers"]:
        layer["register_bits"] = ", ".join(f"{name} {bits}" for name, bits in layer["register_bits"].items())
    if device is not None:
        find_device(device)
    if choice(energy, "energy", (False, True)):
        if device is None:
            raise SpikeloomError("energy: name the device that it is to be estimated for")
        constants_of(device)
    if not len(data):
        raise SpikeloomError(f"data set {data.name}: has no samples to report on")
    out = path_of(file, "file")
    if out.parent.exists():
        check_page(out)
    check_labels(data.labels, len(data.images), network.classes, f"data {data.name}")
    tell("golden model and cycle model")
    measured = _measure(plan, data, tell)
    context = {
        "network": _network_facts(network), "data": data, "folder": build.path.name, "manifest": manifest,
        "clock_mhz": clock_mhz, "static": network.static,
        **_commands(folder, an(str, command, "command"), an(str, date, "date")), "windows": plan.windows,
        **_accuracy(measured, data, network),
        **_activity(measured, network),
        **_cycles(measured, manifest, clock_mhz),
        "layer_columns": _layer_columns(manifest["layers"]),
        "memories": _memories(manifest["memory_files"]),
        "fold_json": _fold_json(manifest["fold"]),
        "versions": _versions(manifest["versions"]),
    }
    tell("spikes of samples")
    context["rasters"] = _rasters(network, data, measured)
    context["resources"] = None if device is None else _resources(folder, device, tell)
    context["energy"] = None if device is None or not energy else estimate_energy(
        folder, data.images[:_ENERGY_SAMPLES + 1], device, clock_mhz=clock_mhz,
        progress=lambda what: tell(f"energy: {what}"))
    context["published"] = PUBLISHED
    tell("page")
    # Metadata may hold what UTF-8 has no bytes for.
    page = _template().render(context).encode("utf-8", errors="backslashreplace")
    make_parents(out)
    write_file(out, page, is_own=_is_page)
    return out


# ---- what is measured ----


@dataclass(frozen=True, eq=False)
class _Measured:
    """Of N samples, P populations (the input, then the layers), L layers, T steps."""

    classes: npt.NDArray[np.int64]      # (N,) as the golden model decides
    tied: npt.NDArray[np.bool_]         # (N,) whether more than one class has the highest score
    quiet: npt.NDArray[np.bool_]        # (N,) whether no output neuron spikes
    active: npt.NDArray[np.int64]       # (N, P) channels that are not silent
    spikes: npt.NDArray[np.int64]       # (N, P); of a static input: non-zero values
    per_step: npt.NDArray[np.float64]   # (P, T) share that spikes, NaN for a static input
    silent: list[int]                   # (P,) channels that no sample wakes
    latency: npt.NDArray[np.int64]      # (N,)
    layer_end: npt.NDArray[np.int64]    # (N, L)
    events: npt.NDArray[np.int64]       # (N, L)
    additions: npt.NDArray[np.int64]    # (N, L)
    useful: npt.NDArray[np.int64]       # (N, L) additions that belong to a synapse
    busy: npt.NDArray[np.int64]         # (N, L) cycles in which a layer is at work
    interval: float | None              # cycles per sample, sent back to back


def _measure(plan: Plan, data: Dataset, tell: Progress) -> _Measured:
    network = plan.network
    sizes = [network.input.size, *(layer.connection.outputs for layer in network.layers)]
    batch = max(1, min(_BATCH, _BATCH_BITS // (8 * network.steps * sum(sizes))))
    if network.endless:
        batch = len(data)
    classes, tied, quiet, active, spikes, counts = [], [], [], [], [], []
    per_step = np.zeros((len(sizes), network.steps))
    seen = [np.zeros(size, np.bool_) for size in sizes]
    for start in range(0, len(data), batch):
        samples = data.images[start:start + batch]
        result = golden.run(network, samples)
        inputs = encode_input(network, samples) != 0
        trains = [inputs[:, None] if network.static else inputs, *result.spikes]
        awake = [train.any(axis=1) for train in trains]
        classes.append(result.classes)
        tied.append((result.scores == result.scores.max(axis=1, keepdims=True)).sum(axis=1) > 1)
        quiet.append(~result.spikes[network.output_index].any(axis=(1, 2)))
        active.append(np.column_stack([a.sum(axis=1) for a in awake]))
        spikes.append(np.column_stack([train.sum(axis=(1, 2)) for train in trains]))
        for k, (train, a) in enumerate(zip(trains, awake, strict=True)):
            seen[k] |= a.any(axis=0)
            per_step[k] += train.sum(axis=(0, 2)) / (sizes[k] * len(data))
        counts.append(count_cycles(plan, samples))
        tell(f"samples {min(start + batch, len(data)):,} of {len(data):,}")
    if network.static:
        per_step[0] = np.nan
    some = min(_STREAM_SAMPLES, batch, len(data))
    finished = count_stream_cycles(plan, data.images[:some]) if some > 1 else None
    return _Measured(
        classes=np.concatenate(classes), tied=np.concatenate(tied), quiet=np.concatenate(quiet),
        active=np.concatenate(active), spikes=np.concatenate(spikes),
        per_step=per_step, silent=[int((~s).sum()) for s in seen],
        latency=np.concatenate([c.latency for c in counts]), layer_end=np.concatenate([c.layer_end for c in counts]),
        events=np.concatenate([c.events for c in counts]), additions=np.concatenate([c.additions for c in counts]),
        useful=np.concatenate([c.useful_additions for c in counts]), busy=np.concatenate([c.busy for c in counts]),
        interval=None if finished is None else float(finished[-1] - finished[0]) / (some - 1))


# ---- what the page says ----


def _network_facts(network: Network) -> dict[str, Any]:
    inp = network.input
    shape = " x ".join(map(str, inp.shape))
    return {
        "name": network.name, "topology": network.topology, "steps": network.steps, "hash": network.hash,
        "classes": network.classes,
        "input": (f"spikes, {shape}, {network.duration}" if isinstance(inp, SpikeInput)
                  else f"{inp.kind}, {shape}, {inp.bits} bits a value"),
        "readout": KINDS[network.readout.kind],
        "tie_winner": network.readout.tie_winner, "step_weights": network.step_weights,
        "layers": [{
            "name": layer.name, "inputs": sum(int(np.prod(s.shape)) for s in layer.sources),
            "neurons": layer.connection.outputs, "kind": layer.kind,
            "weights": f"{layer.connection.weight_bits} bits" if layer.connection.weight_bits > 1 else "-1, +1",
            "zero_weights": float((layer.connection.weight == 0).mean()),
            "bias": _range(layer.biases) if layer.biases.any() else "none",
            "equations": equations(layer.program),
            "constants": [(name, _range(values)) for name, values in layer.neuron.own_constants.items()],
        } for layer in network.layers],
        "metadata": list(_flat(network.metadata)),
    }


def _range(values: npt.NDArray[Any]) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} … {high:,}"


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Keys and values of nested JSON, keys joined by dots."""
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner if isinstance(inner, str) else json.dumps(inner)


def _class_names(data: Dataset, network: Network) -> list[str]:
    """A name for every class that the network gives; the data's names may be of more, or of fewer."""
    named = data.classes[:network.classes]
    return [*named, *(str(c) for c in range(len(named), network.classes))]


def _accuracy(measured: _Measured, data: Dataset, network: Network) -> dict[str, Any]:
    names = _class_names(data, network)
    matrix = np.zeros((len(names), len(names)), np.int64)
    np.add.at(matrix, (data.labels, measured.classes), 1)
    right = int(np.trace(matrix))
    rows: list[dict[str, Any]] = []
    for label, name in enumerate(names):
        total, hit = int(matrix[label].sum()), int(matrix[label, label])
        others = np.where(np.arange(len(names)) == label, 0, matrix[label])
        worst = int(others.argmax())
        rows.append({"name": name, "samples": total, "recall": hit / total if total else None,
                     "taken_for": f"{names[worst]} ({others[worst]})" if others[worst] else "none"})
    if len(rows) > _LISTED_CLASSES:
        known = [row for row in rows if row["recall"] is not None]
        rows = sorted(known, key=lambda row: row["recall"])[:_LISTED_CLASSES]
    by_rule, by_chance = measured.tied & (data.labels == measured.classes), measured.quiet & measured.tied
    return {"tied": int(measured.tied.sum()), "tied_right": int(by_rule.sum()), "silent": int(by_chance.sum()),
            "silent_right": int((by_rule & by_chance).sum()), "right": right,
            "accuracy": right / len(data), "accuracy_interval": _wilson(right, len(data)),
            "class_rows": rows, "class_count": len(names), "confusion": pictures.draw_confusion(matrix, names)}


def _wilson(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson)."""
    z, p = 1.96, right / total
    middle, reach = p + z * z / (2 * total), z * float(np.sqrt(p * (1 - p) / total + z * z / (4 * total * total)))
    scale = 1 + z * z / total
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def _activity(measured: _Measured, network: Network) -> dict[str, Any]:
    names = ["input", *(layer.name for layer in network.layers)]
    sizes = np.array([network.input.size, *(layer.connection.outputs for layer in network.layers)])
    rows = [{
        "name": name, "size": int(size), "mean": float(active.mean()), "share": float(active.mean() / size),
        "min": int(active.min()), "max": int(active.max()), "silent": silent,
        "spikes": None if index == 0 and network.static else float(spikes.mean()),
        "each": float(spikes.sum() / active.sum()) if active.any() and not (index == 0 and network.static) else None,
    } for index, (name, size, active, spikes, silent) in enumerate(
        zip(names, sizes, measured.active.T, measured.spikes.T, measured.silent, strict=True))]
    return {"activity_rows": rows,
            "activity": pictures.draw_activity(names, measured.active / sizes, measured.per_step)}


def _cycles(measured: _Measured, manifest: Mapping[str, Any], clock_mhz: float) -> dict[str, Any]:
    latency, names = measured.latency, [layer["name"] for layer in manifest["layers"]]
    rows = []
    for layer, events, additions, end, useful, busy in zip(
            manifest["layers"], measured.events.T, measured.additions.T, measured.layer_end.T, measured.useful.T,
            measured.busy.T, strict=True):
        adders = layer["lanes"] * layer["inputs_per_cycle"]
        rows.append({"name": layer["name"], "events": float(events.mean()), "additions": float(additions.mean()),
                     "adders": adders, "end": float(end.mean()), "end_min": int(end.min()), "end_max": int(end.max()),
                     "use": float(useful.sum() / (adders * max(1, busy.sum()))),
                     "alone": float(additions.mean() / (adders * latency.mean())),
                     "stream": None if measured.interval is None
                     else float(additions[:_STREAM_SAMPLES].mean() / (adders * measured.interval))})
    mean = float(latency.mean())
    return {"cycles": {"min": int(latency.min()), "mean": mean, "max": int(latency.max()),
                       "median": float(np.median(latency)), "interval": measured.interval},
            "cycle_rows": rows,
            "timeline": pictures.draw_timeline(names, measured.layer_end, latency, clock_mhz),
            "histogram": pictures.draw_cycles(latency, clock_mhz)}


def _layer_columns(layers: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Group -> key -> heading, of what the manifest says of at least one layer."""
    present = {key for layer in layers for key, value in layer.items() if isinstance(value, str | int | float)}
    known = {key for group in _LAYER_COLUMNS.values() for key in group}
    columns = {group: {key: head for key, head in keys.items() if key in present}
               for group, keys in _LAYER_COLUMNS.items()}
    columns["more"] = {key: key.replace("_", " ") for key in sorted(present - known - _LAYER_REPEATED)}
    return {group: keys for group, keys in columns.items() if keys}


def _memories(files: Mapping[str, int]) -> list[dict[str, Any]]:
    """Memory files, those of equal banks in one row."""
    rows: dict[tuple[str, int], list[str]] = {}
    for name, bits in files.items():
        stem = re.sub(r"\d+(?=(_\d+)*\.hex$)", "*", name)
        rows.setdefault((stem, bits), []).append(name)
    return [{"name": names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}", "count": len(names), "bits": bits,
             "total": bits * len(names)} for (_, bits), names in rows.items()]


def _resources(folder: str | Path, device: str, tell: Progress) -> dict[str, Any]:
    result = synthesize(folder, device, progress=lambda what: tell(f"synthesis: {what}"))
    target = find_device(device)
    units = {"bram": target.bram_unit, "dsp": target.dsp_unit}
    rows = [{"name": name, "unit": units.get(key, ""), "used": getattr(result, key), "holds": target.capacity()[key]}
            for key, name in _RESOURCES.items()]
    return {"device": result.device, "fits": result.fits, "rows": rows, "tool": result.tool, "wall_s": result.wall_s,
            "command": result.command,
            "cells": sorted(result.cells.items(), key=lambda cell: -cell[1])}


def _fold_json(fold: Mapping[str, Any]) -> str:
    """The fold as a fold file, a layer a line."""
    lines = [f"  {json.dumps(layer)}" for layer in fold["layers"]]
    rest = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in fold.items() if key != "layers"]
    return "{\n" + ",\n".join([*rest, ' "layers": [\n' + ",\n".join(lines) + "\n ]"]) + "\n}"


def _versions(built: Mapping[str, str]) -> list[tuple[str, str]]:
    here = {name: version(name) for name in ("spikeloom", "numpy", "matplotlib")} | {
        "Python": platform.python_version()}
    return [*((f"{name} (build)", number) for name, number in built.items()),
            *((f"{name} (this page)", number) for name, number in here.items())]


# ---- rasters ----


def _rasters(network: Network, data: Dataset, measured: _Measured) -> list[dict[str, Any]]:
    chosen = _choose(data.labels, measured.classes)
    samples = data.images[chosen]
    result = golden.run(network, samples)
    inputs = encode_input(network, samples)
    names = _class_names(data, network)
    title = "sample" if network.takes_values else "sample,\nsum over the steps"
    shown = []
    for n, index in enumerate(chosen):
        picture, signed = _picture(samples[n], network)
        panels = [] if network.static else [pictures.Panel("input", inputs[n] != 0, None, network.input.shape)]
        panels += [pictures.Panel(layer.name, spikes[n], k, layer.shape)
                   for k, (layer, spikes) in enumerate(zip(network.layers, result.spikes, strict=True))]
        label, predicted = int(data.labels[index]), int(result.classes[n])
        shown.append({"index": index, "label": names[label], "predicted": names[predicted],
                      "right": label == predicted, "tied": bool(measured.tied[index]),
                      "cycles": int(measured.latency[index]),
                      "picture": pictures.draw_raster(pictures.Raster(
                          title=title, picture=picture, signed=signed, panels=panels, scores=result.scores[n],
                          label=label, predicted=predicted, classes=names))})
    return shown


def _choose(labels: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]) -> list[int]:
    """The first samples that are right and the first that are wrong, of different true classes where possible."""
    chosen: list[int] = []
    for right, count in ((True, _RIGHT_SAMPLES), (False, _WRONG_SAMPLES)):
        candidates = [int(i) for i in np.flatnonzero((labels == classes) == right)]
        first = {int(labels[i]): i for i in reversed(candidates)}  # of each class
        fresh = sorted(first.values())
        again = [i for i in candidates if i not in set(fresh)]
        chosen += (fresh + again)[:count]
    return chosen


def _picture(sample: npt.NDArray[Any], network: Network) -> tuple[npt.NDArray[Any], bool]:
    """A sample as something to look at, and whether it is a difference around 0.

    Spikes are summed over the steps. One channel is shown in grey, two are ON minus OFF, three are colours.
    Anything else is a row of values.
    """
    values = sample.astype(np.int64) if network.takes_values else sample.sum(axis=0, dtype=np.int64)
    shape = values.shape if values.ndim > 1 else network.input.shape
    values = values.reshape(shape)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 2 and min(values.shape) > 1:
        return values, False
    if values.ndim == 3 and values.shape[0] == 2:
        return values[0] - values[1], True
    if values.ndim == 3 and 3 in (values.shape[0], values.shape[-1]):
        colors = values if values.shape[-1] == 3 else values.transpose(1, 2, 0)
        return colors / max(255 if network.takes_values else 1, int(colors.max())), False
    return values.ravel(), False


# ---- the file ----


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters["count"] = lambda value: f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
    environment.filters["nj"] = lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    environment.filters["percent"] = lambda value, digits=1: pictures.percent(value, digits)
    numbers = itertools.count(1)
    environment.filters["picture"] = lambda picture, alt: _picture_element(picture, alt, next(numbers))
    source = resources.files("spikeloom").joinpath("templates", "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)


def _picture_element(picture: str, alt: str, number: int) -> Markup:
    """SVG, or an address as an image, in a box that a narrow screen can move; a page's pictures share no names."""
    wide = " wide" if alt != "Confusion matrix" else ""
    if picture.startswith("data:"):
        return Markup('<div class="picture{}"><img src="{}" alt="{}"></div>').format(wide, picture, alt)
    named = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>p{number}-", picture)
    svg = Markup(named.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1))
    return Markup('<div class="picture{}">{}</div>').format(wide, svg)


def _commands(folder: Path, command: str, date: str) -> dict[str, str]:
    def line(*words: object) -> str:
        return shlex.join(["spikeloom", *map(str, words)])

    return {"command": command, "date": date, "synth_command": line("synth", folder, "--device", "lfe5u-85f"),
            "report_command": f"{command or line('report', folder)} --device lfe5u-85f"}


_MARK = b'<meta name="generator" content="spikeloom">'


def _is_page(path: Path) -> bool:
    """Whether a file is a page that was written here."""
    with open_regular(path) as file:
        return _MARK in file.read(4096)


def check_page(path: Path) -> None:
    """Raise :class:`.SpikeloomError` if the page cannot be written there, or something else is there already."""
    check_file(path, _is_page)
