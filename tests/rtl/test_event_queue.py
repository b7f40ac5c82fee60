"""The event queue: where channels go, and every slot of every cycle against the timing that its docstring states."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from support.block_ram import without_lut_ram
from support.simulation import memory_bits, simulate

from spikeloom.rtl.event_queue import EventQueue, EventQueueConfig

# items, banks: one to one, banks that share a beat, a beat that is shared among banks, and odd numbers of them
SHAPES = [(1, 1), (4, 1), (4, 2), (4, 4), (1, 3), (2, 6), (6, 3), (3, 9), (5, 5)]


def config_of(items: int, banks: int, *, beats: int, passes: int = 1, item_bits: int = 3,
              slot_credits: int = 0, in_turn: bool = False) -> EventQueueConfig:
    return EventQueueConfig(items=items, item_bits=item_bits, beats=beats, banks=banks, passes=passes,
                            slot_credits=slot_credits, in_turn=in_turn)


@dataclass
class Trace:
    """What a test bench saw, cycle by cycle."""

    windows: list[list[list[int]]]
    arrivals: list[int] = field(default_factory=list)
    room: list[bool] = field(default_factory=list)
    ready: list[bool] = field(default_factory=list)
    slots: list[tuple[dict[int, tuple[int, int]], bool]] = field(default_factory=list)  # {bank: (row, mask)}, end
    taken: list[int] = field(default_factory=list)  # with credits: when the consumer took a slot
    turns: list[tuple[int, bool]] = field(default_factory=list)  # whose turn it is, and whether its sum begins


def run(config: EventQueueConfig, windows: list[list[list[int]]], *, gap: float = 0.0, withheld: float = 0.0,
        seed: int = 0, lut_ram: bool = True) -> Trace:
    rng = np.random.default_rng(seed)
    trace = Trace(windows)
    dut = EventQueue(config) if lut_ram else without_lut_ram(EventQueue(config))
    beats = [beat for window in windows for beat in window]

    async def bench(ctx: Any) -> None:
        nth, ends, offering, owed = 0, 0, False, 0
        while ends < len(windows) * config.passes:
            assert len(trace.slots) < 20_000, f"watchdog: {nth} beats taken, {ends} passes ended, seed {seed}"
            offering = nth < len(beats) and (offering or rng.random() >= gap)
            room = bool(rng.random() >= withheld)
            ctx.set(dut.i.valid, offering)
            for item in range(config.items):
                ctx.set(dut.i.payload[item], beats[nth][item] if offering else int(rng.integers(2)))
            ctx.set(dut.room, room)
            trace.room.append(room)
            trace.ready.append(bool(ctx.get(dut.i.ready)))
            masks = [ctx.get(dut.o.mask[j]) for j in range(config.banks)]
            trace.slots.append(({j: (ctx.get(dut.o.row[j]), mask) for j, mask in enumerate(masks) if mask},
                                bool(ctx.get(dut.o.end))))
            ends += trace.slots[-1][1]
            if config.in_turn:
                trace.turns.append((ctx.get(dut.o.group), bool(ctx.get(dut.o.first))))
            if config.slot_credits:
                owed += trace.slots[-1] != ({}, False)
                taken = owed > 0 and bool(rng.random() >= withheld)
                ctx.set(dut.taken, taken)
                if taken:
                    owed -= 1
                    trace.taken.append(len(trace.slots) - 1)
            if offering and trace.ready[-1]:
                trace.arrivals.append(len(trace.slots) - 1)
                nth, offering = nth + 1, False
            await ctx.tick()

    simulate(dut, bench)
    return trace


def check(config: EventQueueConfig, trace: Trace) -> None:
    """Compare every cycle with the docstring's timing, given when beats arrived and when there was room."""
    cycles = len(trace.slots)
    want: list[tuple[dict[int, tuple[int, int]], bool]] = [({}, False) for _ in range(cycles)]
    ready = [True] * cycles

    # With credits (and one bank) the nth slot waits until all but so many of those before it have been taken.
    credits = itertools.chain([0] * config.slot_credits, (cycle + 1 for cycle in trace.taken))

    def credit(cycle: int) -> int:
        return max(cycle, next(credits)) if config.slot_credits else cycle

    def give(bank: int, row: int, mask: int, cycle: int) -> int:
        cycle = credit(cycle)
        want[cycle + 1][0][bank] = (row, mask)  # "given" is one cycle before it is seen
        return cycle

    def end_pass(earliest: int) -> int:
        cycle = next(c for c in range(credit(earliest), cycles) if trace.room[c])
        want[cycle + 1] = (want[cycle + 1][0], True)
        return cycle

    arrivals = iter(trace.arrivals)
    for window in trace.windows:
        arrived = [next(arrivals) for _ in window]
        events: list[list[tuple[int, int, int]]] = [[] for _ in range(config.banks)]  # (cycle of arrival, row, mask)
        for beat, masks in enumerate(window):
            for item, mask in enumerate(masks):
                bank, row = config.locate(beat, item)
                if mask:
                    events[bank].append((arrived[beat], row, mask))
        last = arrived[-1]
        for bank, given in enumerate(events):
            free = 0
            for cycle, row, mask in sorted(given, key=lambda event: event[:2]):
                free = give(bank, row, mask, max(free, cycle + 3)) + 1
            last = max(last, free - 1)
        end = end_pass(last + 2)
        for _ in range(config.passes - 1):
            last = end
            for bank, given in enumerate(events):
                free = end + 1
                for _, row, mask in sorted(given, key=lambda event: event[:2]):
                    free = give(bank, row, mask, free) + 1
                last = max(last, free - 1)
            end = end_pass(last + 2)
        ready[arrived[-1] + 1:end + 1] = [False] * (end - arrived[-1])
    assert trace.slots == want
    assert trace.ready == ready


def check_in_turn(config: EventQueueConfig, trace: Trace) -> None:
    """The same of a queue that gives each slot to all groups in turn."""
    cycles, groups = len(trace.slots), config.passes
    want: list[tuple[dict[int, tuple[int, int]], bool]] = [({}, False) for _ in range(cycles)]
    turns: dict[int, tuple[int, bool]] = {}
    ready = [True] * cycles
    arrivals = iter(trace.arrivals)
    for window in trace.windows:
        arrived = [next(arrivals) for _ in window]
        waiting: list[list[tuple[int, int, int]]] = [[] for _ in range(config.banks)]  # (there from, row, mask)
        for beat, masks in enumerate(window):
            for item, mask in enumerate(masks):
                bank, row = config.locate(beat, item)
                if mask:
                    waiting[bank].append((arrived[beat] + 3, row, mask))
        for bank in waiting:
            bank.sort(key=lambda event: event[:2])
        last, fresh = -groups, True
        while any(waiting):
            last = max(last + groups, min(bank[0][0] for bank in waiting if bank))
            slot = {j: bank.pop(0)[1:] for j, bank in enumerate(waiting) if bank and bank[0][0] <= last}
            for group in range(groups):
                want[last + 1 + group] = slot, False
                turns[last + 1 + group] = group, fresh
            fresh = False
        end = max(arrived[-1] + 2, last + groups) - 2
        for group in range(groups):
            end = next(c for c in range(end + 2, cycles) if trace.room[c])
            want[end + 1], turns[end + 1] = ({}, True), (group, fresh)
        ready[arrived[-1] + 1:end + 1] = [False] * (end - arrived[-1])
    assert trace.slots == want
    assert trace.ready == ready
    assert {cycle: trace.turns[cycle] for cycle in turns} == turns


def random_windows(config: EventQueueConfig, seed: int, count: int = 3) -> list[list[list[int]]]:
    rng = np.random.default_rng(seed)
    shape = (config.beats, config.items)
    return [(rng.integers(0, 1 << config.item_bits, shape) * (rng.random(shape) < density)).tolist()
            for density in rng.choice([0.0, 0.2, 0.6, 1.0], count)]


@pytest.mark.parametrize("beats", [1, 2, 7])
@pytest.mark.parametrize(("items", "banks"), SHAPES)
def test_every_channel_has_a_place_of_its_own(items: int, banks: int, beats: int) -> None:
    config = config_of(items, banks, beats=beats)
    places = [config.locate(beat, item) for beat in range(beats) for item in range(items)]
    assert len(set(places)) == len(places)
    assert all(0 <= bank < banks and 0 <= row < config.rows for bank, row in places)
    assert config.rows * banks < len(places) + items * banks  # no more than the last beat is padded
    assert (1 << config.row_bits) >= config.rows


@pytest.mark.parametrize("beats", [1, 2, 5, 6])
@pytest.mark.parametrize(("items", "banks"), SHAPES)
def test_events_and_their_cycles(items: int, banks: int, beats: int) -> None:
    for passes in (1, 3):
        config = config_of(items, banks, beats=beats, passes=passes)
        for seed in range(2):
            check(config, run(config, random_windows(config, seed)))


@pytest.mark.parametrize(("gap", "withheld"), [(0.6, 0.0), (0.0, 0.6), (0.4, 0.4)])
@pytest.mark.parametrize(("items", "banks"), SHAPES)
def test_gaps_and_no_room(items: int, banks: int, gap: float, withheld: float) -> None:
    config = config_of(items, banks, beats=6, passes=2)
    for seed in range(3):
        check(config, run(config, random_windows(config, seed), gap=gap, withheld=withheld, seed=seed))


def test_silent_and_full_windows() -> None:
    config = config_of(2, 2, beats=3, passes=2, item_bits=1)
    silent, full = [[0, 0]] * 3, [[1, 1]] * 3
    trace = run(config, [silent, full, silent, silent])
    check(config, trace)
    events = [slot for slot, _ in trace.slots if slot]
    assert events == [{0: (row, 1), 1: (row, 1)} for row in (0, 1, 2)] * 2


@pytest.mark.parametrize(("gap", "withheld"), [(0.0, 0.0), (0.8, 0.0), (0.0, 0.8), (0.5, 0.5)])
@pytest.mark.parametrize(("items", "banks", "beats"), [(2, 2, 3), (2, 1, 3), (1, 2, 5), (4, 2, 1), (1, 1, 5)])
def test_every_window(items: int, banks: int, beats: int, gap: float, withheld: float) -> None:
    """Silent or not, first and last beats, entries of one event or of several: all of it, in any order."""
    windows = [[list(bits[beat * items:][:items]) for beat in range(beats)]
               for bits in itertools.product((0, 1), repeat=beats * items)]
    np.random.default_rng(beats).shuffle(windows)
    for passes in (1, 2, 3):
        config = config_of(items, banks, beats=beats, passes=passes, item_bits=1)
        trace = run(config, windows, gap=gap, withheld=withheld)
        check(config, trace)
        assert run(config, windows, gap=gap, withheld=withheld, lut_ram=False) == trace


@pytest.mark.parametrize("beats", [1, 2, 6])
@pytest.mark.parametrize(("items", "banks"), SHAPES)
def test_groups_take_turns(items: int, banks: int, beats: int) -> None:
    for groups, gap, withheld in ((2, 0.0, 0.0), (3, 0.5, 0.0), (2, 0.0, 0.6), (5, 0.4, 0.4)):
        config = config_of(items, banks, beats=beats, passes=groups, in_turn=True)
        for seed in range(2):
            windows = random_windows(config, seed)
            check_in_turn(config, run(config, windows, gap=gap, withheld=withheld, seed=seed, lut_ram=seed == 0))


def test_turns_are_for_several_groups_and_a_consumer_that_does_not_wait() -> None:
    for fields in ({"passes": 1}, {"passes": 2, "slot_credits": 1}):
        with pytest.raises(ValueError, match="in_turn takes several passes, and a consumer that does not wait"):
            config_of(1, 1, beats=1, in_turn=True, **fields)


@pytest.mark.parametrize("slot_credits", [1, 2, 3, 8])
@pytest.mark.parametrize("items", [1, 4])
def test_credits(items: int, slot_credits: int) -> None:
    for passes, withheld in ((1, 0.5), (3, 0.0), (3, 0.5), (3, 0.8)):
        config = config_of(items, 1, beats=5, passes=passes, slot_credits=slot_credits)
        check(config, run(config, random_windows(config, slot_credits), gap=0.3, withheld=withheld))


def test_one_beat_one_channel() -> None:
    """The smallest queue of all still ends its passes."""
    config = config_of(1, 1, beats=1, passes=2, item_bits=1)
    check(config, run(config, [[[1]], [[0]], [[1]], [[1]]]))


@pytest.mark.parametrize(("items", "banks"), SHAPES)
def test_memory(items: int, banks: int) -> None:
    c = config_of(items, banks, beats=5, item_bits=4)
    marks = c.positions if c.positions > 1 else 0  # a lone position is never silent
    assert memory_bits(EventQueue(c)) == c.banks * c.depth * (c.positions * c.item_bits + marks + c.row_bits)


@pytest.mark.parametrize(("field_name", "value"), [("items", 0), ("item_bits", 0), ("beats", 0), ("banks", 0),
                                                   ("passes", 0), ("banks", 3)])
def test_bad_shapes(field_name: str, value: int) -> None:
    fields = {"items": 4, "item_bits": 1, "beats": 1, "banks": 1, "passes": 1} | {field_name: value}
    with pytest.raises(ValueError, match=f"{field_name} must .*{value}"):
        EventQueueConfig(**fields)
