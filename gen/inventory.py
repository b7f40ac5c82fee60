"""What hardware is made of before synthesis: adders, choices, gates, registers and memories, counted by elaboration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, reduce
from operator import and_, or_
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Elaboratable, Fragment, Instance, Module, Shape, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from spikeloom.rtl.accelerator import Accelerator, AcceleratorConfig
from spikeloom.rtl.beat import index_shape
from spikeloom.rtl.event_queue import EventQueue
from spikeloom.rtl.fifo import Queue
from spikeloom.rtl.lane_block import MASK_LANES, LaneBlock, LaneBlockConfig
from spikeloom.rtl.layer import LayerConfig, SpikingLayer
from spikeloom.rtl.layer_inputs import LayerInputs
from spikeloom.rtl.neuron import constants_layout
from spikeloom.rtl.neuron_array import NeuronArray, NeuronArrayConfig
from spikeloom.rtl.replay import Replay
from spikeloom.rtl.share import MaskedAdd, Relay, Rom, RomPart, ThreeAdd
from spikeloom.rtl.sparse_rows import SparseRows, SparseRowsConfig
from spikeloom.rtl.spiking_neurons import SpikingNeurons, limit_bits, place_bits
from spikeloom.rtl.synapse import SynapseArray, SynapseConfig
from spikeloom.rtl.weight_fetch import WeightFetch, WeightFetchConfig, fetch_slot_layout
from spikeloom.rtl.window_queue import WindowQueue
from spikeloom.rtl.window_shape import WindowQueueConfig

from .plan import Plan
from .rtlil import Body, NetlistModule, Switch, read_rtlil, width_of
from .verilog import uncollected

__all__ = ["FEATURES", "Inventory", "Known", "MemoryShape", "Part", "inventory_of", "parts_of"]

#: Bits of carry chains, of masked carry chains, of partial products; bits chosen from two; bits that are cleared; gates
#: of two inputs; inputs of comparisons and reductions; bits of registers.
FEATURES = ("adder", "masked_adder", "product", "choice", "clear", "gate", "reduction", "register")

_ADDERS = {"$add", "$sub", "$neg", "$lt", "$le", "$gt", "$ge"}
_GATES = {"$and", "$or", "$xor", "$xnor", "$logic_and", "$logic_or"}
_REDUCTIONS = {"$eq", "$ne", "$reduce_or", "$reduce_and", "$reduce_bool", "$reduce_xor", "$logic_not"}


@dataclass(frozen=True)
class MemoryShape:
    """A memory: rows, bits of a row, whether it is read at a clock edge, and whether it is written."""

    rows: int
    bits: int
    clocked: bool
    written: bool


@dataclass(frozen=True)
class Inventory:
    """How often each of :data:`FEATURES`, and each memory, is there."""

    counts: Counter[str] = field(default_factory=Counter)
    memories: Counter[MemoryShape] = field(default_factory=Counter)

    def __add__(self, other: Inventory) -> Inventory:
        return Inventory(self.counts + other.counts, self.memories + other.memories)

    def __sub__(self, other: Inventory) -> Inventory:
        return Inventory(self.counts - other.counts, self.memories - other.memories)

    def times(self, n: int) -> Inventory:
        """So many of it."""
        return Inventory(Counter({key: n * count for key, count in self.counts.items()}),
                         Counter({key: n * count for key, count in self.memories.items()}))


@dataclass(frozen=True)
class Part:
    """What is counted by itself: ``kind(config)``, with memories of LUTs or without."""

    kind: Callable[[Any], wiring.Component]
    config: Any
    lut_ram: bool = True

    @cached_property
    def key(self) -> str:
        """Equal for parts that are made of the same."""
        return f"{self.kind.__name__} {self.config!r} {self.lut_ram}"

    def counted(self, known: Known) -> Inventory:
        """What it is made of; ``known`` is what has been counted before, and is added to."""
        if self.key not in known:
            known[self.key] = _Counting(known, lut_ram=self.lut_ram).part(self)
        return known[self.key]

    def least(self, known: Known) -> Inventory:
        """What it is made of at least, in a fraction of the time: of a synapse array its lane blocks, else nothing."""
        if self.kind is not _synapses:
            return Inventory()
        blocks = Counter(zip(map(len, self.config.blocks), self.config.products, strict=True))
        return sum((Part(LaneBlock, self.config.block(*block), self.lut_ram).counted(known).times(count)
                    for block, count in blocks.items()), Inventory())


Known = dict[str, Inventory]


class _Counting:
    """A platform that builds nothing. What is the same has been counted before."""

    def __init__(self, known: Known, *, lut_ram: bool, has_contents: bool = False) -> None:
        self.known, self.lut_ram, self.has_contents = known, lut_ram, has_contents
        self.total = Inventory()

    def part(self, part: Part) -> Inventory:
        kind, config = part.kind, part.config
        if kind is LaneBlock and config.lanes > 3:
            return self._lane_block(config)
        if kind is _synapses and type(config) is SynapseConfig and len(config.blocks) > len(_first_blocks(config)):
            return self._synapse_array(config)
        return _counted(kind(config), _Counting(self.known, lut_ram=self.lut_ram, has_contents=kind is _neurons))

    def _one(self, kind: Callable[[Any], wiring.Component], config: Any) -> Inventory:
        """What another part is made of, on the same device."""
        return Part(kind, config, self.lut_ram).counted(self.known)

    def _lane_block(self, config: LaneBlockConfig) -> Inventory:
        """From blocks of few lanes: one lane more takes as much each time."""
        def block(lanes: int, units: int) -> Inventory:
            return self._one(LaneBlock, replace(config, lanes=lanes, units=units))

        first_beat = min(config.lanes, config.units)
        second_beat = min(config.lanes - first_beat, config.units)
        total = block(1, 2) + (block(2, 2) - block(1, 2)).times(first_beat - 1)
        if second_beat:
            total += (block(2, 1) - block(1, 1)).times(second_beat)
            total += (block(3, 1) - block(2, 1)).times(config.lanes - first_beat - second_beat)
        copies = -(-config.lanes // MASK_LANES) - 1  # of the registers of masks
        return total + Inventory(Counter(register=copies * config.banks * config.planes))

    def _synapse_array(self, config: SynapseConfig) -> Inventory:
        """From an array of its first blocks: each one more takes itself, two relays, its memories, and ORs."""
        queue, units = config.queue, config.units
        first = _Beginning(**{item.name: getattr(config, item.name) for item in fields(config)})
        total = self._one(_synapses, first)
        rows = queue.passes * queue.rows
        turn_bits = index_shape(queue.turns).width + 1 if queue.turns > 1 else 0
        slot_bits = queue.banks * (index_shape(rows).width + queue.item_bits) + turn_bits + 1
        beats = [lanes.start // units for lanes in config.blocks]
        known = len(first.blocks)
        for lanes, products, beat in zip(config.blocks[known:], config.products[known:], beats[known:], strict=True):
            block = config.block(len(lanes), products)
            relay = slot_bits, beat - max(before for before in beats if before < beat), True
            handed_over = min(len(lanes), units - lanes.start % units) * Shape.cast(block.lane_layout).width
            total += self._one(LaneBlock, block) + self._one(Relay, relay)
            total += self._one(_rom, (rows, len(lanes) * config.weight_bits)).times(queue.banks)
            total += self._one(Relay, (1, 1, True))  # what clears it
            total += Inventory(Counter(gate=handed_over + 1 + (config.groups > 1)))
        return total

    def instance(self, kind: Callable[[Any], wiring.Component], config: Any,
                 module_name: str) -> tuple[Any, Elaboratable]:
        self.total += self._one(kind, config)
        component = kind(config)
        component._MustUse__silence = True  # its ports are all that is wanted of it
        ports, m = component.signature.create(path=(module_name,)), Module()
        for path, member, value in component.signature.flatten(ports):
            if member.flow == Out:  # what nobody drives would count as constant
                m.submodules += Instance("elsewhere", ("o", "__".join(map(str, path)), value))
        return ports, m

    def rom(self, part: RomPart) -> Elaboratable:
        bits = part.row_bits
        if self.has_contents:  # bits that are constant take no memory
            bits = (reduce(or_, part.rows) ^ reduce(and_, part.rows)).bit_count()
        if bits:
            self.total.memories[MemoryShape(len(part.rows), bits, clocked=True, written=False)] += 1
        return Module()

    def three_add(self, adder: ThreeAdd) -> Elaboratable:
        self.total.counts["masked_adder"] += len(adder.a) + len(adder.b)
        return Module()

    def masked_add(self, adder: MaskedAdd) -> Elaboratable:
        self.total.counts["masked_adder"] += adder.width * adder.count
        return Module()


@uncollected()
def _counted(component: wiring.Component, platform: _Counting) -> Inventory:
    fragment = Fragment.get(component, platform)
    fragment.add_domains(ClockDomain("sync"))
    ports = {"__".join(map(str, path)): (Value.cast(value), None)
             for path, _, value in component.signature.flatten(component)}
    text = rtlil.convert_fragment(fragment, ports, "top", emit_src=False)[0]
    total = platform.total
    for module in read_rtlil(text):
        total += _of_module(module)
    return total


def _of_module(module: NetlistModule) -> Inventory:
    found = Inventory()
    counts = found.counts
    clocked, written = set(), set()
    for cell in module.cells:
        operands = max((width_of(signal) for port, signal in cell.ports.items() if port in "AB"), default=0)
        width = width_of(cell.ports["Y"]) if "Y" in cell.ports else 0
        if cell.kind in _ADDERS:
            counts["adder"] += max(width, operands)
        elif cell.kind == "$mul":
            counts["product"] += width_of(cell.ports["A"]) * width_of(cell.ports["B"])
        elif cell.kind == "$mux":
            known = any(all(not chunk.wire for chunk in cell.ports[port]) for port in "AB")
            counts["clear" if known else "choice"] += width
        elif cell.kind in ("$shift", "$shiftx"):
            counts["choice"] += width_of(cell.ports["A"])
        elif cell.kind in _GATES:
            counts["gate"] += width
        elif cell.kind in _REDUCTIONS:
            counts["reduction"] += operands
        elif cell.kind == "$dff":
            counts["register"] += width_of(cell.ports["D"])
        elif cell.kind.startswith("$mem"):
            name = cell.parameters["MEMID"].strip('"').replace("\\\\", "\\")
            if cell.kind == "$memrd_v2" and cell.parameters["CLK_ENABLE"].endswith("1"):
                clocked.add(name)
            if cell.kind == "$memwr_v2":
                written.add(name)
    for body in module.processes:
        counts["choice"] += _choices(body)
    for name, memory in module.memories.items():
        found.memories[MemoryShape(memory.depth, memory.width, name in clocked, name in written)] += 1
    return found


def _choices(body: Body) -> int:
    """Bits that are assigned in a case."""
    bits = 0
    for item in body:
        for case in item.cases if isinstance(item, Switch) else ():
            bits += sum(width_of(each[0]) for each in case.body if not isinstance(each, Switch)) + _choices(case.body)
    return bits


def inventory_of(plan: Plan, known: Known | None = None) -> Inventory:
    """What a plan's accelerator is made of.

    Parameters
    ----------
    known : dict, optional
        What has been counted before; is added to. Parts of the same shape are counted once.
    """
    known = {} if known is None else known
    return sum((part.counted(known) for part in parts_of(plan)), Inventory())


def parts_of(plan: Plan) -> list[Part]:
    """What :class:`.SpikingLayer` puts together for each layer, without the contents of memories, and what is around.

    A change of one layer's fold changes the parts of that layer, and some of the next one's.
    """
    made: list[tuple[Callable[[Any], wiring.Component], Any]] = []
    for index, config in enumerate(plan.layers):
        queue = config.synapse.queue
        made += [(WindowQueue if isinstance(queue, WindowQueueConfig) else EventQueue, queue),
                 (_synapses, config.synapse), (_neurons, (config.neurons, plan.varying_constant_bits(index))),
                 (LayerInputs, config.sources)]
        if config.replay is not None:
            made.append((Replay, config.replay))
        if config.sparse is not None:
            made.append((_sparse_rows, config.sparse))
        if config.fetch is not None:
            made += [(WeightFetch, config.fetch), (_slots, (config.fetch, queue.slot_credits))]
    made.append((_around, _Around(plan.around(), plan.layers)))
    return [Part(kind, config, plan.fold.lut_ram) for kind, config in made]


def _synapses(config: SynapseConfig) -> SynapseArray:
    return SynapseArray(config, [range(config.queue.passes * config.queue.rows)] * config.queue.banks)


def _sparse_rows(config: SparseRowsConfig) -> SparseRows:
    return SparseRows(config, *(range(rows) for _, rows in config.memories.values()))


def _first_blocks(config: SynapseConfig) -> list[range]:
    """Those of the first beat, and one more, which knows that it is not alone."""
    return [lanes for index, lanes in enumerate(config.blocks) if index < 2 or lanes.start < config.units]


@dataclass(frozen=True, kw_only=True)
class _Beginning(SynapseConfig):
    """An array of which only the first blocks are there."""

    @cached_property
    def whole(self) -> SynapseConfig:
        """The array."""
        return SynapseConfig(**{item.name: getattr(self, item.name) for item in fields(self)})

    @cached_property
    def blocks(self) -> list[range]:
        return _first_blocks(self.whole)

    @cached_property
    def products(self) -> list[int]:
        return self.whole.products[:len(self.blocks)]


def _rom(config: tuple[int, int]) -> Rom:
    """Of so many rows and bits."""
    return Rom("rom", config[1], range(config[0]))


def _neurons(config: tuple[NeuronArrayConfig, int]) -> NeuronArray | SpikingNeurons:
    """With so many bits of constants that are not the same in all beats."""
    neurons, bits = config
    beats = neurons.constant_beats
    if not neurons.spiking_only:
        return NeuronArray(neurons, _words(beats, bits))
    return SpikingNeurons(neurons, _words(beats << place_bits(neurons), constants_layout(neurons.neuron).size),
                          _words(beats, neurons.units * limit_bits(neurons)))


def _words(rows: int, bits: int) -> list[int]:
    """That differ in so many bits."""
    return [0] * (rows - 1) + [(1 << bits) - 1]


def _slots(config: tuple[WeightFetchConfig, int]) -> Queue:
    """The slots that wait for a weight fetch."""
    return Queue(fetch_slot_layout(config[0]), config[1])


@dataclass(frozen=True)
class _Around:
    """What is around the layers; their ports follow from it."""

    config: AcceleratorConfig
    layers: tuple[LayerConfig, ...] = field(repr=False)


def _around(config: _Around) -> Accelerator:
    return Accelerator(config.config, [_Hollow(layer) for layer in config.layers])


class _Hollow(SpikingLayer):
    """A layer that is its ports, and has been counted."""

    def __init__(self, config: LayerConfig) -> None:
        super().__init__(config, [], [])

    def elaborate(self, platform: Any) -> Module:
        return Module()
