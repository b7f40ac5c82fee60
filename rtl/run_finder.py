"""Which part of which map row a window sees: window by window, row by row."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .beat import index_shape
from .counter import counter, moved_on
from .window_shape import WindowQueueConfig, length_shape, read_port, run_layout

__all__ = ["RunFinder"]


class RunFinder(wiring.Component):
    """Gives a run for each row of tiles, tile, group and map row of the window, in this order. A window that begins in
    cell ``x0`` and sees a map row in slot ``s`` has of its events those from ``lengths[s * cells + begin - 1]`` (0
    where the cell is the row's first) to before ``lengths[s * cells + end - 1]``, where ``begin = max(0, x0)`` and
    ``end = min(cells, x0 + kernel_columns)``; none of a row that is padding. Its ``offset`` is ``group * group_rows +
    (ky * kernel_columns - x0) * cell_rows``.

    Timing: run ``k`` is looked up in ``F_k = max(C_{k-1}, R + 1)``, where ``R`` is the cycle in which the last map row
    of its window was written (for the last row of tiles: the map), and ``C_{k-1}`` the one in which the run before is
    taken; it is offered from ``F_k + 1`` on.

    Parameters
    ----------
    config : WindowQueueConfig

    Members
    -------
    row_written : In(1), a map row is written
    complete : In(1), all of them are
    lengths : 2 x Out(read_port): of the begin, of the end
    o : Out(stream of run_layout): ``last`` of a window, ``row_end`` of a row of tiles
    restart : In(1), all is as after a reset, for the next map; only when the last run has been taken
    """

    def __init__(self, config: WindowQueueConfig) -> None:
        self.config = config
        lengths = read_port(config.slots * config.cells, length_shape(config))
        super().__init__({
            "row_written": In(1), "complete": In(1), "restart": In(1), "lengths": Out(lengths).array(2),
            "o": Out(stream.Signature(run_layout(config)))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        valid_q = Signal()
        fetch = Signal()

        # Which run is next.
        _, run_ends = counter(m, "run", cfg.runs, fetch)
        _, part_ends = counter(m, "part", cfg.pool, fetch)
        _, group_ends = counter(m, "group", cfg.groups, run_ends)
        _, tile_ends = counter(m, "tile", cfg.tiles, group_ends)
        tile_row_q, map_ends = counter(m, "tile_row", cfg.tile_rows, tile_ends)

        # Map rows that are written, counted from the window's first one.
        reach = (cfg.tile_rows - 1) * cfg.row_step + cfg.runs
        ahead_q = Signal(signed(index_shape(cfg.height + cfg.top + cfg.slots + reach).width + 1), init=cfg.top)
        m.d.sync += ahead_q.eq(Mux(self.restart, ahead_q.init,
                                   ahead_q + self.row_written - Mux(tile_ends, cfg.row_step, 0)))
        finished_q = Signal()
        m.d.sync += finished_q.eq((finished_q | map_ends) & ~self.restart)
        arrived = self.complete | ((ahead_q >= cfg.runs) & (tile_row_q != cfg.tile_rows - 1))
        m.d.comb += fetch.eq(~finished_q & arrived & (~valid_q | self.o.ready))

        # The window's first cell, and what is added to the events' columns.
        x_shape = signed(index_shape(cfg.cells + cfg.padding + cfg.stride_columns * 2 + 1).width + 1)
        x_q = _steps(m, "x", x_shape, -cfg.padding, cfg.stride_columns, group_ends, tile_ends)
        wrap = (1 << cfg.row_bits) - 1
        offsets = [
            _steps(m, name, cfg.row_bits, first & wrap, step, when, back) for name, first, step, when, back in (
                ("group_offset", 0, cfg.group_rows, run_ends, group_ends),
                ("kernel_offset", 0, cfg.kernel_columns * cfg.cell_rows, part_ends, run_ends),
                ("x_offset", cfg.padding * cfg.cell_rows, -cfg.stride_columns * cfg.cell_rows, group_ends, tile_ends))]

        # The map row, counted from the padding on, and where its slot begins, in a bank and among the lengths.
        def along_rows(name: str, step: int, size: int) -> Signal:
            """A place that a map row moves on by ``step``, and back to the window's first one for each window."""
            place_q = Signal(index_shape(size), name=f"{name}_q")
            first_q = Signal(index_shape(size), name=f"first_{name}_q")
            below = Signal(index_shape(size), name=f"next_{name}")  # where the windows of the next row of tiles begin
            m.d.comb += below.eq(moved_on(first_q, cfg.row_step * step, size))
            with m.If(self.restart):
                m.d.sync += [place_q.eq(0), first_q.eq(0)]
            with m.Elif(tile_ends):
                m.d.sync += [place_q.eq(below), first_q.eq(below)]
            with m.Elif(fetch):
                m.d.sync += place_q.eq(Mux(run_ends, first_q, moved_on(place_q, step, size)))
            return place_q

        row_q = along_rows("row", 1, 1 << index_shape(reach + cfg.row_step).width)
        base_q = along_rows("base", cfg.bank_depth, cfg.slots * cfg.bank_depth)
        length_base_q = along_rows("length_base", cfg.cells, cfg.slots * cfg.cells)

        x_end = Signal(x_shape)
        begin = Signal(index_shape(cfg.cells + 1))
        end = Signal(index_shape(cfg.cells + 1))
        m.d.comb += [x_end.eq(x_q + cfg.kernel_columns), begin.eq(Mux(x_q < 0, 0, x_q)),
                     end.eq(Mux(x_end > cfg.cells, cfg.cells, x_end))]
        for read, bound in zip(self.lengths, (begin, end), strict=True):
            m.d.comb += [read.address.eq(length_base_q + bound - 1), read.enable.eq(fetch)]

        # The run that was looked up. Comparisons are there where padding makes them necessary.
        below = row_q >= cfg.top if cfg.top else Const(1)
        above = row_q < cfg.top + cfg.height if reach > cfg.top + cfg.height else Const(1)
        in_map_q = Signal()
        from_start_q = Signal()
        found_q = Signal(run_layout(cfg))
        m.d.sync += valid_q.eq(fetch | (valid_q & ~self.o.ready))
        with m.If(fetch):
            m.d.sync += [in_map_q.eq(below & above), from_start_q.eq(begin == 0), found_q.address.eq(base_q),
                         found_q.offset.eq(sum(offsets)), found_q.last.eq(run_ends), found_q.row_end.eq(tile_ends)]
        start = Signal(length_shape(cfg))
        bank_bits = int(ceil_log2(cfg.banks))
        m.d.comb += [
            start.eq(Mux(from_start_q, 0, self.lengths[0].data)),
            self.o.valid.eq(valid_q), self.o.payload.eq(found_q),
            self.o.payload.address.eq(found_q.address + start[bank_bits:]), self.o.payload.lane.eq(start[:bank_bits]),
            self.o.payload.count.eq(Mux(in_map_q, self.lengths[1].data - start, 0)),
        ]
        return m


def _steps(m: Module, name: str, shape: Any, first: int, step: int, when: Any, back: Any) -> Signal:
    """A number that goes on by ``step``, and ``back`` to the first one."""
    number_q = Signal(shape, name=f"{name}_q", init=first)
    with m.If(when):
        m.d.sync += number_q.eq(Mux(back, first, number_q + step))
    return number_q
