"""What hardware is made of before synthesis: adders, choices, gates, registers and memories, counted by elaboration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Elaboratable, Fragment, Module, Value
from amaranth.lib import wiring

from spikeloom.rtl.accelerator import Accelerator
from spikeloom.rtl.event_queue import EventQueue
from spikeloom.rtl.fifo import Queue
from spikeloom.rtl.lane_block import LaneBlock, LaneBlockConfig
from spikeloom.rtl.layer import LayerConfig, SpikingLayer
from spikeloom.rtl.layer_inputs import LayerInputs
from spikeloom.rtl.neuron_array import NeuronArray
from spikeloom.rtl.replay import Replay
from spikeloom.rtl.share import MaskedAdd, RomPart
from spikeloom.rtl.synapse import SynapseArray
from spikeloom.rtl.weight_fetch import WeightFetch, fetch_slot_layout
from spikeloom.rtl.window_queue import WindowQueue, WindowQueueConfig

from .plan import Plan
from .rtlil import Body, NetlistModule, Switch, read_rtlil, width_of
from .verilog import uncollected

__all__ = ["FEATURES", "Inventory", "MemoryShape", "inventory_of"]

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


class _Counting:
    """A platform that builds nothing. What is the same has been counted before."""

    def __init__(self, known: dict[tuple[Any, str], Inventory]) -> None:
        self.known = known
        self.total = Inventory()

    def once(self, kind: Any, config: Any, make: Callable[[], wiring.Component]) -> Inventory:
        key = (kind, repr(config))
        if key not in self.known:
            self.known[key] = (self._lane_block(config) if kind is LaneBlock and config.lanes > 3 else
                               _counted(make(), self.known))
        return self.known[key]

    def _lane_block(self, config: LaneBlockConfig) -> Inventory:
        """From blocks of few lanes: one lane more takes as much each time."""
        def block(lanes: int, units: int) -> Inventory:
            small = replace(config, lanes=lanes, units=units)
            return self.once(LaneBlock, small, lambda: LaneBlock(small))

        following = max(0, config.lanes - config.units)  # lanes whose drain takes over from another lane
        first, second = block(1, 2), block(2, 2)
        lone = second - first
        total = first + lone.times(config.lanes - following - 1)
        return total + (block(3, 1) - block(2, 1)).times(following) if following else total

    def instance(self, kind: Callable[[Any], wiring.Component], config: Any,
                 module_name: str) -> tuple[Any, Elaboratable]:
        self.total += self.once(kind, config, lambda: kind(config))
        component = kind(config)
        component._MustUse__silence = True  # its ports are all that is wanted of it
        return component.signature.create(path=(module_name,)), Module()

    def rom(self, part: RomPart) -> Elaboratable:
        self.total.memories[MemoryShape(len(part.rows), part.row_bits, clocked=True, written=False)] += 1
        return Module()

    def masked_add(self, adder: MaskedAdd) -> Elaboratable:
        self.total.counts["masked_adder"] += len(adder.total)
        return Module()


@uncollected()
def _counted(component: wiring.Component, known: dict[tuple[Any, str], Inventory]) -> Inventory:
    platform = _Counting(known)
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


def inventory_of(plan: Plan, known: dict[tuple[Any, str], Inventory] | None = None) -> Inventory:
    """What a plan's accelerator is made of.

    Parameters
    ----------
    known : dict, optional
        What has been counted before; is added to. Parts of the same shape are counted once.
    """
    platform = _Counting({} if known is None else known)
    total = Inventory()
    for config in plan.layers:
        for kind, shape, make in _parts(config):
            total += platform.once(kind, shape, make)
    around = plan.around()
    return total + platform.once(Accelerator, around, lambda: Accelerator(around, [_Hollow(c) for c in plan.layers]))


def _parts(config: LayerConfig) -> Iterator[tuple[Any, Any, Callable[[], wiring.Component]]]:
    """What :class:`.SpikingLayer` puts together, without the contents of memories."""
    queue = config.synapse.queue
    yield type(queue), queue, lambda: WindowQueue(queue) if isinstance(queue, WindowQueueConfig) else EventQueue(queue)
    rows = [range(queue.passes * queue.rows)] * queue.banks
    yield SynapseArray, config.synapse, lambda: SynapseArray(config.synapse, rows)
    neurons = config.neurons
    yield NeuronArray, neurons, lambda: NeuronArray(neurons, range(neurons.constant_beats))
    yield LayerInputs, config.sources, lambda: LayerInputs(config.sources)
    if (replay := config.replay) is not None:
        yield Replay, replay, lambda: Replay(replay)
    if (fetch := config.fetch) is not None:
        yield WeightFetch, fetch, lambda: WeightFetch(fetch)
        yield Queue, (fetch, queue.slot_credits), lambda: Queue(fetch_slot_layout(fetch), queue.slot_credits)


class _Hollow(SpikingLayer):
    """A layer that is its ports, and has been counted."""

    def __init__(self, config: LayerConfig) -> None:
        super().__init__(config, [], [])

    def elaborate(self, platform: Any) -> Module:
        return Module()
