"""Registers behind block RAMs and multipliers: which ones move into them, and which must not."""

from __future__ import annotations

from typing import Any

import pytest

from spikeloom.gen.output_registers import absorb_output_registers

CLOCK, OTHER_CLOCK = 2, 3


def block_ram(width: int, data: list[int], **ports: Any) -> dict[str, Any]:
    """Reading on port B; as wide as both halves, or with the lower half only."""
    half = min(width, 18)
    wires: dict[str, list[Any]] = {"CLKA": ["0"], "CLKB": [CLOCK], "RSTA": ["0"], "RSTB": ["0"], "OCEA": ["0"],
                                   "OCEB": ["0"]}
    for place in range(half):
        wires[f"DOB{place}"] = [data[place]] if place < len(data) else []
        if width == 36:
            wires[f"DOA{place}"] = [data[half + place]] if half + place < len(data) else []
    return {"type": "DP16KD", "connections": wires | ports,
            "port_directions": {port: "output" if port.startswith("DO") else "input" for port in wires},
            "parameters": {"DATA_WIDTH_A": f"{width:032b}", "DATA_WIDTH_B": f"{width:032b}", "REGMODE_A": "NOREG",
                           "REGMODE_B": "NOREG"}}


def flip_flop(data: int, out: int, clock: int = CLOCK, enable: str = "1 ", reset: Any = "0") -> dict[str, Any]:
    return {"type": "TRELLIS_FF", "parameters": {"CEMUX": enable},
            "connections": {"DI": [data], "Q": [out], "CLK": [clock], "LSR": [reset]},
            "port_directions": {"DI": "input", "Q": "output", "CLK": "input", "LSR": "input"}}


def lut(*reads: int) -> dict[str, Any]:
    return {"type": "LUT4", "parameters": {}, "connections": {"ABCD"[k]: [bit] for k, bit in enumerate(reads)},
            "port_directions": {"ABCD"[k]: "input" for k in range(len(reads))}}


def module(cells: dict[str, Any], **ports: list[int]) -> dict[str, Any]:
    return {"cells": cells, "ports": {name: {"direction": "output", "bits": bits} for name, bits in ports.items()}}


@pytest.mark.parametrize("width", [18, 36])
def test_a_register_moves_into_the_memory(width: int) -> None:
    count = width - 3  # some outputs are not used
    cells = {"ram": block_ram(width, [*range(100, 100 + count)]),
             **{f"ff{k}": flip_flop(100 + k, 200 + k) for k in range(count)},
             "use": lut(200, 200 + count - 1)}
    netlist = module(cells, out=[201])
    assert absorb_output_registers(netlist) == count
    assert set(netlist["cells"]) == {"ram", "use"}
    ram = netlist["cells"]["ram"]
    data = [ram["connections"][f"DO{half}{place}"] for half in "BA" for place in range(18)
            if f"DO{half}{place}" in ram["connections"]]
    assert [bits for bits in data if bits] == [[200 + k] for k in range(count)]
    assert ram["parameters"]["REGMODE_B"] == "OUTREG"
    assert ram["connections"]["OCEB"] == ["1"]
    assert ram["parameters"]["REGMODE_A"] == ("OUTREG" if width == 36 else "NOREG")


def test_a_register_that_stands_there_twice() -> None:
    """Both go, and who read either of them reads the memory."""
    netlist = module({"ram": block_ram(18, [100]), "a": flip_flop(100, 200), "b": flip_flop(100, 201),
                      "use": lut(200, 201)}, out=[201])
    assert absorb_output_registers(netlist) == 2
    (kept,) = netlist["cells"]["ram"]["connections"]["DOB0"]
    assert netlist["cells"]["use"]["connections"] == {"A": [kept], "B": [kept]}
    assert netlist["ports"]["out"]["bits"] == [kept]


@pytest.mark.parametrize("change", [
    {"second": flip_flop(101, 201, clock=OTHER_CLOCK)}, {"second": flip_flop(101, 201, enable="CE")},
    {"second": flip_flop(101, 201, reset=9)}, {"second": lut(101)}, {"more": lut(101)},
    {"ram": block_ram(18, [100, 101], RSTB=[9])},
], ids=["clock", "enable", "reset", "logic", "also logic", "memory's reset"])
def test_what_must_stay(change: dict[str, Any]) -> None:
    """An output changes as a whole: one bit that cannot go keeps all."""
    cells = {"ram": block_ram(18, [100, 101]), "first": flip_flop(100, 200), "second": flip_flop(101, 201)} | change
    netlist = module(cells)
    assert absorb_output_registers(netlist) == 0
    assert set(netlist["cells"]) == set(cells)
    assert netlist["cells"]["ram"]["parameters"]["REGMODE_B"] == "NOREG"


def multiplier(product: list[int]) -> dict[str, Any]:
    """Its lowest bits and its highest one are not read."""
    wires = {"A0": [90], "B0": [91], **{f"P{k}": [300 + k] for k in range(36)},
             **{f"P{k}": [bit] for k, bit in enumerate(product, 9)}}
    return {"type": "MULT18X18D", "connections": wires, "parameters": {},
            "port_directions": {port: "output" if port[0] == "P" else "input" for port in wires}}


def test_a_register_moves_into_a_multiplier() -> None:
    netlist = module({"product": multiplier([100, 101]), "first": flip_flop(100, 200), "second": flip_flop(101, 201)},
                     out=[200, 201])
    assert absorb_output_registers(netlist) == 2
    (product,) = netlist["cells"].values()
    wires, ways = product["connections"], product["port_directions"]
    assert (wires["P9"], wires["P10"], wires["P8"], wires["P35"]) == ([200], [201], [308], [335])
    assert (wires["CLK0"], wires["CE0"], wires["RST0"]) == ([CLOCK], ["1"], ["0"])
    assert {ways[port] for port in ("CLK0", "CE0", "RST0")} == {"input"}
    assert product["parameters"] == {"REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0", "REG_OUTPUT_RST": "RST0"}


@pytest.mark.parametrize("change", [
    {"second": flip_flop(101, 201, clock=OTHER_CLOCK)}, {"second": flip_flop(101, 201, enable="CE")},
    {"second": lut(101)}, {"first": lut(100), "second": lut(101)}], ids=["clock", "enable", "logic", "only logic"])
def test_what_must_stay_behind_a_multiplier(change: dict[str, Any]) -> None:
    cells = {"product": multiplier([100, 101]), "first": flip_flop(100, 200), "second": flip_flop(101, 201)} | change
    netlist = module(cells)
    assert absorb_output_registers(netlist) == 0
    assert set(netlist["cells"]) == set(cells)
    assert netlist["cells"]["product"]["parameters"] == {}


def test_an_output_of_the_module_stays() -> None:
    assert absorb_output_registers(module({"ram": block_ram(18, [100]), "ff": flip_flop(100, 200)}, out=[100])) == 0
