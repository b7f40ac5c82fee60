"""Weights in external memory: the emitted Verilog with AXI4 memories of several timings, and a memory that fails."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.networks import make_external, random_conv_network, random_fold, random_network, random_samples
from support.stub_build import seal

from spikeloom.cosim.simulate import simulate
from spikeloom.cosim.verilator import lint
from spikeloom.gen.build import build
from spikeloom.gen.fetch_cycles import MemoryTiming
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.manifest import read_manifest
from spikeloom.gen.plan import make_plan
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Dense, Layer, Network, Neuron, Readout, SpikeInput
from spikeloom.model.numerics import Shift


@pytest.mark.parametrize("names", [("x_", "rom", "end"), ("masked_add", "wire", "logic")])
def test_names_that_others_have(tmp_path: Path, names: tuple[str, ...]) -> None:
    """A module of ours, a word of Verilog, an underscore at the end: every name is used as it is."""
    rng = np.random.default_rng(3)
    plain = random_network(rng, sizes=(12, 20, 9, 4), static=True, steps=4)
    network = Network.chain(name="names", input=plain.input, steps=plain.steps, readout=plain.readout, layers=tuple(
        dataclasses.replace(layer, name=name) for layer, name in zip(plain.layers, names, strict=True)))
    fold = Fold(layers=(LayerFold(lanes=4, external_bus_bits=32), LayerFold(lanes=3), LayerFold(lanes=4)))
    build(make_plan(network, fold), tmp_path / "build", top="lif")
    lint(tmp_path / "build")
    result = simulate(tmp_path / "build", random_samples(rng, network, 20))
    assert (result.first_mismatch, result.mismatches, result.cycles_mispredicted) == (None, 0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_random_networks(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_conv_network(rng) if seed else random_network(rng)
    fold = random_fold(rng, network)
    while not make_plan(network, fold).tables:
        fold = make_external(rng, network, fold)
    build(make_plan(network, fold), tmp_path / "build")
    lint(tmp_path / "build")
    samples = random_samples(rng, network, 30)
    for timing in (MemoryTiming(latency_cycles=1), MemoryTiming(latency_cycles=40, beat_interval_cycles=3)):
        result = simulate(tmp_path / "build", samples, memory=timing)
        assert (result.first_mismatch, result.mismatches, result.cycles_mispredicted) == (None, 0, 0), f"seed {seed}"
        assert not result.invalid.any()
    result = simulate(tmp_path / "build", samples, mode="stream", input_gap=0.2, output_stall=0.3,
                      reset_cycles=(50, 333, 700))
    assert (result.first_mismatch, result.mismatches) == (None, 0), f"seed {seed}"


@pytest.fixture
def network() -> Network:
    """Weight rows that some samples need and others do not."""
    rng = np.random.default_rng(5)
    layers = tuple(
        Layer(name=f"layer{k}", connection=Dense(weight=rng.integers(-8, 8, (b, a)), weight_bits=4),
              neuron=Neuron(synapse=Shift(1), membrane=Shift(2), fraction_bits=0, threshold=np.array([6])))
        for k, (a, b) in enumerate(((8, 6), (6, 4))))
    return Network.chain(name="two", input=SpikeInput(shape=(8,)), layers=layers, steps=4, readout=Readout.count())


def test_a_bus_error_marks_its_inference_and_no_other(tmp_path: Path, network: Network) -> None:
    fold = Fold(layers=(LayerFold(lanes=6, external_bus_bits=32), LayerFold(lanes=4)), input_per_beat=2)
    build(make_plan(network, fold), tmp_path / "build")
    samples = (np.random.default_rng(1).random((40, 4, 8)) < 0.5).astype(np.uint8)
    samples[:, :, 3] = 0
    failing = [20, 21, 39]
    samples[failing, 1, 3] = 1
    table = read_manifest(tmp_path / "build").external[0]
    # Input 3 is item 1 of beat 1: row 3 of the only bank.
    result = simulate(tmp_path / "build", samples, memory_error_address=table.base + 3 * 4)
    assert np.flatnonzero(result.invalid).tolist() == failing
    assert result.cycles_mispredicted == 0
    assert (result.first_mismatch, result.mismatches) == (None, 0)  # this memory answers with the data all the same
    # Back to back those that are under way with them are marked too, but none of them is missed.
    streamed = simulate(tmp_path / "build", samples, memory_error_address=table.base + 3 * 4, mode="stream", jobs=1)
    marked = np.flatnonzero(streamed.invalid).tolist()
    assert set(failing) <= set(marked)
    assert not set(range(10)) & set(marked)


def test_a_memory_without_room(network: Network) -> None:
    fold = Fold(layers=(LayerFold(external_bus_bits=32), LayerFold(external_bus_bits=64)), external_bytes=4096)
    with pytest.raises(SpikeloomError, match=r"layer layer1: its weight table takes \d+ bytes from 4096 on, but "
                                             r"external_bytes is 4096"):
        make_plan(network, fold)


@pytest.mark.parametrize(("fields", "message"), [
    ({"external_bus_bits": 48}, r"layer layer0: external_bus_bits must be one of \(32, 64, 128, 256, 512\), not 48"),
    ({"external_bus_bits": 64, "inputs_per_cycle": 2}, "inputs_per_cycle must be 1 with external weights, not 2"),
    ({"external_bus_bits": 64, "prefetch_rows": 1}, "prefetch_rows must be in 2..4096, not 1"),
])
def test_bad_folds(network: Network, fields: dict[str, int], message: str) -> None:
    with pytest.raises(SpikeloomError, match=message):
        make_plan(network, Fold(layers=(LayerFold(**fields), LayerFold()), input_per_beat=2))


def test_a_short_table(tmp_path: Path, network: Network) -> None:
    fold = Fold(layers=(LayerFold(external_bus_bits=32), LayerFold()))
    build(make_plan(network, fold), tmp_path / "build")
    (tmp_path / "build" / "layer0_table.bin").write_bytes(b"")
    seal(tmp_path / "build")
    with pytest.raises(SpikeloomError, match=r"layer0_table.bin: has 0 bytes, but the manifest says \d+"):
        simulate(tmp_path / "build", np.zeros((1, 4, 8), np.uint8))


@pytest.mark.parametrize(("field", "value", "message"), [
    ("base", 3, "base must be a multiple of row_bytes"),
    ("base", -64, "greater than or equal to 0, not -64"),
    ("base", None, r"external\[0\]\.base: .*integer, not None"),
    ("base", 1 << 33, r"base \+ bytes must be within address_bits"),
    ("bus_bits", 100_000_000, "less than or equal to 512, not 100000000"),
    ("address_bits", 65, "less than or equal to 64, not 65"),
    ("layer", "../../..", r"external\[0\]\.layer: .*match pattern"),
    ("file", 5, r"external\[0\]\.file: .*string, not 5"),
    ("file", "../a", r"external\[0\]\.file: .*match pattern"),
    ("file", "other.bin", r"external names other\.bin, which is not one of files"),
])
def test_what_a_manifest_says_of_a_table(tmp_path: Path, network: Network, field: str, value: Any,
                                         message: str) -> None:
    build(make_plan(network, Fold(layers=(LayerFold(external_bus_bits=32), LayerFold()))), tmp_path / "build")
    table = read_manifest(tmp_path / "build").to_json()["external"][0]
    seal(tmp_path / "build", external=[table | {field: value}])
    with pytest.raises(SpikeloomError, match=message) as caught:
        simulate(tmp_path / "build", np.zeros((1, 4, 8), np.uint8))
    assert "build/manifest.json: field external" in str(caught.value) or "names" in str(caught.value)
