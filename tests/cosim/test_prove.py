"""What `sim` does by default finds what shows only between samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.networks import make_external, random_conv_network, random_fold, random_network, random_samples
from support.stub_build import seal

from spikeloom.cosim.prove import RESETS, _between_odd_ones, prove
from spikeloom.cosim.runner import SimulationError
from spikeloom.cosim.simulate import simulate
from spikeloom.gen.build import build
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import make_plan
from spikeloom.model import golden


def test_a_right_build(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    network = random_network(rng)
    build(make_plan(network, random_fold(rng, network)), tmp_path / "b")
    samples = random_samples(rng, network, 12)
    proof = prove(tmp_path / "b", samples, golden.run(network, samples).classes)
    assert proof.ok
    assert (proof.isolated.samples, proof.odd.samples, proof.rough.samples, proof.rough.resets) == (12, 32, 32, RESETS)
    assert (proof.isolated.accuracy, proof.isolated.cycles_mispredicted, proof.odd.cycles_mispredicted) == (1.0, 0, 0)
    assert proof.to_json()["rough_pass"]["resets"] == RESETS


def test_full_samples_are_left_out_where_they_take_long() -> None:
    sample = np.full((1, 4, 4), 9, np.uint8)
    many = np.repeat(sample, 12, axis=0)
    assert (_between_odd_ones(many, np.random.default_rng(0), True) == 255).all(axis=(1, 2)).any()
    assert not (_between_odd_ones(many, np.random.default_rng(0), False) == 255).any()
    spikes = np.zeros((2, 3, 4), np.uint8)
    assert _between_odd_ones(spikes, np.random.default_rng(0), True).max() == 1


def test_what_shows_only_when_all_queues_are_full(tmp_path: Path) -> None:
    """A neuron array that counts no beats inside itself takes more than its queue holds when nobody takes any out."""
    rng = np.random.default_rng(6)
    network = random_network(rng, sizes=(12, 24, 10), static=False, steps=4)
    build(make_plan(network, Fold(layers=(LayerFold(lanes=24), LayerFold(lanes=1)))), tmp_path / "b")
    samples = random_samples(rng, network, 20)
    verilog = tmp_path / "b" / "snn_top.v"
    before, module, after = verilog.read_text().partition("module snn_top_layer0_neurons ")
    body, end, rest = after.partition("endmodule")
    assert "inside_q <= " in body
    verilog.write_text(before + module + body.replace("inside_q <= ", "inside_q <= inside_q; // ") + end + rest)
    seal(tmp_path / "b")
    assert simulate(tmp_path / "b", samples).ok
    try:
        found = not prove(tmp_path / "b", samples).ok
    except SimulationError:
        found = True
    assert found


@pytest.mark.parametrize("seed", [104, 109])
def test_right_builds_with_external_weights(tmp_path: Path, seed: int) -> None:
    """Which samples a row's error marks is foretold for layers behind others, of any lanes and units, too."""
    rng = np.random.default_rng(seed)
    network = random_conv_network(rng) if seed % 2 else random_network(rng)
    fold = make_external(rng, network, random_fold(rng, network))
    while not make_plan(network, fold).tables:
        fold = make_external(rng, network, random_fold(rng, network))
    build(make_plan(network, fold), tmp_path / "b")
    assert prove(tmp_path / "b", random_samples(rng, network, 12)).ok


def test_external_weights(tmp_path: Path) -> None:
    """A memory's error marks the inferences whose rows it spoils, and no others."""
    rng = np.random.default_rng(7)
    network = random_network(rng, sizes=(14, 10, 4), static=False, steps=3)
    fold = Fold(layers=(LayerFold(lanes=5, external_bus_bits=32), LayerFold(lanes=4)))
    build(make_plan(network, fold), tmp_path / "b")
    samples = random_samples(rng, network, 10)
    assert prove(tmp_path / "b", samples).ok
    verilog = tmp_path / "b" / "snn_top.v"
    text = verilog.read_text()
    assert "rresp" in text
    verilog.write_text(text.replace("axi__rresp != 2'd0", "axi__rresp == 2'd3"))
    seal(tmp_path / "b")
    assert verilog.read_text() != text
    assert prove(tmp_path / "b", samples).wrongly_marked
