"""Graphs whose comparisons end sooner, against the graphs that they are from, in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from support.random_programs import PLAIN, random_neuron

from spikeloom.model.neurons.intervals import MAX_BITS, Interval
from spikeloom.model.neurons.program import CHAINS, Graph, Operation, evaluate
from spikeloom.rtl.early_comparisons import WIDE_BITS, compare_early
from spikeloom.rtl.neuron import NeuronConfig

WIDE = 1 << WIDE_BITS


def chains(operation: Operation, before: Sequence[int]) -> int:
    return max((before[a] for a in operation.arguments), default=0) + (operation.name in CHAINS)


def depths(graph: Graph) -> list[int]:
    found: list[int] = []
    for operation in graph.operations:
        found.append(chains(operation, found))
    return found


def values(graph: Graph, leaves: dict[tuple[str, Any], int]) -> list[Any]:
    def leaf(operation: Operation) -> Any:
        value: Any = operation.value
        if operation.name == "constant":
            return value == "True" if isinstance(value, str) else value
        return leaves[operation.name, value]

    return evaluate(graph, leaf, PLAIN)


def test_random_programs() -> None:
    """All outputs are the same, nothing comes later, and values are within their spans."""
    rng = np.random.default_rng(0)
    sooner = 0
    for number in range(150):
        kind = random_neuron(rng, 4)
        own = kind.own_constants
        steps = int(rng.integers(1, 6))
        config = NeuronConfig.proved(
            kind.program, Interval.of(np.full(4, -WIDE), np.full(4, WIDE)),
            {name: Interval.of(v, v) for name, v in own.items()}, steps=steps, windows=1, static=bool(rng.integers(2)),
            gives_potential=True)
        graph, spans = compare_early(config.graph, config.graph_spans, chains)
        before, after = depths(config.graph), depths(graph)
        for name in config.graph.outputs:
            assert after[graph.outputs[name]] <= before[config.graph.outputs[name]], (number, name)
        sooner += max(after) < max(before)
        for neuron in [*range(4)] * 8:
            leaves = {("parameter", name): int(v[neuron]) for name, v in own.items()}
            leaves |= {("sum", t): int(rng.choice([-WIDE, WIDE, rng.integers(-WIDE, WIDE + 1)])) for t in range(steps)}
            want, got = values(config.graph, leaves), values(graph, leaves)
            assert all(want[p] == got[graph.outputs[name]] for name, p in config.graph.outputs.items()), number
            assert all(low <= value <= high for value, (low, high) in zip(got, spans, strict=True)), number
    assert sooner > 10


A, B, C = (Operation("sum", (), k) for k in range(3))


def compared(name: str, sides: tuple[int, int], span: tuple[int, int]) -> tuple[Graph, tuple[tuple[int, int], ...]]:
    """``a + 1 + 1 + 1`` and ``b``, added up (4) or subtracted (5), against ``c`` (2)."""
    one = Operation("constant", (), 1)
    operations = (A, B, C, one, Operation("add", (0, 3)), Operation("add", (4, 3)), Operation("add", (5, 3)),
                  Operation("add", (6, 1)), Operation("subtract", (6, 1)), Operation("subtract", (1, 6)),
                  Operation(name, sides))
    spans = (*[span] * 3, (1, 1), *[span] * 6, (0, 1))
    return Graph(operations, {"out": 10}, frozenset({10})), spans


@pytest.mark.parametrize("name", ["greater", "at_least"])
@pytest.mark.parametrize("sides", [(7, 2), (2, 7), (8, 2), (2, 8), (9, 2), (2, 9)])
def test_each_side_and_sign(name: str, sides: tuple[int, int]) -> None:
    graph, spans = compared(name, sides, (-WIDE, WIDE))
    early, _ = compare_early(graph, spans, chains)
    assert (depths(graph)[10], depths(early)[early.outputs["out"]]) == (5, 3)
    for a in range(-4, 4):
        for b in range(-4, 4):
            for c in range(-4, 4):
                leaves = {("sum", 0): a, ("sum", 1): b, ("sum", 2): c}
                assert values(early, leaves)[early.outputs["out"]] == values(graph, leaves)[10]


def test_narrow_comparisons_stay() -> None:
    graph, spans = compared("greater", (7, 2), (-1 << WIDE_BITS - 2, (1 << WIDE_BITS - 2) - 1))
    early, kept = compare_early(graph, spans, chains)
    assert len(early.operations) == 9  # the differences are not needed
    assert depths(early)[-1] == depths(graph)[10]
    assert kept == spans[:8] + spans[10:]


def test_what_would_be_too_wide_stays() -> None:
    graph, spans = compared("greater", (7, 2), (-1 << MAX_BITS - 1, (1 << MAX_BITS - 1) - 1))
    early, _ = compare_early(graph, spans, chains)
    assert depths(early)[-1] == depths(graph)[10]
