"""Lane blocks: sums against NumPy, the order in which they are handed over, the latency."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.simulation import memory_bits, simulate

from spikeloom.gen.inventory import Part
from spikeloom.rtl.lane_block import MASK_LANES, MULTIPLIER_BITS, LaneBlock, LaneBlockConfig, pair_bits

ACCUMULATOR_BITS = 14


def config_of(lanes: int, banks: int, *, planes: int = 3, weighed: bool = False, weight_bits: int = 4,
              accumulator_bits: int = ACCUMULATOR_BITS, units: int | None = None, holds: bool = False,
              offset: bool = False, products: int = 0) -> LaneBlockConfig:
    return LaneBlockConfig(lanes=lanes, units=lanes if units is None else units, banks=banks, planes=planes,
                           weighed=weighed, weight_bits=weight_bits, accumulator_bits=accumulator_bits, holds=holds,
                           offset=offset, products=products)


def random_weights(rng: np.random.Generator, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    return rng.choice([-1, 1], shape) if bits == 1 else rng.integers(-(1 << bits - 1), 1 << bits - 1, shape)


def stored(weights: np.ndarray, bits: int) -> np.ndarray:
    return (weights < 0).astype(int) if bits == 1 else weights & ((1 << bits) - 1)


def run(config: LaneBlockConfig, passes: list[tuple[np.ndarray, np.ndarray]],
        joined: bool = False) -> list[list[list[int]]]:
    """All lanes' sums of each pass of (weights, masks) of some cycles, from the cycle that the latency names on.

    Passes follow each other as soon as they may. The end comes behind the last events, or ``joined`` with them. Weights
    that no mask selects are noise. When nothing is handed over, the output is 0, or holds.
    """
    dut = LaneBlock(config)
    noise = np.random.default_rng(len(passes))
    seen: list[list[list[int]]] = []  # each cycle's output

    def silent() -> tuple[np.ndarray, np.ndarray]:
        return (random_weights(noise, config.weight_bits, (config.banks, config.lanes)),
                np.zeros((config.banks, config.planes), int))

    slots: list[tuple[np.ndarray, np.ndarray, bool]] = []
    ends: list[int] = []
    for weights, masks in passes:
        slots += [(*slot, False) for slot in zip(weights, masks, strict=True)]
        while ends and len(slots) - bool(joined and len(weights)) < ends[-1] + config.beats:
            slots.append((*silent(), False))
        if joined and len(weights) and slots[-1][1].any():
            slots[-1] = (*slots[-1][:2], True)
        else:
            slots.append((*silent(), True))
        ends.append(len(slots) - 1)

    async def bench(ctx: Any) -> None:
        before = silent()[0]
        for cycle in range(len(slots) + config.latency_cycles + config.beats + 1):
            weights, masks, end = slots[cycle] if cycle < len(slots) else (*silent(), False)
            for j in range(config.banks):
                for n in range(config.lanes):
                    ctx.set(dut.weight[j][n], int(stored(before[j, n], config.weight_bits)))
                ctx.set(dut.mask[j], int((masks[j] << np.arange(config.planes)).sum()))
            ctx.set(dut.end, end)
            before = weights
            seen.append([[ctx.get(lane[b]) for b in range(config.sums)] for lane in dut.o])
            await ctx.tick()

    simulate(dut, bench)
    got = []
    quiet = set(range(len(seen)))
    for end in ends:
        at = range(end + config.latency_cycles, end + config.latency_cycles + config.beats)
        got.append([lane for cycle in at for lane in seen[cycle]][:config.lanes])
        quiet -= set(at)
    held = [[0] * config.sums for _ in dut.o]
    for cycle, output in enumerate(seen):
        if cycle in quiet:
            assert output == held, cycle
        elif config.holds:
            held = output
    return got


@pytest.mark.parametrize("weight_bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("banks", [1, 2, 3, 4, 5, 8, 16])
@pytest.mark.parametrize(("planes", "weighed"), [(3, False), (1, True), (3, True), (8, True)])
def test_sums(planes: int, weighed: bool, banks: int, weight_bits: int) -> None:
    config = config_of(3, banks, planes=planes, weighed=weighed, weight_bits=weight_bits,
                       accumulator_bits=weight_bits + 9 + planes * weighed)
    rng = np.random.default_rng(banks)
    passes = []
    for length in (6, 0, 1, 9):
        passes.append((random_weights(rng, weight_bits, (length, banks, 3)),
                       rng.integers(0, 2, (length, banks, planes))))
    sums = [np.einsum("tjn,tjb->nb", weights, masks) for weights, masks in passes]
    want = [(s @ (1 << np.arange(planes))[:, None] if weighed else s).tolist() for s in sums]
    assert run(config, passes) == want
    assert run(config, passes, joined=True) == want
    alone = replace(config, ends_alone=True)
    assert run(alone, passes) == want
    assert alone.adds_three == (banks == 3 and not weighed)
    assert alone.latency_cycles == config.latency_cycles
    early = replace(alone, hands_sums=True)
    assert run(early, passes) == want
    assert early.latency_cycles == config.latency_cycles - 1
    assert not replace(alone, accumulator_bits=max(2, weight_bits) + 1).adds_three


@pytest.mark.parametrize(("banks", "products"), [
    (1, 0), (2, 0), (2, 1), (3, 1), (5, 0), (8, 1), (8, 4), (15, 2), (16, 7)])
@pytest.mark.parametrize(("planes", "weight_bits"), [(1, 2), (4, 4), (3, 5), (8, 3)])
def test_weights_with_an_offset(banks: int, products: int, planes: int, weight_bits: int) -> None:
    """They are added as they are stored, modulo the accumulator's bits; with all factors at their largest, too."""
    if products and not pair_bits(weight_bits, planes):
        return
    bits, half = weight_bits + planes + 3, 1 << weight_bits - 1
    config = config_of(3, banks, planes=planes, weighed=True, weight_bits=weight_bits, accumulator_bits=bits,
                       offset=True, products=products)
    rng = np.random.default_rng(banks)
    passes = [(random_weights(rng, weight_bits, (length, banks, 3)), rng.integers(0, 2, (length, banks, planes)))
              for length in (6, 0, 1, 9)]
    passes.append((np.full((3, banks, 3), -1), np.ones((3, banks, planes), int)))  # all bits are stored as ones
    want = []
    for weights, masks in passes:
        total = np.einsum("tjn,tjb,b->n", weights & (2 * half - 1), masks, 1 << np.arange(planes))
        want.append([[int((each + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1))] for each in total])
    assert run(config, passes) == want
    assert run(config, passes, joined=True) == want


@pytest.mark.parametrize(("lanes", "units", "banks", "groups", "weighed"), [
    (3, 3, 1, 1, False), (8, 2, 4, 1, False), (9, 9, 3, 1, True), (6, 2, 2, 3, False), (5, 1, 2, 2, True)])
def test_two_ends_clear_it(lanes: int, units: int, banks: int, groups: int, weighed: bool) -> None:
    """Whatever was in its registers: after that ``o`` is 0, and the next end gives what came since."""
    config = replace(config_of(lanes, banks, units=units, weighed=weighed), groups=groups)
    dut, rng = LaneBlock(config), np.random.default_rng(lanes)
    before, after = 12, 6  # cycles of events
    weights = random_weights(rng, 4, (before + 2 + after + 1, banks, lanes))
    masks = rng.integers(0, 2, (len(weights), banks, config.planes))
    masks[before:before + 2] = masks[-1] = 0
    total = np.einsum("tjn,tjb->nb", weights[before + 2:], masks[before + 2:])
    want = (total @ (1 << np.arange(config.planes))[:, None] if weighed else total).tolist()
    seen: list[list[list[int]]] = []

    async def bench(ctx: Any) -> None:
        for cycle in range(len(weights) + config.latency_cycles + config.beats):
            clears = before <= cycle < before + 2
            ctx.set(dut.end, clears or cycle == len(weights) - 1 or (cycle < before and rng.random() < 0.3))
            if groups > 1:
                ctx.set(dut.group, int(rng.integers(groups)) if cycle < before + 2 else 1)
                ctx.set(dut.first, clears or cycle == before + 2)
            for j in range(banks):
                for n in range(lanes):
                    ctx.set(dut.weight[j][n], int(stored(weights[min(max(cycle - 1, 0), len(weights) - 1), j, n], 4)))
                ctx.set(dut.mask[j], int((masks[min(cycle, len(weights) - 1), j] << np.arange(config.planes)).sum()))
            seen.append([[ctx.get(lane[b]) for b in range(config.sums)] for lane in dut.o])
            await ctx.tick()

    simulate(dut, bench)
    given = len(weights) - 1 + config.latency_cycles
    assert not np.any(seen[before + 1 + config.latency_cycles:given])
    assert [lane for beat in seen[given:given + config.beats] for lane in beat][:lanes] == want


def test_what_a_multiplier_can_hold() -> None:
    """Two fields of a factor, far enough apart that no product reaches into the next one."""
    assert pair_bits(4, 4) == 9
    for weight_bits, planes in ((4, 4), (1, 1), (2, 8), (5, 5), (8, 4), (8, 8), (3, 8)):
        bits = pair_bits(weight_bits, planes)
        most = ((1 << weight_bits) - 1) * ((1 << planes) - 1)
        assert bits == 0 or 2 * most < 1 << bits
        assert (bits > 0) == ((2 * most).bit_length() + max(weight_bits, planes) <= MULTIPLIER_BITS)


@pytest.mark.parametrize(("fields", "message"), [
    ({"products": 1}, r"products must be in 0\.\.0, not 1"),
    ({"offset": True, "weighed": True, "products": 3}, r"products must be in 0\.\.2, not 3"),
    ({"offset": True, "weighed": True, "products": 1, "weight_bits": 8, "planes": 8}, "products must be in 0"),
    ({"offset": True}, "offset takes weighed planes"),
], ids=str)
def test_bad_products(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_of(3, 4, **fields)


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


@pytest.mark.parametrize(("lanes", "units"), [(1, 1), (6, 2), (7, 3), (4, 4), (5, 8), (8, 1)])
def test_lanes_are_handed_over_in_turn(lanes: int, units: int) -> None:
    rng = np.random.default_rng(lanes)
    passes = [(random_weights(rng, 4, (length, 2, lanes)), rng.integers(0, 2, (length, 2, 3)))
              for length in (2, 0, 0, 5, 1)]
    want = [np.einsum("tjn,tjb->nb", weights, masks).tolist() for weights, masks in passes]
    assert run(config_of(lanes, 2, units=units), passes) == want
    assert run(replace(config_of(lanes, 2, units=units), ends_alone=True, hands_sums=True), passes) == want
    assert config_of(lanes, 2, units=units).beats == -(-lanes // units)
    if lanes <= units:
        assert run(config_of(lanes, 2, units=units, holds=True), passes) == want


@pytest.mark.parametrize("hands_sums", [False, True])
@pytest.mark.parametrize(("lanes", "units"), [(1, 1), (4, 8), (6, 2), (9, 4), (12, 6), (13, 1)])
def test_flip_flops(lanes: int, units: int, hands_sums: bool) -> None:
    """``S`` and ``D`` as the docstring says; beside them the masks, for every few lanes, and the end."""
    config = replace(config_of(lanes, 1, units=units), ends_alone=True, hands_sums=hands_sums)
    kept = (lanes + len(config.drained)) * config.sums * ACCUMULATOR_BITS
    masks = -(-lanes // MASK_LANES) * config.banks * config.planes
    assert Part(LaneBlock, config).counted({}).counts["register"] == kept + masks + 1
    assert len(config.drained) == lanes - hands_sums * min(lanes, units)


def test_sums_are_handed_over_where_nothing_comes_with_the_end() -> None:
    config = config_of(3, 1, units=2)
    with pytest.raises(ValueError, match="hands_sums takes ends_alone, one group"):
        replace(config, hands_sums=True)
    with pytest.raises(ValueError, match="hands_sums takes ends_alone, one group"):
        replace(config, hands_sums=True, ends_alone=True, groups=2)


def test_only_one_beat_can_be_held() -> None:
    with pytest.raises(ValueError, match="lanes must be at most units=2 in a block that holds, not 3"):
        config_of(3, 1, units=2, holds=True)


@pytest.mark.parametrize(("banks", "levels"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (16, 4)])
def test_latency_formula(banks: int, levels: int) -> None:
    """A register for the masks, one behind every second adder, the last of which is the accumulator's."""
    assert config_of(1, banks).latency_cycles == 2 + levels // 2
    for planes, more in ((1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3)):
        assert config_of(1, banks, planes=planes, weighed=True).latency_cycles == 2 + (levels + more) // 2


@pytest.mark.parametrize(("banks", "products", "levels"), [
    (2, 1, 3), (4, 2, 4), (3, 1, 4), (8, 1, 7), (8, 3, 6), (16, 1, 8), (16, 2, 8), (16, 7, 7)])
def test_latency_with_multipliers(banks: int, products: int, levels: int) -> None:
    """Adders one behind the other, a multiplier as two of them: the longer of both ways, and the accumulator's."""
    config = config_of(1, banks, planes=4, weighed=True, offset=True, products=products)
    assert (config.levels, config.latency_cycles) == (levels, 2 + (levels - 1) // 2)


@pytest.mark.parametrize(("planes", "weighed"), [(3, False), (3, True)])
@pytest.mark.parametrize(("banks", "groups", "lanes", "units"), [
    (1, 2, 3, 3), (2, 5, 4, 2), (8, 3, 2, 1), (3, 17, 1, 1)])
def test_groups_that_take_turns(planes: int, weighed: bool, banks: int, groups: int, lanes: int, units: int) -> None:
    """Each has a sum of its own; the first slot of a window begins it, whatever the memory holds."""
    config = replace(config_of(lanes, banks, planes=planes, weighed=weighed, units=units), groups=groups)
    rng = np.random.default_rng(groups)
    dut = LaneBlock(config)
    slots: list[tuple[np.ndarray, np.ndarray, int, bool, bool]] = []
    want, ends = [], []
    for events in (3, 1, 0, 5):
        masks = rng.integers(0, 2, (events, banks, planes))
        weights = random_weights(rng, 4, (events, groups, banks, lanes))
        for k in range(events):
            slots += [(weights[k, g], masks[k], g, k == 0, False) for g in range(groups)]
        sums = np.einsum("kgjn,kjb->gnb", weights, masks)
        want += (sums @ (1 << np.arange(planes))[:, None] if weighed else sums).tolist()
        for g in range(groups):
            ends.append(len(slots))
            nothing = np.zeros((banks, planes), int)
            slots.append((random_weights(rng, 4, (banks, lanes)), nothing, g, events == 0, True))
            slots += [(random_weights(rng, 4, (banks, lanes)), nothing, g, False, False)] * max(1, config.beats - 1)
    seen: list[list[list[int]]] = []

    async def bench(ctx: Any) -> None:
        before = np.zeros((banks, lanes), int)
        for cycle in range(len(slots) + config.latency_cycles + config.beats):
            weights, masks, group, first, end = (slots[cycle] if cycle < len(slots) else
                                                 (before, np.zeros((banks, planes), int), 0, False, False))
            for j in range(banks):
                for n in range(lanes):
                    ctx.set(dut.weight[j][n], int(stored(before[j, n], 4)))
                ctx.set(dut.mask[j], int((masks[j] << np.arange(planes)).sum()))
            ctx.set(dut.group, group)
            ctx.set(dut.first, first)
            ctx.set(dut.end, end)
            before = weights
            seen.append([[ctx.get(lane[b]) for b in range(config.sums)] for lane in dut.o])
            await ctx.tick()

    simulate(dut, bench)
    got = [[lane for cycle in range(end + config.latency_cycles, end + config.latency_cycles + config.beats)
            for lane in seen[cycle]][:lanes] for end in ends]
    assert got == want
    assert memory_bits(dut) == groups * lanes * config.sums * ACCUMULATOR_BITS
