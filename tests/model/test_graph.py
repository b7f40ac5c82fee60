"""Graphs: what is joined to what, orders that do not matter, and one clear error for what makes no sense."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from spikeloom.gen.fold import Fold, LayerFold, load_fold
from spikeloom.gen.plan import make_plan
from spikeloom.model import golden
from spikeloom.model.connections import Connection, Conv2d, Dense, Lateral, OneToOne, Sparse
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.geometry import ConvGeometry, Pool
from spikeloom.model.inputs import BernoulliInput, LatencyInput, SpikeInput, StaticInput, random16
from spikeloom.model.network import Network, Population, Projection, Readout
from spikeloom.model.neurons.parts import Adaptation
from spikeloom.model.neurons.types import Integrator, Neuron
from spikeloom.model.numerics import Shift

NEURON = Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array([9]))


def dense(outputs: int = 4, inputs: int = 4) -> Dense:
    return Dense(weight=np.full((outputs, inputs), 3), weight_bits=4)


def graph(edges: str, source: Any = None, populations: str = "abc", **more: Any) -> Network:
    """``"ia ab ba'"``: from the input to a, from a to b, back with delay 1; all of four neurons."""
    names = {"i": "input"}
    return Network(**{
        "name": "g", "input": source or SpikeInput(shape=(4,)), "steps": 3, "readout": Readout.count(),
        "populations": tuple(Population(name=name, shape=(4,), neuron=NEURON) for name in populations),
        "projections": tuple(Projection(source=names.get(e[0], e[0]), target=names.get(e[1], e[1]), connection=dense(),
                                        delay=int(e.endswith("'"))) for e in edges.split())} | more)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: graph("ia ab bc ca"), "projections without delay among a, b, c form a loop; one of them needs delay 1"),
    (lambda: graph("ia aa ab bc"), "the projections without delay among a form a loop"),
    (lambda: graph("ia ab bx"), "layer x|goes to 'x', but the populations are a, b, c"),
    (lambda: graph("ia ab xc"), "layer c: a projection comes from 'x', but there are input, a, b, c"),
    (lambda: graph("ia ab bi"), "goes to 'input', but the populations are a, b, c"),
    (lambda: graph("ia ac bc"), "layer b: nothing that comes from the input reaches it"),
    (lambda: graph("ia ac bc bb'"), "layer b: nothing that comes from the input reaches it"),
    (lambda: graph("ia ab ac"), "layer b: nobody reads it: it needs a projection that leads to the output layer c"),
    (lambda: graph("ia ab bc ic", StaticInput(shape=(4,))),
     "layer c: projections from the static input and from b end"),
    (lambda: graph("ia' ab bc", StaticInput(shape=(4,))), "delay of its projection from input must be 0, not 1"),
    (lambda: graph("ia ab bc", SpikeInput(shape=(5,))), "layer a: takes 4 inputs, but the input gives 5"),
    (lambda: graph("ia ab bc", populations="abcc"), "layer names must differ"),
    (lambda: graph("ia ab bc", output="x"), "output must be one of a, b, c, not 'x'"),
    (lambda: graph("ia ab bc", state="forget"), "state must be 'clear' or 'keep', not 'forget'"),
    (lambda: graph("ia ab bc", state="keep", readout=Readout(kind="max_potential")),
     "state must be 'clear' with a readout of kind 'max_potential', not 'keep'"),
    (lambda: Population(name="input", shape=(4,), neuron=NEURON), "layer name must not be 'input'"),
    (lambda: Population(name="a", shape=(4, 4), neuron=NEURON), "layer a: shape must be (neurons,) or"),
    (lambda: Readout(kind="last_potential", ties="membrane"), "ties must be 'lowest_index' for kind 'last_potential'"),
    (lambda: Readout(kind="count", early_exit=True), "early_exit must be False for kind 'count', not True"),
    (lambda: LatencyInput(shape=(4,), silent_zero=1), "silent_zero must be True or False, not 1"),
    (lambda: BernoulliInput(shape=(4,), bits=8, rate=258), "input rate must be in 1..257, not 258"),
    (lambda: BernoulliInput(shape=(1 << 17,)), "input shape must have at most 65536 channels"),
    (lambda: Sparse(inputs=3, outputs=2, source=np.array([0, 0]), target=np.array([1, 1]), weight=np.array([1, 2]),
                    weight_bits=4), "the synapse from 0 to 1 stands there 2 times"),
    (lambda: Sparse(inputs=3, outputs=2, source=np.array([3]), target=np.array([1]), weight=np.array([1]),
                    weight_bits=4), "source must be in 0..2, not 3"),
    (lambda: OneToOne(size=4, weight=np.ones(3, int), weight_bits=2), "weight has 3 values, allowed are 1 or 4"),
    (lambda: Lateral(size=1, weight=-1, weight_bits=2), "size must be in 2.."),
    (lambda: Network(name="g", input=SpikeInput(shape=(1 << 20,)), steps=3, readout=Readout.count(),
                     projections=(Projection(
        source="input", target="a", connection=OneToOne(size=1 << 20, weight=np.array([1]), weight_bits=2)),),
        populations=(Population(name="a", shape=(1 << 20,), neuron=NEURON),)),
     "layer a: the connection is worked on as a matrix of 1048576 x 1048576 weights, allowed are 67108864"),
    (lambda: graph("ia", populations="a" * 1025), "populations must be at most 1024, not 1025"),
    (lambda: Lateral(size=4, weight=9, weight_bits=4), "is 9, outside -8..7"),
])
def test_bad_graphs(make: Any, message: str) -> None:
    with pytest.raises(SpikeloomError) as caught:
        make()
    assert any(part in str(caught.value) for part in message.split("|")), str(caught.value)


@pytest.mark.parametrize(("network", "fold", "message"), [
    (graph("ia ab bc ca'"), Fold(layers=(LayerFold(),) * 3, window_steps=3),
     "window_steps must be 1 where spikes come back to an earlier layer, not 3"),
    (graph("ia ba bb' ab' ac"), None, "layer b: all its projections come back from"),
    (graph("ia ab bc", readout=Readout(kind="raster")), Fold(layers=(LayerFold(external_bus_bits=64),) * 3),
     "layer a: external_bus_bits must be None with a readout of kind 'raster'"),
    (graph("ia ab bc", readout=Readout(kind="first_spike", early_exit=True)),
     Fold(layers=(LayerFold(external_bus_bits=64),) * 3), "external_bus_bits must be None with early_exit"),
    (graph("ia ab bc", readout=Readout(kind="first_spike", early_exit=True, ties="membrane")),
     Fold(layers=(LayerFold(),) * 3), "window_steps must be 1 with early_exit and ties by membrane, not 3"),
])
def test_what_hardware_cannot_do(network: Network, fold: Fold | None, message: str) -> None:
    with pytest.raises(SpikeloomError) as caught:
        make_plan(network, fold or load_fold("small", network))
    assert message in str(caught.value)


def test_a_register_without_end_is_named() -> None:
    network = graph("ia ab bc", state="keep", populations="ab", projections=(
        Projection(source="input", target="a", connection=dense()),
        Projection(source="a", target="b", connection=dense())), output="b")
    endless = Network(**{**_fields(network), "populations": (
        network.populations[0], Population(name="b", shape=(4,), neuron=Integrator()))})
    make_plan(network, load_fold("small", network))
    with pytest.raises(SpikeloomError, match="layer b: register membrane grows without end in a run of any length"):
        make_plan(endless, load_fold("small", endless))


def _fields(network: Network) -> dict[str, Any]:
    return {name: getattr(network, name) for name in Network.__dataclass_fields__}


def test_orders_do_not_matter() -> None:
    base = graph("ia ab bc cb' aa' ac")
    samples = (np.random.default_rng(1).random((5, 3, 4)) < 0.5).astype(np.uint8)
    want = golden.run(base, samples)
    for populations in itertools.permutations(base.populations):
        other = Network(**{**_fields(base), "populations": populations, "output": "c",
                           "projections": tuple(reversed(base.projections))})
        assert other.hash == base.hash
        for one, two in zip(golden.run(other, samples).spikes, want.spikes, strict=True):
            np.testing.assert_array_equal(one, two)


def test_all_connections_are_matrices() -> None:
    """Golden results are those of the same network with each connection as a dense one."""
    rng = np.random.default_rng(3)
    geometry = ConvGeometry(input_shape=(2, 4, 4), channels=3, kernel=(3, 3), stride=2, padding=1)
    depthwise = ConvGeometry(input_shape=(2, 4, 4), channels=4, kernel=(2, 2), groups=2)
    connections: list[Connection] = [
        Conv2d(geometry=geometry, weight=rng.integers(-7, 8, geometry.weight_shape), weight_bits=4),
        Conv2d(geometry=depthwise, weight=rng.integers(-7, 8, depthwise.weight_shape), weight_bits=4),
        OneToOne(size=32, weight=rng.integers(-7, 8, 32), weight_bits=4), Lateral(size=32, weight=-1, weight_bits=2),
        Sparse(inputs=32, outputs=9, source=np.arange(20), target=np.arange(20) % 9, weight=rng.integers(-7, 8, 20),
               weight_bits=4)]
    samples = (rng.random((4, 3, 2, 4, 4)) < 0.5).astype(np.uint8)
    for connection in connections:
        results = []
        for used in (connection, Dense(weight=connection.matrix(), weight_bits=8)):
            network = Network(
                name="n", input=SpikeInput(shape=(2, 4, 4)), steps=3, readout=Readout(kind="raster"),
                populations=(Population(name="a", shape=connection.output_shape, neuron=NEURON),),
                projections=(Projection(source="input", target="a", connection=used),))
            results.append(golden.run(network, samples).spikes[0])
        np.testing.assert_array_equal(*results)


def test_a_residual_connection_stays_a_convolution() -> None:
    shape = (3, 4, 4)
    geometry = ConvGeometry(input_shape=shape, channels=3, kernel=(3, 3), padding=1)
    conv = Conv2d(geometry=geometry, weight=np.ones(geometry.weight_shape, int), weight_bits=2)
    network = Network(
        name="n", input=SpikeInput(shape=shape), steps=2, readout=Readout.count(), output="c",
        populations=(*(Population(name=n, shape=shape, neuron=NEURON) for n in "ab"),
                     Population(name="c", shape=(2,), neuron=NEURON)),
        projections=(Projection(source="input", target="a", connection=conv),
                     Projection(source="a", target="b", connection=conv),
                     Projection(source="input", target="b", connection=OneToOne(
                         size=48, weight=np.array([1]), weight_bits=2)),
                     Projection(source="b", target="c", connection=dense(2, 12), pool=Pool("sum", 2))))
    joined = network.layers[1].connection
    assert isinstance(joined, Conv2d)
    assert joined.geometry.input_shape == (6, 4, 4)
    assert joined.weight[:, :3].tolist() == [[[[0, 0, 0], [0, int(i == k), 0], [0, 0, 0]] for k in range(3)]
                                             for i in range(3)]


def test_the_generator_is_what_it_says() -> None:
    """Plain integers, from the docstring."""
    state, keys = 77, []
    for _ in range(6):
        state = (state * 0x5851F42D4C957F2D + 0x14057B7EF767814F) % (1 << 64)
        keys.append(state >> 48)
    for step, channel in ((0, 0), (3, 500), (65535, 12345)):
        x, y = step, channel
        for key in keys:
            x = (((x >> 7 | x << 9) & 0xFFFF) + y) % 65536 ^ key
            y = ((y << 2 | y >> 14) & 0xFFFF) ^ x
        assert int(random16(77, step, channel)) == x


def test_adaptation_is_a_few_lines() -> None:
    """What an adaptive neuron adds to what there is."""
    import inspect
    source = [line for line in inspect.getsource(Adaptation).split("\n") if line.strip()]
    assert len(source) <= 25
