"""Rows of a map as lists: what is in the banks when a row has been written, and when its beats are taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.simulation import simulate
from support.windows import random_windows_shape

from spikeloom.rtl.row_writer import RowWriter
from spikeloom.rtl.window_shape import WindowQueueConfig


def lists_of(config: WindowQueueConfig, row: np.ndarray) -> tuple[list[tuple[int, int]], list[int]]:
    """(column, mask) of a row's events, and how many there are up to each cell; ``row`` is (width, channels)."""
    events, lengths = [], []
    for x, masks in enumerate(row.tolist()):
        events += [(x // config.pool * config.cell_rows + c, mask) for c, mask in enumerate(masks) if mask]
        if x % config.pool == config.pool - 1:
            lengths.append(len(events))
    return events, lengths


@pytest.mark.parametrize("seed", range(20))
def test_rows_and_the_cycles_of_their_beats(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = random_windows_shape(rng)
    shape = (2, config.height, config.width, config.cell_rows)
    maps = rng.integers(0, 1 << config.item_bits, shape) * (rng.random(shape) < rng.choice([0.1, 0.5, 1.0]))
    beats = maps.reshape(len(maps), -1, config.items)
    row_beats = config.width * config.cell_beats
    gap, slow = rng.choice([0.0, 0.5]), rng.choice([0.0, 0.5, 0.98])
    dut = RowWriter(config)

    async def one_map(ctx: Any, masks: np.ndarray, stimulus: list[list[int]]) -> None:
        banks: list[dict[int, tuple[int, int]]] = [{} for _ in range(config.banks)]
        lengths: dict[int, int] = {}
        nth, rows, given_up, shown, offered = 0, 0, 0, 0, False
        left = 0  # cycles until the offered beat is taken, if nothing is in its way
        cycle = 0
        while rows < config.height:
            assert cycle < 20_000, f"watchdog: {nth} beats taken, seed {seed}"
            if not offered and rng.random() >= gap:
                offered, left = True, -(-max(1, np.count_nonzero(stimulus[nth])) // config.writes) - 1
            read = (rows + config.top >= config.runs + given_up * config.row_step and bool(rng.random() >= slow)
                    and given_up < config.tile_rows - 1)
            ctx.set(dut.i.valid, offered)
            for item in range(config.items):
                ctx.set(dut.i.payload[item], stimulus[nth][item] if offered else int(rng.integers(2)))
            ctx.set(dut.rows_read, read)
            active = offered and rows < config.slots - config.top + shown * config.row_step
            assert not ctx.get(dut.complete)
            assert bool(ctx.get(dut.i.ready)) == (active and left == 0)
            for bank, port in zip(banks, dut.events, strict=True):
                if ctx.get(port.enable):
                    bank[ctx.get(port.address)] = ctx.get(port.data.column), ctx.get(port.data.mask)
            if ctx.get(dut.lengths.enable):
                lengths[ctx.get(dut.lengths.address)] = ctx.get(dut.lengths.data)
            assert bool(ctx.get(dut.row_written)) == (active and left == 0 and nth % row_beats == row_beats - 1)
            if ctx.get(dut.row_written):
                events, want = lists_of(config, masks[rows])
                slot = (rows + config.top) % config.slots
                assert [banks[n % config.banks][slot * config.bank_depth + n // config.banks]
                        for n in range(len(events))] == events
                assert [lengths[slot * config.cells + cell] for cell in range(config.cells)] == want
                rows += 1
            if active and left == 0:
                nth, offered = nth + 1, False
            left -= active
            given_up += read
            await ctx.tick()
            shown = given_up
            cycle += 1

    async def bench(ctx: Any) -> None:
        for masks, stimulus in zip(maps, beats.tolist(), strict=True):
            await one_map(ctx, masks, stimulus)
            ctx.set(dut.rows_read, 0)
            ctx.set(dut.i.valid, 1)
            for restarts in [*[0] * int(rng.integers(3)), 1]:
                assert ctx.get(dut.complete)
                assert not ctx.get(dut.i.ready)
                ctx.set(dut.restart, restarts)
                await ctx.tick()
            ctx.set(dut.restart, 0)

    simulate(dut, bench)
