"""The whole network in Amaranth's simulator against the golden and the cycle model: random networks, random folds."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.networks import (
    MEMORY,
    hardware_run,
    make_external,
    marked,
    random_conv_network,
    random_fold,
    random_graph,
    random_map_graph,
    random_network,
    random_samples,
)

from spikeloom.gen.cycles import count_cycles, count_stream_cycles
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import make_plan
from spikeloom.model import golden
from spikeloom.model.network import Network, Readout
from spikeloom.model.numerics import Shift

SAMPLES = 3
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a seed does not get simpler by shrinking
EACH = 100  # networks at length, in parts that the processes of a test run share


def check(seed: int, maker: Callable[[np.random.Generator], Network] = random_network, external: bool = False,
          **options: object) -> None:
    rng = np.random.default_rng(seed)
    network = maker(rng)
    fold = random_fold(rng, network)
    if external:
        fold = make_external(rng, network, fold)
    plan = make_plan(network, fold)
    samples = random_samples(rng, network, SAMPLES)
    want = golden.run(network, samples)
    classes, spikes, latency, finished = hardware_run(plan, samples, seed=seed, **options)  # type: ignore[arg-type]
    for layer, got, expected in zip(network.layers, spikes, want.spikes, strict=True):
        window = np.arange(network.steps) // plan.window_steps
        needed = window <= want.last_steps[:, None] // plan.window_steps
        wrong = np.where(got >= 0, got != expected, needed[:, :, None])
        assert not wrong.any(), f"layer {layer.name}, seed {seed}"
    assert classes == want.classes.tolist(), f"seed {seed}"
    if not options:
        assert latency == count_cycles(plan, samples, MEMORY).latency.tolist(), f"seed {seed}"
    if options == {"isolated": False}:
        assert finished == count_stream_cycles(plan, samples, MEMORY).tolist(), f"seed {seed}"


@settings(max_examples=40, deadline=None, derandomize=True, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**9))
def test_spikes_classes_and_cycles(seed: int) -> None:
    check(seed)


@settings(max_examples=25, deadline=None, derandomize=True, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**9))
def test_convolutions(seed: int) -> None:
    check(seed, random_conv_network)


@settings(max_examples=30, deadline=None, derandomize=True, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**9))
def test_graphs(seed: int) -> None:
    check(seed, random_graph)


@settings(max_examples=12, deadline=None, derandomize=True, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**9))
def test_graphs_of_maps(seed: int) -> None:
    check(seed, random_map_graph)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("maker", [random_network, random_conv_network, random_graph, random_map_graph])
def test_at_length(maker: Callable[[np.random.Generator], Network], part: int) -> None:
    """2,000 networks, others in each run."""
    first = secrets.randbelow(10**9)
    print(f"seeds from {first}")
    for seed in range(first, first + EACH):
        check(seed, maker)


@pytest.mark.parametrize("options", [{}, {"isolated": False}, {"isolated": False, "gap": 0.3, "stall": 0.5}])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("maker", [random_graph, random_map_graph])
def test_marked_runs(maker: Callable[[np.random.Generator], Network], keep: bool, options: dict[str, Any]) -> None:
    for seed in range(4):
        check(seed, marked(maker, keep), **options)


@pytest.mark.parametrize("maker", [random_graph, random_map_graph])
@pytest.mark.parametrize("seed", range(6))
def test_graphs_in_any_weather(seed: int, maker: Callable[[np.random.Generator], Network]) -> None:
    check(seed, maker, gap=0.3, stall=0.5, isolated=False)


@pytest.mark.parametrize("maker", [random_graph, random_map_graph])
@pytest.mark.parametrize("seed", range(8))
def test_graphs_back_to_back(seed: int, maker: Callable[[np.random.Generator], Network]) -> None:
    check(seed, maker, external=seed % 2 == 1, isolated=False)


@pytest.mark.parametrize("maker", [random_network, random_conv_network])
@pytest.mark.parametrize("seed", range(6))
def test_external_weights(seed: int, maker: Callable[[np.random.Generator], Network]) -> None:
    check(seed, maker, external=True)


@pytest.mark.parametrize("seed", range(4))
def test_external_weights_under_any_weather(seed: int) -> None:
    check(seed, random_conv_network, external=True, gap=0.3, stall=0.5, isolated=False)


@pytest.mark.parametrize(("gap", "stall"), [(0.5, 0.0), (0.0, 0.7), (0.4, 0.4)])
@pytest.mark.parametrize("seed", range(4))
def test_stalls_change_no_convolution(seed: int, gap: float, stall: float) -> None:
    check(seed, random_conv_network, gap=gap, stall=stall, isolated=False)


@pytest.mark.parametrize("seed", range(6))
def test_convolutions_back_to_back(seed: int) -> None:
    check(seed, random_conv_network, isolated=False)


@pytest.mark.parametrize(("gap", "stall"), [(0.5, 0.0), (0.0, 0.7), (0.4, 0.4)])
@pytest.mark.parametrize("seed", range(4))
def test_stalls_change_no_result(seed: int, gap: float, stall: float) -> None:
    check(seed, gap=gap, stall=stall, isolated=False)


@pytest.mark.parametrize("seed", range(20))
def test_back_to_back(seed: int) -> None:
    check(seed, isolated=False)


@pytest.mark.parametrize(("static", "window"), [(True, None), (False, None), (False, 2), (False, 1)])
@pytest.mark.parametrize(("lanes", "units", "pipelined"), [(1, 1, False), (4, 3, True), (4, 3, False), (10, 4, True)])
def test_ties_by_membrane(lanes: int, units: int, pipelined: bool, static: bool, window: int | None) -> None:
    """Units, groups, windows and padding; the rule decides what the lowest index would decide otherwise."""
    network = random_network(np.random.default_rng(32), sizes=(9, 12, 10), static=static, steps=4)
    network = replace(network, readout=Readout.psc_sum(4, Shift(1), ties="membrane"))
    fold = Fold(input_per_beat=3, window_steps=window, layers=(
        LayerFold(lanes=6, neuron_units=2), LayerFold(lanes=lanes, neuron_units=units, pipelined=pipelined)))
    plan = make_plan(network, fold)
    samples = random_samples(np.random.default_rng(4), network, 6)
    want = golden.run(network, samples).classes.tolist()
    by_index = golden.run(replace(network, readout=replace(network.readout, ties="lowest_index")), samples)
    assert want != by_index.classes.tolist()
    classes, _, latency, _ = hardware_run(plan, samples)
    assert classes == want
    assert latency == count_cycles(plan, samples).latency.tolist()
    assert hardware_run(plan, samples, gap=0.3, stall=0.5, isolated=False)[0] == want


@pytest.mark.parametrize("inputs_per_cycle", [1, 2, 4])
@pytest.mark.parametrize(("lanes", "units", "pipelined"), [(1, 1, False), (4, 1, True), (16, 4, True), (16, 2, False),
                                                           (64, 16, True), (64, 64, True)])
def test_folds_of_one_network(lanes: int, units: int, pipelined: bool, inputs_per_cycle: int) -> None:
    rng = np.random.default_rng(lanes * 100 + inputs_per_cycle)
    network = random_network(rng, sizes=(40, 64, 10), static=True, steps=5)
    fold = Fold(input_per_beat=4, layers=(
        LayerFold(lanes=lanes, inputs_per_cycle=inputs_per_cycle, neuron_units=units, pipelined=pipelined),
        LayerFold(lanes=min(lanes, 10), neuron_units=1, pipelined=pipelined)))
    plan = make_plan(network, fold)
    samples = random_samples(rng, network, 2)
    want = golden.run(network, samples)
    classes, spikes, latency, _ = hardware_run(plan, samples)
    assert all(np.array_equal(g, w) for g, w in zip(spikes, want.spikes, strict=True))
    assert classes == want.classes.tolist()
    assert latency == count_cycles(plan, samples).latency.tolist()
