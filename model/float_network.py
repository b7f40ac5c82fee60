"""Float networks: what the trainer makes without quantisation, and what the quantiser takes.

Semantics are the paper's (A.1): ``a = psc(s)``, ``u = (1 - 1/tau_m) v + W a + b``, a spike where
``u > theta``, reset to zero. The synaptic filter stands behind the weights, as everywhere in spikeloom,
so that ``b`` is filtered too and the threshold of the scaled form is ``tau_s * theta``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import container
from .errors import SpikeloomError
from .geometry import ConvGeometry, Pool, Shape, as_map
from .layers import check_layer_name
from .network import MAX_STEPS, NETWORK_NAME, check_chain
from .network_file import GeometryRecord, PoolRecord, take
from .neurons.arrays import Population
from .neurons.real import real_program
from .system.arguments import an, real, short, whole
from .system.arguments import array as as_array
from .system.paths import shown
from .system.records import Record, read_record

__all__ = ["KIND", "VERSION", "FloatLayer", "FloatNetwork", "FloatResult", "load_float_network", "run",
           "save_float_network"]

KIND = "float-network"
VERSION = 1
SMALLEST, LARGEST = 1e-30, 1e30  # what float32 holds, with room for products

FloatArray = npt.NDArray[np.float32]


class _LayerRecord(Record):
    name: str
    bias: bool
    tau_m: float
    tau_s: float
    theta: float
    geometry: GeometryRecord | None = None
    pool: PoolRecord | None = None
    pool_gain: float = 1.0


class _NetworkRecord(Record):
    name: str
    shape: tuple[int, ...]
    mean: float
    std: float
    steps: int
    layers: tuple[_LayerRecord, ...]
    metadata: dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatLayer:
    """One connection and its LIF neurons.

    Parameters
    ----------
    name : str
    weight : float array (outputs, inputs), or ``geometry.weight_shape``
    bias : float array (outputs,) or (channels,), or None
        Added to the drive in every step.
    tau_m, tau_s : float
        Time constants of membrane and synapse, in steps, at least 1.
    theta : float
        Firing threshold, above 0.
    geometry : ConvGeometry or None
        Of a convolution; None: dense.
    pool : Pool or None
        In front of the synapses.
    pool_gain : float
        Factor of the pool's output: 1.1 for TSSL-BP's sum pool, ``1 / size**2`` for an average.

    Raises
    ------
    SpikeloomError
        If an array is NaN or infinite or has the wrong rank, or a constant is out of range.
    """

    name: str
    weight: FloatArray
    bias: FloatArray | None
    tau_m: float
    tau_s: float
    theta: float = 1.0
    geometry: ConvGeometry | None = None
    pool: Pool | None = None
    pool_gain: float = 1.0

    def __post_init__(self) -> None:
        check_layer_name(self.name)
        for kind, key in ((ConvGeometry, "geometry"), (Pool, "pool")):
            if getattr(self, key) is not None:
                an(kind, getattr(self, key), f"layer {self.name}: {key}")
        weight = self._array("weight", self.weight, 4 if self.geometry else 2)
        object.__setattr__(self, "weight", weight)
        if 0 in weight.shape:
            raise SpikeloomError(f"layer {self.name}: weight must not be empty, not of shape {weight.shape}")
        if self.geometry is not None and weight.shape != self.geometry.weight_shape:
            raise SpikeloomError(f"layer {self.name}: weight has shape {weight.shape}, but the convolution's is "
                                 f"{self.geometry.weight_shape}")
        if self.bias is not None:
            bias = self._array("bias", self.bias, 1)
            if bias.shape != weight.shape[:1]:
                raise SpikeloomError(f"layer {self.name}: bias has shape {bias.shape}, "
                                     f"but the weights have {weight.shape[0]} outputs")
            object.__setattr__(self, "bias", bias)
        for key, tau in (("tau_m", self.tau_m), ("tau_s", self.tau_s)):
            real(tau, f"layer {self.name}: {key}, in steps,", 1, (1 << 15) - 1)
        for key, value in (("theta", self.theta), ("pool_gain", self.pool_gain)):
            real(value, f"layer {self.name}: {key}", SMALLEST, LARGEST)

    @property
    def inputs(self) -> int:
        """Presynaptic values, after the pool."""
        return int(np.prod(self.geometry.input_shape)) if self.geometry else self.weight.shape[1]

    @property
    def output_shape(self) -> Shape:
        """(outputs,), or (channels, height, width)."""
        return self.geometry.output_shape if self.geometry else self.weight.shape[:1]

    def drive(self, signal: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
        """Weighted sums plus bias (..., outputs) of a signal (..., inputs) whose shape before the pool is ``shape``."""
        if self.pool is not None:
            maps = signal.reshape(-1, *as_map(shape)).astype(np.float32)
            signal = (self.pool(maps) * np.float32(self.pool_gain)).reshape(*signal.shape[:-1], self.inputs)
        flat = signal.reshape(-1, self.inputs).astype(np.float32)
        if self.geometry is None:
            out = flat @ self.weight.T
            return (out if self.bias is None else out + self.bias).reshape(*signal.shape[:-1], -1)
        out = self.geometry.correlate(flat.reshape(-1, *self.geometry.input_shape), self.weight)
        out = out if self.bias is None else out + self.bias[:, None, None]
        return out.reshape(*signal.shape[:-1], -1)

    def _array(self, key: str, array: Any, ndim: int) -> FloatArray:
        given = as_array(array, f"layer {self.name}: {key}")
        with np.errstate(over="ignore"):  # what is too large is found below
            out = given.astype(np.float32)
        if out.ndim != ndim:
            raise SpikeloomError(f"layer {self.name}: {key} must have {ndim} dimensions, not shape {out.shape}")
        bad = np.argwhere(~np.isfinite(out))
        if len(bad):
            at = tuple(int(i) for i in bad[0])
            raise SpikeloomError(f"layer {self.name}: {key}{list(at)} is {out[at]}, it must be finite "
                                 f"({len(bad)} such values)")
        out.setflags(write=False)
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatNetwork:
    """A float network on static images.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Shape of an image.
    mean, std : float
        A pixel ``p`` in 0..255 enters as ``(p / 255 - mean) / std``, constant over time.
    layers : tuple of FloatLayer
        In order; the readout is the sum of the last one's PSCs.
    steps : int
        T, 1..1024 time steps.
    metadata : mapping of str to JSON values

    Raises
    ------
    SpikeloomError
        If the shapes do not chain or a field is out of range.
    """

    name: str
    shape: tuple[int, ...]
    mean: float
    std: float
    layers: tuple[FloatLayer, ...]
    steps: int
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NETWORK_NAME.fullmatch(self.name):
            raise SpikeloomError(f"network name must be letters, digits, '_', '.' or '-', not {short(self.name)}")
        where = f"network {self.name}"
        whole(self.steps, f"{where}: steps", 1, MAX_STEPS)
        real(self.mean, f"{where}: mean", -LARGEST, LARGEST)
        real(self.std, f"{where}: std", SMALLEST, LARGEST)
        if not isinstance(self.shape, Sequence) or not self.shape or isinstance(self.shape, str):
            raise SpikeloomError(f"{where}: shape must be positive integers, not {short(self.shape)}")
        object.__setattr__(self, "shape", tuple(whole(n, f"{where}: shape", 1, (1 << 31) - 1) for n in self.shape))
        if not isinstance(self.layers, Sequence) or not self.layers:
            raise SpikeloomError(f"{where}: layers must be FloatLayers and not be empty, not {short(self.layers)}")
        object.__setattr__(self, "layers", tuple(
            an(FloatLayer, layer, f"{where}: layers[{k}]") for k, layer in enumerate(self.layers)))
        if not isinstance(self.metadata, Mapping):
            raise SpikeloomError(f"{where}: metadata must be a mapping, not {short(self.metadata)}")
        check_chain(self.shape, [(la.name, la.pool, la) for la in self.layers])

    def input_shape(self, layer_index: int) -> Shape:
        """Shape of the signal that enters layer ``layer_index``, before its pool."""
        return self.layers[layer_index - 1].output_shape if layer_index else self.shape


@dataclass(frozen=True)
class FloatResult:
    """What a float network does with N images.

    Attributes
    ----------
    spikes : list of bool arrays (N, T, outputs)
    scores : float array (N, classes)
        Sum over time of the output PSCs.
    classes : int64 array (N,)
        Highest score, lowest index on ties.
    """

    spikes: list[npt.NDArray[np.bool_]]
    scores: FloatArray
    classes: npt.NDArray[np.int64]


def run(network: FloatNetwork, images: npt.NDArray[np.uint8], batch: int = 1000) -> FloatResult:
    """Run on uint8 images (N, *shape), in float32.

    Raises
    ------
    SpikeloomError
        If the images have another type or shape.
    """
    images, size = as_array(images, "images"), int(np.prod(network.shape))
    if images.dtype != np.uint8 or images.ndim < 2 or int(np.prod(images.shape[1:])) != size:
        raise SpikeloomError(f"network {network.name}: an image must be uint8 of shape {network.shape}, "
                             f"not {images.dtype} of shape {images.shape[1:]}")
    parts = [_run_batch(network, images[i:i + batch].reshape(-1, size)) for i in range(0, max(len(images), 1), batch)]
    spikes = [np.concatenate(layer) for layer in zip(*parts, strict=True)]
    keep = 1 - 1 / network.layers[-1].tau_s
    weights = np.array([1 - keep ** (network.steps - t) for t in range(network.steps)], np.float32)
    scores: FloatArray = np.einsum("ntc,t->nc", spikes[-1], weights)
    return FloatResult(spikes, scores, np.argmax(scores, axis=1))


def _run_batch(network: FloatNetwork, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.bool_]]:
    signal: npt.NDArray[Any] = ((pixels / np.float32(255) - network.mean) / network.std).astype(np.float32)
    out = []
    for index, layer in enumerate(network.layers):
        drive = layer.drive(signal, network.input_shape(index))
        population = Population(real_program(), (len(pixels), drive.shape[-1]), np.float32, {
            "synapse_keep": np.array(1 - 1 / layer.tau_s), "membrane_keep": np.array(1 - 1 / layer.tau_m),
            "threshold": np.array(layer.tau_s * layer.theta)}, constant_sum=drive.ndim == 2)
        spikes = np.empty((len(pixels), network.steps, drive.shape[-1]), np.bool_)
        for t in range(network.steps):
            population.step(drive if drive.ndim == 2 else drive[:, t], spikes[:, t], last=t == network.steps - 1)
        out.append(spikes)
        signal = spikes
    return out


def save_float_network(network: FloatNetwork, path: str | Path, half: bool = False) -> None:
    """Write ``network`` to ``path``; ``half`` stores weights as float16, which rounds them.

    Raises
    ------
    SpikeloomError
        If the file cannot be written, or a weight overflows float16.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    for layer in network.layers:
        for key, array in (("weight", layer.weight), ("bias", layer.bias)):
            if array is None:
                continue
            if half and np.abs(array).max() > np.finfo(np.float16).max:
                raise SpikeloomError(f"layer {layer.name}: {key} {np.abs(array).max()} is too large for float16")
            arrays[f"{layer.name}.{key}"] = array.astype(np.float16) if half else array
    description = {
        "name": network.name, "shape": list(network.shape), "mean": network.mean, "std": network.std,
        "steps": network.steps, "metadata": dict(network.metadata),
        "layers": [{"name": la.name, "bias": la.bias is not None, "tau_m": la.tau_m, "tau_s": la.tau_s,
                    "theta": la.theta,
                    **({} if la.geometry is None else {"geometry": asdict(la.geometry)}),
                    **({} if la.pool is None else {"pool": asdict(la.pool), "pool_gain": la.pool_gain})}
                   for la in network.layers]}
    container.save(path, KIND, VERSION, description, arrays)


def load_float_network(path: str | Path) -> FloatNetwork:
    """Read a float network file; raises :class:`.SpikeloomError` naming file, layer and field if it is bad."""
    description, arrays = container.load(path, KIND, VERSION)
    where = shown(path)
    record = read_record(_NetworkRecord, json.dumps(description), where)
    try:
        network = FloatNetwork(
            name=record.name, shape=record.shape, mean=record.mean, std=record.std, steps=record.steps,
            metadata=record.metadata, layers=tuple(_layer(layer, arrays) for layer in record.layers))
        if arrays:
            raise SpikeloomError(f"array {short(min(arrays))} belongs to no layer")
    except SpikeloomError as error:
        raise SpikeloomError(f"{where}: {error}") from error
    return network


def _layer(record: _LayerRecord, arrays: dict[str, npt.NDArray[Any]]) -> FloatLayer:
    name = check_layer_name(record.name)
    weight, bias = take(arrays, name, "weight"), take(arrays, name, "bias") if record.bias else None
    return FloatLayer(name=name, weight=weight, bias=bias, tau_m=record.tau_m, tau_s=record.tau_s, theta=record.theta,
                      geometry=None if record.geometry is None else ConvGeometry(**dict(record.geometry)),
                      pool=None if record.pool is None else Pool(**dict(record.pool)), pool_gain=record.pool_gain)
