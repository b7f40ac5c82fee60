"""Samples as the beats of the input stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.model.network import Network, SpikeInput
from spikeloom.model.samples import checked_samples, run_lengths

from .channels import Channels

__all__ = ["pack_samples", "packets_of"]


def pack_samples(network: Network, order: Channels, window_steps: int,
                 samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Beats of shape (samples, beats per sample, bytes per beat), most significant byte first.

    Items come in ``order``. Values: an item is a value. Spike input: it is a mask whose bit ``w`` is that
    input's spike in step ``window * window_steps + w``. If the end of a run is marked, its last beat has one more bit
    set, above the items; beats behind it are not sent.

    Raises
    ------
    SpikeloomError
        If the samples are not what the network takes.
    """
    x, lengths = checked_samples(network, samples), run_lengths(network, samples)
    n, size = len(x), network.input.size
    if not isinstance(network.input, SpikeInput):  # (n, windows, bits of a mask, inputs)
        bit = np.arange(network.input.bits, dtype=np.uint8)[:, None]
        masks: npt.NDArray[Any] = (x[:, None, None, :] >> bit) & np.uint8(1)
    else:
        windows = -(-network.steps // window_steps)
        masks = np.zeros((n, windows * window_steps, size), np.uint8)
        masks[:, :network.steps] = x
        masks = masks.reshape(n, windows, window_steps, size)
    items = order.to_beats(masks)  # (n, windows, bits of a mask, beats, items)
    moved = np.moveaxis(items, 2, -1)
    bits = moved.reshape(n, -1, moved.shape[-2] * moved.shape[-1])
    if network.marked:
        ends = np.zeros((n, bits.shape[1], 1), bits.dtype)
        ends[np.arange(n), lengths * order.beats - 1] = 1
        bits = np.concatenate([bits, ends], axis=2)
    packed: npt.NDArray[np.uint8] = np.packbits(bits, axis=-1, bitorder="little")
    return packed[..., ::-1]


def packets_of(network: Network, order: Channels, window_steps: int, samples: npt.NDArray[Any]) -> list[bytes]:
    """Each sample as a packet: its beats in whole bytes, least significant first; a packet's end is that of its run.

    Raises
    ------
    SpikeloomError
        As :func:`pack_samples`.
    """
    beats = pack_samples(network, order, window_steps, samples)[..., ::-1].copy()
    bits = order.units * (window_steps if isinstance(network.input, SpikeInput) else network.input.bits)
    if network.marked:
        beats = beats[..., :-(-bits // 8)]
        if bits % 8:
            beats[..., -1] &= (1 << bits % 8) - 1
    lengths = run_lengths(network, samples) * order.beats if network.marked else [beats.shape[1]] * len(beats)
    return [packet[:length].tobytes() for packet, length in zip(beats, lengths, strict=True)]
