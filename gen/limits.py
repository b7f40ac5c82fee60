"""From which sum on a neuron spikes that a static input drives: worked out for every sum that there can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.model.bounds import layer_bounds
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.golden import layer_state_dtype
from spikeloom.model.network import IntArray, Network
from spikeloom.model.neurons.arrays import Population
from spikeloom.model.neurons.program import Program

__all__ = ["spiking_limits"]

MAX_SUMS = 1 << 26  # that are tried; some seconds
PART = 1 << 18


_known: dict[tuple[str, int], IntArray | SpikeloomError] = {}


def spiking_limits(network: Network, index: int) -> IntArray:
    """Smallest weighted sum, without bias, with which each neuron spikes in a run: shape (outputs,).

    No rule is taken for granted: the neurons' program is run for every sum, once for all neurons whose constants are
    equal. A neuron that never spikes has one more than the largest sum of the layer.

    Parameters
    ----------
    network : Network
        Whose runs start from nothing.
    index : int
        Of a layer that a static input drives.

    Raises
    ------
    SpikeloomError
        If some neuron does not spike for a sum and does for a smaller one, or if there are more than :data:`MAX_SUMS`
        to try.
    """
    key = network.hash, index
    if key not in _known:
        try:
            _known[key] = _limits(network, index)
        except SpikeloomError as error:
            _known[key] = error
    found = _known[key]
    if isinstance(found, SpikeloomError):
        raise found
    return found


def _limits(network: Network, index: int) -> IntArray:
    layer, steps = network.layers[index], network.steps
    biases, bounds = layer.biases, layer_bounds(network, index)
    lows, highs = (np.repeat(ends, layer.outputs // ends.size) for ends in (bounds.sums.low, bounds.sums.high))
    own = {name: values for name, values in layer.constants.items() if name != "bias"}
    rows = np.stack([*own.values()], axis=1) if own else np.zeros((layer.outputs, 1), np.int64)
    kinds, kind_of = np.unique(rows, axis=0, return_inverse=True)
    groups = [kind_of.ravel() == kind for kind in range(len(kinds))]
    ranges = [(int((lows + biases)[mine].min()), int((highs + biases)[mine].max())) for mine in groups]
    if (count := sum(last + 1 - first for first, last in ranges)) > MAX_SUMS:
        raise SpikeloomError(f"layer {layer.name}: updates must be 'all': from which sum on neurons spike cannot be "
                             f"tried with {count:,} sums, more than {MAX_SUMS:,}")
    limits = np.empty(layer.outputs, np.int64)
    dtype = layer_state_dtype(network, index)
    for row, mine, (first, last) in zip(kinds, groups, ranges, strict=True):
        constants = dict(zip(own, row[:, None], strict=False))
        ever = np.concatenate([
            _spikes(layer.program, constants, np.arange(at, min(at + PART, last + 1), dtype=dtype), steps)
            for at in range(first, last + 1, PART)])
        silent = int(np.count_nonzero(~ever))
        if ever[:silent].any():
            drive = first + int(np.argmax(ever))
            raise SpikeloomError(f"layer {layer.name}: updates must be 'all': neurons that spike with a sum of {drive} "
                                 f"(with bias) do not with {first + int(np.flatnonzero(~ever)[-1])}")
        limits[mine] = first + silent - biases[mine]
    # What spikes with each of its sums, or with none, gets the nearest limit that says so.
    limits = np.where(limits > highs, bounds.accumulator[1] + 1, limits)
    return np.maximum(limits, bounds.accumulator[0])


def _spikes(program: Program, constants: Mapping[str, IntArray], drives: npt.NDArray[Any],
            steps: int) -> npt.NDArray[np.bool_]:
    """Whether a neuron spikes at all with each of the drives."""
    drives = drives[:, None]
    population = Population(program, drives.shape, drives.dtype.type, constants, constant_sum=True)
    now, ever = np.zeros(drives.shape, np.bool_), np.zeros(drives.shape, np.bool_)
    for step in range(steps):
        population.step(drives, now, last=step == steps - 1)
        ever |= now
    return ever[:, 0]
