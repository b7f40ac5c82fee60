"""A testbench in plain Verilog, with its vectors: the proof of a build for whoever has a simulator and no Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.model import golden
from spikeloom.model.network import Network
from spikeloom.model.samples import of_lengths

from .cycles import count_cycles
from .plan import Plan
from .rendering import rendered
from .stimulus import pack_samples

__all__ = ["expected_results", "random_samples", "testbench_files"]

SAMPLES, SEED = 4, 0
DENSITY = 0.15  # of what is not zero: what real data have, and a slow fold does not take for ever


def random_samples(network: Network, count: int, seed: int) -> npt.NDArray[np.uint8]:
    """Images (N, *shape), or spikes (N, T, *shape), most of them zero; runs whose end is marked are of any length."""
    rng = np.random.default_rng(seed)
    steps = () if network.takes_values else (network.steps,)
    there = rng.random((count, *steps, *network.input.shape)) < DENSITY
    samples = (rng.integers(0, 256, there.shape) * there if network.takes_values else there).astype(np.uint8)
    if network.marked:
        samples = of_lengths([run[:rng.integers(1, network.steps + 1)] for run in samples], network.steps)
    return samples


def testbench_files(plan: Plan, top: str, result_bits: int, result_beats: int,
                    shows_scores: bool) -> dict[str, str]:
    """``testbench.v`` and the files it reads, by name."""
    network, order = plan.network, plan.channels[0]
    samples = random_samples(network, SAMPLES, SEED)
    beats = pack_samples(network, order, plan.window_steps, samples)
    results = expected_results(plan, golden.run(network, samples))
    cycles = count_cycles(plan, samples).latency
    tables = [{"layer": t.layer, "file": t.file, "base": t.base, "bytes": t.config.table_bytes,
               "bus_bits": t.config.bus_bits, "address_bits": t.config.address_bits} for t in plan.tables]
    values: dict[str, Any] = {
        "top": top, "samples": SAMPLES, "beats": beats.shape[1], "digits": 2 * beats.shape[2],
        "beat_bits": order.units * plan.input_bits + network.marked, "marked": network.marked, "steps": network.steps,
        "result_bits": result_bits, "result_beats": result_beats,
        "limit": 64 * int(cycles.max()), "external": tables,
        "weight_sets": plan.fold.weight_sets, "shows_scores": shows_scores}
    return {
        "testbench.v": rendered("spikeloom.gen", "templates/testbench.v.j2", values),
        "testbench_beats.hex": "".join(f"{beat.tobytes().hex()}\n" for beat in beats.reshape(-1, beats.shape[2])),
        "testbench_results.hex": "".join(f"{number:x}\n" for number in results),
        "testbench_cycles.hex": "".join(f"{number:x}\n" for number in cycles)}


def expected_results(plan: Plan, golden_result: golden.GoldenResult) -> list[int]:
    """What the output gives for all samples: classes, or beats of spikes."""
    if plan.readout is not None:
        return [int(number) for number in golden_result.classes]
    network = plan.network
    order = plan.channels[network.output_index + 1]
    trains = golden_result.spikes[network.output_index]
    masks = trains.reshape(len(trains), plan.windows, plan.window_steps, -1)
    items = np.moveaxis(order.to_beats(masks), 2, -1)  # (N, windows, beats, items, steps)
    bits = items.reshape(-1, order.units * plan.window_steps)
    return [sum(1 << int(at) for at in np.flatnonzero(beat)) for beat in bits]
