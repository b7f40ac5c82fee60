"""The network description: populations of neurons and the projections that drive them.

Everything in it is an integer. A projection goes from the input or a population to a population; all that end in one
population add up to ``x = sum_j w_j * x_j[t] + bias``, where ``x_j`` are spike bits, of this step or (``delay`` 1) of
the one before, or the unsigned integers of a static input that is repeated in every step. What the neurons make of
``x``, their type says.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from .connections import ALLOWED_WEIGHT_BITS, Connection, Conv2d, Dense, an_integer_connection, weight_range
from .errors import SpikeloomError
from .geometry import Pool, Shape, as_map
from .inputs import INPUTS, BernoulliInput, Input, LatencyInput, SpikeInput, StaticInput, checked_shape
from .layers import INPUT, Layer, check_layer_name, joined
from .neurons.neuron_type import NeuronType
from .neurons.types import Neuron
from .numerics import IntArray
from .readout import Readout, Ties
from .system.arguments import an, choice, short, whole

__all__ = ["ALLOWED_WEIGHT_BITS", "INPUT", "MAX_STEPS", "BernoulliInput", "Conv2d", "Dense", "IntArray",
           "LatencyInput", "Layer", "Network", "Neuron", "Population", "Projection", "Readout", "SpikeInput",
           "StaticInput", "Ties", "weight_range"]

MAX_STEPS = 1 << 16
MAX_PARTS = 1024  # populations, and projections
NETWORK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Neurons of one type.

    Parameters
    ----------
    name : str
        A letter, then letters, digits and underscores: it becomes part of Verilog names.
    shape : (neurons,) or (channels, height, width)
    neuron : NeuronType
        A :class:`.Neuron`, an :class:`.Integrator`, or a type of the user's own. Its constants are of all, of each
        channel of a map, or of each neuron.
    """

    name: str
    shape: Shape
    neuron: NeuronType

    def __post_init__(self) -> None:
        check_layer_name(self.name)
        shape = checked_shape(self.shape, f"layer {self.name}: shape")
        if len(shape) not in (1, 3):
            raise SpikeloomError(f"layer {self.name}: shape must be (neurons,) or (channels, height, width), not "
                                 f"{shape}")
        object.__setattr__(self, "shape", shape)
        an(NeuronType, self.neuron, f"layer {self.name}: neuron")

    @property
    def size(self) -> int:
        """Neurons."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """Synapses from the input or a population to a population.

    Parameters
    ----------
    source : str
        Name of a population, or ``"input"``.
    target : str
        Name of a population.
    connection : Dense, Conv2d, Sparse, OneToOne or Lateral
    pool : Pool or None
        Applied to the source's map, in front of the synapses.
    delay : 0 or 1
        Steps from a spike to its arrival. A projection that closes a loop needs 1.
    """

    source: str
    target: str
    connection: Connection
    pool: Pool | None = None
    delay: int = 0

    def __post_init__(self) -> None:
        for name in ("source", "target"):
            if not isinstance(getattr(self, name), str):
                raise SpikeloomError(f"projection {name} must be a name, not {short(getattr(self, name))}")
        an_integer_connection(self.connection, f"layer {self.target}")
        if self.pool is not None:
            an(Pool, self.pool, f"layer {self.target}: pool")
        object.__setattr__(self, "delay", whole(self.delay, f"layer {self.target}: delay of its projection from "
                                                            f"{self.source}", 0, 1))


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
        check_fit(f"layer {name}", pool, connection, shape, before)
        shape, before = connection.output_shape, f"layer {name}"


def check_fit(where: str, pool: Pool | None, connection: Any, shape: Shape, before: str) -> None:
    """Check that a connection behind a pool takes a signal of ``shape``, which ``before`` gives."""
    try:
        pooled = shape if pool is None else pool.output_shape(shape)
        geometry = getattr(connection, "geometry", None)
        if geometry is not None and as_map(pooled) != geometry.input_shape:
            raise SpikeloomError(f"takes a map of shape {geometry.input_shape}, but {before} gives {as_map(pooled)}")
    except SpikeloomError as error:
        raise SpikeloomError(f"{where}: {error}") from error
    size = int(np.prod(pooled))
    if connection.inputs != size:
        raise SpikeloomError(f"{where}: takes {connection.inputs} inputs, but {before} gives {size}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A trained, quantised network: the unit that is checked, built, simulated and shipped.

    Parameters
    ----------
    name : str
        For people and file names.
    input : StaticInput or SpikeInput
    populations : tuple of Population
    projections : tuple of Projection
        In any order, as the populations; what follows from them does not depend on it.
    steps : int
        T, 1..65536 time steps of a run, or the most that it may have.
    readout : Readout
    output : str or None
        The population that is read; by default the last one.
    state : "clear" or "keep"
        What the neurons and the ways back remember when a run of T steps begins: nothing, or what they remembered at
        the end of the run before: then samples are pieces of one endless stream.
    length : "fixed" or "marked"
        Every run has T steps, or as many as come until one is marked as its last, T at most.
    metadata : mapping of str to JSON values
        Where it came from: command, seed, data set, measured accuracy. Not part of the hash.

    Raises
    ------
    SpikeloomError
        If shapes do not add up, a projection comes from or goes to nowhere, a population is not reached by the input or
        read by nobody, projections without delay form a loop, or a field is out of range.
    """

    name: str
    input: Input
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    steps: int
    readout: Readout
    output: str | None = None
    state: Literal["clear", "keep"] = "clear"
    length: Literal["fixed", "marked"] = "fixed"
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def chain(cls, *, name: str, input: Input, layers: Sequence[Layer], steps: int,
              readout: Readout, metadata: Mapping[str, Any] | None = None) -> Network:
        """A network in which each layer's inputs are the outputs of the one before."""
        if not isinstance(layers, Sequence) or not layers:
            raise SpikeloomError(f"network {short(name)}: layers must be a sequence of Layers and not be empty, not "
                                 f"{short(layers)}")
        given = [an(Layer, layer, f"network {short(name)}: layers[{k}]") for k, layer in enumerate(layers)]
        before = [INPUT, *(layer.name for layer in given)]
        return cls(name=name, input=input, steps=steps, readout=readout, metadata={} if metadata is None else metadata,
                   populations=tuple(Population(name=la.name, shape=la.shape, neuron=la.neuron) for la in given),
                   projections=tuple(Projection(source=source, target=la.name, connection=la.connection, pool=la.pool)
                                     for source, la in zip(before, given, strict=False)))

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NETWORK_NAME.fullmatch(self.name):
            raise SpikeloomError(f"network name must be letters, digits, '_', '.' or '-', not {short(self.name)}")
        where = f"network {self.name}"
        object.__setattr__(self, "steps", whole(self.steps, f"{where}: steps", 1, MAX_STEPS))
        if not isinstance(self.input, Input):
            names = [kind.__name__ for kind in INPUTS.values()]
            raise SpikeloomError(f"{where}: input must be a {', '.join(names[:-1])} or {names[-1]}, not "
                                 f"{short(self.input)}")
        for what, kind in (("populations", Population), ("projections", Projection)):
            listed = getattr(self, what)
            if not isinstance(listed, Sequence) or not listed:
                raise SpikeloomError(f"{where}: {what} must be a sequence of {kind.__name__}s and not be empty, not "
                                     f"{short(listed)}")
            if len(listed) > MAX_PARTS:
                raise SpikeloomError(f"{where}: {what} must be at most {MAX_PARTS}, not {len(listed)}")
            object.__setattr__(self, what, tuple(an(kind, one, f"{where}: {what}[{k}]")
                                                 for k, one in enumerate(listed)))
        an(Readout, self.readout, f"{where}: readout")
        names = [p.name for p in self.populations]
        if len(set(names)) != len(names):
            raise SpikeloomError(f"{where}: layer names must differ, not {names}")
        if self.readout.step_weights and len(self.readout.step_weights) != self.steps:
            raise SpikeloomError(f"{where}: readout has {len(self.readout.step_weights)} step_weights, but the network "
                                 f"has {self.steps} steps")
        if not isinstance(self.metadata, Mapping):
            raise SpikeloomError(f"{where}: metadata must be a mapping, not {short(self.metadata)}")
        if self.output is not None and (not isinstance(self.output, str) or self.output not in names):
            raise SpikeloomError(f"{where}: output must be one of {', '.join(names)}, not {short(self.output)}")
        choice(self.state, f"{where}: state", ("clear", "keep"))
        choice(self.length, f"{where}: length", ("fixed", "marked"))
        if self.endless and (self.readout.early_exit or self.readout.kind == "max_potential"):
            what = "early_exit" if self.readout.early_exit else "kind 'max_potential'"
            raise SpikeloomError(f"{where}: state must be 'clear' with a readout of {what}, not 'keep'")
        for projection in self.projections:
            self._check_projection(projection)
        if self.marked:
            self._check_marked()
        output = self.layers[self.output_index]
        if self.readout.needs_potential and not output.neuron.program.gives_potential:
            raise SpikeloomError(f"{where}: the readout needs a membrane potential, but the neurons of layer "
                                 f"{output.name} give none")

    def _check_marked(self) -> None:
        what = None
        if not isinstance(self.input, SpikeInput):
            what = f"an input of kind {self.input.kind!r}, which comes once for all steps"
        elif self.readout.early_exit or self.readout.kind == "psc_sum":
            what = ("a readout with early_exit" if self.readout.early_exit else
                    "a readout of kind 'psc_sum', which counts steps from the end of the run")
        elif self.late_layers:
            what = (f"layer {self.layers[self.late_layers[0]].name}, whose spikes reach the output by ways back only: "
                    "it may lag behind the end")
        if what is not None:
            raise SpikeloomError(f"network {self.name}: length must be 'fixed' with {what}, not 'marked'")

    def _check_projection(self, projection: Projection) -> None:
        shapes = {INPUT: self.input.shape, **{p.name: p.shape for p in self.populations}}
        source, target = projection.source, projection.target
        if target not in shapes or target == INPUT:
            raise SpikeloomError(f"network {self.name}: the projection from {short(source)} goes to {short(target)}, "
                                 f"but the populations are {', '.join(p.name for p in self.populations)}")
        where = f"layer {target}"
        if source not in shapes:
            raise SpikeloomError(f"{where}: a projection comes from {short(source)}, but there are {', '.join(shapes)}")
        pool, connection = projection.pool, projection.connection
        if source == INPUT and self.static:
            if pool is not None and pool.kind == "or":
                raise SpikeloomError(f"{where}: a pool of kind 'or' needs spikes, but the input is static; allowed is "
                                     "'sum'")
            if projection.delay:
                raise SpikeloomError(f"{where}: delay of its projection from input must be 0, not 1: the input is "
                                     "static")
        check_fit(where, pool, connection, shapes[source], "the input" if source == INPUT else f"layer {source}")
        shape = shapes[target]
        if isinstance(connection, Conv2d) and connection.output_shape != shape:
            raise SpikeloomError(f"{where}: has the shape {shape}, but the convolution from {source} gives "
                                 f"{connection.output_shape}")
        if connection.outputs != int(np.prod(shape)):
            raise SpikeloomError(f"{where}: has {int(np.prod(shape))} neurons, but the projection from {source} gives "
                                 f"{connection.outputs}")

    @cached_property
    def _order(self) -> list[Population]:
        """Populations in the order in which a step is worked out; loops close from a later one to an earlier one."""
        names = [p.name for p in self.populations]
        count = len(names)
        place = {name: k for k, name in enumerate(names)}
        edges = [(place[p.source], place[p.target], p.delay) for p in self.projections if p.source != INPUT]
        reach = np.zeros((count, count), np.bool_)
        for a, b, _ in edges:
            reach[a, b] = True
        fed = np.zeros(count, np.bool_)
        for p in self.projections:
            fed[place[p.target]] |= p.source == INPUT
        for k in range(count):
            reach |= reach[:, k:k + 1] & reach[k:k + 1]
        reached = fed | (reach & fed[:, None]).any(axis=0)
        if not reached.all():
            lost = names[int(reached.argmin())]
            raise SpikeloomError(f"layer {lost}: nothing that comes from the input reaches it; it needs a projection "
                                 "from the input or from a layer that has one")
        needed = reach[:, place[self.output_name]].copy()
        needed[place[self.output_name]] = True
        if not needed.all():
            idle = names[int(needed.argmin())]
            raise SpikeloomError(f"layer {idle}: nobody reads it: it needs a projection that leads to the output layer "
                                 f"{self.output_name}")
        waits = [set[int]() for _ in names]
        for a, b, delay in edges:
            if not delay or not reach[b, a]:
                waits[b].add(a)
        done: list[int] = []
        while len(done) < count:
            ready = [k for k in range(count) if k not in done and waits[k] <= set(done)]
            if not ready:
                loop = sorted(names[k] for k in range(count) if k not in done and reach[k, k])
                raise SpikeloomError(f"network {self.name}: the projections without delay among {', '.join(loop)} form "
                                     "a loop; one of them needs delay 1")
            # By name, so that the order does not depend on the one in which populations were listed.
            done.append(min(ready, key=lambda k: names[k]))
        return [self.populations[k] for k in done]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Each population with all that drives it as one connection, in the order in which a step is worked out."""
        position = {INPUT: 0, **{p.name: k + 1 for k, p in enumerate(self._order)}}
        shapes = {INPUT: self.input.shape, **{p.name: p.shape for p in self._order}}
        layers = [joined(population, [p for p in self.projections if p.target == population.name], position, shapes,
                         self.static) for population in self._order]
        # What the largest potential was, a register of the neuron knows.
        peak = self.output_name if self.readout.kind == "max_potential" else None
        return tuple(replace(layer, peak=True) if layer.name == peak else layer for layer in layers)

    @property
    def output_name(self) -> str:
        """Name of the population that is read."""
        return self.populations[-1].name if self.output is None else self.output

    @property
    def output_index(self) -> int:
        """Its place among the layers."""
        return [layer.name for layer in self.layers].index(self.output_name)

    @property
    def endless(self) -> bool:
        """Whether the state is kept from run to run."""
        return self.state == "keep"

    @property
    def duration(self) -> str:
        """Steps of a run, in words."""
        return f"{'up to ' if self.marked else ''}{self.steps} time steps"

    @property
    def marked(self) -> bool:
        """Whether the input marks the last step of a run."""
        return self.length == "marked"

    @property
    def breaks_off(self) -> bool:
        """Whether a run ends before all that it may have, with all state cleared: by itself, or by a mark."""
        return self.readout.early_exit or (self.marked and not self.endless)

    @property
    def recurrent(self) -> bool:
        """Whether a spike can come back to the population that it came from."""
        return any(source.index > index for index, layer in enumerate(self.layers) for source in layer.sources)

    @cached_property
    def late_layers(self) -> tuple[int, ...]:
        """Layers whose spikes reach the output by ways back only: their last step has no effect on it."""
        needed = {self.output_index}
        for index in reversed(range(len(self.layers))):
            if index in needed:
                needed |= {source.index - 1 for source in self.layers[index].sources if source.index <= index}
        return tuple(index for index in range(len(self.layers)) if index not in needed)

    @cached_property
    def is_chain(self) -> bool:
        """Whether each layer has one source, the one before, without delay."""
        return all([(s.index, s.delay) for s in layer.sources] == [(index, 0)]
                   for index, layer in enumerate(self.layers))

    @property
    def classes(self) -> int:
        """Neurons of the output population; 1 if no class is made of them."""
        return 1 if self.readout.kind == "raster" else self.layers[self.output_index].outputs

    @property
    def reads_map(self) -> bool:
        """Whether the input is read as a feature map, by a convolution or a pool."""
        return any(isinstance(p.connection, Conv2d) or p.pool is not None for p in self.projections
                   if p.source == INPUT)

    @property
    def takes_values(self) -> bool:
        """Whether a sample is a value for each channel, and not spikes in each step."""
        return self.input.takes_values

    @property
    def static(self) -> bool:
        """Whether the input is constant over time."""
        return isinstance(self.input, StaticInput)

    def planes(self, layer_index: int) -> int:
        """Bits in an event's mask: the input's bits for a static layer, else one per step."""
        inp = self.input
        return inp.bits if isinstance(inp, StaticInput) and self.layers[layer_index].static else self.steps

    @property
    def step_weights(self) -> tuple[int, ...]:
        """Score of a spike in each step; of a first spike only, or of all."""
        if self.readout.kind == "first_spike":
            return tuple(range(self.steps, 0, -1))
        return self.readout.step_weights or (int(self.readout.kind == "count"),) * self.steps

    @property
    def topology(self) -> str:
        """Sizes joined by dashes, e.g. ``784-400-400-10`` or ``1x28x28-15C5-P2-40C5-P2-300-10``; of a graph, each
        population with what it hangs on: ``a:128<input,a'`` (a prime: delayed)."""
        if self.is_chain:
            first = self.layers[0].connection
            size = str(self.input.size) if isinstance(first, Dense) else "x".join(map(str, first.geometry.input_shape))
            return "-".join([size, *(la.kind.replace("dense", str(la.outputs)) for la in self.layers)])
        names = [INPUT, *(layer.name for layer in self.layers)]
        parts = [f"{layer.name}:{'x'.join(map(str, layer.shape))}<"
                 + ",".join(names[s.index] + "'" * s.delay for s in layer.sources) for layer in self.layers]
        return " ".join([f"input:{'x'.join(map(str, self.input.shape))}", *parts])

    @cached_property
    def hash(self) -> str:
        """SHA-256 over everything that determines spikes and classes (name and metadata excluded)."""
        digest = hashlib.sha256()
        digest.update(repr((self.input, self.steps, self.readout, self.output_name, self.state, self.length)).encode())
        for la in self.layers:
            digest.update(repr((la.name, la.shape, la.pool, la.sources, getattr(la.connection, "geometry", None),
                                la.connection.weight.shape, la.connection.weight_bits, la.program.hash,
                                sorted(la.constants))).encode())
            for array in (la.connection.weight, *(la.constants[name] for name in sorted(la.constants))):
                digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        return digest.hexdigest()


