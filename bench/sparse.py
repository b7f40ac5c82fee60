"""Weights of 0 left out: 784-400-400-10 with a tenth of its weights, with sparse rows and without, at the same lanes.

    python bench/sparse.py [--samples 10000] [--sim 1000]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from results import save

import spikeloom
from spikeloom.gen.cycles import predict_latency

NETWORK, DEVICE = "fashion-mnist-400-400-sparse", "lfe5u-85f"
EXAMPLE = Path(__file__).parent.parent / "examples" / "sparse-fold.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000, help="images whose cycles are counted")
    parser.add_argument("--sim", type=int, default=1000, help="images that are co-simulated with sparse rows")
    args = parser.parse_args()
    network = spikeloom.load(NETWORK)
    data = spikeloom.dataset("fashion-mnist")
    sparse = spikeloom.compile(network, str(EXAMPLE)).fold
    dense = replace(sparse, name="dense", layers=tuple(replace(layer, sparse=False, outer="groups")
                                                       for layer in sparse.layers))
    rows, values = [], []
    for fold in (dense, sparse):
        with tempfile.TemporaryDirectory() as folder:
            manifest = spikeloom.write(spikeloom.compile(network, fold), Path(folder) / "build")
            cycles = predict_latency(network, manifest, data.images[:args.samples])
            counts = spikeloom.synthesize(Path(folder) / "build", DEVICE)
            sim = None
            if fold is sparse:
                sim = spikeloom.simulate(Path(folder) / "build", data.images[:args.sim], data.labels[:args.sim])
        bits = sum(layer.weight_memory_bits for layer in manifest.layers[:-1])
        values.append({"fold": fold.to_dict(), "cycles_mean": float(cycles.mean()), "weight_bits": bits,
                       "synth": counts.to_json(), "sim": None if sim is None else sim.to_json()})
        rows.append([fold.name, f"{cycles.mean():,.0f}", f"{cycles.mean() / values[0]['cycles_mean']:.3f}",
                     f"{bits:,}", f"{bits / values[0]['weight_bits']:.3f}", f"{counts.lut:,}", f"{counts.ff:,}",
                     str(counts.bram),
                     "" if sim is None else f"{sim.samples:,}: {sim.mismatches}, {sim.cycles_mispredicted}"])
    save("sparse", {"network": NETWORK, "hash": network.hash, "samples": args.samples, "folds": values},
         ["rows", "cycles, mean", "of dense", "weight bits of the hidden layers", "of dense", "LUT4", "FF", "DP16KD",
          "co-simulated: mismatches, mispredicted"], rows)


if __name__ == "__main__":
    main()
