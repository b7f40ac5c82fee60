"""The plan: where channels lie, and memories that decode back to the network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layers import thresholds
from support.networks import random_fold, random_network

from spikeloom.gen.channels import Channels
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import Plan, make_plan
from spikeloom.model.bounds import layer_bounds
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Dense, Layer, Network, Neuron, Readout, SpikeInput
from spikeloom.model.numerics import Shift
from spikeloom.rtl.neuron import constants_layout
from spikeloom.rtl.spiking_neurons import place_bits


@pytest.mark.parametrize(("size", "lanes", "units", "want"), [
    (5, 5, 1, [[0], [1], [2], [3], [4]]),
    (5, 5, 2, [[0, 1], [2, 3], [4, -1]]),
    (5, 2, 2, [[0, 1], [2, 3], [4, -1]]),
    (7, 3, 2, [[0, 1], [2, -1], [3, 4], [5, -1], [6, -1], [-1, -1]]),
    (1, 1, 1, [[0]]),
])
def test_channels(size: int, lanes: int, units: int, want: list[list[int]]) -> None:
    channels = Channels((size,), lanes, units)
    assert channels.index.tolist() == want
    assert (channels.beats, channels.groups * channels.group_beats) == (len(want), len(want))


def decode_weights(plan: Plan, index: int) -> np.ndarray:
    """The weight matrix out of a layer's memories; what stands for no weight must be 0."""
    config, memories = plan.layers[index].synapse, plan.weights(index)
    queue, bits = config.queue, config.weight_bits
    outputs, inputs = plan.network.layers[index].connection.weight.shape
    weight = np.full((outputs, inputs), 999)
    padding = 0
    assert [len(memory) for memory in memories] == [queue.passes * queue.rows] * queue.banks
    where = {queue.locate(beat, item): int(channel) for beat, row in enumerate(plan.channels[index].index)
             for item, channel in enumerate(row)}
    for bank, memory in enumerate(memories):
        for address, word in enumerate(memory):
            assert 0 <= word < 1 << config.lanes * bits
            group, row = divmod(address, queue.rows)
            channel = where.get((bank, row), -1)
            for lane in range(config.lanes):
                stored = word >> lane * bits & ((1 << bits) - 1)
                neuron = group * config.lanes + lane
                value = 1 - 2 * stored if bits == 1 else stored - (stored >> bits - 1 << bits)
                if config.offset:
                    value = stored - config.offset
                if channel < 0 or neuron >= outputs:
                    padding |= stored if bits == 1 else value
                    continue
                weight[neuron, channel] = value
    assert padding == 0
    return weight


def decode_sparse_weights(plan: Plan, index: int) -> np.ndarray:
    """The same of sparse rows."""
    config = plan.layers[index].sparse
    assert config is not None
    words, places = plan.weights(index)
    outputs, inputs = plan.network.layers[index].connection.weight.shape
    assert (len(words), len(places)) == (config.words, config.rows)
    weight = np.zeros((outputs, inputs), int)
    group_bits = max(1, (config.groups - 1).bit_length())
    for beat, row in enumerate(plan.channels[index].index):
        for item, channel in enumerate(row):
            place = places[plan.layers[index].synapse.queue.locate(beat, item)[1]]
            first = place & ((1 << config.place_layout["first"].width) - 1)
            for word in words[first:first + (place >> config.place_layout["first"].width) + 1]:
                for lane in range(config.lanes):
                    stored = word >> lane * config.weight_bits & ((1 << config.weight_bits) - 1)
                    group = word >> config.lanes * config.weight_bits + lane * group_bits & ((1 << group_bits) - 1)
                    value = stored - (stored >> config.weight_bits - 1 << config.weight_bits)
                    neuron = group * config.lanes + lane
                    if value:
                        assert channel >= 0
                        assert weight[neuron, channel] == 0
                        weight[neuron, channel] = value
    return weight


def decode_constants(plan: Plan, index: int) -> tuple[list[int], list[int]]:
    """Thresholds and biases out of the constants' memory, or those that all neurons share."""
    layer, neuron = plan.network.layers[index], plan.layers[index].neurons.neuron
    channels, words = plan.channels[index + 1], plan.constants(index)
    own = set(neuron.program.parameters)
    limits = [int(thresholds(layer)[0])] * layer.connection.outputs
    biases = [0] * layer.connection.outputs
    if not neuron.has_constants:
        assert words == []
        return limits, biases
    layout = constants_layout(neuron)
    config = plan.layers[index].neurons
    if config.spiking_only:  # a word per neuron
        places = 1 << place_bits(config)
        words = [sum(word << unit * layout.size for unit, word in enumerate(words[first:first + channels.units]))
                 for first in range(0, len(words), places)]
    assert len(words) == channels.beats
    for beat, word in enumerate(words):
        assert 0 <= word < 1 << layout.size * channels.units
        for unit, channel in enumerate(channels.index[beat]):
            view: Any = layout.from_bits(word >> unit * layout.size & ((1 << layout.size) - 1))
            if channel >= 0:
                if "threshold" in own:
                    limits[channel] = view.threshold
                if "bias" in own:
                    biases[channel] = view.bias
            if "exists" in own:
                assert not config.spiking_only
                assert view.exists == (channel >= 0)
    return limits, biases


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9))
def test_memories_decode_to_the_network(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    plan = make_plan(network, random_fold(rng, network))
    for index, layer in enumerate(network.layers):
        decode = decode_weights if plan.layers[index].sparse is None else decode_sparse_weights
        np.testing.assert_array_equal(decode(plan, index), layer.connection.weight)
        assert decode_constants(plan, index) == (thresholds(layer).tolist(), layer.biases.tolist())


def test_shapes(spiking: Network) -> None:
    plan = make_plan(spiking, Fold(layers=(LayerFold(lanes=3, neuron_units=2, inputs_per_cycle=2), LayerFold(lanes=2)),
                                   input_per_beat=4, window_steps=2))
    first, second = plan.layers
    assert (plan.window_steps, plan.windows) == (2, 3)
    assert [(c.size, c.lanes, c.units, c.beats) for c in plan.channels] == [(10, 10, 4, 3), (8, 3, 2, 6), (3, 2, 1, 4)]
    queue = first.synapse.queue
    assert (queue.items, queue.item_bits, queue.beats, queue.banks, queue.passes) == (4, 2, 3, 2, 3)
    queue = second.synapse.queue
    assert (queue.items, queue.item_bits, queue.beats, queue.banks, queue.passes) == (2, 2, 6, 1, 2)
    assert [layer.neurons.neuron.keeps_state for layer in plan.layers] == [True, True]
    weights = spiking.step_weights
    assert plan.readout.step_weights == (weights[:2], weights[2:4], weights[4:])
    assert (plan.readout.classes, plan.readout.lanes, plan.readout.units) == (3, 2, 1)


@pytest.mark.parametrize("window", [2, 6])
@pytest.mark.parametrize("ties", ["lowest_index", "membrane"])
def test_potentials_only_where_the_readout_looks_at_them(spiking: Network, ties: Any, window: int) -> None:
    network = replace(spiking, readout=replace(spiking.readout, ties=ties))
    plan = make_plan(network, Fold(layers=(LayerFold(), LayerFold()), input_per_beat=4, window_steps=window))
    assert [layer.neurons.neuron.gives_potential for layer in plan.layers] == [False, ties == "membrane"]
    bits = layer_bounds(network, 1).potential_bits if ties == "membrane" else 0
    assert (plan.layers[0].neurons.potential_bits, plan.layers[1].neurons.potential_bits) == (0, bits)
    assert plan.readout.membrane_bits == bits


def test_a_static_layer_has_one_sum(network: Network) -> None:
    plan = make_plan(network, Fold(layers=(LayerFold(),) * 3))
    assert [layer.neurons.neuron.sums for layer in plan.layers] == [1, 4, 4]
    assert [layer.neurons.neuron.static for layer in plan.layers] == [True, False, False]


def single(weight_bits: int, threshold: list[int], compare: Any, bias: list[int] | None = None) -> Network:
    layer = Layer(name="a", neuron=Neuron(synapse=Shift(1), membrane=Shift(1), threshold=np.array(threshold),
                                          fraction_bits=0, compare=compare),
                  connection=Dense(weight=np.ones((3, 2), int), weight_bits=weight_bits,
                                   bias=None if bias is None else np.array(bias)))
    return Network.chain(name="n", input=SpikeInput(shape=(2,)), layers=(layer,), steps=1, readout=Readout.count())


@pytest.mark.parametrize(("weight_bits", "threshold", "compare", "lanes", "own"), [
    (4, [5], ">", 2, False), (4, [5, 5, 5], ">", 2, False), (4, [5, 6, 5], ">", 3, True),
    (1, [1], ">", 3, False), (1, [1], ">", 2, True),       # padding adds up weights that cannot be 0
    (1, [2], ">", 2, False),                               # but only two of them
    (4, [0], ">=", 3, False), (4, [0], ">=", 2, True),     # padding would fire at rest
    (4, [0], ">", 2, False), (4, [1], ">=", 2, False),
])
def test_padding_stays_silent(weight_bits: int, threshold: list[int], compare: str, lanes: int, own: bool) -> None:
    plan = make_plan(single(weight_bits, threshold, compare), Fold(layers=(LayerFold(lanes=lanes),)))
    assert plan.layers[0].neurons.neuron.has_constants == own
    assert bool(plan.constants(0)) == own


def test_zero_biases_cost_nothing() -> None:
    assert make_plan(single(4, [5], ">", [0, 0, 0]), Fold(layers=(LayerFold(),))).constants(0) == []
    assert len(make_plan(single(4, [5], ">", [0, 0, 1]), Fold(layers=(LayerFold(),))).constants(0)) == 3


def test_fold_is_checked(network: Network) -> None:
    with pytest.raises(SpikeloomError, match=r"layer layer2: lanes must be in 1\.\.4, not 5"):
        make_plan(network, Fold(layers=(LayerFold(), LayerFold(), LayerFold(lanes=5))))


@pytest.mark.parametrize(("fold", "queued"), [
    (LayerFold(lanes=1, pipelined=False), False), (LayerFold(lanes=4, neuron_units=4, pipelined=False), False),
    (LayerFold(lanes=4, neuron_units=2, pipelined=False), True), (LayerFold(lanes=4, neuron_units=4), True),
    (LayerFold(lanes=8, neuron_units=8), False), (LayerFold(lanes=8, neuron_units=4), True),
])
def test_sums_are_queued_where_the_next_ones_may_catch_up(fold: LayerFold, queued: bool) -> None:
    network = random_network(np.random.default_rng(3), sizes=(4, 8), static=True, steps=2)
    assert make_plan(network, Fold(layers=(fold,))).layers[0].synapse.queued == queued
