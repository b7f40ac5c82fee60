"""Beats: what travels between layers.

A beat carries the masks of ``items`` neighbouring channels. A mask has one bit per time step of the
window (for a static input: the bits of the value). Silent channels are sent as zeros and cost their
consumer nothing; a window is a fixed number of beats, in address order.
"""

from __future__ import annotations

from amaranth.hdl import Shape, unsigned
from amaranth.lib import stream

from .flat_array import FlatArray

__all__ = ["beat_layout", "beat_stream", "index_shape", "memory_depth"]


def beat_layout(items: int, item_bits: int) -> FlatArray:
    """``items`` masks of ``item_bits`` bits, item 0 in the least significant bits."""
    return FlatArray(unsigned(item_bits), items)


def beat_stream(items: int, item_bits: int) -> stream.Signature:
    """A stream of beats."""
    return stream.Signature(beat_layout(items, item_bits))


def index_shape(count: int) -> Shape:
    """Of a signal that counts ``0..count-1``. Never empty: Verilog has no vectors of width 0."""
    return unsigned(max(1, (count - 1).bit_length()))


def memory_depth(rows: int) -> int:
    """Rows of a memory for ``rows`` rows: at least two, since the address must not be empty either."""
    return max(2, rows)
