"""cocotb bench of the weight fetch: slots and room from a seed, a trace into a file. Runs inside the simulator.

The environment variable ``CASE`` names a JSON file. If it has a ``table``, the memory is cocotbext-axi's RAM behind
random pauses; else the top module has brought one of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge
from cocotbext.axi import AxiRamRead, AxiReadBus

CASE = json.loads(Path(os.environ["CASE"]).read_text())
PATIENCE_CYCLES = 20_000


class FaultyRam(AxiRamRead):
    """Answers SLVERR at some addresses."""

    async def _read(self, address: int, length: int) -> bytes:
        if address in CASE["bad_addresses"]:
            raise ValueError("asked for")
        data: bytes = await super()._read(address, length)
        return data


def pauses(rng: random.Random) -> Iterator[bool]:
    """Now and then, for a while."""
    while True:
        yield from itertools.repeat(rng.random() < CASE["stall"], rng.randint(1, 6))


def add_memory(dut: Any, rng: random.Random) -> None:
    """cocotbext-axi's RAM. (It checks that bursts do not cross 4 KB boundaries.)"""
    ram = FaultyRam(AxiReadBus.from_prefix(dut, "axi_"), dut.clk, dut.rst, size=1 << 32)
    ram.write(CASE["base"], bytes.fromhex(CASE["table"]))
    ram.ar_channel.set_pause_generator(pauses(rng))
    ram.r_channel.set_pause_generator(pauses(rng))


@cocotb.test()
async def trace_slots(dut: Any) -> None:
    """Send all slots, wait for all of them, write down when what happened."""
    rng = random.Random(CASE["seed"])
    dut.rst.value = 1
    for port in (dut.i__valid, dut.i__payload, dut.room, dut.clear):
        port.value = 0
    dut.base.value = CASE["base"]
    if "table" in CASE:
        add_memory(dut, rng)
    Clock(dut.clk, 2, unit="step").start()
    for _ in range(3):
        await RisingEdge(dut.clk)
    dut.rst.value = 0

    slots, nth, offering = CASE["slots"], 0, False
    offered: list[int] = []
    accepted: list[int] = []
    seen: list[tuple[int, str]] = []
    room: list[bool] = []
    error: list[int] = []
    for cycle in range(PATIENCE_CYCLES):
        if nth < len(slots) and not offering and rng.random() >= CASE["gap"]:
            offering = True
            offered.append(cycle)
        room.append(rng.random() >= CASE["withheld"])
        dut.i__valid.value = int(offering)
        dut.i__payload.value = slots[nth] if offering else rng.getrandbits(len(dut.i__payload))
        dut.room.value = int(room[-1])
        await FallingEdge(dut.clk)
        if offering and dut.i__ready.value == 1:
            accepted.append(cycle)
            nth, offering = nth + 1, False
        o = int(dut.o.value)
        if o >> CASE["row_bits"]:
            seen.append((cycle, f"{o:x}"))
        error.append(int(dut.error.value))
        if len(seen) >= len(slots):
            break
        await RisingEdge(dut.clk)
    assert len(seen) == len(slots), f"{len(accepted)} slots accepted, {len(seen)} seen until the watchdog"
    Path("trace.json").write_text(json.dumps(
        {"offered": offered, "accepted": accepted, "seen": seen, "room": room, "error": error}))
