"""LUTs and flip-flops that move along their paths: where to, and where not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from spikeloom.gen.logic_moves import move_logic
from spikeloom.gen.placed_design import PlacedDesign

OUTPUTS = ("F", "Q", "OFX", "FCO")
HALVES = [(slice_, half) for slice_ in "ABCD" for half in (0, 1)]


def cell(kind: str, bel: str, parameters: dict[str, str] | None = None, **wires: int) -> dict[str, Any]:
    return {"type": kind, "attributes": {"NEXTPNR_BEL": bel}, "parameters": parameters or {},
            "connections": {port: [wire] for port, wire in wires.items()},
            "port_directions": {port: "output" if port in OUTPUTS else "input" for port in wires}}


def lut(bel: str, mode: str = "LOGIC", **wires: int) -> dict[str, Any]:
    return cell("TRELLIS_COMB", bel, {"MODE": mode}, **wires)


def register(bel: str, **wires: int) -> dict[str, Any]:
    return cell("TRELLIS_FF", bel, {"CEMUX": "1 "}, **wires)


def end(name: str, at: str, **wires: int) -> dict[str, Any]:
    """A flip-flop in a tile that is closed."""
    return {name: register(f"{at}/SLICEA.FF0", **wires), f"{name}_closed": cell("TRELLIS_RAMW", f"{at}/SLICEC.RAMW")}


def design(what: str = "register", **more: dict[str, Any]) -> dict[str, Any]:
    """A register, a LUT or a LUT with its register at one end of a way of 60 columns: from the flip-flop beside it to
    one at the other end; and half way a tile with a LUT."""
    moving = {
        "register": {"register": register("X1/Y9/SLICEA.FF0", M=1, Q=2, CLK=90)},
        "lut": {"lut": lut("X1/Y9/SLICEA.K0", A=1, F=2)},
        "both": {"lut": lut("X1/Y9/SLICEA.K0", A=1, F=4), "register": register("X1/Y9/SLICEA.FF0", DI=4, Q=2, CLK=90)},
    }[what]
    return {"cells": {
        **end("from", "X0/Y9", Q=1), **end("to", "X60/Y9", M=2, CLK=90), "half": lut("X30/Y9/SLICEA.K0", A=82, F=83),
        **moving, **more}}


def places(module: dict[str, Any]) -> dict[str, str]:
    return {name: each["attributes"]["NEXTPNR_BEL"] for name, each in module["cells"].items()}


def at_half_way(module: dict[str, Any]) -> dict[str, str]:
    return {name: place for name, place in places(module).items() if place.startswith("X30/") and name != "half"}


@pytest.mark.parametrize(("what", "names"), [("register", {"register"}), ("both", {"lut", "register"})])
def test_to_the_middle(what: str, names: set[str]) -> None:
    """And nothing else does."""
    module = design(what)
    before, slowest = places(module), PlacedDesign(module).slowest_ns()
    assert move_logic(module) == 1
    moved = at_half_way(module)
    assert set(moved) == names
    assert len({place.replace(".K", ".FF") for place in moved.values()}) == 1, "beside each other"
    assert {name: place for name, place in places(module).items() if name not in names} == {
        name: place for name, place in before.items() if name not in names}
    assert PlacedDesign(module).slowest_ns() < 0.7 * slowest
    again = copy.deepcopy(module)
    assert move_logic(again) == 0
    assert again == module


def test_a_lut_comes_nearer_to_what_is_slow() -> None:
    """It lies beside one of the two flip-flops that it follows: half way it is nearer to the other one."""
    module = design("lut", **end("second", "X50/Y9", Q=5))
    module["cells"]["lut"] = lut("X1/Y9/SLICEA.K0", A=1, B=5, F=2)
    slowest = PlacedDesign(module).slowest_ns()
    assert move_logic(module) == 1
    assert set(at_half_way(module)) == {"lut"}
    assert PlacedDesign(module).slowest_ns() < slowest - 1


@pytest.mark.parametrize("more", [
    {f"ff{slice_}{half}": register(f"X30/Y9/SLICE{slice_}.FF{half}", CLK=90) for slice_, half in HALVES},
    {"other": register("X30/Y9/SLICED.FF1", CLK=91)},
    {"other": cell("TRELLIS_RAMW", "X30/Y9/SLICEC.RAMW")},
    {"half": lut("X30/Y9/SLICEA.K0", "DPRAM", A=82, F=83)},
    {"half": cell("DP16KD", "X30/Y9/EBR0")},
    {f"lut{slice_}{half}": lut(f"X30/Y9/SLICE{slice_}.K{half}", M=82, OFX=83) for slice_, half in HALVES}
    | {"half": lut("X30/Y9/SLICEA.K0", M=82, F=83)},
], ids=["full", "another clock", "LUT RAM's addresses", "LUT RAM", "block RAM", "multiplexers"])
def test_tiles_without_room_for_a_register(more: dict[str, Any]) -> None:
    module = design(**more)
    before = places(module)
    assert move_logic(module) == 0
    assert places(module) == before


@pytest.mark.parametrize("more", [
    {f"lut{slice_}{half}": lut(f"X30/Y9/SLICE{slice_}.K{half}", A=82, F=83) for slice_, half in HALVES}
    | {"half": lut("X30/Y9/SLICEA.K0", A=82, F=83)},
    {f"carry{slice_}": lut(f"X30/Y9/SLICE{slice_}.K1", "CCU2", FCI=84, F=85) for slice_ in "ABCD"},
    {"lut": lut("X1/Y9/SLICEA.K0", "CCU2", A=1, F=4)},
    {"lut": lut("X1/Y9/SLICEA.K0", A=1, M=86, F=4, OFX=87)}],
    ids=["full", "carry chains", "from a carry chain", "from half a multiplexer"])
def test_a_register_without_its_lut(more: dict[str, Any]) -> None:
    """It takes by a wire what it had from the LUT beside it."""
    module = design("both", **more)
    before = module["cells"]["lut"]["attributes"]["NEXTPNR_BEL"]
    assert move_logic(module) == 1
    assert set(at_half_way(module)) - set(more) == {"register"}
    moved = module["cells"]["register"]
    assert moved["connections"] == {"M": [4], "Q": [2], "CLK": [90]}
    assert moved["port_directions"] == {"M": "input", "Q": "output", "CLK": "input"}
    assert moved["parameters"]["SD"] == "0 "
    assert module["cells"]["lut"]["attributes"]["NEXTPNR_BEL"] == before


@pytest.mark.parametrize("more", [
    {f"ff{slice_}": register(f"X30/Y9/SLICE{slice_}.FF1", CLK=90, CE=92) for slice_ in "ABCD"},
    {"lut": lut("X1/Y9/SLICEA.K0", "DPRAM", A=1, F=4)}], ids=["another enable", "LUT RAM"])
def test_both_stay(more: dict[str, Any]) -> None:
    assert move_logic(design("both", **more)) == 0


def multiplexers(first: str, second: str) -> dict[str, dict[str, Any]]:
    """Four LUTs and their three multiplexers in two slices, between the ends of the way."""
    return {"one": lut(f"X1/Y9/SLICE{first}.K0", A=1, F=11, F1=12, M=80, OFX=15),
            "two": lut(f"X1/Y9/SLICE{first}.K1", A=1, F=12, FXA=15, FXB=16, M=81, OFX=4),
            "three": lut(f"X1/Y9/SLICE{second}.K0", B=1, F=13, F1=14, M=80, OFX=16),
            "four": lut(f"X1/Y9/SLICE{second}.K1", B=1, F=14)}


def test_multiplexers_move_together() -> None:
    """Two slices of a tile to two slices, of which the other tile has the lower two."""
    rest = {f"ff{slice_}": register(f"X30/Y9/SLICE{slice_}.FF{half}", CLK=90, CE=92)
            for slice_ in "CD" for half in (0, 1)}
    module = design("both", lut=lut("X30/Y9/SLICEC.K1", A=82, F=83), **multiplexers("A", "B"), **rest)
    module["cells"]["register"] = register("X1/Y9/SLICEA.FF1", DI=4, Q=2, CLK=90)
    del module["cells"]["half"]
    slowest = PlacedDesign(module).slowest_ns()
    assert move_logic(module) >= 1
    assert PlacedDesign(module).slowest_ns() < 0.75 * slowest
    assert {name: place for name, place in at_half_way(module).items()
            if name in ("one", "two", "three", "four", "register")} == {
        "one": "X30/Y9/SLICEA.K0", "two": "X30/Y9/SLICEA.K1", "three": "X30/Y9/SLICEB.K0",
        "four": "X30/Y9/SLICEB.K1", "register": "X30/Y9/SLICEA.FF1"}


def test_multiplexers_of_two_tiles_stay() -> None:
    """The register goes alone."""
    module = design("both", **multiplexers("A", "B"))
    module["cells"]["register"] = register("X1/Y9/SLICEA.FF1", DI=4, Q=2, CLK=90)
    del module["cells"]["lut"]
    for name in ("three", "four"):
        attributes = module["cells"][name]["attributes"]
        attributes["NEXTPNR_BEL"] = attributes["NEXTPNR_BEL"].replace("X1/", "X2/")
    before = places(module)
    move_logic(module)
    after = places(module)
    assert {name: after[name] for name in ("one", "two", "three", "four")} == {
        name: before[name] for name in ("one", "two", "three", "four")}
    assert after["register"].startswith("X30/")


def test_multiplexers_and_registers_share_an_input() -> None:
    """The upper two slices have registers that take their data by a wire."""
    rest = {f"ff{slice_}": register(f"X30/Y9/SLICE{slice_}.FF0", M=84, CLK=90) for slice_ in "BC"}
    module = design("both", **multiplexers("A", "B"), **rest)
    module["cells"]["register"] = register("X1/Y9/SLICEA.FF1", DI=4, Q=2, CLK=90)
    module["cells"]["half"] = module["cells"].pop("lut") | {"attributes": {"NEXTPNR_BEL": "X30/Y9/SLICED.K1"}}
    module["cells"]["half"]["connections"] = {"A": [82], "F": [83]}
    move_logic(module)
    assert set(at_half_way(module)) == {*rest, "register"}


def test_multiplexers_do_not_fit_into_three_slices() -> None:
    """The register goes alone."""
    module = design("both", lut=lut("X30/Y9/SLICEC.K1", A=82, F=83), **multiplexers("C", "D"))
    module["cells"]["register"] = register("X1/Y9/SLICEC.FF1", DI=4, Q=2, CLK=90)
    move_logic(module)
    assert set(at_half_way(module)) == {"lut", "register"}


@pytest.mark.parametrize(("other", "moves"), [({}, 2), ({"LSRMUX": "INV"}, 1), ({"CLK": 91}, 1), ({"CE": 92}, 2)])
def test_who_shares_a_tile(other: dict[str, Any], moves: int) -> None:
    """A second register comes to the same tile if it has the same clock and reset, to the same slice if it has the same
    enable."""
    parameters = {"CEMUX": "1 "} | {name: value for name, value in other.items() if isinstance(value, str)}
    wires = {"CLK": 90} | {name: value for name, value in other.items() if isinstance(value, int)}
    module = design(second=cell("TRELLIS_FF", "X1/Y9/SLICEC.FF1", parameters, M=1, Q=3, **wires),
                    **end("end", "X59/Y9", M=3, CLK=90))
    assert move_logic(module) == moves
    moved = at_half_way(module)
    assert len(moved) == moves
    slices = {place.partition(".")[0] for place in moved.values()}
    assert len(slices) == (2 if "CE" in other else 1)


def carry_chain(x: int, first: int, luts: int, **ends: int) -> dict[str, dict[str, Any]]:
    """A chain from the first slice of a tile on, over as many tiles as it takes."""
    places = [f"X{x + k // 8}/Y9/SLICE{'ABCD'[k % 8 // 2]}.K{k % 2}" for k in range(luts)]
    return {f"carry{first}_{k}": lut(place, "CCU2", **({"FCI": first + k} if k else {}),
                                     **({"FCO": first + k + 1} if k < luts - 1 else {}), **(ends if not k else {}))
            for k, place in enumerate(places)}


def with_chain(columns: range, **more: dict[str, Any]) -> dict[str, Any]:
    """A chain over two tiles, and a register beside its first LUT, at one end of a way; and some tiles that have only a
    LUT each."""
    tiles = {f"half{x}": lut(f"X{x}/Y9/SLICED.K1", A=82, F=83) for x in columns}
    module = design("both", **carry_chain(2, 100, 10, A=1, F=4), **tiles, **more)
    del module["cells"]["half"], module["cells"]["lut"]
    module["cells"]["register"] = register("X2/Y9/SLICEA.FF0", DI=4, Q=2, CLK=90)
    return module


def test_a_carry_chain_moves_with_its_register() -> None:
    """To where it has its slices in two tiles side by side; a LUT in the last one stands behind its end."""
    module = with_chain(range(32, 33))
    module["cells"]["alone"] = register("X31/Y9/SLICED.FF1", M=82, CLK=90)
    module["cells"]["also"] = register("X30/Y9/SLICED.FF1", M=82, CLK=90)
    slowest = PlacedDesign(module).slowest_ns()
    assert move_logic(module) >= 1
    moved = places(module)
    assert [moved[f"carry100_{k}"] for k in range(10)] == [
        f"X{30 + k // 8}/Y9/SLICE{'ABCD'[k % 8 // 2]}.K{k % 2}" for k in range(10)]
    assert moved["register"] == "X30/Y9/SLICEA.FF0"
    assert PlacedDesign(module).slowest_ns() < 0.85 * slowest


def test_a_carry_chain_without_room_stays() -> None:
    """Its register goes alone."""
    module = with_chain(range(30, 33))
    before = places(module)
    move_logic(module)
    assert {name: place for name, place in places(module).items() if name != "register"} == {
        name: place for name, place in before.items() if name != "register"}
    assert places(module)["register"].startswith("X3")


def test_carry_chains_change_places() -> None:
    """One that nothing waits for is where a slow one wants to be."""
    module = with_chain(range(0), **carry_chain(30, 200, 10))
    for taken in "ABCD":  # no register comes between
        for half in (0, 1):
            for x in (30, 31):
                if (x, taken, half) != (30, "A", 0):
                    module["cells"][f"ff{x}{taken}{half}"] = register(f"X{x}/Y9/SLICE{taken}.FF{half}", CLK=90)
    module["cells"]["one"] = register("X30/Y9/SLICEA.FF0", M=91, CLK=90)
    del module["cells"]["register"]
    module["cells"]["to"] = register("X60/Y9/SLICEA.FF0", M=4, CLK=90)
    module["cells"]["from"]["attributes"]["NEXTPNR_BEL"] = "X60/Y9/SLICEA.FF1"
    before = places(module)
    assert move_logic(module) >= 1
    after = places(module)
    for k in range(10):
        assert after[f"carry100_{k}"] == before[f"carry200_{k}"]
        assert after[f"carry200_{k}"] == before[f"carry100_{k}"]


def test_one_follows_the_other() -> None:
    """A chain and the LUT in front of it lie together, far from all else: the chain cannot come nearer before it."""
    module = design("register", **carry_chain(60, 100, 8, A=3, F=4), **end("begins", "X1/Y9", Q=7),
                    near=lut("X58/Y9/SLICEA.K0", A=7, F=3), back=lut("X3/Y9/SLICED.K1", A=82, F=83),
                    also=register("X4/Y9/SLICED.FF1", M=82, CLK=90))
    for name in ("from", "from_closed", "to", "to_closed", "register", "half"):
        del module["cells"][name]
    module["cells"] |= {"kept": register("X60/Y9/SLICEA.FF0", DI=4, Q=5, CLK=90), **end("ends", "X2/Y9", M=5, CLK=90)}
    assert move_logic(module) >= 2
    assert {place.partition("/")[0] for name, place in places(module).items()
            if name in ("near", "kept") or name.startswith("carry")} == {"X3", "X4"}


def test_what_is_fast_stays() -> None:
    """Another path is much slower: those that stand beside it do not decide."""
    module = design(**end("far", "X0/Y10", Q=5), **end("end", "X99/Y90", M=5))
    assert move_logic(module) == 0
