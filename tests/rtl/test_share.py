"""The read-only memory: rows by address after its latency, whole or in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.simulation import simulate

from spikeloom.rtl import share
from spikeloom.rtl.share import Rom


@pytest.mark.parametrize("latency", [1, 2])
@pytest.mark.parametrize("depth", [1, 2, 8, 9, 16, 21])
def test_rows(depth: int, latency: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "PART_ADDRESS_BITS", 3)
    rng = np.random.default_rng(depth)
    rows = rng.integers(0, 32, depth).tolist()
    addresses = rng.integers(0, depth, 100).tolist()
    dut = Rom("rom", 5, rows, latency)
    seen = []

    async def bench(ctx: Any) -> None:
        for address in addresses:
            ctx.set(dut.address, address)
            await ctx.tick()
            seen.append(ctx.get(dut.data))

    simulate(dut, bench)
    assert seen[latency - 1:] == [rows[address] for address in addresses[:len(addresses) - latency + 1]]


def test_parts() -> None:
    size = 1 << 14
    assert Rom.parts("w", size) == {"w": range(size)}
    assert Rom.parts("w", 2 * size + 1) == {
        "w_0": range(size), "w_1": range(size, 2 * size), "w_2": range(2 * size, 2 * size + 1)}
