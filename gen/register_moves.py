"""Registers of a placed ECP5 design that lie far from where their slowest path wants them, moved along it.

For the wires' length it is all the same where on the way from its driver to its loads a register lies, and so nextpnr's
placers leave many at one of the ends, where one of their two paths has all of the way.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .placed_design import PlacedDesign

__all__ = ["move_registers"]

_PASSES = 3  # what two neighbours want of each other is seen in the next one
_SLOW = 0.8  # of the slowest path: faster ones are left as they are
_GAIN_NS = 0.2
_PLACE = re.compile(r"X(\d+)/Y(\d+)/SLICE")
# Flip-flops in a tile share these, as parameters or wires.
_SHARED = ("CLKMUX", "LSRMUX", "CEMUX", "SRMODE", "GSR", "CLK", "LSR", "CE")


@dataclass
class _Tile:
    """Places for flip-flops in a tile, and what those that have come to it share."""

    places: list[str] = field(default_factory=list)
    shared: tuple[str, ...] | None = None


def move_registers(placed: dict[str, Any]) -> int:
    """Change where flip-flops of a placed module (nextpnr's ``--write``) are; returns how often one was moved.

    It is those whose data do not come from the LUT beside them. They move to tiles that have LUTs and no flip-flops, or
    such that came before them with the same clock, reset and enable, and only if the slowest of their paths becomes
    faster.
    """
    free = _free_places(placed)
    moves = 0
    for _ in range(_PASSES):
        design = PlacedDesign(placed)
        limit_ns = _SLOW * design.slowest_ns()
        slow = sorted(((_now_ns(design, name), name) for name, cell in design.cells.items()
                       if cell["type"] == "TRELLIS_FF" and cell["connections"].get("M") and name in design.places),
                      reverse=True)
        before = moves
        for now_ns, name in slow:
            if now_ns < limit_ns:
                break
            moves += _move(design, name, now_ns, free)
        if moves == before:
            break
    return moves


def _free_places(placed: dict[str, Any]) -> dict[tuple[int, int], _Tile]:
    """By column and row, tiles that have LUTs and nothing else."""
    tiles: dict[tuple[int, int], _Tile] = defaultdict(_Tile)
    others = set()
    taken = set()  # by a LUT whose multiplexer needs the input that a flip-flop's data would come by
    for cell in placed["cells"].values():
        match = _PLACE.match(place := cell["attributes"].get("NEXTPNR_BEL", ""))
        if match is None:
            continue
        at = int(match[1]), int(match[2])
        if cell["type"] != "TRELLIS_COMB" or cell["parameters"].get("MODE") == "DPRAM":
            others.add(at)
        elif not tiles[at].places:
            tiles[at].places = [f"X{at[0]}/Y{at[1]}/SLICE{slice_}.FF{half}" for slice_ in "ABCD" for half in "01"]
        if cell["connections"].get("M"):
            taken.add(place.replace(".K", ".FF"))
    for tile in tiles.values():
        tile.places = [place for place in tile.places if place not in taken]
    return {at: tile for at, tile in tiles.items() if at not in others}


def _now_ns(design: PlacedDesign, name: str) -> float:
    return float(design.slowest_through_ns(name, np.array([design.places[name]]))[0])


def _move(design: PlacedDesign, name: str, now_ns: float, free: dict[tuple[int, int], _Tile]) -> bool:
    """Move a flip-flop to the best free place, if that is worth it."""
    cell = design.cells[name]
    shared = tuple(str(cell["parameters"].get(what, cell["connections"].get(what))) for what in _SHARED)
    tiles = [at for at, tile in free.items() if tile.places and tile.shared in (None, shared)]
    if not tiles:
        return False
    slowest_ns = design.slowest_through_ns(name, np.array(tiles))
    best = int(np.argmin(slowest_ns))
    if slowest_ns[best] > now_ns - _GAIN_NS:
        return False
    at = tiles[best]
    cell["attributes"]["NEXTPNR_BEL"] = free[at].places.pop()
    free[at].shared = shared
    design.places[name] = at
    return True
