"""Drive a component's streams in Amaranth's simulator, with random gaps and stalls, under a watchdog."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
from amaranth.hdl import ClockDomain, Module, ResetInserter, Signal, Value
from amaranth.sim import Simulator

__all__ = ["Transfer", "run_streams"]

Transfer = tuple[int, int]  # (cycle, payload)


def run_streams(dut: Any, stimulus: Sequence[int], outputs: int, *, gap: float = 0.0, stall: float = 0.0,
                seed: int = 0, watch: dict[str, Any] | None = None, limit_cycles: int = 20_000,
                wait_between: Sequence[int] = (), per_result: Sequence[int] = (), reset_at: int | None = None,
                background: Sequence[Callable[[Any], Awaitable[None]]] = (), marks: Any = None, start: int = 0,
                ) -> tuple[list[int], list[Transfer], dict[str, list[Transfer]]]:
    """Send ``stimulus`` to ``dut.i`` and take ``outputs`` payloads from ``dut.o``.

    ``gap`` and ``stall`` are the chances per cycle that nothing is offered, or taken. ``watch`` names further
    streams whose transfers are recorded. With ``wait_between``, the payloads of each sample, a sample is sent when all
    outputs of the one before (``per_result`` of each sample) have been taken.
    Nothing is offered before the cycle ``start``.
    ``reset_at`` is a cycle in which a reset throws everything away: the stimulus and the count of
    cycles start anew.
    Cycles in which the signal ``marks`` is set are recorded as the stream "marks".
    ``background`` are test benches that go on in the same clock as long as this one.
    Returns the cycles in which inputs were taken, the outputs, and what the watched streams carried.
    """
    rng = np.random.default_rng(seed)
    sent: list[int] = []
    received: list[Transfer] = []
    seen: dict[str, list[Transfer]] = {name: [] for name in watch or {}}
    reset = Signal()
    if marks is not None:
        seen["marks"] = []
    may_send, outputs_until = np.cumsum([*wait_between, 0]).tolist(), np.cumsum(per_result)

    async def bench(ctx: Any) -> None:
        cycle, nth, offering = 0, 0, False
        until_reset = -1 if reset_at is None else reset_at
        while until_reset >= 0 or len(received) < outputs:
            assert cycle < limit_cycles, f"watchdog: {len(sent)} sent, {len(received)} received, seed {seed}"
            if not offering and cycle >= start and nth < len(stimulus) and rng.random() >= gap:
                complete = int(np.searchsorted(outputs_until, len(received), "right"))
                offering = not wait_between or nth < may_send[complete]
            ctx.set(dut.i.valid, offering)
            ctx.set(Value.cast(dut.i.payload), stimulus[nth] if offering else int(rng.integers(2)))
            ctx.set(dut.o.ready, rng.random() >= stall)
            if ctx.get(dut.i.valid) and ctx.get(dut.i.ready):
                sent.append(cycle)
                nth, offering = nth + 1, False
            for name, stream in (watch or {}).items():
                if ctx.get(stream.valid) and ctx.get(stream.ready):
                    seen[name].append((cycle, ctx.get(Value.cast(stream.payload))))
            if marks is not None and ctx.get(marks):
                seen["marks"].append((cycle, 1))
            if ctx.get(dut.o.valid) and ctx.get(dut.o.ready):
                received.append((cycle, ctx.get(Value.cast(dut.o.payload))))
            ctx.set(reset, until_reset == 0)
            await ctx.tick()
            cycle += 1
            if until_reset == 0:
                cycle, nth, offering = 0, 0, False
                for record in (sent, received, *seen.values()):
                    record.clear()
            until_reset -= 1

    m = Module()
    m.domains.sync = ClockDomain("sync")  # for what has no register of its own, too
    m.submodules.dut = ResetInserter(reset)(dut)
    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    for other in background:
        sim.add_testbench(other, background=True)
    sim.run()
    return sent, received, seen
