"""What a placement by nextpnr says for what comes next: where block RAMs belong, and which clock to ask for.

The placer settles block RAMs while the logic that they feed still lies on a heap, and never moves them again: tens of
columns from their loads, in the end. So those with most of the weights are bound to places for a further placement,
whose logic comes to lie around them; and in the last placement all of them are moved, and multipliers with them, when
all else is settled.

The router does its best for the paths that miss the clock which was asked for: asked for far too much, it treats half
the design alike, and asked for less than it can reach, it stops there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spikeloom.model.errors import SpikeloomError

from .placed_design import BLOCK_RAM, MULTIPLIER, PlacedDesign

__all__ = ["ask_for_mhz", "block_ram_places", "bound_places", "move_block_rams", "move_multipliers"]

_SLOWEST_POWER = 16  # of a block RAM's slowest path, which is what the clock depends on in the end
_SHARE = 0.1  # of the block RAMs, in a layer of whose logic so much lies around them that it comes with them


def ask_for_mhz(wanted: float, placed: Mapping[str, Any]) -> float:
    """The clock to ask the router for first: what is wanted, or what a placed module lets one hope for."""
    slowest_ns = PlacedDesign(placed).slowest_ns()
    return min(wanted, round(1000 / slowest_ns, 1)) if slowest_ns else wanted


def _layer_of_weights(name: str) -> str | None:
    """The layer whose weights a block RAM of this name holds."""
    layer, found, _ = name.partition(".synapses.weights")
    return layer if found else None


def bound_places(places: Mapping[str, str]) -> dict[str, str]:
    """Those that are for a further placement, too: of weights of layers with a tenth of the block RAMs or more. What
    there is beside the lanes of large layers is elsewhere in each placement, and its few block RAMs with it."""
    sizes = Counter(map(_layer_of_weights, places))
    large = {layer for layer, size in sizes.items() if layer is not None and size >= _SHARE * len(places)}
    return {name: place for name, place in places.items() if _layer_of_weights(name) in large}


def move_block_rams(placed: dict[str, Any]) -> None:
    """Put the block RAMs of a placed module where :func:`block_ram_places` says."""
    _put(placed, block_ram_places(placed))


def block_ram_places(placed: Mapping[str, Any]) -> dict[str, str]:
    """A site for each block RAM: so that all are as near to their loads and drivers as they can be together, those on
    slow paths above all. Each counts alike, however many wires it has.

    The cost of a site is the mean of the squares of all distances, times a high power of the slowest path from or to
    the block RAM there. The sites are a grid: rows in which the placement has block RAMs, and columns in which it has
    some in any row.

    Parameters
    ----------
    placed : mapping
        A module (nextpnr's ``--write``).

    Returns
    -------
    dict
        Site by cell, as the attribute ``BEL`` names it.

    Raises
    ------
    SpikeloomError
        If SciPy is not installed.
    """
    design = PlacedDesign(placed)
    rams = _of_type(design, BLOCK_RAM)
    columns = {(design.places[name][0], _bel(design, name)) for name in rams}
    rows = sorted({design.places[name][1] for name in rams})
    return _assigned(design, rams, [(x, y, bel) for x, bel in sorted(columns) for y in rows])


def move_multipliers(placed: dict[str, Any]) -> None:
    """Let the multipliers of a placed module change places, by the same costs.

    Raises
    ------
    SpikeloomError
        If SciPy is not installed.
    """
    design = PlacedDesign(placed)
    names = _of_type(design, MULTIPLIER)
    _put(placed, _assigned(design, names, [(*design.places[name], _bel(design, name)) for name in names]))


def _of_type(design: PlacedDesign, kind: str) -> list[str]:
    return [name for name in design.places if design.cells[name]["type"] == kind]


def _assigned(design: PlacedDesign, names: Sequence[str], sites: Sequence[tuple[int, int, str]]) -> dict[str, str]:
    """For each cell the site that it gets if all together cost least."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise SpikeloomError("block RAMs are placed with SciPy: pip install 'spikeloom[pnr]'") from None
    if not names:
        return {}
    places = np.array([(x, y) for x, y, _ in sites])
    cost = np.zeros((len(names), len(sites)))
    for row, name in enumerate(names):
        if wires := design.wires(name):
            ends = np.array([design.places[other] for _, _, (other, _) in wires])
            distances = np.abs(places[:, None] - ends).sum(2)
            cost[row] = (distances ** 2).mean(1) * design.slowest_through_ns([name], places) ** _SLOWEST_POWER
    return {names[row]: "X{}/Y{}/{}".format(*sites[column])
            for row, column in zip(*linear_sum_assignment(cost), strict=True)}


def _put(placed: dict[str, Any], sites: Mapping[str, str]) -> None:
    for name, site in sites.items():
        placed["cells"][name]["attributes"]["NEXTPNR_BEL"] = site


def _bel(design: PlacedDesign, name: str) -> str:
    """Of a cell's place, what comes behind column and row."""
    return str(design.cells[name]["attributes"]["NEXTPNR_BEL"]).split("/", 2)[2]
