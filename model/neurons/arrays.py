"""Programs over NumPy arrays: the golden model's neurons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .program import Program

__all__ = ["Population"]

IntArray = npt.NDArray[Any]

_UFUNCS: dict[str, Callable[..., Any]] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "shift_left": np.left_shift,
    "shift_right": np.right_shift, "greater": np.greater, "at_least": np.greater_equal, "not": np.logical_not,
    "and": np.logical_and, "or": np.logical_or,
}


@dataclass(frozen=True)
class _Order:
    """Which operations are worked out when, and in which buffer.

    Attributes
    ----------
    once : what does not change from step to step
    each : what does
    last : as much of it as spike and potential need: nobody reads the registers after the last step
    buffers : for each operation of ``each``, the number of its buffer
    truths : whether a buffer holds truth values
    """

    once: list[int]
    each: list[int]
    last: list[int]
    buffers: dict[int, int]
    truths: list[bool]


@lru_cache(64)
def _order(program: Program, constant_sum: bool, every_potential: bool) -> _Order:
    varying = sum(1 << position for position in program.leaves("register").values())
    varying |= 0 if constant_sum else sum(1 << position for position in program.leaves("sum").values())
    acting = [position for position, operation in enumerate(program.operations) if operation.arguments]
    once = [position for position in acting if not program.depends_on[position] & varying]
    each = [position for position in acting if program.depends_on[position] & varying]
    seen = [program.outputs[name] for name in ("spike", "potential") if name in program.outputs]
    last = [position for position in each if any(program.depends_on[s] >> position & 1 for s in seen)]

    final_use = {a: position for position in each for a in program.operations[position].arguments}
    # A result changes places with its register, and the spikes lie where the caller wants them.
    own = {program.outputs[f"next {name}"] for name in program.registers} | {program.outputs["spike"]}
    own |= {program.outputs["potential"]} if every_potential else set()
    free: dict[bool, list[int]] = {False: [], True: []}
    buffers: dict[int, int] = {}
    truths: list[bool] = []
    for position in each:
        operation, truth = program.operations[position], position in program.truths
        dying = [a for a in dict.fromkeys(operation.arguments)
                 if a in buffers and a not in own and final_use[a] == position]
        # A select copies its last argument, and then reads the others: only the last may lie where it writes.
        at_once = [a for a in dying if operation.name != "select" or operation.arguments.index(a) == 2]
        for a in at_once:
            free[truths[buffers[a]]].append(buffers[a])
        if position not in own and free[truth]:
            buffers[position] = free[truth].pop()
        else:
            buffers[position] = len(truths)
            truths.append(truth)
        for a in dying:
            if a not in at_once:
                free[truths[buffers[a]]].append(buffers[a])
    return _Order(once, each, last, buffers, truths)


class Population:
    """Neurons of one program, for many samples at once; works in buffers that it makes once.

    Parameters
    ----------
    program : Program
    shape : tuple of int
        (samples, neurons).
    dtype : integer type
        Wide enough for every operation's proved bounds; or a float type, for programs over real numbers.
    parameters : mapping of str to integer array (neurons,)
    constant_sum : bool
        Whether the weighted input is the same in every step: what depends on it alone is then worked out once.
    every_potential : bool
        Whether :meth:`step` gives the potential in every step, and not in the last one only.
    """

    def __init__(self, program: Program, shape: tuple[int, int], dtype: type[np.number[Any]],
                 parameters: Mapping[str, IntArray], *, constant_sum: bool, every_potential: bool = False) -> None:
        self.program = program
        self._shape = shape
        self._order = _order(program, constant_sum, every_potential)
        self._every_potential = every_potential
        self._values: list[Any] = [None] * len(program.operations)
        arrays = [np.empty(shape, np.bool_ if truth else dtype) for truth in self._order.truths]
        self._buffers = {position: arrays[number] for position, number in self._order.buffers.items()}
        self._ready = False
        self._sum = program.leaves("sum").get(0)
        self._registers = []
        for name, position in program.leaves("register").items():
            reset = program.registers[name]
            self._values[position] = np.full(shape, reset, np.bool_ if isinstance(reset, bool) else dtype)
            self._registers.append((position, program.outputs[f"next {name}"]))
        for name, position in program.leaves("parameter").items():
            self._values[position] = np.asarray(parameters[name]).astype(
                np.bool_ if position in program.truths else dtype)
        for value, position in program.leaves("constant").items():
            self._values[position] = value == "True" if isinstance(value, str) else dtype(value)

    def step(self, x: IntArray, spike: npt.NDArray[np.bool_], *, last: bool = False) -> IntArray | None:
        """One step with weighted inputs ``x`` (samples, neurons), without bias, into ``spike`` (samples, neurons).

        Returns the potential, if it is the ``last`` step and the program gives one.
        """
        values, buffers, outputs = self._values, self._buffers, self.program.outputs
        if self._sum is not None:
            values[self._sum] = x
        if not self._ready:
            self._ready = True
            for position in self._order.once:
                self._work(position, None)
        computed = outputs["spike"] in buffers
        if computed:
            buffers[outputs["spike"]] = spike
        for position in self._order.last if last else self._order.each:
            self._work(position, buffers[position])
        if not computed:
            spike[...] = values[outputs["spike"]]
        potential = (np.broadcast_to(values[outputs["potential"]], self._shape)
                     if "potential" in outputs and (last or self._every_potential) else None)
        if last:
            return potential
        if potential is not None:
            potential = potential.copy()  # it may lie where a register's next value does
        fresh = [values[following] for _, following in self._registers]
        for (position, following), value in zip(self._registers, fresh, strict=True):
            if following in buffers and following != outputs["spike"]:
                buffers[following], values[position] = values[position], value
            else:
                values[position] = np.broadcast_to(value, self._shape).copy()
        return potential

    def _work(self, position: int, out: npt.NDArray[Any] | None) -> None:
        operation, values = self.program.operations[position], self._values
        arguments = [values[a] for a in operation.arguments]
        if operation.name == "select":
            condition, if_true, if_false = arguments
            if out is None:
                values[position] = np.where(condition, if_true, if_false)
                return
            if out is not if_false:
                np.copyto(out, if_false)
            np.copyto(out, if_true, where=condition)
            values[position] = out
        elif operation.value is not None:
            values[position] = _UFUNCS[operation.name](*arguments, operation.value, out=out)
        else:
            values[position] = _UFUNCS[operation.name](*arguments, out=out)
