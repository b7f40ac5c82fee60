"""Neuron units against the equations in plain Python, and their latencies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.simulation import memory_bits, simulate

from spikeloom.model.network import Neuron
from spikeloom.model.neurons.intervals import Interval
from spikeloom.model.numerics import Decay, Multiply, Shift
from spikeloom.rtl.neuron import NeuronConfig
from spikeloom.rtl.neuron_pipeline import CHAINS_PER_STAGE, CONSTANTS_CYCLES, NeuronPipeline, pipeline_latency_cycles
from spikeloom.rtl.stepping_neuron import SteppingNeuron, schedule_of, stepping_cycles

Outcome = tuple[int, int | None]  # mask, potential

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
REACH = 127  # of the sums


class Case:
    """One LIF population with random stimulus, and what the equations make of it."""

    def __init__(self, rng: np.random.Generator, count: int = 12, **changes: Any) -> None:
        f: dict[str, Any] = {
            "steps": 4, "windows": 1, "static": False, "synapse": Shift(1), "membrane": Shift(2), "fraction_bits": 2,
            "compare": ">", "reset": "zero", "own": False, "threshold": 40, "bias": False, "gaps": False,
            "potential": True} | changes
        self.f = f
        self.count, self.steps, self.windows = count, f["steps"], f["windows"]
        self.thresholds = (rng.integers(0, 400, count) if f["own"] else np.full(count, f["threshold"]))
        self.biases = rng.integers(-20, 60, count) if f["bias"] else np.zeros(count, int)
        self.exists = rng.random(count) < 0.7 if f["gaps"] else np.ones(count, bool)
        neuron = Neuron(synapse=f["synapse"], membrane=f["membrane"], threshold=self.thresholds,
                        fraction_bits=f["fraction_bits"], compare=f["compare"], reset=f["reset"])
        bounds = {"threshold": Interval.of(self.thresholds, self.thresholds),
                  "bias": Interval.of(self.biases, self.biases), "exists": Interval.of(0, 1)}
        self.config = NeuronConfig.proved(
            neuron.recorded(has_bias=f["bias"], has_gaps=f["gaps"]),
            Interval.of(np.full(count, -REACH), np.full(count, REACH)), bounds, steps=self.steps, windows=self.windows,
            static=f["static"], gives_potential=f["potential"])
        self.sums = rng.integers(-REACH // 2, REACH + 1, (self.windows, count, self.config.sums)).tolist()
        self.want = self.equations()

    def equations(self) -> list[list[Outcome]]:
        """For each window, mask and potential of each neuron."""
        f = self.f

        def decayed(decay: Decay, x: int) -> int:
            return x - x // 2**decay.k if isinstance(decay, Shift) else x * decay.c // 4096

        want: list[list[Outcome]] = [[] for _ in range(self.windows)]
        for n in range(self.count):
            j = u = 0
            theta = int(self.thresholds[n])
            for window in range(self.windows):
                mask = potential = 0
                for t in range(self.steps):
                    x = self.sums[window][n][0 if f["static"] else t] + int(self.biases[n])
                    j = decayed(f["synapse"], j) + x * 2**f["fraction_bits"]
                    u = potential = decayed(f["membrane"], u) + j
                    if u > theta or (f["compare"] == ">=" and u == theta):
                        mask |= int(self.exists[n]) << t
                        u = 0 if f["reset"] == "zero" else u - theta
                want[window].append((mask, potential if f["potential"] else None))
        return want

    def set_constants(self, ctx: Any, dut: Any, n: int | None) -> None:
        """Constants of neuron ``n``, or noise."""
        for name, values in (("threshold", self.thresholds), ("bias", self.biases), ("exists", self.exists)):
            if name in self.config.program.parameters:
                ctx.set(dut.constants[name], -1 if n is None else int(values[n]))

    def outcome(self, ctx: Any, dut: Any) -> Outcome:
        return ctx.get(dut.mask), ctx.get(dut.potential) if self.f["potential"] else None

    def set_state(self, ctx: Any, dut: Any, states: list[dict[str, int]], n: int | None) -> None:
        for name, reset in self.config.program.registers.items() if self.config.keeps_state else ():
            ctx.set(dut.state[name], 1 if n is None else states[n][name] if states else int(reset))

    def next_state(self, ctx: Any, dut: Any) -> dict[str, int]:
        names = self.config.program.registers if self.config.keeps_state else ()
        return {name: ctx.get(dut.next_state[name]) for name in names}

    def pipeline(self) -> list[list[Outcome]]:
        """One neuron per cycle; outcomes read ``pipeline_latency_cycles`` after their sums."""
        dut = NeuronPipeline(self.config)
        got: list[list[Outcome]] = []
        latency = pipeline_latency_cycles(self.config)

        async def bench(ctx: Any) -> None:
            states: list[dict[str, int]] = []
            for window in range(self.windows):
                found: list[Outcome] = []
                later: list[dict[str, int]] = []
                for cycle in range(self.count + latency):
                    if cycle < self.count:
                        for plane, value in enumerate(self.sums[window][cycle]):
                            ctx.set(dut.sums[plane], value)
                    late = cycle - CONSTANTS_CYCLES
                    self.set_constants(ctx, dut, late if 0 <= late < self.count else None)
                    self.set_state(ctx, dut, states, cycle if cycle < self.count else None)
                    if cycle >= latency:
                        found.append(self.outcome(ctx, dut))
                        later.append(self.next_state(ctx, dut))
                    await ctx.tick()
                got.append(found)
                states = later

        simulate(dut, bench)
        return got

    def stepping(self) -> list[list[Outcome]]:
        """One neuron at a time; outcomes read ``stepping_cycles`` after their start, and once more later."""
        dut = SteppingNeuron(self.config)
        got: list[list[Outcome]] = []
        cycles = stepping_cycles(self.config)

        async def bench(ctx: Any) -> None:
            states: list[dict[str, int]] = []
            for window in range(self.windows):
                found: list[Outcome] = []
                later: list[dict[str, int]] = []
                for n in range(self.count):
                    for cycle in range(cycles + 3):
                        for plane, value in enumerate(self.sums[window][n if cycle == 0 else (n + 1) % self.count]):
                            ctx.set(dut.sums[plane], value)
                        self.set_constants(ctx, dut, None if cycle == 0 else n)
                        self.set_state(ctx, dut, states, n if cycle == 0 else None)
                        ctx.set(dut.start, cycle == 0)
                        ctx.set(dut.phase, self.phases(cycle - 1))
                        if cycle == cycles:
                            found.append(self.outcome(ctx, dut))
                            later.append(self.next_state(ctx, dut))
                        elif cycle > cycles:
                            assert self.outcome(ctx, dut) == found[-1]
                            assert self.next_state(ctx, dut) == later[-1]
                        await ctx.tick()
                got.append(found)
                states = later

        simulate(dut, bench)
        return got

    def phases(self, since: int) -> int:
        """Which phases some step is in, so many cycles after the first step's beginning."""
        plan = schedule_of(self.config)
        begun = [since - step * plan.interval_cycles for step in range(self.steps)]
        return sum(1 << phase for phase in begun if 0 <= phase < plan.depth_cycles)


def random_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)

    def decay() -> Decay:
        return Shift(int(rng.integers(0, 6))) if rng.random() < 0.5 else Multiply(int(rng.integers(0, 4097)))

    static = bool(rng.random() < 0.4)
    return Case(rng, static=static, steps=int(rng.integers(1, 7)), windows=1 if static else int(rng.integers(1, 4)),
                synapse=decay(), membrane=decay(), fraction_bits=int(rng.integers(0, 5)),
                compare=str(rng.choice([">", ">="])), reset=str(rng.choice(["zero", "subtract"])),
                bias=bool(rng.random() < 0.5), own=bool(rng.random() < 0.5), gaps=bool(rng.random() < 0.3),
                threshold=int(rng.integers(0, 200)), potential=bool(rng.random() < 0.5))


@settings(max_examples=60, deadline=None, derandomize=True, phases=PHASES)
@given(st.integers(0, 10**9))
def test_random_neurons(seed: int) -> None:
    case = random_case(seed)
    assert case.pipeline() == case.want, f"seed {seed}"
    assert case.stepping() == case.want, f"seed {seed}"


CHOICES = [
    {"synapse": Multiply(3000), "membrane": Shift(0)}, {"synapse": Shift(0), "membrane": Multiply(4096)},
    {"compare": ">="}, {"reset": "subtract"}, {"own": True}, {"bias": True}, {"gaps": True},
    {"windows": 3}, {"windows": 3, "reset": "subtract", "bias": True, "own": True},
    {"static": True}, {"static": True, "bias": True, "steps": 5},
    {"potential": False}, {"potential": False, "windows": 2},
    {"steps": 1}, {"steps": 1, "windows": 4, "compare": ">="},
]


@pytest.mark.parametrize("changes", CHOICES, ids=str)
def test_each_choice(changes: dict[str, Any]) -> None:
    case = Case(np.random.default_rng(5), count=30, **changes)
    assert len({mask for window in case.want for mask, _ in window}) > 1, "neurons that do all the same show nothing"
    assert case.pipeline() == case.want
    assert case.stepping() == case.want


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("compare", [">", ">="])
def test_exactly_at_the_threshold(compare: str, reset: str) -> None:
    case = Case(np.random.default_rng(0), count=3, threshold=40, fraction_bits=0, steps=1, compare=compare, reset=reset)
    case.sums = [[[39], [40], [41]]]
    want = [[(0, 39), (int(compare == ">="), 40), (1, 41)]]
    assert case.pipeline() == want
    assert case.stepping() == want


@pytest.mark.parametrize(("changes", "pipeline", "stepping"), [
    ({}, (2, 2), (2, 2)), ({"bias": True}, (4, 2), (3, 2)), ({"static": True}, (2, 2), (2, 2)),
    ({"own": True}, (2, 2), (2, 2)),
    ({"synapse": Multiply(3000), "membrane": Multiply(3000)}, (-2, 4), (2, 2)), ({"windows": 2}, (1, 2), (2, 2)),
    ({"reset": "subtract"}, (0, 3), (1, 3)), ({"reset": "subtract", "windows": 2}, (1, 3), (2, 3)),
], ids=str)
def test_latency_formulas(changes: dict[str, Any], pipeline: tuple[int, int], stepping: tuple[int, int]) -> None:
    """So many cycles, and so many more a step; of a pipeline, as many carry chains, two a cycle."""
    for steps in (2, 3, 4, 5):
        config = Case(np.random.default_rng(0), **{"steps": steps} | changes).config
        assert pipeline_latency_cycles(config) == (pipeline[0] + pipeline[1] * steps) // CHAINS_PER_STAGE
        assert stepping_cycles(config) == stepping[0] + stepping[1] * steps


def test_a_register_has_one_adder() -> None:
    """Of LIF's five additions and subtractions of a step, a stepping unit has two, and one for the comparison."""
    plan = schedule_of(Case(np.random.default_rng(0), reset="subtract").config)
    assert {w.register for w in plan.writes} == set(plan.homes.values()) == {0, 1}


def first_change(case: Case, dut: Any, latency: int, start: bool) -> int:
    """The cycle in which the full mask of one active neuron among silent ones is seen first."""
    seen = []

    async def bench(ctx: Any) -> None:
        case.set_constants(ctx, dut, 0)
        for cycle in range(latency + 4):
            if not start or cycle == 0:
                case.set_state(ctx, dut, [], 0)
            for plane in range(case.config.sums):
                ctx.set(dut.sums[plane], 100 if cycle == 0 else -100)
            if start:
                ctx.set(dut.start, cycle == 0)
                ctx.set(dut.phase, case.phases(cycle - 1))
            seen.append(ctx.get(dut.mask))
            await ctx.tick()

    simulate(dut, bench)
    return seen.index((1 << case.steps) - 1)


@pytest.mark.parametrize("changes", CHOICES, ids=str)
def test_latency_is_neither_more_nor_less(changes: dict[str, Any]) -> None:
    case = Case(np.random.default_rng(5), count=1, **changes | {"threshold": 40, "own": False})
    case.exists[:], case.biases = True, np.sign(case.biases)  # nobody spikes without sums
    config = case.config
    latency = pipeline_latency_cycles(config)
    assert first_change(case, NeuronPipeline(config), latency, start=False) == latency
    plan = schedule_of(config)
    later_cycles = plan.depth_cycles - 1 - plan.phases[config.program.outputs["spike"]] if config.keeps_state else 0
    last = stepping_cycles(config) - later_cycles  # the registers of the next window may come later than the mask
    assert first_change(case, SteppingNeuron(config), stepping_cycles(config), start=True) == last


def test_no_memory() -> None:
    config = Case(np.random.default_rng(0), windows=2, own=True, bias=True).config
    assert memory_bits(NeuronPipeline(config)) == memory_bits(SteppingNeuron(config)) == 0
