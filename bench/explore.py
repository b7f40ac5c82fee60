"""What `spikeloom explore` finds and how long it takes, beside a sweep of all folds of a grid and what Yosys says.

    python bench/explore.py [NETWORK ...]

The sweep takes every combination of lanes for some numbers of passes (of a lone hidden layer, all up to 40), some
inputs a cycle and some neuron units, in all layers but the last, which has a lane for each neuron; the first
convolution also for four positions at once; all else is as in the preset `fast`. That is a thousand folds, of many
more.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from results import HERE, save

import spikeloom
from spikeloom.gen.cycles import count_cycles
from spikeloom.gen.explore import SAMPLES
from spikeloom.gen.fold import PRESETS, Fold, LayerFold
from spikeloom.gen.inventory import inventory_of
from spikeloom.gen.least_cycles import LeastCycles
from spikeloom.gen.plan import make_plan
from spikeloom.gen.resources import estimate
from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.layers import Layer
from spikeloom.model.network import Conv2d, Network

RUNS = (("fashion-mnist-128", "lfe5u-25f", 4_000), ("fashion-mnist-128", "lfe5u-25f", 15_000),
        ("fashion-mnist-400-400", "lfe5u-85f", 40_000), ("fashion-mnist-15c5-40c5-300", "lfe5u-85f", 40_000))
LONE_PASSES = tuple(range(1, 41))
PASSES, INPUTS, UNITS = (2, 4, 5, 8, 16), (2, 4, 8), (1, 4)
CONV_PASSES, CONV_TILES, CONV_INPUTS, CONV_UNITS = (1, 2), (4,), (2, 16), (1, 4, 5)


def grid(layer: Layer, passes: tuple[int, ...]) -> list[LayerFold]:
    channels = layer.shape[0]
    conv = isinstance(layer.connection, Conv2d)
    passes, inputs, units = (CONV_PASSES, CONV_INPUTS, CONV_UNITS) if conv else (passes, INPUTS, UNITS)
    tiles = CONV_TILES if conv and layer.sources[0].index == 0 else ()  # positions side by side
    after_map = not conv and len(layer.sources[0].shape) == 3
    all_lanes = sorted({*(-(-channels // n) for n in passes), *(channels * n for n in tiles)})
    return [LayerFold(lanes=lanes, inputs_per_cycle=taken, neuron_units=unit,
                      outer="events" if after_map and lanes < channels else "groups")
            for lanes in all_lanes for taken in inputs for unit in units
            if unit <= lanes]


def sweep(network: Network, samples: object, family: str) -> list[tuple[int, float, Fold]]:
    """LUTs, mean cycles at least, and the fold, of all folds of the grid that suit the network."""
    known, points = {}, []
    least = LeastCycles(samples, golden.run(network, samples))
    fast, hidden = PRESETS["fast"](network), network.layers[:-1]
    layers = [grid(layer, PASSES if len(hidden) > 1 else LONE_PASSES) for layer in hidden]
    for folds in itertools.product(*layers):
        fold = replace(fast, layers=(*folds, fast.layers[-1]))
        try:
            plan = make_plan(network, fold)
        except SpikeloomError:
            continue
        points.append((estimate(inventory_of(plan, known), family).lut, float(least.of(plan).mean()), fold))
    return points


def best_of(network: Network, samples: object, points: list[tuple[int, float, Fold]], max_lut: int) -> float:
    """The fewest exact cycles; those are not counted of folds that cannot have them."""
    result, best = golden.run(network, samples), float("inf")
    for _, least, fold in sorted((point for point in points if point[0] <= max_lut), key=lambda point: point[1]):
        if least >= best:
            break
        best = min(best, float(count_cycles(make_plan(network, fold), samples, result=result).latency.mean()))
    return best


def main() -> None:
    images = spikeloom.dataset("fashion-mnist-demo", SAMPLES).images
    rows, values = [], []
    swept: dict[str, list[tuple[int, float, Fold]]] = {}
    for name, device, max_lut in (run for run in RUNS if run[0] in sys.argv[1:] or not sys.argv[1:]):
        network = spikeloom.load(name)
        began, used = time.monotonic(), sum(os.times()[:4])
        found = spikeloom.explore(network, device, images, max_lut=max_lut)
        took_s, used_s = time.monotonic() - began, sum(os.times()[:4]) - used
        print(f"{name}: {found.tried} folds in {took_s:.0f} s ({used_s:.0f}): {found.chosen}", flush=True)
        if name not in swept:
            swept[name] = sweep(network, images, "ecp5")
        best = best_of(network, images, swept[name], max_lut)
        with tempfile.TemporaryDirectory() as folder:
            spikeloom.write(spikeloom.compile(network, found.chosen.fold), Path(folder) / "build")
            counted = spikeloom.synthesize(Path(folder) / "build", device)
        chosen = found.chosen
        rows.append([network.topology, device, f"{max_lut:,}", f"{found.tried:,}", str(len(found.front)),
                     f"{took_s:.0f} ({used_s:.0f})", f"{chosen.cycles_mean:,.1f}",
                     f"{best:,.1f} of {len(swept[name]):,}",
                     f"{chosen.cycles_mean / best:.2f}", f"{chosen.lut:,} ({counted.lut:,})",
                     f"{chosen.ff:,} ({counted.ff:,})", f"{chosen.bram} ({counted.bram})"])
        values.append(found.to_json() | {
            "row": rows[-1], "network": name, "seconds": took_s, "processor_s": used_s,
            "synthesised": counted.to_json(), "max_lut": max_lut, "swept": len(swept[name]), "swept_best_cycles": best})
        print(rows[-1], flush=True)
    # The runs of other networks stay as they were.
    kept = [run for run in json.loads((HERE / "results" / "explore.json").read_text())["runs"]
            if run.get("network") not in {value["network"] for value in values}]
    values = sorted([*kept, *values], key=lambda run: [name for name, *_ in RUNS].index(run["network"]))
    rows = [run["row"] for run in values]
    save("explore", {"runs": values},
         ["network", "device", "LUTs at most", "folds tried", "at the front", "seconds (of processors)", "cycles",
          "best of the sweep", "ratio", "LUTs (by Yosys)", "flip-flops", "block RAMs"], rows)


if __name__ == "__main__":
    main()
