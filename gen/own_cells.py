"""Modules that some families have cells of their own for, which synthesis does not find by itself."""

from __future__ import annotations

from importlib import resources

from .devices import Family

__all__ = ["OWN_CELLS", "masked_add"]

OWN_CELLS: dict[Family, str] = {"ecp5": "+/ecp5/cells_sim.v", "xc7": "+/xilinx/cells_sim.v"}  # where Yosys has models

_PORTS = """\
module {name} #(
  parameter WIDTH = 1,
  parameter COUNT = 1
) (
  input wire [COUNT*WIDTH-1:0] a,
  input wire [COUNT-1:0] a_mask,
  input wire [COUNT*WIDTH-1:0] b,
  input wire [COUNT-1:0] b_mask,
  output wire [COUNT*WIDTH-1:0] total
);
"""


def masked_add(name: str, family: Family | None = None) -> str:
    """A :class:`.MaskedAdd` as a Verilog module of that name: for any device, or of a family's own cells."""
    file = "templates/masked_add" + ("" if family is None else f"_{family}") + ".v"
    text = resources.files("spikeloom.gen").joinpath(file).read_text(encoding="utf-8")
    return text.replace("{ports}", _PORTS.replace("{name}", name))
