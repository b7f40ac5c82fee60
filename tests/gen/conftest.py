"""Small networks for the generator's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.networks import random_network

from spikeloom.model.network import Network
from spikeloom.model.system.cache import cache_dir


@pytest.fixture
def network() -> Network:
    """Static input, three layers: 12-20-9-4."""
    return random_network(np.random.default_rng(3), sizes=(12, 20, 9, 4), static=True, steps=4)


@pytest.fixture
def spiking() -> Network:
    """Spike input, two layers: 10-8-3, six steps."""
    return random_network(np.random.default_rng(4), sizes=(10, 8, 3), static=False, steps=6)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, in which only the tools have been prepared: that takes half a minute."""
    tools = cache_dir() / "tools"
    tools.mkdir(parents=True, exist_ok=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tools").symlink_to(tools)
    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
