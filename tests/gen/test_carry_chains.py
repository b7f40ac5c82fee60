"""Carry chains without what nextpnr would put around them: the same function, by Yosys's models of the cells."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.ecp5_cells import adder_models, prove_equal, synthesized

from spikeloom.gen.carry_chains import trim_carry_chains
from spikeloom.gen.own_cells import own_module
from spikeloom.gen.tools import ToolError

DESIGN = """\
module dut (input [6:0] a, b, input [2:0] c, input m, n, output [6:0] sum, output [7:0] whole, difference,
            output less, output [6:0] more, output [8:0] narrow, output [6:0] masked, output [5:0] even, odd);
  assign sum = a + b;
  assign whole = a + b;
  assign difference = a - b;
  assign less = a < b;
  assign more = a + b + m;
  assign narrow = a + c;
  snn_masked_add #(.WIDTH(7), .COUNT(1)) one (.a(a), .a_mask(m), .b({4'b0, c}), .b_mask(n), .total(masked));
  snn_masked_add #(.WIDTH(3), .COUNT(2)) two (
    .a({1'b0, a[3:2], 1'b0, a[1:0]}), .a_mask({m, n}), .b({1'b0, b[3:2], 1'b0, b[1:0]}), .b_mask({n, m}), .total(even));
  snn_masked_add #(.WIDTH(6), .COUNT(1)) three (.a({2'b0, a[3:0]}), .a_mask(1'b1), .b({6{b[0]}}), .b_mask(m),
                                                 .total(odd));
endmodule
"""


@pytest.fixture(scope="module")
def netlist(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return synthesized(tmp_path_factory.mktemp("carry"), own_module("masked_add", "snn", "ecp5") + DESIGN)


def chains(module: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in module["cells"].values() if cell["type"] == "CCU2C"]


def prove(netlist: dict[str, Any], folder: Path, change: Callable[[dict[str, Any]], None] | None = None) -> None:
    """That the trimmed netlist computes the same, for all inputs; with ``change``, one that changes a cell."""
    module = copy.deepcopy(netlist["modules"]["dut"])
    trim_carry_chains(module)
    for cell in chains(module):  # as nextpnr takes open ends: inputs of LUTs are 1; carries are whatever they are
        cell["connections"] = {port: ["1"] if bits == ["x"] else bits for port, bits in cell["connections"].items()
                               if bits != ["x"] or port not in ("CIN", "COUT", "S0", "S1")}
    if change is not None:
        change(next(cell for name, cell in module["cells"].items() if name.startswith("three.pair[1]")))
    prove_equal(folder, netlist["modules"]["dut"], module, adder_models(), "")


def test_same_function(netlist: dict[str, Any], tmp_path: Path) -> None:
    prove(netlist, tmp_path)


def test_proof_can_fail(netlist: dict[str, Any], tmp_path: Path) -> None:
    """One bit of one table."""
    with pytest.raises(ToolError, match="proof did fail"):
        prove(netlist, tmp_path, change=lambda cell: cell["parameters"].update(INIT1=f"{0x7880:016b}"))


def test_a_carry_that_is_read_on_its_way(netlist: dict[str, Any], tmp_path: Path) -> None:
    """By a port: the chain's halves keep their places."""
    probed = copy.deepcopy(netlist)
    module = probed["modules"]["dut"]
    wire = module["cells"]["one.pair[1].cells"]["connections"]["COUT"]
    assert module["cells"]["one.pair[2].cells"]["connections"]["CIN"] == wire
    module["ports"]["probe"] = {"direction": "output", "bits": wire}
    module["netnames"]["probe"] = {"hide_name": 0, "bits": wire, "attributes": {}}
    prove(probed, tmp_path)


def test_nothing_is_left_for_nextpnr_to_add(netlist: dict[str, Any]) -> None:
    """But for carries that are read, which leave their chain by a cell of their own."""
    module = copy.deepcopy(netlist["modules"]["dut"])
    before = len(chains(module))
    trim_carry_chains(module)
    after = chains(module)
    carries = {cell["connections"]["COUT"][0] for cell in after} - {"x"}
    fed = {cell["connections"]["CIN"][0] for cell in after}
    read = {bit for cell in module["cells"].values() if cell["type"] != "CCU2C"
            for bits in cell["connections"].values() for bit in bits}
    assert fed - carries == {"x"}, "carries that come from elsewhere"
    assert all(carry in fed or carry in read for carry in carries), "a carry that nobody reads"
    for cell in after:
        for half in "01":
            c, d = (cell["connections"][f"{name}{half}"][0] for name in "CD")
            assert (c, d) == ("x", "x") or "0" not in (c, d), "a LUT with a wire from a constant"
    # Of an odd number of bits the spare half is the first.
    assert {name for name in module["cells"] if name.startswith("one.")} == {
        name for name in netlist["modules"]["dut"]["cells"] if name.startswith("one.")}
    assert before < len(after) < 2 * before
