"""Layers: a population with all that drives it joined to one connection, as models and hardware work on it.

The sum of several projections is one projection from the concatenation of their sources: of vectors one after the
other, of maps channel by channel at every position.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .connections import Connection, Conv2d, Dense, OneToOne, an_integer_connection, check_matrix_size
from .errors import SpikeloomError
from .geometry import ConvGeometry, Pool, Shape, as_map
from .neurons.intervals import Interval
from .neurons.neuron_type import NeuronType
from .neurons.program import Program
from .numerics import IntArray
from .system.arguments import an, short

if TYPE_CHECKING:
    from .network import Population, Projection

__all__ = ["INPUT", "Layer", "Source", "check_layer_name", "joined"]

INPUT = "input"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_RESERVED = frozenset({"clear", "clk", "i", INPUT, "o", "readout", "rst", "status"})


def check_layer_name(name: Any) -> str:
    """A layer's name, which becomes part of Verilog names; raises :class:`.SpikeloomError` if it cannot."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SpikeloomError(f"layer name must be a letter followed by up to 63 letters, digits or '_', not "
                             f"{short(name)}")
    if name in _RESERVED:
        raise SpikeloomError(f"layer name must not be {name!r}: the hardware has a part or a port of that name; "
                             f"taken are also {', '.join(sorted(_RESERVED - {name}))}")
    return name


@dataclass(frozen=True)
class Source:
    """Where a part of a layer's input comes from.

    Attributes
    ----------
    name : str
        Of a population, or ``"input"``.
    index : int
        0 for the input, else one more than the population's place among the layers. What is not less than the layer's
        own place + 1 comes back to it.
    delay : int
    or_pool : Pool or None
        In front of the concatenation.
    shape : tuple of int
        Before that pool.
    """

    name: str
    index: int
    delay: int
    or_pool: Pool | None
    shape: Shape

    @property
    def pooled_shape(self) -> Shape:
        """Behind the pool."""
        return self.shape if self.or_pool is None else self.or_pool.output_shape(self.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One connection and the neurons that it drives.

    Parameters
    ----------
    name : str
        A letter, then letters, digits and underscores: it becomes part of Verilog names.
    connection : Dense or Conv2d
        The synapses; of a layer with several sources, from their concatenation.
    neuron : NeuronType
        The population: a :class:`.Neuron`, an :class:`.Integrator`, or a type of the user's own.
    pool : Pool or None
        Applied to the layer's input, in front of the synapses.
    sources : tuple of Source
        Empty for a layer that :meth:`.Network.chain` is to place.
    population_shape : tuple of int or None
        Of the population, if it is another than the connection's.
    static : bool
        Whether it is driven by a static input.
    peak : bool
        Its potentials are the largest up to now.
    """

    name: str
    connection: Dense | Conv2d
    neuron: NeuronType
    pool: Pool | None = None
    sources: tuple[Source, ...] = ()
    population_shape: Shape | None = None
    static: bool = False
    peak: bool = False

    def __post_init__(self) -> None:
        check_layer_name(self.name)
        an(NeuronType, self.neuron, f"layer {self.name}: neuron")
        an_integer_connection(self.connection, f"layer {self.name}")
        if not isinstance(self.connection, Dense | Conv2d):
            object.__setattr__(self, "connection", self.connection.dense)
        if self.pool is not None:
            an(Pool, self.pool, f"layer {self.name}: pool")
        sizes = {1: "", self.outputs: " (one per neuron)"}
        if len(self.shape) == 3:
            sizes[self.shape[0]] = " (one per channel)"
        for name, values in self.neuron.arrays.items():
            if values.size not in sizes:
                allowed = " or ".join(f"{size}{meaning}" for size, meaning in sorted(sizes.items()))
                raise SpikeloomError(f"layer {self.name}: {name} has {values.size} values, allowed are {allowed}")
        try:
            self.program  # noqa: B018 (recorded once, here, so that what hardware cannot do is told here)
        except SpikeloomError as error:
            raise SpikeloomError(f"layer {self.name}: {error}") from None

    @cached_property
    def program(self) -> Program:
        """A neuron's step, without bias."""
        return self.recorded()

    def recorded(self, *, has_bias: bool = False, has_gaps: bool = False, all_own: bool = False) -> Program:
        """See :meth:`.NeuronType.recorded`."""
        return self.neuron.recorded(has_bias=has_bias, has_gaps=has_gaps, peak=self.peak, all_own=all_own)

    @property
    def shape(self) -> Shape:
        """Of the population: (neurons,) or (channels, height, width)."""
        return self.population_shape or self.connection.output_shape

    @property
    def outputs(self) -> int:
        """Neurons."""
        return self.connection.outputs

    @property
    def sum_pool(self) -> Pool | None:
        """The pool behind the concatenation."""
        return self.pool if self.pool is not None and self.pool.kind == "sum" else None

    @property
    def kind(self) -> str:
        """Pool and connection in TSSL-BP's notation: ``P2-40C5``, ``dense``."""
        pool = "" if self.pool is None else f"{'P' if self.pool.kind == 'sum' else 'O'}{self.pool.size}-"
        return pool + ("dense" if isinstance(self.connection, Dense) else self.connection.geometry.notation)

    @property
    def constants(self) -> dict[str, IntArray]:
        """The neurons' own constants and biases, one value per neuron, by their names in the neuron's program."""
        own = {name: self._per_neuron(values) for name, values in self.neuron.own_constants.items()}
        return {**own, "bias": self.biases}

    @property
    def all_constants(self) -> dict[str, IntArray]:
        """Also those that are the same for all neurons."""
        return {**{name: self._per_neuron(values) for name, values in self.neuron.arrays.items()}, "bias": self.biases}

    def _per_neuron(self, values: IntArray) -> IntArray:
        """Values of channels, or of neurons, as one for each neuron."""
        return np.repeat(values, self.outputs // values.size)

    @property
    def constants_by_position(self) -> bool:
        """Whether neurons of one channel have constants or biases that differ from position to position."""
        rows = (values.reshape(self.shape[0], -1) for values in self.constants.values())
        return any((row != row[:, :1]).any() for row in rows)

    def per_channel(self, values: IntArray) -> Interval:
        """Of values, one per neuron, the smallest and the largest of each of the connection's channels."""
        rows = values.reshape(self.connection.channels, -1)
        return Interval(rows.min(axis=1), rows.max(axis=1))

    @property
    def biases(self) -> IntArray:
        """Biases, one per neuron, in weight LSB (zeros where there are none)."""
        connection = self.connection
        bias = np.zeros(connection.channels, np.int64) if connection.bias is None else connection.bias
        return np.repeat(bias.ravel(), connection.outputs // bias.size)


def joined(population: Population, projections: Sequence[Projection], position: Mapping[str, int],
           shapes: Mapping[str, Shape], static_input: bool) -> Layer:
    """The layer that a population and the projections that end in it are.

    Raises
    ------
    SpikeloomError
        If they cannot be joined; names layer, projections and reason.
    """
    where = f"layer {population.name}"
    if not projections:
        raise SpikeloomError(f"{where}: nothing drives it; it needs a projection")
    ordered = sorted(projections, key=lambda p: (position[p.source], p.delay))
    static = [static_input and p.source == INPUT for p in ordered]
    if any(static) and not all(static):
        others = ", ".join(p.source for p, s in zip(ordered, static, strict=True) if not s)
        raise SpikeloomError(f"{where}: projections from the static input and from {others} end in it; one layer takes "
                             "either the static input or spikes: put a layer between them")
    sources = tuple(Source(p.source, position[p.source], p.delay, p.pool if p.pool and p.pool.kind == "or" else None,
                           shapes[p.source]) for p in ordered)
    shape = None if len(ordered) == 1 and ordered[0].connection.output_shape == population.shape else population.shape
    more: dict[str, Any] = {"name": population.name, "neuron": population.neuron, "sources": sources,
                            "static": static[0]}
    if len(ordered) == 1:
        connection = ordered[0].connection
        try:
            used = connection if isinstance(connection, Dense | Conv2d) else connection.dense
        except SpikeloomError as error:
            raise SpikeloomError(f"{where}: {error}") from None
        return Layer(connection=used, pool=ordered[0].pool, population_shape=shape, **more)
    maps = [_as_convolution(p.connection, source) for p, source in zip(ordered, sources, strict=True)]
    pools = {p.pool if p.pool and p.pool.kind == "sum" else None for p in ordered}
    if all(maps) and len(pools) == 1 and (merged := _joined_maps([m for m in maps if m])) is not None:
        return Layer(connection=merged, pool=pools.pop(), **more)
    return Layer(connection=_joined_matrices(where, ordered, sources), population_shape=population.shape, **more)


def _bits(weight: IntArray, connections: Sequence[Connection]) -> int:
    bits = max(c.weight_bits for c in connections)
    return 2 if bits == 1 and (weight == 0).any() else bits


def _as_convolution(connection: Connection, source: Source) -> Conv2d | None:
    """A convolution, or what is one: every neuron of a map from the one in the same place."""
    if isinstance(connection, Conv2d):
        return connection
    shape = source.pooled_shape
    if isinstance(connection, OneToOne) and connection.weight.size == 1 and connection.bias is None and len(shape) == 3:
        geometry = ConvGeometry(input_shape=as_map(shape), channels=shape[0], kernel=(1, 1), groups=shape[0])
        return Conv2d(geometry=geometry, weight=np.full(geometry.weight_shape, connection.weight[0]),
                      weight_bits=connection.weight_bits)
    return None


def _joined_maps(parts: Sequence[Conv2d]) -> Conv2d | None:
    """One convolution of all maps' channels, its kernel as large as to hold all kernels; None if there is none."""
    first = parts[0].geometry
    same = {(g.input_shape[1:], g.stride, g.output_shape) for g in (part.geometry for part in parts)}
    if len(same) > 1:
        return None
    padding = max(part.geometry.padding for part in parts)
    offsets = [padding - part.geometry.padding for part in parts]
    kernel = tuple(max(offset + part.geometry.kernel[axis] for offset, part in zip(offsets, parts, strict=True))
                   for axis in range(2))
    channels = sum(part.geometry.input_shape[0] for part in parts)
    try:
        geometry = ConvGeometry(input_shape=(channels, *first.input_shape[1:]), channels=first.channels,
                                kernel=(kernel[0], kernel[1]), stride=first.stride, padding=padding)
    except SpikeloomError:
        return None
    if geometry.output_shape != first.output_shape:
        return None
    weight, at = np.zeros(geometry.weight_shape, np.int64), 0
    for part, offset in zip(parts, offsets, strict=True):
        kernels = part.full_kernels()
        rows, columns = part.geometry.kernel
        weight[:, at:at + kernels.shape[1], offset:offset + rows, offset:offset + columns] = kernels
        at += kernels.shape[1]
    biases = [part.bias for part in parts if part.bias is not None]
    total = sum((bias if bias.ndim == 3 else np.broadcast_to(bias[:, None, None], geometry.output_shape)
                 for bias in biases), np.zeros(geometry.output_shape, np.int64))
    if all(bias.ndim == 1 for bias in biases):
        total = total[:, 0, 0]
    return Conv2d(geometry=geometry, weight=weight, weight_bits=_bits(weight, parts), bias=total if biases else None)


def _joined_matrices(where: str, projections: Sequence[Projection], sources: Sequence[Source]) -> Dense:
    outputs = projections[0].connection.outputs
    inputs = sum(int(np.prod(source.pooled_shape)) for source in sources)
    # (Convolutions of equal stride and output are joined without one.)
    names = ", ".join(source.name for source in sources)
    check_matrix_size(f"{where}: what projects to it from {names}", outputs, inputs)
    parts = []
    for projection, source in zip(projections, sources, strict=True):
        matrix, pool = projection.connection.matrix(), projection.pool
        if pool is not None and pool.kind == "sum":  # each of a window's positions has the window's weights
            channels, height, width = pool.output_shape(source.shape)
            maps = matrix.reshape(outputs, channels, height, width)
            matrix = maps.repeat(pool.size, axis=2).repeat(pool.size, axis=3).reshape(outputs, -1)
        parts.append(matrix)
    weight = np.concatenate(parts, axis=1)
    bias = np.zeros(outputs, np.int64)
    for projection in projections:
        if projection.connection.bias is not None:
            given = projection.connection.bias
            bias += np.repeat(given.ravel(), outputs // given.size)
    return Dense(weight=weight, weight_bits=_bits(weight, [p.connection for p in projections]),
                 bias=bias if bias.any() else None)
