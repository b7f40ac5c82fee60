"""Rows of a feature map, written as lists of their events."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .beat import beat_stream, index_shape
from .counter import counter, moved_on
from .window_shape import WindowQueueConfig, event_layout, length_shape, write_port

__all__ = ["RowWriter"]


class RowWriter(wiring.Component):
    """Writes the events of each map row, compacted, into a slot of the banks, the slots in turn: event ``n`` of the row
    in slot ``s`` to entry ``s * bank_depth + n // banks`` of bank ``n % banks``, with ``column = cell * cell_rows +
    channel`` of all positions of a cell. ``lengths[s * cells + cell]`` is the number of the row's events up to the end
    of the cell. Row 0 goes to slot ``top mod slots``: those before it are the padding's, of which nothing is written.

    Timing: a beat with ``c`` events is taken ``ceil(max(1, c) / writes) - 1`` cycles after it could have been: it is
    offered, the one before was taken in an earlier cycle, and its row has a slot. A map has ``slots - top`` of them
    from the start, and ``row_step`` more a cycle after each ``rows_read``.

    Parameters
    ----------
    config : WindowQueueConfig

    Members
    -------
    i : In(beat stream)
    events : Out(write_port), of each bank
    lengths : Out(write_port)
    row_written : Out(1), the last beat of a map row is taken
    complete : Out(1), the last one of the map has been, and no further one is until ``restart``
    rows_read : In(1), ``row_step`` map rows are no longer needed
    restart : In(1), all is as after a reset, for the next map; only when ``complete``
    """

    def __init__(self, config: WindowQueueConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(beat_stream(config.items, config.item_bits)),
            "events": Out(write_port(config.slots * config.bank_depth, event_layout(config))).array(config.banks),
            "lengths": Out(write_port(config.slots * config.cells, length_shape(config))),
            "row_written": Out(1), "complete": Out(1), "rows_read": In(1), "restart": In(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config

        # Slots that neither hold a row nor are promised to the padding above the map. A stride longer than the kernel
        # can give up rows before they come.
        free_q = Signal(range(cfg.slots + cfg.row_step + 1), init=cfg.slots - cfg.top)
        active = Signal()
        m.d.comb += active.eq(self.i.valid & ~self.complete & (free_q != 0))
        m.d.sync += free_q.eq(Mux(self.restart, free_q.init,
                                  free_q - self.row_written + Mux(self.rows_read, cfg.row_step, 0)))

        # So many events per cycle; a beat without any takes a cycle too.
        some = Signal(cfg.items)
        left = [Signal(cfg.items, name=f"left{k}") for k in range(cfg.writes + 1)]  # when so many have been written
        sent_q = Signal(cfg.items)
        take = Signal()
        m.d.comb += [
            some.eq(Cat(self.i.payload[k].any() for k in range(cfg.items))), left[0].eq(some & ~sent_q),
            *(after.eq(before & (before - 1)) for before, after in pairwise(left)),
            self.i.ready.eq(active & (left[-1] == 0)), take.eq(self.i.ready),
        ]
        with m.If(active):
            m.d.sync += sent_q.eq(Mux(take, 0, some & ~left[-1]))

        # Where the beat lies: beat of the position, position in the cell, cell of the row, row of the map.
        _, position_ends = counter(m, "beat", cfg.cell_beats, take)
        _, cell_ends = counter(m, "part", cfg.pool, position_ends)
        cell_q, row_ends = counter(m, "cell", cfg.cells, cell_ends)
        _, map_ends = counter(m, "row", cfg.height, row_ends)
        column_q = Signal(cfg.column_bits)
        with m.If(take):
            back_to_cell = column_q - (cfg.cell_rows - cfg.items)
            m.d.sync += column_q.eq(Mux(row_ends, 0, Mux(position_ends & ~cell_ends, back_to_cell,
                                                         column_q + cfg.items)))
        m.d.comb += self.row_written.eq(row_ends)
        m.d.sync += self.complete.eq((self.complete | map_ends) & ~self.restart)

        # Where its slot begins, in a bank and among the lengths.
        slot = cfg.top % cfg.slots
        base_q = Signal(index_shape(cfg.slots * cfg.bank_depth), init=slot * cfg.bank_depth)
        length_base_q = Signal(index_shape(cfg.slots * cfg.cells), init=slot * cfg.cells)
        for place_q, step in ((base_q, cfg.bank_depth), (length_base_q, cfg.cells)):
            with m.If(row_ends | self.restart):
                m.d.sync += place_q.eq(Mux(self.restart, place_q.init, moved_on(place_q, step, cfg.slots * step)))

        # The row's events so far, of which each goes to the next bank.
        count_q = Signal(length_shape(cfg))
        count = Signal.like(count_q, name="count")
        bank_bits = int(ceil_log2(cfg.banks))
        m.d.comb += count.eq(count_q + sum(before.any() for before in left[:-1]))
        with m.If(active):
            m.d.sync += count_q.eq(Mux(row_ends, 0, count))
        for n, (before, after) in enumerate(pairwise(left)):
            item = Signal(cfg.item_bits, name=f"item{n}")
            offset = Signal(index_shape(cfg.items), name=f"offset{n}")
            place = Signal(index_shape(cfg.row_events + cfg.writes), name=f"place{n}")
            m.d.comb += place.eq(count_q + n)
            for k in range(cfg.items):
                with m.If(before[k] & ~after[k]):
                    m.d.comb += [item.eq(self.i.payload[k]), offset.eq(k)]
            for j, write in enumerate(self.events):
                with m.If((place[:bank_bits] == j if bank_bits else Const(1)) & before.any()):
                    m.d.comb += [write.address.eq(base_q + place[bank_bits:]), write.enable.eq(active),
                                 write.data.mask.eq(item), write.data.column.eq(column_q + offset)]
        m.d.comb += [self.lengths.address.eq(length_base_q + cell_q), self.lengths.data.eq(count),
                     self.lengths.enable.eq(active)]
        return m
