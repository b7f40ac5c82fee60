"""Streams between two clocks: everything arrives in order, as soon and as fast as is said."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator
from support.simulation import memory_bits

from spikeloom.rtl.clock_crossing import DEPTH, StreamCrossing

BITS, COUNT = 9, 120


class Two(wiring.Component):
    """A crossing with both clocks."""

    def __init__(self) -> None:
        self.crossing = StreamCrossing(BITS, "left", "right")
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains += [ClockDomain("left"), ClockDomain("right")]
        m.submodules.crossing = self.crossing
        return m


def run(left_ns: float, right_ns: float, pause: float, alone: bool) -> tuple[list[int], list[int], list[int]]:
    """What comes, and how many cycles of the second clock had been when each was taken and was seen."""
    dut, rng = Two(), random.Random(4)
    i: Any = dut.crossing.i
    o: Any = dut.crossing.o
    taken: list[int] = []
    seen: list[int] = []
    got: list[int] = []
    cycles = 0

    async def count(ctx: Any) -> None:
        nonlocal cycles
        async for _ in ctx.tick("right"):
            cycles += 1

    async def source(ctx: Any) -> None:
        await ctx.tick("left").repeat(8)
        for number in range(COUNT):
            while rng.random() < pause or (alone and len(got) < number):
                await ctx.tick("left")
            ctx.set(i.valid, 1)
            ctx.set(i.payload, number)
            while True:
                *_, ready = await ctx.tick("left").sample(i.ready)
                if ready:
                    break
            taken.append(cycles)
            ctx.set(i.valid, 0)

    async def sink(ctx: Any) -> None:
        while len(got) < COUNT:
            ctx.set(o.ready, rng.random() >= pause)
            *_, valid, ready, payload = await ctx.tick("right").sample(o.valid, o.ready, o.payload)
            if valid and ready:
                got.append(payload)
                seen.append(cycles)

    simulator = Simulator(dut)
    simulator.add_clock(left_ns * 1e-9, domain="left")
    simulator.add_clock(right_ns * 1e-9, domain="right")
    simulator.add_testbench(count, background=True)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run_until(1e-4)
    return got, taken, seen


CLOCKS = pytest.mark.parametrize(("left_ns", "right_ns"), [(10, 10.5), (10, 37), (41, 10), (10.3, 10)])


@CLOCKS
@pytest.mark.parametrize("pause", [0.0, 0.4])
def test_all_arrive_in_order(left_ns: float, right_ns: float, pause: float) -> None:
    got, _, _ = run(left_ns, right_ns, pause, alone=False)
    assert got == list(range(COUNT))


@CLOCKS
def test_latency_and_throughput(left_ns: float, right_ns: float) -> None:
    """From the edge that takes a payload to the one that can take it again."""
    _, taken, seen = run(left_ns, right_ns, 0.0, alone=True)
    latencies = {there - here for here, there in zip(taken, seen, strict=True)}
    assert latencies <= {3, 4}
    _, taken, seen = run(left_ns, right_ns, 0.0, alone=False)
    steady = seen[DEPTH:]
    slower = max(left_ns, right_ns) / right_ns
    assert (steady[-1] - steady[0]) / (len(steady) - 1) <= slower * (1 + 2 / len(steady))


def test_memory() -> None:
    assert memory_bits(Two()) == DEPTH * BITS
