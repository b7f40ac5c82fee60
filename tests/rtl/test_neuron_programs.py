"""Units of any program: random neuron types against plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.random_programs import plain_run, random_neuron
from support.simulation import simulate

from spikeloom.model.neurons.intervals import Interval
from spikeloom.rtl.neuron import NeuronConfig
from spikeloom.rtl.neuron_pipeline import NeuronPipeline, pipeline_latency_cycles
from spikeloom.rtl.stepping_neuron import SteppingNeuron, schedule_of, stepping_cycles

REACH, COUNT = 40, 6
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


@settings(max_examples=25, deadline=None, derandomize=True, phases=PHASES)
@given(st.integers(0, 10**9))
def test_random_programs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps, windows = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    kind = random_neuron(rng, COUNT)
    own = kind.own_constants
    config = NeuronConfig.proved(
        kind.program, Interval.of(np.full(COUNT, -REACH), np.full(COUNT, REACH)),
        {name: Interval.of(values, values) for name, values in own.items()}, steps=steps, windows=windows, static=False,
        gives_potential=True)
    sums = rng.integers(-REACH, REACH + 1, (COUNT, windows * steps))
    used = [name for name in own if name in kind.program.parameters]
    constants = [{name: int(own[name][n]) for name in used} for n in range(COUNT)]
    want = [plain_run(kind.program, sums[n].tolist(), constants[n]) for n in range(COUNT)]
    expected = [[(sum(run[w * steps + t][0] << t for t in range(steps)), run[(w + 1) * steps - 1][1])
                 for w in range(windows)] for run in want]
    inputs = sums.reshape(COUNT, windows, steps).tolist()
    assert _run(NeuronPipeline(config), config, inputs, constants) == expected, f"seed {seed}"
    assert _run(SteppingNeuron(config), config, inputs, constants) == expected, f"seed {seed}"


def _run(dut: Any, config: NeuronConfig, sums: list[list[list[int]]],
         constants: list[dict[str, int]]) -> list[list[tuple[int, int]]]:
    """Neuron after neuron, each window after window, its registers handed on."""
    steps = isinstance(dut, SteppingNeuron)
    cycles = stepping_cycles(config) if steps else pipeline_latency_cycles(config)
    plan = schedule_of(config)
    got: list[list[tuple[int, int]]] = []

    async def bench(ctx: Any) -> None:
        for neuron, own in zip(sums, constants, strict=True):
            got.append([])
            for name, value in own.items():
                ctx.set(dut.constants[name], value)
            state = {name: int(reset) for name, reset in config.program.registers.items()}
            for window in neuron:
                for cycle in range(cycles):
                    for plane, value in enumerate(window):
                        ctx.set(dut.sums[plane], value if cycle == 0 else -1)
                    if config.keeps_state:
                        for name, value in state.items():
                            ctx.set(dut.state[name], value if cycle == 0 else 1)
                    if steps:
                        begun = [cycle - 1 - step * plan.interval_cycles for step in range(config.steps)]
                        ctx.set(dut.start, cycle == 0)
                        ctx.set(dut.phase, sum(1 << phase for phase in begun if 0 <= phase < plan.depth_cycles))
                    await ctx.tick()
                if steps:
                    ctx.set(dut.phase, 0)
                got[-1].append((ctx.get(dut.mask), ctx.get(dut.potential)))
                if config.keeps_state:
                    state = {name: ctx.get(dut.next_state[name]) for name in state}

    simulate(dut, bench)
    return got
