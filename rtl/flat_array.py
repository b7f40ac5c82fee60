"""An array that the Verilog shows as one vector."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Format, Value
from amaranth.lib import data

__all__ = ["FlatArray"]


class FlatArray(data.ArrayLayout):
    """Like :class:`amaranth.lib.data.ArrayLayout`, without a wire for each element of every signal in the Verilog.

    Arrays here have hundreds of elements: the wires would be a third of the text, and of the time to write it.
    """

    def format(self, value: Any, format_spec: str) -> Format:
        """The array as one number."""
        return Format("{}", Value.cast(value))
