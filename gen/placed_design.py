"""A design as nextpnr has placed it on an ECP5: where its cells are, and how long its paths will take, by estimate.

nextpnr's own analysis is for one placement; with this one a cell can be tried in many places.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property, reduce
from graphlib import TopologicalSorter
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCK_RAM", "Place", "PlacedDesign", "wire_ns"]

BLOCK_RAM = "DP16KD"
_LUT = "TRELLIS_COMB"
_MULTIPLIER = "MULT18X18D"
_CONSTANTS = "$PACKER_"
_CLOCKS = ("CLK", "WCK")  # how ports begin that a clock comes to
_EVERYWHERE = 1000  # loads of a net that says nothing about places, as a reset's
# Delays of speed grade 6, as nextpnr reports them.
_CLOCK_TO_OUTPUT_NS = {"TRELLIS_FF": 0.53, BLOCK_RAM: 5.6, _MULTIPLIER: 0.74}
_REGISTERED_OUTPUT_NS = 0.97  # of a block RAM
_LUT_NS = 0.24
_CARRY_NS = {("FCI", "FCO"): 0.07, ("FCI", "F"): 0.44, ("LUT", "FCO"): 0.45, ("LUT", "F"): 0.44}
_BESIDE = ("FCI", "F1", "FXA", "FXB")  # inputs that come from the LUT beside it without a wire
_PRODUCT_NS = 3.93
_SETUP_NS = {"WRE": 0.39, "DI": 0.0, "M": 0.0}
_OTHER_SETUP_NS = 0.1
_MULTIPLIER_SETUP_NS = 3.49  # of an output register, at its inputs

_STEPS = np.array([2 * min(d, 5) + max(d - 5, 0) for d in range(1000)])  # of a wire, by distance
End = tuple[str, str]  # cell, port
Place = tuple[int, int]


def wire_ns(dx: Any, dy: Any) -> Any:
    """Of a wire over so many columns and rows, as nextpnr's placers estimate it: integers, or arrays of any shape."""
    return 0.08 * (6 + _STEPS[dx] + _STEPS[dy])


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
        self.loads: dict[int, list[End]] = defaultdict(list)
        self.drivers: dict[int, End] = {}
        self._clocks: set[int] = set()
        for name, cell in self.cells.items():
            if match := re.match(r"X(\d+)/Y(\d+)/", cell["attributes"].get("NEXTPNR_BEL", "")):
                self.places[name] = int(match[1]), int(match[2])
                for port, bits in cell["connections"].items():
                    for bit in bits:
                        if cell["port_directions"][port] == "output":
                            self.drivers[bit] = name, port
                        else:
                            self.loads[bit].append((name, port))
                            if port.startswith(_CLOCKS):
                                self._clocks.add(bit)

    def is_path(self, net: int) -> bool:
        """Whether it goes from one placed cell to a few others, and is no clock and no constant."""
        return (net in self.drivers and net not in self._clocks
                and not self.drivers[net][0].startswith(_CONSTANTS) and 0 < len(self.loads[net]) < _EVERYWHERE)

    def wires(self, cell: str) -> list[tuple[str, int, End]]:
        """Port, net and other end of all paths that begin or end at the cell."""
        found = []
        for port, bits in self.cells[cell]["connections"].items():
            for net in bits:
                if self.is_path(net):
                    others = self.loads[net] if self.drivers[net] == (cell, port) else [self.drivers[net]]
                    found += [(port, net, other) for other in others]
        return found

    @cached_property
    def arrivals_ns(self) -> dict[int, float]:
        """When a net changes at its driver, from the clock edge on."""
        found: dict[int, float] = {}
        for net in self._order:
            name, port = self.drivers[net]
            cell = self.cells[name]
            found[net] = max((found[before] + self._wire_ns(before, (name, end)) + _through_ns(cell, end, port)
                              for end, before in self._inputs(name, port)), default=_from_clock_ns(cell))
        return found

    @cached_property
    def _left_ns(self) -> dict[int, float]:
        """From the change of a net at its driver to the last setup behind it."""
        found: dict[int, float] = {}
        for net in reversed(self._order):
            found[net] = max(self._wire_ns(net, end) + self.after_ns(end, found) for end in self.loads[net])
        return found

    def after_ns(self, end: End, left_ns: Mapping[int, float] | None = None) -> float:
        """From an end of a net to the last setup behind it."""
        name, port = end
        cell = self.cells[name]
        if not _passes(cell, port):
            return _setup_ns(cell, port)
        left = self._left_ns if left_ns is None else left_ns
        return max((_through_ns(cell, port, out) + left[bits[0]] for out, bits in cell["connections"].items()
                    if bits and cell["port_directions"][out] == "output" and bits[0] in left
                    and _passes(cell, port, out)), default=0.0)

    def slowest_ns(self) -> float:
        """The slowest path; 0 if there is none."""
        return max((self.arrivals_ns[net] + left for net, left in self._left_ns.items()), default=0.0)

    def forget_paths(self) -> None:
        """Work out delays anew: cells have moved."""
        for name in ("arrivals_ns", "_left_ns"):
            self.__dict__.pop(name, None)

    def rename_load(self, cell: str, port: str, new: str) -> None:
        """A net ends at another port of the cell."""
        for net in self.cells[cell]["connections"][new]:
            self.loads[net] = [(cell, new) if end == (cell, port) else end for end in self.loads[net]]

    def slowest_now_ns(self, cells: Sequence[str]) -> float:
        """The slowest path that goes through one of these cells, or begins or ends there."""
        slowest = 0.0
        for name in cells:
            cell = self.cells[name]
            for port, bits in cell["connections"].items():
                if not bits or not self.is_path(net := bits[0]):
                    continue
                if self.drivers[net] == (name, port):
                    slowest = max(slowest, self.arrivals_ns[net] + self._left_ns[net])
                elif not _passes(cell, port):
                    slowest = max(slowest, self.arrivals_ns[net] + self._wire_ns(net, (name, port))
                                  + _setup_ns(cell, port))
        return slowest

    def slowest_through_ns(self, cells: Sequence[str], places: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The same, if they were all in each of ``places`` (N, 2), as near to each other as they are now: (N,)."""
        within = set(cells)
        leaves: dict[int, Any] = {}

        def arrives(net: int, end: End) -> Any:
            driver = self.drivers[net][0]
            if driver in within:
                return leaves_at(net) + self._wire_ns(net, end)
            return self.arrivals_ns[net] + wire_ns(*np.abs(places - self.places[driver]).T)

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
                                         + wire_ns(*np.abs(places - self.places[other]).T))
        return slowest

    @cached_property
    def _order(self) -> list[int]:
        """All paths' nets, each behind those that it comes from."""
        nets = {net: [before for _, before in self._inputs(name, port)] for net, (name, port) in self.drivers.items()
                if self.is_path(net)}
        return list(TopologicalSorter(nets).static_order())

    def _inputs(self, name: str, out: str) -> list[tuple[str, int]]:
        """Ports and nets that an output of the cell follows at once."""
        cell = self.cells[name]
        return [(port, bits[0]) for port, bits in cell["connections"].items()
                if bits and cell["port_directions"][port] == "input" and self.is_path(bits[0])
                and _passes(cell, port, out)]

    def _wire_ns(self, net: int, end: End) -> float:
        (name, out), (other, port) = self.drivers[net], end
        (x, y), (other_x, other_y) = self.places[name], self.places[other]
        if port in _BESIDE or (port == "DI" and out in ("F", "OFX") and (x, y) == (other_x, other_y)):
            return 0.0
        return float(wire_ns(abs(x - other_x), abs(y - other_y)))


def _passes(cell: Mapping[str, Any], port: str, out: str = "OFX") -> bool:
    """Whether an output follows this input at once: that of the multiplexer behind a LUT any of them."""
    if cell["type"] == _MULTIPLIER:
        return bool(cell["parameters"].get("REG_OUTPUT_CLK", "NONE") == "NONE")
    return cell["type"] == _LUT and (
        port in "ABCD" or (cell["parameters"].get("MODE") != "DPRAM" and (out == "OFX" or port == "FCI")))


def _setup_ns(cell: Mapping[str, Any], port: str) -> float:
    return _MULTIPLIER_SETUP_NS if cell["type"] == _MULTIPLIER else _SETUP_NS.get(port, _OTHER_SETUP_NS)


def _through_ns(cell: Mapping[str, Any], port: str, out: str) -> float:
    if cell["type"] == _MULTIPLIER:
        return _PRODUCT_NS
    if cell["parameters"].get("MODE") != "CCU2":
        return _LUT_NS
    return _CARRY_NS[port if port == "FCI" else "LUT", out if out == "FCO" else "F"]


def _from_clock_ns(cell: Mapping[str, Any]) -> float:
    registered = "OUTREG" in (cell["parameters"].get("REGMODE_A"), cell["parameters"].get("REGMODE_B"))
    return _REGISTERED_OUTPUT_NS if registered else _CLOCK_TO_OUTPUT_NS.get(cell["type"], 0.0)
