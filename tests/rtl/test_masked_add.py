"""Sums of masked terms against integers: any number of them, the ends of their range, levels and registers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from support.simulation import simulate

from spikeloom.rtl.balanced import balanced
from spikeloom.rtl.masked_add import CHAIN_ADDERS, LEVELS_PER_REGISTER, MaskedSums, Term, tree_depth
from spikeloom.rtl.share import MaskedAdd

BITS = 3


class Sums(wiring.Component):
    """All terms but the last one of three have a mask; the second sum has them the other way round."""

    def __init__(self, terms: int, *, weighed: bool, is_signed: bool) -> None:
        self.terms, self.weighed, self.is_signed = terms, weighed, is_signed
        self.level = 0
        shape = signed if is_signed else unsigned
        super().__init__({**{f"i{k}": In(shape(BITS)) for k in range(terms)}, "mask": In(terms),
                          **{f"o{k}": Out(shape(BITS + 2 * terms + 1)) for k in range(2)}})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        terms = [Term(getattr(self, f"i{k}"), None if k % 3 == 2 else self.mask[k]) for k in range(self.terms)]
        sums = MaskedSums(m, platform, "sum", is_signed=self.is_signed)
        for o, total in zip((self.o0, self.o1), sums.trees([terms, terms[::-1]], weighed=self.weighed), strict=True):
            m.d.comb += o.eq(total.masked)
        self.level = sums.level
        return m


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("count", range(1, 10))
def test_trees(count: int, weighed: bool, is_signed: bool) -> None:
    rng = np.random.default_rng(count)
    dut = Sums(count, weighed=weighed, is_signed=is_signed)
    low, high = (-(1 << BITS - 1), (1 << BITS - 1) - 1) if is_signed else (0, (1 << BITS) - 1)
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
            counts = [value if k % 3 == 2 or mask >> k & 1 else 0 for k, value in enumerate(values)]
            for o, terms in ((dut.o0, counts), (dut.o1, counts[::-1])):
                assert ctx.get(o) == sum(term << k * weighed for k, term in enumerate(terms)), (values, mask)
            await ctx.tick()

    simulate(dut, bench)
    assert dut.level == tree_depth(count)


def test_so_many_bits() -> None:
    """Modulo the width that is asked for."""
    m = Module()
    for shape in (signed, unsigned):
        a = Signal(shape(4))
        sums = MaskedSums(m, None, f"{shape.__name__}_sum", is_signed=shape is signed)
        for bits in (None, 4, 9):
            total, = sums.add([(Term(a), Term(a))], bits)
            assert Value.cast(total).shape() == shape(bits or 5)


class Recorder:
    """A platform that keeps the adders."""

    def __init__(self) -> None:
        self.adders: list[MaskedAdd] = []

    def masked_add(self, adder: MaskedAdd) -> Module:
        self.adders.append(adder)
        return Module()

    def three_add(self) -> None:
        """Of no three terms."""

    def instance(self) -> None:
        """Of no module."""

    def rom(self) -> None:
        """Of no memory."""


def test_unsigned_adders_share_chains() -> None:
    """Of one width, two in a chain; signed ones, and those that may have a carry, stand alone."""
    assert CHAIN_ADDERS == 2
    terms = [[Term(Signal(4)) for _ in range(4)] for _ in range(3)] + [[Term(Signal(4)), Term(Signal(4))]]
    for is_signed, bits, want in ((False, None, [*[(5, 2)] * 3, (5, 1)]), (True, None, [(5, 1)] * 7),
                                  (False, 4, [(4, 1)] * 7)):
        platform = Recorder()
        sums = MaskedSums(Module(), platform, "sum", is_signed=is_signed)
        sums.add([(row[k], row[k + 1]) for row in terms for k in range(0, len(row), 2)], bits)
        assert [(adder.width, adder.count) for adder in platform.adders] == want


@pytest.mark.parametrize("level", range(4))
def test_later(level: int) -> None:
    """As many registers as stand behind the levels in between."""
    m = Module()
    a = Signal(4)
    sums = MaskedSums(m, None, "sum", 5, is_signed=False)
    kept = sums.later(Term(a), level).value
    assert (kept is a) == (level >= 4)
    assert not isinstance(kept, Signal) or kept is a or kept.name.endswith("_q")


@pytest.mark.parametrize("count", range(1, 20))
def test_balanced(count: int) -> None:
    """In order, and as flat as can be."""
    def depth(tree: Any) -> int:
        return 0 if isinstance(tree, str) else 1 + max(map(depth, tree))

    letters = [chr(65 + k) for k in range(count)]
    assert balanced(lambda a, b: a + b, letters) == "".join(letters)
    assert depth(balanced(lambda a, b: (a, b), letters)) == tree_depth(count)
