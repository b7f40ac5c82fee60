"""The parts of a serial line in Amaranth's simulator: UART, SLIP, checksums, the buffer of frames."""

from __future__ import annotations

import binascii
import random
from collections import deque
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from support.block_ram import without_lut_ram
from support.serial_host import frame_bytes, slip
from support.simulation import memory_bits, simulate
from support.stream_bench import run_streams

from spikeloom.rtl.byte_beats import BeatsToBytes, BytesToBeats, beat_bytes
from spikeloom.rtl.checksum import ChecksumAdder, ChecksumChecker
from spikeloom.rtl.frame_buffer import FrameBuffer
from spikeloom.rtl.slip import END, ESC, SlipDecoder, SlipEncoder
from spikeloom.rtl.uart import BIT_CYCLES_MIN, UartReceiver, UartTransmitter

PATIENCE_CYCLES = 100_000


class _Loop(wiring.Component):
    """A transmitter and a receiver on one line."""

    def __init__(self, bit_cycles: int) -> None:
        self.sender, self.receiver = UartTransmitter(bit_cycles), UartReceiver(bit_cycles)
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.sender, m.submodules.receiver = self.sender, self.receiver
        m.d.comb += self.receiver.rx.eq(self.sender.tx)
        return m


@pytest.mark.parametrize("bit_cycles", [4, 5, 8, 13, 100])
def test_uart_loop(bit_cycles: int) -> None:
    rng = random.Random(bit_cycles)
    wanted = [rng.getrandbits(8) for _ in range(30)]
    got: list[int] = []
    loop = _Loop(bit_cycles)

    async def bench(ctx: Any) -> None:
        nth, cycle = 0, 0
        taken: list[int] = []
        while len(got) < len(wanted):
            offers = nth < len(wanted) and (nth < 10 or rng.random() < 0.02)
            ctx.set(loop.sender.i.valid, offers)
            if offers:
                ctx.set(loop.sender.i.payload, wanted[nth])
                if ctx.get(loop.sender.i.ready):
                    assert nth in (0, *range(10, 30)) or cycle - taken[-1] == 10 * bit_cycles
                    taken.append(cycle)
                    nth += 1
            if ctx.get(loop.receiver.o.valid):
                assert not ctx.get(loop.receiver.o.payload.bad)
                # The line falls a cycle after the byte was taken.
                assert cycle - taken[len(got)] == 1 + bit_cycles // 2 + 9 * bit_cycles + 3
                got.append(ctx.get(loop.receiver.o.payload.data))
            await ctx.tick()
            cycle += 1
            assert cycle < PATIENCE_CYCLES

    simulate(loop, bench)
    assert got == wanted


def test_uart_receiver_forgives_and_does_not() -> None:
    """Clocks that differ by 4 % are forgiven; noise is no byte; a line that stays low is one bad byte, no more."""
    bit_cycles = 25
    receiver = UartReceiver(bit_cycles)
    got: list[tuple[int, int]] = []

    async def bench(ctx: Any) -> None:
        async def level(bit: int, cycles: int) -> None:
            ctx.set(receiver.rx, bit)
            for _ in range(cycles):
                if ctx.get(receiver.o.valid):
                    got.append((ctx.get(receiver.o.payload.data), ctx.get(receiver.o.payload.bad)))
                await ctx.tick()

        async def byte(value: int, cycles: int) -> None:
            for bit in (0, *((value >> n) & 1 for n in range(8)), 1):
                await level(bit, cycles)

        await level(1, 40)
        for value in (0x00, 0xFF, 0x55, 0xA6):
            await byte(value, bit_cycles - 1)
            await byte(value, bit_cycles + 1)
        await level(0, 9)
        await level(1, 300)
        await level(0, 60 * bit_cycles)
        await level(1, 60)
        await byte(0x3C, bit_cycles)
        await level(1, 40)

    simulate(receiver, bench)
    assert [value for value, bad in got if not bad] == [0, 0, 255, 255, 0x55, 0x55, 0xA6, 0xA6, 0x3C]
    assert [bad for _, bad in got] == [0] * 8 + [1, 0]


@pytest.mark.parametrize("part", [UartReceiver, UartTransmitter])
def test_bits_of_a_line_take_cycles(part: Any) -> None:
    with pytest.raises(ValueError, match=f"bit_cycles must be at least {BIT_CYCLES_MIN}, not 3"):
        part(3)


def packets_of(rng: random.Random, count: int) -> list[bytes]:
    return [bytes(rng.choice([END, ESC, rng.getrandbits(8)]) for _ in range(rng.randint(1, 9))) for _ in range(count)]


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_slip_encoder(stall: float) -> None:
    rng = random.Random(1)
    packets = packets_of(rng, 40)
    wanted = b"".join(slip(packet) for packet in packets)
    beats = [byte | (at == len(packet) - 1) << 8 for packet in packets for at, byte in enumerate(packet)]
    _, received, _ = run_streams(SlipEncoder(), beats, len(wanted), gap=stall, stall=stall)
    assert bytes(byte for _, byte in received) == wanted
    if not stall:
        assert received[-1][0] == len(wanted) - 1


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_checksum_adder(stall: float) -> None:
    rng = random.Random(2)
    packets = packets_of(rng, 40)
    beats = [byte | (at == len(packet) - 1) << 8 for packet in packets for at, byte in enumerate(packet)]
    wanted = []
    for packet in packets:
        whole = packet + binascii.crc_hqx(packet, 0).to_bytes(2, "big")
        wanted += [byte | (at == len(whole) - 1) << 8 for at, byte in enumerate(whole)]
    _, received, _ = run_streams(ChecksumAdder(), beats, len(wanted), gap=stall, stall=stall)
    assert [beat for _, beat in received] == wanted
    if not stall:
        assert received[-1][0] == len(wanted) - 1


class _Line(wiring.Component):
    """From the bytes of a line to checked ones."""

    def __init__(self) -> None:
        self.slip, self.checker = SlipDecoder(), ChecksumChecker()
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.slip, m.submodules.checker = self.slip, self.checker
        wiring.connect(m, self.slip.o, self.checker.i)
        return m


def test_checker_finds_whole_packets_among_garbage() -> None:
    rng = random.Random(3)
    line = _Line()
    sent: list[tuple[int, int]] = []  # with whether it was bad
    wanted: list[bytes] = []
    for _ in range(200):
        packet = bytes(rng.choice([END, ESC, rng.getrandbits(8)]) for _ in range(rng.randint(1, 9)))
        text = frame_bytes(packet)
        fault = rng.choice(["", "", "", "lost", "changed", "bad", "noise", "torn"])
        beats = [(byte, 0) for byte in text]
        at = rng.randrange(1, len(beats) - 1)
        if fault == "lost":
            del beats[at]
        elif fault == "changed":
            beats[at] = (beats[at][0] ^ (1 << rng.randrange(8)), 0)
        elif fault == "bad":
            beats.insert(at, (rng.getrandbits(8), 1))
        elif fault == "torn":
            beats = beats[:at]
        elif fault == "noise":
            sent += [(rng.getrandbits(8), 0) for _ in range(3)]
            sent.append((END, 0))
        sent += beats
        if fault in ("", "noise"):
            wanted.append(packet)
    got: list[bytes] = []
    refused = 0

    async def bench(ctx: Any) -> None:
        nonlocal refused
        packet = bytearray()
        for byte, bad in sent:
            ctx.set(line.slip.i.valid, 1)
            ctx.set(line.slip.i.payload, {"data": byte, "bad": bad})
            if ctx.get(line.checker.o.valid):
                packet.append(ctx.get(line.checker.o.payload.data))
                if ctx.get(line.checker.o.payload.last):
                    if ctx.get(line.checker.o.payload.good):
                        got.append(bytes(packet))
                    refused += 1 - ctx.get(line.checker.o.payload.good)
                    packet.clear()
            await ctx.tick()

    simulate(line, bench)
    assert got == wanted
    assert refused > 20


@pytest.mark.parametrize("depth", [2, 4, 16, 64])
@pytest.mark.parametrize("stall", [0.0, 0.7])
def test_frame_buffer(depth: int, stall: float) -> None:
    rng = random.Random(depth)
    buffer = without_lut_ram(FrameBuffer(depth))
    assert memory_bits(FrameBuffer(depth)) == 11 * depth
    inside: deque[int] = deque()
    waits: list[int] = []

    async def bench(ctx: Any) -> None:
        taken = put = full = 0
        for _ in range(4000):
            valid = rng.random() < 0.8
            word = rng.getrandbits(11)
            commit = not valid and rng.random() < 0.2
            drop = not valid and not commit and rng.random() < 0.05
            flush = rng.random() < 0.002
            ctx.set(buffer.i.valid, valid)
            ctx.set(buffer.i.payload, {"data": word & 255, "ends_frame": word >> 8 & 1, "ends_packet": word >> 9 & 1,
                                            "weights": word >> 10})
            ctx.set(buffer.commit, commit)
            ctx.set(buffer.drop, drop)
            ctx.set(buffer.flush, flush)
            ctx.set(buffer.o.ready, rng.random() >= stall)
            ready = ctx.get(buffer.i.ready)
            assert ready == (len(inside) - ctx.get(buffer.o.valid) + len(waits) < depth)
            full += not ready
            if ctx.get(buffer.o.valid) and ctx.get(buffer.o.ready):
                payload = ctx.get(buffer.o.payload.as_value())
                assert payload == inside.popleft()
                taken += 1
            if commit:
                inside.extend(waits)
            if commit or drop:
                waits.clear()
            if valid and ready:
                waits.append(word)
                put += 1
            if flush:
                inside.clear()
                waits.clear()
            await ctx.tick()
        assert full or depth > 16
        assert taken > 100

    simulate(buffer, bench)


def test_frame_buffer_depth() -> None:
    with pytest.raises(ValueError, match="power of two, not 12"):
        FrameBuffer(12)


@pytest.mark.parametrize("bits", [1, 8, 9, 16, 21, 64])
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_beats_and_bytes(bits: int, stall: float) -> None:
    rng = random.Random(bits)
    size = beat_bytes(bits)
    beats = [rng.getrandbits(bits) | (rng.random() < 0.3) << bits for _ in range(60)]
    parts = [byte | (at == size - 1 and beat >> bits) << 8 for beat in beats
             for at, byte in enumerate((beat & ((1 << bits) - 1)).to_bytes(size, "little"))]
    _, received, _ = run_streams(BeatsToBytes(bits), beats, len(parts), gap=stall, stall=stall)
    assert [byte for _, byte in received] == parts
    assert stall or received[-1][0] == len(parts) - 1
    _, received, _ = run_streams(BytesToBeats(bits), parts, len(beats), gap=stall, stall=stall)
    assert [beat for _, beat in received] == beats
    assert stall or received[-1][0] == len(parts) - (size == 1)


def test_a_broken_beat_has_zeros_above() -> None:
    beats = [0x0201, 0x03 | 1 << 16, 0x0504]
    _, received, _ = run_streams(BytesToBeats(16), [1, 2, 3 | 256, 4, 5], 3)
    assert [beat for _, beat in received] == beats
