"""Two services of the emitting platform: one Verilog module for many equal instances, and named memory files.

Amaranth emits every instance of a component as a module of its own. A component whose elaboration depends
on its configuration only is passed through :func:`add_instance`: in Amaranth's simulator it is an ordinary
submodule, in emission it becomes one Verilog module that is instantiated many times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import or_
from typing import Any, Protocol, runtime_checkable

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Elaboratable,
    Module,
    Mux,
    ResetInserter,
    ResetSignal,
    Signal,
    Value,
)
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .balanced import balanced
from .beat import index_shape
from .weight_sets import LOAD_WORD_BITS, row_words, write_bus

__all__ = ["BLOCK_RAM", "MEMORY_CYCLES", "EmitPlatform", "MaskedAdd", "Relay", "Rom", "RomPart", "RomWrite",
           "ThreeAdd", "add_instance", "add_resettable", "has_lut_ram", "run_domain"]

# Rows of a ROM's part: block RAMs of 16 or 18 Kbit can give a bit each of so many.
PART_ADDRESS_BITS = 14
MEMORY_CYCLES = 2  # of a weight memory, with the register behind it


@runtime_checkable
class EmitPlatform(Protocol):
    """What the generator gives to ``elaborate`` as the platform."""

    def instance(self, kind: type[wiring.Component], config: Any, module_name: str) -> tuple[Any, Elaboratable]:
        """Ports of, and an instance of, the module that ``kind(config)`` is emitted as."""

    def rom(self, part: RomPart) -> Elaboratable:
        """A memory whose contents lie in a file named after it; read-only but for :attr:`.RomPart.write`."""

    def masked_add(self, adder: MaskedAdd) -> Elaboratable:
        """A :class:`.MaskedAdd` as a module that synthesis knows."""

    def three_add(self, adder: ThreeAdd) -> Elaboratable:
        """The same of a :class:`.ThreeAdd`."""


def has_lut_ram(platform: Any) -> bool:
    """Whether there are memories that are read within a cycle. Where there are none, as on iCE40, each bit of such a
    memory is a flip-flop, and its rows stand behind multiplexers."""
    return bool(getattr(platform, "lut_ram", True))


#: Attributes of a memory that is to be block RAM, however small. What it gives where the row is read that is being
#: written must not matter.
BLOCK_RAM = {"ram_style": "block", "no_rw_check": 1}


def add_instance(m: Module, platform: Any, name: str, kind: type[wiring.Component], config: Any,
                 module_name: str) -> Any:
    """Add ``kind(config)`` to ``m`` as submodule ``name``; returns an object with its ports.

    In emission, all with the same ``module_name`` (and so the same ``config``) share one Verilog module.
    """
    if isinstance(platform, EmitPlatform):
        ports, m.submodules[name] = platform.instance(kind, config, module_name)
        return ports
    component = kind(config)
    m.submodules[name] = component
    return component


def add_resettable(m: Module, platform: Any, name: str, component: wiring.Component, reset: Any) -> None:
    """Add ``component`` to ``m``, with ``reset`` as a second reset of all that it is made of.

    In emission its parts may be modules of their own, whose resets belong to a clock domain: that is ``run``, which the
    caller gets by :func:`run_domain`.
    """
    m.submodules[name] = (DomainRenamer("run")(component) if isinstance(platform, EmitPlatform)
                          else ResetInserter(reset)(component))


def run_domain(m: Module, platform: Any, reset: Any) -> None:
    """The clock domain ``run``: the same clock, and a reset more."""
    if isinstance(platform, EmitPlatform):
        m.domains += ClockDomain("run")
        m.d.comb += [ClockSignal("run").eq(ClockSignal()), ResetSignal("run").eq(ResetSignal() | reset)]


class Relay(wiring.Component):
    """Registers on the way to distant consumers: ``o`` is ``i`` some cycles earlier; 0 after a reset, if they have one.

    Added through :func:`add_instance`, relays of the same signal stay apart in synthesis, and each is placed next
    to what it feeds.

    Parameters
    ----------
    config : tuple of (int, int, bool)
        Width in bits, cycles, whether they have a reset.

    Members
    -------
    i, o : In, Out(width)
    """

    def __init__(self, config: tuple[int, int, bool]) -> None:
        self.config = config
        super().__init__({"i": In(config[0]), "o": Out(config[0])})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        width, cycles, has_reset = self.config
        kept: Any = self.i
        for cycle in range(cycles):
            kept, before = Signal(width, name=f"kept{cycle}_q", reset_less=not has_reset), kept
            m.d.sync += kept.eq(before)
        m.d.comb += self.o.eq(kept)
        return m


@dataclass(frozen=True)
class RomWrite:
    """What writes a row while another set is in use, or none."""

    enable: Value
    address: Value
    data: Value


@dataclass(frozen=True)
class RomPart:
    """One memory of a :class:`Rom`: ``data`` is the row that was at ``address`` ``latency_cycles`` earlier, or 0 if it
    was not ``chosen`` then."""

    name: str
    row_bits: int
    rows: Sequence[int]
    latency_cycles: int
    address: Value
    chosen: Value
    data: Value
    write: RomWrite | None = None

    def simulated(self) -> Module:
        """For Amaranth's simulator."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.row_bits, depth=len(self.rows), init=self.rows)
        port = memory.read_port()
        if self.write is not None:
            write = memory.write_port()
            m.d.comb += [write.en.eq(self.write.enable), write.addr.eq(self.write.address),
                         write.data.eq(self.write.data)]
        chosen_q = Signal()
        m.d.sync += chosen_q.eq(self.chosen)
        m.d.comb += port.addr.eq(self.address)
        row: Any = Mux(chosen_q, port.data, 0)
        for _ in range(self.latency_cycles - 1):
            row, before = Signal(self.row_bits, name="row_q", reset_less=True), row
            m.d.sync += row.eq(before)
        m.d.comb += self.data.eq(row)
        return m


@dataclass(frozen=True)
class MaskedAdd:
    """``count`` adders side by side, ``total = (a if a_mask else 0) + (b if b_mask else 0)``: each has ``width`` bits
    of ``a``, ``b`` and ``total``, and one of the masks. If there are several, no sum is larger than its bits hold: on
    some devices they lie in one carry chain.
    """

    width: int
    count: int
    a: Value
    a_mask: Value
    b: Value
    b_mask: Value
    total: Value

    def simulated(self) -> Module:
        """For Amaranth's simulator."""
        m = Module()
        for k in range(self.count):
            a, b, total = (value.word_select(k, self.width) for value in (self.a, self.b, self.total))
            m.d.comb += total.eq(Mux(self.a_mask.bit_select(k, 1), a, 0) + Mux(self.b_mask.bit_select(k, 1), b, 0))
        return m


@dataclass(frozen=True)
class ThreeAdd:
    """``total = a + b + (c if c_mask else 0)``, modulo two to its bits: as many as ``a`` has. ``b`` and ``c`` are
    signed, and so narrow that their own sum fits into as many bits as each of them has."""

    a: Value
    b: Value
    c: Value
    c_mask: Value
    total: Value

    def simulated(self) -> Module:
        """For Amaranth's simulator."""
        m = Module()
        m.d.comb += self.total.eq(self.a + self.b.as_signed() + Mux(self.c_mask, self.c.as_signed(), 0))
        return m


class Rom(wiring.Component):
    """A memory in block RAM, read-only or written at run time: ``data`` is the row at ``address`` ``latency_cycles``
    earlier.

    One row per cycle, ``row_bits * len(rows)`` bits; with two sets, of which one is read while the other is written,
    twice the rows' next power of two in the place of ``len(rows)``.

    What is deeper than a block RAM is cut into :attr:`parts`, whose outputs meet in an OR, since all but one give 0.
    Left to choose, synthesis takes the widest and shallowest form of the block RAM, as only this has parity bits: that
    spares a tenth of the blocks, and spends many times the LUTs on choosing between their outputs.

    Parameters
    ----------
    name : str
        Names the memory files.
    row_bits : int
        Bits of a row.
    rows : sequence of int
        Contents, each in ``0..2**row_bits-1``.
    latency_cycles : int
        1, or 2 with a register behind the memory. A block RAM takes half of a fast cycle to give its row: with the
        register next to it, the row has a whole cycle for its way.
    sets : int
        0: read-only. 1, 2: sets of rows that can be written.

    Members
    -------
    address : In(ceil_log2(len(rows)))
    data : Out(row_bits)
    load : In(write_bus of one memory), with sets
    chosen_set : In(1), with two sets: which one is read; the other one is written
    """

    def __init__(self, name: str, row_bits: int, rows: Sequence[int], latency_cycles: int = 1, sets: int = 0) -> None:
        self.name = name
        self.row_bits = row_bits
        self.rows = rows
        self.latency_cycles = latency_cycles
        self.sets = sets
        super().__init__({"address": In(max(1, ceil_log2(len(rows)))), "data": Out(row_bits),
                          **({"load": In(write_bus(1, len(rows)))} if sets else {}),
                          **({"chosen_set": In(1)} if sets == 2 else {})})

    @staticmethod
    def parts(name: str, depth: int) -> dict[str, range]:
        """The rows of each memory by its name: ``name``, or ``name_0``, ``name_1``, ... if there are several."""
        size = 1 << PART_ADDRESS_BITS
        if depth <= size:
            return {name: range(depth)}
        # What is more than half full is made whole: a form with fewer bits of more rows needs no LUTs.
        ends = {first: min(first + size, depth) for first in range(0, depth, size)}
        return {f"{name}_{first // size}": range(first, first + size if end - first > size // 2 else end)
                for first, end in ends.items()}

    @staticmethod
    def part_depth(rows: int, sets: int) -> int:
        """Rows that a part of ``rows`` has in all."""
        return 2 << index_shape(rows).width if sets == 2 else rows

    def elaborate(self, platform: Any) -> Elaboratable:
        parts = self.parts(self.name, len(self.rows))
        if len(parts) == 1 and not self.sets:
            return self._part(platform, self.name, range(len(self.rows)), Const(1, 1), self.data)
        m = Module()
        row = self._row(m) if self.sets else None
        if len(parts) == 1:
            m.submodules.part = self._part(platform, self.name, range(len(self.rows)), Const(1, 1), self.data, row)
            return m
        given = []
        for index, (name, rows) in enumerate(parts.items()):
            data = Signal(self.row_bits, name=f"data{index}")
            chosen = self.address[PART_ADDRESS_BITS:] == index
            m.submodules[f"part{index}"] = self._part(platform, name, rows, chosen, data, row)
            given.append(data)
        m.d.comb += self.data.eq(balanced(or_, given))
        return m

    def _row(self, m: Module) -> Value:
        """The row that is written: its words before the last one are kept."""
        load: Any = self.load
        words = row_words(self.row_bits)
        if words == 1:
            return load.data[:self.row_bits]
        kept_q = Signal(LOAD_WORD_BITS * (words - 1), reset_less=True)
        with m.If(load.write & ~load.last):
            m.d.sync += kept_q.eq(Cat(kept_q, load.data)[LOAD_WORD_BITS:])
        return Cat(kept_q, load.data)[:self.row_bits]

    def _part(self, platform: Any, name: str, rows: range, chosen: Value, data: Value,
              row: Value | None = None) -> Elaboratable:
        bits = index_shape(len(rows)).width
        address: Any = self.address[:bits]
        contents = list(self.rows[rows.start:rows.stop])
        contents += [0] * (len(rows) - len(contents))
        write = None
        if row is not None:
            load: Any = self.load
            enable, place = load.write & load.last, load.row[:bits]
            if len(self.rows) > len(rows):
                enable = enable & (load.row[PART_ADDRESS_BITS:] == rows.start >> PART_ADDRESS_BITS)
            if self.sets == 2:
                address, place = Cat(address, self.chosen_set), Cat(place, ~self.chosen_set)
                contents += [0] * (self.part_depth(len(rows), 2) - len(rows))  # simulators want a whole file
            write = RomWrite(enable, place, row)
        part = RomPart(name, self.row_bits, contents, self.latency_cycles, address, chosen, data, write)
        return platform.rom(part) if isinstance(platform, EmitPlatform) else part.simulated()
