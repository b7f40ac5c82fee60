"""The window queue: the events of every window, in every stride, padding and pool, under any weather."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.simulation import memory_bits, simulate
from support.windows import random_windows_shape

from spikeloom.rtl.window_queue import RUN_QUEUE_DEPTH, WindowQueue
from spikeloom.rtl.window_shape import WindowQueueConfig


def windows_of(config: WindowQueueConfig, masks: np.ndarray) -> list[list[tuple[int, int]]]:
    """Per window the (row, mask) of its events, from the definition; ``masks`` is (height, width, channels)."""
    out = []
    for tile_row in range(config.tile_rows):
        for tile in range(config.tiles):
            for group in range(config.groups):
                events = []
                for ky in range(config.kernel_rows):
                    for kx in range(config.kernel_columns):
                        y = tile_row * config.stride_rows + ky - config.padding
                        x = tile * config.stride_columns + kx - config.padding
                        if not (0 <= y < config.height // config.pool and 0 <= x < config.cells):
                            continue
                        for dy in range(config.pool):
                            for dx in range(config.pool):
                                for c, mask in enumerate(masks[y * config.pool + dy, x * config.pool + dx]):
                                    row = ((group * config.kernel_rows + ky) * config.kernel_columns + kx)
                                    if mask:
                                        events.append((row * config.cell_rows + c, int(mask)))
                out.append(sorted(events))
    return out


@pytest.mark.parametrize("seed", range(40))
def test_events_of_all_windows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = random_windows_shape(rng)
    shape = (3, config.height, config.width, config.cell_rows)
    maps = rng.integers(0, 1 << config.item_bits, shape) * (rng.random(shape) < rng.choice([0.1, 0.5, 1.0]))
    beats = maps.reshape(-1, config.items).tolist()
    gap, withheld = rng.choice([0.0, 0.5], 2)
    seen: list[list[tuple[int, int]]] = [[]]
    dut = WindowQueue(config)
    want = [events for masks in maps for events in windows_of(config, masks)]

    async def bench(ctx: Any) -> None:
        cycle, nth, offering, last_end = 0, 0, False, -3
        while len(seen) <= len(want):
            assert cycle < 20_000, f"watchdog: {nth} beats taken, {len(seen)} windows seen, seed {seed}"
            offering = nth < len(beats) and (offering or bool(rng.random() >= gap))
            room = bool(rng.random() >= withheld)
            ctx.set(dut.i.valid, offering)
            for item in range(config.items):
                ctx.set(dut.i.payload[item], beats[nth][item] if offering else int(rng.integers(2)))
            ctx.set(dut.room, room)
            masks = [ctx.get(dut.o.mask[j]) for j in range(config.banks)]
            seen[-1] += [(ctx.get(dut.o.row[j]), mask) for j, mask in enumerate(masks) if mask]
            if ctx.get(dut.o.end):
                assert cycle >= last_end + 3
                last_end = cycle
                seen[-1].sort()
                seen.append([])
            if offering and ctx.get(dut.i.ready):
                nth, offering = nth + 1, False
            await ctx.tick()
            cycle += 1

    simulate(dut, bench)
    assert seen[:-1] == want, f"seed {seed}: {config}"


def test_memory() -> None:
    config = random_windows_shape(np.random.default_rng(3))
    lengths = 2 * config.slots * config.cells * max(1, config.row_events.bit_length())
    runs = RUN_QUEUE_DEPTH * (  # address, lane, count, offset, two marks
        (config.slots * config.bank_depth - 1).bit_length() + max(1, (config.banks - 1).bit_length())
        + config.row_events.bit_length() + config.row_bits + 2)
    assert memory_bits(WindowQueue(config)) == config.memory_bits + lengths + runs
