"""Random networks and folds, and the hardware's run of a sample in Amaranth's simulator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.gen.fetch_cycles import MemoryTiming
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import Plan, Table
from spikeloom.model import golden
from spikeloom.model.geometry import ConvGeometry, Pool, Shape, as_map
from spikeloom.model.network import (
    Conv2d,
    Dense,
    Layer,
    Network,
    Neuron,
    Readout,
    SpikeInput,
    StaticInput,
    weight_range,
)
from spikeloom.model.numerics import Multiply, Shift
from spikeloom.rtl.weight_fetch import weight_table

from .stream_bench import run_streams

__all__ = ["MEMORY", "hardware_run", "input_beats", "make_external", "random_conv_network",
           "random_fold", "random_network", "random_samples", "spikes_of"]

Rng = np.random.Generator


def random_network(rng: Rng, *, sizes: tuple[int, ...] | None = None, static: bool | None = None,
                   steps: int | None = None) -> Network:
    """A small network with every primitive left to chance; its neurons do fire."""
    sizes = sizes or tuple(int(n) for n in rng.integers(1, 20, int(rng.integers(2, 5))))
    static = bool(rng.random() < 0.5) if static is None else static
    steps = int(rng.choice([1, 2, 4, 5, 6])) if steps is None else steps
    layers = tuple(_random_layer(rng, k, (outputs, inputs)) for k, (inputs, outputs) in enumerate(pairwise(sizes)))
    return _random_ends(rng, layers, (sizes[0],), static, steps)


def _random_ends(rng: Rng, layers: tuple[Layer, ...], shape: Shape, static: bool, steps: int) -> Network:
    readout = Readout.count(steps) if rng.random() < 0.5 else Readout.psc_sum(steps, Shift(1))
    return Network(name="random", layers=layers, steps=steps,
                   input=StaticInput(shape=shape, bits=int(rng.integers(1, 9))) if static else SpikeInput(shape=shape),
                   readout=readout if rng.random() < 0.5 else replace(readout, ties="membrane"))


def _random_layer(rng: Rng, k: int, shape: Shape, geometry: ConvGeometry | None = None,
                  pool: Pool | None = None) -> Layer:
    """Weights of ``shape``, outputs first, and neurons to go with them."""
    bits = int(rng.choice([1, 2, 3, 4, 8, 16]))
    low, high = weight_range(bits)
    weight = (rng.choice([-1, 1], shape) if bits == 1 else np.clip(
        np.round(rng.normal(high / 8, high / 2 + 0.5, shape)), low, high).astype(int))
    fraction_bits = int(rng.integers(0, 5))
    decays = [Shift(int(rng.integers(0, 5))) if rng.random() < 0.7 else Multiply(int(rng.integers(0, 4097)))
              for _ in range(2)]
    reach = max(1, int(np.abs(weight).reshape(shape[0], -1).sum(axis=1).max())) << fraction_bits
    bias_shape = geometry.output_shape if geometry and rng.random() < 0.3 else shape[:1]
    bias = rng.integers(-high - 1, high + 2, bias_shape) if rng.random() < 0.5 else None
    return Layer(
        name=f"layer{k}", pool=pool,
        connection=(Conv2d(geometry=geometry, weight=weight, weight_bits=bits, bias=bias) if geometry
                    else Dense(weight=weight, weight_bits=bits, bias=bias)),
        neuron=Neuron(synapse=decays[0], membrane=decays[1], fraction_bits=fraction_bits,
                      threshold=rng.integers(0, max(2, reach // 2), shape[0] if rng.random() < 0.5 else 1),
                      compare=">" if rng.random() < 0.5 else ">=",
                      reset="zero" if rng.random() < 0.5 else "subtract"))


def random_conv_network(rng: Rng) -> Network:
    """A small convolutional network: kernels, strides, padding, pools, depthwise layers left to chance."""
    static = bool(rng.random() < 0.5)
    steps = int(rng.choice([1, 2, 4, 6]))
    first: Shape = (int(rng.integers(1, 4)), int(rng.integers(4, 10)), int(rng.integers(4, 10)))
    shape, layers = first, []
    for k in range(int(rng.integers(1, 4))):
        pool = _random_pool(rng, shape, sum_only=static and k == 0)
        maps = pool.output_shape(shape) if pool else shape
        kernel = tuple(int(rng.integers(1, min(4, n) + 1)) for n in maps[1:])
        depthwise = rng.random() < 0.25
        channels = maps[0] * int(rng.integers(1, 3)) if depthwise else int(rng.integers(1, 7))
        geometry = ConvGeometry(
            input_shape=maps, channels=channels, kernel=kernel,  # type: ignore[arg-type]
            stride=int(rng.integers(1, 4)), padding=int(rng.integers(0, min(kernel))),
            groups=maps[0] if depthwise else 1)
        layers.append(_random_layer(rng, k, geometry.weight_shape, geometry, pool))
        shape = geometry.output_shape
    pool = _random_pool(rng, shape, sum_only=False)
    inputs = int(np.prod(pool.output_shape(shape) if pool else shape))
    layers.append(_random_layer(rng, len(layers), (int(rng.integers(1, 7)), inputs), pool=pool))
    return _random_ends(rng, tuple(layers), first, static, steps)


def _random_pool(rng: Rng, shape: Shape, sum_only: bool) -> Pool | None:
    sizes = [n for n in range(1, 4) if shape[1] % n == 0 and shape[2] % n == 0]
    if rng.random() < 0.5:
        return None
    return Pool("sum" if sum_only or rng.random() < 0.6 else "or", int(rng.choice(sizes)))


def random_fold(rng: Rng, network: Network) -> Fold:
    """Any fold that suits the network."""
    channels = as_map(network.input.shape)[0] if network.reads_map else network.input.size
    items = per_beat = int(rng.choice([n for n in range(1, min(8, channels) + 1)
                                       if not network.reads_map or channels % n == 0]))
    layers = []
    for layer in network.layers:
        connection = layer.connection
        banks = [b for b in range(1, min(8, connection.inputs) + 1)
                 if items % b == 0 or (b % items == 0 and layer.pool is None)]
        lanes = int(rng.integers(1, connection.channels + 1))
        units = int(rng.integers(1, lanes + 1))
        if isinstance(connection, Conv2d):
            banks = [b for b in (1, 2, 4) if b <= connection.inputs]
            tile = int(rng.choice([n for n in range(1, 4) if connection.output_shape[2] % n == 0]))
            if tile > 1:
                lanes = tile * connection.channels
                units = int(rng.choice([n for n in range(1, connection.channels + 1) if connection.channels % n == 0]))
        layers.append(LayerFold(lanes=lanes, inputs_per_cycle=int(rng.choice(banks)), neuron_units=units,
                                pipelined=bool(rng.random() < 0.6)))
        items = units
    windows = [w for w in range(1, network.steps + 1) if network.steps % w == 0]
    return Fold(layers=tuple(layers), input_per_beat=per_beat,
                window_steps=None if network.static else int(rng.choice(windows)))


def make_external(rng: Rng, fold: Fold) -> Fold:
    """The fold with the weights of some layers in external memory."""
    layers = tuple(
        replace(layer, inputs_per_cycle=1, external_bus_bits=int(rng.choice([32, 64])),
                prefetch_rows=int(rng.integers(2, 9))) if rng.random() < 0.6 else layer for layer in fold.layers)
    return replace(fold, layers=layers)


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


MEMORY = MemoryTiming(latency_cycles=5, beat_interval_cycles=2)


def _memory(dut: Any, plan: Plan, table: Table) -> Callable[[Any], Awaitable[None]]:
    """An AXI4 memory with a layer's weights, and the timing ``MEMORY``."""
    axi = getattr(dut, f"axi_{table.layer}")
    index = [layer.synapse.name for layer in plan.layers].index(table.layer)
    content = weight_table(table.config, plan.weights(index)[0])
    size = table.config.bus_bytes

    async def bench(ctx: Any) -> None:
        ctx.set(getattr(dut, f"base_{table.layer}"), table.base)
        ctx.set(axi.arready, 1)
        beats: list[tuple[int, int]] = []  # cycle from which a word may be offered, its address
        cycle, offered = 0, -MEMORY.beat_interval_cycles
        while True:
            due = bool(beats) and cycle >= max(beats[0][0], offered + MEMORY.beat_interval_cycles)
            ctx.set(axi.rvalid, due)
            if due:
                offered, at = cycle, beats.pop(0)[1] - table.base
                ctx.set(axi.rdata, int.from_bytes(content[at:at + size], "little"))
            if ctx.get(axi.arvalid):
                address = ctx.get(axi.araddr)
                beats += [(cycle + MEMORY.latency_cycles, address + k * size) for k in range(ctx.get(axi.arlen) + 1)]
            await ctx.tick()
            cycle += 1

    return bench


def hardware_run(plan: Plan, samples: npt.NDArray[np.uint8], *, gap: float = 0.0, stall: float = 0.0, seed: int = 0,
                 isolated: bool = True) -> tuple[list[int], list[npt.NDArray[np.bool_]], list[int], list[int]]:
    """Run in Amaranth's simulator: classes, spikes of every layer, latencies, and cycles of the results."""
    dut: Any = plan.accelerator()
    payloads = input_beats(plan, samples)
    per_sample = len(payloads) // len(samples)
    sent, received, seen = run_streams(
        dut, payloads, len(samples), gap=gap, stall=stall, seed=seed, wait_between=per_sample if isolated else 0,
        background=[_memory(dut, plan, table) for table in plan.tables],
        watch={layer.config.synapse.name: layer.o for layer in dut.layers}, limit_cycles=100_000)
    spikes = [spikes_of(plan, k, [payload for _, payload in seen[layer.name]], len(samples))
              for k, layer in enumerate(plan.network.layers)]
    latency = [cycle - sent[n * per_sample] for n, (cycle, _) in enumerate(received)]
    return [value for _, value in received], spikes, latency, [cycle - sent[0] for cycle, _ in received]
