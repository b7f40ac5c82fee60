"""Runs from any bank on, as slots of events, each in the cycle that the docstring states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.simulation import simulate
from support.windows import random_windows_shape

from spikeloom.rtl.run_reader import RunReader
from spikeloom.rtl.window_shape import WindowQueueConfig

Run = dict[str, int]
Slot = tuple[dict[int, tuple[int, int]], bool]  # {bank: (row, mask)}, end


def random_runs(config: WindowQueueConfig, rng: np.random.Generator, count: int) -> list[Run]:
    """Only a window's last run may be empty."""
    runs = []
    for _ in range(count):
        last = bool(rng.random() < 0.4)
        entries = int(rng.integers(0 if last else 1, config.row_events + 1))
        lane = int(rng.integers(config.banks))
        most = config.bank_depth * config.slots - -(-(lane + entries) // config.banks)
        runs.append({"address": int(rng.integers(max(1, most + 1))), "lane": lane, "count": entries, "last": int(last),
                     "offset": int(rng.integers(1 << config.row_bits)), "row_end": int(last and rng.random() < 0.3)})
    return runs


def run_bench(config: WindowQueueConfig, runs: list[Run], rng: np.random.Generator, *, gap: float, withheld: float,
              entry: Callable[[int, int], tuple[int, int]]) -> tuple[list[int], list[bool], list[Slot], list[int]]:
    """Cycles from which runs are offered, room by cycle, slots by cycle, cycles in which rows of tiles end."""
    dut = RunReader(config)
    offered_at: list[int] = []
    room: list[bool] = []
    slots: list[Slot] = []
    rows_read: list[int] = []

    async def bench(ctx: Any) -> None:
        nth, owed, idle = 0, 0, 0
        data: list[tuple[int, int]] = [(0, 0)] * config.banks
        while idle < 4:
            assert len(slots) < 20_000, f"watchdog: {nth} runs taken"
            if nth == len(offered_at) < len(runs) and rng.random() >= gap:
                offered_at.append(len(slots))
            offers = nth < len(offered_at)
            room.append(bool(rng.random() >= withheld))
            ctx.set(dut.i.valid, offers)
            for name, value in runs[nth].items() if offers else ():
                ctx.set(dut.i.payload[name], value)
            ctx.set(dut.room, room[-1])
            for port, (mask, column) in zip(dut.events, data, strict=True):
                ctx.set(port.data.mask, mask)
                ctx.set(port.data.column, column)
            masks = [ctx.get(dut.o.mask[j]) for j in range(config.banks)]
            slots.append(({j: (ctx.get(dut.o.row[j]), mask) for j, mask in enumerate(masks) if mask},
                          bool(ctx.get(dut.o.end))))
            if config.slot_credits:
                owed += slots[-1] != ({}, False)
                assert owed <= config.slot_credits
                taken = owed > 0 and bool(rng.random() >= withheld)
                ctx.set(dut.taken, taken)
                owed -= taken
            if ctx.get(dut.tile_row_read):
                rows_read.append(len(slots) - 1)
            for j, port in enumerate(dut.events):
                if ctx.get(port.enable):
                    data[j] = entry(j, ctx.get(port.address))
            nth += offers and ctx.get(dut.i.ready)
            idle = idle + 1 if nth == len(runs) else 0
            await ctx.tick()

    simulate(dut, bench)
    return offered_at, room, slots, rows_read


def case(seed: int) -> tuple[WindowQueueConfig, np.random.Generator, Callable[[int, int], tuple[int, int]]]:
    """A shape, and contents of its banks: no mask is 0."""
    rng = np.random.default_rng(seed)
    config = random_windows_shape(rng)
    shape = (config.banks, config.slots * config.bank_depth + 1)
    masks, columns = rng.integers(1, 1 << config.item_bits, shape), rng.integers(0, 1 << config.column_bits, shape)
    return config, rng, lambda bank, at: (int(masks[bank, at]), int(columns[bank, at]))


def slots_of(config: WindowQueueConfig, run: Run, entry: Callable[[int, int], tuple[int, int]]) -> list[dict]:
    """The events of each cycle in which the run is read."""
    groups = []
    for first in range(0, run["count"], config.banks):
        events = {}
        for n in range(first, min(first + config.banks, run["count"])):
            further, bank = divmod(run["lane"] + n, config.banks)
            mask, column = entry(bank, run["address"] + further)
            events[bank] = (column + run["offset"]) % (1 << config.row_bits), mask
        groups.append(events)
    return groups


@pytest.mark.parametrize("seed", range(20))
def test_events_and_their_cycles(seed: int) -> None:
    config, rng, entry = case(seed)
    runs = random_runs(config, rng, 60)
    gap, withheld = rng.choice([0.0, 0.5], 2)
    offered, room, slots, rows_read = run_bench(config, runs, rng, gap=gap, withheld=withheld, entry=entry)
    want: list[Slot] = [({}, False)] * len(slots)
    cycle, end, ends_of_rows = -1, -3, []
    for run, first in zip(runs, offered, strict=True):
        cycle = max(cycle, first - 1)
        groups = slots_of(config, run, entry) or [{}]
        for k, events in enumerate(groups):
            cycle += 1
            ends = bool(run["last"]) and k == len(groups) - 1
            if ends:
                cycle = next(c for c in range(max(cycle, end + 3), len(slots)) if room[c])
                end = cycle
                ends_of_rows += [cycle] if run["row_end"] else []
            want[cycle + 2] = events, ends
    assert slots == want
    assert rows_read == ends_of_rows


@pytest.mark.parametrize("slot_credits", [1, 2, 8])
@pytest.mark.parametrize("seed", range(5))
def test_credits(seed: int, slot_credits: int) -> None:
    """Never more slots than there are credits, and the end a slot of its own."""
    config, rng, entry = case(seed)
    config = replace(config, slot_credits=slot_credits)
    runs = random_runs(config, rng, 60)
    gap, withheld = rng.choice([0.0, 0.5], 2)
    slots = run_bench(config, runs, rng, gap=gap, withheld=withheld, entry=entry)[2]
    want: list[Slot] = []
    for run in runs:
        want += [(events, False) for events in slots_of(config, run, entry)]
        want += [({}, True)] if run["last"] else []
    assert [slot for slot in slots if slot != ({}, False)] == want
