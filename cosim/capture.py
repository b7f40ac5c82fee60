"""What the testbench recorded, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .build_folder import BuildFolder, LayerStream

__all__ = ["Results", "read_results", "read_spikes", "results_record_bytes", "stream_record_bytes"]


@dataclass(frozen=True, kw_only=True)
class Results:
    """One entry per sample.

    Attributes
    ----------
    classes : int64 array (N,)
    invalid : bool array (N,)
        Marked by the hardware: an external memory answered with an error.
    first_cycles, result_cycles : int64 array (N,)
        Cycle of the first input transfer, and of the result.
    transfers : int64 array (N, layers)
        Transfers of each layer's stream up to the result, since the start of the simulation.
    """

    classes: npt.NDArray[np.int64]
    invalid: npt.NDArray[np.bool_]
    first_cycles: npt.NDArray[np.int64]
    result_cycles: npt.NDArray[np.int64]
    transfers: npt.NDArray[np.int64]

    @property
    def latencies(self) -> npt.NDArray[np.int64]:
        """Cycles from the first input transfer to the result."""
        return self.result_cycles - self.first_cycles


def results_record_bytes(build: BuildFolder) -> int:
    """Bytes of one sample in ``results.bin``."""
    return 4 * (5 + len(build.layers))


def stream_record_bytes(layer: LayerStream) -> int:
    """Bytes of one transfer in a layer's file."""
    return 4 * -(-layer.payload_bits // 32)


def read_results(build: BuildFolder, run_dir: Path) -> Results:
    """Read ``results.bin``."""
    words = np.fromfile(run_dir / "results.bin", "<u4").reshape(-1, 5 + len(build.layers)).astype(np.int64)
    return Results(classes=words[:, 0] & ((1 << build.class_bits) - 1), invalid=words[:, 0] >> build.class_bits != 0,
                   first_cycles=words[:, 1] | words[:, 2] << 32,
                   result_cycles=words[:, 3] | words[:, 4] << 32, transfers=words[:, 5:])


def read_spikes(build: BuildFolder, layer: LayerStream, run_dir: Path, start: int,
                count: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Spikes of samples ``start .. start + count - 1`` of a layer.

    Returns
    -------
    spikes : bool array (count, steps, neurons)
    padding : bool array (count, bits)
        The bits of items that stand for no neuron, which must all be zero.
    """
    per_sample = build.windows * layer.beats_per_window
    record = stream_record_bytes(layer)
    raw = np.fromfile(run_dir / f"spikes_{layer.name}.bin", np.uint8, count * per_sample * record,
                      offset=start * per_sample * record)
    bits = np.unpackbits(raw.reshape(count, per_sample, record), axis=-1, count=layer.payload_bits,
                         bitorder="little").view(np.bool_)
    items = bits.reshape(count, build.windows, -1, layer.item_bits).swapaxes(2, 3)
    neurons, padding = layer.channels.from_beats(items)
    spikes = neurons.reshape(count, -1, layer.channels.size)
    return spikes[:, :build.network.steps], padding.reshape(count, -1)
