"""Inputs: what a sample is, and which spikes, or constant currents, it becomes.

==================  ==============================  ======================================================
input               a sample                        what the network sees in step t
==================  ==============================  ======================================================
``StaticInput``     uint8 values (*shape)           ``v``, the same in every step
``SpikeInput``      spikes (T, *shape)              the spikes of step t
``LatencyInput``    uint8 values (*shape)           a spike if ``t = 2**bits - 1 - v``: bright values first
``BernoulliInput``  uint8 values (*shape)           a spike if ``random16(seed, t, channel) < rate * v``
==================  ==============================  ======================================================

with ``v = p >> (8 - bits)`` of a value ``p`` in 0..255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from .errors import SpikeloomError
from .geometry import as_map
from .system.arguments import choice, short, whole

__all__ = ["INPUTS", "ROUNDS", "BernoulliInput", "CodedInput", "Input", "InputKind", "LatencyInput", "SpikeInput",
           "StaticInput", "checked_shape", "random16", "round_keys"]

InputKind = Literal["static", "spikes", "latency", "bernoulli"]
Uint8 = npt.NDArray[np.uint8]
ROUNDS = 6  # of the generator; fewer leave patterns in neighbouring channels


def checked_shape(shape: Any, what: str) -> tuple[int, ...]:
    """Positive integers; raises :class:`.SpikeloomError` if they are not."""
    if not isinstance(shape, Sequence) or isinstance(shape, str) or not shape:
        raise SpikeloomError(f"{what} must be positive integers, not {short(shape)}")
    return tuple(whole(n, what, 1, (1 << 31) - 1) for n in shape)


@dataclass(frozen=True, kw_only=True)
class _Shaped:
    shape: tuple[int, ...]

    kind: ClassVar[InputKind]
    #: Whether a sample is one value for each channel, and not a value for each step.
    takes_values: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", checked_shape(self.shape, "input shape"))

    @property
    def size(self) -> int:
        """Channels."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, kw_only=True)
class SpikeInput(_Shaped):
    """Spike trains: one bit per channel and step.

    Parameters
    ----------
    shape : tuple of int
        Shape of one step of one sample, e.g. ``(784,)`` or ``(2, 34, 34)``; flattened in C order.
    """

    kind: ClassVar[InputKind] = "spikes"
    takes_values: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class _Valued(_Shaped):
    bits: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "bits", whole(self.bits, "input bits", 1, 8))


@dataclass(frozen=True, kw_only=True)
class StaticInput(_Valued):
    """A constant input of unsigned integers, presented in every step (an image).

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample, e.g. ``(28, 28)`` or ``(3, 32, 32)``; flattened in C order.
    bits : int
        1..8: bits of one value. An 8-bit pixel ``p`` enters as ``p >> (8 - bits)``.
    """

    kind: ClassVar[InputKind] = "static"


@dataclass(frozen=True, kw_only=True)
class CodedInput(_Valued):
    """Values that the hardware turns into spikes."""

    def spikes(self, values: Uint8, steps: int, *, as_maps: bool) -> Uint8:
        """Spikes (N, T, channels) of values ``v`` (N, channels)."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class LatencyInput(CodedInput):
    """Time to first spike: one spike per channel at most, the earlier the larger its value.

    ``t = 2**bits - 1 - v``, as in BS4NN (Kheradpisheh et al., 2022) for 8 bits; later than the last step, or of a value
    of 0 with ``silent_zero``, there is none.

    Parameters
    ----------
    shape, bits
        As those of :class:`StaticInput`.
    silent_zero : bool
        A value of 0 gives no spike.
    """

    silent_zero: bool = False

    kind: ClassVar[InputKind] = "latency"

    def __post_init__(self) -> None:
        super().__post_init__()
        choice(self.silent_zero, "input silent_zero", (True, False))

    def spikes(self, values: Uint8, steps: int, *, as_maps: bool) -> Uint8:
        out = np.zeros((len(values), steps, values.shape[1]), np.uint8)
        when = (1 << self.bits) - 1 - values.astype(np.int64)
        fires = (when < steps) & ~(self.silent_zero & (values == 0))
        sample, channel = np.nonzero(fires)
        out[sample, when[sample, channel], channel] = 1
        return out


@dataclass(frozen=True, kw_only=True)
class BernoulliInput(CodedInput):
    """Rate code: in each step a spike with probability ``rate * v / 65536``, from a generator of its own.

    The generator is a function of seed, step and channel (:func:`random16`): software and hardware draw the same, in
    whatever order they work. Every sample meets the same draws.

    Parameters
    ----------
    shape, bits
        As those of :class:`StaticInput`; at most 65,536 channels.
    rate : int
        1 up to ``65535 / (2**bits - 1)``: 257 at 8 bits lets the largest value spike in nearly every step.
    seed : int
        0..2**32-1.
    """

    rate: int = 1
    seed: int = 0

    kind: ClassVar[InputKind] = "bernoulli"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rate", whole(self.rate, "input rate", 1, 65535 // ((1 << self.bits) - 1)))
        object.__setattr__(self, "seed", whole(self.seed, "input seed", 0, (1 << 32) - 1))
        if self.size > 1 << 16:
            raise SpikeloomError(f"input shape must have at most 65536 channels, not {self.size}")

    def spikes(self, values: Uint8, steps: int, *, as_maps: bool) -> Uint8:
        channels = np.arange(self.size)
        if as_maps:  # numbered as they travel: position by position
            count, height, width = as_map(self.shape)
            channels = (np.arange(height * width) * count + np.arange(count)[:, None]).ravel()
        drawn = random16(self.seed, np.arange(steps)[:, None], channels)
        below: Uint8 = (drawn < values[:, None, :].astype(np.int64) * self.rate).astype(np.uint8)
        return below


Input = StaticInput | SpikeInput | CodedInput
INPUTS: dict[str, type[Input]] = {
    kind.kind: kind for kind in (StaticInput, SpikeInput, LatencyInput, BernoulliInput)}


def round_keys(seed: int) -> tuple[int, ...]:
    """A 16-bit word for each round."""
    state, keys = seed, []
    for _ in range(ROUNDS):
        state = (state * 0x5851F42D4C957F2D + 0x14057B7EF767814F) % (1 << 64)
        keys.append(state >> 48)
    return tuple(keys)


def random16(seed: int, step: Any, channel: Any) -> npt.NDArray[np.int64]:
    """Uniform integers in 0..65535 for a seed, steps and channels (arrays that broadcast, of values below 65536).

    Rounds of the block cipher Speck32 (Beaulieu et al., 2013) on the pair of step and channel, keys from the seed::

        x <- ((x rotated right by 7) + y) ^ key;  y <- (y rotated left by 2) ^ x
    """
    x, y = np.broadcast_arrays(np.asarray(step, np.int64), np.asarray(channel, np.int64))
    for key in round_keys(seed):
        x = ((((x >> 7) | (x << 9)) & 0xFFFF) + y & 0xFFFF) ^ key
        y = (((y << 2) | (y >> 14)) & 0xFFFF) ^ x
    return x
