"""The golden model against the equations, written out once more for one neuron at a time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Dense, Layer, Network, Neuron, Readout, SpikeInput, StaticInput
from spikeloom.model.numerics import Decay, Multiply, Shift
from spikeloom.model.samples import encode_input

Strategies = Callable[..., st.SearchStrategy[Network]]


def decayed(decay: Decay, x: int) -> int:
    return x - x // 2**decay.k if isinstance(decay, Shift) else x * decay.c // 4096


def scalar_run(network: Network, sample: np.ndarray) -> tuple[list[list[list[int]]], list[int], list[int], int]:
    """Spikes [layer][step][neuron], scores, potentials and class of one sample, in Python integers."""
    if isinstance(network.input, StaticInput):
        pixels = [int(p) // 2 ** (8 - network.input.bits) for p in sample.ravel()]
        x = [pixels] * network.steps
    else:
        x = [[int(s) for s in step.ravel()] for step in sample]
    spikes = []
    potentials: list[int] = []
    for layer in network.layers:
        weight, bias, neuron = layer.connection.weight.tolist(), layer.connection.bias, layer.neuron
        out = [[0] * len(weight) for _ in range(network.steps)]
        potentials = [0] * len(weight)
        for i, row in enumerate(weight):
            theta = int(neuron.threshold[i if len(neuron.threshold) > 1 else 0])
            j = u = 0
            for t in range(network.steps):
                total = sum(w * s for w, s in zip(row, x[t], strict=True)) + (int(bias[i]) if bias is not None else 0)
                j = decayed(neuron.synapse, j) + total * 2**neuron.fraction_bits
                u = potentials[i] = decayed(neuron.membrane, u) + j
                if u > theta or (u == theta and neuron.compare == ">="):
                    out[t][i] = 1
                    u = 0 if neuron.reset == "zero" else u - theta
        spikes.append(out)
        x = out
    scores = [sum(c * x[t][k] for t, c in enumerate(network.step_weights)) for k in range(network.classes)]
    best = 0
    for k in range(1, network.classes):
        higher = network.readout.ties == "membrane" and scores[k] == scores[best] and potentials[k] > potentials[best]
        if scores[k] > scores[best] or higher:
            best = k
    return spikes, scores, potentials, best


def assert_equal(network: Network, samples: np.ndarray) -> golden.GoldenResult:
    result = golden.run(network, samples)
    for n, sample in enumerate(samples):
        spikes, scores, potentials, klass = scalar_run(network, sample)
        assert [layer[n].astype(int).tolist() for layer in result.spikes] == spikes
        assert result.scores[n].tolist() == scores
        assert result.potentials[n].tolist() == potentials
        assert result.classes[n] == klass
    return result


def random_samples(network: Network, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if network.static:
        return rng.integers(0, 256, (count, *network.input.shape), np.uint8)
    return rng.integers(0, 2, (count, network.steps, *network.input.shape), np.uint8)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), seed=st.integers(0, 99))
def test_random_networks(random_networks: Strategies, data: st.DataObject, seed: int) -> None:
    network = data.draw(random_networks())
    assert_equal(network, random_samples(network, 4, seed))


def one_neuron(weight: Any, threshold: Any, *, steps: int, static: bool = False, bias: Any = None,
               **neuron: Any) -> Network:
    weight = np.array(weight, ndmin=2)
    shape = (weight.shape[1],)
    settings = {"synapse": Shift(1), "membrane": Shift(2), "fraction_bits": 0,
                "threshold": np.array(threshold, ndmin=1)}
    return Network.chain(name="one", steps=steps, readout=Readout.count(),
                   input=StaticInput(shape=shape) if static else SpikeInput(shape=shape),
                   layers=(Layer(name="fc", connection=Dense(weight=weight, weight_bits=16, bias=bias),
                                 neuron=Neuron(**settings | neuron)),))


def trains(result: golden.GoldenResult) -> list[list[int]]:
    return result.spikes[-1][0].T.astype(int).tolist()


def test_by_hand() -> None:
    # J = 8, 4, 2, 1, 1 and, without a spike, U = 8, 10, 10, 9, 8; with one at 10, U goes on with 2, 3, 4.
    samples = np.array([[[1], [0], [0], [0], [0]]], np.uint8)
    assert trains(assert_equal(one_neuron([8], 9, steps=5), samples)) == [[0, 1, 0, 0, 0]]
    assert trains(assert_equal(one_neuron([8], 10, steps=5), samples)) == [[0, 0, 0, 0, 0]]
    assert trains(assert_equal(one_neuron([8], 10, steps=5, compare=">="), samples)) == [[0, 1, 0, 0, 0]]


@pytest.mark.parametrize("compare", [">", ">="])
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("synapse", [Shift(1), Multiply(2731)])
@pytest.mark.parametrize("membrane", [Shift(2), Multiply(3277)])
@pytest.mark.parametrize("static", [True, False])
def test_every_combination(static: bool, membrane: Decay, synapse: Decay, reset: str, compare: str) -> None:
    rng = np.random.default_rng(1)
    sizes = (6, 8, 7, 4)
    layers = []
    for i in range(3):
        gain = 200 if static and i == 0 else 1
        layers.append(Layer(
            name=f"fc{i}",
            connection=Dense(weight=rng.integers(-8, 8, (sizes[i + 1], sizes[i])), weight_bits=4,
                             bias=rng.integers(-3, 4, sizes[i + 1]) * gain),
            neuron=Neuron(synapse=synapse, membrane=membrane, fraction_bits=3, reset=reset, compare=compare,  # type: ignore[arg-type]
                          threshold=rng.integers(1, 12, sizes[i + 1]) * gain * 8)))
    network = Network.chain(name="all", steps=7, layers=tuple(layers), readout=Readout.psc_sum(7, synapse),
                      input=StaticInput(shape=(2, 3), bits=7) if static else SpikeInput(shape=(2, 3)))
    result = assert_equal(network, random_samples(network, 30, 2))
    rates = [layer.mean() for layer in result.spikes]
    assert all(0.02 < rate < 0.98 for rate in rates), rates  # or the comparison would prove little


def test_exactly_at_the_threshold() -> None:
    sample = np.ones((1, 2, 1), np.uint8)
    # U = 4, then 3 + 2 + 4 = 9 without a spike before.
    for threshold, compare, expected in ((4, ">", [0, 1]), (4, ">=", [1, 1]), (9, ">", [0, 0]), (9, ">=", [0, 1])):
        network = one_neuron([4], threshold, steps=2, compare=compare)
        assert trains(assert_equal(network, sample)) == [expected], (threshold, compare)


def test_threshold_per_neuron() -> None:
    network = one_neuron([[5], [5], [5]], [4, 5, 6], steps=1)
    assert trains(assert_equal(network, np.ones((1, 1, 1), np.uint8))) == [[1], [0], [0]]


def test_ties_go_to_the_lowest_index() -> None:
    network = one_neuron([[1], [5], [5]], 2, steps=3)
    silent, tied = np.zeros((1, 3, 1), np.uint8), np.ones((1, 3, 1), np.uint8)
    assert assert_equal(network, silent).classes.tolist() == [0]
    result = assert_equal(network, tied)
    assert result.scores[0, 1] == result.scores[0, 2] > result.scores[0, 0]
    assert result.classes.tolist() == [1]


def test_ties_go_to_the_highest_potential() -> None:
    # None fires; the higher the weight, the higher the potential, and equal weights have equal ones.
    network = one_neuron([[1], [4], [4], [2]], 100, steps=3)
    network = replace(network, readout=Readout.count(ties="membrane"))
    silent, driven = np.zeros((1, 3, 1), np.uint8), np.ones((1, 3, 1), np.uint8)
    assert assert_equal(network, silent).classes.tolist() == [0]
    result = assert_equal(network, driven)
    assert result.potentials.dtype == np.int64
    assert result.potentials[0, 1] == result.potentials[0, 2] > result.potentials[0, 3] > result.potentials[0, 0]
    assert result.classes.tolist() == [1]


def test_a_tie_breaker_is_none_of_the_scores() -> None:
    """The highest potential without the highest score wins nothing; below zero, the highest is the nearest to zero."""
    network = one_neuron([[5, -1], [9, -3], [0, -2]], np.array([4, 50, 90]), steps=2)
    network = replace(network, readout=Readout.count(ties="membrane"))
    fires, sinks = np.array([[[1, 0], [1, 0]]], np.uint8), np.array([[[0, 1], [0, 1]]], np.uint8)
    result = assert_equal(network, fires)
    assert result.classes.tolist() == [0] != result.potentials.argmax(axis=1).tolist()
    assert assert_equal(network, sinks).classes.tolist() == [0]
    assert (assert_equal(network, sinks).potentials < 0).all()


@pytest.mark.parametrize("compare", [">", ">="])
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("steps", [1, 5])
def test_potentials_are_those_before_the_last_reset(steps: int, reset: str, compare: str) -> None:
    rng = np.random.default_rng(7)
    network = one_neuron(rng.integers(-3, 5, (6, 8)), 5, steps=steps, reset=reset, compare=compare)
    network = replace(network, readout=Readout.psc_sum(steps, Shift(1), ties="membrane"))
    samples = random_samples(network, 200, 4)
    result = assert_equal(network, samples)
    assert (result.potentials > 5).any()  # as high only before the reset
    lowest = golden.run(replace(network, readout=Readout.psc_sum(steps, Shift(1))), samples)
    assert np.array_equal(lowest.scores, result.scores)
    tied = (result.scores == result.scores.max(axis=1, keepdims=True)).sum(axis=1) > 1
    assert tied[lowest.classes != result.classes].all()
    assert 10 < (lowest.classes != result.classes).sum() < tied.sum()


@pytest.mark.parametrize("synapse", [Shift(1), Multiply(3000)])
@pytest.mark.parametrize("bias", [None, [(1 << 40) + 1]])
def test_wide_states_do_not_wrap(bias: list[int] | None, synapse: Decay) -> None:
    # 32 bits would not do, nor would float32 sums.
    network = one_neuron([[32767] * 600], (1 << 40) + 3, steps=6, bias=None if bias is None else np.array(bias),
                         static=True, synapse=synapse, fraction_bits=2, reset="subtract")
    samples = np.stack([np.full(600, 255, np.uint8), np.arange(600).astype(np.uint8)])
    assert_equal(network, samples)


def test_products_of_a_decay_do_not_wrap() -> None:
    # The states fit 32 bits, 4096 times the states does not.
    network = one_neuron([[32767] * 60], 5_000_000, steps=6, synapse=Multiply(3000), membrane=Multiply(3500))
    result = assert_equal(network, np.ones((1, 6, 60), np.uint8))
    assert 0 < result.spikes[0].sum() < 6


def test_sums_beyond_float32_are_exact() -> None:
    # 600 * 255 * 32767 + 1 is odd and needs 33 bits.
    total = 599 * 255 * 32767 + 255
    exact = {threshold: trains(assert_equal(one_neuron([[32767] * 599 + [1]], threshold, steps=1, static=True),
                                            np.full((1, 600), 255, np.uint8))) for threshold in (total - 1, total)}
    assert exact == {total - 1: [[1]], total: [[0]]}


def test_shape_is_flattened_in_c_order() -> None:
    network = Network.chain(name="order", input=StaticInput(shape=(2, 2)), steps=1, readout=Readout.count(), layers=(
        Layer(name="fc", connection=Dense(weight=np.array([[0, 1, 0, 0]]), weight_bits=4),
              neuron=Neuron(synapse=Shift(1), membrane=Shift(1), threshold=np.array([0]), fraction_bits=0)),))
    samples = np.array([[[0, 9], [0, 0]], [[9, 0], [9, 9]]], np.uint8)
    assert golden.run(network, samples).spikes[0].ravel().tolist() == [True, False]


def test_batches_are_one_run() -> None:
    network = one_neuron([[5, -3], [2, 2]], 6, steps=4)
    samples, done = random_samples(network, 25, 3), []
    parts = list(golden.batches(network, samples, batch=10, progress=done.append))
    whole = golden.run(network, samples)
    assert done == [10, 10, 5]
    assert np.array_equal(np.concatenate([p.spikes[0] for p in parts]), whole.spikes[0])
    assert np.array_equal(np.concatenate([p.classes for p in parts]), whole.classes)
    assert np.array_equal(np.concatenate([p.potentials for p in parts]), whole.potentials)


def test_no_samples() -> None:
    network = one_neuron([1], 1, steps=3)
    for ties in ("lowest_index", "membrane"):
        result = golden.run(replace(network, readout=Readout.count(ties=ties)),
                            np.zeros((0, 3, 1), np.uint8))
        assert result.spikes[0].shape == (0, 3, 1)
        assert (result.classes.shape, result.potentials.shape) == ((0,), (0, 1))


@pytest.mark.parametrize("bits", range(1, 9))
def test_pixels_keep_their_highest_bits(bits: int) -> None:
    network = Network.chain(name="bits", input=StaticInput(shape=(256,), bits=bits), steps=1, readout=Readout.count(),
                      layers=one_neuron([[1] * 256], 0, steps=1).layers)
    got = encode_input(network, np.arange(256, dtype=np.uint8)[None])
    assert got[0].tolist() == [p // 2 ** (8 - bits) for p in range(256)]
    assert got.dtype == np.uint8


def test_spikes_may_be_bool_and_of_any_shape_of_that_size() -> None:
    network = one_neuron([1, 1, 1, 1], 1, steps=2)
    spikes = np.random.default_rng(0).integers(0, 2, (3, 2, 2, 2)).astype(bool)
    assert np.array_equal(encode_input(network, spikes), spikes.reshape(3, 2, 4))


STATIC = one_neuron([1, 1, 1, 1], 1, steps=2, static=True)
SPIKING = one_neuron([1, 1, 1, 1], 1, steps=2)


@pytest.mark.parametrize(("network", "samples", "message"), [
    (STATIC, np.zeros((1, 4)), "network one: samples must be uint8, not float64"),
    (STATIC, np.zeros((1, 4), np.int64), "network one: samples must be uint8, not int64"),
    (STATIC, np.full((1, 4), None), "network one: samples must be an array of numbers"),
    (STATIC, np.zeros((1, 4), bool), "network one: a sample must be uint8 of shape (4,), not bool of shape (4,)"),
    (STATIC, np.zeros((1, 5), np.uint8), "network one: a sample must be uint8 of shape (4,), not uint8 of shape (5,)"),
    (STATIC, np.zeros(4, np.uint8), "network one: a sample must be uint8 of shape (4,), not uint8 of shape ()"),
    (STATIC, np.zeros((), np.uint8), "network one: a sample must be uint8 of shape (4,), not uint8 of shape ()"),
    (SPIKING, np.zeros((1, 2, 4)), "network one: samples must be uint8, not float64"),
    (SPIKING, np.zeros((1, 4), np.uint8), "a sample must be spikes of shape (2, 4) (steps first), not (4,)"),
    (SPIKING, np.zeros((1, 4, 2), np.uint8), "must be spikes of shape (2, 4) (steps first), not (4, 2)"),
    (SPIKING, np.zeros((1, 2, 5), np.uint8), "must be spikes of shape (2, 4) (steps first), not (2, 5)"),
    (SPIKING, np.full((1, 2, 4), 2, np.uint8), "network one: spikes must be 0 or 1, not 2"),
])
def test_wrong_samples(network: Network, samples: np.ndarray, message: str) -> None:
    with pytest.raises(SpikeloomError, match=re.escape(message)):
        golden.run(network, samples)
