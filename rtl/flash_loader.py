"""Weights from an SPI flash: what fills weight RAMs after a reset, without a host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.crc import Algorithm, catalog
from amaranth.lib.wiring import In, Out

from .beat import index_shape
from .slip import byte_packet
from .weight_loader import HEAD_BYTES

__all__ = ["ADDRESS_SPAN", "TRIES", "FlashLoader", "FlashLoaderConfig", "flash_image"]

# As W25Q, MX25, N25Q, AT25 and the others of JEDEC's kind understand them.
READ, RELEASE_POWER_DOWN = 0x03, 0xAB
ADDRESS_BYTES = 3
ADDRESS_SPAN = 1 << 8 * ADDRESS_BYTES
SCK_HZ_MAX = 12_500_000     # READ takes 20 MHz at least from all of them; pads and wires take their time, too
RELEASE_S = 100e-6          # until a flash that slept, or just got its power, answers: W25Q 3 us, MX25 30 to 100 us
TRIES = 4

MAGIC = b"SNNF"
HEADER_BYTES = 24
CHECKSUM = catalog.CRC32_MPEG_2  # most significant bit first, as the bits come
CHECKSUM_BYTES = 4


def _header(network_hash: str, table_bytes: Sequence[int]) -> bytes:
    return MAGIC + sum(table_bytes).to_bytes(4, "little") + bytes.fromhex(network_hash)[:HEADER_BYTES - len(MAGIC) - 4]


def flash_image(network_hash: str, tables: Sequence[bytes]) -> bytes:
    """What the flash holds: "SNNF", how many bytes of weights (4 bytes, least significant first), the first 128 bits of
    the network's hash, the tables as they lie in their RAMs, and the CRC-32/MPEG-2 of all of it, its high byte first.
    """
    image = _header(network_hash, list(map(len, tables))) + b"".join(tables)
    checksum: int = CHECKSUM().compute(image)
    return image + checksum.to_bytes(CHECKSUM_BYTES, "big")


@dataclass(frozen=True, kw_only=True)
class FlashLoaderConfig:
    """What is read from where.

    Parameters
    ----------
    offset : int
        Of the image in the flash, in bytes.
    network_hash : str
        Hexadecimal.
    table_bytes : tuple of int
        Of each table.
    clock_hz : int
        Of the design.
    """

    offset: int
    network_hash: str
    table_bytes: tuple[int, ...]
    clock_hz: int

    def __post_init__(self) -> None:
        if not self.table_bytes:
            raise ValueError("table_bytes must be of one table at least")
        if not 0 <= self.offset <= ADDRESS_SPAN - self.image_bytes:
            raise ValueError(f"offset must be in 0..{ADDRESS_SPAN - self.image_bytes} for {self.image_bytes} bytes, "
                             f"not {self.offset!r}")

    @property
    def image_bytes(self) -> int:
        """Of :func:`flash_image`."""
        return HEADER_BYTES + sum(self.table_bytes) + CHECKSUM_BYTES

    @property
    def half_cycles(self) -> int:
        """Of half a period of ``sck``."""
        return -(-self.clock_hz // (2 * SCK_HZ_MAX))

    @property
    def release_cycles(self) -> int:
        """From a release to the next command."""
        return max(2, round(self.clock_hz * RELEASE_S))

    @property
    def try_cycles(self) -> int:
        """From a reset to the last weight and the word on its checksum; as many for each further try."""
        read = 1 + ADDRESS_BYTES + sum(self.table_bytes) + CHECKSUM_BYTES
        return 2 * self.release_cycles + 16 * self.half_cycles * (1 + read)


class FlashLoader(wiring.Component):
    """After a reset, reads the tables from an SPI flash (mode 0) as packets for a :class:`.WeightLoader`.

    1. ``cs_n`` is high for ``release_cycles``.
    2. RELEASE_POWER_DOWN, since a flash may sleep after configuration; and again 1.
    3. READ from behind the image's header on: the tables, then the checksum.
    4. If the checksum is wrong, all of it again, :data:`TRIES` times altogether; then ``failed`` is set.

    The checksum begins as the header of the right image leaves it. So whatever header another image has, of another
    network or length, its checksum is wrong here, and the header itself need not be read.

    Loaded :attr:`FlashLoaderConfig.try_cycles` after the reset; a byte takes ``16 * half_cycles``. About 70 flip-flops,
    of which 32 are the checksum.

    Members
    -------
    sck, cs_n, mosi : Out(1), miso : In(1)
        ``miso`` is looked at half a period of ``sck`` after it changed.
    o : Out(byte_packet), which may not wait
    busy, failed : Out(1)
    """

    def __init__(self, config: FlashLoaderConfig) -> None:
        self.config = config
        super().__init__({"sck": Out(1), "cs_n": Out(1, init=1), "mosi": Out(1), "miso": In(1),
                          "o": Out(byte_packet()), "busy": Out(1, init=1), "failed": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        start = CHECKSUM().compute(_header(cfg.network_hash, cfg.table_bytes))
        m.submodules.checksum = checksum = Algorithm(
            crc_width=32, polynomial=0x04C11DB7, initial_crc=start, reflect_input=False, reflect_output=False,
            xor_output=0)(data_width=1).create()

        # Bytes are counted phase by phase: the command, each table, the checksum.
        command = READ << 8 * ADDRESS_BYTES | (cfg.offset + HEADER_BYTES)
        sizes = (1 + ADDRESS_BYTES, *cfg.table_bytes, CHECKSUM_BYTES)
        behind = len(sizes) - 1
        phase_q = Signal(range(len(sizes)))
        left_q = Signal(range(max(*sizes, cfg.release_cycles)), init=cfg.release_cycles - 1)  # bytes, or cycles
        bit_q = Signal(3)  # of the byte, the most significant one is 7
        half_q = Signal(index_shape(cfg.half_cycles))
        wakes_q = Signal()  # released, or being so
        tries_q = Signal(range(TRIES))
        bits_q = Signal(8, reset_less=True)
        turns = Signal()    # sck does
        rises = Signal()
        ends = Signal()     # a byte does, with the fall of sck
        passes = Signal()   # a phase does
        m.d.comb += [
            turns.eq(~self.cs_n & (half_q == 0)), rises.eq(turns & ~self.sck),
            ends.eq(turns & self.sck & (bit_q == 0)), passes.eq(ends & (left_q == 0)),
            checksum.data.eq(self.miso), checksum.valid.eq(rises & (phase_q != 0)),
            checksum.start.eq(phase_q == 0),
            # All bits that are sent: those of a release, or those of the command, byte 3 first.
            self.mosi.eq(Mux(wakes_q, Array(Const(command, 32))[Cat(bit_q, left_q[:2])],
                             Array(Const(RELEASE_POWER_DOWN, 8))[bit_q]) & ~self.cs_n & (phase_q == 0)),
        ]
        with m.If(~self.cs_n):
            m.d.sync += half_q.eq(Mux(half_q == 0, cfg.half_cycles - 1, half_q - 1))
        with m.If(turns):
            m.d.sync += self.sck.eq(~self.sck)
        with m.If(rises):
            m.d.sync += bits_q.eq(Cat(self.miso, bits_q))
        with m.If(turns & self.sck):
            m.d.sync += bit_q.eq(bit_q - 1)

        with m.If(self.busy & self.cs_n):
            m.d.sync += left_q.eq(left_q - 1)
            with m.If(left_q == 0):
                m.d.sync += [self.cs_n.eq(0), bit_q.eq(7), half_q.eq(cfg.half_cycles - 1),
                             left_q.eq(Mux(wakes_q, ADDRESS_BYTES, 0))]
        with m.Elif(ends):
            m.d.sync += left_q.eq(left_q - 1)
            with m.If(passes):
                m.d.sync += [phase_q.eq(phase_q + 1),
                             left_q.eq(Array(size - 1 for size in (*sizes[1:], 1))[phase_q])]
            with m.If(passes & (~wakes_q | (phase_q == behind))):
                m.d.sync += [self.cs_n.eq(1), wakes_q.eq(~wakes_q), phase_q.eq(0),
                             left_q.eq(cfg.release_cycles - 1)]
                with m.If(wakes_q):
                    m.d.sync += [self.busy.eq((checksum.crc != 0) & (tries_q != TRIES - 1)), tries_q.eq(tries_q + 1),
                                 self.failed.eq((checksum.crc != 0) & (tries_q == TRIES - 1))]

        # The head of a table's packet (its number, word 0) goes out before its first byte has come.
        head_q = Signal(range(HEAD_BYTES + 1))
        comes = Signal()
        m.d.comb += [
            comes.eq(ends & (phase_q != 0) & (phase_q != behind)), self.o.valid.eq(comes | (head_q != 0)),
            self.o.payload.last.eq(passes & comes),
            self.o.payload.data.eq(Mux(head_q == 0, bits_q, Mux(head_q == HEAD_BYTES, phase_q - 1, 0))),
        ]
        with m.If(head_q != 0):
            m.d.sync += head_q.eq(head_q - 1)
        with m.If(passes & wakes_q & (phase_q < behind - 1)):
            m.d.sync += head_q.eq(HEAD_BYTES)
        return m
