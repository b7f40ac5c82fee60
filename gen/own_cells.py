"""Modules that some families have cells of their own for, which synthesis does not find by itself."""

from __future__ import annotations

from importlib import resources

from .devices import Family

__all__ = ["OWN_CELLS", "OWN_MODULES", "own_cells", "own_module"]

OWN_CELLS: dict[Family, str] = {"ecp5": "+/ecp5/cells_sim.v", "xc7": "+/xilinx/cells_sim.v"}  # where Yosys has models

# Parameters and ports.
OWN_MODULES = {
    "masked_add": """\
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
""",
    "three_add": """\
module {name} #(
  parameter WIDTH = 2,
  parameter PART = 2
) (
  input wire [WIDTH-1:0] a,
  input wire [PART-1:0] b,
  input wire [PART-1:0] c,
  input wire c_mask,
  output wire [WIDTH-1:0] total
);
""",
}

_OF_FAMILY = {("masked_add", "ecp5"), ("masked_add", "xc7"), ("three_add", "xc7")}


def own_module(kind: str, top: str, family: Family | None = None) -> str:
    """A :class:`.MaskedAdd` or :class:`.ThreeAdd` as a module of a build: for any device, or of a family's cells."""
    file = f"templates/{kind}" + ("" if family is None else f"_{family}") + ".v"
    text = _template(file)
    fillings = {"ports": OWN_MODULES[kind], "carries": _template("templates/carries_xc7.v"), "name": f"{top}_{kind}",
                "masked_add": f"{top}_masked_add"}
    for place, filled in fillings.items():
        text = text.replace(f"{{{place}}}", filled)
    return text


def _template(file: str) -> str:
    return resources.files("spikeloom.gen").joinpath(file).read_text(encoding="utf-8")


def own_cells(top: str, family: Family) -> str:
    """All that a family has cells of its own for."""
    return "\n".join(own_module(kind, top, family) for kind in OWN_MODULES if (kind, family) in _OF_FAMILY)
