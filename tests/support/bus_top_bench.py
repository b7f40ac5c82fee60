"""cocotb bench of a bus top: packets, results and registers by cocotbext-axi. Runs inside the simulator.

The environment variable ``CASE`` names a JSON file; what happened is written to ``trace.json``.
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
from cocotb.triggers import ClockCycles, Lock, RisingEdge, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiRamRead,
    AxiReadBus,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

CASE = json.loads(Path(os.environ["CASE"]).read_text())
REGISTERS = CASE["registers"]
PATIENCE_STEPS = max(CASE.get("periods", [2])) * 4_000_000


def pauses(rng: random.Random, most: int = 6) -> Iterator[bool]:
    """Now and then, for a while."""
    while True:
        yield from itertools.repeat(rng.random() < CASE["stall"], rng.randint(1, most))


class FaultyRam(AxiRamRead):
    """Answers SLVERR while it is told to."""

    fails = False

    async def _read(self, address: int, length: int) -> bytes:
        if FaultyRam.fails:
            raise ValueError("asked for")
        data: bytes = await super()._read(address, length)
        return data


class Answer:
    """As cocotbext-axi's answers."""

    def __init__(self, resp: int, data: bytes = b"") -> None:
        self.resp, self.data = resp, data


class WishboneMaster:
    """Classic cycles, with pauses between and in front of them; the rules of the specification are checked."""

    def __init__(self, dut: Any, rng: random.Random) -> None:
        self.dut, self.rng = dut, rng
        self.turn = Lock()
        for port in ("cyc", "stb", "we", "adr", "sel", "dat_w"):
            getattr(dut, f"wb_{port}").value = 0

    async def _cycle(self, address: int, data: bytes | None, sel: int = 15) -> Answer:
        dut = self.dut
        async with self.turn:
            while self.rng.random() < CASE["stall"]:
                await RisingEdge(dut.clk)
                assert dut.wb_ack.value == dut.wb_err.value == 0
            dut.wb_cyc.value = dut.wb_stb.value = 1
            dut.wb_we.value, dut.wb_adr.value, dut.wb_sel.value = int(data is not None), address, sel
            if data is not None:
                dut.wb_dat_w.value = int.from_bytes(data, "little")
            for _ in range(10):
                await RisingEdge(dut.clk)
                if dut.wb_ack.value == 1 or dut.wb_err.value == 1:
                    break
            else:
                raise AssertionError("no answer")
            assert int(dut.wb_ack.value) + int(dut.wb_err.value) == 1
            answer = Answer(2 * int(dut.wb_err.value), int(dut.wb_dat_r.value).to_bytes(4, "little"))
            dut.wb_cyc.value = dut.wb_stb.value = 0
            await RisingEdge(dut.clk)
            return answer

    async def read(self, address: int, length: int) -> Answer:
        assert length == 4
        return await self._cycle(address, None)

    async def write(self, address: int, data: bytes) -> Answer:
        return await self._cycle(address, data)

    async def read_dword(self, address: int) -> int:
        answer = await self.read(address, 4)
        assert answer.resp == 0
        return int.from_bytes(answer.data, "little")

    async def write_dword(self, address: int, value: int) -> None:
        assert (await self.write(address, value.to_bytes(4, "little"))).resp == 0


class Top:
    """The device under test with all that is connected to it."""

    def __init__(self, dut: Any) -> None:
        rng = random.Random(CASE["seed"])
        self.dut, self.rng = dut, rng
        self.axi = CASE["interface"] == "axi"
        self.clk, self.reset = (dut.aclk, dut.aresetn) if self.axi else (dut.clk, dut.rst)
        clock = {"clock": self.clk, "reset": self.reset, "reset_active_level": not self.axi}
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), **clock)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), **clock)
        self.lite = (AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), **clock) if self.axi
                     else WishboneMaster(dut, rng))
        for table in CASE["tables"]:
            ram = FaultyRam(AxiReadBus.from_prefix(dut, f"m_axi_{table['layer']}"), size=1 << 32, **clock)
            ram.write(table["base"], bytes.fromhex(table["contents"]))
            ram.ar_channel.set_pause_generator(pauses(rng))
            ram.r_channel.set_pause_generator(pauses(rng))
        self.source.set_pause_generator(pauses(rng))
        self.sink.set_pause_generator(pauses(rng, CASE.get("hold", 6)))
        if not self.axi:
            return
        channels = (self.lite.write_if.aw_channel, self.lite.write_if.w_channel, self.lite.write_if.b_channel,
                    self.lite.read_if.ar_channel, self.lite.read_if.r_channel)
        for channel in channels:
            channel.set_pause_generator(pauses(rng))

    async def start(self) -> None:
        self.reset.value = int(not self.axi)
        period, core_period = CASE.get("periods", (2, None))
        Clock(self.clk, period, unit="step").start()
        if core_period is not None:
            Clock(self.dut.core_clk, core_period, unit="step").start()
        await ClockCycles(self.clk, 3 if core_period is None else 16 * (1 + core_period // period))
        self.reset.value = int(self.axi)
        await RisingEdge(self.clk)
        for table in CASE["tables"]:
            await self.write(table["low"], table["base"] & 0xFFFFFFFF)

    async def read(self, register: str) -> int:
        return int(await self.lite.read_dword(REGISTERS[register]))

    async def write(self, register: str, value: int) -> None:
        await self.lite.write_dword(REGISTERS[register], value)

    async def score(self, index: int) -> int:
        await self.write("score_index", index)
        value = await self.read("score")
        return value - (value >> 31 << 32)

    async def scores(self) -> list[int]:
        return [await self.score(index) for index in range(CASE["scored"])]

    async def send(self, beats: list[int]) -> None:
        size = CASE["beat_bytes"]
        await self.source.send(AxiStreamFrame(b"".join(beat.to_bytes(size, "little") for beat in beats)))

    async def result(self) -> dict[str, Any]:
        frame = await with_timeout(self.sink.recv(compact=False), PATIENCE_STEPS, "step")
        size = CASE["result_bytes"]
        data = bytes(frame.tdata)
        user = frame.tuser if isinstance(frame.tuser, list) else [frame.tuser]
        return {"data": [int.from_bytes(data[at:at + size], "little") for at in range(0, len(data), size)],
                "error": int(user[-1])}


@cocotb.test()
async def packets(dut: Any) -> None:
    """Send all packets, while registers are read; write down all results, some scores, and the registers at the end."""
    top = Top(dut)
    await top.start()
    reads = 0
    done = False

    async def disturb() -> None:
        nonlocal reads
        while not done:
            await top.read(top.rng.choice(list(REGISTERS)))
            reads += 1
            await ClockCycles(top.clk, top.rng.randint(1, 50))

    async def watch_scores() -> None:
        number = 0
        while not done:
            index = top.rng.randrange(CASE["scored"])
            score, before = await top.score(index), number
            number = await top.read("results")
            if before and number == before:
                seen.append((number - 1, index, score))

    watchers = [cocotb.start_soon(disturb())] if CASE["disturbs"] else []
    if CASE["disturbs"] and CASE["scored"]:
        watchers.append(cocotb.start_soon(watch_scores()))
    results, cycles, scores = [], [], []
    seen: list[tuple[int, int, int]] = []  # of which result, of which class, which score
    for index, beats in enumerate(CASE["packets"]):
        await top.send(beats)
        if CASE["isolated"]:
            results.append(await top.result())
            cycles.append(await top.read("cycles"))
            scores.append(await top.scores())
        elif index >= 40:  # some are under way at any time
            results.append(await top.result())
    while len(results) < len(CASE["packets"]):
        results.append(await top.result())
    done = True
    for watcher in watchers:
        await watcher
    assert top.sink.empty()
    seen += [(len(results) - 1, index, score) for index, score in enumerate(await top.scores())]
    registers = {name: await top.read(name) for name in REGISTERS}
    Path("trace.json").write_text(json.dumps({"results": results, "cycles": cycles, "registers": registers,
                                              "reads": reads, "scores": scores, "seen": seen}))


@cocotb.test()
async def control(dut: Any) -> None:
    """Enable, interrupts, soft resets in the middle, addresses without a register, a memory that fails."""
    top = Top(dut)
    await top.start()
    good = CASE["packets"][0]
    first = CASE["first"]

    await top.write("control", 0)
    await top.send(good)
    await ClockCycles(top.clk, 200)
    assert top.sink.empty()
    assert await top.read("status") == 0
    assert await top.read("results") == 0
    await top.write("control", 1)
    assert await top.result() == first
    assert await top.scores() == CASE["first_scores"]

    assert dut.irq.value == 0
    assert await top.read("events") == 1
    await top.write("interrupt_enable", 3)
    await ClockCycles(top.clk, 2)
    assert dut.irq.value == 1
    await top.write("events", 0x1F)
    await ClockCycles(top.clk, 2)
    assert dut.irq.value == 0
    assert await top.read("events") == 0

    await top.send(good[:-1] if len(good) > 1 else [*good, 0])
    assert (await top.result())["error"] == 1
    assert dut.irq.value == 1
    assert await top.read("events") == (7 if len(good) > 1 else 11)
    assert await top.read("malformed") == 1
    await top.write("events", 2)  # the others stay
    assert await top.read("events") == (5 if len(good) > 1 else 9)
    await top.write("events", 0x1F)

    await top.send(good)
    assert await top.result() == first
    for _ in range(CASE["soft_resets"]):
        given = await top.read("results")
        await top.send(CASE["busy"])
        await ClockCycles(top.clk, top.rng.randint(1, CASE["reset_within"]))
        top.source.clear()
        await top.write("control", 3)
        assert await top.read("control") == 1
        if await top.read("results") == given:
            assert await top.scores() == CASE["first_scores"]
        for _ in range(2_000):  # with external weights what is under way comes to its end
            if not await top.read("status"):
                break
        # What was left of the packet is one that begins in the middle; it ends with the next that is sent.
        await ClockCycles(top.clk, 20)
        while not top.source.idle():
            await ClockCycles(top.clk, 20)
        await top.write("control", 3)
        for _ in range(2_000):
            if not await top.read("status"):
                break
        await ClockCycles(top.clk, 200)  # what has left the accelerator arrives
        while not top.sink.empty():
            frame = top.sink.recv_nowait()
            assert len(frame.tdata) <= CASE["result_bytes"] * len(first["data"])
        await top.send(good)
        assert await top.result() == first
        assert await top.scores() == CASE["first_scores"]

    if CASE["unknown"] is not None:
        response = await top.lite.read(CASE["unknown"], 4)
        assert response.resp == 2
        assert (await top.lite.write(CASE["unknown"], b"1234")).resp == 2
    before = await top.read("identity")
    await top.lite.write(REGISTERS["identity"], b"1234")  # does nothing
    assert await top.read("identity") == before

    if CASE["tables"]:
        await top.write("events", 0x1F)
        FaultyRam.fails = True
        await top.send(CASE["busy"])
        assert (await top.result())["error"] == 1
        FaultyRam.fails = False
        assert await top.read("events") & 0x12 == 0x12
        await top.write("events", 0x1F)
        await top.send(good)
        assert await top.result() == first
        assert await top.read("events") == 1


@cocotb.test()
async def weight_sets(dut: Any) -> None:
    """One network after the other without a reset; loads that break off, that are too short and too long."""
    top = Top(dut)
    await top.start()
    rng, double = top.rng, CASE["weight_sets"] == 2
    results: list[dict[str, Any]] = []
    awaited = 0

    async def words(values: list[int]) -> None:
        await top.write("load", 1)
        for _ in range(10_000):
            if await top.read("load") & 4:
                break
        else:
            raise AssertionError("not ready")
        for value in values:
            await top.write("load_word", value)

    async def use(expected: bool) -> None:
        await top.write("events", 0x3F)
        await top.write("load", 2)
        for _ in range(10_000):
            if not await top.read("load") & 16:
                break
        else:
            raise AssertionError("pending for ever")
        assert (await top.read("events") & 0x22 == 0) == expected

    async def drain() -> None:
        nonlocal awaited
        while awaited:
            results.append(await top.result())
            awaited -= 1

    for index, net in enumerate(CASE["networks"]):
        drained = cocotb.start_soon(drain())
        if index:  # the first is the one that was built
            for fault in rng.sample(["none", "broken", "short", "long", "reset"], 2):
                if fault == "broken":
                    await words(net["words"][:rng.randrange(len(net["words"]))])
                elif fault in ("short", "long"):
                    await words(net["words"][1:] if fault == "short" else [*net["words"], 0])
                    await use(False)
                    assert bool(await top.read("load") & 32) == double
                    assert await top.read("hash0") == (CASE["networks"][index - 1]["hash"][0] if double else 0)
                elif fault == "reset" and drained.done():
                    await words(net["words"][:rng.randrange(len(net["words"]))])
                    await top.write("control", 3)
            await words(net["words"])
            for place, value in enumerate(net["hash"]):
                await top.write(f"load_hash{place}", value)
            await use(True)
        await drained
        assert [await top.read(f"hash{place}") for place in range(4)] == net["hash"]
        for beats in net["packets"]:
            await top.send(beats)
            awaited += 1
        if not double or rng.random() < 0.5:
            while not top.source.idle():  # the last results are under way as the next set comes
                await ClockCycles(top.clk, 1)
        else:
            await drain()
    await drain()
    assert top.sink.empty()
    Path("trace.json").write_text(json.dumps({"results": results}))
