"""A page about a build for whoever puts it into a design: what it is, how to connect it, how long it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from .cycles import MEMORY, count_stream_cycles
from .manifest import Description
from .pages import page, plain
from .plan import Plan
from .rendering import rendered
from .testbench import SAMPLES, SEED, random_samples

__all__ = ["datasheet_files"]

BEATS_SHOWN = 8


def datasheet_files(plan: Plan, told: Description, interface: dict[str, Any],
                    testbench: Mapping[str, str]) -> dict[str, str]:
    """``DATASHEET.md`` and ``datasheet.html``, which say the same, by name; ``testbench`` has the testbench's files."""
    wave = json.dumps(_wave(plan), indent=1)
    text = rendered("spikeloom.gen", "templates/datasheet.md.j2", {
        "told": told, "interface": interface, "network": plan.network, "fold": plan.fold, "wave": wave,
        "example": _example(plan, testbench), "layers": _layers(plan), "interval_cycles": _interval(plan),
        "memory_cycles": MEMORY.latency_cycles, "plain": plain})
    return {"DATASHEET.md": text, "datasheet.html": page(told.top, text)}


def _layers(plan: Plan) -> list[dict[str, Any]]:
    """What a layer does with an event, and how long the parts of it take."""
    out = []
    for config in plan.layers:
        synapse, neurons = config.synapse, config.neurons
        out.append({
            "name": synapse.name, "lanes": synapse.lanes, "events": synapse.queue.banks,
            "passes": synapse.scattered_groups or synapse.queue.passes,
            "turns": synapse.queue.turns > 1, "sparse": config.sparse is not None,
            "sum_cycles": synapse.latency_cycles, "group_beats": synapse.group_beats,
            "neuron_cycles": neurons.latency_cycles, "pipelined": neurons.pipelined})
    return out


def _example(plan: Plan, testbench: Mapping[str, str]) -> dict[str, Any]:
    """The first sample of the testbench: its first beats that are not zero, its result, its cycles."""
    beats, results, cycles = (testbench[f"testbench_{what}.hex"].split() for what in ("beats", "results", "cycles"))
    count = len(beats) // SAMPLES
    shown = [(place, f"{int(beat, 16):x}") for place, beat in enumerate(beats[:count]) if int(beat, 16)][:BEATS_SHOWN]
    return {"beats": shown, "count": count, "result": None if plan.readout is None else int(results[0], 16),
            "cycles": int(cycles[0], 16)}


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
