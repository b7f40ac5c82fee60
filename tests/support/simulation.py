"""Short ways to run a test bench in Amaranth's simulator, and to measure the memories of a component."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from amaranth.hdl import ClockDomain, Fragment, Module, Shape
from amaranth.lib.memory import MemoryData
from amaranth.sim import Simulator

__all__ = ["memory_bits", "simulate"]


def simulate(dut: Any, bench: Callable[[Any], Awaitable[None]]) -> None:
    """Run ``bench(ctx)`` on ``dut`` with a clock. The bench counts its cycles: it is its own watchdog."""
    m = Module()
    m.domains.sync = ClockDomain("sync")  # for what has no register of its own, too
    m.submodules.dut = dut
    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


def memory_bits(dut: Any) -> int:
    """Bits of all memories that ``dut`` is made of, counted as it is elaborated."""
    sizes: list[int] = []
    original = MemoryData.__init__

    def recorded(self: MemoryData, shape: Any = None, depth: Any = None, init: Any = None, **options: Any) -> None:
        sizes.append(Shape.cast(shape).width * depth)
        original(self, shape=shape, depth=depth, init=init, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryData, "__init__", recorded)
        Fragment.get(dut, None).prepare()
    return sum(sizes)
