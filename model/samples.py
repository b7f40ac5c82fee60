"""Samples: what a network is given, as arrays, and how long each run is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import SpikeloomError
from .inputs import CodedInput, SpikeInput
from .network import Network
from .system.arguments import array, whole

__all__ = ["NO_STEP", "as_run", "as_samples", "checked_samples", "encode_input", "encoded", "of_lengths",
           "run_lengths"]

#: In all channels of a step: the run has ended before it.
NO_STEP = 255


def of_lengths(runs: Sequence[npt.ArrayLike], steps: int) -> npt.NDArray[np.uint8]:
    """Runs of spikes, each (its steps, *shape), as samples (N, ``steps``, *shape) with :data:`NO_STEP` behind them.

    Raises
    ------
    SpikeloomError
        If a run has no step or more than ``steps``, or another shape than the first.
    """
    whole(steps, "steps", 1, None)
    arrays = [array(run, f"runs[{k}]") for k, run in enumerate(runs)]
    if not arrays:
        raise SpikeloomError("runs must not be empty")
    for k, run in enumerate(arrays):
        if run.ndim < 2 or not 1 <= len(run) <= steps or run.shape[1:] != arrays[0].shape[1:]:
            raise SpikeloomError(f"runs[{k}] must be spikes of shape (1..{steps}, "
                                 f"{', '.join(map(str, arrays[0].shape[1:]))}), not {run.shape}")
    out = np.full((len(arrays), steps, *arrays[0].shape[1:]), NO_STEP, np.uint8)
    for sample, run in zip(out, arrays, strict=True):
        sample[:len(run)] = run
    return out


def checked_samples(network: Network, samples: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Samples as they travel to the network, flattened.

    Values: uint8 images (N, *shape) become ``p >> (8 - bits)`` of shape (N, size).
    Spikes: 0/1 arrays (N, T, *shape) become (N, T, size), with zeros in steps that a run does not have.

    Raises
    ------
    SpikeloomError
        If the samples have another type, shape or, for spikes, other values than 0 and 1 (and :data:`NO_STEP` behind
        the end of a run whose end is marked).
    """
    return _checked(network, samples)[0]


def run_lengths(network: Network, samples: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Steps of each sample's run, (N,): T, or as many as come before the first :data:`NO_STEP`.

    Errors as :func:`checked_samples`.
    """
    return _checked(network, samples)[1]


def encode_input(network: Network, samples: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """What the network sees: values (N, size) of a static input, else spikes (N, T, size).

    Errors as :func:`checked_samples`.
    """
    return encoded(network, samples)[0]


def encoded(network: Network, samples: npt.ArrayLike) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """:func:`encode_input` and :func:`run_lengths`, from one look at the samples."""
    given, lengths = _checked(network, samples)
    if isinstance(network.input, CodedInput):
        given = network.input.spikes(given, network.steps, as_maps=network.reads_map)
    return given, lengths


def _checked(network: Network, samples: npt.ArrayLike) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    where = f"network {network.name}"
    raw = array(samples, f"{where}: samples")
    inp = network.input
    if raw.dtype not in (np.uint8, np.bool_):
        raise SpikeloomError(f"{where}: samples must be uint8, not {raw.dtype}")
    if not isinstance(inp, SpikeInput):
        if raw.ndim < 2 or raw.dtype != np.uint8 or int(np.prod(raw.shape[1:])) != inp.size:
            raise SpikeloomError(f"{where}: a sample must be uint8 of shape {inp.shape}, not {raw.dtype} of shape "
                                 f"{raw.shape[1:]}")
        return raw.reshape(len(raw), inp.size) >> np.uint8(8 - inp.bits), np.full(len(raw), network.steps)
    want = (network.steps, inp.size)
    if raw.ndim < 3 or (raw.shape[1], int(np.prod(raw.shape[2:]))) != want:
        raise SpikeloomError(f"{where}: a sample must be spikes of shape {(network.steps, *inp.shape)} (steps first), "
                             f"not {raw.shape[1:]}")
    flat = raw.reshape(len(raw), *want).astype(np.uint8)
    lengths = np.full(len(raw), network.steps)
    if network.marked:
        missing = flat[:, :, 0] == NO_STEP
        lengths = (~missing).sum(axis=1)
        behind = np.arange(network.steps) >= lengths[:, None]
        if ((flat == NO_STEP) != behind[:, :, None]).any() or (lengths == 0).any():
            raise SpikeloomError(f"{where}: {NO_STEP} must fill all steps behind the end of a run, which has one step "
                                 "at least, and stand nowhere else")
        flat[behind] = 0
    if flat.size and flat.max() > 1:
        raise SpikeloomError(f"{where}: spikes must be 0 or 1, not {flat.max()}")
    return flat, lengths


def as_run(signal: npt.NDArray[Any], lengths: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Spikes (N, T, neurons) of pieces of a stream as those of one run, (1, steps of all, neurons)."""
    return signal[np.arange(signal.shape[1]) < lengths[:, None]][None]


def as_samples(signal: npt.NDArray[Any], lengths: npt.NDArray[np.int64], steps: int) -> npt.NDArray[Any]:
    """The other way round, with zeros behind the end of each piece."""
    out = np.zeros((len(lengths), steps, signal.shape[2]), signal.dtype)
    out[np.arange(steps) < lengths[:, None]] = signal[0]
    return out
