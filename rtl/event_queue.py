"""Compaction: beats in, one event per bank and cycle out, silent channels skipped, replayed for each group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .beat import beat_stream, index_shape
from .event_bank import EventBank, EventBankConfig
from .flat_array import FlatArray

__all__ = ["EventQueue", "EventQueueConfig", "EventSource", "credit_port", "slot_credit", "slot_layout"]

@dataclass(frozen=True, kw_only=True)
class EventQueueConfig:
    """Shape of an event queue.

    Parameters
    ----------
    items : int
        Masks in a beat.
    item_bits : int
        Bits of a mask.
    beats : int
        Beats in a window.
    banks : int
        Events per cycle; divides ``items`` or is a multiple of it.
    passes : int
        Groups of output neurons, each of which takes every event.
    in_turn : bool
        Each event is given to all groups in turn. Else a group takes all events of a window, which are replayed for the
        next one.
    slot_credits : int
        Slots that can be given before the consumer has taken the first of them; 0: a consumer that never waits.
    pool, cell_beats, width : int
        With ``pool > 1`` the beats are a feature map in raster order, ``cell_beats`` for each of ``width`` positions
        in a row, and ``pool x pool`` positions share their rows: a sum pool. ``banks`` must then divide ``items``.
    """

    items: int
    item_bits: int
    beats: int
    banks: int
    passes: int
    in_turn: bool = False
    slot_credits: int = 0
    pool: int = 1
    cell_beats: int = 1
    width: int = 1

    def __post_init__(self) -> None:
        for name in ("items", "item_bits", "beats", "banks", "passes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)!r}")
        if self.items % self.banks and self.banks % self.items:
            raise ValueError(f"banks must divide items or be a multiple of it, not {self.banks} for {self.items}")
        if self.in_turn and (self.passes == 1 or self.slot_credits):
            raise ValueError("in_turn takes several passes, and a consumer that does not wait")
        if self.pool > 1 and self.items % self.banks:
            raise ValueError(f"banks must divide items where maps are pooled, not {self.banks} for {self.items}")

    @property
    def positions(self) -> int:
        """Masks of one beat that go to one bank."""
        return max(1, self.items // self.banks)

    @property
    def interleave(self) -> int:
        """Beats after which a bank gets its next entry."""
        return max(1, self.banks // self.items)

    @property
    def depth(self) -> int:
        """Entries of one bank: a whole window."""
        return -(-self.beats // self.interleave)

    @property
    def rows(self) -> int:
        """Channels of one bank, after the pool."""
        return self.depth // self.pool**2 * self.positions

    @property
    def bank(self) -> EventBankConfig:
        """Each of the banks."""
        return EventBankConfig(positions=self.positions, item_bits=self.item_bits, depth=self.depth,
                               row_bits=self.row_bits, waits=self.in_turn, tells=self.in_turn or self.slot_credits > 0)

    @property
    def memory_bits(self) -> int:
        """Bits of all entries of a window."""
        return self.banks * self.bank.memory_bits

    def locate(self, beat: int, item: int) -> tuple[int, int]:
        """Bank and row of a channel, given its place in the input."""
        if self.pool > 1:
            place, part = divmod(beat, self.cell_beats)
            y, x = divmod(place, self.width)
            cell = y // self.pool * (self.width // self.pool) + x // self.pool
            beat = cell * self.cell_beats + part
        if self.items >= self.banks:
            return item % self.banks, beat * self.positions + item // self.banks
        return (beat % self.interleave) * self.items + item, beat // self.interleave

    @property
    def row_bits(self) -> int:
        """Bits of a row number."""
        return max(1, int(ceil_log2(self.rows)))

    @property
    def turns(self) -> int:
        """Groups to which each event is given in turn."""
        return self.passes if self.in_turn else 1


class EventSource(Protocol):
    """What lanes need to know of the queue that their events come from."""

    @property
    def banks(self) -> int:
        """Events per cycle."""

    @property
    def item_bits(self) -> int:
        """Bits of a mask."""

    @property
    def row_bits(self) -> int:
        """Bits of a row number."""

    @property
    def turns(self) -> int:
        """Groups to which each event is given in turn."""

    @property
    def passes(self) -> int:
        """Groups that take every event."""

    @property
    def rows(self) -> int:
        """Channels of one bank."""


def slot_layout(config: EventSource) -> data.StructLayout:
    """What a queue says in one cycle: one event per bank (mask 0 is none), and whether a pass ends with it.

    Where groups take turns, also whose turn it is, and whether the group's sum begins with this slot. Where events are
    replayed for them, the number of a group's first row, as each has its own.
    """
    replays = config.passes > 1 and config.turns == 1
    return data.StructLayout({
        "row": FlatArray(config.row_bits, config.banks),
        "mask": FlatArray(config.item_bits, config.banks),
        "end": 1,
        **({"group": index_shape(config.turns), "first": 1} if config.turns > 1 else {}),
        **({"base": index_shape(config.passes * config.rows)} if replays else {}),
    })


def credit_port(slot_credits: int) -> dict[str, Any]:
    """The port by which a consumer that can wait gives credits back."""
    return {"taken": In(1)} if slot_credits else {}


def slot_credit(m: Module, slot_credits: int, given: Any, queue: Any) -> Any:
    """Whether a slot may be given: fewer than ``slot_credits`` have been given and not taken."""
    if not slot_credits:
        return Const(1)
    owed_q = Signal(index_shape(slot_credits + 1))
    full_q = Signal()  # the count's comparison, a cycle ahead: what may be given decides what is read next
    m.d.sync += [owed_q.eq(owed_q + given - queue.taken),
                 full_q.eq((full_q | (given & (owed_q == slot_credits - 1))) & ~queue.taken)]
    return ~full_q


class EventQueue(wiring.Component):
    """Turns beats into events, ``banks`` a cycle, and replays each window ``passes`` times.

    Each bank (:class:`.EventBank`) keeps the non-zero parts of the window's beats. The first pass follows the writer,
    so events leave while beats still arrive; the last pass makes room for the next window. After each pass comes one
    slot that marks its end.

    Timing, with ``c_j`` events in bank ``j``: an entry that arrives in cycle ``t`` gives its first event in
    ``t + 3`` (seen on ``o`` in ``t + 4``), later ones follow without a gap. The end of pass ``g`` is given in
    ``P_g`` (seen on ``o`` in ``P_g + 1``), the first cycle that is two or more after the last beat and the last event
    of all banks, and in which ``room`` is set. The next pass begins at once: its events are given from ``P_g + 1`` on,
    ``P_{g+1} >= P_g + 2 + max_j c_j``. The next window's first beat is taken from ``P_{passes-1} + 1`` on.

    With ``in_turn`` a slot stays on ``o`` for ``passes`` cycles, in which ``group`` counts from 0; the next one is
    given ``passes`` cycles later or more, with the events of all banks that are there by then. The end of group 0 is
    given two cycles or more after the last beat, and ``passes`` or more after the last slot; those of the other groups
    two cycles or more after one another, each when ``room`` is set. The next window's first beat is taken after the
    last of them.

    Memory: that of the banks.

    Members
    -------
    i : In(beat stream)
    o : Out(slot_layout), registered; it does not wait. ``base`` is that of the events, not of an end
    room : In(1), the end of a pass may be given; looked at from the second cycle after an end on
    taken : In(1), only with ``slot_credits``: the consumer has taken a slot, and another one may be given a cycle later
    """

    def __init__(self, config: EventQueueConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(beat_stream(config.items, config.item_bits)),
            "o": Out(slot_layout(config)),
            "room": In(1),
            **credit_port(config.slot_credits),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config

        # Writer: which beat of the window this is (where the row does not say it), and whether the window is complete.
        base_q = Signal(cfg.row_bits)
        counted = cfg.interleave > 1 or cfg.pool > 1
        beat_q = Signal(index_shape(cfg.beats), name="beat_q") if counted else base_q
        last_beat_q = Signal(init=cfg.beats == 1)
        full_q = Signal()
        take = Signal()
        complete = Signal()
        m.d.comb += [self.i.ready.eq(~full_q), take.eq(self.i.valid & self.i.ready), complete.eq(take & last_beat_q)]

        # Which of the interleaved banks this beat is for, and the row of its first position.
        turn_q = Signal(index_shape(cfg.interleave))
        with m.If(take):
            if counted:
                m.d.sync += beat_q.eq(beat_q + 1)
            if cfg.beats > 1:
                m.d.sync += last_beat_q.eq(beat_q == (cfg.beats - 2) * (1 if counted else cfg.positions))
            if cfg.interleave > 1:
                m.d.sync += turn_q.eq(turn_q + 1)
            with m.If(turn_q == cfg.interleave - 1):
                m.d.sync += [turn_q.eq(0), base_q.eq(base_q + cfg.positions)]
        with m.If(full_q):
            m.d.sync += [beat_q.eq(0), turn_q.eq(0), base_q.eq(0)]
        if cfg.pool > 1:
            self._pool(m, take, base_q)

        # Sequencer: the end of a pass, when every bank is through and the drain has room.
        end = Signal()
        idle = Signal(cfg.banks)
        given = Signal(cfg.banks)
        through_q = Signal()
        # The pass, or the first row of its group.
        counts_rows = cfg.passes > 1 and not cfg.in_turn
        pass_q, step = (self.o.base, cfg.rows) if counts_rows else (Signal(index_shape(cfg.passes), name="pass_q"), 1)
        replay_q = Signal()  # the window is complete, and this pass is not its last
        go = (self._turn(m, given.any(), end, pass_q) if cfg.in_turn
              else slot_credit(m, cfg.slot_credits, given.any() | end, self))
        m.d.comb += end.eq(through_q & self.room & go)
        m.d.sync += [through_q.eq(full_q & idle.all() & ~end), self.o.end.eq(end)]
        with m.If(complete):
            m.d.sync += [full_q.eq(1), replay_q.eq(cfg.passes > 1)]
        with m.If(end):
            m.d.sync += pass_q.eq(pass_q + step)
            if cfg.passes > 1:
                with m.If(pass_q == (cfg.passes - 2) * step):
                    m.d.sync += replay_q.eq(0)
            with m.If(~replay_q):
                m.d.sync += full_q.eq(0)
        with m.If(~full_q):
            m.d.sync += pass_q.eq(0)

        last = full_q if cfg.in_turn else full_q & ~replay_q
        again = replay_q | complete if cfg.passes > 1 and not cfg.in_turn else Const(0)
        for k in range(cfg.banks):
            mine = turn_q == k // cfg.items if cfg.interleave > 1 else Const(1)
            items = ([k + cfg.banks * p for p in range(cfg.positions)] if cfg.items >= cfg.banks else [k % cfg.items])
            m.submodules[f"bank{k}"] = bank = EventBank(cfg.bank)
            m.d.comb += [
                bank.put.eq(take & mine), bank.i.as_value().eq(Cat(self.i.payload[item] for item in items)),
                bank.base.eq(base_q), bank.again.eq(again), bank.last.eq(last), bank.end.eq(end), bank.go.eq(go),
                idle[k].eq(bank.idle), self.o.mask[k].eq(bank.mask), self.o.row[k].eq(bank.row),
            ]
            if cfg.bank.tells:
                m.d.comb += given[k].eq(bank.given)
        return m

    def _turn(self, m: Module, given: Any, end: Signal, pass_q: Signal) -> Signal:
        """Whose turn it is; returns whether a new slot may be given."""
        cfg = self.config
        left_q = Signal(index_shape(cfg.passes))
        go_q = Signal(init=1)
        fresh_q = Signal(init=1)  # no slot of this window has been given
        more = left_q[1:].any() if cfg.passes > 2 else Const(0)  # than one cycle is left
        m.d.sync += [left_q.eq(Mux(given, cfg.passes - 1, left_q - left_q.any())), go_q.eq(~(given | more))]
        with m.If(go_q):
            m.d.sync += [self.o.group.eq(Mux(end, pass_q, 0)), self.o.first.eq(fresh_q)]
        with m.Else():
            m.d.sync += self.o.group.eq(self.o.group + 1)
        with m.If(given):
            m.d.sync += fresh_q.eq(0)
        with m.If(end & (pass_q == cfg.passes - 1)):
            m.d.sync += fresh_q.eq(1)
        return go_q

    def _pool(self, m: Module, take: Signal, base_q: Signal) -> None:
        """Let the base return to the start of a cell, or of a row of cells, until all its positions have come."""
        cfg = self.config
        beat_q = Signal(index_shape(cfg.cell_beats))
        x_q = Signal(index_shape(cfg.pool))
        y_q = Signal(index_shape(cfg.pool))
        column_q = Signal(index_shape(cfg.width))
        row_base_q = Signal.like(base_q, name="row_base_q")
        ends = take & (beat_q == cfg.cell_beats - 1)
        with m.If(take):
            m.d.sync += beat_q.eq(Mux(beat_q == cfg.cell_beats - 1, 0, beat_q + 1))
        with m.If(ends):
            m.d.sync += [column_q.eq(column_q + 1), x_q.eq(x_q + 1)]
            with m.If(x_q == cfg.pool - 1):
                m.d.sync += x_q.eq(0)
            with m.Else():
                m.d.sync += base_q.eq(base_q - (cfg.cell_beats - 1) * cfg.positions)
            with m.If(column_q == cfg.width - 1):
                m.d.sync += [column_q.eq(0), y_q.eq(y_q + 1)]
                with m.If(y_q == cfg.pool - 1):
                    # After the map's last beat it is 0 again, as the base will be.
                    after = base_q + cfg.positions
                    m.d.sync += [y_q.eq(0), row_base_q.eq(Mux(after == cfg.rows, 0, after))]
                with m.Else():
                    m.d.sync += base_q.eq(row_base_q)
