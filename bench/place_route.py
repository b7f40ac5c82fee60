"""The clock that a fold of a shipped network reaches on an LFE5U-85F, and its critical path.

    python bench/place_route.py [fold] [seed ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from results import save

from spikeloom.gen.build import build
from spikeloom.gen.fold import load_fold
from spikeloom.gen.place_route import place_and_route
from spikeloom.gen.plan import make_plan
from spikeloom.model.network_file import load_network

NETWORK = Path(__file__).parent.parent / "model" / "data" / "fashion-mnist-400-400.snn"
DEVICE, TARGET_MHZ = "lfe5u-85f", 120


def main(fold_name: str, seeds: list[int]) -> None:
    network = load_network(NETWORK)
    fold = load_fold(fold_name, network)
    with tempfile.TemporaryDirectory() as folder:
        build(make_plan(network, fold), Path(folder) / "build")
        result = place_and_route(Path(folder) / "build", DEVICE, target_mhz=TARGET_MHZ, seeds=seeds,
                                 progress=lambda what: print(what, flush=True))
    sites = [f"{result.used[site]:,} of {result.available[site]:,} ({result.used[site] / result.available[site]:.0%})"
             for site in ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD")]
    rows = [[fold.name, str(seed.seed), f"{seed.fmax_mhz:.1f}", *sites, f"{seed.wall_s:.0f}"] for seed in result.seeds]
    save("place_route", {"network": network.topology, "fold": fold.to_dict(), "result": result.to_json()},
         ["fold", "seed", "MHz", "LUT sites", "flip-flops", "DP16KD", "seconds"], rows)
    print("critical path of the slowest:")
    for step in result.critical_path:
        print(f"  {step.ns:6.3f} ns  {step.kind:8}  {step.name}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fast", [int(seed) for seed in sys.argv[2:]] or [1])
