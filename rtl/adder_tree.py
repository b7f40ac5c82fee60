"""Balanced sums with exact widths."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal

__all__ = ["bit_weighted", "tree_depth", "tree_sum"]


def tree_depth(terms: int) -> int:
    """Levels of two-input adders that ``terms`` terms need."""
    return (terms - 1).bit_length()


def tree_sum(m: Module, terms: list[Any], name: str, levels_per_register: int, *,
             reset_less: bool = True) -> tuple[Any, int]:
    """The sum of ``terms`` by a balanced tree, a register after every ``levels_per_register`` levels.

    ``reset_less`` registers keep what they hold through a reset: where nothing marks it as stale, they must not.
    Returns the (signed, exact) sum and its latency in cycles.
    """
    latency, level = 0, 0
    while len(terms) > 1:
        level += 1
        pairs = [terms[k] + terms[k + 1] for k in range(0, len(terms) - 1, 2)]
        terms = pairs + terms[len(terms) - len(terms) % 2:]
        registered = level % levels_per_register == 0 and len(terms) > 1
        named = [Signal(t.shape(), name=f"{name}_l{level}_{k}", reset_less=reset_less) for k, t in enumerate(terms)]
        for signal, term in zip(named, terms, strict=True):
            (m.d.sync if registered else m.d.comb).__iadd__(signal.eq(term))
        latency += registered
        terms = list(named)
    return terms[0], latency


def bit_weighted(m: Module, terms: list[Any], name: str, *, reset_less: bool = True) -> Any:
    """``sum_b 2**b * terms[b]`` of signed terms, by a balanced tree, a register after every level but the last.

    What lies below the other term's lowest bit goes past an adder, not through it. Latency
    ``max(0, tree_depth(len(terms)) - 1)`` cycles.
    """
    shift = 1
    while len(terms) > 1:
        level = [Cat(a[:shift], (a >> shift) + b).as_signed() for a, b in zip(terms[::2], terms[1::2], strict=False)]
        level += terms[len(terms) - len(terms) % 2:]
        if len(level) > 1:
            level, before = [Signal(t.shape(), name=f"{name}_w{shift}_{k}", reset_less=reset_less)
                             for k, t in enumerate(level)], level
            m.d.sync += [now.eq(t) for now, t in zip(level, before, strict=True)]
        terms, shift = level, 2 * shift
    return terms[0]
