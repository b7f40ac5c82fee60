"""Network files (``.snn``): a :class:`.Network` as a versioned file, and back without loss."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import container
from .connections import CONNECTIONS, Connection
from .errors import SpikeloomError
from .geometry import ConvGeometry, Pool
from .inputs import INPUTS, Input, InputKind
from .layers import check_layer_name
from .network import Network, Population, Projection, Readout
from .neurons.files import neuron_from_json, neuron_to_json
from .readout import Kind, Ties
from .system.arguments import short
from .system.paths import shown
from .system.records import Record, read_record

__all__ = ["KIND", "VERSION", "GeometryRecord", "PoolRecord", "load_network", "save_network", "take"]

KIND = "network"
VERSION = 1

Arrays = dict[str, npt.NDArray[Any]]


class _InputRecord(Record):
    kind: InputKind
    shape: tuple[int, ...]
    bits: int | None = None
    silent_zero: bool | None = None
    rate: int | None = None
    seed: int | None = None


class _ReadoutRecord(Record):
    kind: Kind
    step_weights: tuple[int, ...] = ()
    ties: Ties = "lowest_index"
    early_exit: bool = False


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
    kind: Literal["Dense", "Conv2d", "Sparse", "OneToOne", "Lateral"]
    geometry: GeometryRecord | None = None
    inputs: int | None = None
    outputs: int | None = None
    size: int | None = None
    weight: int | None = None
    weight_bits: int
    bias: bool = False


class _PopulationRecord(Record):
    name: str
    shape: tuple[int, ...]
    neuron: dict[str, Any]


class _ProjectionRecord(Record):
    source: str
    target: str
    pool: PoolRecord | None = None
    delay: int = 0
    connection: _ConnectionRecord


class _NetworkRecord(Record):
    name: str
    input: _InputRecord
    steps: int
    readout: _ReadoutRecord
    populations: tuple[_PopulationRecord, ...]
    projections: tuple[_ProjectionRecord, ...]
    output: str | None = None
    state: Literal["clear", "keep"] = "clear"
    length: Literal["fixed", "marked"] = "fixed"
    metadata: dict[str, Any]


# Of each kind of connection, the arrays and the fields that it has besides weight_bits and bias.
_ARRAYS: dict[str, tuple[str, ...]] = {"Dense": ("weight",), "Conv2d": ("weight",), "OneToOne": ("weight",),
                                       "Sparse": ("source", "target", "weight"), "Lateral": ()}
_FIELDS: dict[str, tuple[str, ...]] = {"Dense": (), "Conv2d": ("geometry",), "OneToOne": ("size",),
                                       "Sparse": ("inputs", "outputs"), "Lateral": ("size", "weight")}


def save_network(network: Network, path: str | Path) -> None:
    """Write ``network`` to ``path``; raises :class:`.SpikeloomError` if that fails."""
    if not isinstance(network, Network):
        raise SpikeloomError(f"network must be a Network, not {short(network)}")
    arrays: Arrays = {}
    inp, readout = network.input, network.readout
    description: dict[str, Any] = {
        "name": network.name,
        "input": {"kind": inp.kind, **asdict(inp)},
        "steps": network.steps,
        "readout": {"kind": readout.kind, "ties": readout.ties,
                    **({"step_weights": list(readout.step_weights)} if readout.step_weights else {}),
                    **({"early_exit": True} if readout.early_exit else {})},
        "populations": [_population_to_dict(population, arrays) for population in network.populations],
        "projections": [_projection_to_dict(projection, prefix, arrays) for projection, prefix in zip(
            network.projections, _prefixes(network.projections), strict=True)],
        **({} if network.output is None else {"output": network.output}),
        **({"state": network.state} if network.endless else {}),
        **({"length": network.length} if network.marked else {}),
        "metadata": dict(network.metadata),
    }
    container.save(path, KIND, VERSION, description, arrays)


def _prefixes(projections: Iterable[Any]) -> list[str]:
    """Names of the projections' arrays begin with their target, and a number from the second one on."""
    seen: Counter[str] = Counter()
    out = []
    for projection in projections:
        number = seen[projection.target]
        out.append(f"{projection.target}.{number}." if number else f"{projection.target}.")
        seen[projection.target] += 1
    return out


def load_network(path: str | Path) -> Network:
    """Read a network file; raises :class:`.SpikeloomError` naming file, layer and field if it is bad."""
    description, arrays = container.load(path, KIND, VERSION)
    where = shown(path)
    record = read_record(_NetworkRecord, json.dumps(description), where)
    try:
        network = Network(
            name=record.name, input=_input(record.input), steps=record.steps, output=record.output,
            state=record.state, length=record.length,
            readout=Readout(**dict(record.readout)), metadata=record.metadata,
            projections=tuple(_projection(projection, prefix, arrays) for projection, prefix in zip(
                record.projections, _prefixes(record.projections), strict=True)),
            populations=tuple(_population(population, arrays) for population in record.populations))
        if arrays:
            raise SpikeloomError(f"array {short(min(arrays))} belongs to no layer")
    except SpikeloomError as error:
        raise SpikeloomError(f"{where}: {error}") from error
    return network


def _input(record: _InputRecord) -> Input:
    kind = INPUTS[record.kind]
    given = {name: value for name, value in record if name != "kind" and value is not None}
    known = {f.name for f in fields(kind)}
    for name in given.keys() - known:
        raise SpikeloomError(f"field input.{name} must not be given for {record.kind}, not {given[name]}")
    for name in sorted(known - given.keys()):
        raise SpikeloomError(f"field input.{name} is missing")
    return kind(**given)


def _population_to_dict(population: Population, arrays: Arrays) -> dict[str, Any]:
    neuron, own = neuron_to_json(population.neuron)
    arrays |= {f"{population.name}.{name}": array for name, array in own.items()}
    return {"name": population.name, "shape": list(population.shape), "neuron": neuron}


def _projection_to_dict(projection: Projection, prefix: str, arrays: Arrays) -> dict[str, Any]:
    connection = projection.connection
    kind = type(connection).__name__
    narrow = np.int8 if connection.weight_bits <= 8 else np.int16
    for name in _ARRAYS[kind]:
        array = getattr(connection, name)
        arrays[f"{prefix}{name}"] = array.astype(narrow) if name == "weight" else array
    if connection.bias is not None:
        arrays[f"{prefix}bias"] = connection.bias
    own = {name: getattr(connection, name) for name in _FIELDS[kind]}
    if "geometry" in own:
        own["geometry"] = asdict(own["geometry"])
    return {
        "source": projection.source, "target": projection.target,
        **({} if projection.pool is None else {"pool": asdict(projection.pool)}),
        **({"delay": projection.delay} if projection.delay else {}),
        "connection": {"kind": kind, "weight_bits": connection.weight_bits, "bias": connection.bias is not None,
                       **own},
    }


def take(arrays: Arrays, layer: str, what: str) -> npt.NDArray[Any]:
    """Take a layer's array out of those that are left; raises :class:`.SpikeloomError` if it is missing."""
    try:
        return arrays.pop(f"{layer}.{what}")
    except KeyError:
        raise SpikeloomError(f"layer {layer}: array {what} is missing") from None


def _population(record: _PopulationRecord, arrays: Arrays) -> Population:
    name = check_layer_name(record.name)
    own = {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}
    left = dict(own)
    try:
        neuron = neuron_from_json(record.neuron, left)
        for key in own.keys() - left.keys():
            del arrays[f"{name}.{key}"]
        return Population(name=name, shape=record.shape, neuron=neuron)
    except SpikeloomError as error:
        raise _of_layer(name, error) from error


def _projection(record: _ProjectionRecord, prefix: str, arrays: Arrays) -> Projection:
    target = check_layer_name(record.target)
    try:
        return Projection(source=record.source, target=target, delay=record.delay,
                          pool=None if record.pool is None else Pool(**dict(record.pool)),
                          connection=_connection(record.connection, prefix, arrays))
    except SpikeloomError as error:
        raise _of_layer(target, error) from error


def _of_layer(name: str, error: SpikeloomError) -> SpikeloomError:
    prefix = "" if str(error).startswith(f"layer {name}:") else f"layer {name}: "
    return SpikeloomError(f"{prefix}{error}")


def _connection(record: _ConnectionRecord, prefix: str, arrays: Arrays) -> Connection:
    kind, given = record.kind, dict(record)
    for name in ("geometry", "inputs", "outputs", "size", "weight"):
        if (given[name] is None) == (name in _FIELDS[kind]):
            raise SpikeloomError(f"field {name} of a {kind} connection "
                                 f"{'is missing' if given[name] is None else 'must not be given'}")
    own = {name: given[name] for name in _FIELDS[kind]}
    if record.geometry is not None:
        own["geometry"] = ConvGeometry(**dict(record.geometry))
    for name in (*_ARRAYS[kind], *(("bias",) if record.bias else ())):
        if f"{prefix}{name}" not in arrays:
            raise SpikeloomError(f"array {name} is missing")
        own[name] = arrays.pop(f"{prefix}{name}")
    connection: Connection = CONNECTIONS[kind](weight_bits=record.weight_bits, **own)
    return connection
