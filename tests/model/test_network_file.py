"""Network files: back without loss, and one clear error for anything that is not such a file."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.networks import random_conv_network, random_samples

from spikeloom.model import container, golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Dense, Layer, Network, Neuron, Readout, SpikeInput, StaticInput
from spikeloom.model.network_file import VERSION, load_network, save_network
from spikeloom.model.numerics import Multiply, Shift

Strategies = Callable[..., st.SearchStrategy[Network]]


def network() -> Network:
    rng = np.random.default_rng(0)
    first = Layer(name="hidden", connection=Dense(weight=rng.integers(-8, 8, (3, 4)), weight_bits=4),
                  neuron=Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array([5]), fraction_bits=4))
    second = Layer(name="out", connection=Dense(weight=rng.integers(-999, 999, (2, 3)), weight_bits=16,
                                                bias=np.array([-7, 1 << 40])),
                   neuron=Neuron(synapse=Multiply(3277), membrane=Multiply(2731), threshold=np.array([1, 2]),
                                 fraction_bits=0, compare=">=", reset="subtract"))
    return Network.chain(name="small-1", input=StaticInput(shape=(2, 2), bits=6), steps=5, layers=(first, second),
                   readout=Readout.psc_sum(5, Shift(1)), metadata={"seed": 3, "accuracy": 0.9, "who": ["ä", None]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file."""
    save_network(network(), tmp_path / "good.snn")
    return tmp_path / "good.snn"


def assert_same(got: Network, want: Network) -> None:
    assert got.hash == want.hash
    assert (got.name, got.input, got.steps, got.readout) == (want.name, want.input, want.steps, want.readout)
    assert dict(got.metadata) == dict(want.metadata)
    for a, b in zip(got.layers, want.layers, strict=True):
        assert (a.name, a.connection.weight_bits) == (b.name, b.connection.weight_bits)
        assert np.array_equal(a.connection.weight, b.connection.weight)
        assert (a.connection.bias is None) == (b.connection.bias is None)
        assert np.array_equal(a.biases, b.biases)
        assert np.array_equal(a.neuron.threshold, b.neuron.threshold)
        for field in ("synapse", "membrane", "fraction_bits", "compare", "reset"):
            assert getattr(a.neuron, field) == getattr(b.neuron, field)


def test_round_trip(path: Path) -> None:
    assert_same(load_network(path), network())


def test_ties(path: Path, tmp_path: Path) -> None:
    with_ties = dataclasses.replace(network(), readout=Readout.psc_sum(5, Shift(1), ties="membrane"))
    save_network(with_ties, tmp_path / "ties.snn")
    assert_same(load_network(tmp_path / "ties.snn"), with_ties)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_round_trip_of_random_networks(random_networks: Strategies, tmp_path: Path, data: st.DataObject) -> None:
    original = data.draw(random_networks())
    save_network(original, tmp_path / "random.snn")
    assert_same(load_network(tmp_path / "random.snn"), original)


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_extreme_weights_survive(bits: int, tmp_path: Path) -> None:
    low, high = (-1, 1) if bits == 1 else (-(1 << bits - 1), (1 << bits - 1) - 1)
    top = Network.chain(name="top", input=SpikeInput(shape=(2,)), steps=1, readout=Readout.count(), layers=(
        Layer(name="fc", connection=Dense(weight=np.array([[low, high]]), weight_bits=bits,
                                          bias=np.array([-(1 << 47)])),
              neuron=Neuron(synapse=Shift(15), membrane=Multiply(4096), threshold=np.array([(1 << 48) - 1]),
                            fraction_bits=16)),))
    save_network(top, tmp_path / "top.snn")
    assert_same(load_network(tmp_path / "top.snn"), top)


def test_same_network_same_bytes(path: Path) -> None:
    again = path.with_name("again.snn")
    save_network(load_network(path), again)
    assert again.read_bytes() == path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_metadata_with_number_keys_and_tuples(tmp_path: Path) -> None:
    net = network()
    object.__setattr__(net, "metadata", {10: "ten", 9: (1, 2)})
    save_network(net, tmp_path / "a.snn")
    assert load_network(tmp_path / "a.snn").metadata == {"10": "ten", "9": [1, 2]}


def test_metadata_must_be_json(path: Path) -> None:
    net, before = network(), path.read_bytes()
    object.__setattr__(net, "metadata", {"array": np.zeros(2)})
    with pytest.raises(SpikeloomError, match=r"good\.snn: description and metadata must be JSON values \(.*ndarray"):
        save_network(net, path)
    assert path.read_bytes() == before


# Writing


def test_cannot_be_written(path: Path, tmp_path: Path) -> None:
    with pytest.raises(SpikeloomError, match=r"nowhere.a\.snn: folder .*nowhere does not exist"):
        save_network(network(), tmp_path / "nowhere" / "a.snn")
    (tmp_path / "folder.snn").mkdir()
    with pytest.raises(SpikeloomError, match=r"folder\.snn: is a folder: name a file to write"):
        save_network(network(), tmp_path / "folder.snn")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.snn", "good.snn"]  # nothing half-written


def test_an_interrupted_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SpikeloomError, match=r"good\.snn: cannot be written: No space left on device"):
        save_network(network(), path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["good.snn"]


# Reading what is no good file


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(SpikeloomError, match=r"nothing\.snn: no such file"):
        load_network(tmp_path / "nothing.snn")
    with pytest.raises(SpikeloomError, match=r"is a folder, not a file"):
        load_network(tmp_path)


def test_truncated_anywhere(path: Path) -> None:
    whole, part = path.read_bytes(), path.with_name("part.snn")
    for size in range(0, len(whole), 7):
        part.write_bytes(whole[:size])
        with pytest.raises(SpikeloomError, match=r"part\.snn: not a ZIP archive of this format, or truncated \("):
            load_network(part)


def test_damaged_anywhere(path: Path) -> None:
    whole, part = path.read_bytes(), path.with_name("part.snn")
    refused = 0
    for at in range(0, len(whole), 5):
        part.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1:])
        try:
            got = load_network(part)
        except SpikeloomError as error:
            assert str(error).startswith(f"{part}: ")  # noqa: PT017
            refused += 1
        else:
            assert_same(got, network())  # ZIP's dates, attributes and the like
    assert refused > len(whole) / 5 / 2


@pytest.mark.parametrize("content", [b"", b"weights = 1, 2, 3\n" * 40, b"PK\x03\x04" + bytes(100), bytes(1000),
                                     pickle.dumps({"weight": [1, 2]})],
                         ids=["empty", "text", "half-zip", "zeros", "pickle"])
def test_foreign(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "foreign.snn"
    path.write_bytes(content)
    with pytest.raises(SpikeloomError, match=r"foreign\.snn: not a ZIP archive of this format, or truncated"):
        load_network(path)


@pytest.mark.parametrize("description", [None, b"", b"{", b"[]", b"{}", b"7", b'"x"', b"\xff\xfe",
                                         b'{"format": "spikeloom-network"}'])
def test_foreign_zip(description: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "foreign.snn"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
        if description is not None:
            archive.writestr("description.json", description)
    with pytest.raises(SpikeloomError, match=r"foreign\.snn: (not a spikeloom file: it has no |)description\.json"):
        load_network(path)


def test_another_kind_of_spikeloom_file(tmp_path: Path) -> None:
    container.save(tmp_path / "a.fold", "fold", 1, {}, {})
    with pytest.raises(SpikeloomError, match="format is 'spikeloom-fold', wanted 'spikeloom-network'"):
        load_network(tmp_path / "a.fold")


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, content: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def rewrite(path: Path, *, resign: bool, head: Callable[[dict[str, Any]], object] = lambda d: None,
            arrays: dict[str, bytes | None] | None = None) -> None:
    """Edit a file by hand; ``resign`` also puts a fitting SHA-256 in, as a malicious editor would."""
    content = members(path)
    description = json.loads(content.pop("description.json"))
    head(description)
    for name, data in (arrays or {}).items():
        content.pop(name, None)
        if data is not None:
            content[name] = data
    if resign:
        digest = hashlib.sha256(json.dumps(description["description"], sort_keys=True).encode())
        for name in sorted(content):
            digest.update(name.encode() + b"\0" + content[name])
        description["sha256"] = digest.hexdigest()
    write(path, {"description.json": json.dumps(description).encode()} | content)


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_rewriting_unchanged_is_harmless(path: Path) -> None:
    rewrite(path, resign=True)
    assert_same(load_network(path), network())
    rewrite(path, resign=False)
    assert_same(load_network(path), network())


@pytest.mark.parametrize("change", [
    {"head": lambda d: d["description"].update(steps=6)},
    {"head": lambda d: d["description"]["populations"][0]["neuron"].update(reset="subtract")},
    {"head": lambda d: d.update(sha256="0" * 64)},
    {"arrays": {"hidden.weight.npy": npy(np.zeros((3, 4), np.int8))}},
    {"arrays": {"hidden.weight.npy": None}},
    {"arrays": {"new.npy": npy(np.zeros(1, int))}}])
def test_edited_by_hand(path: Path, change: dict[str, Any]) -> None:
    rewrite(path, resign=False, **change)
    with pytest.raises(SpikeloomError, match=r"good\.snn: contents do not match their SHA-256: .* edited by hand"):
        load_network(path)


@pytest.mark.parametrize("version", [0, -1, VERSION + 1, 1.5, "1", None])
def test_other_version(path: Path, version: object) -> None:
    rewrite(path, resign=True, head=lambda d: d.update(version=version))
    with pytest.raises(SpikeloomError, match=r"version is 2, this spikeloom reads 1\.\.1|field version: "):
        load_network(path)


@pytest.mark.parametrize("array", ["hidden.weight", "hidden.threshold", "out.weight", "out.bias", "out.threshold"])
def test_missing_array(path: Path, array: str) -> None:
    rewrite(path, resign=True, arrays={f"{array}.npy": None})
    with pytest.raises(SpikeloomError, match=rf"good\.snn: layer {array.replace('.', ': array ')} is missing"):
        load_network(path)


class Trap:
    """Leaves a mark if it is ever unpickled."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


def test_pickles_are_refused(path: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    trap = np.array([Trap(str(mark))], dtype=object)
    rewrite(path, resign=True, arrays={"hidden.weight.npy": npy(trap)})
    with pytest.raises(SpikeloomError, match=r"array hidden\.weight: not a \.npy array of booleans"):
        load_network(path)
    assert not mark.exists()
    rewrite(path, resign=True, arrays={"hidden.weight.npy": pickle.dumps(Trap(str(mark)))})
    with pytest.raises(SpikeloomError, match=r"array hidden\.weight: not a \.npy array"):
        load_network(path)
    assert not mark.exists()


def test_object_arrays_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle=False"):
        container.save(tmp_path / "a.snn", "network", 1, {}, {"a": np.array([None])})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("array", "message"), [
    (np.full((3, 4), np.nan), "good.snn: layer hidden: weight must be integers, not float64"),
    (np.full((3, 4), np.inf), "good.snn: layer hidden: weight must be integers, not float64"),
    (np.full((3, 4), 8), "good.snn: layer hidden: weight[0, 0] is 8, outside -8..7 that weight_bits=4 allows"),
    (np.zeros((3, 5), int), "good.snn: layer hidden: takes 5 inputs, but the input gives 4"),
    (np.zeros((2, 4), int), "good.snn: layer hidden: has 3 neurons, but the projection from input gives 2"),
    (np.zeros(4, int), "good.snn: layer hidden: weight must have 2 dimensions, not shape (4,)"),
])
def test_wrong_weights(path: Path, array: np.ndarray, message: str) -> None:
    rewrite(path, resign=True, arrays={"hidden.weight.npy": npy(array)})
    with pytest.raises(SpikeloomError, match=re.escape(message)):
        load_network(path)


def at(d: dict[str, Any], *keys: str | int) -> Any:
    for key in keys:
        d = d[key]  # type: ignore[index]
    return d


@pytest.mark.parametrize(("where", "change", "message"), [
    ((), {"steps": 0}, "steps must be in 1..65536, not 0"),
    ((), {"steps": "5"}, "field steps: input should be a valid integer, not '5'"),
    ((), {"name": "a/b"}, "not 'a/b'"),
    ((), {"populations": []}, "populations must be a sequence of Populations and not be empty"),
    ((), {"projections": 5}, "field projections: input should be a valid array, not 5"),
    ((), {"populations": [5]}, "field populations[0]: "),
    ((), {"output": "x"}, "output must be one of hidden, out, not 'x'"),
    ((), {"metadata": 5}, "field metadata: "),
    ((), {"leak": 5}, "field leak is unknown"),
    (("input",), {"kind": "sound"}, "field input.kind: input should be 'static', 'spikes', "),
    (("input",), {"bits": True}, "field input.bits: input should be a valid integer, not True"),
    (("input",), {"bits": 9}, "input bits must be in 1..8, not 9"),
    (("input",), {"shape": 4}, "field input.shape: input should be a valid array, not 4"),
    (("readout",), {"kind": "max"}, "field readout.kind: input should be 'psc_sum', 'count', "),
    (("readout",), {"ties": ["membrane"]}, "field readout.ties: "),
    (("readout",), {"step_weights": None}, "field readout.step_weights: input should be a valid array, not None"),
    (("readout",), {"step_weights": [1]}, "readout has 1 step_weights, but the network has 5 steps"),
    (("populations", 0), {"name": "x"}, "layer x: array threshold is missing"),
    (("populations", 0), {"name": "h1\n"}, "layer name must be a letter"),
    (("populations", 0), {"name": 5}, "field populations[0].name: "),
    (("populations", 0), {"shape": [5]}, "layer hidden: has 5 neurons, but the projection from input gives 3"),
    (("projections", 0), {"target": "x"}, "layer x: array weight is missing"),
    (("projections", 0), {"source": "x"}, "layer hidden: a projection comes from 'x', but there are input, hid"),
    (("projections", 0), {"source": "out"}, "layer hidden: takes 4 inputs, but layer out gives 2"),
    (("projections", 0), {"delay": 1}, "layer hidden: delay of its projection from input must be 0, not 1"),
    (("projections", 1), {"delay": 2}, "layer out: delay of its projection from hidden must be in 0..1, not 2"),
    (("projections", 0), {"pool": {"kind": "sum"}}, "field projections[0].pool.size is missing"),
    (("projections", 0, "connection"), {"kind": "conv"}, "field projections[0].connection.kind: input"),
    (("projections", 0, "connection"), {"kind": "Conv2d"},
     "layer hidden: field geometry of a Conv2d connection is missing"),
    (("projections", 0, "connection"), {"size": 4}, "layer hidden: field size of a Dense connection must not be given"),
    (("projections", 0, "connection"), {"weight_bits": 3}, "layer hidden: weight["),
    (("projections", 0, "connection"), {"weight_bits": 4.0}, "field projections[0].connection.weight_bits: "),
    (("projections", 0, "connection"), {"bias": True}, "layer hidden: array bias is missing"),
    (("populations", 0, "neuron"), {"kind": "izhikevich"},
     "layer hidden: field neuron.kind: must be one of Neuron, Integrator, program, not 'izhikevich'"),
    (("populations", 0, "neuron"), {"leak": 3}, "layer hidden: field neuron.leak is unknown; a Neuron has threshold, "),
    (("populations", 0, "neuron"), {"fraction_bits": 17}, "layer hidden: fraction_bits must be in 0..16, not 17"),
    (("populations", 0, "neuron"), {"compare": "="}, "layer hidden: compare must be '>' or '>=', not '='"),
    (("populations", 0, "neuron"), {"synapse": {"kind": "Shift", "k": 16}},
     "layer hidden: neuron.synapse: decay shift k must be in 0..15"),
    (("populations", 1, "neuron"), {"membrane": {"kind": "Multiply", "c": -1}},
     "layer out: neuron.membrane: decay factor c must be in 0..4096"),
    (("populations", 1, "neuron"), {"membrane": {"kind": "Shift", "tau": 2}},
     "layer out: field neuron.membrane.tau is unknown; a Shift has k"),
    (("populations", 1, "neuron"), {"membrane": {}}, "layer out: field neuron.membrane.kind: must be one of "),
    (("populations", 1, "neuron"), {"membrane": 2}, "layer out: membrane must be a Shift, a Shifts or a"),
    (("populations", 1, "neuron"), {"kind": "program"}, "layer out: neuron must have kind, name and program"),
])
def test_wrong_fields(path: Path, where: tuple[str | int, ...], change: dict[str, Any], message: str) -> None:
    rewrite(path, resign=True, head=lambda d: at(d["description"], *where).update(change))
    with pytest.raises(SpikeloomError, match=r"good\.snn: .*" + re.escape(message)):
        load_network(path)


@pytest.mark.parametrize(("where", "key"), [
    ((), "name"), ((), "input"), ((), "steps"), ((), "readout"), ((), "populations"), ((), "projections"),
    ((), "metadata"), (("input",), "kind"), (("input",), "shape"), (("input",), "bits"), (("readout",), "kind"),
    (("populations", 0), "name"), (("projections", 0), "connection"), (("populations", 1), "neuron"),
    (("projections", 0, "connection"), "weight_bits"), (("projections", 1), "source")])
def test_missing_fields(path: Path, where: tuple[str | int, ...], key: str) -> None:
    rewrite(path, resign=True, head=lambda d: at(d["description"], *where).pop(key))
    with pytest.raises(SpikeloomError, match=rf"good\.snn: field .*{key} is missing"):
        load_network(path)


def test_description_is_no_mapping(path: Path) -> None:
    rewrite(path, resign=True, head=lambda d: d.update(description=[1, 2]))
    with pytest.raises(SpikeloomError, match=r"good\.snn: description\.json: field description: "):
        load_network(path)


@pytest.mark.parametrize("seed", range(8))
def test_convolutions_round_trip(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_conv_network(rng)
    save_network(network, tmp_path / "conv.snn")
    loaded = load_network(tmp_path / "conv.snn")
    assert (loaded.hash, loaded.topology) == (network.hash, network.topology)
    samples = random_samples(rng, network, 3)
    for got, want in zip(golden.run(loaded, samples).spikes, golden.run(network, samples).spikes, strict=True):
        np.testing.assert_array_equal(got, want)
