"""Float networks: the paper's equations one neuron at a time, files, errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikeloom.model import container, float_network
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.float_network import FloatLayer, FloatNetwork

RNG = np.random.default_rng(0)


def layer(name, inputs, outputs, **changes):
    values = {"weight": RNG.normal(0.1, 0.4, (outputs, inputs)), "bias": RNG.normal(0, 0.1, outputs),
              "tau_m": 5.0, "tau_s": 3.0, "theta": 0.8}
    return FloatLayer(name=name, **(values | changes))


@pytest.fixture
def network():
    return FloatNetwork(name="small", shape=(3, 4), mean=0.3, std=0.5, steps=5,
                        layers=(layer("hidden1", 12, 7), layer("output", 7, 4, bias=None, tau_m=4.0, tau_s=2.0)))


def paper_run(network, image):
    """Equations A.1 with PSCs before the weights and the static input filtered, in Python floats."""
    signal = [[(p / 255 - network.mean) / network.std for p in image.ravel().tolist()]] * network.steps
    spikes = []
    for la in network.layers:
        keep_s, keep_m = 1 - 1 / la.tau_s, 1 - 1 / la.tau_m
        trains = []
        for i, row in enumerate(la.weight.tolist()):
            bias = 0.0 if la.bias is None else float(la.bias[i])
            a, v, s_train = [0.0] * len(row), 0.0, []
            filtered_bias = 0.0
            for t in range(network.steps):
                a = [keep_s * x + s / la.tau_s for x, s in zip(a, signal[t], strict=True)]
                filtered_bias = keep_s * filtered_bias + bias / la.tau_s
                u = keep_m * v + sum(w * x for w, x in zip(row, a, strict=True)) + filtered_bias
                s_train.append(u > la.theta)
                v = 0.0 if u > la.theta else u
            trains.append(s_train)
        signal = [[float(train[t]) for train in trains] for t in range(network.steps)]
        spikes.append(np.array(trains).T)
    keep, psc, total = 1 - 1 / network.layers[-1].tau_s, 0.0, 0.0
    for s in spikes[-1]:
        psc = keep * psc + s / network.layers[-1].tau_s
        total = total + psc
    return spikes, total


def test_run_is_the_paper(network):
    images = RNG.integers(0, 256, (30, 3, 4), dtype=np.uint8)
    result = float_network.run(network, images, batch=7)
    for n, image in enumerate(images):
        spikes, scores = paper_run(network, image)
        for ours, theirs in zip(result.spikes, spikes, strict=True):
            np.testing.assert_array_equal(ours[n], theirs)
        np.testing.assert_allclose(result.scores[n], scores, atol=1e-5)
        assert result.classes[n] == np.argmax(result.scores[n])
    assert result.spikes[-1].any()


def test_file_round_trip(network, tmp_path):
    float_network.save_float_network(network, tmp_path / "n.fsnn")
    loaded = float_network.load_float_network(tmp_path / "n.fsnn")
    assert loaded.name == network.name
    for ours, theirs in zip(loaded.layers, network.layers, strict=True):
        np.testing.assert_array_equal(ours.weight, theirs.weight)
        assert (ours.bias is None) == (theirs.bias is None)
        assert (ours.name, ours.tau_m, ours.tau_s, ours.theta) == (theirs.name, theirs.tau_m, theirs.tau_s,
                                                                   theirs.theta)
    assert (loaded.shape, loaded.mean, loaded.std, loaded.steps) == ((3, 4), 0.3, 0.5, 5)


def test_half_precision_rounds(network, tmp_path):
    float_network.save_float_network(network, tmp_path / "n.fsnn", half=True)
    weight = float_network.load_float_network(tmp_path / "n.fsnn").layers[0].weight
    np.testing.assert_array_equal(weight, network.layers[0].weight.astype(np.float16))
    large = replace(network, layers=(layer("hidden1", 12, 4, weight=np.full((4, 12), 1e6)),))
    with pytest.raises(SpikeloomError, match=r"layer hidden1: weight .* too large for float16"):
        float_network.save_float_network(large, tmp_path / "n.fsnn", half=True)


def with_nan(shape):
    array = np.zeros(shape)
    array.flat[-1] = np.nan
    return array


@pytest.mark.parametrize(("changes", "message"), [
    ({"weight": with_nan((2, 3))}, r"layer h: weight\[1, 2\] is nan, it must be finite"),
    ({"weight": np.full((2, 3), np.inf)}, r"layer h: weight\[0, 0\] is inf"),
    ({"bias": with_nan(2)}, r"layer h: bias\[1\] is nan"),
    ({"bias": np.zeros(3)}, r"layer h: bias has shape \(3,\), but the weights have 2 outputs"),
    ({"weight": np.zeros(3)}, r"layer h: weight must have 2 dimensions, not shape \(3,\)"),
    ({"weight": np.zeros((2, 0))}, "layer h: weight must not be empty"),
    ({"tau_m": 0.0}, r"layer h: tau_m, in steps, must be a number in 1\.\.32767, not 0\.0"),
    ({"tau_s": -2.0}, r"layer h: tau_s, in steps, must be a number in 1\.\.32767, not -2\.0"),
    ({"tau_s": float("nan")}, "layer h: tau_s, in steps, must be"),
    ({"theta": 0.0}, r"layer h: theta must be a number in 1e-30\.\.1e\+30, not 0\.0"),
])
def test_bad_layer(changes, message):
    with pytest.raises(SpikeloomError, match=message):
        layer("h", 3, 2, **changes)


@pytest.mark.parametrize(("changes", "message"), [
    ({"steps": 0}, r"network small: steps must be in 1\.\.65536, not 0"),
    ({"std": 0.0}, r"network small: std must be a number in 1e-30\.\.1e\+30, not 0\.0"),
    ({"mean": float("inf")}, "network small: mean must be a number in .*, not inf"),
    ({"shape": (0, 3)}, r"network small: shape must be in 1\.\.2147483647, not 0"),
    ({"shape": (5, 5)}, "layer hidden1: takes 12 inputs, but the input gives 25"),
    ({"layers": ()}, "network small: layers must be FloatLayers and not be empty"),
])
def test_bad_network(network, changes, message):
    with pytest.raises(SpikeloomError, match=message):
        replace(network, **changes)


def test_bad_images(network):
    with pytest.raises(SpikeloomError, match=r"an image must be uint8 of shape \(3, 4\), not uint8 of shape \(4, 4\)"):
        float_network.run(network, np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(SpikeloomError, match="not float64"):
        float_network.run(network, np.zeros((2, 3, 4)))  # type: ignore[arg-type]


def test_bad_file_names_file_and_field(network, tmp_path):
    path = tmp_path / "n.fsnn"
    float_network.save_float_network(network, path)
    description, arrays = container.load(path, float_network.KIND, 1)
    for change, message in (
            ({"steps": 0}, "n.fsnn: network small: steps"),
            ({"mean": "x"}, "n.fsnn: field mean: input should be a valid number, not 'x'"),
            ({"layers": [{"name": "hidden1"}]}, r"n.fsnn: field layers\[0\].bias is missing")):
        container.save(path, float_network.KIND, 1, description | change, arrays)
        with pytest.raises(SpikeloomError, match=message):
            float_network.load_float_network(path)
    with pytest.raises(SpikeloomError, match="no such file"):
        float_network.load_float_network(tmp_path / "none.fsnn")
