"""Samples divided among the workers of a Dask cluster: the same result, whoever is lost on the way."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

distributed = pytest.importorskip("distributed")

from support.networks import random_network, random_samples  # noqa: E402
from support.stub_build import seal  # noqa: E402

import spikeloom  # noqa: E402
from spikeloom.cosim import cluster  # noqa: E402
from spikeloom.cosim.cluster import simulate_on_cluster  # noqa: E402
from spikeloom.cosim.compare import Mismatch  # noqa: E402
from spikeloom.cosim.prove import prove  # noqa: E402
from spikeloom.cosim.simulate import SimResult, simulate  # noqa: E402


@pytest.fixture(scope="module")
def local() -> Iterator[Any]:
    """Two workers, processes of their own."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as here:
        yield here


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    network = random_network(rng)
    folder = tmp_path_factory.mktemp("cluster") / "build"
    spikeloom.write(spikeloom.compile(network, "small"), folder)
    samples = random_samples(rng, network, 40)
    return folder, samples, rng.integers(0, network.classes, len(samples))


def same(one: SimResult, other: SimResult) -> bool:
    times = ("wall_s", "cycles_per_s")
    a, b = one.to_json(), other.to_json()
    return ({k: v for k, v in a.items() if k not in times} == {k: v for k, v in b.items() if k not in times}
            and all(np.array_equal(getattr(one, k), getattr(other, k)) for k in ("latencies", "classes", "invalid")))


def test_the_same_result(local: Any, build: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, samples, labels = build
    told: list[tuple[str, int, int]] = []
    result = simulate_on_cluster(local.scheduler_address, folder, samples, labels,
                                 progress=lambda *at: told.append(at))
    assert result.ok
    assert same(result, simulate(folder, samples, labels))
    assert told[-1] == ("simulate", len(samples), len(samples))
    proof = prove(folder, samples[:9], labels[:9], scheduler=local.scheduler_address)
    assert proof.ok
    assert same(proof.isolated, simulate(folder, samples[:9], labels[:9]))


def test_a_lost_workers_share_is_taken_over(build: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, samples, labels = build
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as here:
        victims = [next(iter(here.workers.values())).pid]

        def kill(_stage: str, done: int, total: int) -> None:
            if 0 < done < total and victims:
                os.kill(victims.pop(), signal.SIGKILL)

        result = simulate_on_cluster(here.scheduler_address, folder, samples, labels, progress=kill)
        assert not victims
    assert same(result, simulate(folder, samples, labels))


def test_a_fault_is_found_and_named(local: Any, build: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    """A sample's number is that of all samples, not of a worker's share."""
    folder, samples, _ = build
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for path in folder.iterdir():
        (wrong / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((wrong / "manifest.json").read_text())
    memory = next(name for name in manifest["memory_files"] if "weights" in name)
    digits = (wrong / memory).read_text()
    (wrong / memory).write_text(digits.translate(str.maketrans("0123456789abcdef", "fedcba9876543210")))
    seal(wrong)
    plain = simulate(wrong, samples)
    assert plain.mismatches
    assert same(simulate_on_cluster(local.scheduler_address, wrong, samples), plain)


def test_parts_are_put_together() -> None:
    def part(samples: int, mismatch: int | None) -> SimResult:
        first = None if mismatch is None else Mismatch(mismatch, "output", 1, 2, 0, 1)
        cycles = np.arange(samples) + 10
        return SimResult(samples=samples, mismatches=0 if first is None else 3, first_mismatch=first,
                         cycles_min=10, cycles_mean=float(cycles.mean()), cycles_max=int(cycles.max()),
                         cycles_mispredicted=1, accuracy=0.5, wall_s=1.0, cycles_per_s=5.0, resets=0, seed=0,
                         latencies=cycles, classes=np.zeros(samples, np.int64), invalid=np.zeros(samples, np.bool_))

    whole = cluster.combined([part(4, None), part(6, 2), part(2, 0)])
    assert (whole.samples, whole.mismatches, whole.cycles_mispredicted, whole.accuracy) == (12, 6, 3, 0.5)
    assert whole.first_mismatch is not None
    assert whole.first_mismatch.sample == 6
    assert (whole.cycles_min, whole.cycles_max) == (10, 15)
    assert whole.cycles_mean == np.concatenate([np.arange(n) + 10 for n in (4, 6, 2)]).mean()
