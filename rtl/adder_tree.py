"""Balanced sums with exact widths."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal

__all__ = ["tree_depth", "tree_sum"]


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


def tree_latency(terms: int, levels_per_register: int) -> int:
    """Registers on the way through :func:`tree_sum`."""
    depth = tree_depth(terms)
    return max(0, depth - 1) // levels_per_register
