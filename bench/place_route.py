"""The clock that a fold of a shipped network reaches on an LFE5U-85F, bare or behind AXI, and its critical paths.

    python bench/place_route.py [fold] [stream|axi ...] [seed ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from results import save

from spikeloom.gen.build import build
from spikeloom.gen.bus_top import Interface
from spikeloom.gen.fold import load_fold
from spikeloom.gen.place_route import PlaceRouteResult, place_and_route
from spikeloom.gen.plan import make_plan
from spikeloom.model.network_file import load_network

NETWORK = Path(__file__).parent.parent / "model" / "data" / "fashion-mnist-400-400.snn"
TOPS: tuple[Interface, ...] = ("stream", "axi")
DEVICE, TARGET_MHZ = "lfe5u-85f", 120


def main(fold_name: str, tops: list[Interface], seeds: list[int]) -> None:
    network = load_network(NETWORK)
    fold = load_fold(fold_name, network)
    results: dict[Interface, PlaceRouteResult] = {}
    rows = []
    for interface in tops:
        with tempfile.TemporaryDirectory() as folder:
            build(make_plan(network, fold), Path(folder) / "build", interface=interface)
            result = place_and_route(Path(folder) / "build", DEVICE, target_mhz=TARGET_MHZ, seeds=seeds,
                                     progress=lambda what: print(what, flush=True))
        results[interface] = result
        sites = [f"{used:,} of {all_there:,} ({used / all_there:.0%})" for used, all_there in
                 ((result.used[site], result.available[site]) for site in ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD"))]
        rows += [[fold.name, interface, str(seed.seed), f"{seed.fmax_mhz:.1f}", f"{seed.asked_mhz:.1f}", *sites,
                  f"{seed.wall_s:.0f}"]
                 for seed in result.seeds]
    save("place_route", {"network": network.topology, "fold": fold.to_dict(),
                         "results": {interface: result.to_json() for interface, result in results.items()}},
         ["fold", "top", "seed", "MHz", "asked for", "LUT sites", "flip-flops", "DP16KD", "seconds"], rows)
    for interface, result in results.items():
        print(f"critical path of the slowest, {interface}:")
        for step in result.critical_path:
            print(f"  {step.ns:6.3f} ns  {step.kind:8}  {step.name}")


if __name__ == "__main__":
    named = [top for top in TOPS if top in sys.argv[2:]]
    main(sys.argv[1] if len(sys.argv) > 1 else "fast", named or list(TOPS),
         [int(seed) for seed in sys.argv[2:] if seed not in TOPS] or [1])
