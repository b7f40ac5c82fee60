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
        Transfers of each layer's stream up to the result (of runs that may end early: up to their end), since the start
        of the simulation.
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
    result, bits = words[:, 0], min(32, build.class_bits)
    if build.network.readout.kind == "raster":  # compared as spikes
        result = np.zeros_like(result)
    return Results(classes=result & ((1 << bits) - 1), invalid=result >> bits != 0,
                   first_cycles=words[:, 1] | words[:, 2] << 32,
                   result_cycles=words[:, 3] | words[:, 4] << 32, transfers=words[:, 5:])


def read_spikes(build: BuildFolder, layer: LayerStream, run_dir: Path, start: int, count: int,
                transfers: npt.NDArray[np.int64] | None = None,
                ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Spikes of samples ``start .. start + count - 1`` of a layer.

    Parameters
    ----------
    transfers : int64 array (samples,)
        Of runs whose length varies: the layer's transfers up to the end of each, since the start of the simulation.

    Returns
    -------
    spikes : bool array (count, steps, neurons)
    seen : bool array (count, steps, neurons)
        Whether the spike was given at all.
    padding : bool array (count, bits)
        The bits of items that stand for no neuron, which must all be zero.
    """
    per_sample = build.windows * layer.beats_per_window
    record = stream_record_bytes(layer)
    if transfers is None:
        edges = np.arange(start, start + count + 1) * per_sample
    else:
        edges = np.concatenate([[0], transfers])[start:start + count + 1]
    flat = np.fromfile(run_dir / f"spikes_{layer.name}.bin", np.uint8, int(edges[-1] - edges[0]) * record,
                       offset=int(edges[0]) * record).reshape(-1, record)
    given = np.minimum(np.diff(edges), per_sample)
    if transfers is None:
        raw = flat.reshape(count, per_sample, record)
    else:
        raw = np.zeros((count, per_sample, record), np.uint8)
        for n in range(count):
            first = int(edges[n] - edges[0])
            raw[n, :given[n]] = flat[first:first + given[n]]
    bits = np.unpackbits(raw, axis=-1, count=layer.payload_bits, bitorder="little").view(np.bool_)
    there = np.broadcast_to((np.arange(per_sample) < given[:, None])[..., None], bits.shape)
    spikes, padding = _neurons(build, layer, bits)
    seen, _ = _neurons(build, layer, there)
    return spikes, seen, padding


def _neurons(build: BuildFolder, layer: LayerStream,
             bits: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Bits (samples, beats, bits) as (samples, steps, neurons), and those that are padding."""
    items = bits.reshape(len(bits), build.windows, -1, layer.item_bits).swapaxes(2, 3)
    neurons, padding = layer.channels.from_beats(items)
    return neurons.reshape(len(bits), -1, layer.channels.size)[:, :build.network.steps], padding.reshape(len(bits), -1)
