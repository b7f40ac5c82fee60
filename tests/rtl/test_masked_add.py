"""Sums of masked terms against integers: any number of them, the ends of their range, levels and registers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from support.simulation import simulate

from spikeloom.rtl.balanced import balanced
from spikeloom.rtl.masked_add import LEVELS_PER_REGISTER, MaskedSum, Term, tree_depth

BITS = 3


class Sum(wiring.Component):
    """All terms but the last one of three have a mask."""

    def __init__(self, terms: int, weighed: bool) -> None:
        self.terms, self.weighed = terms, weighed
        self.level = 0
        super().__init__({**{f"i{k}": In(signed(BITS)) for k in range(terms)}, "mask": In(terms),
                          "o": Out(signed(BITS + 2 * terms + 1))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        terms = [Term(getattr(self, f"i{k}"), None if k % 3 == 2 else self.mask[k]) for k in range(self.terms)]
        tree = MaskedSum(m, platform, "sum")
        m.d.comb += self.o.eq(tree.tree(terms, weighed=self.weighed).masked)
        self.level = tree.level
        return m


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("count", range(1, 10))
def test_tree(count: int, weighed: bool) -> None:
    rng = np.random.default_rng(count)
    dut = Sum(count, weighed)
    low, high = -(1 << BITS - 1), (1 << BITS - 1) - 1
    cases = [([low] * count, (1 << count) - 1), ([high] * count, (1 << count) - 1), ([low] * count, 0),
             *((rng.integers(low, high + 1, count).tolist(), int(rng.integers(1 << count))) for _ in range(30))]
    registers = tree_depth(count) // LEVELS_PER_REGISTER

    async def bench(ctx: Any) -> None:
        for values, mask in cases:
            for k, value in enumerate(values):
                ctx.set(getattr(dut, f"i{k}"), value)
            ctx.set(dut.mask, mask)
            for _ in range(registers):
                await ctx.tick()
            want = sum(value << (k if weighed else 0) for k, value in enumerate(values) if k % 3 == 2 or mask >> k & 1)
            assert ctx.get(dut.o) == want, (values, mask)
            await ctx.tick()

    simulate(dut, bench)
    assert dut.level == tree_depth(count)


def test_so_many_bits() -> None:
    """Modulo the width that is asked for."""
    m = Module()
    a = Signal(signed(4))
    adder = MaskedSum(m, None, "sum")
    assert adder.add(Term(a), Term(a)).shape() == signed(5)
    assert adder.add(Term(a), Term(a), 4).shape() == signed(4)
    assert adder.add(Term(a), Term(a), 9).shape() == signed(9)


@pytest.mark.parametrize("count", range(1, 20))
def test_balanced(count: int) -> None:
    """In order, and as flat as can be."""
    def depth(tree: Any) -> int:
        return 0 if isinstance(tree, str) else 1 + max(map(depth, tree))

    letters = [chr(65 + k) for k in range(count)]
    assert balanced(lambda a, b: a + b, letters) == "".join(letters)
    assert depth(balanced(lambda a, b: (a, b), letters)) == tree_depth(count)
