"""The queue: order, depth, one cycle of latency, one payload per cycle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.block_ram import without_lut_ram
from support.simulation import memory_bits, simulate
from support.stream_bench import run_streams

from spikeloom.rtl.beat import beat_layout
from spikeloom.rtl.fifo import Queue


@pytest.mark.parametrize("depth", [1, 2, 3, 8])
@pytest.mark.parametrize(("gap", "stall"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.3, 0.6)])
def test_order(depth: int, gap: float, stall: float) -> None:
    payloads = np.random.default_rng(depth).integers(0, 64, 60).tolist()
    _, received, _ = run_streams(Queue(beat_layout(2, 3), depth), payloads, 60, gap=gap, stall=stall, seed=depth)
    assert [value for _, value in received] == payloads


@pytest.mark.parametrize("depth", [2, 3, 8])
@pytest.mark.parametrize(("gap", "stall"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.3, 0.6)])
def test_block_ram(depth: int, gap: float, stall: float) -> None:
    """Without LUT RAM every cycle is the same."""
    payloads = np.random.default_rng(depth).integers(0, 1 << 62, 100).tolist()
    wanted, given = (run_streams(queue, payloads, 100, gap=gap, stall=stall, seed=depth)
                     for queue in (Queue(64, depth), without_lut_ram(Queue(64, depth))))
    assert given == wanted
    assert [value for _, value in given[1]] == payloads


@pytest.mark.parametrize("bits", [64, 300])
@pytest.mark.parametrize("depth", [2, 3, 8])
@pytest.mark.parametrize(("gap", "stall"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.3, 0.6)])
def test_registered_input(bits: int, depth: int, gap: float, stall: float) -> None:
    """Every cycle is the same as without."""
    rng = np.random.default_rng(depth)
    payloads = [int.from_bytes(rng.bytes(bits // 8)) for _ in range(100)]
    wanted, given = (run_streams(Queue(bits, depth, registers_input=registers), payloads, 100, gap=gap, stall=stall,
                                 seed=depth) for registers in (False, True))
    assert given == wanted
    assert [value for _, value in given[1]] == payloads


def test_registered_input_takes_two_payloads() -> None:
    with pytest.raises(ValueError, match="depth must be 2 or more with registers_input, not 1"):
        Queue(8, 1, registers_input=True)


@pytest.mark.parametrize("registers", [False, True])
def test_a_sender_who_knows_that_there_is_room(registers: bool) -> None:
    """Into a full queue, too, as a payload leaves it: ``ready`` is not looked at."""
    wanted = {True: list(range(12)), False: list(range(8))}
    for has_room, want in wanted.items():
        dut = Queue(8, 8, has_room=has_room, registers_input=registers)
        got: list[int] = []

        async def bench(ctx: Any, dut: Queue = dut, got: list[int] = got) -> None:
            for value in range(12):
                ctx.set(dut.i.valid, value < 8 or not ctx.get(dut.i.ready))
                ctx.set(dut.i.payload, value)
                ctx.set(dut.o.ready, value >= 8)
                if ctx.get(dut.o.valid) and ctx.get(dut.o.ready):
                    got.append(ctx.get(dut.o.payload))
                await ctx.tick()
            ctx.set(dut.i.valid, 0)
            while ctx.get(dut.o.valid):
                got.append(ctx.get(dut.o.payload))
                await ctx.tick()

        simulate(dut, bench)
        assert got == want


def test_one_payload_is_of_flip_flops() -> None:
    sent, received, _ = run_streams(Queue(64, 1), list(range(9)), 9)
    assert [cycle for cycle, _ in received] == [cycle + 1 for cycle in sent] == list(range(1, 19, 2))
    assert memory_bits(Queue(64, 1)) == 0


def test_latency_and_throughput() -> None:
    sent, received, _ = run_streams(Queue(8, 4), list(range(50)), 50)
    assert sent == list(range(50))
    assert [cycle for cycle, _ in received] == [cycle + 1 for cycle in sent]


@pytest.mark.parametrize("depth", [1, 2, 3, 8])
def test_holds_depth_payloads(depth: int) -> None:
    dut = Queue(8, depth)
    ready = []

    async def bench(ctx: Any) -> None:
        ctx.set(dut.i.valid, 1)
        for _ in range(depth + 3):
            ready.append(ctx.get(dut.i.ready))
            await ctx.tick()

    simulate(dut, bench)
    assert ready == [1] * depth + [0] * 3


def test_memory() -> None:
    assert memory_bits(Queue(beat_layout(3, 5), 16)) == 16 * 15
