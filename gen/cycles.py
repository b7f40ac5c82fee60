"""The cycle model: from a sample's spikes, the exact cycle in which its class appears.

It replays the timing that the component docstrings of :mod:`spikeloom.rtl` state, one class per component,
vectorised over samples. Cycle 0 is the one in which the first input beat is taken; the source always has the next
beat ready, and the class is taken as soon as it is offered.

A layer pushes its beats to the next one: ``accept(offered)`` answers the cycle in which a beat offered from then on
is taken. What the receiver does with the beats it has, it works out when an answer depends on it, or when
its window is complete: everything that an answer depends on has then been pushed before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from spikeloom.model import golden
from spikeloom.model.network import Conv2d, IntArray, Network
from spikeloom.model.samples import encode_input, run_lengths
from spikeloom.rtl.encoder import EncoderConfig
from spikeloom.rtl.event_queue import EventQueueConfig
from spikeloom.rtl.layer import LayerConfig
from spikeloom.rtl.layer_inputs import SourceConfig
from spikeloom.rtl.or_pool import OrPoolConfig
from spikeloom.rtl.readout import ReadoutConfig
from spikeloom.rtl.share import MEMORY_CYCLES
from spikeloom.rtl.sparse_rows import SparseRowsConfig
from spikeloom.rtl.weight_fetch import WeightFetchConfig
from spikeloom.rtl.window_queue import RUN_QUEUE_DEPTH
from spikeloom.rtl.window_shape import WindowQueueConfig

from .fetch_cycles import FetchTiming, MemoryTiming
from .manifest import Description
from .plan import Plan, plan_of

__all__ = ["MEMORY", "Active", "CycleCounts", "Cycles", "active_inputs", "count_cycles", "count_stream_cycles",
           "counts_met", "cycle_bounds", "events_per_beat", "input_signals", "predict_latency", "rows_read",
           "turn_slack", "window_events"]

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
    useful_additions : int64 array (N, layers)
        Weights that were added because a spike met a synapse: without padding lanes and the parts of
        a tile's window that one position sees and another does not.
    busy : int64 array (N, layers)
        Cycles in which the lanes could have added: from a layer's first slot of a row or pass to its end, waiting for
        room behind the lanes included, waiting for input not.
    waited : int64 array (N,)
        Cycles for which the first input beat is offered before it is taken.
    left : int64 array (N,)
        Beats of input that had not been taken when a run ended early.
    """

    latency: Cycles
    layer_end: Cycles
    events: Cycles
    additions: Cycles
    useful_additions: Cycles
    busy: Cycles
    waited: Cycles
    left: Cycles

    def utilisation(self, plan: Plan) -> npt.NDArray[np.float64]:
        """Useful additions / (lanes * inputs per cycle * busy cycles) of all samples together, (layers,)."""
        width = np.array([c.synapse.lanes * c.synapse.queue.banks for c in plan.layers])
        busy = np.maximum(self.busy.sum(axis=0), 1)
        out: npt.NDArray[np.float64] = self.useful_additions.sum(axis=0) / (width * busy)
        return out


MEMORY = MemoryTiming(latency_cycles=32)  # where nothing else is said: a DDR3 controller, about


def count_cycles(plan: Plan, samples: npt.ArrayLike, memory: MemoryTiming = MEMORY, *,
                 result: golden.GoldenResult | None = None) -> CycleCounts:
    """Cycles of each sample on its own (the next one is sent when the class has been taken).

    ``memory`` is the timing of every external memory, ``result`` what the golden model makes of the samples, if that is
    known already.
    """
    result = golden.run(plan.network, samples) if result is None else result
    return _replay(plan, _activity(plan, samples, result), _firing(plan, result.spikes), 1, memory,
                   _exit_windows(plan, result))


def count_stream_cycles(plan: Plan, samples: npt.ArrayLike, memory: MemoryTiming = MEMORY, *,
                        result: golden.GoldenResult | None = None) -> Cycles:
    """Cycle in which each sample's class appears when all samples are sent back to back: shape (N,)."""
    result = golden.run(plan.network, samples) if result is None else result
    if (ends := _exit_windows(plan, result)) is not None:
        # One run after the other: what is left of a run's input goes by, a beat a cycle, and the next one follows.
        alone = _replay(plan, _activity(plan, samples, result), _firing(plan, result.spikes), 1, memory, ends)
        taken = alone.waited + alone.latency + alone.left + (not _holds_result(plan))
        starts = np.cumsum(taken) - taken + alone.waited - alone.waited[0]
        finished: Cycles = starts + alone.latency
        return finished
    # One "sample" whose windows are those of all samples, one after the other.
    activity = [a.reshape(1, -1, *a.shape[2:]) for a in _activity(plan, samples, result)]
    firing = {index: counts.reshape(1, -1) for index, counts in _firing(plan, result.spikes).items()}
    return _replay(plan, activity, firing, len(np.asarray(samples)), memory).latency


def turn_slack(plan: Plan) -> int:
    """Cycles by which fewer events can take longer than more of them, where groups take turns with each event.

    The last slot of a window serves a bank whose last events, r of them in slots one behind the other, were not there
    one slot before the first of these. With more events these r are among them, and take r slots that begin no earlier
    than they are there: the last one is at most a turn less a cycle earlier.
    """
    return sum((layer.synapse.queue.turns - 1) * plan.windows for layer in plan.layers)


def cycle_bounds(plan: Plan, memory: MemoryTiming = MEMORY, active: Sequence[bool] = (False, True)) -> tuple[int, ...]:
    """Cycles if nothing ever spikes, and if every channel of every layer is active; of runs that may be shorter than T
    steps, those of the shortest and the longest.

    Of dense layers no sample lies outside; where groups take turns, :func:`turn_slack` is in it. A window queue may
    pass an empty run a cycle later than one with events, so that of convolutions these are no bounds.
    """
    varies = plan.network.readout.early_exit or plan.network.marked

    def replay(active: bool) -> int:
        activity = [np.broadcast_to(active & (order.index >= 0), (1, 1 if layer.static else plan.windows,
                                                                  *order.index.shape))
                    for layer, order in zip(plan.network.layers, plan.orders, strict=True)]
        ends = np.array([plan.windows - 1 if active else 0]) if varies else None
        spikes = [np.full((1, 1, layer.outputs), active) for layer in plan.network.layers]
        latency = _replay(plan, activity, _firing(plan, spikes), 1, memory, ends).latency
        return int(latency[0]) + (turn_slack(plan) if active else 0)

    return tuple(replay(each) for each in active)


def predict_latency(network: Network, manifest: Description, samples: npt.NDArray[Any],
                    progress: Callable[[int], None] | None = None, memory: MemoryTiming = MEMORY) -> Cycles:
    """Predicted latency of each sample for the build that ``manifest`` describes."""
    plan = plan_of(manifest, network)
    parts = []
    size = max(1, len(samples)) if network.endless else 1000  # pieces of a stream belong together
    for start in range(0, len(samples), size):
        parts.append(count_cycles(plan, samples[start:start + size], memory).latency)
        if progress is not None:
            progress(len(parts[-1]))
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _exit_windows(plan: Plan, result: golden.GoldenResult) -> Cycles | None:
    """The window with which each run ends, if it may end early or is marked."""
    if not plan.network.readout.early_exit and not plan.network.marked:
        return None
    ends: Cycles = result.last_steps // plan.window_steps
    return ends


def _holds_result(plan: Plan) -> bool:
    """Whether the result lies in a register while all else is reset."""
    return plan.network.breaks_off and plan.readout is not None


def _activity(plan: Plan, samples: npt.ArrayLike, result: golden.GoldenResult) -> list[Active]:
    """Which masks in front of each layer's queue are not zero: (N, windows, beats, items)."""
    return [order.to_beats(some) for some, order in zip(active_inputs(plan, samples, result), plan.orders, strict=True)]


def active_inputs(plan: Plan, samples: npt.ArrayLike, result: golden.GoldenResult) -> list[Active]:
    """Which inputs of each layer are not zero in a window: (N, windows, channels). Of the fold it is the steps of a
    window that matter."""
    return [(signal != 0)[:, None] if layer.static else
            np.any(signal.reshape(len(signal), plan.windows, plan.window_steps, -1), axis=2)
            for layer, signal in zip(plan.network.layers, input_signals(plan.network, samples, result), strict=True)]


def input_signals(network: Network, samples: npt.ArrayLike, result: golden.GoldenResult) -> Iterator[npt.NDArray[Any]]:
    """What each layer's synapses see: values (N, channels) of a static input, else spikes (N, steps, channels)."""
    signals = [encode_input(network, samples), *result.spikes]
    lengths = run_lengths(network, samples)
    for layer in network.layers:
        yield golden.synaptic_inputs(network, layer, signals, lengths)


class _Sink(Protocol):
    """Where a stream goes."""

    def accept(self, offered: Cycles) -> Cycles:
        """The cycle in which the next beat is taken, if it is offered from ``offered`` on."""


class _Neurons:
    """:class:`.NeuronArray` and the queue in front of it: from the ends of passes to beats for ``sink``."""

    def __init__(self, config: LayerConfig, sink: _Sink, samples: int, firing: Cycles | None = None) -> None:
        synapse, neurons = config.synapse, config.neurons
        self.firing = firing  # neurons of each beat that go through the unit, where only those do: (N, runs x beats)
        self.compared = self.moved = self.entered = np.full(samples, -1, np.int64)
        self.config, self.sink = neurons, sink
        self.room_from = np.zeros(samples, np.int64)  # the end of a pass may be given from here on
        self.took = np.full(samples, -1, np.int64)
        self.taken: deque[Cycles] = deque(maxlen=synapse.queue_beats)
        self.left: deque[Cycles] = deque(maxlen=neurons.queue_depth)
        self.beat = 0
        # Asked for with every beat, and worked out anew each time.
        self.sums_cycles, self.latency_cycles, self.queue_depth, self.group_beats = (
            synapse.latency_cycles, neurons.latency_cycles, neurons.queue_depth, synapse.group_beats)
        self.spare_beats = synapse.queue_beats - synapse.group_beats if synapse.queued else None

    def drain(self, marked: Cycles) -> None:
        """A group's sums, whose end mark the synapse array saw in ``marked``."""
        for beat in range(self.group_beats):
            self._take(marked + (self.sums_cycles + beat))
            self.taken.append(self.took)
        self._free(marked)

    def replay(self) -> None:
        """The sums of a static input once more, for the next window."""
        for _ in range(self.config.beats):
            self._take(self.took)

    def _take(self, offered: Cycles) -> None:
        """A beat of sums."""
        neurons, left = self.config, self.left
        take = np.maximum(offered, self.took + 1)
        if self.firing is not None:
            self._take_firing(np.maximum(take, self.compared), self.firing[:, self.beat])
            return
        if not neurons.pipelined:
            if left:
                take = np.maximum(take, left[-1] + 1)
        else:
            if len(left) == self.queue_depth:
                take = np.maximum(take, left[0] + 2)
            window, beat = divmod(self.beat, neurons.beats)
            if neurons.neuron.keeps_state and beat == 0 and (window if neurons.neuron.endless else
                                                             window % neurons.windows):
                take = np.maximum(take, self.took + (neurons.unit_cycles + 1))
        self.took = take
        self._leaves(take + self.latency_cycles)

    def _take_firing(self, take: Cycles, firing: Cycles) -> None:
        """The same for :class:`.SpikingNeurons`."""
        if len(self.left) == self.queue_depth:
            take = np.maximum(take, self.left[0] + 2)
        self.took = take
        self.compared = np.maximum(take + 1, self.moved)
        self.moved = np.maximum(self.compared + 1, self.entered)
        self.entered = self.moved + np.maximum(firing, 1)
        self._leaves(self.entered + (self.config.unit_cycles + 1))

    def _leaves(self, offer: Cycles) -> None:
        """A beat of masks, offered from then on."""
        if self.left:
            offer = np.maximum(offer, self.left[-1] + 1)
        self.left.append(self.sink.accept(offer))
        self.beat += 1

    def _free(self, marked: Cycles) -> None:
        """From when on the next end of a pass may be given."""
        spare = self.spare_beats
        if spare is None:
            self.room_from = self.took + 1
            return
        self.room_from = marked + (self.group_beats - 1)
        if len(self.taken) > spare:
            self.room_from = np.maximum(self.room_from, self.taken[-(spare + 1)] + 2)


class _Fetch:
    """Slots on their way through a :class:`.WeightFetch`, sample by sample: each waits for those before it."""

    def __init__(self, config: WeightFetchConfig, queue: EventQueueConfig | WindowQueueConfig, memory: MemoryTiming,
                 samples: int) -> None:
        # A slot is on the queue's output, and one cycle later behind the queue of slots.
        self.delay = 3 if isinstance(queue, WindowQueueConfig) else 2
        self.timing = [FetchTiming(config, memory, max) for _ in range(samples)]
        self.accepted = [deque([-1] * queue.slot_credits, maxlen=queue.slot_credits) for _ in range(samples)]
        self.issued = np.full(samples, -1, np.int64)

    def events(self, sample: int, earliest: int, rows: Sequence[int] | npt.NDArray[np.int64]) -> int:
        """Issue an event for each of these rows, one after the other; returns the cycle of the last, or ``earliest -
        1``."""
        count = len(rows)
        accepted, timing = self.accepted[sample], self.timing[sample]
        at = max(earliest, int(self.issued[sample]) + 1) - 1
        for _ in range(count):
            at = max(at, accepted[0]) + 1
            accepted.append(int(timing.event(at + self.delay)[0]))
        if count:
            self.issued[sample] = at
        return at if count else earliest - 1

    def end(self, earliest: Cycles, room_from: Cycles) -> tuple[Cycles, Cycles]:
        """Issue an end mark for every sample: when, and when the synapse array sees it."""
        seen = np.empty_like(earliest)
        for n, (accepted, timing) in enumerate(zip(self.accepted, self.timing, strict=True)):
            at = max(int(earliest[n]), int(self.issued[n]) + 1, accepted[0] + 1)
            taken, seen[n] = timing.end(at + self.delay, partial(max, int(room_from[n])))
            accepted.append(int(taken))
            self.issued[n] = at
        return self.issued.copy(), seen


class _SparseRows:
    """:class:`.SparseRows`, with ``words`` of each row: slots from the queue, sample by sample."""

    PLACE_CYCLES = MEMORY_CYCLES + 2  # from issuing a slot until its row's place is known

    def __init__(self, config: SparseRowsConfig, words: IntArray, neurons: _Neurons, samples: int) -> None:
        self.config, self.words, self.neurons = config, words, neurons
        self.taken = [deque([-1] * config.slots, maxlen=config.slots) for _ in range(samples)]
        self.issued = np.full(samples, -1, np.int64)
        self.free = np.zeros(samples, np.int64)  # the next slot may be taken
        self.read = np.zeros(samples, np.int64)  # the window's words have been read

    def begin(self, taken: Cycles) -> None:
        """A window, whose first beat was taken then."""
        self.free = np.maximum(taken + 1, self.free) + self.config.groups

    def events(self, sample: int, earliest: int, rows: npt.NDArray[np.int64]) -> int:
        """Issue events of these rows one after the other; returns the cycle of the last."""
        taken, free = self.taken[sample], int(self.free[sample])
        at = max(earliest, int(self.issued[sample]) + 1) - 1
        for words in self.words[rows].tolist():
            at = max(at, taken[0]) + 1
            free = max(free, at + self.PLACE_CYCLES)
            taken.append(free)
            free += words
        self.issued[sample] = at
        self.free[sample] = free
        self.read[sample] = free + MEMORY_CYCLES + 1
        return at

    def end(self, earliest: Cycles) -> Cycles:
        """Issue an end mark for every sample, and let the groups' sums leave; returns when it was issued."""
        self.issued = np.maximum(np.maximum(earliest, self.issued + 1), [taken[0] + 1 for taken in self.taken])
        ended = np.maximum(np.maximum(self.free, self.issued + self.PLACE_CYCLES), self.read)
        for group in range(self.config.groups):
            ended = np.maximum(ended + 2 if group else ended, self.neurons.room_from)
            self.neurons.drain(ended + 1)
        for taken, last in zip(self.taken, ended.tolist(), strict=True):
            taken.append(last)
        self.free, self.read = ended + 1, np.zeros_like(ended)
        return self.issued.copy()


class _EventQueue:
    """:class:`.EventQueue`: dense layers."""

    def __init__(self, queue: EventQueueConfig, neurons: _Neurons, active: Active,
                 fetch: _Fetch | _SparseRows | None) -> None:
        self.queue, self.neurons, self.active, self.fetch = queue, neurons, active, fetch
        if fetch is not None:  # of each channel
            self.rows = _rows(queue, active)
        self.n = len(active)
        self.open_from = np.zeros(self.n, np.int64)
        self.accepted = np.full(self.n, -1, np.int64)
        self.end = np.zeros(self.n, np.int64)
        self.busy = np.zeros(self.n, np.int64)
        self.window = self.beat = 0

    def accept(self, offered: Cycles) -> Cycles:
        queue = self.queue
        if self.beat == 0:
            self.counts = events_per_beat(queue, self.active[:, self.window])
            self.free = np.zeros(self.n, np.int64)
            self.arrived: list[Cycles] = []
        taken = np.maximum(offered, self.accepted + 1)
        if self.window and self.beat == 0:
            taken = np.maximum(taken, self.open_from)
        self.arrived.append(taken)
        if self.beat == 0 and isinstance(self.fetch, _SparseRows):
            self.fetch.begin(taken)
        if self.fetch is not None:
            some, rows = self.active[:, self.window, self.beat], self.rows[self.beat]
            for n in map(int, np.flatnonzero(some.any(axis=1))):
                self.free[n] = self.fetch.events(n, int(taken[n]) + 3, rows[some[n]]) + 1
        self.accepted = taken
        self.beat += 1
        if self.beat == queue.beats:
            (self._turns if queue.in_turn else self._passes)()
            self.window, self.beat = self.window + 1, 0
        return taken

    def _passes(self) -> None:
        busiest = self.counts.sum(axis=1).max(axis=1)
        if self.fetch is None:
            # First pass: each bank works off its entries as they arrive, and all that follow without a gap at best.
            following = self.counts[:, ::-1].cumsum(axis=1)[:, ::-1]
            arrived = np.stack(self.arrived, axis=1)[:, :, None]
            self.free = np.where(self.counts > 0, arrived + 3 + following, 0).max(axis=(1, 2))
        ended = np.maximum(self.accepted + 2, self.free + 1)
        self.busy += busiest + 1
        for group in range(self.queue.passes):
            before = ended
            if self.fetch is None:
                if group:
                    ended = ended + 2 + busiest
                ended = np.maximum(ended, self.neurons.room_from)
                self.neurons.drain(ended + 1)
            elif isinstance(self.fetch, _SparseRows):
                ended = self.fetch.end(ended)
            else:
                if group:
                    last = [self.fetch.events(n, int(ended[n]) + 1, self.rows[self.active[n, self.window]])
                            for n in range(self.n)]
                    ended = np.maximum(ended + 2, np.array(last) + 2)
                ended, seen = self.fetch.end(ended, self.neurons.room_from)
                self.neurons.drain(seen)
            if group:
                self.busy += ended - before
        self.open_from = ended + 1
        self.end = ended

    def _turns(self) -> None:
        """Slots one after the other, each for all groups; then the ends of all groups."""
        queue, banks = self.queue, self.queue.banks
        arrived, total = np.stack(self.arrived, axis=1), self.counts.sum(axis=1)  # (N, beats); (N, banks)
        # When each bank's events are there, one after the other; never, behind the last.
        ready = np.full((self.n, banks, int(total.max(initial=0)) + 1), _NEVER)
        for n in range(self.n):
            for bank in range(banks):
                times = np.repeat(arrived[n], self.counts[n, :, bank]) + 3
                ready[n, bank, :len(times)] = times
        samples, lanes = np.arange(self.n)[:, None], np.arange(banks)[None, :]
        given = np.zeros((self.n, banks), np.int64)  # events
        last = np.full(self.n, -queue.passes)
        while True:
            there = ready[samples, lanes, given]
            first = there.min(axis=1)
            some = first < _NEVER
            if not some.any():
                break
            last = np.where(some, np.maximum(last + queue.passes, first), last)
            self.busy += np.where(some, queue.passes, 0)
            given += some[:, None] & (there <= last[:, None])
        ended = np.maximum(self.accepted + 2, last + queue.passes)
        for group in range(queue.passes):
            ended = np.maximum(ended + 2 if group else ended, self.neurons.room_from)
            self.neurons.drain(ended + 1)
        self.busy += queue.passes
        self.open_from = ended + 1
        self.end = ended


_NEVER = 1 << 60


def events_per_beat(queue: EventQueueConfig, active: Active) -> Cycles:
    """Events that each beat of a window puts into each bank: (N, beats, banks)."""
    n, beats, items = active.shape
    if queue.items >= queue.banks:
        counts: Cycles = active.reshape(n, beats, queue.positions, queue.banks).sum(axis=2, dtype=np.int64)
        return counts
    turn = np.arange(beats) % queue.interleave
    mine = np.arange(queue.banks) // items == turn[:, None]  # (beats, banks)
    counts = active[:, :, np.arange(queue.banks) % items].astype(np.int64) * mine
    return counts


def window_events(queue: WindowQueueConfig, active: Active) -> Callable[[int], Cycles]:
    """Of a map's ``active`` (N, beats, items), by row of tiles: the events of each run, (tiles, runs, N)."""
    cells = active.reshape(len(active), queue.height, queue.cells, -1).sum(axis=3, dtype=np.int64)
    lengths = np.concatenate([np.zeros_like(cells[:, :, :1]), cells.cumsum(axis=2)], axis=2)  # (N, row, boundary)
    begins = np.arange(queue.tiles) * queue.stride_columns - queue.padding
    ends = np.minimum(begins + queue.kernel_columns, queue.cells)
    by_tile = (lengths[..., ends] - lengths[..., np.maximum(begins, 0)]).transpose(2, 1, 0)

    def of(tile_row: int) -> Cycles:
        first = tile_row * queue.row_step - queue.top
        events = np.zeros((queue.tiles, queue.runs, len(active)), np.int64)
        rows = slice(max(first, 0), max(0, min(first + queue.runs, queue.height)))
        events[:, rows.start - first:rows.stop - first] = by_tile[:, rows]
        return events

    return of


class _WindowQueue:
    """:class:`.WindowQueue`: convolutions."""

    def __init__(self, queue: WindowQueueConfig, neurons: _Neurons, active: Active, fetch: _Fetch | None) -> None:
        self.queue, self.neurons, self.active, self.fetch = queue, neurons, active, fetch
        self.n = n = len(active)
        self.places = np.arange(n)
        self.accepted = np.full(n, -1, np.int64)
        self.end = np.full(n, -3, np.int64)
        self.busy = np.zeros(n, np.int64)
        self.open_from = np.zeros(n, np.int64)
        self.window = self.beat = 0
        self._open()

    def _open(self) -> None:
        self.tile_row = 0
        self.rows_complete: list[Cycles] = []
        self.tile_row_read: list[Cycles] = []
        self.looked_up = self.pushed = self.popped = np.full(self.n, -1, np.int64)
        self.row_free = self.open_from
        # When the last runs left the queue, by how many have gone through it: a ring per sample, and one row for none.
        self.ring = np.full((RUN_QUEUE_DEPTH + 1, self.n), -1, np.int64)
        self.queued = np.zeros(self.n, np.int64)

    def accept(self, offered: Cycles) -> Cycles:
        queue = self.queue
        if self.beat == 0:
            active = self.active[:, self.window]
            self.counts = np.maximum(-(-active.sum(axis=2, dtype=np.int64) // queue.writes), 1)
            self.events = window_events(queue, active)
        row, place = divmod(self.beat, queue.width * queue.cell_beats)
        if place == 0:
            # Rows of tiles that must have been read before this map row has a slot.
            needed = -(-(queue.top + row - queue.slots + 1) // queue.row_step)
            if needed > 0:
                self._read_until(needed)
                self.row_free = np.maximum(self.row_free, self.tile_row_read[needed - 1] + 1)
        taken: Cycles = np.maximum(np.maximum(offered, self.accepted + 1), self.row_free)
        taken = taken + self.counts[:, self.beat] - 1
        self.accepted = taken
        self.beat += 1
        if place == queue.width * queue.cell_beats - 1:
            self.rows_complete.append(taken)
        if self.beat == queue.beats:
            self._read_until(queue.tile_rows)
            self.open_from = self.tile_row_read[-1] + 2
            self.window, self.beat = self.window + 1, 0
            self._open()
        return taken

    def _read_until(self, tile_rows: int) -> None:
        while self.tile_row < tile_rows:
            self._read_row(self.tile_row)
            self.tile_row += 1

    def _read_row(self, tile_row: int) -> None:
        queue = self.queue
        first = tile_row * queue.row_step - queue.top
        last_row = queue.height if tile_row == queue.tile_rows - 1 else min(first + queue.runs, queue.height)
        self.looked_up = np.maximum(self.looked_up, self.rows_complete[last_row - 1] + 1)
        events = self.events(tile_row)
        windows = _windows_runs(events, queue.banks)
        alone, before = self._first_push(events[0] > 0), self.popped
        for index, window in enumerate(windows):
            for group in range(queue.groups):
                self._read_window(window)
                if index == group == 0:
                    began = np.maximum(np.where(alone < 0, self.pushed, alone), before) + 1
        self.busy += self.popped - began + 1
        self.tile_row_read.append(self.popped)

    def _first_push(self, some: npt.NDArray[np.bool_]) -> Cycles:
        """When the first run of a window that is not its last is queued; -1 if there is none."""
        slots, places = np.arange(len(some))[:, None], self.places
        first = some.argmax(axis=0)
        second = (some & (slots > first)).argmax(axis=0)
        at = np.maximum(self.looked_up + second + 1, self.pushed + second - first)
        return np.where(second > 0, np.maximum(at, self.ring[self.queued % RUN_QUEUE_DEPTH, places] + 1), -1)

    def _read_window(self, runs: _Runs) -> None:
        """Look up, queue and read the runs of a window.

        A run is looked up a cycle after the one before. It is queued when the next one that is not empty has been
        looked up, and there is room, which the run so many before it left. What waits for what came before is a running
        maximum, of times less what lies between them.
        """
        ring, places = self.ring, self.places
        at, popped = self.looked_up, self.popped
        for part in runs.parts:
            place = (self.queued + runs.queued[part]) % RUN_QUEUE_DEPTH
            times = np.maximum(self.pushed + runs.looked_up[part], ring[place, places] + runs.pushed[part])
            times[0] = np.maximum(times[0], at)
            times = np.maximum.accumulate(times)
            at = times[-1]
            if self.fetch is None:
                times = times + runs.read[part]
                times[0] = np.maximum(times[0], popped)
                times = np.maximum.accumulate(times)
                popped = times[-1]
                times = times + runs.slots[part]
            else:
                times = self._fetched_runs(times, popped, runs, part)
                popped = times[-1]
            ring[np.where(runs.pushes[part], place, RUN_QUEUE_DEPTH), places] = times
        self.popped = popped + runs.slots[-1] if self.fetch is None else popped
        at = at + len(runs.slots)
        self.queued = self.queued + runs.count
        # A run that came last is pushed on its own, one that turns out to be last by the one that tells.
        self.pushed = np.maximum(at + runs.untold, ring[self.queued % RUN_QUEUE_DEPTH, places] + 1)
        self.looked_up = np.where(runs.untold, at, self.pushed)
        self._read_last(runs.last)

    def _fetched_runs(self, times: Cycles, popped: Cycles, runs: _Runs, part: slice) -> Cycles:
        """When runs that are queued in ``times``, less a cycle for each before them, have been read."""
        left = np.empty_like(times)
        for place, slot in enumerate(range(len(runs.slots))[part]):
            groups = runs.groups[slot]
            if groups.any():
                start = np.maximum(times[place] + (slot + 1), popped) + 1
                popped = np.where(runs.pushes[slot], self._fetched(start, groups), popped)
            left[place] = popped
        return left

    def _read_last(self, groups: Cycles) -> None:
        """Read the run that ends a window."""
        start = np.maximum(self.pushed, self.popped) + 1
        if self.fetch is None:
            popped = np.maximum(np.maximum(start + np.maximum(groups - 1, 0), self.end + 3), self.neurons.room_from)
            self.neurons.drain(popped + 2)
        else:
            after = self._fetched(start, groups) + 1
            popped, seen = self.fetch.end(np.maximum(after, self.end + 3), self.neurons.room_from)
            self.neurons.drain(seen)
        self.end = self.popped = popped
        self.ring[self.queued % RUN_QUEUE_DEPTH, self.places] = popped
        self.queued = self.queued + 1

    def _fetched(self, start: Cycles, groups: Cycles) -> Cycles:
        assert self.fetch is not None
        return np.array([self.fetch.events(n, int(start[n]), range(int(groups[n]))) for n in range(self.n)])


@dataclass(frozen=True)
class _Runs:
    """Of a window's runs of N samples what does not depend on when they are read.

    Attributes
    ----------
    pushes : bool array (runs, N)
        With which of them one before it is queued: each but the first that is not empty.
    groups : int64 array (runs, N)
        Cycles that the run takes that is queued with it.
    queued : int64 array (runs, N)
        How many of the window have been queued before.
    looked_up, pushed, read : int64 array (runs, N)
        What is added to the time of a push of the window before, of the last run to leave its place, and of the
        push; :data:`_NEVER` less where that does not matter.
    slots : int64 array (runs, N)
        Cycles of groups up to this run.
    parts : tuple of slice
        Runs whose places in the queue were left by runs before them.
    last, untold, count : int64 array (N,)
        Cycles of the last run; whether it came last of all; pushes before it.
    """

    pushes: npt.NDArray[np.bool_]
    groups: Cycles
    queued: Cycles
    looked_up: Cycles
    pushed: Cycles
    read: Cycles
    slots: Cycles
    last: Cycles
    untold: Cycles
    count: Cycles
    parts: tuple[slice, ...]


def _windows_runs(events: Cycles, banks: int) -> list[_Runs]:
    """Of ``events`` (windows, runs, N)."""
    runs = events.shape[1]
    at = np.arange(runs)[None, :, None]
    some = events > 0
    latest = np.maximum.accumulate(np.where(some, at, -1), axis=1)
    pushes = np.zeros_like(some)
    pushes[:, 1:] = some[:, 1:] & (latest[:, :-1] >= 0)
    cycles = -(-events // banks)
    groups = np.zeros_like(cycles)
    groups[:, 1:] = np.where(pushes[:, 1:], np.take_along_axis(cycles, np.maximum(latest[:, :-1], 0), axis=1), 0)
    slots, queued = groups.cumsum(axis=1), pushes.cumsum(axis=1)
    never = np.where(pushes, 0, -_NEVER)
    looked_up, read = np.where(some | (at == runs - 1), 0, -_NEVER) - (at + 1), never + at + 1 - (slots - groups)
    last = np.take_along_axis(cycles, np.maximum(latest[:, -1:], 0), axis=1)[:, 0]
    untold = np.where((latest[:, -1] >= 0) & ~some[:, -1], 0, 1)
    parts = tuple(slice(k, k + RUN_QUEUE_DEPTH) for k in range(0, runs, RUN_QUEUE_DEPTH))
    return [_Runs(pushes[k], groups[k], queued[k] - pushes[k], looked_up[k], never[k] - at[0], read[k], slots[k],
                  last[k], untold[k], queued[k, -1], parts) for k in range(len(events))]


class _Fork:
    """:class:`.Fork`: a beat is done when all consumers have taken it."""

    def __init__(self, run_beats: int) -> None:
        self.sinks: list[_Sink] = []
        self.run_beats = run_beats
        self.beat = 0
        self.finished: list[Cycles] = []  # when the last beat of each run was taken

    def accept(self, offered: Cycles) -> Cycles:
        taken = self.sinks[0].accept(offered)
        for sink in self.sinks[1:]:
            taken = np.maximum(taken, sink.accept(offered))
        self.beat += 1
        if self.beat == self.run_beats:
            self.finished.append(taken)
            self.beat = 0
        return taken


class _Inputs:
    """:class:`.LayerInputs`: sources take turns."""

    def __init__(self, sources: Sequence[SourceConfig], sink: _Sink, samples: int) -> None:
        self.sources, self.sink = sources, sink
        self.ports = [_Port(source, self, samples) for source in sources]
        self.turn = self.beat = 0
        self.sending = False
        self.samples = samples

    def port(self, number: int) -> _Sink:
        """Where a source sends its beats."""
        source, port = self.sources[number], self.ports[number]
        return port if source.or_pool is None else _OrPool(source.or_pool, port, self.samples)

    def work(self) -> None:
        """Pass on all that waits and whose turn it is."""
        # What comes back while a beat is on its way waits until that is done.
        while not self.sending and (port := self.ports[self.turn]).waiting:
            port.left.append(self.send(port.waiting.popleft()))

    def send(self, offered: Cycles) -> Cycles:
        """A beat of the source whose turn it is."""
        self.sending = True
        taken = self.sink.accept(offered)
        self.sending = False
        self.beat += 1
        if self.beat == self.sources[self.turn].turn_beats:
            self.turn, self.beat = (self.turn + 1) % len(self.ports), 0
        return taken


class _Port:
    """A source's way to its turn: at once, or through a queue."""

    def __init__(self, source: SourceConfig, inputs: _Inputs, samples: int) -> None:
        self.source, self.inputs = source, inputs
        self.depth = source.buffer_beats
        self.waiting: deque[Cycles] = deque()
        if source.comes_back:
            assert source.delay is not None
            self.depth = source.delay.beats
            self.waiting.extend(np.zeros(samples, np.int64) for _ in range(self.depth))
        self.left: list[Cycles] = []
        self.accepted = 0
        self.took = np.full(samples, -1, np.int64)

    def accept(self, offered: Cycles) -> Cycles:
        if not self.depth:
            taken = self.inputs.send(offered)
            self.inputs.work()
            return taken
        taken = np.maximum(offered, self.took + 1)
        before = self.accepted - (0 if self.source.comes_back else self.depth)  # in whose place it comes
        # (Of a way back, the beat that is under way right now has left before anything comes of it.)
        if 0 <= before < len(self.left):
            taken = np.maximum(taken, self.left[before] + 1)
        self.accepted += 1
        self.took = taken
        self.waiting.append(taken + 1)
        self.inputs.work()
        return taken


class _OrPool:
    """:class:`.OrPool`: passes on the last beat of each window of positions."""

    def __init__(self, config: OrPoolConfig, sink: _Sink, samples: int) -> None:
        self.config, self.sink = config, sink
        self.accepted = np.full(samples, -1, np.int64)
        self.beat = 0

    def accept(self, offered: Cycles) -> Cycles:
        place = self.beat // self.config.cell_beats
        y, x = divmod(place, self.config.width)
        size = self.config.size
        offered = np.maximum(offered, self.accepted + 1)
        self.accepted = self.sink.accept(offered) if y % size == x % size == size - 1 else offered
        self.beat += 1
        return self.accepted


class _Encoder:
    """:class:`.Encoder`: a sample's beats, in all windows."""

    def __init__(self, config: EncoderConfig, sink: _Sink, samples: int) -> None:
        self.config, self.sink = config, sink
        self.took = np.full(samples, -1, np.int64)
        self.left: deque[Cycles] = deque(maxlen=config.queue_depth)
        self.beat = 0

    def accept(self, offered: Cycles) -> Cycles:
        self._take(offered)
        taken = self.took
        self.beat += 1
        if self.beat == self.config.beats:
            self.beat = 0
            for _ in range(self.config.beats * (self.config.windows - 1)):
                self._take(self.took)
        return taken

    def _take(self, offered: Cycles) -> None:
        take = np.maximum(offered, self.took + 1)
        if len(self.left) == self.config.queue_depth:
            take = np.maximum(take, self.left[0] + 1)
        self.took = take
        offer = take + self.config.latency_cycles
        if self.left:
            offer = np.maximum(offer, self.left[-1] + 1)
        self.left.append(self.sink.accept(offer))


class _Raster:
    """The output's beats as the result: taken at once, the last of a run when ``late`` streams are through too."""

    def __init__(self, window_beats: int, run_windows: int, late: Sequence[_Fork], samples: int) -> None:
        self.window_beats, self.run_windows, self.late = window_beats, run_windows, late
        self.took = np.full(samples, -1, np.int64)
        self.windows: list[Cycles] = []  # when the last beat of each could have been handed over
        self.beat = 0

    def accept(self, offered: Cycles) -> Cycles:
        run, begun = divmod(len(self.windows), self.run_windows)
        if self.beat == begun == 0 and run:
            self.took = self.result(run - 1)
        self.took = np.maximum(offered, self.took + 1)
        self.beat += 1
        if self.beat == self.window_beats:
            self.windows.append(self.took)
            self.beat = 0
        return self.took

    def result(self, run: int) -> Cycles:
        """When the last beat of a run is handed over."""
        last = self.windows[(run + 1) * self.run_windows - 1]
        out: Cycles = np.maximum.reduce([last, *(stream.finished[run] + 1 for stream in self.late)])
        return out


class _Readout:
    """:class:`.Readout`; the class waits until ``late`` streams have given all beats of the run too."""

    def __init__(self, config: ReadoutConfig, late: Sequence[_Fork], samples: int) -> None:
        self.config, self.late = config, late
        self.read_until = np.full(samples, -1, np.int64)
        self.open_from = np.full(samples, -1, np.int64)
        self.windows: list[Cycles] = []  # when the class could have been handed over after each window
        self.beat = 0

    def result(self, run: int) -> Cycles:
        """When the class of a run is handed over."""
        last = self.windows[(run + 1) * self.config.windows - 1]
        out: Cycles = np.maximum.reduce([last, *(stream.finished[run] + 1 for stream in self.late)])
        return out

    def accept(self, offered: Cycles) -> Cycles:
        config = self.config
        run, begun = divmod(len(self.windows), config.windows)
        if self.beat == begun == 0 and run:
            self.open_from = self.result(run - 1) + 1
        start = np.maximum(np.maximum(offered, self.read_until + 1), self.open_from)
        self.read_until = start + (config.units - 1)
        self.beat += 1
        if self.beat == config.groups * config.group_beats:
            self.windows.append(self.read_until + 2)
            self.beat = 0
        return self.read_until


def _firing(plan: Plan, spikes: Sequence[npt.NDArray[np.bool_]]) -> dict[int, Cycles]:
    """By layer, as far as only neurons that spike are updated: how many these are in each beat, (N, beats)."""
    firing = {}
    for index, layer in enumerate(plan.layers):
        if layer.neurons.spiking_only:
            neurons = plan.channels[index + 1].index
            ever: Active = np.any(spikes[index], axis=1)
            firing[index] = np.where(neurons >= 0, ever[:, neurons], False).sum(axis=2, dtype=np.int64)
    return firing


def _replay(plan: Plan, activity: Sequence[Active], firing: Mapping[int, Cycles], runs: int, memory: MemoryTiming,
            exit_windows: Cycles | None = None) -> CycleCounts:
    """Push all beats. ``activity`` and ``firing`` have ``runs`` samples' windows in a row; N runs side by side.

    What follows the window with which a run ends early or by a mark changes nothing before it: such a run is replayed
    to its end, and looked at where it ended.
    """
    n = len(activity[0])
    network = plan.network
    streams = [_Fork(order.beats * plan.windows) for order in plan.channels]
    late = [streams[k + 1] for k in network.late_layers]
    output = plan.channels[network.output_index + 1]
    readout = (_Raster(output.beats, plan.windows, late, n) if plan.readout is None
               else _Readout(plan.readout, late, n))
    queues: list[_EventQueue | _WindowQueue] = []
    events: list[Cycles] = []
    useful: list[Cycles] = []
    additions: list[Cycles] = []
    inputs: list[_Inputs] = []
    static: list[_Neurons] = []
    for index, (config, layer) in enumerate(zip(plan.layers, network.layers, strict=True)):
        active = activity[index]
        neurons = _Neurons(config, streams[index + 1], n, firing.get(index))
        if config.replay is not None:
            static.append(neurons)
        queue = config.synapse.queue
        fetch = None if config.fetch is None else _Fetch(config.fetch, queue, memory, n)
        sparse = None
        if config.sparse is not None:
            sparse = _SparseRows(config.sparse, plan.row_counts(index)[0], neurons, n)
        queues.append(_WindowQueue(queue, neurons, active, fetch) if isinstance(queue, WindowQueueConfig)
                      else _EventQueue(queue, neurons, active, sparse or fetch))
        inputs.append(_Inputs(config.sources, queues[-1], n))
        events.append(active.sum(axis=(1, 2, 3), dtype=np.int64))
        read, met = rows_read(queue, active)
        channels = layer.connection.channels
        if isinstance(layer.connection, Conv2d):
            channels //= layer.connection.geometry.groups
        if config.sparse is not None:
            channels = 1
            read, met = (counts_met(plan, index, active, counts) for counts in plan.row_counts(index))
        additions.append(read * config.synapse.lanes)
        useful.append(met * channels)
    # What leads to the first turn of a layer comes before what waits for it.
    for index, layer in enumerate(network.layers):
        for number, from_where in enumerate(layer.sources):
            streams[from_where.index].sinks.append(inputs[index].port(number))
    streams[network.output_index + 1].sinks.append(readout)

    source: _Sink = streams[0] if plan.encoder is None else _Encoder(plan.encoder, streams[0], n)
    sent: list[Cycles] = []
    windows = int(exit_windows.max()) + 1 if network.marked and exit_windows is not None else plan.input_windows
    for _ in range(runs):
        for _ in range(windows * plan.channels[0].beats):
            sent.append(source.accept(sent[-1] + 1 if sent else np.zeros(n, np.int64)))  # the next beat is always ready
        for _ in range(plan.windows - 1 if static else 0):  # window by window, as they meet
            for neurons in static:
                neurons.replay()
    first, left = sent[0], np.zeros(n, np.int64)
    if exit_windows is not None:
        ended = np.stack(readout.windows, axis=1)[np.arange(n), exit_windows]
        if network.readout.early_exit:
            left = (np.stack(sent, axis=1) >= ended[:, None]).sum(axis=1)  # not taken before the reset
        results = [ended + _holds_result(plan) - first]
    else:
        results = [readout.result(run) - first for run in range(runs)]
    return CycleCounts(
        latency=results[0] if runs == 1 else np.concatenate(results),
        layer_end=np.stack([q.end - first for q in queues], axis=1), events=np.stack(events, axis=1),
        additions=np.stack(additions, axis=1), useful_additions=np.stack(useful, axis=1),
        busy=np.stack([q.busy for q in queues], axis=1), waited=first, left=left)


def counts_met(plan: Plan, index: int, active: Active, counts: IntArray) -> Cycles:
    """Sum of ``counts`` of the rows of a dense layer's ``active`` inputs (N, windows, beats, items): (N,)."""
    total: Cycles = np.einsum("nwbi,bi->n", active, counts[_rows(plan.layers[index].synapse.queue, active)],
                              dtype=np.int64, casting="unsafe")
    return total


def _rows(queue: EventQueueConfig | WindowQueueConfig, active: Active) -> npt.NDArray[np.int64]:
    """The row of each input: (beats, items)."""
    assert isinstance(queue, EventQueueConfig)
    return np.array([[queue.locate(beat, item)[1] for item in range(active.shape[3])]
                     for beat in range(active.shape[2])])


def rows_read(queue: EventQueueConfig | WindowQueueConfig, active: Active) -> tuple[Cycles, Cycles]:
    """Per sample: events times passes that read them; events times output positions that they have synapses to."""
    total: Cycles = active.sum(axis=(1, 2, 3), dtype=np.int64)
    if isinstance(queue, EventQueueConfig):
        return total * queue.passes, total
    cells = active.reshape(*active.shape[:2], queue.height // queue.pool, queue.pool, queue.cells, -1)
    maps = cells.sum(axis=(1, 3, 5), dtype=np.int64)  # (N, cell row, cell)
    tile = queue.stride_columns // queue.stride_rows
    kernel = queue.kernel_columns - (tile - 1) * queue.stride_rows

    def seen(size: int, step: int, count: int, cells: int) -> Cycles:
        """How many of ``count`` windows of ``size`` cells, ``step`` apart, see each cell."""
        first = np.arange(count)[:, None] * step - queue.padding
        at = np.arange(cells)
        windows: Cycles = ((at >= first) & (at < first + size)).sum(axis=0)
        return windows

    rows = seen(queue.kernel_rows, queue.stride_rows, queue.tile_rows, maps.shape[1])
    wide = seen(queue.kernel_columns, queue.stride_columns, queue.tiles, queue.cells)
    single = seen(kernel, queue.stride_rows, queue.tiles * tile, queue.cells)
    read: Cycles = np.einsum("nyx,y,x->n", maps, rows, wide) * queue.groups
    met: Cycles = np.einsum("nyx,y,x->n", maps, rows, single)
    return read, met
