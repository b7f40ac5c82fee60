"""Random neuron types, and what they do in plain Python."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spikeloom.model.neurons.neuron_type import NeuronType, Registers
from spikeloom.model.neurons.program import Number, Program, evaluate, maximum, minimum, select
from spikeloom.model.numerics import Multiply, Shift

PLAIN: dict[str, Any] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "shift_left": operator.lshift,
    "shift_right": operator.rshift, "greater": operator.gt, "at_least": operator.ge, "not": operator.not_,
    "and": operator.and_, "or": operator.or_, "select": lambda c, a, b: a if c else b,
}


@dataclass(frozen=True, eq=False)
class RandomNeuron(NeuronType):
    """Registers that leak, are added to, chosen and reset, in an order that the seed decides."""

    seed: int
    threshold: np.ndarray
    gain: np.ndarray
    registers: ClassVar[Mapping[str, int | bool]] = {"a": 0, "b": 3, "c": -5, "late": False}

    def step(self, x: Number, r: Registers) -> tuple[Number, Number]:
        rng = np.random.default_rng(self.seed)

        def pick(*choices: Any) -> Any:
            return choices[rng.integers(len(choices))]

        def number() -> Any:
            return pick(x, r.a, r.b, r.c, x << 1, r.a >> 2, self.threshold, select(r.late, r.b, x), 7, -2)

        for name in rng.permutation(["a", "b", "c"])[: rng.integers(1, 4)]:
            value = pick(Shift(int(rng.integers(1, 5))), Multiply(int(rng.integers(0, 4000))))(getattr(r, name))
            for _ in range(rng.integers(0, 3)):
                value = pick(lambda v: v + number(), lambda v: v - number(), lambda v: maximum(v, -100),
                             lambda v: minimum(v, number()), lambda v: select(v > number(), v >> 1, v),
                             lambda v: (v * self.gain) >> 4)(value)
            setattr(r, name, value)
        limit = self.threshold + pick(0, r.b >> 2, r.c)
        potential = pick(r.a, r.a + r.b, r.a - r.c)
        spike = pick(potential > limit, potential >= limit, (potential > limit) & ~r.late, (potential > limit) | r.late)
        for name in ("a", "b"):
            after = pick(0, getattr(r, name) - self.threshold, -3, getattr(r, name) + 5)
            if rng.random() < 0.7:
                setattr(r, name, select(spike, after, getattr(r, name)))
        if rng.random() < 0.5:
            r.late = spike
        # Everything leaks, so that nothing grows without end.
        for name in ("a", "b", "c"):
            setattr(r, name, maximum(minimum(getattr(r, name), 900), -900))
        return spike, potential


def random_neuron(rng: np.random.Generator, neurons: int) -> RandomNeuron:
    """With constants of all, or of each neuron's own."""
    def constant(low: int, high: int) -> np.ndarray:
        return rng.integers(low, high, neurons) if rng.random() < 0.5 else np.full(neurons, rng.integers(low, high))

    return RandomNeuron(int(rng.integers(1 << 30)), constant(5, 60), constant(1, 16))


def plain_run(program: Program, sums: list[int], parameters: dict[str, int]) -> list[tuple[bool, int, dict[str, Any]]]:
    """Spike, potential and registers after each step, by Python's own integers."""
    registers: dict[str, Any] = dict(program.registers)
    out = []
    for x in sums:
        def leaf(op: Any, x: int = x, now: dict[str, Any] = registers) -> Any:
            match op.name:
                case "sum":
                    return x
                case "register":
                    return now[op.value]
                case "parameter":
                    return parameters[op.value]
                case _:
                    return op.value == "True" if isinstance(op.value, str) else op.value

        results = evaluate(program, leaf, PLAIN)
        registers = {name: results[program.outputs[f"next {name}"]] for name in registers}
        out.append((bool(results[program.outputs["spike"]]), int(results[program.outputs["potential"]]), registers))
    return out
