"""Proved register widths: interval analysis over every possible input, from the actual weights.

An accumulator sums a subset of one neuron's weights (times the largest value of a static input), so it stays between
the sum of the negative and the sum of the positive ones, in every order of summation. What the neuron makes of it, its
program run on intervals says (:mod:`.neurons.intervals`).

Where weights are written at run time, the intervals are wider than those of one network: see :func:`layer_bounds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .errors import SpikeloomError
from .layers import Layer
from .network import Network
from .neurons.intervals import MAX_BITS, EndlessError, Interval, TooWideError, run_bounds
from .neurons.program import Program
from .numerics import signed_bits

__all__ = ["LayerBounds", "layer_bounds"]


@dataclass(frozen=True)
class LayerBounds:
    """Widths, in bits, of the signed registers of one layer, and the intervals that prove them.

    Attributes
    ----------
    sums, drives : Interval of arrays (channels,)
        Of the weighted sum; of that with bias.
    constants : mapping of str to Interval of arrays (channels,)
        Of the neurons' own constants and bias.
    accumulator, drive : (low, high)
        Smallest and largest value: of the weighted sum; of that with bias.
    registers : mapping of str to (low, high)
    register_bits : mapping of str to int
        Of each register of the neurons, with the value that it starts from; a truth value is one bit.
    potential : (low, high) or None
        Of the membrane potential before reset, with the 0 that it starts from; None if the type gives none.
    widest_bits : int
        Of all operations of the neuron's step.
    """

    sums: Interval
    drives: Interval
    constants: Mapping[str, Interval]
    registers: Mapping[str, tuple[int, int]]
    register_bits: Mapping[str, int]
    potential: tuple[int, int] | None
    widest_bits: int

    @property
    def accumulator(self) -> tuple[int, int]:
        return self.sums.ends

    @property
    def drive(self) -> tuple[int, int]:
        return self.drives.ends

    @property
    def accumulator_bits(self) -> int:
        return signed_bits(*self.accumulator)

    @property
    def drive_bits(self) -> int:
        return signed_bits(*self.drive)

    @property
    def potential_bits(self) -> int:
        """0 if the type gives no potential."""
        return 0 if self.potential is None else signed_bits(*self.potential)


_cache: dict[tuple[str, int, int | None], LayerBounds] = {}


def layer_bounds(network: Network, index: int, headroom_bits: int | None = None) -> LayerBounds:
    """Bounds of layer ``index`` over all inputs and all ``network.steps`` steps.

    Parameters
    ----------
    network : Network
    index : int
    headroom_bits : int, optional
        For other networks of the same shape, too: with sums and constants up to so many bits larger than this one's, as
        far as weights of that many bits can make them. All constants are the neurons' own then. A constant that is
        multiplied with may have any value of as many bits as here.

    Raises
    ------
    SpikeloomError
        If an operation would need more than 48 bits.
    """
    key = (network.hash, index, headroom_bits)
    if key not in _cache:
        _cache[key] = _analyse(network, index, headroom_bits)
    return _cache[key]


def _analyse(network: Network, index: int, headroom_bits: int | None) -> LayerBounds:
    layer = network.layers[index]
    # Per output channel: a sum pool lets each weight be added several times, and biases may differ by position.
    weight = layer.connection.weight.astype(np.int64).reshape(layer.connection.channels, -1)
    times = 1 if layer.sum_pool is None else layer.sum_pool.largest
    times *= (1 << network.planes(index)) - 1 if layer.static else 1
    sums = Interval(times * np.minimum(weight, 0).sum(axis=1), times * np.maximum(weight, 0).sum(axis=1))
    program = layer.program if headroom_bits is None else layer.recorded(all_own=True)
    parameters = {name: layer.per_channel(values) for name, values in layer.all_constants.items()}
    if headroom_bits is not None:
        sums = _widened_sums(layer, sums, times, headroom_bits)
        scales = _multiplied(program)
        parameters = {name: _widened(span, 0 if name in scales else headroom_bits, signed=name == "bias")
                      for name, span in parameters.items()}
    biases = parameters["bias"]
    drives = Interval(sums.low + biases.low, sums.high + biases.high)
    try:
        spans, _ = run_bounds(program, drives, parameters, None if network.endless else network.steps)
    except EndlessError as error:
        raise SpikeloomError(f"layer {layer.name}: {error}") from None
    except TooWideError as error:
        fraction_bits = getattr(layer.neuron, "fraction_bits", 0)
        raise SpikeloomError(f"layer {layer.name}: with {layer.connection.weight[0].size} inputs of "
                             f"{layer.connection.weight_bits}-bit weights, the biases and fraction_bits="
                             f"{fraction_bits} the states need {error.bits} bits or more, allowed are "
                             f"{MAX_BITS}; use fewer inputs, narrower weights or fewer fraction_bits") from None
    registers = {name: (spans[program.outputs[f"next {name}"]] | Interval.of(int(reset), int(reset))).ends
                 for name, reset in program.registers.items()}
    potential = (spans[program.outputs["potential"]] | Interval.of(0, 0)).ends if program.gives_potential else None
    register_bits = {name: 1 if isinstance(program.registers[name], bool) else signed_bits(*span)
                     for name, span in registers.items()}
    widest_bits = max(signed_bits(*span.ends) for span in spans)
    return LayerBounds(sums, drives, parameters, registers, register_bits, potential, widest_bits)


def _widened_sums(layer: Layer, sums: Interval, times: int, bits: int) -> Interval:
    """With room on both sides, but for what no weights of that many bits could make of all inputs."""
    weight_bits, inputs = layer.connection.weight_bits, int(layer.connection.weight[0].size)
    low, high = (-1, 1) if weight_bits == 1 else (-(1 << weight_bits - 1), (1 << weight_bits - 1) - 1)
    largest = max(1, -int(sums.low.min()), int(sums.high.max())) << bits
    like = np.ones_like(sums.low)
    return Interval(like * max(-largest, times * inputs * low), like * min(largest, times * inputs * high))


def _widened(span: Interval, bits: int, *, signed: bool) -> Interval:
    """All numbers of so many bits more; negative ones only where there are some already, or with ``signed``."""
    low, high = span.ends
    most = 1 << max(abs(low), abs(high)).bit_length() + bits
    like = np.ones_like(span.low)
    return Interval(like * (-most if signed or low < 0 else 0), like * (most - 1))


def _multiplied(program: Program) -> set[str]:
    """Constants that a product is made of."""
    place = program.leaves("parameter")
    factors = {argument for operation in program.operations if operation.name == "multiply"
               for argument in operation.arguments}
    return {str(name) for name, position in place.items() if position in factors}
