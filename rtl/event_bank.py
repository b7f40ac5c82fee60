"""One bank of an event queue: the non-zero parts of a window's beats, and an event a cycle of them, pass by pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .beat import index_shape, memory_depth
from .flat_array import FlatArray
from .share import has_lut_ram

__all__ = ["EventBank", "EventBankConfig"]

# What is used once for every position of an entry gets a signal, if these are more than so many: the Verilog would grow
# with their square.
FEW_POSITIONS = 4


@dataclass(frozen=True, kw_only=True)
class EventBankConfig:
    """Shape of a bank.

    Parameters
    ----------
    positions : int
        Masks in an entry.
    item_bits : int
        Bits of a mask.
    depth : int
        Entries: a whole window.
    row_bits : int
        Bits of a row number.
    waits : bool
        Its event stays while ``go`` is not set.
    tells : bool
        It says when it gives an event.
    """

    positions: int
    item_bits: int
    depth: int
    row_bits: int
    waits: bool = False
    tells: bool = False

    def __post_init__(self) -> None:
        for name in ("positions", "item_bits", "depth", "row_bits"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)!r}")

    @property
    def memory_bits(self) -> int:
        """Bits of all entries: a lone position is never silent, so it needs no mark."""
        marks = self.positions if self.positions > 1 else 0
        return self.depth * (self.positions * self.item_bits + self.row_bits + marks)


class EventBank(wiring.Component):
    """Keeps what is not zero of the beats that are put, and gives their events one by one: ``mask = i[p]``, ``row =
    base + p`` of each position ``p`` with a mask, in the order of beats and positions.

    In a first pass events follow the beats: the first one of an entry that was put in ``t`` is given in ``t + 3`` or
    later. With ``again`` the entries are read from the first one on for the next pass as soon as the last one has been
    read, and given after the ``end``. After the ``end`` of the ``last`` pass the bank is empty. What is given while
    ``go`` is set is on ``mask`` and ``row`` a cycle later; with ``waits`` it stays there until the next ``go``.

    Memory: ``depth * (positions * item_bits + row_bits + (positions if positions > 1 else 0))`` bits.

    Members
    -------
    put : In(1), a beat's part comes: ``i``, In(positions x item_bits), and the row of its first position, ``base``
    again : In(1), all of the window has come, and there is another pass; or its last beat comes, and there will be
    last : In(1), all of the window has come, and there is no further pass
    end : In(1), the pass ends; only while ``idle``
    go : In(1), an event may be given
    idle : Out(1), nothing is left of the pass, as far as it has come
    given : Out(1), if it ``tells``: an event is given
    mask, row : Out(item_bits), Out(row_bits), registered; mask 0 is no event
    """

    def __init__(self, config: EventBankConfig) -> None:
        self.config = config
        super().__init__({
            "put": In(1), "i": In(FlatArray(config.item_bits, config.positions)), "base": In(config.row_bits),
            "again": In(1), "last": In(1), "end": In(1), "go": In(1), "idle": Out(1),
            "mask": Out(config.item_bits), "row": Out(config.row_bits), **({"given": Out(1)} if config.tells else {})})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        alone = cfg.positions == 1
        fields: dict[str, Any] = {"mask": FlatArray(cfg.item_bits, cfg.positions), "base": cfg.row_bits}
        if not alone:
            fields["some"] = cfg.positions
        entry = data.StructLayout(fields)
        m.submodules.entries = memory = Memory(
            shape=entry, depth=memory_depth(cfg.depth), init=[],
            # No entry is read as it is written.
            attrs={} if has_lut_ram(platform) else {"no_rw_check": 1})
        write, read = memory.write_port(), memory.read_port()

        write_q = Signal(index_shape(cfg.depth + 1))
        some = Cat(self.i[p].any() for p in range(cfg.positions))
        m.d.comb += [write.data.mask.eq(self.i), write.addr.eq(write_q), write.data.base.eq(self.base),
                     write.en.eq(self.put & some.any())]
        if not alone:
            m.d.comb += write.data.some.eq(some)
        with m.If(write.en):
            m.d.sync += write_q.eq(write_q + 1)

        # Reader, in two stages: the memory's output is slow, so the current entry is a register behind it. Its address
        # is a register too. It goes back to the first entry as soon as the last one has left the memory's output, so
        # that the first entry of the next pass is there when this pass ends.
        read_q = Signal(index_shape(cfg.depth + 1))
        waiting_q = Signal()  # an entry waits, or did a cycle ago
        fetched_q = Signal()  # the memory's output is an entry
        rewound_q = Signal()  # what is fetched belongs to the next pass
        entry_q = Signal(entry, reset_less=True)
        current_q = Signal()  # the current entry has events for this pass
        held_q = Signal()  # the current entry has events for the next pass
        waiting = Signal()
        rewind = Signal()
        more = Signal()  # the current entry has more than one event left
        free = Signal()  # it gives its last one, or has none
        given = current_q & self.go
        if cfg.tells:
            m.d.comb += self.given.eq(given)
        m.d.comb += [
            waiting.eq(read_q != write_q),
            rewind.eq(self.again & ~write.en & ~waiting_q & ~fetched_q & ~rewound_q),
            free.eq(~held_q & ~more & (self.go | ~current_q)),
            read.addr.eq(read_q),
            read.en.eq(waiting & (free | ~fetched_q)),
            self.idle.eq(~current_q & (rewound_q | ~(waiting_q | fetched_q))),
        ]
        m.d.sync += [
            waiting_q.eq(waiting | write.en),
            fetched_q.eq(waiting | (fetched_q & ~free)),
            rewound_q.eq((rewound_q | rewind) & ~self.end),
            held_q.eq(Mux(free, fetched_q & rewound_q, held_q) & ~self.end),
            current_q.eq(Mux(free, fetched_q & (~rewound_q | self.end), current_q | self.end)),
        ]
        with m.If(read.en):
            m.d.sync += read_q.eq(read_q + 1)
        with m.If(rewind):
            m.d.sync += read_q.eq(0)
        with m.If(self.last & ~waiting_q):
            m.d.sync += [read_q.eq(0), write_q.eq(0)]
        with m.If(free):
            m.d.sync += entry_q.eq(read.data)

        # The events of an entry, one a cycle. Open are the positions from the next one on, none without an entry. The
        # last position needs no such bit: as long as there is an event, it is there or before.
        left: list[Any] = [Const(1)]
        if not alone:
            open_q = Signal(cfg.positions - 1)
            left = [*(some & open for some, open in zip(entry_q.some, open_q, strict=False)), entry_q.some[-1]]
            if cfg.positions > FEW_POSITIONS:
                named = Signal(cfg.positions, name="left")
                m.d.comb += named.eq(Cat(left))
                left = list(named)
            with m.If(free):
                m.d.sync += open_q.eq(fetched_q.replicate(cfg.positions - 1))
            with m.Elif(given):
                m.d.sync += open_q.eq(Cat(Cat(left[:p]).any() for p in range(cfg.positions - 1)))
        first = _first_of(m, [_Choice(left[p], Const(0), Cat(entry_q.mask[p]), Const(p, index_shape(cfg.positions)))
                              for p in range(cfg.positions)])
        m.d.comb += more.eq(first.more)
        # A base is a multiple of the positions: if those are a power of two, there is nothing to carry.
        row = entry_q.base + first.offset if cfg.positions & (cfg.positions - 1) else entry_q.base | first.offset
        event = [self.mask.eq(first.mask & given.replicate(cfg.item_bits)), self.row.eq(row)]
        if cfg.waits:
            with m.If(self.go):
                m.d.sync += event
        else:
            m.d.sync += event
        return m


class _Choice(NamedTuple):
    """Of some neighbouring positions: whether any is left, and more than one; mask and number of the first one left."""

    any: Any
    more: Any
    mask: Any
    offset: Any


def _first_of(m: Module, choices: Sequence[_Choice]) -> _Choice:
    """Of all positions, as a balanced tree; the last one if none is left."""
    if len(choices) == 1:
        return choices[0]
    half = len(choices) // 2
    low, high = _first_of(m, choices[:half]), _first_of(m, choices[half:])
    both = _Choice(low.any | high.any, low.more | high.more | (low.any & high.any),
                   Mux(low.any, low.mask, high.mask), Mux(low.any, low.offset, high.offset))
    if len(choices) <= FEW_POSITIONS:
        return both
    named = _Choice(*(Signal(Value.cast(value).shape(), name=f"first{len(choices)}") for value in both))
    m.d.comb += [signal.eq(value) for signal, value in zip(named, both, strict=True)]
    return named
