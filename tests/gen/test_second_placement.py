"""What a first placement says for the second one."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np
import pytest

from spikeloom.gen.placed_design import wire_ns
from spikeloom.gen.second_placement import (
    ask_for_mhz,
    block_ram_places,
    bound_places,
    move_block_rams,
    move_multipliers,
)
from spikeloom.model.errors import SpikeloomError

WEIGHTS = "core.hidden.synapses.weights0_{}.rows.0.0"


def placement(rams: list[tuple[int, int]], loads: list[list[tuple[int, int]]],
              drivers: list[tuple[int, int]]) -> dict[str, Any]:
    """Block RAMs at places, each of which feeds LUTs at others, and is addressed by one; and a net to some of them,
    and to many more."""
    cells: dict[str, Any] = {"constant": cell("TRELLIS_COMB", (90, 90), F=[9999])}
    cells |= {f"other{k}": cell("TRELLIS_COMB", (k % 90, 1), A=[9999]) for k in range(1000)}
    for k, (place, its, driver) in enumerate(zip(rams, loads, drivers, strict=True)):
        cells[WEIGHTS.format(k)] = cell("DP16KD", place, DOA0=[3 * k], DOB7=[3 * k + 1], ADA0=[3 * k + 2],
                                        WEA=[9999] * (k % 2))
        cells[f"driver{k}"] = cell("TRELLIS_COMB", driver, F=[3 * k + 2])
        cells |= {f"lut{k}_{n}": cell("TRELLIS_COMB", at, A=[3 * k + n % 2]) for n, at in enumerate(its)}
    return {"cells": cells}


def cell(kind: str, at: tuple[int, int], **wires: list[int]) -> dict[str, Any]:
    return {"type": kind, "attributes": {"NEXTPNR_BEL": bel(*at)}, "parameters": {}, "connections": wires,
            "port_directions": {port: "output" if port[0] in "DF" else "input" for port in wires}}


def bel(x: int, y: int) -> str:
    return f"X{x}/Y{y}/BEL{x % 4}"


@pytest.mark.parametrize("seed", range(5))
def test_block_rams_come_to_their_loads_and_drivers(seed: int) -> None:
    """The best of all assignments to the grid of sites in use: three columns and two rows for five block RAMs. Paths
    are a block RAM's output and a wire, or a wire and the setup of an address."""
    rng = np.random.default_rng(seed)
    columns = sorted(int(x) for x in rng.choice(60, 3, replace=False))
    grid = [(x, y) for x in columns for y in (22, 46)]
    rams = [grid[int(k)] for k in rng.permutation([0, 1, 2, 3, rng.integers(4, 6)])]
    loads = [[(int(x), int(y)) for x, y in rng.integers(0, 60, (rng.integers(1, 6), 2))] for _ in rams]
    drivers = [(int(x), int(y)) for x, y in rng.integers(0, 60, (5, 2))]
    placed = placement(rams, loads, drivers)

    def cost(at: tuple[int, int], its: list[tuple[int, int]], driver: tuple[int, int]) -> float:
        spans = [(abs(at[0] - x), abs(at[1] - y)) for x, y in (*its, driver)]
        slowest = max(*(5.6 + wire_ns(*span) for span in spans[:-1]), wire_ns(*spans[-1]) + 0.1)
        return float(np.mean([(dx + dy) ** 2 for dx, dy in spans]) * slowest ** 16)

    def total(order: tuple[int, ...]) -> float:
        return sum(cost(grid[site], its, driver) for site, its, driver in zip(order, loads, drivers, strict=True))

    best = min(itertools.permutations(range(6), 5), key=total)
    assert block_ram_places(placed) == {WEIGHTS.format(k): bel(*grid[site]) for k, site in enumerate(best)}


def test_unread_block_rams_take_what_is_left() -> None:
    placed = placement([(4, 22), (50, 22)], [[], [(0, 20)]], [(30, 22), (30, 22)])
    assert block_ram_places(placed) == {WEIGHTS.format(0): bel(50, 22), WEIGHTS.format(1): bel(4, 22)}


def test_only_weights_of_large_layers_are_bound() -> None:
    names = [f"core.output_.synapses.weights0_{k}.rows.0.0" for k in (0, 1)]
    names += [f"core.hidden.queue.bank0.0.{k}" for k in range(2, 6)]
    names += [WEIGHTS.format(k) for k in range(6, 22)]
    places = {name: bel(k, 22) for k, name in enumerate(names)}
    assert bound_places(places) == {name: places[name] for name in names[6:]}


def test_block_rams_are_moved() -> None:
    """And nothing else."""
    placed = placement([(4, 22), (50, 22)], [[(50, 20)], [(0, 20)]], [(50, 22), (3, 22)])
    places = block_ram_places(placed)
    assert places == {WEIGHTS.format(0): bel(50, 22), WEIGHTS.format(1): bel(4, 22)}
    before = {name: cell["attributes"]["NEXTPNR_BEL"] for name, cell in placed["cells"].items()}
    move_block_rams(placed)
    assert {name: cell["attributes"]["NEXTPNR_BEL"] for name, cell in placed["cells"].items()} == before | places


def test_multipliers_change_places() -> None:
    """And use no other sites: those of the block RAMs' grid would be nearer."""
    placed = placement([(4, 22), (50, 23), (0, 24)], [[(50, 20)], [(0, 20)], [(4, 22)]], [(50, 22), (3, 22), (4, 22)])
    before = {name: cell["attributes"]["NEXTPNR_BEL"] for name, cell in placed["cells"].items()}
    for k in (0, 1):
        placed["cells"][WEIGHTS.format(k)]["type"] = "MULT18X18D"
    move_multipliers(placed)
    assert {name: cell["attributes"]["NEXTPNR_BEL"] for name, cell in placed["cells"].items()} == before | {
        WEIGHTS.format(0): bel(50, 23), WEIGHTS.format(1): bel(4, 22)}


def test_no_block_rams() -> None:
    placed = placement([], [], [])
    assert block_ram_places(placed) == {}
    move_multipliers(placed)


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(SpikeloomError, match=r"pip install 'spikeloom\[pnr\]'"):
        block_ram_places(placement([], [], []))


@pytest.mark.parametrize("wanted", [50.0, 120.0, 500.0])
def test_clock_that_is_asked_for(wanted: float) -> None:
    """No more than the slowest path lets one expect."""
    placed = placement([(4, 22), (50, 22)], [[(5, 22)], [(20, 20)]], [(4, 22), (3, 22)])
    assert ask_for_mhz(wanted, placed) == min(wanted, round(1000 / (5.6 + float(wire_ns(30, 2))), 1))
    assert ask_for_mhz(wanted, placement([], [], [])) == wanted
