"""Programs: recording, what is refused, and all readings of one list against plain Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_programs import PLAIN, plain_run, random_neuron

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.neurons.arrays import Population
from spikeloom.model.neurons.intervals import Interval, TooWideError, bounds, run_bounds
from spikeloom.model.neurons.neuron_type import NeuronType, Registers
from spikeloom.model.neurons.program import Graph, Number, Recorder, clamp, evaluate, select
from spikeloom.model.neurons.transform import rotated, unrolled
from spikeloom.model.neurons.wording import equations
from spikeloom.model.numerics import Shift

STEPS, COUNT, REACH = 7, 5, 40


class Case:
    """A random neuron type with random sums."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.type = random_neuron(rng, COUNT)
        self.program = self.type.program
        self.sums = rng.integers(-REACH, REACH + 1, (STEPS, COUNT))
        self.parameters = self.type.own_constants

    def of(self, n: int) -> dict[str, int]:
        return {name: int(values[n]) for name, values in self.parameters.items()}

    def want(self, n: int) -> list[tuple[bool, int, dict[str, Any]]]:
        return plain_run(self.program, self.sums[:, n].tolist(), self.of(n))


seeds = st.integers(0, 10**6)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seeds)
def test_arrays(seed: int) -> None:
    case = Case(seed)
    population = Population(case.program, (1, COUNT), np.int64, case.parameters, constant_sum=False)
    spikes = np.empty((1, STEPS, COUNT), bool)
    for t in range(STEPS):
        potential = population.step(case.sums[None, t], spikes[:, t], last=t == STEPS - 1)
    for n in range(COUNT):
        want = case.want(n)
        assert spikes[0, :, n].tolist() == [spike for spike, _, _ in want]
        assert potential is not None
        assert potential[0, n] == want[-1][1]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seeds)
def test_constant_sums(seed: int) -> None:
    case = Case(seed)
    case.sums[:] = case.sums[0]
    population = Population(case.program, (1, COUNT), np.int64, case.parameters, constant_sum=True)
    spikes = np.empty((1, STEPS, COUNT), bool)
    for t in range(STEPS):
        population.step(case.sums[None, 0], spikes[:, t])
    assert all(spikes[0, :, n].tolist() == [spike for spike, _, _ in case.want(n)] for n in range(COUNT))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seeds)
def test_bounds_hold(seed: int) -> None:
    case = Case(seed)
    program = case.program
    ends = {name: Interval.of(values, values) for name, values in case.parameters.items()}
    spans, registers = run_bounds(program, Interval.of(np.full(COUNT, -REACH), np.full(COUNT, REACH)), ends, STEPS)
    for n in range(COUNT):
        for t, (spike, potential, after) in enumerate(case.want(n)):
            for name, value in (("spike", spike), ("potential", potential)):
                span = spans[program.outputs[name]]
                assert np.broadcast_to(span.low, COUNT)[n] <= value <= np.broadcast_to(span.high, COUNT)[n]
            for name, value in after.items():
                span = registers[name][min(t + 1, len(registers[name]) - 1)]
                assert np.broadcast_to(span.low, COUNT)[n] <= value <= np.broadcast_to(span.high, COUNT)[n]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seeds)
def test_rotated_programs_spike_alike(seed: int) -> None:
    case = Case(seed)
    turned = rotated(case.program)
    for n in range(COUNT):
        got = plain_run(turned, case.sums[:, n].tolist(), case.of(n))
        assert [(s, p) for s, p, _ in got] == [(s, p) for s, p, _ in case.want(n)]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seeds, st.booleans())
def test_unrolled_programs_spike_alike(seed: int, keeps_state: bool) -> None:
    case = Case(seed)
    graph = unrolled(case.program, STEPS, constant_sum=False, keeps_state=keeps_state)
    for n in range(COUNT):
        def leaf(op: Any, n: int = n) -> Any:
            match op.name:
                case "sum":
                    return int(case.sums[op.value, n])
                case "register":
                    return case.program.registers[op.value]
                case "parameter":
                    return case.of(n)[op.value]
                case _:
                    return op.value == "True" if isinstance(op.value, str) else op.value

        results = evaluate(graph, leaf, PLAIN)
        want = case.want(n)
        assert [bool(results[graph.outputs[f"spike {t}"]]) for t in range(STEPS)] == [spike for spike, _, _ in want]
        assert results[graph.outputs["potential"]] == want[-1][1]
        if keeps_state:
            assert {name: results[graph.outputs[f"next {name}"]] for name in want[-1][2]} == want[-1][2]


# Recording


def record(work: Callable[[Number, Number], Number]) -> Graph:
    recorder = Recorder()
    return recorder.graph({"out": work(recorder.record("sum", (), 0), recorder.record("parameter", (), "p"))})


def test_equal_operations_are_recorded_once() -> None:
    assert [op.name for op in record(lambda x, p: ((x + p) >> 1) + ((x + p) >> 1)).operations] == [
        "sum", "parameter", "add", "shift_right", "add"]


@pytest.mark.parametrize("work", [
    lambda x, p: x + 0, lambda x, p: 0 + x, lambda x, p: x - 0, lambda x, p: x << 0, lambda x, p: x >> 0,
    lambda x, p: x * 1, lambda x, p: select(p > 3, x, x), lambda x, p: x + (p - p), lambda x, p: x + p * 0,
    lambda x, p: select(~(p - p >= 1), x, p),
], ids=range(10))
def test_what_changes_nothing_is_left_out(work: Callable[[Number, Number], Number]) -> None:
    assert [op.name for op in record(work).operations] == ["sum"]


@pytest.mark.parametrize(("work", "why"), [
    (lambda x, p: x / 2, "no hardware"), (lambda x, p: x // 2, "no hardware"), (lambda x, p: x % 2, "no hardware"),
    (lambda x, p: x**2, "no hardware"), (lambda x, p: x * x, "constant or a parameter"),
    (lambda x, p: x + 0.5, "integers only, not on 0.5"), (lambda x, p: x if x > p else p, "use select"),
    (lambda x, p: x >> p, "constant count"), (lambda x, p: x == p, "use > and >="), (lambda x, p: ~x, "truth values"),
    (lambda x, p: (x > p) & x, "truth values"), (lambda x, p: select(x, x, p), "truth values"),
    (lambda x, p: np.float64(1.5) * x, "integers only"),
])
def test_what_hardware_cannot_do_is_refused_with_its_line(work: Callable[[Number, Number], Number], why: str) -> None:
    with pytest.raises(SpikeloomError, match=f"^test_programs.py, line \\d+: operation .*{why}"):
        record(work)


def test_truth_values_count_as_0_and_1() -> None:
    graph = record(lambda x, p: x + (x > p))
    assert [evaluate(graph, lambda op, x=x: {"sum": x, "parameter": 3, "constant": op.value}[op.name], PLAIN)[-1]  # type: ignore[misc]
            for x in (3, 4)] == [3, 5]


@dataclass(frozen=True, eq=False)
class Integrator(NeuronType):
    """Leaks nothing."""

    registers: ClassVar[Mapping[str, int | bool]] = {"membrane": 0}
    limit: int | None = None

    def step(self, x: Number, r: Registers) -> tuple[Number, Number]:
        r.membrane = r.membrane + x if self.limit is None else clamp(r.membrane + x, -self.limit, self.limit)
        return r.membrane > 100, r.membrane


def test_bounds_of_an_integrator() -> None:
    total = Interval.of([-3, -1], [2, 5])
    spans, registers = run_bounds(Integrator().program, total, {}, 10)
    assert spans[Integrator().program.outputs["potential"]].ends == (-30, 50)
    assert registers["membrane"][3].high.tolist() == [6, 15]
    clamped = Integrator(limit=20).program
    assert run_bounds(clamped, total, {}, 1000)[0][clamped.outputs["potential"]].ends == (-20, 20)


def test_what_grows_too_wide_says_when() -> None:
    with pytest.raises(TooWideError, match="in step 128 an operation needs 49 bits, allowed are 48"):
        run_bounds(Integrator().program, Interval.of([0], [1 << 40]), {}, 300)


def test_a_known_difference_narrows_the_reset() -> None:
    """Where v > theta + a was true, v - (theta + a) is at least 1, whatever the two are."""
    recorder = Recorder()
    v, a = (recorder.record("register", (), name) for name in "va")
    limit = a + 10
    graph = recorder.graph({"out": select(v > limit, v - limit, 0)})
    leaves = {graph.leaves("register")["v"]: Interval.of(-50, 60), graph.leaves("register")["a"]: Interval.of(0, 30)}
    assert bounds(graph, leaves)[graph.outputs["out"]].ends == (0, 50)


def test_far_thresholds_leave_the_branch_that_is_taken() -> None:
    """Potentials far below the highest threshold there may be never spike, and keep their values."""
    recorder = Recorder()
    v = recorder.record("register", (), "v")
    graph = recorder.graph({"out": select(v > (1 << 48) - 1, 0, v)})
    spans = bounds(graph, {graph.leaves("register")["v"]: Interval.of(-(1 << 47), -(1 << 46))})
    assert spans[graph.outputs["out"]].ends == (-(1 << 47), -(1 << 46))


@dataclass(frozen=True, eq=False)
class Bad(NeuronType):
    registers: ClassVar[Mapping[str, int | bool]] = {"a": 0, "b": False}
    kind: str

    def step(self, x: Number, r: Registers) -> Any:
        match self.kind:
            case "spike":
                return x, None
            case "name":
                r.c = x
            case "type":
                r.b = x
        return x > 0, None


@pytest.mark.parametrize(("kind", "why"), [
    ("spike", "must give a truth value as spike"), ("name", "register 'c', but declared are a, b"),
    ("type", "register b starts as False"),
])
def test_bad_types(kind: str, why: str) -> None:
    with pytest.raises(SpikeloomError, match=why):
        _ = Bad(kind).program


@dataclass(frozen=True, eq=False)
class Adaptive(NeuronType):
    registers: ClassVar[Mapping[str, int | bool]] = {"current": 0, "membrane": 0, "adaptation": 0}

    def step(self, x: Number, r: Registers) -> tuple[Number, Number]:
        r.current = Shift(1)(r.current) + (x << 4)
        potential = Shift(2)(r.membrane) + r.current
        spike = potential > r.adaptation + 40
        r.membrane = select(spike, 0, potential)
        r.adaptation = Shift(3)(r.adaptation) + select(spike, 20, 0)
        return spike, potential


def test_equations_in_words() -> None:
    assert equations(Adaptive().program) == [
        "current' = current - (current >> 1) + (x << 4)",
        "potential = membrane - (membrane >> 2) + current'",
        "spike = potential > adaptation + 40",
        "membrane' = 0 if spike else potential",
        "adaptation' = adaptation - (adaptation >> 3) + (20 if spike else 0)",
    ]


def test_the_hash_is_of_what_is_done() -> None:
    assert Adaptive().program.hash == Adaptive().program.hash
    assert Integrator(20).program.hash != Integrator(21).program.hash
