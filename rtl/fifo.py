"""A first-in first-out queue with stream ports, and the count of what is inside."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .beat import index_shape, memory_depth
from .share import BLOCK_RAM, add_instance, has_lut_ram

__all__ = ["Queue", "occupancy"]

PART_BITS = 128  # of a row that one pair of addresses drives
BLOCK_RAM_BITS = 128  # fewer are not worth one


def occupancy(m: Module, name: str, depth: int, put: Any, take: Any) -> Signal:
    """Count things that come and go, as a row of ``depth`` flip-flops of which as many are set as things are inside.

    A handshake that depends on such a count is one LUT away from it, and the count one LUT away from the handshake:
    binary counters have their carry and comparison in between.

    Parameters
    ----------
    m : Module
    name : str
        Of the flip-flops.
    depth : int
    put, take : Value
        One comes (never if full), one goes (never if empty).

    Returns
    -------
    inside_q : Signal
        The flip-flops. The first one tells whether anything is inside, the last one whether ``depth`` things are.
    """
    inside_q = Signal(depth, name=f"{name}_q")
    more, less = Cat(Const(1, 1), inside_q[:-1]), Cat(inside_q[1:], Const(0, 1))
    m.d.sync += inside_q.eq(Mux(put, Mux(take, inside_q, more), Mux(take, less, inside_q)))
    return inside_q


def _next(index: Any, depth: int) -> Any:
    return Mux(index == depth - 1, 0, index + 1)


def _addresses(m: Module, depth: int, put: Any, take: Any) -> tuple[Signal, Signal]:
    """Of the first row that has come and not gone, and of the next one to come."""
    first_q = Signal(index_shape(depth))
    next_q = Signal(index_shape(depth))
    for index_q, moves in ((first_q, take), (next_q, put)):
        with m.If(moves):
            m.d.sync += index_q.eq(_next(index_q, depth))
    return first_q, next_q


def _add_rows(m: Module, name: str, depth: int, sent: Any, put: Any, take: Any) -> Any:
    """Rows of LUT RAM; returns the first one that has come and not gone."""
    first_q, next_q = _addresses(m, depth, put, take)
    m.submodules[name] = memory = Memory(shape=len(sent), depth=memory_depth(depth), init=[])
    write, read = memory.write_port(), memory.read_port(domain="comb")
    m.d.comb += [write.addr.eq(next_q), write.data.eq(sent), write.en.eq(put), read.addr.eq(first_q)]
    return read.data


class _Part(wiring.Component):
    """Part of a queue's rows, with addresses of their own next to them.

    Parameters
    ----------
    config : tuple of int
        Width in bits, rows.

    Members
    -------
    i, o : In, Out(width)
    put, take : In(1), a row comes, a row goes
    """

    def __init__(self, config: tuple[int, int]) -> None:
        self.config = config
        super().__init__({"i": In(config[0]), "put": In(1), "take": In(1), "o": Out(config[0])})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.comb += self.o.eq(_add_rows(m, "rows", self.config[1], self.i, self.put, self.take))
        return m


class Queue(wiring.Component):
    """A queue of ``depth`` payloads of any shape.

    Latency 1 cycle, throughput 1 per cycle, ``depth * bits(shape)`` bits of LUT RAM; a queue of one payload is of
    flip-flops, throughput 1 every other cycle. ``i.ready`` and ``o.valid`` are flip-flops (the one inverted). Each
    :data:`PART_BITS` of LUT RAM have addresses of their own next to them.

    Without LUT RAM they are bits of block RAM, read a cycle ahead. A payload that is the first one as it comes is kept
    beside it for that cycle.

    Parameters
    ----------
    shape
        Of a payload.
    depth : int
        Payloads.
    has_room : bool
        Whoever sends knows that there is room, and does not look at ``i.ready``.
    registers_input : bool
        Payloads of LUT RAM are written out of a register, in which one that is the first as it comes stays for a cycle:
        so logic in front of the queue does not have the whole way to its rows behind it. Takes two payloads or more.

    Members
    -------
    i : In(stream)
    o : Out(stream)
    """

    def __init__(self, shape: Any, depth: int, *, has_room: bool = False, registers_input: bool = False) -> None:
        self.shape = shape
        self.depth = depth
        self.has_room = has_room
        self.registers_input = registers_input
        if registers_input and depth < 2:
            raise ValueError(f"depth must be 2 or more with registers_input, not {depth}")
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        put = Signal()
        take = Signal()
        inside_q = occupancy(m, "inside", self.depth, put, take)
        m.d.comb += [self.i.ready.eq(~inside_q[-1]), self.o.valid.eq(inside_q[0]),
                     put.eq(self.i.valid & (self.has_room | ~inside_q[-1])), take.eq(inside_q[0] & self.o.ready)]
        sent, received = Value.cast(self.i.payload), Value.cast(self.o.payload)
        if self.depth == 1:
            kept_q = Signal(len(sent), reset_less=True)
            m.d.comb += received.eq(kept_q)
            with m.If(put):
                m.d.sync += kept_q.eq(sent)
            return m
        if not has_lut_ram(platform) and self.depth * len(sent) >= BLOCK_RAM_BITS:
            self._block_ram(m, sent, received, put, take)
            return m
        if self.registers_input:
            put, sent, received = self._register(m, inside_q, sent, received, put, take)
        if len(sent) <= PART_BITS:
            m.d.comb += received.eq(_add_rows(m, "part0", self.depth, sent, put, take))
            return m
        for first in range(0, len(sent), PART_BITS):
            bits = min(PART_BITS, len(sent) - first)
            part = add_instance(m, platform, f"part{first // PART_BITS}", _Part, (bits, self.depth),
                                f"rows{self.depth}x{bits}")
            m.d.comb += [part.i.eq(sent[first:first + bits]), part.put.eq(put), part.take.eq(take),
                         received[first:first + bits].eq(part.o)]
        return m

    def _register(self, m: Module, inside_q: Signal, sent: Value, received: Value, put: Signal,
                  take: Signal) -> tuple[Signal, Value, Value]:
        """What is written a cycle later, and what is read from the rows."""
        put_q = Signal()
        passes_q = Signal()  # what is written is the first payload, and not yet in its row
        kept_q = Signal(len(sent), reset_less=True)
        stored = Signal(len(sent))
        m.d.sync += [put_q.eq(put), kept_q.eq(sent), passes_q.eq(put & (~inside_q[0] | (take & ~inside_q[1])))]
        m.d.comb += received.eq(Mux(passes_q, kept_q, stored))
        return put_q, kept_q, stored

    def _block_ram(self, m: Module, sent: Value, received: Value, put: Signal, take: Signal) -> None:
        first_q, next_q = _addresses(m, self.depth, put, take)
        m.submodules.rows = memory = Memory(shape=len(sent), depth=memory_depth(self.depth), init=[], attrs=BLOCK_RAM)
        write, read = memory.write_port(), memory.read_port()
        first = Signal.like(first_q, name="first")
        comes_q = Signal()
        kept_q = Signal(len(sent), reset_less=True)
        m.d.comb += [
            first.eq(Mux(take, _next(first_q, self.depth), first_q)), read.addr.eq(first),
            write.addr.eq(next_q), write.data.eq(sent), write.en.eq(put),
            received.eq(Mux(comes_q, kept_q, read.data)),
        ]
        m.d.sync += [comes_q.eq(put & (next_q == first)), kept_q.eq(sent)]
