"""How many cycles a sample takes at least: of each layer what its events take alone, in a fraction of the time in which
:mod:`.cycles` replays them.

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
from spikeloom.rtl.window_queue import WindowQueueConfig

from .channels import QueueOrder
from .cycles import Active, Cycles, active_inputs, events_per_beat, window_events
from .plan import Plan

__all__ = ["LeastCycles"]

_Layer = tuple[Cycles, Cycles, Cycles]


class LeastCycles:
    """Of samples, for folds of their network: what one layer takes is worked out once for all that share it."""

    def __init__(self, samples: npt.NDArray[Any], result: golden.GoldenResult) -> None:
        self.samples, self.result = samples, result
        self._inputs: dict[int, Sequence[Active]] = {}
        self._layers: dict[Hashable, _Layer] = {}

    def of(self, plan: Plan) -> Cycles:
        """At least so many cycles from taking the first beat to handing over the result: (N,)."""
        network = plan.network
        if network.readout.early_exit or network.marked:
            return np.zeros(len(self.result.spikes[0]), np.int64)
        inputs = self._inputs.get(plan.window_steps)
        if inputs is None:
            inputs = self._inputs[plan.window_steps] = active_inputs(plan, self.samples, self.result)
        first: Cycles | int = 0  # later than this the first beat is not taken
        given: list[Cycles | int] = [plan.channels[0].beats * plan.input_windows - 1]  # the last beat, by source
        for index, (layer, config, order) in enumerate(zip(network.layers, plan.layers, plan.orders, strict=True)):
            queue, neurons = config.synapse.queue, config.neurons
            key = (index, plan.window_steps, queue, order.units, order.index.tobytes())
            if key not in self._layers:
                self._layers[key] = (_window_queue(queue, order, inputs[index]) if isinstance(queue, WindowQueueConfig)
                                     else _event_queue(queue, order, inputs[index]))
            passed, last, begun = self._layers[key]
            if any(source.index == 0 for source in layer.sources):
                first = np.maximum(first, begun)
            arrived = [given[source.index] for source in layer.sources if source.index <= index and not source.delay]
            ended = np.maximum.reduce([passed, *(each + last for each in arrived)])
            drained = ended + config.synapse.latency_cycles + config.synapse.group_beats + neurons.latency_cycles
            interval = 1 if neurons.pipelined else neurons.latency_cycles + 1
            given.append(np.maximum(drained, neurons.beats * neurons.windows * interval - 1))
        out: Cycles = np.maximum(given[network.output_index + 1] - first, 0)
        return out


def _event_queue(queue: EventQueueConfig, order: QueueOrder, active: Active) -> _Layer:
    counts = events_per_beat(queue, order.to_beats(active).reshape(-1, order.beats, order.units))
    busiest = counts.sum(axis=1).max(axis=1).reshape(active.shape[:2])  # (N, windows)
    passes = queue.passes
    if queue.in_turn:
        alone, following = passes * busiest + 4, np.full_like(busiest, 2 * (passes - 1))
    else:
        alone, following = busiest + 5, (passes - 1) * (busiest + 2)
    windows = np.maximum(queue.beats + 2, np.where(busiest > 0, alone, 0)) + following
    # A window is open the cycle after the one before has ended; the first one from cycle 0 on, not 1.
    return windows.sum(axis=1) - 1, 2 + following[:, -1], np.zeros(len(active), np.int64)


def _window_queue(queue: WindowQueueConfig, order: QueueOrder, active: Active) -> _Layer:
    some = order.to_beats(active)
    passed, last = np.zeros(len(active), np.int64), np.zeros(len(active), np.int64)
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
