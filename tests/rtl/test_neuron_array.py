"""The neuron array: order, credits, throughput, constants and states of windows, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.simulation import memory_bits, simulate
from support.stream_bench import run_streams

from spikeloom.model.network import Neuron
from spikeloom.model.neurons.intervals import Interval
from spikeloom.model.numerics import Shift
from spikeloom.rtl.neuron import NeuronConfig, constants_layout, state_layout
from spikeloom.rtl.neuron_array import NeuronArray, NeuronArrayConfig
from spikeloom.rtl.neuron_pipeline import pipeline_latency_cycles
from spikeloom.rtl.stepping_neuron import stepping_cycles

SUM_BITS = 8
THRESHOLDS, BIASES = (0, 199), (-20, 59)


def config_of(*, units: int = 2, beats: int = 5, windows: int = 1, pipelined: bool = True, steps: int = 3,
              own: bool = False, potential: bool = False) -> NeuronArrayConfig:
    kind = Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array(THRESHOLDS if own else [60]), fraction_bits=1,
                  reset="subtract")
    one = Interval.of([-128], [127])
    neuron = NeuronConfig.proved(
        kind.recorded(has_bias=own), one,
        {"threshold": Interval.of([THRESHOLDS[0]], [THRESHOLDS[1]]), "bias": Interval.of([BIASES[0]], [BIASES[1]])},
        steps=steps, windows=windows, static=False, gives_potential=potential)
    return NeuronArrayConfig(name="layer", neuron=neuron, units=units, beats=beats, constant_beats=beats,
                             windows=windows, pipelined=pipelined)


class Case:
    """Random sums for some runs, and the masks and potentials that the equations give."""

    def __init__(self, config: NeuronArrayConfig, runs: int = 2, seed: int = 0) -> None:
        self.config = config
        c, n = config, config.neuron
        rng = np.random.default_rng(seed)
        shape = (runs, c.windows, c.beats, c.units)
        sums = rng.integers(-40, 80, (*shape, n.steps))
        own, layout = n.has_constants, constants_layout(n)
        thresholds = rng.integers(THRESHOLDS[0], THRESHOLDS[1] + 1, shape[2:]) if own else np.full(shape[2:], 60)
        biases = rng.integers(BIASES[0], BIASES[1] + 1, shape[2:]) if own else np.zeros(shape[2:], int)
        self.constants = [sum(layout.const({"threshold": int(t), "bias": int(b)}).as_value().value << k * layout.size
                              for k, (t, b) in enumerate(zip(ts, bs, strict=True)))
                          for ts, bs in zip(thresholds, biases, strict=True)] if own else []
        masks, potentials = np.zeros((2, *shape), int)
        for run in range(runs):  # states start anew with every run, and live through its windows
            current, membrane = np.zeros((2, *shape[2:]), int)
            for window in range(c.windows):
                for t in range(n.steps):
                    current = current - current // 2 + (sums[run, window, ..., t] + biases) * 2
                    membrane = membrane - membrane // 4 + current
                    fires = membrane > thresholds
                    masks[run, window] |= fires << t
                    potentials[run, window] = membrane
                    membrane = membrane - fires * thresholds
        self.stimulus = [sum((int(s) & (1 << SUM_BITS) - 1) << k * SUM_BITS for k, s in enumerate(beat.ravel()))
                         for beat in sums.reshape(-1, c.units, n.steps)]
        self.want = [sum(int(mask) << k * n.steps for k, mask in enumerate(beat))
                     for beat in masks.reshape(-1, c.units)]
        if n.gives_potential:  # the units' potentials, above their masks
            bits = n.potential_bits
            self.want = [beat | sum(int(v) % (1 << bits) << c.units * n.steps + k * bits for k, v in enumerate(values))
                         for beat, values in zip(self.want, potentials.reshape(-1, c.units), strict=True)]

    def dut(self) -> NeuronArray:
        return NeuronArray(self.config, self.constants)

    def run(self, **weather: Any) -> tuple[list[int], list[int], list[int]]:
        """Cycles of taking, cycles of giving, masks."""
        sent, received, _ = run_streams(self.dut(), self.stimulus, len(self.want), start=1, **weather)
        return sent, [cycle for cycle, _ in received], [mask for _, mask in received]


KINDS = [{"units": 1}, {"units": 3}, {"own": True}, {"windows": 3}, {"windows": 3, "own": True, "units": 1},
         {"windows": 2, "beats": 1}, {"steps": 1, "beats": 1, "units": 1, "windows": 2}, {"beats": 40},
         {"potential": True, "units": 3, "own": True}, {"potential": True, "windows": 3},
         {"potential": True, "steps": 1, "beats": 1, "units": 1}]


@pytest.mark.parametrize("pipelined", [True, False])
@pytest.mark.parametrize("changes", KINDS, ids=str)
@pytest.mark.parametrize(("gap", "stall"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.7), (0.4, 0.4), (0.0, 0.95)])
def test_no_beat_is_lost(changes: dict[str, Any], pipelined: bool, gap: float, stall: float) -> None:
    case = Case(config_of(pipelined=pipelined, **changes), runs=3)
    assert len(set(case.want)) > 1, "equal masks show nothing"
    assert case.run(gap=gap, stall=stall, seed=7)[2] == case.want


@pytest.mark.parametrize("steps", [1, 3, 6])
def test_pipelined_throughput(steps: int) -> None:
    config = config_of(steps=steps, beats=60)
    assert config.latency_cycles == pipeline_latency_cycles(config.neuron) + 1
    sent, received, _ = Case(config, runs=1).run()
    assert sent == list(range(1, 61))
    assert received == [cycle + config.latency_cycles for cycle in sent]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("steps", [1, 3, 6])
def test_stepping_throughput(steps: int, own: bool) -> None:
    config = config_of(steps=steps, own=own, pipelined=False)
    assert config.latency_cycles == stepping_cycles(config.neuron)
    sent, received, _ = Case(config).run()
    assert sent == [1 + k * (stepping_cycles(config.neuron) + 1) for k in range(10)]
    assert received == [cycle + config.latency_cycles for cycle in sent]


@pytest.mark.parametrize("beats", [1, 4, 30])
def test_a_window_waits_for_the_one_before(beats: int) -> None:
    """Pipelined: its first beat is taken when the last states of the window before have been written."""
    config = config_of(beats=beats, windows=3)
    sent, _, _ = Case(config, runs=1).run()
    starts = [sent[k * beats] for k in range(3)]
    ends = [sent[(k + 1) * beats - 1] for k in range(3)]
    wait = config.unit_cycles + 1
    assert starts == [1, ends[0] + wait, ends[1] + wait]
    assert [end - start for start, end in zip(starts, ends, strict=True)] == [beats - 1] * 3


@pytest.mark.parametrize(("pipelined", "steps"), [(True, 1), (True, 3), (True, 6), (False, 3)])
def test_takes_what_it_can_keep(pipelined: bool, steps: int) -> None:
    """With nobody at the output: as many beats as the queue holds, and not one of them is lost."""
    config = config_of(pipelined=pipelined, steps=steps, beats=100)
    case = Case(config, runs=1)
    dut = case.dut()
    got: list[int] = []
    taken = 0

    async def bench(ctx: Any) -> None:
        nonlocal taken
        ctx.set(dut.i.valid, 1)
        for cycle in range(200):
            ctx.set(dut.i.valid, taken < 100 and cycle < 100)
            ctx.set(dut.i.payload.as_value(), case.stimulus[min(taken, 99)])
            ctx.set(dut.o.ready, cycle >= 100)
            taken += ctx.get(dut.i.valid) and ctx.get(dut.i.ready)
            if cycle >= 100 and ctx.get(dut.o.valid):
                got.append(ctx.get(dut.o.payload.as_value()))
            await ctx.tick()

    simulate(dut, bench)
    assert taken == (config.queue_depth if pipelined else 1)
    assert got == case.want[:taken]
    assert config.queue_depth >= config.latency_cycles + (3 if pipelined else 0)


@pytest.mark.parametrize("pipelined", [True, False])
@pytest.mark.parametrize("potential", [False, True])
@pytest.mark.parametrize(("windows", "own"), [(1, False), (1, True), (3, False), (3, True)])
def test_memory(pipelined: bool, windows: int, own: bool, potential: bool) -> None:
    config = config_of(units=3, beats=7, windows=windows, own=own, pipelined=pipelined, potential=potential)
    n = config.neuron
    assert (config.potential_bits > 0) == potential
    want = config.queue_depth * 3 * (n.steps + config.potential_bits) if pipelined else 0
    want += 7 * 3 * state_layout(n).size * (windows > 1)
    want += 7 * 3 * constants_layout(n).size
    assert memory_bits(Case(config).dut()) == want
