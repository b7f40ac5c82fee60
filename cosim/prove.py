"""The proof that a build does what its network does: every sample, one at a time; and some once more in bad weather.

One at a time, cycles can be predicted and are compared. Back to back, with stalls and resets while they run, shows what
goes wrong between samples: a state that is kept, a queue that overruns, a transfer that is taken twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.gen.cycles import MEMORY
from spikeloom.gen.fetch_cycles import MemoryTiming
from spikeloom.model.system.arguments import array

from .build_folder import BuildFolder
from .simulate import Progress, SimResult, simulate

__all__ = ["Proof", "prove"]

ROUGH_SAMPLES, ROUGH_CYCLES, RESETS = 20, 400_000, 3
PAUSES = 0.25  # of the cycles, on either side


@dataclass(frozen=True)
class Proof:
    """What :func:`prove` found.

    Attributes
    ----------
    isolated : SimResult
        Of all samples, one at a time.
    rough : SimResult
        Of the first few, back to back with stalls and resets; after every second class the output waits until all
        queues are full.
    """

    isolated: SimResult
    rough: SimResult

    @property
    def ok(self) -> bool:
        """Whether everything that was compared is equal, and the resets came while the hardware worked."""
        return self.isolated.ok and self.rough.ok and self.rough.resets == RESETS

    def to_json(self) -> dict[str, Any]:
        """The fields of the isolated pass, and ``rough_pass``."""
        return {**self.isolated.to_json(), "rough_pass": self.rough.to_json()}


def prove(folder: str | Path, samples: npt.ArrayLike, labels: npt.ArrayLike | None = None, *, jobs: int = 2,
          seed: int = 0, memory: MemoryTiming = MEMORY, progress: Progress | None = None) -> Proof:
    """Simulate a build folder's Verilog both ways; parameters and errors as those of :func:`.simulate`."""
    given = array(samples, "samples")
    isolated = simulate(folder, given, labels, jobs=jobs, seed=seed, memory=memory, progress=progress)
    count = min(len(given), ROUGH_SAMPLES, max(2, int(ROUGH_CYCLES / isolated.cycles_mean)))
    # The hardware cannot have ended before it has taken every beat, nor before a sample's latency.
    surely = max(count * BuildFolder.load(folder).beats_per_sample, isolated.cycles_min)
    resets = np.random.default_rng(seed).integers(1, max(2, surely), RESETS).tolist()
    rough = simulate(folder, given[:count], None if labels is None else array(labels, "labels")[:count], jobs=1,
                     mode="stream", input_gap=PAUSES, output_stall=PAUSES, output_hold_cycles=2 * isolated.cycles_max,
                     reset_cycles=resets, seed=seed, memory=memory,
                     progress=progress)
    return Proof(isolated, rough)
