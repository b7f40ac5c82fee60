"""One neuron at a time, step after step, with an adder for each register: the smallest unit."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from spikeloom.model.neurons.program import Program
from spikeloom.model.numerics import signed_bits

from .neuron import NeuronConfig, constant_value, operation_value, shape_of, start_value, unit_ports
from .stepping_schedule import SteppingSchedule, Write, behind_wires, reads, schedule, uses

__all__ = ["SteppingNeuron", "schedule_of", "stepping_cycles"]


def schedule_of(config: NeuronConfig) -> SteppingSchedule:
    """The unit's schedule."""
    return schedule(config.program, constant_sum=config.static)


def stepping_cycles(config: NeuronConfig) -> int:
    """From taking the sums to giving the mask: of a LIF neuron with reset to zero two cycles a step and two more."""
    plan = schedule_of(config)
    needed = plan.depth_cycles if config.keeps_state else 1 + max(
        plan.phases[config.program.outputs["spike"]], _potential_phase(config, plan))
    return 1 + (config.steps - 1) * plan.interval_cycles + needed


def _potential_phase(config: NeuronConfig, plan: SteppingSchedule) -> int:
    """The phase in which the potential is taken: where a register holds it already, as soon as it does; else 0."""
    if not config.gives_potential:
        return 0
    given = config.program.outputs["potential"]
    phase, source = plan.phases[given], behind_wires(config.program, given)
    return phase + any(w.position == source and phase + 1 in uses(config.program, plan.phases, source)
                       for w in plan.writes)


class _Change(NamedTuple):
    """What a write does to its register: ``adds`` (operand, subtracted), or loads ``value``; only where ``enable``,
    and with ``cleared`` (condition, constant) in its place."""

    phase: int
    adds: tuple[Any, bool] | None
    value: Any
    enable: Any
    cleared: tuple[Any, int] | None


class SteppingNeuron(wiring.Component):
    """A step every ``interval_cycles`` of its :class:`.SteppingSchedule`. Equations: the population's program.

    ``start`` takes the sums; :func:`stepping_cycles` later ``mask`` (and ``next_state``, ``potential``) are valid and
    stay until the next start. One neuron at a time; no memory.

    Members
    -------
    start : In(1)
    sums, constants, next_state, mask, potential : as in :class:`.NeuronPipeline`
    state, fresh : with ``start``
    phase : In(depth_cycles): whether in this cycle a step is in that phase
    """

    def __init__(self, config: NeuronConfig) -> None:
        self.config = config
        self.schedule = schedule_of(config)
        super().__init__(unit_ports(config) | {"start": In(1), "phase": In(self.schedule.depth_cycles)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg, program, plan = self.config, self.config.program, self.schedule
        sums_q = Signal.like(self.sums, reset_less=True)
        with m.If(self.start):
            m.d.sync += sums_q.eq(self.sums)
        total = program.leaves("sum").get(0)
        if total is not None and not cfg.static:
            # The step's sum is the lowest; the others move down as soon as it has been used.
            with m.If(self.phase[max(reads(program, plan.phases, total), default=0)]):
                m.d.sync += [sums_q[t].eq(sums_q[t + 1]) for t in range(cfg.sums - 1)]

        registers = self._registers()
        read = _Reader(self, registers, sums_q[0])
        for number, register in registers.items():
            changes = [self._change(read, w) for w in plan.writes if w.register == number]
            self._drive(m, number, register, changes)

        spike = program.outputs["spike"]
        phase = plan.phases[spike]
        mask = Signal(cfg.steps, name="mask_q", reset_less=True)
        with m.If(self.phase[phase]):
            m.d.sync += mask.eq(Cat(mask[1:], read(spike, phase)))
        m.d.comb += self.mask.eq(mask)
        if cfg.gives_potential:
            phase = _potential_phase(cfg, plan)
            potential = Signal(signed(cfg.potential_bits), name="potential_q", reset_less=True)
            with m.If(self.phase[phase]):
                m.d.sync += potential.eq(read(program.outputs["potential"], phase))
            m.d.comb += self.potential.eq(potential)
        if cfg.keeps_state:
            m.d.comb += [self.next_state[name].eq(registers[number]) for name, number in plan.homes.items()]
        return m

    def _registers(self) -> dict[int, Signal]:
        """As wide as all that they hold."""
        cfg, program, plan = self.config, self.config.program, self.schedule
        bits: dict[int, int] = {}
        truths = {number for name, number in plan.homes.items() if isinstance(program.registers[name], bool)}
        names = {number: name for name, number in plan.homes.items()}
        for name, number in plan.homes.items():
            bits[number] = signed_bits(*cfg.register_spans[name])
        for w in plan.writes:
            if w.position in program.truths:
                truths.add(w.register)
            bits[w.register] = max(bits.get(w.register, 1), signed_bits(*cfg.spans[w.position]))
        return {number: Signal(1 if number in truths else signed(bits[number]),
                               name=f"{names.get(number, f'kept{number}')}_q", reset_less=True) for number in
                               sorted(bits)}

    def _change(self, read: _Reader, w: Write) -> _Change:
        program, operations = self.config.program, self.config.program.operations
        position, enable, cleared = w.position, None, None
        if operations[position].name == "select" and position not in program.truths:
            condition, if_true, if_false = operations[position].arguments
            chosen = read(condition, w.phase)
            for constant, other, holds in ((if_true, if_false, chosen), (if_false, if_true, ~chosen)):
                if cleared is None and operations[constant].name == "constant":
                    value = operations[constant].value
                    assert isinstance(value, int)
                    cleared, position = (holds, value), other
                elif cleared is None and enable is None and read.register_of(constant, w.phase) == w.register:
                    enable, position = ~holds, other
        if read.register_of(position, w.phase) == w.register:  # nothing to do but to clear
            return _Change(w.phase, None, None, enable, cleared)
        operation = operations[position]
        if operation.name in ("add", "subtract") and self.schedule.phases[position] == w.phase:
            a, b = operation.arguments
            if operation.name == "add" and read.register_of(b, w.phase) == w.register:
                a, b = b, a
            if read.register_of(a, w.phase) == w.register:
                return _Change(w.phase, (read(b, w.phase), operation.name == "subtract"), None, enable, cleared)
        return _Change(w.phase, None, read(position, w.phase), enable, cleared)

    def _drive(self, m: Module, number: int, register: Signal, changes: list[_Change]) -> None:
        adding = [c for c in changes if c.adds is not None]
        if adding:
            total = _shared_sum(register, [(self.phase[c.phase], *c.adds) for c in adding if c.adds is not None])
            active = [self.phase[c.phase] if c.enable is None else self.phase[c.phase] & c.enable for c in adding]
            with m.If(reduce(or_, active)):
                m.d.sync += register.eq(total)
        for c in changes:
            if c.value is not None:
                with m.If(self.phase[c.phase] if c.enable is None else self.phase[c.phase] & c.enable):
                    m.d.sync += register.eq(c.value)
        # Last, and with conditions of their own, so that they become the flip-flops' resets.
        clears: dict[int, list[Any]] = {}
        for c in changes:
            if c.cleared is not None:
                clears.setdefault(c.cleared[1], []).append(self.phase[c.phase] & c.cleared[0])
        name = next((name for name, home in self.schedule.homes.items() if home == number), None)
        if name is not None:
            if self.config.keeps_state:
                with m.If(self.start):
                    m.d.sync += register.eq(start_value(self.config, self, name))
            else:
                clears.setdefault(int(self.config.program.registers[name]), []).append(self.start)
        for value, conditions in clears.items():
            with m.If(reduce(or_, conditions)):
                m.d.sync += register.eq(value)


class _Reader:
    """Values of operations in the phases in which they are read."""

    def __init__(self, unit: SteppingNeuron, registers: dict[int, Signal], total: Any) -> None:
        self.unit, self.registers, self.total = unit, registers, total
        self.program: Program = unit.config.program

    def register_of(self, position: int, phase: int) -> int | None:
        """The register that holds an operation's value in that phase."""
        plan, operation = self.unit.schedule, self.program.operations[position]
        if operation.name == "register":
            return plan.homes[str(operation.value)]
        if operation.arguments and phase > plan.phases[position]:
            written = [w for w in plan.writes if w.position == position and w.phase < phase]
            return min(written, key=lambda w: w.phase).register if written else None
        return None

    def __call__(self, position: int, phase: int) -> Any:
        operation, config = self.program.operations[position], self.unit.config
        number = self.register_of(position, phase)
        if number is not None:
            register = self.registers[number]
            if position in self.program.truths:
                return register
            bits = shape_of(self.program, config.spans, position).width
            return register[:bits].as_signed() if bits < len(register) else register
        match operation.name:
            case "constant":
                return constant_value(operation)
            case "sum":
                return self.total
            case "parameter":
                return self.unit.constants[operation.value]
        result = operation_value(operation, [self(a, phase) for a in operation.arguments])
        # No wider than its bounds: what is shared knows nothing of them.
        shape = shape_of(self.program, config.spans, position)
        if position in self.program.truths or len(result) <= shape.width:
            return result
        return result[:shape.width].as_signed()


def _shared_sum(register: Signal, terms: list[tuple[Any, Any, bool]]) -> Any:
    """``register`` plus or minus the operand of the phase: one adder for all."""
    operand: Any = None
    minus: Any = Const(0, 1)
    for phase, value, subtracted in terms:
        value = ~value if subtracted else value
        operand = value if operand is None else Mux(phase, value, operand)
        minus = minus | phase if subtracted else minus
    if len(terms) == 1:
        return register - ~operand if terms[0][2] else register + operand
    # x - y = x + ~y + 1: the carry comes in by a bit below the others.
    return (Cat(Const(1, 1), register).as_signed() + Cat(minus, operand).as_signed()) >> 1
