"""Lane blocks: sums against NumPy, the drain's way through a block, the latency."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.simulation import simulate

from spikeloom.rtl.lane_block import LaneBlock, LaneBlockConfig

ACCUMULATOR_BITS = 14


def config_of(lanes: int, banks: int, *, planes: int = 3, weighed: bool = False, weight_bits: int = 4,
              accumulator_bits: int = ACCUMULATOR_BITS, shift: int = 0) -> LaneBlockConfig:
    return LaneBlockConfig(lanes=lanes, banks=banks, planes=planes, weighed=weighed, weight_bits=weight_bits,
                           accumulator_bits=accumulator_bits, shift=shift)


def random_weights(rng: np.random.Generator, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    return rng.choice([-1, 1], shape) if bits == 1 else rng.integers(-(1 << bits - 1), 1 << bits - 1, shape)


def stored(weights: np.ndarray, bits: int) -> np.ndarray:
    return (weights < 0).astype(int) if bits == 1 else weights & ((1 << bits) - 1)


def head_of(ctx: Any, dut: LaneBlock) -> list[list[int]]:
    c = dut.config
    return [[ctx.get(dut.o_head[n][b]) for b in range(c.sums)] for n in range(c.head)]


def run(config: LaneBlockConfig, passes: list[tuple[np.ndarray, np.ndarray]],
        joined: bool = False) -> list[list[list[int]]]:
    """The head in the cycle that the latency names, for each pass of (weights, masks) of some cycles.

    Passes follow each other without a pause. The end comes behind the last events, or ``joined`` with them. Weights
    that no mask selects are noise.
    """
    dut = LaneBlock(config)
    heads: list[list[list[int]]] = []
    due: list[int] = []
    noise = np.random.default_rng(len(passes))

    def silent() -> tuple[np.ndarray, np.ndarray]:
        return (random_weights(noise, config.weight_bits, (config.banks, config.lanes)),
                np.zeros((config.banks, config.planes), int))

    slots = []
    for weights, masks in passes:
        slots += [(*slot, False) for slot in zip(weights, masks, strict=True)]
        if joined and len(weights):
            slots[-1] = (*slots[-1][:2], True)
        else:
            slots.append((*silent(), True))

    async def bench(ctx: Any) -> None:
        for cycle in range(len(slots) + config.latency_cycles + 1):
            weights, masks, end = slots[cycle] if cycle < len(slots) else (*silent(), False)
            if end:
                due.append(cycle + config.latency_cycles)
            for j in range(config.banks):
                for n in range(config.lanes):
                    ctx.set(dut.weight[j][n], int(stored(weights[j, n], config.weight_bits)))
                ctx.set(dut.mask[j], int((masks[j] << np.arange(config.planes)).sum()))
            ctx.set(dut.end, end)
            if cycle in due:
                heads.append(head_of(ctx, dut))
            elif cycle - 1 in due:
                assert head_of(ctx, dut) == heads[-1]  # the drain register holds
            await ctx.tick()

    simulate(dut, bench)
    return heads


@pytest.mark.parametrize("weight_bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("banks", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize(("planes", "weighed"), [(3, False), (1, True), (3, True), (8, True)])
def test_sums(planes: int, weighed: bool, banks: int, weight_bits: int) -> None:
    config = config_of(3, banks, planes=planes, weighed=weighed, weight_bits=weight_bits,
                       accumulator_bits=weight_bits + 8 + planes * weighed)
    rng = np.random.default_rng(banks)
    passes = []
    for length in (6, 0, 1, 9):
        passes.append((random_weights(rng, weight_bits, (length, banks, 3)),
                       rng.integers(0, 2, (length, banks, planes))))
    sums = [np.einsum("tjn,tjb->nb", weights, masks) for weights, masks in passes]
    want = [(s @ (1 << np.arange(planes))[:, None] if weighed else s).tolist() for s in sums]
    assert run(config, passes) == want
    assert run(config, passes, joined=True) == want


@pytest.mark.parametrize("weight_bits", [1, 4])
@pytest.mark.parametrize("banks", [1, 2, 3, 8])
def test_extremes(banks: int, weight_bits: int) -> None:
    """All weights at an end of their range, all masks set: the accumulator's last bit is needed, and enough."""
    low, high = (-1, 1) if weight_bits == 1 else (-8, 7)
    length = 16
    bits = int(low * banks * length).bit_length() + 1
    config = config_of(1, banks, planes=2, weight_bits=weight_bits, accumulator_bits=bits)
    passes = [(np.full((length, banks, 1), w), np.ones((length, banks, 2), int)) for w in (low, high)]
    assert run(config, passes) == [[[w * banks * length] * 2] for w in (low, high)]


@pytest.mark.parametrize("banks", [1, 2, 3, 4, 5, 8, 9, 16, 17])
def test_latency_formula(banks: int) -> None:
    """A register for the weights, one for the sum, the accumulator, and a level of the tree over pairs each."""
    config = config_of(1, banks)
    pairs = -(-banks // 2)
    assert config.latency_cycles == 3 + max(0, (pairs - 1).bit_length() - 1)
    assert config.latency_cycles == 3 + config.tree_cycles
    for planes in (1, 2, 3, 4, 5, 8):
        levels = (pairs - 1).bit_length() + (planes - 1).bit_length()
        assert config_of(1, banks, planes=planes, weighed=True).latency_cycles == 3 + max(0, levels - 1)


def test_the_drain_is_late_by_exactly_the_latency() -> None:
    """One cycle earlier the register still holds what it held before."""
    for banks in (1, 2, 5, 9):
        config = config_of(2, banks, planes=1)
        dut = LaneBlock(config)
        seen = []

        async def bench(ctx: Any, dut: Any = dut, seen: list[int] = seen) -> None:
            for cycle in range(12):
                ctx.set(dut.weight[0][1], 5)
                ctx.set(dut.mask[0], cycle == 0)
                ctx.set(dut.end, cycle == 1)
                seen.append(ctx.get(dut.o_head[1][0]))
                await ctx.tick()

        simulate(dut, bench)
        first = seen.index(5)
        assert first == 1 + config.latency_cycles
        assert seen == [0] * first + [5] * (12 - first)


@pytest.mark.parametrize(("lanes", "shift"), [(6, 2), (7, 3), (4, 4), (5, 8), (1, 3)])
def test_drain_moves(lanes: int, shift: int) -> None:
    config = config_of(lanes, 1, planes=2, shift=shift)
    assert config.head == min(lanes, shift)
    dut = LaneBlock(config)
    rng = np.random.default_rng(lanes)
    sums = rng.integers(-8, 8, lanes)
    tail = rng.integers(-100, 100, (4, shift, 2))
    line = [[int(s), 0] for s in sums] + tail.reshape(-1, 2).tolist()  # what is to come out, in order
    heads = []

    async def bench(ctx: Any) -> None:
        for n in range(lanes):
            ctx.set(dut.weight[0][n], int(sums[n]) & 15)
        ctx.set(dut.mask[0], 1)
        await ctx.tick()
        ctx.set(dut.mask[0], 0)
        ctx.set(dut.end, 1)
        await ctx.tick()
        ctx.set(dut.end, 0)
        for _ in range(config.latency_cycles - 1):
            await ctx.tick()
        for k in range(4):
            heads.append(head_of(ctx, dut))
            for n in range(shift):
                for b in range(2):
                    ctx.set(dut.i_tail[n][b], int(tail[k, n, b]))
            for move in ([0, 0, 1] if k % 2 else [1]):  # it moves only when it is told to, a cycle later
                ctx.set(dut.move, move)
                await ctx.tick()
                assert head_of(ctx, dut) == heads[-1]
            ctx.set(dut.move, 0)
            await ctx.tick()

    simulate(dut, bench)
    assert heads == [line[k * shift:k * shift + config.head] for k in range(4)]
