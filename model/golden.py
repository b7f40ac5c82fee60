"""The golden model: the integer definition in NumPy, vectorised over samples.

It decides what is right. What it shares with the hardware are the description, and in it the neurons' programs; these
are held against independent implementations by tests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from .bounds import layer_bounds
from .errors import SpikeloomError
from .geometry import as_map
from .network import Dense, IntArray, Layer, Network, Readout, StaticInput
from .neurons.arrays import Population
from .system.arguments import array
from .system.processes import cores

__all__ = ["GoldenResult", "batches", "encode_input", "run"]

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
    potentials : int64 array (N, classes)
        Membrane potentials of the output neurons in the last step, before their reset, in state LSB.
    classes : int64 array (N,)
        Highest score; on ties as the network's readout says.
    """

    spikes: list[Bits]
    scores: npt.NDArray[np.int64]
    potentials: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]


def encode_input(network: Network, samples: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Samples as the network takes them, flattened.

    Static input: uint8 images (N, *shape) become values ``p >> (8 - bits)`` of shape (N, size).
    Spike input: 0/1 arrays (N, T, *shape) become (N, T, size).

    Raises
    ------
    SpikeloomError
        If the samples have another type, shape or, for spikes, other values than 0 and 1.
    """
    raw = array(samples, f"network {network.name}: samples")
    inp = network.input
    if raw.dtype not in (np.uint8, np.bool_):
        raise SpikeloomError(f"network {network.name}: samples must be uint8, not {raw.dtype}")
    if isinstance(inp, StaticInput):
        if raw.ndim < 2 or raw.dtype != np.uint8 or int(np.prod(raw.shape[1:])) != inp.size:
            raise SpikeloomError(f"network {network.name}: a sample must be uint8 of shape {inp.shape}, "
                                 f"not {raw.dtype} of shape {raw.shape[1:]}")
        return raw.reshape(len(raw), inp.size) >> np.uint8(8 - inp.bits)
    want = (network.steps, inp.size)
    if raw.ndim < 3 or (raw.shape[1], int(np.prod(raw.shape[2:]))) != want:
        raise SpikeloomError(f"network {network.name}: a sample must be spikes of shape "
                             f"{(network.steps, *inp.shape)} (steps first), not {raw.shape[1:]}")
    if raw.size and raw.max() > 1:
        raise SpikeloomError(f"network {network.name}: spikes must be 0 or 1, not {raw.max()}")
    return raw.reshape(len(raw), *want).astype(np.uint8)


def run(network: Network, samples: npt.ArrayLike) -> GoldenResult:
    """Run the network on samples (see :func:`encode_input` for their form), bit-exactly.

    Memory grows with the samples: use :func:`batches` for whole test sets.
    """
    x = encode_input(network, samples)
    spikes: list[Bits] = []
    signal: npt.NDArray[Any] = x
    for index, layer in enumerate(network.layers):
        drive = _synapses(network, index, signal)
        signal, membrane = _neurons(layer, layer_state_dtype(network, index), drive, network.steps)
        spikes.append(signal)
    weights = np.asarray(network.readout.step_weights, np.int64)
    scores = np.einsum("ntc,t->nc", spikes[-1].astype(np.int64), weights)
    potentials = membrane.astype(np.int64)
    return GoldenResult(spikes, scores, potentials, _classes(network.readout, scores, potentials))


def _classes(readout: Readout, scores: npt.NDArray[np.int64],
             potentials: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The class of each sample; argmax takes the lowest index of equals."""
    rank = scores
    if readout.ties == "membrane":
        highest = scores == scores.max(axis=1, keepdims=True)
        rank = np.where(highest, potentials, np.iinfo(np.int64).min)
    classes: npt.NDArray[np.int64] = np.argmax(rank, axis=1)
    return classes


def batches(network: Network, samples: npt.NDArray[Any], batch: int = 40,
            progress: Callable[[int], None] | None = None) -> Iterator[GoldenResult]:
    """Run in batches, as many at a time as there are cores; ``progress`` is told the number of samples done in each.

    Batches of some tens of samples are fastest: what a layer works on stays in the caches.
    """
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


def _synapses(network: Network, index: int, signal: npt.NDArray[Any]) -> IntArray:
    """Weighted sums plus bias: (N, outputs) for a static input, else (N, T, outputs).

    A float product is exact while every partial sum stays below 2**24 (float32) or 2**53 (float64).
    """
    layer = network.layers[index]
    connection, pool = layer.connection, layer.pool
    inp = network.input
    value = (1 << inp.bits) - 1 if index == 0 and isinstance(inp, StaticInput) else 1
    if pool is not None:
        signal = pool(signal.reshape(*signal.shape[:-1], *as_map(network.input_shape(index))))
        signal = signal.reshape(*signal.shape[:-3], -1)
        value *= pool.largest
    weight = connection.weight
    largest = int(np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1).max()) * value
    exact: type[np.floating[Any]] = np.float32 if largest < 1 << 24 else np.float64
    flat = signal.reshape(-1, connection.inputs).astype(exact)
    if isinstance(connection, Dense):
        total = flat @ weight.T.astype(exact)
    else:
        total = connection.geometry.correlate(flat.reshape(-1, *connection.geometry.input_shape),
                                              weight.astype(exact))
    dtype = layer_state_dtype(network, index)
    out: IntArray = total.reshape(*signal.shape[:-1], connection.outputs).astype(dtype)
    if connection.bias is not None:
        out += layer.biases.astype(dtype)
    return out


def _neurons(layer: Layer, dtype: type[np.signedinteger[Any]], drive: IntArray,
             steps: int) -> tuple[Bits, IntArray]:
    """Spike trains (N, T, outputs) of one population, and its membrane potentials (N, outputs) before the last reset.

    ``drive`` is (N, outputs) or (N, T, outputs).
    """
    shape = (drive.shape[0], drive.shape[-1])
    population = Population(layer.neuron.program, shape, dtype, layer.constants,
                            constant_sum=drive.ndim == 2)
    spikes = np.empty((shape[0], steps, shape[1]), np.bool_)
    for t in range(steps):
        potential = population.step(drive if drive.ndim == 2 else drive[:, t], spikes[:, t], last=t == steps - 1)
    assert potential is not None
    return spikes, potential
