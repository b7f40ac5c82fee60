"""Neuron types: registers, constants, and one function for one time step."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import SpikeloomError
from .program import Graph, Number, Program, Recorder

__all__ = ["NeuronType", "Registers"]


class Registers:
    """A neuron's registers while its step is recorded: reading gives the value so far, writing a new one."""

    _values: dict[str, Number]

    def __init__(self, values: Mapping[str, Number]) -> None:
        object.__setattr__(self, "_values", dict(values))

    def __getattr__(self, name: str) -> Number:
        try:
            number: Number = self._values[name]
        except KeyError:
            raise SpikeloomError(f"a neuron's step reads register {name!r}, but declared are "
                                 f"{', '.join(self._values) or 'none'}") from None
        return number

    def __setattr__(self, name: str, value: Any) -> None:
        before = getattr(self, name)
        self._values[name] = before._number(value, f"register {name}")

    def __iter__(self) -> Iterator[tuple[str, Number]]:
        return iter(self._values.items())


class NeuronType:
    """Base of neuron types: a frozen dataclass whose fields are the constants.

    A subclass declares ``registers`` (names and values after a reset; a truth value is one bit) and writes
    :meth:`step`. A field that holds an integer array of different values is a constant of each neuron's own; in
    ``step`` it is a :class:`.Number`, as is the one value of an array whose values are equal.
    """

    registers: ClassVar[Mapping[str, int | bool]] = {}

    def step(self, x: Number, r: Registers) -> tuple[Number, Number | None]:
        """One time step.

        Parameters
        ----------
        x : Number
            The weighted input with its bias, in weight LSB.
        r : Registers
            Read and written by name.

        Returns
        -------
        spike : Number
            A truth value.
        potential : Number or None
            What a readout by membrane potential compares.
        """
        raise NotImplementedError

    @property
    def own_constants(self) -> dict[str, npt.NDArray[np.int64]]:
        """The constants that differ from neuron to neuron."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray) and _differs(value)}

    @cached_property
    def program(self) -> Program:
        """The step without a bias."""
        return self.recorded()

    def recorded(self, *, has_bias: bool = False, has_gaps: bool = False) -> Program:
        """The step as a list of operations.

        With a bias, ``x`` is ``sum + parameter bias``. With gaps, a neuron spikes only where its parameter ``exists``
        is true: for units that stand for no neuron now and then.

        Raises
        ------
        SpikeloomError
            If the step does what hardware cannot do, or gives something else than it should.
        """
        recorder = Recorder()
        here = copy.copy(self)
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                number = recorder.record("parameter", (), f.name) if _differs(value) else recorder.constant(
                    int(value.flat[0]))
                object.__setattr__(here, f.name, number)
        start = {name: recorder.record("register", (), name, truth=isinstance(reset, bool))
                 for name, reset in self.registers.items()}
        x = recorder.record("sum", (), 0)
        if has_bias:
            x = x + recorder.record("parameter", (), "bias")
        registers = Registers(start)
        spike, potential = here.step(x, registers)
        name = type(self).__name__
        if not isinstance(spike, Number) or not spike.truth:
            raise SpikeloomError(f"neuron type {name}: its step must give a truth value as spike, not {spike!r}")
        if has_gaps:
            spike = spike & recorder.record("parameter", (), "exists", truth=True)
        outputs = {"spike": spike, **({} if potential is None else {"potential": potential})}
        for register, number in registers:
            if number.truth != isinstance(self.registers[register], bool):
                raise SpikeloomError(f"neuron type {name}: register {register} starts as {self.registers[register]!r}, "
                                     "but its step writes another kind of number")
            outputs[f"next {register}"] = number
        graph: Graph = recorder.graph(outputs)
        return Program(graph.operations, graph.outputs, graph.truths, dict(self.registers),
                       tuple(str(name) for name in graph.leaves("parameter")))


def _differs(values: npt.NDArray[np.int64]) -> bool:
    return bool((values != values.flat[0]).any())
