"""Ways to organise an event-driven convolution, on the measured activity of a trained network: cycles and memory.

    python bench/conv_organisations.py [network] [--samples 50]

docs/convolution.md has the formulas and what was chosen. All get as many adders: `lanes` output channels times `banks`
events (or kernel positions) per cycle.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from results import save

import spikeloom
from spikeloom.gen.cycles import count_cycles
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.model import golden
from spikeloom.model.bounds import layer_bounds
from spikeloom.model.geometry import as_map
from spikeloom.model.network import Conv2d, Dense, Network
from spikeloom.model.samples import encode_input

SCANNED = 16  # masks that the scanning gather looks at per cycle


@dataclass
class Activity:
    """Of one convolution: active inputs (N, C, H, W) before the pool, and its geometry in cells after it."""

    active: np.ndarray
    pool: int
    connection: Conv2d

    def windows(self) -> np.ndarray:
        """Active inputs of each output position's window: (N, H', W')."""
        g = self.connection.geometry
        n, channels, height, width = self.active.shape
        cells = self.active.reshape(n, channels, height // self.pool, self.pool, width // self.pool, self.pool)
        counts = cells.sum(axis=(1, 3, 5))
        padded = np.pad(counts, ((0, 0), (g.padding,) * 2, (g.padding,) * 2))
        view = np.lib.stride_tricks.sliding_window_view(padded, g.kernel, (1, 2))[:, ::g.stride, ::g.stride]
        return view.sum(axis=(3, 4))

    def positions(self) -> np.ndarray:
        """Output positions that see each input cell: (H / pool, W / pool)."""
        g = self.connection.geometry
        seen = []
        for size, cells, out in zip(g.kernel, g.input_shape[1:], g.output_shape[1:], strict=True):
            first = np.arange(out)[:, None] * g.stride - g.padding
            seen.append(((np.arange(cells) >= first) & (np.arange(cells) < first + size)).sum(axis=0))
        return seen[0][:, None] * seen[1]


def scatter(a: Activity, banks: int) -> np.ndarray:
    """Cycles (N,): each event adds its weight rows to accumulators of the positions it reaches, ``banks`` at once."""
    cells = a.active.reshape(*a.active.shape[:2], *[n for size in a.active.shape[2:] for n in (size // a.pool, a.pool)])
    counts = cells.sum(axis=(1, 3, 5))
    return (counts * -(-a.positions() // banks)).sum(axis=(1, 2))


def scan(a: Activity, banks: int) -> np.ndarray:
    """Cycles (N,): each window's masks are looked at ``SCANNED`` a cycle, of which ``banks`` can be added."""
    g = a.connection.geometry
    masks = g.input_shape[0] * g.kernel[0] * g.kernel[1] * a.pool**2
    return np.maximum(-(-masks // SCANNED), -(-a.windows() // banks)).sum(axis=(1, 2))


def fold_of(connection: Conv2d | Dense, events: int, tile: int) -> LayerFold:
    """All channels of ``tile`` positions, if they divide a row."""
    if isinstance(connection, Dense):
        return LayerFold(lanes=connection.outputs)
    channels, _, width = connection.geometry.output_shape
    lanes = channels * (tile if width % tile == 0 else 1)
    return LayerFold(lanes=lanes, inputs_per_cycle=events, neuron_units=channels)


def kilobits(bits: float) -> str:
    return f"{bits / 1024:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="fashion-mnist-15c5-40c5-300")
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--samples", type=int, default=50)
    args = parser.parse_args()
    network: Network = spikeloom.load(args.network)
    data = spikeloom.dataset(args.data, args.samples)
    spikes = golden.run(network, data.images).spikes
    rows, values = [], []
    for index, layer in enumerate(network.layers):
        if not isinstance(layer.connection, Conv2d):
            continue
        shape = as_map(network.layers[index].sources[0].shape)
        raw = (encode_input(network, data.images) != 0) if index == 0 else spikes[index - 1].any(axis=1)
        pool = layer.pool.size if layer.pool and layer.pool.kind == "sum" else 1
        a = Activity(raw.reshape(-1, *shape), pool, layer.connection)
        lanes = layer.connection.channels
        planes = network.planes(index)
        useful = a.windows().sum(axis=(1, 2)).mean()
        g = layer.connection.geometry
        sums = lanes * planes * layer_bounds(network, index).accumulator_bits  # of one position
        mask_rows = (g.kernel[0] + g.stride) * pool * shape[0] * shape[2] * planes
        for banks in ((1, 4) if index == 0 else (4, 8)):
            folds = {f"runs, {banks} events": (banks, 1), f"runs, {banks} events, 2 positions": (banks, 2)}
            for name, cycles, memory, port in (
                    (f"scatter, {banks} positions", scatter(a, banks), g.kernel[0] * g.output_shape[2] * sums,
                     2 * banks * sums),
                    (f"scan, {banks} events", scan(a, banks), mask_rows, SCANNED * planes)):
                rows.append([layer.name, name, f"{cycles.mean():,.0f}", f"{useful / (banks * cycles.mean()):.0%}",
                             kilobits(memory), f"{port:,}"])
                values.append({"layer": layer.name, "organisation": name, "cycles": float(cycles.mean()),
                               "memory_bits": memory, "bits_per_cycle": port})
            for name, (events, tile) in folds.items():
                if g.output_shape[2] % tile:
                    continue
                # The layers behind it are so fast that none keeps it waiting.
                layers = tuple(fold_of(la.connection, *((events, tile) if k == index else (8, 2)))
                               for k, la in enumerate(network.layers))
                plan = spikeloom.compile(network, Fold(layers=layers))
                queue = plan.layers[index].synapse.queue
                cycles = ideal(plan, data.images, index)
                memory, port = queue.memory_bits, queue.banks * (queue.item_bits + queue.column_bits)
                rows.append([layer.name, name, f"{cycles:,.0f}", f"{useful / (events * tile * cycles):.0%}",
                             kilobits(memory), f"{port:,}"])
                values.append({"layer": layer.name, "organisation": name, "cycles": float(cycles),
                               "memory_bits": memory, "bits_per_cycle": port})
    save("conv_organisations", {"network": network.name, "hash": network.hash, "samples": len(data), "rows": values},
         ["layer", "organisation", "cycles", "utilisation", "memory, Kbit", "memory, bits per cycle"], rows)


def ideal(plan: spikeloom.Plan, images: np.ndarray, index: int) -> float:
    """Mean busy cycles of the layer, from the cycle model."""
    return float(count_cycles(plan, images).busy[:, index].mean())


if __name__ == "__main__":
    main()
