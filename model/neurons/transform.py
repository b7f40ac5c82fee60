"""Programs from programs: several steps in one graph, and steps that begin where registers meet the input."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from .program import CHAINS, Graph, Number, Operation, Program, Recorder, evaluate

__all__ = ["again", "rotated", "unrolled"]


def again(graph: Graph, recorder: Recorder, leaf: Callable[[Operation], Number]) -> list[Number]:
    """Record a graph once more, with other leaves."""
    def function(name: str) -> Callable[..., Number]:
        def record(*arguments: object) -> Number:
            numbers = tuple(a for a in arguments if isinstance(a, Number))
            value = arguments[-1] if isinstance(arguments[-1], int) else None
            return recorder.record(name, numbers, value)
        return record

    names = {operation.name for operation in graph.operations}
    return evaluate(graph, leaf, {name: function(name) for name in names})


def _leaf(recorder: Recorder, program: Program, operation: Operation, registers: Mapping[str, Number],
          total: Number) -> Number:
    match operation.name:
        case "sum":
            return total
        case "register":
            return registers[str(operation.value)]
        case "constant":
            value = operation.value
            return recorder.constant(value == "True" if isinstance(value, str) else operator.index(value or 0))
        case _:
            return recorder.record("parameter", (), operation.value, truth=operation.value in program.truth_parameters)


def unrolled(program: Program, steps: int, *, constant_sum: bool, keeps_state: bool) -> Graph:
    """All steps of a window as one graph, ready to be scheduled.

    Leaves: ``sum`` 0, 1, ... (or only 0 if it is constant); ``register`` if the state is kept between windows, else the
    reset values are worked in. Outputs: ``spike 0``, ``spike 1``, ...; ``potential`` of the last step; ``next
    <register>`` if the state is kept.
    """
    recorder = Recorder(spread="always")
    registers = {name: recorder.record("register", (), name, truth=isinstance(reset, bool)) if keeps_state
                 else recorder.constant(reset) for name, reset in program.registers.items()}
    outputs: dict[str, Number] = {}
    for step in range(steps):
        total = recorder.record("sum", (), 0 if constant_sum else step)
        before = dict(registers)
        results = again(program, recorder, lambda op, r=before, x=total: _leaf(recorder, program, op, r, x))  # type: ignore[misc]
        outputs[f"spike {step}"] = results[program.outputs["spike"]]
        registers = {name: results[program.outputs[f"next {name}"]] for name in registers}
        if program.gives_potential:
            outputs["potential"] = results[program.outputs["potential"]]
    if keeps_state:
        outputs |= {f"next {name}": number for name, number in registers.items()}
    return recorder.graph(outputs)


def rotated(program: Program) -> Program:
    """The same neuron with its registers one piece of work ahead.

    What of a step needs registers and constants only (a decay) can be done at the end of the step before, and its
    result be kept in the register's place; then a step begins with the addition of its input. Done for each register
    of which one such piece is all that is read.
    """
    operations = program.operations
    ahead = {name: piece for name, start in program.leaves("register").items()
             if (piece := _piece(program, start)) is not None}
    if not ahead:
        return program
    recorder = Recorder(spread="constants")
    places = {piece: name for name, piece in ahead.items()}
    resets = {name: _value(program, ahead[name], {name: reset}) if name in ahead else reset
              for name, reset in program.registers.items()}
    start_numbers = {name: recorder.record("register", (), name, truth=isinstance(reset, bool))
                     for name, reset in resets.items()}
    total = recorder.record("sum", (), 0)
    numbers: list[Number] = []
    for position, operation in enumerate(operations):
        if position in places:
            numbers.append(start_numbers[places[position]])
        elif operation.arguments:
            numbers.append(recorder.record(operation.name, tuple(numbers[a] for a in operation.arguments),
                                           operation.value))
        else:
            numbers.append(_leaf(recorder, program, operation, start_numbers, total))
    outputs = {name: numbers[position] for name, position in program.outputs.items()}
    for name, piece in ahead.items():
        later = outputs[f"next {name}"]
        inner = Graph(operations[:piece + 1], {}, program.truths)
        outputs[f"next {name}"] = again(inner, recorder, lambda op, r=later: (  # type: ignore[misc]
            r if op.name in ("register", "sum") else _leaf(recorder, program, op, {}, total)))[piece]
    graph = recorder.graph(outputs)
    return Program(graph.operations, graph.outputs, graph.truths, resets, program.parameters)


def _piece(program: Program, start: int) -> int | None:
    """The last operation that needs the register and constants only, if nothing else reads what leads to it."""
    operations = program.operations
    fixed = sum(1 << p for p, operation in enumerate(operations) if operation.arguments or operation.name == "constant")
    own = [p for p in range(len(operations))
           if program.depends_on[p] >> start & 1 and not program.depends_on[p] & ~(fixed | 1 << start)]
    read_outside = set(program.outputs.values())
    for piece in reversed(own):
        inner = {p for p in own if program.depends_on[piece] >> p & 1 and p != piece}
        users = {p for p, operation in enumerate(operations) if inner & set(operation.arguments)}
        if (users <= inner | {piece} and not inner & read_outside
                and any(operations[p].name in CHAINS for p in inner | {piece})):
            return piece
    return None


def _value(program: Program, piece: int, registers: Mapping[str, int | bool]) -> int | bool:
    """What the piece gives right after a reset."""
    recorder = Recorder()
    number = again(Graph(program.operations[:piece + 1], {}, program.truths), recorder, lambda op: (
        recorder.constant(registers[str(op.value)]) if op.name == "register" and str(op.value) in registers
        else _leaf(recorder, program, op, {str(op.value): recorder.constant(0)}, recorder.constant(0))))[piece]
    assert number.known is not None
    return number.known
