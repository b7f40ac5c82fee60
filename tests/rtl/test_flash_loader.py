"""The flash's image, and what reads it, against a flash written from the data sheets' commands."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from amaranth.sim import Simulator

from spikeloom.rtl.flash_loader import TRIES, FlashLoader, FlashLoaderConfig, flash_image

HASH = "0123456789abcdef" * 4
TABLES = (bytes(range(40, 52)), b"\xff\x00\xab\x03")
CONFIG = FlashLoaderConfig(offset=0x2F000, network_hash=HASH, table_bytes=tuple(map(len, TABLES)), clock_hz=1_000_000)


def checksum(data: bytes) -> int:
    """CRC-32/MPEG-2, a bit at a time."""
    value = 0xFFFFFFFF
    for byte in data:
        for bit in range(7, -1, -1):
            value = (value << 1 & 0xFFFFFFFF) ^ (0x04C11DB7 if (value >> 31 ^ byte >> bit) & 1 else 0)
    return value


def test_image() -> None:
    image = flash_image(HASH, TABLES)
    assert image[:24] == b"SNNF" + bytes([16, 0, 0, 0]) + bytes.fromhex(HASH)[:16]
    assert image[24:-4] == b"".join(TABLES)
    assert checksum(b"123456789") == 0x0376E6E7  # as every list of checksums has it
    assert int.from_bytes(image[-4:], "big") == checksum(image[:-4])
    assert len(image) == CONFIG.image_bytes


class Flash:
    """Sleeps until it is released, and ``release_cycles`` more; what comes before that it does not hear."""

    def __init__(self, images: list[bytes], offset: int, release_cycles: int) -> None:
        self.images, self.offset, self.release_cycles = images, offset, release_cycles
        self.reads = 0
        self.awake_at: int | None = None
        self.heard: list[int] = []
        self.sending: list[int] = []
        self.before = (0, 1)

    def step(self, now: int, sck: int, cs_n: int, mosi: int) -> int | None:
        """The level on miso, if it changes."""
        sck_before, cs_n_before = self.before
        self.before = (sck, cs_n)
        if cs_n:
            if not cs_n_before and self.heard == [int(bit) for bit in f"{0xAB:08b}"]:
                self.awake_at = now + self.release_cycles
            self.heard = []
            return None
        if sck and not sck_before:
            self.heard.append(mosi)
            if len(self.heard) == 32 and self.heard[:8] == [0, 0, 0, 0, 0, 0, 1, 1]:
                address = int("".join(map(str, self.heard[8:])), 2) - self.offset
                image = self.images[min(self.reads, len(self.images) - 1)]
                self.reads += 1
                awake = self.awake_at is not None and now >= self.awake_at
                self.sending = [byte >> bit & 1 if awake else 1 for byte in image[address:] for bit in range(7, -1, -1)]
        if sck_before and not sck and len(self.heard) >= 32:
            return self.sending[len(self.heard) - 32] if len(self.heard) - 32 < len(self.sending) else 1
        return None


def loaded(config: FlashLoaderConfig, flash: Flash, cycles: int) -> tuple[list[bytes], int, bool]:
    """Packets of the loader, the cycle in which it was done, and whether it failed."""
    dut = FlashLoader(config)
    packets, end, failed = [bytearray()], 0, False

    async def bench(ctx: Any) -> None:
        nonlocal end, failed
        for now in range(cycles):
            level = flash.step(now, ctx.get(dut.sck), ctx.get(dut.cs_n), ctx.get(dut.mosi))
            if level is not None:
                ctx.set(dut.miso, level)
            if not ctx.get(dut.busy):
                end, failed = now, bool(ctx.get(dut.failed))
                return
            assert not ctx.get(dut.failed)
            if ctx.get(dut.o.valid):
                packets[-1].append(ctx.get(dut.o.payload.data))
                if ctx.get(dut.o.payload.last):
                    packets.append(bytearray())
            await ctx.tick()
        raise AssertionError(f"not done in {cycles} cycles")

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert not packets.pop()
    return [bytes(packet) for packet in packets], end, failed


EXPECTED = [bytes([n, 0, 0, 0]) + table for n, table in enumerate(TABLES)]


@pytest.mark.parametrize("clock_hz", [1_000_000, 26_000_000, 80_000_000])
def test_tables_come_as_packets(clock_hz: int) -> None:
    config = replace(CONFIG, clock_hz=clock_hz)
    assert config.half_cycles == {1_000_000: 1, 26_000_000: 2, 80_000_000: 4}[clock_hz]
    flash = Flash([flash_image(HASH, TABLES)], config.offset, round(35e-6 * clock_hz))
    packets, end, failed = loaded(config, flash, 2 * config.try_cycles)
    assert packets == EXPECTED
    assert not failed
    assert end == config.try_cycles


@pytest.mark.parametrize("bad", range(TRIES + 1))
def test_bad_reads(bad: int) -> None:
    seed = 11
    print(f"seed {seed}")
    rng = random.Random(seed)
    good = flash_image(HASH, TABLES)

    def garbled() -> bytes:
        bit = rng.randrange(24 * 8, 8 * len(good))
        return bytes(byte ^ (0x80 >> bit % 8 if place == bit // 8 else 0) for place, byte in enumerate(good))

    flash = Flash([*(garbled() for _ in range(bad)), good], CONFIG.offset, 35)
    packets, end, failed = loaded(CONFIG, flash, (TRIES + 1) * CONFIG.try_cycles)
    assert failed == (bad == TRIES)
    assert flash.reads == min(bad + 1, TRIES)
    assert end == flash.reads * CONFIG.try_cycles
    if not failed:
        assert packets[-2:] == EXPECTED


@pytest.mark.parametrize("image", [
    flash_image("f" * 64, TABLES), flash_image(HASH[:31] + "e" + HASH[32:], TABLES),
    flash_image(HASH, (*TABLES, b"ab")), b"\xff" * 60, bytes(60), b""],
    ids=["another network", "nearly the same network", "longer", "erased", "zeros", "nothing there"])
def test_images_of_something_else(image: bytes) -> None:
    _, _, failed = loaded(CONFIG, Flash([image], CONFIG.offset, 35), (TRIES + 1) * CONFIG.try_cycles)
    assert failed


def test_a_flash_that_sleeps_too_long() -> None:
    _, _, failed = loaded(CONFIG, Flash([flash_image(HASH, TABLES)], CONFIG.offset, 10**6), 5 * CONFIG.try_cycles)
    assert failed


@pytest.mark.parametrize(("change", "why"), [
    ({"table_bytes": ()}, "table_bytes must be"), ({"offset": -1}, "offset must be"),
    ({"offset": (1 << 24) - CONFIG.image_bytes + 1}, r"offset must be in 0\.\.16777172 for 44 bytes")])
def test_configs_that_are_none(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replace(CONFIG, **change)
