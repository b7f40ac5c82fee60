"""Sparse rows between random slots and random room: what the lanes get, when they get it, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal
from support.simulation import memory_bits, simulate

from spikeloom.gen.sparse import memory_rows, row_counts, sparse_size
from spikeloom.rtl.sparse_rows import SparseRows, SparseRowsConfig

BITS, MASK_BITS = 3, 2

# rows, groups, lanes, slots, share of weights that are not 0
SHAPES = [(6, 2, 1, 3, 0.5), (12, 5, 3, 4, 0.3), (20, 9, 4, 16, 0.1), (5, 3, 2, 5, 0.0), (8, 4, 2, 16, 1.0)]

Item = tuple[str, int, tuple[tuple[int, ...], tuple[int, ...]] | int]


def random_weights(rng: np.random.Generator, rows: int, groups: int, lanes: int, share: float) -> np.ndarray:
    weight = rng.integers(1, 1 << BITS - 1, (rows, groups, lanes)) * rng.choice([-1, 1], (rows, groups, lanes))
    return np.where(rng.random(weight.shape) < share, weight, 0)


def config_of(weight: np.ndarray, slots: int) -> SparseRowsConfig:
    rows, groups, lanes = weight.shape
    words, longest = sparse_size(weight)
    return SparseRowsConfig(name="layer", lanes=lanes, groups=groups, weight_bits=BITS, mask_bits=MASK_BITS, rows=rows,
                            words=words, longest=longest, slots=slots)


def component(weight: np.ndarray, slots: int) -> SparseRows:
    config = config_of(weight, slots)
    return SparseRows(config, *memory_rows(weight, config))


class Bench:
    """Random slots into a component, and what comes out of it: ``seen`` has (cycle, what, value)."""

    def __init__(self, weight: np.ndarray, slots: int, *, seed: int, windows: int = 3, gap: float = 0.4,
                 withheld: float = 0.4, reset_at: int = -1) -> None:
        print(f"seed {seed}")
        rng = np.random.default_rng(seed)
        self.weight, self.dut = weight, component(weight, slots)
        self.config = self.dut.config
        groups = self.config.groups
        events = [[(int(row), int(rng.integers(1, 1 << MASK_BITS)), 0)
                   for row in rng.integers(0, len(weight), rng.integers(0, 12))] for _ in range(windows)]
        self.slots = [slot for window in events for slot in [*window, (0, 0, 1)]]
        self.begun: list[int] = []
        self.given: list[int] = []
        self.room: list[bool] = []
        self.seen: list[tuple[int, str, Any]] = []
        reset = Signal()

        async def bench(ctx: Any) -> None:
            dut, nth, owed, ends, cycle, begun = self.dut, 0, 0, 0, 0, False
            while ends < windows * groups:
                assert cycle < 5000, f"watchdog: {nth} slots given, {ends} ends seen, seed {seed}"
                if cycle == reset_at + 1:  # all begins anew
                    nth = owed = ends = 0
                    begun = False
                    self.begun, self.given, self.seen = [], [], []
                more = nth < len(self.slots) and cycle != reset_at and rng.random() >= gap
                gives = more and begun and owed < slots
                last = gives and self.slots[nth][2]
                ctx.set(dut.beat, (more and not begun) or (begun and not last and rng.random() < 0.3))
                if more and not begun:
                    begun = True
                    self.begun.append(cycle)
                row, mask, end = self.slots[nth] if gives else (int(rng.integers(len(weight))), 0, 0)
                ctx.set(dut.i, {"row": row, "mask": mask, "end": end})
                self.room.append(bool(rng.random() >= withheld))
                ctx.set(dut.room, self.room[-1])
                ctx.set(reset, cycle == reset_at)
                if gives:
                    self.given.append(cycle)
                    nth, owed, begun = nth + 1, owed + 1, not end
                *_, taken = await ctx.tick().sample(dut.taken)
                owed -= taken
                cycle += 1
                ends += self._look(ctx, cycle)

        simulate(ResetInserter(reset)(self.dut), bench)

    def _look(self, ctx: Any, cycle: int) -> bool:
        """Note what is on the output."""
        o = self.dut.o
        mask, end, first = ctx.get(o.mask[0]), ctx.get(o.end), ctx.get(o.first)
        groups = tuple(ctx.get(o.group[lane]) for lane in range(self.config.lanes))
        assert (mask > 0) + end + first <= 1
        if mask:
            weight = ctx.get(o.weight)
            weights = [(weight >> lane * BITS) & ((1 << BITS) - 1) for lane in range(self.config.lanes)]
            self.seen.append((cycle, "word", (mask, tuple(w - (w >> BITS - 1 << BITS) for w in weights), groups)))
        elif first or end:
            assert len(set(groups)) == 1
            self.seen.append((cycle, "end" if end else "first", groups[0]))
        return bool(end)


def sums_of(bench: Bench) -> list[list[Any]]:
    """What lanes make of it: of each window, sums of (mask bit, group, lane); and check the order."""
    cfg, out = bench.config, []
    sums = np.full((MASK_BITS, cfg.groups, cfg.lanes), 99)
    expected, what = iter(bench.seen), None
    for kind, count in [("first", cfg.groups), ("end", cfg.groups)] * sum(slot[2] for slot in bench.slots):
        place = 0
        while place < count:
            _, what, value = next(expected)
            if what == "word":
                assert kind == "end"
                assert place == 0
                mask, weights, groups = value
                for plane in range(MASK_BITS):
                    for lane in range(cfg.lanes):
                        sums[plane, groups[lane], lane] += weights[lane] * (mask >> plane & 1)
                continue
            assert (what, value) == (kind, place)
            if kind == "first":
                sums[:, place] = 0
            place += 1
        if kind == "end":
            out.append(sums.copy())
    assert next(expected, None) is None
    return out


def wanted(bench: Bench) -> list[Any]:
    out = [np.zeros((MASK_BITS, *bench.weight.shape[1:]), int)]
    for row, mask, end in bench.slots:
        for plane in range(MASK_BITS):
            out[-1][plane] += bench.weight[row] * (mask >> plane & 1)
        if end:
            out.append(np.zeros_like(out[-1]))
    return out[:-1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_every_weight_that_is_not_zero_comes_once(shape: tuple[int, int, int, int, float], seed: int) -> None:
    rows, groups, lanes, slots, share = shape
    weight = random_weights(np.random.default_rng(seed), rows, groups, lanes, share)
    bench = Bench(weight, slots, seed=seed)
    np.testing.assert_array_equal(sums_of(bench), wanted(bench))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gap", [0.0, 0.5])
def test_timing(shape: tuple[int, int, int, int, float], gap: float) -> None:
    """That of the docstring: cycle by cycle."""
    rows, groups, lanes, slots, share = shape
    weight = random_weights(np.random.default_rng(5), rows, groups, lanes, share)
    bench = Bench(weight, slots, seed=7, gap=gap)
    words, _ = row_counts(weight)
    cycles: list[tuple[int, str]] = []
    free = read = 0
    begun = iter(bench.begun)
    clear = 0
    for given, (row, _, end) in zip(bench.given, bench.slots, strict=True):
        if not clear:
            clear = max(next(begun) + 1, free) + groups
            cycles += [(clear + 1 - groups + k, "first") for k in range(groups)]
        taken = max(given + 3, free, clear)
        if not end:
            cycles += [(taken - 3 + bench.config.latency_cycles + k, "word") for k in range(words[row])]
            free = read = taken + int(words[row])
            continue
        taken = max(taken, read + 3 if read else 0)
        for group in range(groups):
            taken = taken + 2 if group else taken
            while not bench.room[taken]:
                taken += 1
            cycles.append((taken + 1, "end"))
        free, read, clear = taken + 1, 0, 0
    assert [(cycle, what) for cycle, what, _ in bench.seen] == sorted(cycles)


@pytest.mark.parametrize("at", [3, 11, 20, 33, 60])
def test_reset_in_mid_window(at: int) -> None:
    weight = random_weights(np.random.default_rng(at), 12, 5, 3, 0.3)
    bench = Bench(weight, 4, seed=at, reset_at=at)
    np.testing.assert_array_equal(sums_of(bench), wanted(bench))


@pytest.mark.parametrize("shape", SHAPES)
def test_memory(shape: tuple[int, int, int, int, float]) -> None:
    rows, groups, lanes, slots, share = shape
    weight = random_weights(np.random.default_rng(1), rows, groups, lanes, share)
    dut = component(weight, slots)
    cfg = dut.config

    def index_bits(n: int) -> int:
        return max(1, (n - 1).bit_length())

    place_bits = index_bits(cfg.words) + index_bits(cfg.longest)
    in_block_ram = cfg.words * lanes * (BITS + index_bits(groups)) + rows * place_bits
    assert memory_bits(dut) == in_block_ram + max(2, slots) * (place_bits + MASK_BITS + 1)


@pytest.mark.parametrize("field", ["lanes", "groups", "weight_bits", "mask_bits", "rows", "words", "longest", "slots"])
def test_bad_shape(field: str) -> None:
    good = {"name": "x", "lanes": 2, "groups": 3, "weight_bits": 3, "mask_bits": 1, "rows": 4, "words": 5, "longest": 2,
            "slots": 3}
    with pytest.raises(ValueError, match=field):
        SparseRowsConfig(**{**good, field: 0})
