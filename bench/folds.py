"""Cycles and ECP5 resources of the preset folds, and of one that fills an LFE5U-85F: the shipped 784-400-400-10 and the
whole FashionMNIST test set.

    python bench/folds.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from results import save

import spikeloom
from spikeloom.gen.cycles import count_stream_cycles, predict_latency

NETWORK, DEVICE, STREAMED = "fashion-mnist-400-400", "lfe5u-85f", 1000
EXAMPLE = Path(__file__).parent.parent / "examples" / "lfe5u-85f-fold.json"
FOLDS = ("small", "balanced", "fast", str(EXAMPLE))


def main() -> None:
    network = spikeloom.load(NETWORK)
    data = spikeloom.dataset("fashion-mnist")
    rows, results = [], []
    for name in FOLDS:
        plan = spikeloom.compile(network, name)
        with tempfile.TemporaryDirectory() as folder:
            manifest = spikeloom.write(plan, Path(folder) / "build")
            cycles = predict_latency(network, manifest, data.images)
            interval = float(np.diff(count_stream_cycles(plan, data.images[:STREAMED])).mean())
            counts = spikeloom.synthesize(Path(folder) / "build", DEVICE)
        rows.append([plan.fold.name, f"{cycles.mean():,.0f} ({cycles.min():,}-{cycles.max():,})",
                     f"{interval:,.0f}", f"{counts.lut:,}",
                     f"{counts.ff:,}", str(counts.bram), str(counts.dsp), f"{manifest.memory_bits:,}"])
        results.append({"fold": plan.fold.to_dict(), "cycles_mean": float(cycles.mean()),
                        "cycles_min": int(cycles.min()), "cycles_max": int(cycles.max()),
                        "stream_cycles": interval, "synth": counts.to_json()})
    save("folds", {"network": NETWORK, "hash": network.hash, "samples": len(data), "folds": results},
         ["fold", "cycles, mean (min-max)", "back to back, a result every", "LUT4", "FF", "DP16KD", "multipliers",
          "memory bits"], rows)


if __name__ == "__main__":
    main()
