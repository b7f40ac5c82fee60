"""Programs: what a neuron does in one step, as a list of operations over integers.

A step function is called once, with :class:`Number` objects that record what is done with them. Equal operations are
recorded once, and constants are worked out at once, so that the list is short and in a canonical order.

===============  ==========================================================  =========================================
operation        value                                                       in hardware
===============  ==========================================================  =========================================
``sum``          the weighted input of step ``value``                        from the synapses
``register``     the register called ``value``, as it was before the step    state
``parameter``    the neuron's own constant called ``value``                  from the constants' memory
``constant``     ``value``
``add``          ``a + b``                                                   a carry chain
``subtract``     ``a - b``                                                   a carry chain
``multiply``     ``a * b``, of which ``b`` is a constant or a parameter      a multiplier
``shift_left``   ``a * 2**value``                                            wires
``shift_right``  ``floor(a / 2**value)``                                     wires
``greater``      ``a > b``                                                   a carry chain
``at_least``     ``a >= b``                                                  a carry chain
``not``          of a truth value                                            at most a LUT
``and``, ``or``  of truth values                                             at most a LUT
``select``       ``b`` if ``a`` else ``c``                                   a multiplexer
===============  ==========================================================  =========================================
"""

from __future__ import annotations

import hashlib
import operator
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..errors import SpikeloomError

__all__ = ["CHAINS", "Graph", "Number", "Operation", "Program", "Recorder", "clamp", "evaluate", "maximum", "minimum",
           "select"]

X = TypeVar("X")

#: Operations that take a carry chain (or a multiplier): a stage of a pipeline holds one of them.
CHAINS = frozenset({"add", "subtract", "multiply", "greater", "at_least"})
LEAVES = frozenset({"sum", "register", "parameter", "constant"})
_TRUTHS = frozenset({"greater", "at_least", "not", "and", "or"})
_ROOM = str(Path(__file__).parent)


@dataclass(frozen=True)
class Operation:
    """One operation; ``arguments`` are positions of earlier ones in the list."""

    name: str
    arguments: tuple[int, ...] = ()
    value: int | str | None = None


@dataclass(frozen=True, eq=False)
class Graph:
    """Operations in order, and what of them is wanted.

    Attributes
    ----------
    operations : tuple of Operation
    outputs : mapping of str to int
        Positions of the results, by name.
    truths : frozenset of int
        Positions of the truth values.
    """

    operations: tuple[Operation, ...]
    outputs: Mapping[str, int]
    truths: frozenset[int]

    @classmethod
    def of(cls, operations: Sequence[Operation], outputs: Mapping[str, int], truths: Container[int]) -> Graph:
        """What the outputs need of a list of operations, in order."""
        needed = set(outputs.values())
        for position in reversed(range(len(operations))):
            if position in needed:
                needed.update(operations[position].arguments)
        kept = sorted(needed)
        place = {position: place for place, position in enumerate(kept)}
        return Graph(tuple(Operation(operations[position].name, tuple(place[a] for a in operations[position].arguments),
                                     operations[position].value) for position in kept),
                     {name: place[position] for name, position in outputs.items()},
                     frozenset(place[position] for position in kept if position in truths))

    def leaves_first(self) -> Graph:
        """The same with all leaves in front, constants by value: what is recorded from this list keeps its order."""
        kinds = ("parameter", "register", "sum", "constant")

        def place(position: int) -> tuple[int, str]:
            operation = self.operations[position]
            if operation.arguments:
                return len(kinds), ""
            return kinds.index(operation.name), str(operation.value) if operation.name == "constant" else ""

        order = sorted(range(len(self.operations)), key=place)  # stable: all else stays in order
        at = {position: k for k, position in enumerate(order)}
        return Graph(tuple(Operation(self.operations[p].name, tuple(at[a] for a in self.operations[p].arguments),
                                     self.operations[p].value) for p in order),
                     {name: at[position] for name, position in self.outputs.items()},
                     frozenset(at[position] for position in self.truths))

    def without(self, output: str) -> Graph:
        """The same, less an output and what only that needs."""
        return Graph.of(self.operations, {name: position for name, position in self.outputs.items() if name != output},
                        self.truths)

    @cached_property
    def depends_on(self) -> tuple[int, ...]:
        """For each operation, those that it depends on, itself included, as a set of bits."""
        masks: list[int] = []
        for position, operation in enumerate(self.operations):
            mask = 1 << position
            for argument in operation.arguments:
                mask |= masks[argument]
            masks.append(mask)
        return tuple(masks)

    def leaves(self, name: str) -> dict[Any, int]:
        """Positions of the operations called ``name``, by their values."""
        return {operation.value: position for position, operation in enumerate(self.operations)
                if operation.name == name}


@dataclass(frozen=True, eq=False)
class Program(Graph):
    """One step of a neuron.

    Attributes
    ----------
    registers : mapping of str to int or bool
        Names and reset values, in order. Of register ``r``, the output ``next r`` is what it holds after the step.
    parameters : tuple of str
        Constants that each neuron has of its own.

    The other outputs are ``spike`` and, where the type gives one, ``potential``.
    """

    registers: Mapping[str, int | bool]
    parameters: tuple[str, ...]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all that the program does."""
        text = repr((self.operations, sorted(self.outputs.items()), list(self.registers.items()), self.parameters))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def gives_potential(self) -> bool:
        return "potential" in self.outputs

    @property
    def truth_parameters(self) -> frozenset[str]:
        """The parameters that are truth values."""
        return frozenset(name for name, position in self.leaves("parameter").items() if position in self.truths)


class Recorder:
    """Where operations are recorded.

    Parameters
    ----------
    spread : "never", "constants" or "always"
        Work on both outcomes of a select rather than on what was selected: ``decay(select(s, 0, v))`` becomes
        ``select(s, 0, decay(v))``, so that the decay need not wait for the comparison. Of "constants", only where one
        outcome is a constant, so that no operation is added.
    """

    def __init__(self, *, spread: Literal["never", "constants", "always"] = "never") -> None:
        self.operations: list[Operation] = []
        self.spread = spread
        self._position: dict[Operation, int] = {}
        self._truths: set[int] = set()

    def record(self, name: str, arguments: tuple[Number, ...] = (), value: int | str | None = None, *,
               truth: bool | None = None) -> Number:
        """The number that an operation gives; ``truth`` says of a leaf that it is a truth value."""
        simple = self._simplified(name, arguments, value)
        if simple is not None:
            return simple
        operation = Operation(name, tuple(a.position for a in arguments), value)
        position = self._position.get(operation)
        if position is None:
            position = self._position[operation] = len(self.operations)
            self.operations.append(operation)
        if truth or name in _TRUTHS or (name == "select" and arguments[1].truth and arguments[2].truth):
            self._truths.add(position)
        return Number(self, position)

    def constant(self, value: int | bool) -> Number:
        """A constant; ``True`` and ``False`` are truth values."""
        # The name keeps the number 1 and the truth value True apart, which Python takes for equal.
        return self.record("constant", (), int(value) if not isinstance(value, bool) else str(value),
                           truth=isinstance(value, bool))

    def graph(self, outputs: Mapping[str, Number]) -> Graph:
        """What the outputs need, in order."""
        return Graph.of(self.operations, {name: number.position for name, number in outputs.items()}, self._truths)

    def _simplified(self, name: str, arguments: tuple[Number, ...], value: int | str | None) -> Number | None:
        known = [a.known for a in arguments]
        if arguments and None not in known:
            return self.constant(_EXACTLY[name](*known, *([] if value is None else [value])))
        match name, *known:
            case ("add" | "subtract", _, 0) | ("multiply", _, 1) | ("and", _, True) | ("or", _, False):
                return arguments[0]
            case ("add", 0, _) | ("and", True, _) | ("or", False, _):
                return arguments[1]
            case ("multiply", _, 0):
                return self.constant(0)
            case ("and", False, _) | ("and", _, False):
                return self.constant(False)
            case ("or", True, _) | ("or", _, True):
                return self.constant(True)
            case ("select", bool() as chosen, _, _):
                return arguments[1 if chosen else 2]
        if name in ("shift_left", "shift_right") and value == 0:
            return arguments[0]
        if name == "subtract" and arguments[0].position == arguments[1].position:
            return self.constant(0)
        if name == "select" and arguments[1].position == arguments[2].position:
            return arguments[1]
        if name == "not" and self.operations[arguments[0].position].name == "not":
            return Number(self, self.operations[arguments[0].position].arguments[0])
        return None if self.spread == "never" else self._spread(name, arguments, value)

    def _spread(self, name: str, arguments: tuple[Number, ...], value: int | str | None) -> Number | None:
        """The operation on both outcomes, if all that it works on was selected by the same condition."""
        if name not in ("add", "subtract", "multiply", "shift_left", "shift_right"):
            return None
        conditions = {self.operations[a.position].arguments[0] for a in arguments if a.operation.name == "select"}
        if len(conditions) != 1 or any(a.operation.name != "select" and a.known is None for a in arguments):
            return None
        branches = [[Number(self, a.operation.arguments[branch]) if a.operation.name == "select" else a
                     for a in arguments] for branch in (1, 2)]
        if any(b.operation.name == "select" for branch in branches for b in branch):
            return None  # of several selects in a row there would be a copy for each combination
        if self.spread == "constants" and all(any(a.known is None for a in branch) for branch in branches):
            return None
        if_true, if_false = (self.record(name, tuple(branch), value) for branch in branches)
        return self.record("select", (Number(self, conditions.pop()), if_true, if_false))


class Number:
    """An integer, or a truth value, that is not known yet: what is done with it is recorded.

    Raises
    ------
    SpikeloomError
        On what hardware cannot do (division, a product of two variables, fractions, Python's ``if`` and ``and``); the
        message names the line.
    """

    __slots__ = ("position", "recorder")
    __hash__ = None  # type: ignore[assignment]
    __array_ufunc__ = None  # NumPy must not take a number apart

    def __init__(self, recorder: Recorder, position: int) -> None:
        self.recorder = recorder
        self.position = position

    @property
    def operation(self) -> Operation:
        """The operation that gives it."""
        return self.recorder.operations[self.position]

    @property
    def truth(self) -> bool:
        """Whether it is a truth value."""
        return self.position in self.recorder._truths

    @property
    def known(self) -> int | bool | None:
        """Its value if it is a constant."""
        value = self.operation.value if self.operation.name == "constant" else None
        return value == "True" if isinstance(value, str) else value

    def _arithmetic(self, name: str, a: Any, b: Any) -> Number:
        return self.recorder.record(name, (self._integer(a, name), self._integer(b, name)))

    def _integer(self, x: Any, name: str) -> Number:
        number = self._number(x, name)
        if number.truth:
            return self.recorder.record("select", (number, self.recorder.constant(1), self.recorder.constant(0)))
        return number

    def _number(self, x: Any, name: str) -> Number:
        if isinstance(x, Number):
            if x.recorder is not self.recorder:
                raise _refused(name, "works on numbers of two programs")
            return x
        if isinstance(x, bool):
            return self.recorder.constant(x)
        try:
            return self.recorder.constant(operator.index(x))
        except TypeError:
            raise _refused(name, f"works on integers only, not on {x!r}") from None

    def _truth(self, x: Any, name: str) -> Number:
        number = self._number(x, name)
        if not number.truth:
            raise _refused(name, "works on truth values (comparisons) only")
        return number

    def _shift(self, name: str, count: Any) -> Number:
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 63:
            raise _refused(name, f"needs a constant count in 0..63, not {count!r}")
        return self.recorder.record(name, (self._integer(self, name),), count)

    def __add__(self, other: Any) -> Number:
        return self._arithmetic("add", self, other)

    def __radd__(self, other: Any) -> Number:
        return self._arithmetic("add", other, self)

    def __sub__(self, other: Any) -> Number:
        return self._arithmetic("subtract", self, other)

    def __rsub__(self, other: Any) -> Number:
        return self._arithmetic("subtract", other, self)

    def __neg__(self) -> Number:
        return self._arithmetic("subtract", 0, self)

    def __mul__(self, other: Any) -> Number:
        a, b = self._integer(self, "multiply"), self._integer(other, "multiply")
        fixed = [n.operation.name in ("constant", "parameter") for n in (a, b)]
        if not any(fixed):
            raise _refused("multiply", "needs a constant or a parameter as one factor")
        return self.recorder.record("multiply", (a, b) if fixed[1] else (b, a))

    __rmul__ = __mul__

    def __lshift__(self, count: Any) -> Number:
        return self._shift("shift_left", count)

    def __rshift__(self, count: Any) -> Number:
        return self._shift("shift_right", count)

    def __gt__(self, other: Any) -> Number:
        return self._arithmetic("greater", self, other)

    def __ge__(self, other: Any) -> Number:
        return self._arithmetic("at_least", self, other)

    def __lt__(self, other: Any) -> Number:
        return self._arithmetic("greater", other, self)

    def __le__(self, other: Any) -> Number:
        return self._arithmetic("at_least", other, self)

    def __invert__(self) -> Number:
        return self.recorder.record("not", (self._truth(self, "~"),))

    def __and__(self, other: Any) -> Number:
        return self.recorder.record("and", (self._truth(self, "&"), self._truth(other, "&")))

    def __or__(self, other: Any) -> Number:
        return self.recorder.record("or", (self._truth(self, "|"), self._truth(other, "|")))

    __rand__, __ror__ = __and__, __or__

    def never(self) -> Number:
        """The truth value False, for neurons that never spike."""
        return self.recorder.constant(False)

    def __eq__(self, other: object) -> Any:
        raise _refused("==", "has no hardware here: use > and >=")

    def __bool__(self) -> bool:
        raise _refused("if, and, or, not", "need a value that is known only in hardware: use select(), &, |, ~")

    def _cannot(self, other: Any = None) -> Number:
        raise _refused("/, //, %, **", "have no hardware here: shift by a constant, or multiply and shift")

    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _cannot


def _refused(name: str, why: str) -> SpikeloomError:
    """Names the line of the step function, the nearest one outside this room."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_ROOM):
        frame = frame.f_back
    return SpikeloomError(f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}: operation {name!r} {why}")


def select(condition: Number, if_true: Any, if_false: Any) -> Number:
    """``if_true`` where ``condition``, else ``if_false``."""
    condition = condition._truth(condition, "select")
    return condition.recorder.record("select", (condition, condition._number(if_true, "select"),
                                                condition._number(if_false, "select")))


def maximum(a: Number, b: Any) -> Number:
    """The larger one."""
    return select(a > b, a, b)


def minimum(a: Number, b: Any) -> Number:
    """The smaller one."""
    return select(a > b, b, a)


def clamp(x: Number, low: int, high: int) -> Number:
    """``x``, but at least ``low`` and at most ``high``."""
    return minimum(maximum(x, low), high)


_EXACTLY: dict[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "shift_left": operator.lshift,
    "shift_right": operator.rshift, "greater": operator.gt, "at_least": operator.ge, "not": operator.not_,
    "and": operator.and_, "or": operator.or_, "select": lambda c, a, b: a if c else b,
}


def evaluate(graph: Graph, leaf: Callable[[Operation], X], functions: Mapping[str, Callable[..., X]]) -> list[X]:
    """What each operation gives, with any kind of number.

    Parameters
    ----------
    leaf : callable
        Told a ``sum``, ``register``, ``parameter`` or ``constant``, gives its value.
    functions : mapping
        For each other operation, a function of its arguments (and of a shift's count).
    """
    results: list[X] = []
    for operation in graph.operations:
        if operation.name in LEAVES:
            results.append(leaf(operation))
        else:
            arguments: list[Any] = [results[a] for a in operation.arguments]
            if operation.value is not None:
                arguments.append(operation.value)
            results.append(functions[operation.name](*arguments))
    return results
