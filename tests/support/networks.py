"""Random networks and folds, and the hardware's run of a sample in Amaranth's simulator."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import Plan
from spikeloom.model import golden
from spikeloom.model.network import Dense, Layer, Network, Neuron, Readout, SpikeInput, StaticInput, weight_range
from spikeloom.model.numerics import Multiply, Shift

from .stream_bench import run_streams

__all__ = ["hardware_run", "input_beats", "random_fold", "random_network", "random_samples", "spikes_of"]

Rng = np.random.Generator


def random_network(rng: Rng, *, sizes: tuple[int, ...] | None = None, static: bool | None = None,
                   steps: int | None = None) -> Network:
    """A small network with every primitive left to chance; its neurons do fire."""
    sizes = sizes or tuple(int(n) for n in rng.integers(1, 20, int(rng.integers(2, 5))))
    static = bool(rng.random() < 0.5) if static is None else static
    steps = int(rng.choice([1, 2, 4, 5, 6])) if steps is None else steps
    layers = []
    for k, (inputs, outputs) in enumerate(pairwise(sizes)):
        bits = int(rng.choice([1, 2, 3, 4, 8, 16]))
        low, high = weight_range(bits)
        weight = (rng.choice([-1, 1], (outputs, inputs)) if bits == 1 else np.clip(
            np.round(rng.normal(high / 8, high / 2 + 0.5, (outputs, inputs))), low, high).astype(int))
        fraction_bits = int(rng.integers(0, 5))
        decays = [Shift(int(rng.integers(0, 5))) if rng.random() < 0.7 else Multiply(int(rng.integers(0, 4097)))
                  for _ in range(2)]
        reach = max(1, int(np.abs(weight).sum(axis=1).max())) << fraction_bits
        layers.append(Layer(
            name=f"layer{k}",
            connection=Dense(weight=weight, weight_bits=bits,
                             bias=rng.integers(-high - 1, high + 2, outputs) if rng.random() < 0.5 else None),
            neuron=Neuron(synapse=decays[0], membrane=decays[1], fraction_bits=fraction_bits,
                          threshold=rng.integers(0, max(2, reach // 2), outputs if rng.random() < 0.5 else 1),
                          compare=">" if rng.random() < 0.5 else ">=",
                          reset="zero" if rng.random() < 0.5 else "subtract")))
    readout = Readout.count(steps) if rng.random() < 0.5 else Readout.psc_sum(steps, Shift(1))
    return Network(name="random", layers=tuple(layers), steps=steps, readout=readout,
                   input=StaticInput(shape=(sizes[0],), bits=int(rng.integers(1, 9))) if static
                   else SpikeInput(shape=(sizes[0],)))


def random_fold(rng: Rng, network: Network) -> Fold:
    """Any fold that suits the network."""
    items = per_beat = int(rng.integers(1, min(8, network.input.size) + 1))
    layers = []
    for layer in network.layers:
        connection = layer.connection
        banks = [b for b in range(1, min(8, connection.inputs) + 1) if b % items == 0 or items % b == 0]
        lanes = int(rng.integers(1, connection.outputs + 1))
        units = int(rng.integers(1, lanes + 1))
        layers.append(LayerFold(lanes=lanes, inputs_per_cycle=int(rng.choice(banks)), neuron_units=units,
                                pipelined=bool(rng.random() < 0.6)))
        items = units
    windows = [w for w in range(1, network.steps + 1) if network.steps % w == 0]
    return Fold(layers=tuple(layers), input_per_beat=per_beat,
                window_steps=None if network.static else int(rng.choice(windows)))


def random_samples(rng: Rng, network: Network, count: int) -> npt.NDArray[np.uint8]:
    """Samples with about half of the input silent."""
    if network.static:
        images = rng.integers(0, 256, (count, *network.input.shape), dtype=np.uint8)
        return np.where(rng.random(images.shape) < 0.5, images, np.uint8(0))
    return (rng.random((count, network.steps, *network.input.shape)) < 0.3).astype(np.uint8)


def input_beats(plan: Plan, samples: npt.NDArray[np.uint8]) -> list[int]:
    """The input stream's payloads."""
    encoded = golden.encode_input(plan.network, samples)
    window = plan.window_steps
    bits = plan.network.planes(0) if plan.network.static else window
    payloads = []
    for sample in encoded:
        for v in range(plan.windows):
            masks = sample if plan.network.static else (
                sample[v * window:(v + 1) * window].astype(int) << np.arange(window)[:, None]).sum(axis=0)
            for beat in plan.channels[0].index:
                payloads.append(sum(int(masks[c]) << (i * bits) for i, c in enumerate(beat) if c >= 0))
    return payloads


def spikes_of(plan: Plan, layer: int, payloads: list[int], samples: int) -> npt.NDArray[np.bool_]:
    """Spike trains (N, T, neurons) from a layer's beats; padding must be silent."""
    channels, window = plan.channels[layer + 1], plan.window_steps
    spikes = np.zeros((samples, plan.network.steps, channels.size), np.bool_)
    beats = iter(payloads)
    for n in range(samples):
        for v in range(plan.windows):
            for beat in channels.index:
                payload = next(beats)
                for item, channel in enumerate(beat):
                    mask = payload >> (item * window) & ((1 << window) - 1)
                    if channel < 0:
                        assert mask == 0, f"padding fires in layer {layer}"
                    else:
                        spikes[n, v * window:(v + 1) * window, channel] = [mask >> b & 1 for b in range(window)]
    return spikes


def hardware_run(plan: Plan, samples: npt.NDArray[np.uint8], *, gap: float = 0.0, stall: float = 0.0, seed: int = 0,
                 isolated: bool = True) -> tuple[list[int], list[npt.NDArray[np.bool_]], list[int], list[int]]:
    """Run in Amaranth's simulator: classes, spikes of every layer, latencies, and cycles of the results."""
    dut: Any = plan.accelerator()
    payloads = input_beats(plan, samples)
    per_sample = len(payloads) // len(samples)
    sent, received, seen = run_streams(
        dut, payloads, len(samples), gap=gap, stall=stall, seed=seed, wait_between=per_sample if isolated else 0,
        watch={layer.config.synapse.name: layer.o for layer in dut.layers}, limit_cycles=100_000)
    spikes = [spikes_of(plan, k, [payload for _, payload in seen[layer.name]], len(samples))
              for k, layer in enumerate(plan.network.layers)]
    latency = [cycle - sent[n * per_sample] for n, (cycle, _) in enumerate(received)]
    return [value for _, value in received], spikes, latency, [cycle - sent[0] for cycle, _ in received]
