"""The notation of networks."""

from __future__ import annotations

import pytest

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.geometry import ConvGeometry, Pool
from spikeloom.model.topology import read_topology


def test_layers() -> None:
    layers = read_topology("15C5-P2-40C5s2p2-P2-300", (28, 28), 10)
    assert [(la.name, la.inputs, la.outputs) for la in layers] == [
        ("conv1", 784, 15 * 24 * 24), ("conv2", 15 * 12 * 12, 40 * 6 * 6), ("hidden1", 40 * 3 * 3, 300),
        ("output", 300, 10)]
    assert layers[0].geometry == ConvGeometry(input_shape=(1, 28, 28), channels=15, kernel=(5, 5))
    assert layers[1].pool == Pool("sum", 2)
    assert layers[1].pool_gain == 1.1


def test_pools_and_depthwise() -> None:
    layers = read_topology("A4-6D3p1-O2-8", (3, 8, 8), 5)
    assert [(la.pool, la.pool_gain) for la in layers] == [(Pool("sum", 4), 1 / 16), (Pool("or", 2), 1.0), (None, 1.0)]
    assert layers[0].geometry == ConvGeometry(input_shape=(3, 2, 2), channels=6, kernel=(3, 3), padding=1, groups=3)
    assert [la.name for la in read_topology("", (7,), 2)] == ["output"]


@pytest.mark.parametrize(("text", "message"), [
    ("400-x", "part 'x' must be like 400, 32C5"),
    ("0", "part '0': must have at least one neuron"),
    ("8C9", "part '8C9': convolution kernel must be at most the padded map of 8 x 8"),
    ("8C3s0", "part '8C3s0': convolution stride must be an integer above 0, not 0"),
    ("P3-8C3", "part 'P3': pool size 3 does not divide a map of 8 x 8"),
    ("P2-O2-8", "part 'O2': follows another pool"),
    ("40-8C3", "part '8C3': a feature map must have shape"),
    ("5D3", "part '5D3': convolution channels must be a multiple of groups=2, not 5"),
])
def test_bad_topologies(text: str, message: str) -> None:
    with pytest.raises(SpikeloomError, match=message):
        read_topology(text, (2, 8, 8), 10)
