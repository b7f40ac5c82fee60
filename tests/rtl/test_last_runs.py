"""Runs that are not empty, and the mark on each window's last one, in random weather and at the stated times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.stream_bench import run_streams
from support.windows import random_windows_shape

from spikeloom.rtl.last_runs import LastRuns
from spikeloom.rtl.window_shape import run_layout

CONFIG = random_windows_shape(np.random.default_rng(5))
Run = dict[str, int]


def windows(rng: np.random.Generator, count: int) -> list[list[Run]]:
    """Runs of some windows, many of them empty, each with an address of its own."""
    out, address = [], 0
    for _ in range(count):
        runs = int(rng.integers(1, 6))
        row_end = int(rng.random() < 0.3)
        window = []
        for k in range(runs):
            address = (address + 1) % (1 << CONFIG.bank_depth.bit_length())
            last = k == runs - 1
            count_of = int(rng.integers(1, CONFIG.row_events + 1)) if rng.random() < 0.4 else 0
            window.append({"address": address, "lane": 0, "count": count_of, "offset": k % (1 << CONFIG.row_bits),
                           "last": int(last), "row_end": int(last and row_end)})
        out.append(window)
    return out


def left_of(window: list[Run]) -> list[Run]:
    """What the docstring leaves of a window."""
    left = [run for run in window if run["count"]] or window[-1:]
    marks = {"last": 1, "row_end": window[-1]["row_end"]}
    return [run | {"last": 0, "row_end": 0} for run in left[:-1]] + [left[-1] | marks]


def packed(runs: list[Run]) -> list[int]:
    layout = run_layout(CONFIG)
    return [layout.const(run).as_value().value for run in runs]


@pytest.mark.parametrize(("gap", "stall"), [(0.0, 0.0), (0.6, 0.0), (0.0, 0.7), (0.4, 0.4)])
@pytest.mark.parametrize("seed", range(3))
def test_runs_that_are_left(seed: int, gap: float, stall: float) -> None:
    given = windows(np.random.default_rng(seed), 200)
    want = packed([run for window in given for run in left_of(window)])
    _, received, _ = run_streams(LastRuns(CONFIG), packed([run for window in given for run in window]), len(want),
                                 gap=gap, stall=stall, seed=seed)
    assert [run for _, run in received] == want


@pytest.mark.parametrize("seed", range(3))
def test_timing(seed: int) -> None:
    """With an output that is always taken: a run each cycle, and each leaves with the next of its window that tells, or
    a cycle after it came."""
    given = windows(np.random.default_rng(seed), 100)
    want, first = [], 0
    for window in given:
        tells = [at for at, run in enumerate(window) if run["count"] or run["last"]]
        for at in [at for at, run in enumerate(window) if run["count"]] or tells:
            want.append(first + next((later for later in tells if later > at), at + 1))
        first += len(window)
    sent, received, _ = run_streams(LastRuns(CONFIG), packed([run for window in given for run in window]), len(want))
    assert sent == list(range(sent[-1] + 1))
    assert [at for at, _ in received] == want


def test_nothing_is_offered_that_may_not_be_the_last() -> None:
    """A run of a window of which nothing more has come stays where it is."""
    run: Any = {"address": 1, "lane": 0, "count": 1, "offset": 0, "last": 0, "row_end": 0}
    with pytest.raises(AssertionError, match="watchdog"):
        run_streams(LastRuns(CONFIG), packed([run]), 1, limit_cycles=50)
