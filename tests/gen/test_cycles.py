"""The cycle model by itself; that it is exact, the simulations show."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.networks import random_fold, random_network, random_samples

from spikeloom.gen.build import describe
from spikeloom.gen.cycles import count_cycles, count_stream_cycles, cycle_bounds, predict_latency, turn_slack
from spikeloom.gen.fold import PRESETS, Fold, LayerFold
from spikeloom.gen.plan import make_plan
from spikeloom.model import golden
from spikeloom.model.network import Dense, Layer, Network, Neuron, Readout, StaticInput
from spikeloom.model.numerics import Shift
from spikeloom.model.samples import encode_input


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9))
def test_relations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    plan = make_plan(network, random_fold(rng, network))
    samples = random_samples(rng, network, 5)
    counts = count_cycles(plan, samples)
    stream = count_stream_cycles(plan, samples)

    # Each sample by itself: no other sample of the batch matters.
    for n in range(5):
        alone = count_cycles(plan, samples[n:n + 1])
        for name in ("latency", "layer_end", "events", "additions"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(counts, name)[n])
        assert count_stream_cycles(plan, samples[n:n + 1]) == counts.latency[n]

    # Back to back: the first as if alone, none earlier than alone, none later than one after the other.
    assert stream[0] == counts.latency[0]
    assert (np.diff(stream) > 0).all()
    slack = turn_slack(plan)
    assert (stream >= counts.latency - slack).all()
    assert (stream <= np.cumsum(counts.latency + 1 + slack) - 1).all()
    # What follows does not change what was before.
    np.testing.assert_array_equal(count_stream_cycles(plan, samples[:3]), stream[:3])

    # Nothing is faster than silence, nothing slower than everything at once (and the turns that it may have to wait).
    least, most = cycle_bounds(plan)
    assert least <= counts.latency.min() <= counts.latency.max() <= most

    # Layers end in order, and the class comes after the last.
    assert (np.diff(counts.layer_end, axis=1) > 0).all()
    assert (counts.latency > counts.layer_end[:, -1]).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9))
def test_events_are_active_channels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    plan = make_plan(network, random_fold(rng, network))
    samples = random_samples(rng, network, 3)
    counts = count_cycles(plan, samples)
    signals = [encode_input(network, samples), *golden.run(network, samples).spikes]
    for index, layer in enumerate(plan.layers):
        signal = signals[index] != 0
        if signal.ndim == 3:  # an event carries a window's steps
            signal = signal.reshape(3, plan.windows, plan.window_steps, -1).any(axis=2)
        events = signal.reshape(3, -1).sum(axis=1)
        np.testing.assert_array_equal(counts.events[:, index], events)
        cycles = events * layer.synapse.queue.passes
        if layer.sparse is not None:
            cycles = (_nonzero_of_a_lane(network, index, layer.synapse.lanes) * signal.reshape(3, -1, len(
                network.layers[index].connection.weight[0]))).sum(axis=(1, 2))
        np.testing.assert_array_equal(counts.additions[:, index], cycles * layer.synapse.lanes)


def _nonzero_of_a_lane(network: Network, index: int, lanes: int) -> npt.NDArray[np.int64]:
    """Of each input of a layer: the weights that are not 0 of the lane that has most of them, and 1 at least."""
    weight = network.layers[index].connection.weight
    return np.max([np.count_nonzero(weight[lane::lanes], axis=0) for lane in range(lanes)], axis=0).clip(1)


def test_an_event_costs_a_cycle_a_pass(network: Network) -> None:
    plan = make_plan(network, Fold(layers=(LayerFold(),) * 3))
    images = np.zeros((4, 12), np.uint8)
    for n in range(4):
        images[n, :9 + n] = 255
    # 20 passes; the first follows the writer, and may be through before the last beat.
    assert set(np.diff(count_cycles(plan, images).layer_end[:, 0]).tolist()) <= {19, 20}


def test_bounds_are_reached() -> None:
    """By a network that does not fire, and by one that always does."""
    rng = np.random.default_rng(0)
    for threshold, value, bound in ((1000, 0, 0), (0, 255, 1)):
        layers = tuple(Layer(
            name=f"a{k}", connection=Dense(weight=rng.integers(1, 8, shape), weight_bits=4),
            neuron=Neuron(synapse=Shift(1), membrane=Shift(1), threshold=np.array([threshold]), fraction_bits=0))
            for k, shape in enumerate([(7, 5), (3, 7)]))
        network = Network.chain(name="n", input=StaticInput(shape=(5,)), layers=layers, steps=2,
                                readout=Readout.count())
        for name, preset in PRESETS.items():
            plan = make_plan(network, preset(network))
            sample = np.full((1, 5), value, np.uint8)
            assert count_cycles(plan, sample).latency[0] == cycle_bounds(plan)[bound], name


@pytest.mark.parametrize("count", [0, 1, 3])
def test_prediction_from_a_manifest(network: Network, spiking: Network, count: int) -> None:
    rng = np.random.default_rng(1)
    fold = Fold(layers=(LayerFold(lanes=3), LayerFold(lanes=2)), window_steps=3, input_per_beat=2)
    for net, plan in ((network, make_plan(network, PRESETS["balanced"](network))), (spiking, make_plan(spiking, fold))):
        samples = random_samples(rng, net, 3)[:count]
        done: list[int] = []
        predicted = predict_latency(net, describe(plan), samples, progress=done.append)
        assert predicted.shape == (count,)
        assert sum(done) == count
        if count:
            np.testing.assert_array_equal(predicted, count_cycles(plan, samples).latency)


def test_many_samples_are_predicted_in_parts(network: Network) -> None:
    plan = make_plan(network, PRESETS["full"](network))
    samples = random_samples(np.random.default_rng(1), network, 1200)
    done: list[int] = []
    predicted = predict_latency(network, describe(plan), samples, progress=done.append)
    assert done == [1000, 200]
    np.testing.assert_array_equal(predicted, count_cycles(plan, samples).latency)
