"""Emission: the same bytes every time, shared modules, memory files, no lint."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyslang.driver
import pytest
from support.networks import random_conv_network, random_fold, random_graph, random_map_graph, random_network
from support.simulators import icarus_program

from spikeloom.cosim.verilator import lint
from spikeloom.gen.build import build, describe
from spikeloom.gen.fold import PRESETS, Fold, LayerFold
from spikeloom.gen.plan import make_plan
from spikeloom.gen.verilog import TOP, EmittedVerilog, emit
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network
from spikeloom.rtl import share

FOLD = Fold(name="mixed", input_per_beat=4, layers=(
    LayerFold(lanes=10, neuron_units=5, inputs_per_cycle=4), LayerFold(lanes=3, pipelined=False), LayerFold(lanes=4)))


def digest(emitted: EmittedVerilog) -> str:
    return hashlib.sha256(repr((emitted.verilog, sorted(emitted.memories.items()))).encode()).hexdigest()


def print_digest() -> None:
    """What the processes of :func:`test_same_bytes_in_other_processes` run."""
    network = random_network(np.random.default_rng(3), sizes=(12, 20, 9, 4), static=True, steps=4)
    print(digest(emit(make_plan(network, FOLD))))


def test_same_bytes(network: Network) -> None:
    first, again = (emit(make_plan(network, FOLD)) for _ in range(2))
    assert first == again
    other = emit(make_plan(random_network(np.random.default_rng(5), sizes=(12, 20, 9, 4), static=True, steps=4), FOLD))
    assert digest(other) != digest(first)


def test_same_bytes_in_other_processes(network: Network, tmp_path: Path) -> None:
    """Whatever the seed of Python's hashes and the folder."""
    want = digest(emit(make_plan(network, FOLD)))
    tests = Path(__file__).resolve().parents[1]
    path = [str(tests), str(tests / "gen")]
    code = f"import sys; sys.path[:0] = {path!r}; import test_verilog; test_verilog.print_digest()"
    for seed in ("1", "2"):
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, timeout=120,
                              env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"})
        assert done.stdout.strip() == want, done.stderr


def test_equal_parts_share_a_module(network: Network) -> None:
    progress: list[str] = []
    verilog = emit(make_plan(network, FOLD), progress=progress.append).verilog
    modules = re.findall(r"^module (\S+) (?:#\()?\(?", verilog, re.MULTILINE)
    assert len(set(modules)) == len(modules)
    assert modules.count(TOP) == 1
    shared = {f"snn_top_{name}" for name in ("layer0_lanes10", "layer0_neuron", "layer1_lanes3", "layer1_neuron",
                                             "layer2_lanes4", "layer2_neuron", "clear", "mask12")}
    assert set(re.findall(r"^\(\* shared \*\)\nmodule (\S+)", verilog, re.MULTILINE)) == shared
    assert set(progress) == shared
    assert len(re.findall(r"^  snn_top_layer0_neuron \S+ \($", verilog, re.MULTILINE)) == 5


def test_many_lanes_are_blocks_of_one_module() -> None:
    network = random_network(np.random.default_rng(1), sizes=(4, 64), static=True, steps=2)
    verilog = emit(make_plan(network, Fold(layers=(LayerFold(lanes=64),)))).verilog
    assert re.findall(r"^module (snn_top_layer0_lanes\d+)", verilog, re.MULTILINE) == ["snn_top_layer0_lanes8"]
    assert len(re.findall(r"^  snn_top_layer0_lanes8 \S+ \($", verilog, re.MULTILINE)) == 8


def test_memory_files(network: Network) -> None:
    plan = make_plan(network, FOLD)
    emitted = emit(plan)
    named = set(re.findall(r'"([^"]+\.hex)"', emitted.verilog))
    assert named == set(emitted.memories) == set(emitted.memory_bits)
    bits = network.layers[0].connection.weight_bits
    for bank, rows in enumerate(plan.weights(0)):
        text = emitted.memories[f"snn_top_layer0_weights{bank}_0.hex"]
        assert [int(line, 16) for line in text.splitlines()] == rows
        assert {len(line) for line in text.splitlines()} == {-(-10 * bits // 4)}
        assert emitted.memory_bits[f"snn_top_layer0_weights{bank}_0.hex"] == 10 * bits * len(rows)


def test_each_block_has_its_part_of_a_row() -> None:
    network = random_network(np.random.default_rng(1), sizes=(4, 37), static=True, steps=2)
    plan = make_plan(network, Fold(layers=(LayerFold(lanes=37, inputs_per_cycle=2),), input_per_beat=2))
    memories, bits = emit(plan).memories, network.layers[0].connection.weight_bits
    assert [len(lanes) for lanes in plan.layers[0].synapse.blocks] == [8, 8, 8, 8, 5]
    for bank, rows in enumerate(plan.weights(0)):
        parts = [[int(line, 16) for line in memories[f"snn_top_layer0_weights{bank}_{block}.hex"].splitlines()]
                 for block in range(5)]
        assert [sum(part << 8 * bits * k for k, part in enumerate(row)) for row in zip(*parts, strict=True)] == rows


def test_deep_memories_are_files_of_parts(network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(share, "PART_ADDRESS_BITS", 3)
    plan = make_plan(network, FOLD)
    emitted = emit(plan)
    assert set(re.findall(r'"([^"]+\.hex)"', emitted.verilog)) == set(emitted.memories)
    assert describe(plan).memory_files == emitted.memory_bits
    parts = [emitted.memories[f"snn_top_layer1_weights0_0_{k}.hex"].splitlines() for k in range(8)]
    assert [len(part) for part in parts] == [8] * 7 + [4]
    assert [int(line, 16) for part in parts for line in part] == plan.weights(1)[0]
    build(plan, tmp_path / "build")
    lint(tmp_path / "build")


def test_without_lut_ram_memories_are_block_ram() -> None:
    """As Yosys takes it; queues and weights that are read ahead are all there is of small memories."""
    network = random_network(np.random.default_rng(1), sizes=(12, 20, 4), static=True, steps=4)
    outside = Fold(layers=(LayerFold(lanes=4, external_bus_bits=32, prefetch_rows=4), LayerFold()))
    with_lut_ram, without = (emit(make_plan(network, replace(outside, lut_ram=lut_ram))).verilog
                             for lut_ram in (True, False))
    attributes = '(* ram_style = "block", no_rw_check = 1 *)'
    assert attributes not in with_lut_ram
    assert re.search(re.escape(f"  {attributes}\n") + r"  reg \[\d+:0\] \w+ \[0:3\];", without)


def test_head(network: Network) -> None:
    verilog = emit(make_plan(network, FOLD)).verilog
    assert "Network random: 12-20-9-4, 4 time steps. Fold: mixed." in verilog
    assert network.hash in verilog
    assert "Generated by" not in verilog
    assert not re.search(r"[ \t]$", verilog, re.MULTILINE)
    assert "/home/" not in verilog
    top = re.search(r"^module snn_top \(([^)]*)\);", verilog, re.MULTILINE)
    assert top
    ports = re.findall(r"^  (input|output) (?:wire|reg) (?:\[\d+:0\] )?(\w+)", top[1], re.MULTILINE)
    assert ports[:2] == [("input", "clk"), ("input", "rst")]
    assert set(ports[2:]) == {("input", "i__valid"), ("output", "i__ready"), ("input", "i__payload"),
                              ("output", "o__valid"), ("input", "o__ready"), ("output", "o__payload")}


@pytest.mark.parametrize("maker", [random_network, random_conv_network, random_graph, random_map_graph])
def test_all_names_are_plain(maker: Callable[[np.random.Generator], Network]) -> None:
    """No escaped identifiers, nothing numbered through by a tool, no word of another language of hardware."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        network = maker(rng)
        emitted = emit(make_plan(network, random_fold(rng, network)), "mine")
        verilog = re.sub(r"//.*|\"[^\"]*\"", "", emitted.verilog)
        assert "\\" not in verilog
        assert not re.findall(r"\$(?!signed|unsigned|readmemh)\w+", verilog)
        assert not re.findall(r"\b(?:signal|like|n)_?\d*\b", verilog)
        modules = re.findall(r"^module (\w+)", verilog, re.MULTILINE)
        assert modules[0] == "mine"
        assert all(name.startswith("mine_") for name in modules[1:])


@pytest.mark.parametrize("top", ["", "1net", "my net", "a" * 65, "module", "logic", "x;y", "Ähre"])
def test_a_top_that_is_no_name(network: Network, top: str) -> None:
    with pytest.raises(SpikeloomError, match="must be a letter and up to 63"):
        emit(make_plan(network, FOLD), top)


@pytest.mark.parametrize("top", ["testbench", "snn", "snn_testbench", "axi", "axi_memory"])
def test_a_top_that_a_testbench_has(network: Network, top: str) -> None:
    with pytest.raises(SpikeloomError, match=f"top {top}: a part could be called "):
        emit(make_plan(network, FOLD), top)


@pytest.mark.parametrize("top", [None, 3, b"top", ["top"]])
def test_a_top_that_is_no_text(network: Network, top: Any) -> None:
    with pytest.raises(SpikeloomError, match="top must be a str, not "):
        emit(make_plan(network, FOLD), top)


def test_two_networks_in_one_design(network: Network) -> None:
    """Nothing of the one is called like anything of the other."""
    first, second = (emit(make_plan(network, FOLD), top) for top in ("alpha", "omega"))
    assert not set(first.memories) & set(second.memories)
    names = [set(re.findall(r"^module (\w+)", each.verilog, re.MULTILINE)) for each in (first, second)]
    assert not names[0] & names[1]
    assert first.verilog.replace("alpha", "omega").replace("ALPHA", "OMEGA") == second.verilog


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_free_of_lint(network: Network, preset: str, tmp_path: Path) -> None:
    build(make_plan(network, PRESETS[preset](network)), tmp_path / "build")
    lint(tmp_path / "build")


@pytest.mark.parametrize("seed", range(100, 103))
def test_random_folds_are_free_of_lint(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    build(make_plan(network, random_fold(rng, network)), tmp_path / "build")
    lint(tmp_path / "build")


def slang_on(top: str, capfd: pytest.CaptureFixture[str], *files: Path) -> str:
    """What slang says, with all its warnings."""
    slang = pyslang.driver.Driver()
    slang.addStandardArgs()
    assert slang.parseCommandLine(f"slang -Weverything --top {top} {' '.join(map(str, files))}")
    assert slang.processOptions()
    assert slang.parseAllSources()
    slang.reportCompilation(slang.createCompilation(), False)
    assert slang.reportDiagnostics(False)
    return "".join(capfd.readouterr())


@pytest.mark.parametrize("maker", [random_network, random_conv_network, random_graph, random_map_graph])
def test_a_second_reader_has_nothing_to_say(maker: Callable[[np.random.Generator], Network], tmp_path: Path,
                                            capfd: pytest.CaptureFixture[str]) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        network = maker(rng)
        fold = random_fold(rng, network, weight_sets=seed % 3)
        (tmp_path / "snn_top.v").write_text(emit(make_plan(network, fold)).verilog)
        assert "0 errors, 0 warnings" in slang_on("snn_top", capfd, tmp_path / "snn_top.v"), f"seed {seed}"


@pytest.mark.parametrize("options", [{"interface": "axi"}, {"interface": "axi", "core_clock": True},
                                     {"interface": "spi"}, {"interface": "uart"}])
def test_nor_has_it_of_bus_tops(network: Network, options: dict[str, Any], tmp_path: Path,
                                capfd: pytest.CaptureFixture[str]) -> None:
    told = build(make_plan(network, replace(FOLD, weight_sets=2)), tmp_path / "build", **options)
    files = [tmp_path / "build" / name for name in told.all_sources]
    assert "0 errors, 0 warnings" in slang_on(told.outer_top, capfd, *files)
    subprocess.run([icarus_program(), "-g2005", "-Wall", "-Wno-timescale", "-o", "/dev/null", "-s", told.outer_top,
                    *files], check=True)


def test_wide_memories_are_free_of_lint(tmp_path: Path) -> None:
    network = random_network(np.random.default_rng(0), sizes=(4, 520), static=True, steps=1)
    build(make_plan(network, PRESETS["full"](network)), tmp_path / "build")
    constants = (tmp_path / "build" / "snn_top_layer0_constants.hex").read_text()
    assert len(constants) * 4 > 8192  # where Verilator gets suspicious
    lint(tmp_path / "build")


def test_waivers_have_reasons(network: Network, tmp_path: Path) -> None:
    build(make_plan(network, FOLD), tmp_path / "build")
    lines = (tmp_path / "build" / "lint.vlt").read_text().splitlines()
    waivers = [n for n, line in enumerate(lines) if line.startswith("lint_off")]
    assert waivers
    assert all(lines[n - 1].startswith("// ") for n in waivers)
    assert all(f'-file "*{TOP}.v"' in lines[n] for n in waivers)
