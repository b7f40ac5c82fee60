"""One network in many folds: golden = Verilog, predicted = measured cycles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.networks import random_network, random_samples

from spikeloom.cosim.simulate import simulate
from spikeloom.gen.build import build
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import make_plan
from spikeloom.model.network import Network, Neuron, Readout
from spikeloom.model.numerics import Shift

SIZES = (24, 64, 10)
SAMPLES = 200


def check(network: Network, fold: Fold, folder: Path) -> None:
    build(make_plan(network, fold), folder)
    samples = random_samples(np.random.default_rng(6), network, SAMPLES)
    result = simulate(folder, samples)
    assert (result.first_mismatch, result.mismatches, result.cycles_mispredicted) == (None, 0, 0)
    stream = simulate(folder, samples, mode="stream", input_gap=0.1, output_stall=0.3, seed=5)
    assert (stream.first_mismatch, stream.mismatches) == (None, 0)


def fold_of(lanes: int, units: int, inputs: int, pipelined: bool, window: int | None) -> Fold:
    second = min(lanes, 10)
    return Fold(input_per_beat=4, window_steps=window, layers=(
        LayerFold(lanes=lanes, neuron_units=units, inputs_per_cycle=inputs, pipelined=pipelined),
        LayerFold(lanes=second, neuron_units=1, inputs_per_cycle=units if units <= 4 else 1, pipelined=pipelined)))


@pytest.mark.parametrize(("lanes", "units", "inputs", "pipelined"), [
    pytest.param(lanes, units, inputs, pipelined,
                 marks=[] if (lanes, inputs) in ((4, 2), (64, 4)) else [pytest.mark.slow])
    for lanes, units, pipelined in ((1, 1, False), (4, 2, True), (16, 16, True), (16, 1, False), (64, 8, True))
    for inputs in (1, 2, 4)])
def test_static(lanes: int, units: int, inputs: int, pipelined: bool, tmp_path: Path) -> None:
    network = random_network(np.random.default_rng(21), sizes=SIZES, static=True, steps=5)
    check(network, fold_of(lanes, units, inputs, pipelined, None), tmp_path / "build")


@pytest.mark.parametrize(("window", "lanes", "units", "inputs", "pipelined"), [
    pytest.param(window, lanes, units, inputs, pipelined,
                 marks=[] if (window, lanes) == (2, 16) else [pytest.mark.slow])
    for lanes, units, inputs, pipelined in ((1, 1, 4, False), (16, 4, 2, True), (64, 64, 1, True))
    for window in (1, 2, 4)])
def test_spikes(window: int, lanes: int, units: int, inputs: int, pipelined: bool, tmp_path: Path) -> None:
    network = random_network(np.random.default_rng(22), sizes=SIZES, static=False, steps=4)
    check(network, fold_of(lanes, units, inputs, pipelined, window), tmp_path / "build")


@pytest.mark.parametrize("pipelined", [True, False])
@pytest.mark.parametrize("static", [True, False])
def test_neurons_without_registers_in_windows(pipelined: bool, static: bool, tmp_path: Path) -> None:
    """Nothing is kept between windows: there is no memory of no bits."""
    network = random_network(np.random.default_rng(23), sizes=(12, 9, 5), static=static, steps=4)
    bare = tuple(replace(layer, neuron=Neuron(
        synapse=Shift(0), membrane=Shift(0), fraction_bits=0, reset="zero", compare=">=",
        threshold=np.full(layer.connection.outputs, 5))) for layer in network.layers)
    plain = Network.chain(name="bare", layers=bare, input=network.input, steps=4, readout=Readout.count())
    assert not any(layer.program.registers for layer in plain.layers)
    check(plain, fold_of(4, 2, 2, pipelined, 2), tmp_path / "build")
