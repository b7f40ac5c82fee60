"""Runs that are not empty, and which of them is its window's last."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .window_shape import WindowQueueConfig, run_layout

__all__ = ["LastRuns"]


class LastRuns(wiring.Component):
    """Leaves out the runs of a window that are empty, and marks the last one that is left, which carries the mark of
    the window's end; of a window of empty ones it leaves the last.

    Timing: a run that is not empty pushes the one that is held of its window, and is held itself; one that is empty and
    its window's last pushes that run, marked as the last one (if there is none, it is held instead of it). A held run
    that is its window's last is offered one cycle after it came, or later. What pushes waits until what is held is
    taken, what is to be held until nothing else is.

    Parameters
    ----------
    config : WindowQueueConfig

    Members
    -------
    i : In(stream of run_layout): ``last`` of the window's runs
    o : Out(stream of run_layout): ``last`` of those that are left
    """

    def __init__(self, config: WindowQueueConfig) -> None:
        self.config = config
        runs = stream.Signature(run_layout(config))
        super().__init__({"i": In(runs), "o": Out(runs)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        run = self.i.payload
        held_q = Signal(run_layout(self.config), reset_less=True)
        holds_q = Signal()
        open_q = Signal()  # what is held may not be its window's last
        empty = Signal()
        tells = Signal()  # what comes says whether what is held is
        keep = Signal()
        give = Signal()
        m.d.comb += [
            empty.eq(run.count == 0), tells.eq(~empty | run.last),
            self.o.valid.eq(holds_q & (~open_q | (self.i.valid & tells))), self.o.payload.eq(held_q),
            self.o.payload.last.eq(Mux(open_q, empty, held_q.last)),
            self.o.payload.row_end.eq(Mux(open_q, empty & run.row_end, held_q.row_end)),
            self.i.ready.eq(~tells | ~holds_q | self.o.ready),
            keep.eq(self.i.valid & self.i.ready & (~empty | (run.last & ~open_q))),
            give.eq(self.o.valid & self.o.ready),
        ]
        m.d.sync += [holds_q.eq(keep | (holds_q & ~give)), open_q.eq(Mux(keep, ~run.last, open_q & ~give))]
        with m.If(keep):
            m.d.sync += held_q.eq(run)
        return m
