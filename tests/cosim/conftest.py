"""Stub builds, compiled once per kind thanks to the build cache."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.stub_build import Stub, small_network, write_stub


@pytest.fixture
def static_stub(tmp_path: Path) -> Stub:
    """Static input, all steps in one window."""
    return write_stub(tmp_path / "static", small_network(static=True, steps=5), window=5)


@pytest.fixture
def spike_stub(tmp_path: Path) -> Stub:
    """Spike input, 5 steps in windows of 2, the last one half empty."""
    return write_stub(tmp_path / "spikes", small_network(static=False, steps=5), window=2)
