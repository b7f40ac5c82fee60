"""Paths of a placed design, by estimate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikeloom.gen.placed_design import PlacedDesign, wire_ns

OUTPUTS = ("F", "Q", "OFX", "FCO", "DOA0", "P9", "CLKO")


def cell(kind: str, at: tuple[int, int], parameters: dict[str, str] | None = None, **wires: int) -> dict[str, Any]:
    return {"type": kind, "attributes": {"NEXTPNR_BEL": "X{}/Y{}/BEL".format(*at)}, "parameters": parameters or {},
            "connections": {port: [wire] for port, wire in wires.items()},
            "port_directions": {port: "output" if port in OUTPUTS else "input" for port in wires}}


def chain(**more: dict[str, Any]) -> PlacedDesign:
    """A flip-flop, a LUT, a carry over two LUTs, the flip-flop beside the second one."""
    return PlacedDesign({"cells": {
        "from": cell("TRELLIS_FF", (0, 0), CLK=99, Q=1, DI=98),
        "lut": cell("TRELLIS_COMB", (3, 0), A=1, B=97, F=2),
        "low": cell("TRELLIS_COMB", (3, 10), {"MODE": "CCU2"}, A=2, FCO=3),
        "high": cell("TRELLIS_COMB", (3, 10), {"MODE": "CCU2"}, FCI=3, F=4),
        "to": cell("TRELLIS_FF", (3, 10), CLK=99, DI=4, Q=5), **more}})


@pytest.mark.parametrize(("dx", "dy", "steps"), [(0, 0, 6), (3, 0, 12), (5, 5, 26), (20, 7, 43)])
def test_wires(dx: int, dy: int, steps: int) -> None:
    assert wire_ns(dx, dy) == pytest.approx(0.08 * steps)


def test_arrivals() -> None:
    """And what has no driver in sight is no path."""
    arrivals = {net: chain().arrival_ns(net) for net in (1, 2, 3, 4)}
    lut = 0.53 + wire_ns(3, 0) + 0.24
    low = lut + wire_ns(0, 10) + 0.45
    assert arrivals == pytest.approx({1: 0.53, 2: lut, 3: low, 4: low + 0.44})


def test_what_is_left() -> None:
    design = chain()
    carry = 0.45 + 0.44
    assert design.after_ns(("to", "DI")) == 0
    assert design.after_ns(("high", "FCI")) == pytest.approx(0.44)
    assert design.after_ns(("low", "A")) == pytest.approx(carry)
    assert design.after_ns(("lut", "A")) == pytest.approx(0.24 + wire_ns(0, 10) + carry)


def test_slowest_path_of_a_cell_elsewhere() -> None:
    """A block RAM with a register at its output, between the chain's end and the LUT's other input."""
    ram = {"ram": cell("DP16KD", (40, 22), {"REGMODE_A": "OUTREG"}, ADA0=5, DOA0=97)}
    design = chain(**ram)
    assert sorted(design.wires("ram")) == [("ADA0", 5, ("to", "Q")), ("DOA0", 97, ("lut", "B"))]
    places = np.array([(3, 10), (40, 22), (3, 0)])
    behind = 0.97 + design.after_ns(("lut", "B"))
    want = [max(0.53 + wire_ns(abs(x - 3), abs(y - 10)) + 0.1, behind + wire_ns(abs(x - 3), y)) for x, y in places]
    assert design.slowest_through_ns(["ram"], places).tolist() == pytest.approx(want)
    assert design.slowest_through_ns(["from"], places).tolist() == pytest.approx(
        [0.53 + design.after_ns(("lut", "A")) + wire_ns(abs(x - 3), y) for x, y in places])


def test_a_piece_elsewhere() -> None:
    """What is said of a LUT, a multiplexer behind it and a register, if they were elsewhere, is so when they are."""
    def placed(at: tuple[int, int]) -> PlacedDesign:
        return chain(one=cell("TRELLIS_COMB", at, A=1, B=5, F1=31, M=5, F=30, OFX=32),
                     two=cell("TRELLIS_COMB", at, C=4, D=30, F=31),
                     register=cell("TRELLIS_FF", at, CLK=99, DI=32, CE=2, Q=33),
                     far=cell("TRELLIS_FF", (60, 70), CLK=99, M=33), near=cell("TRELLIS_COMB", (9, 9), A=31, F=34),
                     end=cell("TRELLIS_FF", (9, 9), CLK=99, DI=34))

    piece = ["one", "two", "register"]
    places = [(x, y) for x in (0, 3, 30, 60) for y in (0, 9, 70)]
    foretold = placed((8, 8)).slowest_through_ns(piece, np.array(places))
    assert foretold.tolist() == pytest.approx([placed(at).slowest_now_ns(piece) for at in places])


def test_a_port_that_is_renamed() -> None:
    design = chain()
    design.cells["to"]["connections"]["M"] = design.cells["to"]["connections"].pop("DI")
    design.rename_load("to", "DI", "M")
    assert design.loads[4] == [("to", "M")]
    assert design.slowest_ns() == pytest.approx(design.arrival_ns(4) + wire_ns(0, 0))


@pytest.mark.parametrize("registered", [False, True])
def test_multipliers(registered: bool) -> None:
    """With an output register the product is there at a setup, and leaves with the clock."""
    clock = {"REG_OUTPUT_CLK": "CLK0"} if registered else {}
    design = chain(product=cell("MULT18X18D", (3, 12), clock, A0=5, P9=20), end=cell("TRELLIS_FF", (3, 13), DI=20))
    arrives, leaves = 0.53 + wire_ns(0, 2), wire_ns(0, 1)
    assert design.after_ns(("product", "A0")) == pytest.approx(3.49 if registered else 3.93 + leaves)
    assert design.arrival_ns(20) == pytest.approx(0.74 if registered else arrives + 3.93)


def test_outputs_of_a_lut_follow_their_own_inputs() -> None:
    """A LUT's own output does not wait for the multiplexer behind it, whose other input may come from it; and what is
    written into LUT RAM does not come out of it at once."""
    design = chain(
        mux=cell("TRELLIS_COMB", (9, 9), A=5, F=20, FXA=20, M=4, OFX=21),
        ram=cell("TRELLIS_COMB", (9, 9), {"MODE": "DPRAM"}, A=5, WRE=4, F=22),
        end=cell("TRELLIS_FF", (9, 9), CLK=99, DI=21, M=22, Q=23))
    address = 0.53 + wire_ns(6, 1)
    assert design.arrival_ns(20) == pytest.approx(address + 0.24)
    assert design.arrival_ns(21) == pytest.approx(design.arrival_ns(4) + wire_ns(6, 1) + 0.24)
    assert design.arrival_ns(22) == pytest.approx(address + 0.24)
    assert design.after_ns(("ram", "WRE")) == 0.39


def test_clocks_and_constants_are_no_paths() -> None:
    """However few loads they have, and though they come from far away."""
    design = chain(buffer=cell("DCCA", (60, 0), CLKO=99), **{"$PACKER_VCC": cell("TRELLIS_COMB", (60, 0), F=97)})
    assert not design.is_path(99)
    assert not design.is_path(97)
    assert design.is_path(5) is False  # nobody reads it
    assert design.slowest_ns() == chain().slowest_ns() == pytest.approx(chain().arrival_ns(4))


def test_what_goes_everywhere_is_no_path() -> None:
    loads = {f"load{k}": cell("TRELLIS_FF", (k % 50, k // 50), DI=5) for k in range(1000)}
    assert not chain(**loads).is_path(5)
    assert chain(**dict(list(loads.items())[1:])).is_path(5)
