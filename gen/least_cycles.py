"""How many cycles a sample takes at least: of each layer what its events take alone, in a fraction of the time in which
:mod:`.cycles` replays them; and what is added up meanwhile.

Events of a layer pass one behind the other, and those that wait for the last input come after the layer that gives it.
What layers wait for otherwise is not in it, so that the exact count is never less.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.model import golden
from spikeloom.rtl.event_queue import EventQueueConfig
from spikeloom.rtl.window_shape import WindowQueueConfig

from .cycles import Active, Cycles, active_inputs, counts_met, events_per_beat, input_signals, rows_read, window_events
from .plan import Plan

__all__ = ["LeastCycles"]

# When its last pass ends, what of that follows its last input, when the first beat is taken; rows that are added;
# events.
_Layer = tuple[Cycles, Cycles, Cycles, Cycles, Cycles]


class LeastCycles:
    """Of samples, for folds of their network: what one layer takes is worked out once for all that share it."""

    def __init__(self, samples: npt.NDArray[Any], result: golden.GoldenResult) -> None:
        self.samples, self.result = samples, result
        self._inputs: dict[int, Sequence[Active]] = {}
        self._layers: dict[Hashable, _Layer] = {}
        self._spikes: list[Cycles | None] = []

    def of(self, plan: Plan) -> Cycles:
        """At least so many cycles from taking the first beat to handing over the result: (N,)."""
        network = plan.network
        if network.readout.early_exit or network.marked:
            return np.zeros(len(self.result.spikes[0]), np.int64)
        first: Cycles | int = 0  # later than this the first beat is not taken
        given: list[Cycles | int] = [plan.channels[0].beats * plan.input_windows - 1]  # the last beat, by source
        for index, (layer, config) in enumerate(zip(network.layers, plan.layers, strict=True)):
            neurons = config.neurons
            passed, last, begun, *_ = self._layer(plan, index)
            if any(source.index == 0 for source in layer.sources):
                first = np.maximum(first, begun)
            arrived = [given[source.index] for source in layer.sources if source.index <= index and not source.delay]
            ended = np.maximum.reduce([passed, *(each + last for each in arrived)])
            drained = ended + config.synapse.latency_cycles + config.synapse.group_beats + neurons.latency_cycles
            interval = 1 if neurons.pipelined else neurons.latency_cycles + 1
            given.append(np.maximum(drained, neurons.beats * neurons.windows * interval - 1))
        out: Cycles = np.maximum(given[network.output_index + 1] - first, 0)
        return out

    def additions(self, plan: Plan) -> npt.NDArray[np.float64]:
        """Bits of sums that weights are added to, of all lanes, as far as a spike's step has a sum of its own: (N,)."""
        if not self._spikes:
            self._spikes = [None if layer.static else np.count_nonzero(signal, axis=(1, 2)) for layer, signal in zip(
                plan.network.layers, input_signals(plan.network, self.samples, self.result), strict=True)]
        total = np.zeros(len(self.result.spikes[0]))
        for index, layer in enumerate(plan.layers):
            spikes, (*_, rows, events) = self._spikes[index], self._layer(plan, index)
            sums = layer.neurons.neuron.sums if spikes is None else spikes / np.maximum(events, 1)
            total += rows * sums * (layer.synapse.lanes * layer.synapse.accumulator_bits)
        return total

    def _layer(self, plan: Plan, index: int) -> _Layer:
        queue, order, sparse = plan.layers[index].synapse.queue, plan.orders[index], plan.layers[index].sparse
        key = (index, plan.window_steps, queue, sparse, order.units, order.index.tobytes())
        if key not in self._layers:
            if plan.window_steps not in self._inputs:
                self._inputs[plan.window_steps] = active_inputs(plan, self.samples, self.result)
            some = order.to_beats(self._inputs[plan.window_steps][index])
            found = _window_queue(queue, some) if isinstance(queue, WindowQueueConfig) else _event_queue(queue, some)
            rows = rows_read(queue, some)[0]
            if sparse is not None:
                rows = counts_met(plan, index, some, plan.row_counts(index)[0])
                found = _sparse_rows(sparse.groups, some.shape[1], rows)
            self._layers[key] = *found, rows, some.sum(axis=(1, 2, 3))
        return self._layers[key]


def _event_queue(queue: EventQueueConfig, active: Active) -> tuple[Cycles, Cycles, Cycles]:
    counts = events_per_beat(queue, active.reshape(-1, *active.shape[2:]))
    busiest = counts.sum(axis=1).max(axis=1).reshape(active.shape[:2])  # (N, windows)
    passes = queue.passes
    if queue.in_turn:
        alone, following = passes * busiest + 4, np.full_like(busiest, 2 * (passes - 1))
    else:
        alone, following = busiest + 5, (passes - 1) * (busiest + 2)
    windows = np.maximum(queue.beats + 2, np.where(busiest > 0, alone, 0)) + following
    # A window is open the cycle after the one before has ended; the first one from cycle 0 on, not 1.
    return windows.sum(axis=1) - 1, 2 + following[:, -1], np.zeros(len(active), np.int64)


def _sparse_rows(groups: int, windows: int, words: Cycles) -> tuple[Cycles, Cycles, Cycles]:
    leaves = 2 * (groups - 1)
    return words + windows * (groups + leaves), np.full_like(words, 2 + leaves), np.zeros_like(words)


def _window_queue(queue: WindowQueueConfig, some: Active) -> tuple[Cycles, Cycles, Cycles]:
    passed, last = np.zeros(len(some), np.int64), np.zeros(len(some), np.int64)
    for window in range(some.shape[1]):
        rows = window_events(queue, some[:, window])
        for tile_row in range(queue.tile_rows):
            events = rows(tile_row)
            runs = -(-events // queue.banks)  # (tiles, runs, N)
            cycles = queue.groups * np.maximum(runs.sum(axis=1) + (events.sum(axis=1) == 0), 3).sum(axis=0)
            passed += cycles
        last = np.maximum(cycles, queue.tiles * queue.groups * queue.runs)
    # The first window of all ends when it is there.
    return passed - 3, last - 2, np.maximum(-(-some[:, 0, 0].sum(axis=1) // queue.writes), 1) - 1
