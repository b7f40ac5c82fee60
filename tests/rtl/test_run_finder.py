"""The runs of all windows from the definition, and the cycles in which they are looked up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.simulation import simulate
from support.windows import random_windows_shape

from spikeloom.rtl.run_finder import RunFinder
from spikeloom.rtl.window_shape import WindowQueueConfig

Run = dict[str, int]


def runs_of(config: WindowQueueConfig, lengths: np.ndarray) -> list[tuple[int, Run]]:
    """The last map row that must have been written, and the run, in order; ``lengths`` is (height, cells)."""
    out = []
    for tile_row in range(config.tile_rows):
        for tile in range(config.tiles):
            x0 = tile * config.stride_columns - config.padding
            begin, end = max(0, x0), min(config.cells, x0 + config.kernel_columns)
            for group in range(config.groups):
                for run in range(config.runs):
                    y = tile_row * config.row_step + run - config.top
                    some = 0 <= y < config.height
                    start = int(lengths[y, begin - 1]) if some and begin else 0
                    last = run == config.runs - 1
                    ends = last and group == config.groups - 1 and tile == config.tiles - 1
                    offset = (group * config.group_rows
                              + (run // config.pool * config.kernel_columns - x0) * config.cell_rows)
                    slot = (y + config.top) % config.slots
                    needs = config.height if tile_row == config.tile_rows - 1 else min(
                        config.height, tile_row * config.row_step + config.runs - config.top)
                    out.append((needs, {
                        "count": int(lengths[y, end - 1]) - start if some else 0,
                        "address": slot * config.bank_depth + start // config.banks, "lane": start % config.banks,
                        "offset": offset % (1 << config.row_bits), "last": int(last), "row_end": int(ends)}))
    return out


@pytest.mark.parametrize("seed", range(20))
def test_runs_and_their_cycles(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = random_windows_shape(rng)
    steps = rng.integers(0, config.pool * config.cell_rows + 1, (2, config.height, config.cells))
    gap, stall = rng.choice([0.0, 0.6], 2)
    dut = RunFinder(config)

    async def one_map(ctx: Any, lengths: np.ndarray) -> None:
        want = runs_of(config, lengths)
        written: list[int] = []  # cycles in which map rows were
        memory, out = {}, [0, 0]
        nth, ended, taken_at, cycle = 0, 0, -1, 0
        while nth < len(want):
            assert cycle < 20_000, f"watchdog: {nth} runs taken, seed {seed}"
            room = len(written) < config.height and (
                len(written) < config.slots - config.top + ended * config.row_step)
            write = room and bool(rng.random() >= gap)
            ready = bool(rng.random() >= stall)
            ctx.set(dut.row_written, write)
            ctx.set(dut.complete, len(written) == config.height)
            ctx.set(dut.o.ready, ready)
            for port, value in zip(dut.lengths, out, strict=True):
                ctx.set(port.data, value)
            needs, run = want[nth]
            arrived = max(written[:needs], default=-1) + 1 if len(written) >= needs else cycle
            offered = cycle > max(taken_at, arrived)
            assert bool(ctx.get(dut.o.valid)) == offered
            if offered and ready:
                seen = {name: ctx.get(dut.o.payload[name]) for name in run}
                where = {"address", "lane"} if not run["count"] else set()  # of nothing
                assert {k: v for k, v in seen.items() if k not in where} == {
                    k: v for k, v in run.items() if k not in where}
                ended += run["row_end"]
                nth, taken_at = nth + 1, cycle
            for k, port in enumerate(dut.lengths):
                if ctx.get(port.enable):
                    out[k] = memory.get(ctx.get(port.address), 0)
            if write:
                slot = (len(written) + config.top) % config.slots
                memory |= {slot * config.cells + cell: int(n) for cell, n in enumerate(lengths[len(written)])}
                written.append(cycle)
            await ctx.tick()
            cycle += 1
        ctx.set(dut.row_written, 0)
        ctx.set(dut.complete, 1)

    async def bench(ctx: Any) -> None:
        for map_steps in steps:
            await one_map(ctx, map_steps.cumsum(axis=1))
            for restarts in [*[0] * int(rng.integers(1, 4)), 1]:
                assert not ctx.get(dut.o.valid)
                ctx.set(dut.restart, restarts)
                await ctx.tick()
            ctx.set(dut.restart, 0)
            ctx.set(dut.complete, 0)

    simulate(dut, bench)
