"""The target of an SPI line, against a controller of another clock."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.sim import Simulator

from spikeloom.rtl.spi import SCK_CYCLES_MIN, SpiTarget

IDLE = 0xC0


class Controller:
    """Mode 0, by its specification; times in units of the target's clock period."""

    def __init__(self, ctx: Any, dut: SpiTarget, half: float, rng: random.Random) -> None:
        self.ctx, self.dut, self.half, self.rng = ctx, dut, half, rng

    async def wait(self, halves: float = 1.0) -> None:
        await self.ctx.delay(1e-6 * self.half * halves)

    async def select(self) -> None:
        self.ctx.set(self.dut.cs_n, 0)
        await self.wait()

    async def release(self) -> None:
        await self.wait()
        self.ctx.set(self.dut.cs_n, 1)
        await self.wait(2)

    async def bits(self, byte: int, count: int = 8) -> int:
        got = 0
        for bit in range(7, 7 - count, -1):
            self.ctx.set(self.dut.mosi, byte >> bit & 1)
            await self.wait()
            got = got << 1 | self.ctx.get(self.dut.miso)
            self.ctx.set(self.dut.sck, 1)
            await self.wait()
            self.ctx.set(self.dut.sck, 0)
        return got


@pytest.mark.parametrize("half", [SCK_CYCLES_MIN / 2, 4.37, 9.1, 40.0])
def test_bytes_both_ways(half: float) -> None:
    """Some bytes are broken off, sometimes there is nothing to send, and the target is let go of at any byte."""
    seed = 5
    print(f"seed {seed}")
    rng = random.Random(seed)
    dut = SpiTarget(IDLE)
    sent = [rng.randrange(256) for _ in range(60)]
    broken = {k for k in range(60) if rng.random() < 0.2}
    queue = [byte for byte in (rng.randrange(256) for _ in range(40)) if byte != IDLE]
    heard: list[int] = []
    taken: list[int] = []
    lost: list[int] = []
    received: list[tuple[int, int]] = []
    ends = False

    async def controller(ctx: Any) -> None:
        nonlocal ends
        line = Controller(ctx, dut, half, rng)
        await line.wait(10)
        await line.select()
        for k, byte in enumerate(sent):
            before = len(taken)
            if k in broken:
                await line.bits(byte, rng.randint(1, 7))
                await line.release()
                lost.extend(taken[before:])  # what was on the way is lost, as the controller knows
                await line.select()
                continue
            heard.append(await line.bits(byte))
            if rng.random() < 0.3:
                await line.release()
                await line.wait(rng.random() * 20)
                await line.select()
        await line.release()
        ends = True

    async def source(ctx: Any) -> None:
        for byte in queue:
            for _ in range(rng.choice([0, 0, 100])):
                await ctx.tick()
            ctx.set(dut.i.valid, 1)
            ctx.set(dut.i.payload, byte)
            while True:
                *_, ready = await ctx.tick().sample(dut.i.ready)
                if ready:
                    break
            taken.append(byte)
            ctx.set(dut.i.valid, 0)

    async def sink(ctx: Any) -> None:
        async for *_, valid, payload in ctx.tick().sample(dut.o.valid, dut.o.payload):
            if valid:
                received.append((payload.data, payload.bad))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(controller)
    simulator.add_testbench(source, background=True)
    simulator.add_testbench(sink, background=True)
    simulator.run()
    assert ends
    assert [data for data, bad in received if not bad] == [byte for k, byte in enumerate(sent) if k not in broken]
    assert sum(bad for _, bad in received) == len(broken)
    rest = list(taken)
    for byte in lost:
        rest.remove(byte)
    got = [byte for byte in heard if byte != IDLE]
    assert sorted(got) == sorted(rest)
    assert len(got) > 20


def test_what_nobody_clocks_out_is_not_lost() -> None:
    """A byte that was ready as the target was let go of comes next time."""
    dut = SpiTarget(IDLE)

    async def bench(ctx: Any) -> None:
        line = Controller(ctx, dut, 4, random.Random(0))
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload, 0x5A)
        await line.wait(4)
        for _ in range(3):
            await line.select()
            await line.release()
        await line.select()
        assert await line.bits(0) == 0x5A
        assert ctx.get(dut.miso_enable) == 1
        await line.release()
        assert ctx.get(dut.miso_enable) == 0

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run_until(1e-3)


@pytest.mark.parametrize("half", [SCK_CYCLES_MIN / 2, 4.37, 9.1])
def test_latency(half: float) -> None:
    """In clock edges: from a byte's last rising edge to the byte, from a falling edge to the next bit."""
    dut = SpiTarget(IDLE)
    cycles, rose, fell, before = 0, 0, 0, 1
    bytes_after: set[int] = set()
    bits_after: set[int] = set()

    class Watched(Controller):
        async def wait(self, halves: float = 1.0) -> None:
            nonlocal rose, fell
            await super().wait(halves)
            rose, fell = (cycles if not ctx_sck(self.ctx) else rose), (cycles if ctx_sck(self.ctx) else fell)

    def ctx_sck(ctx: Any) -> int:
        return int(ctx.get(dut.sck))

    async def controller(ctx: Any) -> None:
        line = Watched(ctx, dut, half, random.Random(0))
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload, 0b10101010)
        await line.wait(4)
        await line.select()
        for _ in range(8):
            await line.bits(0x5A)
        await line.release()

    async def watch(ctx: Any) -> None:
        nonlocal cycles, before
        async for *_, valid, bad, miso in ctx.tick().sample(dut.o.valid, dut.o.payload.bad, dut.miso):
            cycles += 1
            if valid and not bad:
                bytes_after.add(cycles - rose)
            if miso != before and ctx_sck(ctx) == 0 and fell:
                bits_after.add(cycles - 1 - fell)  # this edge sees what the one before did
            before = miso

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(controller)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    assert bytes_after <= {3, 4}, bytes_after
    assert bits_after <= {3, 4}, bits_after
    assert bytes_after
    assert bits_after
