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
from .fifo import Queue
from .lane_block import LaneBlock, LaneBlockConfig
from .share import Rom, add_instance
from .window_queue import WindowQueueConfig

__all__ = ["DRAIN_QUEUE_BEATS", "SynapseArray", "SynapseConfig", "sums_layout"]

# Beats between lanes and neurons: what one LUT RAM holds in any case.
DRAIN_QUEUE_BEATS = 16


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
    weight_bits, accumulator_bits : int
    """

    name: str
    queue: EventQueueConfig | WindowQueueConfig
    lanes: int
    units: int
    weight_bits: int
    accumulator_bits: int

    @property
    def group_beats(self) -> int:
        """Beats in which one group is handed over."""
        return -(-self.lanes // self.units)

    @property
    def block_lanes(self) -> int:
        """Lanes of one lane block: at least a beat where the drain moves, and a divisor of ``lanes`` if one is near."""
        least = max(self.units if self.group_beats > 1 else 1, min(8, self.lanes))
        divisors = [n for n in range(least, min(self.lanes, 4 * least) + 1) if self.lanes % n == 0]
        return divisors[0] if divisors else least

    def block(self, lanes: int) -> LaneBlockConfig:
        """A block of so many lanes."""
        return LaneBlockConfig(lanes=lanes, banks=self.queue.banks, planes=self.queue.item_bits,
                               weight_bits=self.weight_bits, accumulator_bits=self.accumulator_bits,
                               shift=self.units if self.group_beats > 1 else 0)

    @property
    def address_stage(self) -> bool:
        """Whether the row's address takes an addition, and so a cycle, of its own."""
        return self.queue.passes > 1

    @property
    def latency_cycles(self) -> int:
        """From a slot's end mark on ``i`` to the first sums on ``o``."""
        return int(self.address_stage) + 1 + self.block(1).latency_cycles + 1


def sums_layout(config: SynapseConfig) -> data.ArrayLayout:
    """One beat of sums: ``units`` lanes, each with a signed sum per plane."""
    return data.ArrayLayout(config.block(1).lane_layout, config.units)


class SynapseArray(wiring.Component):
    """Weighted sums of events, a group of ``lanes`` neurons at a time.

    For each group and plane: ``S[n, b] = sum over events of weight[row][n] * mask[b]``. At the end of a pass
    the sums move to the drain register, and leave ``units`` lanes per beat, through a queue of ``DRAIN_QUEUE_BEATS``
    beats, while the next group accumulates.

    The weight memory of bank ``j`` holds, at ``pass * rows + row``, the weights of ``lanes`` neurons.

    Latency :attr:`SynapseConfig.latency_cycles`; one slot per cycle; ``banks * passes * rows * lanes *
    weight_bits`` bits of block RAM, ``DRAIN_QUEUE_BEATS * units * planes * accumulator_bits`` bits of LUT RAM.

    Parameters
    ----------
    config : SynapseConfig
    weights : sequence of sequence of int
        Contents of each bank's memory.

    Members
    -------
    i : In(slot_layout)
    o : Out(stream of sums_layout)
    idle : Out(1), the drain register has given its last beat to the queue, and no end of a pass is under way
    """

    def __init__(self, config: SynapseConfig, weights: Sequence[Sequence[int]]) -> None:
        self.config = config
        self.weights = weights
        super().__init__({
            "i": In(slot_layout(config.queue)),
            "o": Out(stream.Signature(sums_layout(config))),
            "idle": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        queue = cfg.queue

        # Row -> address: each pass has its own rows.
        mask: Any = self.i.mask
        end: Any = self.i.end
        addresses: list[Any] = [self.i.row[j] for j in range(queue.banks)]
        if cfg.address_stage:
            base_q = Signal(index_shape(queue.passes * queue.rows))
            with m.If(self.i.end):
                m.d.sync += base_q.eq(base_q + queue.rows)
                with m.If(base_q == (queue.passes - 1) * queue.rows):
                    m.d.sync += base_q.eq(0)
            mask_q, end_q = Signal.like(mask, name="mask_q"), Signal(name="end_q")
            addresses_q = [Signal(index_shape(queue.passes * queue.rows), name=f"address{j}_q", reset_less=True)
                           for j in range(queue.banks)]
            m.d.sync += [mask_q.eq(mask), end_q.eq(end)]
            m.d.sync += [q.eq(base_q + row) for q, row in zip(addresses_q, addresses, strict=True)]
            mask, end, addresses = mask_q, end_q, list(addresses_q)

        # Weight memories, and masks that wait for them.
        fetched_mask_q, fetched_end_q = Signal.like(mask, name="fetched_mask_q"), Signal(name="fetched_end_q")
        m.d.sync += [fetched_mask_q.eq(mask), fetched_end_q.eq(end)]
        rows = []
        for j in range(queue.banks):
            rom = Rom(f"{cfg.name}_weights{j}", cfg.lanes * cfg.weight_bits, self.weights[j])
            m.submodules[f"weights{j}"] = rom
            m.d.comb += rom.address.eq(addresses[j])
            rows.append(rom.data)

        # Lanes, in blocks that share one Verilog module; the drain runs through all of them.
        move = Signal()
        room_q = Signal(init=1)
        tail: Any = Const(0)
        first_lanes = range(0, cfg.lanes, cfg.block_lanes)
        for index, first in reversed(list(enumerate(first_lanes))):
            lanes = min(cfg.block_lanes, cfg.lanes - first)
            block = add_instance(m, platform, f"lanes{index}", LaneBlock, cfg.block(lanes),
                                 f"{cfg.name}_lanes{lanes}")
            part = slice(first * cfg.weight_bits, (first + lanes) * cfg.weight_bits)
            m.d.comb += [block.weight[j].as_value().eq(row[part]) for j, row in enumerate(rows)]
            m.d.comb += [block.mask.eq(fetched_mask_q), block.end.eq(fetched_end_q), block.move.eq(move)]
            if cfg.group_beats > 1:
                m.d.comb += block.i_tail.as_value().eq(tail)
            # Where blocks are smaller than a beat, what follows them belongs to it too.
            tail = Cat(block.o_head.as_value(), tail) if lanes < cfg.units else block.o_head.as_value()

        # Drain: beats go from the drain register to a queue. That they do is decided one cycle ahead: the decision
        # moves all lanes, and has that cycle to reach them.
        soon: Any = fetched_end_q
        for k in range(cfg.block(1).latency_cycles - 1):
            soon, before = Signal(name=f"end_delay{k}_q"), soon
            m.d.sync += soon.eq(before)
        m.submodules.queue = beats = Queue(sums_layout(cfg), DRAIN_QUEUE_BEATS)
        wiring.connect(m, wiring.flipped(self.o), beats.o)
        left_q = Signal(index_shape(cfg.group_beats + 1))
        left = Signal.like(left_q, name="left")
        push_q = Signal()
        m.d.comb += [left.eq(Mux(soon, cfg.group_beats, left_q)), move.eq((left != 0) & room_q)]
        m.d.sync += [left_q.eq(left - move), push_q.eq(move)]
        m.d.comb += [beats.i.valid.eq(push_q), beats.i.payload.as_value().eq(tail)]

        # Room in the queue, for what is under way to it too.
        inside_q = Signal(index_shape(DRAIN_QUEUE_BEATS + 1))
        inside = Signal.like(inside_q, name="inside")
        m.d.comb += inside.eq(inside_q + move - (self.o.valid & self.o.ready))
        m.d.sync += [inside_q.eq(inside), room_q.eq(inside != DRAIN_QUEUE_BEATS)]

        busy_q = Signal()
        m.d.comb += self.idle.eq(~busy_q)
        with m.If(self.i.end):
            m.d.sync += busy_q.eq(1)
        with m.If(move & (left == 1)):
            m.d.sync += busy_q.eq(0)
        return m
