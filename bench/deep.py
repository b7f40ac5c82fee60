"""TSSL-BP's largest networks at full size: generated, and co-simulated bit by bit.

    python bench/deep.py cifar10-cnn1 [--samples 1] [--lanes 64] [--bus-bits 256] [--rate 0.1] [--latency 32]
    python bench/deep.py cifar10-cnn1 --on-chip 0 64 128
    python bench/deep.py cifar10-cnn2
    python bench/deep.py n-mnist --samples 4

The weights are random (seeded) 4-bit numbers and each layer's threshold is such that the fraction `--rate` of its
neurons spikes on the samples, as trained networks do. The data sets cannot be shipped: the samples are made up, written
in the data set's real file format and read with its loader. CIFAR10's networks keep their weights in external memory,
but for the first layer; N-MNIST's fits on chip, and runs its 30 steps in windows of `--window` steps. With `--on-chip`
layers have so many lanes more, from the first layer on, whose weights are on chip beside those of the bus.
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
from spikeloom.gen.fetch_cycles import MemoryTiming
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.inventory import inventory_of
from spikeloom.gen.resources import estimate
from spikeloom.model import datasets, golden
from spikeloom.model.network import Conv2d, Dense, Layer, Network, Neuron, Readout, SpikeInput, StaticInput
from spikeloom.model.numerics import Shift
from spikeloom.model.topology import read_topology

TOPOLOGIES = {  # the authors' configurations; convolutions of CIFAR10 have padding 1
    "cifar10-cnn1": "96C3p1-256C3p1-P2-384C3p1-P2-384C3p1-256C3p1-1024-1024",
    "cifar10-cnn2": "128C3p1-256C3p1-P2-512C3p1-P2-1024C3p1-512C3p1-1024-512",
    "n-mnist": "12C5p1-P2-64C5-P2",
}
BITS, FRACTION_BITS = 4, 2


def made_up(name: str, samples: int, rng: np.random.Generator, folder: Path, steps: int) -> np.ndarray:
    """Samples by way of a file in the data set's own format."""
    if name == "n-mnist":
        place = folder / "Test" / "3"
        place.mkdir(parents=True)
        for n in range(samples):
            # A disc that the first saccade moves along; polarity by the side of its edge.
            count = 3000
            at = np.sort(rng.integers(0, 90_000, count))
            angle = rng.random(count) * 2 * np.pi
            x = np.clip(17 + 8 * np.cos(angle) + at / 30_000, 0, 33).astype(int)
            y = np.clip(17 + 8 * np.sin(angle) + at / 15_000, 0, 33).astype(int)
            on = (np.cos(angle) > 0).astype(int)
            events = np.stack([x, y, on << 7 | at >> 16, at >> 8 & 255, at & 255], axis=1).astype(np.uint8)
            (place / f"{n:05d}.bin").write_bytes(events.tobytes())
        return datasets.load(folder, steps=steps).images
    # Soft blobs of colour, 10,000 records as in the real test batch.
    records = np.zeros((10_000, 3073), np.uint8)
    y, x = np.mgrid[:32, :32]
    for n in range(samples):
        planes = [255 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / c) for a, b, c in
                  zip(*rng.uniform([[4], [4], [40]], [[28], [28], [300]], (3, 3)), strict=True)]
        records[n, 1:] = np.clip(np.stack(planes) + rng.normal(0, 12, (3, 32, 32)), 0, 255).astype(np.uint8).ravel()
    (folder / "test_batch.bin").write_bytes(records.tobytes())
    return datasets.load(folder, samples=samples).images


def random_network(name: str, samples: np.ndarray, steps: int, rate: float, rng: np.random.Generator) -> Network:
    """Layer after layer: random weights, then the threshold that lets so many neurons spike."""
    static = name != "n-mnist"
    source: StaticInput | SpikeInput = (StaticInput(shape=samples.shape[1:], bits=4) if static
                                        else SpikeInput(shape=samples.shape[2:]))
    layers: list[Layer] = []
    signal, now = samples[:1], source
    for shape in read_topology(TOPOLOGIES[name], source.shape, 10):
        dims = shape.geometry.weight_shape if shape.geometry else (shape.outputs, shape.inputs)
        weight = np.clip(np.rint(rng.normal(0.3, 2.5, dims)), -8, 7).astype(np.int64)
        connection = (Conv2d(geometry=shape.geometry, weight=weight, weight_bits=BITS) if shape.geometry
                      else Dense(weight=weight, weight_bits=BITS))

        def layer_with(threshold: int, shape=shape, connection=connection) -> Layer:
            return Layer(name=shape.name, connection=connection, pool=shape.pool, neuron=Neuron(
                synapse=Shift(1), membrane=Shift(2), fraction_bits=FRACTION_BITS, threshold=np.array([threshold])))

        def spikes_of(layer: Layer, now=now, signal=signal) -> np.ndarray:
            alone = Network.chain(name=name, input=now, layers=(layer,), steps=steps, readout=Readout.count())
            return golden.run(alone, signal).spikes[0]

        low, high = 1.0, 1e6
        while high / low > 1.05:  # activity falls as the threshold rises
            middle = (low * high) ** 0.5
            lively = spikes_of(layer_with(round(middle))).any(axis=1).mean() > rate
            low, high = (middle, high) if lively else (low, middle)
        layers.append(layer_with(round(high)))
        spikes, after = spikes_of(layers[-1]), connection.output_shape
        signal, now = spikes.reshape(1, steps, *after), SpikeInput(shape=after)
    return Network.chain(name=name, input=source, layers=tuple(layers), steps=steps,
                         readout=Readout.psc_sum(steps, Shift(1)))


def fold_of(network: Network, lanes: int, bus_bits: int | None, window: int | None, on_chip: list[int]) -> Fold:
    layers = []
    for index, layer in enumerate(network.layers):
        own = min(lanes, layer.connection.channels)
        external = bus_bits if index and isinstance(network.input, StaticInput) and own > 10 else None
        units = max(n for n in (1, 2, 4) if own % n == 0)
        more = on_chip[index] if index < len(on_chip) else 0
        layers.append(LayerFold(lanes=own + more, neuron_units=units, external_bus_bits=external, prefetch_rows=64,
                                on_chip_lanes=more if external else 0))
    return Fold(layers=tuple(layers), input_per_beat=1, window_steps=window, name=f"{lanes} lanes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=TOPOLOGIES)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=64)
    parser.add_argument("--bus-bits", type=int, default=256)
    parser.add_argument("--on-chip", type=int, nargs="*", default=[], metavar="LANES", help="more lanes of each layer")
    parser.add_argument("--rate", type=float, default=0.1, help="fraction of a layer's neurons that spike")
    parser.add_argument("--latency", type=int, default=32, help="of the external memory, in cycles")
    parser.add_argument("--window", type=int, default=5, help="steps of a window (N-MNIST)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    spiking = args.name == "n-mnist"
    steps = 30 if spiking else 5
    memory = MemoryTiming(latency_cycles=args.latency)
    times, started = {}, time.perf_counter()

    def lap(what: str) -> None:
        times[what] = round(time.perf_counter() - started - sum(times.values()), 1)
        print(f"{what}: {times[what]} s", flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        samples = made_up(args.name, args.samples, rng, Path(scratch), steps)
        network = random_network(args.name, samples, steps, args.rate, rng)
        weights = sum(layer.connection.weight.size for layer in network.layers)
        active = [float(s.any(axis=1).mean()) for s in golden.run(network, samples).spikes]
        lap("network")
        plan = spikeloom.compile(network, fold_of(network, args.lanes, args.bus_bits, args.window if spiking else None,
                                                  args.on_chip))
        spikeloom.write(plan, Path(scratch) / "build")
        lap("generate")
        counts = count_cycles(plan, samples, memory)
        lap("cycle model")
        result = spikeloom.simulate(Path(scratch) / "build", samples, memory=memory, jobs=min(2, args.samples))
        lap("co-simulate")
    use = counts.utilisation(plan)
    for layer, rate, lanes_use, cycles in zip(network.layers, active, use, counts.busy.mean(axis=0), strict=True):
        print(f"{layer.name}: {rate:.1%} active, {cycles:,.0f} busy cycles, utilisation {lanes_use:.0%}")
    size = estimate(inventory_of(plan), "ecp5")
    name = "-".join([args.name, *(["on-chip", *map(str, args.on_chip)] if args.on_chip else [])])
    save(name, {"network": network.topology, "weights": weights, "seed": args.seed, "rate": args.rate,
                     "active": active, "fold": plan.fold.to_dict(), "memory_latency_cycles": args.latency,
                     "seconds": times, "estimate": vars(size), "utilisation": use.tolist(), "sim": result.to_json()},
         ["network", "weights", "samples", "mismatches", "cycles mispredicted", "cycles, mean",
          "generate, s", "co-simulate, s", "LUT4 and block RAMs (ECP5), estimated"],
         [[network.topology, f"{weights:,}", str(result.samples), str(result.mismatches),
           str(result.cycles_mispredicted), f"{result.cycles_mean:,.0f}", str(times["generate"]),
           str(times["co-simulate"]), f"{size.lut:,}, {size.bram}"]])


if __name__ == "__main__":
    main()
