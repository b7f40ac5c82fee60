"""Folds: presets for any network, files, and an error for everything that does not suit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.networks import random_conv_network, random_fold, random_network

from spikeloom.gen.fold import PRESETS, Fold, LayerFold, check_fold, fold_from_dict, load_fold
from spikeloom.gen.plan import make_plan
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.geometry import ConvGeometry
from spikeloom.model.network import Conv2d, Dense, Layer, Network, Neuron, Readout, StaticInput
from spikeloom.model.numerics import Shift


def fold_of(network: Network, index: int = 0, **layer: Any) -> Fold:
    """One lane everywhere, ``layer`` changed in one place."""
    layers = [LayerFold() for _ in network.layers]
    layers[index] = LayerFold(**layer)
    return Fold(layers=tuple(layers), name="mine")


@settings(max_examples=80, deadline=None)
@given(sizes=st.lists(st.one_of(st.integers(1, 20), st.integers(60, 70), st.sampled_from([127, 128, 401])),
                      min_size=2, max_size=4), static=st.booleans(), steps=st.integers(1, 7))
def test_presets_suit_any_network(sizes: list[int], static: bool, steps: int) -> None:
    network = random_network(np.random.default_rng(0), sizes=tuple(sizes), static=static, steps=steps)
    for name, preset in PRESETS.items():
        fold = preset(network)
        check_fold(network, fold)
        assert fold.name == name
        assert load_fold(name, network) == fold
        assert fold.window(network) == steps


def test_presets_are_what_they_say(network: Network) -> None:
    small, full, balanced = (PRESETS[name](network) for name in ("small", "full", "balanced"))
    assert {(layer.lanes, layer.inputs_per_cycle, layer.pipelined) for layer in small.layers} == {(1, 1, False)}
    assert [(layer.lanes, layer.neuron_units) for layer in full.layers] == [(20, 20), (9, 9), (4, 4)]
    assert [layer.lanes for layer in balanced.layers] == [16, 9, 4]


@pytest.mark.parametrize(("index", "layer", "message"), [
    (0, {"lanes": 0}, r"fold mine: layer layer0: lanes must be in 1\.\.20, not 0"),
    (0, {"lanes": 21}, r"layer layer0: lanes must be in 1\.\.20, not 21"),
    (1, {"lanes": -1}, r"layer layer1: lanes must be in 1\.\.9, not -1"),
    (1, {"lanes": 2.0}, r"layer layer1: lanes must be in 1\.\.9, not 2\.0"),
    (1, {"lanes": True}, r"layer layer1: lanes must be in 1\.\.9, not True"),
    (1, {"lanes": "4"}, r"layer layer1: lanes must be in 1\.\.9, not '4'"),
    (2, {"lanes": None}, r"layer layer2: lanes must be in 1\.\.4, not None"),
    (0, {"lanes": 4, "neuron_units": 5}, r"layer layer0: neuron_units must be in 1\.\.4, not 5"),
    (0, {"neuron_units": 0}, r"layer layer0: neuron_units must be in 1\.\.1, not 0"),
    (0, {"inputs_per_cycle": 13}, r"layer layer0: inputs_per_cycle must be in 1\.\.12, not 13"),
    (1, {"inputs_per_cycle": 0}, r"layer layer1: inputs_per_cycle must be in 1\.\.20, not 0"),
    (2, {"pipelined": 1}, r"layer layer2: pipelined must be true or false, not 1"),
    (1, {"lanes": 4, "inputs_per_cycle": 4, "multipliers": 1}, r"layer layer1: multipliers must be in 0\.\.0, not 1"),
    (1, {"sparse": 1}, r"layer layer1: sparse must be False or True, not 1"),
    (1, {"sparse": True}, r"layer layer1: sparse must be false with outer 'groups', not True"),
    (1, {"sparse": True, "outer": "events", "inputs_per_cycle": 2},
     r"layer layer1: sparse must be false with several inputs_per_cycle, not True"),
    (1, {"sparse": True, "outer": "events", "lanes": 4, "multipliers": 1}, r"multipliers must be in 0\.\.0, not 1"),
    (1, {"on_chip_lanes": 1}, r"layer layer1: on_chip_lanes must be in 0\.\.0, not 1"),
    (1, {"lanes": 4, "on_chip_lanes": 4, "external_bus_bits": 32}, r"on_chip_lanes must be in 0\.\.3, not 4"),
    (1, {"lanes": 4, "on_chip_lanes": 2}, r"layer layer1: on_chip_lanes must be 0 without external_bus_bits, not 2"),
    (1, {"lanes": 4, "on_chip_lanes": 1, "neuron_units": 2, "external_bus_bits": 32},
     r"layer layer1: on_chip_lanes must leave a multiple of neuron_units=2 of lanes=4, not 1"),
    (0, {"updates": "some"}, r"layer layer0: updates must be 'all' or 'spiking', not 'some'"),
    (1, {"updates": "spiking"}, r"layer layer1: updates must be 'all' where no static input drives the layer, not 's"),
    (0, {"updates": "spiking", "pipelined": False}, r"layer layer0: updates must be 'all' with stepping units, not 's"),
])
def test_bad_layer(network: Network, index: int, layer: dict[str, Any], message: str) -> None:
    with pytest.raises(SpikeloomError, match=message):
        check_fold(network, fold_of(network, index, **layer))


@pytest.mark.parametrize(("fields", "message"), [
    ({"input_per_beat": 0}, r"fold bad: input_per_beat must be in 1\.\.12, not 0"),
    ({"input_per_beat": 13}, r"input_per_beat must be in 1\.\.12, not 13"),
    ({"window_steps": 5}, r"window_steps must be in 1\.\.4, not 5"),
    ({"window_steps": 0}, r"window_steps must be in 1\.\.4, not 0"),
    ({"window_steps": 3}, r"window_steps must divide the network's 4 steps, not 3"),
    ({"layers": (LayerFold(),)}, r"fold bad: has 1 layers, network random has 3"),
    ({"name": "a\nmodule b;"}, "name must be one line of text"),
    ({"lut_ram": 1}, "lut_ram must be"), ({"lut_ram": "no"}, "lut_ram must be"),
    ({"name": 3}, "name must be one line of text, not 3"),
], ids=str)
def test_bad_fold(network: Network, fields: dict[str, Any], message: str) -> None:
    fold = Fold(**{"layers": (LayerFold(),) * 3, "name": "bad"} | fields)
    with pytest.raises(SpikeloomError, match=message):
        check_fold(network, fold)


@pytest.mark.parametrize(("fields", "message"), [
    ({"window_steps": 2}, "fold custom: layer layer0: updates must be 'all' where a run has several windows, not 's"),
    ({"weight_sets": 1}, "fold custom: layer layer0: updates must be 'all' with weight_sets, not 'spiking'"),
], ids=str)
def test_updates_of_neurons_that_spike(network: Network, fields: dict[str, Any], message: str) -> None:
    layers = (LayerFold(updates="spiking"), LayerFold(), LayerFold())
    check_fold(network, Fold(layers=layers))
    with pytest.raises(SpikeloomError, match=message):
        check_fold(network, Fold(layers=layers, **fields))


def test_lanes_on_chip_beside_a_bus(network: Network) -> None:
    layers = (LayerFold(lanes=5, neuron_units=2, external_bus_bits=64, on_chip_lanes=3), LayerFold(), LayerFold())
    check_fold(network, Fold(layers=layers))
    with pytest.raises(SpikeloomError, match="layer layer0: on_chip_lanes must be 0 with weight_sets, not 3"):
        check_fold(network, Fold(layers=layers, weight_sets=1))


def test_sparse_rows_take_turns_and_fixed_weights_with_zeros(network: Network) -> None:
    sparse = LayerFold(outer="events", sparse=True)
    check_fold(network, Fold(layers=(sparse, LayerFold(), LayerFold())))
    all_lanes = replace(sparse, lanes=network.layers[0].outputs)
    for layers, fields, why in [((all_lanes,), {}, "where no lanes take turns"),
                                ((sparse,), {"weight_sets": 1}, "with weight_sets")]:
        with pytest.raises(SpikeloomError, match=f"layer layer0: sparse must be false {why}, not True"):
            check_fold(network, Fold(layers=(*layers, LayerFold(), LayerFold()), **fields))
    one_bit = replace(network, projections=tuple(
        replace(each, connection=Dense(weight=np.where(each.connection.weight > 0, 1, -1).astype(np.int8),
                                       weight_bits=1)) for each in network.projections))
    with pytest.raises(SpikeloomError, match="sparse must be false where weights have one bit, and none is 0"):
        check_fold(one_bit, Fold(layers=(sparse, LayerFold(), LayerFold())))


@pytest.mark.parametrize(("weight_bits", "most"), [(4, 8), (1, 0), (16, 0)])
def test_multipliers(weight_bits: int, most: int) -> None:
    """For two inputs of each lane one; none where two products do not fit into one."""
    weight = np.ones((4, 9), np.int16 if weight_bits > 8 else np.int8)
    neuron = Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array([30]), fraction_bits=2)
    layer = Layer(name="only", connection=Dense(weight=weight, weight_bits=weight_bits), neuron=neuron)
    network = Network.chain(name="one", input=StaticInput(shape=(9,), bits=4), layers=(layer,), steps=5,
                            readout=Readout(kind="count"))
    lanes = LayerFold(lanes=4, inputs_per_cycle=5)
    check_fold(network, Fold(layers=(replace(lanes, multipliers=most),), input_per_beat=5))
    with pytest.raises(SpikeloomError, match=rf"multipliers must be in 0\.\.{most}, not {most + 1}"):
        check_fold(network, Fold(layers=(replace(lanes, multipliers=most + 1),), input_per_beat=5))


def test_inputs_must_meet_beats(network: Network) -> None:
    """What a layer takes per cycle divides, or is a multiple of, what comes per beat."""
    first = Fold(layers=(LayerFold(inputs_per_cycle=4), LayerFold(), LayerFold()), input_per_beat=6, name="mine")
    with pytest.raises(SpikeloomError, match="layer layer0: inputs_per_cycle must divide or be a multiple of "
                                             "input_per_beat=6, not 4"):
        check_fold(network, first)
    second = Fold(layers=(LayerFold(lanes=3, neuron_units=3), LayerFold(inputs_per_cycle=2), LayerFold()), name="mine")
    with pytest.raises(SpikeloomError, match="layer layer1: inputs_per_cycle must divide or be a multiple of "
                                             "layer layer0's neuron_units=3, not 2"):
        check_fold(network, second)
    for inputs_per_cycle in (1, 3, 6, 9):
        check_fold(network, Fold(layers=(LayerFold(lanes=3, neuron_units=3),
                                         LayerFold(inputs_per_cycle=inputs_per_cycle), LayerFold())))


def test_windows(spiking: Network) -> None:
    for window in (1, 2, 3, 6, None):
        fold = Fold(layers=(LayerFold(),) * 2, window_steps=window)
        check_fold(spiking, fold)
        assert fold.window(spiking) == (window or 6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_round_trip(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fold = random_fold(rng, random_network(rng))
    assert fold_from_dict(json.loads(json.dumps(fold.to_dict())), "here") == fold


def test_file(tmp_path: Path, network: Network) -> None:
    """A fold without a name takes the file's; what is not said has its default."""
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"layers": [{"lanes": 5, "neuron_units": 2}, {}, {"pipelined": False}],
                                "input_per_beat": 3}))
    assert load_fold(str(file), network) == Fold(
        name="mine", input_per_beat=3, layers=(LayerFold(lanes=5, neuron_units=2), LayerFold(),
                                               LayerFold(pipelined=False)))
    file.write_text(json.dumps(PRESETS["fast"](network).to_dict() | {"name": "named"}))
    assert load_fold(str(file), network).name == "named"


@pytest.mark.parametrize(("text", "message"), [
    ("{", "not valid JSON"),
    ("[]", r"input should be an object, not \[\]"),
    ("{}", "field layers is missing"),
    ('{"layers": 3}', "field layers: input should be a valid array, not 3"),
    ('{"layers": [3, {}, {}]}', r"field layers\[0\]: input should be an object, not 3"),
    ('{"layers": [{}, {"lane": 3}, {}]}', r"field layers\[1\].lane is unknown; allowed are lanes, inputs_per_cycle, "),
    ('{"layers": [{}, {}, {}], "window": 3}', "field window is unknown; allowed are layers, input_per_beat, "),
    ('{"layers": [{"external_bus_bits": 64.0}, {}, {}]}', r"field layers\[0\].external_bus_bits: .*integer, not 64.0"),
    ('{"layers": [{}, {}, {}], "layers": []}', "key 'layers' stands twice"),
    ('{"layers": [{}, {}, {}], "name": ""}', "name must be one line of text, not ''"),
    ('{"layers": [{"lanes": ' + "1" * 5000 + "}, {}, {}]}", "a number of 5,000 digits"),
    ('{"layers": [{}, {}]}', "has 2 layers, network random has 3"),
    ('{"layers": [{"lanes": NaN}, {}, {}]}', "number NaN is not finite"),
    ('{"layers": [{"lanes": [1]}, {}, {}]}', r"field layers\[0\].lanes: input should be a valid integer, not \[1\]"),
    ('{"layers": [{}, {}, {}], "name": ["x"]}', "field name: "),
    ("[" * 100_000, "not valid JSON"),
    ("\xff", "byte 0 is not UTF-8"),
])
def test_bad_file(tmp_path: Path, network: Network, text: str, message: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(SpikeloomError, match=message) as caught:
        load_fold(str(file), network)
    assert "bad" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_neither_preset_nor_file(tmp_path: Path, network: Network) -> None:
    with pytest.raises(SpikeloomError, match=r"fold 'quick' is neither a preset \(small, .*full\) nor a file"):
        load_fold("quick", network)
    with pytest.raises(SpikeloomError, match="is a folder, not a file"):
        load_fold(str(tmp_path), network)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("maker", [random_network, random_conv_network])
def test_presets_suit_convolutions_too(preset: str, maker: Callable[[np.random.Generator], Network]) -> None:
    for seed in range(60):
        network = maker(np.random.default_rng(seed))
        make_plan(network, PRESETS[preset](network))


@pytest.mark.parametrize(("fields", "message"), [
    ({"lanes": 7}, r"lanes must be in 1..6 \(its channels\), or so many times them as divide its 6 columns "
                   r"\(12, 18, 36\), not 7"),
    ({"lanes": 24}, "not 24"),
    ({"lanes": 12, "neuron_units": 4}, "neuron_units must divide the 6 channels where lanes=12 are more than these"),
    ({"inputs_per_cycle": 3}, "layer conv1: inputs_per_cycle must be a power of two, not 3"),
])
def test_bad_folds_of_a_convolution(fields: dict[str, int], message: str) -> None:
    geometry = ConvGeometry(input_shape=(1, 8, 8), channels=6, kernel=(3, 3))
    neuron = Neuron(synapse=Shift(1), membrane=Shift(2), fraction_bits=0, threshold=np.array([4]))
    network = Network.chain(
        name="conv", input=StaticInput(shape=(8, 8), bits=4), steps=2, readout=Readout.count(), layers=(
            Layer(name="conv1", neuron=neuron, connection=Conv2d(
                geometry=geometry, weight=np.ones((6, 1, 3, 3), int), weight_bits=4)),
            Layer(name="output", neuron=neuron, connection=Dense(weight=np.ones((3, 216), int), weight_bits=4))))
    with pytest.raises(SpikeloomError, match=message):
        make_plan(network, Fold(layers=(LayerFold(**fields), LayerFold())))
