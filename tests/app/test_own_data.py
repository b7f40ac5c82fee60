"""A newcomer's journey: an .npz of one's own, from training to report, with no option but data and output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .conftest import Run

# In a process of its own: scikit-learn brings a second OpenMP, whose threads spin beside PyTorch's.
MAKE_DIGITS = """
import numpy, sklearn.datasets
digits = sklearn.datasets.load_digits()
numpy.savez("digits.npz", images=(digits.images * 15).astype("uint8"), labels=digits.target)
"""
DIGITS = 1797
ENOUGH = 0.95  # logistic regression has 0.97


def test_digits(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    subprocess.run([sys.executable, "-c", MAKE_DIGITS], cwd=tmp_path, check=True)
    trained = run("train", "--data", "digits.npz", "-o", "run")
    assert trained.exit_code == 0, trained.stderr
    evaluated = json.loads(run("eval", "run/network.snn", "--json").stdout)
    assert evaluated["samples"] == DIGITS // 5  # none that it was trained on
    assert evaluated["accuracy"] >= ENOUGH
    for line in ("check run/network.snn", "build run/network.snn -o build", "sim build", "report build"):
        done = run(*line.split())
        assert done.exit_code == 0, f"{line}\n{done.output}"
    assert f"{evaluated['accuracy']:.2%}" in run("sim", "build").stdout
    assert f"<b>{100 * evaluated['accuracy']:.2f}\u202f%</b>" in (tmp_path / "report.html").read_text()


def test_pixels_that_are_not_scaled(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "dark.npz", images=rng.integers(0, 17, (40, 8, 8), np.uint8), labels=np.arange(40) % 4)
    done = run("train", "--data", "dark.npz", "-o", "run")
    assert done.exit_code == 2
    assert "the largest pixel is 16" in done.stderr
    assert "multiply them by 15" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_recipe(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stages, told on the way; refused over what is there, gone on with, changed by options."""
    pytest.importorskip("torch")
    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", images=rng.integers(0, 256, (120, 8, 8), np.uint8), labels=np.arange(120) % 3)
    (tmp_path / "recipe.json").write_text(json.dumps({
        "data": "mine.npz", "settings": {"hidden": "6", "distill": 0.5, "validation": 20, "threads": 1},
        "stages": [{"teacher": {"epochs": 1}}, {"rates": {"epochs": 1}}, {"spikes": {"epochs": 2}}]}))
    done = run("train", "--config", "recipe.json", "--weight-bits", "3", "-o", "run", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["epochs"] == 2
    network = json.loads(run("check", told["network"], "--json").stdout)
    assert network["layers"][0]["weight_bits"] == 3
    refused = run("train", "--config", "recipe.json", "--weight-bits", "3", "-o", "run")
    assert refused.exit_code == 2
    assert "run: has metrics.png already: go on with it by --resume" in refused.stderr
    again = run("train", "--config", "recipe.json", "--weight-bits", "3", "-o", "run", "--resume", "--json")
    assert json.loads(again.stdout) == told
    other = run("train", "--config", "recipe.json", "-o", "run", "--resume")
    assert other.exit_code == 2
    assert "was made with" in other.stderr
