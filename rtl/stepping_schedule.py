"""When a stepping unit does what, and where it keeps it: one step of a program in turns over few adders.

An operation with a carry chain takes a *phase* (a cycle) and leaves its result in a register for later phases;
comparisons and multiplexers act in the phase of what they work on. A step begins ``interval_cycles`` after the one
before, the fewest that no register's contents outlive; so the end of a step and the beginning of the next share
phases. A result goes into the register of what it was added to, as far as that is not read any more: then that
register's adder, with another operand in each phase, is all there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spikeloom.model.neurons.program import CHAINS, Program

__all__ = ["SteppingSchedule", "Write", "behind_wires", "reads", "schedule", "uses"]

_COMPARES = frozenset({"greater", "at_least"})
_WIRES = frozenset({"shift_left", "shift_right", "not"})


@dataclass(frozen=True)
class Write:
    """A result that is kept: operation ``position`` is written into register number ``register`` in ``phase``, in
    which it is worked out, or later, out of another register."""

    position: int
    phase: int
    register: int


@dataclass(frozen=True)
class SteppingSchedule:
    """Schedule of a program's step.

    Attributes
    ----------
    phases : tuple of int
        The phase in which each operation acts; leaves: 0.
    depth_cycles : int
        Phases of a step.
    interval_cycles : int
        From a step's beginning to the next one's.
    homes : mapping of str to int
        Register number of each of the program's registers.
    writes : tuple of Write
    """

    phases: tuple[int, ...]
    depth_cycles: int
    interval_cycles: int
    homes: dict[str, int]
    writes: tuple[Write, ...]


def behind_wires(program: Program, position: int) -> int:
    """The operation whose value this one passes on shifted, inverted, or as it is."""
    while program.operations[position].name in _WIRES:
        position = program.operations[position].arguments[0]
    return position


def schedule(program: Program, *, constant_sum: bool) -> SteppingSchedule:
    """The schedule with the shortest interval between steps."""
    phases = _phases(program)
    depth = 1 + max(phases)
    for interval in range(1, depth + 1):
        found = _kept(program, phases, interval, constant_sum)
        if found is not None:
            homes, writes = found
            return SteppingSchedule(tuple(phases), depth, interval, homes, tuple(writes))
    raise AssertionError("steps one after the other always fit")


def _phases(program: Program) -> list[int]:
    """As early as may be."""
    phases: list[int] = []
    for operation in program.operations:
        phase = 0
        for argument in operation.arguments:
            # What a chain works on comes out of a register; a truth value, or what is merely chosen, is used at once.
            source = behind_wires(program, argument)
            later = (operation.name in CHAINS and source not in program.truths
                     and program.operations[source].name in CHAINS | {"select"})
            phase = max(phase, phases[argument] + later)
        phases.append(phase)
    return phases


def uses(program: Program, phases: Sequence[int], position: int) -> list[int]:
    """Phases in which an operation's value is read, through wires."""
    return [phases[user] for user, operation in enumerate(program.operations)
            if operation.name not in _WIRES and any(behind_wires(program, a) == position for a in operation.arguments)]


def _kept(program: Program, phases: list[int], interval: int,
          constant_sum: bool) -> tuple[dict[str, int], list[Write]] | None:
    """Registers and what is written into them, or None if something would be overwritten before its use."""
    moves = _moves(program, phases)
    total = program.leaves("sum").get(0)
    if total is not None and not constant_sum and max(reads(program, phases, total), default=0) >= interval:
        return None
    homes = {name: number for number, name in enumerate(program.registers)}
    held: list[tuple[int, int, int]] = []  # register number, first cycle in which the value is there, last of its use
    writes = []
    place: dict[int, int] = {}  # where a register's next value is as soon as it is worked out
    moved: dict[int, int] = {}  # until when it has to wait elsewhere for the register to be free
    for name, number in homes.items():
        start, following = program.leaves("register").get(name), program.outputs[f"next {name}"]
        if following == start:
            held.append((number, 0, interval - 1))
            continue
        read = [] if start is None else [*uses(program, phases, start), *moves[start]]
        written = max([phases[following], *read])
        if read and interval + min(read) <= written:
            return None
        last = interval + max(read, default=0)
        if written == phases[following]:
            place[following] = number
            last = max([last, *uses(program, phases, following)])
        else:
            source = behind_wires(program, following)
            moved[source] = max(written, moved.get(source, 0))
        if last - written > interval:
            return None
        held.append((number, written + 1, last))
        writes.append(Write(following, written, number))
    count = len(homes)
    for position, operation in enumerate(program.operations):
        last = max([*uses(program, phases, position), moved.get(position, 0)])
        there = phases[position] + 1
        if not operation.arguments or operation.name in _WIRES or position in place or last < there:
            continue
        if last - there >= interval:
            return None
        number = next((n for n in _wanted(program, position, homes, writes)
                       if _free(held, n, there, last, interval)), count)
        count = max(count, number + 1)
        held.append((number, there, last))
        writes.append(Write(position, phases[position], number))
    return homes, sorted(writes, key=lambda w: (w.register, w.phase))


def reads(program: Program, phases: Sequence[int], position: int) -> list[int]:
    """Phases in which a leaf's value is read, and those in which it becomes a register's."""
    return [*uses(program, phases, position), *_moves(program, phases).get(position, [])]


def _moves(program: Program, phases: Sequence[int]) -> dict[int, list[int]]:
    """For each leaf, the phases in which its value becomes that of a register: when that one is free."""
    starts = program.leaves("register")
    sources = {name: behind_wires(program, program.outputs[f"next {name}"]) for name in program.registers}
    moved = {name: source for name, source in sources.items()
             if not program.operations[source].arguments and source != starts.get(name)}
    free = {name: max(uses(program, phases, starts[name]), default=0) if name in starts else 0 for name in moved}
    for _ in moved:  # along a chain of registers, each waits for the next
        for name in moved:
            followers = [free[other] for other, source in moved.items() if source == starts.get(name)]
            free[name] = max([free[name], *followers])
    moves: dict[int, list[int]] = {start: [] for start in starts.values()}
    for name, source in moved.items():
        moves.setdefault(source, []).append(free[name])
    return moves


def _wanted(program: Program, position: int, homes: dict[str, int], writes: list[Write]) -> Iterator[int]:
    """Registers that hold what the result is added to."""
    if position in program.truths:
        return
    operation = program.operations[position]
    arguments = operation.arguments[1:] if operation.name == "select" else operation.arguments
    for argument in arguments if operation.name != "subtract" else arguments[:1]:
        inner = program.operations[argument]
        if inner.name == "register" and argument not in program.truths:
            yield homes[str(inner.value)]
        yield from (w.register for w in writes if w.position == argument)


def _free(held: list[tuple[int, int, int]], number: int, there: int, last: int, interval: int) -> bool:
    """Whether a register is unused in these cycles, step after step."""
    wanted = {cycle % interval for cycle in range(there, last + 1)}
    return all(n != number or not wanted & {cycle % interval for cycle in range(t, e + 1)} for n, t, e in held)
