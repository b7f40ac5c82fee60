"""The golden model against one that was written from the document alone and shares nothing with the package."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import plain_model
from support.networks import random_conv_network, random_network, random_samples

from spikeloom.model import golden
from spikeloom.model.geometry import as_map
from spikeloom.model.network import Conv2d, Layer, Network, StaticInput
from spikeloom.model.numerics import Decay, Shift


def plain(network: Network) -> dict[str, Any]:
    """The numbers of a network."""
    return {
        "steps": network.steps,
        "input": {"kind": "static", "bits": network.input.bits} if isinstance(network.input, StaticInput) else
        {"kind": "spikes"},
        "readout": {"weights": list(network.step_weights), "ties": network.readout.ties},
        "layers": [_layer(network, index, layer) for index, layer in enumerate(network.layers)],
    }


def _layer(network: Network, index: int, layer: Layer) -> dict[str, Any]:
    connection, neuron = layer.connection, layer.neuron
    shape = network.layers[index].sources[0].shape
    geometry = connection.geometry if isinstance(connection, Conv2d) else None
    positions = connection.outputs // connection.channels
    bias = None if connection.bias is None else connection.bias.ravel().tolist()
    if bias is not None and len(bias) < connection.outputs:
        bias = [b for b in bias for _ in range(positions)]
    threshold = neuron.threshold.tolist()

    def decay(given: Decay) -> tuple[str, int]:
        return ("shift", given.k) if isinstance(given, Shift) else ("multiply", given.c)

    return {
        "pool": None if layer.pool is None else (layer.pool.kind, layer.pool.size),
        "shape": as_map(shape) if geometry is not None or layer.pool is not None else None,
        "kernel": None if geometry is None else (geometry.stride, geometry.padding, geometry.groups),
        "weight": connection.weight.tolist(), "bias": bias,
        "threshold": (threshold * connection.outputs if len(threshold) == 1 else
                      [t for t in threshold for _ in range(positions)]),
        "synapse": decay(neuron.synapse), "membrane": decay(neuron.membrane), "fraction_bits": neuron.fraction_bits,
        "compare": neuron.compare, "reset": neuron.reset,
    }


def check(seed: int, network: Network) -> None:
    samples = random_samples(np.random.default_rng(seed), network, 2)
    got = golden.run(network, samples)
    size = network.input.size
    for n, sample in enumerate(samples):
        flat = sample.reshape(-1).tolist() if network.static else sample.reshape(-1, size).astype(int).tolist()
        trains, decided = plain_model.run(plain(network), flat)
        for layer, spikes in enumerate(trains):
            assert got.spikes[layer][n].astype(int).tolist() == spikes, f"seed {seed}, layer {layer}"
        assert int(got.classes[n]) == decided, f"seed {seed}"


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 10**9))
def test_dense(seed: int) -> None:
    check(seed, random_network(np.random.default_rng(seed)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**9))
def test_convolutions(seed: int) -> None:
    check(seed, random_conv_network(np.random.default_rng(seed)))


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(st.integers(0, 10**9))
def test_at_length(seed: int) -> None:
    check(seed, random_network(np.random.default_rng(seed)))
    check(seed, random_conv_network(np.random.default_rng(seed)))
