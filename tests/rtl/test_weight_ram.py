"""Weight RAMs and their loader in Amaranth's simulator."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from support.simulation import memory_bits, simulate

from spikeloom.rtl.weight_fetch import WeightFetchConfig
from spikeloom.rtl.weight_loader import WeightLoader
from spikeloom.rtl.weight_ram import LATENCY_CYCLES, WeightRam

PATIENCE_CYCLES = 20_000


def config(row_bits: int, rows: int = 20, bus_bits: int = 32) -> WeightFetchConfig:
    return WeightFetchConfig(name="a", rows=rows, row_bits=row_bits, mask_bits=4, bus_bits=bus_bits)


@pytest.mark.parametrize("shape", [config(20), config(90), config(64, bus_bits=64), config(1, rows=1)])
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_bursts(shape: WeightFetchConfig, stall: float) -> None:
    """Words in order, whatever is written in between; without stalls one a cycle after the first."""
    rng = random.Random(str((shape, stall)))
    ram = WeightRam(shape)
    assert memory_bits(WeightRam(shape)) == 8 * max(shape.table_bytes, 2 * shape.bus_bytes)
    words = [rng.getrandbits(shape.bus_bits) for _ in range(shape.table_bytes // shape.bus_bytes)]
    got: list[tuple[int, int, int, int]] = []
    wanted: list[tuple[int, int, int]] = []
    first: deque[tuple[int, int]] = deque()  # cycle and length of the bursts under way

    async def bench(ctx: Any) -> None:
        for number, word in enumerate(words):
            ctx.set(ram.write, 1)
            ctx.set(ram.write_word, number)
            ctx.set(ram.write_data, word)
            await ctx.tick()
        ctx.set(ram.write, 0)
        cycle = bursts = 0
        offers = False
        while bursts < 60 or len(got) < len(wanted):
            assert cycle < PATIENCE_CYCLES
            if not offers and bursts < 60 and rng.random() >= stall:
                offers, row = True, rng.randrange(shape.rows)
            ctx.set(ram.axi.arvalid, offers)
            if offers:
                ctx.set(ram.axi.araddr, row * shape.row_bytes)
                ctx.set(ram.axi.arlen, shape.row_beats - 1)
                ctx.set(ram.axi.arid, bursts % 2)
            ctx.set(ram.axi.rready, rng.random() >= stall)
            writes = stall > 0 and rng.random() < 0.3
            ctx.set(ram.write, writes)
            if writes:  # what was there
                number = rng.randrange(len(words))
                ctx.set(ram.write_word, number)
                ctx.set(ram.write_data, words[number])
            if ctx.get(ram.axi.rvalid) and ctx.get(ram.axi.rready):
                assert ctx.get(ram.axi.rresp) == 0
                got.append((ctx.get(ram.axi.rdata), ctx.get(ram.axi.rlast), ctx.get(ram.axi.rid), cycle))
            if offers and ctx.get(ram.axi.arready):
                at = row * shape.row_bytes // shape.bus_bytes
                wanted.extend((words[at + n], int(n == shape.row_beats - 1), bursts % 2)
                              for n in range(shape.row_beats))
                first.append((cycle, shape.row_beats))
                offers, bursts = False, bursts + 1
            await ctx.tick()
            cycle += 1

    simulate(ram, bench)
    assert [(data, last) for data, last, _, _ in got] == [(data, last) for data, last, _ in wanted]
    if not stall:
        assert got[0][3] == first[0][0] + LATENCY_CYCLES
        assert [cycle for _, _, _, cycle in got] == list(range(got[0][3], got[0][3] + len(got)))


def test_loader() -> None:
    """Tables of words of 4 and 8 bytes; a table that is not there, and a word that is broken off, change nothing."""
    rng = random.Random(4)
    loader = WeightLoader((4, 8))
    stimulus: list[int] = []
    wanted: list[tuple[int, int, int]] = []
    for _ in range(40):
        table, number, count = rng.choice([0, 1, 1, 2, 77, 256 - 1]), rng.getrandbits(20), rng.randint(0, 3)
        size = {0: 4, 1: 8}.get(table, 4)
        body = rng.randbytes(count * size + rng.choice([0, 0, 1, 3]))
        packet = bytes([table]) + number.to_bytes(3, "little") + body
        stimulus += [byte | (n == len(packet) - 1) << 8 for n, byte in enumerate(packet)]
        if table < 2:
            wanted += [(table, number + n, int.from_bytes(body[n * size:(n + 1) * size], "little"))
                       for n in range(count)]
    got: list[tuple[int, int, int]] = []

    async def bench(ctx: Any) -> None:
        nth = 0
        for cycle in range(4000):
            offers = nth < len(stimulus) and (cycle < 300 or rng.random() < 0.5)
            ctx.set(loader.i.valid, offers)
            if offers:
                ctx.set(loader.i.payload, {"data": stimulus[nth] & 255, "last": stimulus[nth] >> 8})
            assert ctx.get(loader.i.ready)
            nth += offers
            for table in (0, 1):
                if ctx.get(getattr(loader, f"write{table}")):
                    data = ctx.get(loader.data) & ((1 << (32, 64)[table]) - 1)
                    got.append((table, ctx.get(loader.word), data))
            await ctx.tick()
        assert nth == len(stimulus)

    simulate(loader, bench)
    assert got == wanted
    assert len(got) > 30
