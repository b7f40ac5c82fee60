"""Network files (``.snn``): a :class:`.Network` as a versioned file, and back without loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import container
from .errors import SpikeloomError
from .geometry import ConvGeometry, Pool
from .network import Conv2d, Dense, Layer, Network, Neuron, Readout, SpikeInput, StaticInput
from .numerics import Decay, Multiply, Shift

__all__ = ["KIND", "VERSION", "load_network", "save_network"]

KIND = "network"
VERSION = 1

Arrays = dict[str, npt.NDArray[Any]]


def save_network(network: Network, path: str | Path) -> None:
    """Write ``network`` to ``path``; raises :class:`.SpikeloomError` if that fails."""
    arrays: Arrays = {}
    inp = network.input
    description: dict[str, Any] = {
        "name": network.name,
        "input": ({"kind": "static", "shape": list(inp.shape), "bits": inp.bits} if isinstance(inp, StaticInput)
                  else {"kind": "spikes", "shape": list(inp.shape)}),
        "steps": network.steps,
        "readout": {"kind": network.readout.kind, "step_weights": list(network.readout.step_weights),
                    **({} if network.readout.ties == "lowest_index" else {"ties": network.readout.ties})},
        "layers": [_layer_to_dict(layer, arrays) for layer in network.layers],
        "metadata": dict(network.metadata),
    }
    container.save(path, KIND, VERSION, description, arrays)


def load_network(path: str | Path) -> Network:
    """Read a network file; raises :class:`.SpikeloomError` naming file, layer and field if it is bad."""
    description, arrays = container.load(path, KIND, VERSION)
    try:
        readout = description["readout"]
        return Network(
            name=description["name"],
            input=_input_from_dict(description["input"]),
            steps=description["steps"],
            readout=Readout(kind=readout["kind"], step_weights=tuple(readout["step_weights"]),
                            ties=readout.get("ties", "lowest_index")),
            layers=tuple(_layer_from_dict(d, arrays) for d in description["layers"]),
            metadata=description["metadata"])
    except SpikeloomError as error:
        raise SpikeloomError(f"{path}: {error}") from error
    except KeyError as error:
        raise SpikeloomError(f"{path}: field {error} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise SpikeloomError(f"{path}: a field has the wrong type: {error}") from error


def _input_from_dict(d: dict[str, Any]) -> StaticInput | SpikeInput:
    if d["kind"] == "static":
        return StaticInput(shape=tuple(d["shape"]), bits=d["bits"])
    if d["kind"] == "spikes":
        return SpikeInput(shape=tuple(d["shape"]))
    raise SpikeloomError(f"input kind must be 'static' or 'spikes', not {d['kind']!r}")


def _layer_to_dict(layer: Layer, arrays: Arrays) -> dict[str, Any]:
    connection, neuron = layer.connection, layer.neuron
    narrow = np.int8 if connection.weight_bits <= 8 else np.int16
    arrays[f"{layer.name}.weight"] = connection.weight.astype(narrow)
    if connection.bias is not None:
        arrays[f"{layer.name}.bias"] = connection.bias
    arrays[f"{layer.name}.threshold"] = neuron.threshold
    kind: dict[str, Any] = ({"kind": "dense"} if isinstance(connection, Dense)
                            else {"kind": "conv2d", **asdict(connection.geometry)})
    return {
        "name": layer.name,
        **({} if layer.pool is None else {"pool": asdict(layer.pool)}),
        "connection": {**kind, "weight_bits": connection.weight_bits, "bias": connection.bias is not None},
        "neuron": {"kind": "lif_psc", "synapse": _decay_to_dict(neuron.synapse),
                   "membrane": _decay_to_dict(neuron.membrane), "fraction_bits": neuron.fraction_bits,
                   "compare": neuron.compare, "reset": neuron.reset},
    }


def _layer_from_dict(d: dict[str, Any], arrays: Arrays) -> Layer:
    name = d["name"]
    try:
        connection, neuron = d["connection"], d["neuron"]
        if connection["kind"] not in ("dense", "conv2d"):
            raise SpikeloomError(f"connection kind must be 'dense' or 'conv2d', not {connection['kind']!r}")
        if neuron["kind"] != "lif_psc":
            raise SpikeloomError(f"neuron kind must be 'lif_psc', not {neuron['kind']!r}")
        return Layer(
            name=name,
            pool=Pool(**d["pool"]) if "pool" in d else None,
            connection=_connection_from_dict(connection, arrays[f"{name}.weight"],
                                             arrays[f"{name}.bias"] if connection["bias"] else None),
            neuron=Neuron(synapse=_decay_from_dict(neuron["synapse"]), membrane=_decay_from_dict(neuron["membrane"]),
                          threshold=arrays[f"{name}.threshold"], fraction_bits=neuron["fraction_bits"],
                          compare=neuron["compare"], reset=neuron["reset"]))
    except SpikeloomError as error:
        prefix = "" if str(error).startswith(f"layer {name}:") else f"layer {name}: "
        raise SpikeloomError(f"{prefix}{error}") from error


def _connection_from_dict(d: dict[str, Any], weight: npt.NDArray[Any],
                          bias: npt.NDArray[Any] | None) -> Dense | Conv2d:
    if d["kind"] == "dense":
        return Dense(weight=weight, weight_bits=d["weight_bits"], bias=bias)
    geometry = ConvGeometry(**{f.name: d[f.name] for f in fields(ConvGeometry)})
    return Conv2d(geometry=geometry, weight=weight, weight_bits=d["weight_bits"], bias=bias)


_DECAYS: dict[str, Callable[[int], Decay]] = {"shift": Shift, "multiply": Multiply}


def _decay_to_dict(decay: Decay) -> dict[str, Any]:
    return {"shift": decay.k} if isinstance(decay, Shift) else {"multiply": decay.c}


def _decay_from_dict(d: dict[str, Any]) -> Decay:
    if len(d) != 1 or next(iter(d)) not in _DECAYS:
        raise SpikeloomError(f"a decay must be {{'shift': k}} or {{'multiply': c}}, not {d!r}")
    kind, value = next(iter(d.items()))
    return _DECAYS[kind](value)
