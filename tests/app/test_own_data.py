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
