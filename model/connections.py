"""Synapses: which presynaptic value meets which neuron, with which integer weight."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import SpikeloomError
from .geometry import ConvGeometry, Shape
from .neurons.intervals import MAX_BITS
from .numerics import IntArray
from .system.arguments import an, choice, short, whole
from .system.arguments import array as as_array

__all__ = ["ALLOWED_WEIGHT_BITS", "CONNECTIONS", "Connection", "Conv2d", "Dense", "Lateral", "OneToOne", "Sparse",
           "weight_range"]

ALLOWED_WEIGHT_BITS = (1, 2, 3, 4, 5, 6, 7, 8, 16)


MAX_MATRIX = 1 << 26  # weights


def check_matrix_size(what: str, outputs: int, inputs: int) -> None:
    """Refuse matrices that no memory should be asked for; raises :class:`.SpikeloomError`."""
    if outputs * inputs > MAX_MATRIX:
        raise SpikeloomError(f"{what} is worked on as a matrix of {outputs} x {inputs} weights, allowed are "
                             f"{MAX_MATRIX} in all")


def weight_range(weight_bits: int) -> tuple[int, int]:
    """Smallest and largest weight of this width (1 bit: -1 and +1)."""
    if weight_bits == 1:
        return -1, 1
    return -(1 << (weight_bits - 1)), (1 << (weight_bits - 1)) - 1


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

    def matrix(self) -> IntArray:
        """All weights (outputs, inputs), zeros where there is no synapse."""
        return self.weight


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

    def full_kernels(self) -> IntArray:
        """Weights (channels, input channels, height, width), also of a depthwise convolution."""
        geometry = self.geometry
        if geometry.groups == 1:
            return self.weight
        full = np.zeros((geometry.channels, geometry.input_shape[0], *geometry.kernel), np.int64)
        chosen = np.arange(geometry.channels)
        full[chosen, chosen * geometry.input_shape[0] // geometry.channels] = self.weight[:, 0]
        return full

    def matrix(self) -> IntArray:
        """All weights (outputs, inputs), zeros where there is no synapse."""
        geometry = self.geometry
        _, high, wide = geometry.input_shape
        channels, rows, columns = geometry.output_shape
        kernels = self.full_kernels()
        out = np.zeros((channels, rows, columns, geometry.input_shape[0], high, wide), np.int64)
        for row in range(rows):
            for column in range(columns):
                for ky in range(geometry.kernel[0]):
                    for kx in range(geometry.kernel[1]):
                        y = row * geometry.stride + ky - geometry.padding
                        x = column * geometry.stride + kx - geometry.padding
                        if 0 <= y < high and 0 <= x < wide:
                            out[:, row, column, :, y, x] = kernels[:, :, ky, kx]
        return out.reshape(self.outputs, self.inputs)


class _Matrix:
    """Base of connections that are stored as what they are, and worked on as a matrix."""

    weight_bits: int
    bias: IntArray | None

    @cached_property
    def dense(self) -> Dense:
        """The same as :class:`Dense`; zeros take a second bit beside weights of one bit."""
        check_matrix_size("the connection", self.outputs, self.inputs)
        matrix = self.matrix()
        bits = 2 if self.weight_bits == 1 and (matrix == 0).any() else self.weight_bits
        return Dense(weight=matrix, weight_bits=bits, bias=self.bias)

    if TYPE_CHECKING:
        @property
        def inputs(self) -> int:
            """Presynaptic channels."""

        @property
        def outputs(self) -> int:
            """Postsynaptic neurons."""

    def matrix(self) -> IntArray:
        """All weights (outputs, inputs), zeros where there is no synapse."""
        raise NotImplementedError

    @property
    def channels(self) -> int:
        """Neurons with weights of their own: all."""
        return self.outputs

    @property
    def output_shape(self) -> Shape:
        """(outputs,)."""
        return (self.outputs,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sparse(_Matrix):
    """Synapses as a list.

    Parameters
    ----------
    inputs, outputs : int
        Presynaptic channels and postsynaptic neurons.
    source, target : integer arrays (synapses,)
        Of each synapse; a pair stands there once.
    weight : integer array (synapses,)
    weight_bits : int
    bias : integer array (outputs,) or None

    Raises
    ------
    SpikeloomError
        If an index or a weight is out of range, or a pair stands there twice.
    """

    inputs: int
    outputs: int
    source: IntArray
    target: IntArray
    weight: IntArray
    weight_bits: int
    bias: IntArray | None = None

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            object.__setattr__(self, name, whole(getattr(self, name), name, 1, 1 << 24))
        object.__setattr__(self, "weight", _checked_weight(self.weight, self.weight_bits, 1))
        for name, size in (("source", self.inputs), ("target", self.outputs)):
            at = _frozen(getattr(self, name), np.int64, name, 1)
            if at.shape != self.weight.shape:
                raise SpikeloomError(f"{name} has {at.size} entries, but weight has {self.weight.size}")
            if at.min() < 0 or at.max() >= size:
                raise SpikeloomError(f"{name} must be in 0..{size - 1}, not {at.min() if at.min() < 0 else at.max()}")
            object.__setattr__(self, name, at)
        pairs, counts = np.unique(self.target * self.inputs + self.source, return_counts=True)
        if counts.max() > 1:
            target, source = divmod(int(pairs[counts.argmax()]), self.inputs)
            raise SpikeloomError(f"the synapse from {source} to {target} stands there {counts.max()} times")
        if self.bias is not None:
            object.__setattr__(self, "bias", _checked_bias(self.bias, ((self.outputs,),)))

    def matrix(self) -> IntArray:
        """All weights (outputs, inputs), zeros where there is no synapse."""
        out = np.zeros((self.outputs, self.inputs), np.int64)
        out[self.target, self.source] = self.weight
        return out


class _Square(_Matrix):
    """Base of connections between as many neurons as channels."""

    size: int

    @property
    def inputs(self) -> int:
        """Presynaptic channels."""
        return self.size

    @property
    def outputs(self) -> int:
        """Postsynaptic neurons."""
        return self.size


@dataclass(frozen=True, kw_only=True, eq=False)
class OneToOne(_Square):
    """Each neuron from the channel of its own number.

    Parameters
    ----------
    size : int
    weight : integer array (size,) or (1,)
        One for each, or one for all.
    weight_bits : int
    bias : integer array (size,) or None
    """

    size: int
    weight: IntArray
    weight_bits: int
    bias: IntArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole(self.size, "size", 1, 1 << 24))
        object.__setattr__(self, "weight", _checked_weight(self.weight, self.weight_bits, 1))
        if self.weight.size not in (1, self.size):
            raise SpikeloomError(f"weight has {self.weight.size} values, allowed are 1 or {self.size}")
        if self.bias is not None:
            object.__setattr__(self, "bias", _checked_bias(self.bias, ((self.size,),)))

    def matrix(self) -> IntArray:
        """All weights (outputs, inputs), zeros where there is no synapse."""
        return np.diag(np.broadcast_to(self.weight, (self.size,)).astype(np.int64))


@dataclass(frozen=True, kw_only=True, eq=False)
class Lateral(_Square):
    """Every neuron from all others of a population with one weight, mostly an inhibition.

    Parameters
    ----------
    size : int
        At least 2.
    weight : int
        Not 0.
    weight_bits : int
    """

    size: int
    weight: int
    weight_bits: int
    bias: None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole(self.size, "size", 2, 1 << 24))
        weight = whole(self.weight, "weight", -32768, 32767)
        object.__setattr__(self, "weight", int(_checked_weight(np.array([weight]), self.weight_bits, 1)[0]))

    def matrix(self) -> IntArray:
        """All weights (outputs, inputs), zeros where there is no synapse."""
        return self.weight * (1 - np.eye(self.size, dtype=np.int64))


Connection = Dense | Conv2d | Sparse | OneToOne | Lateral
CONNECTIONS: dict[str, type] = {kind.__name__: kind for kind in (Dense, Conv2d, Sparse, OneToOne, Lateral)}


def an_integer_connection(value: Any, what: str) -> Connection:
    """A connection; raises :class:`.SpikeloomError` if it is something else."""
    if not isinstance(value, Connection):
        names = list(CONNECTIONS)
        raise SpikeloomError(f"{what}: connection must be a {', '.join(names[:-1])} or {names[-1]}, not {short(value)}")
    return value
