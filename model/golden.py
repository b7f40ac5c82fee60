"""The golden model: the integer definition in NumPy, vectorised over samples.

It decides what is right. What it shares with the hardware are the description, and in it the neurons' programs; these
are held against independent implementations by tests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from .bounds import layer_bounds
from .geometry import as_map
from .network import Dense, IntArray, Layer, Network
from .neurons.arrays import Population
from .samples import as_run, as_samples, encoded
from .system.processes import cores

__all__ = ["GoldenResult", "batches", "presynaptic", "run", "synaptic_inputs"]

Bits = npt.NDArray[np.bool_]

@dataclass(frozen=True)
class GoldenResult:
    """What the network does with N samples.

    Attributes
    ----------
    spikes : list of bool arrays (N, T, outputs)
        Spike trains of every layer.
    scores : int64 array (N, classes)
        Readout scores.
    potentials : int64 array (N, outputs)
        Membrane potentials of the output neurons in the last step, before their reset, in state LSB.
    classes : int64 array (N,)
        Highest score; on ties as the network's readout says.
    last_steps : int64 array (N,)
        The step with which each run ends; the spikes of later ones, on which nothing depends, are those that would
        come.
    """

    spikes: list[Bits]
    scores: npt.NDArray[np.int64]
    potentials: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]
    last_steps: npt.NDArray[np.int64]


def run(network: Network, samples: npt.ArrayLike) -> GoldenResult:
    """Run the network on samples (see :func:`.checked_samples` for their form), bit-exactly.

    Of a network that keeps its state, the samples are pieces of one stream, which begins with the first.

    Memory grows with the samples: use :func:`batches` for whole test sets.
    """
    x, lengths = encoded(network, samples)
    count, steps = len(x), int(lengths.max(initial=1)) if network.marked else network.steps
    if network.endless:  # all samples are one run
        count, steps = min(1, len(x)), int(lengths.sum())
        x = x if network.static else as_run(x, lengths)
    elif not network.static:
        x = x[:, :steps]
    signals: list[npt.NDArray[Any]] = [x]
    for loop in loops(network):
        work = [_Work(network, index, count, steps, lengths) for index in loop]
        if len(loop) == 1 and all(s.index <= loop.start for s in network.layers[loop.start].sources):
            work[0].run(presynaptic(network.layers[loop.start], signals, steps))
            signals.append(work[0].spikes)
        else:
            signals += [w.spikes for w in work]
            for t in range(steps):
                for w in work:
                    w.run(presynaptic(w.layer, signals, steps, t), t)
        if network.output_index in loop:
            output = work[network.output_index - loop.start]
    spikes = [_of_samples(network, signal, lengths) for signal in signals[1:]]
    scores, classes = _classes(network, spikes[network.output_index], output.potentials)
    return GoldenResult(spikes, scores, output.potentials, classes, output.last_steps)


def _of_samples(network: Network, signal: Bits, lengths: npt.NDArray[np.int64]) -> Bits:
    """Spikes of all runs, (N, T, neurons)."""
    if network.endless:
        return as_samples(signal, lengths, network.steps)
    if network.marked:
        signal &= (np.arange(signal.shape[1]) < lengths[:, None])[:, :, None]
        return np.pad(signal, ((0, 0), (0, network.steps - signal.shape[1]), (0, 0)))
    return signal


def loops(network: Network) -> list[range]:
    """The layers in order, those that must be worked on together, step by step, in one range."""
    last = [max([k, *(source.index - 1 for source in layer.sources)]) for k, layer in enumerate(network.layers)]
    out: list[range] = []
    start = 0
    while start < len(last):
        stop, k = start, start
        while k <= stop:
            stop, k = max(stop, last[k]), k + 1
        out.append(range(start, stop + 1))
        start = stop + 1
    return out


def presynaptic(layer: Layer, signals: Sequence[npt.NDArray[Any]], steps: int,
                step: int | None = None) -> npt.NDArray[Any]:
    """What a layer's synapses see: (N, T, inputs), or (N, 1, inputs) of one ``step``; of a static input (N, inputs).

    ``signals`` are those of the input and of all layers. Sources are delayed, OR-pooled and concatenated.
    """
    if layer.static:
        return signals[0]
    parts = []
    for source in layer.sources:
        signal = signals[source.index]
        if step is not None:
            at = step - source.delay
            part = signal[:, at:at + 1] if at >= 0 else np.zeros_like(signal[:, :1])
        elif source.delay:
            part = np.concatenate([np.zeros_like(signal[:, :1]), signal[:, :steps - 1]], axis=1)
        else:
            part = signal
        if source.or_pool is not None:
            part = source.or_pool(part.reshape(*part.shape[:2], *as_map(source.shape)))
        parts.append(part.reshape(*part.shape[:2], int(np.prod(source.pooled_shape))))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)  # maps: channels come first


def _classes(network: Network, out: Bits, potentials: npt.NDArray[np.int64],
             ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Scores (N, classes), and the class of each sample; argmax takes the lowest index of equals."""
    readout = network.readout
    if readout.kind == "raster":
        return np.zeros((len(out), 1), np.int64), np.zeros(len(out), np.int64)
    if readout.kind == "first_spike":
        scores = np.where(out.any(axis=1), network.steps - out.argmax(axis=1), 0)
    elif readout.counts_spikes:
        scores = np.einsum("ntc,t->nc", out.astype(np.int64), np.asarray(network.step_weights, np.int64))
    else:
        scores = potentials
    rank = scores
    if readout.ties == "membrane":
        highest = scores == scores.max(axis=1, keepdims=True)
        rank = np.where(highest, potentials, np.iinfo(np.int64).min)
    classes: npt.NDArray[np.int64] = np.argmax(rank, axis=1)
    return scores, classes


def batches(network: Network, samples: npt.NDArray[Any], batch: int = 40,
            progress: Callable[[int], None] | None = None) -> Iterator[GoldenResult]:
    """Run in batches, as many at a time as there are cores; ``progress`` is told the number of samples done in each.

    Batches of some tens of samples are fastest: what a layer works on stays in the caches.
    """
    if network.endless:
        result = run(network, samples)
        if progress is not None:
            progress(len(result.classes))
        yield result
        return
    # NumPy lets go of the interpreter while it computes, so that threads use all cores; threads that the linear
    # algebra library starts besides would only fight with them.
    threads = cores()
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[GoldenResult]] = deque()
        for start in range(0, len(samples), batch):
            pending.append(pool.submit(run, network, samples[start:start + batch]))
            if len(pending) > threads:
                yield _done(pending, progress)
        while pending:
            yield _done(pending, progress)


def _done(pending: deque[Future[GoldenResult]], progress: Callable[[int], None] | None) -> GoldenResult:
    result = pending.popleft().result()
    if progress is not None:
        progress(len(result.classes))
    return result


def layer_state_dtype(network: Network, index: int) -> type[np.signedinteger[Any]]:
    """int32 if every operation's proved bounds fit in it, else int64."""
    return np.int32 if layer_bounds(network, index).widest_bits <= 32 else np.int64


def synaptic_inputs(network: Network, layer: Layer, signals: Sequence[npt.NDArray[Any]],
                    lengths: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """What a layer's synapses see of each sample: :func:`presynaptic`, of an endless stream across samples.

    ``lengths`` are the :func:`.run_lengths`.
    """
    if layer.static or not network.endless:
        return presynaptic(layer, signals, network.steps)
    one = [as_run(signal, lengths) if signal.ndim == 3 else signal for signal in signals]
    return as_samples(presynaptic(layer, one, one[-1].shape[1]), lengths, network.steps)


class _Work:
    """A layer at work on N samples: synapses and neurons."""

    def __init__(self, network: Network, index: int, count: int, steps: int, lengths: npt.NDArray[np.int64]) -> None:
        self.layer = layer = network.layers[index]
        self.steps, self.lengths = steps, lengths
        # Of each step of an endless run.
        self.piece = np.repeat(np.arange(len(lengths)), lengths) if network.endless else None
        self.dtype = layer_state_dtype(network, index)
        self.spikes = np.zeros((count, steps, layer.outputs), np.bool_)
        self.potentials = np.zeros((len(lengths), layer.outputs), np.int64)
        self.exits = network.readout.early_exit and index == network.output_index
        self.last_steps = lengths - 1
        self.running = np.ones(count, np.bool_)
        # A float product is exact while every partial sum stays below 2**24 (float32) or 2**53 (float64).
        weight = layer.connection.weight
        value = ((1 << network.planes(index)) - 1 if layer.static else 1) * (layer.sum_pool.largest if layer.sum_pool
                                                                             else 1)
        largest = int(np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1).max()) * value
        self.exact: type[np.floating[Any]] = np.float32 if largest < 1 << 24 else np.float64
        self.weight = weight.astype(self.exact)
        self.biases = None if layer.connection.bias is None else layer.biases.astype(self.dtype)
        self.population = Population(layer.program, (count, layer.outputs), self.dtype, layer.constants,
                                     constant_sum=layer.static and not network.endless, every_potential=(
                                         (self.exits or network.endless or network.marked)
                                         and layer.program.gives_potential))

    def run(self, signal: npt.NDArray[Any], step: int | None = None) -> None:
        """All steps, or one."""
        drive = self.sums(signal)
        for t in range(self.steps) if step is None else (step,):
            if drive.ndim == 2:
                now = drive if self.piece is None else drive[self.piece[t]][None]
            else:
                now = drive[:, t if step is None else 0]
            potential = self.population.step(now, self.spikes[:, t], last=t == self.steps - 1)
            if potential is not None and self.piece is not None:
                self.potentials[self.piece[t]] = potential[0]
            elif potential is not None:
                self.potentials[self.running] = potential[self.running]
            if self.exits:
                ends = self.running & self.spikes[:, t].any(axis=1)
                self.last_steps[ends] = t
                self.running &= ~ends
            if self.piece is None:
                self.running &= t + 1 < self.lengths

    def sums(self, signal: npt.NDArray[Any]) -> IntArray:
        """Weighted sums plus bias: (N, outputs) for a static input, else (N, T, outputs)."""
        layer, connection, pool = self.layer, self.layer.connection, self.layer.sum_pool
        if pool is not None:
            channels = (sum(as_map(s.shape)[0] for s in layer.sources), *as_map(layer.sources[0].pooled_shape)[1:])
            signal = pool(signal.reshape(*signal.shape[:-1], *channels))
            signal = signal.reshape(*signal.shape[:-3], -1)
        flat = signal.reshape(-1, connection.inputs).astype(self.exact)
        if isinstance(connection, Dense):
            total = flat @ self.weight.T
        else:
            total = connection.geometry.correlate(flat.reshape(-1, *connection.geometry.input_shape), self.weight)
        out: IntArray = total.reshape(*signal.shape[:-1], connection.outputs).astype(self.dtype)
        if self.biases is not None:
            out += self.biases
        return out
