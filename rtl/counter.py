"""Numbers that go round: counts that end, places in a ring, rows of a memory."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal

from .beat import index_shape

__all__ = ["counter", "moved_on", "rows_in_turn"]


def counter(m: Module, name: str, count: int, when: Any) -> tuple[Any, Any]:
    """Count ``0..count-1`` again and again, one further in each cycle with ``when``.

    Returns
    -------
    number, ends : Value
        The count, a register (a constant where there is nothing to count), and whether it goes back to 0 now: with it
        the next counter of a nest counts.
    """
    if count == 1:
        return Const(0), when
    number_q = Signal(index_shape(count), name=f"{name}_q")
    ends = Signal(name=f"{name}_ends")
    m.d.comb += ends.eq(when & (number_q == count - 1))
    with m.If(when):
        m.d.sync += number_q.eq(Mux(ends, 0, number_q + 1))
    return number_q, ends


def moved_on(place: Any, step: int, size: int) -> Any:
    """``(place + step) mod size`` of a place in a ring: one below the size, and if the step divides that, a multiple of
    the step."""
    step %= size
    if not size & (size - 1):
        return (place + step)[:max(1, size.bit_length() - 1)]
    if not step:
        return place
    rest = size - step
    return Mux(place == rest, 0, place + step) if not size % step else Mux(place >= rest, place - rest, place + step)


def rows_in_turn(m: Module, rows: int, passed: Any) -> tuple[Signal, Any]:
    """Number of the row of a memory that belongs to the beat that comes next, and the same a clock edge ahead, to
    address the memory with: no adder is behind the handshake with which a beat has ``passed``. Two registers."""
    row_q = Signal(index_shape(rows))
    row_next_q = Signal.like(row_q, name="row_next_q", init=int(rows > 1))
    with m.If(passed):
        m.d.sync += [row_q.eq(row_next_q), row_next_q.eq(Mux(row_next_q == rows - 1, 0, row_next_q + 1))]
    return row_q, Mux(passed, row_next_q, row_q)
