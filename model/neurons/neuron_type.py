"""Neuron types: registers, constants, and one function for one time step."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import SpikeloomError
from .program import Graph, Number, Program, Recorder, select

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
    ``step`` it is a :class:`.Number`, as is the one value of an array whose values are equal. Fields may be
    dataclasses with such fields (:mod:`.parts`). Registers that neither spike nor potential ever depend on are left
    out.
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
    def arrays(self) -> dict[str, npt.NDArray[np.int64]]:
        """All constants that are arrays, by name; those of a part after the part's name: ``membrane_c``."""
        return dict(_arrays(self, ""))

    @property
    def own_constants(self) -> dict[str, npt.NDArray[np.int64]]:
        """The constants that differ from neuron to neuron."""
        return {name: value for name, value in self.arrays.items() if _differs(value)}

    def with_numbers(self, numbers: Mapping[str, Number]) -> NeuronType:
        """A copy whose arrays are these numbers, as :meth:`step` wants it."""
        out: NeuronType = _filled(self, numbers, "")
        return out

    @cached_property
    def program(self) -> Program:
        """The step without a bias."""
        return self.recorded()

    def recorded(self, *, has_bias: bool = False, has_gaps: bool = False, peak: bool = False,
                 all_own: bool = False) -> Program:
        """The step as a list of operations.

        With a bias, ``x`` is ``sum + parameter bias``. With gaps, a neuron spikes only where its parameter ``exists``
        is true: for units that stand for no neuron now and then. With ``peak``, the potential is the largest one up to
        now. With ``all_own``, constants that are the same for all neurons are parameters, too.

        Raises
        ------
        SpikeloomError
            If the step does what hardware cannot do, or gives something else than it should.
        """
        recorder = Recorder()
        here = self.with_numbers({
            name: (recorder.record("parameter", (), name) if all_own or _differs(value)
                   else recorder.constant(int(value.flat[0])))
            for name, value in self.arrays.items()})
        resets = {**self.registers, **({"peak": 0, "begun": False} if peak else {})}
        start = {name: recorder.record("register", (), name, truth=isinstance(reset, bool))
                 for name, reset in resets.items()}
        x = recorder.record("sum", (), 0)
        if has_bias:
            x = x + recorder.record("parameter", (), "bias")
        registers = Registers(start)
        spike, potential = here.step(x, registers)
        name = type(self).__name__
        if not isinstance(spike, Number) or not spike.truth:
            raise SpikeloomError(f"neuron type {name}: its step must give a truth value as spike, not {spike!r}")
        if peak:
            assert potential is not None
            potential = select(registers.begun & (registers.peak > potential), registers.peak, potential)
            registers.peak, registers.begun = potential, recorder.constant(True)
        if has_gaps:
            spike = spike & recorder.record("parameter", (), "exists", truth=True)
        outputs = {"spike": spike, **({} if potential is None else {"potential": potential})}
        for register, number in registers:
            if number.truth != isinstance(resets[register], bool):
                raise SpikeloomError(f"neuron type {name}: register {register} starts as {resets[register]!r}, "
                                     "but its step writes another kind of number")
            outputs[f"next {register}"] = number
        read = _read_registers(recorder.graph(outputs))
        outputs = {name: number for name, number in outputs.items() if name.removeprefix("next ") in read
                   or not name.startswith("next ")}
        graph: Graph = recorder.graph(outputs).leaves_first()
        return Program(graph.operations, graph.outputs, graph.truths,
                       {name: reset for name, reset in resets.items() if name in read},
                       tuple(str(name) for name in graph.leaves("parameter")))


def _read_registers(graph: Graph) -> set[str]:
    """The registers whose contents ever reach a spike or a potential: the others need not be kept."""
    place = graph.leaves("register")
    read: set[str] = set()
    wanted = [name for name in ("spike", "potential") if name in graph.outputs]
    while wanted:
        reached = graph.depends_on[graph.outputs[wanted.pop()]]
        for name, position in place.items():
            if reached >> position & 1 and name not in read:
                read.add(name)
                wanted.append(f"next {name}")
    return read


def _arrays(value: Any, prefix: str) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    for f in fields(value):
        inner = getattr(value, f.name)
        if isinstance(inner, np.ndarray):
            yield f"{prefix}{f.name}", inner
        elif is_dataclass(inner):
            yield from _arrays(inner, f"{prefix}{f.name}_")


def _filled(value: Any, numbers: Mapping[str, Number], prefix: str) -> Any:
    here = copy.copy(value)
    for f in fields(value):
        inner = getattr(value, f.name)
        if isinstance(inner, np.ndarray):
            object.__setattr__(here, f.name, numbers[f"{prefix}{f.name}"])
        elif is_dataclass(inner):
            object.__setattr__(here, f.name, _filled(inner, numbers, f"{prefix}{f.name}_"))
    return here


def _differs(values: npt.NDArray[np.int64]) -> bool:
    return bool((values != values.flat[0]).any())
