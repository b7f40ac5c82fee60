"""The network description: what the golden model runs and the generator builds.

Everything in it is an integer. One layer is one connection (synapses) followed by one population of
LIF neurons with a first-order synapse (TSSL-BP, Zhang & Li, NeurIPS 2020), in the scaled form in which
the synaptic filter stands behind the weights: :meth:`Neuron.step` of ``x = sum_j w_j * x_j[t] + bias``, where ``x_j``
are spike bits, or the unsigned integers of a static input that is repeated in every step.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from .errors import SpikeloomError
from .geometry import ConvGeometry, Pool, Shape, as_map
from .neurons.intervals import MAX_BITS, Interval
from .neurons.neuron_type import NeuronType, Registers
from .neurons.program import Number, select
from .numerics import Decay, Multiply, Shift
from .system.arguments import an, choice, short, whole
from .system.arguments import array as as_array

__all__ = ["ALLOWED_WEIGHT_BITS", "MAX_STEPS", "Conv2d", "Dense", "IntArray", "Layer", "Network", "Neuron", "Readout",
           "SpikeInput", "StaticInput", "Ties"]

IntArray = npt.NDArray[np.integer[Any]]
Ties = Literal["lowest_index", "membrane"]

ALLOWED_WEIGHT_BITS = (1, 2, 3, 4, 5, 6, 7, 8, 16)
MAX_STEPS = 1024
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_RESERVED = frozenset({"clear", "clk", "i", "o", "readout", "rst", "status"})
NETWORK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def _frozen(array: Any, dtype: type, what: str, ndim: int) -> IntArray:
    """A read-only integer copy of ``array``; rejects floats that are no integers, NaN and wrong rank."""
    raw = as_array(array, what)
    if raw.dtype.kind not in "iu":
        raise SpikeloomError(f"{what} must be integers, not {raw.dtype}")
    if raw.ndim != ndim:
        raise SpikeloomError(f"{what} must have {ndim} dimensions, not shape {raw.shape}")
    allowed = np.iinfo(dtype)
    if raw.size and not allowed.min <= int(raw.min()) <= int(raw.max()) <= allowed.max:
        raise SpikeloomError(f"{what} must be in {allowed.min}..{allowed.max}, not {raw.min()}..{raw.max()}")
    out: IntArray = raw.astype(dtype)
    out.setflags(write=False)
    return out


@dataclass(frozen=True, kw_only=True)
class StaticInput:
    """A constant input of unsigned integers, presented in every step (an image).

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample, e.g. ``(28, 28)`` or ``(3, 32, 32)``; flattened in C order.
    bits : int
        1..8: bits of one value. An 8-bit pixel ``p`` enters as ``p >> (8 - bits)``.
    """

    shape: tuple[int, ...]
    bits: int = 8

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _checked_shape(self.shape))
        object.__setattr__(self, "bits", whole(self.bits, "input bits", 1, 8))

    @property
    def size(self) -> int:
        """Values in one sample."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, kw_only=True)
class SpikeInput:
    """Spike trains: one bit per channel and step.

    Parameters
    ----------
    shape : tuple of int
        Shape of one step of one sample, e.g. ``(784,)`` or ``(2, 34, 34)``; flattened in C order.
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _checked_shape(self.shape))

    @property
    def size(self) -> int:
        """Channels."""
        return int(np.prod(self.shape))


def _checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(shape, Sequence) or isinstance(shape, str) or not shape:
        raise SpikeloomError(f"input shape must be positive integers, not {short(shape)}")
    return tuple(whole(n, "input shape", 1, (1 << 31) - 1) for n in shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense:
    """All-to-all synapses.

    Parameters
    ----------
    weight : integer array (outputs, inputs)
        Signed weights in weight LSB. With ``weight_bits = 1`` a weight is -1 or +1.
    weight_bits : int
        1..8 or 16: bits of a stored weight.
    bias : integer array (outputs,) or None
        Added in every step, in weight LSB.

    Raises
    ------
    SpikeloomError
        If the shapes do not fit, or a weight needs more than ``weight_bits``.
    """

    weight: IntArray
    weight_bits: int
    bias: IntArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _checked_weight(self.weight, self.weight_bits, 2))
        if self.bias is not None:
            object.__setattr__(self, "bias", _checked_bias(self.bias, ((self.outputs,),)))

    @property
    def inputs(self) -> int:
        """Presynaptic channels."""
        return int(self.weight.shape[1])

    @property
    def outputs(self) -> int:
        """Postsynaptic neurons."""
        return int(self.weight.shape[0])

    @property
    def channels(self) -> int:
        """Neurons with weights of their own: all."""
        return self.outputs

    @property
    def output_shape(self) -> Shape:
        """(outputs,)."""
        return (self.outputs,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv2d:
    """2-D convolution: one kernel of weights per output channel, used at every position.

    Parameters
    ----------
    geometry : ConvGeometry
    weight : integer array ``geometry.weight_shape``
        Signed weights in weight LSB. With ``weight_bits = 1`` a weight is -1 or +1.
    weight_bits : int
        1..8 or 16: bits of a stored weight.
    bias : integer array (channels,) or ``geometry.output_shape``, or None
        Added in every step, in weight LSB; per position where the zero point of a padded image differs
        between its border and its middle.

    Raises
    ------
    SpikeloomError
        If the shapes do not fit, or a weight needs more than ``weight_bits``.
    """

    geometry: ConvGeometry
    weight: IntArray
    weight_bits: int
    bias: IntArray | None = None

    def __post_init__(self) -> None:
        an(ConvGeometry, self.geometry, "geometry")
        weight = _checked_weight(self.weight, self.weight_bits, 4)
        object.__setattr__(self, "weight", weight)
        if weight.shape != self.geometry.weight_shape:
            raise SpikeloomError(f"weight has shape {weight.shape}, but the convolution's is "
                                 f"{self.geometry.weight_shape}")
        if self.bias is not None:
            object.__setattr__(self, "bias", _checked_bias(self.bias, ((self.channels,), self.output_shape)))

    @property
    def inputs(self) -> int:
        """Presynaptic channels: all values of the input map."""
        return int(np.prod(self.geometry.input_shape))

    @property
    def outputs(self) -> int:
        """Postsynaptic neurons: all positions of all channels."""
        return int(np.prod(self.output_shape))

    @property
    def channels(self) -> int:
        """Output channels."""
        return self.geometry.channels

    @property
    def output_shape(self) -> Shape:
        """(channels, height, width)."""
        return self.geometry.output_shape


def _checked_weight(raw: Any, weight_bits: Any, ndim: int) -> IntArray:
    weight = _frozen(raw, np.int32, "weight", ndim)
    choice(weight_bits, "weight_bits", ALLOWED_WEIGHT_BITS)
    if 0 in weight.shape:
        raise SpikeloomError(f"weight must not be empty, not of shape {weight.shape}")
    low, high = weight_range(weight_bits)
    bad = (weight < low) | (weight > high) if weight_bits > 1 else np.abs(weight) != 1
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        allowed = f"{low}..{high}" if weight_bits > 1 else "-1 or +1"
        raise SpikeloomError(f"weight{list(at)} is {weight[at]}, outside {allowed} "
                             f"that weight_bits={weight_bits} allows")
    return weight


def _checked_bias(raw: Any, allowed: tuple[Shape, ...]) -> IntArray:
    """Biases of one of these shapes, the first one's if it fits."""
    shape = as_array(raw, "bias").shape
    if shape not in allowed:
        rank = len(shape) if len(shape) in {len(a) for a in allowed} else len(allowed[0])
        _frozen(raw, np.int64, "bias", rank)
        raise SpikeloomError(f"bias has shape {shape}, but the weights have {allowed[0][0]} outputs"
                             + "".join(f" and a map of shape {a}" for a in allowed[1:]))
    bias = _frozen(raw, np.int64, "bias", len(shape))
    limit = 1 << (MAX_BITS - 1)
    wide = np.argwhere((bias < -limit) | (bias >= limit))
    if len(wide):
        at = tuple(int(i) for i in wide[0])
        raise SpikeloomError(f"bias{list(at)} is {bias[at]}, outside {-limit}..{limit - 1}")
    return bias


def check_layer_name(name: Any) -> str:
    """A layer's name, which becomes part of Verilog names; raises :class:`.SpikeloomError` if it cannot."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SpikeloomError(f"layer name must be a letter followed by up to 63 letters, digits or '_', not "
                             f"{short(name)}")
    if name in _RESERVED:
        raise SpikeloomError(f"layer name must not be {name!r}: the hardware has a part or a port of that name; "
                             f"taken are also {', '.join(sorted(_RESERVED - {name}))}")
    return name


def weight_range(weight_bits: int) -> tuple[int, int]:
    """Smallest and largest weight of this width (1 bit: -1 and +1)."""
    if weight_bits == 1:
        return -1, 1
    return -(1 << (weight_bits - 1)), (1 << (weight_bits - 1)) - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Neuron(NeuronType):
    """A population of LIF neurons with a first-order synapse.

    Parameters
    ----------
    synapse, membrane : Decay
        Decay of the synaptic current and of the membrane potential.
    threshold : integer array (outputs,) or (1,)
        Firing threshold in state LSB (weight LSB * 2**-fraction_bits), per neuron or shared; at least 0.
    fraction_bits : int
        0..16: fractional bits of the states below a weight LSB.
    compare : ">" or ">="
        Fires if ``U compare threshold``.
    reset : "zero" or "subtract"
        Membrane potential after a spike: 0, or ``U - threshold``.
    """

    synapse: Decay
    membrane: Decay
    threshold: IntArray
    fraction_bits: int
    compare: Literal[">", ">="] = ">"
    reset: Literal["zero", "subtract"] = "zero"

    def __post_init__(self) -> None:
        threshold = _frozen(self.threshold, np.int64, "threshold", 1)
        object.__setattr__(self, "threshold", threshold)
        for name, decay in (("synapse", self.synapse), ("membrane", self.membrane)):
            if not isinstance(decay, Shift | Multiply):
                raise SpikeloomError(f"{name} must be a Shift or a Multiply decay, not {short(decay)}")
        if threshold.size == 0 or (threshold < 0).any() or (threshold >= 1 << MAX_BITS).any():
            raise SpikeloomError(f"threshold must be in 0..2**{MAX_BITS}-1, "
                                 f"not {threshold.min() if threshold.size else 'empty'}")
        object.__setattr__(self, "fraction_bits", whole(self.fraction_bits, "fraction_bits", 0, 16))
        choice(self.compare, "compare", (">", ">="))
        choice(self.reset, "reset", ("zero", "subtract"))

    registers: ClassVar[Mapping[str, int | bool]] = {"current": 0, "membrane": 0}

    def step(self, x: Number, r: Registers) -> tuple[Number, Number]:
        r.current = self.synapse(r.current) + (x << self.fraction_bits)
        potential = self.membrane(r.membrane) + r.current
        spike = potential > self.threshold if self.compare == ">" else potential >= self.threshold
        r.membrane = select(spike, 0 if self.reset == "zero" else potential - self.threshold, potential)
        return spike, potential


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One connection and the neurons that it drives.

    Parameters
    ----------
    name : str
        A letter, then letters, digits and underscores: it becomes part of Verilog names.
    connection : Dense or Conv2d
        The synapses.
    neuron : Neuron
        The population.
    pool : Pool or None
        Applied to the layer's input, in front of the synapses.
    """

    name: str
    connection: Dense | Conv2d
    neuron: Neuron
    pool: Pool | None = None

    def __post_init__(self) -> None:
        check_layer_name(self.name)
        an(Neuron, self.neuron, f"layer {self.name}: neuron")
        if not isinstance(self.connection, Dense | Conv2d):
            raise SpikeloomError(f"layer {self.name}: connection must be a Dense or a Conv2d, not "
                                 f"{short(self.connection)}")
        if self.pool is not None:
            an(Pool, self.pool, f"layer {self.name}: pool")
        size, channels = self.neuron.threshold.size, self.connection.channels
        if size not in (1, channels):
            raise SpikeloomError(f"layer {self.name}: threshold has {size} values, allowed are 1 or {channels} "
                                 f"(one per {'neuron' if isinstance(self.connection, Dense) else 'channel'})")

    @property
    def kind(self) -> str:
        """Pool and connection in TSSL-BP's notation: ``P2-40C5``, ``dense``."""
        pool = "" if self.pool is None else f"{'P' if self.pool.kind == 'sum' else 'O'}{self.pool.size}-"
        return pool + ("dense" if isinstance(self.connection, Dense) else self.connection.geometry.notation)

    @property
    def constants(self) -> dict[str, IntArray]:
        """The neurons' own constants and biases, one value per neuron, by their names in the neuron's program."""
        times = self.connection.outputs // self.connection.channels
        own = {name: np.repeat(value, times) for name, value in self.neuron.own_constants.items()}
        return {**own, "bias": self.biases}

    @property
    def thresholds(self) -> IntArray:
        """Thresholds, one per neuron."""
        per_channel = np.broadcast_to(self.neuron.threshold, (self.connection.channels,))
        return np.repeat(per_channel, self.connection.outputs // self.connection.channels)

    def per_channel(self, values: IntArray) -> Interval:
        """Of values, one per neuron, the smallest and the largest of each output channel."""
        rows = values.reshape(self.connection.channels, -1)
        return Interval(rows.min(axis=1), rows.max(axis=1))

    @property
    def biases(self) -> IntArray:
        """Biases, one per neuron, in weight LSB (zeros where there are none)."""
        connection = self.connection
        bias = np.zeros(connection.channels, np.int64) if connection.bias is None else connection.bias
        return np.repeat(bias.ravel(), connection.outputs // bias.size)


@dataclass(frozen=True, kw_only=True)
class Readout:
    """How the output neurons' activity becomes a class: the highest score, and ``ties`` among equal ones.

    Parameters
    ----------
    kind : "psc_sum" or "count"
        ``count``: spikes. ``psc_sum``: TSSL-BP's sum over time of the output PSCs, which is a spike
        count weighted by ``step_weights``, early spikes more than late ones.
    step_weights : tuple of int
        Score of a spike in step t, one per step, 0..2**16-1.
    ties : "lowest_index" or "membrane"
        Which of the classes with the highest score wins: the lowest index, or the highest membrane potential in
        the last step, before its reset, and the lowest index if these are equal too. Potentials are compared in
        state LSB: that means something if all output neurons have one weight scale.

    Raises
    ------
    SpikeloomError
        If a field is out of range.
    """

    kind: Literal["psc_sum", "count"]
    step_weights: tuple[int, ...]
    ties: Ties = "lowest_index"

    def __post_init__(self) -> None:
        choice(self.kind, "readout kind", ("psc_sum", "count"))
        if not isinstance(self.step_weights, Sequence) or not self.step_weights:
            raise SpikeloomError(f"readout step_weights must be integers in 0..65535, not {short(self.step_weights)}")
        object.__setattr__(self, "step_weights", tuple(
            whole(c, "readout step_weights", 0, 65535) for c in self.step_weights))
        choice(self.ties, "readout ties", ("lowest_index", "membrane"))

    @property
    def tie_winner(self) -> str:
        """What wins a tie, in words."""
        return "lowest index" if self.ties == "lowest_index" else "highest membrane potential in the last step"

    @classmethod
    def count(cls, steps: int, *, ties: Ties = "lowest_index") -> Readout:
        """Plain spike count over ``steps`` steps."""
        return cls(kind="count", step_weights=(1,) * steps, ties=ties)

    @classmethod
    def psc_sum(cls, steps: int, synapse: Decay, *, ties: Ties = "lowest_index") -> Readout:
        """Sum over time of the PSCs: ``c[t] = 1 - (1 - 1/tau_s)**(steps - t)``, in integers.

        Exact for a power-of-two ``tau_s`` while ``tau_s**steps <= 2**16``, else rounded to 16 bits.
        """
        keep = 1 - 1 / synapse.tau_steps
        if keep == 1:  # the limit of a slow decay: PSCs of equal height, counted from the spike on
            return cls(kind="psc_sum", step_weights=tuple(range(steps, 0, -1)), ties=ties)
        scale = 1 << min(16, int(np.ceil(steps * np.log2(synapse.tau_steps))))
        raw = [min(round(scale * (1 - keep ** (steps - t))), (1 << 16) - 1) for t in range(steps)]
        divisor = int(np.gcd.reduce(raw)) or 1
        return cls(kind="psc_sum", step_weights=tuple(c // divisor for c in raw), ties=ties)


def check_chain(shape: Shape, layers: Sequence[tuple[str, Pool | None, Any]]) -> None:
    """Check that (name, pool, connection) in order fit each other, from a signal of ``shape`` on.

    Connections have ``inputs``, ``output_shape`` and, for convolutions, ``geometry``.

    Raises
    ------
    SpikeloomError
        Naming the layer that does not fit.
    """
    before = "the input"
    for name, pool, connection in layers:
        try:
            pooled = shape if pool is None else pool.output_shape(shape)
            geometry = getattr(connection, "geometry", None)
            if geometry is not None and as_map(pooled) != geometry.input_shape:
                raise SpikeloomError(f"takes a map of shape {geometry.input_shape}, but {before} gives "
                                     f"{as_map(pooled)}")
        except SpikeloomError as error:
            raise SpikeloomError(f"layer {name}: {error}") from error
        size = int(np.prod(pooled))
        if connection.inputs != size:
            raise SpikeloomError(f"layer {name}: takes {connection.inputs} inputs, but {before} gives {size}")
        shape, before = connection.output_shape, f"layer {name}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A trained, quantised network: the unit that is checked, built, simulated and shipped.

    Parameters
    ----------
    name : str
        For people and file names.
    input : StaticInput or SpikeInput
    layers : tuple of Layer
        In order; each layer's inputs are the outputs of the one before.
    steps : int
        T, 1..1024 time steps.
    readout : Readout
    metadata : mapping of str to JSON values
        Where it came from: command, seed, data set, measured accuracy. Not part of the hash.

    Raises
    ------
    SpikeloomError
        If the shapes do not chain or a field is out of range.
    """

    name: str
    input: StaticInput | SpikeInput
    layers: tuple[Layer, ...]
    steps: int
    readout: Readout
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NETWORK_NAME.fullmatch(self.name):
            raise SpikeloomError(f"network name must be letters, digits, '_', '.' or '-', not {short(self.name)}")
        object.__setattr__(self, "steps", whole(self.steps, f"network {self.name}: steps", 1, MAX_STEPS))
        if not isinstance(self.input, StaticInput | SpikeInput):
            raise SpikeloomError(f"network {self.name}: input must be a StaticInput or a SpikeInput, "
                                 f"not {short(self.input)}")
        if not isinstance(self.layers, Sequence) or not self.layers:
            raise SpikeloomError(f"network {self.name}: layers must be a sequence of Layers and not be empty, not "
                                 f"{short(self.layers)}")
        object.__setattr__(self, "layers", tuple(
            an(Layer, layer, f"network {self.name}: layers[{k}]") for k, layer in enumerate(self.layers)))
        an(Readout, self.readout, f"network {self.name}: readout")
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names):
            raise SpikeloomError(f"network {self.name}: layer names must differ, not {names}")
        if len(self.readout.step_weights) != self.steps:
            raise SpikeloomError(f"network {self.name}: readout has {len(self.readout.step_weights)} step_weights, "
                                 f"but the network has {self.steps} steps")
        if not isinstance(self.metadata, Mapping):
            raise SpikeloomError(f"network {self.name}: metadata must be a mapping, not {short(self.metadata)}")
        if self.static and self.layers[0].pool is not None and self.layers[0].pool.kind == "or":
            raise SpikeloomError(f"layer {self.layers[0].name}: a pool of kind 'or' needs spikes, "
                                 "but the input is static; allowed is 'sum'")
        check_chain(self.input.shape, [(la.name, la.pool, la.connection) for la in self.layers])

    def input_shape(self, layer_index: int) -> Shape:
        """Shape of the signal that enters layer ``layer_index``, before its pool."""
        return self.layers[layer_index - 1].connection.output_shape if layer_index else self.input.shape

    @property
    def classes(self) -> int:
        """Outputs of the last layer."""
        return self.layers[-1].connection.outputs

    @property
    def reads_map(self) -> bool:
        """Whether the input is read as a feature map, by a convolution or a pool."""
        return isinstance(self.layers[0].connection, Conv2d) or self.layers[0].pool is not None

    @property
    def static(self) -> bool:
        """Whether the input is constant over time."""
        return isinstance(self.input, StaticInput)

    def planes(self, layer_index: int) -> int:
        """Bits in an event's mask: the input's bits for a static layer, else one per step."""
        return self.input.bits if layer_index == 0 and isinstance(self.input, StaticInput) else self.steps

    @property
    def topology(self) -> str:
        """Sizes joined by dashes, e.g. ``784-400-400-10`` or ``1x28x28-15C5-P2-40C5-P2-300-10``."""
        first = self.layers[0].connection
        parts = [str(self.input.size) if isinstance(first, Dense) else "x".join(map(str, first.geometry.input_shape))]
        return "-".join([*parts, *(la.kind.replace("dense", str(la.connection.outputs)) for la in self.layers)])

    @cached_property
    def hash(self) -> str:
        """SHA-256 over everything that determines spikes and classes (name and metadata excluded)."""
        digest = hashlib.sha256()
        digest.update(repr((self.input, self.steps, self.readout)).encode())
        for la in self.layers:
            n = la.neuron
            digest.update(repr((la.name, la.pool, getattr(la.connection, "geometry", None), la.connection.weight.shape,
                                la.connection.weight_bits, n.synapse, n.membrane, n.fraction_bits, n.compare,
                                n.reset)).encode())
            for array in (la.connection.weight, la.biases, la.thresholds):
                digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        return digest.hexdigest()
