"""What switches in a synthesised design: a netlist's cells, and the toggles in a simulation of its Verilog.

Flip-flops keep their names through synthesis, so that each is found in the simulation. LUTs do not: each is taken to
toggle as often as the combinational nets of its part of the design do on average. A block RAM is accessed in each cycle
in which a port is enabled; what its enable is computed from has no name, and then counts as always.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .devices import Family
from .synth import count_cells

__all__ = ["REST", "Activity", "Cells", "Switching", "combinational", "find_cells", "known_share", "switching"]

# Pins of a block RAM that enable its ports; a port is accessed if all of its pins are 1.
_ENABLES: dict[Family, tuple[tuple[str, ...], ...]] = {
    "ecp5": (("CEA",), ("CEB",)),
    "ice40": (("RCLKE", "RE"), ("WCLKE", "WE")),
    "gowin": (("CE",), ("CEA",), ("CEB",)),
    "xc7": (("ENARDEN",), ("ENBWREN",)),
}
REST = "rest"
_WIRE = re.compile(r"^  wire (?:\[\d+:\d+\] )?(\w+);$", re.MULTILINE)


@dataclass(frozen=True)
class Activity:
    """What a simulation counted.

    Attributes
    ----------
    cycles : float
        Of the clock.
    toggles, high_cycles : mapping of str to float
        By net, as in ``hidden1.queue.beat_q[3]``: how often it changed, for how many cycles it was 1.
    """

    cycles: float
    toggles: Mapping[str, float]
    high_cycles: Mapping[str, float]

    def __sub__(self, other: Activity) -> Activity:
        """What came on top in a longer run with the same beginning."""
        return Activity(self.cycles - other.cycles,
                        {name: count - other.toggles[name] for name, count in self.toggles.items()},
                        {name: cycles - other.high_cycles[name] for name, cycles in self.high_cycles.items()})

    def __truediv__(self, count: float) -> Activity:
        """A share of it."""
        return Activity(self.cycles / count, {name: each / count for name, each in self.toggles.items()},
                        {name: each / count for name, each in self.high_cycles.items()})


@dataclass(frozen=True)
class Cells:
    """What of a part of the design its energy depends on.

    Attributes
    ----------
    luts, multipliers : int
    flip_flops : list of list of str
        The names that the output of each has.
    blocks : list of (int, list of list of list of str)
        Block RAMs that a cell stands for, and of each of its ports the enables that are no constants, by their names.
    """

    luts: int
    multipliers: int
    flip_flops: list[list[str]]
    blocks: list[tuple[int, list[list[list[str]]]]]


@dataclass(frozen=True)
class Switching:
    """What of a part of the design switches in a time.

    Attributes
    ----------
    register_toggles, logic_toggles, block_accesses : float
    register_cycles, multiplier_cycles : float
        Flip-flops, and multipliers, times cycles.
    """

    register_toggles: float
    logic_toggles: float
    block_accesses: float
    register_cycles: float
    multiplier_cycles: float


def combinational(verilog: Iterable[str]) -> set[str]:
    """Names of the nets inside modules of a build's Verilog that are no registers."""
    return {name for text in verilog for name in _WIRE.findall(text)}


def find_cells(module: Mapping[str, Any], family: Family, parts: Collection[str]) -> dict[str, Cells]:
    """Cells of a flat netlist (a module of Yosys's ``write_json``), by the parts of the design that they belong to.

    ``parts`` are the instances of the top module that are told apart; all else is :data:`REST`.
    """
    names = _names(module)
    types: dict[str, Counter[str]] = defaultdict(Counter)
    flip_flops: dict[str, list[list[str]]] = defaultdict(list)
    blocks: dict[str, list[tuple[int, list[list[list[str]]]]]] = defaultdict(list)
    kinds = {kind: count_cells(family, {kind: 1}) for kind in {cell["type"] for cell in module["cells"].values()}}
    for name, cell in module["cells"].items():
        part = _part(name, parts)
        types[part][cell["type"]] += 1
        counts = kinds[cell["type"]]
        if counts["ff"]:
            flip_flops[part].append([name for bit in cell["connections"]["Q"] for name in names.get(bit, ())])
        if counts["bram"]:
            blocks[part].append((counts["bram"], list(_ports(cell["connections"], family, names))))
    found = {part: count_cells(family, each) for part, each in types.items()}
    return {part: Cells(found[part]["lut"], found[part]["dsp"], flip_flops[part], blocks[part])
            for part in [*parts, REST] if part in found}


def _names(module: Mapping[str, Any]) -> dict[Any, list[str]]:
    """The names of each bit."""
    names: dict[Any, list[str]] = defaultdict(list)
    for name, net in module["netnames"].items():
        for at, bit in enumerate(net["bits"], net.get("offset", 0)):
            if not isinstance(bit, str):  # those are constants
                names[bit].append(f"{name}[{at}]" if len(net["bits"]) > 1 else name)
    return names


def _ports(wires: Mapping[str, list[Any]], family: Family, names: Mapping[Any, list[str]]) -> Iterator[list[list[str]]]:
    for pins in _ENABLES[family]:
        bits = [bit for pin in pins for bit in wires.get(pin, ["0"])]
        if "0" not in bits:  # else nobody uses the port
            yield [names.get(bit, []) for bit in bits if not isinstance(bit, str)]


def _part(name: str, parts: Collection[str]) -> str:
    first = name.partition(".")[0]
    return first if first in parts and first != name else REST


def switching(cells: Mapping[str, Cells], activity: Activity, wires: Collection[str]) -> dict[str, Switching]:
    """What of each part switches in a simulated time; ``wires`` as :func:`combinational` gives them."""
    rates = _logic_rates(cells, activity, wires)
    of_all = _mean([activity.toggles[name] for part in cells.values() for name in _known(part.flip_flops, activity)])
    result = {}
    for part, each in cells.items():
        known = [activity.toggles[name] for name in _known(each.flip_flops, activity)]
        mean = _mean(known) if known else of_all
        result[part] = Switching(
            register_toggles=sum(known) + mean * (len(each.flip_flops) - len(known)),
            logic_toggles=each.luts * rates.get(part, rates[""]),
            block_accesses=sum(count * _enabled(port, activity) for count, ports in each.blocks for port in ports),
            register_cycles=len(each.flip_flops) * activity.cycles,
            multiplier_cycles=each.multipliers * activity.cycles)
    return result


def known_share(cells: Mapping[str, Cells], activity: Activity) -> float:
    """Of all flip-flops, those that the simulation has a name for: 0..1."""
    return (sum(len(_known(part.flip_flops, activity)) for part in cells.values())
            / max(1, sum(len(part.flip_flops) for part in cells.values())))


def _known(flip_flops: list[list[str]], activity: Activity) -> list[str]:
    """One name of each flip-flop that was simulated."""
    first = (next((name for name in names if name in activity.toggles), None) for names in flip_flops)
    return [name for name in first if name is not None]


def _logic_rates(cells: Mapping[str, Cells], activity: Activity, wires: Collection[str]) -> dict[str, float]:
    """Mean toggles of a combinational bit, by part; ``""`` is the mean over all."""
    registers = {name for part in cells.values() for names in part.flip_flops for name in names}
    counts: dict[str, list[float]] = defaultdict(list)
    for name, count in activity.toggles.items():
        if name.rpartition(".")[2].partition("[")[0] in wires and name not in registers:
            counts[_part(name, cells)].append(count)
    return {part: _mean(each) for part, each in counts.items()} | {
        "": _mean([count for each in counts.values() for count in each])}


def _enabled(enables: list[list[str]], activity: Activity) -> float:
    """Cycles in which a port is enabled; where one of its enables is unknown, as long as the others are 1."""
    known = [activity.high_cycles[name] for names in enables for name in names if name in activity.high_cycles]
    return min([activity.cycles, *known])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
