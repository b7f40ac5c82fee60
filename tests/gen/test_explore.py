"""The search for folds against all folds there are, and its parts."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
from typing import Any

import numpy as np
import pytest
from support.networks import make_external, random_fold, random_graph, random_network

from spikeloom.gen.cycles import count_cycles, count_stream_cycles
from spikeloom.gen.devices import DEVICES
from spikeloom.gen.explore import Exploration, Point, _Front, explore, moves
from spikeloom.gen.fold import Fold, LayerFold, check_fold, fold_from_dict
from spikeloom.gen.inventory import Inventory, MemoryShape, inventory_of, parts_of
from spikeloom.gen.plan import Plan, make_plan
from spikeloom.gen.resources import estimate, memory_use
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Dense, Network
from spikeloom.rtl import lane_block


@pytest.fixture(scope="module")
def network() -> Network:
    return random_network(np.random.default_rng(4), sizes=(16, 8, 4), static=True, steps=4)


@pytest.fixture(scope="module")
def single() -> Network:
    return random_network(np.random.default_rng(4), sizes=(16, 6), static=True, steps=4)


@pytest.fixture(scope="module")
def images() -> Any:
    rng = np.random.default_rng(5)
    return (rng.integers(0, 256, (20, 16)) * (rng.random((20, 16)) < 0.4)).astype(np.uint8)


Explored = tuple[Exploration, list[tuple[int, int]], int]


@pytest.fixture(scope="module")
def explored(single: Network, images: Any) -> Explored:
    """What one process finds, what it told on the way, and how many points came to the front's door."""
    told: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        offered = counted_offers(patch)
        result = explore(single, "lfe5u-25f", images, jobs=1, progress=lambda *now: told.append(now))
    return result, told, len(offered)


def counted_offers(patch: pytest.MonkeyPatch) -> list[Point]:
    offered: list[Point] = []
    offer = _Front.offer

    def counting(front: _Front, point: Point) -> None:
        offered.append(point)
        offer(front, point)

    patch.setattr(_Front, "offer", counting)
    return offered


def all_points(network: Network, images: Any) -> list[tuple[float, int]]:
    """Cycles and LUTs of every fold, but for inputs a beat."""
    points, known = [], {}  # type: ignore[var-annotated]
    sizes = [layer.shape[0] for layer in network.layers]
    first, second = (
        [LayerFold(lanes=lanes, inputs_per_cycle=n, neuron_units=units, pipelined=pipelined)
         for lanes in range(1, size + 1) for n in (1, 2, 4) for units in (1, 2, 4) if units <= lanes
         for pipelined in (False, True)] for size in sizes)
    for per_beat, layers in itertools.product((1, 4), itertools.product(first[::3], second[::2])):
        fold = Fold(layers=layers, input_per_beat=per_beat)
        try:
            plan = make_plan(network, fold)
        except SpikeloomError:
            continue
        points.append((float(count_cycles(plan, images).latency.mean()),
                       estimate(inventory_of(plan, known), "ecp5").lut))
    return points


@pytest.mark.slow
def test_against_all_folds(network: Network, images: Any) -> None:
    points = all_points(network, images)
    assert len(points) > 300
    smallest = min(lut for _, lut in points)
    for limit in (smallest * 3 // 2, smallest * 3, 1_000_000):
        found = explore(network, "lfe5u-85f", images, max_lut=limit, jobs=1)
        best = min(cycles for cycles, lut in points if lut <= limit)
        assert found.chosen.cycles_mean <= 1.15 * best
        assert found.chosen.lut <= limit
    area = explore(network, "lfe5u-85f", images, objective="area", jobs=1)
    assert area.chosen.lut <= 1.15 * smallest


def test_result(single: Network, images: Any, explored: Explored) -> None:
    """Exact cycles, folds that are right, nothing worse than another at the front; for any number of workers."""
    network, (found, reports, _) = single, explored
    assert found == explore(network, "lfe5u-25f", images, jobs=3)
    assert reports[-1][0] == found.tried
    assert [tried for tried, _ in reports] == sorted(tried for tried, _ in reports)
    luts, cycles = [p.lut for p in found.front], [p.cycles_mean for p in found.front]
    assert luts == sorted(set(luts))
    assert cycles == sorted(set(cycles), reverse=True)
    assert found.chosen == found.front[-1]
    for point in found.front:
        check_fold(network, point.fold)
        plan = make_plan(network, point.fold)
        assert point.cycles_mean == count_cycles(plan, images).latency.mean()
        assert point.lut == estimate(inventory_of(plan), "ecp5").lut
        assert point.fold == fold_from_dict(json.loads(json.dumps(point.to_json()["fold"])), "x")
    json.dumps(found.to_json())
    through = explore(network, "lfe5u-25f", images, objective="throughput", jobs=1).chosen
    assert through.cycles_mean == np.diff(count_stream_cycles(make_plan(network, through.fold), images)).mean()


def test_what_is_not_counted_would_change_nothing(single: Network, images: Any, explored: Explored,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    found, _, offered_to_it = explored
    offered = counted_offers(monkeypatch)
    monkeypatch.setattr(_Front, "refuses", lambda *given: False)
    assert explore(single, "lfe5u-25f", images, jobs=1) == found
    assert offered_to_it < len(offered)


def test_workers_of_a_cluster_find_the_same(single: Network, images: Any, explored: Explored) -> None:
    """Also if one of them is lost on the way."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as here:
        victims = [next(iter(here.workers.values())).pid]

        def kill(tried: int, _front: int) -> None:
            if tried > explored[0].tried / 3 and victims:
                os.kill(victims.pop(), signal.SIGKILL)

        spread = explore(single, "lfe5u-25f", images, scheduler=here.scheduler_address, progress=kill)
    assert not victims
    assert spread == explored[0]


def test_weights_move_out_where_they_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEVICES, "lfe5u-25f", dataclasses.replace(DEVICES["lfe5u-25f"], bram=7))
    monkeypatch.setattr("spikeloom.gen.explore.moves", lambda *given: list(moves(*given))[:3])
    networks = (random_network(np.random.default_rng(seed), sizes=(600, 60, 5), static=True, steps=3)
                for seed in range(99))
    large = next(n for n in networks
                 if isinstance(n.layers[0].connection, Dense) and n.layers[0].connection.weight_bits == 8)
    found = explore(large, "lfe5u-25f", np.ones((3, 600), np.uint8), bus_bits=32, jobs=1)
    assert found.chosen.bram <= 7
    assert any(layer.external_bus_bits == 32 for layer in found.chosen.fold.layers)


@pytest.mark.parametrize(("options", "message"), [
    ({"device": "lfe5u"}, "did you mean lfe5u-25f"),
    ({"device": "xc7"}, "has no limits"),
    ({"max_lut": 10}, r"no fold fits lfe5u-25f: the smallest takes [\d,]+ LUTs of 10; what helps: a larger part"),
    ({"max_lut": 0}, "max_lut"),
    ({"objective": "beauty"}, "objective must be"),
    ({"jobs": 0}, "jobs"),
])
def test_bad_options(network: Network, images: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpikeloomError, match=message):
        explore(network, **{"device": "lfe5u-25f", "samples": images, "jobs": 1, **options})


def test_moves_lead_everywhere_and_back(network: Network) -> None:
    fold = Fold(layers=(LayerFold(lanes=4, inputs_per_cycle=2), LayerFold()), input_per_beat=4)
    for ahead in moves(fold, network, 64):
        try:
            check_fold(network, ahead)
        except SpikeloomError:
            continue
        assert ahead != fold
        names = [field.name for field in dataclasses.fields(Fold)]
        assert sum(getattr(ahead, name) != getattr(fold, name) for name in names) == 1


def test_sparse_rows_are_tried_where_half_of_the_weights_are_zero(network: Network) -> None:
    def tried(network: Network) -> list[int]:
        fold = Fold(layers=(LayerFold(lanes=4),) * len(network.layers))
        return [k for each in moves(fold, network, None) for k, layer in enumerate(each.layers) if layer.sparse]

    def with_share(share: float) -> Network:
        """Of weights that are not 0, in the first layer."""
        first, *others = network.projections
        weight = (np.arange(first.connection.weight.size) % 10 < 10 * share).reshape(first.connection.weight.shape)
        return dataclasses.replace(network, projections=(dataclasses.replace(first, connection=Dense(
            weight=weight.astype(np.int8), weight_bits=4)), *others))

    assert tried(with_share(0.9)) == []
    assert tried(with_share(0.4)) == [0]


def counted_in_full(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Inventory:
    """Without the shortcuts for lane blocks, and for arrays of many of them."""
    with monkeypatch.context() as patch:
        class Other(lane_block.LaneBlock):
            pass

        patch.setattr("spikeloom.gen.inventory.LaneBlock", Other)
        patch.setattr("spikeloom.gen.inventory._first_blocks", lambda config: config.blocks)
        return inventory_of(plan)


@pytest.mark.parametrize("seed", range(12))
def test_lane_blocks_are_counted_as_if_they_were_made(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, sizes=(20, 60, 7))
    fold = random_fold(rng, network)
    plan = make_plan(network, make_external(rng, network, fold) if seed % 3 == 0 else fold)
    assert inventory_of(plan) == counted_in_full(plan, monkeypatch)
    for part in parts_of(plan):
        assert part.least({}) - part.counted({}) == Inventory()


def test_all_parts_of_networks_are_counted() -> None:
    for seed in range(15):
        rng = np.random.default_rng(seed)
        network = random_graph(rng)
        plan = make_plan(network, random_fold(rng, network))
        inventory = inventory_of(plan)
        assert inventory.counts["register"] > 100
        assert all(count > 0 for count in inventory.memories.values())
        assert all(estimate(inventory, family).lut > 50 for family in ("ecp5", "ice40", "gowin"))


@pytest.mark.parametrize(("memory", "family", "use"), [
    (MemoryShape(490, 32, clocked=True, written=False), "ecp5", (0, 0, 1)),
    (MemoryShape(1000, 32, clocked=True, written=False), "ecp5", (0, 0, 2)),
    (MemoryShape(16384, 4, clocked=True, written=False), "ecp5", (0, 0, 4)),
    (MemoryShape(49, 17, clocked=True, written=True), "ecp5", (120, 17, 0)),
    (MemoryShape(168, 5, clocked=True, written=True), "ecp5", (132, 5, 0)),
    (MemoryShape(16384, 24, clocked=True, written=False), "ecp5", (0, 0, 22)),
    (MemoryShape(1176, 44, clocked=True, written=False), "ecp5", (0, 0, 4)),
    (MemoryShape(5488, 48, clocked=True, written=False), "ecp5", (0, 0, 16)),
    (MemoryShape(5376, 32, clocked=True, written=False), "ecp5", (0, 0, 11)),  # 10 of another form cost as much
    (MemoryShape(5488, 28, clocked=True, written=False), "ecp5", (0, 0, 9)),
    (MemoryShape(4608, 13, clocked=True, written=True), "ecp5", (0, 0, 5)),
    (MemoryShape(144, 9, clocked=True, written=True), "ecp5", (0, 0, 1)),
    (MemoryShape(10, 6, clocked=False, written=False), "ecp5", (0, 0, 0)),
    (MemoryShape(1, 4, clocked=True, written=False), "ecp5", (0, 0, 0)),
    (MemoryShape(50, 32, clocked=True, written=True), "ecp5", (0, 0, 1)),
    (MemoryShape(16, 480, clocked=False, written=True), "ecp5", (720, 0, 0)),
    (MemoryShape(16, 5, clocked=False, written=True), "ice40", (80, 80, 0)),
    (MemoryShape(512, 9, clocked=True, written=True), "ice40", (0, 0, 2)),
    (MemoryShape(5, 4, clocked=True, written=True), "ice40", (20, 20, 0)),
    (MemoryShape(2, 1, clocked=False, written=True), "ecp5", (2, 2, 0)),
])
def test_memories(memory: MemoryShape, family: Any, use: tuple[int, int, int]) -> None:
    assert memory_use(memory, family) == use
