"""From which sum on neurons spike: held against the golden model, for many types; what has no such sum is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from support.networks import random_network
from support.random_programs import RandomNeuron

from spikeloom.gen import limits
from spikeloom.gen.fold import PRESETS, Fold, LayerFold
from spikeloom.gen.limits import spiking_limits
from spikeloom.gen.plan import make_plan
from spikeloom.model.bounds import layer_bounds
from spikeloom.model.connections import Dense
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.layers import Layer
from spikeloom.model.network import Network, Neuron, Readout, StaticInput
from spikeloom.model.neurons.arrays import Population
from spikeloom.model.neurons.neuron_type import NeuronType, Registers
from spikeloom.model.neurons.program import Number
from spikeloom.model.numerics import Shift


def one_layer(neuron: NeuronType, *, seed: int = 0, neurons: int = 6, steps: int = 5) -> Network:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-8, 8, (neurons, 9)).astype(np.int8)
    layer = Layer(name="only", connection=Dense(weight=weight, weight_bits=4, bias=rng.integers(-90, 90, neurons)),
                  neuron=neuron)
    return Network.chain(name="one", input=StaticInput(shape=(9,), bits=4), layers=(layer,), steps=steps,
                         readout=Readout(kind="count"))


def spikes(network: Network, sums: np.ndarray) -> np.ndarray:
    """Whether each neuron spikes at all with each of the sums: (sums, neurons)."""
    layer = network.layers[0]
    population = Population(layer.program, (len(sums), layer.outputs), np.int64, layer.constants, constant_sum=True)
    ever, now = np.zeros((2, len(sums), layer.outputs), np.bool_)
    for step in range(network.steps):
        population.step(sums[:, None] + layer.biases, now, last=step == network.steps - 1)
        ever |= now
    return ever


@pytest.mark.parametrize("seed", range(20))
def test_random_types(seed: int) -> None:
    """Either the limits say of every sum whether the neuron spikes, or one that contradicts them is named."""
    rng = np.random.default_rng(seed)
    own = rng.random() < 0.5
    threshold = rng.integers(1, 90, 6) if own else np.array([40])
    network = one_layer(RandomNeuron(seed, threshold, np.array([5])), seed=seed)
    bounds = layer_bounds(network, 0)
    low, high = bounds.accumulator
    sums = np.arange(low, high + 1)
    can_be = (sums[:, None] >= bounds.sums.low) & (sums[:, None] <= bounds.sums.high)
    ever = spikes(network, sums)
    if ((np.diff(ever.astype(int), axis=0) < 0) & can_be[1:] & can_be[:-1]).any():
        with pytest.raises(SpikeloomError, match="layer only: updates must be 'all': neurons that spike with a sum of"):
            spiking_limits(network, 0)
        return
    found = spiking_limits(network, 0)
    np.testing.assert_array_equal(ever[can_be], (sums[:, None] >= found)[can_be])
    assert found.min() >= low
    assert found.max() <= high + 1


@dataclass(frozen=True, eq=False)
class Band(NeuronType):
    """Spikes within a band of sums."""

    registers: ClassVar[Mapping[str, int | bool]] = {"v": 0}

    def step(self, x: Number, r: Registers) -> tuple[Number, Number]:
        r.v = x - (x >> 1)
        return (r.v > 10) & ~(r.v > 20), r.v


def test_a_band_is_refused() -> None:
    network = one_layer(Band())
    fold = Fold(layers=(LayerFold(updates="spiking"),))
    with pytest.raises(SpikeloomError, match="layer only: updates must be 'all': neurons that spike with a sum of 21 "
                                             r"\(with bias\) do not with \d+"):
        make_plan(network, fold).limits(0)


def test_too_many_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    network = one_layer(Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.arange(1, 7), fraction_bits=2), seed=9)
    monkeypatch.setattr(limits, "MAX_SUMS", 1000)
    monkeypatch.setattr(limits, "_known", {})
    with pytest.raises(SpikeloomError, match=r"cannot be tried with \d,\d{3} sums, more than 1,000"):
        spiking_limits(network, 0)


def test_presets_take_no_band(network: Network) -> None:
    neuron = Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array([300]), fraction_bits=2)
    for kind, want in ((neuron, "spiking"), (Band(), "all")):
        big = one_layer(kind, neurons=100)
        assert PRESETS["fast"](big).layers[0].updates == want
    slow = replace(network, steps=17) if network.static else network
    assert {layer.updates for layer in PRESETS["fast"](slow).layers} == {"all"}


def test_who_never_spikes() -> None:
    """Their limit is more than any sum; padding's too."""
    neuron = Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array([1 << 20]), fraction_bits=2)
    network = one_layer(neuron, neurons=5)
    _, high = layer_bounds(network, 0).accumulator
    assert set(spiking_limits(network, 0)) == {high + 1}
    plan = make_plan(network, Fold(layers=(LayerFold(lanes=2, neuron_units=2, updates="spiking"),)))
    bits = plan.layers[0].neurons.neuron.accumulator_bits + 1
    assert {word >> k * bits & ((1 << bits) - 1) for word in plan.limits(0) for k in range(2)} == {high + 1}


def test_layers_without_own_registers(network: Network) -> None:
    """Also of a network with several layers only the first one is looked at."""
    static = random_network(np.random.default_rng(3), sizes=(9, 70, 4), static=True, steps=3)
    assert [layer.updates for layer in PRESETS["fast"](static).layers][1:] == ["all"]
