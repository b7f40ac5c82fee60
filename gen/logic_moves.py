"""LUTs and flip-flops of a placed ECP5 design that lie far from where their slowest path wants them, moved along it.

For the wires' length it is all the same where on the way from its driver to its loads a cell lies, and so nextpnr's
placers leave many at one of the ends, where one of the paths has all of the way.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .placed_design import Place, PlacedDesign

__all__ = ["move_logic"]

_PASSES = 12  # what two neighbours want of each other is seen in the next one
_SLOW = 0.85  # of the slowest path: faster ones are left as they are
_GAIN_NS = 0.1
_SITE = re.compile(r"X(\d+)/Y(\d+)/SLICE(\w)\.(K|FF)(\d)")
# Flip-flops share these, as parameters or wires.
_TILE_SHARES = ("CLKMUX", "LSRMUX", "SRMODE", "CLK", "LSR")
_SLICE_SHARES = ("CEMUX", "GSR", "CE")

Cell = Mapping[str, Any]
_Half = tuple[str, int]  # a slice of a tile, and which of its two LUTs and flip-flops


@dataclass
class _Tile:
    """Cells in a tile by where they are; ``closed`` to others if it has LUT RAM or anything else."""

    luts: dict[_Half, Cell] = field(default_factory=dict)
    registers: dict[_Half, Cell] = field(default_factory=dict)
    closed: bool = False

    def free(self, lut: Cell | None, register: Cell | None) -> _Half | None:
        """Where there is room for both."""
        if self.closed or (register is not None and any(
                _shared(other, _TILE_SHARES) != _shared(register, _TILE_SHARES) for other in self.registers.values())):
            return None
        return next((half for half in _HALVES if (lut is None or self._takes_lut(half))
                     and (register is None or self._takes_register(half, register, lut))), None)

    def _takes_lut(self, half: _Half) -> bool:
        other = self.luts.get((half[0], 1 - half[1]))
        return half not in self.luts and (other is None or _is_plain(other))

    def _takes_register(self, half: _Half, register: Cell, lut: Cell | None) -> bool:
        other = self.registers.get((half[0], 1 - half[1]))
        beside = self.luts.get(half)
        return (half not in self.registers
                and (other is None or _shared(other, _SLICE_SHARES) == _shared(register, _SLICE_SHARES))
                and (lut is not None or beside is None or not beside["connections"].get("M")))


_HALVES: tuple[_Half, ...] = tuple((slice_, half) for slice_ in "ABCD" for half in (0, 1))


@dataclass(frozen=True)
class _Piece:
    """What moves together: a LUT, a flip-flop, or both if the one feeds the other."""

    lut: str | None
    register: str | None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.lut, self.register) if name is not None)


def move_logic(placed: dict[str, Any]) -> int:
    """Change where LUTs and flip-flops of a placed module (nextpnr's ``--write``) are; returns how often some moved.

    A LUT without carry and multiplexer moves, together with the flip-flop beside it if that takes its output, and a
    flip-flop whose data come from elsewhere. They go where their slowest path is fastest, if there is a place: of the
    flip-flops in a tile clock and reset are the same, in a slice the enable, too.
    """
    design = PlacedDesign(placed)
    tiles = _tiles(design)
    pieces = list(_pieces(design, tiles))
    sites = np.array(sorted(tiles))
    moves = 0
    for _ in range(_PASSES):
        limit_ns = _SLOW * design.slowest_ns()
        slow = sorted(((now_ns, piece.names, piece) for piece in pieces
                       if (now_ns := design.slowest_now_ns(piece.names)) >= limit_ns), reverse=True)
        settled: set[str] = set()  # what its paths take is no longer known
        before = moves
        for now_ns, _, piece in slow:
            if not settled.intersection(piece.names) and _move(design, piece, now_ns, tiles, sites):
                moves += 1
                settled.update(other for name in piece.names for _, _, (other, _) in design.wires(name))
        if moves == before:
            break
        design.forget_paths()
    return moves


def _tiles(design: PlacedDesign) -> dict[Place, _Tile]:
    """All that have LUTs or flip-flops."""
    tiles: dict[Place, _Tile] = defaultdict(_Tile)
    closed = set()
    for name, at in design.places.items():
        cell = design.cells[name]
        match = _SITE.match(cell["attributes"]["NEXTPNR_BEL"])
        if match is None or cell["parameters"].get("MODE") == "DPRAM":
            closed.add(at)
        else:
            kind = tiles[at].luts if match[4] == "K" else tiles[at].registers
            kind[match[3], int(match[5])] = cell
    for at in closed & set(tiles):
        tiles[at].closed = True
    return tiles


def _pieces(design: PlacedDesign, tiles: Mapping[Place, _Tile]) -> Iterator[_Piece]:
    names = {id(design.cells[name]): name for name in design.places}
    for tile in tiles.values():
        if tile.closed:
            continue
        for half in _HALVES:
            lut, register = tile.luts.get(half), tile.registers.get(half)
            follows = register is not None and bool(register["connections"].get("DI"))
            if register is not None and not follows:
                yield _Piece(None, names[id(register)])
            if lut is not None and _is_plain(lut):
                yield _Piece(names[id(lut)], names[id(register)] if follows else None)


def _is_plain(lut: Cell) -> bool:
    """Whether it is a LUT, and no part of a carry chain or a multiplexer."""
    return (lut["parameters"].get("MODE", "LOGIC") == "LOGIC"
            and not any(lut["connections"].get(port) for port in ("M", "OFX", "F1", "FXA", "FXB", "FCI", "FCO")))


def _shared(register: Cell, what: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(register["parameters"].get(name, register["connections"].get(name))) for name in what)


def _move(design: PlacedDesign, piece: _Piece, now_ns: float, tiles: Mapping[Place, _Tile], sites: Any) -> bool:
    """Move a piece to the best place that is free, if that is worth it."""
    slowest_ns = design.slowest_through_ns(piece.names, sites)
    lut, register = (None if name is None else design.cells[name] for name in (piece.lut, piece.register))
    worth = np.flatnonzero(slowest_ns < now_ns - _GAIN_NS)
    for k in worth[np.argsort(slowest_ns[worth], kind="stable")]:
        at = int(sites[k][0]), int(sites[k][1])
        half = tiles[at].free(lut, register)
        if half is None:
            continue
        for name, kind in ((piece.lut, "K"), (piece.register, "FF")):
            if name is not None:
                cell = design.cells[name]
                here = tiles[design.places[name]]
                for cells in (here.luts, here.registers):
                    for place in [place for place, other in cells.items() if other is cell]:
                        del cells[place]
                (tiles[at].luts if kind == "K" else tiles[at].registers)[half] = cell
                cell["attributes"]["NEXTPNR_BEL"] = f"X{at[0]}/Y{at[1]}/SLICE{half[0]}.{kind}{half[1]}"
                design.places[name] = at
        return True
    return False
