"""Sums of masked terms: adders whose masks lie in the LUTs of their carry chains, a register after every second one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed

from .share import EmitPlatform, MaskedAdd

__all__ = ["MaskedSum", "Term", "tree_depth"]

LEVELS_PER_REGISTER = 2


@dataclass(frozen=True)
class Term:
    """A signed value, which counts if its mask (if it has one) is set."""

    value: Any
    mask: Any = None

    @property
    def masked(self) -> Any:
        """The value, or 0."""
        return self.value if self.mask is None else Mux(self.mask, self.value, 0)


def tree_depth(terms: int) -> int:
    """Levels of two-input adders that ``terms`` terms need."""
    return (terms - 1).bit_length()


class MaskedSum:
    """Builds sums level by level into a module: all that one level adds stands beside each other, and after every
    second level come registers. What is added next has :attr:`level` levels before it.

    Each adder is ``masked_add``, a module of its own in the Verilog: a LUT with four inputs has the sum of two masked
    bits in front of the carry, which synthesis for some devices does not find by itself; and where two adders stand one
    behind the other, it builds something larger out of both.
    """

    def __init__(self, m: Module, platform: Any, name: str, level: int = 0) -> None:
        self.m, self.platform, self.name, self.level = m, platform, name, level
        self._adders = 0

    def tree(self, terms: list[Term], *, weighed: bool = False) -> Term:
        """The sum of ``terms``, or ``sum_b 2**b * terms[b]``, ``tree_depth(len(terms))`` levels on."""
        shift = 1
        while len(terms) > 1:
            pairs = [self._pair(a, b, shift if weighed else 0) for a, b in zip(terms[::2], terms[1::2], strict=False)]
            terms, shift = pairs + terms[len(terms) - len(terms) % 2:], 2 * shift
            self.level += 1
            if self.level % LEVELS_PER_REGISTER == 0:
                terms = [Term(self._kept(term.masked)) for term in terms]
        return terms[0]

    def add(self, a: Term, b: Term, bits: int | None = None) -> Any:
        """``a + b``, exact, or in so many bits."""
        width = max(len(a.value), len(b.value)) + 1 if bits is None else bits
        total = Signal(signed(width), name=f"{self.name}_add{self._adders}")
        self._adders += 1
        adder = MaskedAdd(_extended(a.value, width), _mask(a), _extended(b.value, width), _mask(b), total)
        self.m.submodules[f"{total.name}er"] = (
            self.platform.masked_add(adder) if isinstance(self.platform, EmitPlatform) else adder.simulated())
        return total

    def _pair(self, a: Term, b: Term, shift: int) -> Term:
        """``a + 2**shift * b``. What lies below the other term's lowest bit goes past an adder, not through it."""
        if not shift:
            return Term(self.add(a, b))
        return Term(Cat(a.masked[:shift], self.add(Term(a.value[shift:].as_signed(), a.mask), b)).as_signed())

    def _kept(self, value: Any) -> Signal:
        kept = Signal(signed(len(value)), name=f"{self.name}_{self.level}_{self._adders}_q")
        self._adders += 1
        self.m.d.sync += kept.eq(value)
        return kept


def _mask(term: Term) -> Any:
    return Const(1, 1) if term.mask is None else term.mask


def _extended(value: Any, width: int) -> Any:
    extended = value.as_signed()[:width]
    return extended if len(extended) == width else Cat(extended, extended[-1].replicate(width - len(extended)))
