"""Our networks as NIR files: nodes that others read, and the network itself, so that it comes back as it was."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import nir
import numpy as np
import numpy.typing as npt

from ..connections import Conv2d
from ..errors import SpikeloomError
from ..geometry import as_map
from ..inputs import CodedInput
from ..layers import INPUT
from ..network import Network, Population, Projection
from ..network_file import load_network, save_network
from ..neurons.parts import ResetTo
from ..neurons.types import Integrator, Neuron
from ..numerics import Decay, Multiply, Shift, Shifts
from ..system.paths import shown
from ..system.writing import scratch_folder, write_file
from .nir_file import OWN, NirGraph, read_nir

__all__ = ["export_nir", "own_network"]

DT = 1e-4

Array = npt.NDArray[Any]


def export_nir(network: Network, path: str | Path) -> list[str]:
    """Write a NIR file, with time constants for a step of 1e-4 and weights and thresholds in weight LSB.

    Returns
    -------
    list of str
        What NIR's nodes cannot say, and only the network in the file's metadata does.

    Raises
    ------
    SpikeloomError
        If there is no node for a population's neurons or a projection, or the file cannot be written.
    """
    writer = _Writer(network)
    for population in network.populations:
        writer.population(population)
    with scratch_folder() as scratch:
        save_network(network, scratch / "network.snn")
        content = np.frombuffer((scratch / "network.snn").read_bytes(), np.uint8)
    shape = network.input.shape
    writer.nodes["input"] = nir.Input(input_type=np.array(shape if len(shape) == 1 else as_map(shape)))
    output = next(p for p in network.populations if p.name == network.output_name)
    end = "output"
    while end in writer.nodes:
        end += "_"
    writer.nodes[end] = nir.Output(output_type=np.array(output.shape))
    writer.edges.append((network.output_name, end))
    graph = nir.NIRGraph(writer.nodes, writer.edges, metadata={OWN: content}, type_check=False)
    file = io.BytesIO()
    nir.write(file, graph)
    write_file(Path(path), file.getvalue(), is_own=_is_ours)
    readout = network.readout
    if readout.kind != "raster":
        writer.unsaid.append(f"readout {readout.kind}")
    if isinstance(network.input, CodedInput):
        writer.unsaid.append(f"input {network.input.kind}")
    if network.endless:
        writer.unsaid.append("state that is kept")
    if network.marked:
        writer.unsaid.append("runs whose last step is marked")
    return writer.unsaid


def _is_ours(path: Path) -> bool:
    try:
        return read_nir(path).own is not None
    except SpikeloomError:
        return False


def own_network(graph: NirGraph) -> Network | None:
    """The network that :func:`export_nir` wrote; None if somebody else wrote the file.

    Raises
    ------
    SpikeloomError
        If the nodes are not those of that network any more.
    """
    if graph.own is None:
        return None
    with scratch_folder() as scratch:
        path = scratch / "network.snn"
        path.write_bytes(graph.own)
        try:
            network = load_network(path)
        except SpikeloomError as error:
            raise SpikeloomError(f"metadata: {OWN}: {str(error).removeprefix(f'{shown(path)}: ')}") from None
        export_nir(network, scratch / "again.nir")
        again = read_nir(scratch / "again.nir")
    same = again.edges == graph.edges and again.nodes.keys() == graph.nodes.keys() and all(
        node.fields.keys() == graph.nodes[name].fields.keys()
        and all(np.array_equal(node.fields[key], graph.nodes[name].fields[key]) for key in node.fields)
        for name, node in again.nodes.items())
    if not same:
        raise SpikeloomError("nodes were changed since spikeloom wrote the file: --dialect nir reads them as they are")
    return network


class _Writer:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.unsaid: list[str] = []

    def population(self, population: Population) -> None:
        neuron = population.neuron
        if not isinstance(neuron, Neuron | Integrator):
            raise SpikeloomError(f"layer {population.name}: NIR has no node for neurons of type "
                                 f"{type(neuron).__name__}")
        bias = np.zeros(population.size)
        if neuron.offset is not None:
            bias = self._spread(population, neuron.offset.value) / 2**neuron.fraction_bits
        name = population.name
        self.nodes[name] = self._node(population, neuron)
        for number, projection in enumerate(p for p in self.network.projections if p.target == name):
            self._projection(projection, f"{name}.in{number}", bias if number == 0 else np.zeros(population.size))

    def _projection(self, projection: Projection, name: str, bias: Array) -> None:
        """Pool, delay and synapses, one node behind the other."""
        at = "input" if projection.source == INPUT else projection.source
        place = [p.name for p in self.network.layers]
        back = at != "input" and place.index(at) >= place.index(projection.target)

        def then(suffix: str, node: Any) -> None:
            nonlocal at
            self.nodes[f"{name}{suffix}"] = node
            self.edges.append((at, f"{name}{suffix}"))
            at = f"{name}{suffix}"

        shapes = {INPUT: self.network.input.shape, **{p.name: p.shape for p in self.network.populations}}
        shape = shapes[projection.source]
        shape = shape if len(shape) == 1 else as_map(shape)
        if projection.delay and not back:
            then("_delay", nir.Delay(np.full(shape, DT)))
        if projection.pool is not None:
            if projection.pool.kind == "or":
                raise SpikeloomError(f"layer {projection.target}: NIR has no node for a pool of kind 'or'")
            size = np.full(2, projection.pool.size)
            then("_pool", nir.SumPool2d(kernel_size=size, stride=size, padding=np.zeros(2, int)))
            shape = projection.pool.output_shape(shape)
        connection = projection.connection
        if isinstance(connection, Conv2d):
            geometry = connection.geometry
            own = np.zeros(geometry.channels) if connection.bias is None else connection.bias
            total = np.broadcast_to(own.reshape(geometry.channels, *own.shape[1:] or (1, 1)), geometry.output_shape)
            total = (total.ravel() + bias).reshape(geometry.channels, -1)
            if (total != total[:, :1]).any():
                raise SpikeloomError(f"layer {projection.target}: NIR has no node for a convolution with a bias for "
                                     "each position")
            then("", nir.Conv2d(
                input_shape=geometry.input_shape[1:], weight=connection.weight.astype(np.float32),
                stride=(geometry.stride,) * 2, padding=(geometry.padding,) * 2, dilation=(1, 1), groups=geometry.groups,
                bias=total[:, 0].astype(np.float32)))
        else:
            if len(shape) > 1:
                then("_flat", nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0))
            weight = connection.matrix().astype(np.float32)
            own = np.zeros(len(weight)) if connection.bias is None else connection.bias
            total = np.repeat(own, len(weight) // own.size) + bias
            then("", nir.Affine(weight=weight, bias=total.astype(np.float32)) if total.any()
                 else nir.Linear(weight=weight))
        self.edges.append((at, projection.target))

    @staticmethod
    def _spread(population: Population, values: Any) -> Array:
        flat = np.atleast_1d(np.asarray(values, np.float64))
        return np.repeat(flat, population.size // flat.size)

    def _node(self, population: Population, neuron: Neuron | Integrator) -> Any:
        name, shape = population.name, population.shape
        synapse = neuron.synapse
        if synapse is not None and not isinstance(synapse, Shift | Shifts | Multiply):
            raise SpikeloomError(f"layer {name}: NIR has no node for a synapse of type {type(synapse).__name__}")
        unit = 2.0**neuron.fraction_bits

        def spread(values: Any) -> Array:
            return self._spread(population, values).reshape(shape)

        tau = None if neuron.membrane is None else spread(_tau(neuron.membrane))
        common: dict[str, Array] = {"v_leak": spread(0)}
        for part in ("gain", "clamp", "adaptation"):
            if getattr(neuron, part, None) is not None:
                self.unsaid.append(f"layer {name}: {part}")
        if isinstance(neuron, Neuron):
            common["v_threshold"] = spread(neuron.threshold) / unit
            reset = neuron.reset.value if isinstance(neuron.reset, ResetTo) else 0
            common["v_reset"] = spread(reset) / unit
            said = {"compare": neuron.compare == ">", "reset_delay": not neuron.reset_delay, "once": not neuron.once,
                    "reset": isinstance(neuron.reset, ResetTo) or neuron.reset == "zero",
                    "refractory_steps": not neuron.refractory_steps}
            self.unsaid += [f"layer {name}: {field} {getattr(neuron, field)}"
                            for field, good in said.items() if not good]
        for what, decay in (("synapse", synapse), ("membrane", neuron.membrane)):
            if decay is not None and decay != Shift(0):
                self.unsaid.append(f"layer {name}: rounding of the {what}'s decay")
        if synapse is not None:
            tau_syn = spread(_tau(synapse))
            mem = spread(np.inf) if tau is None else tau
            kind = nir.CubaLIF if isinstance(neuron, Neuron) else nir.CubaLI
            return kind(tau_syn=tau_syn, tau_mem=mem, r=mem / DT, w_in=tau_syn / DT, **common)
        if tau is None:
            if isinstance(neuron, Integrator):
                return nir.I(r=spread(1 / DT))
            del common["v_leak"]
            return nir.IF(r=spread(1 / DT), **common)
        kind = nir.LIF if isinstance(neuron, Neuron) else nir.LI
        return kind(tau=tau, r=tau / DT, **common)


def _tau(decay: Decay) -> Any:
    """Time constants in seconds."""
    if isinstance(decay, Multiply) and isinstance(decay.c, np.ndarray):
        with np.errstate(divide="ignore"):
            return DT * 4096 / (4096 - decay.c)
    return DT * decay.tau_steps
