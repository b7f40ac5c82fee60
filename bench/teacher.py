"""Class probabilities of a float CNN on the FashionMNIST training images, to distil spiking networks from.

    python bench/teacher.py --out teacher.npy
    python bench/teacher.py --size large --epochs 12 --validation 2000 --out teacher_large.npy

The images that `spikeloom.model.train` holds back for validation (same seed and number) are held back here too,
so that the validation accuracy of a student stays honest. The test images are not read.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from spikeloom.model import datasets


def _small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 40, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(40), nn.ReLU(),
        nn.Conv2d(40, 80, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(80), nn.ReLU(), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(80 * 49, 192), nn.ReLU(), nn.Dropout(0.3), nn.Linear(192, 10))


def _large() -> nn.Sequential:
    return nn.Sequential(
        *_conv(1, 32), nn.ReLU(), *_conv(32, 48, 2), nn.ReLU(), _Residual(48), *_conv(48, 96, 2), nn.ReLU(),
        _Residual(96), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(96, 10))


def _conv(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs)]


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(*_conv(channels, channels), nn.ReLU(), *_conv(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x + self.inner(x))


_MODELS = {"small": _small, "large": _large}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--out", type=Path, required=True, help=".npy file to write, float32 (60000, 10)")
    parser.add_argument("--size", choices=_MODELS, default="small",
                        help="small: 2.4 M multiplications an image; large: 21 M, with residual blocks")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--validation", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=1.0)
    args = parser.parse_args()

    torch.set_num_threads(2)
    torch.manual_seed(args.seed)
    data = datasets.load(args.data, "train")
    images = torch.tensor(data.images[:, None]).float().sub_(73).div_(90).to(memory_format=torch.channels_last)
    labels = torch.tensor(data.labels)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(args.seed))
    held_back, kept = order[:args.validation], order[args.validation:]

    model = _MODELS[args.size]()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02, fused=True)
    steps = args.epochs * -(-len(kept) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for epoch in range(args.epochs):
        started, total = time.perf_counter(), 0.0
        model.train()
        for chosen in torch.split(kept[torch.randperm(len(kept))], 128):
            x = images[chosen]
            if args.size == "large":
                down, right = torch.randint(0, 5, (2,)).tolist()
                x = functional.pad(x, (2, 2, 2, 2), value=-73 / 90)[:, :, down:down + 28, right:right + 28]
            x = torch.where((torch.rand(len(x)) < 0.5)[:, None, None, None], x.flip(3), x)
            loss = functional.cross_entropy(model(x), labels[chosen], label_smoothing=0.02)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            total += loss.item() * len(chosen)
        model.eval()
        logits = _logits(model, images[held_back])
        print(f"epoch {epoch + 1}: loss {total / len(kept):.4f}, validation "
              f"{(logits.argmax(1) == labels[held_back]).float().mean():.4f}, {time.perf_counter() - started:.0f} s",
              flush=True)
    np.save(args.out, functional.softmax(_logits(model, images) / args.temperature, 1).numpy())


@torch.no_grad()
def _logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Mean over an image and its mirror image."""
    return torch.cat([(model(x) + model(x.flip(3))) / 2 for x in torch.split(images, 500)])


if __name__ == "__main__":
    main()
