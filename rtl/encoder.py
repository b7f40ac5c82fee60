"""Values that become spikes: a sample comes once, and is looked at anew in every window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from spikeloom.model.inputs import ROUNDS, round_keys

from .beat import beat_layout, beat_stream, index_shape, memory_depth
from .fifo import Queue, occupancy

__all__ = ["Encoder", "EncoderConfig"]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Shape of an encoder.

    Parameters
    ----------
    kind : "latency" or "bernoulli"
    items, bits : int
        Values in a beat, bits of a value.
    beats, last_items : int
        Beats of a sample, and values in the last one.
    windows, window_steps : int
        Windows in a run, steps in a window.
    silent_zero : bool
    rate, seed : int
        See :class:`.LatencyInput`, :class:`.BernoulliInput`.
    """

    kind: Literal["latency", "bernoulli"]
    items: int
    bits: int
    beats: int
    last_items: int
    windows: int
    window_steps: int
    silent_zero: bool = False
    rate: int = 1
    seed: int = 0

    @property
    def pipeline_cycles(self) -> int:
        """From a beat of values to its masks."""
        return 1 if self.kind == "latency" else ROUNDS + 2

    @property
    def queue_depth(self) -> int:
        """Beats between the pipeline and the consumer: the pipeline never stops."""
        return 1 << int(ceil_log2(self.pipeline_cycles + 3))

    @property
    def latency_cycles(self) -> int:
        """From taking a beat to offering its masks."""
        return self.pipeline_cycles + 1


class Encoder(wiring.Component):
    """Masks of spikes from values: ``latency`` or ``bernoulli``, as :mod:`spikeloom.model.inputs` defines them.

    Each beat of a sample is taken once and kept; in all windows but the first it comes from memory. A generator of its
    own for each item and step of a window makes the draws of a Bernoulli code, one round a stage.

    Latency :attr:`EncoderConfig.latency_cycles`, a beat per cycle. Memory: ``beats * items * bits`` bits of LUT RAM if
    there are several windows, and ``queue_depth * items * window_steps``.

    Members
    -------
    i : In(beat stream of values)
    o : Out(beat stream of masks)
    """

    def __init__(self, config: EncoderConfig) -> None:
        self.config = config
        super().__init__({"i": In(beat_stream(config.items, config.bits)),
                          "o": Out(beat_stream(config.items, config.window_steps))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        beat_q = Signal(index_shape(cfg.beats))
        window_q = Signal(index_shape(cfg.windows))
        step_q = Signal(index_shape(cfg.windows * cfg.window_steps + 1))
        place_q = Signal(16)
        take = Signal()
        room = Signal()
        fresh = Signal()
        m.d.comb += [fresh.eq(window_q == 0), take.eq((self.i.valid | ~fresh) & room), self.i.ready.eq(fresh & room)]
        with m.If(take):
            m.d.sync += [beat_q.eq(beat_q + 1), place_q.eq(place_q + cfg.items)]
            with m.If(beat_q == cfg.beats - 1):
                m.d.sync += [beat_q.eq(0), place_q.eq(0), window_q.eq(window_q + 1),
                             step_q.eq(step_q + cfg.window_steps)]
                with m.If(window_q == cfg.windows - 1):
                    m.d.sync += [window_q.eq(0), step_q.eq(0)]
        values = Signal(beat_layout(cfg.items, cfg.bits))
        m.d.comb += values.eq(self.i.payload)
        if cfg.windows > 1:
            width = cfg.items * cfg.bits
            m.submodules.sample = memory = Memory(shape=width, depth=memory_depth(cfg.beats), init=[])
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [write.addr.eq(beat_q), write.data.eq(self.i.payload.as_value()), write.en.eq(take & fresh),
                         read.addr.eq(beat_q)]
            m.d.comb += values.as_value().eq(Mux(fresh, self.i.payload.as_value(), read.data))

        m.submodules.queue = queue = Queue(beat_layout(cfg.items, cfg.window_steps), cfg.queue_depth)
        wiring.connect(m, wiring.flipped(self.o), queue.o)
        valid = Signal(cfg.pipeline_cycles)
        m.d.sync += valid.eq(Cat(take, valid[:-1]))
        m.d.comb += queue.i.valid.eq(valid[-1])
        full = occupancy(m, "inside", cfg.queue_depth, take, self.o.valid & self.o.ready)[-1]
        m.d.comb += room.eq(~full)
        # Above the last value of a sample there are none.
        last_q = Signal(cfg.pipeline_cycles)
        m.d.sync += last_q.eq(Cat(beat_q == cfg.beats - 1, last_q[:-1]))
        there = ~last_q[-1]
        kind = self._latency if cfg.kind == "latency" else self._bernoulli
        for item in range(cfg.items):
            for step in range(cfg.window_steps):
                fires = kind(m, values[item], item, step, step_q, place_q)
                m.d.comb += queue.i.payload[item][step].eq(fires if item < cfg.last_items else fires & there)
        return m

    def _latency(self, m: Module, value: Any, item: int, step: int, step_q: Signal, place_q: Signal) -> Any:
        fires_q = Signal(name=f"fires{item}_{step}_q", reset_less=True)
        hit = (step_q + step == ~value) if len(value) else Const(0)
        m.d.sync += fires_q.eq(hit & (value != 0) if self.config.silent_zero else hit)
        return fires_q

    def _bernoulli(self, m: Module, value: Any, item: int, step: int, step_q: Signal, place_q: Signal) -> Any:
        cfg = self.config
        x: Any = Signal(16, name=f"step{item}_{step}")
        y: Any = Signal(16, name=f"place{item}_{step}")
        m.d.comb += [x.eq(step_q + step), y.eq(place_q + item)]
        kept: Any = value
        for number, key in enumerate(round_keys(cfg.seed)):
            mixed = Signal(16, name=f"mixed{item}_{step}_{number}")
            x_q, y_q = (Signal(16, name=f"{n}{item}_{step}_{number}_q", reset_less=True) for n in "xy")
            kept_q = Signal(cfg.bits, name=f"value{item}_{step}_{number}_q", reset_less=True)
            m.d.comb += mixed.eq((Cat(x[7:], x[:7]) + y)[:16] ^ key)
            m.d.sync += [x_q.eq(mixed), y_q.eq(Cat(y[14:], y[:14]) ^ mixed), kept_q.eq(kept)]
            x, y, kept = x_q, y_q, kept_q
        limit_q = Signal(unsigned(16), name=f"limit{item}_{step}_q", reset_less=True)
        drawn_q = Signal(16, name=f"drawn{item}_{step}_q", reset_less=True)
        fires_q = Signal(name=f"fires{item}_{step}_q", reset_less=True)
        m.d.sync += [limit_q.eq(kept * cfg.rate), drawn_q.eq(x), fires_q.eq(drawn_q < limit_q)]
        return fires_q
