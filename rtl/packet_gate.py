"""Packets to runs: whatever comes in, the network gets runs of their right length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .beat import index_shape

__all__ = ["PacketGate", "PacketGateConfig", "packet_layout"]


@dataclass(frozen=True, kw_only=True)
class PacketGateConfig:
    """Shape of a packet gate.

    Parameters
    ----------
    bits : int
        Of a beat, without a mark.
    beats : int
        In a run; where its end is marked, in a step.
    steps : int or None
        Where the end of a run is marked: steps at most. A packet's end is the mark.
    """

    bits: int
    beats: int
    steps: int | None = None

    def __post_init__(self) -> None:
        for field in ("bits", "beats"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, not {getattr(self, field)!r}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1 or None, not {self.steps!r}")


def packet_layout(bits: int) -> data.StructLayout:
    """A beat of a packet."""
    return data.StructLayout({"data": bits, "last": 1})


class PacketGate(wiring.Component):
    """A packet of ``i`` becomes one run on ``o``, and its end is told on ``done``.

    1. A beat goes from ``i`` to ``o`` as it is. The first one of a packet waits for ``enable``.
    2. A packet that ends too early is filled up with zeros: to the end of the run, or of the step where the end is
       marked.
    3. What a packet has too many of is thrown away, up to its end.
    4. ``done`` comes with the run's last beat; ``error`` says that one of the two happened.

    ``abort`` ends the packet that is under way as if it ended too early, and lets no other begin; what is left of it
    counts as a new one.

    Latency 0 cycles, throughput a beat a cycle; a packet that is filled up takes a cycle for each beat that it lacks.

    Members
    -------
    i : In(stream of packet_layout)
    o : Out(stream of struct {data, mark}); ``mark`` with the last beat of a run
    done : Out(stream of struct {error}); ``valid`` only while it is taken
    enable, abort : In(1)
    early, late : Out(1), a packet was found to be too short, too long
    busy : Out(1), a packet is under way: from the cycle after its first beat on
    """

    def __init__(self, config: PacketGateConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(packet_layout(config.bits))),
            "o": Out(stream.Signature(data.StructLayout({"data": config.bits, "mark": 1}))),
            "done": Out(stream.Signature(data.StructLayout({"error": 1}))),
            "enable": In(1), "abort": In(1), "early": Out(1), "late": Out(1), "busy": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        beat_q = Signal(index_shape(cfg.beats))
        step_q = Signal(index_shape(cfg.steps or 1))
        inside_q = Signal()  # a packet has begun
        fill_q = Signal()
        drop_q = Signal()
        last_beat_q = Signal(init=cfg.beats == 1)  # known a cycle ahead
        ends = Signal()  # the beat on ``o`` is the run's last
        room = Signal()
        goes = Signal()  # a beat of the packet may go through
        take = Signal()
        m.d.comb += [
            room.eq(~last_beat_q | self.done.ready),
            goes.eq(room & ~fill_q & ~drop_q & Mux(inside_q, ~self.abort, self.enable & ~self.abort)),
            self.o.valid.eq(Mux(fill_q, room, self.i.valid & goes)),
            self.o.payload.data.eq(Mux(fill_q, 0, self.i.payload.data)),
            self.o.payload.mark.eq(ends),
            self.i.ready.eq(drop_q | (goes & self.o.ready)),
            take.eq(self.o.valid & self.o.ready),
            self.early.eq(take & ~fill_q & self.i.payload.last & ~last_beat_q),
            self.late.eq(take & ~fill_q & ends & ~self.i.payload.last),
            self.done.valid.eq(take & ends),
            self.done.payload.error.eq(fill_q | self.late),
            self.busy.eq(inside_q | drop_q),
        ]
        if cfg.steps is None:
            m.d.comb += ends.eq(last_beat_q)
        else:
            m.d.comb += ends.eq(last_beat_q & (fill_q | self.i.payload.last | (step_q == cfg.steps - 1)))
        with m.If(take):
            m.d.sync += [beat_q.eq(Mux(last_beat_q, 0, beat_q + 1)), inside_q.eq(~ends)]
            if cfg.beats > 1:
                m.d.sync += last_beat_q.eq(beat_q == cfg.beats - 2)
            with m.If(last_beat_q):
                m.d.sync += step_q.eq(Mux(ends, 0, step_q + 1))
        with m.If(take & ends):
            m.d.sync += [fill_q.eq(0), drop_q.eq(self.late)]
        with m.Elif(self.early | (self.abort & inside_q)):
            m.d.sync += fill_q.eq(1)
        with m.If(drop_q & (self.abort | (self.i.valid & self.i.payload.last))):
            m.d.sync += drop_q.eq(0)
        return m
