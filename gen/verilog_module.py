"""One module of a netlist as Verilog (IEEE 1364-2005) that people can read.

Each register has a process of its own, with the conditions under which it changes as they were described. What has no
name and is used once stands where it is used. Operands are written as wide as they take part, so that no reader, and no
checker, has to know Verilog's rules for widths.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .rtlil import Body, Case, Cell, Chunk, NetlistModule, Signal, Switch, Wire, joined, part, width_of

__all__ = ["Interface", "legal_name", "module_text", "ports_of"]

_KEYWORDS = """
    always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config deassign default defparam
    design disable edge else end endcase endconfig endfunction endgenerate endmodule endprimitive endspecify endtable
    endtask event for force forever fork function generate genvar highz0 highz1 if ifnone incdir include initial inout
    input instance integer join large liblist library localparam macromodule medium module nand negedge nmos nor
    noshowcancelled not notif0 notif1 or output parameter pmos posedge primitive pull0 pull1 pulldown pullup
    pulsestyle_onevent pulsestyle_ondetect rcmos real realtime reg release repeat rnmos rpmos rtran rtranif0 rtranif1
    scalared showcancelled signed small specify specparam strong0 strong1 supply0 supply1 table task time tran tranif0
    tranif1 tri tri0 tri1 triand trior trireg unsigned use vectored wait wand weak0 weak1 while wire wor xnor xor
    bit byte const do enum export final import int interface logic longint modport new null package packed priority
    program property ref return shortint static string struct super this type typedef union unique var virtual void
"""

_BINARY = {"$and": "&", "$or": "|", "$xor": "^", "$add": "+", "$sub": "-", "$mul": "*"}
_COMPARE = {"$eq": "==", "$ne": "!=", "$lt": "<", "$le": "<=", "$gt": ">", "$ge": ">="}
_REDUCE = {"$reduce_or": "|", "$reduce_bool": "|", "$reduce_and": "&", "$reduce_xor": "^", "$logic_not": "~|"}
_SHIFT = {"$shl": "<<", "$sshl": "<<", "$shr": ">>", "$sshr": ">>", "$shift": ">>", "$shiftx": ">>"}
# Names for what has none and is used more than once.
_NOUN = {"$and": "both", "$or": "either", "$xor": "differs", "$add": "total", "$sub": "difference", "$mul": "product",
         "$eq": "equal", "$ne": "unequal", "$lt": "less", "$le": "at_most", "$gt": "greater", "$ge": "at_least",
         "$mux": "chosen", "$not": "inverse", "$neg": "negative"}

def legal_name(name: str) -> str:
    """A simple identifier for a name of the netlist."""
    plain = re.sub(r"(\$\d+)+$", "", name.removeprefix("\\").removeprefix("$"))  # numbers that tell equal names apart
    plain = re.sub(r"_?\W+", "_", plain).strip("_")
    if plain in _KEYWORDS.split():
        return f"{plain}_"
    return plain if plain and not plain[0].isdigit() else f"n{plain}"


@dataclass(frozen=True)
class Interface:
    """What needs to be known of a module: its name, and that of its ports by their names in the netlist (the same, if
    nothing is said), without those that it would not read; and which nets stay whether they are read or not."""

    name: str
    ports: dict[str, str] | None = None
    kept: frozenset[str] = frozenset()

    def port(self, name: str) -> str | None:
        """A port's name; None if there is no such port."""
        return name if self.ports is None else self.ports.get(name)


@dataclass
class _Operation:
    """An expression that drives ``target``, of signals that are as wide as they take part."""

    target: Signal
    operands: list[Signal]
    text: Callable[..., str]
    noun: str = "value"
    #: Its operator, if it wants brackets in another one's; ``None`` for a signal that only goes on under another name.
    operator: str | None = ""
    #: Of how many operands, from the last one on, only the lower bits matter to the lower bits of the result.
    lower: int = 0


@dataclass
class _Register:
    target: Signal
    clock: Signal
    body: Body


@dataclass
class _Read:
    """Of a memory: ``enable`` is None without a register."""

    memory: str
    target: Signal
    address: Signal
    clock: Signal
    enable: Signal | None


@dataclass
class _Write:
    memory: str
    address: Signal
    data: Signal
    clock: Signal
    enables: list[tuple[Signal, int, int]]  # (enable, first bit, bits)


@dataclass
class _Instance:
    cell: Cell
    module: Interface
    inputs: dict[str, Signal] = field(default_factory=dict)
    outputs: dict[str, Signal] = field(default_factory=dict)


_Driver = _Operation | _Register | _Read | _Instance


def ports_of(module: NetlistModule, modules: dict[str, Interface], outputs: dict[str, frozenset[str]], *,
             complete: bool) -> dict[str, str]:
    """Names of the ports by their names in the netlist: of all, or without inputs of which nothing depends."""
    writer = _Writer(module, modules, outputs)
    return {wire.name[1:]: writer.names.get(wire.name, legal_name(wire.name)) for wire in module.wires.values()
            if wire.direction and (complete or wire.name in writer.live)}


def module_text(module: NetlistModule, modules: dict[str, Interface], outputs: dict[str, frozenset[str]],
                attributes: str = "") -> str:
    """``module`` as Verilog.

    Parameters
    ----------
    module : NetlistModule
    modules : dict
        By name in the netlist, all that are used, and the module itself.
    outputs : dict
        By name in the netlist, the output ports of all that are used.
    attributes : str
        In front of the module.
    """
    return _Writer(module, modules, outputs).text(attributes)


class _Writer:
    def __init__(self, module: NetlistModule, modules: dict[str, Interface],
                 outputs: dict[str, frozenset[str]]) -> None:
        self.module, self.modules, self.output_ports = module, modules, outputs
        self.widths = {wire.name: wire.width for wire in module.wires.values()}
        self.operations: list[_Operation] = []
        self.registers: list[_Register] = []
        self.reads: list[_Read] = []
        self.writes: list[_Write] = []
        self.instances: list[_Instance] = []
        self.contents: dict[str, str] = {}
        self._take_in()
        self._merge()
        self.drivers: dict[str, list[_Driver]] = defaultdict(list)
        drivers: list[_Operation | _Register | _Read] = [*self.operations, *self.registers, *self.reads]
        for driver in drivers:
            for chunk in driver.target:
                self.drivers[chunk.wire].append(driver)
        for instance in self.instances:
            for signal in instance.outputs.values():
                for chunk in signal:
                    self.drivers[chunk.wire].append(instance)
        self.live = self._live()
        self._count()

    # What the netlist says.

    def _take_in(self) -> None:
        registers = {}
        for cell in self.module.cells:
            if cell.kind == "$dff":
                data = cell.ports["D"]
                if len(data) == 1 and data[0].wire.startswith("$") and self._whole(data[0]):
                    registers[data[0].wire] = cell
        bodies = {}
        for body in self.module.processes:
            wires = {chunk.wire for target, _ in _assignments(body) for chunk in target}
            (first, *others) = wires
            if others or first not in registers:
                self.operations += self._chosen(body)
            else:
                bodies[first] = body
        for cell in self.module.cells:
            if cell.kind == "$dff":
                self.registers.append(self._register(cell, bodies))
            elif cell.kind.startswith("$mem"):
                self._memory(cell)
            elif cell.kind.startswith("$"):
                operation = _operation(cell)
                wide, narrow = width_of(operation.target), width_of(cell.ports["Y"])
                self.operations.append(operation)
                if wide > narrow:  # the rest is cut off behind it
                    name = f"$cut{cell.name}"
                    self.module.wires[name] = Wire(name, wide, "", 0, None)
                    self.widths[name] = wide
                    operation.target = (Chunk(name, 0, wide),)
                    self.operations.append(_Operation(cell.ports["Y"], [(Chunk(name, 0, narrow),)], _same,
                                                      operator=None))
            else:
                self._instance(cell)
        for target, value in self.module.connections:
            self.operations.append(_Operation(target, [value], _same, operator=None))

    def _whole(self, chunk: Chunk) -> bool:
        return bool(chunk.wire) and chunk.width == self.widths[chunk.wire]

    def _register(self, cell: Cell, bodies: dict[str, Body]) -> _Register:
        data, target = cell.ports["D"], cell.ports["Q"]
        body = bodies.get(data[0].wire) if data and self._whole(data[0]) else None
        if body is None:
            return _Register(target, cell.ports["CLK"], [(target, data)])

        def moved(body: Body) -> Body:
            out: Body = []
            for each in body:
                if isinstance(each, Switch):
                    out.append(Switch(each.value, [type(case)(case.patterns, moved(case.body)) for case in each.cases]))
                    continue
                at = 0
                for chunk in each[0]:
                    into = part(target, chunk.start, chunk.width)
                    value = part(each[1], at, chunk.width)
                    at += chunk.width
                    if into != value:  # a register keeps what it holds
                        out.append((into, value))
            return out

        return _Register(target, cell.ports["CLK"], moved(body))

    def _chosen(self, body: Body) -> Iterator[_Operation]:
        """A process without a register, as one chain of choices for each part that is assigned as one."""
        assignments = list(_guarded(body, []))
        edges: dict[str, set[int]] = defaultdict(set)
        for target, _, _ in assignments:
            for chunk in target:
                edges[chunk.wire] |= {chunk.start, chunk.start + chunk.width}
        for wire, ends in edges.items():
            for first, end in zip(sorted(ends), sorted(ends)[1:], strict=False):
                choices = []
                for target, value, guards in assignments:
                    at = 0
                    for chunk in target:
                        if chunk.wire == wire and chunk.start <= first and end <= chunk.start + chunk.width:
                            choices.append((part(value, at + first - chunk.start, end - first), guards))
                        at += chunk.width
                if choices:
                    yield _choice((Chunk(wire, first, end - first),), choices)

    def _memory(self, cell: Cell) -> None:
        name = cell.parameters["MEMID"].strip('"').replace("\\\\", "\\")
        if cell.kind == "$meminit_v2":
            data = cell.ports["DATA"][0].bits if cell.ports["DATA"] else ""
            if "1" in data:
                self.contents[name] = data
            return
        address, clock, data_port, enable = (cell.ports[port] for port in ("ADDR", "CLK", "DATA", "EN"))
        if cell.kind == "$memrd_v2":
            if "1" in cell.parameters["TRANSPARENCY_MASK"].split("'")[1]:
                raise ValueError(f"netlist: memory {name} has a transparent port")
            clocked = cell.parameters["CLK_ENABLE"] == "1"
            self.reads.append(_Read(name, data_port, address, clock, enable if clocked else None))
            return
        enables: list[tuple[Signal, int, int]] = []
        for bit in range(width_of(enable)):
            this = part(enable, bit, 1)
            if enables and enables[-1][0] == this:
                enables[-1] = (this, enables[-1][1], enables[-1][2] + 1)
            else:
                enables.append((this, bit, 1))
        self.writes.append(_Write(name, address, data_port, clock, enables))

    def _instance(self, cell: Cell) -> None:
        instance = _Instance(cell, self.modules[cell.kind])
        for port, signal in cell.ports.items():
            if port in self.output_ports[cell.kind]:
                instance.outputs[port] = signal
            elif instance.module.port(port) is not None:
                instance.inputs[port] = signal
        self.instances.append(instance)

    def _merge(self) -> None:
        """Make one of two wires where one only is the other under a second name, and constants of what is constant."""
        wires = self.module.wires
        same: dict[str, str] = {}
        constant: dict[str, str] = {}

        def found(wire: str) -> str:
            while wire in same:
                wire = same[wire]
            return wire

        def rank(wire: str) -> int:
            """What has the better name, or must stay."""
            fixed = wires[wire].direction or wire in self.modules[self.module.name].kept
            return 2 if fixed else int(not wire.startswith("$"))

        def named(signal: Signal) -> Signal:
            out: list[Chunk] = []
            for chunk in signal:
                wire = found(chunk.wire)
                if wire in constant:
                    bits = constant[wire]
                    out += part((Chunk("", 0, len(bits), bits),), chunk.start, chunk.width)
                else:
                    out.append(Chunk(wire, chunk.start, chunk.width, chunk.bits))
            return joined(out)

        def renamed(body: Body) -> Body:
            return [Switch(named(each.value), [Case(case.patterns, renamed(case.body)) for case in each.cases])
                    if isinstance(each, Switch) else (named(each[0]), named(each[1])) for each in body]

        changed = True
        while changed:
            changed, left = False, []
            for operation in self.operations:
                operation.operands = [named(each) for each in operation.operands]
                operation.target = named(operation.target)
                changed |= _simplify(operation)
                (target, *others), (value, *more) = operation.target, operation.operands[0]
                if operation.operator is None and not others and not more and self._whole(target):
                    if not value.wire and rank(target.wire) == 0:
                        constant[target.wire] = value.bits
                        changed = True
                        continue
                    if self._whole(value) and min(rank(target.wire), rank(value.wire)) < 2:
                        gone, stays = sorted((target.wire, value.wire), key=rank)
                        same[gone] = stays
                        if wires[stays].init is None:
                            wires[stays].init = wires[gone].init
                        changed = True
                        continue
                left.append(operation)
            self.operations = left
        for register in self.registers:
            register.target, register.clock = named(register.target), named(register.clock)
            register.body = renamed(register.body)
        for read in self.reads:
            read.target, read.address, read.clock = (named(s) for s in (read.target, read.address, read.clock))
            read.enable = None if read.enable is None else named(read.enable)
        for write in self.writes:
            write.address, write.data, write.clock = (named(s) for s in (write.address, write.data, write.clock))
            write.enables = [(named(enable), first, width) for enable, first, width in write.enables]
        for instance in self.instances:
            instance.inputs = {port: named(signal) for port, signal in instance.inputs.items()}
            instance.outputs = {port: named(signal) for port, signal in instance.outputs.items()}

    # What of it matters.

    def _live(self) -> set[str]:
        live: set[str] = set()
        memories: set[str] = set()
        waiting = [wire.name for wire in self.module.wires.values() if wire.direction == "output"]
        waiting += self.modules[self.module.name].kept
        for instance in self.instances:
            waiting += _wires(*instance.inputs.values())
        while waiting:
            wire = waiting.pop()
            if wire in live:
                continue
            live.add(wire)
            for driver in self.drivers[wire]:
                waiting += _sources(driver)
                if isinstance(driver, _Read) and driver.memory not in memories:
                    memories.add(driver.memory)
                    for write in self.writes:
                        if write.memory == driver.memory:
                            waiting += _wires(write.address, write.data, write.clock, *(e for e, _, _ in write.enables))
        self.memories = memories
        self.writes = [write for write in self.writes if write.memory in memories]

        def lives(target: Signal) -> bool:
            return any(chunk.wire in live for chunk in target)

        self.operations = [each for each in self.operations if lives(each.target)]
        self.registers = [each for each in self.registers if lives(each.target)]
        self.reads = [each for each in self.reads if lives(each.target)]
        return live

    def _narrow(self) -> None:
        """Leave out the upper bits that nobody reads of what has no name."""
        ends: dict[str, int] = defaultdict(int)
        for signal in self._uses():
            for chunk in signal:
                ends[chunk.wire] = max(ends[chunk.wire], chunk.start + chunk.width)
        changed = False
        for operation in self.operations:
            (chunk, *others) = operation.target
            end = ends[chunk.wire]
            if (not operation.lower or others or not chunk.wire.startswith("$") or not self._whole(chunk)
                    or not 0 < end < chunk.width):
                continue
            self.widths[chunk.wire] = end
            operation.target = (Chunk(chunk.wire, 0, end),)
            first = len(operation.operands) - operation.lower
            operation.operands[first:] = [part(each, 0, end) for each in operation.operands[first:]]
            changed = True
        if changed:
            self._narrow()

    def _count(self) -> None:
        """Find the operations that stand where they are used: once, and as a whole."""
        self._narrow()
        uses: dict[str, int] = defaultdict(int)
        for signal in self._uses():
            for chunk in signal:
                if chunk.wire:
                    uses[chunk.wire] += 1 if self._whole(chunk) else 2
        self.inlined: dict[str, _Operation] = {}
        for operation in self.operations:
            (chunk, *others) = operation.target
            if not others and chunk.wire.startswith("$") and self._whole(chunk) and uses[chunk.wire] == 1:
                self.inlined[chunk.wire] = operation
        self.names = self._names()

    def _uses(self) -> Iterator[Signal]:
        for operation in self.operations:
            yield from operation.operands
        for register in self.registers:
            yield register.clock
            yield from _body_signals(register.body)
        for read in self.reads:
            yield from (read.address, read.clock, *([read.enable] if read.enable else []))
        for write in self.writes:
            yield from (write.address, write.data, write.clock, *(enable for enable, _, _ in write.enables))
        for instance in self.instances:
            yield from instance.inputs.values()

    def _names(self) -> dict[str, str]:
        """Of all wires and memories that are declared."""
        roles: dict[str, str] = {}  # better names for ports of memories, which the netlist numbers through
        for read in self.reads:
            memory = legal_name(read.memory)
            roles.update({chunk.wire: f"{memory}_read_address" for chunk in read.address})
            roles.update({chunk.wire: f"{memory}_data" for chunk in read.target})
        for write in self.writes:
            memory = legal_name(write.memory)
            roles.update({chunk.wire: f"{memory}_write_address" for chunk in write.address})
            roles.update({chunk.wire: f"{memory}_write_data" for chunk in write.data})
        for instance in self.instances:
            roles.update({chunk.wire: f"{legal_name(instance.cell.name)}_{legal_name(port)}"
                          for port, signal in instance.outputs.items() for chunk in signal})
        nouns = {operation.target[0].wire: operation.noun for operation in self.operations}
        taken: set[str] = set()
        names: dict[str, str] = {}

        def name(key: str, wanted: str) -> None:
            count, free = 1, wanted
            while free in taken:
                count, free = count + 1, f"{wanted}_{count}"
            taken.add(free)
            names[key] = free

        wires = [wire for wire in self.module.wires.values() if wire.name in self.live or wire.direction]
        for wire in sorted(wires, key=lambda w: (w.place == 0, w.place)):
            if wire.name in self.inlined:
                continue
            if wire.direction or not wire.name.removeprefix("\\").startswith("$"):
                name(wire.name, legal_name(wire.name))
        for wire in wires:
            if wire.name not in self.inlined and wire.name not in names:
                name(wire.name, roles.get(wire.name) or nouns.get(wire.name) or legal_name(wire.name))
        for memory in self.module.memories:
            name(f"memory {memory}", legal_name(memory))
        for instance in self.instances:
            name(f"instance {instance.cell.name}", legal_name(instance.cell.name))
        return names

    # Text.

    def text(self, attributes: str) -> str:
        wires = self.module.wires
        targets = [register.target for register in self.registers]
        targets += [read.target for read in self.reads if read.enable is not None]
        changing = {chunk.wire for target in targets for chunk in target}
        own = self.modules[self.module.name]
        ports = sorted((wire for wire in wires.values() if wire.direction and own.port(wire.name[1:]) is not None),
                       key=lambda wire: (wire.name != "\\clk", wire.name != "\\rst", wire.place))
        lines = [f"{attributes}module {own.name} ("]
        for wire in ports:
            kind = "reg" if wire.name in changing else "wire"
            comma = "," if wire is not ports[-1] else ""
            lines.append(f"  {wire.direction} {kind} {_range(wire.width)}{self.names[wire.name]}{comma}")
        lines.append(");")
        for wire in wires.values():
            if wire.name in self.names and not wire.direction:
                lines.append(f"  {'reg' if wire.name in changing else 'wire'} {_range(self.widths[wire.name])}"
                             f"{self.names[wire.name]};")
        for memory in self.module.memories.values():
            if memory.name in self.memories:
                lines.append(f"  reg {_range(memory.width)}{self.names[f'memory {memory.name}']} "
                             f"[0:{memory.depth - 1}];")
        lines += self._initial()
        lines.append("")
        for operation in self.operations:
            (chunk, *others) = operation.target
            if others or chunk.wire not in self.inlined:
                lines.append(f"  assign {self.target(operation.target)} = {self.operation(operation)};")
        for register in self._grouped():
            lines += _block(f"  always @(posedge {self.value(register.clock)})", self._body(register.body), "  ")
        for read in self.reads:
            where = f"{self.names[f'memory {read.memory}']}[{self.value(read.address)}]"
            if read.enable is None:
                lines.append(f"  assign {self.target(read.target)} = {where};")
                continue
            condition = "" if read.enable == (Chunk("", 0, 1, "1"),) else f"if ({self.value(read.enable)}) "
            lines += [f"  always @(posedge {self.value(read.clock)})",
                      f"    {condition}{self.target(read.target)} <= {where};"]
        for write in self.writes:
            lines += self._write(write)
        for instance in self.instances:
            lines += self._instance_text(instance)
        return "\n".join([*lines, "endmodule"]) + "\n"

    def _initial(self) -> list[str]:
        lines = []
        for register in self.registers:
            for chunk in register.target:
                init = self.module.wires[chunk.wire].init
                if init is not None and chunk.start == 0:
                    lines.append(f"    {self.names[chunk.wire]} = {_constant(init)};")
        for memory, contents in self.contents.items():
            if memory in self.memories:
                shape = self.module.memories[memory]
                name = self.names[f"memory {memory}"]
                for row in range(shape.depth):
                    end = len(contents) - row * shape.width
                    lines.append(f"    {name}[{row}] = {_constant(contents[end - shape.width:end])};")
        return ["", "  initial begin", *lines, "  end"] if lines else []

    def _grouped(self) -> Iterator[_Register]:
        """Registers that change in every cycle, and those that do but for a reset, each as one."""
        groups: dict[tuple[Signal, Signal | None], list[_Register]] = defaultdict(list)
        others = []
        for register in self.registers:
            match register.body:
                case [(_, _)]:
                    groups[register.clock, None].append(register)
                case [(_, _), Switch(value, [case])] if case.patterns == ["1"] and not any(
                        isinstance(each, Switch) for each in case.body):
                    groups[register.clock, value].append(register)
                case _:
                    others.append(register)
        for (clock, reset), registers in groups.items():
            body: Body = [register.body[0] for register in registers]
            if reset is not None:
                switches = [register.body[1] for register in registers]
                body.append(Switch(reset, [Case(["1"], [each for switch in switches if isinstance(switch, Switch)
                                                        for each in switch.cases[0].body])]))
            yield _Register((), clock, body)
        yield from others

    def _body(self, body: Body) -> list[str]:
        lines: list[str] = []
        if len(body) > 1 and isinstance(body[-1], Switch) and _settles(body):
            # What decides in the end comes first.
            last, (case,) = body[-1], body[-1].cases
            first = _block(f"if ({self._fits(last.value, case.patterns[0])})", self._body(case.body), "")
            rest = self._body(body[:-1])
            if rest[0].startswith("if ") and all(line.startswith((" ", "else", "end")) for line in rest[1:]):
                return [*first, f"else {rest[0]}", *rest[1:]]
            return [*first, *_block("else", rest, "")]
        for each in body:
            if not isinstance(each, Switch):
                lines.append(f"{self.target(each[0])} <= {self.value(each[1])};")
                continue
            word = "if"
            for case in each.cases:
                inner = self._body(case.body)
                conditions = [self._fits(each.value, pattern) for pattern in case.patterns]
                if not inner and case is each.cases[-1]:
                    break
                lines += _block(f"{word} ({' || '.join(conditions)})" if conditions else "else", inner, "")
                word = "else if"
        return lines

    def _fits(self, value: Signal, pattern: str) -> str:
        terms = []
        if pattern == "1":
            return self.value(value)
        for bits, first in _runs(pattern):
            this = part(value, first, len(bits))
            if len(bits) == 1:
                terms.append(self.operand(this) if bits == "1" else f"!{self.operand(this)}")
            else:
                terms.append(f"({self.operand(this)} == {_constant(bits)})")
        if len(terms) == 1:
            return terms[0].removeprefix("(").removesuffix(")") if terms[0].startswith("(") and "==" in terms[0] else \
                terms[0]
        return " && ".join(terms)

    def _write(self, write: _Write) -> list[str]:
        name = self.names[f"memory {write.memory}"]
        where = f"{name}[{self.value(write.address)}]"
        inner = []
        for enable, first, width in write.enables:
            whole = width == self.module.memories[write.memory].width
            place = where if whole else f"{where}[{first + width - 1}:{first}]" if width > 1 else f"{where}[{first}]"
            condition = "" if enable == (Chunk("", 0, 1, "1"),) else f"if ({self.value(enable)}) "
            inner.append(f"{condition}{place} <= {self.value(part(write.data, first, width))};")
        return _block(f"  always @(posedge {self.value(write.clock)})", inner, "  ")

    def _instance_text(self, instance: _Instance) -> list[str]:
        name = self.names[f"instance {instance.cell.name}"]
        lines = [f"  {instance.module.name}"]
        if instance.cell.parameters:
            parameters = ", ".join(f".{key}({_parameter(value)})" for key, value in instance.cell.parameters.items())
            lines[0] += f" #({parameters})"
        lines[0] += f" {name} ("
        ports = [(port, self.value(signal)) for port, signal in instance.inputs.items()]
        ports += [(port, self.target(signal) if any(c.wire in self.live for c in signal) else "")
                  for port, signal in instance.outputs.items()]
        ports.sort(key=lambda port: (port[0] != "clk", port[0] != "rst"))
        lines += [f"    .{instance.module.port(port)}({value})," for port, value in ports]
        return [*lines[:-1], lines[-1][:-1], "  );"]

    def target(self, signal: Signal) -> str:
        texts = [self._slice(chunk) for chunk in reversed(signal)]
        return texts[0] if len(texts) == 1 else f"{{{', '.join(texts)}}}"

    def value(self, signal: Signal) -> str:
        """An expression with the signal's width."""
        if not signal:
            raise ValueError(f"netlist: an empty signal in module {self.module.name}")
        if len(signal) == 1:
            return self._chunk(signal[0])
        texts: list[str] = []
        times: list[int] = []
        for chunk in reversed(signal):
            text = self._chunk(chunk)
            if texts and texts[-1] == text and chunk.wire:
                times[-1] += 1
            else:
                texts.append(text)
                times.append(1)
        each = [text if n == 1 else f"{{{n}{{{text}}}}}" for text, n in zip(texts, times, strict=True)]
        return each[0] if len(each) == 1 else f"{{{', '.join(each)}}}"

    def operand(self, signal: Signal, *without_brackets: str) -> str:
        """As :meth:`value`, with brackets where another operator needs them."""
        text, operator = self.value(signal), self._operator(signal)
        return f"({text})" if operator and operator not in ("~", *without_brackets) else text

    def _operator(self, signal: Signal) -> str:
        """That with which the signal's text is made."""
        if len(signal) != 1 or signal[0].wire not in self.inlined:
            return ""
        operation = self.inlined[signal[0].wire]
        return self._operator(operation.operands[0]) if operation.operator is None else operation.operator

    def operation(self, operation: _Operation) -> str:
        operator, operands = operation.operator, operation.operands
        if operator is None:
            return operation.text(self.value(operands[0]))
        if operator in ("~", "negative", "reduce"):
            return operation.text(f"({self.value(operands[0])})" if self._operator(operands[0])
                                  else self.value(operands[0]))
        texts = [self.operand(each) for each in operands]
        if operator in ("&", "|", "^", "+"):  # from left to right
            texts[0] = self.operand(operands[0], operator)
        if operator == "?":
            texts[-1] = self.operand(operands[-1], "?")
        return operation.text(*texts)

    def _chunk(self, chunk: Chunk) -> str:
        if not chunk.wire:
            return _constant(chunk.bits)
        if chunk.wire in self.inlined:
            return self.operation(self.inlined[chunk.wire])
        return self._slice(chunk)

    def _slice(self, chunk: Chunk) -> str:
        name = self.names[chunk.wire]
        if self._whole(chunk):
            return name
        if chunk.width == 1:
            return f"{name}[{chunk.start}]"
        return f"{name}[{chunk.start + chunk.width - 1}:{chunk.start}]"


def _operation(cell: Cell) -> _Operation:
    kind, ports = cell.kind, cell.ports
    a, b, target = ports.get("A", ()), ports.get("B", ()), ports["Y"]
    width = width_of(target)
    signs = [cell.parameters.get(f"{port}_SIGNED") == "1" for port in "AB"]
    signed = signs[0] and (signs[1] or "B" not in ports)
    noun = _NOUN.get(kind, "value")

    def wide(signal: Signal, bits: int) -> Signal:
        return _extended(signal, bits, signed)

    if kind == "$mul" and signed:
        return _Operation(target, [wide(a, width), wide(b, width)], "$unsigned($signed({}) * $signed({}))".format,
                          noun, "", 2)
    if kind in _BINARY:
        operator = _BINARY[kind]
        return _Operation(target, [wide(a, width), wide(b, width)], f"{{}} {operator} {{}}".format, noun, operator, 2)
    if kind in _COMPARE:
        operator, bits = _COMPARE[kind], max(width_of(a), width_of(b), 1)
        text = f"$signed({{}}) {operator} $signed({{}})" if signed else f"{{}} {operator} {{}}"
        return _Operation(target, [wide(a, bits), wide(b, bits)], text.format, noun, operator)
    if kind in _REDUCE and not a:
        return _Operation(target, [(Chunk("", 0, 1, str(int(kind == "$reduce_and"))),)], _same, operator=None)
    if kind in _REDUCE:
        if width_of(a) == 1 and _REDUCE[kind] != "~|":
            return _Operation(target, [a], _same, noun, None)
        return _Operation(target, [a], f"{_REDUCE[kind]}{{}}".format, noun, "reduce")
    if kind in ("$not", "$neg"):
        sign = "~" if kind == "$not" else "-"
        return _Operation(target, [wide(a, width)], f"{sign}{{}}".format, noun, "~" if sign == "~" else "negative",
                          lower=1)
    if kind == "$pos":
        return _Operation(target, [wide(a, width)], _same, noun, None, 1)
    if kind == "$mux":
        return _Operation(target, [ports["S"], b, a], "{} ? {} : {}".format, noun, "?", 2)
    if kind in _SHIFT:
        return _shift(cell, a, b, target, signs[0])
    raise ValueError(f"netlist: cell {kind}")


def _same(text: str) -> str:
    return text


def _simplify(operation: _Operation) -> bool:
    """Leave out what constant operands decide; returns whether they did."""
    operator, operands = operation.operator, operation.operands
    fixed = [each[0].bits if len(each) == 1 and not each[0].wire else "" for each in operands]
    value: Signal | None = None
    if operator == "~" and fixed[0]:
        value = (Chunk("", 0, len(fixed[0]), fixed[0].translate(str.maketrans("01", "10"))),)
    elif operator == "?" and len(operands) == 3 and fixed[0]:
        value = operands[1 if fixed[0] == "1" else 2]
    elif operator in ("&", "|", "^", "+"):
        for this, other in ((0, 1), (1, 0)):
            bits = set(fixed[this])
            if bits == {"1" if operator == "&" else "0"}:
                value = operands[other]
            elif operator in ("&", "|") and bits == {"0" if operator == "&" else "1"}:
                value = operands[this]
    if value is None:
        return False
    operation.operands, operation.text, operation.operator, operation.lower = [value], _same, None, 1
    return True


def _shift(cell: Cell, a: Signal, b: Signal, target: Signal, signed: bool) -> _Operation:
    """``a`` is as wide as its target at least before it is shifted; only ``$sshr`` fills up with the sign."""
    left, arithmetic = _SHIFT[cell.kind] == "<<", signed and cell.kind == "$sshr"
    width = width_of(target)
    bits = max(width, width_of(a))
    a = _extended(a, bits, signed)
    if all(not chunk.wire for chunk in b):
        count = int("".join(chunk.bits for chunk in reversed(b)) or "0", 2)
        if left:
            zeros = Chunk("", 0, count, "0" * count)
            moved = part(joined([zeros, *a] if count else a), 0, width)
        else:
            moved = part(_extended(a, max(bits, count + width), arithmetic), count, width)
        return _Operation(target, [moved], _same, "shifted", None, 1)
    operator = "<<" if left else ">>"
    text = "$unsigned($signed({}) >>> {})" if arithmetic else f"{{}} {operator} {{}}"
    if bits > width:
        target = (Chunk("", 0, bits),)
    return _Operation(target, [a, b], text.format, "shifted",
                      "" if arithmetic else operator)


def _extended(signal: Signal, width: int, signed: bool) -> Signal:
    """In so many bits."""
    have = width_of(signal)
    if have >= width:
        return part(signal, 0, width)
    if not signed or not have:
        return joined([*signal, Chunk("", 0, width - have, "0" * (width - have))])
    sign = part(signal, have - 1, 1)
    if not sign[0].wire:
        return joined([*signal, Chunk("", 0, width - have, sign[0].bits * (width - have))])
    return (*signal, *(sign * (width - have)))


def _assignments(body: Body) -> Iterator[tuple[Signal, Signal]]:
    for each in body:
        if isinstance(each, Switch):
            for case in each.cases:
                yield from _assignments(case.body)
        else:
            yield each


def _body_signals(body: Body) -> Iterator[Signal]:
    for each in body:
        if isinstance(each, Switch):
            tests = sum(len(list(_runs(pattern))) for case in each.cases for pattern in case.patterns)
            yield from [each.value] * tests
            for case in each.cases:
                yield from _body_signals(case.body)
        else:
            yield each[1]


_Guard = tuple[Signal, list[str], list[str]]  # a value, patterns that it must fit one of (none: any), and none of


def _guarded(body: Body, guards: list[_Guard]) -> Iterator[tuple[Signal, Signal, list[_Guard]]]:
    """All assignments, in order, with what must hold for them."""
    for each in body:
        if isinstance(each, Switch):
            before: list[str] = []
            for case in each.cases:
                yield from _guarded(case.body, [*guards, (each.value, case.patterns, list(before))])
                before += case.patterns
        else:
            yield each[0], each[1], guards


def _choice(target: Signal, choices: list[tuple[Signal, list[_Guard]]]) -> _Operation:
    """The last choice whose guards hold."""
    operands: list[Signal] = []
    steps: list[tuple[list[Callable[[list[str]], str]], int]] = []

    def bit_test(value: Signal, pattern: str) -> Callable[[list[str]], str]:
        tests = []
        for bits, first in _runs(pattern):
            operands.append(part(value, first, len(bits)))
            tests.append((len(operands) - 1, bits))

        def text(texts: list[str]) -> str:
            each = [texts[at] if bits == "1" else f"~{texts[at]}" if bits == "0"
                    else f"({texts[at]} == {_constant(bits)})" for at, bits in tests]
            return each[0] if len(each) == 1 else f"({' & '.join(each)})"

        return text

    def test(guard: _Guard) -> Callable[[list[str]], str]:
        value, patterns, not_these = guard
        good = [bit_test(value, pattern) for pattern in patterns]
        bad = [bit_test(value, pattern) for pattern in not_these if not _exclude(patterns, pattern)]

        def text(texts: list[str]) -> str:
            terms = []
            if good:
                fits = [each(texts) for each in good]
                terms.append(fits[0] if len(fits) == 1 else f"({' | '.join(fits)})")
            terms += [f"~{each(texts)}" for each in bad]
            return " & ".join(terms)

        return text

    for value, guards in reversed(choices):
        tests = [test(guard) for guard in guards if guard[1] or guard[2]]
        operands.append(value)
        steps.append((tests, len(operands) - 1))
        if not tests:
            break

    def text(*texts: str) -> str:
        out = ""
        for tests, at in steps:
            if not tests:
                return out + texts[at]
            condition = " & ".join(each(list(texts)) for each in tests)
            out += f"({condition}) ? {texts[at]} : " if "&" in condition or "|" in condition else \
                f"{condition} ? {texts[at]} : "
        raise ValueError("netlist: a process that does not always assign")

    if len(steps) == 1:
        return _Operation(target, operands, _same, operator=None)
    return _Operation(target, operands, text, "chosen", "?")


def _exclude(patterns: list[str], other: str) -> bool:
    """Whether what fits one of ``patterns`` cannot fit ``other``."""
    return bool(patterns) and all(any({a, b} == {"0", "1"} for a, b in zip(pattern, other, strict=True))
                                  for pattern in patterns)


def _runs(pattern: str) -> Iterator[tuple[str, int]]:
    """The parts of a pattern that are not free: their bits, highest first, and where they begin."""
    for match in re.finditer(r"[01]+", pattern):
        yield match[0], len(pattern) - match.end()


def _wires(*signals: Signal) -> list[str]:
    return [chunk.wire for signal in signals for chunk in signal if chunk.wire]


def _sources(driver: _Driver) -> list[str]:
    if isinstance(driver, _Operation):
        return _wires(*driver.operands)
    if isinstance(driver, _Register):
        return _wires(driver.clock, *_body_signals(driver.body))
    if isinstance(driver, _Read):
        return _wires(driver.address, driver.clock, *([driver.enable] if driver.enable else []))
    return []  # what an instance reads lives anyway


def _settles(body: Body) -> bool:
    """Whether the last statement is an ``if`` without ``else``, after which nothing before it counts."""
    last = body[-1]
    if not isinstance(last, Switch) or len(last.cases) != 1 or last.cases[0].patterns != ["1"]:
        return False
    inner = last.cases[0].body
    return {target for target, _ in _assignments(body[:-1])} <= {each[0] for each in inner
                                                                if not isinstance(each, Switch)}


def _block(head: str, lines: list[str], indent: str) -> list[str]:
    """``lines`` as the statement that belongs to ``head``."""
    if len(lines) == 1:
        return [head, f"{indent}  {lines[0]}"]
    return [f"{head} begin", *(f"{indent}  {line}" for line in lines), f"{indent}end"]


def _range(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""


def _constant(bits: str) -> str:
    width = len(bits)
    if set(bits) - {"0", "1"}:
        return f"{width}'b{bits}"
    if width <= 4:
        return f"{width}'d{int(bits, 2)}" if width > 1 else f"1'b{bits}"
    return f"{width}'h{int(bits, 2):0{-(-width // 4)}x}"


def _parameter(value: str) -> str:
    """A parameter of an instance: text, or a number."""
    return value if value.startswith('"') or value.lstrip("-").isdigit() else str(int(value.split("'")[1], 2))
