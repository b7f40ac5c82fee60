"""What stands in front of a layer's queue: delays, OR pools, and the turns that several sources take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .beat import beat_layout, beat_stream, index_shape
from .delay import Delay, DelayConfig, Feedback
from .fifo import Queue
from .or_pool import OrPool, OrPoolConfig

__all__ = ["LayerInputs", "SourceConfig"]


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One source of a layer.

    Parameters
    ----------
    items, item_bits : int
        Masks in a beat, bits of a mask.
    delay : DelayConfig or None
        Its spikes arrive a step later.
    comes_back : bool
        From a later layer, or the layer itself.
    or_pool : OrPoolConfig or None
    turn_beats : int
        Beats, behind the pool, of its turn.
    buffer_beats : int
        Beats that wait for their turn: 0, or a window.
    """

    items: int
    item_bits: int
    turn_beats: int
    delay: DelayConfig | None = None
    comes_back: bool = False
    or_pool: OrPoolConfig | None = None
    buffer_beats: int = 0


class LayerInputs(wiring.Component):
    """One stream of beats from those of all sources, which take turns: at every position of a map, or once a window.

    Behind delay and OR pool, a source whose turn it is not waits; if it comes from a layer that others read too, in a
    queue of a window, so that these need not wait with it. Beats are as wide as the widest source's, with zeros above
    the others'.

    Latency 0, and 1 for what goes through a queue or comes back; a beat per cycle.

    Parameters
    ----------
    sources : tuple of SourceConfig

    Members
    -------
    i0, i1, ... : In(beat stream), of each source
    o : Out(beat stream)
    """

    def __init__(self, config: tuple[SourceConfig, ...]) -> None:
        self.config = config
        self.items = max(source.items for source in config)
        super().__init__({**{f"i{k}": In(beat_stream(s.items, s.item_bits)) for k, s in enumerate(config)},
                          "o": Out(beat_stream(self.items, config[0].item_bits))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        streams = [self._source(m, k, source) for k, source in enumerate(self.config)]
        if len(streams) == 1:
            wiring.connect(m, streams[0], wiring.flipped(self.o))
            return m
        turn_q = Signal(index_shape(len(streams)))
        beat_q = Signal(index_shape(max(source.turn_beats for source in self.config)))
        for k, (stream, source) in enumerate(zip(streams, self.config, strict=True)):
            mine = turn_q == k
            m.d.comb += stream.ready.eq(mine & self.o.ready)
            with m.If(mine):
                m.d.comb += [self.o.valid.eq(stream.valid), self.o.payload.as_value().eq(stream.payload.as_value())]
                with m.If(stream.valid & self.o.ready):
                    ends = beat_q == source.turn_beats - 1 if source.turn_beats > 1 else Const(1)
                    m.d.sync += beat_q.eq(Mux(ends, 0, beat_q + 1))
                    with m.If(ends):
                        m.d.sync += turn_q.eq((k + 1) % len(streams))
        return m

    def _source(self, m: Module, k: int, source: SourceConfig) -> Any:
        stream: Any = wiring.flipped(getattr(self, f"i{k}"))
        parts: list[tuple[str, Any]] = []
        if source.delay is not None:
            parts.append(("delay", (Feedback if source.comes_back else Delay)(source.delay)))
        if source.or_pool is not None:
            parts.append(("or_pool", OrPool(source.or_pool)))
        if source.buffer_beats:
            parts.append(("buffer", Queue(beat_layout(source.items, source.item_bits), source.buffer_beats)))
        for name, part in parts:
            m.submodules[f"{name}{k}" if len(self.config) > 1 else name] = part
            wiring.connect(m, stream, part.i)
            stream = part.o
        return stream
