"""``spikeloom energy``: a range of nanojoules, kept with the build, and in the report with what it assumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import spikeloom
from spikeloom.gen.energy import KINDS, range_text
from spikeloom.gen.energy_constants import CONSTANTS, Range, constants_of
from spikeloom.gen.energy_published import PUBLISHED
from spikeloom.gen.manifest import read_build

from .conftest import Files, Run
from .test_cli import refused, value_of

DEVICE = ("--device", "ice40-up5k")


@pytest.fixture
def build(files: Files, tmp_path: Path) -> Path:
    return Path(shutil.copytree(files.build, tmp_path / "build"))


def test_energy(run: Run, files: Files, build: Path) -> None:
    value = value_of(run("energy", "build", *DEVICE, "--data", files.data, "--samples", 4, "--clock-mhz", 20, "--json"))
    assert (value["format"], value["device"], value["samples"], value["clock_mhz"]) == (
        "spikeloom-energy", "ice40-up5k", 4, 20)
    assert list(value["kinds_nj"]) == list(KINDS)
    assert 0 < value["total_nj"]["low"] < value["total_nj"]["typical"] < value["total_nj"]["high"]
    kept = json.loads((build / "results" / "energy_ice40-up5k.json").read_text())
    assert value == {"format": "spikeloom-energy", "version": 1} | kept | {
        "file": str(Path("build") / "results" / "energy_ice40-up5k.json")}
    read_build(build)  # the folder is a build as before
    said = run("energy", "build", *DEVICE, "--data", files.data, "--samples", 4, "--clock-mhz", 20)
    assert said.exit_code == 0, said.output
    told = " ".join(said.stdout.split())
    assert f"an inference, nJ │ {range_text(Range(**value['total_nj']))}" in told
    assert "assumed, not measured │ logic_pj, clock_pj, block_pj" in told


def test_help_names_the_devices(run: Run) -> None:
    said = " ".join(run("energy", "--help").stdout.split())
    assert all(device in said for device in CONSTANTS)


@pytest.mark.parametrize(("words", "patterns"), [
    (("build", "--device", "lfe5u-85"), ("did you mean lfe5u-85f",)),
    (("build", "--device", "xc7z020"), ("nobody's constants of its energy are known here",)),
    (("nowhere",), ("nowhere",)),
    (("build", "--data", "one.npz"), ("energy needs two or more",)),
    (("build", "--data", "wide.npz"), ("a sample must be uint8 of shape",)),
    (("build", "--samples", "0"), ("--samples",)),
    (("build", "--clock-mhz", "0"), ("--clock-mhz",)),
], ids=str)
def test_what_is_wrong(run: Run, files: Files, build: Path, words: tuple[str, ...], patterns: tuple[str, ...]) -> None:
    np.savez("one.npz", images=np.zeros((1, 4, 4), np.uint8), labels=np.zeros(1, int))
    np.savez("wide.npz", images=np.zeros((3, 4, 5), np.uint8), labels=np.zeros(3, int))
    refused(run("energy", *words), *patterns)
    assert not (build / "results").exists()


def test_a_file_of_the_users_is_left(run: Run, files: Files, build: Path) -> None:
    mine = build / "results" / "energy_ice40-up5k.json"
    mine.parent.mkdir()
    mine.write_text("mine")
    result = run("energy", "build", *DEVICE, "--data", files.data, "--samples", 1)
    assert result.exit_code == 2
    assert "energy_ice40-up5k.json: exists already" in result.stderr.splitlines()[-1]
    assert mine.read_text() == "mine"


def test_report(files: Files, tmp_path: Path) -> None:
    data = spikeloom.dataset(files.data)
    page = spikeloom.report(files.build, tmp_path / "r.html", data, device="ice40-up5k", energy=True,
                            clock_mhz=20).read_text()
    text = " ".join(page.split())
    assert "<h2>Energy</h2>" in text
    assert "An <b>estimate</b>, not a measurement: 19 samples" in text
    for name, constant in constants_of("ice40-up5k").items():
        assert f"<td>{name}</td>" in text
        assert constant.source.replace("'", "&#39;") in text
    for work in PUBLISHED:
        assert work.how.replace("'", "&#39;") in text
        assert work.source in text
    without = spikeloom.report(files.build, tmp_path / "r.html", data).read_text()
    assert "<h2>Energy</h2>" not in without


@pytest.mark.parametrize(("change", "message"), [
    ({}, "energy: name the device"), ({"device": "xc7"}, "nobody's constants"),
    ({"device": "ice40-up5k", "energy": 1}, "energy must be")], ids=str)
def test_report_that_cannot_be(files: Files, tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(spikeloom.SpikeloomError, match=message):
        spikeloom.report(files.build, tmp_path / "r.html", spikeloom.dataset(files.data),
                         **{"energy": True, **change})
    assert not list(tmp_path.iterdir())
