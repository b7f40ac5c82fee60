"""Random cases for the weight fetch, what a test bench saw of them, and what must hold then."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from spikeloom.gen.fetch_cycles import MemoryTiming, fetch_cycles
from spikeloom.rtl.weight_fetch import WeightFetchConfig

__all__ = ["Case", "Slot", "Trace", "case_of", "check_contents", "check_cycles", "config_of", "random_rows"]

Slot = tuple[int, int, int]  # row, mask, end


def config_of(row_bits: int, bus_bits: int, prefetch_rows: int, *, rows: int = 13) -> WeightFetchConfig:
    return WeightFetchConfig(name="layer0", rows=rows, row_bits=row_bits, mask_bits=3, bus_bits=bus_bits,
                             prefetch_rows=prefetch_rows)


@dataclass(kw_only=True)
class Case:
    """What a test bench does to the component."""

    config: WeightFetchConfig
    slots: list[Slot]
    rows: list[int]
    timing: MemoryTiming | None = None  # exact; else address and data stall at random
    stall: float = 0.0
    gap: float = 0.0
    withheld: float = 0.0               # how often there is no room
    base: int = 0
    bad_addresses: tuple[int, ...] = ()
    reset_at: int | None = None
    clear_at: int | None = None
    seed: int = 0


@dataclass
class Trace:
    """What it saw, cycle by cycle."""

    offered: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    seen: list[tuple[int, int, int, int]] = field(default_factory=list)  # cycle, weight, mask, end
    room: list[bool] = field(default_factory=list)
    error: list[int] = field(default_factory=list)
    bursts: list[tuple[int, int]] = field(default_factory=list)  # address, beats
    beats: int = 0


def random_slots(config: WeightFetchConfig, rng: np.random.Generator, count: int, ends: float = 0.2) -> list[Slot]:
    return [(0, 0, 1) if rng.random() < ends else
            (int(rng.integers(config.rows)), int(rng.integers(1, 1 << config.mask_bits)), 0) for _ in range(count)]


def random_rows(config: WeightFetchConfig, rng: np.random.Generator) -> list[int]:
    return [int.from_bytes(rng.bytes(config.row_bits // 8 + 1), "little") % (1 << config.row_bits)
            for _ in range(config.rows)]


def case_of(config: WeightFetchConfig, seed: int, *, count: int = 60, ends: float = 0.2, **options: Any) -> Case:
    rng = np.random.default_rng([seed, 1])
    return Case(config=config, slots=random_slots(config, rng, count, ends), rows=random_rows(config, rng), seed=seed,
                base=config.row_bytes * int(rng.integers(1, 50)), **options)


def check_contents(case: Case, trace: Trace) -> None:
    """Every slot in its place with its weights, and ends only with room."""
    assert [(mask, end) for _, _, mask, end in trace.seen] == [(mask, end) for _, mask, end in case.slots]
    for (row, _, end), (cycle, weight, _, _) in zip(case.slots, trace.seen, strict=True):
        if end:
            assert trace.room[cycle - 1]
        else:
            assert weight == case.rows[row]
    ended = [cycle for cycle, _, _, end in trace.seen if end]
    assert all(later - earlier >= 3 for earlier, later in pairwise(ended))


def check_cycles(case: Case, trace: Trace) -> None:
    """Every cycle as the recurrence predicts it."""
    assert case.timing is not None
    slots = [(offered, bool(end)) for offered, (_, _, end) in zip(trace.offered, case.slots, strict=True)]
    accepted, seen = fetch_cycles(case.config, case.timing, slots,
                                  lambda cycle: next(c for c in range(cycle, len(trace.room)) if trace.room[c]))
    assert trace.accepted == accepted
    assert [cycle for cycle, *_ in trace.seen] == seen
