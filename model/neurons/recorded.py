"""Neuron types from outside, as a network file holds them: the list of operations, not the code that wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SpikeloomError
from ..numerics import integer_array
from ..system.arguments import short, whole
from .neuron_type import NeuronType, Registers
from .program import LEAVES, Number, Operation, Program
from .transform import again

__all__ = ["RecordedNeuron", "program_from_json", "program_to_json"]

MAX_OPERATIONS = 4096
MAX_DEPTH = 100  # operations one behind the other
_LIMIT = (1 << 47) - 1

# Kinds of arguments and result: i an integer, t a truth value, a any of both.
_SIGNATURES = {
    "add": ("ii", "i"), "subtract": ("ii", "i"), "multiply": ("ii", "i"), "shift_left": ("i", "i"),
    "shift_right": ("i", "i"), "greater": ("ii", "t"), "at_least": ("ii", "t"), "not": ("t", "t"), "and": ("tt", "t"),
    "or": ("tt", "t"), "select": ("taa", "a"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedNeuron(NeuronType):
    """A neuron type that is known by its program alone.

    Parameters
    ----------
    name : str
        What its author called it.
    recorded_program : Program
        One step, without bias.
    constants : mapping of str to integer array
        Of each parameter of the program, one value for each channel or neuron.
    """

    name: str
    recorded_program: Program
    constants: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = set(self.recorded_program.parameters)
        if set(self.constants) != names:
            raise SpikeloomError(f"neuron type {short(self.name)}: constants must be {sorted(names)}, not "
                                 f"{short(sorted(self.constants))}")
        object.__setattr__(self, "constants", {
            name: integer_array(values, f"constant {short(name)}", -_LIMIT, _LIMIT)
            for name, values in self.constants.items()})

    @property
    def registers(self) -> Mapping[str, int | bool]:  # type: ignore[override]
        return self.recorded_program.registers

    @property
    def arrays(self) -> dict[str, npt.NDArray[np.int64]]:
        return dict(self.constants)

    def with_numbers(self, numbers: Mapping[str, Number]) -> NeuronType:
        return _Filled(self.recorded_program, numbers)

    def step(self, x: Number, r: Registers) -> tuple[Number, Number | None]:
        raise AssertionError("recorded with numbers only")


class _Filled(NeuronType):
    """The program, played again with numbers for its parameters."""

    def __init__(self, program: Program, numbers: Mapping[str, Number]) -> None:
        self.recorded_program, self.numbers = program, numbers

    def step(self, x: Number, r: Registers) -> tuple[Number, Number | None]:
        program, before = self.recorded_program, dict(iter(r))

        def leaf(operation: Operation) -> Number:
            match operation.name:
                case "sum":
                    return x
                case "register":
                    return before[str(operation.value)]
                case "parameter":
                    return self.numbers[str(operation.value)]
                case _:
                    value = operation.value
                    return x.recorder.constant(value == "True" if isinstance(value, str) else int(value or 0))

        results = again(program, x.recorder, leaf)
        for name in program.registers:
            setattr(r, name, results[program.outputs[f"next {name}"]])
        potential = program.outputs.get("potential")
        return results[program.outputs["spike"]], None if potential is None else results[potential]


def program_to_json(program: Program) -> dict[str, Any]:
    """A program as JSON values."""
    return {"registers": dict(program.registers), "outputs": dict(program.outputs),
            "operations": [[operation.name, list(operation.arguments), operation.value]
                           for operation in program.operations],
            "sha256": program.hash}


def program_from_json(value: Any) -> Program:
    """What :func:`program_to_json` wrote.

    Raises
    ------
    SpikeloomError
        If it is not a program, or not the one whose hash stands beside it; names field and operation.
    """
    fields = {"registers", "outputs", "operations", "sha256"}
    if not isinstance(value, Mapping) or set(value) != fields:
        raise SpikeloomError(f"program must have the fields {sorted(fields)}, not {short(value)}")
    registers, outputs, listed = value["registers"], value["outputs"], value["operations"]
    if not isinstance(registers, Mapping) or not all(
            isinstance(name, str) and name.isidentifier() and len(name) <= 64 for name in registers):
        raise SpikeloomError(f"program registers must be names and reset values, not {short(registers)}")
    for name, reset in registers.items():
        if not isinstance(reset, bool):
            whole(reset, f"program register {name}", -_LIMIT, _LIMIT)
    if not isinstance(listed, Sequence) or not 0 < len(listed) <= MAX_OPERATIONS:
        raise SpikeloomError(f"program operations must be 1..{MAX_OPERATIONS} operations, not {short(listed)}")
    operations: list[Operation] = []
    truths: set[int] = set()
    for position, one in enumerate(listed):
        try:
            operation, truth = _operation(one, operations, truths, registers)
        except SpikeloomError as error:
            raise SpikeloomError(f"program operations[{position}]: {error}") from None
        operations.append(operation)
        if truth:
            truths.add(position)
    depths: list[int] = []
    for operation in operations:
        depths.append(1 + max((depths[a] for a in operation.arguments), default=0))
    if max(depths) > MAX_DEPTH:
        raise SpikeloomError(f"program operations must be at most {MAX_DEPTH} one behind the other, not {max(depths)}")
    program = Program(tuple(operations), _outputs(outputs, registers, truths, len(operations)), frozenset(truths),
                      dict(registers), tuple(str(operation.value) for operation in operations
                                             if operation.name == "parameter"))
    if value["sha256"] != program.hash:
        raise SpikeloomError(f"program was changed: its hash is {program.hash[:12]}..., not the "
                             f"{short(value['sha256'])} beside it")
    return program


def _operation(one: Any, before: list[Operation], truths: set[int],
               registers: Mapping[str, Any]) -> tuple[Operation, bool]:
    if not isinstance(one, Sequence) or len(one) != 3 or not isinstance(one[1], Sequence):
        raise SpikeloomError(f"must be [name, arguments, value], not {short(one)}")
    name, raw, value = one
    arguments = tuple(whole(a, "argument", 0, len(before) - 1) for a in raw)
    if name in LEAVES:
        if arguments:
            raise SpikeloomError(f"{name} has no arguments, not {short(arguments)}")
        return _leaf(name, value, before, registers)
    if not isinstance(name, str) or name not in _SIGNATURES:
        raise SpikeloomError(f"name must be one of {', '.join([*sorted(LEAVES), *_SIGNATURES])}, not {short(name)}")
    kinds, result = _SIGNATURES[name]
    given = "".join("t" if a in truths else "i" for a in arguments)
    if len(given) != len(kinds) or any(k not in ("a", g) for k, g in zip(kinds, given, strict=True)):
        raise SpikeloomError(f"{name} takes {kinds!r} (i: integer, t: truth value), not {given!r}")
    if name == "select" and given[1] != given[2]:
        raise SpikeloomError(f"select takes two of one kind, not {given[1:]!r}")
    if name == "multiply" and before[arguments[1]].name not in ("constant", "parameter"):
        raise SpikeloomError("multiply takes a constant or a parameter as second argument, not "
                             f"{before[arguments[1]].name}")
    if name in ("shift_left", "shift_right"):
        whole(value, f"count of {name}", 0, 63)
    elif value is not None:
        raise SpikeloomError(f"{name} has no value, not {short(value)}")
    return Operation(name, arguments, value), (result if result != "a" else given[1]) == "t"


def _leaf(name: str, value: Any, before: list[Operation], registers: Mapping[str, Any]) -> tuple[Operation, bool]:
    if any(operation.name == name and operation.value == value for operation in before):
        raise SpikeloomError(f"{name} {short(value)} is there twice")
    match name:
        case "sum":
            whole(value, "sum", 0, 0)
        case "register" if value not in registers:
            raise SpikeloomError(f"register must be one of {', '.join(registers) or 'none'}, not {short(value)}")
        case "parameter" if not isinstance(value, str) or not value.isidentifier() or len(value) > 64 or value in (
                "bias", "exists"):
            raise SpikeloomError(f"parameter must have a name of its own, not {short(value)}")
        case "constant" if value not in ("True", "False"):
            whole(value, "constant", -_LIMIT, _LIMIT)
    truth = (name == "register" and isinstance(registers[value], bool)) or (name == "constant"
                                                                          and isinstance(value, str))
    return Operation(name, (), value), truth


def _outputs(outputs: Any, registers: Mapping[str, Any], truths: set[int], count: int) -> dict[str, int]:
    needed = {"spike", *(f"next {name}" for name in registers)}
    if not isinstance(outputs, Mapping) or not needed <= set(outputs) <= needed | {"potential"}:
        raise SpikeloomError(f"program outputs must be {', '.join(sorted(needed))}, and may be potential, not "
                             f"{short(outputs)}")
    for name, position in outputs.items():
        whole(position, f"program output {name}", 0, count - 1)
        wants = name == "spike" or (name != "potential" and isinstance(registers[name.removeprefix("next ")], bool))
        if (position in truths) != wants:
            raise SpikeloomError(f"program output {name} must be {'a truth value' if wants else 'an integer'}")
    return dict(outputs)
