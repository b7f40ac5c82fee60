"""The loop that all trainings share: epochs of shuffled batches, a rate for each step, a log, a checkpoint.

Everything random in an epoch is seeded by its number, so that no generator's state needs to be kept for a training that
goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from .training_files import Checkpoint, EpochMetrics  # says clearly that torch is missing

import torch  # isort: skip
from torch import Tensor  # isort: skip

__all__ = ["LEAST_RATE", "At", "Epochs", "OnEpoch", "Progress", "rise_and_fall", "split"]

Progress = Callable[[int, int, float], None]
OnEpoch = Callable[[EpochMetrics], None]

LEAST_RATE = 1e-6


@dataclass(frozen=True)
class At:
    """Where a training is.

    Attributes
    ----------
    epoch, batch, step : int
        From 0; steps count through all epochs.
    generator : torch.Generator
        Of this epoch.
    """

    epoch: int
    batch: int
    step: int
    generator: torch.Generator


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """What does not depend on the kind of training.

    Attributes
    ----------
    count, batch, seed : int
    kept : Tensor (N,)
        Indices of the images to learn from.
    optimiser : torch.optim.Optimizer
    rate : callable
        Learning rate, by the part of the training that is done.
    checkpoint : Checkpoint
    per_image : bool
        A batch's loss is a mean over its images; else a sum.
    progress : callable (epoch from 1, batches done of all epochs, loss), optional
    on_epoch : callable, optional
    """

    count: int
    batch: int
    seed: int
    kept: Tensor
    optimiser: torch.optim.Optimizer
    rate: Callable[[float], float]
    checkpoint: Checkpoint
    per_image: bool = True
    progress: Progress | None = None
    on_epoch: OnEpoch | None = None

    def run(self, metrics: list[EpochMetrics], step: Callable[[Tensor, At], tuple[float, int]],
            judge: Callable[[], tuple[float | None, list[float]]]) -> list[EpochMetrics]:
        """Go on behind the epochs of ``metrics``.

        ``step`` learns from the images with these indices and gives the loss and how many were right; ``judge`` gives
        the accuracy on images that are held back, if there are any, and the active parts of the layers.
        """
        batches = math.ceil(len(self.kept) / self.batch)
        metrics = list(metrics)
        for epoch in range(len(metrics), self.count):
            started, total, right = time.perf_counter(), 0.0, 0
            seed = self.seed * 1_000_003 + epoch + 1
            torch.manual_seed(seed)  # dropout of PyTorch's own layers
            generator = torch.Generator().manual_seed(seed)
            shuffled = self.kept[torch.randperm(len(self.kept), generator=generator)]
            for index, chosen in enumerate(torch.split(shuffled, self.batch)):
                at = At(epoch, index, epoch * batches + index, generator)
                for group in self.optimiser.param_groups:
                    group["lr"] = self.rate(at.step / (self.count * batches))
                loss, correct = step(chosen, at)
                total += loss * (len(chosen) if self.per_image else 1)
                right += correct
                if self.progress is not None:
                    self.progress(epoch + 1, at.step + 1, loss)
            seconds = time.perf_counter() - started
            accuracy, active = judge()
            metrics.append(EpochMetrics(epoch + 1, total / len(self.kept), right / len(self.kept), accuracy, active,
                                        self.optimiser.param_groups[0]["lr"], round(seconds, 2)))
            self.checkpoint.save(metrics, last=epoch + 1 == self.count)
            if self.on_epoch is not None:
                self.on_epoch(metrics[-1])
        return metrics


def split(count: int, validation: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the images that are held back, and of those to learn from."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[:validation], order[validation:]


def rise_and_fall(done: float, highest: float, rise: float) -> float:
    """A learning rate: a line up until the part ``rise`` of the training, half a cosine down."""
    part = done / rise if done < rise else 0.5 + 0.5 * math.cos(math.pi * (done - rise) / (1 - rise))
    return highest * part + LEAST_RATE
