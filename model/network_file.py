"""Network files (``.snn``): a :class:`.Network` as a versioned file, and back without loss."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import container
from .errors import SpikeloomError
from .geometry import ConvGeometry, Pool
from .network import Conv2d, Dense, Layer, Network, Neuron, Readout, SpikeInput, StaticInput, check_layer_name
from .numerics import Decay, Multiply, Shift
from .system.arguments import short
from .system.paths import shown
from .system.records import Record, read_record

__all__ = ["KIND", "VERSION", "GeometryRecord", "PoolRecord", "load_network", "save_network", "take"]

KIND = "network"
VERSION = 1

Arrays = dict[str, npt.NDArray[Any]]


class _InputRecord(Record):
    kind: Literal["static", "spikes"]
    shape: tuple[int, ...]
    bits: int | None = None


class _ReadoutRecord(Record):
    kind: Literal["psc_sum", "count"]
    step_weights: tuple[int, ...]
    ties: Literal["lowest_index", "membrane"] = "lowest_index"


class PoolRecord(Record):
    kind: Literal["sum", "or"]
    size: int


class GeometryRecord(Record):
    input_shape: tuple[int, int, int]
    channels: int
    kernel: tuple[int, int]
    stride: int
    padding: int
    groups: int


class _ConnectionRecord(Record):
    kind: Literal["dense", "conv2d"]
    geometry: GeometryRecord | None = None
    weight_bits: int
    bias: bool


class _DecayRecord(Record):
    shift: int | None = None
    multiply: int | None = None


class _NeuronRecord(Record):
    kind: Literal["lif_psc"]
    synapse: _DecayRecord
    membrane: _DecayRecord
    fraction_bits: int
    compare: Literal[">", ">="]
    reset: Literal["zero", "subtract"]


class _LayerRecord(Record):
    name: str
    pool: PoolRecord | None = None
    connection: _ConnectionRecord
    neuron: _NeuronRecord


class _NetworkRecord(Record):
    name: str
    input: _InputRecord
    steps: int
    readout: _ReadoutRecord
    layers: tuple[_LayerRecord, ...]
    metadata: dict[str, Any]


def save_network(network: Network, path: str | Path) -> None:
    """Write ``network`` to ``path``; raises :class:`.SpikeloomError` if that fails."""
    if not isinstance(network, Network):
        raise SpikeloomError(f"network must be a Network, not {short(network)}")
    arrays: Arrays = {}
    inp = network.input
    description: dict[str, Any] = {
        "name": network.name,
        "input": ({"kind": "static", "shape": list(inp.shape), "bits": inp.bits} if isinstance(inp, StaticInput)
                  else {"kind": "spikes", "shape": list(inp.shape)}),
        "steps": network.steps,
        "readout": {"kind": network.readout.kind, "step_weights": list(network.readout.step_weights),
                    "ties": network.readout.ties},
        "layers": [_layer_to_dict(layer, arrays) for layer in network.layers],
        "metadata": dict(network.metadata),
    }
    container.save(path, KIND, VERSION, description, arrays)


def load_network(path: str | Path) -> Network:
    """Read a network file; raises :class:`.SpikeloomError` naming file, layer and field if it is bad."""
    description, arrays = container.load(path, KIND, VERSION)
    where = shown(path)
    record = read_record(_NetworkRecord, json.dumps(description), where)
    try:
        network = Network(
            name=record.name, input=_input(record.input), steps=record.steps,
            readout=Readout(**dict(record.readout)), metadata=record.metadata,
            layers=tuple(_layer(layer, arrays) for layer in record.layers))
        if arrays:
            raise SpikeloomError(f"array {short(min(arrays))} belongs to no layer")
    except SpikeloomError as error:
        raise SpikeloomError(f"{where}: {error}") from error
    return network


def _input(record: _InputRecord) -> StaticInput | SpikeInput:
    if record.kind == "static":
        if record.bits is None:
            raise SpikeloomError("field input.bits is missing")
        return StaticInput(shape=record.shape, bits=record.bits)
    if record.bits is not None:
        raise SpikeloomError(f"field input.bits must not be given for spikes, not {record.bits}")
    return SpikeInput(shape=record.shape)


def _layer_to_dict(layer: Layer, arrays: Arrays) -> dict[str, Any]:
    connection, neuron = layer.connection, layer.neuron
    narrow = np.int8 if connection.weight_bits <= 8 else np.int16
    arrays[f"{layer.name}.weight"] = connection.weight.astype(narrow)
    if connection.bias is not None:
        arrays[f"{layer.name}.bias"] = connection.bias
    arrays[f"{layer.name}.threshold"] = neuron.threshold
    kind: dict[str, Any] = ({"kind": "dense"} if isinstance(connection, Dense)
                            else {"kind": "conv2d", "geometry": asdict(connection.geometry)})
    return {
        "name": layer.name,
        **({} if layer.pool is None else {"pool": asdict(layer.pool)}),
        "connection": {**kind, "weight_bits": connection.weight_bits, "bias": connection.bias is not None},
        "neuron": {"kind": "lif_psc", "synapse": _decay_to_dict(neuron.synapse),
                   "membrane": _decay_to_dict(neuron.membrane), "fraction_bits": neuron.fraction_bits,
                   "compare": neuron.compare, "reset": neuron.reset},
    }


def take(arrays: Arrays, layer: str, what: str) -> npt.NDArray[Any]:
    """Take a layer's array out of those that are left; raises :class:`.SpikeloomError` if it is missing."""
    try:
        return arrays.pop(f"{layer}.{what}")
    except KeyError:
        raise SpikeloomError(f"layer {layer}: array {what} is missing") from None


def _layer(record: _LayerRecord, arrays: Arrays) -> Layer:
    name = check_layer_name(record.name)
    connection, neuron = record.connection, record.neuron
    try:
        return Layer(
            name=name, pool=None if record.pool is None else Pool(**dict(record.pool)),
            connection=_connection(connection, take(arrays, name, "weight"),
                                   take(arrays, name, "bias") if connection.bias else None),
            neuron=Neuron(synapse=_decay("synapse", neuron.synapse), membrane=_decay("membrane", neuron.membrane),
                          threshold=take(arrays, name, "threshold"), fraction_bits=neuron.fraction_bits,
                          compare=neuron.compare, reset=neuron.reset))
    except SpikeloomError as error:
        prefix = "" if str(error).startswith(f"layer {name}:") else f"layer {name}: "
        raise SpikeloomError(f"{prefix}{error}") from error


def _connection(record: _ConnectionRecord, weight: npt.NDArray[Any], bias: npt.NDArray[Any] | None) -> Dense | Conv2d:
    if (record.geometry is None) != (record.kind == "dense"):
        raise SpikeloomError(f"field geometry of a {record.kind} connection "
                             f"{'is missing' if record.geometry is None else 'must not be given'}")
    if record.geometry is None:
        return Dense(weight=weight, weight_bits=record.weight_bits, bias=bias)
    return Conv2d(geometry=ConvGeometry(**dict(record.geometry)), weight=weight, weight_bits=record.weight_bits,
                  bias=bias)


def _decay_to_dict(decay: Decay) -> dict[str, Any]:
    return {"shift": decay.k} if isinstance(decay, Shift) else {"multiply": decay.c}


def _decay(what: str, record: _DecayRecord) -> Decay:
    try:
        if record.shift is not None and record.multiply is None:
            return Shift(record.shift)
        if record.multiply is not None and record.shift is None:
            return Multiply(record.multiply)
    except SpikeloomError as error:
        raise SpikeloomError(f"{what}: {error}") from error
    raise SpikeloomError(f"{what}: a decay must be {{'shift': k}} or {{'multiply': c}}, not "
                         f"{record.model_dump(exclude_none=True)}")
