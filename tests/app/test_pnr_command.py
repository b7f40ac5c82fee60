"""``spikeloom pnr``: what the command makes of a result; tests/gen/test_place_route.py has the tools themselves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import Result

import spikeloom
from spikeloom.gen.place_route import PathStep, PlaceRouteResult, SeedResult
from spikeloom.gen.synth import DoesNotFitError

if TYPE_CHECKING:
    from tests.app.conftest import Files

Run = Callable[..., Result]

PATH = (PathStep(kind="clk-to-q", ns=1.0, name="hidden.a"), PathStep(kind="routing", ns=9.0, name="hidden.b"))
RESULT = PlaceRouteResult(
    device="lfe5u-25f", package="CABGA381", speed_grade="6", lut=1000, ff=500, bram=3, dsp=0, fmax_mhz=100.0,
    target_mhz=120.0, seeds=(SeedResult(seed=1, fmax_mhz=110.0, asked_mhz=120.0, critical_path=PATH, wall_s=2.0),
                             SeedResult(seed=2, fmax_mhz=100.0, asked_mhz=98.0, critical_path=PATH, wall_s=3.0)),
    used={"TRELLIS_COMB": 1100}, available={"TRELLIS_COMB": 24288}, critical_path=PATH, shell=False, tool="nextpnr 1")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def place_and_route(folder: Any, device: str, **options: Any) -> PlaceRouteResult:
        calls.append({"folder": folder, "device": device, **options})
        return RESULT

    monkeypatch.setattr(spikeloom, "place_and_route", place_and_route)
    return calls


@pytest.fixture
def built(files: Files, tmp_path: Path) -> Path:
    return Path(shutil.copytree(files.build, tmp_path / "build"))


def test_json(run: Run, files: Files, built: Path, asked: list[dict[str, Any]]) -> None:
    result = run("pnr", "build", "--device", "lfe5u-25f", "--seeds", 2, "--data", files.data, "--samples", 20, "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert {key: value[key] for key in ("device", "lut", "ff", "bram", "dsp", "fmax_mhz", "clock_met")} == {
        "device": "lfe5u-25f", "lut": 1000, "ff": 500, "bram": 3, "dsp": 0, "fmax_mhz": 100.0, "clock_met": None}
    assert [(seed["seed"], seed["fmax_mhz"]) for seed in value["seeds"]] == [(1, 110.0), (2, 100.0)]
    assert [step["name"] for step in value["critical_path"]] == ["hidden.a", "hidden.b"]
    assert value["us_per_inference"] == value["cycles_mean"] / 100
    assert value["samples"] == 20
    assert asked[0]["device"] == "lfe5u-25f"
    assert list(asked[0]["seeds"]) == [1, 2]
    kept = json.loads((built / "results" / "pnr_lfe5u-25f.json").read_text())
    assert kept["fmax_mhz"] == 100.0


def test_table_and_a_missed_clock(run: Run, files: Files, built: Path, asked: list[dict[str, Any]]) -> None:
    result = run("pnr", "build", "--device", "lfe5u-25f", "--data", files.data, "--clock-mhz", 90)
    assert result.exit_code == 0, result.output
    for part in ("1,000 of 24,288 (4%)", "100 (worst of 110, 100)", "hidden.b", "pnr_lfe5u-25f.json"):
        assert part in result.stdout
    missed = run("pnr", "build", "--device", "lfe5u-25f", "--data", files.data, "--clock-mhz", 101)
    assert missed.exit_code == 1
    assert "100 MHz on lfe5u-25f, 101 were asked for; what helps" in missed.stderr
    assert [call["target_mhz"] for call in asked] == [90, 101]


def test_a_design_that_does_not_fit(run: Run, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*args: Any, **options: Any) -> None:
        raise DoesNotFitError("small: does not fit lfe5u-25f:\n  too large")

    monkeypatch.setattr(spikeloom, "place_and_route", refuses)
    result = run("pnr", files.build, "--device", "lfe5u-25f", "--data", files.data)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.endswith("error: small: does not fit lfe5u-25f:\n  too large\n")


def test_a_folder_that_is_no_build(run: Run, tmp_path: Any) -> None:
    result = run("pnr", tmp_path / "nothing")
    assert result.exit_code == 2
    assert "not a build folder" in result.stderr
