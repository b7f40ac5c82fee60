"""A small network, data and build for the command line's tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from support.networks import random_network

from spikeloom.cli import main
from spikeloom.gen.build import build
from spikeloom.gen.fold import PRESETS
from spikeloom.gen.plan import make_plan
from spikeloom.model import golden
from spikeloom.model.network import Network
from spikeloom.model.network_file import save_network

Run = Callable[..., Result]


@dataclass(frozen=True)
class Files:
    """Files of one small network, 16-12-4 with static input."""

    network: Network
    snn: Path
    data: Path
    build: Path
    board: Path
    loadable: Path
    samples: int
    accuracy: float


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Made once; tests do not write there."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(8)
    network = random_network(rng, sizes=(16, 12, 4), static=True, steps=3)
    images = rng.integers(0, 256, (20, 4, 4), np.uint8)
    classes = golden.run(network, images).classes
    labels = np.where(np.arange(20) < 15, classes, (classes + 1) % 4)
    labels[0] = 3  # all four classes
    np.savez(folder / "data.npz", images=images, labels=labels)
    save_network(network, folder / "small.snn")
    plan = make_plan(network, PRESETS["balanced"](network))
    build(plan, folder / "build")
    build(plan, folder / "board", interface="uart")
    build(make_plan(network, replace(plan.fold, weight_sets=1)), folder / "loadable", interface="uart")
    return Files(network, folder / "small.snn", folder / "data.npz", folder / "build", folder / "board",
                 folder / "loadable", 20, float((classes == labels).mean()))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def invoke(*args: Any) -> Result:
        return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="spikeloom")

    return invoke
