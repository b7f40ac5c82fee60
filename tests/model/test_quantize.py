"""Post-training quantisation: scales, folding into thresholds and biases, closeness to the float network, errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.model import float_network, golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.float_network import FloatLayer, FloatNetwork
from spikeloom.model.network import ALLOWED_WEIGHT_BITS, weight_range
from spikeloom.model.quantize import mse_scale, quantize, round_weight


def float_net(rng, tau_m=4.0, tau_s=2.0):
    def layer(name, inputs, outputs, bias):
        return FloatLayer(name=name, weight=rng.normal(0.05, 1 / np.sqrt(inputs), (outputs, inputs)),
                          bias=rng.normal(0.1, 0.1, outputs) if bias else None, tau_m=tau_m, tau_s=tau_s)

    return FloatNetwork(name="small", shape=(6, 6), mean=0.3, std=0.3, steps=6,
                        layers=(layer("hidden1", 36, 40, True), layer("output", 40, 10, False)))


@pytest.fixture
def network():
    return float_net(np.random.default_rng(0))


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (200, 6, 6), dtype=np.uint8)


def mismatches(network, quantized, images):
    """Fraction of float spikes' places that differ, over all layers."""
    pairs = zip(float_network.run(network, images).spikes, golden.run(quantized, images).spikes, strict=True)
    return np.concatenate([(ours != theirs).ravel() for ours, theirs in pairs]).mean()


@pytest.mark.parametrize("granularity", ["layer", "channel"])
@pytest.mark.parametrize("bits", ALLOWED_WEIGHT_BITS)
def test_every_width_gives_a_network(network, images, bits, granularity):
    quantized = quantize(network, weight_bits=bits, granularity=granularity, calibration=images[:50])
    for layer in quantized.layers:
        assert layer.connection.weight_bits == bits
        assert layer.neuron.threshold.size == (1 if granularity == "layer" else layer.connection.outputs)
    assert golden.run(quantized, images).spikes[-1].any()
    assert quantized.metadata["quantization"] == {"weight_bits": bits, "granularity": granularity,
                                                  "calibration_images": 50}


def test_more_bits_are_closer(network, images):
    errors = [mismatches(network, quantize(network, weight_bits=bits, input_bits=8, fraction_bits=8), images)
              for bits in (2, 4, 8, 16)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01  # pixels go in as p >> 0: only states and biases are rounded
    assert errors[0] > 0.05


@pytest.mark.parametrize(("tau_m", "tau_s"), [(4.0, 2.0), (5.0, 3.0), (1.0, 1.0)])
def test_sixteen_bits_of_any_time_constant(images, tau_m, tau_s):
    network = float_net(np.random.default_rng(2), tau_m, tau_s)
    assert mismatches(network, quantize(network, weight_bits=16, input_bits=8, fraction_bits=10), images) < 0.01


def test_calibration_helps(network, images):
    errors = {(granularity, len(some)): mismatches(network, quantize(
        network, weight_bits=3, granularity=granularity, calibration=some if len(some) else None), images)
        for granularity in ("layer", "channel") for some in (images[:0], images)}
    assert errors["channel", 200] < errors["channel", 0]
    assert errors["layer", 200] <= errors["layer", 0]  # least squares may be the best already


def test_threshold_is_the_float_threshold_in_integer_units(network):
    quantized = quantize(network, weight_bits=8, fraction_bits=6)
    output = quantized.layers[1]
    scale = mse_scale(network.layers[1].weight, 8, "channel")
    np.testing.assert_array_equal(output.neuron.threshold, np.rint(2.0 / scale * 64))
    np.testing.assert_array_equal(output.connection.weight, round_weight(network.layers[1].weight, scale[:, None], 8))
    assert output.connection.bias is None


@given(st.integers(0, 2**32 - 1), st.sampled_from(ALLOWED_WEIGHT_BITS), st.sampled_from(("layer", "channel")))
@settings(max_examples=40, deadline=None)
def test_rounded_weights_fit_and_scale_beats_not_clipping(seed, bits, granularity):
    rng = np.random.default_rng(seed)
    weight = rng.standard_t(2, (int(rng.integers(1, 5)), int(rng.integers(1, 30)))) * 10.0 ** rng.integers(-5, 5)
    weight[0] *= rng.integers(0, 2)  # a row of zeros now and then
    scale = mse_scale(weight, bits, granularity)
    assert scale.shape == ((len(weight),) if granularity == "channel" else (1,))
    assert (scale > 0).all()
    whole = round_weight(weight, scale[:, None], bits)
    low, high = weight_range(bits)
    assert whole.min() >= low
    assert whole.max() <= high
    if bits == 1:
        assert set(np.unique(whole)) <= {-1, 1}
    else:
        largest = np.abs(weight).max(axis=1 if granularity == "channel" else None, keepdims=True)
        full = np.where(largest > 0, largest, 1) / high
        error, plain = (np.square(round_weight(weight, s, bits) * s - weight).sum() for s in (scale[:, None], full))
        assert error <= plain * (1 + 1e-9)


@pytest.mark.parametrize(("options", "message"), [
    ({"weight_bits": 9}, r"weight_bits must be one of \(1, 2, .*\), not 9"),
    ({"weight_bits": 0}, "weight_bits must be one of"),
    ({"granularity": "row"}, "granularity must be 'layer' or 'channel', not 'row'"),
    ({"fraction_bits": -1}, r"fraction_bits must be in 0\.\.16, not -1"),
    ({"input_bits": 9}, r"input bits must be in 1\.\.8, not 9"),
    ({"calibration": np.zeros((0, 6, 6), np.uint8)}, "calibration must not be empty"),
    ({"calibration": np.zeros((4, 5, 5), np.uint8)}, r"an image must be uint8 of shape \(6, 6\)"),
])
def test_bad_options(network, options, message):
    with pytest.raises(SpikeloomError, match=message):
        quantize(network, **({"weight_bits": 4} | options))


def test_bad_layer_name_is_named(network):
    with pytest.raises(SpikeloomError, match=r"layer name must be a letter .* not '1x'"):
        replace(network.layers[0], name="1x")
