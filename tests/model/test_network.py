from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.layers import thresholds

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import (
    ALLOWED_WEIGHT_BITS,
    Dense,
    Layer,
    Network,
    Neuron,
    Readout,
    SpikeInput,
    StaticInput,
    weight_range,
)
from spikeloom.model.neurons.parts import Clamp, DualExponential, Gain, Ramp, ResetTo, Trace
from spikeloom.model.neurons.types import Integrator
from spikeloom.model.numerics import Multiply, Shift, Shifts


def dense(outputs: int = 2, inputs: int = 3, **change: Any) -> Dense:
    return Dense(**{"weight": np.ones((outputs, inputs), np.int8), "weight_bits": 4} | change)


def neuron(**change: Any) -> Neuron:
    return Neuron(**{"synapse": Shift(1), "membrane": Shift(2), "threshold": np.array([5]),
                     "fraction_bits": 4} | change)


def layer(name: str = "fc", **change: Any) -> Layer:
    return Layer(**{"name": name, "connection": dense(), "neuron": neuron()} | change)


def network(**change: Any) -> Network:
    return Network.chain(**{"name": "net", "input": SpikeInput(shape=(3,)), "layers": (layer(),), "steps": 5,
                      "readout": Readout.count()} | change)


WRONG: list[tuple[Callable[[], object], str]] = [
    # inputs
    (lambda: StaticInput(shape=()), "input shape must be positive integers, not ()"),
    (lambda: StaticInput(shape=(28, 0)), "input shape must be in 1..2147483647, not 0"),
    (lambda: SpikeInput(shape=(2.0,)), "input shape must be in 1..2147483647, not 2.0"),  # type: ignore[arg-type]
    (lambda: StaticInput(shape=(2,), bits=0), "input bits must be in 1..8, not 0"),
    (lambda: StaticInput(shape=(2,), bits=9), "input bits must be in 1..8, not 9"),
    (lambda: StaticInput(shape=(2,), bits=4.5), "input bits must be in 1..8, not 4.5"),  # type: ignore[arg-type]
    (lambda: StaticInput(shape=(2,), bits="8"), "input bits must be in 1..8, not '8'"),  # type: ignore[arg-type]
    # weights
    (lambda: dense(weight=np.ones((2, 3))), "weight must be integers, not float64"),
    (lambda: dense(weight=np.full((2, 3), np.nan)), "weight must be integers, not float64"),
    (lambda: dense(weight=np.ones((2, 3), object)), "weight must be an array of numbers"),
    (lambda: dense(weight=[[1, 2], [3]]), "weight must be an array, not [[1, 2], [3]]"),
    (lambda: dense(weight_bits=True), "weight_bits must be one of (1, 2, 3, 4, 5, 6, 7, 8, 16), not True"),
    (lambda: dense(weight=np.ones((2, 3), bool)), "weight must be integers, not bool"),
    (lambda: dense(weight=np.ones(3, int)), "weight must have 2 dimensions, not shape (3,)"),
    (lambda: dense(weight=np.ones((0, 3), int)), "weight must not be empty, not of shape (0, 3)"),
    (lambda: dense(weight=np.array([[1, 2], [8, 3]])), "weight[1, 0] is 8, outside -8..7 that weight_bits=4 allows"),
    (lambda: dense(weight=np.array([[-9]])), "weight[0, 0] is -9, outside -8..7 that weight_bits=4 allows"),
    (lambda: dense(weight=np.array([[0, 1]]), weight_bits=1),
     "weight[0, 0] is 0, outside -1 or +1 that weight_bits=1 allows"),
    (lambda: dense(weight=np.array([[1, 1 << 32]])),  # would be 0 in 32 bits
     "weight must be in -2147483648..2147483647, not 1..4294967296"),
    (lambda: dense(weight_bits=0), "weight_bits must be one of (1, 2, 3, 4, 5, 6, 7, 8, 16), not 0"),
    (lambda: dense(weight_bits=9), "weight_bits must be one of (1, 2, 3, 4, 5, 6, 7, 8, 16), not 9"),
    (lambda: dense(weight_bits=4.0), "weight_bits must be one of (1, 2, 3, 4, 5, 6, 7, 8, 16), not 4.0"),
    # biases
    (lambda: dense(bias=np.ones(2)), "bias must be integers, not float64"),
    (lambda: dense(bias=np.ones((1, 2), int)), "bias must have 1 dimensions, not shape (1, 2)"),
    (lambda: dense(bias=np.ones(3, int)), "bias has shape (3,), but the weights have 2 outputs"),
    (lambda: dense(bias=np.array([0, 1 << 47])),
     "bias[1] is 140737488355328, outside -140737488355328..140737488355327"),
    (lambda: dense(bias=np.array([0, (1 << 64) - 1], np.uint64)),  # would be -1 in 64 signed bits
     "bias must be in -9223372036854775808..9223372036854775807, not 0..18446744073709551615"),
    # neurons
    (lambda: neuron(threshold=np.array([1.5])), "threshold must be integers, not float64"),
    (lambda: neuron(threshold=5), "threshold must have 1 dimensions, not shape ()"),
    (lambda: neuron(threshold=np.array([3, -1])), "threshold must be in 0..2**48-1, not -1"),
    (lambda: neuron(threshold=np.array([1 << 48])), "threshold must be in 0..2**48-1, not 281474976710656"),
    (lambda: neuron(threshold=np.array([], int)), "threshold must be in 0..2**48-1, not empty"),
    (lambda: neuron(synapse=2), "synapse must be None, a decay"),
    (lambda: neuron(membrane=4), "membrane must be a Shift, a Shifts or a Multiply decay, not 4"),
    (lambda: neuron(membrane=Multiply(np.array([0, 4097]))), "decay factor c must be in 0..4096, not 4097"),
    (lambda: neuron(reset=Trace(decay=3, amount=1)), "trace decay must be a Shift, a Shifts or a Multiply decay"),
    (lambda: neuron(reset=ResetTo(value=0.5)), "reset value must be in -140737488355327..140737488355327, not 0.5"),
    (lambda: neuron(reset_delay=2), "reset_delay must be in 0..1, not 2"),
    (lambda: neuron(reset_delay=1, reset="none"), "reset_delay 1 needs reset 'zero' or 'subtract', not 'none'"),
    (lambda: neuron(refractory_steps=256), "refractory_steps must be in 0..255, not 256"),
    (lambda: neuron(once=1), "once must be True or False, not 1"),
    (lambda: neuron(adaptation=5), "adaptation must be a Adaptation, not 5"),
    (lambda: neuron(gain=Gain(multiplier=40000)), "gain multiplier must be in -32768..32767, not 40000"),
    (lambda: neuron(clamp=Clamp(low=3, high=2)), "clamp low must be at most high=2, not 3"),
    (lambda: neuron(synapse=Ramp(taps=())), "ramp taps must be 1..4 pairs of delay and gain, not ()"),
    (lambda: neuron(synapse=Ramp(taps=((65, 1),))), "ramp delay must be in 0..64, not 65"),
    (lambda: neuron(synapse=DualExponential(fall=Shift(2), rise=None)), "rise must be a Shift, a Shifts or"),
    (lambda: neuron(synapse=Shifts(0, 3)), "decay shift k must be in 1..15, not 0"),
    (lambda: neuron(fraction_bits=-1), "fraction_bits must be in 0..16, not -1"),
    (lambda: neuron(fraction_bits=17), "fraction_bits must be in 0..16, not 17"),
    (lambda: neuron(fraction_bits=2.0), "fraction_bits must be in 0..16, not 2.0"),
    (lambda: neuron(compare="<"), "compare must be '>' or '>=', not '<'"),
    (lambda: neuron(reset="hard"), "reset must be one of ('zero', 'subtract', 'subtract_again', 'none'), not 'hard'"),
    # layers
    (lambda: layer(name="1st"), "layer name must be a letter followed by up to 63 letters, digits or '_', not '1st'"),
    (lambda: layer(name="a b"), "not 'a b'"),
    (lambda: layer(name="a" * 65), "layer name must be a letter"),
    (lambda: layer(name=3), "not 3"),
    (lambda: layer(neuron=neuron(threshold=np.array([1, 2, 3]))),
     "layer fc: threshold has 3 values, allowed are 1 or 2 (one per neuron)"),
    # readout
    (lambda: Readout(kind="max", step_weights=(1,)),  # type: ignore[arg-type]
     "readout kind must be one of ('psc_sum', 'count', 'first_spike', "),
    (lambda: Readout(kind="count", ties="highest"),  # type: ignore[arg-type]
     "readout ties must be 'lowest_index' or 'membrane', not 'highest'"),
    (lambda: Readout(kind="psc_sum"), "readout step_weights must be given for kind 'psc_sum'"),
    (lambda: Readout(kind="count", step_weights=(1,)), "readout step_weights must not be given for kind 'count'"),
    (lambda: Readout(kind="psc_sum", step_weights=3), "readout step_weights must be integers in 0..65535, not 3"),
    (lambda: Readout(kind="psc_sum", step_weights=(1, -1)), "not -1"),
    (lambda: Readout(kind="psc_sum", step_weights=(65536,)), "not 65536"),
    (lambda: Readout(kind="psc_sum", step_weights=(0.5,)), "not 0.5"),  # type: ignore[arg-type]
    # networks
    (lambda: network(name=""), "network name must be letters, digits, '_', '.' or '-', not ''"),
    (lambda: network(name="../x"), "not '../x'"),
    (lambda: network(name=None), "not None"),
    (lambda: network(steps=0), "network net: steps must be in 1..65536, not 0"),
    (lambda: network(steps=65537), "network net: steps must be in 1..65536, not 65537"),
    (lambda: network(steps=5.0), "network net: steps must be in 1..65536, not 5.0"),
    (lambda: network(layers=()), "network 'net': layers must be a sequence of Layers and not be empty, not ()"),
    (lambda: network(layers=(layer(), layer(connection=dense(2, 2)))),
     "network net: layer names must differ, not ['fc', 'fc']"),
    (lambda: network(readout=Readout.psc_sum(4, Shift(1))),
     "network net: readout has 4 step_weights, but the network has 5 steps"),
    (lambda: network(layers=(layer(neuron=Integrator(fraction_bits=17)),)), "fraction_bits must be in 0..16, not 17"),
    (lambda: network(input=SpikeInput(shape=(2, 2))), "layer fc: takes 3 inputs, but the input gives 4"),
    (lambda: network(layers=(layer(), layer("out"))), "layer out: takes 3 inputs, but layer fc gives 2"),
    (lambda: network(metadata=[1]), "network net: metadata must be a mapping, not [1]"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SpikeloomError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("bits", ALLOWED_WEIGHT_BITS)
def test_extreme_weights_are_allowed(bits: int) -> None:
    low, high = weight_range(bits)
    assert dense(weight=np.array([[low, high]]), weight_bits=bits).weight.tolist() == [[low, high]]


def test_arrays_are_frozen_copies() -> None:
    weight = np.ones((2, 3), np.int64)
    connection = dense(weight=weight)
    weight[0, 0] = 7
    assert connection.weight[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        connection.weight[0, 0] = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        connection.weight_bits = 2  # type: ignore[misc]


def test_properties() -> None:
    static = network(input=StaticInput(shape=(1, 3), bits=6), layers=(layer(), layer("out", connection=dense(4, 2))))
    assert (static.topology, static.classes, static.static) == ("3-2-4", 4, True)
    assert [static.planes(0), static.planes(1)] == [6, 5]
    assert [network().planes(0), network().static] == [5, False]
    assert thresholds(layer()).tolist() == [5, 5]
    assert layer().biases.tolist() == [0, 0]
    assert layer(connection=dense(bias=np.array([1, -2]))).biases.tolist() == [1, -2]


def test_hash_changes_with_everything_that_matters() -> None:
    base = network()
    lists = network(input=SpikeInput(shape=[3]), layers=[layer()],  # type: ignore[arg-type]
                    readout=Readout.count())
    same = [network(name="other"), network(metadata={"seed": 1}), lists,
            network(layers=(layer(connection=dense(bias=np.zeros(2, int))),)),
            network(layers=(layer(neuron=neuron(threshold=np.array([5, 5]))),))]
    assert {n.hash for n in same} == {base.hash}
    weight = np.ones((2, 3), int)
    weight[1, 2] = 0
    connections = [dense(weight=weight), dense(weight_bits=5), dense(bias=np.array([0, 1]))]
    neurons = [neuron(**change) for change in (
        {"synapse": Shift(2)}, {"synapse": Multiply(1)}, {"membrane": Shift(1)}, {"threshold": np.array([5, 6])},
        {"fraction_bits": 3}, {"compare": ">="}, {"reset": "subtract"})]
    different = [network(input=StaticInput(shape=(3,))), network(input=StaticInput(shape=(3,), bits=7)),
                 network(input=SpikeInput(shape=(3, 1))), network(steps=4, readout=Readout.count()),
                 network(readout=Readout.psc_sum(5, Shift(1))), network(layers=(layer("b"),)),
                 network(readout=Readout.count(ties="membrane")),
                 *(network(layers=(layer(connection=c),)) for c in connections),
                 *(network(layers=(layer(neuron=n),)) for n in neurons)]
    assert len({base.hash, *(n.hash for n in different)}) == 1 + len(different)


@pytest.mark.parametrize(("steps", "synapse", "weights"), [
    (5, Shift(1), (31, 30, 28, 24, 16)),
    (3, Shift(0), (1, 1, 1)),
    (3, Multiply(0), (1, 1, 1)),
    (4, Multiply(4096), (4, 3, 2, 1)),
    (16, Shift(1), tuple((1 << 16) - (1 << t) for t in range(16)))])
def test_psc_sum(steps: int, synapse: Shift | Multiply, weights: tuple[int, ...]) -> None:
    assert Readout.psc_sum(steps, synapse).step_weights == weights


def test_ties() -> None:
    for make in (Readout.count(), Readout.psc_sum(5, Shift(1)), Readout.psc_sum(5, Multiply(4096))):
        assert (make.ties, make.tie_winner) == ("lowest_index", "lowest index")
    for make in (Readout.count(ties="membrane"), Readout.psc_sum(5, Shift(1), ties="membrane"),
                 Readout.psc_sum(5, Multiply(4096), ties="membrane")):
        assert (make.ties, make.tie_winner) == ("membrane", "highest membrane potential in the last step")
        assert make != dataclasses.replace(make, ties="lowest_index")


def test_hash_is_the_same_on_every_machine() -> None:
    """Builds and logs name networks by it."""
    assert network().hash == "ec56a145a68ac9b554406bffa467ff2edb3892a476da2f907b3f68951387a2ce"


@pytest.mark.parametrize(("steps", "synapse"), [
    (8, Shift(2)), (5, Multiply(2731)), (30, Shift(2)), (100, Shift(5)), (1024, Multiply(1)), (7, Multiply(4000))])
def test_psc_sum_follows_the_filter(steps: int, synapse: Shift | Multiply) -> None:
    got = Readout.psc_sum(steps, synapse).step_weights
    decay, totals = 1 - 1 / synapse.tau_steps, []
    for t in range(steps):
        psc, total = 0.0, 0.0
        for now in range(steps):
            psc = decay * psc + (now == t) / synapse.tau_steps
            total += psc
        totals.append(total)
    scale = got[0] / totals[0]
    assert max(abs(g - scale * c) for g, c in zip(got, totals, strict=True)) <= 1 + 1e-9
    assert max(got) < 1 << 16
    assert got[-1] > 0
    assert math.gcd(*got) == 1


@pytest.mark.parametrize("name", ["readout", "i", "o", "clk", "rst"])
def test_names_that_the_hardware_needs(name: str) -> None:
    with pytest.raises(SpikeloomError, match=f"layer name must not be '{name}'"):
        Layer(name=name, connection=Dense(weight=np.array([[1]]), weight_bits=4),
              neuron=Neuron(synapse=Shift(1), membrane=Shift(1), threshold=np.array([1]), fraction_bits=0))


def test_integers_of_numpy_are_integers() -> None:
    """The same network, with the same hash, and one that can be written."""
    def network(number: type) -> Network:
        neuron = Neuron(synapse=Shift(1), membrane=Shift(1), threshold=np.array([1]), fraction_bits=number(2))
        return Network.chain(name="n", input=StaticInput(shape=(number(1),), bits=number(4)), steps=number(1),
                       readout=Readout(kind="psc_sum", step_weights=(number(1),)),
                       layers=(Layer(name="a", neuron=neuron,
                                     connection=Dense(weight=np.array([[1]]), weight_bits=4)),))

    assert network(np.int64).hash == network(int).hash
    assert type(network(np.int64).steps) is int
