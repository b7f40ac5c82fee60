"""From a NIR graph and a dialect to a network in real numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SpikeloomError
from ..geometry import ConvGeometry, Shape, as_map
from ..layers import INPUT
from ..system.arguments import short
from .dialects import Dialect
from .linear import LinearMap
from .nir_file import NirGraph, NirNode
from .real_network import RealNetwork, RealNeuron, RealPopulation, RealProjection

__all__ = ["NodeMeaning", "meaning"]

Array = npt.NDArray[np.float64]

SPIKING = ("IF", "LIF", "CubaLIF", "Threshold")
NEURONS = (*SPIKING, "I", "LI", "CubaLI")
MAX_NEURONS = 1 << 24
MAX_IN_A_ROW = 100


@dataclass(frozen=True)
class NodeMeaning:
    """What a node becomes, in words."""

    name: str
    type: str
    becomes: str


@dataclass(frozen=True)
class _Signal:
    """What a node gives: linear maps of the input and of neurons (by node and delay), plus a constant."""

    shape: Shape
    terms: dict[tuple[str, int], LinearMap]
    constant: Array | None = None


def meaning(graph: NirGraph, dialect: Dialect, name: str) -> tuple[RealNetwork, list[NodeMeaning]]:
    """The network that a graph stands for, and what each node becomes in it.

    A projection that closes a loop delivers the spikes of the step before (nirtorch's executor does so): that is the
    one to a population that is as near to the input, or nearer.

    Raises
    ------
    SpikeloomError
        Naming node and field, if a shape does not fit, a loop has no neurons, or a node cannot be built.
    """
    return _Meaning(graph, dialect).network(name)


class _Meaning:
    def __init__(self, graph: NirGraph, dialect: Dialect) -> None:
        self.nodes, self.dialect = graph.nodes, dialect
        self.graph = graph if not dialect.old_spikes else replace(graph, edges=tuple(
            (a, self._past_recurrence(graph, a, b)) for a, b in graph.edges))
        self.signals: dict[str, _Signal] = {}
        self.working: list[str] = []
        #: LI nodes whose only consumer is a Threshold: one neuron without reset.
        self.merged = {n.name: graph.targets(n.name)[0] for n in self.nodes.values() if n.type in ("LI", "I", "CubaLI")
                       and [self.nodes[t].type for t in graph.targets(n.name)] == ["Threshold"]}

    def network(self, name: str) -> tuple[RealNetwork, list[NodeMeaning]]:
        inputs = [n for n in self.nodes.values() if n.type == "Input" and not n.nested]
        outputs = [n for n in self.nodes.values() if n.type == "Output" and not n.nested]
        for kind, found in (("Input", inputs), ("Output", outputs)):
            if len(found) != 1:
                raise SpikeloomError(f"the graph must have one {kind} node, not {len(found)}")
        result = self.drive(outputs[0])
        neurons = [n for n in self.nodes.values() if n.type in NEURONS and n.name not in self.merged.values()]
        ends = list(result.terms)
        direct = len(ends) == 1 and ends[0][0] != INPUT and ends[0][1] == 0 and result.constant is None and (
            result.terms[ends[0]].is_identity)
        signals = {n.name: self.drive(n) for n in neurons}
        if not direct:  # a sum without neurons behind it: a read-out
            signals[outputs[0].name] = result
        output = ends[0][0] if direct else outputs[0].name
        names = _layer_names(list(signals))
        delays = self._delays(signals)
        recurrent = {b for (_, b), delay in delays.items() if delay}
        populations, projections = [], []
        for node_name, signal in signals.items():
            node = self.nodes[node_name]
            size = int(np.prod(signal.shape))
            neuron = self.neuron(node, signal.shape, node_name in recurrent)
            bias = np.zeros(size) if signal.constant is None else signal.constant.ravel()
            populations.append(RealPopulation(name=names[node_name], shape=_map_shape(signal.shape), neuron=neuron,
                                              bias=bias))
            for (source, late), linear in signal.terms.items():
                if source != INPUT and self.nodes[source].type not in SPIKING and source not in self.merged:
                    raise SpikeloomError(f"node {source}: gives no spikes, and node {node_name} takes its potential; "
                                         "only an Output or Threshold node can")
                delay = late + delays[source, node_name]
                if self.dialect.old_spikes and source in self.nodes and not delays[source, node_name] and (
                        self.nodes[source].type in ("IF", "LIF", "CubaLIF")):
                    delay += 1
                if delay > 1:
                    raise SpikeloomError(f"node {node_name}: spikes from {source} come {delay} steps late; allowed "
                                         "is 1")
                projections.append(RealProjection(source=names.get(source, INPUT), target=names[node_name], map=linear,
                                                  delay=delay))
        real = RealNetwork(name=name, input_shape=_map_shape(self._input_shape(inputs[0])),
                           populations=tuple(populations), projections=tuple(projections), output=names[output])
        return replace(real, populations=_ordered(real)), [self._words(n, names) for n in self.nodes.values()]

    def _past_recurrence(self, graph: NirGraph, source: str, target: str) -> str:
        """Spyx's exporter leads what comes into a recurrent layer through its recurrent weights; Spyx does not."""
        if graph.nodes[source].type == "Input" and graph.nodes[source].nested and target.endswith(".w_rec"):
            return graph.targets(target)[0]
        return target

    # ---- signals ----

    def signal(self, name: str) -> _Signal:
        """What a node gives."""
        node = self.nodes[name]
        if name in self.signals:
            return self.signals[name]
        if node.type == "Input" and not node.nested:
            shape = self._input_shape(node)
            out = _Signal(shape, {(INPUT, 0): LinearMap.identity(shape)})
        elif name in self.merged.values():
            out = self.signal(next(a for a, b in self.merged.items() if b == name))
        elif node.type in NEURONS:
            shape = self._neuron_shape(node)
            out = _Signal(shape, {(name, 0): LinearMap.identity(shape)})
        else:
            out = self._stateless(node, self.drive(node))
        self.signals[name] = out
        return out

    def drive(self, node: NirNode) -> _Signal:
        """What goes into a node: the sum of its sources."""
        if node.name in self.working:
            loop = self.working[self.working.index(node.name):]
            raise SpikeloomError(f"node {node.name}: the loop {' -> '.join([*loop, node.name])} has no neurons in it")
        if len(self.working) > MAX_IN_A_ROW:
            raise SpikeloomError(f"node {node.name}: more than {MAX_IN_A_ROW} nodes in a row without neurons of a "
                                 "stated number")
        sources = self.graph.sources(node.name)
        if not sources:
            raise SpikeloomError(f"node {node.name}: no edge leads to it")
        self.working.append(node.name)
        given = [self.signal(source) for source in sources]
        self.working.pop()
        first, *others = given
        terms, constant = dict(first.terms), first.constant
        for other, source in zip(others, sources[1:], strict=True):
            if np.prod(other.shape) != np.prod(first.shape):
                raise SpikeloomError(f"node {node.name}: {sources[0]} gives it {first.shape}, and {source} "
                                     f"{other.shape}")
            for key, linear in other.terms.items():
                if key in terms:
                    linear = LinearMap(input_shape=linear.input_shape, weight=linear.matrix() + terms[key].matrix())
                terms[key] = linear
            if other.constant is not None:
                constant = other.constant.reshape(first.shape) + (0 if constant is None else constant)
        return _Signal(first.shape, terms, constant)

    def _stateless(self, node: NirNode, x: _Signal) -> _Signal:
        kind = node.type
        if kind in ("Input", "Output"):
            return x
        if kind == "Flatten":
            return _Signal((int(np.prod(x.shape)),), x.terms, None if x.constant is None else x.constant.ravel())
        if kind == "Delay":
            steps = {round(float(d) / self.dialect.dt) for d in node.array("delay").ravel()}
            if len(steps) != 1 or not steps <= {0, 1}:
                raise SpikeloomError(f"node {node.name}: delay must be 0 or 1 time steps of {self.dialect.dt:g}, the "
                                     f"same for all, not {short(sorted(steps))} steps")
            late = steps.pop()
            if late and x.constant is not None:
                raise SpikeloomError(f"node {node.name}: a delay behind a bias cannot be built")
            return _Signal(x.shape, {(source, d + late): linear for (source, d), linear in x.terms.items()}, x.constant)
        if kind in ("Affine", "Linear"):
            return self._affine(node, x)
        if kind == "Scale":
            factors = self._spread(node, "scale", x.shape)
            return self._mapped(x, x.shape, lambda linear: linear.then_factors(factors), LinearMap(
                input_shape=x.shape, weight=factors))
        if kind in ("Conv1d", "Conv2d"):
            geometry, weight = _convolution(node, x.shape)
            out = self._mapped(x, geometry.output_shape, lambda linear: linear.then_convolution(geometry, weight),
                               LinearMap(input_shape=geometry.input_shape, geometry=geometry, weight=weight))
            bias = np.repeat(node.array("bias").astype(np.float64).ravel(), np.prod(geometry.output_shape[1:]))
            if bias.size not in (0, np.prod(out.shape)):
                raise SpikeloomError(f"node {node.name}: bias has shape {node.array('bias').shape}, but there are "
                                     f"{geometry.channels} channels")
            return _plus(out, bias)
        assert kind in ("SumPool2d", "AvgPool2d"), kind
        return self._pool(node, x)

    def _affine(self, node: NirNode, x: _Signal) -> _Signal:
        weight = node.array("weight").astype(np.float64)
        size = int(np.prod(x.shape))
        if weight.ndim != 2 or weight.shape[1] != size:
            raise SpikeloomError(f"node {node.name}: weight has shape {weight.shape}, but it is given {size} values")
        out = self._mapped(x, (len(weight),), lambda linear: linear.then_matrix(weight),
                           LinearMap(input_shape=(size,), weight=weight))
        if node.type == "Linear":
            return out
        bias = node.array("bias").astype(np.float64).ravel()
        if bias.size not in (1, len(weight)):
            raise SpikeloomError(f"node {node.name}: bias has shape {node.array('bias').shape}, but the weight has "
                                 f"{len(weight)} rows")
        return _plus(out, np.broadcast_to(bias, len(weight)))

    def _pool(self, node: NirNode, x: _Signal) -> _Signal:
        size, step, pad = (_pair(node, key) for key in ("kernel_size", "stride", "padding"))
        channels, height, width = as_map(x.shape)
        if size != step or size[0] != size[1] or pad != (0, 0):
            raise SpikeloomError(f"node {node.name}: a pool must have square windows side by side without padding, not "
                                 f"kernel_size {size}, stride {step}, padding {pad}")
        side = size[0]
        if side < 1 or side > min(height, width):
            raise SpikeloomError(f"node {node.name}: kernel_size is {size}, but it is given a map of {height} x "
                                 f"{width}")
        factor = 1.0 if node.type == "SumPool2d" else 1 / side**2
        shape = (channels, height // side, width // side)

        def pooled(linear: LinearMap) -> LinearMap:
            out = linear.then_sum_pool(x.shape, side)
            return out.then_factors(np.full(int(np.prod(shape)), factor))

        return self._mapped(x, shape, pooled, pooled(LinearMap.identity(as_map(x.shape))))

    @staticmethod
    def _mapped(x: _Signal, shape: Shape, behind: Callable[[LinearMap], LinearMap], alone: LinearMap) -> _Signal:
        constant = None if x.constant is None else alone(x.constant.reshape(1, -1)).reshape(shape)
        return _Signal(shape, {key: behind(linear) for key, linear in x.terms.items()}, constant)

    # ---- shapes and neurons ----

    def _input_shape(self, node: NirNode) -> Shape:
        """Without the batch and time dimensions that some exporters write."""
        shape = tuple(int(n) for n in node.array("shape").ravel())
        for target in (self.nodes[name] for name in self.graph.targets(node.name)):
            if target.type in ("Affine", "Linear") and target.array("weight").shape[-1:] == shape[-1:]:
                shape = shape[-1:]
            elif target.type == "Conv2d":
                shape = shape[-3:]
        while len(shape) > 3 or (len(shape) == 2 and shape[0] == 1):
            if shape[0] != 1:
                break
            shape = shape[1:]
        if not shape or min(shape) < 1 or len(shape) > 3 or np.prod(shape, dtype=float) > MAX_NEURONS:
            raise SpikeloomError(f"node {node.name}: shape must be of 1 to 3 dimensions above 0 (and ones in front), "
                                 f"not {short(node.array('shape').tolist())}")
        return shape

    def _neuron_shape(self, node: NirNode) -> Shape:
        for key in ("v_threshold", "threshold", "tau", "tau_mem", "r", "v_leak"):
            if key in node.fields:
                shape = node.array(key).shape
                while len(shape) > 1 and shape[0] == 1 and len(shape) != 3:
                    shape = shape[1:]
                if np.prod(shape) > 1 and not (len(shape) == 3 and shape[1:] == (1, 1)):
                    return shape
        for source in self.graph.sources(node.name):
            if source not in self.working:
                self.working.append(node.name)
                shape = self.signal(source).shape
                self.working.pop()
                return shape
        raise SpikeloomError(f"node {node.name}: nothing says how many neurons it has")

    def _spread(self, node: NirNode, key: str, shape: Shape) -> Array:
        """A field as one value for each neuron; ``shape`` is the population's."""
        value = node.array(key).astype(np.float64)
        while value.ndim > len(shape) and value.shape[0] == 1:
            value = value[0]
        if value.size == np.prod(shape):
            return value.ravel()
        try:
            return np.broadcast_to(value, shape).ravel()
        except ValueError:
            raise SpikeloomError(f"node {node.name}: {key} has shape {value.shape}, but it is given {shape}") from None

    def neuron(self, node: NirNode, shape: Shape, recurrent: bool) -> RealNeuron:
        """The neurons of a node, by the rules of the dialect."""
        d, size = self.dialect, int(np.prod(shape))
        ones, zeros = np.ones(size), np.zeros(size)

        def get(key: str) -> Array:
            return self._spread(node, key, shape)

        if node.type in ("Output", "Threshold"):
            kept, gain, drift = zeros, ones, zeros
        elif node.type in ("IF", "I"):
            kept, drift = ones, zeros
            gain = get("r") * d.dt if d.if_gain == "file" else ones
        else:
            key = "tau" if "tau" in node.fields else "tau_mem"
            kept = d.kept(node, key, get(key))
            with np.errstate(invalid="ignore"):
                given = get("r") * d.dt / get(key)
            if d.membrane_gain == "file" and not np.isfinite(given).all():
                raise SpikeloomError(f"node {node.name}: r * dt / {key} must be finite")
            gain = {"file": given, "unit": ones, "rest": 1 - kept}[d.membrane_gain]
            drift = (1 - kept) * get("v_leak")
        current_kept = synapse_gain = None
        if node.type in ("CubaLIF", "CubaLI"):
            current_kept = d.kept(node, "tau_syn", get("tau_syn"))
            w_in = get("w_in") if "w_in" in node.fields else ones
            synapse_gain = {"file": w_in * d.dt / get("tau_syn"), "unit": ones, "kept": current_kept}[d.synapse_gain]
        threshold = None
        if node.type == "Threshold":
            threshold = get("threshold")
        elif node.type in SPIKING:
            threshold = get("v_threshold")
        elif node.name in self.merged:
            threshold = self._spread(self.nodes[self.merged[node.name]], "threshold", shape)
        front: dict[str, Any] = {"membrane_kept": kept, "membrane_gain": gain, "drift": drift,
                                 "current_kept": current_kept, "synapse_gain": synapse_gain}
        value = get("v_reset") if d.reset == "value" and "v_reset" in node.fields else zeros
        if d.start != "zero" and d.start in node.fields and get(d.start).any():
            # In potentials above the first one, it is 0, as all registers are.
            start = get(d.start)
            if d.reset.startswith("subtract"):
                raise SpikeloomError(f"node {node.name}: {d.start} must be 0 where a reset subtracts the threshold, "
                                     f"not {start[start != 0][0]:g}")
            front["drift"] = drift - (1 - kept) * start
            value = value - start
            threshold = None if threshold is None else threshold - start
        if threshold is None:
            return RealNeuron(**front)
        if (threshold < 0).any():
            raise SpikeloomError(f"node {node.name}: its threshold must be at least 0, not {threshold.min():g}")
        if node.type not in SPIKING or node.type == "Threshold" or d.reset == "none":
            return RealNeuron(**front, threshold=threshold, compare=d.compare)
        # A late reset to zero that keeps what comes in that step is one at once.
        late = d.reset_delay if d.reset != "zero" or current_kept is not None or recurrent else 0
        if d.old_spikes and current_kept is not None:
            late = 0  # Spyx's CuBaLIF, unlike its LIF, resets before the decay
        if late and value.any():
            raise SpikeloomError(f"node {node.name}: v_reset must be 0 with a reset_delay of 1, not "
                                 f"{value[value != 0][0]:g}")
        return RealNeuron(**front, threshold=threshold, compare=d.compare, reset_delay=late, reset_value=value,
                          reset="value" if d.reset == "zero" else d.reset)

    # ---- loops ----

    def _delays(self, signals: dict[str, _Signal]) -> dict[tuple[str, str], int]:
        """The step that a projection which closes a loop takes, for each pair of a source and a target."""
        depth = {INPUT: 0}
        front = [INPUT]
        while front:
            found = [b for a in front for b, s in signals.items() if b not in depth and any(
                source == a for source, _ in s.terms)]
            depth |= dict.fromkeys(found, depth[front[0]] + 1)
            front = list(dict.fromkeys(found))
        out = {}
        for target, signal in signals.items():
            if target not in depth:
                raise SpikeloomError(f"node {target}: nothing that comes from the Input node reaches it")
            for source, _ in signal.terms:
                out[source, target] = int(depth[target] <= depth[source] and self._reaches(signals, target, source))
        return out

    @staticmethod
    def _reaches(signals: dict[str, _Signal], start: str, goal: str) -> bool:
        seen, front = {start}, [start]
        while front:
            if goal in front:
                return True
            front = [b for b, s in signals.items() if b not in seen and any(a in front for a, _ in s.terms)]
            seen |= set(front)
        return False

    def _words(self, node: NirNode, names: dict[str, str]) -> NodeMeaning:
        if node.name in self.merged.values():
            becomes = f"the threshold of layer {names[next(a for a, b in self.merged.items() if b == node.name)]}"
        elif node.name in names:
            becomes = f"layer {names[node.name]}"
        else:
            becomes = {"Input": "the input stream", "Output": "the output"}.get(node.type, "part of projections")
        return NodeMeaning(node.name, node.type, becomes)


def _plus(signal: _Signal, bias: Array) -> _Signal:
    if not bias.size or not bias.any():
        return signal
    constant = bias.reshape(signal.shape)
    return replace(signal, constant=constant if signal.constant is None else signal.constant + constant)


def _map_shape(shape: Shape) -> Shape:
    return shape if len(shape) == 1 else as_map(shape)


def _layer_names(names: list[str]) -> dict[str, str]:
    """Nodes' names as names of layers: letters, digits and underscores, each once."""
    out: dict[str, str] = {}
    for name in names:
        base = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_")[:40]
        base = base if base[:1].isalpha() and base != INPUT else f"n{base}"
        unique, number = base, 2
        while unique in out.values():
            unique, number = f"{base}_{number}", number + 1
        out[name] = unique
    return out


def _ordered(network: RealNetwork) -> tuple[RealPopulation, ...]:
    """Populations such that what is not delayed comes from earlier ones."""
    waiting = {p.name: {q.source for q in network.projections if q.target == p.name and not q.delay} - {INPUT}
               for p in network.populations}
    done: list[RealPopulation] = []
    while waiting:
        ready = [p for p in network.populations if p.name in waiting and not waiting[p.name] & waiting.keys()]
        if not ready:
            raise SpikeloomError(f"the loop among {', '.join(waiting)} has no delay")
        done += ready
        for population in ready:
            del waiting[population.name]
    return tuple(done)


def _pair(node: NirNode, key: str) -> tuple[int, int]:
    value = node.array(key).ravel()
    if value.size not in (1, 2) or (value != np.round(value)).any():
        raise SpikeloomError(f"node {node.name}: {key} must be one or two integers, not {short(value.tolist())}")
    return int(value[0]), int(value[-1])


def _convolution(node: NirNode, shape: Shape) -> tuple[ConvGeometry, Array]:
    """A convolution with equal strides and paddings, which the kernel makes up for with zeros."""
    weight = node.array("weight").astype(np.float64)
    rank = 2 if node.type == "Conv2d" else 1
    if weight.ndim != rank + 2:
        raise SpikeloomError(f"node {node.name}: weight must have {rank + 2} dimensions, not shape {weight.shape}")
    maps = as_map(shape) if rank == 2 else (1, 1, *shape) if len(shape) == 1 else (shape[0], 1, shape[-1])
    maps = (maps[0], maps[-2], maps[-1])
    if rank == 1:
        weight = weight[:, :, None, :]
    strides, dilations = _pair(node, "stride"), _pair(node, "dilation")
    groups = _pair(node, "groups")[0]
    if rank == 1:
        strides, dilations = (strides[-1], strides[-1]), (1, dilations[-1])
    if strides[0] != strides[1] or min(strides) < 1 or min(dilations) < 1:
        raise SpikeloomError(f"node {node.name}: stride must be the same in both directions, and dilation above 0, not "
                             f"stride {strides}, dilation {dilations}")
    if max(*dilations, *strides) > max(maps[1:]):
        raise SpikeloomError(f"node {node.name}: stride {strides} and dilation {dilations} must be at most the map of "
                             f"{maps[1]} x {maps[2]}")
    if groups < 1 or maps[0] % groups or weight.shape[0] % groups or weight.shape[1] * groups != maps[0]:
        raise SpikeloomError(f"node {node.name}: weight of shape {weight.shape} in {groups} groups does not fit a map "
                             f"of shape {maps}")
    if max(dilations) > 1:
        kernel = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
        wide = np.zeros((*weight.shape[:2], *kernel))
        wide[:, :, ::dilations[0], ::dilations[1]] = weight
        weight = wide
    before, after = _paddings(node, weight.shape[2:], strides[0], rank)
    most = max(*before, *after)
    if most > max(maps[1:]):
        raise SpikeloomError(f"node {node.name}: padding must be at most the map of {maps[1]} x {maps[2]}, not {most}")
    weight = np.pad(weight, ((0, 0), (0, 0), *((most - b, most - a) for b, a in zip(before, after, strict=True))))
    if groups not in (1, maps[0]):
        full = np.zeros((len(weight), maps[0], *weight.shape[2:]))
        outputs, inputs = len(weight) // groups, weight.shape[1]
        for group in range(groups):
            rows = slice(group * outputs, (group + 1) * outputs)
            full[rows, group * inputs:(group + 1) * inputs] = weight[rows]
        weight, groups = full, 1
    try:
        geometry = ConvGeometry(input_shape=maps, channels=len(weight), kernel=weight.shape[2:], stride=strides[0],
                                padding=most, groups=groups)
    except SpikeloomError as error:
        raise SpikeloomError(f"node {node.name}: {error}") from None
    return geometry, weight


def _paddings(node: NirNode, kernel: Any, stride: int, rank: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Zeros (rows, columns) in front and behind."""
    given = node.fields["padding"]
    if isinstance(given, str) and given == "valid":
        return (0, 0), (0, 0)
    if isinstance(given, str) and given == "same":
        if stride != 1:
            raise SpikeloomError(f"node {node.name}: padding 'same' needs stride 1, not {stride}")
        front = (kernel[0] - 1) // 2, (kernel[1] - 1) // 2
        return front, (kernel[0] - 1 - front[0], kernel[1] - 1 - front[1])
    if isinstance(given, str):
        raise SpikeloomError(f"node {node.name}: padding must be 'same', 'valid' or integers, not {short(given)}")
    rows, columns = _pair(node, "padding")
    rows = 0 if rank == 1 else rows
    if min(rows, columns) < 0:
        raise SpikeloomError(f"node {node.name}: padding must be at least 0, not {(rows, columns)}")
    return (rows, columns), (rows, columns)
