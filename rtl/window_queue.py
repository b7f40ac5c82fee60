"""The event source of a convolution: rows in flight as event lists, read window by window."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .beat import beat_stream, memory_depth
from .counter import counter
from .event_queue import credit_port, slot_layout
from .fifo import Queue
from .last_runs import LastRuns
from .row_writer import RowWriter
from .run_finder import RunFinder
from .run_reader import RunReader
from .window_shape import WindowQueueConfig, event_layout, length_shape, run_layout

__all__ = ["RUN_QUEUE_DEPTH", "WindowQueue"]

RUN_QUEUE_DEPTH = 16  # runs found ahead of the reader: what one LUT RAM holds in any case


class WindowQueue(wiring.Component):
    """Turns the beats of a feature map, in raster order, into the events of each output position's window.

    *Writer* (:class:`.RowWriter`). Each map row becomes a list of its events, (column, mask), compacted and spread
    round robin over the banks, two in a cycle where there are several; ``column = cell * cell_rows + channel`` is where
    the sum pool happens. For each cell the list's length so far is kept.
    *Runs* (:class:`.RunFinder`, :class:`.LastRuns`). The part of a window that lies in one map row is a contiguous
    piece of that row's list: a run. For each tile, group and row the run's ends are looked up, and those that are not
    empty are queued. Each of them is held until it is known whether it is its window's last. Padding is an empty run; a
    window without events is one too.
    *Reader* (:class:`.RunReader`). Takes ``banks`` events of a run per cycle. Their weight row is
    ``group * group_rows + (ky * kernel_columns - x0) * cell_rows + column`` for a window that starts in cell ``x0``.
    The mark of a window's end comes with its last events; with ``slot_credits`` it is a slot of its own, behind them.

    Timing: that of the three; a run is read one or more cycles after it was pushed. After the last window's end, one
    cycle passes before the next map is taken.

    Memory: ``banks * slots * bank_depth * (item_bits + column bits)`` bits of events, ``2 * slots * cells`` lengths,
    ``RUN_QUEUE_DEPTH`` runs.

    Members
    -------
    i : In(beat stream)
    o : Out(slot_layout), registered; it does not wait
    room : In(1), the end of a window may be given; looked at from the third cycle after an end on
    taken : In(1), only with ``slot_credits``: the consumer has taken a slot, and another one may be read a cycle later
    """

    def __init__(self, config: WindowQueueConfig) -> None:
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
        m.submodules.writer = writer = RowWriter(cfg)
        m.submodules.finder = finder = RunFinder(cfg)
        m.submodules.last_runs = last_runs = LastRuns(cfg)
        m.submodules.runs = runs = Queue(run_layout(cfg), RUN_QUEUE_DEPTH)
        m.submodules.reader = reader = RunReader(cfg)
        wiring.connect(m, wiring.flipped(self.i), writer.i)
        wiring.connect(m, finder.o, last_runs.i)
        wiring.connect(m, last_runs.o, runs.i)
        wiring.connect(m, runs.o, reader.i)
        m.d.comb += [reader.room.eq(self.room), self.o.eq(reader.o)]
        if cfg.slot_credits:
            m.d.comb += reader.taken.eq(self.taken)

        m.d.comb += [finder.row_written.eq(writer.row_written), finder.complete.eq(writer.complete),
                     writer.rows_read.eq(reader.tile_row_read)]
        _, map_read = counter(m, "tile_row", cfg.tile_rows, reader.tile_row_read)
        restart_q = Signal()
        m.d.sync += restart_q.eq(map_read)
        m.d.comb += [writer.restart.eq(restart_q), finder.restart.eq(restart_q)]

        for j in range(cfg.banks):
            m.submodules[f"bank{j}"] = memory = Memory(shape=event_layout(cfg), init=[],
                                                       depth=memory_depth(cfg.slots * cfg.bank_depth))
            _connect(m, memory, writer.events[j], reader.events[j])
        for j, which in enumerate(("begin", "end")):
            m.submodules[f"lengths_{which}"] = memory = Memory(shape=length_shape(cfg), init=[],
                                                               depth=memory_depth(cfg.slots * cfg.cells))
            _connect(m, memory, writer.lengths, finder.lengths[j])
        return m


def _connect(m: Module, memory: Any, writes: Any, reads: Any) -> None:
    write, read = memory.write_port(), memory.read_port()
    m.d.comb += [write.en.eq(writes.enable), write.addr.eq(writes.address), write.data.eq(writes.data),
                 read.en.eq(reads.enable), read.addr.eq(reads.address), reads.data.eq(read.data)]
