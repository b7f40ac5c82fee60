"""LUTs and flip-flops of a placed ECP5 design that lie far from where their slowest path wants them, moved along it.

For the wires' length it is all the same where on the way from its driver to its loads a cell lies, and so nextpnr's
placers leave many at one of the ends, where one of the paths has all of the way.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .placed_design import Place, PlacedDesign

__all__ = ["move_logic"]

_PASSES = 16  # what two neighbours want of each other is seen in the next one
_SLOW = 0.85  # of the slowest path: faster ones are left as they are
_GAIN_NS = 0.1
_SITE = re.compile(r"X\d+/Y\d+/SLICE(\w)\.(K|FF)(\d)")
_SITES = 8  # of LUTs, and as many of flip-flops, in the four slices of a tile
# Flip-flops share these, as parameters or wires.
_TILE_SHARES = ("CLKMUX", "LSRMUX", "SRMODE", "CLK", "LSR")
_SLICE_SHARES = ("CEMUX", "GSR", "CE")
_TO_MULTIPLEXERS = ("F1", "FXA", "FXB")  # inputs that come from LUTs beside it

Cell = dict[str, Any]


@dataclass(frozen=True)
class _Piece:
    """What moves together: LUTs and flip-flops by their sites, counted from a site that is a multiple of ``step``."""

    luts: tuple[tuple[int, str], ...]
    registers: tuple[tuple[int, str], ...]
    step: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.luts + self.registers)


@dataclass
class _Tile:
    """Cells in a tile by their sites; ``closed`` if it has LUT RAM or anything else, and nothing comes or goes."""

    luts: dict[int, str] = field(default_factory=dict)
    registers: dict[int, str] = field(default_factory=dict)
    closed: bool = False

    def free(self, piece: _Piece, cells: Mapping[str, Cell]) -> int | None:
        """The first site from which on there is room for it."""
        if self.closed or any(_shared(cells[mine], _TILE_SHARES) != _shared(cells[other], _TILE_SHARES)
                              for _, mine in piece.registers for other in self.registers.values()):
            return None
        return next((first for first in range(0, _SITES, piece.step)
                     if all(self._takes_lut(first + site, cells[name], cells) for site, name in piece.luts)
                     and all(self._takes_register(first + site, cells[name], bool(piece.luts), cells)
                             for site, name in piece.registers)), None)

    def _takes_lut(self, site: int, lut: Cell, cells: Mapping[str, Cell]) -> bool:
        other, beside = self.luts.get(site ^ 1), self.registers.get(site)
        return (site not in self.luts and (other is None or _is_logic(cells[other]))
                and not (beside is not None and _takes_m(lut) and _takes_m(cells[beside])))

    def _takes_register(self, site: int, register: Cell, follows: bool, cells: Mapping[str, Cell]) -> bool:
        other, beside = self.registers.get(site ^ 1), self.luts.get(site)
        return (site not in self.registers
                and (other is None or _shared(cells[other], _SLICE_SHARES) == _shared(register, _SLICE_SHARES))
                and (follows or beside is None or not _takes_m(cells[beside])))


def move_logic(placed: dict[str, Any]) -> int:
    """Change where LUTs and flip-flops of a placed module (nextpnr's ``--write``) are; returns how often some moved.

    LUTs move with the multiplexers behind them and the flip-flops beside them that take their outputs, if they are no
    part of a carry chain; flip-flops alone, too, which then take their data by a wire. They go where their slowest path
    is fastest, if there is a place: of the flip-flops in a tile clock and reset are the same, in a slice the enable,
    too.
    """
    design = PlacedDesign(placed)
    cells: dict[str, Cell] = placed["cells"]
    tiles = _tiles(design)
    places = np.array(sorted(tiles))
    moves = 0
    for _ in range(_PASSES):
        limit_ns = _SLOW * design.slowest_ns()
        slow = sorted(((now_ns, piece.names, piece) for piece in _pieces(tiles, cells)
                       if (now_ns := design.slowest_now_ns(piece.names)) >= limit_ns),
                      key=lambda each: (-each[0], -len(each[1]), each[1]))
        settled: set[str] = set()  # what its paths take is no longer known
        before = moves
        for now_ns, names, piece in slow:
            if not settled.intersection(names) and _move(design, piece, now_ns, tiles, places, cells):
                moves += 1
                settled.update(names)
                settled.update(other for name in names for _, _, (other, _) in design.wires(name))
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
            kind = tiles[at].luts if match[2] == "K" else tiles[at].registers
            kind["ABCD".index(match[1]) * 2 + int(match[3])] = name
    for at in closed & set(tiles):
        tiles[at].closed = True
    return tiles


def _pieces(tiles: Mapping[Place, _Tile], cells: Mapping[str, Cell]) -> Iterator[_Piece]:
    for tile in tiles.values():
        if tile.closed:
            continue
        yield from (_Piece((), ((0, name),)) for name in tile.registers.values())
        for sites in _together(tile, cells):
            luts = [cells[tile.luts[site]] for site in sites]
            if all(map(_is_logic, luts)) and (len(sites) > 1 or not _takes_m(luts[0])):
                step = next(step for step in (1, 2, 4, 8) if sites[0] // step == sites[-1] // step)
                first = sites[0] // step * step
                yield _Piece(tuple((site - first, tile.luts[site]) for site in sites),
                             tuple((site - first, tile.registers[site]) for site in sites if site in tile.registers
                                   and cells[tile.registers[site]]["connections"].get("DI")), step)


def _together(tile: _Tile, cells: Mapping[str, Cell]) -> list[list[int]]:
    """Sites of LUTs that multiplexers join."""
    drives = {net: site for site, name in tile.luts.items() for port in ("F", "OFX")
              for net in cells[name]["connections"].get(port, ())}
    group = {site: {site} for site in tile.luts}
    for site, name in tile.luts.items():
        for port in _TO_MULTIPLEXERS:
            for net in cells[name]["connections"].get(port, ()):
                if net in drives:
                    joined = group[site] | group[drives[net]]
                    group |= dict.fromkeys(joined, joined)
    return [sorted(sites) for site, sites in group.items() if site == min(sites)]


def _is_logic(lut: Cell) -> bool:
    """Whether it is a LUT, and no part of a carry chain."""
    return bool(lut["parameters"].get("MODE", "LOGIC") == "LOGIC")


def _takes_m(cell: Cell) -> bool:
    """Whether it has an input that a LUT's multiplexer shares with the flip-flop beside it."""
    return bool(cell["connections"].get("M"))


def _shared(register: Cell, what: Sequence[str]) -> list[str]:
    return [str(register["parameters"].get(name, register["connections"].get(name))) for name in what]


def _move(design: PlacedDesign, piece: _Piece, now_ns: float, tiles: Mapping[Place, _Tile],
          places: npt.NDArray[np.int64], cells: Mapping[str, Cell]) -> bool:
    """Move a piece to the best place that is free, if that is worth it."""
    slowest_ns = design.slowest_through_ns(piece.names, places)
    worth = np.flatnonzero(slowest_ns < now_ns - _GAIN_NS)
    for k in worth[np.argsort(slowest_ns[worth], kind="stable")]:
        at = int(places[k][0]), int(places[k][1])
        first = tiles[at].free(piece, cells)
        if first is not None:
            _put(design, piece, at, first, tiles, cells)
            return True
    return False


def _put(design: PlacedDesign, piece: _Piece, at: Place, first: int, tiles: Mapping[Place, _Tile],
         cells: Mapping[str, Cell]) -> None:
    for kind, members, letter in (("luts", piece.luts, "K"), ("registers", piece.registers, "FF")):
        for site, name in members:
            here: dict[int, str] = getattr(tiles[design.places[name]], kind)
            del here[next(place for place, other in here.items() if other == name)]
            getattr(tiles[at], kind)[first + site] = name
            slice_, half = divmod(first + site, 2)
            cells[name]["attributes"]["NEXTPNR_BEL"] = f"X{at[0]}/Y{at[1]}/SLICE{'ABCD'[slice_]}.{letter}{half}"
            design.places[name] = at
    if not piece.luts:
        for _, name in piece.registers:
            _take_by_wire(design, name, cells[name])


def _take_by_wire(design: PlacedDesign, name: str, register: Cell) -> None:
    """Let a flip-flop have its data from elsewhere, and not from the LUT beside it."""
    if "DI" in register["connections"]:
        for ports in (register["connections"], register["port_directions"]):
            ports["M"] = ports.pop("DI")
        register["parameters"]["SD"] = "0 "
        design.rename_load(name, "DI", "M")
