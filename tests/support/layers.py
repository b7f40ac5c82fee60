"""Constants of layers whose neurons are :class:`.Neuron`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spikeloom.model.network import Layer
from spikeloom.model.neurons.types import Neuron

__all__ = ["thresholds"]


def thresholds(layer: Layer) -> npt.NDArray[np.int64]:
    """One per neuron."""
    assert isinstance(layer.neuron, Neuron)
    return np.repeat(layer.neuron.threshold, layer.connection.outputs // layer.neuron.threshold.size).astype(np.int64)
