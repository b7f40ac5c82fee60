"""Our networks as NIR files, and back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from support.networks import random_conv_network, random_graph, random_network

import spikeloom
from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.exchange.dialects import DIALECTS
from spikeloom.model.exchange.export import export_nir, own_network
from spikeloom.model.exchange.meaning import meaning
from spikeloom.model.exchange.nir_file import read_nir
from spikeloom.model.exchange.real_network import run
from spikeloom.model.network import Dense, Network, Population, Projection, Readout, SpikeInput
from spikeloom.model.neurons.parts import Ramp, Synapse
from spikeloom.model.neurons.types import Neuron


@pytest.mark.parametrize("maker", [random_network, random_conv_network, random_graph])
def test_there_and_back(maker: Any, tmp_path: Path) -> None:
    done = 0
    for seed in range(40):
        network = maker(np.random.default_rng([seed, 9]))
        path = tmp_path / f"{seed}.nir"
        if any(isinstance(p.neuron, Neuron) and isinstance(p.neuron.synapse, Synapse) for p in network.populations):
            with pytest.raises(SpikeloomError, match="NIR has no node for a synapse"):
                export_nir(network, path)
            continue
        with suppress(SpikeloomError):  # a pool, or a bias, that NIR does not have
            export_nir(network, path)
        if not path.exists():
            continue
        done += 1
        back = own_network(read_nir(path))
        assert back is not None
        assert back.hash == network.hash
        nir.read(path, type_check=False)
    assert done > (0 if maker is random_graph else 10)


@pytest.mark.parametrize("name", ["fashion-mnist-400-400", "fashion-mnist-15c5-40c5-300"])
def test_shipped_networks(name: str, tmp_path: Path) -> None:
    network = spikeloom.load(name)
    unsaid = export_nir(network, tmp_path / "a.nir")
    assert "readout psc_sum" in unsaid
    back = own_network(read_nir(tmp_path / "a.nir"))
    assert back is not None
    assert back.hash == network.hash
    graph = nir.read(tmp_path / "a.nir")
    assert {type(node).__name__ for node in graph.nodes.values()} >= {"CubaLIF", "Input", "Output"}


def simple(**neuron: Any) -> Network:
    rng = np.random.default_rng(0)

    def dense(*shape: int) -> Dense:
        return Dense(weight=rng.integers(-7, 8, shape), weight_bits=4, bias=rng.integers(-3, 4, shape[0]))

    kind = Neuron(threshold=np.array([6]), **neuron)
    return Network(
        name="n", input=SpikeInput(shape=(9,)), steps=12, readout=Readout(kind="raster"), output="b",
        populations=(Population(name="a", shape=(8,), neuron=kind), Population(name="b", shape=(5,), neuron=kind)),
        projections=(Projection(source="input", target="a", connection=dense(8, 9)),
                     Projection(source="a", target="a", connection=dense(8, 8), delay=1),
                     Projection(source="a", target="b", connection=dense(5, 8)),
                     Projection(source="input", target="b", connection=dense(5, 9), delay=1)))


def test_nodes_mean_the_same(tmp_path: Path) -> None:
    """Without decays nothing is rounded: NIR's own equations give our spikes."""
    network = simple()
    assert export_nir(network, tmp_path / "a.nir") == []
    samples = (np.random.default_rng(1).random((6, 12, 9)) < 0.4).astype(np.uint8)
    real, _ = meaning(read_nir(tmp_path / "a.nir"), DIALECTS["nir"], "n")
    got, want = run(real, samples).spikes, golden.run(network, samples).spikes
    for layer, spikes in zip(network.layers, want, strict=True):
        assert 0.05 < spikes.mean() < 0.9
        np.testing.assert_array_equal(got[layer.name], spikes)


def test_what_is_not_said(tmp_path: Path) -> None:
    network = simple(reset="subtract", refractory_steps=2, compare=">=")
    assert export_nir(network, tmp_path / "a.nir") == [
        f"layer {name}: {what}" for name in "ab" for what in ("compare >=", "reset subtract", "refractory_steps 2")]


def test_changed_nodes(tmp_path: Path) -> None:
    export_nir(simple(), tmp_path / "a.nir")
    with h5py.File(tmp_path / "a.nir", "a") as file:
        file["node/nodes/a/v_threshold"][0] = 3
    with pytest.raises(SpikeloomError, match="nodes were changed since spikeloom wrote the file"):
        own_network(read_nir(tmp_path / "a.nir"))


def test_no_node_for_it(tmp_path: Path) -> None:
    network = simple(synapse=Ramp(taps=((0, 1),)))
    with pytest.raises(SpikeloomError, match="layer a: NIR has no node for a synapse of type Ramp"):
        export_nir(network, tmp_path / "a.nir")
    assert not (tmp_path / "a.nir").exists()


def test_nobody_elses_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.nir").write_text("mine")
    with pytest.raises(SpikeloomError, match="is not a file that this command wrote"):
        export_nir(simple(), tmp_path / "a.nir")
    export_nir(simple(), tmp_path / "b.nir")
    export_nir(replace(simple(), steps=3), tmp_path / "b.nir")
