"""A serial link in Amaranth's simulator, with a host that makes mistakes: what was asked for happens, nothing else."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.serial_host import frame_bytes, unslip
from support.simulation import simulate

from spikeloom.rtl.frames import Kind, Reason
from spikeloom.rtl.serial_link import SerialLink, SerialLinkConfig

CONFIG = SerialLinkConfig(beat_bits=12, result_bits=9, address_bits=6, buffer_bytes=16)
PATIENCE_CYCLES = 60_000
REGISTERS = range(0, 40, 4)  # of an address space of 64 bytes


class Bench:
    """Both sides of a link. Bytes from the host come every ``gap`` cycles; nothing else waits for them."""

    def __init__(self, config: SerialLinkConfig = CONFIG, *, gap: int = 3, stall: float = 0.0, seed: int = 0) -> None:
        self.link = SerialLink(config)
        self.gap, self.stall, self.rng = gap, stall, random.Random(seed)
        self.line: list[tuple[int, int]] = []        # to send: bytes, with whether they are bad
        self.clears: set[int] = set()                # when so many bytes have been sent
        self.results: list[tuple[int, int, int]] = []  # to give: data, last, error
        self.packets: list[tuple[int, int]] = []     # that came out
        self.registers = {address: 0x11111111 * n for n, address in enumerate(REGISTERS)}
        self.writes: list[tuple[int, int]] = []
        self.said = bytearray()
        self.opened = True                           # packets are taken

    def send(self, *values: bytes, bad_at: int | None = None) -> None:
        frame = bytearray(frame_bytes(b"".join(values)))
        if bad_at is not None:
            frame[bad_at] ^= 0x04
        self.line += [(byte, 0) for byte in frame]

    @property
    def replies(self) -> list[bytes]:
        """Frames without their checksums, which are checked."""
        frames = []
        for packet in unslip(bytes(self.said)):
            assert frame_bytes(packet[:-2]) in bytes(self.said)
            frames.append(packet[:-2])
        return frames

    def run(self, extra_cycles: int = 400) -> None:
        link, rng = self.link, self.rng

        async def bench(ctx: Any) -> None:
            sent = since = left = cycle = nth = 0
            left = extra_cycles
            while left:
                cycle += 1
                assert cycle < PATIENCE_CYCLES
                offers = sent < len(self.line) and since >= self.gap
                since = 0 if offers else since + 1
                ctx.set(link.i.valid, offers)
                if offers:
                    ctx.set(link.i.payload, {"data": self.line[sent][0], "bad": self.line[sent][1]})
                # As if a frame had said it: no sooner than one does what it says.
                ctx.set(link.clear, sent in self.clears and not offers and since == 4)
                sent += offers
                ctx.set(link.packets.ready, self.opened and rng.random() >= self.stall)
                ctx.set(link.o.ready, rng.random() >= self.stall)
                gives = nth < len(self.results)
                ctx.set(link.results.valid, gives)
                if gives:
                    data, last, error = self.results[nth]
                    ctx.set(link.results.payload, {"data": data, "last": last, "error": error})
                address = ctx.get(link.bus.read_address) & ~3
                ctx.set(link.bus.read_data, self.registers.get(address, 0))
                ctx.set(link.bus.read_known, address in self.registers)
                address = ctx.get(link.bus.write_address) & ~3
                ctx.set(link.bus.write_known, address in self.registers)
                if ctx.get(link.bus.write):
                    assert ctx.get(link.bus.strobes) == 15
                    self.writes.append((address, ctx.get(link.bus.write_data)))
                    self.registers[address] = self.writes[-1][1]
                if ctx.get(link.packets.valid) and ctx.get(link.packets.ready):
                    self.packets.append((ctx.get(link.packets.payload.data), ctx.get(link.packets.payload.last)))
                if ctx.get(link.o.valid) and ctx.get(link.o.ready):
                    self.said.append(ctx.get(link.o.payload))
                nth += gives and ctx.get(link.results.ready)
                if sent == len(self.line):
                    left -= 1
                await ctx.tick()

        simulate(link, bench)


def le(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def kind(value: Kind) -> bytes:
    return bytes([value])


@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_registers(stall: float) -> None:
    bench = Bench(gap=20, stall=stall)
    bench.send(kind(Kind.READ), le(8, 2))
    bench.send(kind(Kind.WRITE), le(12, 2), le(0xC0DBC0DE, 4))
    bench.send(kind(Kind.READ), le(12, 2))
    bench.run()
    assert bench.replies == [kind(Kind.VALUE) + le(8, 2) + le(0x22222222, 4), kind(Kind.WRITTEN) + le(12, 2),
                             kind(Kind.VALUE) + le(12, 2) + le(0xC0DBC0DE, 4)]
    assert bench.writes == [(12, 0xC0DBC0DE)]


@pytest.mark.parametrize(("values", "reason"), [
    ([kind(Kind.READ), le(60, 2)], Reason.ADDRESS),             # inside the address space, but no register
    ([kind(Kind.READ), le(1 << 6, 2)], Reason.ADDRESS),         # outside; its low bits are those of a register
    ([kind(Kind.WRITE), le(1 << 15 | 8, 2), le(1, 4)], Reason.ADDRESS),
    ([kind(Kind.READ), le(8, 3)], Reason.FORM),
    ([kind(Kind.READ), le(8, 1)], Reason.FORM),
    ([kind(Kind.WRITE), le(8, 2), le(1, 3)], Reason.FORM),
    ([kind(Kind.WRITE), le(8, 2), le(1, 5)], Reason.FORM),
    ([kind(Kind.WRITE), le(8, 2), le(1, 40)], Reason.FORM),
    ([bytes([0x77]), le(8, 2)], Reason.FORM),
    ([kind(Kind.VALUE), le(8, 2), le(8, 4)], Reason.FORM),
    ([kind(Kind.LAST)], Reason.FORM),
    ([kind(Kind.LAST), le(0, 1)], Reason.FORM),
    ([kind(Kind.LAST), le(1, 1), b"ab"], Reason.NUMBER),
    ([kind(Kind.PART), le(255, 1), b"ab"], Reason.NUMBER),
    ([kind(Kind.LAST), le(0, 1), b"a" * 17], Reason.ROOM),
    ([kind(Kind.LAST), le(0, 1), b"a" * 300], Reason.ROOM),
])
def test_refusals(values: list[bytes], reason: Reason) -> None:
    bench = Bench(gap=12)
    bench.send(*values)
    bench.send(kind(Kind.LAST), le(0, 1), b"xy")
    bench.run()
    assert bench.replies == [kind(Kind.REFUSED) + bytes([reason, 0]), kind(Kind.TAKEN) + le(1, 1)]
    assert bench.writes == []
    assert bench.packets == [(int.from_bytes(b"xy", "little") & 0xFFF, 1)]


@pytest.mark.parametrize("values", [
    [kind(Kind.READ), le(8, 2)], [kind(Kind.WRITE), le(8, 2), le(1, 4)], [kind(Kind.LAST), le(0, 1), b"abcd"]])
def test_a_wrong_bit_anywhere(values: list[bytes]) -> None:
    """Whichever byte is wrong, an END or ESC by it included, the frame has no effect and the next one is found."""
    size = len(frame_bytes(b"".join(values)))
    for at in range(1, size - 1):
        bench = Bench(gap=12)
        bench.send(*values, bad_at=at)
        bench.send(kind(Kind.READ), le(4, 2))
        bench.run()
        assert bench.replies[-1] == kind(Kind.VALUE) + le(4, 2) + le(0x11111111, 4)
        assert bench.replies[0][:2] == kind(Kind.REFUSED) + bytes([Reason.CHECKSUM])
        assert (bench.writes, bench.packets) == ([], [])


@pytest.mark.parametrize("stall", [0.0, 0.8])
def test_pieces_become_packets(stall: float) -> None:
    """Packets of several pieces, more than fit at once; a beat that is broken off has zeros above."""
    rng = random.Random(5)
    bench = Bench(gap=10, stall=stall)
    wanted: list[tuple[int, int]] = []
    number = 0
    for _ in range(90):
        body = rng.randbytes(rng.randint(1, 12))
        for at in range(0, len(body), 5):
            last = at + 5 >= len(body)
            bench.send(kind(Kind.LAST if last else Kind.PART), le(number % 256, 1), body[at:at + 5])
            number += 1
        beats = [body[at:at + 2] for at in range(0, len(body), 2)]
        wanted += [(int.from_bytes(beat, "little") & 0xFFF, int(n == len(beats) - 1)) for n, beat in enumerate(beats)]
    bench.run()
    assert bench.packets == wanted
    assert {reply[:1] for reply in bench.replies} == {kind(Kind.TAKEN)}
    assert bench.replies[-1] == kind(Kind.TAKEN) + le(number % 256, 1)


def test_a_full_buffer_refuses() -> None:
    bench = Bench(gap=10)
    bench.opened = False
    for number in range(5):  # one leaves the buffer, since its beat waits behind it
        bench.send(kind(Kind.LAST), le(number, 1), b"abcdef")
    bench.run()
    assert bench.packets == []
    refusals = [reply for reply in bench.replies if reply[:1] == kind(Kind.REFUSED)]
    assert refusals[0] == kind(Kind.REFUSED) + bytes([Reason.ROOM, 3])


@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_results(stall: float) -> None:
    """Frames with numbers; registers that are read in between come in between, never within."""
    rng = random.Random(6)
    bench = Bench(gap=3, stall=stall)
    wanted = []
    for number in range(200):
        beats, error = [rng.getrandbits(9) for _ in range(rng.randint(1, 4))], rng.random() < 0.2
        bench.results += [(beat, int(n == len(beats) - 1), int(error and n == len(beats) - 1))
                          for n, beat in enumerate(beats)]
        wanted.append(kind(Kind.RESULT) + b"".join(le(beat, 2) for beat in beats)
                      + bytes([number % 128 | error << 7]))
    for _ in range(40):
        bench.send(kind(Kind.READ), le(rng.choice(REGISTERS), 2))
    bench.run(extra_cycles=12000)
    assert [reply for reply in bench.replies if reply[:1] == kind(Kind.RESULT)] == wanted
    assert 1 < sum(reply[:1] == kind(Kind.VALUE) for reply in bench.replies) <= 40


def test_clear_begins_anew() -> None:
    """What waits is forgotten, numbers begin at 0, and a result that is under way ends as a bad one."""
    bench = Bench(gap=10)
    bench.send(kind(Kind.PART), le(0, 1), b"abc")   # a beat and a half
    bench.send(kind(Kind.PART), le(1, 1), b"defg")
    bench.clears.add(len(bench.line))
    bench.send(kind(Kind.LAST), le(0, 1), b"xy")
    bench.results = [(5, 1, 0), (6, 0, 0)]          # the second one never ends
    bench.run()
    assert bench.packets[-1] == (int.from_bytes(b"xy", "little") & 0xFFF, 1)
    assert all(not last for _, last in bench.packets[:-1])
    results = [reply for reply in bench.replies if reply[:1] == kind(Kind.RESULT)]
    assert results[0] == kind(Kind.RESULT) + le(5, 2) + b"\0"
    assert results[1][-1] & 0x80
    assert bench.replies[-1] == kind(Kind.TAKEN) + le(1, 1)


@pytest.mark.parametrize(("field", "value"), [("beat_bits", 0), ("result_bits", 0), ("address_bits", 17)])
def test_config(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{field} must be at (least|most)"):
        SerialLinkConfig(**{**CONFIG.__dict__, field: value})
