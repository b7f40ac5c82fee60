"""Readout: scores from the output spikes, and the class with the highest."""

from __future__ import annotations

from dataclasses import dataclass
from operator import add
from typing import Any, Literal

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from .balanced import balanced
from .beat import beat_masks, beat_stream, index_shape, memory_depth

__all__ = ["Readout", "ReadoutConfig", "score_port"]


@dataclass(frozen=True, kw_only=True)
class ReadoutConfig:
    """Shape of a readout.

    Parameters
    ----------
    kind : "weighted", "first" or "potential"
        What the score is: a weighted count of spikes, how early the first one was, or the membrane potential.
    classes : int
    units : int
        Neurons in a beat.
    lanes : int
        Neurons in a group; a group is ``ceil(lanes / units)`` beats.
    windows, window_steps : int
        Windows in a run, steps in a window.
    step_weights : tuple of tuple of int
        Of a weighted count: score of a spike in each step of a window, for each window, or once for all of them.
    membrane_bits : int
        Width of the membrane potentials that decide, or decide between equal scores; 0 if the lowest index does.
    early_exit : bool
        The run ends with the window of the first spike.
    marked : bool
        The run ends with its window number ``length`` as soon as ``ended`` says so; ``windows`` at most.
    shows_scores : bool
        Scores can be seen as they are compared.
    """

    kind: Literal["weighted", "first", "potential"]
    classes: int
    units: int
    lanes: int
    windows: int
    window_steps: int
    step_weights: tuple[tuple[int, ...], ...] = ()
    membrane_bits: int = 0
    early_exit: bool = False
    marked: bool = False
    shows_scores: bool = False

    @property
    def group_beats(self) -> int:
        return -(-self.lanes // self.units)

    @property
    def groups(self) -> int:
        return -(-self.classes // self.lanes)

    @property
    def score_bits(self) -> int:
        """Of the largest possible score; 0 if potentials are all that counts."""
        if self.kind == "potential":
            return 0
        if self.kind == "first":
            return int(bits_for(self.windows * self.window_steps))
        times = self.windows // len(self.step_weights)
        return int(bits_for(times * sum(sum(window) for window in self.step_weights)))

    @property
    def score_shape(self) -> Shape:
        """Of what decides: a score, or a membrane potential."""
        return signed(self.membrane_bits) if self.kind == "potential" else unsigned(self.score_bits)


def score_port(config: ReadoutConfig) -> wiring.Signature:
    """Scores as they are compared. In every window each class comes once; in a run's last one that is its score: the
    class with the highest is offered in the cycle after the last of them, and none comes before it is taken."""
    return wiring.Signature({"valid": Out(1), "class_index": Out(range(max(2, config.classes))),
                             "value": Out(config.score_shape)})


class Readout(wiring.Component):
    """Reads one neuron per cycle; after the last one of the run, gives the class.

    ::

        score[n] = sum over windows v and steps t of step_weights[v][t] * mask[n][t]       (weighted)
        score[n] = steps of the run - step of the first spike, 0 if there is none          (first)
        key[n]   = score[n], or score[n] * 2**membrane_bits + potential[n] + 2**(membrane_bits - 1)
        class    = the lowest n with the highest key

    ``potential`` is that of the last window. The key holds it with its sign bit flipped, below the score, so that one
    unsigned comparison orders by score first and by potential second.

    Timing: a beat takes ``units`` cycles; the class is offered 2 cycles after the last neuron of the run was
    read. Memory: ``classes * score_bits`` bits if there are several windows and a score, and the weights of all steps
    if they are not the same in all windows.

    Members
    -------
    i : In(beat stream)
    o : Out(stream of class index)
    ended, length : In(1), In(range(windows + 1)), if runs are marked
    scores : Out(score_port), if they are shown
    """

    def __init__(self, config: ReadoutConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(beat_stream(config.units, config.window_steps, config.membrane_bits)),
            "o": Out(stream.Signature(range(max(2, config.classes)))),
            **({"ended": In(1), "length": In(range(config.windows + 1))} if config.marked else {}),
            **({"scores": Out(score_port(config))} if config.shows_scores else {}),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        windows = cfg.windows

        # Which neuron this is. A group's last beat and the last group may be padded.
        unit_q = Signal(index_shape(cfg.units))
        lane_q = Signal(index_shape(cfg.group_beats * cfg.units))
        class_q = Signal(index_shape(cfg.groups * cfg.lanes + 1))
        group_q = Signal(index_shape(cfg.groups))
        window_q = Signal(index_shape(windows))
        finishing_q = Signal()
        read = Signal()
        real = Signal()
        beat_ends = Signal()
        group_ends = Signal()
        window_ends = Signal()
        run_ends = Signal()
        mask = Signal(cfg.window_steps)
        last_window = self.ended & (window_q + 1 == self.length) if cfg.marked else window_q == windows - 1
        m.d.comb += [
            read.eq(self.i.valid & ~finishing_q),
            real.eq((lane_q < cfg.lanes) & (class_q < cfg.classes)),
            beat_ends.eq(unit_q == cfg.units - 1),
            group_ends.eq(lane_q == cfg.group_beats * cfg.units - 1),
            window_ends.eq(group_ends & (group_q == cfg.groups - 1)),
            run_ends.eq(window_ends & (last_window | self._fired(m, read & real, mask, run_ends))),
            self.i.ready.eq(beat_ends & ~finishing_q),
        ]
        with m.If(read):
            m.d.sync += [unit_q.eq(Mux(beat_ends, 0, unit_q + 1)), lane_q.eq(Mux(group_ends, 0, lane_q + 1)),
                         class_q.eq(class_q + (lane_q < cfg.lanes))]
            with m.If(group_ends):
                m.d.sync += group_q.eq(group_q + 1)
            with m.If(window_ends):
                m.d.sync += [class_q.eq(0), group_q.eq(0), window_q.eq(window_q + 1)]
            with m.If(run_ends):
                m.d.sync += [window_q.eq(0), finishing_q.eq(1)]

        def of_unit(items: Any) -> Any:
            return items[unit_q] if cfg.units > 1 else items[0]

        # Score of this neuron in this window.
        m.d.comb += mask.eq(of_unit(beat_masks(self.i.payload)))
        gained = Signal(max(1, cfg.score_bits))
        if cfg.kind == "weighted":
            m.d.comb += gained.eq(self._weighted(m, mask, window_q))
        elif cfg.kind == "first":
            m.d.comb += gained.eq(self._first(m, mask, window_ends, run_ends, read))

        # What a comparison waits for is known a cycle before it.
        counts_q = Signal()  # a neuron was read, no padding
        starts_q = Signal()  # class 0
        class_read_q = Signal.like(class_q)
        run_ends_q = Signal()
        gained_q = Signal.like(gained)
        m.d.sync += [counts_q.eq(read & real), starts_q.eq(class_q == 0), class_read_q.eq(class_q),
                     run_ends_q.eq(read & run_ends), gained_q.eq(gained)]
        score = Signal(max(1, cfg.score_bits))
        if windows > 1 and cfg.score_bits:
            m.submodules.scores = scores = Memory(shape=cfg.score_bits, depth=memory_depth(cfg.classes), init=[])
            kept, write = scores.read_port(domain="comb"), scores.write_port()
            first_q = Signal()
            m.d.sync += first_q.eq(window_q == 0)
            before = Mux(first_q, 0, kept.data)
            total = gained_q + before if cfg.kind == "weighted" else Mux(before == 0, gained_q, before)
            m.d.comb += [kept.addr.eq(class_read_q), score.eq(total),
                         write.addr.eq(class_read_q), write.data.eq(score), write.en.eq(counts_q)]
        else:
            m.d.comb += score.eq(gained_q)

        key: Any = score
        if cfg.membrane_bits:
            potential_q = Signal(cfg.membrane_bits)
            m.d.sync += potential_q.eq(of_unit(self.i.payload.potential))
            key = Cat(potential_q[:-1], ~potential_q[-1], *([score] if cfg.score_bits else []))

        if cfg.shows_scores:
            m.d.comb += [self.scores.valid.eq(counts_q), self.scores.class_index.eq(class_read_q),
                         self.scores.value.eq(potential_q if cfg.kind == "potential" else score)]

        # The best so far; class 0 starts anew, in every window.
        best_q = Signal(len(key), reset_less=True)
        best_class_q = Signal(self.o.payload.shape(), reset_less=True)
        with m.If(counts_q & (starts_q | (key > best_q))):
            m.d.sync += [best_q.eq(key), best_class_q.eq(class_read_q)]
        valid_q = Signal()
        with m.If(run_ends_q):
            m.d.sync += valid_q.eq(1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [valid_q.eq(0), finishing_q.eq(0)]
        m.d.comb += [self.o.valid.eq(valid_q), self.o.payload.eq(best_class_q)]
        return m

    def _weighted(self, m: Module, mask: Signal, window_q: Signal) -> Any:
        """Weights of the steps with a spike."""
        cfg = self.config
        if len(cfg.step_weights) == 1:
            weights: list[Any] = [Const(c) for c in cfg.step_weights[0]]
        else:
            bits = max(1, *(c.bit_length() for window in cfg.step_weights for c in window))
            rows = [sum(c << t * bits for t, c in enumerate(window)) for window in cfg.step_weights]
            m.submodules.weights = memory = Memory(shape=cfg.window_steps * bits, depth=memory_depth(len(rows)),
                                                   init=rows)
            port = memory.read_port(domain="comb")
            m.d.comb += port.addr.eq(window_q)
            weights = [port.data[t * bits:(t + 1) * bits] for t in range(cfg.window_steps)]
        terms = [weight & mask[t].replicate(max(1, len(weight))) for t, weight in enumerate(weights)]
        return balanced(add, terms)

    def _first(self, m: Module, mask: Signal, window_ends: Any, run_ends: Any, read: Any) -> Any:
        """Steps from the first spike of the window to the end of the run; 0 without a spike."""
        cfg = self.config
        steps = cfg.windows * cfg.window_steps
        remaining_q = Signal(range(steps + 1), init=steps)
        with m.If(read & window_ends):
            m.d.sync += remaining_q.eq(remaining_q - cfg.window_steps)
        with m.If(read & run_ends):
            m.d.sync += remaining_q.eq(steps)
        first: Any = Const(0)
        for t in reversed(range(cfg.window_steps)):
            first = Mux(mask[t], (remaining_q - t)[:len(remaining_q)], first)
        return first

    def _fired(self, m: Module, reads: Any, mask: Signal, run_ends: Any) -> Any:
        """Whether a neuron has spiked in this window, for a run that ends then."""
        if not self.config.early_exit:
            return Const(0)
        fired_q = Signal()
        fires = reads & mask.any()
        m.d.sync += fired_q.eq((fired_q | fires) & ~(reads & run_ends))
        return fired_q | fires
