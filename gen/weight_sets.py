"""Sets of weights and constants for hardware whose memories are written at run time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from spikeloom.model.bounds import layer_bounds
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network
from spikeloom.rtl import weight_sets as rtl
from spikeloom.rtl.control import hash_words
from spikeloom.rtl.layer import LayerConfig
from spikeloom.rtl.neuron import NeuronConfig

from .plan import Plan, make_plan

__all__ = ["MAGIC", "WeightSet", "set_length", "set_shape", "weight_set"]

MAGIC = b"SNNW"


@dataclass(frozen=True)
class WeightSet:
    """What is written at run time, so that hardware becomes that of another network.

    Attributes
    ----------
    network : Network
    words : tuple of int
        Of 32 bits, in the order in which they are written.
    hash_words : tuple of int
        What the hash registers show of the network's hash.
    shape : int
        What register ``load_shape`` shows.
    tables : dict of str to bytes
        The weight table of each layer whose weights are in external memory.
    """

    network: Network
    words: tuple[int, ...]
    hash_words: tuple[int, ...]
    shape: int
    tables: dict[str, bytes]

    def to_bytes(self) -> bytes:
        """:data:`MAGIC`, then words of 32 bits, least significant byte first: the shape's, the hash's, the set's."""
        return MAGIC + b"".join(word.to_bytes(4, "little") for word in (self.shape, *self.hash_words, *self.words))


def set_length(plan: Plan) -> int:
    """Words of a set for what is built by ``plan``; 0 if its weights are fixed."""
    return rtl.set_length(memory for layer in plan.layers for memory in layer.loaded)


def set_shape(plan: Plan) -> int:
    """A word that says for which hardware a set is: of another network's or fold's, rows lie elsewhere."""
    said = json.dumps([plan.network.hash, plan.fold.to_dict()], sort_keys=True)
    return int.from_bytes(hashlib.sha256(said.encode()).digest()[:4], "big")


def weight_set(plan: Plan, network: Network) -> WeightSet:
    """The words that make of hardware by ``plan`` that of ``network``.

    Raises
    ------
    SpikeloomError
        If the plan's weights are fixed, or the network is of another shape, or one of its sums or constants could be
        larger than the hardware has room for: names the layer, what it is, the value, what is allowed.
    """
    fold = plan.fold
    if not fold.weight_sets:
        raise SpikeloomError(f"fold {fold.name}: weight_sets is 0, so that weights are fixed: build with weight_sets 1 "
                             "or 2")
    where = f"network {network.name}"
    _check_shape(where, plan, network)
    _check_room(where, plan, network)
    own = make_plan(network, fold, widths_of=plan.network)
    _check_layers(where, plan, own)
    return WeightSet(network, tuple(rtl.set_words(_memories(own))), hash_words(network.hash), set_shape(plan),
                     own.table_bytes())


def _memories(plan: Plan) -> Iterator[tuple[int, list[int]]]:
    """Row bits and rows of all memories, in the order of a set."""
    for index, layer in enumerate(plan.layers):
        synapse, neurons = layer.synapse, layer.neurons
        if synapse.loaded:
            weights = plan.weights(index)
            for (bank, block), (_, bits) in zip(synapse.memories, synapse.loaded, strict=True):
                low = synapse.blocks[block].start * synapse.weight_bits
                yield bits, [row >> low & ((1 << bits) - 1) for row in weights[bank]]
        for _, bits in neurons.loaded:
            yield bits, plan.constants(index)


def _check_shape(where: str, plan: Plan, network: Network) -> None:
    built = plan.network
    for what, mine, theirs in (
            ("topology", network.topology, built.topology), ("steps", network.steps, built.steps),
            ("layers", [layer.name for layer in network.layers], [layer.name for layer in built.layers]),
            ("input", (network.input.kind, network.input.shape), (built.input.kind, built.input.shape)),
            ("readout", network.readout, built.readout), ("length", network.length, built.length)):
        if mine != theirs:
            raise SpikeloomError(f"{where}: its {what} must be {_told(theirs)}, as of the network that the hardware "
                                 f"was built for, not {_told(mine)}")


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _check_room(where: str, plan: Plan, network: Network) -> None:
    """That the intervals of its own lie in those that the widths are made for."""
    for index, layer in enumerate(network.layers):
        room, own = plan.bounds(index), layer_bounds(network, index)
        spans = {"its weighted sums": (own.accumulator, room.accumulator),
                 **{f"constant {name}": (own.constants[name].ends, span.ends)
                    for name, span in room.constants.items() if name in own.constants}}
        for what, (needed, there) in spans.items():
            if needed[0] < there[0] or needed[1] > there[1]:
                raise SpikeloomError(f"{where}: layer {layer.name}: {what}, {needed[0]:,} to {needed[1]:,}, must be in "
                                     f"{there[0]:,}..{there[1]:,}, which the hardware has room for: build it with "
                                     f"more than headroom_bits {plan.fold.headroom_bits}")


def _check_layers(where: str, plan: Plan, own: Plan) -> None:
    """That all that is not loaded is the same."""
    for layer, built, mine in zip(plan.network.layers, plan.layers, own.layers, strict=True):
        for what, theirs, its in _parts(built, mine):
            if theirs != its:
                raise SpikeloomError(f"{where}: layer {layer.name}: its {what} must be as in the network that the "
                                     f"hardware was built for: {_told(theirs)}, not {_told(its)}")
    if plan.around() != own.around():
        raise SpikeloomError(f"{where}: input, connections and readout must be as in the network that the hardware was "
                             "built for")


def _parts(built: LayerConfig, mine: LayerConfig) -> Iterator[tuple[str, Any, Any]]:
    for part, theirs, its in (("synapses", built.synapse, mine.synapse), ("neurons", built.neurons, mine.neurons)):
        for field in fields(theirs):
            a, b = getattr(theirs, field.name), getattr(its, field.name)
            if isinstance(a, NeuronConfig):
                yield "neuron's step", _program(a), _program(b)
            else:
                yield f"{part}: {field.name}", a, b
    for name in ("sources", "fetch", "replay"):
        yield name, getattr(built, name), getattr(mine, name)


def _program(config: NeuronConfig) -> list[Any]:
    """Without identity."""
    program = config.program
    return [*program.operations, sorted(program.outputs.items()), sorted(program.registers.items()), config.spans]
