"""Cells and processes of a netlist as expressions of Verilog, all operands as wide as they take part."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from .rtlil import Body, Cell, Chunk, Signal, Switch, joined, part, width_of

__all__ = ["Operation", "choices_of", "constant", "operation_of", "renaming", "runs", "simplify"]

_BINARY = {"$and": "&", "$or": "|", "$xor": "^", "$add": "+", "$sub": "-", "$mul": "*"}
_COMPARE = {"$eq": "==", "$ne": "!=", "$lt": "<", "$le": "<=", "$gt": ">", "$ge": ">="}
_REDUCE = {"$reduce_or": "|", "$reduce_bool": "|", "$reduce_and": "&", "$reduce_xor": "^", "$logic_not": "~|"}
_SHIFT = {"$shl": "<<", "$sshl": "<<", "$shr": ">>", "$sshr": ">>", "$shift": ">>", "$shiftx": ">>"}
# Names for what has none and is used more than once.
_NOUN = {"$and": "both", "$or": "either", "$xor": "differs", "$add": "total", "$sub": "difference", "$mul": "product",
         "$eq": "equal", "$ne": "unequal", "$lt": "less", "$le": "at_most", "$gt": "greater", "$ge": "at_least",
         "$mux": "chosen", "$not": "inverse", "$neg": "negative"}


@dataclass
class Operation:
    """An expression that drives ``target``, of signals that are as wide as they take part."""

    target: Signal
    operands: list[Signal]
    text: Callable[..., str]
    noun: str = "value"
    #: Its operator, if it wants brackets in another one's; ``None`` for a signal that only goes on under another name.
    operator: str | None = ""
    #: Of how many operands, from the last one on, only the lower bits matter to the lower bits of the result.
    lower: int = 0


def operation_of(cell: Cell) -> Operation:
    kind, ports = cell.kind, cell.ports
    a, b, target = ports.get("A", ()), ports.get("B", ()), ports["Y"]
    width = width_of(target)
    signs = [cell.parameters.get(f"{port}_SIGNED") == "1" for port in "AB"]
    signed = signs[0] and (signs[1] or "B" not in ports)
    noun = _NOUN.get(kind, "value")

    def wide(signal: Signal, bits: int) -> Signal:
        return _extended(signal, bits, signed)

    if kind == "$mul" and signed:
        return Operation(target, [wide(a, width), wide(b, width)], "$unsigned($signed({}) * $signed({}))".format,
                          noun, "", 2)
    if kind in _BINARY:
        operator = _BINARY[kind]
        return Operation(target, [wide(a, width), wide(b, width)], f"{{}} {operator} {{}}".format, noun, operator, 2)
    if kind in _COMPARE:
        operator, bits = _COMPARE[kind], max(width_of(a), width_of(b), 1)
        text = f"$signed({{}}) {operator} $signed({{}})" if signed else f"{{}} {operator} {{}}"
        return Operation(target, [wide(a, bits), wide(b, bits)], text.format, noun, operator)
    if kind in _REDUCE and not a:
        return Operation(target, [(Chunk("", 0, 1, str(int(kind == "$reduce_and"))),)], same_text, operator=None)
    if kind in _REDUCE:
        if width_of(a) == 1 and _REDUCE[kind] != "~|":
            return Operation(target, [a], same_text, noun, None)
        return Operation(target, [a], f"{_REDUCE[kind]}{{}}".format, noun, "reduce")
    if kind in ("$not", "$neg"):
        sign = "~" if kind == "$not" else "-"
        return Operation(target, [wide(a, width)], f"{sign}{{}}".format, noun, "~" if sign == "~" else "negative",
                          lower=1)
    if kind == "$pos":
        return Operation(target, [wide(a, width)], same_text, noun, None, 1)
    if kind == "$mux":
        return Operation(target, [ports["S"], b, a], "{} ? {} : {}".format, noun, "?", 2)
    if kind in _SHIFT:
        return _shift(cell, a, b, target, signs[0])
    raise ValueError(f"netlist: cell {kind}")


def same_text(text: str) -> str:
    return text


def renaming(target: Signal, value: Signal) -> Operation:
    """``target`` is ``value`` under another name."""
    return Operation(target, [value], same_text, operator=None)


def simplify(operation: Operation) -> bool:
    """Leave out what constant operands decide; returns whether they did."""
    operator, operands = operation.operator, operation.operands
    fixed = [each[0].bits if len(each) == 1 and not each[0].wire else "" for each in operands]
    value: Signal | None = None
    if operator == "~" and fixed[0]:
        value = (Chunk("", 0, len(fixed[0]), fixed[0].translate(str.maketrans("01", "10"))),)
    elif operator == "?" and operation.lower and fixed[0]:  # of a multiplexer, not of the choices of a process
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
    operation.operands, operation.text, operation.operator, operation.lower = [value], same_text, None, 1
    return True


def _shift(cell: Cell, a: Signal, b: Signal, target: Signal, signed: bool) -> Operation:
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
        return Operation(target, [moved], same_text, "shifted", None, 1)
    operator = "<<" if left else ">>"
    text = "$unsigned($signed({}) >>> {})" if arithmetic else f"{{}} {operator} {{}}"
    if bits > width:
        target = (Chunk("", 0, bits),)
    return Operation(target, [a, b], text.format, "shifted",
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


def choices_of(body: Body) -> Iterator[Operation]:
    """A process without a register, as one chain of choices for each part that is assigned as one."""
    assignments = list(_guarded(body, []))
    edges: dict[str, set[int]] = defaultdict(set)
    for target, _, _ in assignments:
        for chunk in target:
            edges[chunk.wire] |= {chunk.start, chunk.start + chunk.width}
    for wire, ends in edges.items():
        for first, end in pairwise(sorted(ends)):
            choices = []
            for target, value, guards in assignments:
                at = 0
                for chunk in target:
                    if chunk.wire == wire and chunk.start <= first and end <= chunk.start + chunk.width:
                        choices.append((part(value, at + first - chunk.start, end - first), guards))
                    at += chunk.width
            if choices:
                yield _choice((Chunk(wire, first, end - first),), choices)


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


def _choice(target: Signal, choices: list[tuple[Signal, list[_Guard]]]) -> Operation:
    """The last choice whose guards hold."""
    operands: list[Signal] = []
    steps: list[tuple[list[Callable[[list[str]], str]], int]] = []

    def bit_test(value: Signal, pattern: str) -> Callable[[list[str]], str]:
        tests = []
        for bits, first in runs(pattern):
            operands.append(part(value, first, len(bits)))
            tests.append((len(operands) - 1, bits))

        def text(texts: list[str]) -> str:
            each = [texts[at] if bits == "1" else f"~{texts[at]}" if bits == "0"
                    else f"({texts[at]} == {constant(bits)})" for at, bits in tests]
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
        return Operation(target, operands, same_text, operator=None)
    return Operation(target, operands, text, "chosen", "?")


def _exclude(patterns: list[str], other: str) -> bool:
    """Whether what fits one of ``patterns`` cannot fit ``other``."""
    return bool(patterns) and all(any({a, b} == {"0", "1"} for a, b in zip(pattern, other, strict=True))
                                  for pattern in patterns)


def runs(pattern: str) -> Iterator[tuple[str, int]]:
    """The parts of a pattern that are not free: their bits, highest first, and where they begin."""
    for match in re.finditer(r"[01]+", pattern):
        yield match[0], len(pattern) - match.end()


def constant(bits: str) -> str:
    width = len(bits)
    if set(bits) - {"0", "1"}:
        return f"{width}'b{bits}"
    if width <= 4:
        return f"{width}'d{int(bits, 2)}" if width > 1 else f"1'b{bits}"
    return f"{width}'h{int(bits, 2):0{-(-width // 4)}x}"
