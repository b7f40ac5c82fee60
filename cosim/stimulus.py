"""Samples for a build folder, in the byte order that the testbench reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.gen import stimulus

from .build_folder import BuildFolder

__all__ = ["beat_bytes", "pack_samples"]


def beat_bytes(build: BuildFolder) -> int:
    """Bytes of one beat in the stimulus file."""
    return -(-build.beat_bits // 8)


def pack_samples(build: BuildFolder, samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Beats of shape (samples, beats per sample, bytes per beat): :func:`spikeloom.gen.stimulus.pack_samples`."""
    return stimulus.pack_samples(build.network, build.input, build.window_steps, samples)
