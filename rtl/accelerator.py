"""The whole network: layers joined by beat streams, and the readout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .beat import beat_masks, beat_stream, index_shape
from .encoder import Encoder, EncoderConfig
from .fork import Fork
from .input_gate import InputGate, InputGateConfig
from .layer import SpikingLayer
from .mark_gate import MarkGate, MarkGateConfig
from .readout import Readout, ReadoutConfig, score_port
from .share import add_resettable, run_domain
from .weight_fetch import axi4_read
from .weight_sets import load_stream, set_length

__all__ = ["SPIKES", "Accelerator", "AcceleratorConfig"]


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig:
    """How layers and streams hang together.

    Parameters
    ----------
    input_items, input_item_bits : int
        Masks in a beat of input, bits of a mask.
    input_beats : int
        Beats of input in a run.
    sources : tuple of tuple of int
        For each layer, where its sources come from: 0 for the input, else one more than the layer's number.
    output : int
        Number of the layer that is read.
    late : mapping of int to int
        Beats in a run, of the layers whose last beats the output does not need: the class waits for them.
    output_beats : (items, item_bits, beats in a window, windows in a run)
        Of the layer that is read.
    readout : ReadoutConfig or None
        None: no class.
    encoder : EncoderConfig or None
    gate : InputGateConfig, MarkGateConfig or None
        Of runs that may end early, or whose end is marked.
    clears : bool
        All state is cleared at the end of a run whose end is marked.
    """

    input_items: int
    input_item_bits: int
    input_beats: int
    sources: tuple[tuple[int, ...], ...]
    output: int
    late: Mapping[int, int]
    output_beats: tuple[int, int, int, int]
    readout: ReadoutConfig | None
    encoder: EncoderConfig | None = None
    gate: InputGateConfig | MarkGateConfig | None = None
    clears: bool = True

    @property
    def marked(self) -> bool:
        """Whether the input marks the end of a run."""
        return isinstance(self.gate, MarkGateConfig)

    @property
    def breaks_off(self) -> bool:
        """Whether all parts are reset at the end of a run."""
        return self.gate is not None and self.clears


# Nets that begin so are there to be looked at: nothing in the hardware reads them.
SPIKES = "spikes_"


class Accelerator(wiring.Component):
    """Beats of input in, a class per sample out; or the output's beats, if no class is to be made of them.

    Where a run may end early, its result is kept in a register, and all layers are reset as soon as it is there; what
    is left of the run's input is thrown away (:class:`.InputGate`). The same happens where the input marks the end of
    runs (:class:`.MarkGate`), unless the state is kept: then the next run begins when the result has been taken.

    Behind each layer, the nets ``spikes_<layer>_valid``, ``_ready`` and ``_payload`` show every spike
    (the masks alone, also where potentials travel with them).

    Parameters
    ----------
    config : AcceleratorConfig
    layers : sequence of SpikingLayer

    With external weights, an inference during which a memory answered with an error is marked invalid; of several that
    are under way in that moment, all are. The next one is right again.

    Members
    -------
    i : In(beat stream)
    o : Out(stream of class index), with external weights Out(stream of struct {class, invalid}); without a readout
        Out(beat stream)
    scores : Out(score_port), if the readout shows them
    axi_<layer>, base_<layer> : Out(axi4_read), In(address), one pair for each layer with external weights
    status : Out(1 for each such layer), its memory has answered with an error since ``clear``
    clear : In(1), clears ``status``
    load : In(load_stream), where weights and constants are written at run time
    complete : Out(1), since ``begin`` as many words have come as a set has; :func:`.set_cycles` later all are in their
        places
    chosen_set : In(1), with two sets: which one is in use, the other one is written. It changes only while no run is
        under way; with one set, words come only then
    """

    def __init__(self, config: AcceleratorConfig, layers: Sequence[SpikingLayer]) -> None:
        self.config = config
        self.layers = layers
        #: Where runs may end early or marked: one does, and all layers are reset.
        self.flush = Signal(name="run_flush")
        super().__init__({
            "i": In(beat_stream(config.input_items, config.input_item_bits, marked=config.marked)),
            "o": Out(beat_stream(*config.output_beats[:2]) if config.readout is None
                     else stream.Signature(self._result_shape(config.readout))),
            **({"scores": Out(score_port(config.readout))} if config.readout is not None and config.readout.shows_scores
               else {}),
            **self._memory_ports(),
            **({"load": In(load_stream()), "complete": Out(1)} if self.loaded else {}),
            **({"chosen_set": In(1)} if any(layer.config.has_sets for layer in layers) else {}),
        })

    @property
    def external(self) -> list[SpikingLayer]:
        """Layers with external weights."""
        return [layer for layer in self.layers if layer.config.fetch is not None]

    @property
    def loaded(self) -> list[SpikingLayer]:
        """Layers with memories that are written at run time."""
        return [layer for layer in self.layers if layer.config.loaded]

    @property
    def set_words(self) -> int:
        """Words of a set."""
        return set_length(memory for layer in self.loaded for memory in layer.config.loaded)

    def _result_shape(self, readout: ReadoutConfig) -> Any:
        index = Shape.cast(range(max(2, readout.classes)))
        return data.StructLayout({"class": index, "invalid": 1}) if self.external else index

    def _memory_ports(self) -> dict[str, Any]:
        ports: dict[str, Any] = {}
        for layer in self.external:
            name, fetch = layer.config.synapse.name, layer.config.fetch
            assert fetch is not None
            ports[f"axi_{name}"] = Out(axi4_read(fetch.address_bits, fetch.bus_bits))
            ports[f"base_{name}"] = In(fetch.address_bits)
        return {**ports, "status": Out(len(self.external)), "clear": In(1)} if ports else {}

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        flush = self.flush
        if config.breaks_off:
            run_domain(m, platform, flush)

        def add(name: str, part: wiring.Component) -> Any:
            """A part that works on one run after the other."""
            if config.breaks_off:
                add_resettable(m, platform, name, part, flush)
            else:
                m.submodules[name] = part
            return part

        if self.loaded:
            self._load(m)
        consumers: list[list[Any]] = [[] for _ in range(len(self.layers) + 1)]
        for layer, sources in zip(self.layers, config.sources, strict=True):
            add(layer.config.synapse.name, layer)
            for k, source in enumerate(sources):
                consumers[source].append(getattr(layer, f"i{k}"))
        source_stream: Any = wiring.flipped(self.i)
        gate: Any = None
        if config.gate is not None:
            gate = MarkGate(config.gate) if isinstance(config.gate, MarkGateConfig) else InputGate(config.gate)
            m.submodules.gate = gate
            wiring.connect(m, source_stream, gate.i)
            source_stream = gate.o
            if isinstance(gate, InputGate):
                m.d.comb += gate.flush.eq(flush)
        if config.encoder is not None:
            encoder = add("encoder", Encoder(config.encoder))
            wiring.connect(m, source_stream, encoder.i)
            source_stream = encoder.o
        self._connect(m, add, "input", source_stream.valid, source_stream.ready, source_stream.payload, consumers[0])

        result = self.layers[config.output].o.signature.create(path=("result",))
        complete: list[Any] = []
        last = Signal()  # what is given is the last of a run
        for number, layer in enumerate(self.layers):
            name = layer.config.synapse.name
            valid = Signal(name=f"{SPIKES}{name}_valid")
            ready = Signal(name=f"{SPIKES}{name}_ready")
            masks = beat_masks(layer.o.payload)
            payload = Signal(len(Value.cast(masks)), name=f"{SPIKES}{name}_payload")
            m.d.comb += [valid.eq(layer.o.valid), payload.eq(masks), layer.o.ready.eq(ready)]
            sinks = list(consumers[number + 1])
            if number == config.output:
                above = Value.cast(layer.o.payload)[len(Value.cast(masks)):]
                m.d.comb += Value.cast(result.payload)[len(Value.cast(masks)):].eq(above)
                sinks.append(result)
            self._connect(m, add, name, valid, ready, payload, sinks)
            if number in config.late:
                complete.append(self._complete(m, name, valid & ready, config.late[number],
                                               self.o.valid & self.o.ready & last))
        all_there = Cat(complete).all() if complete else Const(1)
        if config.readout is None:
            self._raster(m, result, last, all_there, gate)
            return m
        readout = add("readout", Readout(config.readout))
        wiring.connect(m, result, readout.i)
        if config.readout.shows_scores:
            wiring.connect(m, readout.scores, wiring.flipped(self.scores))
        if isinstance(gate, MarkGate):
            m.d.comb += [readout.ended.eq(gate.ended), readout.length.eq(gate.length),
                         gate.release.eq(readout.o.valid & readout.o.ready)]
        m.d.comb += last.eq(1)
        given: Any = readout.o
        if config.breaks_off:
            held_q = Signal.like(readout.o.payload)
            valid_q = Signal()
            m.d.comb += [flush.eq(readout.o.valid & (~valid_q | self.o.ready)), readout.o.ready.eq(flush),
                         self.o.valid.eq(valid_q), self.o.payload.eq(held_q)]
            m.d.sync += valid_q.eq(flush | (valid_q & ~self.o.ready))
            with m.If(flush):
                m.d.sync += held_q.eq(readout.o.payload)
            return m
        m.d.comb += [self.o.valid.eq(given.valid & all_there), given.ready.eq(self.o.ready & all_there)]
        if not self.external:
            m.d.comb += self.o.payload.eq(given.payload)
            return m
        for k, layer in enumerate(self.external):
            name = layer.config.synapse.name
            wiring.connect(m, layer.axi, wiring.flipped(getattr(self, f"axi_{name}")))
            m.d.comb += layer.base.eq(getattr(self, f"base_{name}"))
            with m.If(self.clear):
                m.d.sync += self.status[k].eq(0)
            with m.If(layer.error):
                m.d.sync += self.status[k].eq(1)
        m.d.comb += [self.o.payload["class"].eq(given.payload), self.o.payload["invalid"].eq(self._invalid(m))]
        return m

    def _load(self, m: Module) -> None:
        """A set's words go from layer to layer."""
        load: Any = wiring.flipped(self.load)
        for layer in self.loaded:
            wiring.connect(m, load, layer.load)
            if not layer.config.loads_last:
                load = layer.load_next
            if layer.config.has_sets:
                m.d.comb += layer.chosen_set.eq(self.chosen_set)
        words_q = Signal(range(self.set_words + 2), reset_less=True)
        with m.If(self.load.begin):
            m.d.sync += words_q.eq(0)
        with m.Elif(self.load.valid & (words_q != self.set_words + 1)):
            m.d.sync += words_q.eq(words_q + 1)
        m.d.comb += self.complete.eq(words_q == self.set_words)

    def _raster(self, m: Module, result: Any, last: Signal, all_there: Any, gate: Any) -> None:
        """The output's beats as they are; the last one of a run when all layers are through."""
        _, _, beats, windows = self.config.output_beats
        beat_q = Signal(index_shape(beats))
        window_q = Signal(index_shape(windows))
        window_ends = beat_q == beats - 1
        moves = Signal()
        m.d.comb += [self.o.valid.eq(result.valid & (all_there | ~last)), moves.eq(self.o.valid & self.o.ready),
                     result.ready.eq(self.o.ready & (all_there | ~last)), self.o.payload.eq(result.payload)]
        if isinstance(gate, MarkGate):
            m.d.comb += [last.eq(window_ends & gate.ended & (window_q + 1 == gate.length)),
                         gate.release.eq(moves & last)]
            if self.config.clears:
                m.d.comb += self.flush.eq(gate.release)
        else:
            m.d.comb += last.eq(window_ends & (window_q == windows - 1))
        with m.If(moves):
            m.d.sync += beat_q.eq(Mux(window_ends, 0, beat_q + 1))
            with m.If(window_ends):
                m.d.sync += window_q.eq(Mux(last, 0, window_q + 1))

    def _complete(self, m: Module, name: str, moves: Any, run_beats: int, leaves: Any) -> Any:
        """Whether a layer has given all beats of the run whose result is next, before that ``leaves``."""
        beat_q = Signal(index_shape(run_beats), name=f"beats_{name}_q")
        # Its queues and registers give a layer room for less than 256 beats, and so for less than as many runs.
        runs_q = Signal(range(256 * (len(self.layers) + 1)), name=f"runs_{name}_q")
        ends = Signal(name=f"run_{name}_ends")
        m.d.comb += ends.eq(moves & (beat_q == run_beats - 1))
        with m.If(moves):
            m.d.sync += beat_q.eq(Mux(ends, 0, beat_q + 1))
        m.d.sync += runs_q.eq(runs_q + ends - leaves)
        return runs_q != 0

    def _connect(self, m: Module, add: Callable[[str, wiring.Component], Any], name: str, valid: Any, ready: Any,
                 payload: Any, sinks: list[Any]) -> None:
        """One stream to all that read it."""
        if len(sinks) == 1:
            m.d.comb += [sinks[0].valid.eq(valid), ready.eq(sinks[0].ready)]
        else:
            fork = add(f"fork_{name}", Fork(len(sinks)))
            m.d.comb += [fork.valid.eq(valid), ready.eq(fork.ready), fork.o_ready.eq(Cat(s.ready for s in sinks))]
            m.d.comb += [sink.valid.eq(fork.o_valid[k]) for k, sink in enumerate(sinks)]
        m.d.comb += [Value.cast(beat_masks(sink.payload)).eq(Value.cast(payload)) for sink in sinks]

    def _invalid(self, m: Module) -> Any:
        """Whether the next result belongs to an inference that was under way when a memory answered with an error."""
        beats_per_run = self.config.input_beats
        beat_q = Signal(index_shape(beats_per_run))
        starts = Signal()
        leaves = Signal()
        error = Signal()
        m.d.comb += [starts.eq(self.i.valid & self.i.ready & (beat_q == 0)), leaves.eq(self.o.valid & self.o.ready),
                     error.eq(Cat(layer.error for layer in self.external).any())]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += beat_q.eq(Mux(beat_q == beats_per_run - 1, 0, beat_q + 1))
        # A run without any spike is a few end marks: so many can be under way as there are places for slots.
        places = sum(layer.config.synapse.queue.slot_credits + layer.config.fetch.prefetch_rows
                     for layer in self.external if layer.config.fetch is not None)
        running_shape = index_shape(places + 4 * (len(self.layers) + 1))
        running_q = Signal(running_shape)
        running = Signal(running_shape)
        bad_q = Signal(running_shape)
        bad = Signal(running_shape)  # runs from the next result on
        spared_q = Signal()  # a result that was there already when the error came is none of them
        m.d.comb += [running.eq(running_q + starts - leaves),
                     bad.eq(Mux(error, running, bad_q - (leaves & (bad_q != 0))))]
        m.d.sync += [running_q.eq(running), bad_q.eq(bad)]
        with m.If(leaves):
            m.d.sync += spared_q.eq(0)
        with m.Elif(error & self.o.valid & (bad_q == 0)):
            m.d.sync += spared_q.eq(1)
        return (bad_q != 0) & ~spared_q
