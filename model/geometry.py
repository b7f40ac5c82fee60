"""Shapes of feature maps: what a convolution and a pool do to them, and convolution in NumPy.

Maps are ``(channels, height, width)`` and are flattened in C order; a plain vector of neurons is ``(n,)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .errors import SpikeloomError
from .system.arguments import choice, short, whole

__all__ = ["ConvGeometry", "Pool", "Shape", "as_map"]

Shape = tuple[int, ...]
Array = npt.NDArray[Any]


def as_map(shape: Shape) -> tuple[int, int, int]:
    """A signal's shape as a feature map: ``(h, w)`` is one channel.

    Raises
    ------
    SpikeloomError
        If it has another rank than 2 or 3.
    """
    if len(shape) == 2:
        return 1, shape[0], shape[1]
    if len(shape) != 3:
        raise SpikeloomError(f"a feature map must have shape (channels, height, width), not {shape}")
    return shape[0], shape[1], shape[2]


@dataclass(frozen=True)
class Pool:
    """Non-overlapping windows of a feature map, each of which becomes one position.

    Parameters
    ----------
    kind : "sum" or "or"
        ``sum``: the spikes of a window are added (an average is a sum whose factor is in the weights'
        scale, as is TSSL-BP's 1.1). ``or``: a spike where any neuron of the window spikes in that step.
    size : int
        At least 1: height, width and stride of the windows.

    Raises
    ------
    SpikeloomError
        If a field is out of range.
    """

    kind: Literal["sum", "or"]
    size: int

    def __post_init__(self) -> None:
        choice(self.kind, "pool kind", ("sum", "or"))
        object.__setattr__(self, "size", whole(self.size, "pool size", 1))

    @property
    def largest(self) -> int:
        """Largest output for inputs of at most 1."""
        return self.size**2 if self.kind == "sum" else 1

    def output_shape(self, shape: Shape) -> tuple[int, int, int]:
        """Shape after the pool; raises :class:`.SpikeloomError` if its size does not divide the map."""
        channels, height, width = as_map(shape)
        if height % self.size or width % self.size:
            raise SpikeloomError(f"pool size {self.size} does not divide a map of {height} x {width}")
        return channels, height // self.size, width // self.size

    def __call__(self, x: Array) -> Array:
        """Pooled maps (..., C, H / size, W / size) of maps (..., C, H, W); sums of bits and integers are int32."""
        parts = [x[..., dy::self.size, dx::self.size] for dy in range(self.size) for dx in range(self.size)]
        if self.kind == "or":
            merged: Array = np.maximum.reduce(parts)
            return merged
        dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.int32)
        total: Array = parts[0].astype(dtype)
        for part in parts[1:]:
            total += part
        return total


@dataclass(frozen=True)
class ConvGeometry:
    """Everything about a 2-D convolution but its weights.

    Output ``(c, y, x)`` sees inputs ``(i, stride * y + ky - padding, stride * x + kx - padding)``, as far as
    they lie in the map: what is outside is zero and costs nothing.

    Parameters
    ----------
    input_shape : (channels, height, width)
    channels : int
        Output channels.
    kernel : (height, width)
    stride, padding : int
        Equal in both directions; ``padding`` zeros on every side, fewer than the kernel is wide.
    groups : int
        1, or the number of input channels (depthwise: each output channel sees one input channel).

    Raises
    ------
    SpikeloomError
        If a field is out of range, or the kernel is larger than the padded map.
    """

    input_shape: tuple[int, int, int]
    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0
    groups: int = 1

    def __post_init__(self) -> None:
        def need(key: str, good: bool, allowed: str) -> None:
            if not good:
                raise SpikeloomError(f"convolution {key} must be {allowed}, not {short(getattr(self, key))}")

        for key, rank, allowed in (("input_shape", 3, "three integers above 0 (channels, height, width)"),
                                   ("kernel", 2, "two integers above 0 (height, width)")):
            values = getattr(self, key)
            need(key, isinstance(values, Sequence) and len(values) == rank and not isinstance(values, str), allowed)
            object.__setattr__(self, key, tuple(whole(n, f"convolution {key}", 1) for n in values))
        for key in ("channels", "stride", "groups"):
            object.__setattr__(self, key, whole(getattr(self, key), f"convolution {key}", 1))
        padding = whole(self.padding, "convolution padding (less than the kernel)", 0, min(self.kernel) - 1)
        object.__setattr__(self, "padding", padding)
        inputs = self.input_shape[0]
        need("groups", self.groups in (1, inputs), f"1 or the {inputs} input channels")
        need("channels", self.channels % self.groups == 0, f"a multiple of groups={self.groups}")
        padded = tuple(n + 2 * self.padding for n in self.input_shape[1:])
        need("kernel", all(k <= n for k, n in zip(self.kernel, padded, strict=True)),
             f"at most the padded map of {padded[0]} x {padded[1]}")

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        height, width = ((n + 2 * self.padding - k) // self.stride + 1
                         for n, k in zip(self.input_shape[1:], self.kernel, strict=True))
        return self.channels, height, width

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(output channels, input channels of a group, kernel height, kernel width)."""
        return self.channels, self.input_shape[0] // self.groups, *self.kernel

    @property
    def notation(self) -> str:
        """As TSSL-BP writes it, e.g. ``32C5p2``; ``D`` for depthwise, ``s`` stride, ``p`` padding."""
        kernel = "x".join(str(k) for k in sorted(set(self.kernel)))
        kind = "D" if self.groups > 1 else "C"
        return (f"{self.channels}{kind}{kernel}" + (f"s{self.stride}" if self.stride > 1 else "")
                + (f"p{self.padding}" if self.padding else ""))

    def correlate(self, x: Array, weight: Array) -> Array:
        """Weighted sums (B, *output_shape) of maps (B, *input_shape), computed in the type of both.

        ``weight`` has :attr:`weight_shape`. In float32 (float64) the result is exact while every partial
        sum of integers stays below 2**24 (2**53).
        """
        pad, step = self.padding, self.stride
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad))) if pad else x
        view = np.lib.stride_tricks.sliding_window_view(padded, self.kernel, (2, 3))[:, :, ::step, ::step]
        channels, height, width = self.output_shape
        # A patch a column: copies run along the rows of the map, and the products come out in their final order.
        patches: Array = view.transpose(0, 1, 4, 5, 2, 3).reshape(len(x), self.groups, -1, height * width)
        sums: Array = weight.reshape(self.groups, channels // self.groups, -1) @ patches
        return sums.reshape(len(x), channels, height, width)
