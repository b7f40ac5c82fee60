"""The event source of a convolution: rows in flight as event lists, read window by window."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .beat import beat_stream, index_shape, memory_depth
from .event_queue import credit_port, slot_credit, slot_layout
from .fifo import Queue

__all__ = ["RUN_QUEUE_DEPTH", "WindowQueue", "WindowQueueConfig"]

RUN_QUEUE_DEPTH = 16  # runs found ahead of the reader: what one LUT RAM holds in any case


@dataclass(frozen=True, kw_only=True)
class WindowQueueConfig:
    """Shape of a window queue.

    A *cell* is a position of the pooled map, a *tile* one or several neighbouring output positions that lanes work
    on side by side: their windows together are one window of ``kernel_columns`` cells.

    Parameters
    ----------
    items, item_bits : int
        Masks in a beat, bits of a mask. A beat belongs to one position.
    cell_beats : int
        Beats of one position.
    width, height : int
        Positions of the input map, before the pool.
    pool : int
        Size of the sum pool, 1 for none: ``pool**2`` positions are one cell.
    kernel_rows, kernel_columns : int
        Cells of a window.
    stride_rows, stride_columns : int
        Cells from one tile to the next one below, and beside it.
    padding : int
        Cells around the map, which are empty.
    tile_rows, tiles : int
        Rows of tiles, tiles in a row.
    groups : int
        Times that each window is read: groups of output channels.
    banks : int
        Events per cycle, a power of two.
    slot_credits : int
        Slots that can be given before the consumer has taken the first of them; 0: a consumer that never waits.
    """

    items: int
    item_bits: int
    cell_beats: int
    width: int
    height: int
    pool: int
    kernel_rows: int
    kernel_columns: int
    stride_rows: int
    stride_columns: int
    padding: int
    tile_rows: int
    tiles: int
    groups: int
    banks: int
    slot_credits: int = 0

    def __post_init__(self) -> None:
        if self.banks & (self.banks - 1):
            raise ValueError(f"banks must be a power of two, not {self.banks}")

    @property
    def cells(self) -> int:
        """Cells of a row."""
        return self.width // self.pool

    @property
    def cell_rows(self) -> int:
        """Weight rows of one cell: its channels, with the beats' padding."""
        return self.cell_beats * self.items

    @property
    def group_rows(self) -> int:
        """Weight rows of one group."""
        return self.kernel_rows * self.kernel_columns * self.cell_rows

    @property
    def passes(self) -> int:
        """Row numbers are absolute: the groups are in them."""
        return 1

    @property
    def rows(self) -> int:
        """Weight rows of all groups."""
        return self.groups * self.group_rows

    @property
    def row_bits(self) -> int:
        """Bits of a row number."""
        return max(1, int(ceil_log2(self.rows)))

    @property
    def turns(self) -> int:
        """Groups to which each event is given in turn: a group takes all events of its window."""
        return 1

    @property
    def runs(self) -> int:
        """Runs of a window: map rows that it sees."""
        return self.kernel_rows * self.pool

    @property
    def row_step(self) -> int:
        """Map rows from one row of tiles to the next."""
        return self.stride_rows * self.pool

    @property
    def top(self) -> int:
        """Map rows of padding above the map."""
        return self.padding * self.pool

    @property
    def slots(self) -> int:
        """Map rows held: those of a window, and those that arrive meanwhile."""
        return self.runs + self.row_step

    @property
    def row_events(self) -> int:
        """Events of a map row, if all its neurons spike."""
        return self.width * self.cell_rows

    @property
    def bank_depth(self) -> int:
        """Entries of a map row in one bank."""
        return -(-self.row_events // self.banks)

    @property
    def column_bits(self) -> int:
        """Bits of an event's column."""
        return int(index_shape(self.cells * self.cell_rows).width)

    @property
    def writes(self) -> int:
        """Events written in one cycle, each to a bank of its own."""
        return min(2, self.banks, self.items)

    @property
    def memory_bits(self) -> int:
        """Bits of all events that can be held."""
        return self.banks * self.slots * self.bank_depth * (self.item_bits + self.column_bits)

    @property
    def beats(self) -> int:
        """Beats of a map."""
        return self.height * self.width * self.cell_beats


class WindowQueue(wiring.Component):
    """Turns the beats of a feature map, in raster order, into the events of each output position's window.

    *Writer.* Each map row becomes a list of its events, (column, mask), compacted and spread round robin over the
    banks, two in a cycle where there are several; ``column = cell * cell_rows + channel`` is where the sum pool
    happens. For each cell the list's length so far is kept.
    *Runs.* The part of a window that lies in one map row is a contiguous piece of that row's list: a run. For each
    tile, group and row the run's ends are looked up, and those that are not empty are queued. Each of them is held
    until it is known whether it is its window's last. Padding is an empty run; a window without events is one too.
    *Reader.* Takes ``banks`` events of a run per cycle. Their weight row is
    ``group * group_rows + (ky * kernel_columns - x0) * cell_rows + column`` for a window that starts in cell ``x0``.
    The mark of a window's end comes with its last events; with ``slot_credits`` it is a slot of its own, behind them.

    Timing. A beat with ``c`` events is taken ``ceil(max(1, c) / writes) - 1`` cycles after it could have been (it is
    offered, the one before was taken in an earlier cycle, and its row has a slot: rows of tiles above that no longer
    need it have ended in earlier cycles). Run ``k`` is looked up in ``F_k = max(C_{k-1}, R + 1)``, where ``R`` is the
    cycle in which the last map row of its window was complete (for the last row of tiles: the map). Its result leaves
    in ``C_k = F_k + 1``. There, if it is not empty, it pushes the run held of its window to the run queue, and is held
    itself; if it is empty and its window's last, it pushes that run, marked as the last one (if there is none, it is
    held instead of it). A held run that is its window's last is pushed one cycle after it came, or later. What pushes
    waits for room in the run queue, what is to be held until nothing else is.
    The reader starts a run of ``g`` groups of ``banks`` entries one or more cycles after it was pushed, and after the
    run before; it takes ``g`` cycles. The last of a window's (an empty one has one too) waits for ``room`` and comes at
    least 3 cycles after the end before; with ``slot_credits`` that holds for one cycle more, that of the end. What is
    read in ``t`` is on ``o`` in ``t + 2``. After the last window's end, one cycle passes before the next map is taken.

    Memory: ``banks * slots * bank_depth * (item_bits + column bits)`` bits of events, ``2 * slots * cells`` lengths.

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
        count_shape = index_shape(cfg.row_events + 1)
        event = data.StructLayout({"mask": cfg.item_bits, "column": cfg.column_bits})
        banks = []
        for j in range(cfg.banks):
            bank = Memory(shape=event, depth=memory_depth(cfg.slots * cfg.bank_depth), init=[])
            m.submodules[f"bank{j}"] = bank
            banks.append(bank)
        lengths = []
        for which in ("begin", "end"):
            m.submodules[f"lengths_{which}"] = memory = Memory(shape=count_shape,
                                                               depth=memory_depth(cfg.slots * cfg.cells), init=[])
            lengths.append(memory)

        full_q = Signal()   # the map is written
        restart = Signal()  # the map is read
        row_written = Signal()
        tile_row_looked_up = Signal()
        tile_row_read = Signal()
        self._writer(m, banks, lengths, full_q, restart, row_written, tile_row_read, count_shape)
        runs = self._runs(m, lengths, full_q, restart, row_written, tile_row_looked_up, count_shape)
        self._reader(m, banks, runs, restart, tile_row_read)
        return m

    def _writer(self, m: Module, banks: list[Any], lengths: list[Any], full_q: Signal,
                restart: Signal, row_written: Signal, tile_row_read: Signal, count_shape: Any) -> None:
        cfg = self.config
        writes = [bank.write_port() for bank in banks]
        length_writes = [memory.write_port() for memory in lengths]

        # Room for this map row: slots that neither hold one nor are promised to the padding above the map.
        # A stride longer than the kernel can give up rows before they come.
        free_q = Signal(range(cfg.slots + cfg.row_step + 1), init=cfg.slots - cfg.top)
        m.d.sync += free_q.eq(free_q - row_written + Mux(tile_row_read, cfg.row_step, 0))

        # So many events per cycle; a beat without any takes a cycle too.
        some = Signal(cfg.items)
        left = [Signal(cfg.items, name=f"left{k}") for k in range(cfg.writes + 1)]  # when so many have been written
        sent_q = Signal(cfg.items)
        active = Signal()
        take = Signal()
        m.d.comb += [
            some.eq(Cat(self.i.payload[k].any() for k in range(cfg.items))), left[0].eq(some & ~sent_q),
            *(after.eq(before & (before - 1)) for before, after in pairwise(left)),
            active.eq(self.i.valid & ~full_q & (free_q != 0)),
            self.i.ready.eq(active & (left[-1] == 0)), take.eq(self.i.ready),
        ]
        with m.If(active):
            m.d.sync += sent_q.eq(Mux(take, 0, some & ~left[-1]))

        # Where this beat lies: beat of the position, position in the cell, cell of the row, row of the map.
        beat_q = Signal(index_shape(cfg.cell_beats))
        part_q = Signal(index_shape(cfg.pool))
        cell_q = Signal(index_shape(cfg.cells))
        row_q = Signal(index_shape(cfg.height))
        column_q = Signal(index_shape(cfg.cells * cfg.cell_rows))
        start = cfg.top % cfg.slots
        slot_q = Signal(index_shape(cfg.slots), init=start)
        base_q = Signal(index_shape(cfg.slots * cfg.bank_depth), init=start * cfg.bank_depth)
        length_base_q = Signal(index_shape(cfg.slots * cfg.cells), init=start * cfg.cells)
        position_ends = Signal()
        cell_ends = Signal()
        row_ends = Signal()
        m.d.comb += [
            position_ends.eq(take & (beat_q == cfg.cell_beats - 1)),
            cell_ends.eq(position_ends & (part_q == cfg.pool - 1)),
            row_ends.eq(cell_ends & (cell_q == cfg.cells - 1)),
            row_written.eq(row_ends),
        ]
        with m.If(take):
            m.d.sync += [beat_q.eq(Mux(position_ends, 0, beat_q + 1)), column_q.eq(column_q + cfg.items)]
        with m.If(position_ends):
            m.d.sync += part_q.eq(Mux(cell_ends, 0, part_q + 1))
            with m.If(~cell_ends):
                m.d.sync += column_q.eq(column_q - (cfg.cell_rows - cfg.items))
        with m.If(cell_ends):
            m.d.sync += cell_q.eq(Mux(row_ends, 0, cell_q + 1))

        count_q = Signal(count_shape)
        count = Signal(count_shape)
        bank_bits = int(ceil_log2(cfg.banks))
        m.d.comb += count.eq(count_q + sum(before.any() for before in left[:-1]))
        for n, (before, after) in enumerate(pairwise(left)):
            item = Signal(cfg.item_bits, name=f"item{n}")
            offset = Signal(index_shape(cfg.items), name=f"offset{n}")
            place = Signal(index_shape(cfg.row_events + cfg.writes), name=f"place{n}")
            m.d.comb += place.eq(count_q + n)
            for k in range(cfg.items):
                with m.If(before[k] & ~after[k]):
                    m.d.comb += [item.eq(self.i.payload[k]), offset.eq(k)]
            for j, write in enumerate(writes):
                with m.If((place[:bank_bits] == j if bank_bits else Const(1)) & before.any()):
                    m.d.comb += [write.addr.eq(base_q + place[bank_bits:]), write.en.eq(active),
                                 write.data.mask.eq(item), write.data.column.eq(column_q + offset)]
        for write in length_writes:
            m.d.comb += [write.addr.eq(length_base_q + cell_q), write.data.eq(count), write.en.eq(active)]
        with m.If(active):
            m.d.sync += count_q.eq(count)
        with m.If(row_ends):
            m.d.sync += [count_q.eq(0), column_q.eq(0), row_q.eq(row_q + 1), slot_q.eq(slot_q + 1),
                         base_q.eq(base_q + cfg.bank_depth), length_base_q.eq(length_base_q + cfg.cells)]
            with m.If(slot_q == cfg.slots - 1):
                m.d.sync += [slot_q.eq(0), base_q.eq(0), length_base_q.eq(0)]
            with m.If(row_q == cfg.height - 1):
                m.d.sync += full_q.eq(1)
        with m.If(restart):
            for q in (full_q, row_q, free_q, slot_q, base_q, length_base_q):
                m.d.sync += q.eq(q.init)

    def _runs(self, m: Module, lengths: list[Any], full_q: Signal, restart: Signal, row_written: Signal,
              looked_up: Signal, count_shape: Any) -> Any:
        cfg = self.config
        reads = [memory.read_port() for memory in lengths]
        bank_bits = int(ceil_log2(cfg.banks))

        # Which run is next.
        run_q = Signal(index_shape(cfg.runs))
        part_q = Signal(index_shape(cfg.pool))
        group_q = Signal(index_shape(cfg.groups))
        tile_q = Signal(index_shape(cfg.tiles))
        tile_row_q = Signal(index_shape(cfg.tile_rows))
        # Map row of the window's first run, and its slot; slot of this run. Rows count from the padding on.
        reach = (cfg.tile_rows - 1) * cfg.row_step + cfg.runs
        first_row_q = Signal(index_shape(reach + cfg.row_step))
        row_q = Signal(index_shape(reach + cfg.row_step))
        first_slot_q = Signal(index_shape(cfg.slots))
        slot_q = Signal(index_shape(cfg.slots))
        x_shape = signed(index_shape(cfg.cells + cfg.padding + cfg.stride_columns * 2 + 1).width + 1)
        x_q = Signal(x_shape, init=-cfg.padding)
        row_bits = cfg.row_bits
        wrap = (1 << row_bits) - 1
        kernel_offset_q = Signal(row_bits)
        group_offset_q = Signal(row_bits)
        x_offset_q = Signal(row_bits, init=(cfg.padding * cfg.cell_rows) & wrap)

        # Map rows that are complete, counted from the window's first one.
        ahead_q = Signal(signed(index_shape(cfg.height + cfg.top + cfg.slots + reach).width + 1), init=cfg.top)
        m.d.sync += ahead_q.eq(ahead_q + row_written - Mux(looked_up, cfg.row_step, 0))
        finished_q = Signal()
        valid_q = Signal()
        consume = Signal()
        fetch = Signal()
        arrived = full_q | ((ahead_q >= cfg.runs) & (tile_row_q != cfg.tile_rows - 1))
        m.d.comb += fetch.eq(~finished_q & arrived & (~valid_q | consume))

        x_end = Signal(x_shape)
        begin = Signal(index_shape(cfg.cells + 1))
        end = Signal(index_shape(cfg.cells + 1))
        m.d.comb += [x_end.eq(x_q + cfg.kernel_columns), begin.eq(Mux(x_q < 0, 0, x_q)),
                     end.eq(Mux(x_end > cfg.cells, cfg.cells, x_end))]
        slot_length_q = Signal(index_shape(cfg.slots * cfg.cells))
        slot_base_q = Signal(index_shape(cfg.slots * cfg.bank_depth))
        for read, bound in zip(reads, (begin, end), strict=True):
            m.d.comb += [read.addr.eq(slot_length_q + bound - 1), read.en.eq(fetch)]

        run_ends = Signal()
        group_ends = Signal()
        tile_ends = Signal()
        m.d.comb += [
            run_ends.eq(run_q == cfg.runs - 1),
            group_ends.eq(run_ends & (group_q == cfg.groups - 1)),
            tile_ends.eq(group_ends & (tile_q == cfg.tiles - 1)),
            looked_up.eq(fetch & tile_ends),
        ]
        with m.If(fetch):
            # The next run of the window
            m.d.sync += [run_q.eq(run_q + 1), row_q.eq(row_q + 1), part_q.eq(part_q + 1),
                         slot_q.eq(slot_q + 1), slot_length_q.eq(slot_length_q + cfg.cells),
                         slot_base_q.eq(slot_base_q + cfg.bank_depth)]
            with m.If(part_q == cfg.pool - 1):
                m.d.sync += [part_q.eq(0), kernel_offset_q.eq(kernel_offset_q + cfg.kernel_columns * cfg.cell_rows)]
            with m.If(slot_q == cfg.slots - 1):
                m.d.sync += [slot_q.eq(0), slot_length_q.eq(0), slot_base_q.eq(0)]
            first_length_q = Signal.like(slot_length_q, name="first_length_q")
            first_base_q = Signal.like(slot_base_q, name="first_base_q")
            with m.If(run_ends):
                m.d.sync += [run_q.eq(0), part_q.eq(0), kernel_offset_q.eq(0), group_q.eq(group_q + 1),
                             group_offset_q.eq(group_offset_q + cfg.group_rows), row_q.eq(first_row_q),
                             slot_q.eq(first_slot_q), slot_length_q.eq(first_length_q), slot_base_q.eq(first_base_q)]
            with m.If(group_ends):
                m.d.sync += [group_q.eq(0), group_offset_q.eq(0), tile_q.eq(tile_q + 1),
                             x_q.eq(x_q + cfg.stride_columns),
                             x_offset_q.eq(x_offset_q - cfg.stride_columns * cfg.cell_rows)]
            with m.If(tile_ends):
                # The window's first slot moves on; it stays below twice the number of slots.
                moved = Signal(index_shape(cfg.slots + cfg.row_step))
                slot = Signal(index_shape(cfg.slots))
                m.d.comb += [moved.eq(first_slot_q + cfg.row_step),
                             slot.eq(Mux(moved >= cfg.slots, moved - cfg.slots, moved))]
                m.d.sync += [tile_q.eq(0), tile_row_q.eq(tile_row_q + 1), x_q.eq(x_q.init),
                             x_offset_q.eq(x_offset_q.init), first_row_q.eq(first_row_q + cfg.row_step),
                             row_q.eq(first_row_q + cfg.row_step), first_slot_q.eq(slot), slot_q.eq(slot)]
                for first, now, step in ((first_length_q, slot_length_q, cfg.cells),
                                         (first_base_q, slot_base_q, cfg.bank_depth)):
                    next_first = Signal.like(first, name=f"next_{first.name}")
                    wrapped = Mux(moved >= cfg.slots, cfg.slots * step, 0)
                    m.d.comb += next_first.eq(first + cfg.row_step * step - wrapped)
                    m.d.sync += [first.eq(next_first), now.eq(next_first)]
                with m.If(tile_row_q == cfg.tile_rows - 1):
                    m.d.sync += finished_q.eq(1)
        with m.If(restart):
            for q in (first_row_q, row_q, first_slot_q, slot_q, first_length_q, first_base_q, slot_length_q,
                      slot_base_q, tile_row_q, finished_q, ahead_q):
                m.d.sync += q.eq(q.init)

        # The run that was looked up.
        in_map_q = Signal()
        from_start_q = Signal()
        last_q = Signal()
        row_end_q = Signal()
        base_q = Signal.like(slot_base_q)
        offset_q = Signal(row_bits)
        # Comparisons that padding makes necessary.
        below = row_q >= cfg.top if cfg.top else Const(1)
        above = row_q < cfg.top + cfg.height if reach > cfg.top + cfg.height else Const(1)
        with m.If(fetch):
            m.d.sync += [
                valid_q.eq(1), in_map_q.eq(below & above),
                from_start_q.eq(begin == 0), last_q.eq(run_ends), row_end_q.eq(tile_ends), base_q.eq(slot_base_q),
                offset_q.eq(group_offset_q + kernel_offset_q + x_offset_q)]
        with m.Elif(consume):
            m.d.sync += valid_q.eq(0)
        run_layout = data.StructLayout({
            "address": len(base_q), "lane": index_shape(cfg.banks), "count": count_shape, "offset": row_bits,
            "last": 1, "row_end": 1})
        m.submodules.runs = runs = Queue(run_layout, RUN_QUEUE_DEPTH)
        start = Signal(count_shape)
        count = Signal(count_shape)
        empty = Signal()
        tells = Signal()
        run = Signal(run_layout)
        m.d.comb += [
            start.eq(Mux(from_start_q, 0, reads[0].data)),
            count.eq(Mux(in_map_q, reads[1].data - start, 0)),
            empty.eq(count == 0),
            run.address.eq(base_q + start[bank_bits:]), run.lane.eq(start[:bank_bits]), run.count.eq(count),
            run.offset.eq(offset_q), run.last.eq(last_q), run.row_end.eq(row_end_q),
        ]

        # It is held until it is known whether it is the window's last: that carries the mark of the end.
        held_q = Signal(run_layout, reset_less=True)
        holds_q = Signal()
        open_q = Signal()  # what is held may not be its window's last
        m.d.comb += [
            tells.eq(valid_q & (~empty | last_q)),
            runs.i.valid.eq(holds_q & (~open_q | tells)),
            runs.i.payload.eq(held_q),
            consume.eq(valid_q & (~tells | ~holds_q | runs.i.ready)),
        ]
        with m.If(open_q):
            m.d.comb += [runs.i.payload.last.eq(empty), runs.i.payload.row_end.eq(empty & row_end_q)]
        with m.If(consume & (~empty | (last_q & ~open_q))):
            m.d.sync += [held_q.eq(run), holds_q.eq(1), open_q.eq(~last_q)]
        with m.Elif(runs.i.valid & runs.i.ready):
            m.d.sync += [holds_q.eq(0), open_q.eq(0)]
        return runs.o

    def _reader(self, m: Module, banks: list[Any], runs: Any, restart: Signal,
                row_read: Signal) -> None:
        cfg = self.config
        reads = [bank.read_port() for bank in banks]
        run = runs.payload

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
        pop = Signal()
        recent_q = Signal(2)  # an end that `room` does not show yet
        may_end = self.room & (recent_q == 0)
        go = slot_credit(m, cfg.slot_credits, read | end, self)
        m.d.comb += [
            address.eq(Mux(going_q, address_q, run.address)), left.eq(Mux(going_q, left_q, run.count)),
            further.eq(address + 1), final.eq(left <= cfg.banks),
            pop.eq(Mux(run.last, end, read & final)), runs.ready.eq(pop),
            row_read.eq(pop & run.row_end),
        ]
        m.d.sync += recent_q.eq(Cat(end, recent_q[0]))
        with m.If(read):
            m.d.sync += [going_q.eq(~final), address_q.eq(further), left_q.eq(left - cfg.banks)]
        if cfg.slot_credits:  # the end is a slot of its own
            ending_q = Signal()
            m.d.comb += [read.eq(runs.valid & ~ending_q & (left != 0) & go),
                         end.eq(runs.valid & run.last & (ending_q | (left == 0)) & may_end & go)]
            with m.If(end):
                m.d.sync += ending_q.eq(0)
            with m.Elif(read):
                m.d.sync += ending_q.eq(final & run.last)
        else:
            m.d.comb += [read.eq(runs.valid & (left != 0) & (~run.last | ~final | may_end)),
                         end.eq(runs.valid & run.last & final & may_end)]
        tile_rows_q = Signal(index_shape(cfg.tile_rows))
        with m.If(row_read):
            m.d.sync += tile_rows_q.eq(tile_rows_q + 1)
            with m.If(tile_rows_q == cfg.tile_rows - 1):
                m.d.sync += tile_rows_q.eq(0)
        m.d.sync += restart.eq(row_read & (tile_rows_q == cfg.tile_rows - 1))

        # Entries that the memories give one cycle later; then row numbers, registered.
        offset_q = Signal.like(run.offset)
        end_q = Signal()
        m.d.sync += [offset_q.eq(run.offset), end_q.eq(end), self.o.end.eq(end_q)]
        mine_q = Signal(cfg.banks)
        has = [left > k for k in range(cfg.banks)]
        for j, port in enumerate(reads):
            before = run.lane > j if j < cfg.banks - 1 else Const(0)
            m.d.comb += [port.addr.eq(Mux(before, further, address)), port.en.eq(read)]
            mine = Cat(has[(j - lane) % cfg.banks] for lane in range(cfg.banks)).bit_select(run.lane, 1)
            m.d.sync += [
                mine_q[j].eq(read & mine),
                self.o.mask[j].eq(port.data.mask & mine_q[j].replicate(cfg.item_bits)),
                self.o.row[j].eq(port.data.column + offset_q),
            ]
