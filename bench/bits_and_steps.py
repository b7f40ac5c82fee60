"""784-400-400-10 with fewer bits a weight and other numbers of time steps: accuracy, cycles, LUTs.

    python bench/bits_and_steps.py [--epochs 8] [--rates-epochs 15] [--threads 1] [--runs runs/bits]

Every network is trained by the first stages of the shipped one's recipe, but for the setting named and the number of
epochs; that of 4 bits and five steps too, so that the rows can be compared. Goes on with what is in ``--runs``.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from results import save

import spikeloom
from spikeloom.gen.cycles import count_cycles
from spikeloom.model import golden
from spikeloom.model.network import Network
from spikeloom.model.network_file import load_network
from spikeloom.model.recipe import Recipe, Stage, read_recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "fashion-mnist-400-400.json"
FOLD, DEVICE = "fast", "lfe5u-85f"
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("4 bits", {}), ("3 bits", {"weight_bits": 3}), ("2 bits", {"weight_bits": 2}),
    ("ternary", {"weight_bits": 2, "symmetric": True}),
    ("4 bits", {"steps": 2}), ("4 bits", {"steps": 3}), ("4 bits", {"steps": 8})]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rates-epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/bits"))
    args = parser.parse_args()
    data, test = spikeloom.dataset("fashion-mnist", split="train"), spikeloom.dataset("fashion-mnist", split="test")
    rows, results = [], []
    for what, given in ROWS:
        recipe = _with(read_recipe(RECIPE), given, args)
        folder = args.runs / ("-".join(f"{key}{value}" for key, value in given.items()) or "as-shipped")
        if not (folder / "network.snn").exists():
            spikeloom.train(recipe, data, folder, resume=folder.exists(), source="fashion-mnist")
        network = load_network(folder / "network.snn")
        assert isinstance(network, Network)
        classes = np.concatenate([r.classes for r in golden.batches(network, test.images)])
        accuracy = float((classes == test.labels).mean())
        plan = spikeloom.compile(network, FOLD)
        cycles = count_cycles(plan, test.images[:1000]).latency
        with tempfile.TemporaryDirectory() as build:
            spikeloom.write(plan, Path(build) / "build")
            counts = spikeloom.synthesize(Path(build) / "build", DEVICE)
        rows.append([what, str(network.steps), f"{accuracy:.2%}", f"{cycles.mean():,.0f}", f"{counts.lut:,}",
                     f"{counts.ff:,}", str(counts.bram)])
        results.append({"settings": given, "accuracy": accuracy, "cycles_mean": float(cycles.mean()),
                        "validation_accuracy": network.metadata["validation_accuracy"], "synth": counts.to_json()})
        print(*rows[-1], flush=True)
    save("bits_and_steps", {"epochs": args.epochs, "rates_epochs": args.rates_epochs, "threads": args.threads,
                            "fold": FOLD, "device": DEVICE, "test_samples": len(test), "rows": results},
         ["weights", "time steps", "accuracy", "cycles, mean", "LUT4", "FF", "DP16KD"], rows)


def _with(recipe: Recipe, given: dict[str, Any], args: argparse.Namespace) -> Recipe:
    """Until the first training on spikes, with other settings, but the same teacher."""
    teacher, rates, spikes, *_ = recipe.stages
    stages = (teacher, Stage("rates", rates.given | {"epochs": args.rates_epochs}),
              Stage("spikes", spikes.given | {"epochs": args.epochs}))
    return replace(recipe, stages=stages, given=recipe.given | given | {"threads": args.threads})


if __name__ == "__main__":
    main()
