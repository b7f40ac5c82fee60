"""OR pooling of a feature map between two streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .beat import beat_stream, index_shape, memory_depth

__all__ = ["OrPool", "OrPoolConfig"]


@dataclass(frozen=True, kw_only=True)
class OrPoolConfig:
    """Shape of an OR pool.

    Parameters
    ----------
    items, item_bits : int
        Masks in a beat, bits of a mask. A beat belongs to one position.
    cell_beats : int
        Beats of one position.
    width : int
        Positions of a row, before the pool.
    size : int
        Height and width of the pool's windows.
    """

    items: int
    item_bits: int
    cell_beats: int
    width: int
    size: int


class OrPool(wiring.Component):
    """``o[y, x] = OR of i[size * y + dy, size * x + dx]`` over ``dy, dx < size``, masks of positions in raster order.

    Latency 0: a window's last beat gives its output in the cycle in which it is taken; all others are taken at
    once. Memory: ``width / size * cell_beats * items * item_bits`` bits of LUT RAM, one row of windows.

    Members
    -------
    i, o : In, Out(beat stream)
    """

    def __init__(self, config: OrPoolConfig) -> None:
        self.config = config
        beats = beat_stream(config.items, config.item_bits)
        super().__init__({"i": In(beats), "o": Out(beats)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        beat_q = Signal(index_shape(cfg.cell_beats))
        column_q = Signal(index_shape(cfg.width))
        x_q = Signal(index_shape(cfg.size))
        y_q = Signal(index_shape(cfg.size))
        address_q = Signal(index_shape(cfg.width // cfg.size * cfg.cell_beats))
        take = Signal()
        position_ends = Signal()
        row_ends = Signal()
        complete = Signal()
        m.d.comb += [
            complete.eq((x_q == cfg.size - 1) & (y_q == cfg.size - 1)),
            self.o.valid.eq(self.i.valid & complete), self.i.ready.eq(self.o.ready | ~complete),
            take.eq(self.i.valid & self.i.ready), position_ends.eq(take & (beat_q == cfg.cell_beats - 1)),
            row_ends.eq(position_ends & (column_q == cfg.width - 1)),
        ]
        with m.If(take):
            m.d.sync += [beat_q.eq(beat_q + 1), address_q.eq(address_q + 1)]
        with m.If(position_ends):
            m.d.sync += [beat_q.eq(0), x_q.eq(x_q + 1), column_q.eq(column_q + 1)]
            with m.If(x_q == cfg.size - 1):
                m.d.sync += x_q.eq(0)
            with m.Else():
                m.d.sync += address_q.eq(address_q - (cfg.cell_beats - 1))
        with m.If(row_ends):
            m.d.sync += [column_q.eq(0), address_q.eq(0), y_q.eq(Mux(y_q == cfg.size - 1, 0, y_q + 1))]

        sent = self.i.payload.as_value()
        m.submodules.window = memory = Memory(shape=len(sent), init=[],
                                              depth=memory_depth(cfg.width // cfg.size * cfg.cell_beats))
        kept, write = memory.read_port(domain="comb"), memory.write_port()
        merged = Signal(len(sent))
        fresh = (x_q == 0) & (y_q == 0)
        m.d.comb += [kept.addr.eq(address_q), merged.eq(sent | Mux(fresh, 0, kept.data)),
                     write.addr.eq(address_q), write.data.eq(merged), write.en.eq(take),
                     self.o.payload.as_value().eq(merged)]
        return m
