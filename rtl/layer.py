"""A layer: event queue or window queue, synapse array, neuron array, joined."""

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
from .or_pool import OrPool, OrPoolConfig
from .synapse import SynapseArray, SynapseConfig
from .window_queue import WindowQueue, WindowQueueConfig

__all__ = ["SpikingLayer", "LayerConfig"]


@dataclass(frozen=True, kw_only=True)
class LayerConfig:
    """Shapes of the parts; ``or_pool`` stands in front of the others where the layer has one."""

    synapse: SynapseConfig
    neurons: NeuronArrayConfig
    or_pool: OrPoolConfig | None = None


class SpikingLayer(wiring.Component):
    """Beats of masks in, beats of masks out: one layer of the network.

    Parameters
    ----------
    config : LayerConfig
    weights, constants
        Memory contents: see :class:`.SynapseArray` and :class:`.NeuronArray`.

    Members
    -------
    i, o : In, Out(beat stream)
    """

    def __init__(self, config: LayerConfig, weights: Sequence[Sequence[int]], constants: Sequence[int]) -> None:
        self.config = config
        self.weights = weights
        self.constants = constants
        queue, neurons = config.or_pool or config.synapse.queue, config.neurons
        super().__init__({
            "i": In(beat_stream(queue.items, queue.item_bits)),
            "o": Out(beat_stream(neurons.units, neurons.neuron.steps)),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        source = self.config.synapse.queue
        queue = WindowQueue(source) if isinstance(source, WindowQueueConfig) else EventQueue(source)
        m.submodules.queue = queue
        m.submodules.synapses = synapses = SynapseArray(self.config.synapse, self.weights)
        m.submodules.neurons = neurons = NeuronArray(self.config.neurons, self.constants)
        if self.config.or_pool is None:
            wiring.connect(m, wiring.flipped(self.i), queue.i)
        else:
            m.submodules.or_pool = pool = OrPool(self.config.or_pool)
            wiring.connect(m, wiring.flipped(self.i), pool.i)
            wiring.connect(m, pool.o, queue.i)
        wiring.connect(m, synapses.o, neurons.i)
        wiring.connect(m, neurons.o, wiring.flipped(self.o))
        m.d.comb += [synapses.i.eq(queue.o), queue.room.eq(synapses.room)]
        return m
