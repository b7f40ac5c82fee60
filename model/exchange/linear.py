"""What stands between neurons, in real numbers: pools, convolutions, matrices, factors; one behind the other as one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..connections import check_matrix_size
from ..geometry import ConvGeometry, Pool, Shape, as_map

__all__ = ["LinearMap"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearMap:
    """A linear map of a signal: a sum pool or none, and then a convolution, a matrix, or a factor for each value.

    Parameters
    ----------
    input_shape : tuple of int
    pool : Pool or None
    geometry : ConvGeometry or None
        Of a convolution.
    weight : float array
        ``geometry.weight_shape``, or (outputs, inputs), or (outputs,): factors.
    """

    input_shape: Shape
    weight: Array
    pool: Pool | None = None
    geometry: ConvGeometry | None = None

    @classmethod
    def identity(cls, shape: Shape) -> LinearMap:
        return cls(input_shape=shape, weight=np.ones(int(np.prod(shape))))

    @property
    def pooled_shape(self) -> Shape:
        """Shape of the signal behind the pool."""
        return self.input_shape if self.pool is None else self.pool.output_shape(self.input_shape)

    @property
    def inputs(self) -> int:
        """Values behind the pool."""
        return int(np.prod(self.pooled_shape))

    @property
    def outputs(self) -> int:
        if self.geometry is not None:
            return int(np.prod(self.geometry.output_shape))
        return len(self.weight)

    @property
    def is_identity(self) -> bool:
        return self.pool is None and self.weight.ndim == 1 and bool((self.weight == 1).all())

    def __call__(self, x: npt.NDArray[Any]) -> Array:
        """(N, outputs) of signals (N, inputs before the pool)."""
        if self.pool is not None:
            maps = x.reshape(len(x), *as_map(self.input_shape)).astype(np.float64)
            x = self.pool(maps).reshape(len(x), -1)
        if self.geometry is not None:
            maps = x.reshape(len(x), *self.geometry.input_shape).astype(np.float64)
            return self.geometry.correlate(maps, self.weight).reshape(len(x), -1).astype(np.float64)
        if self.weight.ndim == 1:
            return x * self.weight
        return np.asarray(x.astype(np.float64) @ self.weight.T)

    def matrix(self) -> Array:
        """(outputs, inputs before the pool)."""
        inputs = int(np.prod(self.input_shape))
        check_matrix_size("a projection", self.outputs, inputs)
        return self(np.eye(inputs)).T

    def then_matrix(self, weight: Array) -> LinearMap:
        """A matrix (outputs, values) behind this map."""
        if self.weight.ndim == 1:
            return replace(self, weight=weight * self.weight)
        if self.geometry is None:
            return replace(self, weight=weight @ self.weight)
        return LinearMap(input_shape=self.input_shape, weight=weight @ self.matrix())

    def then_factors(self, factors: Array) -> LinearMap:
        """A factor for each value behind this map."""
        if self.weight.ndim == 1:
            return replace(self, weight=self.weight * factors)
        if self.geometry is None:
            return replace(self, weight=self.weight * factors[:, None])
        per_channel = factors.reshape(self.geometry.channels, -1)
        if (per_channel == per_channel[:, :1]).all():
            return replace(self, weight=self.weight * per_channel[:, :1, None, None])
        return LinearMap(input_shape=self.input_shape, weight=self.matrix() * factors[:, None])

    def then_convolution(self, geometry: ConvGeometry, weight: Array) -> LinearMap:
        """A convolution behind this map."""
        first = self.weight.ravel()[:1]
        if self.weight.ndim == 1 and (self.weight == first).all():
            return replace(self, geometry=geometry, weight=weight * first[0])
        behind = LinearMap(input_shape=geometry.input_shape, geometry=geometry, weight=weight)
        return LinearMap(input_shape=self.input_shape, weight=behind.matrix() @ self.matrix())

    def then_sum_pool(self, shape: Shape, size: int) -> LinearMap:
        """Sums of windows of ``size`` x ``size`` behind this map, whose output has ``shape``."""
        channels, height, width = as_map(shape)
        if self.is_identity and height % size == width % size == 0:
            return LinearMap(input_shape=shape, pool=Pool("sum", size),
                             weight=np.ones(channels * (height // size) * (width // size)))
        if self.geometry is not None:
            geometry = self.geometry
            step = geometry.stride
            kernel = geometry.kernel[0] + step * (size - 1), geometry.kernel[1] + step * (size - 1)
            weight = np.zeros((*self.weight.shape[:2], *kernel))
            for dy in range(size):
                for dx in range(size):
                    weight[:, :, dy * step:dy * step + geometry.kernel[0],
                           dx * step:dx * step + geometry.kernel[1]] += self.weight
            return replace(self, weight=weight, geometry=replace(
                geometry, kernel=kernel, stride=step * size))
        ones = ConvGeometry(input_shape=(channels, height, width), channels=channels, kernel=(size, size), stride=size,
                            groups=channels)
        return self.then_convolution(ones, np.ones(ones.weight_shape))
