"""A bank by itself: the memory that it states, and its limits. Its events are those of test_event_queue.py."""

from __future__ import annotations

from typing import Any

import pytest
from support.simulation import memory_bits

from spikeloom.rtl.event_bank import EventBank, EventBankConfig

SHAPE: dict[str, Any] = {"positions": 3, "item_bits": 4, "depth": 5, "row_bits": 6}


@pytest.mark.parametrize(("positions", "want"), [(1, 5 * (4 + 6)), (3, 5 * (3 * 4 + 6 + 3))])
def test_memory(positions: int, want: int) -> None:
    """A lone position is never silent, and has no mark."""
    config = EventBankConfig(**SHAPE | {"positions": positions})
    assert memory_bits(EventBank(config)) == config.memory_bits == want


@pytest.mark.parametrize("tells", [False, True])
def test_only_one_that_tells_has_the_port(tells: bool) -> None:
    assert ("given" in EventBank(EventBankConfig(**SHAPE, tells=tells)).signature.members) is tells


@pytest.mark.parametrize("name", SHAPE)
def test_bad_shapes(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        EventBankConfig(**SHAPE | {name: 0})
