"""Shape of a window queue, and what its parts say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .beat import index_shape

__all__ = ["WindowQueueConfig", "event_layout", "length_shape", "read_port", "run_layout", "write_port"]


@dataclass(frozen=True, kw_only=True)
class WindowQueueConfig:
    """Shape of a window queue.

    A *cell* is a position of the pooled map, a *tile* one or several neighbouring output positions that lanes work
    on side by side: their windows together are one window of ``kernel_columns`` cells.

    Parameters
    ----------
    items, item_bits : int
        Masks in a beat, bits of a mask. A beat belongs to one position.
    cell_beats : int
        Beats of one position.
    width, height : int
        Positions of the input map, before the pool.
    pool : int
        Size of the sum pool, 1 for none: ``pool**2`` positions are one cell.
    kernel_rows, kernel_columns : int
        Cells of a window.
    stride_rows, stride_columns : int
        Cells from one tile to the next one below, and beside it.
    padding : int
        Cells around the map, which are empty.
    tile_rows, tiles : int
        Rows of tiles, tiles in a row.
    groups : int
        Times that each window is read: groups of output channels.
    banks : int
        Events per cycle, a power of two.
    slot_credits : int
        Slots that can be given before the consumer has taken the first of them; 0: a consumer that never waits.
    """

    items: int
    item_bits: int
    cell_beats: int
    width: int
    height: int
    pool: int
    kernel_rows: int
    kernel_columns: int
    stride_rows: int
    stride_columns: int
    padding: int
    tile_rows: int
    tiles: int
    groups: int
    banks: int
    slot_credits: int = 0

    def __post_init__(self) -> None:
        if self.banks & (self.banks - 1):
            raise ValueError(f"banks must be a power of two, not {self.banks}")

    @property
    def cells(self) -> int:
        """Cells of a row."""
        return self.width // self.pool

    @property
    def cell_rows(self) -> int:
        """Weight rows of one cell: its channels, with the beats' padding."""
        return self.cell_beats * self.items

    @property
    def group_rows(self) -> int:
        """Weight rows of one group."""
        return self.kernel_rows * self.kernel_columns * self.cell_rows

    @property
    def passes(self) -> int:
        """Row numbers are absolute: the groups are in them."""
        return 1

    @property
    def rows(self) -> int:
        """Weight rows of all groups."""
        return self.groups * self.group_rows

    @property
    def row_bits(self) -> int:
        """Bits of a row number."""
        return max(1, int(ceil_log2(self.rows)))

    @property
    def turns(self) -> int:
        """Groups to which each event is given in turn: a group takes all events of its window."""
        return 1

    @property
    def runs(self) -> int:
        """Runs of a window: map rows that it sees."""
        return self.kernel_rows * self.pool

    @property
    def row_step(self) -> int:
        """Map rows from one row of tiles to the next."""
        return self.stride_rows * self.pool

    @property
    def top(self) -> int:
        """Map rows of padding above the map."""
        return self.padding * self.pool

    @property
    def slots(self) -> int:
        """Map rows held: those of a window, and those that arrive meanwhile."""
        return self.runs + self.row_step

    @property
    def row_events(self) -> int:
        """Events of a map row, if all its neurons spike."""
        return self.width * self.cell_rows

    @property
    def bank_depth(self) -> int:
        """Entries of a map row in one bank."""
        return -(-self.row_events // self.banks)

    @property
    def column_bits(self) -> int:
        """Bits of an event's column."""
        return int(index_shape(self.cells * self.cell_rows).width)

    @property
    def writes(self) -> int:
        """Events written in one cycle, each to a bank of its own."""
        return min(2, self.banks, self.items)

    @property
    def memory_bits(self) -> int:
        """Bits of all events that can be held."""
        return self.banks * self.slots * self.bank_depth * (self.item_bits + self.column_bits)

    @property
    def beats(self) -> int:
        """Beats of a map."""
        return self.height * self.width * self.cell_beats


def event_layout(config: WindowQueueConfig) -> data.StructLayout:
    """An entry of a bank: the mask, and its place in the map row, which is ``cell * cell_rows + channel``."""
    return data.StructLayout({"mask": config.item_bits, "column": config.column_bits})


def length_shape(config: WindowQueueConfig) -> Shape:
    """How many events a map row has, up to a cell."""
    return index_shape(config.row_events + 1)


def run_layout(config: WindowQueueConfig) -> data.StructLayout:
    """A run: its first entry's address and bank, how many there are, what is to be added to their columns for the
    weight row, and whether it is its window's last, and that one its row of tiles' last."""
    return data.StructLayout({
        "address": index_shape(config.slots * config.bank_depth), "lane": index_shape(config.banks),
        "count": length_shape(config), "offset": config.row_bits, "last": 1, "row_end": 1})


def write_port(rows: int, shape: Any) -> wiring.Signature:
    """What writes a memory."""
    return wiring.Signature({"enable": Out(1), "address": Out(index_shape(rows)), "data": Out(shape)})


def read_port(rows: int, shape: Any) -> wiring.Signature:
    """What reads a memory: data come a cycle later, and stay until the next ``enable``."""
    return wiring.Signature({"enable": Out(1), "address": Out(index_shape(rows)), "data": In(shape)})
