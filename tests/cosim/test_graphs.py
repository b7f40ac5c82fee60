"""Emitted Verilog of graphs: random ones of all kinds, and long runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from support.networks import random_fold, random_graph, random_map_graph, random_samples

from spikeloom.cosim.prove import prove
from spikeloom.cosim.simulate import simulate
from spikeloom.cosim.verilator import lint
from spikeloom.gen.build import build
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import make_plan
from spikeloom.model import golden
from spikeloom.model.connections import Dense
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.inputs import BernoulliInput, Input, SpikeInput, StaticInput
from spikeloom.model.network import Network, Population, Projection, Readout
from spikeloom.model.neurons.types import Integrator, Neuron
from spikeloom.model.numerics import Shift
from spikeloom.model.samples import of_lengths


@pytest.mark.parametrize(("maker", "seed"), [*((random_graph, seed) for seed in range(5)),
                                            *((random_map_graph, seed) for seed in range(2))])
def test_random_graph_and_fold(tmp_path: Path, maker: object, seed: int) -> None:
    rng = np.random.default_rng([seed, 11])
    network = maker(rng)  # type: ignore[operator]
    folder = tmp_path / "build"
    build(make_plan(network, random_fold(rng, network)), folder)
    samples = random_samples(rng, network, 40)
    lint(folder)
    result = simulate(folder, samples)
    assert (result.first_mismatch, result.mismatches, result.cycles_mispredicted) == (None, 0, 0)
    result = simulate(folder, samples, mode="stream", input_gap=0.2, output_stall=0.3,
                      reset_cycles=() if network.endless else (50, 51, 333, 700))
    assert (result.first_mismatch, result.mismatches) == (None, 0)


def recurrent(steps: int, source: Input) -> Network:
    """A loop of 12 neurons between an input and an integrator."""
    rng = np.random.default_rng(5)

    def dense(outputs: int, inputs: int) -> Dense:
        return Dense(weight=rng.integers(-7, 8, (outputs, inputs)), weight_bits=4)

    neuron = Neuron(synapse=Shift(2), membrane=Shift(3), threshold=np.array([60]), fraction_bits=2)
    middle = "first" if isinstance(source, StaticInput) else "loop"
    first = (Projection(source="input", target=middle, connection=dense(12, 6)),)
    if middle == "first":
        first += (Projection(source="first", target="loop", connection=dense(12, 12)),)
    return Network(
        name="loop", input=source, steps=steps, readout=Readout(kind="max_potential"), output="out",
        populations=(*(Population(name=name, shape=(12,), neuron=neuron) for name in {middle, "loop"}),
                     Population(name="out", shape=(4,), neuron=Integrator(membrane=Shift(5)))),
        projections=(*first, Projection(source="loop", target="loop", connection=dense(12, 12), delay=1),
                     Projection(source="loop", target="out", connection=dense(4, 12))))


def test_ten_thousand_steps(tmp_path: Path) -> None:
    network = recurrent(10_000, BernoulliInput(shape=(6,), bits=4, rate=900, seed=3))
    fold = Fold(layers=(LayerFold(lanes=12, neuron_units=4), LayerFold(lanes=4)))
    build(make_plan(network, fold), tmp_path / "build")
    samples = np.random.default_rng(1).integers(0, 256, (2, 6)).astype(np.uint8)
    result = simulate(tmp_path / "build", samples)
    assert (result.first_mismatch, result.mismatches, result.cycles_mispredicted) == (None, 0, 0)


def test_a_stream_in_pieces(tmp_path: Path) -> None:
    """A hundred pieces of a hundred steps, with the state kept, are one run of ten thousand steps."""
    whole = replace(recurrent(10_000, SpikeInput(shape=(6,))), readout=Readout(kind="last_potential"))
    pieces = replace(whole, steps=100, state="keep")
    spikes = (np.random.default_rng(1).random((1, 10_000, 6)) < 0.1).astype(np.uint8)
    samples = spikes.reshape(100, 100, 6)
    want, got = golden.run(whole, spikes), golden.run(pieces, samples)
    for one, many in zip(want.spikes, got.spikes, strict=True):
        assert one.mean() > 0.01 or one.shape[2] == 4  # but for the integrators
        np.testing.assert_array_equal(one[0], many.reshape(10_000, -1))
    np.testing.assert_array_equal(want.potentials[0], got.potentials[-1])
    fold = Fold(layers=(LayerFold(lanes=12, neuron_units=4), LayerFold(lanes=4)))
    build(make_plan(pieces, fold), tmp_path / "build")
    result = simulate(tmp_path / "build", samples)
    assert (result.first_mismatch, result.mismatches, result.cycles_mispredicted) == (None, 0, 0)
    assert prove(tmp_path / "build", samples[:20]).ok
    with pytest.raises(SpikeloomError, match="reset_cycles must not be given for network loop: it keeps its state"):
        simulate(tmp_path / "build", samples, reset_cycles=(100,))


@pytest.mark.parametrize("state", ["clear", "keep"])
@pytest.mark.parametrize("kind", ["last_potential", "raster"])
def test_the_stream_marks_the_last_step(tmp_path: Path, state: Literal["clear", "keep"],
                                        kind: Literal["last_potential", "raster"]) -> None:
    network = replace(recurrent(300, SpikeInput(shape=(6,))), readout=Readout(kind=kind), state=state, length="marked")
    rng = np.random.default_rng(1)
    samples = of_lengths([rng.random((length, 6)) < 0.1 for length in [300, 1, 2, *rng.integers(1, 300, 17)]], 300)
    fold = Fold(layers=(LayerFold(lanes=12, neuron_units=4), LayerFold(lanes=4)))
    build(make_plan(network, fold), tmp_path / "build")
    lint(tmp_path / "build")
    assert prove(tmp_path / "build", samples).ok


def test_a_static_input_lasts_for_many_windows(tmp_path: Path) -> None:
    network = recurrent(500, StaticInput(shape=(6,), bits=4))
    folds = Fold(layers=(LayerFold(lanes=12, neuron_units=4), LayerFold(lanes=12, neuron_units=4), LayerFold(lanes=4)))
    build(make_plan(network, folds), tmp_path / "build")
    text = (tmp_path / "build" / "snn_top.v").read_text()
    assert len(text) < 600_000, "the hardware must not grow with the steps"
    samples = np.random.default_rng(1).integers(0, 256, (6, 6)).astype(np.uint8)
    result = simulate(tmp_path / "build", samples)
    assert (result.first_mismatch, result.mismatches, result.cycles_mispredicted) == (None, 0, 0)
