"""Trees of adders: exact sums, and as many registers as promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Shape, Signal, signed
from support.simulation import simulate

from spikeloom.rtl.adder_tree import bit_weighted, tree_depth, tree_sum

BITS = 4


def test_depth() -> None:
    assert [tree_depth(n) for n in (1, 2, 3, 4, 5, 8, 9)] == [0, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 16, 17])
def test_sums_and_latency(count: int, levels: int) -> None:
    m = Module()
    terms = [Signal(signed(BITS), name=f"term{k}") for k in range(count)]
    total, latency = tree_sum(m, list(terms), "tree", levels)
    assert latency == max(0, tree_depth(count) - 1) // levels
    assert total.shape() == signed(BITS + tree_depth(count))
    stimulus, got = run(m, terms, total, latency)
    assert got == [sum(values) for values in stimulus]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8])
def test_bits_count_by_their_powers_of_two(count: int) -> None:
    m = Module()
    terms = [Signal(signed(BITS), name=f"term{k}") for k in range(count)]
    total = bit_weighted(m, list(terms), "tree")
    stimulus, got = run(m, terms, total, max(0, tree_depth(count) - 1))
    assert got == [sum(value << b for b, value in enumerate(values)) for values in stimulus]


def run(m: Module, terms: list[Signal], total: Any, latency: int) -> tuple[list[list[int]], list[int]]:
    """Values of the terms, one set a cycle, and the total of each."""
    m.d.sync += Signal().eq(1)  # a clock, even for a tree without registers
    count = len(terms)
    rng = np.random.default_rng(count)
    low, high = -(1 << BITS - 1), (1 << BITS - 1) - 1
    stimulus = [[low] * count, [high] * count, *rng.integers(low, high + 1, (20, count)).tolist()]
    got = []

    async def bench(ctx: Any) -> None:
        for values in stimulus + stimulus[:latency]:
            for term, value in zip(terms, values, strict=True):
                ctx.set(term, value)
            got.append(ctx.get(total))
            await ctx.tick()

    simulate(m, bench)
    return stimulus, got[latency:]


def test_unequal_widths() -> None:
    terms = [Signal(shape, name=f"t{k}") for k, shape in enumerate([signed(8), signed(2), signed(3)])]
    total, _ = tree_sum(Module(), list(terms), "tree", 1)
    assert isinstance(total.shape(), Shape)
    assert total.shape().signed
    assert total.shape().width >= 9
