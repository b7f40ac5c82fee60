"""The proof that a build does what its network does: every sample, one at a time; odd ones; and these in bad weather.

One at a time, cycles can be predicted and are compared. Samples like all others leave corners dark: thinned, blank and
full ones show them. Back to back, with stalls and resets while they run, shows what goes wrong between samples: a state
that is kept, a queue that overruns, a transfer that is taken twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.gen.channels import pooled_channels, queue_order
from spikeloom.gen.cycles import MEMORY
from spikeloom.gen.fetch_cycles import MemoryTiming
from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Dense, Network
from spikeloom.model.samples import NO_STEP, encode_input, run_lengths
from spikeloom.model.system.arguments import array

from .build_folder import BuildFolder
from .cluster import simulate_on_cluster
from .simulate import Progress, SimResult, simulate

__all__ = ["Proof", "prove"]

ROUGH_SAMPLES, ROUGH_CYCLES, RESETS = 60, 300_000, 60
LONG_CYCLES = 30_000  # of a sample: full ones take ten times as long, and are left out
PAUSES = 0.25  # of the cycles, on either side
FULL = 2
KEPT = ((0.05,), (FULL,), (0.1, 0), (0.2,), (FULL, 0, FULL), (0.4, 0.02))  # shares of a sample's spikes or pixels


@dataclass(frozen=True)
class Proof:
    """What :func:`prove` found.

    Attributes
    ----------
    isolated : SimResult
        Of all samples, one at a time.
    odd : SimResult
        Of the first few and, between them, thinned, blank and full ones, one at a time.
    rough : SimResult
        The same back to back, with stalls and resets; now and then the output waits until all queues are full.
    wrongly_marked : int
        With weights in external memory: samples that are marked as invalid though none of their weight rows was
        answered with an error, or the other way round, when the odd ones meet a row that is.
    resets : int
        That the rough pass was to have: none for a network that keeps its state.
    """

    isolated: SimResult
    odd: SimResult
    rough: SimResult
    wrongly_marked: int
    resets: int

    @property
    def ok(self) -> bool:
        """Whether everything that was compared is equal, and the resets came while the hardware worked."""
        return (self.isolated.ok and self.odd.ok and self.rough.ok and self.rough.resets == self.resets
                and not self.wrongly_marked)

    def to_json(self) -> dict[str, Any]:
        """The fields of the isolated pass, and ``odd_pass``, ``rough_pass`` and ``wrongly_marked``."""
        return {**self.isolated.to_json(), "odd_pass": self.odd.to_json(), "rough_pass": self.rough.to_json(),
                "wrongly_marked": self.wrongly_marked}


def prove(folder: str | Path, samples: npt.ArrayLike, labels: npt.ArrayLike | None = None, *, jobs: int | None = None,
          seed: int = 0, memory: MemoryTiming = MEMORY, progress: Progress | None = None,
          scheduler: str | None = None, network: Network | None = None) -> Proof:
    """Simulate a build folder's Verilog in each of these ways; parameters and errors as those of :func:`.simulate`.

    With the address of a Dask ``scheduler`` its workers take the samples that come alone:
    :func:`.simulate_on_cluster`; not those of a ``network`` that is loaded first.
    """
    if scheduler is not None and network is not None:
        raise SpikeloomError("network must be None with a scheduler: a cluster proves what was built")
    given = array(samples, "samples")
    if scheduler is None:
        isolated = simulate(folder, given, labels, jobs=jobs, seed=seed, memory=memory, progress=progress,
                            network=network)
    else:
        isolated = simulate_on_cluster(scheduler, folder, given, labels, memory=memory, progress=progress)
    count = min(len(given), ROUGH_SAMPLES, max(2, int(ROUGH_CYCLES / isolated.cycles_mean)))
    build = BuildFolder.load(folder) if network is None else BuildFolder.load(folder).loading(network)[0]
    mixed = _between_odd_ones(given[:count], np.random.default_rng(seed), isolated.cycles_mean < LONG_CYCLES,
                              build.network.marked)
    odd = simulate(folder, mixed, jobs=jobs, seed=seed, memory=memory, progress=progress, network=network)
    # A layer holds up to four samples of few beats; it works on one for less than the whole hardware when it is alone.
    hold = min(len(mixed), 8 + 4 * len(build.layers)) * odd.cycles_max
    # Resets come in the first third of what the pass takes at least: they empty the queues, which then are to fill.
    surely = (1 + (len(mixed) - 1) // 32) * hold
    # A reset would end an endless stream.
    resets = ([] if build.network.endless else
              np.random.default_rng(seed).integers(1, max(2, surely // 3), RESETS).tolist())
    rough = simulate(folder, mixed, jobs=1, mode="stream", input_gap=PAUSES, output_stall=PAUSES,
                     output_hold_cycles=hold, reset_cycles=resets, seed=seed, memory=memory, progress=progress,
                     network=network)
    marked = 0
    if (failing := _failing_row(build, mixed)) is not None:
        address, expected = failing
        faulty = simulate(folder, mixed, jobs=jobs, seed=seed, memory=memory, memory_error_address=address,
                          network=network)
        marked = int((faulty.invalid != expected).sum()) + int(odd.invalid.sum()) + int(rough.invalid.sum())
    return Proof(isolated, odd, rough, marked, len(resets))


def _failing_row(build: BuildFolder, samples: npt.NDArray[Any]) -> tuple[int, npt.NDArray[np.bool_]] | None:
    """Address of a weight row in external memory that some of the samples need, and which; None if there is none."""
    network = build.network
    signals = [encode_input(network, samples), *golden.run(network, samples).spikes]
    lengths = run_lengths(network, samples)
    channels = [build.input, *(stream.channels for stream in build.layers)]
    for table in build.manifest.external:
        layer = next(layer for layer in network.layers if layer.name == table.layer)
        if not isinstance(layer.connection, Dense) or layer.pool is not None:
            continue
        signal = golden.synaptic_inputs(network, layer, signals, lengths)
        needed = (signal if layer.static else signal.any(axis=1)) != 0  # (N, inputs)
        channel = int(np.abs(needed.mean(axis=0) - 0.5).argmin())
        if not 0 < needed[:, channel].sum() < len(samples):
            continue
        order = queue_order(layer, [pooled_channels(source, channels[source.index]) for source in layer.sources])
        row = int(np.flatnonzero(order.index.ravel() == channel)[0])
        return table.base + row * table.row_bytes, needed[:, channel]
    return None


def _between_odd_ones(samples: npt.NDArray[Any], rng: np.random.Generator, full: bool,
                      marked: bool = False) -> npt.NDArray[Any]:
    """Each followed by samples of which layers have little to do, nothing, or, with ``full``, as much as they can."""
    gone = samples == NO_STEP if marked else np.zeros(samples.shape, np.bool_)
    largest = 255 if samples.dtype == np.uint8 and samples[~gone].max(initial=0) > 1 else 1
    mixed = []
    for k, (sample, behind) in enumerate(zip(samples, gone, strict=True)):
        mixed.append(sample)
        for share in KEPT[k % len(KEPT)]:
            kept = sample * (rng.random(sample.shape) < share)
            if share != FULL:
                mixed.append(np.where(behind, sample, kept.astype(samples.dtype)))
            elif full:
                mixed.append(np.where(behind, sample, samples.dtype.type(largest)))
    return np.stack(mixed)
