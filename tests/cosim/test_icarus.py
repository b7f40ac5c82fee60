"""A second simulator: the emitted Verilog in Icarus, four-state, from power-up, by Verilog's and by SystemVerilog's
rules.

Reset is high from time 0 without an edge, and the payload is unknown while it is not valid: what depends on either
shows.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.networks import random_conv_network, random_fold, random_network, random_samples
from support.simulators import icarus_program

from spikeloom.cosim.build_folder import BuildFolder
from spikeloom.cosim.stimulus import pack_samples
from spikeloom.gen.build import build
from spikeloom.gen.plan import make_plan
from spikeloom.model import golden

SAMPLES = 4
TESTBENCH = """\
module testbench;
  reg clk = 0, rst = 1, valid = 0;
  reg [{bits}-1:0] payload = {{{bits}{{1'bx}}}};
  reg [8*{bytes}-1:0] beat [0:{beats}-1];
  wire ready, done;
  wire [{class_bits}-1:0] result;
  integer sent = 0, results = 0, cycle = 0;
  always #5 clk = ~clk;
  snn_top dut(.clk(clk), .rst(rst), .i__valid(valid), .i__ready(ready), .i__payload(payload),
              .o__valid(done), .o__ready(1'b1), .o__payload(result));
  initial begin
    $readmemh("stimulus.hex", beat);
    repeat (4) @(posedge clk);
    #1 rst = 0;
  end
  always @(posedge clk) if (!rst) begin
    cycle = cycle + 1;
    if (done !== 1'b0 && done !== 1'b1) begin $display("unknown"); $finish; end
    if (done) begin
      $display("class %0d", result);
      results = results + 1;
    end
    if (valid && ready) sent = sent + 1;
    if (results == {samples} || cycle == 500000) $finish;
    #1 valid = sent < {beats} && sent < (results + 1) * {per_sample};
    payload = valid ? beat[sent] : {{{bits}{{1'bx}}}};
  end
endmodule
"""


@pytest.mark.parametrize("rules", ["-g2005", "-g2012"])
@pytest.mark.parametrize(("maker", "seed"), [(random_network, 1), (random_network, 2), (random_conv_network, 3)])
def test_classes_from_power_up(tmp_path: Path, maker: object, seed: int, rules: str) -> None:
    icarus = icarus_program()
    rng = np.random.default_rng(seed)
    network = maker(rng)  # type: ignore[operator]
    folder = tmp_path / "build"
    build(make_plan(network, random_fold(rng, network)), folder)
    samples = random_samples(rng, network, SAMPLES)
    built = BuildFolder.load(folder)
    (folder / "stimulus.hex").write_text("\n".join(beat.tobytes().hex() for sample in pack_samples(built, samples)
                                                   for beat in sample))
    (folder / "bench.v").write_text(TESTBENCH.format(
        bits=built.beat_bits, bytes=-(-built.beat_bits // 8), beats=SAMPLES * built.beats_per_sample,
        per_sample=built.beats_per_sample, class_bits=built.class_bits, samples=SAMPLES))

    def said(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert said(icarus, rules, "-Wall", "-Wno-timescale", "-o", "program", "bench.v", "snn_top.v") == ""
    classes = [int(n) for n in re.findall(r"^class (\d+)$", said("vvp", "program"), re.MULTILINE)]
    assert classes == golden.run(network, samples).classes.tolist()


def test_memories_lie_where_the_macro_says(tmp_path: Path) -> None:
    """The testbench of a build, run from another folder."""
    rng = np.random.default_rng(1)
    network = random_network(rng)
    build(make_plan(network, random_fold(rng, network)), tmp_path / "build")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in (tmp_path / "build").glob("testbench_*.hex"):
        shutil.copy(file, elsewhere)
    program = elsewhere / "testbench.out"
    where = f'-DSNN_TOP_MEMORY_PATH="{tmp_path / "build"}/"'
    subprocess.run([icarus_program(), "-g2005", where, "-o", program, tmp_path / "build" / "testbench.v",
                    tmp_path / "build" / "snn_top.v"], check=True)
    said = subprocess.run(["vvp", program], cwd=elsewhere, check=True, capture_output=True, text=True).stdout
    assert "PASS" in said
