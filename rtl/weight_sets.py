"""Sets of weights that are written at run time: one stream of words through all layers, and what each memory takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .beat import index_shape

__all__ = ["LOAD_WORD_BITS", "LoadedMemory", "WeightSetLoader", "connect_write", "load_stream", "row_words",
           "set_cycles", "set_length", "set_words", "write_bus"]

LOAD_WORD_BITS = 32

#: Rows, and bits of each.
LoadedMemory = tuple[int, int]


def load_stream() -> wiring.Signature:
    """A word of a set, with ``valid``; or ``begin``: what comes from here on is a set from its first word on."""
    return wiring.Signature({"begin": Out(1), "valid": Out(1), "data": Out(LOAD_WORD_BITS)})


def write_bus(memories: int, rows: int) -> wiring.Signature:
    """How words reach ``memories`` of up to ``rows`` rows: ``write`` says whose ``data`` is; with ``last`` the row is
    complete. A row comes from its least significant word on."""
    return wiring.Signature({"write": Out(memories), "last": Out(1), "row": Out(index_shape(rows)),
                             "data": Out(LOAD_WORD_BITS)})


def row_words(row_bits: int) -> int:
    """Words of a row."""
    return -(-row_bits // LOAD_WORD_BITS)


def set_length(memories: Iterable[LoadedMemory]) -> int:
    """How many words a set has."""
    return sum(rows * row_words(bits) for rows, bits in memories)


def connect_write(m: Module, bus: Any, load: Any, first: int = 0) -> None:
    """Connect one part's ``load`` with a bus of more memories, of which its own are those from ``first`` on."""
    m.d.comb += [load.write.eq(bus.write[first:first + len(load.write)]), load.last.eq(bus.last),
                 load.row.eq(bus.row), load.data.eq(bus.data)]


def set_words(memories: Iterable[tuple[int, Sequence[int]]]) -> Iterator[int]:
    """The words of a set: those of each memory's rows, one memory after the other.

    Parameters
    ----------
    memories : iterable of (row bits, rows)
    """
    for bits, rows in memories:
        for row in rows:
            for word in range(row_words(bits)):
                yield row >> LOAD_WORD_BITS * word & ((1 << LOAD_WORD_BITS) - 1)


def set_cycles(loaders: int) -> int:
    """From a set's last word to its place, behind so many loaders."""
    return loaders + 1


class WeightSetLoader(wiring.Component):
    """Takes the words of a layer's memories out of the stream, and hands on what is behind them.

    1. With ``begin`` the next word is the first word of the first row of the first memory.
    2. A word belongs to the row that is not complete yet; then comes the next row, then the next memory's first.
    3. When the last row of the last memory is complete, words go on to ``o``.

    Latency 1 cycle, both ways; a word a cycle. No reset touches it: a set may be on its way while runs are reset.

    Parameters
    ----------
    memories : tuple of (rows, bits of a row)

    Members
    -------
    i : In(load_stream)
    o : Out(load_stream), to the next layer
    bus : Out(write_bus)
    """

    def __init__(self, memories: tuple[LoadedMemory, ...]) -> None:
        self.memories = memories
        super().__init__({"i": In(load_stream()), "o": Out(load_stream()),
                          "bus": Out(write_bus(len(memories), max(rows for rows, _ in memories)))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        bus: Any = self.bus
        count = len(self.memories)
        memory_q = Signal(index_shape(count + 1), reset_less=True)
        row_q = Signal.like(bus.row, name="row_q", reset_less=True)
        most_words = max(row_words(bits) for _, bits in self.memories)
        word_q = Signal(index_shape(most_words), reset_less=True)
        full = Signal()  # all rows are complete
        ends = Signal()  # this word is its row's last
        done = Signal()  # this row is its memory's last
        taken = Signal()
        m.d.comb += [
            full.eq(memory_q == count), taken.eq(self.i.valid & ~self.i.begin & ~full),
            ends.eq(word_q == self._of_memory(memory_q, [row_words(bits) - 1 for _, bits in self.memories])),
            done.eq(row_q == self._of_memory(memory_q, [rows - 1 for rows, _ in self.memories])),
        ]
        with m.If(self.i.begin):
            m.d.sync += [memory_q.eq(0), row_q.eq(0), word_q.eq(0)]
        with m.Elif(taken):
            m.d.sync += word_q.eq(Mux(ends, 0, word_q + 1))
            with m.If(ends):
                m.d.sync += [row_q.eq(Mux(done, 0, row_q + 1)), memory_q.eq(memory_q + done)]
        registers = [Signal.like(signal, name=f"{name}_q", reset_less=True) for name, signal in
                     (("write", bus.write), ("last", bus.last), ("here", bus.row), ("data", bus.data),
                      ("begin", self.i.begin), ("next", self.i.valid))]
        write_q, last_q, here_q, data_q, begin_q, next_q = registers
        m.d.sync += [
            write_q.eq(Mux(taken, 1 << memory_q, 0)), last_q.eq(ends), here_q.eq(row_q), data_q.eq(self.i.data),
            begin_q.eq(self.i.begin), next_q.eq(self.i.valid & full & ~self.i.begin),
        ]
        m.d.comb += [bus.write.eq(write_q), bus.last.eq(last_q), bus.row.eq(here_q), bus.data.eq(data_q),
                     self.o.begin.eq(begin_q), self.o.valid.eq(next_q), self.o.data.eq(data_q)]
        return m

    def _of_memory(self, memory: Signal, values: list[int]) -> Any:
        """The value of the memory that is written."""
        if len(set(values)) == 1:
            return values[0]
        return Array([*values, values[-1]])[memory]
