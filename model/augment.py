"""Changes of training images that leave their class as it is: mirror images and small shifts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["changed", "mirrored", "shifted"]


def changed(images: Tensor, shift: int, mirror: bool, generator: torch.Generator) -> Tensor:
    """Images (N, channels, height, width), shifted and mirrored as far as that is wanted."""
    images = shifted(images, shift, generator) if shift else images
    return mirrored(images, generator) if mirror else images


def mirrored(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (N, ..., width), every other one of them mirrored from left to right, drawn by the generator."""
    chosen = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(chosen.view(-1, *[1] * (images.dim() - 1)), images.flip(-1), images)


def shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Images (N, channels, height, width), each moved by up to ``most`` pixels down and right or up and left.

    What comes in at the border is 0.
    """
    count, _, height, width = images.shape
    down, right = torch.randint(0, 2 * most + 1, (2, count, 1), generator=generator)
    padded = functional.pad(images, (most,) * 4)
    rows = (down + torch.arange(height))[:, None, :, None]
    columns = (right + torch.arange(width))[:, None, None, :]
    samples = torch.arange(count)[:, None, None, None]
    channels = torch.arange(images.shape[1])[None, :, None, None]
    return padded[samples, channels, rows, columns]
