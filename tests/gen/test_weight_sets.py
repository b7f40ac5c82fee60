"""Sets of weights: their words are what a build of that network would hold; what does not fit is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.networks import random_conv_network, random_fold, random_network, relative

from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import make_plan
from spikeloom.gen.weight_sets import MAGIC, set_length, set_shape, weight_set
from spikeloom.model.bounds import layer_bounds
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Dense, Network, Readout, StaticInput
from spikeloom.rtl.weight_sets import row_words

FOLD = Fold(layers=(LayerFold(lanes=4), LayerFold(lanes=3)), input_per_beat=4, weight_sets=1)


def network_of(seed: int = 0, sizes: tuple[int, ...] = (12, 9, 5), steps: int = 4) -> Network:
    network = random_network(np.random.default_rng(seed), sizes=sizes, static=True, steps=steps)
    return replace(network, readout=Readout.count())


def with_connection(network: Network, layer: int, **changes: Any) -> Network:
    """Other weights or biases in a layer."""
    projections = list(network.projections)
    projections[layer] = replace(projections[layer], connection=replace(projections[layer].connection, **changes))
    return replace(network, projections=tuple(projections))


@pytest.mark.parametrize("maker", [random_network, random_conv_network])
@pytest.mark.parametrize("seed", range(6))
def test_words_are_the_memories(maker: Any, seed: int) -> None:
    """Read back by the order and the sizes that the layers name, they are what the other plan's memories hold."""
    rng = np.random.default_rng(seed)
    network = maker(rng)
    plan = make_plan(network, replace(random_fold(rng, network, weight_sets=1), headroom_bits=3))
    other = relative(rng, network)
    loaded = weight_set(plan, other)
    assert len(loaded.words) == set_length(plan)
    own = make_plan(other, plan.fold, widths_of=network)
    words = iter(loaded.words)
    for index, layer in enumerate(plan.layers):
        rows = [[sum(next(words) << 32 * k for k in range(row_words(bits))) for _ in range(count)]
                for count, bits in layer.loaded]
        joined: dict[int, list[int]] = {}
        low: dict[int, int] = {}
        for (bank, block), part in zip(layer.synapse.memories, rows, strict=False):
            here = low.get(bank, 0)
            joined[bank] = [a | b << here for a, b in zip(joined.get(bank, [0] * len(part)), part, strict=True)]
            low[bank] = here + len(layer.synapse.blocks[block]) * layer.synapse.weight_bits
        assert list(joined.values()) == own.weights(index)
        assert rows[-1] == own.constants(index)
    assert next(words, None) is None
    assert loaded.to_bytes()[:8] == MAGIC + set_shape(plan).to_bytes(4, "little")
    assert loaded.to_bytes()[8:24] == b"".join(
        bytes.fromhex(other.hash[8 * k:8 * k + 8])[::-1] for k in range(4))
    assert len(loaded.to_bytes()) == 24 + 4 * len(loaded.words)


def test_the_shape_tells_networks_and_folds_apart() -> None:
    network = network_of()
    shapes = [set_shape(make_plan(net, fold)) for net in (network, relative(np.random.default_rng(1), network))
              for fold in (FOLD, replace(FOLD, layers=(LayerFold(lanes=3), LayerFold(lanes=3))))]
    assert len(set(shapes)) == 4


def test_bounds_with_headroom_hold_every_network_that_is_taken() -> None:
    """Random weights at the limit of what is taken stay in the widths; a bit more is refused."""
    network = network_of(3)
    plan = make_plan(network, replace(FOLD, headroom_bits=1))
    for seed in range(20):
        other = relative(np.random.default_rng(seed), network)
        weight_set(plan, other)
        for index in range(2):
            room, own = plan.bounds(index), layer_bounds(other, index)
            for what in ("accumulator", "drive"):
                low, high = getattr(room, what)
                assert low <= getattr(own, what)[0] <= getattr(own, what)[1] <= high
            for name, bits in own.register_bits.items():
                assert bits <= room.register_bits[name]


def test_every_network_fits_with_enough_headroom() -> None:
    network = network_of(5)
    plan = make_plan(network, replace(FOLD, headroom_bits=16))
    bits = network.layers[0].connection.weight_bits
    largest = np.full((9, 12), 1 if bits == 1 else (1 << bits - 1) - 1)
    for weight in (largest, -largest):
        weight_set(plan, with_connection(network, 0, weight=weight))


def refused(plan: Any, network: Network, *patterns: str) -> None:
    with pytest.raises(SpikeloomError) as error:
        weight_set(plan, network)
    for pattern in patterns:
        assert pattern in str(error.value)


def test_what_does_not_fit() -> None:
    network = network_of(5)
    plan = make_plan(network, FOLD)
    refused(make_plan(network, replace(FOLD, weight_sets=0)), network, "weight_sets is 0")
    refused(plan, network_of(5, sizes=(12, 8, 5)), "topology must be 12-9-5", "not 12-8-5")
    refused(plan, network_of(5, steps=3), "steps must be 4", "not 3")
    refused(plan, replace(network, readout=Readout(kind="raster")), "readout must be")
    refused(plan, replace(network, input=StaticInput(shape=(12,), bits=network.input.bits % 8 + 1)), "layer layer0")
    first = network.layers[0].connection
    assert isinstance(first, Dense)
    high = (1 << max(1, first.weight_bits - 1)) - 1
    refused(make_plan(with_connection(network, 0, weight=np.eye(9, 12, dtype=np.int64)), FOLD),
            with_connection(network, 0, weight=np.full((9, 12), high)), "layer layer0", "its weighted sums",
            "headroom_bits 1")
    refused(plan, with_connection(network, 0, bias=np.full(9, 1 << 14)), "layer layer0: constant bias", "16,384")
    few = with_connection(network, 1, weight=np.eye(5, 9, dtype=np.int64), weight_bits=4)
    refused(make_plan(few, FOLD), with_connection(few, 1, weight_bits=8), "layer layer1: its synapses: weight_bits",
            "4, not 8")


@pytest.mark.parametrize(("field", "value"), [("weight_sets", 3), ("weight_sets", -1), ("headroom_bits", 17)])
def test_folds_say_what_is_allowed(field: str, value: int) -> None:
    with pytest.raises(SpikeloomError, match=f"{field} must be in 0.."):
        make_plan(network_of(), replace(FOLD, **{field: value}))
