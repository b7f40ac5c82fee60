"""The readout: scores, ties, padding, windows, timing, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.simulation import memory_bits
from support.stream_bench import run_streams

from spikeloom.rtl.readout import Readout, ReadoutConfig

MEMBRANE_BITS = 6


def config_of(classes: int, lanes: int, units: int, weights: tuple[tuple[int, ...], ...],
              membrane_bits: int = 0) -> ReadoutConfig:
    return ReadoutConfig(kind="weighted", classes=classes, units=units, lanes=lanes, windows=len(weights),
                         window_steps=len(weights[0]), step_weights=weights, membrane_bits=membrane_bits)


def beats_of(config: ReadoutConfig, masks: np.ndarray, potentials: np.ndarray) -> list[int]:
    """Beats of masks and potentials (windows, classes); padding carries the highest of both, which must not count."""
    c = config
    bits = len(c.step_weights[0])
    highest = (1 << bits) - 1, (1 << c.membrane_bits) // 2 - 1
    beats = []
    for window in zip(masks, potentials, strict=True):
        for group in range(c.groups):
            for beat in range(c.group_beats):
                payload = 0
                for unit in range(c.units):
                    lane = beat * c.units + unit
                    n = group * c.lanes + lane
                    mask, potential = ((int(each[n]) for each in window) if lane < c.lanes and n < c.classes
                                       else highest)
                    payload |= mask << unit * bits
                    if c.membrane_bits:
                        payload |= potential % (1 << c.membrane_bits) << c.units * bits + unit * c.membrane_bits
                beats.append(payload)
    return beats


def class_of(config: ReadoutConfig, masks: np.ndarray, potentials: np.ndarray) -> int:
    scores = [sum(weight for window, weights in zip(masks, config.step_weights, strict=True)
                  for t, weight in enumerate(weights) if window[n] >> t & 1) for n in range(config.classes)]
    last = potentials[-1].tolist() if config.membrane_bits else [0] * config.classes
    return max(range(config.classes), key=lambda n: (scores[n], last[n], -n))


def run(config: ReadoutConfig, samples: np.ndarray, potentials: np.ndarray | None = None,
        **weather: Any) -> tuple[list[int], list[int], list[int]]:
    """Cycles in which beats were taken, and in which classes were; the classes."""
    potentials = np.zeros_like(samples) if potentials is None else potentials
    beats = [beat for each in zip(samples, potentials, strict=True) for beat in beats_of(config, *each)]
    sent, received, _ = run_streams(Readout(config), beats, len(samples), **weather)
    return sent, [cycle for cycle, _ in received], [value for _, value in received]


def random_samples(config: ReadoutConfig, count: int) -> np.ndarray:
    rng = np.random.default_rng(config.classes)
    shape = (count, len(config.step_weights), config.classes)
    return rng.integers(0, 1 << len(config.step_weights[0]), shape)


def random_potentials(config: ReadoutConfig, samples: np.ndarray) -> np.ndarray:
    """The two ends, around zero, and anything between."""
    end = (1 << config.membrane_bits) // 2
    rng = np.random.default_rng(config.lanes)
    return np.where(rng.random(samples.shape) < 0.5, rng.choice([-end, -1, 0, end - 1], samples.shape),
                    rng.integers(-end, end, samples.shape))


# (classes, lanes, units): padded beats, padded groups, both, one class, one group
SHAPES = [(10, 10, 1), (10, 10, 3), (10, 4, 3), (10, 4, 4), (5, 2, 2), (1, 1, 1), (2, 2, 2), (3, 3, 2), (17, 8, 3)]
WEIGHTS = [((1, 1, 1),), ((31, 30, 28, 24, 16),), ((3, 2), (1, 0)), ((5,), (0,), (2,)), ((0, 0),)]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize(("classes", "lanes", "units"), SHAPES)
def test_classes(classes: int, lanes: int, units: int, weights: tuple[tuple[int, ...], ...]) -> None:
    config = config_of(classes, lanes, units, weights)
    samples = random_samples(config, 8)
    want = [class_of(config, masks, masks) for masks in samples]
    for gap, stall in ((0.0, 0.0), (0.4, 0.6)):
        assert run(config, samples, gap=gap, stall=stall, seed=3)[2] == want


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize(("classes", "lanes", "units"), SHAPES)
def test_classes_by_potential(classes: int, lanes: int, units: int, weights: tuple[tuple[int, ...], ...]) -> None:
    config = config_of(classes, lanes, units, weights, MEMBRANE_BITS)
    samples = random_samples(config, 12)
    samples[::2] = samples[::2, :, :1]  # all scores are equal
    potentials = random_potentials(config, samples)
    want = [class_of(config, *each) for each in zip(samples, potentials, strict=True)]
    assert classes < 5 or len(set(want[::2])) > 2, "ties that always go to the same class show little"
    for gap, stall in ((0.0, 0.0), (0.4, 0.6)):
        assert run(config, samples, potentials, gap=gap, stall=stall, seed=3)[2] == want


def test_score_before_potential_before_index() -> None:
    config = config_of(4, 4, 2, ((2, 1),), MEMBRANE_BITS)
    masks = np.array([[[1, 0, 1, 1]], [[1, 2, 1, 2]], [[2, 3, 2, 2]], [[0, 0, 0, 0]], [[0, 0, 0, 0]], [[1, 1, 1, 1]]])
    potentials = np.array([[[-9, 31, -8, -8]], [[-1, 31, 0, 31]], [[31, -32, 31, 31]], [[-32, -32, -32, -31]],
                           [[7, 7, 7, 7]], [[-32, -1, 0, 31]]])
    assert run(config, masks, potentials)[2] == [2, 2, 1, 3, 0, 3]


def test_the_potential_of_the_last_window_counts() -> None:
    """And a class that leads an earlier window by its potential has nothing of it."""
    config = config_of(3, 3, 1, ((1,), (1,)), MEMBRANE_BITS)
    masks = np.array([[[1, 1, 1], [0, 0, 0]], [[0, 1, 0], [1, 0, 1]], [[0, 0, 0], [0, 0, 0]]])
    potentials = np.array([[[31, 5, -32], [-3, -2, -1]], [[9, 31, -9], [4, 3, 5]], [[1, 2, 3], [-1, -1, -1]]])
    assert run(config, masks, potentials)[2] == [2, 2, 0]


def test_the_lowest_of_equals_wins() -> None:
    config = config_of(4, 4, 2, ((2, 1, 1),))
    samples = np.array([[[0, 0, 0, 0]], [[0, 1, 6, 1]], [[0, 6, 1, 0]], [[1, 1, 1, 7]], [[7, 7, 7, 7]], [[0, 0, 0, 1]]])
    assert run(config, samples)[2] == [0, 1, 1, 3, 0, 3]


def test_windows_add_up() -> None:
    """A class that leads no window may win the run; the next run starts from nothing."""
    config = config_of(3, 3, 1, ((3, 2), (2, 1)))
    samples = np.array([[[1, 2, 0], [0, 2, 1]], [[0, 0, 0], [0, 0, 2]], [[3, 0, 0], [0, 3, 3]], [[0, 1, 1], [0, 0, 1]]])
    assert [class_of(config, masks, masks) for masks in samples] == [0, 2, 0, 2]
    assert run(config, samples)[2] == [0, 2, 0, 2]


@pytest.mark.parametrize("membrane_bits", [0, MEMBRANE_BITS])
@pytest.mark.parametrize("weights", [((1, 1),), ((1,), (1,))], ids=str)
@pytest.mark.parametrize(("classes", "lanes", "units"), SHAPES)
def test_timing(classes: int, lanes: int, units: int, weights: tuple[tuple[int, ...], ...],
                membrane_bits: int) -> None:
    """A beat takes ``units`` cycles; the class comes 2 cycles after the last neuron; then the next run is read."""
    config = config_of(classes, lanes, units, weights, membrane_bits)
    samples = random_samples(config, 3)
    sent, received, _ = run(config, samples)
    per_run = config.groups * config.group_beats * len(weights)
    want_sent, want_received, start = [], [], 0
    for _ in samples:
        want_sent += [start + (k + 1) * units - 1 for k in range(per_run)]
        want_received.append(want_sent[-1] + 2)
        start = want_received[-1] + 1
    assert sent == want_sent
    assert received == want_received


def test_score_bits() -> None:
    assert [config_of(2, 2, 1, weights).score_bits for weights in WEIGHTS] == [2, 8, 3, 3, 1]


@pytest.mark.parametrize(("weights", "memories"), [(((3, 2, 2),), 0), (((3, 2), (2, 1)), 1)], ids=str)
def test_memory(weights: tuple[tuple[int, ...], ...], memories: int) -> None:
    for membrane_bits in (0, MEMBRANE_BITS):
        config = config_of(11, 4, 2, weights, membrane_bits)
        bits = max(c.bit_length() for window in weights for c in window)
        kept = len(weights) * len(weights[0]) * bits if len(weights) > 1 else 0  # the weights of all steps
        assert memory_bits(Readout(config)) == memories * 11 * config.score_bits + kept
