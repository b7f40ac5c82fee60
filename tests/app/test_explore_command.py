"""``spikeloom explore`` and ``build --fold auto`` on a small network; tests/gen/test_explore.py has the search."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import Result
from support.networks import random_network

from spikeloom.gen.explore import moves
from spikeloom.gen.manifest import read_manifest
from spikeloom.model.float_network import FloatLayer, FloatNetwork, save_float_network
from spikeloom.model.network_file import save_network

if TYPE_CHECKING:
    from tests.app.conftest import Files

Run = Callable[..., Result]


@pytest.fixture
def snn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network of one layer, and few moves: a search of seconds."""
    monkeypatch.setattr("spikeloom.gen.explore.moves", lambda *given: list(moves(*given))[:6])
    network = random_network(np.random.default_rng(1), sizes=(16, 4), static=True, steps=3)
    save_network(network, tmp_path / "one.snn")
    return tmp_path / "one.snn"


def test_json_and_file(run: Run, files: Files, snn: Path, tmp_path: Path) -> None:
    options = ("--device", "lfe5u-25f", "--data", files.data, "--samples", 10, "--jobs", 1)
    result = run("explore", "one.snn", *options, "-o", "fold.json", "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["format"] == "spikeloom-explore"
    assert value["device"] == "lfe5u-25f"
    assert value["samples"] == 10
    assert {"cycles_mean", "lut", "ff", "bram", "fold"} <= set(value["front"][0])
    assert value["chosen"] in value["front"]
    assert value["us_mean"] == value["chosen"]["cycles_mean"] / 100
    fold = json.loads((tmp_path / "fold.json").read_text())
    assert fold == value["chosen"]["fold"]

    checked = run("check", "one.snn", "--fold", "fold.json", "--data", files.data, "--samples", 10, "--json")
    assert json.loads(checked.stdout)["cycles"]["mean"] == value["chosen"]["cycles_mean"]
    again = run("explore", "one.snn", "--device", "lfe5u-25f", "--data", files.data, "--jobs", 1, "-o", "fold.json")
    assert again.exit_code == 0, again.output  # its own file is replaced
    assert "next: spikeloom build one.snn --fold fold.json" in again.stdout
    (tmp_path / "mine.json").write_text('{"name": "mine"}')
    refused = run("explore", "one.snn", "--device", "lfe5u-25f", "--data", files.data, "-o", "mine.json")
    assert refused.exit_code == 2
    assert "mine.json: exists already" in refused.stderr
    assert (tmp_path / "mine.json").read_text() == '{"name": "mine"}'


def test_table(run: Run, files: Files, snn: Path) -> None:
    result = run("explore", "one.snn", "--device", "lfe5u-25f", "--data", files.data, "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert "chosen for latency" in result.stdout
    assert "next: spikeloom build one.snn --fold auto --device lfe5u-25f" in result.stdout


def test_build_with_fold_auto(run: Run, files: Files, snn: Path, tmp_path: Path) -> None:
    result = run("build", "one.snn", "--fold", "auto", "--device", "lfe5u-25f", "-o", "auto", "--json")
    assert result.exit_code == 0, result.output
    assert "fold: " in result.stderr
    assert "LUTs" in result.stderr
    assert read_manifest(tmp_path / "auto").fold["name"] == "explored"
    refused = run("build", "one.snn", "--fold", "auto", "-o", "b")
    assert refused.exit_code == 2
    assert "fold auto: name the device" in refused.stderr


def test_widths(run: Run, files: Files, snn: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    layers = tuple(FloatLayer(name=name, weight=rng.normal(0, 1, shape).astype(np.float32),
                              bias=None, tau_m=4.0, tau_s=2.0)
                   for name, shape in (("hidden", (5, 16)), ("output", (4, 5))))
    save_float_network(FloatNetwork(name="real", shape=(4, 4), mean=0.5, std=0.5, steps=2, layers=layers),
                       tmp_path / "real.fsnn")
    words = ("explore", "real.fsnn", "--device", "lfe5u-25f", "--data", files.data, "--samples", 3, "--jobs", 1,
             "--accuracy-samples", 20, "--calibration", 0, "--weight-bits", "2,6", "-o", "fold.json")
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert [width["weight_bits"] for width in value["widths"]] == [2, 6]
    best = max(value["widths"], key=lambda width: width["accuracy"])
    assert value["accuracy"] == best["accuracy"]
    assert value["chosen"]["fold"] == json.loads((tmp_path / "fold.json").read_text())
    measured = json.loads(run("eval", "fold.snn", "--data", files.data, "--samples", 20, "--json").stdout)
    assert measured["accuracy"] == value["accuracy"]
    assert {point["weight_bits"] for point in value["front"]} <= {2, 6}

    shown = run(*words, "--min-accuracy", 0)
    assert shown.exit_code == 0, shown.output
    assert "of 20 samples" in " ".join(shown.stdout.split())
    assert "next: spikeloom build fold.snn --fold fold.json" in shown.stdout
    refused = run(*words, "--min-accuracy", 1)
    assert refused.exit_code == 2
    assert "no width of weights reaches an accuracy of 100.00%" in refused.stderr


def test_energy(run: Run, files: Files, snn: Path) -> None:
    words = ("explore", "one.snn", "--device", "lfe5u-25f", "--data", files.data, "--samples", 5, "--jobs", 1,
             "--objective", "energy")
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["chosen"]["energy_nj"] == min(point["energy_nj"] for point in value["front"])
    assert "chosen for energy" in run(*words).stdout


@pytest.mark.parametrize(("options", "message"), [
    (("--device", "lfe5u-26f"), "did you mean"), (("--max-lut", 5), "no fold fits"),
    (("--device", "xc7"), "has no limits"), (("--device", "xc7a35t"), "no resource model"),
    (("--device", "ice40-hx8k", "--objective", "energy"), "nobody's constants of its energy"),
    (("--min-accuracy", 0.5), "--min-accuracy is for --weight-bits"),
    (("--weight-bits", "2,9"), "must be some of 1, 2, 3, 4, 5, 6, 7, 8, 16, each once, as 2,3,4, not '2,9'"),
    (("--weight-bits", "3,3"), "each once"), (("--weight-bits", "4"), "one.snn")])
def test_bad_options(run: Run, files: Files, snn: Path, options: Any, message: str) -> None:
    result = run("explore", "one.snn", "--data", files.data, "--jobs", 1, *options)
    assert result.exit_code == 2
    assert message in result.stderr
