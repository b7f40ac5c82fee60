"""The shipped convolutional networks: accuracy, speed of the golden model, cycles, utilisation, Verilog, LUTs.

    python bench/convolution.py fashion-mnist-15c5-40c5-300 --sim 1000 --synth lfe5u-85f
    python bench/convolution.py fashion-mnist-32c5-64c5-1024 --device lfe5u-85f --sim 100

Cycles and utilisation are means of the exact cycle model over 1,000 test images (20 with external weights); --sim runs
so many images through the emitted Verilog and compares every spike, class and cycle count. --device moves weights that
it cannot hold to external memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from results import save

import spikeloom
from spikeloom.gen.cycles import count_cycles
from spikeloom.model import golden
from spikeloom.model.network import Conv2d


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("--fold", nargs="+", default=["fast"], help="one row each")
    parser.add_argument("--device", help="for whose block RAM the weights are placed")
    parser.add_argument("--bus-bits", type=int, default=256)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--samples", type=int, default=1000, help="for the cycle model")
    parser.add_argument("--sim", type=int, default=0, help="images through the Verilog")
    parser.add_argument("--synth", help="device to count LUTs for")
    args = parser.parse_args()
    network = spikeloom.load(args.network)
    data = spikeloom.dataset(args.data)
    started = time.perf_counter()
    classes = np.concatenate([r.classes for r in golden.batches(network, data.images)])
    speed = len(data) / (time.perf_counter() - started)
    accuracy = float((classes == data.labels).mean())

    rows, results = [], []
    for fold in args.fold:
        plan = spikeloom.compile(network, fold, args.device, args.bus_bits)
        samples = 20 if plan.tables else args.samples  # with a memory in between, slot by slot
        counts = count_cycles(plan, data.images[:samples])
        cycles, use = float(counts.latency.mean()), counts.utilisation(plan)
        of_convolutions = [u for u, la in zip(use, network.layers, strict=True) if isinstance(la.connection, Conv2d)]
        sim = synth = None
        with tempfile.TemporaryDirectory(dir=".") as scratch:
            folder = Path(scratch) / "build"
            spikeloom.write(plan, folder)
            if args.sim:
                sim = spikeloom.simulate(folder, data.images[:args.sim], data.labels[:args.sim])
            if args.synth:
                synth = spikeloom.synthesize(folder, args.synth)
        results.append({"fold": plan.fold.to_dict(), "cycles_mean": cycles, "utilisation": use.tolist(),
                        "sim": sim and sim.to_json(), "synth": synth and synth.to_json()})
        rows.append([network.topology, f"{accuracy:.2%}", f"{speed:,.0f}",
                     Path(fold).name + (" external" if plan.tables else ""), f"{cycles:,.0f}",
                     ", ".join(f"{u:.0%}" for u in of_convolutions),
                     *([f"{sim.samples:,}", str(sim.mismatches), str(sim.cycles_mispredicted)] if sim else [""] * 3),
                     f"{synth.lut:,}, {synth.ff:,}, {synth.bram}" if synth else ""])
    save(f"convolution-{args.network.replace('fashion-mnist-', '')}", {
        "network": network.name, "hash": network.hash, "accuracy": accuracy, "golden_images_per_s": speed,
        "folds": results},
        ["network", "accuracy, 10,000 images", "golden model, images/s", "fold", "cycles, mean",
         "utilisation of the convolutions", "images simulated", "mismatches", "mispredicted", "LUT4, FF, DP16KD"], rows)


if __name__ == "__main__":
    main()
