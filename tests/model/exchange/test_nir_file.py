"""NIR files as they are found, and broken ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.nir_files import LIF, chain, write

from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.exchange.dialects import DIALECTS, Dialect
from spikeloom.model.exchange.export import own_network
from spikeloom.model.exchange.integers import integer_network
from spikeloom.model.exchange.meaning import meaning
from spikeloom.model.exchange.nir_file import read_nir
from spikeloom.model.exchange.real_network import RealNetwork, run
from spikeloom.model.readout import Readout

LINEAR = {"type": "Linear", "weight": np.eye(4)[::-1] * 2}
RNG = np.random.default_rng(0)
SPIKES = (RNG.random((2, 30, 4)) < 0.4).astype(np.uint8)


def network(path: Path, dialect: Dialect = DIALECTS["snntorch-nodelay"]) -> RealNetwork:
    return meaning(read_nir(path), dialect, "n")[0]


def output(path: Path, dialect: Dialect = DIALECTS["snntorch-nodelay"], x: Any = SPIKES) -> Any:
    real = network(path, dialect)
    return run(real, x).spikes[real.output]


@pytest.mark.parametrize("change", [
    {"tau": np.array(1e-3), "v_threshold": np.array(1)},  # scalars, integers
    {"tau": np.full((1, 4), 1e-3)},  # a batch dimension
    {"v_threshold": np.ones(4, np.int64)},
    {"v_reset": None}])  # before 1.0.6
def test_as_they_are_found(tmp_path: Path, change: dict[str, Any]) -> None:
    want = output(write(tmp_path / "a.nir", *chain(fc=LINEAR, lif=LIF)))
    fields = {key: value for key, value in {**LIF, **change}.items() if value is not None}
    assert want.mean() > 0.1
    np.testing.assert_array_equal(output(write(tmp_path / "b.nir", *chain(fc=LINEAR, lif=fields), version=None)), want)


def test_order_does_not_matter(tmp_path: Path) -> None:
    nodes, edges = chain(fc=LINEAR, lif=LIF)
    one = integer_network(network(write(tmp_path / "a.nir", nodes, edges)), steps=5, readout=Readout.count())
    two = integer_network(network(write(tmp_path / "b.nir", dict(reversed(nodes.items())), edges[::-1])), steps=5,
                          readout=Readout.count())
    assert one.hash == two.hash


def test_input_shapes_with_batch_and_time(tmp_path: Path) -> None:
    nodes, edges = chain(fc=LINEAR, lif=LIF)
    want = output(write(tmp_path / "a.nir", nodes, edges))
    nodes["input"] = {"type": "Input", "shape": [1, 4]}
    nodes["output"] = {"type": "Output", "shape": [1, 1, 4]}
    np.testing.assert_array_equal(output(write(tmp_path / "b.nir", nodes, edges)), want)


def test_nested_graphs_and_recurrence(tmp_path: Path) -> None:
    """A nested graph is what it holds; a loop delivers the spikes of the step before."""
    weight = RNG.normal(size=(4, 4))
    inner = {"nodes": {"in": {"type": "Input", "shape": [4]}, "lif": LIF, "rec": {"type": "Linear", "weight": weight},
                       "out": {"type": "Output", "shape": [4]}},
             "edges": [("in", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "out")]}
    got = output(write(tmp_path / "a.nir", *chain(fc=LINEAR, layer=inner)))
    v, last = np.zeros((2, 4)), np.zeros((2, 4))
    for t in range(30):
        v = 0.9 * v + SPIKES[:, t] @ LINEAR["weight"].T + last @ weight.T
        last = (v > 1).astype(float)
        v = v * (1 - last)
        np.testing.assert_array_equal(got[:, t], last > 0)


def test_linear_nodes_become_one(tmp_path: Path) -> None:
    """Affine, scale, delay, pools and convolutions between neurons, against plain NumPy."""
    kernel, matrix = RNG.normal(size=(3, 2, 3, 3)), RNG.normal(size=(5, 12))
    nodes = {
        "input": {"type": "Input", "shape": [2, 8, 8]},
        "conv": {"type": "Conv2d", "input_shape": [8, 8], "weight": kernel, "stride": [2, 2], "padding": [1, 1],
                 "dilation": [1, 1], "groups": 1, "bias": RNG.normal(size=3)},
        "pool": {"type": "AvgPool2d", "kernel_size": 2, "stride": 2, "padding": 0},
        "scale": {"type": "Scale", "scale": RNG.normal(size=(3, 2, 2))},
        "flatten": {"type": "Flatten", "start_dim": 0, "end_dim": -1},
        "affine": {"type": "Affine", "weight": matrix, "bias": RNG.normal(size=5)},
        "late": {"type": "Delay", "delay": np.zeros(5)},
        "if": {"type": "IF", "r": np.ones(5), "v_threshold": np.full(5, 3.0)},
        "output": {"type": "Output", "shape": [5]}}
    names = list(nodes)
    x = (RNG.random((2, 12, 2, 8, 8)) < 0.5).astype(np.uint8)
    got = output(write(tmp_path / "a.nir", nodes, list(pairwise(names))), x=x)
    v = np.zeros((2, 5))
    for t in range(12):
        padded = np.pad(x[:, t].astype(float), ((0, 0), (0, 0), (1, 1), (1, 1)))
        view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2]
        maps = np.einsum("nchwij,ocij->nohw", view, kernel) + nodes["conv"]["bias"][:, None, None]
        maps = maps.reshape(2, 3, 2, 2, 2, 2).mean(axis=(3, 5)) * nodes["scale"]["scale"]
        v = v + maps.reshape(2, -1) @ matrix.T + nodes["affine"]["bias"]
        spikes = v > 3
        v[spikes] = 0
        np.testing.assert_array_equal(got[:, t], spikes)


@pytest.mark.parametrize(("padding", "stride"), [("same", 1), ("valid", 1), ([2, 0], 1), (1, 2)])
def test_paddings(tmp_path: Path, padding: Any, stride: int) -> None:
    torch = pytest.importorskip("torch")
    kernel = RNG.normal(size=(3, 2, 5, 3)).astype(np.float32)
    nodes = {"input": {"type": "Input", "shape": [2, 9, 7]}, "conv": {
        "type": "Conv2d", "input_shape": [9, 7], "weight": kernel, "stride": stride, "padding": padding, "dilation": 1,
        "groups": 1, "bias": np.zeros(3)}, "if": {"type": "IF", "r": np.array(1.0), "v_threshold": np.array(1.0)},
        "output": {"type": "Output", "shape": [1]}}
    names = list(nodes)
    path = write(tmp_path / "a.nir", nodes, list(pairwise(names)))
    x = (RNG.random((2, 1, 2, 9, 7)) < 0.5).astype(np.float32)
    want = torch.nn.functional.conv2d(torch.tensor(x[:, 0]), torch.tensor(kernel), stride=stride, padding=(
        padding if isinstance(padding, str) else tuple(padding) if isinstance(padding, list) else padding)).numpy() > 1
    np.testing.assert_array_equal(output(path, x=x)[:, 0], want.reshape(2, -1))


def test_a_threshold_behind_an_integrator_is_one_neuron(tmp_path: Path) -> None:
    li = {"type": "LI", "tau": np.full(4, 1e-3), "r": np.full(4, 10.0), "v_leak": np.zeros(4)}
    threshold = {"type": "Threshold", "threshold": np.ones(4)}
    real = network(write(tmp_path / "a.nir", *chain(fc=LINEAR, li=li, th=threshold)))
    assert [p.name for p in real.populations] == ["li"]
    v = np.zeros((2, 4))
    got = run(real, SPIKES).spikes["li"]
    for t in range(30):
        v = 0.9 * v + SPIKES[:, t] @ LINEAR["weight"].T
        np.testing.assert_array_equal(got[:, t], v > 1)


def test_convolution_of_one_dimension(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    kernel, bias = RNG.normal(size=(6, 2, 4)).astype(np.float32), RNG.normal(size=6).astype(np.float32)
    nodes = {"input": {"type": "Input", "shape": [4, 20]}, "conv": {
        "type": "Conv1d", "input_shape": 20, "weight": kernel, "stride": 2, "padding": 2, "dilation": 2, "groups": 2,
        "bias": bias}, "if": {"type": "IF", "r": np.array(1.0), "v_threshold": np.array(1.0)},
        "output": {"type": "Output", "shape": [1]}}
    path = write(tmp_path / "a.nir", nodes, list(pairwise(nodes)))
    x = (RNG.random((3, 1, 4, 20)) < 0.5).astype(np.float32)
    want = torch.nn.functional.conv1d(torch.tensor(x[:, 0]), torch.tensor(kernel), torch.tensor(bias), stride=2,
                                      padding=2, dilation=2, groups=2).numpy() > 1
    np.testing.assert_array_equal(output(path, x=x)[:, 0], want.reshape(3, -1))


def test_pools_behind_convolutions_and_of_odd_maps(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    kernel = RNG.normal(size=(3, 2, 3, 3)).astype(np.float32)
    nodes = {"input": {"type": "Input", "shape": [2, 11, 11]},
             "first": {"type": "SumPool2d", "kernel_size": [2, 2], "stride": [2, 2], "padding": [0, 0]},
             "conv": {"type": "Conv2d", "input_shape": [5, 5], "weight": kernel, "stride": 1, "padding": 1,
                      "dilation": 1, "groups": 1, "bias": np.zeros(3)},
             "pool": {"type": "AvgPool2d", "kernel_size": 2, "stride": 2, "padding": 0},
             "if": {"type": "IF", "r": np.array(1.0), "v_threshold": np.array(1.0)},
             "output": {"type": "Output", "shape": [1]}}
    path = write(tmp_path / "a.nir", nodes, list(pairwise(nodes)))
    x = (RNG.random((3, 1, 2, 11, 11)) < 0.5).astype(np.float32)
    maps = 4 * torch.nn.functional.avg_pool2d(torch.tensor(x[:, 0]), 2)
    maps = torch.nn.functional.avg_pool2d(torch.nn.functional.conv2d(maps, torch.tensor(kernel), padding=1), 2)
    got = output(path, x=x)[:, 0]
    assert 0.1 < got.mean() < 0.9
    np.testing.assert_array_equal(got, maps.numpy().reshape(3, -1) > 1)


def test_outputs_that_do_not_spike(tmp_path: Path) -> None:
    """A leaky integrator, or a sum without neurons; time constants without end, and delays of a step."""
    weight = RNG.normal(size=(3, 4))
    li = {"type": "LI", "tau": np.full(3, np.inf), "r": np.full(3, np.inf), "v_leak": np.zeros(3)}
    late = {"type": "Delay", "delay": np.full(4, 1e-4)}
    nodes, edges = chain(fc=LINEAR, lif=LIF, late=late, out={"type": "Linear", "weight": weight}, li=li)
    real = network(write(tmp_path / "a.nir", nodes, edges))
    result = run(real, SPIKES)
    spikes = result.spikes["lif"]
    np.testing.assert_allclose(result.potentials["li"], spikes[:, :-1].sum(axis=1) @ weight.T, rtol=1e-5, atol=1e-5)
    integers = integer_network(real, steps=30, readout=Readout(kind="last_potential"))
    classes = golden.run(integers, SPIKES).classes
    assert classes.tolist() == result.potentials["li"].argmax(axis=1).tolist()
    real = network(write(tmp_path / "b.nir", *chain(fc=LINEAR, lif=LIF, out={"type": "Linear", "weight": weight})))
    assert [p.name for p in real.populations] == ["lif", "output"]
    result = run(real, SPIKES)
    np.testing.assert_allclose(result.potentials["output"], result.spikes["lif"][:, -1] @ weight.T, rtol=1e-5,
                               atol=1e-6)


def lif(**fields: Any) -> dict[str, Any]:
    return {**LIF, **fields}


def conv(**fields: Any) -> dict[str, Any]:
    return {"type": "Conv1d", "input_shape": 4, "weight": np.ones((1, 1, 2)), "stride": 1, "padding": 0, "dilation": 1,
            "groups": 1, "bias": np.zeros(1), **fields}


def _wide(path: Path) -> None:
    """A text that is longer than any file, unpacked."""
    write(path, *chain(fc=LINEAR, lif=LIF))
    with h5py.File(path, "a") as file:
        del file["node/nodes/fc/weight"]
        file["node/nodes/fc"].create_dataset("weight", (4, 1 << 20), "S2000", chunks=(1, 1 << 10), compression="gzip")


def _own_broken(path: Path) -> None:
    write(path, *chain(fc=LINEAR, lif=LIF))
    with h5py.File(path, "a") as file:
        file["node/metadata/spikeloom_network"] = np.zeros(5, np.uint8)
    own_network(read_nir(path))


def _link(path: Path) -> None:
    write(path, *chain(fc=LINEAR, lif=LIF))
    with h5py.File(path, "a") as file:
        del file["node/nodes/fc/weight"]
        file["node/nodes/fc/weight"] = h5py.ExternalLink("/etc/hostname", "x")


def _empty_node(path: Path) -> None:
    nodes, edges = chain(fc=LINEAR, lif=LIF)
    write(path, nodes, edges)
    with h5py.File(path, "a") as file:
        del file["node/nodes/lif"]
        file["node/nodes/lif"] = 0


def _cut(path: Path) -> None:
    write(path, *chain(fc=LINEAR, lif=LIF))
    path.write_bytes(path.read_bytes()[:3000])


def _other(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = 3


def _make(*graph: Any) -> Callable[[Path], Any]:
    return lambda path: write(path, *graph)


NODES, EDGES = chain(fc=LINEAR, lif=LIF)
LOOP = [*EDGES, ("fc", "fc")]


@pytest.mark.parametrize(("maker", "message"), [
    (lambda path: path.write_bytes(b"hello"), "is not a NIR file, or broken"),
    (_cut, "is not a NIR file, or broken"),
    (_other, "is HDF5, but no NIR file: it has no group node"),
    (_link, "node fc: weight is a link, which is not followed"),
    (_empty_node, "node lif: is empty: whoever wrote it could not say what it is"),
    (_make(*chain(lif=lif(type="Mystery"))), "node lif: type 'Mystery' is unknown; known are Input, Output"),
    (_make(*chain(lif={k: v for k, v in LIF.items() if k != "tau"})), "node lif: a LIF needs tau, which is missing"),
    (_make(NODES, [*EDGES, ("lif", "nowhere")]), "edge lif -> nowhere: there is no node nowhere"),
    (_make(NODES, LOOP), "node fc: the loop fc -> fc has no neurons in it"),
    (_make(NODES, EDGES[1:]), "node fc: no edge leads to it"),
    (_make(*chain(fc=LINEAR, lif=lif(tau=np.full(4, -1.0)))), "node lif: tau must be above 0, not -1"),
    (_make(*chain(fc=LINEAR, lif=lif(tau=np.zeros(4)))), "node lif: tau must be above 0, not 0"),
    (_make(*chain(fc=LINEAR, lif=lif(tau=np.full(4, 1e-5)))),
     "node lif: tau is 1e-05, less than the time step of 0.0001 in dialect snntorch-nodelay"),
    (_make(*chain(fc=LINEAR, lif=lif(v_threshold=np.full(4, np.nan)))),
     "node lif: v_threshold must be finite, and is nan"),
    (_make(*chain(fc={"type": "Linear", "weight": np.full((4, 4), np.inf)}, lif=LIF)),
     "node fc: weight must be finite, and is inf"),
    (_make(*chain(fc={"type": "Linear", "weight": np.ones((4, 3))}, lif=LIF)),
     "node fc: weight has shape (4, 3), but it is given 4 values"),
    (_make(*chain(fc=LINEAR, lif=lif(v_threshold=np.full(3, 1.0)))),
     "node lif: v_threshold has shape (3,), but it is given (4,)"),
    (_make(*chain(fc=LINEAR, late={"type": "Delay", "delay": np.full(4, 3e-4)}, lif=LIF)),
     "node late: delay must be 0 or 1 time steps of 0.0001"),
    (_make(*chain(fc=LINEAR, lif=LIF, li={"type": "LI", "tau": np.ones(4), "r": np.ones(4), "v_leak": np.zeros(4)},
                  two=LINEAR, end=LIF)), "node li: gives no spikes, and node end takes its potential"),
    (_make({k: v for k, v in NODES.items() if k != "output"}, EDGES[:-1]), "the graph has no Output node"),
    (_make(*chain(**{f"fc{k}": LINEAR for k in range(200)}, lif=LIF)), "more than 100 nodes in a row without neurons"),
    (_make(*chain(conv=conv(dilation=10**9))), "must be at most the map of 1 x 4"),
    (_make(*chain(conv=conv(stride=10**9))), "must be at most the map of 1 x 4"),
    (_make(*chain(conv=conv(padding=10**9))), "node conv: padding must be at most the map of 1 x 4, not 1000000000"),
    (_make(*chain(conv=conv(groups=np.zeros(0, int)))), "node conv: groups must not be empty"),
    (_make(*chain(fc={"type": "Linear", "weight": np.zeros((0, 4))}, lif=LIF)), "node fc: weight must not be empty"),
    (_wide, "all arrays together must be at most 2,147,483,648 bytes"),
    (_own_broken, "metadata: spikeloom_network: "),
])
def test_bad_files(tmp_path: Path, maker: Callable[[Path], Any], message: str) -> None:
    def attempt(path: Path) -> None:
        maker(path)
        network(path)

    with pytest.raises(SpikeloomError) as caught:
        attempt(tmp_path / "bad.nir")
    assert message in str(caught.value)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(SpikeloomError, match=r"gone.nir: no such file"):
        read_nir(tmp_path / "gone.nir")


def test_names_are_made_safe(tmp_path: Path) -> None:
    real = network(write(tmp_path / "a.nir", *chain(fc=LINEAR, **{"my-module!": LIF, "input2": LIF, "1.2": LIF})))
    assert [p.name for p in real.populations] == ["my_module", "input2", "n1_2"]
