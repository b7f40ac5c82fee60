"""A reset of one cycle, in whatever it falls: what comes after it is what comes after power-up, cycle for cycle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Value
from support.networks import random_conv_network, random_fold, random_network
from support.stream_bench import run_streams

from spikeloom.gen.plan import Plan, make_plan
from spikeloom.model.network import Network
from spikeloom.rtl.layer import SpikingLayer
from spikeloom.rtl.neuron_array import NeuronArray
from spikeloom.rtl.readout import Readout
from spikeloom.rtl.spiking_neurons import SpikingNeurons


def parts(plan: Plan) -> Iterator[tuple[Any, int, int]]:
    """The components that have streams on both sides; beats in and out of a run."""
    for index, config in enumerate(plan.layers):
        beats = plan.channels[index].beats * (1 if index == 0 and plan.network.static else plan.windows)
        after = plan.channels[index + 1].beats * plan.windows
        yield SpikingLayer(config, plan.weights(index), plan.constants(index), plan.limits(index)), beats, after
        yield (SpikingNeurons(config.neurons, plan.constants(index), plan.limits(index)) if config.neurons.spiking_only
               else NeuronArray(config.neurons, plan.constants(index))), after, after
    yield Readout(plan.readout), after, 1


@pytest.mark.parametrize(("maker", "seed"), [
    *((random_network, seed) for seed in range(5)), *((random_conv_network, seed) for seed in (0, 1, 2, 112))])
def test_reset_leaves_no_trace(maker: Callable[[np.random.Generator], Network], seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = maker(rng)
    plan = make_plan(network, random_fold(rng, network))
    for dut, beats, outputs in parts(plan):
        if isinstance(dut, SpikingLayer):
            dut.i = dut.i0
        bits = len(Value.cast(dut.i.payload))
        # Dense enough that something is under way at any moment.
        stimulus = [int.from_bytes(rng.bytes(-(-bits // 8)), "little") & ((1 << bits) - 1) for _ in range(2 * beats)]
        fresh = run_streams(dut, stimulus, 2 * outputs)
        for reset_at in rng.integers(0, fresh[1][-1][0], 4):
            again = run_streams(dut, stimulus, 2 * outputs, reset_at=int(reset_at))
            assert again == fresh, f"{type(dut).__name__}, seed {seed}, reset in cycle {reset_at}"
