"""Shipped networks by name, and what their metadata promise."""

from __future__ import annotations

from pathlib import Path

import pytest

import spikeloom
from spikeloom import shipped
from spikeloom.model import datasets, float_network
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network_file import load_network, save_network

NAMES = shipped.names()


def test_demo_network_is_shipped() -> None:
    assert shipped.DEMO_NETWORK in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_network(name: str, tmp_path: Path) -> None:
    network = shipped.load(name)
    file = shipped.find(name)
    assert file.name == f"{name}.snn"
    save_network(network, tmp_path / "again.snn")
    assert load_network(tmp_path / "again.snn").hash == network.hash
    assert (tmp_path / "again.snn").read_bytes() == file.read_bytes()
    assert spikeloom.load(name).hash == network.hash


@pytest.mark.parametrize("name", [*NAMES, *shipped.names(".fsnn")])
def test_metadata(name: str) -> None:
    """Where it came from: command, seed, data set, accuracy."""
    network = shipped.load(name) if name in NAMES else float_network.load_float_network(shipped.find(name, ".fsnn"))
    meta = network.metadata
    assert name in meta["command"]
    assert isinstance(meta["training"]["seed"], int)
    assert meta["data"] in datasets.names()
    assert meta["test_samples"] == 10_000
    assert 0.5 < meta["test_accuracy"] < 1


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow) if "c5" in name else name for name in NAMES])  # minutes for these
def test_accuracy_is_the_recorded_one(name: str) -> None:
    """To the last of all test images, where they are on this machine."""
    network = shipped.load(name)
    meta = network.metadata
    try:
        data = datasets.load(meta["data"], fetch=False)
    except SpikeloomError as error:
        pytest.skip(str(error))
    assert spikeloom.evaluate(network, data).accuracy == meta["test_accuracy"]
    assert len(data) == meta["test_samples"]


def test_find(tmp_path: Path) -> None:
    network = shipped.load(shipped.DEMO_NETWORK)
    save_network(network, tmp_path / "network.snn")
    assert shipped.find(tmp_path / "network.snn") == shipped.find(tmp_path) == tmp_path / "network.snn"
    assert shipped.load(str(tmp_path)).hash == network.hash


@pytest.mark.parametrize(("spec", "hint"), [("fashion-mnist-400-40", f"did you mean '{shipped.DEMO_NETWORK}'"),
                                            ("xyz", f"shipped are .*{shipped.DEMO_NETWORK}")])
def test_neither_name_nor_file(spec: str, hint: str) -> None:
    with pytest.raises(SpikeloomError, match=rf"network '{spec}' is neither a shipped network nor a file; {hint}"):
        shipped.load(spec)
