"""Processor seconds from a network to its Verilog, for 784-400-400-10.

    python bench/emit_time.py
"""

from __future__ import annotations

import resource
import time
from dataclasses import replace

from results import save

import spikeloom
from spikeloom.gen.fold import Fold
from spikeloom.gen.verilog import emit

NETWORK = "fashion-mnist-400-400"


def main() -> None:
    network = spikeloom.load(NETWORK)
    fast = spikeloom.compile(network, "fast").fold
    lanes = Fold(name="all lanes, 16 neuron units", input_per_beat=16, layers=tuple(
        replace(fold, lanes=layer.connection.outputs, neuron_units=min(16, layer.connection.outputs // 2))
        for fold, layer in zip(fast.layers, network.layers, strict=True)))
    rows = []
    for fold in ("small", "fast", lanes, "full"):
        plan = spikeloom.compile(network, fold)
        before, wall = _cpu_s(), time.monotonic()
        text = emit(plan).verilog
        rows.append([plan.fold.name, f"{_cpu_s() - before:.1f}", f"{time.monotonic() - wall:.1f}",
                     f"{len(text) / 1e6:.1f}"])
    save("emit_time", {"network": NETWORK, "rows": rows}, ["fold", "processor s", "wall s", "MB of Verilog"], rows)


def _cpu_s() -> float:
    """Processor seconds of this process and of the tools that it ran."""
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF,
                                                                         resource.RUSAGE_CHILDREN)))


if __name__ == "__main__":
    main()
