"""The weight fetch between random slots, random room and a memory of exact or of random timing."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal
from support.block_ram import without_lut_ram
from support.fetch_cases import (
    Case,
    Slot,
    Trace,
    case_of,
    check_contents,
    check_cycles,
    config_of,
    random_rows,
)
from support.simulation import memory_bits, simulate

from spikeloom.gen.fetch_cycles import MemoryTiming, fetch_cycles
from spikeloom.rtl.weight_fetch import WeightFetch, WeightFetchConfig, weight_table

OKAY, SLVERR = 0, 2

# row_bits, bus_bits, prefetch_rows: a row in less than a word, in just one, in several, with and without a rest
SHAPES = [(5, 32, 2), (32, 32, 3), (70, 32, 2), (96, 32, 5), (100, 64, 4), (260, 128, 2)]


class ReadMemory:
    """An AXI4 memory in Python that checks the rules of the address channel."""

    def __init__(self, dut: WeightFetch, case: Case, rng: np.random.Generator, trace: Trace) -> None:
        self.axi, self.case, self.rng, self.trace = dut.axi, case, rng, trace
        self.table = weight_table(case.config, case.rows)
        self.beats: deque[tuple[int, int, bool]] = deque()  # cycle from which it may be offered, address, last
        self.next = 0
        self.offering = False
        self.waiting: tuple[int, int] | None = None

    def drive(self, ctx: Any, cycle: int) -> None:
        axi, case, config = self.axi, self.case, self.case.config
        ctx.set(axi.arready, case.timing is not None or self.rng.random() >= case.stall)
        due = bool(self.beats) and cycle >= max(self.next, self.beats[0][0])
        self.offering = due and (self.offering or case.timing is not None or bool(self.rng.random() >= case.stall))
        ctx.set(axi.rvalid, self.offering)
        if self.offering:
            _, address, last = self.beats[0]
            at = address - case.base
            ctx.set(axi.rdata, int.from_bytes(self.table[at:at + config.bus_bytes], "little"))
            ctx.set(axi.rresp, SLVERR if address in case.bad_addresses else OKAY)
            ctx.set(axi.rlast, last)
        else:
            ctx.set(axi.rdata, int(self.rng.integers(1 << 32)))
            ctx.set(axi.rresp, SLVERR)

    def sample(self, ctx: Any, cycle: int) -> None:
        axi, config, timing = self.axi, self.case.config, self.case.timing
        assert ctx.get(axi.rready)
        if self.offering:
            self.beats.popleft()
            self.trace.beats += 1
            self.offering = False
            self.next = cycle + (timing.beat_interval_cycles if timing else 1)
        address, beats = ctx.get(axi.araddr), ctx.get(axi.arlen) + 1
        valid = bool(ctx.get(axi.arvalid))
        if self.waiting:
            assert valid, "the address was withdrawn"
            assert (address, beats) == self.waiting, "the address changed"
        self.waiting = (address, beats) if valid and not ctx.get(axi.arready) else None
        if valid and ctx.get(axi.arready):
            assert 1 << ctx.get(axi.arsize) == config.bus_bytes
            assert (ctx.get(axi.arburst), ctx.get(axi.arcache), ctx.get(axi.arprot), ctx.get(axi.arid)) == (1, 3, 0, 0)
            last = address + (beats - 1) * config.bus_bytes
            assert address // 4096 == last // 4096, "a burst crosses a 4 KB boundary"
            assert self.case.base <= address <= last < self.case.base + config.table_bytes
            self.trace.bursts.append((address, beats))
            due = cycle + (timing.latency_cycles if timing else int(self.rng.integers(1, 12)))
            self.beats.extend((due, a, a == last) for a in range(address, last + 1, config.bus_bytes))

    def reset(self) -> None:
        self.beats.clear()
        self.offering, self.waiting = False, None


def check_bus(case: Case, trace: Trace) -> None:
    """Each event's row is read once, and nothing else."""
    config = case.config
    events = [row for row, _, end in case.slots if not end]
    assert trace.beats == sum(beats for _, beats in trace.bursts) == len(events) * config.row_beats
    starts = [address for address, _ in trace.bursts[::config.row_bursts]]
    assert starts == [case.base + row * config.row_bytes for row in events]


def run(case: Case, *, lut_ram: bool = True) -> Trace:
    print(f"seed {case.seed}")
    rng = np.random.default_rng(case.seed)
    trace = Trace()
    dut = WeightFetch(case.config) if lut_ram else without_lut_ram(WeightFetch(case.config))
    memory = ReadMemory(dut, case, rng, trace)
    reset = Signal()

    async def bench(ctx: Any) -> None:
        nth, offering, cycle = 0, False, 0
        ctx.set(dut.base, case.base)
        while len(trace.seen) < len(case.slots):
            assert cycle < 20_000, f"watchdog: {nth} slots accepted, {len(trace.seen)} seen, seed {case.seed}"
            if nth < len(case.slots) and not offering and rng.random() >= case.gap:
                offering = True
                trace.offered.append(cycle)
            row, mask, end = case.slots[nth] if offering else rng.integers(0, 2, 3).tolist()
            ctx.set(dut.i.valid, offering)
            ctx.set(dut.i.payload, {"row": row, "mask": mask, "end": end})
            trace.room.append(bool(rng.random() >= case.withheld))
            ctx.set(dut.room, trace.room[-1])
            ctx.set(dut.clear, cycle == case.clear_at)
            ctx.set(reset, cycle == case.reset_at)
            memory.drive(ctx, cycle)
            if cycle == case.reset_at:  # everything that is inside is lost, on both sides of the bus
                memory.reset()
                trace.seen.clear()
                nth, offering = 0, False
                del trace.offered[:], trace.accepted[:], trace.bursts[:]
                trace.beats = 0
            else:
                if offering and ctx.get(dut.i.ready):
                    trace.accepted.append(cycle)
                    nth, offering = nth + 1, False
                mask, end = ctx.get(dut.o.mask), ctx.get(dut.o.end)
                if mask or end:
                    trace.seen.append((cycle, ctx.get(dut.o.weight), mask, end))
                trace.error.append(ctx.get(dut.error))
                memory.sample(ctx, cycle)
            # Each row that is asked for has room: nothing is asked for beyond the buffer.
            given = sum(not end for _, _, _, end in trace.seen)
            assert len(trace.bursts) <= (given + case.config.prefetch_rows) * case.config.row_bursts
            await ctx.tick()
            cycle += 1

    simulate(ResetInserter(reset)(dut), bench)
    return trace


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("stall", "gap", "withheld"), [(0.0, 0.0, 0.0), (0.7, 0.0, 0.0), (0.2, 0.7, 0.0),
                                                        (0.3, 0.3, 0.7)])
@pytest.mark.parametrize("shape", SHAPES)
def test_any_memory(shape: tuple[int, int, int], stall: float, gap: float, withheld: float, seed: int) -> None:
    case = case_of(config_of(*shape), seed, stall=stall, gap=gap, withheld=withheld)
    trace = run(case)
    check_contents(case, trace)
    check_bus(case, trace)
    assert not any(trace.error)
    # Without LUT RAM every cycle is the same, and every row; an end mark's weights mean nothing.
    other = run(case, lut_ram=False)
    check_contents(case, other)
    for each in (trace, other):
        each.seen = [(cycle, weight if mask else 0, mask, end) for cycle, weight, mask, end in each.seen]
    assert other == trace


@pytest.mark.parametrize(("latency", "interval"), [(1, 1), (2, 1), (9, 1), (1, 3), (20, 2)])
@pytest.mark.parametrize("shape", SHAPES)
def test_cycles(shape: tuple[int, int, int], latency: int, interval: int) -> None:
    timing = MemoryTiming(latency_cycles=latency, beat_interval_cycles=interval)
    for seed, (gap, withheld, ends) in enumerate([(0.0, 0.0, 0.0), (0.0, 0.0, 0.5), (0.7, 0.0, 0.2), (0.2, 0.8, 0.4)]):
        case = case_of(config_of(*shape), seed, count=40, timing=timing, gap=gap, withheld=withheld, ends=ends)
        trace = run(case)
        check_contents(case, trace)
        check_bus(case, trace)
        check_cycles(case, trace)


def check_bursts(config: WeightFetchConfig, bursts: list[int], timing: MemoryTiming | None) -> None:
    case = case_of(config, 1, count=5 * config.prefetch_rows, timing=timing, stall=0.3)
    trace = run(case)
    check_contents(case, trace)
    step = config.burst_beats * config.bus_bytes
    assert trace.bursts == [(case.base + row * config.row_bytes + k * step, beats)
                            for row, _, end in case.slots if not end for k, beats in enumerate(bursts)]
    if timing:
        check_cycles(case, trace)


def test_more_than_256_beats() -> None:
    check_bursts(config_of(32 * 256 + 9, 32, 2, rows=3), [256, 1], MemoryTiming(latency_cycles=3))


@pytest.mark.parametrize(("row_beats", "bursts"), [(4, [4]), (8, [4, 4]), (9, [4, 4, 1]), (19, [4, 4, 4, 4, 3])])
def test_many_bursts(row_beats: int, bursts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a smaller limit, for the simulator's sake."""
    monkeypatch.setattr("spikeloom.rtl.weight_fetch.BURST_BEATS_MAX", 4)
    config = config_of(32 * row_beats - 5, 32, 3)
    for timing in (MemoryTiming(latency_cycles=1), MemoryTiming(latency_cycles=9, beat_interval_cycles=2), None):
        check_bursts(config, bursts, timing)


@pytest.mark.parametrize(("row_bits", "bus_bits"), [(20, 32), (96, 32), (200, 64)])
@pytest.mark.parametrize(("latency", "interval"), [(1, 1), (7, 1), (16, 2)])
def test_latency_and_throughput(row_bits: int, bus_bits: int, latency: int, interval: int) -> None:
    """With as many rows as the formula says the bus never pauses, with one less it does."""
    timing = MemoryTiming(latency_cycles=latency, beat_interval_cycles=interval)
    enough = config_of(row_bits, bus_bits, 2).sustaining_rows(latency, interval)
    for prefetch_rows in {enough, max(2, enough - 1)}:
        config = config_of(row_bits, bus_bits, prefetch_rows)
        trace = run(case_of(config, 0, timing=timing, ends=0.0))
        seen = [cycle for cycle, *_ in trace.seen]
        assert seen[0] - trace.accepted[0] == config.latency_cycles(latency, interval)
        steady = seen[-1] - seen[0] == (len(seen) - 1) * config.row_beats * interval
        assert steady == (prefetch_rows >= enough)


def test_end_marks_need_no_bus() -> None:
    config = config_of(40, 32, 2)
    case = Case(config=config, slots=[(0, 0, 1)] * 5, rows=[0] * config.rows, stall=1.0)
    trace = run(case)
    assert trace.bursts == []
    assert [cycle for cycle, *_ in trace.seen] == [2, 5, 8, 11, 14]


@pytest.mark.parametrize("lut_ram", [True, False])
@pytest.mark.parametrize("beat", [0, 1, 2])
def test_errors(beat: int, lut_ram: bool) -> None:
    """An error shows with the row that it hit, stays, can be cleared, and stops nothing."""
    config = config_of(70, 32, 4)
    slots: list[Slot] = [(0, 1, 0), (1, 1, 0), (2, 1, 0), (0, 0, 1), (0, 2, 0), (1, 2, 0), (2, 2, 0)]
    timing = MemoryTiming(latency_cycles=5)
    case = Case(config=config, slots=slots, rows=random_rows(config, np.random.default_rng(3)), timing=timing,
                bad_addresses=(config.row_bytes + 4 * beat,))
    untouched = run(case, lut_ram=lut_ram)
    check_contents(case, untouched)
    check_cycles(case, untouched)
    cycles = [cycle for cycle, *_ in untouched.seen]
    assert untouched.error == [int(cycle >= cycles[1]) for cycle in range(len(untouched.error))]

    case.clear_at = cycles[3]
    cleared = run(case, lut_ram=lut_ram)
    assert cleared.seen == untouched.seen
    assert cleared.error == [int(cycles[1] <= cycle <= cycles[3] or cycle >= cycles[5])
                             for cycle in range(len(cleared.error))]
    case.clear_at = cycles[5] - 1  # as the second bad row is given: that is news
    assert run(case, lut_ram=lut_ram).error == untouched.error


@pytest.mark.parametrize("reset_at", range(3, 40, 4))
def test_reset_with_the_memory(reset_at: int) -> None:
    case = case_of(config_of(100, 32, 3), 2, count=20, stall=0.4, reset_at=reset_at)
    trace = run(case)
    check_contents(case, trace)
    check_bus(case, trace)


@pytest.mark.parametrize("shape", SHAPES)
def test_memory_bits(shape: tuple[int, int, int]) -> None:
    config = config_of(*shape)
    bits = config.prefetch_rows * (config.row_bits + 1 + config.mask_bits + 1)
    assert memory_bits(WeightFetch(config)) == bits
    number_bits = len(WeightFetch(config).i.payload.row)
    assert memory_bits(WeightFetch(replace(config, gives_row=True))) == bits + config.prefetch_rows * number_bits


def test_addresses_and_sizes() -> None:
    config = config_of(100, 32, 2)
    assert (config.row_beats, config.row_bytes, config.burst_beats, config.row_bursts) == (4, 16, 4, 1)
    config = config_of(64 * 1100, 64, 2)
    assert (config.row_beats, config.row_bytes, config.burst_beats, config.row_bursts) == (1100, 16384, 256, 5)
    assert config.table_bytes == 13 * 16384


def test_table() -> None:
    config = config_of(70, 32, 2, rows=2)
    table = weight_table(config, [0x3F_01234567_89ABCDEF, 1])
    assert table.hex() == "efcdab8967452301" "3f000000" "00000000" + "01" + "00" * 15
    with pytest.raises(ValueError, match="rows must be 2 rows, not 3"):
        weight_table(config, [0, 0, 0])
    with pytest.raises(ValueError, match=r"row 1 must be in 0\.\.2\*\*70-1"):
        weight_table(config, [0, 1 << 70])


def test_times_can_be_arrays() -> None:
    config, memory = config_of(100, 32, 2), MemoryTiming(latency_cycles=6, beat_interval_cycles=2)
    rng = np.random.default_rng(0)
    ends = (rng.random(30) < 0.3).tolist()
    offered = np.cumsum(rng.integers(0, 12, (30, 4)), axis=0)
    together = fetch_cycles(config, memory, zip(offered, ends, strict=True), lambda cycle: cycle + cycle % 5)
    for n in range(4):
        alone = fetch_cycles(config, memory, zip(offered[:, n].tolist(), ends, strict=True),
                             lambda cycle: cycle + cycle % 5)
        assert [[int(np.broadcast_to(c, 4)[n]) for c in cycles] for cycles in together] == [*map(list, alone)]


@pytest.mark.parametrize(("fields", "message"), [
    ({"rows": 0}, "rows must be at least 1, not 0"),
    ({"row_bits": 0}, "row_bits must be at least 1, not 0"),
    ({"mask_bits": 0}, "mask_bits must be at least 1, not 0"),
    ({"prefetch_rows": 1}, "prefetch_rows must be at least 2, not 1"),
    ({"bus_bits": 48}, "bus_bits must be 32, 64, 128, 256 or 512, not 48"),
    ({"address_bits": 65}, r"address_bits must be in 1\.\.64, not 65"),
    ({"address_bits": 7}, "address_bits must be at least 8 for 160 bytes of weights, not 7"),
])
def test_bad_shapes(fields: dict[str, int], message: str) -> None:
    good: dict[str, Any] = {"name": "layer0", "rows": 10, "row_bits": 100, "mask_bits": 3, "bus_bits": 32}
    with pytest.raises(ValueError, match=f"^{message}$"):
        WeightFetchConfig(**good | fields)


@pytest.mark.parametrize("field_name", ["latency_cycles", "beat_interval_cycles"])
def test_bad_memory(field_name: str) -> None:
    fields = {"latency_cycles": 1, "beat_interval_cycles": 1} | {field_name: 0}
    with pytest.raises(ValueError, match=f"{field_name} must be at least 1, not 0"):
        MemoryTiming(**fields)
