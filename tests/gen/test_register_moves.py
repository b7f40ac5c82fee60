"""Registers that move along their paths: where to, and where not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from spikeloom.gen.placed_design import PlacedDesign
from spikeloom.gen.register_moves import move_registers

OUTPUTS = ("F", "Q", "OFX")


def cell(kind: str, bel: str, parameters: dict[str, str] | None = None, **wires: int) -> dict[str, Any]:
    return {"type": kind, "attributes": {"NEXTPNR_BEL": bel}, "parameters": parameters or {},
            "connections": {port: [wire] for port, wire in wires.items()},
            "port_directions": {port: "output" if port in OUTPUTS else "input" for port in wires}}


def design(*, data: str = "M", **more: dict[str, Any]) -> dict[str, Any]:
    """A register at one end of a way of 60 columns: from the flip-flop beside it to one at the other end; and half way
    a tile with a LUT."""
    return {"cells": {
        "from": cell("TRELLIS_FF", "X0/Y9/SLICEA.FF0", Q=1),
        "register": cell("TRELLIS_FF", "X1/Y9/SLICEA.FF0", {"CEMUX": "1 "}, **{data: 1}, Q=2, CLK=90),
        "to": cell("TRELLIS_FF", "X60/Y9/SLICEA.FF0", DI=2),
        "half": cell("TRELLIS_COMB", "X30/Y9/SLICEA.K0", A=80, F=81), **more}}


def places(module: dict[str, Any]) -> dict[str, str]:
    return {name: each["attributes"]["NEXTPNR_BEL"] for name, each in module["cells"].items()}


def test_a_register_moves_to_the_middle() -> None:
    """And nothing else does."""
    module = design()
    before, slowest = places(module), PlacedDesign(module).slowest_ns()
    assert move_registers(module) == 1
    after = places(module)
    assert after.pop("register").startswith("X30/Y9/SLICE")
    assert after == {name: place for name, place in before.items() if name != "register"}
    assert PlacedDesign(module).slowest_ns() < 0.65 * slowest
    again = copy.deepcopy(module)
    assert move_registers(again) == 0
    assert again == module


@pytest.mark.parametrize("more", [
    {"other": cell("TRELLIS_FF", "X30/Y9/SLICED.FF1")},
    {"other": cell("TRELLIS_RAMW", "X30/Y9/SLICEC.RAMW")},
    {"half": cell("TRELLIS_COMB", "X30/Y9/SLICEA.K0", {"MODE": "DPRAM"}, A=80, F=81)},
    {"half": cell("DP16KD", "X30/Y9/EBR0")},
    {f"lut{slice_}{half}": cell("TRELLIS_COMB", f"X30/Y9/SLICE{slice_}.K{half}", M=82, OFX=83)
     for slice_ in "ABCD" for half in "01"} | {"half": cell("TRELLIS_COMB", "X30/Y9/SLICEA.K0", M=82, F=81)},
], ids=["flip-flop", "LUT RAM's addresses", "LUT RAM", "block RAM", "multiplexers"])
def test_tiles_that_are_not_free(more: dict[str, Any]) -> None:
    module = design(**more)
    before = places(module)
    assert move_registers(module) == 0
    assert places(module) == before


def test_a_lut_beside_it_keeps_it() -> None:
    assert move_registers(design(data="DI")) == 0


@pytest.mark.parametrize(("other", "moves"), [({}, 2), ({"LSRMUX": "INV"}, 1), ({"CLK": 91}, 1), ({"CE": 92}, 1)])
def test_who_shares_a_tile(other: dict[str, Any], moves: int) -> None:
    """A second register comes to the same tile if it has the same clock, reset and enable."""
    parameters = {"CEMUX": "1 "} | {name: value for name, value in other.items() if isinstance(value, str)}
    wires = {"CLK": 90} | {name: value for name, value in other.items() if isinstance(value, int)}
    module = design(second=cell("TRELLIS_FF", "X1/Y9/SLICEA.FF1", parameters, M=1, Q=3, **wires),
                    end=cell("TRELLIS_FF", "X60/Y9/SLICEA.FF1", DI=3))
    assert move_registers(module) == moves
    moved = [place for name, place in places(module).items() if name in ("register", "second")
             and place.startswith("X30/")]
    assert len(set(moved)) == len(moved) == moves


def test_fast_registers_stay() -> None:
    """Another path is much slower: those that stand beside it do not decide."""
    module = design(far=cell("TRELLIS_FF", "X0/Y9/SLICEB.FF0", Q=5), end=cell("TRELLIS_FF", "X99/Y90/SLICEB.FF0", DI=5))
    assert move_registers(module) == 0
