"""Samples for a build folder, in the byte order that the testbench reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.gen import stimulus
from spikeloom.model.datasets import check_labels
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.samples import checked_samples
from spikeloom.model.system.arguments import array as as_array
from spikeloom.model.system.arguments import short

from .build_folder import BuildFolder

__all__ = ["beat_bytes", "checked_stimulus", "pack_samples"]


def beat_bytes(build: BuildFolder) -> int:
    """Bytes of one beat in the stimulus file."""
    return -(-build.beat_bits // 8)


def pack_samples(build: BuildFolder, samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Beats of shape (samples, beats per sample, bytes per beat): :func:`spikeloom.gen.stimulus.pack_samples`."""
    return stimulus.pack_samples(build.network, build.input, build.window_steps, samples)


def checked_stimulus(build: BuildFolder, samples: npt.ArrayLike,
                     labels: npt.ArrayLike | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Samples and labels as arrays, looked at as far as that takes no time.

    Raises
    ------
    SpikeloomError
        If there is none, or they are not what the network takes.
    """
    array = as_array(samples, "samples")
    if array.ndim == 0:
        raise SpikeloomError(f"samples must be an array, not {short(samples)}")
    checked_samples(build.network, array[:1])
    if len(array) == 0:
        raise SpikeloomError("there must be at least one sample")
    if labels is None:
        return array, None
    return array, check_labels(labels, len(array), build.network.classes, f"network {build.network.name}")
