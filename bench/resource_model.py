"""Fits the resource model (gen/resource_model.json) to syntheses by Yosys, and says how far off it is on others.

    python bench/resource_model.py [--device lfe5u-85f] [--fit 60] [--held-out 30] [--seed 1] [--jobs 2]

With ``--fit 0`` the weights stay as they are, and are looked at on the others alone.

Each design is a shipped or a random network in a random fold; the model is fitted to some folds that people use, too.
What a design is made of before synthesis is counted (spikeloom.gen.inventory); the model is a weight for each count,
none of them negative, such that the mean relative error is least: random networks have parts of which synthesis makes
nothing, and squares of their errors would decide. Syntheses are cached: a run that was ended goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from results import save
from scipy.optimize import linprog

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.networks import random_conv_network, random_fold, random_graph

import spikeloom
from spikeloom.gen.devices import Device, find_device
from spikeloom.gen.explore import moves
from spikeloom.gen.external import memory_is_scarce
from spikeloom.gen.fold import PRESETS, Fold, check_fold, load_fold
from spikeloom.gen.inventory import FEATURES, Inventory, inventory_of
from spikeloom.gen.plan import Plan, make_plan
from spikeloom.gen.resources import LUT_RAM, MODEL, Estimate, estimate, memory_use
from spikeloom.gen.synth import SynthResult
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network
from spikeloom.model.system.processes import cores

SHIPPED = ("fashion-mnist-128", "fashion-mnist-400-400", "fashion-mnist-15c5-40c5-300")
# Folds that the model is fitted to if they fit: larger than random ones.
USED = (("fashion-mnist-128", "small"), ("fashion-mnist-128", "fast"), ("fashion-mnist-400-400", "small"),
        ("fashion-mnist-400-400", "fast"), ("fashion-mnist-400-400", "examples/lfe5u-85f-fold.json"))
USED_LUTS = 80_000  # of a device with room for the largest
STEPS = 30  # of a random walk from a preset
ADDERS = 400  # side by side: such that a synthesis takes a minute or two at most
ROOT = Path(__file__).parents[1]
FILE = ROOT / "gen" / MODEL


def walk(rng: np.random.Generator, network: Network, device: Device) -> Fold:
    """From a preset, so many random moves; to external weights, too, where the device has little memory."""
    fold = PRESETS[str(rng.choice(["small", "balanced"]))](network)
    bus_bits = 64 if memory_is_scarce(network, fold, device) else None
    for _ in range(STEPS):
        ahead = list(moves(fold, network, bus_bits))
        candidate = ahead[rng.integers(len(ahead))]
        if sum(layer.lanes * layer.inputs_per_cycle for layer in candidate.layers) > ADDERS:
            continue
        try:
            check_fold(network, candidate)
        except SpikeloomError:
            continue
        fold = candidate
    return fold


def used(device: Device) -> list[tuple[str, Plan]]:
    """Name and plan of each fold that people use, if there is room for the largest."""
    if device.lut < USED_LUTS:
        return []
    out = []
    for name, fold in USED:
        network = spikeloom.load(name)
        path = ROOT / fold
        out.append((f"{name} {fold}", make_plan(network, load_fold(path if path.exists() else fold, network))))
    return out


def designs(count: int, seed: int, device: Device) -> list[tuple[str, Plan]]:
    """Name and plan of each."""
    out: list[tuple[str, Plan]] = []
    number = 0
    while len(out) < count:
        rng = np.random.default_rng([seed, number])
        number += 1
        kind = len(out) % 6
        if kind < 3:
            network = spikeloom.load(SHIPPED[kind])
            fold = walk(rng, network, device)
        else:
            network = random_conv_network(rng) if kind == 3 else random_graph(rng)
            fold = random_fold(rng, network)
        try:
            fold = replace(fold, lut_ram=device.family in LUT_RAM)
            out.append((f"{network.name} {network.topology}", make_plan(network, fold)))
        except SpikeloomError:
            continue
    return out


def row(inventory: Inventory, family: Any) -> list[float]:
    """What the weights are for."""
    return [*(inventory.counts[name] for name in FEATURES),
            sum(count * memory_use(memory, family)[0] for memory, count in inventory.memories.items())]


def least_error(rows: np.ndarray) -> np.ndarray:
    """The weights >= 0 whose products with the rows are as near to 1 as they can be, in the mean."""
    count, features = rows.shape
    off = np.eye(count)  # by so much more, by so much less
    result = linprog(np.repeat([0, 1, 1], [features, count, count]),
                     A_eq=np.hstack([rows, off, -off]), b_eq=np.ones(count))
    return np.asarray(result.x[:features])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="lfe5u-85f")
    parser.add_argument("--fit", type=int, default=60)
    parser.add_argument("--held-out", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=cores())
    given = parser.parse_args()
    device = find_device(given.device)
    family = device.family
    plans = designs(given.fit + given.held_out, given.seed, device)
    if given.fit:
        plans = [*used(device), *plans]
        given.fit = len(plans) - given.held_out
    names = [name for name, _ in plans]
    inventories = [inventory_of(plan) for _, plan in plans]

    def synthesised(number: int) -> SynthResult:
        with tempfile.TemporaryDirectory() as folder:
            spikeloom.write(plans[number][1], Path(folder) / "build")
            result = spikeloom.synthesize(Path(folder) / "build", given.device)
        print(f"{number}: {names[number]}: {result.lut} LUTs", flush=True)
        return result

    with ThreadPoolExecutor(given.jobs) as pool:
        counted = list(pool.map(synthesised, range(len(plans))))
    wanted = np.array([result.lut for result in counted], float)
    rows = np.array([row(inventory, family) for inventory in inventories])
    fitted = np.arange(len(plans)) < given.fit
    shipped = np.array([name.startswith(SHIPPED) for name in names])
    known = json.loads(FILE.read_text()) if FILE.exists() else {"families": {}}
    if given.fit:
        weights = least_error(rows[fitted] / wanted[fitted, None])
        known["families"][family] = {name: round(float(weight), 3) for name, weight in
                                     zip((*FEATURES, "lut_ram"), weights, strict=True)}
        FILE.write_text(json.dumps(known, indent=1) + "\n")
    estimates: list[Estimate] = [estimate(inventory, family) for inventory in inventories]

    table = []
    for label, which in (("fitted to", fitted), ("not fitted to", ~fitted & shipped),
                         ("not fitted to, of random networks", ~fitted & ~shipped)):
        for what in ("lut", "ff", "bram"):
            got = np.array([getattr(e, what) for e in estimates], float)[which]
            want = np.array([getattr(r, what) for r in counted], float)[which]
            if len(want):
                off = np.abs(got - want) / np.maximum(want, 1)
                table.append([label, str(len(off)), what, f"{off.mean():.1%}", f"{np.median(off):.1%}",
                              f"{off.max():.0%}"])
    save(f"resource_model_{family}", {
        "device": given.device, "seed": given.seed, "weights": known["families"][family],
        "designs": [{"name": name, "estimated": vars(e), "lut": r.lut, "ff": r.ff, "bram": r.bram}
                    for name, e, r in zip(names, estimates, counted, strict=True)]},
         ["designs", "how many", "", "mean error", "median", "largest"], table)


if __name__ == "__main__":
    main()
