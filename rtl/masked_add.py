"""Sums of masked terms: adders whose masks lie in the LUTs of their carry chains, a register after every second one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned

from .share import EmitPlatform, MaskedAdd, ThreeAdd

__all__ = ["MaskedSums", "Term", "tree_depth"]

LEVELS_PER_REGISTER = 2
CHAIN_ADDERS = 2  # in one carry chain: with more, the way from the first to the last one takes too long


@dataclass(frozen=True)
class Term:
    """A value, which counts if its mask (if it has one) is set."""

    value: Any
    mask: Any = None

    @property
    def masked(self) -> Any:
        """The value, or 0."""
        return self.value if self.mask is None else Mux(self.mask, self.value, 0)


def tree_depth(terms: int) -> int:
    """Levels of two-input adders that ``terms`` terms need."""
    return (terms - 1).bit_length()


class MaskedSums:
    """Builds sums level by level into a module: all that one level adds stands beside each other, and after every
    second level come registers. What is added next has :attr:`level` levels before it.

    Adders are instances of ``masked_add``, a module of its own in the Verilog: a LUT with four inputs has the sum of
    two masked bits in front of the carry, which synthesis for some devices does not find by itself; and where two
    adders stand one behind the other, it builds something larger out of both. Sums of unsigned terms leave no carry:
    :data:`CHAIN_ADDERS` of them share a chain, so that an odd width costs no LUT.

    Parameters
    ----------
    m : Module
    platform
        As ``elaborate`` gets it.
    name : str
        Of what is added to the module.
    level : int
        Levels before the first terms.
    is_signed : bool
        Whether all terms are signed; else none is.
    has_reset : bool
        Whether registers are 0 after a reset.
    """

    def __init__(self, m: Module, platform: Any, name: str, level: int = 0, *, is_signed: bool = True,
                 has_reset: bool = False) -> None:
        self.m, self.platform, self.name, self.level, self.has_reset = m, platform, name, level, has_reset
        self.shape = signed if is_signed else unsigned
        self._adders = 0

    def trees(self, sums: Sequence[Sequence[Term]], *, weighed: bool = False) -> list[Term]:
        """The sum of each sequence of terms, or ``sum_b 2**b * terms[b]``; all have as many, n, and come
        ``tree_depth(n)`` levels later."""
        rows = [list(terms) for terms in sums]
        shift = 1
        while len(rows[0]) > 1:
            pairs = [pair for terms in rows for pair in zip(terms[::2], terms[1::2], strict=False)]
            added = iter(self._pairs(pairs, shift if weighed else 0))
            rows = [[next(added) for _ in range(len(terms) // 2)] + terms[len(terms) - len(terms) % 2:]
                    for terms in rows]
            shift *= 2
            rows = self._next_level(rows)
        return [term for term, in rows]

    def tree(self, terms: Sequence[Term], *, weighed: bool = False) -> Term:
        """One such sum."""
        return self.trees([terms], weighed=weighed)[0]

    def later(self, term: Term, level: int) -> Term:
        """What had ``level`` levels before it, where :attr:`level` more are."""
        for _ in range(level // LEVELS_PER_REGISTER, self.level // LEVELS_PER_REGISTER):
            term = Term(self._kept(term.masked))
        return term

    def add(self, pairs: Sequence[tuple[Term, Term]], bits: int | None = None) -> list[Any]:
        """``a + b`` of each pair: exact, or in so many bits."""
        widths: dict[int, list[int]] = defaultdict(list)
        for place, (a, b) in enumerate(pairs):
            widths[max(len(a.value), len(b.value)) + 1 if bits is None else bits].append(place)
        totals: dict[int, Any] = {}
        for width, places in widths.items():
            # (Modulo so many bits there may be a carry.)
            count = CHAIN_ADDERS if bits is None and self.shape is unsigned else 1
            for first in range(0, len(places), count):
                some = places[first:first + count]
                added = self._adder([pairs[place] for place in some], width)
                totals |= {place: self._as_term(added.word_select(k, width)) for k, place in enumerate(some)}
        return [totals[place] for place in range(len(pairs))]

    def add_three(self, a: Any, b: Term, c: Term) -> Any:
        """``a + b + c`` of signed values in as many bits as ``a`` has, of which ``c`` may have a mask."""
        total = Signal(len(a), name=f"{self.name}_add{self._adders}")
        self._adders += 1
        width = max(len(b.value), len(c.value)) + 1
        mask = Const(1, 1) if c.mask is None else c.mask
        adder = ThreeAdd(a, self._extended(b.masked, width), self._extended(c.value, width), mask, total)
        self.m.submodules[f"{total.name}er"] = (
            self.platform.three_add(adder) if isinstance(self.platform, EmitPlatform) else adder.simulated())
        return self._as_term(total)

    def _adder(self, pairs: Sequence[tuple[Term, Term]], width: int) -> Signal:
        total = Signal(len(pairs) * width, name=f"{self.name}_add{self._adders}")
        self._adders += 1
        a, b = (Cat(self._extended(pair[side].value, width) for pair in pairs) for side in (0, 1))
        masks = [Cat(Const(1, 1) if pair[side].mask is None else pair[side].mask for pair in pairs) for side in (0, 1)]
        adder = MaskedAdd(width, len(pairs), a, masks[0], b, masks[1], total)
        self.m.submodules[f"{total.name}er"] = (
            self.platform.masked_add(adder) if isinstance(self.platform, EmitPlatform) else adder.simulated())
        return total

    def _next_level(self, rows: list[list[Term]]) -> list[list[Term]]:
        self.level += 1
        if self.level % LEVELS_PER_REGISTER:
            return rows
        return [[Term(self._kept(term.masked)) for term in terms] for terms in rows]

    def _pairs(self, pairs: Sequence[tuple[Term, Term]], shift: int) -> list[Term]:
        """``a + 2**shift * b`` of each. What lies below the other term's lowest bit goes past an adder, not through it.
        """
        totals = self.add([(Term(self._as_term(a.value[shift:]), a.mask), b) for a, b in pairs])
        return [Term(self._as_term(Cat(a.masked[:shift], total)) if shift else total)
                for (a, _), total in zip(pairs, totals, strict=True)]

    def _as_term(self, value: Any) -> Any:
        return value.as_signed() if self.shape is signed else value

    def _kept(self, value: Any) -> Signal:
        kept = Signal(self.shape(len(value)), name=f"{self.name}_{self.level}_{self._adders}_q",
                      reset_less=not self.has_reset)
        self._adders += 1
        self.m.d.sync += kept.eq(value)
        return kept

    def _extended(self, value: Any, width: int) -> Any:
        own = value[:width]
        fill = own[-1] if self.shape is signed else Const(0, 1)
        return own if len(own) == width else Cat(own, fill.replicate(width - len(own)))
