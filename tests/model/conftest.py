"""Random small networks for property tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from hypothesis import strategies as st

from spikeloom.model.network import (
    ALLOWED_WEIGHT_BITS,
    Dense,
    Layer,
    Network,
    Neuron,
    Readout,
    SpikeInput,
    StaticInput,
    Ties,
)
from spikeloom.model.numerics import Decay, Multiply, Shift

DECAYS: st.SearchStrategy[Decay] = st.one_of(st.builds(Shift, st.integers(0, 6)),
                                             st.builds(Multiply, st.integers(0, 4096)))


def integers(draw: st.DrawFn, low: int, high: int, *shape: int) -> np.ndarray:
    size = int(np.prod(shape))
    return np.array(draw(st.lists(st.integers(low, high), min_size=size, max_size=size))).reshape(shape)


@st.composite
def layers(draw: st.DrawFn, name: str, inputs: int, max_outputs: int) -> Layer:
    outputs = draw(st.integers(1, max_outputs))
    bits = draw(st.sampled_from(ALLOWED_WEIGHT_BITS))
    if bits == 1:
        weight = 2 * integers(draw, 0, 1, outputs, inputs) - 1
    else:
        weight = integers(draw, -(1 << bits - 1), (1 << bits - 1) - 1, outputs, inputs)
    fraction_bits = draw(st.integers(0, 6))
    span = inputs << bits + fraction_bits
    return Layer(
        name=name,
        connection=Dense(weight=weight, weight_bits=bits,
                         bias=integers(draw, -40, 40, outputs) if draw(st.booleans()) else None),
        neuron=Neuron(synapse=draw(DECAYS), membrane=draw(DECAYS), fraction_bits=fraction_bits,
                      threshold=integers(draw, 0, span, draw(st.sampled_from((1, outputs)))),
                      compare=draw(st.sampled_from((">", ">="))), reset=draw(st.sampled_from(("zero", "subtract")))))


@st.composite
def networks(draw: st.DrawFn, max_size: int = 4, max_steps: int = 5, max_layers: int = 3) -> Network:
    """A network of any of the forms that a description can take."""
    shape = draw(st.sampled_from(((1,), (3,), (2, 2))))
    steps = draw(st.integers(1, max_steps))
    chain: list[Layer] = []
    size = int(np.prod(shape))
    for i in range(draw(st.integers(1, max_layers))):
        chain.append(draw(layers(f"layer{i}", size, max_size)))
        size = chain[-1].connection.outputs
    static = draw(st.booleans())
    ties = draw(st.sampled_from(get_args(Ties)))
    return Network.chain(
        name="random", steps=steps, layers=tuple(chain),
        input=StaticInput(shape=shape, bits=draw(st.integers(1, 8))) if static else SpikeInput(shape=shape),
        readout=draw(st.sampled_from((Readout.count(ties=ties),
                                      Readout.psc_sum(steps, chain[-1].neuron.synapse, ties=ties)))),
        metadata=draw(st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=5)), max_size=2)))


@pytest.fixture(scope="session")
def random_networks() -> Callable[..., st.SearchStrategy[Network]]:
    """Strategy of small networks; arguments ``max_size``, ``max_steps``, ``max_layers``."""
    return networks
