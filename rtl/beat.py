"""Beats: what travels between layers.

A beat carries the masks of ``items`` neighbouring channels. A mask has one bit per time step of the
window (for a static input: the bits of the value). Silent channels are sent as zeros and cost their
consumer nothing; a window is a fixed number of beats, in address order.

To a readout that looks at membrane potentials, a beat carries these too, above the masks.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data, stream

from .flat_array import FlatArray

__all__ = ["beat_layout", "beat_masks", "beat_stream", "index_shape", "memory_depth"]


def beat_layout(items: int, item_bits: int, potential_bits: int = 0, *,
                marked: bool = False) -> FlatArray | data.StructLayout:
    """``items`` masks of ``item_bits`` bits, item 0 in the least significant bits.

    With ``potential_bits``, a struct of these as ``mask`` and as many signed numbers of that width as ``potential``; if
    it is ``marked``, one of ``mask`` and a bit ``last``.
    """
    masks = FlatArray(unsigned(item_bits), items)
    if marked:
        return data.StructLayout({"mask": masks, "last": 1})
    if not potential_bits:
        return masks
    return data.StructLayout({"mask": masks, "potential": FlatArray(signed(potential_bits), items)})


def beat_stream(items: int, item_bits: int, potential_bits: int = 0, *, marked: bool = False) -> stream.Signature:
    """A stream of beats."""
    return stream.Signature(beat_layout(items, item_bits, potential_bits, marked=marked))


def beat_masks(payload: Any) -> Any:
    """The masks of a beat, of either form."""
    return payload.mask if isinstance(payload.shape(), data.StructLayout) else payload


def index_shape(count: int) -> Shape:
    """Of a signal that counts ``0..count-1``. Never empty: Verilog has no vectors of width 0."""
    return unsigned(max(1, (count - 1).bit_length()))


def memory_depth(rows: int) -> int:
    """Rows of a memory for ``rows`` rows: at least two, since the address must not be empty either."""
    return max(2, rows)
