"""Numbers that go round, against plain arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from support.simulation import simulate

from spikeloom.rtl.beat import index_shape
from spikeloom.rtl.counter import counter, moved_on


@pytest.mark.parametrize("counts", [(3, 4), (1, 5), (2, 1, 3), (1, 1), (8, 2)])
def test_nested_counters(counts: tuple[int, ...]) -> None:
    """The one within ends when the next one counts."""
    m, when = Module(), Signal()
    made, passes = [], when
    for k, count in enumerate(counts):
        number, passes = counter(m, f"level{k}", count, passes)
        made.append((number, passes))
    shown = [(Signal(8), Signal()) for _ in made]
    m.d.comb += [[number.eq(made[k][0]), ends.eq(made[k][1])] for k, (number, ends) in enumerate(shown)]
    rng = np.random.default_rng(len(counts))

    async def bench(ctx: Any) -> None:
        seen = 0
        for _ in range(3 * int(np.prod(counts))):
            ctx.set(when, counted := bool(rng.random() < 0.7))
            for k, (number, ends) in enumerate(shown):
                below = int(np.prod(counts[:k]))
                assert ctx.get(number) == seen // below % counts[k]
                assert bool(ctx.get(ends)) == (counted and (seen + 1) % (below * counts[k]) == 0)
            await ctx.tick()
            seen += counted

    simulate(m, bench)


@pytest.mark.parametrize(("step", "size"), [(1, 5), (1, 8), (3, 9), (3, 8), (4, 6), (7, 5), (5, 5), (0, 3), (2, 1)])
def test_places_in_a_ring(step: int, size: int) -> None:
    """All places that there are: multiples of the step if it divides the size."""
    m, place, after = Module(), Signal(index_shape(size)), Signal(index_shape(size))
    m.d.comb += after.eq(moved_on(place, step, size))

    async def bench(ctx: Any) -> None:
        for at in range(0, size, step if step and not size % step else 1):
            ctx.set(place, at)
            assert ctx.get(after) == (at + step) % size

    simulate(m, bench)
