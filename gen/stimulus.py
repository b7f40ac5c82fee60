"""Samples as the beats of the input stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.model.golden import checked_samples
from spikeloom.model.network import Network, SpikeInput

from .channels import Channels

__all__ = ["pack_samples"]


def pack_samples(network: Network, order: Channels, window_steps: int,
                 samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Beats of shape (samples, beats per sample, bytes per beat), most significant byte first.

    Items come in ``order``. Values: an item is a value. Spike input: it is a mask whose bit ``w`` is that
    input's spike in step ``window * window_steps + w``.

    Raises
    ------
    SpikeloomError
        If the samples are not what the network takes.
    """
    x = checked_samples(network, samples)
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
    packed: npt.NDArray[np.uint8] = np.packbits(bits, axis=-1, bitorder="little")
    return packed[..., ::-1]
