"""A design as nextpnr has placed it on an ECP5: where its cells are, and how long its paths will take, by estimate.

nextpnr's own analysis is for one placement; with this one a cell can be tried in many places.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from graphlib import TopologicalSorter
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCK_RAM", "MULTIPLIER", "TO_MULTIPLEXERS", "Place", "PlacedDesign", "wire_ns"]

BLOCK_RAM = "DP16KD"
MULTIPLIER = "MULT18X18D"
TO_MULTIPLEXERS = ("F1", "FXA", "FXB")  # inputs of a LUT that come from LUTs beside it
_LUT = "TRELLIS_COMB"
_CONSTANTS = "$PACKER_"
_CLOCKS = ("CLK", "WCK")  # how ports begin that a clock comes to
_EVERYWHERE = 1000  # loads of a net that says nothing about places, as a reset's
# Delays of speed grade 6, as nextpnr reports them.
_CLOCK_TO_OUTPUT_NS = {"TRELLIS_FF": 0.53, BLOCK_RAM: 5.6, MULTIPLIER: 0.74}
_REGISTERED_OUTPUT_NS = 0.97  # of a block RAM
_LUT_NS = 0.24
_CARRY_NS = {("FCI", "FCO"): 0.07, ("FCI", "F"): 0.44, ("LUT", "FCO"): 0.45, ("LUT", "F"): 0.44}
_BESIDE = ("FCI", *TO_MULTIPLEXERS)  # inputs that come from the LUT beside it without a wire
_PRODUCT_NS = 3.93
_SETUP_NS = {"WRE": 0.39, "DI": 0.0, "M": 0.0}
_OTHER_SETUP_NS = 0.1
_MULTIPLIER_SETUP_NS = 3.49  # of an output register, at its inputs

_STEPS = np.array([2 * min(d, 5) + max(d - 5, 0) for d in range(1000)])  # of a wire, by distance
End = tuple[str, str]  # cell, port
Place = tuple[int, int]
_Integers = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


def wire_ns(dx: Any, dy: Any) -> Any:
    """Of a wire over so many columns and rows, as nextpnr's placers estimate it: integers, or arrays of any shape."""
    return 0.08 * (6 + _STEPS[dx] + _STEPS[dy])


@dataclass(frozen=True)
class _Graph:
    """All paths of a design, in arrays: nets from level to level, wires from a net to each of its loads, arcs from a
    wire through the load to a net behind it. Of wires and arcs, slices by the level of the net.

    Attributes
    ----------
    nets : dict
        Place in the arrays, by net.
    starts_ns : (nets)
        From the clock edge on, of nets that nothing comes before; else less than any time.
    net, driver, load : (wires)
        Where a wire is from and to; cells by number.
    beside, data : (wires)
        Whether it takes no time; whether it takes none in the same tile.
    setup_ns : (wires)
        If paths end there; else less than any time.
    wires : dict
        Place in the arrays, by cell and port.
    wires_at : list of slice
    arc_wire, arc_net, through_ns : (arcs)
    arcs_at : list of slice
    """

    nets: dict[int, int]
    starts_ns: _Floats
    net: _Integers
    driver: _Integers
    load: _Integers
    beside: npt.NDArray[np.bool_]
    data: npt.NDArray[np.bool_]
    setup_ns: _Floats
    wires: dict[End, int]
    wires_at: list[slice]
    arc_wire: _Integers
    arc_net: _Integers
    through_ns: _Floats
    arcs_at: list[slice]


@dataclass(frozen=True)
class _Paths:
    """What they take: when a net changes at its driver, from the clock edge on; of each wire its delay, and from its
    end to the last setup behind it; of each cell the slowest path through it."""

    arrival_ns: _Floats
    wire_ns: _Floats
    after_ns: _Floats
    slowest_ns: _Floats


class PlacedDesign:
    """Places and paths of a placed module.

    The delay of a path is that of its cells and wires (:func:`wire_ns`); carries, and LUTs' outputs to multiplexers and
    to the flip-flop beside them, take no wire. Clocks, constants and what else has loads everywhere are no paths.

    Parameters
    ----------
    module : mapping
        As nextpnr's ``--write`` gives it.

    Attributes
    ----------
    cells : mapping
        The module's.
    places : dict
        Column and row of each cell.
    loads : dict
        Cells and ports that a net ends at, by net.
    drivers : dict
        Cell and port that it comes from.
    """

    def __init__(self, module: Mapping[str, Any]) -> None:
        self.cells: Mapping[str, Any] = module["cells"]
        self.places: dict[str, Place] = {}
        self.loads: dict[int, list[End]] = {}
        self.drivers: dict[int, End] = {}
        clocks: set[int] = set()
        for name, cell in self.cells.items():
            if match := re.match(r"X(\d+)/Y(\d+)/", cell["attributes"].get("NEXTPNR_BEL", "")):
                self.places[name] = int(match[1]), int(match[2])
                for port, bits in cell["connections"].items():
                    for bit in bits:
                        if cell["port_directions"][port] == "output":
                            self.drivers[bit] = name, port
                        else:
                            self.loads.setdefault(bit, []).append((name, port))
                            if port.startswith(_CLOCKS):
                                clocks.add(bit)
        self._number = {name: k for k, name in enumerate(self.places)}
        self._nets = dict.fromkeys(net for net, loads in self.loads.items()
                                   if net in self.drivers and net not in clocks and len(loads) < _EVERYWHERE
                                   and not self.drivers[net][0].startswith(_CONSTANTS))

    def is_path(self, net: int) -> bool:
        """Whether it goes from one placed cell to a few others, and is no clock and no constant."""
        return net in self._nets

    def wires(self, cell: str) -> list[tuple[str, int, End]]:
        """Port, net and other end of all paths that begin or end at the cell."""
        found = []
        for port, bits in self.cells[cell]["connections"].items():
            for net in bits:
                if net in self._nets:
                    others = self.loads[net] if self.drivers[net] == (cell, port) else [self.drivers[net]]
                    found += [(port, net, other) for other in others]
        return found

    def forget_paths(self) -> None:
        """Work out delays anew: cells have moved."""
        self.__dict__.pop("_paths", None)

    def rename_load(self, cell: str, port: str, new: str) -> None:
        """A net ends at another port of the cell, by a wire."""
        for net in self.cells[cell]["connections"][new]:
            self.loads[net] = [(cell, new) if end == (cell, port) else end for end in self.loads[net]]
        if (wire := self._graph.wires.pop((cell, port), None)) is not None:
            self._graph.wires[cell, new] = wire
            self._graph.data[wire] = False

    def arrival_ns(self, net: int) -> float:
        """When a net changes at its driver, from the clock edge on."""
        return float(self._paths.arrival_ns[self._graph.nets[net]])

    def after_ns(self, end: End) -> float:
        """From an end of a net to the last setup behind it."""
        return float(self._paths.after_ns[self._graph.wires[end]])

    def slowest_ns(self) -> float:
        """The slowest path; 0 if there is none."""
        return float(self._paths.slowest_ns.max(initial=0.0))

    def slowest_now_ns(self, cells: Sequence[str]) -> float:
        """The slowest path that goes through one of these cells, or begins or ends there; 0 if there is none."""
        return max(float(self._paths.slowest_ns[self._number[name]]) for name in cells)

    def slowest_through_ns(self, cells: Sequence[str], places: _Integers) -> _Floats:
        """The same, if the first one were in each of ``places`` (N, 2), and the others as they lie to it now: (N,)."""
        within = set(cells)
        leaves: dict[int, Any] = {}

        def arrives(net: int, end: End) -> Any:
            driver = self.drivers[net][0]
            if driver in within:
                return leaves_at(net) + self._paths.wire_ns[self._graph.wires[end]]
            return self.arrival_ns(net) + self._wires_ns(cells[0], end[0], driver, places)

        def leaves_at(net: int) -> Any:
            if net not in leaves:
                name, out = self.drivers[net]
                cell = self.cells[name]
                came = [arrives(before, (name, port)) + _through_ns(cell, port, out)
                        for port, before in self._inputs(name, out)]
                leaves[net] = reduce(np.maximum, came) if came else _from_clock_ns(cell)
            return leaves[net]

        slowest = np.zeros(len(places))
        for name in cells:
            for port, net, (other, other_port) in self.wires(name):
                if self.drivers[net] != (name, port):
                    if not _passes(self.cells[name], port):
                        slowest = np.maximum(slowest, arrives(net, (name, port)) + _setup_ns(self.cells[name], port))
                elif other not in within:
                    slowest = np.maximum(slowest, leaves_at(net) + self.after_ns((other, other_port))
                                         + self._wires_ns(cells[0], name, other, places))
        return slowest

    def slowest_wire_ns(self, cells: Sequence[str], places: _Integers, *, to_end: bool) -> tuple[_Floats, float]:
        """Of the wire by which the slowest path comes to the cells, or by which it leaves them (``to_end``): its delay
        if the first one were in each of ``places``, and now; 0 if there is none."""
        within = set(cells)
        wires = []
        for name in cells:
            for port, net, other in self.wires(name):
                leaves = self.drivers[net] == (name, port)
                if leaves is to_end and other[0] not in within:
                    end = other if leaves else (name, port)
                    wire = self._graph.wires[end]
                    wires.append((self.arrival_ns(net) + self._paths.wire_ns[wire] + self._paths.after_ns[wire],
                                  name, other[0], self._paths.wire_ns[wire]))
        if not wires:
            return np.zeros(len(places)), 0.0
        _, name, far, now_ns = max(wires)
        return self._wires_ns(cells[0], name, far, places), float(now_ns)

    def _wires_ns(self, first: str, name: str, other: str, places: _Integers) -> _Floats:
        """Of a wire between two cells, if ``first`` were in each of ``places`` and ``name`` lay to it as now."""
        moved = np.array(self.places[name]) - self.places[first] - self.places[other]
        return np.asarray(wire_ns(*np.abs(places + moved).T))

    def _inputs(self, name: str, out: str) -> list[tuple[str, int]]:
        """Ports and nets that an output of the cell follows at once."""
        cell = self.cells[name]
        return [(port, bits[0]) for port, bits in cell["connections"].items()
                if bits and cell["port_directions"][port] == "input" and bits[0] in self._nets
                and _passes(cell, port, out)]

    @cached_property
    def _graph(self) -> _Graph:
        inputs = {net: self._inputs(*self.drivers[net]) for net in self._nets}
        level: dict[int, int] = {}
        for net in TopologicalSorter({net: [before for _, before in found] for net, found in inputs.items()}
                                     ).static_order():
            level[net] = max((level[before] + 1 for _, before in inputs[net]), default=0)
        order = sorted(level, key=level.__getitem__)
        nets = {net: k for k, net in enumerate(order)}
        ends = [(net, end) for net in order for end in self.loads[net]]
        wires = {end: k for k, (_, end) in enumerate(ends)}
        arcs = [(wires[self.drivers[net][0], port], net, _through_ns(self.cells[name], port, out))
                for net in order for name, out in [self.drivers[net]] for port, _ in inputs[net]]
        going_on = {wire for wire, _, _ in arcs}
        outputs = [self.drivers[net][1] for net, _ in ends]

        def by_level(levels: list[int]) -> list[slice]:
            edges = np.searchsorted(levels, range(max(levels, default=-1) + 2))
            return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]

        return _Graph(
            nets=nets,
            starts_ns=np.array([-np.inf if inputs[net] else _from_clock_ns(self.cells[self.drivers[net][0]])
                                for net in order]),
            net=np.array([nets[net] for net, _ in ends], np.int64),
            driver=np.array([self._number[self.drivers[net][0]] for net, _ in ends], np.int64),
            load=np.array([self._number[name] for _, (name, _) in ends], np.int64),
            beside=np.array([port in _BESIDE for _, (_, port) in ends], bool),
            data=np.array([port == "DI" and out in ("F", "OFX")
                           for (_, (_, port)), out in zip(ends, outputs, strict=True)], bool),
            setup_ns=np.array([-np.inf if k in going_on else 0.0 if _passes(self.cells[name], port)
                               else _setup_ns(self.cells[name], port) for k, (_, (name, port)) in enumerate(ends)]),
            wires=wires, wires_at=by_level([level[net] for net, _ in ends]),
            arc_wire=np.array([wire for wire, _, _ in arcs], np.int64),
            arc_net=np.array([nets[net] for _, net, _ in arcs], np.int64),
            through_ns=np.array([through for _, _, through in arcs]),
            arcs_at=by_level([level[net] for _, net, _ in arcs]))

    @cached_property
    def _paths(self) -> _Paths:
        g = self._graph
        places = np.array(list(self.places.values())).reshape(-1, 2)
        away = np.abs(places[g.driver] - places[g.load])
        wire = np.where(g.beside | (g.data & (away.sum(1) == 0)), 0.0, wire_ns(*away.T))
        arrival = g.starts_ns.copy()
        for arcs in g.arcs_at:
            came = g.arc_wire[arcs]
            np.maximum.at(arrival, g.arc_net[arcs], arrival[g.net[came]] + wire[came] + g.through_ns[arcs])
        left = np.full(len(arrival), -np.inf)
        after = g.setup_ns.copy()
        for k in reversed(range(len(g.wires_at))):
            ends = g.wires_at[k]
            np.maximum.at(left, g.net[ends], wire[ends] + after[ends])
            if k < len(g.arcs_at):
                arcs = g.arcs_at[k]
                np.maximum.at(after, g.arc_wire[arcs], g.through_ns[arcs] + left[g.arc_net[arcs]])
        slowest = np.zeros(len(self._number))
        for cells in (g.driver, g.load):
            np.maximum.at(slowest, cells, arrival[g.net] + wire + after)
        return _Paths(arrival, wire, after, slowest)


def _passes(cell: Mapping[str, Any], port: str, out: str = "OFX") -> bool:
    """Whether an output follows this input at once: that of the multiplexer behind a LUT any of them."""
    if cell["type"] == MULTIPLIER:
        return bool(cell["parameters"].get("REG_OUTPUT_CLK", "NONE") == "NONE")
    return cell["type"] == _LUT and (
        port in "ABCD" or (cell["parameters"].get("MODE") != "DPRAM" and (out == "OFX" or port == "FCI")))


def _setup_ns(cell: Mapping[str, Any], port: str) -> float:
    return _MULTIPLIER_SETUP_NS if cell["type"] == MULTIPLIER else _SETUP_NS.get(port, _OTHER_SETUP_NS)


def _through_ns(cell: Mapping[str, Any], port: str, out: str) -> float:
    if cell["type"] == MULTIPLIER:
        return _PRODUCT_NS
    if cell["parameters"].get("MODE") != "CCU2":
        return _LUT_NS
    return _CARRY_NS[port if port == "FCI" else "LUT", out if out == "FCO" else "F"]


def _from_clock_ns(cell: Mapping[str, Any]) -> float:
    registered = "OUTREG" in (cell["parameters"].get("REGMODE_A"), cell["parameters"].get("REGMODE_B"))
    return _REGISTERED_OUTPUT_NS if registered else _CLOCK_TO_OUTPUT_NS.get(cell["type"], 0.0)
