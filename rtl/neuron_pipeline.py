"""All steps of a window in a pipeline: a neuron's program unrolled, one carry chain a stage."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring

from spikeloom.model.neurons.program import CHAINS, Graph

from .neuron import NeuronConfig, constant_value, operation_value, shape_of, unit_ports

__all__ = ["NeuronPipeline", "pipeline_latency_cycles", "stages"]


def stages(graph: Graph) -> list[int]:
    """For each operation, the first stage in which its value is there, as early as may be.

    Registers are there in stage 0, and so are sums, to be added to them; without registers sums have a stage of their
    own. Constants come in stage 1. A carry chain's result is there one stage after the last of its
    arguments; all others are wires, or LUTs in front of the next carry chain.
    """
    early = {"register", "sum"} if graph.leaves("register") else set()
    ready: list[int] = []
    for operation in graph.operations:
        if operation.name == "constant":
            ready.append(0)
        elif not operation.arguments:
            ready.append(int(operation.name not in early))
        else:
            ready.append(max(ready[a] for a in operation.arguments) + (operation.name in CHAINS))
    return ready


def pipeline_latency_cycles(config: NeuronConfig) -> int:
    """From the sums to the mask: of a LIF neuron two cycles a step and one more, and one for a bias."""
    ready = stages(config.graph)
    return max(1, *(ready[position] for position in config.graph.outputs.values()))


class NeuronPipeline(wiring.Component):
    """One neuron per cycle through all steps of a window.

    Equations: the population's program (``spikeloom check`` prints it), once for each step. A multiplexer behind a
    comparison is worked out for both outcomes beside it, so that each stage has one carry chain; each operation has as
    many bits as its own bounds need.

    Latency :func:`pipeline_latency_cycles`; one neuron per cycle; no memory.

    Members
    -------
    sums : In(sums x accumulator_bits)
    constants : In(constants_layout), one cycle later than ``sums``; if there are any
    state : In(state_layout), with ``sums``; next_state : Out, with ``mask``; if state is kept
    mask : Out(steps)
    potential : Out(signed potential_bits), of the last step, with ``mask``; if it is given
    """

    def __init__(self, config: NeuronConfig) -> None:
        self.config = config
        super().__init__(unit_ports(config))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        graph, ready = cfg.graph, stages(cfg.graph)
        values: dict[tuple[int, int], Any] = {}

        def at(position: int, stage: int) -> Any:
            """The operation's value in that stage: kept in registers since it was there first."""
            if (position, stage) not in values:
                values[position, stage] = first(position) if stage <= ready[position] else kept(position, stage)
            return values[position, stage]

        def kept(position: int, stage: int) -> Any:
            if graph.operations[position].name == "constant":
                return at(position, 0)
            late = Signal(shape_of(graph, cfg.graph_spans, position), name=f"v{position}_s{stage}_q", reset_less=True)
            m.d.sync += late.eq(at(position, stage - 1))
            return late

        def first(position: int) -> Any:
            operation, stage = graph.operations[position], ready[position]
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
                    return self.state[operation.value]
            chain = operation.name in CHAINS
            value = Signal(shape_of(graph, cfg.graph_spans, position), name=f"v{position}{'_q' * chain}",
                           reset_less=chain)
            result = operation_value(operation, [at(a, stage - chain) for a in operation.arguments])
            if chain:
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
