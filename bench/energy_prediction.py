"""Fits the prediction of energy (gen/energy_model.json) to `spikeloom energy`, and says how far off it is.

    python bench/energy_prediction.py

Each design is left out once, and predicted by a fit to all others.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from results import HERE, save
from scipy.optimize import nnls

import spikeloom
from spikeloom.gen.energy_prediction import MODEL, predict
from spikeloom.gen.fold import PRESETS, Fold, LayerFold
from spikeloom.gen.inventory import inventory_of
from spikeloom.gen.least_cycles import LeastCycles
from spikeloom.gen.resources import Estimate, estimate
from spikeloom.model import golden
from spikeloom.model.network import Network

SAMPLES = 20
DEVICE, CLOCK_MHZ = "lfe5u-25f", 75


def folds() -> list[tuple[str, str, Fold]]:
    """Network, what the fold is called, and the fold."""
    dense, large, conv = (spikeloom.load(f"fashion-mnist-{name}") for name in ("128", "400-400", "15c5-40c5-300"))

    def preset(network: Network, name: str) -> tuple[str, str, Fold]:
        return network.name, name, PRESETS[name](network)

    balanced = PRESETS["balanced"](dense)
    first, last = balanced.layers
    return [
        preset(dense, "small"), preset(dense, "balanced"), preset(dense, "fast"),
        (dense.name, "32 lanes, 4 inputs", replace(balanced, input_per_beat=8, layers=(
            replace(first, lanes=32, inputs_per_cycle=4, neuron_units=4), last))),
        (dense.name, "4 lanes, stepping", replace(balanced, layers=(
            replace(first, lanes=4, pipelined=False), LayerFold(lanes=2, pipelined=False)))),
        (dense.name, "16 lanes, 8 inputs", replace(balanced, input_per_beat=16, layers=(
            replace(first, inputs_per_cycle=8), last))),
        preset(large, "balanced"), preset(large, "fast"), preset(conv, "balanced"),
    ]


def fit(designs: list[dict[str, Any]]) -> dict[str, float]:
    """The shares, none negative, by least squares of relative errors."""
    def solve(rows: list[list[float]], wanted: list[float]) -> list[float]:
        values, _ = nnls(np.array(rows) / np.array(wanted)[:, None], np.ones(len(wanted)))
        return [float(value) for value in values]

    r0, r1 = solve([[d["ff"] * d["cycles"], d["additions"]] for d in designs], [d["register_toggles"] for d in designs])
    l0, l1 = solve([[d["lut"] * d["cycles"], d["additions"]] for d in designs], [d["logic_toggles"] for d in designs])
    (b,) = solve([[d["bram"] * d["cycles"]] for d in designs], [d["block_accesses"] for d in designs])
    return {"r0": r0, "r1": r1, "l0": l0, "l1": l1, "b": b}


def measured(name: str, label: str, fold: Fold) -> dict[str, Any]:
    """What `spikeloom energy` says, and what the prediction starts from."""
    network = spikeloom.load(name)
    images = spikeloom.dataset("fashion-mnist-demo", SAMPLES + 1).images
    plan = spikeloom.compile(network, fold)
    with tempfile.TemporaryDirectory() as folder:
        spikeloom.write(plan, Path(folder) / "build")
        found = spikeloom.estimate_energy(Path(folder) / "build", images, DEVICE, clock_mhz=CLOCK_MHZ)
    used = estimate(inventory_of(plan), "ecp5")
    additions = LeastCycles(images[1:], golden.run(network, images[1:])).additions(plan).mean()
    constants, kinds = found.constants, found.kinds_nj

    def count(kind: str, constant: str) -> float:
        return 1000 * kinds[kind].typical / float(getattr(constants, constant).range.typical)

    return {"network": name, "fold": label, **asdict(used), "cycles": found.cycles, "additions": float(additions),
            "register_toggles": count("flip-flops", "register_pj"), "logic_toggles": count("logic", "logic_pj"),
            "block_accesses": count("block RAM", "block_pj"), "total_nj": found.total_nj.typical,
            "dynamic_nj": found.dynamic_nj.typical}


def main() -> None:
    designs = []
    for name, label, fold in folds():
        designs.append(measured(name, label, fold))
        print(designs[-1], flush=True)
    rows, off = [], []
    for index, design in enumerate(designs):
        shares = fit(designs[:index] + designs[index + 1:])
        used = Estimate(**{what: design[what] for what in ("lut", "ff", "bram", "dsp")})
        predicted = predict(used, DEVICE, cycles=design["cycles"], additions=design["additions"], clock_mhz=CLOCK_MHZ,
                            shares=shares)
        design["predicted"] = asdict(predicted)
        off.append([getattr(predicted, what) / design[what] - 1 for what in ("total_nj", "dynamic_nj")])
        rows.append([design["network"].removeprefix("fashion-mnist-"), design["fold"], f"{design['cycles']:,.0f}",
                     f"{design['total_nj'] / 1000:.2f}", f"{predicted.total_nj / 1000:.2f}", f"{off[-1][0]:+.0%}",
                     f"{design['dynamic_nj'] / 1000:.2f}", f"{predicted.dynamic_nj / 1000:.2f}", f"{off[-1][1]:+.0%}"])
    mean = np.abs(off).mean(axis=0)
    rows.append(["mean error", "", "", "", "", f"{mean[0]:.0%}", "", "", f"{mean[1]:.0%}"])
    shares = {name: float(f"{value:.4g}") for name, value in fit(designs).items()}
    (HERE.parent / "gen" / MODEL).write_text(json.dumps(shares, indent=1) + "\n")
    save("energy_prediction", {"device": DEVICE, "clock_mhz": CLOCK_MHZ, "samples": SAMPLES, "shares": shares,
                               "designs": designs},
         ["network", "fold", "cycles", "uJ by the netlist", "predicted", "off", "without static power", "predicted",
          "off"], rows)


if __name__ == "__main__":
    main()
