"""Inputs that are maps: an OR pool in front of all, several channels, and what interface.json says of their order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spikeloom.cosim.build_folder import BuildFolder
from spikeloom.cosim.simulate import simulate
from spikeloom.cosim.stimulus import pack_samples
from spikeloom.gen.build import build
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.plan import make_plan
from spikeloom.model import golden
from spikeloom.model.geometry import ConvGeometry, Pool
from spikeloom.model.network import Conv2d, Dense, Layer, Network, Neuron, Readout, SpikeInput
from spikeloom.model.numerics import Shift

STEPS = 3
SHAPE = (2, 6, 6)


def network(pool: Pool | None) -> Network:
    rng = np.random.default_rng(8)
    size = 6 if pool is None else 3

    def neuron(threshold: int) -> Neuron:
        return Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array([threshold]), fraction_bits=1)

    geometry = ConvGeometry(input_shape=(2, size, size), channels=3, kernel=(3, 3))
    outputs = int(np.prod(geometry.output_shape))
    return Network.chain(name="maps", input=SpikeInput(shape=SHAPE), steps=STEPS, readout=Readout.count(), layers=(
        Layer(name="conv", pool=pool, neuron=neuron(6 if pool is None else 2),
              connection=Conv2d(geometry=geometry, weight=rng.integers(-3, 5, geometry.weight_shape), weight_bits=4)),
        Layer(name="out", neuron=neuron(4),
              connection=Dense(weight=rng.integers(-3, 5, (4, outputs)), weight_bits=4))))


@pytest.mark.parametrize("pool", [None, Pool("or", 2)], ids=["two channels", "or pool first"])
@pytest.mark.parametrize("items", [1, 2])
def test_builds_are_proved_and_described(pool: Pool | None, items: int, tmp_path: Path) -> None:
    net = network(pool)
    build(make_plan(net, Fold(layers=(LayerFold(lanes=3), LayerFold(lanes=4)), input_per_beat=items)), tmp_path / "b")
    samples = (np.random.default_rng(1).random((12, STEPS, *SHAPE)) < (0.5 if pool is None else 0.1)).astype(np.uint8)
    result = simulate(tmp_path / "b", samples)
    assert (result.mismatches, result.cycles_mispredicted) == (0, 0)
    for spikes in golden.run(net, samples).spikes:
        assert 0.01 < spikes.mean() < 0.95

    # The beats of a sample, taken apart as interface.json says.
    interface = json.loads((tmp_path / "b" / "interface.json").read_text())
    packed = pack_samples(BuildFolder.load(tmp_path / "b"), samples)
    assert packed.shape[1] == interface["beats_per_window"] == 36 * 2 // items
    port = next(p for p in interface["ports"] if p["name"] == "i__payload")
    for q, places in enumerate(interface["first_beats"]):
        beat = int.from_bytes(packed[0, q].tobytes(), "big")
        for item, place in enumerate(places):
            mask = beat >> item * port["item_bits"] & (1 << port["item_bits"]) - 1
            assert [mask >> t & 1 for t in range(STEPS)] == [int(samples[(0, t, *place)]) for t in range(STEPS)]
