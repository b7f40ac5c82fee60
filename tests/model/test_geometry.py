"""Convolution and pools against loops over their definition; shapes that do not fit."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.geometry import ConvGeometry, Pool, as_map


def by_definition(g: ConvGeometry, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    out = np.zeros((len(x), *g.output_shape), np.int64)
    inputs, height, width = g.input_shape
    per_group = g.channels // g.groups
    for m, y, u in product(*map(range, g.output_shape)):
        for c, ky, kx in product(range(inputs // g.groups), *map(range, g.kernel)):
            at_y, at_x = g.stride * y + ky - g.padding, g.stride * u + kx - g.padding
            if 0 <= at_y < height and 0 <= at_x < width:
                source = m // per_group if g.groups > 1 else c
                out[:, m, y, u] += weight[m, c, ky, kx] * x[:, source, at_y, at_x]
    return out


@pytest.mark.parametrize("geometry", [
    ConvGeometry(input_shape=(1, 5, 6), channels=2, kernel=(3, 3)),
    ConvGeometry(input_shape=(3, 6, 5), channels=4, kernel=(2, 3), stride=2, padding=1),
    ConvGeometry(input_shape=(2, 7, 7), channels=6, kernel=(3, 3), padding=2, groups=2),
    ConvGeometry(input_shape=(4, 4, 4), channels=4, kernel=(1, 1), stride=3, groups=4),
    ConvGeometry(input_shape=(2, 3, 3), channels=1, kernel=(5, 5), padding=1),
], ids=lambda g: g.notation)
def test_correlate(geometry: ConvGeometry) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, (3, *geometry.input_shape))
    weight = rng.integers(-8, 8, geometry.weight_shape)
    np.testing.assert_array_equal(geometry.correlate(x, weight), by_definition(geometry, x, weight))


def test_pools() -> None:
    x = np.random.default_rng(1).random((2, 3, 4, 6)) < 0.4
    for size in (1, 2):
        windows = [x[..., dy::size, dx::size] for dy in range(size) for dx in range(size)]
        np.testing.assert_array_equal(Pool("sum", size)(x), sum(w.astype(int) for w in windows))
        np.testing.assert_array_equal(Pool("or", size)(x), np.any(windows, axis=0))
    assert Pool("or", 2)(x).dtype == np.bool_
    assert (Pool("sum", 3).largest, Pool("or", 3).largest) == (9, 1)
    assert Pool("sum", 2).output_shape((5, 4, 6)) == (5, 2, 3)
    assert as_map((4, 6)) == (1, 4, 6)


@pytest.mark.parametrize(("changes", "message"), [
    ({"stride": 0}, "convolution stride must be an integer above 0, not 0"),
    ({"padding": 3}, r"convolution padding \(less than the kernel\) must be in 0..2, not 3"),
    ({"kernel": (9, 3)}, r"convolution kernel must be at most the padded map of 8 x 8, not \(9, 3\)"),
    ({"kernel": (3,)}, "convolution kernel must be two integers above 0"),
    ({"kernel": (3, 0)}, "convolution kernel must be an integer above 0, not 0"),
    ({"kernel": 3}, "convolution kernel must be two integers above 0"),
    ({"input_shape": None}, "convolution input_shape must be three integers above 0"),
    ({"stride": True}, "convolution stride must be an integer above 0, not True"),
    ({"channels": 0}, "convolution channels must be an integer above 0, not 0"),
    ({"groups": 3}, "convolution groups must be 1 or the 2 input channels, not 3"),
    ({"groups": 2, "channels": 3}, "convolution channels must be a multiple of groups=2, not 3"),
    ({"input_shape": (2, 8)}, "convolution input_shape must be three integers above 0"),
])
def test_bad_convolutions(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpikeloomError, match=message):
        ConvGeometry(**{"input_shape": (2, 8, 8), "channels": 4, "kernel": (3, 3), **changes})


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Pool("max", 2), "pool kind must be 'sum' or 'or', not 'max'"),  # type: ignore[arg-type]
    (lambda: Pool("sum", 0), "pool size must be an integer above 0, not 0"),
    (lambda: Pool("sum", True), "pool size must be an integer above 0, not True"),
    (lambda: Pool("sum", 3).output_shape((1, 6, 8)), "pool size 3 does not divide a map of 6 x 8"),
    (lambda: Pool("or", 2).output_shape((10,)), r"a feature map must have shape \(channels, height, width\), not"),
])
def test_bad_pools(make: Any, message: str) -> None:
    with pytest.raises(SpikeloomError, match=message):
        make()
