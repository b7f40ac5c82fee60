"""Small networks on small devices, placed and routed; and what a bus around the bare top costs.

    python bench/devices.py
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from results import save

import spikeloom
from spikeloom.gen.build import build
from spikeloom.gen.bus_top import Interface
from spikeloom.gen.cycles import count_cycles
from spikeloom.gen.fold import load_fold
from spikeloom.gen.place_route import PlaceRouteResult, place_and_route
from spikeloom.gen.plan import make_plan

NETWORK = "fashion-mnist-128"
SEEDS = (1, 2, 3)
# Device, fold, interface, layers whose weights lie outside.
RUNS: tuple[tuple[str, str, Interface, tuple[int, ...]], ...] = (
    ("lfe5u-25f", "small", "stream", ()), ("lfe5u-25f", "balanced", "stream", ()),
    ("lfe5u-25f", "balanced", "axi", ()), ("lfe5u-25f", "balanced", "wishbone", ()),
    ("gw2ar-18", "small", "stream", ()), ("gw2ar-18", "balanced", "stream", ()),
    ("ice40-hx8k", "small", "stream", (0,)), ("ice40-up5k", "small", "stream", (0,)))


def main() -> None:
    network = spikeloom.load(NETWORK)
    images = spikeloom.dataset("fashion-mnist-demo").images
    rows, results = [], []
    for device, name, interface, outside in RUNS:
        fold = load_fold(name, network)
        layers = [replace(layer, external_bus_bits=32, prefetch_rows=8) if k in outside else layer
                  for k, layer in enumerate(fold.layers)]
        fold = replace(fold, layers=tuple(layers))
        plan = make_plan(network, fold)
        cycles = float(count_cycles(plan, images).latency.mean())
        with tempfile.TemporaryDirectory() as folder:
            build(plan, Path(folder) / "build", interface=interface)
            result: PlaceRouteResult = place_and_route(Path(folder) / "build", device, seeds=SEEDS)
        clocks = [seed.fmax_mhz for seed in result.seeds]
        rows.append([device, f"{name}{', weights outside' if outside else ''}", interface, f"{result.lut:,}",
                     f"{result.ff:,}", str(result.bram), ", ".join(f"{clock:.1f}" for clock in clocks),
                     f"{cycles:,.1f}", f"{cycles / result.fmax_mhz:,.2f}"])
        results.append(result.to_json() | {"fold": fold.to_dict(), "interface": interface, "cycles_mean": cycles})
        print(json.dumps(rows[-1]), flush=True)
    save("devices", {"network": network.topology, "runs": results},
         ["device", "fold", "top", "LUTs", "flip-flops", "block RAMs", "MHz by seed", "cycles, mean of 500",
          "us at the slowest"], rows)


if __name__ == "__main__":
    main()
