"""What the units of a population share: the program, the widths that were proved for it, and their ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from amaranth.hdl import Const, Mux, Value, signed, unsigned
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from spikeloom.model.neurons.intervals import Interval, bounds, run_bounds
from spikeloom.model.neurons.program import Graph, Operation, Program
from spikeloom.model.neurons.transform import rotated, unrolled
from spikeloom.model.numerics import signed_bits

from .flat_array import FlatArray

__all__ = ["NeuronConfig", "Span", "constant_value", "constants_layout", "operation_value", "shape_of", "start_value",
           "state_layout", "unit_ports"]

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class NeuronConfig:
    """A population's program and widths; made by :meth:`proved`.

    Attributes
    ----------
    program : Program
        One step, its registers one piece of work ahead (:func:`.rotated`).
    spans : tuple of (int, int)
        Smallest and largest value of each of its operations, over the whole run.
    steps : int
        Time steps in a window.
    static : bool
        Whether one sum drives the neuron in all steps; else each step has a sum.
    keeps_state : bool
        Whether the registers are kept from window to window.
    endless : bool
        Whether also from run to run, if there are any.
    gives_potential : bool
        Whether the potential in the window's last step is given beside the mask.
    graph : Graph
        The steps of a window (:func:`.unrolled`).
    graph_spans : tuple of (int, int)
        Of each of its operations.
    accumulator : (int, int)
        Of the weighted sums.
    """

    program: Program
    spans: tuple[Span, ...]
    steps: int
    static: bool
    keeps_state: bool
    endless: bool
    gives_potential: bool
    graph: Graph
    graph_spans: tuple[Span, ...]
    accumulator: Span

    @classmethod
    def proved(cls, program: Program, total: Interval, parameters: Mapping[str, Interval], *, steps: int, windows: int,
               static: bool, gives_potential: bool, endless: bool = False) -> NeuronConfig:
        """With widths that hold for every input.

        Parameters
        ----------
        program : Program
        total : Interval of arrays (channels,)
            Of the weighted sums, without bias.
        parameters : mapping of str to Interval of arrays (channels,)
            Of the neurons' own constants.
        steps, windows : int
            Steps in a window, windows in a run.

        Raises
        ------
        SpikeloomError
            If an operation needs more than 48 bits.
        """
        program = rotated(program)
        overall, registers = run_bounds(program, total, parameters, None if endless else steps * windows)
        keeps_state = bool(program.registers) and (endless or windows > 1)
        graph = unrolled(program, steps, constant_sum=static, keeps_state=keeps_state)
        if not gives_potential:
            graph = graph.without("potential")
        leaves = dict.fromkeys(graph.leaves("sum").values(), total)
        leaves |= {position: parameters[name] for name, position in graph.leaves("parameter").items()}
        for name, position in graph.leaves("register").items():
            # Before each window; the last of these bounds is that of all later steps.
            known = registers[name]
            kept = known[0]
            last = len(known) - 1 + steps
            for at in range(steps, last if endless else min(steps * windows, last), steps):
                kept = kept | known[min(at, len(known) - 1)]
            leaves[position] = kept
        return cls(program=program, spans=tuple(b.ends for b in overall), steps=steps, static=static,
                   keeps_state=keeps_state, endless=endless, gives_potential=gives_potential, graph=graph,
                   graph_spans=tuple(b.ends for b in bounds(graph, leaves)), accumulator=total.ends)

    @property
    def sums(self) -> int:
        """Sums that arrive per neuron."""
        return 1 if self.static else self.steps

    @property
    def accumulator_bits(self) -> int:
        return signed_bits(*self.accumulator)

    @property
    def potential_bits(self) -> int:
        """Of the potential, 0 if it is not given."""
        return signed_bits(*self.spans[self.program.outputs["potential"]]) if self.gives_potential else 0

    @property
    def has_constants(self) -> bool:
        """Whether neurons bring constants of their own."""
        return bool(self.program.parameters)

    @cached_property
    def register_spans(self) -> dict[str, Span]:
        """Of each register, before and after steps."""
        program = self.program
        spans = {}
        for name, reset in program.registers.items():
            low, high = self.spans[program.outputs[f"next {name}"]]
            spans[name] = (min(low, int(reset)), max(high, int(reset)))
        return spans


def shape_of(graph: Graph, spans: tuple[Span, ...], position: int) -> Any:
    """Shape of an operation's value: one bit for a truth value, else as many as its bounds need."""
    return unsigned(1) if position in graph.truths else signed(signed_bits(*spans[position]))


def state_layout(config: NeuronConfig) -> data.StructLayout:
    """What is kept of a neuron between windows: its registers."""
    return data.StructLayout({
        name: unsigned(1) if isinstance(config.program.registers[name], bool) else signed(signed_bits(*span))
        for name, span in config.register_spans.items()})


def constants_layout(config: NeuronConfig) -> data.StructLayout:
    """What a neuron brings of its own."""
    place = config.program.leaves("parameter")
    return data.StructLayout({name: shape_of(config.program, config.spans, place[name])
                              for name in config.program.parameters})


def unit_ports(config: NeuronConfig) -> dict[str, Any]:
    """Ports that both kinds of unit have."""
    ports: dict[str, Any] = {
        "sums": In(FlatArray(signed(config.accumulator_bits), config.sums)),
        "mask": Out(config.steps),
    }
    if config.has_constants:
        ports["constants"] = In(constants_layout(config))
    if config.gives_potential:
        ports["potential"] = Out(signed(config.potential_bits))
    if config.keeps_state:
        ports["state"] = In(state_layout(config))
        ports["fresh"] = In(1)
        ports["next_state"] = Out(state_layout(config))
    return ports


def start_value(config: NeuronConfig, unit: Any, name: str) -> Value:
    """Of a register, with which a window begins. Made in the unit: what takes it in can do so with the same LUTs."""
    state = unit.state[name]
    return Mux(unit.fresh, Const(config.program.registers[name], state.shape()), state)


def operation_value(operation: Operation, arguments: list[Any]) -> Any:
    """An operation as a hardware expression.

    Comparisons are the sign of a difference: as such they would be mapped with the wider side inverted, bit by bit.
    """
    a, *rest = arguments
    value: Any = operation.value
    match operation.name:
        case "add":
            return a + rest[0]
        case "subtract":
            return a - rest[0]
        case "multiply":
            return a * rest[0]
        case "shift_left":
            return a << value
        case "shift_right":
            return a >> value
        case "greater":
            return ~(a + ~rest[0])[-1]
        case "at_least":
            return ~(a - rest[0])[-1]
        case "not":
            return ~a
        case "and":
            return a & rest[0]
        case "or":
            return a | rest[0]
        case "select":
            return Mux(a, rest[0], rest[1])
        case name:
            raise AssertionError(name)


def constant_value(operation: Operation) -> Value:
    """A constant in as many bits as it needs."""
    value = operation.value
    if isinstance(value, str):
        return Const(value == "True", 1)
    assert value is not None
    return Const(value, signed(signed_bits(value, value)))
