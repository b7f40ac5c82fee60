"""The cycle model of a weight fetch: when each slot is accepted and when it is seen by the lanes.

It replays the timing that :class:`spikeloom.rtl.weight_fetch.WeightFetch` states, with the memory of
``cosim/harness/axi_memory.sv``, as a recurrence over slots of additions and maxima. So a time may be an
integer, or an int64 array (N,) with the times of N samples whose slots are of the same kinds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.rtl.weight_fetch import WeightFetchConfig

__all__ = ["FetchTiming", "MemoryTiming", "fetch_cycles"]

Cycle = int | np.int64 | npt.NDArray[np.int64]
Room = Callable[[Any], Cycle]

END_INTERVAL_CYCLES = 3  # before room is looked at again


@dataclass(frozen=True, kw_only=True)
class MemoryTiming:
    """An AXI4 memory that takes every address at once and answers in order.

    Parameters
    ----------
    latency_cycles : int
        From the address handshake to the first beat, at least 1.
    beat_interval_cycles : int
        From beat to beat, at least 1.

    Raises
    ------
    ValueError
        If one is less than 1.
    """

    latency_cycles: int
    beat_interval_cycles: int = 1

    def __post_init__(self) -> None:
        for name in ("latency_cycles", "beat_interval_cycles"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)!r}")


class FetchTiming:
    """The recurrence, slot by slot: for a source whose next slot depends on when the last one was accepted.

    With ``accept[n]`` and ``give[n]`` of slot ``n``, ``D = prefetch_rows``, and ``word`` the cycle of the last beat::

        accept[n] = max(offered[n], accept[n-1] + (row_bursts if slot n-1 is an event else 1), give[n-D] + 1)
        event:  word   <- max(accept[n] + 1 + latency, word + interval) + (row_beats - 1) * interval
                give[n] = max(word + 1, give[n-1] + 1)
        end:    give[n] = room(max(accept[n] + 1, give[n-1] + 1, give[end before] + 3))

    and ``o`` shows slot ``n`` in ``give[n] + 1``. (The bursts of a row follow each other without a gap: each is asked
    for a cycle after the one before, and that one takes a cycle or more.)
    """

    def __init__(self, config: WeightFetchConfig, memory: MemoryTiming,
                 maximum: Callable[[Any, Any], Any] = np.maximum) -> None:
        """``maximum`` is that of two times; for integers the built-in one is many times faster."""
        self.config = config
        self.memory = memory
        self._maximum = maximum
        self._row_bursts, self._row_cycles = config.row_bursts, (config.row_beats - 1) * memory.beat_interval_cycles
        self._free: Cycle = 0       # the next slot can be accepted from here on, but for its place
        self._word: Cycle = -memory.beat_interval_cycles
        self._ended: Cycle = -END_INTERVAL_CYCLES
        self._given: deque[Cycle] = deque(maxlen=config.prefetch_rows)

    def event(self, offered: Cycle) -> tuple[Cycle, Cycle]:
        """When an event that is on ``i`` from cycle ``offered`` on is accepted, and when it is on ``o``."""
        memory = self.memory
        accept = self._accept(offered)
        self._free = accept + self._row_bursts
        first = self._maximum(accept + 1 + memory.latency_cycles, self._word + memory.beat_interval_cycles)
        self._word = first + self._row_cycles
        return accept, self._give(self._word + 1)

    def end(self, offered: Cycle, room: Room) -> tuple[Cycle, Cycle]:
        """Likewise for an end mark; ``room(c)`` is the first cycle from ``c`` on in which ``room`` is set."""
        accept = self._accept(offered)
        self._free = accept + 1
        earliest = self._maximum(accept + 1, self._ended + END_INTERVAL_CYCLES)
        if self._given:
            earliest = self._maximum(earliest, self._given[-1] + 1)
        self._ended = room(earliest)
        return accept, self._give(self._ended)

    def _accept(self, offered: Cycle) -> Cycle:
        accept: Cycle = self._maximum(offered, self._free)
        if len(self._given) == self.config.prefetch_rows:
            accept = self._maximum(accept, self._given[0] + 1)
        return accept

    def _give(self, ready: Cycle) -> Cycle:
        if self._given:
            ready = self._maximum(ready, self._given[-1] + 1)
        self._given.append(ready)
        return ready + 1


def fetch_cycles(config: WeightFetchConfig, memory: MemoryTiming, slots: Iterable[tuple[Cycle, bool]],
                 room: Room) -> tuple[list[Cycle], list[Cycle]]:
    """When each slot is accepted on ``i``, and when it is on ``o``. Cycle 0 is the first after reset.

    Parameters
    ----------
    config : WeightFetchConfig
    memory : MemoryTiming
    slots : iterable of (int or int64 array (N,), bool)
        Cycle from which the slot is offered, and whether it is an end mark. A slot is offered after the one before
        has been accepted, so a cycle too early means "at once".
    room : callable
        ``room(c)`` is the first cycle from ``c`` on in which ``room`` is set.

    Returns
    -------
    accepted, seen : list of int or int64 array (N,)
    """
    timing = FetchTiming(config, memory)
    cycles = [timing.end(offered, room) if end else timing.event(offered) for offered, end in slots]
    return [accepted for accepted, _ in cycles], [seen for _, seen in cycles]
