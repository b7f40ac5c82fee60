"""A page about a build for whoever puts it into a design: what it is, how to connect it, how long it takes."""

from __future__ import annotations

import html
import json
from typing import Any

import numpy as np
import wavedrom

from spikeloom.model import golden

from .cycles import count_cycles, count_stream_cycles
from .manifest import Description
from .plan import Plan
from .stimulus import pack_samples
from .testbench import SAMPLES, SEED, random_samples, rendered

__all__ = ["datasheet_files"]

BEATS_SHOWN = 8


def datasheet_files(plan: Plan, told: Description, interface: dict[str, Any]) -> dict[str, str]:
    """``DATASHEET.md`` and ``datasheet.html``, which say the same, by name."""
    wave = _wave(plan)
    values = {"told": told, "interface": interface, "network": plan.network, "fold": plan.fold,
              "example": _example(plan), "layers": _layers(plan), "interval_cycles": _interval(plan),
              "wave": json.dumps(wave, indent=1),
              "connections": [(port["name"], port["bits"], port["direction"]) for port in interface["ports"]]}
    svg = str(wavedrom.render(json.dumps(wave)).tostring())
    page = {**values, "svg": svg, "e": html.escape}
    return {"DATASHEET.md": rendered("spikeloom.gen", "templates/datasheet.md.j2", values),
            "datasheet.html": rendered("spikeloom.gen", "templates/datasheet.html.j2", page)}


def _layers(plan: Plan) -> list[dict[str, Any]]:
    """What a layer does with an event, and how long the parts of it take."""
    out = []
    for config in plan.layers:
        synapse, neurons = config.synapse, config.neurons
        out.append({
            "name": synapse.name, "lanes": synapse.lanes, "events": synapse.queue.banks, "passes": synapse.queue.passes,
            "sum_cycles": synapse.latency_cycles, "group_beats": synapse.group_beats,
            "neuron_cycles": neurons.latency_cycles, "pipelined": neurons.pipelined})
    return out


def _example(plan: Plan) -> dict[str, Any]:
    """The first sample of the testbench: its first beats that are not zero, its result, its cycles."""
    sample = random_samples(plan.network, SAMPLES, SEED)[:1]
    beats = pack_samples(plan.network, plan.channels[0], plan.window_steps, sample)[0]
    numbers = [int.from_bytes(beat.tobytes(), "big") for beat in beats]
    shown = [(place, f"{number:x}") for place, number in enumerate(numbers) if number][:BEATS_SHOWN]
    result = golden.run(plan.network, sample)
    return {"beats": shown, "count": len(numbers), "result": None if plan.readout is None else int(result.classes[0]),
            "cycles": int(count_cycles(plan, sample).latency[0])}


def _interval(plan: Plan) -> float:
    """Cycles from one result to the next, if samples follow each other without a gap."""
    ends = count_stream_cycles(plan, random_samples(plan.network, SAMPLES, SEED))
    return float(np.diff(ends).mean())


def _wave(plan: Plan) -> dict[str, Any]:
    """A reset, a sample's first and last beats with a pause, and its result."""
    last = "last" if not plan.network.marked else "last, marked"
    return {"signal": [
        {"name": "clk", "wave": "p.............."},
        {"name": "rst", "wave": "10............."},
        {},
        {"name": "i__valid", "wave": "0.1..01.|..0..."},
        {"name": "i__ready", "wave": "x1.....0|1....."},
        {"name": "i__payload", "wave": "x.345x6.|.7x...", "data": ["0", "1", "2", "3", last]},
        {},
        {"name": "o__valid", "wave": "x0......|...1.0"},
        {"name": "o__ready", "wave": "0.......|....1."},
        {"name": "o__payload", "wave": "x.......|...8.x", "data": ["class" if plan.readout is not None else "spikes"]},
    ], "config": {"hscale": 2}}
