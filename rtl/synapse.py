"""The dense synapse array: weight memories, lanes and the drain that hands sums to the neurons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .beat import index_shape
from .event_queue import EventQueueConfig, slot_layout
from .fifo import Queue, occupancy
from .flat_array import FlatArray
from .lane_block import LaneBlock, LaneBlockConfig
from .share import Relay, Rom, add_instance
from .window_queue import WindowQueueConfig

__all__ = ["DRAIN_QUEUE_BEATS", "SynapseArray", "SynapseConfig", "sums_layout"]

# Beats between lanes and neurons: what one LUT RAM holds in any case.
DRAIN_QUEUE_BEATS = 16

BLOCK_RAM_BITS = 36  # of a row of a block RAM, in most families


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
    external : bool
        Weights come with the events, from a weight fetch, and not from memories of the array.
    queued : bool
        Sums wait for the neurons in a queue. Without one, which takes ``lanes == units``, they wait in the drain
        register, and the next pass does not end before they are taken.
    """

    name: str
    queue: EventQueueConfig | WindowQueueConfig
    lanes: int
    units: int
    static: bool
    weight_bits: int
    accumulator_bits: int
    external: bool = False
    queued: bool = True

    def __post_init__(self) -> None:
        if not self.queued and self.lanes != self.units:
            raise ValueError(f"units must be lanes={self.lanes} without a queue, not {self.units}")

    @property
    def group_beats(self) -> int:
        """Beats in which one group is handed over."""
        return -(-self.lanes // self.units)

    @property
    def block_lanes(self) -> int:
        """Lanes of one lane block: at least a beat where the drain moves, and a divisor of ``lanes`` if one is near.

        Few lanes are one block. Of many, the weights of a block should fit in the width of one block RAM, if those of
        the smallest block do.
        """
        least = max(self.units if self.group_beats > 1 else 1, min(8, self.lanes))
        most = min(self.lanes, 4 * least)
        if self.lanes >= 2 * least and least * self.weight_bits <= BLOCK_RAM_BITS:
            most = min(most, BLOCK_RAM_BITS // self.weight_bits)
        divisors = [n for n in range(least, most + 1) if self.lanes % n == 0]
        return divisors[0] if divisors else least

    @property
    def blocks(self) -> list[range]:
        """The lanes of each lane block."""
        return [range(first, min(first + self.block_lanes, self.lanes))
                for first in range(0, self.lanes, self.block_lanes)]

    def block(self, lanes: int) -> LaneBlockConfig:
        """A block of so many lanes."""
        return LaneBlockConfig(lanes=lanes, banks=self.queue.banks, planes=self.queue.item_bits, weighed=self.static,
                               weight_bits=self.weight_bits, accumulator_bits=self.accumulator_bits,
                               shift=self.units if self.group_beats > 1 else 0)

    @property
    def memories(self) -> dict[tuple[int, int], str]:
        """Names of the weight memories by (bank, block)."""
        return {} if self.external else {(bank, block): f"{self.name}_weights{bank}_{block}"
                for block in range(len(self.blocks)) for bank in range(self.queue.banks)}

    @property
    def address_cycles(self) -> int:
        """From a slot to the addresses: a cycle to add a pass's first row, and one to reach several blocks."""
        return 0 if self.external else (self.queue.passes > 1) + (len(self.blocks) > 1)

    @property
    def memory_cycles(self) -> int:
        """From addresses to weights."""
        return 0 if self.external else 2

    @property
    def latency_cycles(self) -> int:
        """From a slot's end mark on ``i`` to the first sums on ``o``."""
        return self.address_cycles + self.memory_cycles + self.block(1).latency_cycles + self.queued


def sums_layout(config: SynapseConfig) -> FlatArray:
    """One beat of sums: ``units`` lanes, each with a signed sum per step, or one of a static input."""
    return FlatArray(config.block(1).lane_layout, config.units)


def fetched_layout(config: SynapseConfig) -> data.StructLayout:
    """Like a queue's slot of one event, with the weights in the place of their row's number."""
    return data.StructLayout({
        "weight": config.lanes * config.weight_bits, "mask": FlatArray(config.queue.item_bits, 1), "end": 1})


class SynapseArray(wiring.Component):
    """Weighted sums of events, a group of ``lanes`` neurons at a time.

    For each group and step: ``S[n, t] = sum over events of weight[row][n] * mask[t]``; of a static input ``S[n] = sum
    over events of weight[row][n] * mask``, the mask as a number. At the end of a pass
    the sums move to the drain register, and leave ``units`` lanes per beat, through a queue of ``DRAIN_QUEUE_BEATS``
    beats if there is one, while the next group accumulates.

    Each lane block has a weight memory per bank. It holds, at ``pass * rows + row``, the weights of the block's lanes.
    Memories stand next to their lanes, with address registers of their own: no net reaches all of them.

    Latency :attr:`SynapseConfig.latency_cycles`; one slot per cycle; ``banks * passes * rows * lanes *
    weight_bits`` bits of block RAM, ``DRAIN_QUEUE_BEATS * units * sums * accumulator_bits`` bits of LUT RAM if there is
    a queue.

    Parameters
    ----------
    config : SynapseConfig
    weights : sequence of sequence of int
        For each bank, rows of weights of all lanes, lane 0 in the least significant bits.

    Members
    -------
    i : In(slot_layout), or with external weights In(fetched_layout)
    o : Out(stream of sums_layout)
    room : Out(1), the next end of a pass may be given. Either the drain register has given its last beat to the queue
        and no end is under way; or the queue has room for all beats that are under way and one group more (so that
        no beat will wait), and the last end was seen ``group_beats - 1`` cycles ago. Without a queue: the sums of all
        ended passes have been taken.
    """

    def __init__(self, config: SynapseConfig, weights: Sequence[Sequence[int]]) -> None:
        self.config = config
        self.weights = weights
        super().__init__({
            "i": In(fetched_layout(config) if config.external else slot_layout(config.queue)),
            "o": Out(stream.Signature(sums_layout(config))),
            "room": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        queue = cfg.queue

        # Row -> address: each pass has its own rows.
        mask: Any = self.i.mask
        end: Any = self.i.end
        address: Any = Const(0) if cfg.external else Cat(self.i.row)
        if queue.passes > 1 and not cfg.external:
            base_q = Signal(index_shape(queue.passes * queue.rows))
            with m.If(self.i.end):
                m.d.sync += base_q.eq(base_q + queue.rows)
                with m.If(base_q == (queue.passes - 1) * queue.rows):
                    m.d.sync += base_q.eq(0)
            address_q = Signal(FlatArray(base_q.shape(), queue.banks), reset_less=True)
            m.d.sync += [address_q[j].eq(base_q + self.i.row[j]) for j in range(queue.banks)]
            address = address_q.as_value()

        # Masks wait for addresses and weights.
        for k in range(cfg.address_cycles + cfg.memory_cycles):
            mask, mask_before = Signal.like(self.i.mask, name=f"mask{k}_q"), mask
            end, end_before = Signal(name=f"end{k}_q"), end
            m.d.sync += [mask.eq(mask_before), end.eq(end_before)]

        # Lanes, in blocks that share one Verilog module; the drain runs through all of them.
        move = Signal()
        tail: list[Any] = []
        for index, lanes in reversed(list(enumerate(cfg.blocks))):
            block = add_instance(m, platform, f"lanes{index}", LaneBlock, cfg.block(len(lanes)),
                                 f"{cfg.name}_lanes{len(lanes)}")
            block_address = address
            if len(cfg.blocks) > 1 and not cfg.external:
                relay = add_instance(m, platform, f"address{index}", Relay, len(address), f"{cfg.name}_address")
                m.d.comb += relay.i.eq(address)
                block_address = relay.o
            part_bits = len(lanes) * cfg.weight_bits
            if cfg.external:
                m.d.comb += block.weight.as_value().eq(self.i.weight[lanes.start * cfg.weight_bits:][:part_bits])
            for j in range(0 if cfg.external else queue.banks):
                rows = [row >> lanes.start * cfg.weight_bits & ((1 << part_bits) - 1) for row in self.weights[j]]
                m.submodules[f"weights{j}_{index}"] = rom = Rom(
                    cfg.memories[j, index], part_bits, rows, cfg.memory_cycles)
                m.d.comb += [rom.address.eq(block_address.word_select(j, len(address) // queue.banks)),
                             block.weight[j].as_value().eq(rom.data)]
            m.d.comb += [block.mask.eq(mask), block.end.eq(end), block.move.eq(move)]
            if cfg.group_beats > 1:
                m.d.comb += block.i_tail.as_value().eq(Cat(tail))
            # Where blocks are smaller than a beat, what follows them belongs to it too.
            tail = [block.o_head.as_value(), *(tail if len(lanes) < cfg.units else [])]

        soon: Any = end
        for k in range(cfg.block(1).latency_cycles - 2):
            soon, before = Signal(name=f"soon{k}_q"), soon
            m.d.sync += soon.eq(before)
        taken = Signal()
        m.d.comb += taken.eq(self.o.valid & self.o.ready)
        if cfg.queued:
            self._queue(m, soon, move, taken, Cat(tail))
        else:
            arrives_q, owed_q = Signal(), Signal()
            m.d.sync += [arrives_q.eq(soon), self.o.valid.eq(arrives_q | (self.o.valid & ~self.o.ready)),
                         owed_q.eq(self.i.end | (owed_q & ~taken))]
            m.d.comb += [self.o.payload.as_value().eq(Cat(tail)), self.room.eq(~owed_q)]
        return m

    def _queue(self, m: Module, soon: Any, move: Signal, taken: Signal, head: Any) -> None:
        """Beats go from the drain register to a queue. That they do is decided one cycle ahead: the decision moves all
        lanes, and has that cycle to reach them."""
        cfg = self.config
        m.submodules.queue = beats = Queue(sums_layout(cfg), DRAIN_QUEUE_BEATS)
        wiring.connect(m, wiring.flipped(self.o), beats.o)
        # The queue must have room for what is under way to it too.
        _, full = occupancy(m, "inside", DRAIN_QUEUE_BEATS, move, taken)
        left_q = Signal(index_shape(cfg.group_beats + 1))
        push_q = Signal()
        m.d.comb += move.eq((left_q != 0) & ~full)
        m.d.sync += [left_q.eq(Mux(soon, cfg.group_beats, left_q - move)), push_q.eq(move)]
        m.d.comb += [beats.i.valid.eq(push_q), beats.i.payload.as_value().eq(head)]

        # Beats of ended groups that are not in the queue yet, and that the neurons have not taken.
        most = cfg.group_beats + max(cfg.group_beats, DRAIN_QUEUE_BEATS)
        outside_q, owed_q = Signal(index_shape(most + 1)), Signal(index_shape(most + 1))
        ended = Mux(self.i.end, cfg.group_beats, 0)
        m.d.sync += [outside_q.eq(outside_q + ended - move),
                     owed_q.eq(owed_q + ended - taken)]
        wait_q = Signal(index_shape(cfg.group_beats))
        with m.If(self.i.end):
            m.d.sync += wait_q.eq(max(0, cfg.group_beats - 2))
        with m.Elif(wait_q != 0):
            m.d.sync += wait_q.eq(wait_q - 1)

        # Room, compared a cycle ahead: from it, over the end of a pass, to all banks of the queue it is far enough.
        def at_most(beats: int) -> Any:
            """Whether no more than so many will be owed, but for those of a group that ends now."""
            return (owed_q <= beats) | (taken & (owed_q == beats + 1)) if beats >= 0 else Const(0)

        spare = DRAIN_QUEUE_BEATS - cfg.group_beats
        room_q = Signal(init=1)
        m.d.comb += self.room.eq(room_q)
        with m.If(self.i.end):
            m.d.sync += room_q.eq(at_most(spare - cfg.group_beats) if cfg.group_beats <= 2 else 0)
        with m.Else():
            m.d.sync += room_q.eq((outside_q == 0) | (move & (outside_q == 1)) | (at_most(spare) & ~wait_q[1:].any()))
