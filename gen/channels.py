"""The order in which a population's channels travel in beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.model.geometry import Shape, as_map
from spikeloom.model.layers import Layer, Source
from spikeloom.model.network import Conv2d, Network

__all__ = ["Channels", "QueueOrder", "input_channels", "pooled_channels", "queue_order"]


@dataclass(frozen=True)
class Channels:
    """How a population's channels lie in the beats of a window.

    A vector comes in groups of ``lanes`` channels. A feature map comes position after position in raster order,
    each with its channels in groups of ``lanes``; where there are more lanes than channels, a group is
    ``lanes / channels`` neighbouring positions. A group takes ``ceil(lanes / units)`` beats.

    Attributes
    ----------
    shape : (n,) or (channels, height, width)
    lanes, units : int
    """

    shape: Shape
    lanes: int
    units: int

    @property
    def size(self) -> int:
        """Channels, of all positions."""
        return int(np.prod(self.shape))

    @property
    def tile(self) -> int:
        """Positions that are worked on side by side (1 for a vector)."""
        return max(1, self.lanes // self.shape[0])

    @property
    def tile_values(self) -> int:
        """Values of a tile."""
        return self.shape[0] * self.tile

    @property
    def group_beats(self) -> int:
        return -(-self.lanes // self.units)

    @property
    def tile_groups(self) -> int:
        """Groups of a tile: 1 unless its channels take turns."""
        return -(-self.tile_values // self.lanes)

    @property
    def tile_beats(self) -> int:
        """Beats of a tile."""
        return self.tile_groups * self.group_beats

    @property
    def groups(self) -> int:
        """Groups in a window."""
        return self.size // self.tile_values * self.tile_groups

    @property
    def beats(self) -> int:
        """Beats in a window."""
        return self.groups * self.group_beats

    @property
    def position_beats(self) -> int:
        """Beats of one position of a map, of which none reaches into the next position."""
        return self.tile_beats // self.tile

    @cached_property
    def lane_values(self) -> npt.NDArray[np.int64]:
        """Value of a tile at (beat of the tile, item): position in the tile * channels + channel, or -1 for padding."""
        beat, item = np.meshgrid(np.arange(self.tile_beats), np.arange(self.units), indexing="ij")
        lane = beat % self.group_beats * self.units + item
        value = beat // self.group_beats * self.lanes + lane
        return np.where((lane < self.lanes) & (value < self.tile_values), value, -1)

    @cached_property
    def index(self) -> npt.NDArray[np.int64]:
        """Channel, flattened in C order, at (beat, item), or -1 for padding."""
        tiles = np.arange(self.size // self.tile_values)[:, None, None]
        value = tiles * self.tile_values + self.lane_values  # in raster order, channels innermost
        channels, positions = self.shape[0], self.size // self.shape[0]
        channel = value % channels * positions + value // channels
        return np.where(self.lane_values >= 0, channel, -1).reshape(self.beats, self.units)

    def to_beats(self, signal: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values (..., channels) as (..., beats, units), zeros for padding."""
        return np.where(self.index >= 0, signal[..., self.index], np.zeros((), signal.dtype))

    def from_beats(self, items: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Items (..., beats * units) as values (..., channels), and the items that are padding."""
        flat = self.index.ravel()
        real = np.flatnonzero(flat >= 0)
        places = np.empty(self.size, np.int64)
        places[flat[real]] = real
        return items[..., places], items[..., flat < 0]


@dataclass(frozen=True)
class QueueOrder:
    """The order in which a layer's queue gets the channels of all its sources.

    Attributes
    ----------
    shape : tuple of int
        Of the concatenation.
    index : int64 array (beats, units)
        Channel of the concatenation, flattened in C order, at (beat, item), or -1 for padding.
    position_beats : int
        Beats of one position of a map.
    turns : tuple of int
        Beats of each source's turn.
    """

    shape: Shape
    index: npt.NDArray[np.int64]
    position_beats: int
    turns: tuple[int, ...]

    @property
    def units(self) -> int:
        return int(self.index.shape[1])

    @property
    def beats(self) -> int:
        return len(self.index)

    def to_beats(self, signal: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values (..., channels) as (..., beats, units), zeros for padding."""
        return np.where(self.index >= 0, signal[..., self.index], np.zeros((), signal.dtype))


def queue_order(layer: Layer, sources: Sequence[Channels]) -> QueueOrder:
    """The order for a layer whose sources give their channels, behind their OR pools, in these orders."""
    by_position = isinstance(layer.connection, Conv2d) or layer.sum_pool is not None
    positions = int(np.prod(sources[0].shape[1:])) if by_position else 1
    units = max(source.units for source in sources)
    parts, first = [], 0
    for source in sources:
        index = np.full((source.beats, units), -1)
        index[:, :source.units] = np.where(source.index >= 0, source.index + first, -1)
        parts.append(index.reshape(positions, -1, units))
        first += source.size
    shape = sources[0].shape if len(sources) == 1 else (
        (sum(source.shape[0] for source in sources), *sources[0].shape[1:]) if by_position else (first,))
    turns = tuple(part.shape[1] for part in parts)
    return QueueOrder(shape, np.concatenate(parts, axis=1).reshape(-1, units), sum(turns) if by_position else 1, turns)


def pooled_channels(source: Source, before: Channels) -> Channels:
    """A source's order behind its OR pool, if it has one."""
    if source.or_pool is None:
        return before
    return Channels(source.pooled_shape, min(before.lanes, before.shape[0]), before.units)


def input_channels(network: Network, items_per_beat: int) -> Channels:
    """The order of a network's input stream."""
    shape = as_map(network.input.shape) if network.reads_map else (network.input.size,)
    return Channels(shape, shape[0], items_per_beat)
