"""Weight rows as lists: what is zero is neither stored nor added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .beat import index_shape
from .fifo import Queue
from .flat_array import FlatArray
from .share import MEMORY_CYCLES, Rom

__all__ = ["SparseRows", "SparseRowsConfig", "scattered_layout", "sparse_slot_layout"]


@dataclass(frozen=True, kw_only=True)
class SparseRowsConfig:
    """Shape of sparse rows.

    Parameters
    ----------
    name : str
        The layer's name; names memories.
    lanes : int
        Neurons that are added to side by side.
    groups : int
        Neurons of a lane.
    weight_bits, mask_bits : int
    rows : int
        Rows: inputs of the layer.
    words : int
        Words of all rows together.
    longest : int
        Words of a row, at most.
    slots : int
        Slots that wait for the words of those before them.
    """

    name: str
    lanes: int
    groups: int
    weight_bits: int
    mask_bits: int
    rows: int
    words: int
    longest: int
    slots: int

    def __post_init__(self) -> None:
        for name, least in (("lanes", 1), ("groups", 2), ("weight_bits", 2), ("mask_bits", 1), ("rows", 1),
                            ("words", 1), ("longest", 1), ("slots", MEMORY_CYCLES + 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)!r}")

    @property
    def word_layout(self) -> data.StructLayout:
        """A word: for each lane, a weight and the group whose sum it is added to."""
        return data.StructLayout({"weight": FlatArray(self.weight_bits, self.lanes),
                                  "group": FlatArray(index_shape(self.groups), self.lanes)})

    @property
    def place_layout(self) -> data.StructLayout:
        """Where a row's words begin, and how many more than one it has."""
        return data.StructLayout({"first": index_shape(self.words), "more": index_shape(self.longest)})

    @property
    def memories(self) -> dict[str, tuple[int, int]]:
        """Bits of a row and rows of the memories by name: of the words, and of the rows' places."""
        return {f"{self.name}_weights": (self.word_layout.size, self.words),
                f"{self.name}_weights_rows": (self.place_layout.size, self.rows)}

    @property
    def latency_cycles(self) -> int:
        """From a slot on ``i`` to its first word on ``o``, if the sums are clear and nothing waits."""
        return 2 * MEMORY_CYCLES + 3


def sparse_slot_layout(rows: int, mask_bits: int) -> data.StructLayout:
    """A slot: an event (``mask`` not 0), an end mark, or nothing."""
    return data.StructLayout({"row": index_shape(rows), "mask": mask_bits, "end": 1})


def scattered_layout(lanes: int, weight_bits: int, mask_bits: int, groups: int) -> data.StructLayout:
    """What the lanes get in a cycle: a word of an event and its mask, or the end or the beginning of a group's sums;
    ``mask`` is 0 but with a word."""
    return data.StructLayout({
        "weight": lanes * weight_bits, "mask": FlatArray(mask_bits, 1), "end": 1,
        "group": FlatArray(index_shape(groups), lanes), "first": 1})


class SparseRows(wiring.Component):
    """Gives the words of each event's row to the lanes, one a cycle, and all sums of the lanes at the end of a window.

    A row is a list of words; each has a weight for each lane, and the group that it is for. So an event takes as many
    cycles as the lane with most weights in its row has (``gen.sparse.row_counts``), not one for each group.

    Timing: with a window's first ``beat`` in cycle ``b``, or from the cycle after the end of the window before on, come
    ``groups`` cycles that clear the sums, the first one in ``b + 1`` (on ``o`` in ``b + 2``), and no slot is taken
    before they are over. A slot on ``i`` in cycle ``c`` can be taken from ``c + 3`` on. A row of ``w`` words that is
    taken in ``p`` is on ``o`` from ``p + 4`` to ``p + 3 + w``; the next one is taken in ``p + w`` or later, an end in
    ``p + w + 3``. Then an end is given for each group, two cycles or more apart and each when ``room`` is set, on ``o``
    a cycle later. With the last one the slot is gone.

    Latency :attr:`SparseRowsConfig.latency_cycles`, a word a cycle; ``words * lanes * (weight_bits + bits of a group) +
    rows * (bits of a word's number + bits of longest - 1)`` bits of block RAM, ``slots`` times a place and a mask of
    LUT RAM.

    Parameters
    ----------
    config : SparseRowsConfig
    words, places : sequence of int
        Contents of the memories: :attr:`SparseRowsConfig.word_layout`, :attr:`SparseRowsConfig.place_layout`.

    Members
    -------
    i : In(sparse_slot_layout)
    beat : In(1), the queue takes a beat; of the next window from the end of the one before on
    taken : Out(1), a slot has been taken: a queue of ``slots`` credits may give another one
    o : Out(scattered_layout), registered; it does not wait
    room : In(1), the end of a group may be given; looked at from the second cycle after an end on
    """

    def __init__(self, config: SparseRowsConfig, words: Sequence[int], places: Sequence[int]) -> None:
        self.config = config
        self.words, self.places = words, places
        super().__init__({
            "i": In(sparse_slot_layout(config.rows, config.mask_bits)),
            "beat": In(1),
            "taken": Out(1),
            "o": Out(scattered_layout(config.lanes, config.weight_bits, config.mask_bits, config.groups)),
            "room": In(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        (words_name, (word_bits, _)), (places_name, (place_bits, _)) = cfg.memories.items()
        m.submodules.words = words = Rom(words_name, word_bits, self.words, MEMORY_CYCLES)
        m.submodules.places = places = Rom(places_name, place_bits, self.places, MEMORY_CYCLES)

        # A slot looks up where its words are, and waits.
        waiting = data.StructLayout({"place": cfg.place_layout, "mask": cfg.mask_bits, "end": 1})
        m.submodules.slots = slots = Queue(waiting, cfg.slots)
        comes: Any = Cat(self.i.mask, self.i.end)
        for k in range(MEMORY_CYCLES):
            comes, before = Signal(cfg.mask_bits + 1, name=f"comes{k}_q"), comes
            m.d.sync += comes.eq(before)
        m.d.comb += [places.address.eq(self.i.row), slots.i.valid.eq(comes.any()),
                     slots.i.payload.as_value().eq(Cat(places.data, comes))]

        # The words of a row, one after the other.
        head: Any = slots.o.payload
        unclear_q = Signal(init=1)  # the sums are those of the window before
        address_q = Signal(index_shape(cfg.words))
        more_q = Signal(index_shape(cfg.longest))  # words behind the one that is read
        reads_q = Signal()
        starts = Signal()
        m.d.comb += starts.eq(slots.o.valid & ~head.end & ~unclear_q & ~(reads_q & more_q.any()))
        m.d.sync += [address_q.eq(Mux(starts, head.place.first, address_q + 1)),
                     more_q.eq(Mux(starts, head.place.more, more_q - more_q.any())),
                     reads_q.eq(starts | (reads_q & more_q.any()))]
        m.d.comb += words.address.eq(address_q)
        mask: Any = Signal(cfg.mask_bits, name="mask_q")
        with m.If(starts):
            m.d.sync += mask.eq(head.mask)
        mask = mask & reads_q.replicate(cfg.mask_bits)
        comes_later: Any = reads_q
        for k in range(MEMORY_CYCLES):
            mask, before = Signal(cfg.mask_bits, name=f"mask{k}_q"), mask
            m.d.sync += mask.eq(before)
            comes_later = comes_later | mask.any()

        # All groups in turn: to clear their sums, or to hand them over.
        group_q = Signal(index_shape(cfg.groups))
        last = group_q == cfg.groups - 1
        inside_q = Signal()  # a window has begun, and its end has not come
        begins = Signal()
        begun_q = Signal(index_shape(cfg.slots + 2))  # windows whose sums have not been cleared
        m.d.comb += begins.eq(self.beat & (~inside_q | self.i.end))
        m.d.sync += inside_q.eq(self.beat | (inside_q & ~self.i.end))
        clears = Signal()
        ends = Signal()
        ended_q = Signal()
        m.d.comb += [clears.eq(unclear_q & begun_q.any()),
                     ends.eq(slots.o.valid & head.end & ~unclear_q & ~comes_later & self.room & ~ended_q),
                     slots.o.ready.eq(starts | (ends & last)), self.taken.eq(slots.o.valid & slots.o.ready)]
        m.d.sync += [ended_q.eq(ends), begun_q.eq(begun_q + begins - (clears & last))]
        with m.If(clears | ends):
            m.d.sync += group_q.eq(Mux(last, 0, group_q + 1))
            with m.If(last):
                m.d.sync += unclear_q.eq(ends)

        word = data.View(cfg.word_layout, words.data)
        m.d.sync += [
            self.o.weight.eq(word.weight.as_value()), self.o.mask[0].eq(mask), self.o.end.eq(ends),
            self.o.first.eq(clears),
            self.o.group.as_value().eq(Mux(clears | ends, Cat([group_q] * cfg.lanes), word.group.as_value())),
        ]
        return m
