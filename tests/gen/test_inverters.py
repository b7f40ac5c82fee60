"""Flip-flops that invert their resets themselves: the same function, by Yosys's models of the cells."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.ecp5_cells import flip_flop_models, prove_equal, synthesized

from spikeloom.gen.inverters import absorb_inverters
from spikeloom.gen.tools import ToolError

DESIGN = """\
module dut (input clk, on, also, read, input [3:0] d, output off, output reg [3:0] q, r, s, t);
  initial {q, r, s, t} = 0;
  assign off = ~read;
  always @(posedge clk) begin
    q <= on ? d : 0;
    r <= on ? 0 : d;
    s <= on & also ? d : 0;
    t <= read ? d : 0;
  end
endmodule
"""


@pytest.fixture(scope="module")
def netlist(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return synthesized(tmp_path_factory.mktemp("inverters"), DESIGN)


def cells(module: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [cell for cell in module["cells"].values() if cell["type"] == kind]


def prove(netlist: dict[str, Any], folder: Path, change: Callable[[dict[str, Any]], None] | None = None) -> None:
    """That both netlists do the same in all cycles; with ``change``, one that changes the second."""
    module = copy.deepcopy(netlist["modules"]["dut"])
    absorb_inverters(module)
    if change is not None:
        change(module)
    prove_equal(folder, netlist["modules"]["dut"], module, flip_flop_models(), "-tempinduct -set-init-undef -seq 1")


def test_same_function(netlist: dict[str, Any], tmp_path: Path) -> None:
    prove(netlist, tmp_path)


def test_proof_can_fail(netlist: dict[str, Any], tmp_path: Path) -> None:
    def change(module: dict[str, Any]) -> None:
        cells(module, "TRELLIS_FF")[0]["parameters"]["LSRMUX"] = "LSR"

    with pytest.raises(ToolError, match="proof did fail"):
        prove(netlist, tmp_path, change)


def test_lone_inverters_are_gone(netlist: dict[str, Any]) -> None:
    """That of ``on`` has no other load, that of ``read`` has one; a LUT of two signals is none."""
    module = copy.deepcopy(netlist["modules"]["dut"])
    before = len(cells(module, "LUT4"))
    absorb_inverters(module)
    assert before - len(cells(module, "LUT4")) == 1
    resets = [(cell["connections"]["LSR"][0], cell["parameters"]["LSRMUX"]) for cell in cells(module, "TRELLIS_FF")]
    on, read = (module["ports"][name]["bits"][0] for name in ("on", "read"))
    assert {reset: resets.count(reset) for reset in resets if reset[0] in (on, read)} == {
        (on, "INV"): 4, (on, "LSR"): 4, (read, "INV"): 4}
    again = copy.deepcopy(module)
    absorb_inverters(again)
    assert again == module
