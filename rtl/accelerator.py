"""The whole network: layers joined by beat streams, and the readout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .beat import beat_stream
from .layer import SpikingLayer
from .readout import Readout, ReadoutConfig

__all__ = ["Accelerator"]


class Accelerator(wiring.Component):
    """Beats of input in, a class per sample out.

    Between two layers, the nets ``spikes_<layer>_valid``, ``_ready`` and ``_payload`` show every spike.

    Parameters
    ----------
    layers : sequence of SpikingLayer
    readout : ReadoutConfig

    Members
    -------
    i : In(beat stream)
    o : Out(stream of class index)
    """

    def __init__(self, layers: Sequence[SpikingLayer], readout: ReadoutConfig) -> None:
        self.layers = layers
        self.readout = readout
        super().__init__({
            "i": In(layers[0].i.signature.flip()),
            "o": Out(stream.Signature(range(max(2, readout.classes)))),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        before: Any = wiring.flipped(self.i)
        for layer in self.layers:
            name = layer.config.synapse.name
            m.submodules[name] = layer
            wiring.connect(m, before, layer.i)
            link = layer.o.signature.create(path=(f"link_{name}",))
            valid, ready = Signal(name=f"spikes_{name}_valid"), Signal(name=f"spikes_{name}_ready")
            payload = Signal(len(Value.cast(layer.o.payload)), name=f"spikes_{name}_payload")
            m.d.comb += [valid.eq(layer.o.valid), payload.eq(layer.o.payload), layer.o.ready.eq(ready),
                         link.valid.eq(valid), link.payload.as_value().eq(payload), ready.eq(link.ready)]
            before = link
        m.submodules.readout = readout = Readout(self.readout)
        wiring.connect(m, before, readout.i)
        wiring.connect(m, readout.o, wiring.flipped(self.o))
        return m
