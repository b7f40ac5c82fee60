"""Weights that are written at run time: the loader of a layer, and the memories behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from spikeloom.rtl.share import Rom
from spikeloom.rtl.weight_sets import (
    LoadedMemory,
    WeightSetLoader,
    connect_write,
    row_words,
    set_cycles,
    set_length,
    set_words,
)


class Memories(wiring.Component):
    """A loader, a second one behind it, and the memories of both."""

    def __init__(self, shapes: tuple[tuple[LoadedMemory, ...], ...], sets: int) -> None:
        self.loaders = [WeightSetLoader(shape) for shape in shapes]
        self.roms = [[Rom(f"m{k}_{n}", bits, [0] * rows, 2, sets) for n, (rows, bits) in enumerate(shape)]
                     for k, shape in enumerate(shapes)]
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        for k, (loader, roms) in enumerate(zip(self.loaders, self.roms, strict=True)):
            m.submodules[f"loader{k}"] = loader
            if k:
                wiring.connect(m, self.loaders[k - 1].o, loader.i)
            for n, rom in enumerate(roms):
                m.submodules[f"m{k}_{n}"] = rom
                connect_write(m, loader.bus, rom.load, n)
        return m


SHAPES: tuple[tuple[tuple[LoadedMemory, ...], ...], ...] = (
    (((4, 32),),),
    (((1, 1),), ((3, 70), (5, 4))),
    (((4, 36), (4, 36), (4, 4), (7, 238)), ((2, 64),)),
)


@pytest.mark.parametrize("sets", [1, 2])
@pytest.mark.parametrize("shapes", SHAPES)
def test_every_row_gets_where_it_belongs(shapes: tuple[tuple[LoadedMemory, ...], ...], sets: int) -> None:
    seed = 3
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    dut = Memories(shapes, sets)

    def contents() -> list[list[list[int]]]:
        return [[[int.from_bytes(rng.bytes(32), "little") & ((1 << bits) - 1) for _ in range(rows)]
                 for rows, bits in shape] for shape in shapes]

    async def load(ctx: Any, values: list[list[list[int]]], part: float = 1.0) -> None:
        i: Any = dut.loaders[0].i
        words = list(set_words((bits, rows) for shape, layer in zip(shapes, values, strict=True)
                               for (_, bits), rows in zip(shape, layer, strict=True)))
        assert len(words) == set_length(memory for shape in shapes for memory in shape)
        ctx.set(i.begin, 1)
        await ctx.tick()
        ctx.set(i.begin, 0)
        for word in words[:round(part * len(words))]:
            while rng.random() < 0.3:
                ctx.set(i.valid, 0)
                ctx.set(i.data, 0x5A5A5A5A)
                await ctx.tick()
            ctx.set(i.valid, 1)
            ctx.set(i.data, word)
            await ctx.tick()
        ctx.set(i.valid, 0)
        await ctx.tick().repeat(set_cycles(len(dut.loaders)) - 1)  # the tick above took the last word

    async def check(ctx: Any, values: list[list[list[int]]]) -> None:
        for k, shape in enumerate(shapes):
            for n, (rows, _) in enumerate(shape):
                for row in range(rows):
                    ctx.set(dut.roms[k][n].address, row)
                    await ctx.tick().repeat(2)
                    assert ctx.get(dut.roms[k][n].data) == values[k][n][row], (k, n, row)

    async def bench(ctx: Any) -> None:
        before = None
        for number in range(3):
            values = contents()
            if number:
                await load(ctx, contents(), part=0.6)  # breaks off
            await load(ctx, values)
            if sets == 2:
                if before is not None:
                    await check(ctx, before)
                for roms in dut.roms:
                    for rom in roms:
                        ctx.set(rom.chosen_set, 1 - number % 2)
            await check(ctx, values)
            before = values

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run_until(1e-6 * 100_000)


def test_words_of_rows() -> None:
    assert [row_words(bits) for bits in (1, 32, 33, 64, 65)] == [1, 1, 2, 2, 3]
    assert list(set_words([(40, [0xAB_12345678, 1]), (3, [5])])) == [0x12345678, 0xAB, 1, 0, 5]
