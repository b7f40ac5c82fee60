"""Folds that are worth having: a search over the exact cycle model and the resource model.

A move changes one field of a fold by one notch. All moves of the folds at the front are tried, again and again, until
nothing new comes to it. Two folds are told apart at the front if LUTs or cycles (or energy) differ by some percent; so
it stays small, and the search ends. Folds that differ in one layer are made of the same parts but for some of that
layer and the next: workers count what each part is made of once. A fold that the front would not take is not looked at
any further: first with the cycles that it takes at least (:mod:`.least_cycles`), the parts that are known and the lane
blocks of the others, then with all its parts. So its exact cycles are counted for few. The result does not depend on
how many workers there are.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network
from spikeloom.model.system.arguments import an, array, called, choice, real, whole
from spikeloom.model.system.workers import Workers, workers

from .cycles import count_cycles, count_stream_cycles
from .devices import Device, find_device
from .energy_constants import constants_of
from .energy_prediction import predict
from .external import memory_is_scarce, outside
from .fold import PRESETS, Fold, LayerFold, best_updates
from .inventory import Inventory, Known, parts_of
from .least_cycles import LeastCycles
from .plan import make_plan
from .resources import LUT_RAM, estimate

__all__ = ["OBJECTIVES", "Exploration", "Objective", "Point", "explore", "moves"]

Objective = Literal["latency", "throughput", "area", "energy"]
OBJECTIVES: tuple[str, ...] = get_args(Objective)

# Of a device: a design that takes more LUTs is rarely placed, or slow.
USABLE_LUTS = 0.8
SAMPLES = 50
# Points of the front differ by some percent in cycles or LUTs: so much that there is room for so many at most.
_POINTS = 40
_GRAIN_LEAST, _GRAIN_MOST = 1.01, 1.08
_BEYOND = 1.15  # folds with so many times the LUTs allowed are looked at, since others may lie behind them
_AT_ONCE = 8  # points whose moves are tried together; not how many processes there are
_LANES_TIMES_INPUTS = 8192  # adders of a layer, side by side: more has no device, and takes long to count


@dataclass(frozen=True, kw_only=True)
class Point:
    """A fold with what it takes.

    Attributes
    ----------
    cycles_mean : float
        Exact, of the samples: from the first beat to the result; for throughput, from result to result.
    lut, ff, bram, dsp : int
        Estimated.
    fold : Fold
    energy_nj : float or None
        Of an inference, with static power: predicted, where that is the objective.
    """

    cycles_mean: float
    lut: int
    ff: int
    bram: int
    dsp: int
    fold: Fold
    energy_nj: float | None = None

    @property
    def cost(self) -> float:
        """What there should be little of for these LUTs: energy, or else cycles."""
        return self.cycles_mean if self.energy_nj is None else self.energy_nj

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"fold": self.fold.to_dict()}


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """Result of :func:`explore`.

    Attributes
    ----------
    objective, device : str
    front : tuple of Point
        None is better than another in both LUTs and cycles, or energy where that is the objective; the smallest first.
    chosen : Point
        The best for the objective that fits.
    tried : int
        Folds that were looked at.
    samples : int
    """

    objective: str
    device: str
    front: tuple[Point, ...]
    chosen: Point
    tried: int
    samples: int

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"objective": self.objective, "device": self.device, "tried": self.tried, "samples": self.samples,
                "chosen": self.chosen.to_json(), "front": [point.to_json() for point in self.front]}


def explore(network: Network, device: str, samples: npt.ArrayLike, *, objective: Objective = "latency",
            max_lut: int | None = None, clock_mhz: float = 100.0, bus_bits: int = 64, jobs: int | None = None,
            scheduler: str | None = None, progress: Callable[[int, int], None] | None = None) -> Exploration:
    """Search the folds of a network for a device.

    Parameters
    ----------
    network : Network
    device : str
        A name from :data:`.DEVICES`.
    samples : array
        Whose activity the cycles are counted with.
    objective : "latency", "throughput", "area" or "energy"
        Fewest cycles from sample to result, fewest from result to result, fewest LUTs, or least energy of an inference.
    max_lut : int, optional
        LUTs at most; :data:`USABLE_LUTS` of the device's otherwise.
    clock_mhz : float
        How long static power flows, where energy is the objective.
    bus_bits : int
        Width of the buses to external weights, where the device's memory is too small.
    jobs : int, optional
        Processes; as many as there are cores otherwise.
    scheduler : str, optional
        Address of a Dask scheduler whose workers are to do it: :func:`.workers`.
    progress : callable, optional
        Told how many folds have been tried, and how many are at the front.

    Raises
    ------
    SpikeloomError
        If nothing fits (names what is too much), or the samples do not suit the network; or what :func:`.workers`
        raises.
    """
    an(Network, network, "network")
    target = find_device(device)
    choice(objective, "objective", OBJECTIVES)
    if target.lut is None:
        raise SpikeloomError(f"device {device}: has no limits that a search could keep to: name a device of its family")
    limit = int(USABLE_LUTS * target.lut) if max_lut is None else whole(max_lut, "max_lut", 1, 1 << 30)
    whole(bus_bits, "bus_bits", 32, 512)
    clock_mhz = real(clock_mhz, "clock_mhz", 1e-3, 1e6)
    if objective == "energy":
        constants_of(device)
    tell = called(progress, "progress") or (lambda tried, front: None)
    given = array(samples, "samples")
    front: _Front | None = None
    tried: set[Fold] = set()
    known: dict[str, Inventory] = {}
    with workers("folds", _Task, network, given, golden.run(network, given), objective, jobs=jobs,
                 scheduler=scheduler) as many:
        ahead = [replace(preset(network), lut_ram=target.family in LUT_RAM) for preset in PRESETS.values()]
        buses = bus_bits if memory_is_scarce(network, ahead[0], target) else None
        if buses is not None:
            ahead += [_outside(fold, buses) for fold in ahead]
        while ahead:
            fresh = [fold for fold in dict.fromkeys(ahead) if fold not in tried]
            tried.update(fresh)
            points = _evaluated(many, fresh, known, front, partial(_point, target, objective, clock_mhz),
                                partial(tell, len(tried), 0 if front is None else len(front.points)))
            front = front or _Front(target, limit, min((point.lut for point in points), default=limit))
            for point in points:
                front.offer(point)
            ahead = [fold for point in front.unexpanded() for fold in moves(point.fold, network, buses)]
    assert front is not None
    points = sorted((point for point in front.points.values() if point.lut <= limit),
                    key=lambda point: (point.lut, point.cost))
    if not points:
        raise SpikeloomError(_nothing_fits(network, target, limit, front.nearest))
    points = [p for k, p in enumerate(points) if all(q.cost > p.cost for q in points[:k])]
    best = points[0] if objective == "area" else points[-1]
    return Exploration(objective=objective, device=target.name, front=tuple(points), chosen=best, tried=len(tried),
                       samples=len(given))


def _point(target: Device, objective: str, clock_mhz: float, fold: Fold, activity: _Activity,
           made_of: Inventory) -> Point:
    """A fold with what it takes; at least, if the activity and what it is made of are."""
    cycles, additions = activity
    used = estimate(made_of, target.family)
    energy_nj = None if objective != "energy" else predict(
        used, target.name, cycles=cycles, additions=additions, clock_mhz=clock_mhz).total_nj
    return Point(cycles_mean=cycles, fold=replace(fold, name="explored"), energy_nj=energy_nj, **asdict(used))


def _nothing_fits(network: Network, target: Device, limit: int, nearest: Point | None) -> str:
    if nearest is None:
        return f"network {network.name}: there is no fold for {target.name}"
    wants = ", ".join(f"{getattr(nearest, what):,} {what.upper()}s of {most:,}" for what, most in
                      {**target.capacity(), "lut": limit}.items() if most is not None and getattr(nearest, what) > most)
    return f"network {network.name}: no fold fits {target.name}: the smallest takes {wants}; what helps: a larger part"


class _Front:
    """The best point in each cell of a grid over cost and LUTs."""

    def __init__(self, target: Device, limit: int, smallest: int) -> None:
        self.most_lut = int(_BEYOND * limit)
        self.limits = {**target.capacity(), "lut": self.most_lut}
        self.allowed = limit
        self.grain = min(_GRAIN_MOST, max(_GRAIN_LEAST, (limit / max(1, smallest)) ** (1 / _POINTS)))
        self.points: dict[tuple[int, int], Point] = {}
        self.nearest: Point | None = None
        self._expanded: set[Fold] = set()

    def offer(self, point: Point) -> None:
        """Take it, if nothing at the front is better, and remove what is worse."""
        if self.nearest is None or point.lut < self.nearest.lut:
            self.nearest = point
        if any(limit is not None and getattr(point, what) > limit for what, limit in self.limits.items()):
            return
        cell = self._cell(point.cost, point.lut)
        if self._beaten(cell) or (cell in self.points and not self._better(point, self.points[cell])):
            return
        self.points = {other: held for other, held in self.points.items()
                       if not (cell[0] <= other[0] and cell[1] <= other[1])}
        self.points[cell] = point

    def refuses(self, least: Point) -> bool:
        """Whether :meth:`offer` would not take a point that is no better than this in anything."""
        return least.lut > self.most_lut or self._beaten(self._cell(least.cost, least.lut))

    def unexpanded(self) -> list[Point]:
        """Some points whose moves have not been tried, the most efficient ones; they count as tried from now on."""
        new = [point for point in self.points.values() if point.fold not in self._expanded]
        new = sorted(new, key=_rank)[:_AT_ONCE]
        self._expanded.update(point.fold for point in new)
        return new

    def _better(self, point: Point, held: Point) -> bool:
        """Whether it takes the place of another of its cell: small gains are not worth trying all moves again."""
        return point.cost * point.lut * math.sqrt(self.grain) < held.cost * held.lut

    def _beaten(self, cell: tuple[int, int]) -> bool:
        """Whether there is a point in a cell that is better in one and not worse in the other."""
        return any(other[0] <= cell[0] and other[1] <= cell[1] and other != cell for other in self.points)

    def _cell(self, cost: float, lut: int) -> tuple[int, int]:
        # A cell ends where the LUTs do that are allowed: what takes more must not stand for what does not.
        return (math.floor(math.log(max(1.0, cost), self.grain)),
                math.floor(math.log(max(1, lut) / (self.allowed + 1), self.grain)))


def _rank(point: Point) -> tuple[float, int, int, str]:
    return point.cost * point.lut, point.bram, point.ff, repr(point.fold)


# What a worker does.


class _Task:
    """What it knows of the search, and what it has counted."""

    def __init__(self, network: Network, samples: npt.NDArray[Any], result: golden.GoldenResult,
                 objective: str) -> None:
        self.network, self.samples, self.result, self.objective = network, samples, result, objective
        self.least_cycles = LeastCycles(samples, result)
        self.known: Known = {}


_Activity = tuple[float, float]  # mean cycles; mean bits of sums that weights are added to
_Looked = tuple[_Activity, list[tuple[str, Inventory]]]


def _looked_at(task: _Task, fold: Fold) -> _Looked | None:
    """The activity at least, and of all parts the name and the least that it is made of; None if it does not suit the
    network."""
    try:
        plan = make_plan(task.network, fold)
    except SpikeloomError:
        return None
    least = 0.0 if task.objective == "throughput" else float(task.least_cycles.of(plan).mean())
    additions = float(task.least_cycles.additions(plan).mean()) if task.objective == "energy" else 0.0
    return (least, additions), [(hashlib.blake2b(part.key.encode(), digest_size=16).hexdigest(), part.least(task.known))
                                for part in parts_of(plan)]


def _made_of(task: _Task, asked: tuple[Fold, int]) -> Inventory:
    """What a part of a fold is made of."""
    fold, number = asked
    return parts_of(make_plan(task.network, fold))[number].counted(task.known)


def _cycles(task: _Task, fold: Fold) -> float:
    """Mean cycles."""
    plan = make_plan(task.network, fold)
    if task.objective == "throughput":
        ends = count_stream_cycles(plan, task.samples, result=task.result)
        return float(np.diff(ends).mean()) if len(ends) > 1 else float(ends[0])
    return float(count_cycles(plan, task.samples, result=task.result).latency.mean())


def _evaluated(many: Workers, folds: list[Fold], known: dict[str, Inventory], front: _Front | None,
               point: Callable[[Fold, _Activity, Inventory], Point], tell: Callable[[], None]) -> list[Point]:
    """Points of the folds that suit the network and may come to the front, in their order; adds ``known`` parts."""
    def each(work: Callable[[_Task, Any], Any], items: list[Any]) -> list[Any]:
        results: list[Any] = [None] * len(items)
        for place, result in many.each(work, items):
            results[place] = result
            tell()
        return results

    def made_of(parts: list[tuple[str, Inventory]]) -> Inventory:
        return sum((known.get(name, least) for name, least in parts), Inventory())

    def hopeful(looked: dict[Fold, _Looked]) -> dict[Fold, _Looked]:
        return looked if front is None else {fold: found for fold, found in looked.items()
                                             if not front.refuses(point(fold, found[0], made_of(found[1])))}

    looked = hopeful({fold: found for fold, found in zip(folds, each(_looked_at, folds), strict=True)
                      if found is not None})
    asked = {name: (fold, number) for fold, (_, parts) in reversed(looked.items())
             for number, (name, _) in enumerate(parts) if name not in known}
    known.update(zip(asked, each(_made_of, list(asked.values())), strict=True))
    looked = hopeful(looked)
    return [point(fold, (cycles, additions), made_of(parts)) for (fold, ((_, additions), parts)), cycles
            in zip(looked.items(), each(_cycles, list(looked)), strict=True)]


# Moves.


def moves(fold: Fold, network: Network, bus_bits: int | None) -> Iterator[Fold]:
    """Every fold that is one notch away; some do not suit the network. Without ``bus_bits`` all weights stay."""
    for per_beat in _notches(fold.input_per_beat, network.input.size):
        yield replace(fold, input_per_beat=per_beat)
    for index, (layer, own) in enumerate(zip(network.layers, fold.layers, strict=True)):
        channels = layer.shape[0]
        # More lanes with as many units as before, or with units in proportion.
        changed: list[LayerFold] = [replace(own, lanes=lanes, neuron_units=units)
                                    for lanes in _lanes(own.lanes, channels, len(layer.shape) == 3)
                                    for units in {min(own.neuron_units, lanes),
                                                  max(1, min(lanes, channels) * own.neuron_units // own.lanes)}]
        changed += [replace(own, neuron_units=units) for units in _notches(own.neuron_units, min(own.lanes, channels))]
        changed.append(replace(own, pipelined=not own.pipelined, updates="all"))
        if own.pipelined and best_updates(network, index) == "spiking":
            changed.append(replace(own, updates="all" if own.updates == "spiking" else "spiking"))
        if own.external_bus_bits is None and own.lanes < channels == layer.outputs:
            changed.append(replace(own, outer="groups" if own.outer == "events" else "events", sparse=False))
            if 2 * np.count_nonzero(layer.connection.weight) <= layer.connection.weight.size:
                changed.append(replace(own, outer="events", sparse=not own.sparse, inputs_per_cycle=1, multipliers=0))
        if own.external_bus_bits is None:
            changed += [replace(own, inputs_per_cycle=n) for n in _notches(own.inputs_per_cycle,
                                                                           layer.connection.inputs)]
            if bus_bits is not None:
                changed.append(outside(own, bus_bits))
        else:
            changed.append(replace(own, external_bus_bits=None, on_chip_lanes=0))
            # More lanes than the bus feeds, and more or fewer of those that it does.
            changed += [replace(own, lanes=lanes, on_chip_lanes=lanes - own.bus_lanes)
                        for lanes in _lanes(own.lanes, channels, len(layer.shape) == 3) if lanes > own.bus_lanes]
            changed += [replace(own, on_chip_lanes=max(0, own.lanes - beats * own.neuron_units))
                        for beats in _notches(-(-own.bus_lanes // own.neuron_units), own.lanes)]
        for new in changed:
            if new.lanes * new.inputs_per_cycle <= _LANES_TIMES_INPUTS:
                yield replace(fold, layers=(*fold.layers[:index], new, *fold.layers[index + 1:]))


def _notches(now: int, most: int) -> list[int]:
    """Half and twice as much."""
    return [n for n in (now // 2, 2 * now) if 1 <= n <= most]


def _lanes(now: int, channels: int, is_map: bool) -> list[int]:
    """As many lanes as save or cost a pass, or a fifth of the passes; of a map also several positions."""
    if now > channels:
        return [now - channels if now > 2 * channels else channels, now + channels]
    passes = -(-channels // now)
    steps = {passes - 1, passes + 1} if passes < 8 else {round(passes * 0.75), math.ceil(passes * 1.3)}
    lanes = {-(-channels // p) for p in steps if 1 <= p <= channels} - {now}
    if is_map and now == channels:
        lanes.add(2 * channels)
    return sorted(lanes)


def _outside(fold: Fold, bus_bits: int) -> Fold:
    """All weights in external memory."""
    return replace(fold, layers=tuple(outside(layer, bus_bits) for layer in fold.layers))
