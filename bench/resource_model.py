"""Fits the resource model (gen/resource_model.json) to syntheses by Yosys, and says how far off it is on others.

    python bench/resource_model.py [--device lfe5u-85f] [--fit 60] [--held-out 30] [--seed 1]

With ``--fit 0`` the weights stay as they are, and are looked at on the others alone.

Each design is a shipped or a random network in a random fold. What it is made of before synthesis is counted
(spikeloom.gen.inventory); the model is a weight for each count, none of them negative, by least squares of the relative
error. Syntheses are cached: a run that was ended goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from results import save
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.networks import random_conv_network, random_fold, random_graph

import spikeloom
from spikeloom.gen.devices import find_device
from spikeloom.gen.explore import moves
from spikeloom.gen.fold import PRESETS, Fold, check_fold
from spikeloom.gen.inventory import FEATURES, Inventory, inventory_of
from spikeloom.gen.plan import Plan, make_plan
from spikeloom.gen.resources import MODEL, Estimate, estimate, memory_use
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network

SHIPPED = ("fashion-mnist-128", "fashion-mnist-400-400", "fashion-mnist-15c5-40c5-300")
STEPS = 30  # of a random walk from a preset
ADDERS = 400  # side by side: such that a synthesis takes a minute or two at most
FILE = Path(__file__).parents[1] / "gen" / MODEL


def walk(rng: np.random.Generator, network: Network) -> Fold:
    """From a preset, so many random moves."""
    fold = PRESETS[str(rng.choice(["small", "balanced"]))](network)
    for _ in range(STEPS):
        ahead = list(moves(fold, network, None))
        candidate = ahead[rng.integers(len(ahead))]
        if sum(layer.lanes * layer.inputs_per_cycle for layer in candidate.layers) > ADDERS:
            continue
        try:
            check_fold(network, candidate)
        except SpikeloomError:
            continue
        fold = candidate
    return fold


def designs(count: int, seed: int) -> list[tuple[str, Plan]]:
    """Name and plan of each."""
    out: list[tuple[str, Plan]] = []
    number = 0
    while len(out) < count:
        rng = np.random.default_rng([seed, number])
        number += 1
        kind = len(out) % 6
        if kind < 3:
            network = spikeloom.load(SHIPPED[kind])
            fold = walk(rng, network)
        else:
            network = random_conv_network(rng) if kind == 3 else random_graph(rng)
            fold = random_fold(rng, network)
        try:
            out.append((f"{network.name} {network.topology}", make_plan(network, fold)))
        except SpikeloomError:
            continue
    return out


def row(inventory: Inventory, family: Any) -> list[float]:
    """What the weights are for."""
    return [*(inventory.counts[name] for name in FEATURES),
            sum(count * memory_use(memory, family)[0] for memory, count in inventory.memories.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="lfe5u-85f")
    parser.add_argument("--fit", type=int, default=60)
    parser.add_argument("--held-out", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    family = find_device(given.device).family
    names, inventories, counted = [], [], []
    for number, (name, plan) in enumerate(designs(given.fit + given.held_out, given.seed)):
        with tempfile.TemporaryDirectory() as folder:
            spikeloom.write(plan, Path(folder) / "build")
            counted.append(spikeloom.synthesize(Path(folder) / "build", given.device))
        names.append(name)
        inventories.append(inventory_of(plan))
        print(f"{number}: {name}: {counted[-1].lut} LUTs", flush=True)
    wanted = np.array([result.lut for result in counted], float)
    rows = np.array([row(inventory, family) for inventory in inventories])
    fitted = slice(0, given.fit)
    known = json.loads(FILE.read_text()) if FILE.exists() else {"families": {}}
    if given.fit:
        weights, _ = nnls(rows[fitted] / wanted[fitted, None], np.ones(given.fit))
        known["families"][family] = {name: round(float(weight), 3) for name, weight in
                                     zip((*FEATURES, "lut_ram"), weights, strict=True)}
        FILE.write_text(json.dumps(known, indent=1) + "\n")
    estimates: list[Estimate] = [estimate(inventory, family) for inventory in inventories]

    def error(what: str, which: slice) -> np.ndarray:
        got = np.array([getattr(e, what) for e in estimates[which]], float)
        want = np.array([getattr(r, what) for r in counted[which]], float)
        return np.abs(got - want) / np.maximum(want, 1)

    table = []
    for label, which in ((("fitted to", fitted),) if given.fit else ()) + (("not fitted to", slice(given.fit, None)),):
        for what in ("lut", "ff", "bram"):
            off = error(what, which)
            table.append([label, str(len(off)), what, f"{off.mean():.1%}", f"{np.median(off):.1%}", f"{off.max():.0%}"])
    save(f"resource_model_{family}", {
        "device": given.device, "seed": given.seed, "weights": known["families"][family],
        "designs": [{"name": name, "estimated": vars(e), "lut": r.lut, "ff": r.ff, "bram": r.bram}
                    for name, e, r in zip(names, estimates, counted, strict=True)]},
         ["designs", "how many", "", "mean error", "median", "largest"], table)


if __name__ == "__main__":
    main()
