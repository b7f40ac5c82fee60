"""All steps of a window in a pipeline: a neuron's program unrolled, two carry chains a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring

from spikeloom.model.neurons.program import CHAINS, Graph, Operation

from .early_comparisons import compare_early
from .neuron import NeuronConfig, Span, constant_value, operation_value, shape_of, start_value, unit_ports

__all__ = ["CHAINS_PER_STAGE", "CONSTANTS_CYCLES", "NeuronPipeline", "pipeline_latency_cycles"]


CHAINS_PER_STAGE = 2
CONSTANTS_CYCLES = 2  # from taking a beat of sums to its constants: a block RAM, and the register behind it


def _chains_of(graph: Graph) -> Callable[[Operation, Sequence[int]], int]:
    """Of an operation, and of those before it: how many carry chains, one behind the other, end with its value. A stage
    has :data:`CHAINS_PER_STAGE` of them, with a register behind the last; a multiplication has a stage of its own.

    Registers of the neuron are there at the start, and so are sums, to be added to them; without registers sums come a
    stage later, constants :data:`CONSTANTS_CYCLES` stages later. All other operations are wires, or LUTs in
    front of the next carry chain.
    """
    stages = {"register": 0, "parameter": CONSTANTS_CYCLES, "sum": int(not graph.leaves("register"))}

    def chains(operation: Operation, before: Sequence[int]) -> int:
        if operation.name == "constant":
            return 0
        if not operation.arguments:
            return CHAINS_PER_STAGE * stages[operation.name]
        last = max(before[a] for a in operation.arguments)
        return ((-(-last // CHAINS_PER_STAGE) + 1) * CHAINS_PER_STAGE if operation.name == "multiply"
                else last + (operation.name in CHAINS))

    return chains


@lru_cache(maxsize=64)
def _scheduled(config: NeuronConfig) -> tuple[Graph, tuple[Span, ...], list[int]]:
    """The operations of the pipeline, their spans, and the carry chains that end with each."""
    chains = _chains_of(config.graph)
    graph, spans = compare_early(config.graph, config.graph_spans, chains)
    before: list[int] = []
    for operation in graph.operations:
        before.append(chains(operation, before))
    return graph, spans, before


def pipeline_latency_cycles(config: NeuronConfig) -> int:
    """From the sums to the mask: of a LIF neuron a cycle a step and one more."""
    graph, _, before = _scheduled(config)
    return max(1, *(before[position] // CHAINS_PER_STAGE for position in graph.outputs.values()))


class NeuronPipeline(wiring.Component):
    """One neuron per cycle through all steps of a window.

    Equations: the population's program (``spikeloom check`` prints it), once for each step. A multiplexer behind a
    comparison is worked out for both outcomes beside it, so that a stage has two carry chains and no more; a wide
    comparison does not wait for the sum that it is about (:func:`.compare_early`); each operation has as many bits as
    its own bounds need.

    Latency :func:`pipeline_latency_cycles`; one neuron per cycle; no memory.

    Members
    -------
    sums : In(sums x accumulator_bits)
    constants : In(constants_layout), ``CONSTANTS_CYCLES`` later than ``sums``; if there are any
    state : In(state_layout), with ``sums``; next_state : Out, with ``mask``; if state is kept
    fresh : In(1), with ``state``: registers start from nothing instead
    mask : Out(steps)
    potential : Out(signed potential_bits), of the last step, with ``mask``; if it is given
    """

    def __init__(self, config: NeuronConfig) -> None:
        self.config = config
        super().__init__(unit_ports(config))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        graph, spans, before = _scheduled(cfg)
        values: dict[tuple[int, int], Any] = {}

        def at(position: int, stage: int) -> Any:
            """The operation's value in that stage: kept in registers since it was there first."""
            if (position, stage) not in values:
                here = before[position] // CHAINS_PER_STAGE
                values[position, stage] = first(position) if stage <= here else kept(position, stage)
            return values[position, stage]

        def kept(position: int, stage: int) -> Any:
            if graph.operations[position].name == "constant":
                return at(position, 0)
            late = Signal(shape_of(graph, spans, position), name=f"v{position}_s{stage}_q", reset_less=True)
            m.d.sync += late.eq(at(position, stage - 1))
            return late

        def first(position: int) -> Any:
            operation, stage = graph.operations[position], before[position] // CHAINS_PER_STAGE
            match operation.name:
                case "constant":
                    return constant_value(operation)
                case "sum" if stage == 0:
                    return self.sums[operation.value]
                case "sum":
                    sum_q = Signal.like(self.sums[operation.value], name=f"sum{operation.value}_q", reset_less=True)
                    m.d.sync += sum_q.eq(self.sums[operation.value])
                    return sum_q
                case "parameter":
                    return self.constants[operation.value]
                case "register":
                    return start_value(cfg, self, str(operation.value))
            # What ends a stage is there in the next one.
            registered = operation.name in CHAINS and before[position] % CHAINS_PER_STAGE == 0
            value = Signal(shape_of(graph, spans, position), name=f"v{position}{'_q' * registered}",
                           reset_less=registered)
            result = operation_value(operation, [at(a, stage - registered) for a in operation.arguments])
            if registered:
                m.d.sync += value.eq(result)
            else:
                m.d.comb += value.eq(result)
            return value

        end = pipeline_latency_cycles(cfg)
        m.d.comb += self.mask.eq(Cat(at(graph.outputs[f"spike {step}"], end)[0] for step in range(cfg.steps)))
        if cfg.gives_potential:
            m.d.comb += self.potential.eq(at(graph.outputs["potential"], end))
        if cfg.keeps_state:
            m.d.comb += [self.next_state[name].eq(at(graph.outputs[f"next {name}"], end))
                         for name in cfg.program.registers]
        return m
