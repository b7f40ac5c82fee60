"""A network in real numbers, as a framework runs it: the reference for what is quantised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import SpikeloomError
from ..geometry import Shape
from ..layers import INPUT
from ..system.arguments import array, whole
from .linear import LinearMap

__all__ = ["RealNetwork", "RealNeuron", "RealPopulation", "RealProjection", "RealResult", "joined", "run"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RealNeuron:
    """What a neuron does in one step, in this order; arrays have one value for each neuron (n,).

    ::

        i  <- current_kept * i + synapse_gain * x                        (without a synapse: i = x)
        v  <- membrane_kept * v + drift + membrane_gain * i
        v  <- v - fired * threshold, or 0 where fired                    (reset_delay 1)
        s   = v > threshold, or >=  (subtract_again: v - threshold where the last v was above it)
        v  <- reset_value, or v - threshold, where s                     (reset_delay 0)

    States are rounded to float32 after each line, as frameworks hold them; a line is worked out in float64.

    Parameters
    ----------
    current_kept : array or None
        None: no synapse.
    threshold : array or None
        None: it never spikes.
    reset : "value", "subtract", "subtract_again" or "none"
    """

    membrane_kept: Array
    membrane_gain: Array
    drift: Array
    current_kept: Array | None = None
    synapse_gain: Array | None = None
    threshold: Array | None = None
    reset: Literal["value", "subtract", "subtract_again", "none"] = "none"
    reset_value: Array | None = None
    reset_delay: int = 0
    compare: Literal[">", ">="] = ">"

    @property
    def gain(self) -> Array:
        """From weighted input to membrane potential."""
        return self.membrane_gain if self.synapse_gain is None else self.membrane_gain * self.synapse_gain


@dataclass(frozen=True, kw_only=True, eq=False)
class RealPopulation:
    """Neurons (``shape``), with what is added to their input in every step: ``bias`` (neurons,)."""

    name: str
    shape: Shape
    neuron: RealNeuron
    bias: Array

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True, kw_only=True, eq=False)
class RealProjection:
    """From the input or a population to a population, ``delay`` steps late."""

    source: str
    target: str
    map: LinearMap
    delay: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class RealNetwork:
    """Populations in the order in which a step is worked out: a projection of delay 0 comes from an earlier one."""

    name: str
    input_shape: Shape
    populations: tuple[RealPopulation, ...]
    projections: tuple[RealProjection, ...]
    output: str


@dataclass(frozen=True)
class RealResult:
    """Spikes (N, T, neurons) and membrane potentials before the reset of the last step (N, neurons) by population."""

    spikes: dict[str, npt.NDArray[np.bool_]]
    potentials: dict[str, npt.NDArray[np.float32]]


def run(network: RealNetwork, samples: npt.ArrayLike) -> RealResult:
    """Run on samples (N, T, *shape) of numbers.

    Raises
    ------
    SpikeloomError
        If their shape is another, or a number is not finite.
    """
    x = array(samples, f"network {network.name}: samples")
    size = int(np.prod(network.input_shape))
    if x.ndim < 3 or int(np.prod(x.shape[2:])) != size or x.dtype.kind not in "fiub":
        raise SpikeloomError(f"network {network.name}: a sample must be numbers of shape (steps, "
                             f"{', '.join(map(str, network.input_shape))}), not {x.dtype} of shape {x.shape[1:]}")
    x = x.reshape(len(x), whole(x.shape[1], "steps", 1), size).astype(np.float64)
    if not np.isfinite(x).all():
        raise SpikeloomError(f"network {network.name}: samples must be finite")
    states = {p.name: _State(p.neuron, (len(x), p.size)) for p in network.populations}
    spikes = {p.name: np.zeros((len(x), x.shape[1], p.size), np.bool_) for p in network.populations}
    into = {p.name: [q for q in network.projections if q.target == p.name] for p in network.populations}
    for t in range(x.shape[1]):
        for population in network.populations:
            drive = np.zeros((len(x), population.size)) + population.bias
            for projection in into[population.name]:
                at = t - projection.delay
                if at >= 0:
                    source: Any = x if projection.source == INPUT else spikes[projection.source]
                    drive += projection.map(source[:, at])
            spikes[population.name][:, t] = states[population.name].step(drive.astype(np.float32).astype(np.float64))
    return RealResult(spikes, {name: state.potential.astype(np.float32) for name, state in states.items()})


def joined(results: Sequence[RealResult]) -> RealResult:
    """Results of several batches as one."""
    return RealResult(*({name: np.concatenate([getattr(result, what)[name] for result in results])
                         for name in results[0].spikes} for what in ("spikes", "potentials")))


class _State:
    """Neurons at work."""

    def __init__(self, neuron: RealNeuron, shape: tuple[int, int]) -> None:
        self.neuron = neuron
        self.current = np.zeros(shape)
        self.membrane = np.zeros(shape)
        self.potential = np.zeros(shape)
        self.fired = np.zeros(shape, np.bool_)

    def step(self, x: Array) -> npt.NDArray[np.bool_]:
        n = self.neuron
        current = x
        if n.current_kept is not None:
            assert n.synapse_gain is not None
            current = self.current = _float32(n.current_kept * self.current + n.synapse_gain * x)
        v = n.membrane_kept * self.membrane + n.drift + n.membrane_gain * current
        if n.reset_delay and n.threshold is not None:
            v = v - self.fired * n.threshold if n.reset == "subtract" else np.where(self.fired, 0, v)
        self.potential = v = _float32(v)
        if n.threshold is None:
            self.membrane = v
            return self.fired
        if n.reset == "subtract_again":
            self.potential = _float32(v - (self.membrane > n.threshold) * n.threshold)
        spikes: npt.NDArray[np.bool_] = (
            self.potential > n.threshold if n.compare == ">" else self.potential >= n.threshold)
        if n.reset in ("subtract", "subtract_again") and not n.reset_delay:
            v = _float32(v - spikes * n.threshold)
        elif n.reset == "value" and not n.reset_delay:
            v = np.where(spikes, 0 if n.reset_value is None else n.reset_value, v)
        self.membrane, self.fired = v, spikes
        return spikes


def _float32(x: Array) -> Array:
    return x.astype(np.float32).astype(np.float64)
