"""Signals at random times: nothing is lost, nobody left, and the command can be run again.

More of it: bench/interrupts.py.
"""

from __future__ import annotations

from collections import Counter

import pytest
from interrupts import COMMANDS, prepared, trials

QUICK = ("check", "quantize", "build --force")


@pytest.mark.parametrize(("names", "count"), [
    pytest.param(QUICK, 6, id="quick"), pytest.param(tuple(COMMANDS), 9, id="all", marks=pytest.mark.slow)])
def test_nothing_is_lost(names: tuple[str, ...], count: int) -> None:
    with prepared(names) as (fixtures, cache):
        for name in names:
            assert trials(name, count, fixtures, cache)[0] == Counter(), name
