"""A reader of the netlists that Amaranth hands to Yosys (RTLIL), as far as Amaranth writes them.

The form is described in the Yosys manual, "RTLIL text representation".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

__all__ = ["Body", "Case", "Cell", "Chunk", "Memory", "NetlistModule", "Signal", "Switch", "Wire", "joined", "part",
           "read_rtlil", "width_of"]

MEMORY_ATTRIBUTES = ("ram_style", "no_rw_check")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]|\[\d+(?::\d+)?\]|\d+\'[01xz-]*|[^\s{}]+')


@dataclass(frozen=True)
class Chunk:
    """Neighbouring bits of a wire, or (``wire`` is empty) a constant, whose highest bit is ``bits[0]``."""

    wire: str
    start: int
    width: int
    bits: str = ""

    def split(self) -> list[Chunk]:
        """Its single bits, the lowest first."""
        return [Chunk(self.wire, self.start + k, 1, self.bits[self.width - 1 - k:self.width - k])
                for k in range(self.width)]


#: Chunks, the lowest bits first.
Signal = tuple[Chunk, ...]


@dataclass
class Wire:
    """``direction`` is ``input``, ``output`` or empty, ``place`` that among the ports; ``init`` a register's value at
    power-up, highest bit first."""

    name: str
    width: int
    direction: str
    place: int
    init: str | None


@dataclass
class Memory:
    """``attributes`` as Verilog has them."""

    name: str
    width: int
    depth: int
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class Cell:
    """``kind`` begins with ``$`` if it is one of Yosys's own, else it is a module."""

    kind: str
    name: str
    parameters: dict[str, str] = field(default_factory=dict)
    ports: dict[str, Signal] = field(default_factory=dict)


@dataclass
class Case:
    """What is done if the switch's value fits one of ``patterns`` (highest bit first, ``-`` fits both), or if there are
    none."""

    patterns: list[str]
    body: Body = field(default_factory=list)


@dataclass
class Switch:
    """The first case that fits is done."""

    value: Signal
    cases: list[Case] = field(default_factory=list)


#: Assignments (target, value), in order: the last one counts.
Body = list["Switch | tuple[Signal, Signal]"]


@dataclass
class NetlistModule:
    name: str
    wires: dict[str, Wire] = field(default_factory=dict)
    memories: dict[str, Memory] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    processes: list[Body] = field(default_factory=list)
    connections: list[tuple[Signal, Signal]] = field(default_factory=list)


def width_of(signal: Signal) -> int:
    """Bits of a signal."""
    return sum(chunk.width for chunk in signal)


def part(signal: Signal, first: int, width: int) -> Signal:
    """Bits ``first..first+width-1`` of a signal."""
    out, at = [], 0
    for chunk in signal:
        low, high = max(first, at), min(first + width, at + chunk.width)
        if low < high:
            skip, size = low - at, high - low
            end = chunk.width - skip
            out.append(Chunk(chunk.wire, chunk.start + skip, size, chunk.bits[end - size:end]))
        at += chunk.width
    return tuple(out)


def read_rtlil(text: str) -> list[NetlistModule]:
    """The modules of a netlist, in order.

    Raises
    ------
    ValueError
        At anything that Amaranth does not write.
    """
    lines = (tokens for line in text.splitlines() if (tokens := _TOKEN.findall(line)))
    modules = []
    for tokens in lines:
        match tokens:
            case ["attribute", *_]:
                pass
            case ["module", name]:
                modules.append(_module(name, lines))
            case _:
                raise ValueError(f"netlist: {' '.join(tokens)!r} outside a module")
    return modules


def _module(name: str, lines: Iterator[list[str]]) -> NetlistModule:
    module, init = NetlistModule(name), None
    attributes: dict[str, str] = {}
    for tokens in lines:
        match tokens:
            case ["attribute", "\\init", value]:
                init = value.split("'")[1]
                continue
            case ["attribute", attribute, value]:
                attributes[attribute.removeprefix("\\")] = value
                continue
            case ["wire", "width", width, *rest, wire]:
                port = [token for token in rest if token != "signed"]  # (its readers say that too)
                module.wires[wire] = Wire(wire, int(width), port[0] if port else "", int(port[1]) if port else 0, init)
            case ["memory", "width", width, "size", depth, memory]:
                kept = {key: value for key, value in attributes.items() if key in MEMORY_ATTRIBUTES}
                module.memories[memory] = Memory(memory, int(width), int(depth), kept)
                attributes = {}
            case ["cell", kind, cell]:
                module.cells.append(_cell(module, Cell(kind, cell), lines))
            case ["process", _]:
                module.processes.append(_body(module, lines))
            case ["connect", *rest]:
                target, source = _signals(module, rest)
                module.connections.append((target, source))
            case ["end"]:
                return module
            case _:
                raise ValueError(f"netlist: {' '.join(tokens)!r} in module {name}")
        init = None
    raise ValueError(f"netlist: module {name} does not end")


def _cell(module: NetlistModule, cell: Cell, lines: Iterator[list[str]]) -> Cell:
    for tokens in lines:
        match tokens:
            case ["parameter", *_, name, value]:
                cell.parameters[name[1:]] = value
            case ["connect", port, *rest]:
                (cell.ports[port[1:]],) = _signals(module, rest)
            case ["end"]:
                return cell
            case _:
                raise ValueError(f"netlist: {' '.join(tokens)!r} in cell {cell.name}")
    raise ValueError(f"netlist: cell {cell.name} does not end")


def _body(module: NetlistModule, lines: Iterator[list[str]]) -> Body:
    """Up to ``end``."""
    body: Body = []
    switches: list[Switch] = []

    def here() -> Body:
        return switches[-1].cases[-1].body if switches else body

    for tokens in lines:
        match tokens:
            case ["assign", *rest]:
                target, value = _signals(module, rest)
                here().append((target, value))
            case ["switch", *rest]:
                (value,) = _signals(module, rest)
                switches.append(Switch(value))
            case ["case", *patterns]:
                switches[-1].cases.append(Case([p.strip(",").split("'")[1] for p in patterns if p != ","]))
            case ["attribute", *_]:
                pass
            case ["end"] if switches:
                done = switches.pop()
                here().append(done)
            case ["end"]:
                return body
            case _:
                raise ValueError(f"netlist: {' '.join(tokens)!r} in a process")
    raise ValueError("netlist: a process does not end")


def _signals(module: NetlistModule, tokens: list[str]) -> list[Signal]:
    """The signals of a line, one behind the other."""
    found: list[Signal] = []
    groups: list[list[Signal]] = []
    for token in tokens:
        into = groups[-1] if groups else found
        if token == "{":
            groups.append([])
        elif token == "}":
            done = groups.pop()
            (groups[-1] if groups else found).append(joined([c for part in reversed(done) for c in part]))
        elif token.startswith("["):
            ends = [int(n) for n in token[1:-1].split(":")]
            (whole,) = into[-1]
            into[-1] = (Chunk(whole.wire, whole.start + ends[-1], ends[0] - ends[-1] + 1),)
        elif "'" in token and token[0].isdigit():
            bits = token.split("'")[1]
            into.append((Chunk("", 0, len(bits), bits),) if bits else ())
        else:
            into.append((Chunk(token, 0, module.wires[token].width),))
    return found


def joined(chunks: Iterable[Chunk]) -> Signal:
    """With neighbours that belong together as one."""
    out: list[Chunk] = []
    for chunk in chunks:
        last = out[-1] if out else None
        follows = last is not None and last.wire == chunk.wire and (
            not chunk.wire or last.start + last.width == chunk.start)
        if last is not None and follows:
            out[-1] = Chunk(last.wire, last.start, last.width + chunk.width, chunk.bits + last.bits)
        else:
            out.append(chunk)
    return tuple(out)
