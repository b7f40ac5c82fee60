"""Small networks for the generator's tests."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import random_network

from spikeloom.model.network import Network


@pytest.fixture
def network() -> Network:
    """Static input, three layers: 12-20-9-4."""
    return random_network(np.random.default_rng(3), sizes=(12, 20, 9, 4), static=True, steps=4)


@pytest.fixture
def spiking() -> Network:
    """Spike input, two layers: 10-8-3, six steps."""
    return random_network(np.random.default_rng(4), sizes=(10, 8, 3), static=False, steps=6)
