"""Sets of weights and constants that are written at run time: emitted Verilog against the golden model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bus_top import packets_of, run
from support.networks import (
    make_external,
    marked,
    random_conv_network,
    random_fold,
    random_graph,
    random_network,
    random_samples,
    relative,
)

from spikeloom.cosim.simulate import simulate
from spikeloom.cosim.verilator import lint
from spikeloom.gen.build import build
from spikeloom.gen.bus_top import Interface, packet_config
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import make_plan
from spikeloom.gen.testbench import expected_results
from spikeloom.gen.weight_sets import weight_set
from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network, Readout
from spikeloom.rtl.control import control_registers

MAKERS: dict[str, Callable[[Any], Network]] = {
    "dense": random_network, "convolution": random_conv_network, "graph": random_graph,
    "marked": marked(random_network, keep=False),
    "early exit": lambda rng: replace(random_network(rng, static=False), readout=Readout(
        kind="first_spike", early_exit=True)),
}


@pytest.mark.parametrize("sets", [1, 2])
@pytest.mark.parametrize("kind", MAKERS)
def test_hardware_becomes_that_of_another_network(kind: str, sets: int, tmp_path: Path) -> None:
    seed = 100 * sets + len(kind)
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    while True:  # a network whose widths have no room is told so
        network = MAKERS[kind](rng)
        fold = replace(random_fold(rng, network, weight_sets=sets), headroom_bits=2)
        try:
            plan = make_plan(network, fold)
            break
        except SpikeloomError as error:
            print(error)
    build(plan, tmp_path / "build")
    lint(tmp_path / "build")
    samples = random_samples(rng, network, 12)
    changed = 0
    for loaded in (None, relative(rng, network), relative(rng, network)):
        result = simulate(tmp_path / "build", samples, jobs=1, network=loaded)
        assert result.mismatches == 0
        assert result.cycles_mispredicted == 0
        changed += loaded is not None and any((a != b).any() for a, b in zip(
            golden.run(network, samples).spikes, golden.run(loaded, samples).spikes, strict=True))
    assert changed


def test_external_weights_come_from_their_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    network = random_network(rng, sizes=(12, 9, 5), static=True, steps=4)
    fold = make_external(rng, network, Fold(layers=(LayerFold(lanes=4), LayerFold(lanes=3)), weight_sets=2))
    build(make_plan(network, fold), tmp_path / "build")
    samples = random_samples(rng, network, 12)
    result = simulate(tmp_path / "build", samples, jobs=1, network=relative(rng, network))
    assert (result.mismatches, result.cycles_mispredicted) == (0, 0)


@pytest.mark.parametrize(("interface", "sets", "static"), [("axi", 2, True), ("axi", 1, False), ("wishbone", 2, False)])
def test_twenty_networks_one_after_the_other(interface: Interface, sets: int, static: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(7 + sets)
    network = random_network(rng, sizes=(12, 9, 5), static=static, steps=4)
    network = replace(network, readout=Readout(kind="raster") if static else Readout.count())
    fold = Fold(layers=(LayerFold(lanes=4, inputs_per_cycle=2), LayerFold(lanes=3)), input_per_beat=4, weight_sets=sets)
    plan = make_plan(network, fold)
    folder = tmp_path / "build"
    build(plan, folder, interface=interface)
    lint(folder)
    networks, expected = [], []
    for one in [network, *(relative(rng, network) for _ in range(20))]:
        loaded = weight_set(plan, one)
        samples = random_samples(rng, network, 5)
        results = expected_results(plan, golden.run(one, samples))
        each = len(results) // len(samples)
        expected += [{"data": results[k * each:(k + 1) * each], "error": 0} for k in range(len(samples))]
        networks.append({"words": loaded.words, "hash": loaded.hash_words, "packets": packets_of(plan, samples)})
    assert len({n["hash"] for n in networks}) == len(networks)
    config = packet_config(plan, interface)
    registers = control_registers(config.control)
    path = tmp_path / "case.json"
    path.write_text(json.dumps({
        "interface": interface, "seed": 3, "stall": 0.3, "tables": [], "weight_sets": sets, "networks": networks,
        "registers": {r.name: r.offset for r in registers.registers},
        "beat_bytes": -(-config.gate.bits // 8), "result_bytes": -(-config.result_bits // 8)}))
    assert run(folder, path, "weight_sets")["results"] == expected
