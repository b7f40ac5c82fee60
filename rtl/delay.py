"""Spikes that arrive a step later: along the way to a later layer, or back to an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .beat import beat_layout, beat_stream, memory_depth
from .counter import counter
from .fifo import Queue

__all__ = ["Delay", "DelayConfig", "Feedback"]


@dataclass(frozen=True, kw_only=True)
class DelayConfig:
    """Shape of a delay.

    Parameters
    ----------
    items, item_bits : int
        Masks in a beat, steps in a mask.
    beats : int
        Beats in a window.
    windows : int
        Windows in a run.
    endless : bool
        What is under way at the end of a run arrives in the next one.
    """

    items: int
    item_bits: int
    beats: int
    windows: int
    endless: bool = False


class Delay(wiring.Component):
    """``o[t] = i[t - 1]``, and ``o[0] = 0`` (or the last of the run before, if it is endless), for every channel.

    A mask moves up by a step; what it loses comes in with the channel's mask of the next window. Latency 0, a beat per
    cycle. Memory: ``beats * items`` bits of LUT RAM if anything is carried.

    Members
    -------
    i, o : In, Out(beat stream)
    """

    def __init__(self, config: DelayConfig) -> None:
        self.config = config
        beats = beat_stream(config.items, config.item_bits)
        super().__init__({"i": In(beats), "o": Out(beats)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]
        carried = Signal(cfg.items)
        if cfg.windows > 1 or cfg.endless:
            beat_q, window_ends = counter(m, "beat", cfg.beats, self.i.valid & self.o.ready)
            window_q, _ = counter(m, "window", cfg.windows, window_ends)
            fresh: Any = window_q == 0
            if cfg.endless:
                fresh = fresh_q = Signal(init=1)
                with m.If(window_ends):
                    m.d.sync += fresh_q.eq(0)
            m.submodules.last_steps = memory = Memory(shape=cfg.items, depth=memory_depth(cfg.beats), init=[])
            kept, write = memory.read_port(domain="comb"), memory.write_port()
            m.d.comb += [kept.addr.eq(beat_q), carried.eq(Mux(fresh, 0, kept.data)), write.addr.eq(beat_q),
                         write.data.eq(Cat(self.i.payload[k][-1] for k in range(cfg.items))),
                         write.en.eq(self.i.valid & self.o.ready)]
        m.d.comb += [self.o.payload[k].eq(Cat(carried[k], self.i.payload[k][:-1])) for k in range(cfg.items)]
        return m


class Feedback(wiring.Component):
    """The same on the way back to an earlier layer, for windows of one step: the spikes of a step wait until the next.

    A window of zeros lies in it when a run begins (the first one, if they are endless). A beat is taken when the one of
    the window before has left: a run does not see whether it is the first one. Latency 1, a beat per cycle; ``beats *
    items`` bits of LUT RAM.

    Members
    -------
    i, o : In, Out(beat stream)
    """

    def __init__(self, config: DelayConfig) -> None:
        if config.item_bits != 1:
            raise ValueError(f"item_bits must be 1 where spikes come back, not {config.item_bits}")
        self.config = config
        beats = beat_stream(config.items, 1)
        super().__init__({"i": In(beats), "o": Out(beats)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        m.submodules.queue = queue = Queue(beat_layout(cfg.items, 1), cfg.beats)
        # The first window comes from nowhere; after it, that of a run is the last one before it, as zeros.
        first_q = Signal(init=1)
        read_q, zeros_end = counter(m, "read", cfg.beats, first_q & self.o.ready)
        beat_q, window_ends = counter(m, "beat", cfg.beats, self.i.valid & self.i.ready)
        window_q, _ = counter(m, "window", cfg.windows, window_ends)
        with m.If(zeros_end):
            m.d.sync += first_q.eq(0)
        # The zeros of the first window lie nowhere, but take their places.
        room = ~first_q | (beat_q < read_q)
        last = Const(0) if cfg.endless else window_q == cfg.windows - 1
        m.d.comb += [
            queue.i.valid.eq(self.i.valid & room), self.i.ready.eq(queue.i.ready & room),
            queue.i.payload.as_value().eq(Mux(last, 0, self.i.payload.as_value())),
            self.o.valid.eq(first_q | queue.o.valid), queue.o.ready.eq(self.o.ready & ~first_q),
            self.o.payload.as_value().eq(Mux(first_q, 0, queue.o.payload.as_value())),
        ]
        return m
