"""From a network in real numbers to one in integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import golden
from ..connections import ALLOWED_WEIGHT_BITS, Connection, Conv2d, Dense, OneToOne
from ..errors import SpikeloomError
from ..geometry import as_map
from ..inputs import SpikeInput, StaticInput
from ..layers import INPUT
from ..network import Network, Population, Projection
from ..neurons.arrays import Population as Neurons
from ..neurons.intervals import MAX_BITS
from ..neurons.neuron_type import NeuronType
from ..neurons.parts import Offset, ResetTo
from ..neurons.types import Integrator, Neuron
from ..numerics import MULTIPLY_FRACTION_BITS, Decay, Multiply, Shift
from ..readout import Readout
from ..system.arguments import array, choice, whole
from .linear import LinearMap
from .real_network import RealNetwork, RealNeuron, RealPopulation, run

__all__ = ["Agreement", "agreement", "as_currents", "described", "integer_network"]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_ATTEMPTS, _ATTEMPTED_WORK = 1000, 10**10  # at the roundings of a neuron: so many at most; additions in all of them
_FACTORS = np.linspace(1, 0.5, 64)  # of the largest weight: where rounding and cutting off cost least together
_THRESHOLD_LSB = 1024  # state LSB in a threshold, by which the fraction bits are chosen
_NEAR = 1e-6  # of a factor of float32 to what it was meant to be


@dataclass(frozen=True)
class Agreement:
    """Spikes of the integer network that differ from the real one's, of all (samples x steps x neurons), by layer."""

    differing: Mapping[str, int]
    of: Mapping[str, int]

    @property
    def share(self) -> float:
        """Of all layers together, 0..1."""
        return sum(self.differing.values()) / max(1, sum(self.of.values()))


def agreement(network: Network, real: RealNetwork, samples: npt.NDArray[Any]) -> Agreement:
    """Run both on spikes (N, T, *shape), or images (N, *shape) as currents, and compare."""
    want = run(real, as_currents(samples, network.steps) if network.static else samples).spikes
    got = golden.run(network, samples).spikes
    differing = {layer.name: int((spikes != want[layer.name]).sum())
                 for layer, spikes in zip(network.layers, got, strict=True)}
    return Agreement(differing, {layer.name: want[layer.name].size for layer in network.layers})


def integer_network(real: RealNetwork, *, steps: int, readout: Readout, weight_bits: int = 8,
                    fraction_bits: int | None = None, input_bits: int | None = None,
                    calibration: npt.NDArray[Any] | None = None,
                    metadata: Mapping[str, Any] | None = None) -> Network:
    """The network with weights of ``weight_bits``, one scale for each neuron, or channel of a convolution.

    Scales are those of the least squared error of the weights. With ``calibration``, each neuron takes, of 64 scales
    and two ways of rounding, those with the fewest spikes that differ from the real neuron's, where both see the real
    network's spikes: if none differs, none does in the whole network, which then sees the same. A neuron without a
    right one goes on, rounding at random.

    Parameters
    ----------
    real : RealNetwork
    steps : int
    readout : Readout
        If it compares potentials, the output's neurons have one scale for all.
    weight_bits : int
        2..8 or 16.
    fraction_bits : int or None
        0..16, of states below a weight LSB; None: for each population so many that its thresholds have 1,024 LSB.
    input_bits : int or None
        1..8: the input are values of so many bits, the upper ones of a pixel of 8, which stand for currents of 0..1 and
        are repeated in every step; None: spikes.
    calibration : array or None
        Samples: spikes (N, steps, *shape), or images (N, *shape) of uint8.

    Raises
    ------
    SpikeloomError
        Naming layer and field, if something cannot be built.
    """
    choice(weight_bits, "weight_bits", ALLOWED_WEIGHT_BITS[1:])
    if fraction_bits is not None:
        whole(fraction_bits, "fraction_bits", 0, 16)
    populations, projections = [], []
    signals: dict[str, Any] = {}
    if calibration is not None:
        given = array(calibration, "calibration")
        shown = given
        if input_bits is not None:
            shown = as_currents(given, steps)
            given = np.repeat((given >> (8 - input_bits)).reshape(len(given), 1, -1), steps, axis=1)
        signals = {INPUT: given.reshape(*given.shape[:2], -1), **run(real, shown).spikes}
    for population in real.populations:
        incoming = [q for q in real.projections if q.target == population.name]
        maps = [_with_gain(q.map, population.neuron.gain) for q in incoming]
        if input_bits is not None:
            maps = [replace(linear, weight=linear.weight / ((1 << input_bits) - 1)) if q.source == INPUT else linear
                    for q, linear in zip(incoming, maps, strict=True)]
        scales = _scales(population, maps, weight_bits, readout.needs_potential and population.name == real.output)
        try:
            scale, weights = scales[0], [_rounded(linear, scales[0], weight_bits) for linear in maps]
            if calibration is not None and population.neuron.threshold is not None:
                scale, weights = _fitted(population, maps, [_late(signals[q.source], q.delay) for q in incoming],
                                         scales, weight_bits, fraction_bits, signals[population.name])
            populations.append(Population(name=population.name, shape=population.shape,
                                          neuron=_neuron(population, scale, fraction_bits)))
            for projection, linear, weight in zip(incoming, maps, weights, strict=True):
                projections.append(Projection(
                    source=projection.source, target=projection.target, pool=linear.pool, delay=projection.delay,
                    connection=_connection(linear, weight, weight_bits)))
        except SpikeloomError as error:
            raise SpikeloomError(f"layer {population.name}: {error}") from error
    given_as = (SpikeInput(shape=real.input_shape) if input_bits is None
                else StaticInput(shape=real.input_shape, bits=input_bits))
    return Network(name=real.name, input=given_as, populations=tuple(populations),
                   projections=tuple(projections), steps=steps, readout=readout, output=real.output,
                   metadata=dict(metadata or {}))


def as_currents(images: npt.NDArray[Any], steps: int) -> npt.NDArray[np.float64]:
    """Images (N, *shape) of uint8 as currents of 0..1 in every step, (N, ``steps``, *shape)."""
    return np.repeat((images / 255)[:, None], steps, axis=1)


def _with_gain(linear: LinearMap, gain: Array) -> LinearMap:
    return linear if (gain == 1).all() else linear.then_factors(gain)


def _late(signal: npt.NDArray[Any], delay: int) -> npt.NDArray[Any]:
    return signal if not delay else np.concatenate([np.zeros_like(signal[:, :1]), signal[:, :-1]], axis=1)


def _fitted(population: RealPopulation, maps: list[LinearMap], arriving: list[npt.NDArray[Any]], scales: Array,
            bits: int, fraction_bits: int | None, want: npt.NDArray[np.bool_]) -> tuple[Array, list[Integers]]:
    """Of each neuron's scales and roundings those that give the spikes that are wanted, or most of them."""
    if all(_is_dense(linear) for linear in maps) and not (scales == scales[:, :1]).all():
        return _fitted_rows(population, maps, arriving, scales, bits, fraction_bits, want)
    rows = 1 if (scales == scales[:, :1]).all() else population.shape[0]
    fewest, scale, weights = np.full(rows, want.size + 1), scales[0], [_rounded(m, scales[0], bits) for m in maps]
    for tried in scales:
        if not fewest.any():
            break
        integers = [_rounded(linear, tried, bits) for linear in maps]
        spikes = _spikes(population, maps, integers, arriving, tried, fraction_bits)
        wrong = (spikes != want).sum(axis=(0, 1)).reshape(rows, -1).sum(axis=1)
        better = wrong < fewest
        fewest = np.where(better, wrong, fewest)
        scale = np.where(np.repeat(better, population.size // rows), tried, scale)
        weights = [np.where(np.repeat(better, len(w) // rows).reshape(-1, *[1] * (w.ndim - 1)), new, w)
                   for new, w in zip(integers, weights, strict=True)]
    return scale, weights


def _fitted_rows(population: RealPopulation, maps: list[LinearMap], arriving: list[npt.NDArray[Any]], scales: Array,
                 bits: int, fraction_bits: int | None, want: npt.NDArray[np.bool_]) -> tuple[Array, list[Integers]]:
    """The same for matrices, whose neurons are tried until they are right: first by the scales, then by chance too."""
    rng = np.random.default_rng(0)
    fewest, scale = np.full(population.size, want.size + 1), scales[0].copy()
    weights = [np.zeros(linear.weight.shape, np.int64) for linear in maps]
    compensated = _Compensation(population, maps, arriving)
    work = arriving[0].shape[0] * arriving[0].shape[1] * sum(linear.weight.size for linear in maps)
    for attempt in range(int(np.clip(_ATTEMPTED_WORK // max(1, work), len(scales) // 4, _ATTEMPTS))):
        open_rows = np.flatnonzero(fewest)
        if not len(open_rows):
            break
        part, parts = _rows_of(population, open_rows), [replace(m, weight=m.weight[open_rows]) for m in maps]
        tried = scales[attempt % len(scales)][open_rows]
        noise = 0 if attempt < len(scales) else rng.uniform(-0.5, 0.5)
        roundings = [compensated(open_rows, tried, bits, noise, rng)]
        if attempt < len(scales):
            roundings.append([_rounded(linear, tried, bits) for linear in parts])
        for integers in roundings:
            spikes = _spikes(part, parts, integers, arriving, tried, fraction_bits)
            wrong = (spikes != want[:, :, open_rows]).sum(axis=(0, 1))
            better = wrong < fewest[open_rows]
            at = open_rows[better]
            fewest[at], scale[at] = wrong[better], tried[better]
            for kept, new in zip(weights, integers, strict=True):
                kept[at] = new[better]
    return scale, weights


def _rows_of(population: RealPopulation, rows: npt.NDArray[np.int64]) -> RealPopulation:
    """Some of its neurons."""
    values = {f.name: getattr(population.neuron, f.name) for f in fields(population.neuron)}
    own: dict[str, Any] = {name: value[rows] for name, value in values.items() if isinstance(value, np.ndarray)}
    return replace(population, shape=(len(rows),), bias=population.bias[rows], neuron=replace(population.neuron, **own))


def _is_dense(linear: LinearMap) -> bool:
    return linear.geometry is None and linear.weight.ndim == 2


class _Compensation:
    """Rounding of a matrix's columns one after the other, those to come making up for the errors of those before.

    Weighed is the error of the membrane potential that the samples' spikes give, without resets (Frantar et al.,
    "GPTQ: accurate post-training quantization for generative pre-trained transformers", ICLR 2023, with the filtered
    spikes as activations).
    """

    def __init__(self, population: RealPopulation, maps: list[LinearMap], arriving: list[npt.NDArray[Any]]) -> None:
        neuron = population.neuron
        traces = np.concatenate([self._pooled(*pair) for pair in zip(maps, arriving, strict=True)], axis=2)
        for kept in (neuron.current_kept, neuron.membrane_kept):
            if kept is not None:
                for t in range(1, traces.shape[1]):
                    traces[:, t] += np.median(kept) * traces[:, t - 1]
        flat = traces.reshape(-1, traces.shape[2])
        moments = flat.T @ flat
        moments[np.diag_indices_from(moments)] += 0.01 * max(moments.trace() / len(moments), 1e-9)
        self.upper = np.linalg.cholesky(np.linalg.inv(moments)).T
        self.weight = np.concatenate([linear.weight for linear in maps], axis=1)
        self.edges = np.cumsum([linear.weight.shape[1] for linear in maps])[:-1]

    @staticmethod
    def _pooled(linear: LinearMap, signal: npt.NDArray[Any]) -> Array:
        if linear.pool is not None:
            signal = linear.pool(signal.reshape(*signal.shape[:2], *as_map(linear.input_shape)))
        return signal.reshape(*signal.shape[:2], -1).astype(np.float64)

    def __call__(self, rows: npt.NDArray[np.int64], scale: Array, bits: int, noise: float,
                 rng: np.random.Generator) -> list[Integers]:
        high = (1 << (bits - 1)) - 1
        left = self.weight[rows] / scale[:, None]
        out = np.zeros(left.shape, np.int64)
        for k in range(left.shape[1]):
            shaken = left[:, k] + noise * rng.uniform(-1, 1, len(rows))
            out[:, k] = np.clip(np.round(shaken), -high - 1, high)
            error = (left[:, k] - out[:, k]) / self.upper[k, k]
            left[:, k:] -= error[:, None] * self.upper[k, k:]
        return np.split(out, self.edges, axis=1)


def _spikes(population: RealPopulation, maps: list[LinearMap], weights: list[Integers],
            arriving: list[npt.NDArray[Any]], scale: Array, fraction_bits: int | None) -> npt.NDArray[np.bool_]:
    """What integer neurons make of spikes (N, T, inputs) of each source."""
    count, steps = arriving[0].shape[:2]
    drive = np.zeros((count * steps, population.size))
    for linear, weight, signal in zip(maps, weights, arriving, strict=True):
        drive += replace(linear, weight=weight.astype(np.float64))(signal.reshape(count * steps, -1))
    drive = drive.astype(np.int64).reshape(count, steps, -1)
    neuron = _neuron(population, scale, fraction_bits)
    constants = {name: np.repeat(values, population.size // values.size)
                 for name, values in neuron.own_constants.items()}
    neurons = Neurons(neuron.program, (count, population.size), np.int64, constants, constant_sum=False)
    spikes = np.zeros((count, steps, population.size), np.bool_)
    for t in range(steps):
        neurons.step(drive[:, t], spikes[:, t])
    return spikes


def _scales(population: RealPopulation, maps: list[LinearMap], bits: int, one_for_all: bool) -> Array:
    """Weight LSB of each neuron, in units of its potential: (candidates, neurons), least squared error first."""
    rows = _rows(population, maps, one_for_all)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    largest[largest == 0] = 1
    high = (1 << (bits - 1)) - 1
    candidates = largest * _FACTORS / high  # (rows, candidates)
    errors = np.stack([((np.clip(np.round(rows / s[:, None]), -high - 1, high) * s[:, None] - rows) ** 2).sum(axis=1)
                       for s in candidates.T])
    ordered = np.take_along_axis(candidates, errors.argsort(axis=0, kind="stable").T, axis=1)
    return np.asarray(np.repeat(ordered.T, population.size // len(rows), axis=1))


def _rows(population: RealPopulation, maps: list[LinearMap], one_for_all: bool) -> Array:
    """All weights that share a scale, in a row."""
    share = len(population.shape) == 3 and any(linear.geometry is not None for linear in maps)
    count = 1 if one_for_all else population.shape[0] if share else population.size
    return np.concatenate([linear.weight.reshape(count, -1) for linear in maps], axis=1)


def _rounded(linear: LinearMap, scale: Array, bits: int) -> Integers:
    high = (1 << (bits - 1)) - 1
    per_row = scale.reshape(len(linear.weight), -1)[:, 0].reshape(-1, *[1] * (linear.weight.ndim - 1))
    return np.clip(np.round(linear.weight / per_row), -high - 1, high).astype(np.int64)


def _connection(linear: LinearMap, weight: Integers, bits: int) -> Connection:
    if linear.geometry is not None:
        return Conv2d(geometry=linear.geometry, weight=weight, weight_bits=bits)
    if linear.weight.ndim == 1:
        return OneToOne(size=len(weight), weight=weight, weight_bits=bits)
    return Dense(weight=weight, weight_bits=bits)


def _neuron(population: RealPopulation, scale: Array, fraction_bits: int | None) -> NeuronType:
    real, shape = population.neuron, population.shape
    if fraction_bits is None:
        steps = _THRESHOLD_LSB * scale / real.threshold if real.threshold is not None and real.threshold.all() else 16
        fraction_bits = int(np.clip(np.ceil(np.log2(np.median(steps))), 0, 16))
    unit = scale / (1 << fraction_bits)  # a state LSB
    offset = population.bias * real.gain
    if real.current_kept is None:
        offset = offset + real.drift
    elif real.drift.any():
        raise SpikeloomError(f"v_leak must be 0 for neurons with a synapse, not "
                             f"{(real.drift / (1 - real.membrane_kept))[real.drift != 0][0]:g}")
    synapse = None if real.current_kept is None else _decay(real.current_kept, shape)
    front: dict[str, Any] = {
        "synapse": None if synapse == Shift(0) else synapse, "membrane": _decay(real.membrane_kept, shape),
        "fraction_bits": fraction_bits}
    values = _integers(offset / unit, "bias")
    if values.any():
        front["offset"] = Offset(value=_shared(values, shape))
    if real.threshold is None:
        return Integrator(**front)
    limit = real.threshold / unit
    threshold = _integers(np.floor(limit + _NEAR * limit) if real.compare == ">" else np.ceil(limit - _NEAR * limit),
                          "threshold")
    return Neuron(**front, threshold=np.atleast_1d(_shared(threshold, shape)), compare=real.compare,
                  reset=_reset(real, unit, shape), reset_delay=real.reset_delay)


def _reset(real: RealNeuron, unit: Array, shape: tuple[int, ...]) -> Any:
    if real.reset != "value":
        return real.reset
    assert real.reset_value is not None
    values = _integers(real.reset_value / unit, "v_reset")
    return ResetTo(value=_shared(values, shape)) if values.any() else "zero"


def _decay(kept: Array, shape: tuple[int, ...]) -> Decay | None:
    """What keeps these shares: nothing at all, a shift, or a product."""
    if (kept == 1).all():
        return None
    one = 1 << MULTIPLY_FRACTION_BITS
    first = float(kept[0])
    if np.abs(kept - first).max() < _NEAR:
        for k in range(16):
            if abs(first - (1 - 2.0**-k)) < _NEAR:
                return Shift(k)
        return Multiply(round(first * one))
    return Multiply(_shared(np.rint(kept * one).astype(np.int64), shape))


def _integers(values: Array, what: str) -> npt.NDArray[np.int64]:
    if not np.abs(values).max() < 1 << (MAX_BITS - 1):
        raise SpikeloomError(f"{what} becomes {np.abs(values).max():g} state LSB, allowed are less than "
                             f"2**{MAX_BITS - 1}: it is too large for the weights")
    return np.rint(values).astype(np.int64)


def _shared(values: npt.NDArray[np.int64], shape: tuple[int, ...]) -> Any:
    """One value if all are equal; one for each channel if these are; else one for each neuron."""
    if (values == values[0]).all():
        return int(values[0])
    per_channel = values.reshape(shape[0], -1)
    return per_channel[:, 0] if (per_channel == per_channel[:, :1]).all() else values


def described(network: Network, real: RealNetwork) -> dict[str, str]:
    """By layer, what its neurons became, and how far from what they were."""
    out = {}
    for population in real.populations:
        neuron = next(p.neuron for p in network.populations if p.name == population.name)
        said = []
        for what, kept in (("membrane", population.neuron.membrane_kept), ("synapse", population.neuron.current_kept)):
            decay = getattr(neuron, what, None)
            if kept is None or decay is None:
                continue
            got = np.asarray(decay.c / (1 << MULTIPLY_FRACTION_BITS) if isinstance(decay, Multiply)
                             else 1 - 1 / decay.tau_steps)
            got = np.repeat(got, population.size // got.size) if got.ndim else got
            said.append(f"{what} keeps {_range(kept)} a step, off by {np.abs(got - kept).max():.1g} at most")
        if population.neuron.threshold is not None:
            said.append(f"threshold to about one in {_THRESHOLD_LSB:,}")
        out[population.name] = "; ".join(said) or "exact"
    return out


def _range(values: Array) -> str:
    low, high = values.min(), values.max()
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
