"""What other flows carry on with: FuseSoC runs its core, Tcl its scripts, and every name is one of the Verilog's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.networks import random_network

from spikeloom.cosim.verilator import find_verilator
from spikeloom.gen.build import build
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.manifest import read_manifest
from spikeloom.gen.plan import make_plan
from spikeloom.gen.projects import TOOLS
from spikeloom.model.errors import SpikeloomError


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two builds, one of them with a bus."""
    folder = tmp_path_factory.mktemp("cores")
    for top, interface, seed in (("first_net", "stream", 1), ("second_net", "axi", 2)):
        network = random_network(np.random.default_rng(seed), sizes=(12, 9, 4), static=True, steps=3)
        plan = make_plan(network, Fold(layers=(LayerFold(lanes=4), LayerFold(lanes=2)), input_per_beat=4))
        build(plan, folder / top, top=top, interface=interface)  # type: ignore[arg-type]
    return folder


@pytest.fixture
def fusesoc(cores: Path, tmp_path: Path) -> Any:
    """Runs FuseSoC on a copy of the cores, with our Verilator on the PATH."""
    shutil.copytree(cores, tmp_path / "cores")
    tool = find_verilator()
    programs = str(tool.executable.parent)
    environment = {**os.environ, **tool.environment, "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path)}

    def run(*words: str) -> str:
        done = subprocess.run([sys.executable, "-m", "fusesoc.main", "--cores-root", "cores", *words], cwd=tmp_path,
                              env=environment, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        return said

    return run


def test_core(fusesoc: Any) -> None:
    said = fusesoc("core", "show", "second_net")
    assert "second_net" in said
    for target in ("default", "lint", "sim"):
        assert re.search(rf"^{target} ", said, re.MULTILINE)
    for name in ("first_net", "second_net"):
        fusesoc("run", "--target", "lint", name)


def test_core_in_a_simulator(fusesoc: Any) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("needs Icarus Verilog")
    assert "PASS" in fusesoc("run", "--target", "sim", "first_net")


TOGETHER = """\
module together (input wire clk, input wire rst, input wire [1:0] valid, input wire [{n}:0] a, input wire [{m}:0] b,
                 output wire [1:0] ready, output wire [1:0] done, output wire [{r}:0] x, output wire [{s}:0] y);
  first_net one (.clk(clk), .rst(rst), .i__valid(valid[0]), .i__ready(ready[0]), .i__payload(a), .o__valid(done[0]),
                 .o__ready(1'b1), .o__payload(x));
  // verilator lint_off PINCONNECTEMPTY
  second_net two (.clk(clk), .rst(rst), .i__valid(valid[1]), .i__ready(ready[1]), .i__payload(b), .o__valid(done[1]),
                  .o__ready(1'b1), .o__payload(y), .scores__valid(), .scores__class_index(), .scores__value());
endmodule
"""

# Feeds zeros to both until each has given a result.
BENCH = """\
`timescale 1ns / 1ps
module bench;
  reg clk = 0, rst = 1;
  reg [1:0] seen = 0;
  wire [1:0] ready, done;
  wire [{r}:0] x;
  wire [{s}:0] y;
  integer cycle;
  together dut (.clk(clk), .rst(rst), .valid(2'b11), .a({n}'d0), .b({m}'d0), .ready(ready), .done(done), .x(x), .y(y));
  always #5 clk = ~clk;
  initial begin
    repeat (3) @(posedge clk);
    rst <= 0;
    for (cycle = 0; cycle < 5000 && seen != 3; cycle = cycle + 1) @(posedge clk) seen <= seen | done;
    if (seen == 3 && ^x !== 1'bx && ^y !== 1'bx) $display("BOTH %0d", cycle);
    $finish;
  end
endmodule
"""


def test_two_builds_in_one_design(fusesoc: Any, cores: Path, tmp_path: Path) -> None:
    a, b = (read_manifest(cores / name) for name in ("first_net", "second_net"))
    n, m = (told.input.items_per_beat * told.input.item_bits for told in (a, b))
    both = tmp_path / "cores" / "both"
    both.mkdir()
    widths = {"r": a.class_bits - 1, "s": b.class_bits - 1}
    (both / "together.v").write_text(TOGETHER.format(n=n - 1, m=m - 1, **widths))
    (both / "bench.v").write_text(BENCH.format(n=n, m=m, **widths))
    (both / "both.core").write_text("""\
CAPI=2:
name: "::both:1.0.0"
filesets:
  rtl: {depend: ["::first_net", "::second_net"], file_type: verilogSource, files: [together.v]}
  bench: {file_type: verilogSource, files: [bench.v]}
targets:
  lint:
    filesets: [rtl]
    toplevel: together
    default_tool: verilator
    tools: {verilator: {mode: lint-only, verilator_options: [-Wall]}}
  sim:
    filesets: [rtl, bench]
    toplevel: bench
    default_tool: icarus
    tools: {icarus: {iverilog_options: [-g2005]}}
""")
    fusesoc("run", "--target", "lint", "both")
    if shutil.which("iverilog") is not None:
        assert re.search(r"BOTH \d+", fusesoc("run", "--target", "sim", "both"))


def test_two_clocks(tmp_path: Path) -> None:
    network = random_network(np.random.default_rng(1), sizes=(12, 9, 4), static=True, steps=3)
    plan = make_plan(network, Fold(layers=(LayerFold(lanes=4), LayerFold(lanes=2)), input_per_beat=4))
    build(plan, tmp_path / "build", interface="axi", core_clock=True)
    lines = (tmp_path / "build" / "snn_top_axi.sdc").read_text().splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("create_clock")] == ["aclk]", "core_clk]"]
    assert lines[-1] == "set_clock_groups -asynchronous -group {aclk} -group {core_clk}"
    with pytest.raises(SpikeloomError, match="core_clock must be False with interface 'wishbone'"):
        build(plan, tmp_path / "other", interface="wishbone", core_clock=True)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("top", ["first_net", "second_net"])
@pytest.mark.parametrize("tool", TOOLS)
def test_scripts(cores: Path, top: str, tool: str, tmp_path: Path) -> None:
    """Run by Tcl itself, with the tool's commands as commands that only write down what they were told."""
    if shutil.which("tclsh") is None:
        pytest.skip("needs tclsh")
    shutil.copytree(cores / top, tmp_path / top)
    told = read_manifest(tmp_path / top)
    script = tmp_path / "run.tcl"
    script.write_text(f"""\
proc unknown args {{ puts $args; return {{}} }}
file mkdir impl1 impl_1
source [file join {tmp_path / top} project_{tool}.tcl]
""")
    done = subprocess.run(["tclsh", str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    words = done.stdout.split()
    named = {Path(word).name for word in words if word.startswith(str(tmp_path))}
    assert set(told.all_sources) <= named
    assert f"{told.outer_top}.sdc" in named
    for word in words:
        path = Path(word)
        if word.startswith(str(tmp_path)) and path.suffix:
            assert path.exists(), word
    assert told.outer_top in words
    if tool in ("radiant", "diamond"):
        assert {path.name for path in (tmp_path / ("impl_1" if tool == "radiant" else "impl1")).iterdir()} == set(
            told.memory_files)
    assert not done.stderr


@pytest.mark.parametrize("top", ["first_net", "second_net"])
def test_names_are_those_of_the_verilog(cores: Path, top: str) -> None:
    folder = cores / top
    told = read_manifest(folder)
    verilog = "".join((folder / name).read_text() for name in told.all_sources)
    clock, = re.findall(r"get_ports (\w+)", (folder / f"{told.outer_top}.sdc").read_text())
    header = re.search(rf"^module {told.outer_top} \((.*?)\);", verilog, re.MULTILINE | re.DOTALL)
    assert header is not None
    assert re.search(rf"input wire {clock}\b", header[1])
    assert (folder / f"{told.outer_top}.f").read_text().split() == list(told.all_sources)
