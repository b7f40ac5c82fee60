"""Programs over intervals: what every operation can give at most, over all inputs.

Bounds are arrays, one entry a channel, so that each neuron's own weights count. Two kinds of knowledge keep them
narrow:

* in each branch of a select the condition is known: where ``v > theta`` was false, ``v`` is at most ``theta``, and
  where it was true, ``v - theta`` is at least 1;
* ``x - (x >> k)`` grows with ``x``, so that its bounds are those of the ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SpikeloomError
from ..numerics import signed_bits
from .program import Graph, Operation, Program

__all__ = ["MAX_BITS", "Interval", "TooWideError", "bounds", "run_bounds"]

MAX_BITS = 48
# A product is only on its way to a shift. Of two of them the difference is still within 64 bits.
_PRODUCT_BITS = 62
_FAR = 1 << _PRODUCT_BITS

# Branches within branches in which conditions are taken for known: each level doubles the work.
_MAX_DEPTH = 2

Ends = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """From ``low`` to ``high``, both included: int64 arrays (channels,) or numbers. A truth value is 0 or 1."""

    low: Ends
    high: Ends

    @classmethod
    def of(cls, low: Any, high: Any) -> Interval:
        return cls(np.asarray(low, np.int64), np.asarray(high, np.int64))

    def __or__(self, other: Interval) -> Interval:
        """The smallest interval that holds both."""
        return Interval(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    @property
    def ends(self) -> tuple[int, int]:
        """Of all channels together."""
        return int(self.low.min()), int(self.high.max())


class TooWideError(SpikeloomError):
    """An operation needs more than 48 bits.

    Attributes
    ----------
    bits : int
        That it needs.
    """

    def __init__(self, bits: int, step: int | None = None) -> None:
        when = "" if step is None else f"in step {step} "
        super().__init__(f"{when}an operation needs {bits} bits, allowed are {MAX_BITS}")
        self.bits = bits


class _Facts:
    """What is known in one branch: intervals of some operations, and of differences ``a - b`` of some pairs."""

    def __init__(self, graph: Graph, leaves: Mapping[int, Interval], above: _Facts | None = None) -> None:
        self.graph, self.leaves, self.above = graph, leaves, above
        self.known: dict[int, Interval] = {}
        self.differences: dict[tuple[int, int], Interval] = {}
        self.touched: int = above.touched if above is not None else 0
        self.depth: int = above.depth + 1 if above is not None else 0
        self.memo: dict[int, Interval] = {}

    # Learning

    def learn(self, position: int, interval: Interval) -> None:
        self.known[position] = _both(self.known.get(position), interval)
        self.touched |= 1 << position
        self.memo.clear()  # it was worked out without this

    def assume(self, condition: int, holds: bool) -> None:
        """Take for known that a truth value is ``holds``."""
        operation = self.graph.operations[condition]
        self.learn(condition, Interval.of(int(holds), int(holds)))
        match operation.name:
            case "not":
                self.assume(operation.arguments[0], not holds)
            case "and" if holds:
                for argument in operation.arguments:
                    self.assume(argument, True)
            case "or" if not holds:
                for argument in operation.arguments:
                    self.assume(argument, False)
            case "greater" | "at_least":
                a, b = operation.arguments
                of_a, of_b = self.of(a), self.of(b)
                if holds:
                    least = 1 if operation.name == "greater" else 0
                    self._relate(a, b, of_a, of_b, Interval.of(least, _FAR))
                else:
                    self._relate(a, b, of_a, of_b, Interval.of(-_FAR, 0 if operation.name == "greater" else -1))

    def _relate(self, a: int, b: int, of_a: Interval, of_b: Interval, difference: Interval) -> None:
        self.differences[a, b] = difference
        self.touched |= 1 << a | 1 << b
        self.learn(a, Interval(of_b.low + difference.low, of_b.high + difference.high))
        self.learn(b, Interval(of_a.low - difference.high, of_a.high - difference.low))

    # Working out

    def of(self, position: int) -> Interval:
        """Bounds of an operation; ``low > high`` in channels in which this branch cannot be taken."""
        found = self.memo.get(position)
        if found is None:
            if self.above is not None and not self.graph.depends_on[position] & self.touched:
                found = self.above.of(position)
            elif position in self.known and self.above is not None:
                found = _both(self.above.of(position), self.known[position])
            else:
                found = self._work(position, self.graph.operations[position])
            self.memo[position] = found
        return found

    def _difference(self, a: int, b: int) -> Interval | None:
        facts: _Facts | None = self
        while facts is not None:
            if (a, b) in facts.differences:
                return facts.differences[a, b]
            facts = facts.above
        return None

    def _work(self, position: int, operation: Operation) -> Interval:
        if not operation.arguments:
            return self.leaves[position]
        if operation.name == "select":
            return self._select(*operation.arguments)
        value: Any = operation.value
        a, *rest = (self.of(argument) for argument in operation.arguments)
        match operation.name:
            case "add":
                out = Interval(a.low + rest[0].low, a.high + rest[0].high)
            case "subtract":
                out = self._subtract(*operation.arguments)
            case "multiply":
                furthest = _reach(a) * _reach(rest[0])
                _check(-furthest, furthest, _PRODUCT_BITS)
                products = [x * y for x in (a.low, a.high) for y in (rest[0].low, rest[0].high)]
                out = Interval(np.minimum.reduce(products), np.maximum.reduce(products))
            case "shift_left":
                _check(int(a.low.min()) << value, int(a.high.max()) << value, MAX_BITS)
                out = Interval(a.low << value, a.high << value)
            case "shift_right":
                out = Interval(a.low >> value, a.high >> value)
            case "greater":
                out = Interval((a.low > rest[0].high).astype(np.int64), (a.high > rest[0].low).astype(np.int64))
            case "at_least":
                out = Interval((a.low >= rest[0].high).astype(np.int64), (a.high >= rest[0].low).astype(np.int64))
            case "not":
                out = Interval(1 - a.high, 1 - a.low)
            case "and":
                out = Interval(a.low & rest[0].low, a.high & rest[0].high)
            case "or":
                out = Interval(a.low | rest[0].low, a.high | rest[0].high)
            case name:
                raise AssertionError(name)
        _check(*out.ends, _PRODUCT_BITS if operation.name == "multiply" else MAX_BITS)
        return out

    def _subtract(self, a: int, b: int) -> Interval:
        of_a, of_b = self.of(a), self.of(b)
        taken = self.graph.operations[b]
        if taken.name == "shift_right" and taken.arguments[0] == a:
            k: Any = taken.value
            return Interval(of_a.low - (of_a.low >> k), of_a.high - (of_a.high >> k))
        out = Interval(of_a.low - of_b.high, of_a.high - of_b.low)
        known = self._difference(a, b)
        return out if known is None else _both(out, known)

    def _select(self, condition: int, if_true: int, if_false: int) -> Interval:
        of = self.of(condition)
        branches = []
        for holds, wanted in ((True, if_true), (False, if_false)):
            if self.depth == _MAX_DEPTH:
                branches.append(self.of(wanted))
                continue
            facts = _Facts(self.graph, self.leaves, self)
            facts.assume(condition, holds)
            branches.append(facts.of(wanted))
        taken = [of.high == 1, of.low == 0]
        taken = [can & (b.low <= b.high) for can, b in zip(taken, branches, strict=True)]
        # A branch that cannot be taken stands for the other one.
        first, second = branches
        one = Interval(np.where(taken[0], first.low, second.low), np.where(taken[0], first.high, second.high))
        other = Interval(np.where(taken[1], second.low, first.low), np.where(taken[1], second.high, first.high))
        return one | other


def _both(a: Interval | None, b: Interval) -> Interval:
    return b if a is None else Interval(np.maximum(a.low, b.low), np.minimum(a.high, b.high))


def _reach(interval: Interval) -> int:
    low, high = interval.ends
    return max(abs(low), abs(high))


def _check(low: int, high: int, bits: int) -> None:
    """Refuse what is too wide, before the 64-bit integers of this analysis could wrap."""
    if (needed := signed_bits(low, high)) > bits:
        raise TooWideError(needed)


def bounds(graph: Graph, leaves: Mapping[int, Interval]) -> list[Interval]:
    """Bounds of every operation; ``leaves`` gives those of sums, registers and parameters by position.

    Raises
    ------
    SpikeloomError
        If an operation needs more than 48 bits.
    """
    constants = {position: _constant(operation) for position, operation in enumerate(graph.operations)
                 if operation.name == "constant"}
    facts = _Facts(graph, {**constants, **leaves})
    return [facts.of(position) for position in range(len(graph.operations))]


def _constant(operation: Operation) -> Interval:
    value = int(operation.value == "True") if isinstance(operation.value, str) else operation.value
    return Interval.of(value, value)


def run_bounds(program: Program, total: Interval, parameters: Mapping[str, Interval],
               steps: int) -> tuple[list[Interval], dict[str, list[Interval]]]:
    """Bounds over a run of so many steps from the reset.

    Parameters
    ----------
    total : Interval
        Of the weighted input, without bias.
    parameters : mapping of str to Interval
        Of the neurons' own constants.

    Returns
    -------
    list of Interval
        Of every operation, over all steps.
    dict of str to list of Interval
        Of every register: before the first step, ..., after the last.

    Raises
    ------
    SpikeloomError
        If an operation needs more than 48 bits, after as many steps as it takes.
    """
    fixed = dict.fromkeys(program.leaves("sum").values(), total)
    fixed |= {position: parameters[name] for name, position in program.leaves("parameter").items()}
    registers = {name: [Interval.of(np.full_like(total.low, int(reset)), np.full_like(total.low, int(reset)))]
                 for name, reset in program.registers.items()}
    overall: list[Interval] | None = None
    for step in range(steps):
        now = {position: registers[name][-1] for name, position in program.leaves("register").items()}
        try:
            found = bounds(program, {**fixed, **now})
        except TooWideError as error:
            raise TooWideError(error.bits, step + 1) from None
        overall = found if overall is None else [a | b for a, b in zip(overall, found, strict=True)]
        following = {name: found[program.outputs[f"next {name}"]] for name in registers}
        settled = all(np.array_equal(f.low, before.low) and np.array_equal(f.high, before.high)
                      for f, before in ((f, registers[name][-1]) for name, f in following.items()))
        for name, f in following.items():
            registers[name].append(f)
        if settled:
            for name in registers:
                registers[name] += [registers[name][-1]] * (steps - step - 1)
            break
    assert overall is not None
    return overall, registers
