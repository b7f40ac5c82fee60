"""A dense layer: event queue, synapse array, neuron array, joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .beat import beat_stream
from .event_queue import EventQueue
from .neuron_array import NeuronArray, NeuronArrayConfig
from .synapse import SynapseArray, SynapseConfig

__all__ = ["DenseLayer", "DenseLayerConfig"]


@dataclass(frozen=True, kw_only=True)
class DenseLayerConfig:
    """Shapes of the three parts."""

    synapse: SynapseConfig
    neurons: NeuronArrayConfig


class DenseLayer(wiring.Component):
    """Beats of masks in, beats of masks out: one layer of the network.

    Parameters
    ----------
    config : DenseLayerConfig
    weights, constants
        Memory contents: see :class:`.SynapseArray` and :class:`.NeuronArray`.

    Members
    -------
    i, o : In, Out(beat stream)
    """

    def __init__(self, config: DenseLayerConfig, weights: Sequence[Sequence[int]], constants: Sequence[int]) -> None:
        self.config = config
        self.weights = weights
        self.constants = constants
        queue, neurons = config.synapse.queue, config.neurons
        super().__init__({
            "i": In(beat_stream(queue.items, queue.item_bits)),
            "o": Out(beat_stream(neurons.units, neurons.neuron.steps)),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.queue = queue = EventQueue(self.config.synapse.queue)
        m.submodules.synapses = synapses = SynapseArray(self.config.synapse, self.weights)
        m.submodules.neurons = neurons = NeuronArray(self.config.neurons, self.constants)
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        wiring.connect(m, synapses.o, neurons.i)
        wiring.connect(m, neurons.o, wiring.flipped(self.o))
        m.d.comb += [synapses.i.eq(queue.o), queue.room.eq(synapses.idle)]
        return m
