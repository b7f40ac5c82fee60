"""Samples as the beats of the input stream, in the byte order that the testbench reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.model.golden import encode_input

from .build_folder import BuildFolder

__all__ = ["beat_bytes", "pack_samples"]


def beat_bytes(build: BuildFolder) -> int:
    """Bytes of one beat in the stimulus file."""
    return -(-build.beat_bits // 8)


def pack_samples(build: BuildFolder, samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Beats of shape (samples, beats per sample, bytes per beat), most significant byte first.

    Static input: item ``p`` of beat ``q`` is the value of input ``q * items_per_beat + p``. Spike input:
    it is a mask whose bit ``w`` is that input's spike in step ``window * window_steps + w``.

    Raises
    ------
    SpikeloomError
        If the samples are not what the network takes.
    """
    x = encode_input(build.network, samples)
    n, size = len(x), build.network.input.size
    inputs = build.beats_per_window * build.items_per_beat
    items = np.zeros((n, build.windows, inputs, build.item_bits), np.uint8)
    if build.network.static:
        items[:, 0, :size] = np.unpackbits(x[..., None], axis=-1, count=build.item_bits, bitorder="little")
    else:
        steps = np.zeros((n, build.windows * build.window_steps, size), np.uint8)
        steps[:, :build.network.steps] = x
        items[:, :, :size] = steps.reshape(n, build.windows, build.window_steps, size).swapaxes(2, 3)
    bits = items.reshape(n, build.beats_per_sample, build.beat_bits)
    packed: npt.NDArray[np.uint8] = np.packbits(bits, axis=-1, bitorder="little")
    return packed[..., ::-1]
