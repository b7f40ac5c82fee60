"""Weight rows from external memory: an AXI4 read master between an event queue and the lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from .beat import index_shape, memory_depth
from .fifo import Queue
from .share import BLOCK_RAM, has_lut_ram

__all__ = ["WeightFetch", "WeightFetchConfig", "axi4_read", "fetch_slot_layout", "weight_row_layout", "weight_table"]

# AMBA AXI4 (ARM IHI 0022E), A3.4.1: a burst has at most 256 beats and does not cross a 4 KB boundary.
BURST_BEATS_MAX = 256
BURST_BYTES_MAX = 4096
BURST_INCR = 0b01
CACHE_NORMAL_BUFFERABLE = 0b0011  # normal memory, not cached: what interconnects may merge but not keep
RESPONSE_OKAY = 0b00


@dataclass(frozen=True, kw_only=True)
class WeightFetchConfig:
    """Shape of a weight fetch, and of its table in memory.

    Row ``r`` lies at ``base + r * row_bytes``, bit ``b`` of it in bit ``b % 8`` of byte ``b // 8``.

    Parameters
    ----------
    name : str
        The layer's name.
    rows : int
        Weight rows in the table.
    row_bits : int
        Bits of a row: ``lanes * weight_bits``.
    mask_bits : int
        Bits of an event's mask.
    bus_bits : int
        Width of the read data: 32, 64, 128, 256 or 512.
    address_bits : int
        Width of the byte address, 1..64.
    prefetch_rows : int
        Rows that the data buffer holds, at least 2. :meth:`sustaining_rows` says how many a memory asks for.
    gives_row : bool
        The row's number is given with its weights.

    Raises
    ------
    ValueError
        If a value is out of range, or the address cannot reach the whole table.
    """

    name: str
    rows: int
    row_bits: int
    mask_bits: int
    bus_bits: int
    address_bits: int = 32
    prefetch_rows: int = 2
    gives_row: bool = False

    def __post_init__(self) -> None:
        for field, least in (("rows", 1), ("row_bits", 1), ("mask_bits", 1), ("prefetch_rows", 2)):
            if getattr(self, field) < least:
                raise ValueError(f"{field} must be at least {least}, not {getattr(self, field)!r}")
        if self.bus_bits not in (32, 64, 128, 256, 512):
            raise ValueError(f"bus_bits must be 32, 64, 128, 256 or 512, not {self.bus_bits!r}")
        if not 1 <= self.address_bits <= 64:
            raise ValueError(f"address_bits must be in 1..64, not {self.address_bits!r}")
        if self.table_bytes > 1 << self.address_bits:
            raise ValueError(f"address_bits must be at least {ceil_log2(self.table_bytes)} for {self.table_bytes} "
                             f"bytes of weights, not {self.address_bits!r}")

    @property
    def bus_bytes(self) -> int:
        """Bytes of a bus word."""
        return self.bus_bits // 8

    @property
    def row_beats(self) -> int:
        """Bus words that are read for a row; the padding behind them is not."""
        return -(-self.row_bits // self.bus_bits)

    @property
    def row_bytes(self) -> int:
        """From a row to the next one: a power of two, so that no burst crosses a 4 KB boundary."""
        return 1 << int(ceil_log2(self.row_beats * self.bus_bytes))

    @property
    def table_bytes(self) -> int:
        """Memory that the table takes."""
        return self.rows * self.row_bytes

    @property
    def burst_beats(self) -> int:
        """Beats of the longest burst."""
        return min(self.row_beats, BURST_BEATS_MAX, BURST_BYTES_MAX // self.bus_bytes)

    @property
    def row_bursts(self) -> int:
        """Bursts per row."""
        return -(-self.row_beats // self.burst_beats)

    def latency_cycles(self, memory_latency_cycles: int, beat_interval_cycles: int = 1) -> int:
        """From accepting an event to its row on ``o``, for an idle memory.

        Parameters
        ----------
        memory_latency_cycles : int
            From the address handshake to the first beat, at least 1.
        beat_interval_cycles : int
            From beat to beat, at least 1.
        """
        return memory_latency_cycles + (self.row_beats - 1) * beat_interval_cycles + 3

    def sustaining_rows(self, memory_latency_cycles: int, beat_interval_cycles: int = 1) -> int:
        """The ``prefetch_rows`` with which such a memory never waits for an address while events wait.

        An end mark takes the place of a row while it waits: add one per end mark that may lie among so many slots.
        """
        slot_cycles = self.latency_cycles(memory_latency_cycles, beat_interval_cycles)
        return max(2, -(-slot_cycles // (self.row_beats * beat_interval_cycles)))


def fetch_slot_layout(config: WeightFetchConfig) -> data.StructLayout:
    """A slot: an event (``mask`` not 0), or an end mark (``mask`` 0)."""
    return data.StructLayout({"row": index_shape(config.rows), "mask": config.mask_bits, "end": 1})


def weight_row_layout(config: WeightFetchConfig) -> data.StructLayout:
    """What the lanes get in a cycle: an event's weights and mask, the end of a pass, or nothing (mask and end 0)."""
    return data.StructLayout({"weight": config.row_bits, **_row(config), "mask": config.mask_bits, "end": 1})


def _row(config: WeightFetchConfig) -> dict[str, Any]:
    return {"row": index_shape(config.rows)} if config.gives_row else {}


def axi4_read(address_bits: int, bus_bits: int) -> wiring.Signature:
    """Read channels of AXI4 (ARM IHI 0022E, A2.5 and A2.6), as the master sees them. One ID, 0; ``rid`` is ignored."""
    return wiring.Signature({
        "arid": Out(1), "araddr": Out(address_bits), "arlen": Out(8), "arsize": Out(3), "arburst": Out(2),
        "arcache": Out(4), "arprot": Out(3), "arvalid": Out(1), "arready": In(1),
        "rid": In(1), "rdata": In(bus_bits), "rresp": In(2), "rlast": In(1), "rvalid": In(1), "rready": Out(1),
    })


def weight_table(config: WeightFetchConfig, rows: Sequence[int]) -> bytes:
    """The table as it lies in memory from ``base`` on: ``table_bytes`` bytes.

    Parameters
    ----------
    rows : sequence of int
        Each row as a number of ``row_bits`` bits, lane 0 in the least significant ones.

    Raises
    ------
    ValueError
        If there are not ``config.rows`` rows, or one has more than ``row_bits`` bits.
    """
    if len(rows) != config.rows:
        raise ValueError(f"rows must be {config.rows} rows, not {len(rows)}")
    for index, row in enumerate(rows):
        if not 0 <= row < 1 << config.row_bits:
            raise ValueError(f"row {index} must be in 0..2**{config.row_bits}-1")
    return b"".join(int(row).to_bytes(config.row_bytes, "little") for row in rows)


class WeightFetch(wiring.Component):
    """Reads the weight row of each event over AXI4, ahead of its use; end marks keep their places among the events.

    In order, for each slot of ``i``:

    1. It is accepted when one of ``prefetch_rows`` places is free and all addresses of the slot before have been
       taken. A place is a row of the data buffer: what is asked for has room, so ``rready`` is always 1.
    2. An event asks for ``row_beats`` words from ``base + row * row_bytes`` on, in ``row_bursts`` bursts.
    3. An event is given to ``o`` when its row is complete; an end mark in a cycle in which ``room`` is set, three or
       more after the end mark before. (The consumer sees an end mark one cycle after it was given, and has ``room``
       withdrawn by the cycle after the next.) Then its place is free.

    ``error`` is set as a row is given of which any word came without ``OKAY`` (its weights are what came with it), so
    that a row fetched ahead for the next inference does not blame this one. Nothing waits because of an error.

    Timing: a slot accepted in cycle ``t`` has its address on the bus from ``t + 1`` on; a row whose last word arrives
    in ``r`` is given in ``r + 1`` or later; what is given in ``t`` is seen on ``o`` (and ``error``) in ``t + 1`` and
    frees its place in ``t + 1``. So an event takes :meth:`WeightFetchConfig.latency_cycles`, an end mark 2 cycles; the
    exact recurrence is :mod:`spikeloom.gen.fetch_cycles`. Throughput: a row per ``row_beats`` cycles, if the memory
    sustains it and ``prefetch_rows >= sustaining_rows(latency)``.

    Memory: ``prefetch_rows * (row_bits + 1 + mask_bits + 1)`` bits of LUT RAM, and a row's number more with
    ``gives_row``; without that, of block RAM.

    The component's reset is the bus's ``ARESETn``: a burst once begun cannot be taken back, so whatever stands between
    the component and the memory has to be reset together with it.

    Members
    -------
    i : In(stream of fetch_slot_layout)
    o : Out(weight_row_layout), registered; it does not wait
    room : In(1), an end mark may be given; looked at from the third cycle after an end mark was given
    base : In(address_bits), byte address of row 0, a multiple of ``row_bytes`` (the bits below are ignored); looked at
        as an event is accepted
    axi : Out(axi4_read)
    error : Out(1), stays set
    clear : In(1), clears ``error`` a cycle later, unless it is set by a row given in the same cycle
    """

    def __init__(self, config: WeightFetchConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(fetch_slot_layout(config))),
            "o": Out(weight_row_layout(config)),
            "room": In(1),
            "base": In(config.address_bits),
            "axi": Out(axi4_read(config.address_bits, config.bus_bits)),
            "error": Out(1),
            "clear": In(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        axi = self.axi

        # Slots that wait for their rows: the queue's depth is what reserves the data buffer.
        slots = Queue(data.StructLayout({**_row(cfg), "mask": cfg.mask_bits, "end": 1}), cfg.prefetch_rows)
        m.submodules.slots = slots
        accept = Signal()
        asked = Signal()
        m.d.comb += [
            self.i.ready.eq(slots.i.ready & asked),
            accept.eq(self.i.valid & self.i.ready),
            slots.i.valid.eq(accept),
            slots.i.payload.mask.eq(self.i.payload.mask),
            slots.i.payload.end.eq(self.i.payload.end),
        ]

        if cfg.gives_row:
            m.d.comb += slots.i.payload.row.eq(self.i.payload.row)
            m.d.sync += self.o.row.eq(slots.o.payload.row)

        # Addresses: the row, the burst within it, the bytes of the burst.
        row_shift = exact_log2(cfg.row_bytes)
        burst_shift = exact_log2(cfg.burst_beats * cfg.bus_bytes) if cfg.row_bursts > 1 else row_shift
        row_address_q = Signal(max(1, cfg.address_bits - row_shift), reset_less=True)
        burst_q = Signal(index_shape(cfg.row_bursts))
        last_burst = Signal()
        m.d.comb += [
            last_burst.eq(burst_q == cfg.row_bursts - 1),
            asked.eq(~axi.arvalid | (axi.arready & last_burst)),
            axi.araddr.eq(Cat(Const(0, burst_shift), burst_q[:row_shift - burst_shift], row_address_q)),
            axi.arlen.eq(Mux(last_burst, (cfg.row_beats - 1) % cfg.burst_beats, cfg.burst_beats - 1)),
            axi.arsize.eq(exact_log2(cfg.bus_bytes)),
            axi.arburst.eq(BURST_INCR),
            axi.arcache.eq(CACHE_NORMAL_BUFFERABLE),
        ]
        with m.If(axi.arvalid & axi.arready):
            m.d.sync += burst_q.eq(Mux(last_burst, 0, burst_q + 1))
        with m.If(asked):
            m.d.sync += [axi.arvalid.eq(accept & ~self.i.payload.end),
                         row_address_q.eq(self.base[row_shift:] + self.i.payload.row)]

        # Words of a row arrive in order, each goes to a memory of its own, so that the row can be read at once.
        word_q = Signal(index_shape(cfg.row_beats))
        bad_q = Signal()
        bad = Signal()
        filled = Signal()
        fill_q = Signal(index_shape(cfg.prefetch_rows))
        take_q = Signal(index_shape(cfg.prefetch_rows))
        m.d.comb += [axi.rready.eq(1), bad.eq(bad_q | (axi.rresp != RESPONSE_OKAY)),
                     filled.eq(axi.rvalid & (word_q == cfg.row_beats - 1))]
        with m.If(axi.rvalid):
            m.d.sync += [word_q.eq(word_q + 1), bad_q.eq(bad)]
        with m.If(filled):
            m.d.sync += [word_q.eq(0), bad_q.eq(0), fill_q.eq(Mux(fill_q == cfg.prefetch_rows - 1, 0, fill_q + 1))]
        in_luts = has_lut_ram(platform)
        words = []
        for k in range(cfg.row_beats):
            last = k == cfg.row_beats - 1
            bits = cfg.row_bits - k * cfg.bus_bits if last else cfg.bus_bits
            memory = Memory(shape=bits + last, depth=memory_depth(cfg.prefetch_rows), init=[],
                            attrs={} if in_luts else BLOCK_RAM)
            m.submodules[f"word{k}"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb" if in_luts else "sync")
            m.d.comb += [write.addr.eq(fill_q), write.en.eq(axi.rvalid & (word_q == k)), read.addr.eq(take_q),
                         # Whether the row is good is known with its last word.
                         write.data.eq(Cat(axi.rdata[:bits], bad) if last else axi.rdata)]
            words.append(read.data)
        row = Cat(words)

        # What comes next on o: an event with a complete row, or an end that has room.
        give = Signal()
        give_end = Signal()
        give_event = Signal()
        complete_q = Signal(index_shape(cfg.prefetch_rows + 1))
        ended_q = Signal(2)  # an end mark was given one cycle ago, two cycles ago
        m.d.comb += [
            give_end.eq(slots.o.valid & slots.o.payload.end & self.room & (ended_q == 0)),
            give_event.eq(slots.o.valid & ~slots.o.payload.end & (complete_q != 0)),
            give.eq(give_end | give_event),
            slots.o.ready.eq(give),
        ]
        m.d.sync += [
            ended_q.eq(Cat(give_end, ended_q[0])),
            complete_q.eq(complete_q + filled - give_event),
            self.o.end.eq(give_end),
            self.o.mask.eq(Mux(give_event, slots.o.payload.mask, 0)),
        ]
        with m.If(give_event):
            m.d.sync += take_q.eq(Mux(take_q == cfg.prefetch_rows - 1, 0, take_q + 1))
        # A block RAM has the register behind it, and the word on the row comes with the row.
        if in_luts:
            m.d.sync += self.o.weight.eq(row[:cfg.row_bits])
            with m.If(give_event & row[cfg.row_bits]):
                m.d.sync += self.error.eq(1)
            with m.Elif(self.clear):
                m.d.sync += self.error.eq(0)
        else:
            given_q = Signal()
            error_q = Signal()
            m.d.sync += [given_q.eq(give_event), error_q.eq(self.error & ~self.clear)]
            m.d.comb += [self.o.weight.eq(row[:cfg.row_bits]), self.error.eq(error_q | (given_q & row[cfg.row_bits]))]
        return m
