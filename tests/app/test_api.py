"""Whatever a verb or a constructor is told: it works, or ends as one SpikeloomError of one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikeloom
from spikeloom.gen.fetch_cycles import MemoryTiming
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.model.connections import Lateral, OneToOne, Sparse
from spikeloom.model.datasets import Dataset
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.float_network import FloatLayer, FloatNetwork
from spikeloom.model.geometry import ConvGeometry, Pool
from spikeloom.model.network import (
    BernoulliInput,
    Conv2d,
    Dense,
    LatencyInput,
    Layer,
    Network,
    Neuron,
    Population,
    Projection,
    Readout,
    SpikeInput,
    StaticInput,
)
from spikeloom.model.neurons.parts import (
    Adaptation,
    Alpha,
    Clamp,
    DualExponential,
    Gain,
    LateCurrent,
    Offset,
    Ramp,
    ResetTo,
    Trace,
)
from spikeloom.model.neurons.types import Integrator
from spikeloom.model.numerics import Multiply, Shift, Shifts
from spikeloom.model.train_config import TrainConfig

from .conftest import Files


class Rude:
    """Cannot say what it is, and refuses to be converted."""

    def __repr__(self) -> str:
        raise ValueError("no")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise KeyError("no")


class Wordy:
    def __repr__(self) -> str:
        return "two\nlines"


HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 1 << 70, 1.5, float("nan"), float("inf"), "", "x", "\0", "../x", "a" * 5000, b"x", 10**400, (),
    [], [[1, 2], [3]], {}, {"a": 1}, {1, 2}, object(), Rude(), Wordy(), print, np.array([]), np.array(["a"]),
    np.zeros((2, 2), object), np.zeros((2, 2)), np.array([1 << 63], np.uint64), np.int8(3), np.float32(2), 1j,
    Path("nowhere"))


def ends_well(call: Callable[..., Any], given: dict[str, Any], key: str) -> None:
    """Every hostile value of one argument."""
    for value in HOSTILE:
        try:
            call(**{**given, key: value})
        except SpikeloomError as error:
            said = str(error)
            assert "\n" not in said, (key, said)
            assert len(said) < 1000, (key, said)
        except Exception as error:
            raise AssertionError(f"{call} with {key} of type {type(value).__name__}: {error!r}") from error


def geometry() -> ConvGeometry:
    return ConvGeometry(input_shape=(1, 4, 4), channels=2, kernel=(3, 3))


def neuron() -> Neuron:
    return Neuron(synapse=Shift(1), membrane=Shift(2), threshold=np.array([4]), fraction_bits=1)


def dense() -> Dense:
    return Dense(weight=np.ones((4, 16), int), weight_bits=4)


CONSTRUCTORS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "StaticInput": (StaticInput, {"shape": (4, 4), "bits": 4}), "SpikeInput": (SpikeInput, {"shape": (4,)}),
    "Shift": (Shift, {"k": 1}), "Multiply": (Multiply, {"c": 3}), "Pool": (Pool, {"kind": "sum", "size": 2}),
    "ConvGeometry": (ConvGeometry, {"input_shape": (1, 4, 4), "channels": 2, "kernel": (3, 3), "stride": 1,
                                    "padding": 0, "groups": 1}),
    "Dense": (Dense, {"weight": np.ones((4, 16), int), "weight_bits": 4, "bias": np.zeros(4, int)}),
    "Conv2d": (Conv2d, {"geometry": geometry(), "weight": np.ones((2, 1, 3, 3), int), "weight_bits": 4, "bias": None}),
    "Neuron": (Neuron, {"synapse": Shift(1), "membrane": Shift(2), "threshold": np.array([4]), "fraction_bits": 1,
                        "compare": ">", "reset": "zero", "reset_delay": 0, "refractory_steps": 0, "once": False,
                        "adaptation": None, "gain": None, "clamp": None}),
    "Layer": (Layer, {"name": "a", "connection": dense(), "neuron": neuron(), "pool": None}),
    "Readout": (Readout, {"kind": "psc_sum", "step_weights": (1, 1), "ties": "membrane", "early_exit": False}),
    "Network.chain": (Network.chain, {
        "name": "n", "input": StaticInput(shape=(4, 4), bits=4), "steps": 2, "metadata": {},
        "layers": (Layer(name="a", connection=dense(), neuron=neuron()),), "readout": Readout.count()}),
    "Network": (Network, {
        "name": "n", "input": StaticInput(shape=(4, 4), bits=4), "steps": 2, "metadata": {}, "readout": Readout.count(),
        "populations": (Population(name="a", shape=(4,), neuron=neuron()),), "output": "a",
        "projections": (Projection(source="input", target="a", connection=dense()),)}),
    "Population": (Population, {"name": "a", "shape": (4,), "neuron": neuron()}),
    "Projection": (Projection, {"source": "input", "target": "a", "connection": dense(), "pool": None, "delay": 0}),
    "LatencyInput": (LatencyInput, {"shape": (4,), "bits": 4, "silent_zero": False}),
    "BernoulliInput": (BernoulliInput, {"shape": (4,), "bits": 4, "rate": 9, "seed": 1}),
    "Sparse": (Sparse, {"inputs": 4, "outputs": 2, "source": np.array([1]), "target": np.array([0]),
                        "weight": np.array([3]), "weight_bits": 4, "bias": np.zeros(2, int)}),
    "OneToOne": (OneToOne, {"size": 4, "weight": np.array([3]), "weight_bits": 4, "bias": None}),
    "Lateral": (Lateral, {"size": 4, "weight": -1, "weight_bits": 2}),
    "Shifts": (Shifts, {"k": 1, "l": 2}), "Alpha": (Alpha, {"first": Shift(1), "second": Shift(2)}),
    "DualExponential": (DualExponential, {"fall": Shift(2), "rise": Shift(1)}),
    "LateCurrent": (LateCurrent, {"decay": Shift(2)}), "Ramp": (Ramp, {"taps": ((0, 1), (3, -1))}),
    "Gain": (Gain, {"multiplier": 3, "shift": 1}), "ResetTo": (ResetTo, {"value": 3}),
    "Offset": (Offset, {"value": 3}),
    "Trace": (Trace, {"decay": Shift(1), "amount": 3}), "Adaptation": (Adaptation, {"decay": Shift(1), "amount": 3}),
    "Clamp": (Clamp, {"low": 1, "high": 3}), "Integrator": (Integrator, {
        "synapse": Shift(1), "membrane": Shift(2), "fraction_bits": 1, "gain": None, "clamp": None}),
    "FloatLayer": (FloatLayer, {"name": "a", "weight": np.ones((4, 16)), "bias": None, "tau_m": 4.0, "tau_s": 2.0,
                                "theta": 1.0, "geometry": None, "pool": None, "pool_gain": 1.0}),
    "FloatNetwork": (FloatNetwork, {
        "name": "n", "shape": (4, 4), "mean": 0.5, "std": 0.5, "steps": 2, "metadata": {},
        "layers": (FloatLayer(name="a", weight=np.ones((4, 16)), bias=None, tau_m=4.0, tau_s=2.0),)}),
    "TrainConfig": (TrainConfig, {name: getattr(TrainConfig(), name) for name in TrainConfig.__dataclass_fields__
                                  if not name.startswith("_")}),
}


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_constructors(name: str) -> None:
    make, given = CONSTRUCTORS[name]
    make(**given)
    for key in given:
        ends_well(make, given, key)


@pytest.fixture
def verbs(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Arguments with which each verb works."""
    monkeypatch.chdir(tmp_path)
    data = spikeloom.dataset(files.data)
    float_layers = (FloatLayer(name="a", weight=np.ones((4, 16)), bias=None, tau_m=4.0, tau_s=2.0),)
    real = FloatNetwork(name="n", shape=(4, 4), mean=0.5, std=0.5, steps=2, layers=float_layers)
    memory = MemoryTiming(latency_cycles=32)
    simulated = {"folder": files.build, "samples": data.images[:4], "labels": data.labels[:4], "jobs": 1, "seed": 0,
                 "memory": memory, "network": None, "progress": None}
    return {
        "load": {"name_or_path": files.snn},
        "dataset": {"name_or_path": files.data, "samples": 5, "split": "all", "fetch": False, "steps": 3,
                    "progress": None},
        "quantize": {"network": real, "weight_bits": 4, "granularity": "channel", "fraction_bits": 4, "input_bits": 4,
                     "calibration": data.images},
        "evaluate": {"network": files.network, "data": data, "progress": None},
        "compile": {"network": files.network, "fold": "small", "device": None, "bus_bits": 64},
        "write": {"plan": spikeloom.compile(files.network, "small"), "folder": tmp_path / "b", "overwrite": True,
                  "interface": "uart", "serial": None, "progress": None},
        "run": {"folder": files.board, "samples": data.images[:4], "labels": data.labels[:4], "port": None,
                "network": None, "progress": None},
        "weight_set": {"folder": files.loadable, "network": files.network},
        "explore": {"network": files.network, "device": "lfe5u-25f", "samples": data.images[:4], "objective": "latency",
                    "max_lut": None, "clock_mhz": 100.0, "bus_bits": 64, "jobs": 1, "progress": None},
        "place_and_route": {"folder": files.build, "device": "ice40-up5k", "board": None, "seeds": (1,),
                            "target_mhz": None, "jobs": 1, "progress": None},
        "simulate": {**simulated, "mode": "isolated", "input_gap": 0.0, "output_stall": 0.0, "output_hold_cycles": 0,
                     "reset_cycles": (), "waves": None, "predict": None, "max_idle_cycles": None,
                     "memory_error_address": None},
        "prove": simulated,
        "synthesize": {"folder": files.build, "device": "ice40-up5k", "progress": None, "cache": True},
        "estimate_energy": {"folder": files.build, "samples": data.images[:3], "device": "ice40-up5k",
                            "clock_mhz": 20.0, "progress": None},
        "report": {"folder": files.build, "file": tmp_path / "r.html", "data": data, "device": None, "energy": False,
                   "clock_mhz": 100.0, "command": "", "date": "", "progress": None},
        "train": {"config": TrainConfig(hidden="4", classes=4, epochs=1, validation=4, batch=8, steps=2), "data": data,
                  "out_dir": tmp_path / "run", "teacher": None, "start": None, "resume": True, "source": None,
                  "progress": None, "on_epoch": None},
    }


@pytest.mark.parametrize("verb", [name for name in spikeloom.__all__ if name[0].islower()])
def test_verbs(verbs: dict[str, dict[str, Any]], verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeloom.gen.explore.moves", lambda *given: ())  # no search: the presets
    if verb == "train":
        pytest.importorskip("torch")
    given, call = verbs[verb], getattr(spikeloom, verb)
    call(**given)
    for key in given:
        if (verb, key) not in {("synthesize", "cache"), ("write", "folder"), ("report", "file"), ("train", "out_dir")}:
            ends_well(call, given, key)
    for key in ("unknown", "name", "run"):
        ends_well(lambda **more: call(**given, **more), {}, key)


@pytest.mark.parametrize(("verb", "key"), [("write", "folder"), ("report", "file"), ("train", "out_dir")])
def test_what_is_no_path(verbs: dict[str, dict[str, Any]], verb: str, key: str) -> None:
    for value in HOSTILE:
        if not isinstance(value, str | Path) or "\0" in str(value):
            with pytest.raises(SpikeloomError):
                getattr(spikeloom, verb)(**{**verbs[verb], key: value})


def test_fields_of_data_and_folds(files: Files) -> None:
    data = spikeloom.dataset(files.data)
    fields = {"name": "d", "split": "test", "images": data.images, "labels": data.labels, "classes": data.classes}
    for key in ("images", "labels"):
        ends_well(lambda **given: spikeloom.evaluate(files.network, Dataset(**given)), fields, key)
    lanes = {"lanes": 4, "inputs_per_cycle": 1, "neuron_units": 1, "external_bus_bits": None}
    for key in lanes:
        ends_well(lambda **given: spikeloom.compile(
            files.network, Fold(layers=(LayerFold(**given), LayerFold(lanes=2)))), lanes, key)
    fold = {"name": "f", "layers": (LayerFold(lanes=4), LayerFold(lanes=2)), "input_per_beat": 1, "window_steps": None}
    for key in fold:
        ends_well(lambda **given: spikeloom.compile(files.network, Fold(**given)), fold, key)
