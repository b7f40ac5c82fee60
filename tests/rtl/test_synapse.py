"""The synapse array: sums against NumPy, beats in order, latency, room, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.simulation import memory_bits, simulate

from spikeloom.rtl.event_queue import EventQueueConfig
from spikeloom.rtl.synapse import BLOCK_LANES, SynapseArray, SynapseConfig

ACCUMULATOR_BITS = 16


def config_of(lanes: int, units: int, *, banks: int = 1, passes: int = 1, weight_bits: int = 4,
              beats: int = 6, static: bool = False, queued: bool = True, in_turn: bool = False,
              multipliers: int = 0, bus_lanes: int = 0) -> SynapseConfig:
    return SynapseConfig(name="layer", lanes=lanes, units=units, static=static, weight_bits=weight_bits,
                         accumulator_bits=ACCUMULATOR_BITS, queued=queued, multipliers=multipliers, bus_lanes=bus_lanes,
                         queue=EventQueueConfig(items=banks, item_bits=3, beats=beats, banks=banks, passes=passes,
                                                in_turn=in_turn))


class Case:
    """Random weights, and random events for some windows: a list of (row, mask) per slot and bank."""

    def __init__(self, config: SynapseConfig, seed: int, windows: int = 2) -> None:
        self.config = config
        q = config.queue
        rng = np.random.default_rng(seed)
        bits = config.weight_bits
        shape = (q.passes, q.banks, q.rows, config.lanes)
        self.weight = (rng.choice([-1, 1], shape) if bits == 1
                       else rng.integers(-(1 << bits - 1), 1 << bits - 1, shape))
        stored = (self.weight < 0).astype(int) if bits == 1 else (self.weight + config.offset) & ((1 << bits) - 1)
        self.memories = [[sum(int(w) << (n * bits) for n, w in enumerate(stored[g, j, r]))
                          for g in range(q.passes) for r in range(q.rows)] for j in range(q.banks)]
        self.windows = [[[(int(rng.integers(q.rows)), int(rng.integers(8))) for _ in range(q.banks)]
                         for _ in range(int(rng.integers(0, 8)))] for _ in range(windows)]

    def sums(self) -> list[list[list[int]]]:
        """Beats of ``units`` lanes of sums; zeros where a group is padded."""
        c = self.config
        out = []
        for window in self.windows:
            for g in range(c.queue.passes):
                total = np.zeros((c.group_beats * c.units, 3), int)
                for slot in window:
                    for j, (row, mask) in enumerate(slot):
                        total[:c.lanes] += self.weight[g, j, row][:, None] * (mask >> np.arange(3) & 1)
                if c.static:
                    total = total @ np.array([[1], [2], [4]])
                out += total.reshape(c.group_beats, c.units, -1).tolist()
        return out

    def run(self, stall: float = 0.0, seed: int = 0) -> tuple[list[list[list[int]]], dict[str, list[int]]]:
        """All beats; and the cycles of ends, of beats, and in which there was room for an end."""
        c = self.config
        rng = np.random.default_rng(seed)
        dut = SynapseArray(c, self.memories)
        got: list[list[list[int]]] = []
        at: dict[str, list[int]] = {"end": [], "beat": [], "room": [], "valid": []}
        passes = [window for window in self.windows for _ in range(c.queue.passes)]
        if c.queue.in_turn:  # all events come in front of the first group's end
            passes = [[slot for slot in window for _ in range(c.queue.passes)] if group == 0 else []
                      for window in self.windows for group in range(c.queue.passes)]
        wanted = len(passes) * c.group_beats

        async def bench(ctx: Any) -> None:
            cycle, nth, slot, had_room = 0, 0, 0, True
            while len(got) < wanted or cycle <= at["beat"][-1] + 1:
                assert cycle < 5_000, f"watchdog: {len(got)} of {wanted} beats, seed {seed}"
                events: list[tuple[int, int]] = []
                end = False
                if nth < len(passes) and cycle >= c.clear_cycles:
                    # An end needs room one cycle before, as in the event queue.
                    if slot < len(passes[nth]):
                        events, slot = passes[nth][slot], slot + 1
                    elif had_room and (not at["end"] or cycle > at["end"][-1] + 1):
                        end, nth, slot = True, nth + 1, 0
                        at["end"].append(cycle)
                base = nth % c.queue.passes * c.queue.rows
                for j in range(c.queue.banks):
                    row, mask = events[j] if events else (int(rng.integers(c.queue.rows)), 0)
                    if c.has_memories:
                        ctx.set(dut.i.row if c.bus_lanes else dut.i.row[j], row + base if c.bus_lanes else row)
                    if c.bus_lanes:
                        ctx.set(dut.i.weight, self.memories[j][row + base] & (1 << len(dut.i.weight)) - 1)
                    ctx.set(dut.i.mask[j], mask)
                ctx.set(dut.i.end, end)
                if c.adds_base and not c.queue.in_turn:
                    ctx.set(dut.i.base, base)
                if c.queue.in_turn:
                    groups = c.queue.passes
                    ctx.set(dut.i.group, (nth - 1) % groups if end else (slot - 1) % groups if events else 0)
                    silent = not self.windows[(nth - 1) // groups]
                    ctx.set(dut.i.first, silent if end else bool(events) and slot <= groups)
                ctx.set(dut.o.ready, rng.random() >= stall)
                had_room = bool(ctx.get(dut.room))
                if had_room:
                    at["room"].append(cycle)
                if ctx.get(dut.o.valid):
                    at["valid"].append(cycle)
                    if ctx.get(dut.o.ready):
                        at["beat"].append(cycle)
                        got.append([[ctx.get(dut.o.payload[n][b]) for b in range(1 if c.static else 3)]
                                    for n in range(c.units)])
                await ctx.tick()
                cycle += 1

        simulate(dut, bench)
        return got, at


# Odd numbers of lanes: not a multiple of the units, several blocks, a last block with fewer lanes than units.
LANES = [(1, 1), (3, 3), (5, 2), (10, 4), (16, 4), (11, 3), (37, 8), (34, 8), (9, 9)]


@pytest.mark.parametrize(("lanes", "units"), LANES)
def test_sums(lanes: int, units: int) -> None:
    for banks, passes, bits in ((1, 1, 4), (3, 2, 1), (2, 3, 8)):
        case = Case(config_of(lanes, units, banks=banks, passes=passes, weight_bits=bits), seed=lanes)
        for stall in (0.0, 0.6):
            assert case.run(stall)[0] == case.sums(), (banks, passes, bits, stall)


@pytest.mark.parametrize("banks", [1, 2, 3, 4, 5, 8, 9])
def test_banks(banks: int) -> None:
    for static in (False, True):
        config = config_of(4, 2, banks=banks, passes=2, weight_bits=1 if banks % 2 else 3, static=static)
        case = Case(config, seed=banks, windows=3)
        assert case.run()[0] == case.sums()


@pytest.mark.parametrize(("lanes", "units"), LANES)
def test_groups_take_turns(lanes: int, units: int) -> None:
    for banks, groups, bits, static in ((1, 2, 4, False), (3, 5, 1, False), (2, 3, 8, True)):
        config = config_of(lanes, units, banks=banks, passes=groups, weight_bits=bits, static=static, in_turn=True)
        case = Case(config, seed=lanes, windows=3)
        for stall in (0.0, 0.6):
            got, at = case.run(stall)
            assert got == case.sums(), (banks, groups, bits, stall)
            if not stall:
                assert at["beat"][::config.group_beats] == [end + config.latency_cycles for end in at["end"]]


@pytest.mark.parametrize(("lanes", "units"), [(5, 2), (5, 1), (3, 3), (4, 2), (20, 4), (40, 8), (34, 1)])
@pytest.mark.parametrize(("banks", "passes", "static"), [
    (1, 1, False), (1, 3, False), (2, 1, False), (5, 2, False), (9, 1, False), (1, 1, True), (5, 2, True)])
def test_latency_and_room(banks: int, passes: int, static: bool, lanes: int, units: int) -> None:
    config = config_of(lanes, units, banks=banks, passes=passes, static=static)
    assert (len(config.blocks) > 1) == (lanes >= 16)
    assert config.latency_cycles == (passes > 1) + (lanes >= 16) + 1 + config.lane_cycles + 1
    _, at = Case(config, seed=1, windows=4).run()
    first, last = at["beat"][::config.group_beats], at["beat"][config.group_beats - 1::config.group_beats]
    assert first == [end + config.latency_cycles for end in at["end"]]
    assert last == [begin + config.group_beats - 1 for begin in first]  # a beat a cycle

    def room(cycle: int) -> bool:
        ended = [end for end in at["end"] if end < cycle]
        if not ended:
            return True
        owed = len(ended) * config.group_beats - sum(beat < cycle - 1 for beat in at["beat"])
        return owed + config.group_beats <= config.queue_beats and cycle >= ended[-1] + config.group_beats - 1

    assert at["room"] == [cycle for cycle in range(max(last) + 2) if room(cycle)]


def test_stalls_hold_the_beat() -> None:
    """Between an end and its last beat the output stays valid; nothing is lost while the next group adds up."""
    case = Case(config_of(6, 2, passes=2), seed=3, windows=4)
    got, at = case.run(stall=0.8, seed=1)
    assert got == case.sums()
    first, last = at["beat"][::3], at["beat"][2::3]
    begins = [end + case.config.latency_cycles for end in at["end"]]
    assert all(a >= b for a, b in zip(first, begins, strict=True))
    assert set(at["valid"]) == {c for begin, done in zip(begins, last, strict=True) for c in range(begin, done + 1)}


@pytest.mark.parametrize(("lanes", "units", "bus_lanes"), [
    (5, 2, 5), (5, 2, 4), (20, 4, 4), (40, 8, 8), (40, 1, 7), (37, 5, 20), (33, 11, 11), (40, 8, 40)])
@pytest.mark.parametrize("passes", [1, 3])
def test_weights_of_a_bus_meet_those_of_memories(lanes: int, units: int, bus_lanes: int, passes: int) -> None:
    config = config_of(lanes, units, passes=passes, bus_lanes=bus_lanes)
    own = lanes - bus_lanes
    assert [n for block in config.blocks for n in block] == list(range(lanes))
    assert config.blocks[0] == range(bus_lanes)
    assert config.latency_cycles == (2 if own else 0) + config.lane_cycles + 1
    case = Case(config, seed=lanes, windows=4)
    for stall in (0.0, 0.7):
        got, at = case.run(stall)
        assert got == case.sums(), stall
        if not stall:
            assert at["beat"][::config.group_beats] == [end + config.latency_cycles for end in at["end"]]
    queued = config.queue_beats * units * config.queue.item_bits * ACCUMULATOR_BITS
    assert memory_bits(SynapseArray(config, case.memories)) == passes * config.queue.rows * own * 4 + queued


def test_lanes_of_a_bus_are_whole_beats() -> None:
    with pytest.raises(ValueError, match="bus_lanes must be lanes=5, or a multiple of units=2 below, not 3"):
        config_of(5, 2, bus_lanes=3)


@pytest.mark.parametrize("stall", [0.0, 0.6, 0.9])
@pytest.mark.parametrize(("lanes", "banks", "passes"), [(1, 1, 1), (1, 1, 4), (3, 2, 3), (9, 5, 2), (20, 1, 2)])
def test_without_a_queue(lanes: int, banks: int, passes: int, stall: float) -> None:
    """Sums come a cycle earlier, wait where they are, and let the next pass end when they are taken."""
    config = config_of(lanes, lanes, banks=banks, passes=passes, queued=False)
    assert config.latency_cycles == config_of(lanes, lanes, banks=banks, passes=passes).latency_cycles - 1
    case = Case(config, seed=lanes, windows=4)
    got, at = case.run(stall, seed=passes)
    assert got == case.sums()
    assert set(at["valid"]) == {cycle for end, taken in zip(at["end"], at["beat"], strict=True)
                                for cycle in range(end + config.latency_cycles, taken + 1)}
    busy = {cycle for end, taken in zip(at["end"], at["beat"], strict=True) for cycle in range(end + 1, taken + 1)}
    assert at["room"] == [cycle for cycle in range(at["beat"][-1] + 2) if cycle not in busy]
    assert memory_bits(SynapseArray(config, case.memories)) == banks * passes * config.queue.rows * lanes * 4


def test_only_whole_groups_go_without_a_queue() -> None:
    with pytest.raises(ValueError, match="units must be lanes=4 without a queue, not 2"):
        config_of(4, 2, queued=False)


@pytest.mark.parametrize(("lanes", "units"), [*LANES, (80, 8), (80, 1), (60, 12), (400, 400), (45, 15), (30, 16)])
def test_blocks_cover_the_lanes(lanes: int, units: int) -> None:
    """Each is part of a beat, or some whole beats."""
    blocks = config_of(lanes, units).blocks
    assert [n for block in blocks for n in block] == list(range(lanes))
    assert len(blocks) == 1 or max(map(len, blocks)) <= 2 * BLOCK_LANES + units % BLOCK_LANES
    for block in blocks if len(blocks) > 1 else []:
        whole = block.start % units == 0 and (len(block) % units == 0 or block.stop == lanes)
        assert whole or block.start // units == (block.stop - 1) // units


@pytest.mark.parametrize(("banks", "passes", "lanes", "bits"), [(1, 1, 1, 1), (3, 2, 5, 4), (2, 3, 7, 16)])
def test_memory(banks: int, passes: int, lanes: int, bits: int) -> None:
    config = config_of(lanes, 1, banks=banks, passes=passes, weight_bits=bits)
    case = Case(config, seed=1)
    want = banks * passes * config.queue.rows * lanes * bits
    queued = config.queue_beats * config.queue.item_bits * ACCUMULATOR_BITS
    assert memory_bits(SynapseArray(config, case.memories)) == want + queued


@pytest.mark.parametrize(("lanes", "units", "banks", "multipliers", "in_turn"), [
    (37, 8, 8, 0, False), (16, 4, 16, 0, False), (10, 4, 4, 13, False), (37, 8, 3, 20, False), (9, 3, 5, 4, True),
    (34, 8, 8, 0, True), (9, 9, 2, 9, False)])
@pytest.mark.parametrize("queued", [True, False])
def test_weights_with_an_offset(lanes: int, units: int, banks: int, multipliers: int, in_turn: bool,
                                queued: bool) -> None:
    """Sums of a static input are those of the weights, however these are stored."""
    if not queued and lanes != units:
        return
    config = config_of(lanes, units, banks=banks, passes=3, static=True, multipliers=multipliers, in_turn=in_turn,
                       queued=queued)
    assert config.offset == 8
    case = Case(config, seed=lanes)
    for stall in (0.0, 0.6):
        got, at = case.run(stall)
        assert got == case.sums(), stall
        if not stall:
            assert at["beat"][0] == at["end"][0] + config.latency_cycles


@pytest.mark.parametrize(("lanes", "banks", "multipliers", "want"), [
    (81, 16, 0, [0] * 9), (81, 16, 80, [1] * 8 + [0]), (81, 16, 81, [1] * 9), (81, 16, 156, [2] * 8 + [1]),
    (81, 16, 10_000, [8] * 9), (81, 2, 156, [1] * 9), (80, 8, 20, [1] * 2 + [0] * 8)])
def test_multipliers_of_the_blocks(lanes: int, banks: int, multipliers: int, want: list[int]) -> None:
    """As many as there may be, the first blocks one more, unless their sums would take longer."""
    config = config_of(lanes, 9 if lanes == 81 else 8, banks=banks, static=True, multipliers=multipliers)
    assert config.products == want or len({config.block(1, n).latency_cycles for n in set(want)}) > 1
    assert sum(own * len(block) for own, block in zip(config.products, config.blocks, strict=True)) <= multipliers
    assert len({config.block(1, own).latency_cycles for own in config.products}) == 1
