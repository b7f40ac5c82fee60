"""The plan: a network and a fold become component shapes and memory contents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spikeloom.model.bounds import layer_bounds
from spikeloom.model.network import Network
from spikeloom.model.numerics import signed_bits
from spikeloom.rtl.accelerator import Accelerator
from spikeloom.rtl.dense_layer import DenseLayer, DenseLayerConfig
from spikeloom.rtl.event_queue import EventQueueConfig
from spikeloom.rtl.neuron import NeuronConfig
from spikeloom.rtl.neuron_array import NeuronArrayConfig
from spikeloom.rtl.readout import ReadoutConfig
from spikeloom.rtl.synapse import SynapseConfig

from .fold import Fold, check_fold

__all__ = ["Channels", "Plan", "make_plan"]


@dataclass(frozen=True)
class Channels:
    """How a population's channels lie in the beats of a window.

    Attributes
    ----------
    size : int
        Channels.
    lanes, units : int
        A group of ``lanes`` channels takes ``ceil(lanes / units)`` beats of ``units`` channels.
    """

    size: int
    lanes: int
    units: int

    @property
    def group_beats(self) -> int:
        return -(-self.lanes // self.units)

    @property
    def groups(self) -> int:
        return -(-self.size // self.lanes)

    @property
    def beats(self) -> int:
        """Beats in a window."""
        return self.groups * self.group_beats

    @cached_property
    def index(self) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """Channel at (beat, item), or -1 for padding."""
        beat, item = np.meshgrid(np.arange(self.beats), np.arange(self.units), indexing="ij")
        lane = beat % self.group_beats * self.units + item
        channel = beat // self.group_beats * self.lanes + lane
        return np.where((lane < self.lanes) & (channel < self.size), channel, -1)


@dataclass(frozen=True)
class Plan:
    """Everything that the generator, the cycle model and the reports need to know of a build.

    Attributes
    ----------
    channels : tuple of Channels
        Of the input, then of each layer's output.
    """

    network: Network
    fold: Fold
    channels: tuple[Channels, ...]
    layers: tuple[DenseLayerConfig, ...]
    readout: ReadoutConfig

    @property
    def window_steps(self) -> int:
        return self.fold.window(self.network)

    @property
    def windows(self) -> int:
        return -(-self.network.steps // self.window_steps)

    def accelerator(self) -> Accelerator:
        """The hardware, with its memory contents."""
        return Accelerator([DenseLayer(config, self.weights(k), self.constants(k))
                            for k, config in enumerate(self.layers)], self.readout)

    def weights(self, index: int) -> list[list[int]]:
        """Contents of the weight memory of each bank of a layer."""
        config = self.layers[index].synapse
        queue, bits = config.queue, config.weight_bits
        weight = self.network.layers[index].connection.weight
        stored = (weight < 0).astype(np.int64) if bits == 1 else weight & ((1 << bits) - 1)
        padded = np.zeros((queue.passes * config.lanes, weight.shape[1]), np.int64)
        padded[:weight.shape[0]] = stored
        # (bank, row) <- channel
        source = np.full((queue.banks, queue.rows), -1)
        before = self.channels[index]
        for beat in range(before.beats):
            for item in range(before.units):
                source[queue.locate(beat, item)] = before.index[beat, item]
        grouped = padded.reshape(queue.passes, config.lanes, -1)
        # A row as lanes * bits single bits, lane 0 in the least significant ones.
        bit = (grouped[..., None] >> np.arange(bits)) & 1  # (pass, lane, channel, bit)
        rows = bit.transpose(0, 2, 1, 3).reshape(queue.passes, weight.shape[1], -1).astype(np.uint8)
        memories = []
        for bank in range(queue.banks):
            chosen = np.where((source[bank] >= 0)[None, :, None], rows[:, source[bank]], 0)
            packed = np.packbits(chosen.reshape(queue.passes * queue.rows, -1), axis=1, bitorder="little")
            memories.append([int.from_bytes(row.tobytes(), "little") for row in packed])
        return memories

    def constants(self, index: int) -> list[int]:
        """One word per beat: each unit's threshold and bias, as far as neurons have their own."""
        config = self.layers[index].neurons.neuron
        layer = self.network.layers[index]
        # (values, what padding gets, bits), in the order of the hardware's layout
        fields = []
        if config.threshold is None:
            fields.append((layer.thresholds, (1 << (config.threshold_bits - 1)) - 1, config.threshold_bits))
        if config.has_bias:
            fields.append((layer.biases, 0, config.bias_bits))
        if not fields:
            return []
        words = []
        for neurons in self.channels[index + 1].index:
            word, at = 0, 0
            for neuron in neurons:
                for values, padding, bits in fields:
                    value = int(values[neuron]) if neuron >= 0 else padding
                    word |= (value & ((1 << bits) - 1)) << at
                    at += bits
            words.append(word)
        return words


def make_plan(network: Network, fold: Fold) -> Plan:
    """Derive all shapes and widths.

    Raises
    ------
    SpikeloomError
        If the fold does not suit the network, or a register would be wider than allowed.
    """
    check_fold(network, fold)
    window = fold.window(network)
    windows = -(-network.steps // window)
    channels = [Channels(network.input.size, network.input.size, fold.input_per_beat)]
    layers = []
    for index, (layer, lf) in enumerate(zip(network.layers, fold.layers, strict=True)):
        channels.append(Channels(layer.connection.outputs, lf.lanes, lf.neuron_units))
        neuron, bounds = layer.neuron, layer_bounds(network, index)
        static = network.static and index == 0
        planes = network.planes(0) if static else window
        # Padding lanes must stay silent, but at threshold 0 with ">=" they would fire at rest, and a 1-bit weight
        # cannot be 0: they then get a threshold of their own that is out of reach.
        padded = bool((channels[-1].index < 0).any())
        unruly = padded and (layer.connection.weight_bits == 1
                             or (neuron.compare == ">=" and bool((layer.thresholds == 0).any())))
        shared = len(set(layer.thresholds.tolist())) == 1 and not unruly
        has_bias = bool(layer.biases.any())
        queue = EventQueueConfig(items=channels[index].units, item_bits=planes, beats=channels[index].beats,
                                 banks=lf.inputs_per_cycle, passes=channels[-1].groups)
        synapse = SynapseConfig(name=layer.name, queue=queue, lanes=lf.lanes, units=lf.neuron_units,
                                weight_bits=layer.connection.weight_bits, accumulator_bits=bounds.accumulator_bits)
        config = NeuronConfig(
            planes=planes, steps=window, static=static, synapse=neuron.synapse, membrane=neuron.membrane,
            fraction_bits=neuron.fraction_bits, inclusive=neuron.compare == ">=", reset=neuron.reset,
            threshold=int(layer.thresholds[0]) if shared else None, has_bias=has_bias, keeps_state=windows > 1,
            accumulator_bits=bounds.accumulator_bits, drive_bits=bounds.drive_bits, current_bits=bounds.current_bits,
            membrane_bits=bounds.membrane_bits,
            threshold_bits=max(signed_bits(0, int(layer.thresholds.max())), unruly * (bounds.membrane_bits + 1)),
            bias_bits=signed_bits(int(layer.biases.min()), int(layer.biases.max())))
        layers.append(DenseLayerConfig(
            synapse=synapse,
            neurons=NeuronArrayConfig(name=layer.name, neuron=config, units=lf.neuron_units, beats=channels[-1].beats,
                                      windows=windows, pipelined=lf.pipelined)))
    weights = list(network.readout.step_weights) + [0] * (windows * window - network.steps)
    readout = ReadoutConfig(classes=network.classes, units=channels[-1].units, lanes=channels[-1].lanes,
                            step_weights=tuple(tuple(weights[v * window:(v + 1) * window]) for v in range(windows)))
    return Plan(network, fold, tuple(channels), tuple(layers), readout)
