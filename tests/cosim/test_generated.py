"""The generator's Verilog: equal to the golden and the cycle model, whatever the network, fold and weather."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.networks import random_fold, random_network, random_samples
from support.stub_build import seal

from spikeloom.cosim.runner import SimulationError
from spikeloom.cosim.simulate import simulate
from spikeloom.cosim.verilator import lint
from spikeloom.gen.build import build
from spikeloom.gen.fold import PRESETS, Fold, LayerFold
from spikeloom.gen.plan import make_plan
from spikeloom.model.network import Dense, Layer, Network, Neuron, Readout, StaticInput
from spikeloom.model.numerics import Multiply, Shift


@pytest.fixture
def network() -> Network:
    """Few neurons that always or never fire: wherever the arithmetic is wrong, it shows."""
    rng = np.random.default_rng(11)
    sizes, thresholds = (30, 20, 16, 10), (3000, 60, 40)
    layers = tuple(
        Layer(name=f"layer{k}", connection=Dense(weight=rng.integers(-8, 8, (b, a)), weight_bits=4),
              neuron=Neuron(synapse=Multiply(3515) if k == 0 else Shift(1), membrane=Shift(2),
                            fraction_bits=2 if k else 0, threshold=np.array([threshold])))
        for k, (a, b, threshold) in enumerate(zip(sizes, sizes[1:], thresholds, strict=False)))
    return Network.chain(name="lively", input=StaticInput(shape=(30,), bits=7), layers=layers, steps=5,
                   readout=Readout.psc_sum(5, Shift(1)))


@pytest.mark.parametrize("seed", range(6))
def test_random_network_and_fold(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    folder = tmp_path / "build"
    build(make_plan(network, random_fold(rng, network)), folder)
    samples = random_samples(rng, network, 60)
    lint(folder)
    result = simulate(folder, samples)
    assert (result.first_mismatch, result.mismatches, result.cycles_mispredicted) == (None, 0, 0)
    weather: list[dict[str, Any]] = [
        {"mode": "stream"}, {"input_gap": 0.3, "output_stall": 0.5},
        {"mode": "stream", "input_gap": 0.2, "output_stall": 0.2, "reset_cycles": (50, 51, 333, 700)}]
    for options in weather:
        result = simulate(folder, samples, seed=seed, **options)
        assert (result.first_mismatch, result.mismatches) == (None, 0), options
    assert simulate(folder, samples, reset_cycles=(40, 99, 500)).ok


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(tmp_path: Path, network: Network, preset: str) -> None:
    build(make_plan(network, PRESETS[preset](network)), tmp_path / "build")
    assert simulate(tmp_path / "build", random_samples(np.random.default_rng(3), network, 100)).ok


# (module, pattern in it, replacement, options that show it)
FAULTS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "wrong decay": (r"layer0_neuron", r"h(0*)dbb", r"h\1cbb", {}),
    "wrong threshold": (r"layer0_neuron", r"447\b", r"407", {}),
    "dropped event": (r"layer0_queue_bank0", r"put & \(\|i\)", "put & (|i) & (base != 5'd7)", {}),
    "carry lost": (r"masked_add", r"\+ \(b\[", "^ (b[", {}),
    "one pass too few": (r"layer0_queue", r"== 8'h5a", "== 8'h3c", {}),
    "one row too far": (r"layer0_queue", r"base \+ 5'h01", "base + 5'h02", {}),
    "sums survive a reset": (r"layer0_synapses", r"clears_q <= 2'd3", "clears_q <= 2'd0",
                             {"reset_cycles": range(97, 5000, 293)}),
    "queue overrun": (r"layer0_queue", r"i__ready = ~full_q", "i__ready = 1'b1", {"mode": "stream"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_caught(tmp_path: Path, network: Network, fault: str) -> None:
    module, pattern, replacement, options = FAULTS[fault]
    fold = Fold(layers=(LayerFold(lanes=4), LayerFold(lanes=8, neuron_units=2), LayerFold(lanes=10)))
    build(make_plan(network, fold), tmp_path / "build")
    samples = random_samples(np.random.default_rng(3), network, 100)
    assert simulate(tmp_path / "build", samples, **options).mismatches == 0

    verilog = tmp_path / "build" / "snn_top.v"
    before, body, after = re.split(rf"(\nmodule snn_top_{module} .*?\nendmodule\n)", verilog.read_text(),
                                   flags=re.DOTALL)
    changed = re.sub(pattern, replacement, body)
    assert changed != body
    verilog.write_text(before + changed + after)
    seal(tmp_path / "build")
    try:
        found = str(simulate(tmp_path / "build", samples, max_idle_cycles=20_000, **options).first_mismatch)
    except SimulationError as error:
        found = str(error)
    assert re.search(r"sample \d+|beats of spikes too many|before the transfer", found), found
