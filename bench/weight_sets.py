"""Weights that are written at run time: what they cost, and twenty networks through one piece of hardware.

    python bench/weight_sets.py

784-128-10 of the preset `balanced`. The networks are quantised from the shipped float one, each calibrated on other
images, so that all their weights, thresholds and biases differ; each is loaded, and proved on images.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from results import save

import spikeloom
from spikeloom.gen.fold import load_fold
from spikeloom.gen.weight_sets import set_length, weight_set

DEVICE, NETWORKS, IMAGES, SEED = "lfe5u-45f", 20, 100, 1
# Sets, bits of headroom.
CHOICES = ((0, 1), (1, 1), (2, 1), (1, 16))


def main() -> None:
    images = spikeloom.dataset("fashion-mnist", split="train").images
    rng = np.random.default_rng(SEED)
    networks = [spikeloom.quantize("fashion-mnist-128-float", weight_bits=4, fraction_bits=3, input_bits=4,
                                   calibration=images[rng.choice(len(images), 500, replace=False)])
                for _ in range(NETWORKS)]
    assert len({network.hash for network in networks}) == NETWORKS
    test = spikeloom.dataset("fashion-mnist", IMAGES)
    fold = load_fold("balanced", networks[0])
    rows, results = [], []
    for sets, headroom in CHOICES:
        plan = spikeloom.compile(networks[0], replace(fold, weight_sets=sets, headroom_bits=headroom))
        proved = ""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "build"
            spikeloom.write(plan, folder)
            counts = spikeloom.synthesize(folder, DEVICE)
            wrong = []
            if sets:
                for network in networks:
                    weight_set(plan, network)
                    result = spikeloom.simulate(folder, test.images, test.labels, network=network)
                    wrong.append(result.mismatches + (result.cycles_mispredicted or 0))
                proved = f"{len(wrong)}; {sum(wrong)}"
        rows.append([str(sets), str(headroom) if sets else "", f"{counts.lut:,}", f"{counts.ff:,}", str(counts.bram),
                     f"{set_length(plan):,}" if sets else "", proved])
        results.append({"sets": sets, "headroom_bits": headroom, "words": set_length(plan), "wrong": wrong,
                        "synth": counts.to_json()})
    save("weight_sets", {"device": DEVICE, "images": IMAGES, "seed": SEED, "choices": results},
         ["sets", "headroom, bits", "LUT4", "FF", "DP16KD", "words of a set", "networks loaded; mismatches"], rows)


if __name__ == "__main__":
    main()
