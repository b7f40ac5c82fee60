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

    Items come in the order of :attr:`.BuildFolder.input`. Static input: an item is a value. Spike input: it is
    a mask whose bit ``w`` is that input's spike in step ``window * window_steps + w``.

    Raises
    ------
    SpikeloomError
        If the samples are not what the network takes.
    """
    x = encode_input(build.network, samples)
    n, size = len(x), build.network.input.size
    if build.network.static:  # (n, windows, bits of a mask, inputs)
        bit = np.arange(build.item_bits, dtype=np.uint8)[:, None]
        masks: npt.NDArray[Any] = (x[:, None, None, :] >> bit) & np.uint8(1)
    else:
        masks = np.zeros((n, build.windows * build.window_steps, size), np.uint8)
        masks[:, :build.network.steps] = x
        masks = masks.reshape(n, build.windows, build.window_steps, size)
    items = build.input.to_beats(masks)  # (n, windows, bits of a mask, beats, items)
    bits = np.moveaxis(items, 2, -1).reshape(n, build.beats_per_sample, build.beat_bits)
    packed: npt.NDArray[np.uint8] = np.packbits(bits, axis=-1, bitorder="little")
    return packed[..., ::-1]
