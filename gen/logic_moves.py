"""LUTs and flip-flops of a placed ECP5 design that lie far from where their slowest path wants them, moved along it.

For the wires' length it is all the same where on the way from its driver to its loads a cell lies, and so nextpnr's
placers leave many at one of the ends, where one of the paths has all of the way.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .placed_design import TO_MULTIPLEXERS, Place, PlacedDesign

__all__ = ["move_logic"]

_PASSES = 50  # what two neighbours want of each other is seen in the next one
_SLOW = 0.85  # of the slowest path: faster ones are left as they are
_SLOWEST = 0.95  # those along which pieces move that gain nothing themselves
_GAIN_NS = 0.05  # less is not worth a move
_ONE_WAY = 4  # passes towards the beginning of paths, and then as many towards the end
_PATIENCE = 16  # passes in which the slowest path does not become faster
_MOVES_EACH = 10  # of a piece
_EXCHANGES = 20  # that are tried for a piece
_SITE = re.compile(r"X\d+/Y\d+/SLICE(\w)\.(K|FF)(\d)")
_SITES = 8  # of LUTs, and as many of flip-flops, in the four slices of a tile
# Flip-flops share these, as parameters or wires.
_TILE_SHARES = ("CLKMUX", "LSRMUX", "SRMODE", "CLK", "LSR")
_SLICE_SHARES = ("CEMUX", "GSR", "CE")

Cell = dict[str, Any]
_Member = tuple[int, int, str]  # columns from the first one's tile, site, name


@dataclass(frozen=True)
class _Piece:
    """What moves together: LUTs and flip-flops, their sites counted from one that is a multiple of ``step``."""

    luts: tuple[_Member, ...]
    registers: tuple[_Member, ...]
    step: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for _, _, name in self.luts + self.registers)


@dataclass
class _Tile:
    """Cells in a tile by their sites; ``closed`` if it has LUT RAM or anything else, and nothing comes or goes."""

    luts: dict[int, str] = field(default_factory=dict)
    registers: dict[int, str] = field(default_factory=dict)
    closed: bool = False

    def takes_lut(self, site: int, lut: Cell, cells: Mapping[str, Cell]) -> bool:
        other, beside = self.luts.get(site ^ 1), self.registers.get(site)
        return (not self.closed and site not in self.luts and (other is None or _is_logic(cells[other]))
                and not (beside is not None and _takes_m(lut) and _takes_m(cells[beside])))

    def takes_register(self, site: int, register: Cell, follows: bool, cells: Mapping[str, Cell]) -> bool:
        """Whether there is room for one that takes the output of the LUT beside it, or comes alone."""
        other, beside = self.registers.get(site ^ 1), self.luts.get(site)
        return (not self.closed and site not in self.registers
                and all(_shared(cells[name], _TILE_SHARES) == _shared(register, _TILE_SHARES)
                        for name in self.registers.values())
                and (other is None or _shared(cells[other], _SLICE_SHARES) == _shared(register, _SLICE_SHARES))
                and (follows or beside is None or not _takes_m(cells[beside])))


def move_logic(placed: dict[str, Any]) -> int:
    """Change where LUTs and flip-flops of a placed module (nextpnr's ``--write``) are; returns how often some moved.

    LUTs move with the multiplexers behind them or all of their carry chain, and with the flip-flops that take their
    outputs; flip-flops alone, too, which then take their data by a wire. They go where their slowest path is fastest,
    if there is a place: of the flip-flops in a tile clock and reset are the same, in a slice the enable, too; carry
    chains begin with a tile, and go on in the next one to the right. A chain that finds no place changes places with
    one that is not as slow. Pieces of the slowest paths for which no place is better move along them all the same, in
    some passes towards the beginning and in the next ones towards the end: so one can follow the other. What is left
    in the end is the state with the fastest slowest path.
    """
    return _Moves(placed).run()


class _Moves:
    """A design's tiles, and what is moved in them."""

    def __init__(self, placed: dict[str, Any]) -> None:
        self.design = PlacedDesign(placed)
        self.cells: dict[str, Cell] = placed["cells"]
        self.tiles = _tiles(self.design)
        self.places = np.array(sorted(self.tiles))
        self.settled: set[str] = set()  # what their paths take is no longer known in this pass
        self.chains: dict[Place, _Piece] = {}
        self.moves: Counter[str] = Counter()

    def run(self) -> int:
        moves = 0
        best_ns, best_at, best = self.design.slowest_ns(), 0, self._state()
        to_end, since, idle = False, 0, 0
        for nth in range(_PASSES):
            moved = self._pass(to_end)
            moves += moved
            if self.design.slowest_ns() < best_ns:
                best_ns, best_at, best = self.design.slowest_ns(), nth, self._state()
            idle = 0 if moved else idle + 1
            if idle == 2 or nth - best_at == _PATIENCE:
                break
            since += 1
            if not moved or since == _ONE_WAY:
                to_end, since = not to_end, 0
        self._restore(best)
        return moves

    def _pass(self, to_end: bool) -> int:
        """Try all pieces on slow paths once; returns how many moved."""
        slowest_ns = self.design.slowest_ns()
        pieces = list(_pieces(self.design, self.tiles, self.cells))
        self.chains = {self.design.places[piece.names[0]]: piece for piece in pieces if piece.step == _SITES}
        slow = []
        for piece in pieces:
            now_ns = self.design.slowest_now_ns(piece.names)
            if now_ns >= _SLOW * slowest_ns and self.moves[piece.names[0]] < _MOVES_EACH:
                gain_ns = 0.0  # of the pieces of one path, the one that gains most goes first
                if now_ns >= _SLOWEST * slowest_ns:
                    gain_ns = now_ns - float(self.design.slowest_through_ns(piece.names, self.places).min())
                slow.append((-round(now_ns, 1), -gain_ns, piece.names, now_ns, piece))
        self.settled = set()
        moves = 0
        for _, _, names, now_ns, piece in sorted(slow, key=lambda each: each[:3]):
            if self.settled.isdisjoint(names):
                moves += self._move(piece, now_ns) or (
                    now_ns >= _SLOWEST * slowest_ns and self._move_along(piece, now_ns, to_end=to_end))
        self.design.forget_paths()
        return moves

    def _state(self) -> dict[str, tuple[str, bool]]:
        """Of LUTs and flip-flops, where they are, and whether they take the output of the LUT beside them."""
        return {name: (self.cells[name]["attributes"]["NEXTPNR_BEL"], "DI" in self.cells[name]["connections"])
                for tile in self.tiles.values() for name in (*tile.luts.values(), *tile.registers.values())}

    def _restore(self, state: Mapping[str, tuple[str, bool]]) -> None:
        for name, (site, follows) in state.items():
            self.cells[name]["attributes"]["NEXTPNR_BEL"] = site
            if follows:
                _take_data(self.design, name, self.cells[name], "DI")

    def _move(self, piece: _Piece, now_ns: float) -> bool:
        """To the best place that is free or can be had in exchange, if that is worth it."""
        slowest_ns = self.design.slowest_through_ns(piece.names, self.places)
        worth = slowest_ns < now_ns - _GAIN_NS
        if self._put_first(piece, np.argsort(slowest_ns[worth], kind="stable"), self.places[worth]):
            return True
        if piece.step < _SITES:
            return False
        here = np.array([self.design.places[piece.names[0]]])
        order = np.argsort(slowest_ns[worth], kind="stable")
        near = self._neighbours(piece)  # what the two of them would take is not known
        others = [other for at in map(tuple, self.places[worth][order].tolist())
                  if (other := self.chains.get(at, piece)) is not piece and self.settled.isdisjoint(other.names)
                  and near.isdisjoint(other.names)]
        return any(self.design.slowest_through_ns(other.names, here)[0] < now_ns - _GAIN_NS
                   and self._exchange(piece, other) for other in others[:_EXCHANGES])

    def _move_along(self, piece: _Piece, now_ns: float, *, to_end: bool) -> bool:
        """Along its slowest path, where that is no slower."""
        wire_ns, wire_now_ns = self.design.slowest_wire_ns(piece.names, self.places, to_end=to_end)
        worth = wire_ns < wire_now_ns - _GAIN_NS
        worth[worth] = self.design.slowest_through_ns(piece.names, self.places[worth]) < now_ns + 1e-6
        return self._put_first(piece, np.argsort(wire_ns[worth], kind="stable"), self.places[worth])

    def _put_first(self, piece: _Piece, order: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> bool:
        for k in order:
            at = int(places[k][0]), int(places[k][1])
            if (first := self._room(piece, at)) is not None:
                self._take(piece)
                self._put(piece, at, first)
                self._settle(piece)
                return True
        return False

    def _exchange(self, piece: _Piece, other: _Piece) -> bool:
        """Let two pieces change places, if both have room there."""
        here, there = (self.design.places[each.names[0]] for each in (piece, other))
        for each in (piece, other):
            self._take(each)
        if self._room(piece, there) is not None:
            self._put(piece, there, 0)
            if self._room(other, here) is not None:
                self._put(other, here, 0)
                self._settle(piece)
                self._settle(other)
                return True
            self._take(piece)
        self._put(piece, here, 0)
        self._put(other, there, 0)
        return False

    def _room(self, piece: _Piece, at: Place) -> int | None:
        """The first site from which on all of it has room."""
        reached = [self.tiles.get((at[0] + dx, at[1]))
                   for dx in range(1 + max(dx for dx, _, _ in piece.luts + piece.registers))]
        there = [tile for tile in reached if tile is not None]
        if len(there) < len(reached):
            return None
        follows, cells = bool(piece.luts), self.cells
        return next((first for first in range(0, _SITES, piece.step)
                     if all(there[dx].takes_lut(first + site, cells[name], cells) for dx, site, name in piece.luts)
                     and all(there[dx].takes_register(first + site, cells[name], follows, cells)
                             for dx, site, name in piece.registers)), None)

    def _take(self, piece: _Piece) -> None:
        for name in piece.names:
            tile = self.tiles[self.design.places[name]]
            for cells in (tile.luts, tile.registers):
                for site in [site for site, other in cells.items() if other == name]:
                    del cells[site]

    def _put(self, piece: _Piece, at: Place, first: int) -> None:
        for kind, members, letter in (("luts", piece.luts, "K"), ("registers", piece.registers, "FF")):
            for dx, place, name in members:
                x, site = at[0] + dx, first + place
                getattr(self.tiles[x, at[1]], kind)[site] = name
                self.cells[name]["attributes"]["NEXTPNR_BEL"] = (
                    f"X{x}/Y{at[1]}/SLICE{'ABCD'[site // 2]}.{letter}{site % 2}")
                self.design.places[name] = x, at[1]
        if not piece.luts:
            for name in piece.names:
                _take_data(self.design, name, self.cells[name], "M")

    def _settle(self, piece: _Piece) -> None:
        self.moves[piece.names[0]] += 1
        self.settled.update(piece.names, self._neighbours(piece))

    def _neighbours(self, piece: _Piece) -> set[str]:
        return {other for name in piece.names for _, _, (other, _) in self.design.wires(name)} - set(piece.names)


def _tiles(design: PlacedDesign) -> dict[Place, _Tile]:
    """All tiles for logic: they are a grid, of which no row or column is without any."""
    cells: list[tuple[Place, str, int, str]] = []
    closed = set()
    for name, at in design.places.items():
        match = _SITE.match(design.cells[name]["attributes"]["NEXTPNR_BEL"])
        if match is None or design.cells[name]["parameters"].get("MODE") == "DPRAM":
            closed.add(at)
        else:
            cells.append((at, match[2], "ABCD".index(match[1]) * 2 + int(match[3]), name))
    columns, rows = ({at[k] for at, *_ in cells} for k in (0, 1))
    tiles = {(x, y): _Tile(closed=(x, y) in closed) for x in columns for y in rows}
    for at, kind, site, name in cells:
        (tiles[at].luts if kind == "K" else tiles[at].registers)[site] = name
    return tiles


def _pieces(design: PlacedDesign, tiles: Mapping[Place, _Tile], cells: Mapping[str, Cell]) -> Iterator[_Piece]:
    for (x, y), tile in tiles.items():
        if tile.closed:
            continue
        yield from (_Piece((), ((0, 0, name),), 1) for name in tile.registers.values())
        for sites in _together(tile, cells):
            first = cells[tile.luts[sites[0]]]
            if _is_logic(first):
                if _is_whole(design, [tile.luts[site] for site in sites]):
                    step = next(step for step in (1, 2, 4, 8) if sites[0] // step == sites[-1] // step)
                    yield _piece([(0, site) for site in sites], (x, y), tiles, cells, step)
            elif not first["connections"].get("FCI"):
                yield _piece(_chain(design, tile.luts[sites[0]], x, tiles), (x, y), tiles, cells, _SITES)


def _piece(sites: Sequence[tuple[int, int]], at: Place, tiles: Mapping[Place, _Tile], cells: Mapping[str, Cell],
           step: int) -> _Piece:
    """LUTs at columns and sites, and the flip-flops that take their outputs."""
    first = sites[0][1] // step * step
    here = [(dx, site - first, tiles[at[0] + dx, at[1]], site) for dx, site in sites]
    return _Piece(tuple((dx, place, tile.luts[site]) for dx, place, tile, site in here),
                  tuple((dx, place, tile.registers[site]) for dx, place, tile, site in here if site in tile.registers
                        and cells[tile.registers[site]]["connections"].get("DI")), step)


def _chain(design: PlacedDesign, name: str, x: int, tiles: Mapping[Place, _Tile]) -> list[tuple[int, int]]:
    """Columns and sites of a carry chain that begins with this LUT."""
    sites = []
    following: str | None = name
    while following is not None:
        at = design.places[following]
        sites.append((at[0] - x, next(site for site, lut in tiles[at].luts.items() if lut == following)))
        carries = design.cells[following]["connections"].get("FCO", ())
        following = next((cell for net in carries for cell, port in design.loads[net] if port == "FCI"), None)
    return sites


def _together(tile: _Tile, cells: Mapping[str, Cell]) -> list[list[int]]:
    """Sites of LUTs that multiplexers join."""
    drives = {net: site for site, name in tile.luts.items() for port in ("F", "OFX")
              for net in cells[name]["connections"].get(port, ())}
    group = {site: {site} for site in tile.luts}
    for site, name in tile.luts.items():
        for port in TO_MULTIPLEXERS:
            for net in cells[name]["connections"].get(port, ()):
                if net in drives:
                    joined = group[site] | group[drives[net]]
                    group |= dict.fromkeys(joined, joined)
    return [sorted(sites) for site, sites in group.items() if site == min(sites)]


def _is_whole(design: PlacedDesign, luts: Sequence[str]) -> bool:
    """Whether multiplexers have all that they join within, and join none of it with LUTs of other tiles."""
    if len(luts) == 1 and _takes_m(design.cells[luts[0]]):
        return False
    wires = [(port, net) for name in luts for port, nets in design.cells[name]["connections"].items() for net in nets]
    return (all(design.drivers.get(net, ("",))[0] in luts for port, net in wires if port in TO_MULTIPLEXERS)
            and all(cell in luts for port, net in wires if port in ("F", "OFX")
                    for cell, end in design.loads.get(net, ()) if end in TO_MULTIPLEXERS))


def _is_logic(lut: Cell) -> bool:
    """Whether it is a LUT, and no part of a carry chain."""
    return bool(lut["parameters"].get("MODE", "LOGIC") == "LOGIC")


def _takes_m(cell: Mapping[str, Any]) -> bool:
    """Whether it has an input that a LUT's multiplexer shares with the flip-flop beside it."""
    return bool(cell["connections"].get("M"))


def _shared(register: Cell, what: Sequence[str]) -> list[str]:
    return [str(register["parameters"].get(name, register["connections"].get(name))) for name in what]


def _take_data(design: PlacedDesign, name: str, register: Cell, port: str) -> None:
    """Let a flip-flop have its data from the LUT beside it (``DI``), or from elsewhere (``M``)."""
    before = "M" if port == "DI" else "DI"
    if before in register["connections"]:
        for ports in (register["connections"], register["port_directions"]):
            ports[port] = ports.pop(before)
        register["parameters"]["SD"] = "1 " if port == "DI" else "0 "
        design.rename_load(name, before, port)
