"""A layer: its inputs, event queue or window queue, synapse array, neuron array, joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .beat import beat_stream
from .event_queue import EventQueue
from .fifo import Queue
from .layer_inputs import LayerInputs, SourceConfig
from .neuron_array import NeuronArray, NeuronArrayConfig
from .replay import Replay, ReplayConfig
from .sparse_rows import SparseRows, SparseRowsConfig
from .spiking_neurons import SpikingNeurons
from .synapse import SynapseArray, SynapseConfig
from .weight_fetch import WeightFetch, WeightFetchConfig, axi4_read, fetch_slot_layout
from .weight_sets import LoadedMemory, WeightSetLoader, connect_write, load_stream
from .window_queue import WindowQueue
from .window_shape import WindowQueueConfig

__all__ = ["LayerConfig", "SpikingLayer"]


@dataclass(frozen=True, kw_only=True)
class LayerConfig:
    """Shapes of the parts; ``fetch`` stands between the queue and the synapses where the weights are in external
    memory, ``sparse`` where their rows are lists; ``replay`` between synapses and neurons where a static input lasts
    for several windows. With ``loads_last`` no words of a set of weights come behind its own."""

    sources: tuple[SourceConfig, ...]
    synapse: SynapseConfig
    neurons: NeuronArrayConfig
    fetch: WeightFetchConfig | None = None
    sparse: SparseRowsConfig | None = None
    replay: ReplayConfig | None = None
    loads_last: bool = False

    @property
    def loaded(self) -> tuple[LoadedMemory, ...]:
        """The memories that are written at run time, in the order of a set."""
        return (*self.synapse.loaded, *self.neurons.loaded)

    @property
    def has_sets(self) -> bool:
        """Whether one set is written while another is in use."""
        return bool(self.loaded) and self.neurons.weight_sets == 2


class SpikingLayer(wiring.Component):
    """Beats of masks in, beats of masks (and potentials, for a readout that wants them) out: one layer of the network.

    Parameters
    ----------
    config : LayerConfig
    weights, constants, limits
        Memory contents: see :class:`.SynapseArray`, :class:`.NeuronArray` and :class:`.SpikingNeurons`; instead of
        weights, the words and places of :class:`.SparseRows`.

    Members
    -------
    i0, i1, ... : In(beat stream), of each source
    o : Out(beat stream)
    axi, base, error : Out(axi4_read), In(address_bits), Out(1)
        With external weights only: the bus, the address of the weight table, and a cycle of 1 for every weight row that
        the memory answered with an error.
    load, load_next : In(load_stream), Out(load_stream) if there are layers behind it
        Where weights and constants are written at run time (:class:`.WeightSetLoader`).
    chosen_set : In(1), with two sets
    """

    def __init__(self, config: LayerConfig, weights: Sequence[Sequence[int]], constants: Sequence[int],
                 limits: Sequence[int] = ()) -> None:
        self.config = config
        self.weights = weights
        self.constants = constants
        self.limits = limits
        neurons = config.neurons
        super().__init__({
            **{f"i{k}": In(beat_stream(s.items, s.item_bits)) for k, s in enumerate(config.sources)},
            "o": Out(beat_stream(neurons.units, neurons.neuron.steps, neurons.potential_bits)),
            **({} if config.fetch is None else {
                "axi": Out(axi4_read(config.fetch.address_bits, config.fetch.bus_bits)),
                "base": In(config.fetch.address_bits), "error": Out(1)}),
            **({"load": In(load_stream())} if config.loaded else {}),
            **({"load_next": Out(load_stream())} if config.loaded and not config.loads_last else {}),
            **({"chosen_set": In(1)} if config.has_sets else {}),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        source = self.config.synapse.queue
        queue = WindowQueue(source) if isinstance(source, WindowQueueConfig) else EventQueue(source)
        m.submodules.queue = queue
        m.submodules.synapses = synapses = SynapseArray(self.config.synapse, self.weights)
        neurons = (SpikingNeurons(self.config.neurons, self.constants, self.limits) if self.config.neurons.spiking_only
                   else NeuronArray(self.config.neurons, self.constants))
        m.submodules.neurons = neurons
        m.submodules.inputs = inputs = LayerInputs(self.config.sources)
        for k in range(len(self.config.sources)):
            wiring.connect(m, wiring.flipped(getattr(self, f"i{k}")), getattr(inputs, f"i{k}"))
        wiring.connect(m, inputs.o, queue.i)
        sums: Any = synapses.o
        if self.config.replay is not None:
            m.submodules.replay = replay = Replay(self.config.replay)
            wiring.connect(m, sums, replay.i)
            sums = replay.o
        wiring.connect(m, sums, neurons.i)
        wiring.connect(m, neurons.o, wiring.flipped(self.o))
        if self.config.sparse is not None:
            m.submodules.rows = rows = SparseRows(self.config.sparse, *self.weights)
            m.d.comb += [
                rows.i.row.eq(queue.o.row[0]), rows.i.mask.eq(queue.o.mask[0]), rows.i.end.eq(queue.o.end),
                rows.beat.eq(queue.i.valid & queue.i.ready), queue.taken.eq(rows.taken), queue.room.eq(1),
                rows.room.eq(synapses.room), synapses.i.eq(rows.o)]
        elif self.config.fetch is None:
            m.d.comb += [synapses.i.eq(queue.o), queue.room.eq(synapses.room)]
        else:
            self._fetch(m, self.config.fetch, queue, synapses)
        if self.config.loaded:
            self._load(m, synapses, neurons)
        return m

    def _load(self, m: Module, synapses: SynapseArray, neurons: Any) -> None:
        """Weights come first, then the constants."""
        m.submodules.loader = loader = WeightSetLoader(self.config.loaded)
        wiring.connect(m, wiring.flipped(self.load), loader.i)
        if not self.config.loads_last:
            wiring.connect(m, loader.o, wiring.flipped(self.load_next))
        place = 0
        for part in (synapses, neurons):
            count = len(part.config.loaded)
            if not count:
                continue
            connect_write(m, loader.bus, part.load, place)
            if self.config.has_sets:
                m.d.comb += part.chosen_set.eq(self.chosen_set)
            place += count

    def _fetch(self, m: Module, config: WeightFetchConfig, queue: Any, synapses: SynapseArray) -> None:
        """Slots wait in a queue of as many as there are credits, then for their weights."""
        source = self.config.synapse.queue
        m.submodules.slots = slots = Queue(fetch_slot_layout(config), source.slot_credits)
        m.submodules.fetch = fetch = WeightFetch(config)
        row: Any = queue.o.row[0]
        if source.passes > 1:  # each pass has its own rows
            row = queue.o.base + row
        wiring.connect(m, slots.o, fetch.i)
        wiring.connect(m, fetch.axi, wiring.flipped(self.axi))
        m.d.comb += [
            slots.i.payload.row.eq(row), slots.i.payload.mask.eq(queue.o.mask[0]), slots.i.payload.end.eq(queue.o.end),
            slots.i.valid.eq(queue.o.mask[0].any() | queue.o.end),
            queue.taken.eq(fetch.i.valid & fetch.i.ready), queue.room.eq(1), fetch.room.eq(synapses.room),
            synapses.i.weight.eq(fetch.o.weight), synapses.i.mask[0].eq(fetch.o.mask), synapses.i.end.eq(fetch.o.end),
            *([synapses.i.row.eq(fetch.o.row)] if config.gives_row else []),
            fetch.base.eq(self.base), fetch.clear.eq(fetch.error), self.error.eq(fetch.error),
        ]
