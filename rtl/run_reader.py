"""Runs, read from the banks as slots of events."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .event_queue import credit_port, slot_credit, slot_layout
from .window_shape import WindowQueueConfig, event_layout, read_port, run_layout

__all__ = ["RunReader"]


class RunReader(wiring.Component):
    """Reads ``banks`` events of a run per cycle; ``row = offset + column``. The mark of a window's end comes with the
    last events of its last run; with ``slot_credits`` it is a slot of its own, behind them.

    Timing: a run of ``g`` groups of ``banks`` entries takes ``g`` cycles, from the first one in which it is offered on.
    The last of a window's (an empty one has one too) waits for ``room`` and comes at least 3 cycles after the end
    before; with ``slot_credits`` that holds for one cycle more, that of the end. What is read in ``t`` is on ``o`` in
    ``t + 2``.

    Parameters
    ----------
    config : WindowQueueConfig

    Members
    -------
    i : In(stream of run_layout)
    events : Out(read_port), of each bank
    o : Out(slot_layout), registered; it does not wait
    room : In(1), the end of a window may be given; looked at from the third cycle after an end on
    taken : In(1), only with ``slot_credits``: the consumer has taken a slot, and another one may be read a cycle later
    tile_row_read : Out(1), the last run of a row of tiles is read
    """

    def __init__(self, config: WindowQueueConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(run_layout(config))),
            "events": Out(read_port(config.slots * config.bank_depth, event_layout(config))).array(config.banks),
            "o": Out(slot_layout(config)), "room": In(1), "tile_row_read": Out(1),
            **credit_port(config.slot_credits)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        run = self.i.payload

        # A run's groups of entries begin in any bank: the banks before it give theirs from an address further on.
        going_q = Signal()
        address_q = Signal.like(run.address)
        left_q = Signal.like(run.count)
        address = Signal.like(run.address)
        left = Signal.like(run.count)
        further = Signal.like(run.address)
        read = Signal()
        final = Signal()
        end = Signal()
        recent_q = Signal(2)  # an end that `room` does not show yet
        may_end = self.room & (recent_q == 0)
        go = slot_credit(m, cfg.slot_credits, read | end, self)
        m.d.comb += [
            address.eq(Mux(going_q, address_q, run.address)), left.eq(Mux(going_q, left_q, run.count)),
            further.eq(address + 1), final.eq(left <= cfg.banks),
            self.i.ready.eq(Mux(run.last, end, read & final)), self.tile_row_read.eq(self.i.ready & run.row_end),
        ]
        m.d.sync += recent_q.eq(Cat(end, recent_q[0]))
        with m.If(read):
            m.d.sync += [going_q.eq(~final), address_q.eq(further), left_q.eq(left - cfg.banks)]
        if cfg.slot_credits:  # the end is a slot of its own
            ending_q = Signal()
            m.d.comb += [read.eq(self.i.valid & ~ending_q & (left != 0) & go),
                         end.eq(self.i.valid & run.last & (ending_q | (left == 0)) & may_end & go)]
            m.d.sync += ending_q.eq(~end & Mux(read, final & run.last, ending_q))
        else:
            m.d.comb += [read.eq(self.i.valid & (left != 0) & (~run.last | ~final | may_end)),
                         end.eq(self.i.valid & run.last & final & may_end)]

        # Entries that the memories give one cycle later; then row numbers, registered.
        offset_q = Signal.like(run.offset)
        end_q = Signal()
        m.d.sync += [offset_q.eq(run.offset), end_q.eq(end), self.o.end.eq(end_q)]
        mine_q = Signal(cfg.banks)
        has = [left > k for k in range(cfg.banks)]
        for j, port in enumerate(self.events):
            before = run.lane > j if j < cfg.banks - 1 else Const(0)
            m.d.comb += [port.address.eq(Mux(before, further, address)), port.enable.eq(read)]
            mine = Cat(has[(j - lane) % cfg.banks] for lane in range(cfg.banks)).bit_select(run.lane, 1)
            m.d.sync += [
                mine_q[j].eq(read & mine),
                self.o.mask[j].eq(port.data.mask & mine_q[j].replicate(cfg.item_bits)),
                self.o.row[j].eq(port.data.column + offset_q),
            ]
        return m
