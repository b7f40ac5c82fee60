"""The proved widths: nothing ever leaves them, and they are no wider than what they prove."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layers import thresholds

from spikeloom.model.bounds import LayerBounds, layer_bounds
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Dense, Layer, Network, Neuron, Readout, SpikeInput, StaticInput
from spikeloom.model.numerics import Multiply, Shift

Strategies = Callable[..., st.SearchStrategy[Network]]


def one_layer(weight: Any, *, steps: int = 1, static_bits: int | None = None, bias: Any = None, weight_bits: int = 16,
              **neuron: Any) -> Network:
    weight = np.array(weight, ndmin=2)
    shape = (weight.shape[1],)
    settings = {"synapse": Shift(1), "membrane": Shift(1), "threshold": np.array([100]), "fraction_bits": 0}
    return Network.chain(name="one", steps=steps, readout=Readout.count(),
                   input=StaticInput(shape=shape, bits=static_bits) if static_bits else SpikeInput(shape=shape),
                   layers=(Layer(name="fc", connection=Dense(weight=weight, weight_bits=weight_bits, bias=bias),
                                 neuron=Neuron(**settings | neuron)),))


def states(network: Network, index: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drives, currents and membranes (before reset) of a layer; inputs x (samples, T, inputs)."""
    layer = network.layers[index]
    neuron = layer.neuron
    drives = x.astype(np.int64) @ layer.connection.weight.T.astype(np.int64) + layer.biases
    current = np.zeros_like(drives[:, 0])
    membrane = current
    currents, membranes = np.empty_like(drives), np.empty_like(drives)
    for t in range(network.steps):
        current = neuron.synapse(current) + drives[:, t] * 2**neuron.fraction_bits
        membrane = neuron.membrane(membrane) + current
        currents[:, t], membranes[:, t] = current, membrane
        spike = membrane > thresholds(layer) if neuron.compare == ">" else membrane >= thresholds(layer)
        membrane = np.where(spike, 0 if neuron.reset == "zero" else membrane - thresholds(layer), membrane)
    return drives, currents, membranes


def inputs(network: Network, index: int, rng: np.random.Generator) -> np.ndarray:
    """Extreme inputs of every neuron, switched at every step, and random ones: (samples, T, inputs)."""
    layer, steps = network.layers[index], network.steps
    static = network.static and index == 0
    top = (1 << network.planes(0)) - 1 if static else 1
    ends = [np.zeros(layer.connection.inputs, np.int64), np.full(layer.connection.inputs, top)]
    for row in layer.connection.weight:
        ends += [(row > 0) * top, (row < 0) * top]
    if static:
        samples = np.array([*ends, *rng.integers(0, top + 1, (20, layer.connection.inputs))])
        return np.repeat(samples[:, None], steps, axis=1)
    switched = [[a] * t + [b] * (steps - t) for a, b in itertools.permutations(ends, 2) for t in range(steps)]
    chosen = rng.integers(0, len(ends), (100, steps))
    return np.concatenate([switched, np.array(ends)[chosen], rng.integers(0, 2, (50, steps, layer.connection.inputs))])


def within(values: np.ndarray, span: tuple[int, int]) -> bool:
    return span[0] <= int(values.min()) and int(values.max()) <= span[1]


def assert_minimal(bounds: LayerBounds) -> None:
    """Each width holds both ends of its interval, and one bit less does not."""
    for span, bits in ((bounds.accumulator, bounds.accumulator_bits), (bounds.drive, bounds.drive_bits),
                       *((span, bounds.register_bits[name]) for name, span in bounds.registers.items()),
                       (bounds.potential, bounds.potential_bits)):
        def holds(width: int, span: tuple[int, int] = span) -> bool:
            return -(1 << width - 1) <= span[0] <= span[1] < 1 << width - 1
        assert holds(bits)
        assert bits == 1 or not holds(bits - 1)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), seed=st.integers(0, 99))
def test_no_state_leaves_its_bounds(random_networks: Strategies, data: st.DataObject, seed: int) -> None:
    network = data.draw(random_networks())
    rng = np.random.default_rng(seed)
    for index, layer in enumerate(network.layers):
        bounds = layer_bounds(network, index)
        drives, currents, membranes = states(network, index, inputs(network, index, rng))
        assert within(drives, bounds.drive)
        assert within(currents, bounds.registers.get("current", (currents.min(), currents.max())))
        assert within(membranes, bounds.potential)
        # An accumulator may see any subset of a row, in any order.
        top = (1 << network.planes(0)) - 1 if network.static and index == 0 else 1
        subset = rng.integers(0, 2, (50, layer.connection.inputs)) * top
        assert within(subset @ layer.connection.weight.T, bounds.accumulator)
        assert_minimal(bounds)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_exhaustive_inputs_reach_the_bounds(random_networks: Strategies, data: st.DataObject) -> None:
    network = data.draw(random_networks(max_steps=3, max_layers=1))
    size = network.input.size
    if network.static:
        assert isinstance(network.input, StaticInput)
        top = (1 << network.input.bits) - 1
        corners = np.array(list(itertools.product((0, top), repeat=size)))
        x = np.repeat(corners[:, None], network.steps, axis=1)
    else:
        patterns = itertools.product((0, 1), repeat=min(size * network.steps, 12))
        x = np.array(list(patterns))
        x = np.pad(x, ((0, 0), (0, size * network.steps - x.shape[1])), mode="edge")
        x = x.reshape(-1, network.steps, size)
    bounds = layer_bounds(network, 0)
    drives, currents, membranes = states(network, 0, x)
    top = (1 << network.planes(0)) - 1 if network.static else 1
    subsets = np.array(list(itertools.product((0, top), repeat=size))) @ network.layers[0].connection.weight.T
    assert (subsets.min(), subsets.max()) == bounds.accumulator
    assert (drives.min(), drives.max()) == bounds.drive
    if "current" in bounds.registers:  # else it is forgotten in every step
        assert (min(currents.min(), 0), max(currents.max(), 0)) == bounds.registers["current"]
    assert within(membranes, bounds.potential)
    if not (membranes >= thresholds(network.layers[0])).any():  # nobody fires: the interval is exact
        assert (min(membranes.min(), 0), max(membranes.max(), 0)) == bounds.potential


def test_by_hand() -> None:
    bounds = layer_bounds(one_layer([[3, -2, 1], [-4, 0, 1]], bias=np.array([1, -1]), fraction_bits=2, steps=2), 0)
    assert (bounds.accumulator, bounds.drive) == ((-4, 4), (-5, 5))
    assert (bounds.registers["current"], bounds.potential) == ((-30, 30), (-40, 40))
    assert (bounds.accumulator_bits, bounds.drive_bits) == (4, 4)
    assert (bounds.register_bits["current"], bounds.potential_bits) == (6, 7)


def test_a_static_input_scales_the_sums_and_not_the_bias() -> None:
    bounds = layer_bounds(one_layer([[3, -2]], static_bits=4, bias=np.array([7])), 0)
    assert (bounds.accumulator, bounds.drive) == ((-30, 45), (-23, 52))


@pytest.mark.parametrize(("reset", "compare", "high"), [
    # J = 8, 12, 14. Without a spike U would be 8, 16, 22; the threshold of 5 leaves at most
    ("zero", ">", 17),       # 5 and 5
    ("zero", ">=", 16),      # 4 and 4
    ("subtract", ">", 19),   # 5 and 15 - 5
    ("subtract", ">=", 19),  # 4 and 14 - 5
])
def test_reset_limits_the_membrane(reset: str, compare: str, high: int) -> None:
    network = one_layer([[8]], steps=3, threshold=np.array([5]), reset=reset, compare=compare)
    assert layer_bounds(network, 0).potential == (0, high)


def test_the_widest_neuron_decides() -> None:
    narrow, wide = one_layer([[1], [1]]), one_layer([[1], [30000]])
    assert layer_bounds(narrow, 0).potential_bits == 2
    assert layer_bounds(wide, 0).potential_bits == 16


def test_48_bits_are_allowed_and_49_are_not() -> None:
    top = (1 << 47) - 1
    fits = one_layer([[0]], bias=np.array([top]), threshold=np.array([1 << 47]))
    assert layer_bounds(fits, 0).potential_bits == 48
    for wide in (one_layer([[1]], bias=np.array([top])), one_layer([[0]], bias=np.array([top]), steps=2),
                 one_layer([[-1]], bias=np.array([-top - 1]))):
        with pytest.raises(SpikeloomError, match=r"layer fc: .* need 49 bits or more, allowed are 48"):
            layer_bounds(wide, 0)


@pytest.mark.parametrize("network", [
    one_layer([[1]], bias=np.array([(1 << 47) - 1]), fraction_bits=16),  # << 16 is negative in 64 bits
    one_layer([[0]], bias=np.array([-(1 << 47)]), fraction_bits=16),
    one_layer(np.full((1, 1 << 17), 32767), fraction_bits=16),
    one_layer(np.full((1, 1 << 14), -32768), static_bits=8, fraction_bits=13, steps=4),
    one_layer([[32767]], steps=1024, synapse=Multiply(4096), membrane=Multiply(4096), fraction_bits=16,
              threshold=np.array([(1 << 48) - 1]))],
    ids=["bias", "negative-bias", "fan-in", "static", "no-decay"])
def test_too_wide(network: Network) -> None:
    with pytest.raises(SpikeloomError, match=r"layer fc: with \d+ inputs of 16-bit weights, .* allowed are 48; use"):
        layer_bounds(network, 0)


def test_cached_by_what_the_network_is() -> None:
    assert layer_bounds(one_layer([[5]]), 0) is layer_bounds(one_layer([[5]]), 0)
    assert layer_bounds(one_layer([[5]]), 0) is not layer_bounds(one_layer([[6]]), 0)
