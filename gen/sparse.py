"""What lies in the memories of sparse rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spikeloom.model.network import IntArray
from spikeloom.rtl.beat import index_shape
from spikeloom.rtl.sparse_rows import SparseRowsConfig

__all__ = ["memory_rows", "row_counts", "sparse_size"]


def row_counts(weight: IntArray) -> tuple[IntArray, IntArray]:
    """Of each row of ``weight`` (rows, groups, lanes): its words, as many as the lane with most weights that are not 0
    has, and one at least; and these weights of all lanes."""
    counts = np.count_nonzero(weight, axis=1)
    return np.maximum(1, counts.max(axis=1)), counts.sum(axis=1)


def _firsts(weight: IntArray) -> tuple[IntArray, int]:
    """Each row's first word, and the words of all; rows without any weight share a word behind the others."""
    some = weight.any(axis=(1, 2))
    own = np.where(some, row_counts(weight)[0], 0)
    return np.where(some, np.cumsum(own) - own, own.sum()), int(own.sum() + (not some.all()))


def sparse_size(weight: IntArray) -> tuple[int, int]:
    """Words of all rows, and of the longest one."""
    return _firsts(weight)[1], int(row_counts(weight)[0].max())


def memory_rows(weight: IntArray, config: SparseRowsConfig) -> tuple[list[int], list[int]]:
    """Contents of the two memories: words, and places of the rows."""
    firsts, words = _firsts(weight)
    row, group, lane = np.nonzero(weight)
    place = np.cumsum(weight != 0, axis=1)[row, group, lane] - 1  # among those of its lane
    fields = {"weight": np.zeros((words, config.lanes), np.int64), "group": np.zeros((words, config.lanes), np.int64)}
    fields["weight"][firsts[row] + place, lane] = weight[row, group, lane]
    fields["group"][firsts[row] + place, lane] = group
    bits = [_bits(fields["weight"], config.weight_bits), _bits(fields["group"], index_shape(config.groups).width)]
    packed = np.packbits(np.concatenate(bits, axis=1), axis=1, bitorder="little")
    more = row_counts(weight)[0] - 1
    return ([int.from_bytes(each.tobytes(), "little") for each in packed],
            [int(config.place_layout.const({"first": int(first), "more": int(more[k])}).as_value().value)
             for k, first in enumerate(firsts)])


def _bits(values: IntArray, bits: int) -> npt.NDArray[np.uint8]:
    """Two's complement, side by side, the first one in the least significant bits."""
    return ((values[..., None] >> np.arange(bits)) & 1).astype(np.uint8).reshape(len(values), -1)
