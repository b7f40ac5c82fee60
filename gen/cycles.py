"""The cycle model: from a sample's spikes, the exact cycle in which its class appears.

It replays the timing that the component docstrings of :mod:`spikeloom.rtl` state, as recurrences over
beats and passes, vectorised over samples. Cycle 0 is the one in which the first input beat is taken; the
source always has the next beat ready, and the class is taken as soon as it is offered.

Names in the recurrences: ``arrive[q]`` a queue takes beat ``q``; ``P`` a queue ends a pass; ``take`` a neuron
array takes a beat of sums; ``offer`` it offers their masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.model import golden
from spikeloom.model.network import Network
from spikeloom.rtl.event_queue import EventQueueConfig
from spikeloom.rtl.synapse import DRAIN_QUEUE_BEATS

from .fold import fold_from_dict
from .plan import Channels, Plan, make_plan

__all__ = ["CycleCounts", "count_cycles", "count_stream_cycles", "cycle_bounds", "predict_latency"]

Cycles = npt.NDArray[np.int64]
Active = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CycleCounts:
    """Cycle counts of N samples.

    Attributes
    ----------
    latency : int64 array (N,)
        From taking the first input beat to handing over the class.
    layer_end : int64 array (N, layers)
        When each layer's last pass ended: where the time goes.
    events : int64 array (N, layers)
        Active inputs of each layer (summed over windows).
    additions : int64 array (N, layers)
        Rows of weights that were added, times the lanes they went to.
    """

    latency: Cycles
    layer_end: Cycles
    events: Cycles
    additions: Cycles


def count_cycles(plan: Plan, samples: npt.ArrayLike) -> CycleCounts:
    """Cycles of each sample on its own (the next one is sent when the class has been taken)."""
    activity = _activity(plan, samples)
    return _replay(plan, activity, runs=1)


def count_stream_cycles(plan: Plan, samples: npt.ArrayLike) -> Cycles:
    """Cycle in which each sample's class appears when all samples are sent back to back: shape (N,)."""
    # One "sample" whose windows are those of all samples, one after the other.
    activity = [a.reshape(1, -1, *a.shape[2:]) for a in _activity(plan, samples)]
    return _replay(plan, activity, runs=len(np.asarray(samples))).latency


def cycle_bounds(plan: Plan) -> tuple[int, int]:
    """Cycles if nothing ever spikes, and if every channel of every layer is active: no sample lies outside."""
    def replay(active: bool) -> int:
        # The recurrences only add and take maxima, so that an event more makes nothing earlier.
        activity = [np.broadcast_to(active & (c.index >= 0), (1, plan.windows, *c.index.shape)) for c in plan.channels]
        return int(_replay(plan, activity, runs=1).latency[0])

    return replay(False), replay(True)


def predict_latency(network: Network, manifest: dict[str, Any], samples: npt.NDArray[Any],
                    progress: Callable[[int], None] | None = None) -> Cycles:
    """Predicted latency of each sample for the build that ``manifest`` describes."""
    plan = make_plan(network, fold_from_dict(manifest["fold"], "manifest.json"))
    parts = []
    for start in range(0, len(samples), 1000):
        parts.append(count_cycles(plan, samples[start:start + 1000]).latency)
        if progress is not None:
            progress(len(parts[-1]))
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _activity(plan: Plan, samples: npt.ArrayLike) -> list[Active]:
    """Which masks are not zero: per population (input first), (N, windows, beats, items)."""
    network = plan.network
    inputs = golden.encode_input(network, samples)
    spikes = golden.run(network, samples).spikes
    signals = [inputs[:, None, :] != 0 if network.static else inputs != 0, *spikes]
    return [_in_beats(plan, channels, signal) for channels, signal in zip(plan.channels, signals, strict=True)]


def _in_beats(plan: Plan, channels: Channels, signal: npt.NDArray[Any]) -> Active:
    steps = signal.shape[1]
    windows = 1 if steps == 1 else plan.windows
    some: Active = np.any(signal.reshape(len(signal), windows, steps // windows, -1), axis=2)
    active: Active = some[:, :, channels.index] & (channels.index >= 0)
    return active


def _events_per_beat(queue: EventQueueConfig, active: Active) -> Cycles:
    """Events that each beat of a window puts into each bank: (N, beats, banks)."""
    n, beats, items = active.shape
    if queue.items >= queue.banks:
        counts: Cycles = active.reshape(n, beats, queue.positions, queue.banks).sum(axis=2, dtype=np.int64)
        return counts
    turn = np.arange(beats) % queue.interleave
    mine = np.arange(queue.banks) // items == turn[:, None]  # (beats, banks)
    counts = active[:, :, np.arange(queue.banks) % items].astype(np.int64) * mine
    return counts


def _replay(plan: Plan, activity: Sequence[Active], runs: int) -> CycleCounts:
    """The recurrences. ``activity`` has ``runs`` samples' windows in a row; N runs side by side."""
    n = len(activity[0])
    layers = range(len(plan.layers))
    never = np.full(n, -1, np.int64)
    open_from = [np.zeros(n, np.int64) for _ in layers]   # the queue takes the next window from here on
    room_from = [never + 1 for _ in layers]               # the drain register is free from here on
    took = [never.copy() for _ in layers]                 # last take of the neuron array
    taken: list[list[Cycles]] = [[] for _ in layers]      # its takes, as many as the drain's queue holds
    left: list[list[Cycles]] = [[] for _ in layers]       # when each beat left the neuron array
    layer_end = np.zeros((n, len(plan.layers)), np.int64)
    events = np.zeros((n, len(plan.layers)), np.int64)
    additions = np.zeros((n, len(plan.layers)), np.int64)
    results: list[Cycles] = []
    source, read_until = never.copy(), never.copy()

    for window in range(plan.windows * runs):
        # The input is always ready with the next beat.
        first = np.maximum(open_from[0], source + 1)
        arrive = [first + q for q in range(plan.channels[0].beats)]
        source = arrive[-1]
        for index, config in enumerate(plan.layers):
            queue, neurons = config.synapse.queue, config.neurons
            counts = _events_per_beat(queue, activity[index][:, window])
            total = counts.sum(axis=1)
            busiest = total.max(axis=1)
            events[:, index] += total.sum(axis=1)
            additions[:, index] += total.sum(axis=1) * queue.passes * config.synapse.lanes

            # First pass: each bank works off its entries as they arrive.
            free = np.zeros((n, queue.banks), np.int64)
            for q, t in enumerate(arrive):
                c = counts[:, q]
                free = np.where(c > 0, np.maximum(free, t[:, None] + 3) + c, free)
            ended = np.maximum(arrive[-1] + 2, free.max(axis=1) + 1)

            last = index == len(plan.layers) - 1
            next_open = results[-1] + 1 if last and results and window % plan.windows == 0 else (
                never if last else open_from[index + 1])
            leaves: list[Cycles] = []
            for group in range(queue.passes):
                if group:
                    ended = ended + 2 + busiest
                ended = np.maximum(ended, room_from[index])
                # A beat moves to the drain's queue two cycles before it can be taken from there.
                moved = ended + 1 + config.synapse.latency_cycles - 3
                for _ in range(config.synapse.group_beats):
                    moved = moved + 1
                    if len(taken[index]) >= DRAIN_QUEUE_BEATS:
                        moved = np.maximum(moved, taken[index][-DRAIN_QUEUE_BEATS] + 1)
                    take = np.maximum(moved + 2, took[index] + 1)
                    if not neurons.pipelined:
                        if left[index]:
                            take = np.maximum(take, left[index][-1] + 1)
                    else:
                        if len(left[index]) >= neurons.queue_depth:
                            take = np.maximum(take, left[index][-neurons.queue_depth] + 1)
                        if not leaves and neurons.neuron.keeps_state and window % plan.windows:
                            take = np.maximum(take, took[index] + neurons.neuron.pipeline_latency_cycles + 1)
                    offer = take + neurons.latency_cycles
                    took[index] = take
                    taken[index] = [*taken[index][1 - DRAIN_QUEUE_BEATS:], take]
                    if last:
                        start = np.maximum(np.maximum(offer, read_until + 1), next_open)
                        leave = read_until = start + plan.readout.units - 1
                    else:
                        leave = np.maximum(offer, next_open)
                        if left[index]:
                            leave = np.maximum(leave, left[index][-1] + 1)
                    left[index].append(leave)
                    leaves.append(leave)
                room_from[index] = moved + 1
            open_from[index] = ended + 1
            layer_end[:, index] = ended
            left[index] = left[index][-neurons.queue_depth:]
            arrive = leaves
        if window % plan.windows == plan.windows - 1:
            results.append(read_until + 2)
    latency = results[0] if runs == 1 else np.concatenate(results)
    return CycleCounts(latency, layer_end, events, additions)
