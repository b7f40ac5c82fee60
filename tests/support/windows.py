"""Random shapes of window queues: every stride, padding and pool."""

from __future__ import annotations

import numpy as np

from spikeloom.rtl.window_shape import WindowQueueConfig

__all__ = ["random_windows_shape"]


def random_windows_shape(rng: np.random.Generator) -> WindowQueueConfig:
    """A shape whose windows all see some of the map."""
    pool, padding = int(rng.integers(1, 3)), int(rng.integers(0, 2))
    cells, rows = (int(n) for n in rng.integers(2, 7, 2))
    kernel = [int(rng.integers(padding + 1, min(4, n + padding) + 1)) for n in (rows, cells)]
    strides = [int(n) for n in rng.integers(1, 4, 2)]
    tile_rows, tiles = ((n + 2 * padding - k) // s + 1 for n, k, s in zip((rows, cells), kernel, strides, strict=True))
    return WindowQueueConfig(
        items=int(rng.integers(1, 4)), item_bits=int(rng.integers(1, 5)), cell_beats=int(rng.integers(1, 4)),
        width=cells * pool, height=rows * pool, pool=pool, kernel_rows=kernel[0], kernel_columns=kernel[1],
        stride_rows=strides[0], stride_columns=strides[1], padding=padding, tile_rows=tile_rows, tiles=tiles,
        groups=int(rng.integers(1, 3)), banks=int(rng.choice([1, 2, 4])))
