"""Recorded spikes and classes against the golden model's: equal means equal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.model.golden import GoldenResult

from .build_folder import BuildFolder
from .capture import Results, read_spikes

__all__ = ["CLASS", "Comparison", "Mismatch"]

CLASS = "class"


@dataclass(frozen=True)
class Mismatch:
    """A place at which hardware and golden model differ.

    Attributes
    ----------
    sample : int
    layer : str
        Name of the layer, or ``"class"`` for the network's answer.
    step, neuron : int or None
        None for a class; also for a spike in an item of the stream that stands for no neuron.
    got, want : int
        The hardware's and the golden model's spike bit or class.
    """

    sample: int
    layer: str
    step: int | None
    neuron: int | None
    got: int
    want: int

    def __str__(self) -> str:
        place = [f"sample {self.sample}", f"layer {self.layer}" if self.layer != CLASS else CLASS]
        place += [f"{name} {value}" for name, value in (("step", self.step), ("neuron", self.neuron))
                  if value is not None]
        return f"{', '.join(place)}: got {self.got}, want {self.want}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Comparison:
    """Counts differences, batch by batch, and remembers the first: by sample, then layer, step and neuron."""

    mismatches: int = 0
    first: Mismatch | None = None

    def add(self, build: BuildFolder, run_dir: Path, offset: int, want: GoldenResult,
            results: Results, first_sample: int) -> None:
        """Compare one batch.

        Parameters
        ----------
        run_dir : Path
            Where the testbench's files are.
        offset : int
            The batch's first sample in those files.
        want, results
            The golden model's results of the batch, and the hardware's of the whole file.
        first_sample : int
            The number by which the user knows the batch's first sample.
        """
        candidates: list[Mismatch] = []
        varies = build.network.breaks_off or build.network.marked
        classes = results.classes[offset:offset + len(want.classes)]
        # A run that ends early has all spikes up to the end of its last window, and maybe some later ones.
        needed = np.arange(build.network.steps) // build.window_steps <= want.last_steps[:, None] // build.window_steps
        for index, (layer, want_spikes) in enumerate(zip(build.layers, want.spikes, strict=True)):
            got_spikes, seen, padding = read_spikes(build, layer, run_dir, offset, len(classes),
                                                    results.transfers[:, index] if varies else None)
            wrong = np.where(seen, got_spikes != want_spikes, needed[:, :, None])
            self.mismatches += int(wrong.sum()) + int(padding.sum())
            if wrong.any():
                n, t, i = (int(x) for x in np.unravel_index(int(wrong.argmax()), wrong.shape))
                candidates.append(Mismatch(first_sample + n, layer.name, t, i, int(got_spikes[n, t, i]),
                                           int(want_spikes[n, t, i])))
            if padding.any():
                n = int(padding.any(axis=1).argmax())
                candidates.append(Mismatch(first_sample + n, layer.name, None, None, 1, 0))
        wrong_classes = classes != want.classes
        self.mismatches += int(wrong_classes.sum())
        if wrong_classes.any():
            n = int(wrong_classes.argmax())
            candidates.append(Mismatch(first_sample + n, CLASS, None, None, int(classes[n]), int(want.classes[n])))
        if self.first is None and candidates:
            self.first = min(candidates, key=lambda m: m.sample)  # min keeps the order of layers within a sample
