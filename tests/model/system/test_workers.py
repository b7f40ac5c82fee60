"""Work divided among processes and among the workers of a Dask cluster."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system import workers as module
from spikeloom.model.system.workers import workers

ITEMS = [5, 1, 4, 1, 3]


def times(known: list[int], item: int) -> int:
    return known[0] * item


def refused(known: list[int], item: int) -> int:
    raise SpikeloomError(f"item {item} is bad")


def killed(known: list[int], item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def slow(known: list[int], item: int) -> tuple[int, int]:
    time.sleep(0.05)
    return item, os.getpid()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as here:
        yield here


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_processes(jobs: int) -> None:
    with workers("items", list, (3,), jobs=jobs) as many:
        assert many.count == jobs
        for _ in range(2):
            assert dict(many.each(times, ITEMS)) == {place: 3 * item for place, item in enumerate(ITEMS)}
        assert list(many.each(times, [])) == []
        with pytest.raises(SpikeloomError, match="item 5 is bad"):
            list(many.each(refused, [5]))


def test_a_killed_process_is_a_clear_error() -> None:
    with (workers("items", list, (3,), jobs=2) as many,
          pytest.raises(SpikeloomError, match=r"items: a process that worked on them was killed .* fewer jobs")):
        list(many.each(killed, ITEMS))


def test_cluster(cluster: Any) -> None:
    for factor in (3, 4):  # the second search on the same workers knows its own
        with workers("items", list, (factor,), scheduler=cluster.scheduler_address) as many:
            assert many.count == 2
            assert dict(many.each(times, ITEMS)) == {place: factor * item for place, item in enumerate(ITEMS)}
            with pytest.raises(SpikeloomError, match="item 5 is bad"):
                list(many.each(refused, [5]))


def test_what_a_lost_worker_had_is_done_by_another() -> None:
    distributed = pytest.importorskip("distributed")
    with (distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as here,
          workers("items", list, (3,), scheduler=here.scheduler_address) as many):
        done, victims = {}, [next(iter(here.workers.values())).pid]
        for place, (item, _) in many.each(slow, range(40)):
            done[place] = item
            if victims and len(done) > 5:
                os.kill(victims.pop(), signal.SIGKILL)
        assert done == dict(enumerate(range(40)))


def test_work_that_is_lost_again_and_again_is_a_clear_error() -> None:
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    with (dask.config.set({"distributed.scheduler.allowed-failures": 0}),
          distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as here,
          workers("items", list, (3,), scheduler=here.scheduler_address) as many,
          pytest.raises(SpikeloomError, match=r"scheduler 'tcp://.*items were lost with their workers")):
        list(many.each(killed, [1]))


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(module, "CONNECT_S", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(SpikeloomError, match="no Dask scheduler answers there"), workers(
                "items", list, scheduler=address):
            pass


def test_no_workers() -> None:
    distributed = pytest.importorskip("distributed")
    with (distributed.LocalCluster(n_workers=0, dashboard_address=":0") as here,
          pytest.raises(SpikeloomError, match="has no workers: start some with `dask worker tcp://"),
          workers("items", list, scheduler=here.scheduler_address)):
        pass


def test_workers_of_another_version(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "version", lambda _name: "9.9")
    with (pytest.raises(SpikeloomError, match=r"worker tcp://.* has spikeloom .*, not 9\.9"),
          workers("items", list, scheduler=cluster.scheduler_address)):
        pass


@pytest.mark.parametrize(("options", "message"), [
    ({"jobs": 0}, "jobs"), ({"scheduler": 5}, "scheduler"),
    ({"scheduler": "tcp://x:1", "jobs": 2}, "jobs must be None")])
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpikeloomError, match=message), workers("items", list, **options):
        pass
