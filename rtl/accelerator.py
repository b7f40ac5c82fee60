"""The whole network: layers joined by beat streams, and the readout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .beat import beat_masks, index_shape
from .layer import SpikingLayer
from .readout import Readout, ReadoutConfig
from .weight_fetch import axi4_read

__all__ = ["Accelerator"]


class Accelerator(wiring.Component):
    """Beats of input in, a class per sample out.

    Between two layers, the nets ``spikes_<layer>_valid``, ``_ready`` and ``_payload`` show every spike
    (the masks alone, also where potentials travel with them).

    Parameters
    ----------
    layers : sequence of SpikingLayer
    readout : ReadoutConfig

    With external weights, an inference during which a memory answered with an error is marked invalid; of several that
    are under way in that moment, all are. The next one is right again.

    Members
    -------
    i : In(beat stream)
    o : Out(stream of class index), with external weights Out(stream of struct {class, invalid})
    axi_<layer>, base_<layer> : Out(axi4_read), In(address), one pair for each layer with external weights
    status : Out(1 for each such layer), its memory has answered with an error since ``clear``
    clear : In(1), clears ``status``
    """

    def __init__(self, layers: Sequence[SpikingLayer], readout: ReadoutConfig) -> None:
        self.layers = layers
        self.readout = readout
        super().__init__({
            "i": In(layers[0].i.signature.flip()),
            "o": Out(stream.Signature(self._result_shape())),
            **self._memory_ports(),
        })

    @property
    def external(self) -> list[SpikingLayer]:
        """Layers with external weights."""
        return [layer for layer in self.layers if layer.config.fetch is not None]

    def _result_shape(self) -> Any:
        index = Shape.cast(range(max(2, self.readout.classes)))
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
        before: Any = wiring.flipped(self.i)
        for layer in self.layers:
            name = layer.config.synapse.name
            m.submodules[name] = layer
            wiring.connect(m, before, layer.i)
            link = layer.o.signature.create(path=(f"link_{name}",))
            valid, ready = Signal(name=f"spikes_{name}_valid"), Signal(name=f"spikes_{name}_ready")
            masks = beat_masks(layer.o.payload)
            payload = Signal(len(Value.cast(masks)), name=f"spikes_{name}_payload")
            above = Value.cast(layer.o.payload)[len(payload):]
            m.d.comb += [valid.eq(layer.o.valid), payload.eq(masks), layer.o.ready.eq(ready), link.valid.eq(valid),
                         link.payload.as_value().eq(Cat(payload, above)), ready.eq(link.ready)]
            before = link
        m.submodules.readout = readout = Readout(self.readout)
        wiring.connect(m, before, readout.i)
        if not self.external:
            wiring.connect(m, readout.o, wiring.flipped(self.o))
            return m
        for k, layer in enumerate(self.external):
            name = layer.config.synapse.name
            wiring.connect(m, layer.axi, wiring.flipped(getattr(self, f"axi_{name}")))
            m.d.comb += layer.base.eq(getattr(self, f"base_{name}"))
            with m.If(self.clear):
                m.d.sync += self.status[k].eq(0)
            with m.If(layer.error):
                m.d.sync += self.status[k].eq(1)
        m.d.comb += [self.o.valid.eq(readout.o.valid), readout.o.ready.eq(self.o.ready),
                     self.o.payload["class"].eq(readout.o.payload), self.o.payload["invalid"].eq(self._invalid(m))]
        return m

    def _invalid(self, m: Module) -> Any:
        """Whether the next result belongs to an inference that was under way when a memory answered with an error."""
        beats_per_run = self.layers[0].input_beats * len(self.readout.step_weights)
        beat_q = Signal(index_shape(beats_per_run))
        starts, leaves, error = Signal(), Signal(), Signal()
        m.d.comb += [starts.eq(self.i.valid & self.i.ready & (beat_q == 0)), leaves.eq(self.o.valid & self.o.ready),
                     error.eq(Cat(layer.error for layer in self.external).any())]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += beat_q.eq(Mux(beat_q == beats_per_run - 1, 0, beat_q + 1))
        # A run without any spike is a few end marks: so many can be under way as there are places for slots.
        places = sum(layer.config.synapse.queue.slot_credits + layer.config.fetch.prefetch_rows
                     for layer in self.external if layer.config.fetch is not None)
        running_shape = index_shape(places + 4 * (len(self.layers) + 1))
        running_q, running = Signal(running_shape), Signal(running_shape)
        bad_q, bad = Signal(running_shape), Signal(running_shape)  # runs from the next result on
        spared_q = Signal()  # a result that was there already when the error came is none of them
        m.d.comb += [running.eq(running_q + starts - leaves),
                     bad.eq(Mux(error, running, bad_q - (leaves & (bad_q != 0))))]
        m.d.sync += [running_q.eq(running), bad_q.eq(bad)]
        with m.If(leaves):
            m.d.sync += spared_q.eq(0)
        with m.Elif(error & self.o.valid & (bad_q == 0)):
            m.d.sync += spared_q.eq(1)
        return (bad_q != 0) & ~spared_q
