"""What switches in a netlist of a few cells, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from spikeloom.gen.switching import REST, Activity, combinational, find_cells, known_share, switching

VERILOG = """\
module snn_top_a (
  input wire clk,
  output wire [1:0] o
);
  wire sum;
  wire [3:0] both;
  reg [1:0] state;
endmodule
"""


def cell(kind: str, **wires: list[Any]) -> dict[str, Any]:
    return {"type": kind, "connections": wires}


def netlist() -> dict[str, Any]:
    """Of part a two flip-flops, one of which the simulation does not know, three LUT sites and two block RAMs."""
    return {
        "netnames": {
            "a.state": {"bits": [2, 3]}, "b.copy": {"bits": [2]}, "a.renamed": {"bits": [4]},
            "a.chosen": {"bits": [5]}, "b.one": {"bits": ["0"]}, "top_q": {"bits": [6], "offset": 0}},
        "cells": {
            "a.state_FF": cell("TRELLIS_FF", Q=[2]), "a.state_FF_1": cell("TRELLIS_FF", Q=[3]),
            "a.renamed_FF": cell("TRELLIS_FF", Q=[4]), "top_FF": cell("TRELLIS_FF", Q=[6]),
            "a.x": cell("LUT4", Z=[7]), "a.y": cell("CCU2C", S0=[8]), "b.x": cell("LUT4", Z=[9]),
            "a.rows.0": cell("DP16KD", CEA=["0"], CEB=["1"]),
            "a.bank.0": cell("DP16KD", CEA=[5], CEB=[10]),  # the second enable has no name
            "b.m": cell("MULT18X18D", P0=[11])}}


def activity(**more: float) -> Activity:
    toggles = {"a.state[0]": 6, "a.state[1]": 2, "b.copy": 6, "a.sum": 3, "a.both[0]": 1, "a.both[1]": 5, "b.sum": 8,
               "a.chosen": 4, "top_q": 1, "a.o[0]": 99, **more}
    return Activity(20, toggles, {**dict.fromkeys(toggles, 0), "a.chosen": 7})


def test_combinational_nets_are_neither_ports_nor_registers() -> None:
    assert combinational([VERILOG, "  wire other;\n"]) == {"sum", "both", "other"}


def test_cells_by_parts() -> None:
    cells = find_cells(netlist(), "ecp5", ["a", "b", "absent"])
    assert list(cells) == ["a", "b", REST]
    assert [(part.luts, len(part.flip_flops), part.multipliers) for part in cells.values()] == [
        (3, 3, 0), (1, 0, 1), (0, 1, 0)]
    assert cells["a"].flip_flops == [["a.state[0]", "b.copy"], ["a.state[1]"], ["a.renamed"]]
    assert cells["a"].blocks == [(1, [[]]), (1, [[["a.chosen"]], [[]]])]


def test_what_switches() -> None:
    cells = find_cells(netlist(), "ecp5", ["a", "b"])
    found = switching(cells, activity(), {"sum", "both"})
    a, b, rest = found["a"], found["b"], found[REST]
    assert a.register_toggles == 6 + 2 + (6 + 2) / 2  # the third is taken for an average one
    assert a.logic_toggles == 3 * (3 + 1 + 5) / 3     # three sites; three bits have nine toggles
    assert b.logic_toggles == 8
    assert a.block_accesses == 20 + 7 + 20            # always; when it is chosen; unknown, so always
    assert (a.register_cycles, b.multiplier_cycles) == (60, 20)
    assert (rest.register_toggles, rest.logic_toggles, rest.block_accesses) == (1, 0, 0)
    assert known_share(cells, activity()) == 0.75


def test_the_toggles_of_a_register_are_not_logic() -> None:
    cells = find_cells(netlist(), "ecp5", ["a", "b"])
    assert switching(cells, activity(), {"sum", "both", "copy"})["b"].logic_toggles == 8


@pytest.mark.parametrize(("family", "kind", "wires", "accesses"), [
    ("ice40", "SB_RAM40_4K", {"RCLKE": [5], "RE": ["1"], "WCLKE": ["0"], "WE": ["1"]}, 7),
    ("gowin", "pROM", {"CE": ["1"]}, 20),
    ("gowin", "SDPB", {"CEA": [5], "CEB": [5]}, 14),
    ("xc7", "RAMB36E1", {"ENARDEN": [5], "ENBWREN": ["0"]}, 14),  # as two of 18 Kbit
])
def test_ports_of_block_rams(family: Any, kind: str, wires: dict[str, list[Any]], accesses: float) -> None:
    module = {"netnames": {"a.chosen": {"bits": [5]}}, "cells": {"a.rows.0": cell(kind, **wires)}}
    assert switching(find_cells(module, family, ["a"]), activity(), set())["a"].block_accesses == accesses


def test_runs_are_subtracted_and_shared() -> None:
    more = (Activity(50, {"a": 9, "b": 4}, {"a": 30, "b": 1}) - Activity(20, {"a": 3, "b": 4}, {"a": 10, "b": 1})) / 3
    assert more == Activity(10, {"a": 2, "b": 0}, {"a": 20 / 3, "b": 0})
