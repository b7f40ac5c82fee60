"""A float CNN whose class probabilities teach spiking networks (distillation: Hinton, Vinyals & Dean, 2015).

    image - C3 - C3/2 - residual - C3/2 - residual - mean over the map - classes

with batch normalisation behind every convolution, trained on shifted and mirrored images by AdamW with a rate that
rises and falls once. An image's probabilities are those of the mean of two logits, its own and its mirror image's. The
images that the students hold back for validation are not learned from here either.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import partial
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
from .training_files import Checkpoint, check_output

import torch  # isort: skip
from torch import Tensor, nn  # isort: skip
from torch.nn import functional  # isort: skip

from .augment import changed  # isort: skip
from .epochs import At, Epochs, OnEpoch, Progress, rise_and_fall, split  # isort: skip

__all__ = ["probabilities"]

_CHANNELS = (32, 48, 96)
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
                  progress: Progress | None = None, on_epoch: OnEpoch | None = None) -> npt.NDArray[np.float32]:
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
    told = {**_told(config, student), "torch": torch.__version__,
            "processor": torch.backends.cpu.get_cpu_capability()}
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for array in arrays:
        key.update(f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return key.hexdigest()


def _told(config: TeacherConfig, student: TrainConfig) -> dict[str, Any]:
    """What determines a teacher, but the data."""
    return {**asdict(config), "classes": student.classes, "validation": student.validation,
            "split_seed": student.split_seed}


def _train(config: TeacherConfig, student: TrainConfig, images: npt.NDArray[np.uint8],
           labels: npt.NDArray[np.int64], folder: Path, resume: bool,
           progress: Progress | None, on_epoch: OnEpoch | None) -> Tensor:
    """Logits of all images."""
    out = check_output(folder, resume)
    torch.set_flush_denormal(True)
    torch.set_num_threads(config.threads)
    pixels = torch.tensor(images if images.ndim == 4 else images[:, None])
    target = torch.tensor(labels)
    held_back, kept = split(len(pixels), student.validation, student.split_seed)
    torch.manual_seed(config.seed)
    seen = pixels[kept].float()
    model = _Teacher(pixels.shape[1], student.classes, float(seen.mean()), float(seen.std()) or 1.0, config.bfloat16)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    checkpoint = Checkpoint(out, _told(config, student), {"model": model, "optimiser": optimiser})

    def step(chosen: Tensor, at: At) -> tuple[float, int]:
        logits = model(changed(pixels[chosen], config.shift, config.mirror, at.generator))
        loss = functional.cross_entropy(logits, target[chosen], label_smoothing=config.label_smoothing)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        return loss.item(), int((logits.argmax(1) == target[chosen]).sum())

    def judge() -> tuple[float | None, list[float]]:
        right = model.judged(pixels[held_back]).argmax(1) == target[held_back] if len(held_back) else None
        return None if right is None else float(right.double().mean()), []

    Epochs(count=config.epochs, batch=config.batch, seed=config.seed, kept=kept, optimiser=optimiser,
           rate=partial(rise_and_fall, highest=config.lr, rise=_RISE), checkpoint=checkpoint, progress=progress,
           on_epoch=on_epoch).run(checkpoint.load() if resume else [], step, judge)
    return model.judged(pixels)
