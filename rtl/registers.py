"""Registers that software sees: one description, and the hardware of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["WORD_BITS", "Access", "Field", "Register", "RegisterFile", "RegisterMap", "register_bus"]

WORD_BITS = 32
WORD_BYTES = WORD_BITS // 8

#: constant: reads ``reset``. status: reads what the hardware gives. control: read and written. event: set by the
#: hardware, cleared by writing 1. pulse: writing 1 does something, reads 0. push: every number written counts, reads 0.
Access = Literal["constant", "status", "control", "event", "pulse", "push"]


@dataclass(frozen=True, kw_only=True)
class Field:
    """Bits of a register.

    Parameters
    ----------
    name, text : str
        Lower case with ``_``, and what it means.
    bits, low : int
        How many, and the place of the least significant one.
    access : Access
    reset : int
        After a reset.
    """

    name: str
    text: str
    bits: int = 1
    low: int = 0
    access: Access = "status"
    reset: int = 0

    @property
    def most(self) -> int:
        """The largest value."""
        return (1 << self.bits) - 1

    @property
    def mask(self) -> int:
        """Its bits of the word."""
        return self.most << self.low


@dataclass(frozen=True, kw_only=True)
class Register:
    """A word of 32 bits.

    Parameters
    ----------
    name, text : str
    offset : int
        In bytes, a multiple of 4.
    fields : tuple of Field
    """

    name: str
    text: str
    offset: int
    fields: tuple[Field, ...]


@dataclass(frozen=True, kw_only=True)
class RegisterMap:
    """All registers.

    Raises
    ------
    ValueError
        If a name is not one, is there twice, or fields or registers overlap or are out of range.
    """

    name: str
    text: str
    registers: tuple[Register, ...]

    def __post_init__(self) -> None:
        names, offsets = [r.name for r in self.registers], [r.offset for r in self.registers]
        if len(set(names)) < len(names) or len(set(offsets)) < len(offsets):
            raise ValueError("two registers have the same name or offset")
        texts = [r.text for r in self.registers] + [f.text for r in self.registers for f in r.fields]
        for text in (self.text, *texts):
            if not text.isprintable() or "\\" in text or "*/" in text:  # it stands in comments and strings
                raise ValueError(f"text must be printable, without \\ and */, not {text!r}")
        for register in self.registers:
            if register.offset < 0 or register.offset % WORD_BYTES:
                raise ValueError(f"register {register.name}: offset must be a multiple of {WORD_BYTES}, "
                                 f"not {register.offset}")
            taken = 0
            for field in register.fields:
                where = f"register {register.name}: field {field.name}"
                if field.bits < 1 or field.low < 0 or field.mask >> WORD_BITS or taken & field.mask:
                    raise ValueError(f"{where}: bits {field.low} to {field.low + field.bits - 1} are not free")
                if not 0 <= field.reset <= field.most:
                    raise ValueError(f"{where}: reset must have {field.bits} bits, not {field.reset}")
                taken |= field.mask
            parts = [f.name for f in register.fields]
            if len(set(parts)) < len(parts):
                raise ValueError(f"register {register.name}: two fields have the same name")
            for name in (register.name, *parts):
                if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
                    raise ValueError(f"register {register.name}: {name!r} must be lower case, digits and single _")

    @property
    def bytes(self) -> int:
        """Address space, a power of two."""
        return 1 << int(ceil_log2(max(r.offset for r in self.registers) + WORD_BYTES))

    @property
    def address_bits(self) -> int:
        """Of a byte address."""
        return int(ceil_log2(self.bytes))


def register_bus(address_bits: int) -> wiring.Signature:
    """How a bus reaches registers, as the bus sees it: words by byte address.

    ``write`` takes ``write_data`` (those bytes of it whose ``strobes`` are set) in this cycle; ``read_data`` is the
    word at ``read_address`` in the same cycle. ``write_known`` and ``read_known``: there is a register at the address.
    """
    return wiring.Signature({
        "write": Out(1), "write_address": Out(address_bits), "write_data": Out(WORD_BITS), "strobes": Out(WORD_BYTES),
        "write_known": In(1), "read_address": Out(address_bits), "read_data": In(WORD_BITS), "read_known": In(1),
    })


class RegisterFile(wiring.Component):
    """The registers of a map.

    A write takes effect in the next cycle; an event that comes as it is cleared stays. Reading has no side effect.
    Writing what cannot be written does nothing.

    Members
    -------
    bus : In(register_bus)
    <register>__<field> : In for status and events (set while 1), Out for control, pulses (1 for a cycle) and pushes
    <register>__<field>__is : Out, events that wait to be cleared
    <register>__<field>__comes : Out, a number was pushed
    """

    def __init__(self, registers: RegisterMap) -> None:
        self.registers = registers
        members: dict[str, Any] = {"bus": In(register_bus(registers.address_bits))}
        for register in registers.registers:
            for field in register.fields:
                if field.access != "constant":
                    members[f"{register.name}__{field.name}"] = (
                        In if field.access in ("status", "event") else Out)(field.bits)
                if field.access == "event":
                    members[f"{register.name}__{field.name}__is"] = Out(field.bits)
                if field.access == "push":
                    members[f"{register.name}__{field.name}__comes"] = Out(1)
        super().__init__(members)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        bus: Any = self.bus
        written = Signal(WORD_BITS)  # bits of write_data that count
        m.d.comb += written.eq(Cat(strobe.replicate(8) for strobe in bus.strobes))
        words: list[tuple[Any, Any]] = []
        write_known = []
        for register in self.registers.registers:
            word_address = register.offset // WORD_BYTES
            chosen = Signal(name=f"{register.name}_write")
            here = bus.write_address[2:] == word_address
            write_known.append(here)
            m.d.comb += chosen.eq(bus.write & here)
            word = Signal(WORD_BITS, name=f"{register.name}_word")
            for field in register.fields:
                part = slice(field.low, field.low + field.bits)
                m.d.comb += word[part].eq(self._field(m, register, field, chosen, bus.write_data[part], written[part]))
            words.append((bus.read_address[2:] == word_address, word))
        m.d.comb += bus.write_known.eq(Cat(write_known).any())
        m.d.comb += bus.read_known.eq(Cat(here for here, _ in words).any())
        read: Any = Const(0, WORD_BITS)
        for here, word in words:
            read = read | Mux(here, word, 0)
        m.d.comb += bus.read_data.eq(read)
        return m

    def _field(self, m: Module, register: Register, field: Field, chosen: Any, data: Any, written: Any) -> Any:
        """What is read."""
        if field.access == "constant":
            return field.reset
        port = getattr(self, f"{register.name}__{field.name}")
        if field.access == "status":
            return port
        if field.access == "pulse":
            m.d.sync += port.eq(Mux(chosen, data & written, 0))
            return 0
        if field.access == "push":
            m.d.sync += [port.eq(data & written), getattr(self, f"{register.name}__{field.name}__comes").eq(chosen)]
            return 0
        state = Signal(field.bits, name=f"{register.name}_{field.name}_q", init=field.reset)
        if field.access == "control":
            m.d.comb += port.eq(state)
            with m.If(chosen):
                m.d.sync += state.eq((state & ~written) | (data & written))
            return state
        m.d.comb += getattr(self, f"{register.name}__{field.name}__is").eq(state)
        m.d.sync += state.eq((state & ~Mux(chosen, data & written, 0)) | port)
        return state
