"""The plan: a network and a fold become component shapes and memory contents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from spikeloom.model.bounds import LayerBounds, layer_bounds
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.geometry import Shape
from spikeloom.model.inputs import CodedInput, LatencyInput
from spikeloom.model.layers import Layer, Source
from spikeloom.model.network import Conv2d, Dense, IntArray, Network, SpikeInput
from spikeloom.model.neurons.intervals import Interval, run_bounds
from spikeloom.rtl.accelerator import Accelerator, AcceleratorConfig
from spikeloom.rtl.delay import DelayConfig
from spikeloom.rtl.encoder import EncoderConfig
from spikeloom.rtl.event_queue import EventQueueConfig
from spikeloom.rtl.input_gate import InputGateConfig
from spikeloom.rtl.layer import LayerConfig, SpikingLayer
from spikeloom.rtl.layer_inputs import SourceConfig
from spikeloom.rtl.mark_gate import MarkGateConfig
from spikeloom.rtl.neuron import NeuronConfig, constants_layout
from spikeloom.rtl.neuron_array import NeuronArrayConfig
from spikeloom.rtl.or_pool import OrPoolConfig
from spikeloom.rtl.readout import ReadoutConfig
from spikeloom.rtl.replay import ReplayConfig
from spikeloom.rtl.sparse_rows import SparseRowsConfig
from spikeloom.rtl.spiking_neurons import limit_bits, place_bits
from spikeloom.rtl.synapse import SynapseConfig
from spikeloom.rtl.weight_fetch import BURST_BYTES_MAX, WeightFetchConfig, weight_table
from spikeloom.rtl.weight_sets import set_cycles
from spikeloom.rtl.window_shape import WindowQueueConfig

from .channels import Channels, QueueOrder, input_channels, pooled_channels, queue_order
from .fold import Fold, LayerFold, check_fold, fold_from_dict
from .limits import spiking_limits
from .manifest import MANIFEST, Description
from .sparse import memory_rows, row_counts, sparse_size

__all__ = ["Plan", "Table", "make_plan", "neuron_config", "plan_of"]

SLOT_CREDITS_MAX = 16  # slots between a queue and its weight fetch: what one LUT RAM holds in any case


@dataclass(frozen=True)
class Table:
    """A weight table in external memory.

    Attributes
    ----------
    layer : str
    base : int
        Byte address at which the build's own memory map puts it; the hardware takes it as an input.
    config : WeightFetchConfig
    """

    layer: str
    base: int
    config: WeightFetchConfig

    @property
    def file(self) -> str:
        """Name of the file with its bytes."""
        return f"{self.layer}_table.bin"


@dataclass(frozen=True)
class Plan:
    """Everything that the generator, the cycle model and the reports need to know of a build.

    Attributes
    ----------
    channels : tuple of Channels
        Of the input, then of each layer's output.
    orders : tuple of QueueOrder
        Of each layer's queue.
    """

    network: Network
    fold: Fold
    channels: tuple[Channels, ...]
    orders: tuple[QueueOrder, ...]
    layers: tuple[LayerConfig, ...]
    readout: ReadoutConfig | None

    def bounds(self, index: int) -> LayerBounds:
        """Of a layer's registers."""
        return _bounds(self.network, index, self.fold)

    @property
    def set_cycles(self) -> int:
        """From the last word of a set of weights to its place."""
        return set_cycles(sum(bool(layer.loaded) for layer in self.layers))

    @property
    def window_steps(self) -> int:
        return self.fold.window(self.network)

    @property
    def windows(self) -> int:
        return -(-self.network.steps // self.window_steps)

    def accelerator(self, shows_scores: bool = False) -> Accelerator:
        """The hardware, with its memory contents."""
        layers = [SpikingLayer(layer, self.weights(k), self.constants(k), self.limits(k))
                  for k, layer in enumerate(self.layers)]
        return Accelerator(self.around(shows_scores), layers)

    def around(self, shows_scores: bool = False) -> AcceleratorConfig:
        """How the layers hang together; with ``shows_scores``, scores can be seen as they are compared."""
        readout = self.readout if self.readout is None else replace(self.readout, shows_scores=shows_scores)
        network, items = self.network, self.channels[0]
        out = self.channels[network.output_index + 1]
        gate: InputGateConfig | MarkGateConfig | None = None
        if network.readout.early_exit:
            gate = InputGateConfig(items=items.units, item_bits=self.input_bits, beats=items.beats * self.input_windows)
        elif network.marked:
            gate = MarkGateConfig(items=items.units, item_bits=self.input_bits, beats=items.beats, steps=network.steps)
        return AcceleratorConfig(
            input_items=items.units, input_item_bits=self.input_bits, input_beats=items.beats * self.input_windows,
            gate=gate, clears=not network.endless,
            sources=tuple(tuple(source.index for source in layer.sources) for layer in network.layers),
            output=network.output_index, readout=readout, encoder=self.encoder, output_beats=(
                out.units, self.window_steps, out.beats, self.windows),
            late={k: self.channels[k + 1].beats * self.windows for k in network.late_layers})

    @property
    def input_bits(self) -> int:
        """Bits of a mask of the input."""
        inp = self.network.input
        return self.window_steps if isinstance(inp, SpikeInput) else inp.bits

    @property
    def input_windows(self) -> int:
        """Windows of the input stream in a run: values come once."""
        return 1 if self.network.takes_values else self.windows

    @property
    def encoder(self) -> EncoderConfig | None:
        """What makes spikes of the input's values."""
        inp, items = self.network.input, self.channels[0]
        if not isinstance(inp, CodedInput):
            return None
        fields = {name: getattr(inp, name) for name in ("silent_zero", "rate", "seed") if hasattr(inp, name)}
        return EncoderConfig(kind="latency" if isinstance(inp, LatencyInput) else "bernoulli", items=items.units,
                             bits=inp.bits, beats=items.beats, windows=self.windows, window_steps=self.window_steps,
                             last_items=inp.size - (items.beats - 1) * items.units, **fields)

    @property
    def tables(self) -> list[Table]:
        """Weight tables in external memory, one after the other."""
        tables, base = [], 0
        for layer in self.layers:
            if layer.fetch is not None:
                step = max(layer.fetch.row_bytes, BURST_BYTES_MAX)
                base = -(-base // step) * step
                tables.append(Table(layer.synapse.name, base, layer.fetch))
                base += layer.fetch.table_bytes
        return tables

    def table_bytes(self) -> dict[str, bytes]:
        """Contents of each layer's weight table in external memory."""
        return {layer.synapse.name: weight_table(layer.fetch, [row & (1 << layer.fetch.row_bits) - 1
                                                               for row in self.weights(index)[0]])
                for index, layer in enumerate(self.layers) if layer.fetch is not None}

    def weights(self, index: int) -> list[list[int]]:
        """Contents of the weight memory of each bank of a layer; of sparse rows, their words and their places."""
        config, sparse = self.layers[index].synapse, self.layers[index].sparse
        if sparse is not None:
            return list(memory_rows(self._sparse_weights(index), sparse))
        bits = config.weight_bits
        weight = self._lane_weights(index)  # (bank or 1, row, lane)
        stored = (weight < 0).astype(np.int64) if bits == 1 else (weight + config.offset) & ((1 << bits) - 1)
        memories = []
        for rows in stored:
            # A row as lanes * bits single bits, lane 0 in the least significant ones.
            bit = ((rows[..., None] >> np.arange(bits)) & 1).astype(np.uint8).reshape(len(rows), -1)
            packed = np.packbits(bit, axis=1, bitorder="little")
            memories.append([int.from_bytes(row.tobytes(), "little") for row in packed])
        return memories * (config.queue.banks // len(memories))

    def row_counts(self, index: int) -> tuple[IntArray, IntArray]:
        """Words of each sparse row of a layer, and weights that are not 0: (rows,) each."""
        return row_counts(self._sparse_weights(index))

    def _sparse_weights(self, index: int) -> IntArray:
        """Weights of (row, group, lane)."""
        queue = self.layers[index].synapse.queue
        assert isinstance(queue, EventQueueConfig)
        weights: IntArray = _grouped_weights(self.network.layers[index], queue, self.orders[index],
                                             self.channels[index + 1])[0]
        return weights

    def _lane_weights(self, index: int) -> IntArray:
        """Weights of (bank, row, lane), 0 where there is none; one bank stands for all where they are equal."""
        connection = self.network.layers[index].connection
        config, after = self.layers[index].synapse, self.channels[index + 1]
        before = self.orders[index]
        queue = config.queue
        if isinstance(queue, WindowQueueConfig):
            assert isinstance(connection, Conv2d)
            return _window_weights(connection, queue, before, after)[None]
        rows = _grouped_weights(self.network.layers[index], queue, before, after)
        return rows.transpose(0, 2, 1, 3).reshape(queue.banks, -1, config.lanes)

    def constants(self, index: int) -> list[int]:
        """One word per beat: each unit's own constants. Where only neurons that spike are updated, one per neuron."""
        config, layer = self.layers[index].neurons, self.network.layers[index]
        layout = constants_layout(config.neuron)
        if not layout.size:
            return []
        values = {**layer.all_constants, "exists": np.ones(layer.connection.outputs, np.int64)}

        def word(neuron: int) -> int:
            own = {name: int(values[name][neuron] if neuron >= 0 else _padding(name, values[name]))
                   for name in layout.members}
            return int(layout.const(own).as_value().value)

        beats = [[word(neuron) for neuron in neurons]
                 for neurons in self.channels[index + 1].index[:config.constant_beats]]
        if config.spiking_only:
            return [each for words in beats for each in words + [0] * ((1 << place_bits(config)) - len(words))]
        return [_packed(words, layout.size) for words in beats]

    def limits(self, index: int) -> list[int]:
        """Where only neurons that spike are updated, one word per beat: the sum from which on each unit's neuron does.

        Raises
        ------
        SpikeloomError
            If some neuron does not spike for a sum and does for a smaller one.
        """
        config = self.layers[index].neurons
        if not config.spiking_only:
            return []
        bits, never = limit_bits(config), config.neuron.accumulator[1] + 1
        limits = spiking_limits(self.network, index)
        return [_packed([int(limits[n] if n >= 0 else never) & ((1 << bits) - 1) for n in neurons], bits)
                for neurons in self.channels[index + 1].index[:config.constant_beats]]

    def varying_constant_bits(self, index: int) -> int:
        """Bits of a word of :meth:`constants` that are not the same in all of them: synthesis keeps no others."""
        config, layer = self.layers[index].neurons.neuron, self.network.layers[index]
        neurons = self.channels[index + 1].index[:self.layers[index].neurons.constant_beats]
        values = {**layer.all_constants, "exists": np.ones(layer.connection.outputs, np.int64)}
        bits = 0
        for name, field in constants_layout(config):
            own = np.where(neurons >= 0, values[name][neurons], _padding(name, values[name]))
            changes = np.bitwise_or.reduce(own, axis=0) ^ np.bitwise_and.reduce(own, axis=0)
            bits += sum((int(each) & (1 << field.width) - 1).bit_count() for each in changes)
        return bits


def _packed(words: list[int], bits: int) -> int:
    """Words of so many bits side by side, the first one in the least significant."""
    return sum(word << k * bits for k, word in enumerate(words))


def _padding(name: str, values: IntArray) -> int:
    """A constant of a unit that stands for no neuron: neither bias nor existence, all else from the first neuron."""
    return 0 if name in ("bias", "exists") else int(values[0])


def make_plan(network: Network, fold: Fold, widths_of: Network | None = None) -> Plan:
    """Derive all shapes and widths.

    Parameters
    ----------
    network : Network
    fold : Fold
    widths_of : Network, optional
        Of as many layers: the one whose sums and constants the widths are made for, if that is another one.

    Raises
    ------
    SpikeloomError
        If the fold does not suit the network, or a register would be wider than allowed.
    """
    check_fold(network, fold)
    window = fold.window(network)
    windows = -(-network.steps // window)
    channels = [input_channels(network, fold.input_per_beat)]
    layers, orders = [], []
    _check_readout(network, fold)
    for index, layer in enumerate(network.layers):
        if all(source.index > index for source in layer.sources):
            names = ", ".join(source.name for source in layer.sources)
            raise SpikeloomError(f"layer {layer.name}: all its projections come back from {names}; the hardware needs "
                                 "one from the input or an earlier layer, which gives it its pace")
    for layer, lf in zip(network.layers, fold.layers, strict=True):
        channels.append(Channels(layer.shape, lf.lanes, lf.neuron_units))
    for index, (layer, lf) in enumerate(zip(network.layers, fold.layers, strict=True)):
        after, bounds = channels[index + 1], _bounds(widths_of or network, index, fold)
        static = layer.static
        planes = network.planes(index) if static else window
        order = queue_order(layer, [pooled_channels(source, channels[source.index]) for source in layer.sources])
        orders.append(order)
        queue = _queue(layer, lf, planes, order, after)
        sparse = _sparse_rows(layer, lf, queue, order, after)
        synapse = SynapseConfig(name=layer.name, queue=queue, lanes=lf.lanes, units=lf.neuron_units, static=static,
                                weight_bits=_stored_bits(layer, after),
                                accumulator_bits=bounds.accumulator_bits, bus_lanes=lf.bus_lanes,
                                scattered_groups=0 if sparse is None else sparse.groups,
                                queued=_queued(lf, after.beats * (1 if static else windows)),
                                weight_sets=fold.weight_sets, multipliers=lf.multipliers)
        config = neuron_config(network, index, after, window, bounds, loaded=fold.weight_sets > 0,
                               gives_potential=network.readout.needs_potential and index == network.output_index,
                               gaps_update=lf.updates == "all")
        sources = tuple(
            _source(source, index, planes, channels[source.index], turn, windows, shared=len(layer.sources) > 1,
                    endless=network.endless)
            for source, turn in zip(layer.sources, order.turns, strict=True))
        layers.append(LayerConfig(
            sources=sources, synapse=synapse, fetch=_fetch(synapse, lf), sparse=sparse,
            replay=ReplayConfig(units=lf.neuron_units, sum_bits=bounds.accumulator_bits, beats=after.beats,
                                windows=windows) if static and windows > 1 else None,
            neurons=NeuronArrayConfig(
                name=layer.name, neuron=config, units=lf.neuron_units, beats=after.beats, windows=windows,
                constant_beats=after.beats if layer.constants_by_position else after.tile_beats,
                pipelined=lf.pipelined, weight_sets=fold.weight_sets, spiking_only=lf.updates == "spiking")))
    if fold.weight_sets:
        last = max((k for k, layer in enumerate(layers) if layer.loaded), default=None)
        if last is None:
            raise SpikeloomError(f"fold {fold.name}: weight_sets must be 0 where all weights are in external memory "
                                 "and neurons have no constants")
        layers[last] = replace(layers[last], loads_last=True)
    readout = _readout(network, channels[network.output_index + 1], window,
                       layers[network.output_index].neurons.potential_bits)
    plan = Plan(network, fold, tuple(channels), tuple(orders), tuple(layers), readout)
    for table in plan.tables:
        if table.base + table.config.table_bytes > fold.external_bytes:
            raise SpikeloomError(f"fold {fold.name}: layer {table.layer}: its weight table takes "
                                 f"{table.config.table_bytes} bytes from {table.base} on, but external_bytes is "
                                 f"{fold.external_bytes}")
    return plan


def plan_of(manifest: Description, network: Network) -> Plan:
    """The plan of what was built.

    Raises
    ------
    SpikeloomError
        If the fold in the manifest does not suit the network.
    """
    return make_plan(network, fold_from_dict(manifest.fold, MANIFEST))


def _check_readout(network: Network, fold: Fold) -> None:
    readout, external = network.readout, [k for k, lf in enumerate(fold.layers) if lf.external_bus_bits is not None]
    if readout.kind != "raster" and len(network.layers[network.output_index].shape) > 1:
        raise SpikeloomError(f"layer {network.output_name}: the last layer must be dense, not a convolution: "
                             "the readout takes one neuron per class")
    if readout.kind == "raster" and external:
        raise SpikeloomError(f"fold {fold.name}: layer {network.layers[external[0]].name}: external_bus_bits must be "
                             "None with a readout of kind 'raster': it has no place for the mark of a bad answer")
    if external and (readout.early_exit or network.marked):
        what = "early_exit" if readout.early_exit else "length 'marked'"
        raise SpikeloomError(f"fold {fold.name}: layer {network.layers[external[0]].name}: external_bus_bits must be "
                             f"None with {what}: a bus transfer cannot be broken off")
    if not readout.early_exit:
        return
    if network.late_layers:
        raise SpikeloomError(f"layer {network.layers[network.late_layers[0]].name}: its spikes reach the output by "
                             "ways back only; with early_exit each layer must lead to it")
    if readout.ties == "membrane" and fold.window(network) > 1:
        raise SpikeloomError(f"fold {fold.name}: window_steps must be 1 with early_exit and ties by membrane, not "
                             f"{fold.window(network)}: a run ends with its window, and potentials with it")


def _readout(network: Network, read: Channels, window_steps: int, membrane_bits: int) -> ReadoutConfig | None:
    readout = network.readout
    if readout.kind == "raster":
        return None
    windows, weights = -(-network.steps // window_steps), network.step_weights
    rows = tuple(tuple(weights[v * window_steps:(v + 1) * window_steps]) for v in range(windows))
    kind: Literal["weighted", "first", "potential"] = "weighted" if readout.counts_spikes else "potential"
    if readout.kind == "first_spike":
        kind = "first"
    return ReadoutConfig(
        kind=kind, classes=network.classes, units=read.units, lanes=read.lanes, windows=windows,
        window_steps=window_steps, step_weights=() if kind != "weighted" else rows[:1] if len(set(rows)) == 1 else rows,
        membrane_bits=membrane_bits, early_exit=readout.early_exit, marked=network.marked)


def _bounds(network: Network, index: int, fold: Fold) -> LayerBounds:
    return layer_bounds(network, index, fold.headroom_bits if fold.weight_sets else None)


def neuron_config(network: Network, index: int, after: Channels, window_steps: int, bounds: LayerBounds, *,
                  gives_potential: bool, loaded: bool = False, gaps_update: bool = True) -> NeuronConfig:
    """Program and widths of a layer's neurons, whose outputs lie in the order ``after``; their constants may be
    ``loaded`` at run time, and what stands for no neuron may go through a unit (``gaps_update``) or not."""
    padded = gaps_update and bool((after.lane_values < 0).any())
    key = (network.hash, index, padded, window_steps, gives_potential, loaded, id(bounds))
    if key not in _neurons:
        _neurons[key] = bounds, _proved(network, index, padded, window_steps, bounds, gives_potential=gives_potential,
                                        loaded=loaded)
    return _neurons[key][1]


# With the bounds, so that no others get their identity.
_neurons: dict[tuple[str, int, bool, int, bool, bool, int], tuple[LayerBounds, NeuronConfig]] = {}


def _proved(network: Network, index: int, padded: bool, window_steps: int, bounds: LayerBounds, *,
            gives_potential: bool, loaded: bool) -> NeuronConfig:
    layer = network.layers[index]
    steps = None if network.endless else network.steps
    program = layer.recorded(has_bias=loaded or bool(layer.biases.any()), all_own=loaded,
                             has_gaps=padded and (loaded or _spikes_in_gaps(layer, bounds.sums, steps)))
    return NeuronConfig.proved(
        program, bounds.sums, {**bounds.constants, "exists": Interval.of(0, 1)}, steps=window_steps,
        windows=-(-network.steps // window_steps), static=layer.static, endless=network.endless,
        gives_potential=gives_potential)


def _spikes_in_gaps(layer: Layer, sums: Interval, steps: int | None) -> bool:
    """Whether a unit that stands for no neuron could spike: with weights of 0, or of one bit, which cannot be 0."""
    total = sums if layer.connection.weight_bits == 1 else Interval(0 * sums.low, 0 * sums.high)
    program = layer.program
    first = {name: Interval.of(_padding(name, values), _padding(name, values))
             for name, values in layer.constants.items()}
    spans, _ = run_bounds(program, total, first, steps)
    return spans[program.outputs["spike"]].ends[1] == 1


def _queued(lf: LayerFold, beats: int) -> bool:
    """Whether sums wait for neurons in a queue: not those of a run's only group, and not those for a stepping unit,
    which takes longer for a beat than the next one is on its way."""
    return lf.lanes != lf.neuron_units or (lf.pipelined and beats > 1)


def _fetch(synapse: SynapseConfig, lf: LayerFold) -> WeightFetchConfig | None:
    if lf.external_bus_bits is None:
        return None
    return WeightFetchConfig(
        name=synapse.name, rows=synapse.queue.passes * synapse.queue.rows,
        row_bits=synapse.bus_lanes * synapse.weight_bits, mask_bits=synapse.queue.item_bits,
        bus_bits=lf.external_bus_bits, prefetch_rows=lf.prefetch_rows, gives_row=synapse.has_memories)


def _stored_bits(layer: Layer, after: Channels) -> int:
    """Bits of a weight in memory: -1 and +1 take two where a row also has places without a synapse."""
    bits = layer.connection.weight_bits
    gaps = isinstance(layer.connection, Conv2d) and (after.tile > 1 or layer.connection.geometry.groups > 1)
    return 2 if bits == 1 and gaps else bits


def _lanes(after: Channels) -> IntArray:
    """Neuron of each (group, lane), or -1."""
    lanes: IntArray = after.index.reshape(after.groups, -1)[:, :after.lanes]
    return lanes


def _source(source: Source, index: int, planes: int, before: Channels, turn_beats: int, windows: int, *,
            shared: bool, endless: bool) -> SourceConfig:
    """One of a layer's sources, of several if it is ``shared``."""
    comes_back = source.index > index
    pool = None
    if source.or_pool is not None:
        pool = OrPoolConfig(items=before.units, item_bits=planes, cell_beats=before.position_beats,
                            width=before.shape[2], size=source.or_pool.size)
    delay = None
    if source.delay:
        delay = DelayConfig(items=before.units, item_bits=planes, beats=before.beats, windows=windows,
                            endless=endless)
    window_beats = pooled_channels(source, before).beats
    return SourceConfig(items=before.units, item_bits=planes, delay=delay, comes_back=comes_back, or_pool=pool,
                        turn_beats=turn_beats, buffer_beats=window_beats if shared and not comes_back else 0)


def _queue(layer: Layer, lf: LayerFold, planes: int, before: QueueOrder,
           after: Channels) -> EventQueueConfig | WindowQueueConfig:
    pool = 1 if layer.sum_pool is None else layer.sum_pool.size
    connection = layer.connection
    # Where few rows are read ahead, the memory answers soon, and few slots wait.
    credits = 0 if lf.external_bus_bits is None else min(SLOT_CREDITS_MAX, 2 * lf.prefetch_rows)
    if lf.sparse:
        credits = SLOT_CREDITS_MAX
    if isinstance(connection, Dense):
        return EventQueueConfig(
            items=before.units, item_bits=planes, beats=before.beats, banks=lf.inputs_per_cycle,
            passes=1 if lf.sparse else after.groups, slot_credits=credits,
            in_turn=lf.outer == "events" and after.groups > 1 and not lf.sparse,
            pool=pool, cell_beats=before.position_beats if pool > 1 else 1, width=before.shape[2] if pool > 1 else 1)
    geometry = connection.geometry
    _, tile_rows, columns = geometry.output_shape
    return WindowQueueConfig(
        items=before.units, item_bits=planes, cell_beats=before.position_beats, width=before.shape[2],
        height=before.shape[1], pool=pool, kernel_rows=geometry.kernel[0],
        kernel_columns=geometry.kernel[1] + (after.tile - 1) * geometry.stride, stride_rows=geometry.stride,
        stride_columns=geometry.stride * after.tile, padding=geometry.padding, tile_rows=tile_rows,
        tiles=columns // after.tile, groups=after.tile_groups, banks=lf.inputs_per_cycle,
        slot_credits=credits)


def _sparse_rows(layer: Layer, lf: LayerFold, queue: EventQueueConfig | WindowQueueConfig, before: QueueOrder,
                 after: Channels) -> SparseRowsConfig | None:
    if not lf.sparse:
        return None
    assert isinstance(queue, EventQueueConfig)
    words, longest = sparse_size(_grouped_weights(layer, queue, before, after)[0])
    return SparseRowsConfig(
        name=layer.name, lanes=lf.lanes, groups=after.groups, weight_bits=_stored_bits(layer, after),
        mask_bits=queue.item_bits, rows=queue.rows, words=words, longest=longest, slots=queue.slot_credits)


def _grouped_weights(layer: Layer, queue: EventQueueConfig, before: QueueOrder, after: Channels) -> IntArray:
    """Weights of a dense layer: (bank, row, group, lane), 0 where there is none."""
    assert isinstance(layer.connection, Dense)
    lanes = _lanes(after).ravel()
    padded = np.where((lanes >= 0)[:, None], layer.connection.weight[lanes], 0)
    grouped = padded.reshape(after.groups, after.lanes, -1).transpose(2, 0, 1)  # (channel, group, lane)
    # (bank, row) <- channel
    source = np.full((queue.banks, queue.rows), -1)
    pooled = _pooled_index(before.shape, queue.pool)
    for beat in range(before.beats):
        for item in range(before.units):
            channel = before.index[beat, item]
            source[queue.locate(beat, item)] = pooled[channel] if channel >= 0 else -1
    rows: IntArray = np.where((source >= 0)[..., None, None], grouped[source], 0)
    return rows


def _pooled_index(shape: Shape, size: int) -> IntArray:
    """Pooled channel of each channel, both flattened in C order."""
    if size == 1:
        return np.arange(int(np.prod(shape)))
    channels, height, width = shape
    pooled = np.arange(channels * (height // size) * (width // size)).reshape(channels, height // size, width // size)
    return pooled.repeat(size, axis=1).repeat(size, axis=2).ravel()


def _window_weights(connection: Conv2d, queue: WindowQueueConfig, before: QueueOrder, after: Channels) -> IntArray:
    """Weights of (row, lane): rows are (group, ky, kx of the tile's window, channel of a cell)."""
    geometry = connection.geometry
    full = connection.full_kernels()
    # Input channel of each row of a cell; the cell's beats come as those of any position.
    positions = int(np.prod(before.shape[1:]))
    source = before.index[:before.position_beats].ravel()
    source = np.where(source >= 0, source // positions, -1)
    weights = np.zeros((queue.groups, queue.kernel_rows, queue.kernel_columns, queue.cell_rows, after.lanes), np.int64)
    for group in range(queue.groups):
        for lane in range(after.lanes):
            value = group * after.lanes + lane
            if value >= after.tile_values:
                continue
            place, channel = divmod(value, geometry.channels)
            first = place * geometry.stride
            kernel = full[channel].transpose(1, 2, 0)  # (ky, kx, input channel)
            weights[group, :, first:first + geometry.kernel[1], :, lane] = np.where(
                source >= 0, kernel[:, :, source], 0)
    return weights.reshape(queue.rows, after.lanes)
