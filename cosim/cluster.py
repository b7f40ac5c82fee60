"""Co-simulation of many samples by the workers of a Dask cluster (:mod:`spikeloom.model.system.workers`).

Every worker needs a Verilator; the build folder travels to them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.gen.cycles import MEMORY
from spikeloom.gen.fetch_cycles import MemoryTiming
from spikeloom.gen.manifest import MANIFEST, MAX_MANIFEST_BYTES, read_build
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.arguments import called
from spikeloom.model.system.reading import read_bytes
from spikeloom.model.system.workers import workers

from .build_folder import BuildFolder
from .simulate import Progress, SimResult, simulate
from .stimulus import checked_stimulus

__all__ = ["combined", "simulate_on_cluster"]

SHARE = 250  # samples of a task at most: what is lost with a worker, and how often progress is told
TASKS_PER_WORKER = 4


def simulate_on_cluster(scheduler: str, folder: str | Path, samples: npt.ArrayLike,
                        labels: npt.ArrayLike | None = None, *, memory: MemoryTiming = MEMORY,
                        progress: Progress | None = None) -> SimResult:
    """As :func:`.simulate`, every sample alone and without stalls, by all workers of a Dask scheduler.

    The result is the same for any number of workers, but for the times. The share of a worker that is lost is done
    by another one.

    Parameters
    ----------
    scheduler : str
        Address, as ``tcp://host:8786``.
    folder, samples, labels, memory, progress
        As in :func:`.simulate`; the stage is "simulate".

    Raises
    ------
    SpikeloomError
        If no scheduler answers there, it has no workers, they have another version of spikeloom, or what
        :func:`.simulate` raises.
    """
    report: Progress = called(progress, "progress") or (lambda stage, done, total: None)
    began = time.monotonic()
    build = BuildFolder.load(folder)
    if build.network.endless:
        raise SpikeloomError(f"network {build.network.name} keeps its state from sample to sample: they cannot be "
                             "divided")
    array, label_array = checked_stimulus(build, samples, labels)
    files = {MANIFEST: read_bytes(build.path / MANIFEST, MAX_MANIFEST_BYTES), **read_build(folder).files}
    parts: dict[int, SimResult] = {}
    with workers("samples", dict, files, scheduler=scheduler) as many:
        share = max(1, min(SHARE, -(-len(array) // (TASKS_PER_WORKER * many.count))))
        shares = [(array[k:k + share], None if label_array is None else label_array[k:k + share])
                  for k in range(0, len(array), share)]
        report("simulate", 0, len(array))
        for place, part in many.each(partial(_share, memory=memory), shares):
            parts[place] = part
            report("simulate", sum(part.samples for part in parts.values()), len(array))
    return replace(combined([parts[place] for place in range(len(shares))]), wall_s=time.monotonic() - began)


def combined(parts: list[SimResult]) -> SimResult:
    """One result of those of the samples' parts, in their order."""
    first, before = None, 0
    for part in parts:
        if first is None and part.first_mismatch is not None:
            first = replace(part.first_mismatch, sample=part.first_mismatch.sample + before)
        before += part.samples
    latencies = np.concatenate([part.latencies for part in parts])
    right = [None if part.accuracy is None else round(part.accuracy * part.samples) for part in parts]
    simulating = [part.latencies.sum() / part.cycles_per_s for part in parts]
    return replace(
        parts[0], samples=before, mismatches=sum(part.mismatches for part in parts), first_mismatch=first,
        cycles_min=int(latencies.min()), cycles_mean=float(latencies.mean()), cycles_max=int(latencies.max()),
        cycles_mispredicted=sum(part.cycles_mispredicted or 0 for part in parts),
        accuracy=None if None in right else sum(n for n in right if n is not None) / before,
        cycles_per_s=float(latencies.sum() / max(simulating)), latencies=latencies,
        classes=np.concatenate([part.classes for part in parts]),
        invalid=np.concatenate([part.invalid for part in parts]))


def _share(files: Mapping[str, bytes], given: tuple[npt.NDArray[Any], npt.NDArray[Any] | None],
           memory: MemoryTiming) -> SimResult:
    """Runs in a worker."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "build"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return simulate(folder, *given, jobs=1, memory=memory)
