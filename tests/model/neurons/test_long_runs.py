"""Bounds of long runs, and of runs of any length: they hold, and they are not much wider than what is reached."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.networks import random_neuron
from support.random_programs import plain_run

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.neurons.intervals import EXACT_STEPS, Interval, TooWideError, _decayed_twice, run_bounds
from spikeloom.model.neurons.parts import Adaptation, Clamp
from spikeloom.model.neurons.types import Integrator, Neuron
from spikeloom.model.numerics import Multiply, Shift, Shifts

REACH = 9


def bounded(neuron: Neuron | Integrator, steps: int | None, reach: int = REACH) -> dict[str, tuple[int, int]]:
    """Ends of the registers over the whole run."""
    program = neuron.program
    spans, registers = run_bounds(program, Interval.of(np.array([-reach]), np.array([reach])), {}, steps)
    assert all(len(values) <= EXACT_STEPS + 2 for values in registers.values())
    return {name: (spans[program.outputs[f"next {name}"]] | Interval.of(int(reset), int(reset))).ends
            for name, reset in program.registers.items()}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_nothing_leaves_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    neuron = random_neuron(rng, REACH, int(rng.integers(0, 4)), 3)
    own = neuron.own_constants
    program, steps = neuron.program, 700
    spans, registers = run_bounds(program, Interval.of(np.full(3, -REACH), np.full(3, REACH)),
                                  {name: Interval.of(values, values) for name, values in own.items()}, steps)
    patterns = np.full(steps, REACH), np.full(steps, -REACH), rng.integers(-REACH, REACH + 1, steps)
    for n, pattern in enumerate(patterns):
        run = plain_run(program, pattern.tolist(), {name: int(values[n]) for name, values in own.items()})
        for t, (_, potential, after) in enumerate(run):
            for name, value in (("potential", potential), *((f"next {k}", v) for k, v in after.items())):
                span = spans[program.outputs[name]]
                assert np.broadcast_to(span.low, 3)[n] <= value <= np.broadcast_to(span.high, 3)[n], (name, t)
            for name, value in after.items():
                span = registers[name][min(t + 1, len(registers[name]) - 1)]
                assert np.broadcast_to(span.low, 3)[n] <= value <= np.broadcast_to(span.high, 3)[n], (name, t)


def test_an_integrator_grows_by_its_input() -> None:
    assert bounded(Integrator(), 65536)["membrane"] == (-REACH * 65536, REACH * 65536)


def test_a_threshold_stops_what_grows() -> None:
    low, high = bounded(Neuron(threshold=np.array([100])), 65536)["membrane"]
    assert (low, high) == (-REACH * 65536, 100)


@pytest.mark.parametrize("decay", [Shift(12), Multiply(4095)])
def test_a_slow_leak_is_found_in_few_steps(decay: Shift | Multiply) -> None:
    """It takes ten time constants and more to come near its limit."""
    limit = int(REACH * decay.tau_steps)
    low, high = bounded(Integrator(membrane=decay), None)["membrane"]
    assert -2.1 * limit < low < -0.9 * limit
    assert 0.9 * limit < high < 2.1 * limit


@pytest.mark.parametrize(("neuron", "register"), [
    (Integrator(), "membrane"), (Neuron(threshold=np.array([100])), "membrane"),
    (Neuron(threshold=np.array([1]), membrane=Shift(2), adaptation=Adaptation(decay=Multiply(4096), amount=1)),
     "adaptation")])
def test_without_a_leak_there_is_no_end(neuron: Neuron | Integrator, register: str) -> None:
    with pytest.raises(SpikeloomError, match=f"register {register} grows without end in a run of any length: it needs"):
        bounded(neuron, None)


def test_a_clamp_is_an_end() -> None:
    assert bounded(Integrator(clamp=Clamp(low=-500, high=400)), None)["membrane"] == (-500, 400)


def test_too_long_a_run() -> None:
    with pytest.raises(TooWideError, match="allowed are 48"):
        bounded(Integrator(fraction_bits=16), 65536, reach=1 << 20)


@pytest.mark.parametrize(("k", "shift"), [(1, 1), (2, 4), (3, 2), (4, 4), (1, 5)])
def test_bounds_of_a_decay_of_two_shifts_are_exact(k: int, shift: int) -> None:
    values = np.arange(-70, 71)
    decayed = Shifts(k, shift)(values)
    for low in range(0, 141, 5):
        for high in range(low, 141, 7):
            got = _decayed_twice(Interval.of(values[low], values[high]), k, shift)
            assert got.ends == (decayed[low:high + 1].min(), decayed[low:high + 1].max())
