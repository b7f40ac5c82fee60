"""Trees of adders: exact sums, and as many registers as promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Shape, Signal, signed
from support.simulation import simulate

from spikeloom.rtl.adder_tree import tree_depth, tree_latency, tree_sum

BITS = 4


def test_depth() -> None:
    assert [tree_depth(n) for n in (1, 2, 3, 4, 5, 8, 9)] == [0, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 16, 17])
def test_sums_and_latency(count: int, levels: int) -> None:
    m = Module()
    terms = [Signal(signed(BITS), name=f"term{k}") for k in range(count)]
    total, latency = tree_sum(m, list(terms), "tree", levels)
    assert latency == tree_latency(count, levels) == max(0, tree_depth(count) - 1) // levels
    assert total.shape() == signed(BITS + tree_depth(count))
    m.d.sync += Signal().eq(1)  # a clock, even for a tree without registers
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
    assert got[latency:] == [sum(values) for values in stimulus]


def test_unequal_widths() -> None:
    terms = [Signal(shape, name=f"t{k}") for k, shape in enumerate([signed(8), signed(2), signed(3)])]
    total, _ = tree_sum(Module(), list(terms), "tree", 1)
    assert isinstance(total.shape(), Shape)
    assert total.shape().signed
    assert total.shape().width >= 9
