"""Random networks and folds, and the hardware's run of a sample in Amaranth's simulator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.gen.external import outside
from spikeloom.gen.fetch_cycles import MemoryTiming
from spikeloom.gen.fold import Fold, LayerFold, check_fold
from spikeloom.gen.limits import spiking_limits
from spikeloom.gen.plan import Plan, Table
from spikeloom.model.bounds import layer_bounds
from spikeloom.model.connections import Connection, Lateral, OneToOne, Sparse
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.geometry import ConvGeometry, Pool, Shape, as_map
from spikeloom.model.inputs import BernoulliInput, Input, LatencyInput
from spikeloom.model.network import (
    INPUT,
    Conv2d,
    Dense,
    Layer,
    Network,
    Neuron,
    Population,
    Projection,
    Readout,
    SpikeInput,
    StaticInput,
    weight_range,
)
from spikeloom.model.neurons.neuron_type import NeuronType
from spikeloom.model.neurons.parts import (
    Adaptation,
    Alpha,
    Clamp,
    DualExponential,
    Gain,
    LateCurrent,
    Offset,
    Ramp,
    ResetTo,
    Trace,
)
from spikeloom.model.neurons.types import Integrator
from spikeloom.model.numerics import Decay, Multiply, Shift, Shifts
from spikeloom.model.samples import checked_samples, of_lengths, run_lengths
from spikeloom.rtl.lane_block import pair_bits

from .stream_bench import run_streams

__all__ = ["MEMORY", "hardware_run", "input_beats", "make_external", "random_conv_network", "random_fold",
           "random_graph", "random_map_graph", "random_network", "random_neuron", "random_samples", "relative",
           "spikes_of"]

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
    readout = Readout.count() if rng.random() < 0.5 else Readout.psc_sum(steps, Shift(1))
    return Network.chain(name="random", layers=layers, steps=steps,
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


def random_neuron(rng: Rng, reach: int, fraction_bits: int, neurons: int) -> NeuronType:
    """A neuron from parts left to chance, for weighted inputs of up to ``reach``."""
    def maybe(share: float, value: Any) -> Any:
        return value() if rng.random() < share else None

    def decay() -> Decay:
        kind = rng.integers(4)
        if kind == 0:
            return Shift(int(rng.integers(0, 5)))
        if kind == 1:
            return Shifts(int(rng.integers(1, 4)), int(rng.integers(1, 6)))
        return Multiply(int(rng.integers(0, 4097)) if kind == 2 else rng.integers(0, 4097, neurons))

    def constant(low: int, high: int) -> Any:
        return int(rng.integers(low, high)) if rng.random() < 0.5 else rng.integers(low, high, neurons)

    scale = max(2, reach << fraction_bits)
    synapse = [lambda: None, decay, decay, lambda: DualExponential(fall=decay(), rise=decay()),
               lambda: Alpha(first=decay(), second=decay()), lambda: LateCurrent(decay=decay()),
               lambda: Ramp(taps=((0, 1), (int(rng.integers(1, 4)), int(rng.integers(-2, 3)))))][rng.integers(7)]()
    gain = maybe(0.2, lambda: Gain(multiplier=constant(-9, 10), shift=int(rng.integers(0, 3))))
    offset = maybe(0.2, lambda: Offset(value=constant(-scale // 8, scale // 8 + 1)))
    clamp = maybe(0.2, lambda: Clamp(low=-scale if rng.random() < 0.7 else None, high=scale))
    front: dict[str, Any] = {"synapse": synapse, "membrane": maybe(0.8, decay), "fraction_bits": fraction_bits,
                             "gain": gain, "offset": offset, "clamp": clamp}
    if rng.random() < 0.08:
        return Integrator(**front)
    delayed = bool(rng.random() < 0.2)
    simple = ["zero", "subtract"] if delayed else ["zero", "zero", "subtract", "none", "subtract_again"]
    reset: Any = str(rng.choice(simple))
    if not delayed and rng.random() < 0.3:
        reset = (ResetTo(value=constant(-scale // 4, scale // 4 + 1)) if rng.random() < 0.5
                 else Trace(decay=decay(), amount=constant(0, scale)))
    return Neuron(
        **front, threshold=rng.integers(0, max(2, scale // 2), neurons if rng.random() < 0.5 else 1),
        compare=">" if rng.random() < 0.5 else ">=", reset=reset, reset_delay=int(delayed),
        refractory_steps=int(rng.integers(1, 4)) if rng.random() < 0.25 and reset != "subtract_again" else 0,
        once=bool(rng.random() < 0.15),
        adaptation=maybe(0.25, lambda: Adaptation(decay=decay(), amount=constant(-scale // 8, scale // 4 + 1))))


def _random_connection(rng: Rng, inputs: int, outputs: int, bits: int) -> Connection:
    low, high = weight_range(bits)

    def weights(*shape: int) -> npt.NDArray[Any]:
        return (rng.choice([-1, 1], shape) if bits == 1 else
                np.clip(np.round(rng.normal(high / 8, high / 2 + 0.5, shape)), low, high).astype(int))

    bias = rng.integers(-high - 1, high + 2, outputs) if rng.random() < 0.3 else None
    kind = rng.random()
    if inputs == outputs and kind < 0.3:
        return OneToOne(size=inputs, weight=weights(inputs if rng.random() < 0.5 else 1), weight_bits=bits, bias=bias)
    if inputs == outputs > 1 and kind < 0.5:
        return Lateral(size=inputs, weight=int(rng.choice([-1, 1])), weight_bits=bits)
    if kind < 0.7:
        return Dense(weight=weights(outputs, inputs), weight_bits=bits, bias=bias)
    chosen = np.flatnonzero(rng.random(inputs * outputs) < 0.4)
    chosen = chosen if len(chosen) else np.array([0])
    return Sparse(inputs=inputs, outputs=outputs, source=chosen % inputs, target=chosen // inputs,
                  weight=weights(len(chosen)), weight_bits=bits, bias=bias)


def random_graph(rng: Rng) -> Network:
    """Populations of all types with projections between them: skips, loops, delays, several from one to another."""
    count, steps = int(rng.integers(1, 5)), int(rng.choice([1, 2, 4, 6]))
    static = bool(rng.random() < 0.3)
    sizes = [int(rng.integers(1, 12)) for _ in range(count + 1)]
    names = [INPUT, *(f"p{k}" for k in rng.permutation(count))]
    pairs: list[tuple[int, int, int]] = []
    for target in range(1, count + 1):
        # A layer takes the static input or spikes.
        from_input = target == 1 or rng.random() < 0.3
        if static and from_input:
            pairs.append((0, target, 0))
            continue
        sources = [0] if from_input else [int(rng.integers(1, target))]
        sources += [int(rng.integers(1 if static else 0, target)) for _ in range(rng.integers(0, 3)) if target > 1]
        pairs += [(source, target, int(rng.random() < 0.3)) for source in sources]
        if rng.random() < 0.4:
            pairs.append((int(rng.integers(target, count + 1)), target, 1))
    for source in range(1, count):
        if not any(a == source and b > a for a, b, _ in pairs):
            targets = [t for t in range(source + 1, count + 1) if not static or (0, t, 0) not in pairs]
            if not targets:
                return random_graph(rng)
            pairs.append((source, int(rng.choice(targets)), int(rng.random() < 0.3)))
    bits = int(rng.choice([1, 2, 3, 4, 8]))
    projections = [Projection(source=names[a], target=names[b], delay=delay,
                              connection=_random_connection(rng, sizes[a], sizes[b], bits)) for a, b, delay in pairs]
    reach = max(1, (1 << max(0, bits - 1)) * 3) * (8 if static else 1)
    fraction_bits = int(rng.integers(0, 4))
    populations = [Population(name=names[k], shape=(sizes[k],),
                              neuron=random_neuron(rng, reach, fraction_bits, sizes[k])) for k in range(1, count + 1)]
    network = Network(name="graph", steps=steps, readout=_random_readout(rng, steps),
                      input=StaticInput(shape=(sizes[0],), bits=4) if static else _random_spikes(rng, (sizes[0],)),
                      populations=tuple(populations[int(k)] for k in rng.permutation(count)), output=names[count],
                      projections=tuple(projections[int(k)] for k in rng.permutation(len(projections))))
    if rng.random() < 0.15 and network.readout.kind in ("count", "raster", "last_potential"):
        with suppress(SpikeloomError):  # a register may grow without end
            endless = replace(network, state="keep")
            for index in range(len(endless.layers)):
                layer_bounds(endless, index)
            network = endless
    if rng.random() < 0.3:
        with suppress(SpikeloomError):  # not of every input and readout
            network = replace(network, length="marked")
    if network.late_layers and network.readout.early_exit:
        network = replace(network, readout=replace(network.readout, early_exit=False))
    paced = all(any(s.index <= k for s in layer.sources) for k, layer in enumerate(network.layers))
    return network if paced else random_graph(rng)


def _random_readout(rng: Rng, steps: int) -> Readout:
    ties = "membrane" if rng.random() < 0.4 else "lowest_index"
    return [Readout.count(ties=ties), Readout.psc_sum(steps, Shift(1), ties=ties), Readout(kind="last_potential"),
            Readout(kind="max_potential"), Readout(kind="raster"),
            Readout(kind="first_spike", ties=ties, early_exit=bool(rng.random() < 0.6))][rng.integers(6)]


def _random_spikes(rng: Rng, shape: Shape) -> Input:
    kind, bits = rng.random(), int(rng.integers(1, 4))
    if kind < 0.5:
        return SpikeInput(shape=shape)
    if kind < 0.75:
        return LatencyInput(shape=shape, bits=bits, silent_zero=bool(rng.random() < 0.5))
    most = 65535 // ((1 << bits) - 1)
    return BernoulliInput(shape=shape, bits=bits, rate=int(rng.integers(most // 3, most + 1)),
                          seed=int(rng.integers(1 << 32)))


def random_map_graph(rng: Rng) -> Network:
    """Maps with residual and recurrent connections, read by a dense population."""
    steps = int(rng.choice([1, 2, 4]))
    channels, high, wide = (int(rng.integers(1, 4)), int(rng.integers(3, 7)), int(rng.integers(3, 7)))
    bits = int(rng.choice([1, 2, 4, 8]))

    def convolution(shape: Shape, outputs: int, size: int) -> Conv2d:
        geometry = ConvGeometry(input_shape=as_map(shape), channels=outputs, kernel=(size, size), padding=size // 2)
        low, top = weight_range(bits)
        weight = (rng.choice([-1, 1], geometry.weight_shape) if bits == 1
                  else rng.integers(low, top + 1, geometry.weight_shape))
        bias = rng.integers(-2, 3, outputs if rng.random() < 0.5 else geometry.output_shape)
        return Conv2d(geometry=geometry, weight=weight, weight_bits=bits, bias=bias if rng.random() < 0.4 else None)

    width = int(rng.integers(1, 5))
    inner, first = (width, high, wide), (channels, high, wide)
    projections = [Projection(source=INPUT, target="a", connection=convolution(first, width, 3)),
                   Projection(source="a", target="b", connection=convolution(inner, width, int(rng.choice([1, 3]))))]
    if rng.random() < 0.6:
        projections.append(Projection(source="a", target="b", delay=int(rng.random() < 0.4), connection=(
            OneToOne(size=width * high * wide, weight=np.array([1]), weight_bits=bits) if rng.random() < 0.5
            else convolution(inner, width, int(rng.choice([1, 3]))))))
    if rng.random() < 0.5:
        projections.append(Projection(source=INPUT, target="b", connection=convolution(first, width, 1)))
    if rng.random() < 0.4:
        projections.append(Projection(source=str(rng.choice(["a", "b"])), target="a", delay=1,
                                      connection=convolution(inner, width, int(rng.choice([1, 3])))))
    outputs = int(rng.integers(1, 5))
    pool = Pool("sum" if rng.random() < 0.5 else "or", 2) if high % 2 == wide % 2 == 0 and rng.random() < 0.7 else None
    size = width * high * wide // (1 if pool is None else 4)
    projections.append(Projection(source="b", target="out", pool=pool,
                                  connection=_random_connection(rng, size, outputs, bits)))
    if rng.random() < 0.4:
        projections.append(Projection(source="a", target="out", pool=pool,
                                      connection=_random_connection(rng, size, outputs, bits)))
    if rng.random() < 0.3:
        projections.append(Projection(source="out", target="out", delay=1,
                                      connection=_random_connection(rng, outputs, outputs, bits)))
    reach = max(1, (1 << max(0, bits - 1)) * 4)
    return Network(
        name="maps", steps=steps, input=_random_spikes(rng, first), readout=Readout.count(), output="out",
        populations=(Population(name="a", shape=inner, neuron=random_neuron(rng, reach, 1, width)),
                     Population(name="b", shape=inner, neuron=random_neuron(rng, reach, 1, width)),
                     Population(name="out", shape=(outputs,), neuron=random_neuron(rng, reach, 1, outputs))),
        projections=tuple(projections))


def marked(maker: Callable[[Rng], Network], keep: bool) -> Callable[[Rng], Network]:
    """Graphs whose runs' ends are marked."""
    def make(rng: Rng) -> Network:
        while True:
            with suppress(SpikeloomError):
                network = replace(maker(rng), length="marked", state="keep" if keep else "clear")
                for index in range(len(network.layers)):
                    layer_bounds(network, index)
                return network
    return make


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


def random_fold(rng: Rng, network: Network, *, weight_sets: int = 0) -> Fold:
    """Any fold that suits the network, with so many sets of weights."""
    channels = as_map(network.input.shape)[0] if network.reads_map else network.input.size
    per_beat = int(rng.choice([n for n in range(1, min(8, channels) + 1)
                               if not network.reads_map or channels % n == 0]))
    layers = []
    for layer in network.layers:
        lanes = int(rng.integers(1, layer.shape[0] + 1))
        units = int(rng.integers(1, lanes + 1))
        if len(layer.shape) == 3:
            tile = int(rng.choice([n for n in range(1, 4) if layer.shape[2] % n == 0]))
            if tile > 1:
                lanes = tile * layer.shape[0]
                units = int(rng.choice([n for n in range(1, layer.shape[0] + 1) if layer.shape[0] % n == 0]))
        outer = "events" if not isinstance(layer.connection, Conv2d) and rng.random() < 0.4 else "groups"
        layers.append(LayerFold(lanes=lanes, neuron_units=units, pipelined=bool(rng.random() < 0.6), outer=outer))
    units_of = [per_beat, *(lf.neuron_units for lf in layers)]
    for index, layer in enumerate(network.layers):
        items = max(units_of[source.index] for source in layer.sources)
        inputs = layer.connection.inputs
        banks = [b for b in range(1, min(8, inputs) + 1)
                 if items % b == 0 or (b % items == 0 and layer.sum_pool is None)]
        if isinstance(layer.connection, Conv2d):
            banks = [b for b in (1, 2, 4) if b <= inputs]
        layers[index] = replace(layers[index], inputs_per_cycle=int(rng.choice(banks)))
        most = layers[index].lanes * (layers[index].inputs_per_cycle // 2)
        bits = layer.connection.weight_bits
        if layer.static and bits > 1 and pair_bits(bits, network.planes(index)):
            layers[index] = replace(layers[index], multipliers=int(rng.integers(0, most + 1)))
    by_step = network.readout.early_exit and network.readout.ties == "membrane"
    windows = [w for w in range(1, network.steps + 1) if network.steps % w == 0]
    windows = [1] if network.recurrent or network.marked or by_step else windows
    fold = Fold(layers=tuple(layers), input_per_beat=per_beat, window_steps=int(rng.choice(windows)),
                weight_sets=weight_sets)
    fold = spiking_updates(network, fold) if rng.random() < 0.5 else fold
    return sparse_rows(network, fold) if rng.random() < 0.5 and not weight_sets else fold


def sparse_rows(network: Network, fold: Fold) -> Fold:
    """The fold with sparse rows, wherever that can be."""
    return replace(fold, layers=tuple(
        replace(lf, sparse=True, inputs_per_cycle=1, multipliers=0)
        if lf.outer == "events" and lf.lanes < layer.outputs and layer.connection.weight_bits > 1 else lf
        for layer, lf in zip(network.layers, fold.layers, strict=True)))


def spiking_updates(network: Network, fold: Fold) -> Fold:
    """The fold with units for those neurons only that spike, wherever that can be."""
    for index, layer in enumerate(fold.layers):
        only = replace(fold, layers=(*fold.layers[:index], replace(layer, updates="spiking"), *fold.layers[index + 1:]))
        try:
            check_fold(network, only)
            spiking_limits(network, index)
        except SpikeloomError:
            continue
        fold = only
    return fold


def make_external(rng: Rng, network: Network, fold: Fold) -> Fold:
    """The fold with the weights of some layers in external memory, or those of some of their lanes."""
    if network.readout.kind == "raster" or network.readout.early_exit or network.marked:
        return fold
    def moved(layer: LayerFold) -> LayerFold:
        bus_beats = int(rng.integers(1, 1 - (-layer.lanes // layer.neuron_units)))
        on_chip = 0 if fold.weight_sets else max(0, layer.lanes - bus_beats * layer.neuron_units)
        return replace(outside(layer, int(rng.choice([32, 64]))), prefetch_rows=int(rng.integers(2, 9)),
                       on_chip_lanes=on_chip)

    return replace(fold, layers=tuple(moved(layer) if rng.random() < 0.6 else layer for layer in fold.layers))


def random_samples(rng: Rng, network: Network, count: int) -> npt.NDArray[np.uint8]:
    """Samples with about half of the input silent."""
    if network.takes_values:
        images = rng.integers(0, 256, (count, *network.input.shape), dtype=np.uint8)
        return np.where(rng.random(images.shape) < 0.5, images, np.uint8(0))
    spikes = (rng.random((count, network.steps, *network.input.shape)) < 0.3).astype(np.uint8)
    if network.marked:
        return of_lengths([run[:rng.integers(1, network.steps + 1)] for run in spikes], network.steps)
    return spikes


def input_beats(plan: Plan, samples: npt.NDArray[np.uint8]) -> list[int]:
    """The input stream's payloads."""
    encoded, lengths = checked_samples(plan.network, samples), run_lengths(plan.network, samples)
    window, bits = plan.window_steps, plan.input_bits
    payloads = []
    for sample, length in zip(encoded, lengths, strict=True):
        for v in range(length if plan.network.marked else plan.input_windows):
            masks = sample if plan.network.takes_values else (
                sample[v * window:(v + 1) * window].astype(int) << np.arange(window)[:, None]).sum(axis=0)
            for beat in plan.channels[0].index:
                payloads.append(sum(int(masks[c]) << (i * bits) for i, c in enumerate(beat) if c >= 0))
        if plan.network.marked:
            payloads[-1] |= 1 << plan.channels[0].units * bits
    return payloads


def spikes_of(plan: Plan, layer: int, runs: list[list[int]]) -> npt.NDArray[np.int8]:
    """Spike trains (N, T, neurons) from a layer's beats in each run, -1 where none came; padding must be silent."""
    channels, window = plan.channels[layer + 1], plan.window_steps
    spikes = np.full((len(runs), plan.network.steps, channels.size), -1, np.int8)
    for n, payloads in enumerate(runs):
        for number, payload in enumerate(payloads):
            v, beat = divmod(number, channels.beats)
            for item, channel in enumerate(channels.index[beat]):
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
    content = plan.table_bytes()[table.layer]
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
                 isolated: bool = True) -> tuple[list[int], list[npt.NDArray[np.int8]], list[int], list[int]]:
    """Run in Amaranth's simulator: classes, spikes of every layer, latencies, and cycles of the results."""
    dut: Any = plan.accelerator()
    payloads = input_beats(plan, samples)
    count, exits = len(samples), plan.network.breaks_off
    windows = run_lengths(plan.network, samples) // plan.window_steps
    sizes = ((windows if not plan.network.takes_values else np.ones(count, np.int64)) * plan.channels[0].beats).tolist()
    result_beats = [1] * count
    if plan.readout is None:
        result_beats = (windows * plan.channels[plan.network.output_index + 1].beats).tolist()
    sent, received, seen = run_streams(
        dut, payloads, sum(result_beats), gap=gap, stall=stall, seed=seed, background=[
            _memory(dut, plan, table) for table in plan.tables], limit_cycles=500_000,
        wait_between=sizes if isolated else (), per_result=result_beats, marks=dut.flush if exits else None,
        watch={layer.config.synapse.name: layer.o for layer in dut.layers})
    received = [received[end - 1] for end in np.cumsum(result_beats)]
    spikes = []
    for k, layer in enumerate(plan.network.layers):
        beats = seen[layer.name]
        if exits:
            ends = [-1, *(cycle for cycle, _ in seen["marks"])]
            runs = [[payload for cycle, payload in beats if ends[n] < cycle <= ends[n + 1]] for n in range(count)]
        else:
            edges = [0, *np.cumsum(windows * plan.channels[k + 1].beats)]
            runs = [[payload for _, payload in beats[a:b]] for a, b in pairwise(edges)]
        spikes.append(spikes_of(plan, k, runs))
    firsts = [0, *np.cumsum(sizes)]
    latency = [cycle - sent[firsts[n]] for n, (cycle, _) in enumerate(received)]
    return ([0 if plan.readout is None else value for _, value in received], spikes, latency,
            [cycle - sent[0] for cycle, _ in received])


def relative(rng: Rng, network: Network) -> Network:
    """A network of the same shape: its weights, biases and constants change places, signs of weights too."""
    def connection(old: Any) -> Any:
        weight = rng.permutation(old.weight.ravel()).reshape(old.weight.shape)
        low, high = (-1, 1) if old.weight_bits == 1 else weight_range(old.weight_bits)
        weight = np.clip(weight * rng.choice([-1, 1], weight.shape), low, high)
        bias = None if old.bias is None else rng.permutation(old.bias.ravel()).reshape(old.bias.shape)
        return replace(old, weight=weight, bias=bias)

    def neuron(old: NeuronType) -> NeuronType:
        numbers = {name: rng.permutation(values) for name, values in old.arrays.items()}
        if "threshold" in numbers:
            numbers["threshold"] = np.maximum(numbers["threshold"] // 2, rng.integers(0, 2, numbers["threshold"].shape))
        new = old.with_numbers(numbers)  # type: ignore[arg-type]
        new.__dict__.pop("program", None)
        return new

    return replace(network, name=f"{network.name}_relative",
                   populations=tuple(replace(p, neuron=neuron(p.neuron)) for p in network.populations),
                   projections=tuple(replace(p, connection=connection(p.connection)) for p in network.projections))
