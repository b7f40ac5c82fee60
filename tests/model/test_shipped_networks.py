"""The shipped networks: they load, are what they say, and classify the shipped images as their metadata promise."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from spikeloom.model import float_network, golden
from spikeloom.model.network_file import load_network
from spikeloom.model.quantize import quantize

DATA = resources.files("spikeloom.model") / "data"


@pytest.fixture(scope="module")
def demo():
    with np.load(str(DATA / "fashion-mnist-demo.npz"), allow_pickle=False) as data:
        return data["images"], data["labels"]


@pytest.mark.parametrize(("name", "topology"), [
    ("fashion-mnist-400-400", "784-400-400-10"), ("fashion-mnist-400-400-sparse", "784-400-400-10"),
    ("fashion-mnist-128", "784-128-10"),
    ("fashion-mnist-15c5-40c5-300", "1x28x28-15C5-P2-40C5-P2-300-10"),
    ("fashion-mnist-32c5-64c5-1024", "1x28x28-32C5p2-P2-64C5p2-P2-1024-10")])
def test_shipped_network(demo, name, topology):
    images, labels = demo
    network = load_network(str(DATA / f"{name}.snn"))
    assert (network.name, network.topology, network.steps) == (name, topology, 5)
    assert network.static
    assert network.input.bits <= 4
    assert all(layer.connection.weight_bits <= 4 for layer in network.layers)
    accuracy = (np.concatenate([r.classes for r in golden.batches(network, images)]) == labels).mean()
    assert accuracy == pytest.approx(network.metadata["test_accuracy"], abs=0.04)  # 500 of the 10,000 images


def test_shipped_float_network_quantises(demo):
    images, labels = demo
    network = float_network.load_float_network(str(DATA / "fashion-mnist-128-float.fsnn"))
    accuracy = (float_network.run(network, images).classes == labels).mean()
    assert accuracy == pytest.approx(network.metadata["test_accuracy"], abs=0.04)
    quantized = quantize(network, weight_bits=8, calibration=images[:100])
    assert (golden.run(quantized, images).classes == labels).mean() > accuracy - 0.03
