"""One module of a netlist as Verilog (IEEE 1364-2005) that people can read.

Each register has a process of its own, with the conditions under which it changes as they were described. What has no
name and is used once stands where it is used. Operands are written as wide as they take part, so that no reader, and no
checker, has to know Verilog's rules for widths.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from .rtlil import Body, Case, Cell, Chunk, NetlistModule, Signal, Switch, Wire, joined, part, width_of
from .verilog_expression import Operation, choices_of, constant, operation_of, renaming, runs, simplify

__all__ = ["Interface", "ModuleWriter", "legal_name"]

MAX_DEPTH = 12  # of expressions in expressions

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
    accept_on alias always_comb always_ff always_latch assert assume before bind bins binsof break chandle checker class
    clocking constraint context continue cover covergroup coverpoint cross dist endchecker endclass endclocking endgroup
    endinterface endpackage endprogram endproperty endsequence eventually expect extends extern first_match foreach
    forkjoin global iff ignore_bins illegal_bins implements implies inside interconnect intersect join_any join_none let
    local matches nettype nexttime protected pure rand randc randcase randsequence reject_on restrict s_always
    s_eventually s_nexttime s_until s_until_with sequence soft solve strong sync_accept_on sync_reject_on tagged
    shortreal throughout timeprecision timeunit unique0 until until_with untyped uwire wait_order weak wildcard with
    within
"""

def legal_name(name: str) -> str:
    """A simple identifier for a name of the netlist."""
    plain = re.sub(r"(\$\d+)+$", "", name.removeprefix("\\").removeprefix("$"))  # numbers that tell equal names apart
    if not re.fullmatch(r"[A-Za-z]\w*", plain, re.ASCII):
        plain = re.sub(r"_?\W+", "_", plain).strip("_")
    if plain in _KEYWORDS.split():
        return f"{plain}_"
    return plain if plain and not plain[0].isdigit() else f"n{plain}"


@dataclass(frozen=True)
class Interface:
    """What needs to be known of a module that is used: its name, and that of its ports by their names in the netlist
    (the same, if nothing is said), without those that it would not read."""

    name: str
    ports: dict[str, str] | None = None

    def port(self, name: str) -> str | None:
        """A port's name; None if there is no such port."""
        return name if self.ports is None else self.ports.get(name)


@dataclass
class _Register:
    """``reset`` is what sets it at once, without a clock, and to which value."""

    target: Signal
    clock: Signal
    body: Body
    reset: tuple[Signal, str] | None = None


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


_Driver = Operation | _Register | _Read | _Instance


class ModuleWriter:
    """Reads a module of a netlist, and writes it.

    Parameters
    ----------
    module : NetlistModule
        It is changed: wires are added.
    modules : dict
        By name in the netlist, all that are used.
    outputs : dict
        By name in the netlist, the output ports of all that are used.
    kept : set of str
        Nets that stay whether they are read or not.
    """

    def __init__(self, module: NetlistModule, modules: dict[str, Interface], outputs: dict[str, frozenset[str]],
                 kept: frozenset[str] = frozenset()) -> None:
        self.module, self.modules, self.output_ports, self.kept = module, modules, outputs, kept
        self.widths = {wire.name: wire.width for wire in module.wires.values()}
        self.operations: list[Operation] = []
        self.registers: list[_Register] = []
        self.reads: list[_Read] = []
        self.writes: list[_Write] = []
        self.instances: list[_Instance] = []
        self.contents: dict[str, str] = {}
        self._take_in()
        self._merge()
        self.drivers: dict[str, list[_Driver]] = defaultdict(list)
        drivers: list[Operation | _Register | _Read] = [*self.operations, *self.registers, *self.reads]
        for driver in drivers:
            for chunk in driver.target:
                self.drivers[chunk.wire].append(driver)
        for instance in self.instances:
            for signal in instance.outputs.values():
                for chunk in signal:
                    self.drivers[chunk.wire].append(instance)
        self.live = self._live()
        self._narrow()
        self.inlined = self._inlined()
        self.names = self._names()

    def ports(self, *, complete: bool) -> dict[str, str]:
        """Names of the ports by their names in the netlist: of all, or without inputs of which nothing depends."""
        return {wire.name[1:]: self.names[wire.name] for wire in self.module.wires.values()
                if wire.direction and (complete or wire.name in self.live)}

    # What the netlist says.

    def _take_in(self) -> None:
        registers = {cell.ports["D"][0].wire for cell in self.module.cells if cell.kind == "$dff"
                     and cell.ports["D"][0].wire.startswith("$") and self._whole(cell.ports["D"][0])}
        bodies = {}
        for body in self.module.processes:
            wires = {chunk.wire for target, _ in _assignments(body) for chunk in target}
            (first, *others) = wires
            if others or first not in registers:
                self.operations += choices_of(body)
            else:
                bodies[first] = body
        for cell in self.module.cells:
            if cell.kind == "$dff":
                self.registers.append(self._register(cell, bodies))
            elif cell.kind == "$adff":
                self.registers.append(_Register(
                    cell.ports["Q"], cell.ports["CLK"], [(cell.ports["Q"], cell.ports["D"])],
                    (cell.ports["ARST"], cell.parameters["ARST_VALUE"].split("'")[1])))
            elif cell.kind.startswith("$mem"):
                self._memory(cell)
            elif cell.kind.startswith("$"):
                operation = operation_of(cell)
                wide, narrow = width_of(operation.target), width_of(cell.ports["Y"])
                self.operations.append(operation)
                if wide > narrow:  # the rest is cut off behind it
                    name = f"$cut{cell.name}"
                    self.module.wires[name] = Wire(name, wide, "", 0, None)
                    self.widths[name] = wide
                    operation.target = (Chunk(name, 0, wide),)
                    self.operations.append(renaming(cell.ports["Y"], (Chunk(name, 0, narrow),)))
            else:
                self._instance(cell)
        for target, value in self.module.connections:
            self.operations.append(renaming(target, value))

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
                    out.append(Switch(each.value, [Case(case.patterns, moved(case.body)) for case in each.cases]))
                    continue
                at = 0
                for chunk in each[0]:
                    out.append((part(target, chunk.start, chunk.width), part(each[1], at, chunk.width)))
                    at += chunk.width
            return out

        # A register keeps what it holds: the first assignment need not say so.
        first, *rest = moved(body)
        return _Register(target, cell.ports["CLK"], rest if first == (target, target) else [first, *rest])

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
        for this in ((bit,) for chunk in enable for bit in chunk.split()):
            if enables and enables[-1][0] == this:
                enables[-1] = (this, enables[-1][1], enables[-1][2] + 1)
            else:
                enables.append((this, sum(width for _, _, width in enables), 1))
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
            fixed = wires[wire].direction or wire in self.kept
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
                changed |= simplify(operation)
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
            if register.reset is not None:
                register.reset = named(register.reset[0]), register.reset[1]
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
        waiting += self.kept
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
        changed = True
        while changed:
            changed = False
            ends: dict[str, int] = defaultdict(int)
            for signal in self._uses():
                for chunk in signal:
                    ends[chunk.wire] = max(ends[chunk.wire], chunk.start + chunk.width)
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

    def _inlined(self) -> dict[str, Operation]:
        """The operations that stand where they are used, by what they drive: it has no name, and is used once, and as a
        whole. No more than :data:`MAX_DEPTH` of them stand in each other."""
        uses: dict[str, int] = defaultdict(int)
        for signal in self._uses():
            for chunk in signal:
                if chunk.wire:
                    uses[chunk.wire] += 1 if self._whole(chunk) else 2
        inlined = {}
        for operation in self.operations:
            (chunk, *others) = operation.target
            if not others and chunk.wire.startswith("$") and self._whole(chunk) and uses[chunk.wire] == 1:
                inlined[chunk.wire] = operation
        depth: dict[str, int] = {}
        for root in list(inlined):
            waiting = [root]
            while waiting:
                inner = [wire for wire in _wires(*inlined[waiting[-1]].operands) if wire in inlined]
                if unknown := [wire for wire in inner if wire not in depth]:
                    waiting += unknown
                    continue
                wire = waiting.pop()
                depth[wire] = 1 + max((depth[each] for each in inner), default=0)
                if depth[wire] > MAX_DEPTH:
                    depth[wire] = 0
        return {wire: operation for wire, operation in inlined.items() if depth[wire]}

    def _uses(self) -> Iterator[Signal]:
        for operation in self.operations:
            yield from operation.operands
        for register in self.registers:
            yield register.clock
            if register.reset is not None:
                yield register.reset[0]
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
        counts: dict[str, int] = defaultdict(int)
        names: dict[str, str] = {}

        def name(key: str, wanted: str) -> None:
            free = wanted
            while free in taken:
                counts[wanted] += 1
                free = f"{wanted}_{counts[wanted]}"
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

    def text(self, own: Interface, attributes: str = "") -> str:
        """The module, called and with the ports that ``own`` says, and ``attributes`` in front of it."""
        wires = self.module.wires
        targets = [register.target for register in self.registers]
        targets += [read.target for read in self.reads if read.enable is not None]
        changing = {chunk.wire for target in targets for chunk in target}
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
                if memory.attributes:
                    said = ", ".join(f"{name} = {value}" for name, value in memory.attributes.items())
                    lines.append(f"  (* {said} *)")
                lines.append(f"  reg {_range(memory.width)}{self.names[f'memory {memory.name}']} "
                             f"[0:{memory.depth - 1}];")
        lines += self._initial()
        lines.append("")
        for operation in self.operations:
            (chunk, *others) = operation.target
            if others or chunk.wire not in self.inlined:
                lines.append(f"  assign {self.target(operation.target)} = {self.operation(operation)};")
        for register in self._grouped():
            if register.reset is None:
                lines += _block(f"  always @(posedge {self.value(register.clock)})", self._body(register.body), "  ")
                continue
            at_once = self.value(register.reset[0])
            lines += [f"  always @(posedge {self.value(register.clock)}, posedge {at_once})",
                      f"    if ({at_once}) {self.target(register.target)} <= {constant(register.reset[1])};",
                      *(f"    else {line}" for line in self._body(register.body))]
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
                    lines.append(f"    {self.names[chunk.wire]} = {constant(init)};")
        for memory, contents in self.contents.items():
            if memory in self.memories:
                shape = self.module.memories[memory]
                name = self.names[f"memory {memory}"]
                for row in range(shape.depth):
                    end = len(contents) - row * shape.width
                    lines.append(f"    {name}[{row}] = {constant(contents[end - shape.width:end])};")
        return ["", "  initial begin", *lines, "  end"] if lines else []

    def _grouped(self) -> Iterator[_Register]:
        """Registers that change in every cycle, and those that do but for a reset, each as one."""
        groups: dict[tuple[Signal, Signal | None], list[_Register]] = defaultdict(list)
        others = []
        for register in self.registers:
            match register.body:
                case _ if register.reset is not None:
                    others.append(register)
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
                if not conditions and word == "if":  # what Amaranth assigns behind a switch
                    lines += inner
                    break
                lines += _block(f"{word} ({' || '.join(conditions)})" if conditions else "else", inner, "")
                word = "else if"
        return lines

    def _fits(self, value: Signal, pattern: str) -> str:
        terms = []
        if pattern == "1":
            return self.value(value)
        for bits, first in runs(pattern):
            this = part(value, first, len(bits))
            if len(bits) == 1:
                terms.append(self.operand(this) if bits == "1" else f"!{self.operand(this)}")
            else:
                terms.append(f"({self.operand(this)} == {constant(bits)})")
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

    def operand(self, signal: Signal, without_brackets: str = "") -> str:
        """As :meth:`value`, with brackets where another operator needs them."""
        text, operator = self.value(signal), self._operator(signal)
        return f"({text})" if operator not in ("", "~", without_brackets) else text

    def _operator(self, signal: Signal) -> str:
        """That with which the signal's text is made."""
        if len(signal) != 1 or signal[0].wire not in self.inlined:
            return ""
        operation = self.inlined[signal[0].wire]
        return self._operator(operation.operands[0]) if operation.operator is None else operation.operator

    def operation(self, operation: Operation) -> str:
        operator, operands = operation.operator, operation.operands
        if operator is None:
            return operation.text(self.value(operands[0]))
        if operator in ("~", "negative", "reduce"):
            return operation.text(f"({self.value(operands[0])})" if self._operator(operands[0])
                                  else self.value(operands[0]))
        # Without brackets stands what is read from left to right, and the last of several choices.
        free = 0 if operator in ("&", "|", "^", "+") else len(operands) - 1 if operator == "?" else None
        return operation.text(*(self.operand(each, operator if place == free else "")
                                for place, each in enumerate(operands)))

    def _chunk(self, chunk: Chunk) -> str:
        if not chunk.wire:
            return constant(chunk.bits)
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
            tests = sum(len(list(runs(pattern))) for case in each.cases for pattern in case.patterns)
            yield from [each.value] * tests
            for case in each.cases:
                yield from _body_signals(case.body)
        else:
            yield each[1]


def _wires(*signals: Signal) -> list[str]:
    return [chunk.wire for signal in signals for chunk in signal if chunk.wire]


def _sources(driver: _Driver) -> list[str]:
    if isinstance(driver, Operation):
        return _wires(*driver.operands)
    if isinstance(driver, _Register):
        return _wires(driver.clock, *([driver.reset[0]] if driver.reset else []), *_body_signals(driver.body))
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


def _parameter(value: str) -> str:
    """A parameter of an instance: text, or a number."""
    return value if value.startswith('"') or value.lstrip("-").isdigit() else str(int(value.split("'")[1], 2))
