"""Work divided among processes of this machine, or among the workers of a Dask cluster.

What comes of an item depends on the item alone, and places are told with results: so they are the same for any number
of workers, and what a lost one had can be done again by another.

Whoever can reach a Dask scheduler can run code on its workers, and they answer with Python objects: it must be a
cluster of your own. Every worker needs this version of spikeloom.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Protocol, TypeVar

from ..errors import SpikeloomError
from .arguments import an, short, whole
from .processes import cores

__all__ = ["Workers", "workers"]

Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECT_S = 10
_WATCH_S = 0.5


class Workers(Protocol):
    """Who does the work.

    Attributes
    ----------
    count : int
        How many they are.
    """

    count: int

    def each(self, work: Callable[[Any, Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """``work(known, item)`` of all items, each with its place, in the order in which they are done."""


@contextmanager
def workers(what: str, make: Callable[..., Any], *given: Any, jobs: int | None = None,
            scheduler: str | None = None) -> Iterator[Workers]:
    """Workers that all know ``make(*given)``, each its own, made once. Whatever ends the context ends their work.

    Parameters
    ----------
    what : str
        What the items are, in messages: "samples".
    make : callable
        A function or class of a module.
    jobs : int, optional
        Processes, 1 for this one; as many as there are cores by default.
    scheduler : str, optional
        Address of a Dask scheduler whose workers are to be asked instead, as ``tcp://host:8786``.

    Raises
    ------
    SpikeloomError
        If no scheduler answers there, it has no workers, or they have another version of spikeloom; if work was lost
        again and again with those who did it; or what the work raises.
    """
    if scheduler is not None:
        an(str, scheduler, "scheduler")
        if jobs is not None:
            raise SpikeloomError("jobs must be None with a scheduler, which has workers of its own")
        with _connected(scheduler) as client:
            yield _Cluster(client, scheduler, what, make, given)
        return
    count = cores() if jobs is None else whole(jobs, "jobs", 1, 1024)
    if count == 1:
        yield _Here(make(*given))
        return
    pool = ProcessPoolExecutor(count, initializer=_begin, initargs=(os.getpid(), make, given))
    try:
        yield _Processes(pool, count, what)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


class _Here:
    """This process."""

    count = 1

    def __init__(self, known: Any) -> None:
        self.known = known

    def each(self, work: Callable[[Any, Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        for place, item in enumerate(items):
            yield place, work(self.known, item)


class _Processes:
    """Processes of this machine."""

    def __init__(self, pool: Executor, count: int, what: str) -> None:
        self.pool, self.count, self.what = pool, count, what

    def each(self, work: Callable[[Any, Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        try:
            tasks = {self.pool.submit(_done, None, "", work, item): place for place, item in enumerate(items)}
            for task in as_completed(tasks):
                yield tasks[task], task.result()
        except BrokenProcessPool as error:
            raise SpikeloomError(f"{self.what}: a process that worked on them was killed (out of memory?); what helps: "
                                 "fewer jobs") from error


class _Cluster:
    """The workers of a Dask scheduler."""

    def __init__(self, client: Any, scheduler: str, what: str, make: Callable[..., Any], given: Any) -> None:
        self.client, self.scheduler, self.what = client, scheduler, what
        self.count = _checked_workers(client, scheduler)
        self.token = uuid.uuid4().hex
        self.told = client.submit(_recipe, make, given, pure=False)  # a task: can be done again, if it is lost

    def each(self, work: Callable[[Any, Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        from distributed import CancelledError, KilledWorker
        from distributed import as_completed as completed
        tasks = {self.client.submit(_done, self.told, self.token, work, item, pure=False): place
                 for place, item in enumerate(items)}
        for task in completed(tasks, loop=self.client.loop):  # type: ignore[no-untyped-call]
            try:
                result = task.result()
            except (KilledWorker, CancelledError, OSError) as error:
                raise SpikeloomError(f"scheduler {self.scheduler!r}: {self.what} were lost with their workers: "
                                     f"{short(error)}") from error
            yield tasks[task], result


# In a worker.

_Recipe = tuple[Callable[..., Any], Any]
_own_recipe: _Recipe | None = None
_known: dict[str, Any] = {}


def _begin(parent: int, make: Callable[..., Any], given: Any) -> None:
    """In a process of its own, which ends with the one that asked, however that ends."""
    global _own_recipe
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    _own_recipe = make, given
    _known.clear()


def _recipe(make: Callable[..., Any], given: Any) -> _Recipe:
    return make, given


def _done(recipe: _Recipe | None, token: str, work: Callable[[Any, Item], Result], item: Item) -> Result:
    """``work`` with what this worker knows, which it makes first if it does not; of one task at a time."""
    known = _known.get(token)
    if known is None:
        make, given = recipe or _own_recipe  # type: ignore[misc]
        known = make(*given)
        _known.clear()
        _known[token] = known
    return work(known, item)


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise SpikeloomError("a cluster needs Dask, which is not installed: pip install -e '.[cluster]' "
                             "in spikeloom's folder") from error
    try:
        client = Client(scheduler, timeout=CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise SpikeloomError(f"scheduler {scheduler!r}: no Dask scheduler answers there: {short(error)}") from error
    with client:
        yield client


def _checked_workers(client: Any, scheduler: str) -> int:
    """How many there are; all of our version."""
    versions = client.run(_version, on_error="return")
    answers = {worker: answer for worker, answer in versions.items() if not isinstance(answer, OSError)}  # lost now
    if not answers:
        raise SpikeloomError(f"scheduler {scheduler!r}: has no workers: start some with `dask worker {scheduler}`")
    for worker, answer in answers.items():
        if isinstance(answer, Exception):
            raise SpikeloomError(f"scheduler {scheduler!r}: worker {worker} has no spikeloom: {short(answer)}")
        if answer != _version():
            raise SpikeloomError(f"scheduler {scheduler!r}: worker {worker} has spikeloom {answer}, not {_version()}")
    return len(answers)


def _version() -> str:
    return version("spikeloom")
