"""The energy of a netlist of a few cells, computed by hand; constants that make sense and say where they come from."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from spikeloom.gen.energy import KINDS, EnergyEstimate, estimate, range_text
from spikeloom.gen.energy_constants import CONSTANTS, Range, constants_of
from spikeloom.gen.energy_published import PUBLISHED
from spikeloom.gen.switching import Activity
from spikeloom.model.errors import SpikeloomError

MODULE: dict[str, Any] = {
    "netnames": {"output_.state": {"bits": [2, 3]}, "chosen": {"bits": [4]}},
    "cells": {
        "output_.state_FF": {"type": "TRELLIS_FF", "connections": {"Q": [2]}},
        "output_.state_FF_1": {"type": "TRELLIS_FF", "connections": {"Q": [3]}},
        "output_.x": {"type": "LUT4", "connections": {"Z": [5]}},
        "rows": {"type": "DP16KD", "connections": {"CEA": [4], "CEB": ["0"]}}}}
CYCLES = 400


def activity(toggles: float, accesses: float = 0) -> Activity:
    names = ("output_.state[0]", "output_.state[1]", "output_.sum", "chosen")
    return Activity(CYCLES, dict.fromkeys(names, toggles), {**dict.fromkeys(names, 0), "chosen": accesses})


def run(toggles: float, accesses: float = 0, **options: Any) -> EnergyEstimate:
    return estimate(MODULE, "lfe5u-25f", {"output_": "output"}, {"sum"}, activity(toggles, accesses), activity(0),
                    **{"clock_mhz": 50, "samples": 3, **options})


def test_by_hand() -> None:
    c = constants_of("lfe5u-25f")
    found = run(30, 100)
    for end in ("low", "typical", "high"):
        def pj(name: str, end: str = end) -> float:
            return float(getattr(getattr(c, name).range, end))

        want = {"flip-flops": 60 * pj("register_pj"), "logic": 30 * pj("logic_pj"), "block RAM": 100 * pj("block_pj"),
                "multipliers": 0, "clock": CYCLES * (2 * pj("clock_pj") + pj("tree_pj")),
                "static": 1000 * pj("static_mw") * CYCLES / 50}  # mW times us are nJ
        got = {kind: 1000 * getattr(each, end) for kind, each in found.kinds_nj.items()}
        assert got == pytest.approx(want)
        assert 1000 * getattr(found.total_nj, end) == pytest.approx(sum(want.values()))
        assert 1000 * getattr(found.dynamic_nj, end) == pytest.approx(sum(want.values()) - want["static"])
        part = want["flip-flops"] + want["logic"] + CYCLES * 2 * pj("clock_pj")
        assert 1000 * getattr(found.parts_nj["output"], end) == pytest.approx(part)
    assert found.power_mw.typical == pytest.approx(found.total_nj.typical / (CYCLES / 50))
    assert (found.register_rate, found.logic_rate, found.block_rate) == (30 / 400, 30 / 400, 100 / 400)


def test_what_does_not_switch_costs_clock_and_static_power() -> None:
    found = run(0)
    assert {kind for kind, each in found.kinds_nj.items() if each.high} == {"clock", "static"}
    assert {kind for kind, each in found.idle_mw.items() if each.high} == {"clock", "static"}
    assert found.power_mw.typical == pytest.approx(found.total_idle_mw.typical)


def test_more_toggles_take_more_energy_and_a_faster_clock_less() -> None:
    totals = [run(toggles, toggles).total_nj for toggles in (0, 1, 10, 100)]
    for less, more in pairwise(totals):
        assert less.low < more.low
        assert less.typical < more.typical
        assert less.high < more.high
    slow, fast = run(10), run(10, clock_mhz=100)
    assert fast.dynamic_nj == slow.dynamic_nj
    assert fast.kinds_nj["static"].typical == slow.kinds_nj["static"].typical / 2


@pytest.mark.parametrize("device", CONSTANTS)
def test_constants(device: str) -> None:
    for name, constant in constants_of(device).items():
        each = constant.range
        assert 0 <= each.low <= each.typical <= each.high, name
        assert constant.assumed == constant.source.startswith("assumed"), f"{name} hides what it is"


def test_constants_that_nobody_knows() -> None:
    with pytest.raises(SpikeloomError, match="xc7: nobody's constants of its energy are known here; those of lfe5u"):
        constants_of("xc7")
    with pytest.raises(SpikeloomError, match="did you mean lfe5u-85f"):
        constants_of("lfe5u-85")


def test_json_and_text() -> None:
    value = json.loads(json.dumps(run(30).to_json()))
    assert set(value["kinds_nj"]) == set(KINDS)
    assert value["total_nj"] == asdict(run(30).total_nj)
    assert value["constants"]["block_pj"]["assumed"] is True
    assert range_text(Range(0.1234, 56.78, 9876.5)) == "56.8 (0.123 - 9,876)"


def test_others_say_how_and_the_page_has_them() -> None:
    page = (Path(__file__).parents[2] / "docs" / "energy.md").read_text()
    for work in PUBLISHED:
        assert work.how
        assert f"| {work.work} | {work.network} | {work.data} | {work.energy_uj:.3g} | " in page
        assert f" | {work.source} |" in page
