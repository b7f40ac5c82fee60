"""Comparisons that do not wait for a sum: what of it comes early is taken to the other side."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_

from spikeloom.model.neurons.intervals import MAX_BITS
from spikeloom.model.neurons.program import Graph, Operation
from spikeloom.model.numerics import signed_bits

from .neuron import Span

__all__ = ["WIDE_BITS", "compare_early"]

WIDE_BITS = 20  # of a sum: two such carry chains one behind the other are half of a cycle at 100 MHz on an ECP5
TERMS_MAX = 8  # a sum without end is not taken apart further

Chains = Callable[[Operation, Sequence[int]], int]
_Term = tuple[int, int]  # an operation, and its sign


def compare_early(graph: Graph, spans: Sequence[Span], chains: Chains) -> tuple[Graph, tuple[Span, ...]]:
    """A graph with the same outputs, in which wide comparisons end sooner.

    ``a + b > c`` is ``a > c - b``: if ``a`` comes last, the comparison stands beside the sum and not behind it, for one
    more subtraction. Sums of sums are taken apart as long as that helps; their early terms are added up in the order in
    which they come.

    Parameters
    ----------
    graph : Graph
    spans : sequence of (int, int)
        Smallest and largest value of each operation.
    chains : callable
        Of an operation, and of those before it: how many carry chains end with it, one behind the other.

    Returns
    -------
    graph, spans
    """
    found = _Found(chains)
    place: list[int] = []
    for position, operation in enumerate(graph.operations):
        moved = replace(operation, arguments=tuple(place[a] for a in operation.arguments))
        if operation.name in ("greater", "at_least"):
            moved = _early(found, moved)
        place.append(found.add(moved, spans[position]))
    truths = {place[position] for position in graph.truths}
    whole = Graph(tuple(found.operations), {name: place[p] for name, p in graph.outputs.items()}, frozenset())
    needed = reduce(or_, (whole.depends_on[position] for position in whole.outputs.values()))
    return (Graph.of(whole.operations, whole.outputs, truths),
            tuple(span for position, span in enumerate(found.spans) if needed >> position & 1))


class _Found:
    """Operations so far, their spans, and the carry chains that end with them."""

    def __init__(self, chains: Chains) -> None:
        self.operations: list[Operation] = []
        self.spans: list[Span] = []
        self.before: list[int] = []
        self.chains = chains
        self._places: dict[Operation, int] = {}

    def add(self, operation: Operation, span: Span) -> int:
        if operation not in self._places:
            self._places[operation] = len(self.operations)
            self.before.append(self.chains(operation, self.before))
            self.operations.append(operation)
            self.spans.append(span)
        return self._places[operation]

    def bits(self, position: int) -> int:
        return signed_bits(*self.spans[position])


def _early(found: _Found, comparison: Operation) -> Operation:
    """The comparison, or one that says the same sooner."""
    if max(map(found.bits, comparison.arguments)) < WIDE_BITS:
        return comparison
    best, soonest = comparison, found.chains(comparison, found.before)
    left, right = comparison.arguments
    terms = [(left, 1), (right, -1)]
    while len(terms) < TERMS_MAX:
        sums = [term for term in terms if found.operations[term[0]].name in ("add", "subtract")]
        if not sums:
            break
        last, sign = max(sums, key=lambda term: found.before[term[0]])
        operation = found.operations[last]
        first, second = operation.arguments
        terms.remove((last, sign))
        terms += [(first, sign), (second, sign if operation.name == "add" else -sign)]
        if (other := _apart(found, comparison.name, terms)) is not None:
            chains = found.chains(other, found.before)
            if chains < soonest:
                best, soonest = other, chains
    return best


def _apart(found: _Found, name: str, terms: Sequence[_Term]) -> Operation | None:
    """Whether the sum of all terms is greater than 0 (or at least 0): the last term against all others; None if they
    would be too wide, or are on its side."""
    last, sign = max(terms, key=lambda term: found.before[term[0]])
    others = list(terms)
    others.remove((last, sign))
    early = [(found.before[position], position, side) for position, side in others]
    heapq.heapify(early)
    while len(early) > 1:
        (_, a, side), (_, b, other_side) = heapq.heappop(early), heapq.heappop(early)
        (low, high), (other_low, other_high) = found.spans[a], found.spans[b]
        if side == other_side:
            sum_, span = Operation("add", (a, b)), (low + other_low, high + other_high)
        elif side == -sign:
            sum_, span = Operation("subtract", (a, b)), (low - other_high, high - other_low)
        else:
            sum_, span, side = Operation("subtract", (b, a)), (other_low - high, other_high - low), -sign
        if signed_bits(*span) > MAX_BITS:
            return None
        position = found.add(sum_, span)
        heapq.heappush(early, (found.before[position], position, side))
    ((_, against, side),) = early
    if side == sign:
        return None
    return Operation(name, (last, against) if sign > 0 else (against, last))
