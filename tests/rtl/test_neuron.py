"""Neuron units against the equations in plain Python, and their latencies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.simulation import memory_bits, simulate

from spikeloom.model.numerics import Decay, Multiply, Shift
from spikeloom.rtl.neuron import NeuronConfig, NeuronPipeline, SteppingNeuron, drive_latency

Outcome = tuple[int, tuple[int, int] | None, int | None]  # mask, next state, potential

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def config_of(**changes: Any) -> NeuronConfig:
    """Wide registers: exact widths are the business of whole networks."""
    fields: dict[str, Any] = {
        "steps": 4, "static": False, "synapse": Shift(1), "membrane": Shift(2), "fraction_bits": 2,
        "inclusive": False, "reset": "zero", "threshold": 40, "has_bias": False, "keeps_state": False,
        "gives_potential": True, "accumulator_bits": 8, "drive_bits": 20, "current_bits": 30, "membrane_bits": 34,
        "threshold_bits": 20, "bias_bits": 8}
    return NeuronConfig(**fields | changes)


def decayed(decay: Decay, x: int) -> int:
    return x - x // 2**decay.k if isinstance(decay, Shift) else x * decay.c // 4096


def equations(cfg: NeuronConfig, sums: list[int], threshold: int, bias: int,
              state: tuple[int, int] = (0, 0)) -> tuple[int, tuple[int, int], int]:
    """Mask of spikes, the states (J, U) afterwards, and the last U before its reset."""
    j, u = state
    mask = potential = 0
    for t in range(cfg.steps):
        x = sums[0] if cfg.static else sums[t]
        j = decayed(cfg.synapse, j) + (x + bias) * 2**cfg.fraction_bits
        u = potential = decayed(cfg.membrane, u) + j
        if u > threshold or (cfg.inclusive and u == threshold):
            mask |= 1 << t
            u = 0 if cfg.reset == "zero" else u - threshold
    return mask, (j, u), potential


def random_config(rng: np.random.Generator) -> NeuronConfig:
    static = bool(rng.random() < 0.5)
    steps = int(rng.integers(1, 7))

    def decay() -> Decay:
        return Shift(int(rng.integers(0, 6))) if rng.random() < 0.5 else Multiply(int(rng.integers(0, 4097)))

    return config_of(
        static=static, steps=steps, synapse=decay(), membrane=decay(),
        fraction_bits=int(rng.integers(0, 5)), inclusive=bool(rng.random() < 0.5),
        reset=str(rng.choice(["zero", "subtract"])), has_bias=bool(rng.random() < 0.5),
        threshold=int(rng.integers(0, 200)) if rng.random() < 0.5 else None,
        keeps_state=not static and bool(rng.random() < 0.5), gives_potential=bool(rng.random() < 0.5))


class Neurons:
    """Random stimulus for some neurons, and what the equations make of it."""

    def __init__(self, cfg: NeuronConfig, rng: np.random.Generator, count: int = 12) -> None:
        self.cfg = cfg
        reach = 1 << cfg.accumulator_bits - 1
        self.sums = rng.integers(-reach // 2, reach, (count, cfg.sums)).tolist()
        self.thresholds = (rng.integers(0, 400, count) if cfg.threshold is None
                           else np.full(count, cfg.threshold)).tolist()
        self.biases = (rng.integers(-20, 60, count) if cfg.has_bias else np.zeros(count, int)).tolist()
        self.states = [(int(j), int(u)) if cfg.keeps_state else (0, 0) for j, u in rng.integers(-300, 300, (count, 2))]
        want = [equations(cfg, *each) for each in zip(self.sums, self.thresholds, self.biases, self.states,
                                                      strict=True)]
        self.masks = [mask for mask, _, _ in want]
        self.next_states = [state if cfg.keeps_state else None for _, state, _ in want]
        self.potentials = [potential if cfg.gives_potential else None for _, _, potential in want]

    def set_sums(self, ctx: Any, dut: Any, n: int) -> None:
        for plane, value in enumerate(self.sums[n]):
            ctx.set(dut.sums[plane], value)

    def set_late(self, ctx: Any, dut: Any, n: int | None) -> None:
        """Constants and state of neuron ``n``, or noise."""
        if self.cfg.threshold is None:
            ctx.set(dut.constants.threshold, -7 if n is None else self.thresholds[n])
        if self.cfg.has_bias:
            ctx.set(dut.constants.bias, -99 if n is None else self.biases[n])
        if self.cfg.keeps_state:
            j, u = (1234, -4321) if n is None else self.states[n]
            ctx.set(dut.state.current, j)
            ctx.set(dut.state.membrane, u)

    def outcome(self, ctx: Any, dut: Any) -> Outcome:
        state = ((ctx.get(dut.next_state.current), ctx.get(dut.next_state.membrane)) if self.cfg.keeps_state
                 else None)
        return ctx.get(dut.mask), state, ctx.get(dut.potential) if self.cfg.gives_potential else None

    def pipeline(self) -> list[Outcome]:
        """One neuron per cycle; outcomes read ``pipeline_latency_cycles`` after their sums."""
        dut = NeuronPipeline(self.cfg)
        got: list[Outcome] = []
        count, latency = len(self.sums), self.cfg.pipeline_latency_cycles

        async def bench(ctx: Any) -> None:
            for cycle in range(count + latency):
                if cycle < count:
                    self.set_sums(ctx, dut, cycle)
                self.set_late(ctx, dut, cycle - 1 if 0 < cycle <= count else None)
                if cycle >= latency:
                    got.append(self.outcome(ctx, dut))
                await ctx.tick()

        simulate(dut, bench)
        return got

    def stepping(self) -> list[Outcome]:
        """One neuron at a time; outcomes read ``stepping_cycles`` after their start, and once more later."""
        dut = SteppingNeuron(self.cfg)
        got: list[Outcome] = []
        cycles, steps = self.cfg.stepping_cycles, self.cfg.steps

        async def bench(ctx: Any) -> None:
            for n in range(len(self.sums)):
                for cycle in range(cycles + 3):
                    self.set_sums(ctx, dut, n if cycle == 0 else (n + 1) % len(self.sums))
                    self.set_late(ctx, dut, None if cycle == 0 else n)
                    ctx.set(dut.start, cycle == 0)
                    since = cycle - (cycles - 3 * steps)
                    ctx.set(dut.phase, 1 << since % 3 if 0 <= since < 3 * steps else 0)
                    if cycle == cycles:
                        got.append(self.outcome(ctx, dut))
                    elif cycle > cycles:
                        assert self.outcome(ctx, dut) == got[-1]
                    await ctx.tick()

        simulate(dut, bench)
        return got

    @property
    def want(self) -> list[Outcome]:
        return list(zip(self.masks, self.next_states, self.potentials, strict=True))


@settings(max_examples=40, deadline=None, derandomize=True, phases=PHASES)
@given(st.integers(0, 10**9))
def test_random_neurons(seed: int) -> None:
    rng = np.random.default_rng(seed)
    neurons = Neurons(random_config(rng), rng)
    assert neurons.pipeline() == neurons.want, f"seed {seed}"
    assert neurons.stepping() == neurons.want, f"seed {seed}"


CHOICES = [
    {"synapse": Multiply(3000), "membrane": Shift(0)}, {"synapse": Shift(0), "membrane": Multiply(4096)},
    {"inclusive": True}, {"reset": "subtract"}, {"threshold": None}, {"has_bias": True},
    {"keeps_state": True}, {"keeps_state": True, "reset": "subtract", "has_bias": True, "threshold": None},
    {"static": True}, {"static": True, "has_bias": True, "steps": 5},
    {"gives_potential": False}, {"gives_potential": False, "keeps_state": True},
    {"steps": 1}, {"steps": 1, "keeps_state": True, "inclusive": True},
]


@pytest.mark.parametrize("changes", CHOICES, ids=str)
def test_each_choice(changes: dict[str, Any]) -> None:
    neurons = Neurons(config_of(**changes), np.random.default_rng(5), count=30)
    assert len(set(neurons.masks)) > 1, "neurons that do all the same show nothing"
    assert neurons.pipeline() == neurons.want
    assert neurons.stepping() == neurons.want


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("inclusive", [False, True])
def test_exactly_at_the_threshold(inclusive: bool, reset: str) -> None:
    cfg = config_of(threshold=40, fraction_bits=0, steps=1, inclusive=inclusive, reset=reset)
    neurons = Neurons(cfg, np.random.default_rng(0), count=3)
    neurons.sums = [[39], [40], [41]]
    want = [(0, None, 39), (int(inclusive), None, 40), (1, None, 41)]
    assert neurons.pipeline() == want
    assert neurons.stepping() == want


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_windows_in_a_row_are_one_long_run(reset: str) -> None:
    """Two windows of three steps with kept state are six steps."""
    rng = np.random.default_rng(4)
    whole = Neurons(config_of(steps=6, reset=reset), rng, count=20)
    halves: list[Neurons] = []
    states = [(0, 0)] * 20
    for first in (0, 3):
        half = Neurons(config_of(steps=3, keeps_state=True, reset=reset), rng, count=20)
        half.sums, half.states = [sums[first:first + 3] for sums in whole.sums], states
        outcomes = half.pipeline()
        assert outcomes == half.stepping()
        states = [state for _, state, _ in outcomes if state is not None]
        half.masks = [mask for mask, _, _ in outcomes]
        half.potentials = [potential for _, _, potential in outcomes]
        halves.append(half)
    masks = [low | high << 3 for low, high in zip(halves[0].masks, halves[1].masks, strict=True)]
    assert (list(zip(masks, [None] * 20, halves[1].potentials, strict=True)) == whole.pipeline() == whole.stepping()
            == whole.want)


@pytest.mark.parametrize(("changes", "drive"), [
    ({}, 0), ({"has_bias": True}, 1), ({"static": True}, 0), ({"static": True, "has_bias": True}, 1),
], ids=str)
def test_latency_formulas(changes: dict[str, Any], drive: int) -> None:
    for steps in (1, 5):
        cfg = config_of(**{"steps": steps} | changes)
        assert drive_latency(cfg) == drive
        assert cfg.pipeline_latency_cycles == 1 + drive + 2 * steps
        assert cfg.stepping_cycles == 1 + drive + 3 * steps


def first_change(neurons: Neurons, dut: Any, latency: int, start: bool) -> int:
    """The cycle in which the full mask of one active neuron among silent ones is seen first."""
    seen = []

    async def bench(ctx: Any) -> None:
        neurons.set_late(ctx, dut, 0)
        for cycle in range(latency + 4):
            for plane in range(neurons.cfg.sums):
                ctx.set(dut.sums[plane], 100 if cycle == 0 else -100)
            if start:
                ctx.set(dut.start, cycle == 0)
                since = cycle - (latency - 3 * neurons.cfg.steps)
                ctx.set(dut.phase, 1 << since % 3 if 0 <= since < 3 * neurons.cfg.steps else 0)
            seen.append(ctx.get(dut.mask))
            await ctx.tick()

    simulate(dut, bench)
    return seen.index((1 << neurons.cfg.steps) - 1)


@pytest.mark.parametrize("changes", CHOICES, ids=str)
def test_latency_is_neither_more_nor_less(changes: dict[str, Any]) -> None:
    neurons = Neurons(config_of(**changes), np.random.default_rng(5), count=1)
    neurons.thresholds, neurons.biases, neurons.states = [40], [1], [(0, 0)]
    cfg = neurons.cfg
    latency = cfg.pipeline_latency_cycles
    assert first_change(neurons, NeuronPipeline(cfg), latency, start=False) == latency
    assert first_change(neurons, SteppingNeuron(cfg), cfg.stepping_cycles, start=True) == cfg.stepping_cycles


def test_no_memory() -> None:
    cfg = config_of(keeps_state=True, threshold=None, has_bias=True)
    assert memory_bits(NeuronPipeline(cfg)) == memory_bits(SteppingNeuron(cfg)) == 0
