"""cocotb tests of the bare top module: a Source and a Sink in Python, cycle by cycle. Runs inside the simulator.

The environment variable ``CASE`` names a JSON file with the beats of some samples, and the classes.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadWrite, RisingEdge

CASE = json.loads(Path(os.environ["CASE"]).read_text())
PATIENCE_CYCLES = 20_000


class Source:
    """Offers beats; without ``valid`` the payload is noise."""

    def __init__(self, dut: Any, beats: list[int], gap: float, rng: random.Random) -> None:
        self.dut, self.beats, self.gap, self.rng = dut, beats, gap, rng
        self.valid = False

    def drive(self) -> None:
        """After the rising edge: what to offer until the next one."""
        if not self.valid:
            self.valid = bool(self.beats) and self.rng.random() >= self.gap
        self.dut.i__valid.value = int(self.valid)
        self.dut.i__payload.value = self.beats[0] if self.valid else self.rng.getrandbits(len(self.dut.i__payload))

    def sample(self) -> None:
        """Settled, before the next rising edge: is this a transfer?"""
        if self.valid and self.dut.i__ready.value == 1:
            self.beats.pop(0)
            self.valid = False


class Sink:
    """Takes results, and watches the rules: valid and payload stay until the transfer."""

    def __init__(self, dut: Any, stall: float, rng: random.Random) -> None:
        self.dut, self.stall, self.rng = dut, stall, rng
        self.ready = False
        self.waiting: int | None = None
        self.received: list[int] = []

    def drive(self) -> None:
        self.ready = self.rng.random() >= self.stall
        self.dut.o__ready.value = int(self.ready)

    def sample(self) -> None:
        valid = self.dut.o__valid.value == 1
        payload = int(self.dut.o__payload.value) if valid else None
        assert self.waiting in (None, payload), f"o changed from {self.waiting} to {payload} before the transfer"
        self.waiting = payload if valid and not self.ready else None
        if valid and self.ready:
            assert payload is not None
            self.received.append(payload)


async def start(dut: Any) -> None:
    """Start the clock and reset."""
    dut.rst.value = 1
    dut.i__valid.value = 0
    dut.i__payload.value = 0
    dut.o__ready.value = 0
    Clock(dut.clk, 2, unit="step").start()
    for _ in range(3):
        await RisingEdge(dut.clk)
    dut.rst.value = 0


async def step(dut: Any, source: Source, sink: Sink) -> None:
    """One cycle."""
    await RisingEdge(dut.clk)
    source.drive()
    sink.drive()
    await FallingEdge(dut.clk)
    source.sample()
    sink.sample()


@cocotb.test()
@cocotb.parametrize(gap=[0.0, 0.5], stall=[0.0, 0.8])
async def classes_are_right(dut: Any, gap: float, stall: float) -> None:
    """All samples back to back, with pauses on both sides."""
    rng = random.Random(CASE["seed"])
    source, sink = Source(dut, list(CASE["beats"]), gap, rng), Sink(dut, stall, rng)
    await start(dut)
    for _ in range(PATIENCE_CYCLES):
        await step(dut, source, sink)
        if len(sink.received) == len(CASE["classes"]):
            break
    assert sink.received == CASE["classes"]
    for _ in range(50):
        await step(dut, source, sink)
    assert sink.received == CASE["classes"], "more results than samples"


@cocotb.test()
async def valid_does_not_wait_for_ready(dut: Any) -> None:
    """The result is offered, and stays, to a sink that is never ready; and ready within a cycle does not touch it."""
    rng = random.Random(CASE["seed"])
    source, sink = Source(dut, list(CASE["beats"]), 0.0, rng), Sink(dut, 1.0, rng)
    await start(dut)
    for _ in range(PATIENCE_CYCLES):
        await step(dut, source, sink)
        if sink.waiting is not None:
            break
    assert sink.waiting == CASE["classes"][0]
    for _ in range(200):
        await step(dut, source, sink)  # the sink checks that nothing changes
    for ready in (1, 0):
        dut.o__ready.value = ready
        await ReadWrite()  # settled, in the middle of the cycle
        assert dut.o__valid.value == 1
        assert int(dut.o__payload.value) == CASE["classes"][0]
    assert sink.received == []

