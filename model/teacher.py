"""A float CNN whose class probabilities teach spiking networks (distillation: Hinton, Vinyals & Dean, 2015).

    image - C3 - C3/2 - residual - C3/2 - residual - mean over the map - classes

with batch normalisation behind every convolution, trained on shifted and mirrored images by AdamW with a rate that
rises and falls once. An image's probabilities are those of the mean of two logits, its own and its mirror image's. The
images that the students hold back for validation are not learned from here either.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import tsslbp  # noqa: F401 - says clearly that torch is missing
from .errors import SpikeloomError
from .system.arrays import read_npy
from .system.cache import cached, found
from .system.reading import MIB, read_bytes
from .train_config import TeacherConfig, TrainConfig
from .training_files import Checkpoint, EpochMetrics, check_output

import torch  # isort: skip
from torch import Tensor, nn  # isort: skip
from torch.nn import functional  # isort: skip

from .augment import mirrored, shifted  # isort: skip

__all__ = ["LEAST_RATE", "probabilities", "rise_and_fall"]

_CHANNELS = (32, 48, 96)
LEAST_RATE = 1e-6
_RISE = 0.3  # part of the training in which the rate rises
_LEAST_SIDE = 4
_FILE, _LARGEST_FILE = "probabilities.npy", 1024 * MIB


class _Residual(nn.Module):
    """``relu(x + inner(x))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(*_convolution(channels, channels), nn.ReLU(), *_convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.inner(x))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs)]


class _Teacher(nn.Module):
    """Logits (N, classes) of uint8 pixels (N, channels, height, width)."""

    def __init__(self, channels: int, classes: int, mean: float, std: float, bfloat16: bool) -> None:
        super().__init__()
        self.mean, self.std, self.in_bfloat16 = mean, std, bfloat16
        first, second, third = _CHANNELS
        self.layers = nn.Sequential(
            *_convolution(channels, first), nn.ReLU(), *_convolution(first, second, 2), nn.ReLU(), _Residual(second),
            *_convolution(second, third, 2), nn.ReLU(), _Residual(third), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Dropout(0.2), nn.Linear(third, classes)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.float().sub_(self.mean).div_(self.std).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bfloat16):
            logits: Tensor = self.layers(x)
        return logits.float()

    @torch.no_grad()
    def judged(self, pixels: Tensor) -> Tensor:
        """Logits, mean of those of an image and of its mirror image."""
        self.eval()
        logits = torch.cat([(self(x) + self(x.flip(-1))) / 2 for x in torch.split(pixels, 500)])
        self.train()
        return logits


def probabilities(config: TeacherConfig, student: TrainConfig, images: npt.NDArray[np.uint8],
                  labels: npt.NDArray[np.int64], folder: Path, *, resume: bool = False,
                  progress: Callable[[int, int, float], None] | None = None,
                  on_epoch: Callable[[EpochMetrics], None] | None = None) -> npt.NDArray[np.float32]:
    """Train a teacher, and ask it about all images. What was asked once, with equal settings, is in the cache.

    Parameters
    ----------
    config : TeacherConfig
    student : TrainConfig
        Its ``classes``, ``validation`` and ``split_seed``.
    images : uint8 array (N, height, width) or (N, channels, height, width)
    labels : integer array (N,)
    folder : path
        For checkpoint and log; made if missing.
    resume, progress, on_epoch
        As in :func:`.train`.

    Returns
    -------
    float32 array (N, classes)

    Raises
    ------
    SpikeloomError
        If these are no images, the folder has another training's files, or its checkpoint is damaged.
    """
    if images.ndim not in (3, 4) or min(images.shape[-2:]) < _LEAST_SIDE:
        raise SpikeloomError(f"teacher: looks at images of at least {_LEAST_SIDE} x {_LEAST_SIDE} pixels, not at "
                             f"samples of shape {images.shape[1:]}; take a recipe without a teacher")
    key = _key(config, student, images, labels)
    known = found("teacher", key)
    if known is None:
        logits = _train(config, student, images, labels, folder, resume, progress, on_epoch)
        answer = functional.softmax(logits, 1).numpy()
        known = cached("teacher", key, lambda part: np.save(part / _FILE, answer))
    return np.asarray(read_npy(read_bytes(known / _FILE, _LARGEST_FILE), _FILE), np.float32)


def _key(config: TeacherConfig, student: TrainConfig, *arrays: npt.NDArray[Any]) -> str:
    """Hash of everything that the probabilities depend on."""
    told = {**asdict(config), "classes": student.classes, "validation": student.validation,
            "split_seed": student.split_seed, "torch": torch.__version__,
            "processor": torch.backends.cpu.get_cpu_capability()}
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for array in arrays:
        key.update(f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return key.hexdigest()


def _train(config: TeacherConfig, student: TrainConfig, images: npt.NDArray[np.uint8],
           labels: npt.NDArray[np.int64], folder: Path, resume: bool,
           progress: Callable[[int, int, float], None] | None,
           on_epoch: Callable[[EpochMetrics], None] | None) -> Tensor:
    """Logits of all images."""
    out = check_output(folder, resume)
    torch.set_flush_denormal(True)
    torch.set_num_threads(config.threads)
    pixels = torch.tensor(images if images.ndim == 4 else images[:, None])
    target = torch.tensor(labels)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(student.split_seed))
    held_back, kept = order[:student.validation], order[student.validation:]
    torch.manual_seed(config.seed)
    shown = pixels[kept].float()
    model = _Teacher(pixels.shape[1], student.classes, float(shown.mean()), float(shown.std()) or 1.0, config.bfloat16)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    checkpoint = Checkpoint(out, asdict(config), {"model": model, "optimiser": optimiser})
    metrics = checkpoint.load() if resume else []
    batches = math.ceil(len(kept) / config.batch)
    for epoch in range(len(metrics), config.epochs):
        started, total, right = time.perf_counter(), 0.0, 0
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch + 1)
        torch.manual_seed(config.seed * 1_000_003 + epoch + 1)  # dropout
        shuffled = kept[torch.randperm(len(kept), generator=generator)]
        for index, chosen in enumerate(torch.split(shuffled, config.batch)):
            step = epoch * batches + index
            for group in optimiser.param_groups:
                group["lr"] = config.lr * rise_and_fall(step / (config.epochs * batches), _RISE) + LEAST_RATE
            x = pixels[chosen]
            x = shifted(x, config.shift, generator) if config.shift else x
            x = mirrored(x, generator) if config.mirror else x
            logits = model(x)
            loss = functional.cross_entropy(logits, target[chosen], label_smoothing=config.label_smoothing)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            value = loss.item()
            total += value * len(chosen)
            right += int((logits.argmax(1) == target[chosen]).sum())
            if progress is not None:
                progress(epoch + 1, step + 1, value)
        seconds = time.perf_counter() - started
        accuracy = None
        if len(held_back):
            accuracy = float((model.judged(pixels[held_back]).argmax(1) == target[held_back]).double().mean())
        metrics.append(EpochMetrics(epoch + 1, total / len(kept), right / len(kept), accuracy, [],
                                    optimiser.param_groups[0]["lr"], round(seconds, 2)))
        checkpoint.save(metrics, last=epoch + 1 == config.epochs)
        if on_epoch is not None:
            on_epoch(metrics[-1])
    return model.judged(pixels)


def rise_and_fall(done: float, rise: float) -> float:
    """Factor of the learning rate after a part of the training: a line up until ``rise``, half a cosine down."""
    return done / rise if done < rise else 0.5 + 0.5 * math.cos(math.pi * (done - rise) / (1 - rise))
