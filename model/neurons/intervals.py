"""Programs over intervals: what every operation can give at most, over all inputs.

Bounds are arrays, one entry a channel, so that each neuron's own weights count. Two kinds of knowledge keep them
narrow:

* in each branch of a select the condition is known: where ``v > theta`` was false, ``v`` is at most ``theta``, and
  where it was true, ``v - theta`` is at least 1;
* ``x - (x >> k)`` grows with ``x``, so that its bounds are those of the ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SpikeloomError
from ..numerics import signed_bits
from .program import Graph, Operation, Program

__all__ = ["MAX_BITS", "EndlessError", "Interval", "TooWideError", "bounds", "run_bounds"]

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


class EndlessError(SpikeloomError):
    """A register grows without end in a run of any length."""

    def __init__(self, register: str) -> None:
        super().__init__(f"register {register} grows without end in a run of any length: it needs a leak, a clamp, or "
                         "a number of steps")


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
        if (shifts := self._two_shifts(a, b)) is not None:
            return _decayed_twice(self.of(self.graph.operations[b].arguments[0]), *shifts)
        out = Interval(of_a.low - of_b.high, of_a.high - of_b.low)
        known = self._difference(a, b)
        return out if known is None else _both(out, known)

    def _two_shifts(self, a: int, b: int) -> tuple[int, int] | None:
        """The counts, if ``a - b`` is ``x - (x >> k) - (x >> l)``."""
        first, second = self.graph.operations[a], self.graph.operations[b]
        if second.name != "shift_right" or first.name != "subtract":
            return None
        x, taken = first.arguments[0], self.graph.operations[first.arguments[1]]
        if taken.name != "shift_right" or taken.arguments[0] != x or second.arguments[0] != x:
            return None
        k: Any = taken.value
        shift: Any = second.value
        return (k, shift) if k and shift else None

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


def _decayed_twice(x: Interval, k: int, shift: int) -> Interval:
    """Bounds of ``x - (x >> k) - (x >> l)``: it grows with ``x``, but falls by one where both shifts step."""
    def f(value: Ends) -> Ends:
        out: Ends = value - (value >> k) - (value >> shift)
        return out

    period = max(k, shift)
    before, after = ((x.high >> period) << period) - 1, ((x.low >> period) + 1) << period
    return Interval(np.where(after <= x.high, np.minimum(f(x.low), f(after)), f(x.low)),
                    np.where(before >= x.low, np.maximum(f(x.high), f(before)), f(x.high)))


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
               steps: int | None) -> tuple[list[Interval], dict[str, list[Interval]]]:
    """Bounds over a run of so many steps from the reset.

    The first :data:`EXACT_STEPS` steps are worked out one by one, or until nothing changes any more. Bounds that still
    grow then are widened to some that hold for all other steps (:func:`_widened`).

    Parameters
    ----------
    total : Interval
        Of the weighted input, without bias.
    parameters : mapping of str to Interval
        Of the neurons' own constants.
    steps : int or None
        None: a run of any length.

    Returns
    -------
    list of Interval
        Of every operation, over all steps.
    dict of str to list of Interval
        Of every register: before the first step, after it, ...; the last entry holds for all later steps too.

    Raises
    ------
    SpikeloomError
        If an operation needs more than 48 bits, after as many steps as it takes; or a register grows without end in a
        run of any length.
    """
    fixed = dict.fromkeys(program.leaves("sum").values(), total)
    fixed |= {position: parameters[name] for name, position in program.leaves("parameter").items()}
    registers = {name: [Interval.of(np.full_like(total.low, int(reset)), np.full_like(total.low, int(reset)))]
                 for name, reset in program.registers.items()}
    places = program.leaves("register")
    overall: list[Interval] | None = None

    def trial(now: Mapping[str, Interval]) -> list[Interval]:
        return bounds(program, {**fixed, **{position: now[name] for name, position in places.items()}})

    def joined(found: list[Interval]) -> list[Interval]:
        return found if overall is None else [a | b for a, b in zip(overall, found, strict=True)]

    settled = False
    exact = EXACT_STEPS if steps is None else min(steps, EXACT_STEPS)
    for count in range(exact):
        try:
            found = trial({name: values[-1] for name, values in registers.items()})
        except TooWideError as error:
            raise TooWideError(error.bits, count + 1) from None
        overall = joined(found)
        following = {name: found[program.outputs[f"next {name}"]] for name in registers}
        settled = all(_within(f, registers[name][-1]) and _within(registers[name][-1], f)
                      for name, f in following.items())
        for name, f in following.items():
            registers[name].append(f)
        if settled:
            break
    if not settled and steps != exact:
        # From these registers on, each step's operations; the last step leads out of them.
        rest = None if steps is None else steps - exact - 1
        widened = _widened(program, {name: values[-1] for name, values in registers.items()}, trial, rest)
        found = trial(widened)
        overall = joined(found)
        for name, interval in widened.items():
            registers[name].append(interval | found[program.outputs[f"next {name}"]])
    assert overall is not None
    return overall, registers


#: Steps that are worked out one by one.
EXACT_STEPS = 256
_ROUNDS, _NARROWING = 200, 32


def _within(inner: Interval, outer: Interval) -> bool:
    return bool((inner.low >= outer.low).all() and (inner.high <= outer.high).all())


def _widened(program: Program, start: Mapping[str, Interval], trial: Callable[[Mapping[str, Interval]], list[Interval]],
             steps: int | None) -> dict[str, Interval]:
    """Bounds of the registers that hold in all of ``steps`` more steps (None: in any number) from ``start``.

    They are such that a step leads back into them. Where it does not yet, a bound is moved: of a register that is only
    added to, by what all steps can add; of others, to the next power of two. At last they are narrowed, by steps that
    lead into them from themselves.
    """
    now = dict(start)
    accumulates = False
    for _ in range(_ROUNDS):
        try:
            found = trial(now)
        except TooWideError:
            if steps is not None:
                raise
            growing = [name for name in now if not _within(now[name], start[name])]
            raise EndlessError(growing[0]) from None
        moved = {}
        for name, before in now.items():
            after = found[program.outputs[f"next {name}"]]
            if _within(after, before):
                moved[name] = before
            elif isinstance(program.registers[name], bool):
                moved[name] = before | after
            elif (drift := _drift(program, found, name)) is None:
                moved[name] = before | Interval(-_power_above(-after.low), _power_above(after.high))
            elif steps is None:
                if drift[2].any():
                    raise EndlessError(name)
                moved[name] = before | Interval(-_power_above(-after.low), _power_above(after.high))
            else:
                accumulates = True
                carried, fresh, keeps = drift
                base = start[name] if fresh is None else start[name] | fresh
                low = base.low + steps * np.clip(carried.low, -_FAR >> 20, 0)
                high = base.high + steps * np.clip(carried.high, 0, _FAR >> 20)
                low = np.where(keeps, low, -_power_above(-after.low))
                high = np.where(keeps, high, _power_above(after.high))
                # Each end of its own: the one that leads back stays.
                moved[name] = before | Interval(np.where(after.low < before.low, low, before.low),
                                                np.where(after.high > before.high, high, before.high))
        if all(_within(moved[name], now[name]) for name in now):
            break
        now = moved
    else:
        raise TooWideError(MAX_BITS + 1)
    for _ in range(0 if accumulates else _NARROWING):
        found = trial(now)
        now = {name: found[program.outputs[f"next {name}"]] | start[name] for name in now}
    return now


def _power_above(value: Ends) -> Ends:
    """``2**k - 1``, the smallest that is not below a value; 0 for what is below 0."""
    exponent = np.frexp(np.maximum(value, 0).astype(np.float64))[1].astype(np.int64)
    return (np.int64(1) << exponent) - np.int64(1)


def _drift(program: Program, spans: Sequence[Interval],
           register: str) -> tuple[Interval, Interval | None, npt.NDArray[np.bool_]] | None:
    """What a step adds to a register, the bounds of what may take its place (a reset), and in which channels it is kept
    whole (a factor of their own may let it decay in others). None if a step does more to it."""
    start = program.leaves("register").get(register)
    if start is None:
        return None
    carried: dict[int, Interval | None] = {start: Interval.of(0, 0)}
    fresh: dict[int, Interval | None] = {start: None}
    keeps = np.ones(np.broadcast_shapes(*(span.low.shape for span in spans)), np.bool_)

    factors: dict[int, tuple[int, int]] = {}

    def both(a: Interval | None, b: Interval | None) -> Interval | None:
        return b if a is None else a if b is None else a | b

    for position, operation in enumerate(program.operations):
        if position in carried:
            continue
        if not program.depends_on[position] >> start & 1:
            carried[position], fresh[position] = None, spans[position]
            continue
        arguments = operation.arguments
        depending = [program.depends_on[a] >> start & 1 for a in arguments]
        if operation.name == "shift_right" and arguments[0] in factors:
            # A factor of at most one leaves a value between what it was and 0.
            value, factor = factors[arguments[0]]
            shift = operation.value
            assert isinstance(shift, int)
            if value in carried and bool(((spans[factor].low >= 0) & (spans[factor].high <= 1 << shift)).all()):
                carried[position], fresh[position] = carried[value], both(fresh[value], Interval.of(0, 0))
                keeps = keeps & (spans[factor].high == 1 << shift)
            continue
        if any(a not in carried for a in arguments):
            continue  # more than an addition: so is what comes of it
        if operation.name == "add" and sum(depending) == 1:
            a, other = (arguments if depending[0] else arguments[::-1])
            added = spans[other]
        elif operation.name == "subtract" and depending == [1, 0]:
            a, added = arguments[0], Interval(-spans[arguments[1]].high, -spans[arguments[1]].low)
        elif operation.name == "select":
            carried[position] = both(carried[arguments[1]], carried[arguments[2]])
            fresh[position] = both(fresh[arguments[1]], fresh[arguments[2]])
            continue
        elif position in program.truths:
            carried[position], fresh[position] = None, spans[position]
            continue
        elif operation.name == "multiply" and depending == [1, 0]:
            factors[position] = (arguments[0], arguments[1])
            continue
        else:
            continue
        of_a, free = carried[a], fresh[a]
        carried[position] = None if of_a is None else Interval(of_a.low + added.low, of_a.high + added.high)
        fresh[position] = None if free is None else Interval(free.low + added.low, free.high + added.high)
    following = program.outputs[f"next {register}"]
    if following not in carried or carried[following] is None:
        return None
    found = carried[following]
    assert found is not None
    return found, fresh[following], keeps
