"""Programs in words: the equations, as people write them."""

from __future__ import annotations

from .program import Graph, Operation, Program

__all__ = ["equations"]

_INFIX = {"add": ("+", 2), "subtract": ("-", 2), "multiply": ("*", 3), "greater": (">", 1), "at_least": (">=", 1),
          "and": ("and", 0), "or": ("or", 0)}


def equations(program: Program) -> list[str]:
    """One line for each result; what is used several times has a line, and a name, of its own.

    ``x`` is the weighted input; a register's name stands for what it held before the step, with a prime for after it.
    """
    names = {position: f"{name.removeprefix('next ')}'" for name, position in program.outputs.items()
             if name.startswith("next ")}
    names |= {program.outputs[name]: name for name in ("potential", "spike") if name in program.outputs}
    uses = [0] * len(program.operations)
    for operation in program.operations:
        for argument in operation.arguments:
            uses[argument] += 1
    spare = iter("abcdefghijklmnopqrstuvwxyz")
    shared = {position: names.get(position) or next(spare) for position, operation in enumerate(program.operations)
              if operation.arguments and (position in names or (uses[position] > 1 and not _short(operation)))}
    lines = []
    for position, name in shared.items():
        lines.append(f"{name} = {_text(program, position, shared, top=position)[0]}")
    for name, position in program.outputs.items():
        shown = f"{name.removeprefix('next ')}'" if name.startswith("next ") else name
        if shared.get(position) != shown and (name.startswith("next ") or name in ("spike", "potential")):
            text = shared.get(position) or _text(program, position, shared)[0]
            if text != shown:
                lines.append(f"{shown} = {text}")
    return lines


def _short(operation: Operation) -> bool:
    return operation.name in ("shift_left", "shift_right", "not")


def _text(graph: Graph, position: int, shared: dict[int, str], top: int | None = None) -> tuple[str, int]:
    """Text and precedence (higher binds tighter)."""
    if position in shared and position != top:
        return shared[position], 9
    operation = graph.operations[position]

    def inner(k: int, least: int) -> str:
        text, precedence = _text(graph, operation.arguments[k], shared)
        return text if precedence >= least else f"({text})"

    match operation.name:
        case "sum":
            return "x", 9
        case "constant" | "register" | "parameter":
            return str(operation.value), 9
        case "shift_left":
            return f"{inner(0, 4)} << {operation.value}", 1
        case "shift_right":
            return f"{inner(0, 4)} >> {operation.value}", 1
        case "not":
            return f"not {inner(0, 4)}", 4
        case "select":
            return f"{inner(1, 1)} if {inner(0, 1)} else {inner(2, 1)}", -1
        case name:
            sign, precedence = _INFIX[name]
            return f"{inner(0, precedence)} {sign} {inner(1, precedence + 1)}", precedence
