"""The dense synapse array: weight memories, lanes and the drain that hands sums to the neurons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from operator import or_
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .balanced import balanced
from .beat import index_shape
from .event_queue import EventQueueConfig, slot_layout
from .fifo import Queue
from .flat_array import FlatArray
from .lane_block import LaneBlock, LaneBlockConfig
from .masked_add import LEVELS_PER_REGISTER, MaskedSums, Term
from .share import MEMORY_CYCLES, Relay, Rom, add_instance
from .sparse_rows import scattered_layout
from .weight_sets import LoadedMemory, connect_write, write_bus
from .window_shape import WindowQueueConfig

__all__ = ["BLOCK_LANES", "SynapseArray", "SynapseConfig", "sums_layout"]

LUT_RAM_ROWS = 16
BLOCK_LANES = 8  # their weights of 4 bits are a row of a block RAM, in most families
CLEAR_ENDS = 2
OFFSET_ADDITIONS = 256  # in a cycle, from which on it pays to add weights without their sign


@dataclass(frozen=True, kw_only=True)
class SynapseConfig:
    """Shape of a synapse array.

    Parameters
    ----------
    name : str
        The layer's name; names memories and modules.
    queue : EventQueueConfig
        Where the events come from.
    lanes : int
        Neurons accumulated side by side; a group.
    units : int
        Lanes handed over per beat.
    static : bool
        Masks are the bits of a static input's numbers.
    weight_bits, accumulator_bits : int
    multipliers : int
        Multipliers that the lanes may take, each for two events of a lane; of a static input, with weights of two bits
        or more.
    bus_lanes : int
        Lanes, the first ones, whose weights come with the events, from a weight fetch, and not from memories of the
        array: all, or a multiple of ``units``.
    scattered_groups : int
        If not 0, weights come with the events, each lane's for one of so many groups: from sparse rows.
    queued : bool
        Sums wait for the neurons in a queue. Without one, which takes ``lanes == units``, they wait in the lanes, and
        the next pass does not end before they are taken.
    """

    name: str
    queue: EventQueueConfig | WindowQueueConfig
    lanes: int
    units: int
    static: bool
    weight_bits: int
    accumulator_bits: int
    bus_lanes: int = 0
    scattered_groups: int = 0
    queued: bool = True
    weight_sets: int = 0
    multipliers: int = 0

    def __post_init__(self) -> None:
        if not self.queued and self.lanes != self.units:
            raise ValueError(f"units must be lanes={self.lanes} without a queue, not {self.units}")
        if self.bus_lanes not in {self.lanes, *range(0, self.lanes, self.units)}:
            raise ValueError(f"bus_lanes must be lanes={self.lanes}, or a multiple of units={self.units} below, "
                             f"not {self.bus_lanes}")
        if self.weight_sets and 0 < self.bus_lanes < self.lanes:
            raise ValueError(f"bus_lanes must be 0 or lanes={self.lanes} with weight_sets, not {self.bus_lanes}")

    @property
    def fetched_lanes(self) -> int:
        """Lanes, the first ones, whose weights come with the events."""
        return self.lanes if self.scattered_groups else self.bus_lanes

    @property
    def has_memories(self) -> bool:
        """Whether there are lanes whose weights are in memories of the array."""
        return self.fetched_lanes < self.lanes

    @property
    def adds_base(self) -> bool:
        """Whether a slot's rows are counted from that of its pass on."""
        return self.queue.passes > 1 and not self.fetched_lanes

    @property
    def groups(self) -> int:
        """Groups that have sums side by side."""
        return self.scattered_groups or self.queue.turns

    @property
    def group_beats(self) -> int:
        """Beats in which one group is handed over."""
        return -(-self.lanes // self.units)

    @property
    def queue_beats(self) -> int:
        """Beats that wait for neurons: a group at least, and what its LUT RAM holds in any case."""
        return -(-self.group_beats // LUT_RAM_ROWS) * LUT_RAM_ROWS

    @cached_property
    def blocks(self) -> list[range]:
        """The lanes of each lane block: about :data:`BLOCK_LANES`, part of one beat or several whole beats.

        Weights that come with the events come for all their lanes at once, and go to one block.
        """
        fetched = self.fetched_lanes
        own = self.lanes - fetched
        if own < 2 * BLOCK_LANES:
            firsts = [fetched] if own else []
        elif self.units < BLOCK_LANES:
            beats = -(-BLOCK_LANES // self.units)
            beats = next((n for n in range(beats, 2 * beats) if -(-own // self.units) % n == 0), beats)
            firsts = [*range(fetched, self.lanes, beats * self.units)]
        else:
            size = -(-self.units // (self.units // BLOCK_LANES))
            firsts = [first for beat in range(fetched, self.lanes, self.units)
                      for first in range(beat, min(beat + self.units, self.lanes), size)]
        if fetched:
            firsts.insert(0, 0)
        return [range(first, end) for first, end in pairwise([*firsts, self.lanes])]

    @property
    def offset(self) -> int:
        """What is added to each weight where it is stored, so that it has no sign; 0 where it keeps that."""
        large = self.lanes * self.queue.banks >= OFFSET_ADDITIONS and not self.scattered_groups
        return 1 << self.weight_bits - 1 if self.static and self.weight_bits > 1 and (large or self.multipliers) else 0

    @cached_property
    def products(self) -> list[int]:
        """Multipliers of a lane, for each block: all have as many, or the first ones one more, if sums take as long."""
        most = self.queue.banks // 2
        own = min(most, self.multipliers // self.lanes)
        spare = self.multipliers - own * self.lanes
        if spare and (own == most or self.block(1, own).latency_cycles != self.block(1, own + 1).latency_cycles):
            spare = 0
        return [own + (lanes.stop <= spare) for lanes in self.blocks]

    def block(self, lanes: int, products: int) -> LaneBlockConfig:
        """A block of so many lanes with so many multipliers each."""
        return LaneBlockConfig(lanes=lanes, units=self.units, banks=self.queue.banks, planes=self.queue.item_bits,
                               weighed=self.static, weight_bits=self.weight_bits,
                               accumulator_bits=self.accumulator_bits, groups=self.groups,
                               scattered=self.scattered_groups > 0, holds=not self.queued,
                               ends_alone=self.ends_alone, hands_sums=self.hands_sums, offset=self.offset > 0,
                               products=products)

    @property
    def ends_alone(self) -> bool:
        """Whether no events come with the end of a pass."""
        return isinstance(self.queue, EventQueueConfig)

    @property
    def hands_sums(self) -> bool:
        """Whether blocks hand their first lanes over out of the accumulators: it takes as many LUTs as a drain that
        shifts, but more than one that does not."""
        return (self.ends_alone and self.groups == 1 and self.queued
                and any(len(lanes) > self.units for lanes in self.blocks))

    @property
    def registers_sums(self) -> bool:
        """Whether sums of all blocks meet in a register: where they come out of accumulators all over the array, or
        something is to be subtracted from them, unless there are multipliers: those are for the fewest cycles."""
        return self.hands_sums or (self.offset > 0 and len(self.blocks) > 1 and not self.multipliers)

    @property
    def lane_cycles(self) -> int:
        """From the masks at a block to its sums, where those of all blocks have met."""
        return self.block(1, self.products[0]).latency_cycles + self.registers_sums

    @property
    def memories(self) -> dict[tuple[int, int], str]:
        """Names of the weight memories by (bank, block)."""
        return {(bank, block): f"{self.name}_weights{bank}_{block}" for block, lanes in enumerate(self.blocks)
                if lanes.start >= self.fetched_lanes for bank in range(self.queue.banks)}

    @property
    def loaded(self) -> tuple[LoadedMemory, ...]:
        """The weight memories, as far as they are written at run time."""
        rows = self.queue.passes * self.queue.rows
        return tuple((rows, len(self.blocks[block]) * self.weight_bits) for _, block in self.memories
                     ) if self.weight_sets else ()

    @property
    def weight_cycles(self) -> int:
        """From a slot to its masks at the first block: to add a pass's first row, to get there, to read the weights."""
        return self.adds_base + (len(self.blocks) > 1) + MEMORY_CYCLES - 1 if self.has_memories else 0

    @property
    def clear_cycles(self) -> int:
        """After a reset no mask and no end may come in so many cycles: the lanes are cleared."""
        return max(0, CLEAR_ENDS + 1 - self.weight_cycles)

    @property
    def latency_cycles(self) -> int:
        """From a slot's end mark on ``i`` to the first sums on ``o``."""
        return self.weight_cycles + self.lane_cycles + self.queued


def sums_layout(config: SynapseConfig) -> FlatArray:
    """One beat of sums: ``units`` lanes, each with a signed sum per step, or one of a static input."""
    return FlatArray(config.block(1, 0).lane_layout, config.units)


def fetched_layout(config: SynapseConfig) -> data.StructLayout:
    """Like a queue's slot of one event, with weights in the place of their row's number, or, where other lanes' are in
    memories, beside the number in them; or of sparse rows."""
    if config.scattered_groups:
        return scattered_layout(config.lanes, config.weight_bits, config.queue.item_bits, config.scattered_groups)
    rows = config.queue.passes * config.queue.rows
    return data.StructLayout({
        "weight": config.bus_lanes * config.weight_bits, **({"row": index_shape(rows)} if config.has_memories else {}),
        "mask": FlatArray(config.queue.item_bits, 1), "end": 1})


class SynapseArray(wiring.Component):
    """Weighted sums of events, a group of ``lanes`` neurons at a time.

    For each group and step: ``S[n, t] = sum over events of weight[row][n] * mask[t]``; of a static input ``S[n] = sum
    over events of weight[row][n] * mask``, the mask as a number. After the end of a pass the sums leave, ``units``
    lanes per beat and cycle, through a queue of :attr:`SynapseConfig.queue_beats` beats if there is one, while the next
    group accumulates.

    Each lane block has a weight memory per bank. It holds, at ``pass * rows + row``, the weights of the block's lanes.
    Addresses, masks and ends are handed on from block to block: those of the second beat are a cycle behind those of
    the first, and so on. So each block hands its sums over when their turn comes, and no net reaches all blocks.

    With an :attr:`SynapseConfig.offset`, weights are stored so much larger: ``S[n]`` is then the sum of these less
    ``offset * sum over events of mask``, which is the same for all lanes.

    Where the groups take turns with every event, a slot says whose sums it is for, and all sums leave at the end.

    Weights that come with the events wait for the masks, where other lanes' weights are read meanwhile.

    Where :attr:`SynapseConfig.registers_sums` is set, sums that blocks hand over meet in a register.

    Latency :attr:`SynapseConfig.latency_cycles`; one slot per cycle; ``banks * passes * rows * (lanes - fetched_lanes)
    * weight_bits`` bits of block RAM, ``queue_beats * units * sums * accumulator_bits`` bits of LUT RAM if there is
    a queue.

    Parameters
    ----------
    config : SynapseConfig
    weights : sequence of sequence of int
        For each bank, rows of weights of all lanes, lane 0 in the least significant bits.

    Members
    -------
    i : In(slot_layout), or where weights come with the events In(fetched_layout)
    o : Out(stream of sums_layout)
    room : Out(1), the next end of a pass may be given: the queue has room for all beats of the passes that have ended
        and one more, where one that was taken in the last cycle still counts, and the last end was seen
        ``group_beats - 1`` cycles ago. Without a queue: the sums of all ended passes have been taken.
    load : In(write_bus), where weights are written at run time; chosen_set : In(1) with two sets of them
    """

    def __init__(self, config: SynapseConfig, weights: Sequence[Sequence[int]]) -> None:
        self.config = config
        self.weights = weights
        super().__init__({
            "i": In(fetched_layout(config) if config.fetched_lanes else slot_layout(config.queue)),
            "o": Out(stream.Signature(sums_layout(config))),
            "room": Out(1),
            **({"load": In(write_bus(len(config.loaded), config.loaded[0][0]))} if config.loaded else {}),
            **({"chosen_set": In(1)} if config.loaded and config.weight_sets == 2 else {}),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        queue = cfg.queue

        # Row -> address: each pass has its own rows.
        mask: Any = self.i.mask
        end: Any = self.i.end
        turn: Any = Cat(self.i.group, self.i.first) if cfg.groups > 1 else Const(0, 0)
        address: Any = Cat(self.i.row) if cfg.has_memories else Const(0)
        if cfg.adds_base:
            base = self._base(m) if queue.turns > 1 else self.i.base
            address_q = Signal(FlatArray(len(base), queue.banks), reset_less=True)
            whole = (queue.rows & -queue.rows).bit_length() - 1  # bits that are 0 in each base
            m.d.sync += [address_q[j].eq(Cat(row[:whole], base[whole:] + row[whole:]))
                         for j, row in enumerate(self.i.row)]
            address = address_q.as_value()

        # Masks come to the lanes a cycle before the weights.
        for k in range(cfg.weight_cycles - (len(cfg.blocks) > 1)):
            mask, mask_before = Signal.like(self.i.mask, name=f"mask{k}_q"), mask
            end, end_before = Signal(name=f"end{k}_q"), end
            m.d.sync += [mask.eq(mask_before), end.eq(end_before)]
            if cfg.groups > 1:
                turn, turn_before = Signal(len(turn), name=f"turn{k}_q"), turn
                m.d.sync += turn.eq(turn_before)

        # Two ends of nothing, before anything can come, stand for the reset that blocks do not have.
        clears_q = Signal(CLEAR_ENDS, init=(1 << CLEAR_ENDS) - 1)
        m.d.sync += clears_q.eq(clears_q >> 1)

        # Blocks of equal size share one Verilog module. What each of them hands over is 0 but when it is its turn.
        sums: list[list[Any]] = [[] for _ in range(cfg.units)]
        slot = Cat(address, end, turn, mask)
        previous = range(0)
        for index, lanes in enumerate(cfg.blocks):
            products = cfg.products[index]
            block = add_instance(m, platform, f"lanes{index}", LaneBlock, cfg.block(len(lanes), products),
                                 f"{cfg.name}_lanes{len(lanes)}" + (f"_products{products}" if products else ""))
            mine = slot
            if len(cfg.blocks) > 1:
                # Those of one beat have the same slot; of all others each takes it from the beat before.
                beats = lanes.start // cfg.units - previous.start // cfg.units
                if index == 0 or beats:
                    previous, source, wait = lanes, slot, max(1, beats)
                relay = add_instance(m, platform, f"slot{index}", Relay, (len(slot), wait, True),
                                     f"{cfg.name}_slot{wait}")
                m.d.comb += relay.i.eq(source)
                mine = slot = relay.o
            self._weights(m, index, mine[:len(address)], block)
            clear = add_instance(m, platform, f"clear{index}", Relay, (1, 1, True), "clear")
            ends = Signal(name=f"end_of{index}")
            turns: list[Value] = []
            if cfg.groups > 1:
                begins = Signal(name=f"first_of{index}")
                turns = [Value.cast(block.group), begins]
                m.d.comb += block.first.eq(begins | clear.o)
            m.d.comb += [Cat(ends, *turns, block.mask.as_value()).eq(mine[len(address):]),
                         clear.i.eq(clears_q[0]), block.end.eq(ends | clear.o)]
            for lane, kept in zip(range(lanes.start % cfg.units, cfg.units), block.o, strict=False):
                sums[lane].append(kept.as_value())
        soon: Any = end
        for k in range(self._cycles_to_sums):
            soon, before = Signal(name=f"soon{k}_q"), soon
            m.d.sync += soon.eq(before)
        left_q = Signal(index_shape(cfg.group_beats + 1))  # beats of the group that is handed over
        comes_q = Signal()  # there are some left: the queue takes one
        if cfg.queued:
            more = left_q > 1 if cfg.group_beats > 1 else Const(0)
            m.d.sync += [left_q.eq(Mux(soon, cfg.group_beats, left_q - comes_q)), comes_q.eq(soon | more)]
        totals = [balanced(or_, lane) for lane in sums]
        if cfg.registers_sums:
            for lane, total in enumerate(totals):
                met_q = Signal(len(total), name=f"met{lane}_q", reset_less=True)
                m.d.sync += met_q.eq(total)
                totals[lane] = met_q
        if cfg.offset:
            excess = self._excess(m, mask, turn, soon)
            totals = [(total - excess)[:cfg.accumulator_bits] for total in totals]
            if whole := cfg.lanes % cfg.units:  # the last beat has so many lanes
                totals[whole:] = [Mux(left_q == 1, 0, total) for total in totals[whole:]]
        head = Cat(totals)
        taken = Signal()
        m.d.comb += taken.eq(self.o.valid & self.o.ready)
        if cfg.queued:
            self._queue(m, comes_q, taken, head)
        else:
            owed_q = Signal()
            m.d.sync += [self.o.valid.eq(soon | (self.o.valid & ~self.o.ready)),
                         owed_q.eq(self.i.end | (owed_q & ~taken))]
            m.d.comb += [self.o.payload.as_value().eq(head), self.room.eq(~owed_q)]
        return m

    @property
    def _cycles_to_sums(self) -> int:
        """From the end of a pass, as it goes to the blocks, to the cycle before the first sums."""
        return self.config.lane_cycles - 1 + (len(self.config.blocks) > 1)

    def _excess(self, m: Module, mask: Any, turn: Any, soon: Any) -> Value:
        """By how much the sums that are handed over are too large, since their weights have an offset."""
        cfg = self.config
        counts = MaskedSums(m, None, "count", is_signed=False, has_reset=True)
        count: Any = counts.tree([Term(each) for each in mask]).masked
        for k in range(self._cycles_to_sums - counts.level // LEVELS_PER_REGISTER):
            count, before = Signal(len(count), name=f"count{k}_q"), count
            m.d.sync += count.eq(before)
        shift = cfg.weight_bits - 1
        total_q = Signal(max(1, cfg.accumulator_bits - shift))
        excess_q = Signal.like(total_q)
        total: Any = total_q + count
        if cfg.queue.turns > 1:  # an event is there once for each group
            mine: Any = Cat(turn[:-1] == 0, turn[-1])
            for k in range(self._cycles_to_sums):
                mine, before = Signal(2, name=f"mine{k}_q"), mine
                m.d.sync += mine.eq(before)
            total = Mux(mine[0], Mux(mine[1], 0, total_q) + count, total_q)
        m.d.sync += total_q.eq(total if cfg.queue.turns > 1 else Mux(soon, 0, total))
        with m.If(soon):
            m.d.sync += excess_q.eq(total)
        return Cat(Const(0, shift), excess_q)

    def _base(self, m: Module) -> Signal:
        """Address of a group's first row."""
        queue = self.config.queue
        base = Signal(index_shape(queue.passes * queue.rows), name="base")
        m.d.comb += base.eq(Array([group * queue.rows for group in range(queue.passes)])[self.i.group])
        return base

    def _weights(self, m: Module, index: int, address: Any, block: Any) -> None:
        """The weights of a block's lanes."""
        cfg = self.config
        lanes, banks = cfg.blocks[index], cfg.queue.banks
        if lanes.start < cfg.fetched_lanes:
            weight: Any = self.i.weight
            for k in range(1 + cfg.weight_cycles):
                weight, before = Signal.like(self.i.weight, name=f"weight{k}_q", reset_less=True), weight
                m.d.sync += weight.eq(before)
            m.d.comb += block.weight.as_value().eq(weight)
            return
        bits = len(lanes) * cfg.weight_bits
        for bank in range(banks):
            rows = [row >> lanes.start * cfg.weight_bits & ((1 << bits) - 1) for row in self.weights[bank]]
            rom = Rom(cfg.memories[bank, index], bits, rows, MEMORY_CYCLES, cfg.weight_sets)
            m.submodules[f"weights{bank}_{index}"] = rom
            if cfg.loaded:
                connect_write(m, self.load, rom.load, list(cfg.memories).index((bank, index)))
            if cfg.weight_sets == 2:
                m.d.comb += rom.chosen_set.eq(self.chosen_set)
            m.d.comb += [rom.address.eq(address.word_select(bank, len(address) // banks)),
                         block.weight[bank].as_value().eq(rom.data)]

    def _queue(self, m: Module, comes_q: Signal, taken: Signal, head: Any) -> None:
        """A group's beats follow each other into the queue."""
        cfg = self.config
        m.submodules.queue = beats = Queue(sums_layout(cfg), cfg.queue_beats, has_room=True)
        wiring.connect(m, wiring.flipped(self.o), beats.o)
        m.d.comb += [beats.i.valid.eq(comes_q), beats.i.payload.as_value().eq(head)]

        # Beats of ended groups that the neurons had not taken a cycle ago.
        taken_q = Signal()
        owed_q = Signal(index_shape(cfg.queue_beats + 1))
        m.d.sync += [taken_q.eq(taken), owed_q.eq(owed_q + Mux(self.i.end, cfg.group_beats, 0) - taken_q)]
        wait_q = Signal(index_shape(cfg.group_beats))
        with m.If(self.i.end):
            m.d.sync += wait_q.eq(max(0, cfg.group_beats - 2))
        with m.Elif(wait_q != 0):
            m.d.sync += wait_q.eq(wait_q - 1)

        # Room, compared a cycle ahead: from it, over the end of a pass, to all banks of the queue it is far enough.
        def at_most(beats: int) -> Any:
            """Whether no more than so many will be owed, but for those of a group that ends now."""
            return (owed_q <= beats) | (taken_q & (owed_q == beats + 1)) if beats >= 0 else Const(0)

        spare = cfg.queue_beats - cfg.group_beats
        room_q = Signal(init=1)
        m.d.comb += self.room.eq(room_q)
        with m.If(self.i.end):
            m.d.sync += room_q.eq(at_most(spare - cfg.group_beats) if cfg.group_beats <= 2 else 0)
        with m.Else():
            m.d.sync += room_q.eq(at_most(spare) & ~wait_q[1:].any())
