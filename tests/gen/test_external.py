"""Which layers leave the chip, on which device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support.networks import random_network

from spikeloom.gen.devices import DEVICES
from spikeloom.gen.external import USABLE, fit_to_device, weight_memory_bits
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import make_plan


def test_the_largest_layers_leave_first() -> None:
    network = random_network(np.random.default_rng(0), sizes=(40, 30, 50, 8), static=True, steps=4)
    fold = Fold(layers=(LayerFold(lanes=8, inputs_per_cycle=2, neuron_units=2), LayerFold(lanes=5), LayerFold()),
                input_per_beat=2)
    sizes = [weight_memory_bits(config) for config in make_plan(network, fold).layers]
    assert sizes == [sum(len(memory) for memory in make_plan(network, fold).weights(k)) * config.synapse.lanes
                     * config.synapse.weight_bits for k, config in enumerate(make_plan(network, fold).layers)]
    order = sorted(range(3), key=lambda k: -sizes[k])
    for leaving in range(4):
        kept = [sizes[k] for k in order[leaving:]]
        blocks = -(-int(sum(kept) / USABLE + 1) // (18 * 1024))
        device = replace(DEVICES["lfe5u-25f"], bram=blocks)
        got = fit_to_device(network, fold, device, bus_bits=32)
        moved = [k for k, layer in enumerate(got.layers) if layer.external_bus_bits is not None]
        assert set(moved) <= set(order[:leaving])
        plan = make_plan(network, got)
        assert sum(weight_memory_bits(config) for config in plan.layers) <= USABLE * blocks * 18 * 1024
        assert {table.layer for table in plan.tables} == {network.layers[k].name for k in moved}


def test_everything_stays_where_there_is_room_or_no_limit() -> None:
    network = random_network(np.random.default_rng(1), sizes=(10, 8, 4))
    fold = Fold(layers=(LayerFold(), LayerFold()))
    for name in ("lfe5u-85f", "xc7"):
        assert fit_to_device(network, fold, DEVICES[name]) == fold
    tiny = replace(DEVICES["ice40-up5k"], bram=0)
    assert all(layer.external_bus_bits == 64 for layer in fit_to_device(network, fold, tiny).layers)
