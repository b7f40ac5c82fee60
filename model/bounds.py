"""Proved register widths: interval analysis over every possible input, from the actual weights.

An accumulator sums a subset of one neuron's weights (times the largest value of a static input), so it stays between
the sum of the negative and the sum of the positive ones, in every order of summation. Decays are monotone, so the
states' bounds follow by running the two ends of the interval through the network's own equations, step by step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import SpikeloomError
from .network import MAX_STATE_BITS, IntArray, Layer, Network
from .numerics import signed_bits

__all__ = ["LayerBounds", "layer_bounds"]


@dataclass(frozen=True)
class LayerBounds:
    """Widths, in bits, of the signed registers of one layer, and the intervals that prove them.

    Attributes
    ----------
    accumulator, drive, current, membrane : (low, high)
        Smallest and largest value: of the weighted sum; of that with bias; of the synaptic current; of the membrane
        potential before reset.
    """

    accumulator: tuple[int, int]
    drive: tuple[int, int]
    current: tuple[int, int]
    membrane: tuple[int, int]

    @property
    def accumulator_bits(self) -> int:
        return signed_bits(*self.accumulator)

    @property
    def drive_bits(self) -> int:
        return signed_bits(*self.drive)

    @property
    def current_bits(self) -> int:
        return signed_bits(*self.current)

    @property
    def membrane_bits(self) -> int:
        return signed_bits(*self.membrane)


_cache: dict[tuple[str, int], LayerBounds] = {}


def layer_bounds(network: Network, index: int) -> LayerBounds:
    """Bounds of layer ``index`` over all inputs and all ``network.steps`` steps.

    Raises
    ------
    SpikeloomError
        If a register would need more than 48 bits.
    """
    key = (network.hash, index)
    if key not in _cache:
        _cache[key] = _analyse(network, index)
    return _cache[key]


def _analyse(network: Network, index: int) -> LayerBounds:
    layer = network.layers[index]
    neuron = layer.neuron
    channels = layer.connection.channels
    # Per output channel: a sum pool lets each weight be added several times, and biases may differ by position.
    weight = layer.connection.weight.astype(np.int64).reshape(channels, -1)
    times = 1 if layer.pool is None else layer.pool.largest
    times *= (1 << network.planes(index)) - 1 if network.static and index == 0 else 1
    low, high = times * np.minimum(weight, 0).sum(axis=1), times * np.maximum(weight, 0).sum(axis=1)
    biases = layer.biases.reshape(channels, -1)
    drive_low, drive_high = low + biases.min(axis=1), high + biases.max(axis=1)

    _check_width(layer, signed_bits(int(drive_low.min()), int(drive_high.max())) + neuron.fraction_bits)
    current_ends = [np.zeros_like(low), np.zeros_like(high)]
    membrane_ends = [np.zeros_like(low), np.zeros_like(high)]
    current_span, membrane_span = [0, 0], [0, 0]
    threshold = layer.thresholds.reshape(channels, -1)[:, 0]
    below = threshold if neuron.compare == ">" else threshold - 1  # largest value that does not fire
    for _ in range(network.steps):
        for end, drive in enumerate((drive_low, drive_high)):
            current_ends[end] = neuron.synapse(current_ends[end]) + (drive << neuron.fraction_bits)
            membrane_ends[end] = neuron.membrane(membrane_ends[end]) + current_ends[end]
        _widen(current_span, current_ends)
        _widen(membrane_span, membrane_ends)
        after_low, after_high = membrane_ends
        fires = after_high > below
        if neuron.reset == "zero":
            reset_low = np.minimum(after_low, 0)
            reset_high = np.zeros_like(after_high)
        else:
            reset_low = np.minimum(after_low, below + 1 - threshold)
            reset_high = after_high - threshold
        membrane_ends = [np.where(fires, reset_low, after_low),
                         np.where(fires, np.maximum(np.minimum(after_high, below), reset_high), after_high)]
        _check_width(layer, max(signed_bits(*current_span), signed_bits(*membrane_span)))
    return LayerBounds((int(low.min()), int(high.max())), (int(drive_low.min()), int(drive_high.max())),
                       (current_span[0], current_span[1]), (membrane_span[0], membrane_span[1]))


def _check_width(layer: Layer, bits: int) -> None:
    """Refuse what is too wide, before the 64-bit integers of this analysis could wrap."""
    if bits > MAX_STATE_BITS:
        raise SpikeloomError(f"layer {layer.name}: with {layer.connection.weight[0].size} inputs of "
                             f"{layer.connection.weight_bits}-bit weights, the biases and fraction_bits="
                             f"{layer.neuron.fraction_bits} the states need {bits} bits or more, allowed are "
                             f"{MAX_STATE_BITS}; use fewer inputs, narrower weights or fewer fraction_bits")


def _widen(span: list[int], ends: list[IntArray]) -> None:
    """Let ``span`` cover the lowest and the highest neuron."""
    span[0] = min(span[0], int(ends[0].min()))
    span[1] = max(span[1], int(ends[1].max()))
