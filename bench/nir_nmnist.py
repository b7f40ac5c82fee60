"""A convolutional IF network of N-MNIST's size through NIR: read, quantised, generated, co-simulated.

    python bench/nir_nmnist.py

2 x 34 x 34 events in 300 steps, 16C5s2-16C3-8C3-256-10, seeded random weights scaled to plausible activity, written as
a NIR file; the sample comes in the data set's real file format. Float semantics are those of NIR's own equations.
"""

from __future__ import annotations

import tempfile
import time
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
from results import save

from spikeloom.cosim.simulate import simulate
from spikeloom.gen.build import build
from spikeloom.gen.fold import load_fold
from spikeloom.gen.plan import make_plan
from spikeloom.model import datasets
from spikeloom.model.exchange.dialects import DIALECTS
from spikeloom.model.exchange.integers import agreement, integer_network
from spikeloom.model.exchange.meaning import meaning
from spikeloom.model.exchange.nir_file import read_nir
from spikeloom.model.exchange.real_network import run
from spikeloom.model.readout import Readout

STEPS, SEED, EVENTS = 300, 0, 4000


def write_network(path: Path) -> None:
    """16C5s2-16C3-8C3-256-10 of IF neurons."""
    rng = np.random.default_rng(SEED)

    def weights(*shape: int, gain: float) -> np.ndarray:
        return (gain * rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    def conv(outputs: int, inputs: int, side: int, size: int, stride: int, gain: float) -> nir.Conv2d:
        return nir.Conv2d(input_shape=(side, side), weight=weights(outputs, inputs, size, size, gain=gain),
                          stride=stride, padding=0, dilation=1, groups=1, bias=np.zeros(outputs, np.float32))

    def neurons(*shape: int) -> nir.IF:
        return nir.IF(r=np.full(shape, 1e4), v_threshold=np.ones(shape), v_reset=np.zeros(shape))

    nodes = {"input": nir.Input(input_type=np.array([2, 34, 34])),
             "0": conv(16, 2, 34, 5, 2, 2.5), "1": neurons(16, 15, 15),
             "2": conv(16, 16, 15, 3, 1, 3.5), "3": neurons(16, 13, 13),
             "4": conv(8, 16, 13, 3, 1, 3.5), "5": neurons(8, 11, 11),
             "6": nir.Flatten(input_type={"input": np.array([8, 11, 11])}, start_dim=0),
             "7": nir.Linear(weight=weights(256, 968, gain=3.5)), "8": neurons(256),
             "9": nir.Linear(weight=weights(10, 256, gain=3.5)), "10": neurons(10),
             "output": nir.Output(output_type=np.array([10]))}
    names = list(nodes)
    nir.write(path, nir.NIRGraph(nodes, list(pairwise(names)), type_check=False))


def write_sample(folder: Path) -> None:
    """Events of 5 bytes in N-MNIST's format, in a folder as the data set's: a seeded drifting blob."""
    rng = np.random.default_rng(SEED)
    at = np.sort(rng.integers(0, 300_000, EVENTS))
    x = np.clip(np.round(12 + at / 30_000 + 4 * rng.standard_normal(EVENTS)), 0, 33).astype(np.int64)
    y = np.clip(np.round(17 + 5 * rng.standard_normal(EVENTS)), 0, 33).astype(np.int64)
    raw = np.stack([x, y, rng.integers(0, 2, EVENTS) << 7 | at >> 16, at >> 8 & 255, at & 255], axis=1)
    (folder / "Test" / "3").mkdir(parents=True)
    (folder / "Test" / "3" / "00001.bin").write_bytes(raw.astype(np.uint8).tobytes())


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_network(folder / "network.nir")
        write_sample(folder / "data")
        data = datasets.load(folder / "data", steps=STEPS)
        began = time.perf_counter()
        real, _ = meaning(read_nir(folder / "network.nir"), DIALECTS["nir"], "n-mnist")
        wanted = run(real, data.images)
        network = integer_network(real, steps=STEPS, readout=Readout.count())
        compared = agreement(network, real, data.images)
        read_s = time.perf_counter() - began
        build(make_plan(network, load_fold("balanced", network)), folder / "build")
        build_s = time.perf_counter() - began - read_s
        result = simulate(folder / "build", data.images)
        whole_s = time.perf_counter() - began
        spikes = int(sum(train.sum() for train in wanted.spikes.values()))
    save("nir_nmnist", {"events": int(data.images.sum()), "spikes": spikes, "mismatches": result.mismatches,
                        "mispredicted": result.cycles_mispredicted, "cycles": result.cycles_mean,
                        "differing": compared.share, "read_s": read_s, "build_s": build_s, "whole_s": whole_s},
         ["input spikes", "spikes of its neurons", "integer spikes that differ from float (8 bits)", "mismatches",
          "cycles mispredicted", "cycles", "whole, s"],
         [[f"{int(data.images.sum()):,}", f"{spikes:,}", f"{compared.share:.2%}", str(result.mismatches),
           str(result.cycles_mispredicted), f"{result.cycles_mean:,.0f}", f"{whole_s:.0f}"]])


if __name__ == "__main__":
    main()
