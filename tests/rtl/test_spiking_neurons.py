"""Neurons that spike, through one unit: masks against the equations in random weather, the stated timing, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.simulation import memory_bits
from support.stream_bench import run_streams

from spikeloom.model.network import Neuron
from spikeloom.model.neurons.intervals import Interval
from spikeloom.model.numerics import Shift
from spikeloom.rtl.neuron import NeuronConfig, constants_layout
from spikeloom.rtl.neuron_array import NeuronArrayConfig
from spikeloom.rtl.spiking_neurons import SpikingNeurons, limit_bits, place_bits

SUM_BITS, STEPS, THRESHOLD = 8, 3, 60
BIASES = (-20, 59)


def config_of(*, units: int = 4, beats: int = 12, own: bool = True) -> NeuronArrayConfig:
    kind = Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array([THRESHOLD]), fraction_bits=1)
    neuron = NeuronConfig.proved(
        kind.recorded(has_bias=own), Interval.of([-128], [127]), {"bias": Interval.of([BIASES[0]], [BIASES[1]])},
        steps=STEPS, windows=1, static=True, gives_potential=False)
    return NeuronArrayConfig(name="layer", neuron=neuron, units=units, beats=beats, constant_beats=beats, windows=1,
                             pipelined=True, spiking_only=True)


def masks_of(drives: np.ndarray) -> np.ndarray:
    """The equations."""
    current, membrane, masks = (np.zeros(drives.shape, int) for _ in range(3))
    for t in range(STEPS):
        current = current - (current >> 1) + drives * 2
        membrane = membrane - (membrane >> 2) + current
        masks |= (membrane > THRESHOLD) << t
        membrane = np.where(membrane > THRESHOLD, 0, membrane)
    return masks


class Case:
    """Random sums for some runs, of which about ``share`` make a neuron spike."""

    def __init__(self, config: NeuronArrayConfig, *, runs: int = 2, share: float = 0.3, seed: int = 0) -> None:
        self.config = config
        rng = np.random.default_rng(seed)
        layout, bits = constants_layout(config.neuron), limit_bits(config)
        own = config.neuron.has_constants
        biases = rng.integers(*BIASES, (config.beats, config.units)) * own
        drives = np.arange(-200, 200)
        limits = drives[np.argmax(masks_of(drives) > 0)] - biases
        fires = rng.random((runs, *biases.shape)) < share
        sums = np.where(fires, rng.integers(limits, 128, fires.shape), rng.integers(-128, limits, fires.shape))
        masks = masks_of(sums + biases)
        np.testing.assert_array_equal(masks > 0, fires)
        self.firing = fires.sum(axis=2).ravel()
        self.stimulus = [sum((int(s) & 0xFF) << k * SUM_BITS for k, s in enumerate(beat))
                         for beat in sums.reshape(-1, config.units)]
        self.want = [sum(int(mask) << k * STEPS for k, mask in enumerate(beat))
                     for beat in masks.reshape(-1, config.units)]
        gap = (1 << place_bits(config)) - config.units
        constants = [[layout.const({"bias": int(b)}).as_value().value for b in row] + [0] * gap for row in biases
                     ] if own else []
        words = [sum((int(v) & ((1 << bits) - 1)) << k * bits for k, v in enumerate(row)) for row in limits]
        self.dut = SpikingNeurons(config, [word for row in constants for word in row], words)

    def run(self, **weather: Any) -> tuple[list[int], list[int], list[int]]:
        """Cycles of taking, cycles of giving, masks."""
        sent, received, _ = run_streams(self.dut, self.stimulus, len(self.want), start=1, **weather)
        return sent, [cycle for cycle, _ in received], [mask for _, mask in received]


KINDS = [{}, {"own": False}, {"units": 1}, {"units": 7, "beats": 1}, {"beats": 40}]


@pytest.mark.parametrize("changes", KINDS, ids=str)
@pytest.mark.parametrize(("gap", "stall"), [(0.0, 0.0), (0.6, 0.0), (0.0, 0.7), (0.4, 0.4), (0.0, 0.95)])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_no_beat_is_lost(changes: dict[str, Any], gap: float, stall: float, share: float) -> None:
    case = Case(config_of(**changes), runs=8, share=share)
    assert len(set(case.want)) > 1, "equal masks show nothing"
    assert case.run(gap=gap, stall=stall, seed=7)[2] == case.want


@pytest.mark.parametrize("share", [0.0, 0.15, 0.5, 1.0])
@pytest.mark.parametrize("units", [1, 4, 8])
def test_timing(units: int, share: float) -> None:
    """As the docstring says, with an output that is never in the way."""
    config = config_of(units=units, beats=30)
    case = Case(config, runs=2, share=share, seed=units)
    taken, compared, moved, entered, want = -1, -1, -1, -1, []
    starts = []
    for firing in case.firing:
        room = want[-config.queue_depth] + 2 if len(want) >= config.queue_depth else 0
        taken = max(taken + 1, compared, room, 1)
        compared = max(taken + 1, moved)
        moved = max(compared + 1, entered)
        entered = moved + max(1, int(firing))
        starts.append(taken)
        want.append(entered + config.unit_cycles + 1)
    sent, received, masks = case.run()
    assert masks == case.want
    assert (sent, received) == (starts, want)
    if share == 0:
        assert received == [cycle + config.latency_cycles for cycle in sent]


def test_takes_what_it_can_keep() -> None:
    """With nobody at the output: as many beats as the queue holds, and not one of them is lost."""
    config = config_of(beats=100)
    case = Case(config, runs=1)
    sent, received, _ = run_streams(case.dut, case.stimulus, len(case.want), start=1, stall=0.98, seed=3)
    assert [mask for _, mask in received] == case.want
    first = received[0][0]
    assert sum(cycle < first for cycle in sent) <= config.queue_depth


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("units", [1, 3, 4])
def test_memory(units: int, own: bool) -> None:
    config = config_of(units=units, beats=7, own=own)
    assert config.neuron.has_constants == own
    want = config.queue_depth * units * STEPS + 7 * units * (SUM_BITS + 1)
    want += (7 << place_bits(config)) * constants_layout(config.neuron).size
    assert memory_bits(Case(config).dut) == want
