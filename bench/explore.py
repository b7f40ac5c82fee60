"""What `spikeloom explore` finds, how long it takes, and what Yosys says of the chosen fold.

    python bench/explore.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from results import save

import spikeloom
from spikeloom.gen.explore import SAMPLES

RUNS = (("fashion-mnist-128", "lfe5u-25f", 4_000), ("fashion-mnist-128", "lfe5u-25f", None),
        ("fashion-mnist-400-400", "lfe5u-85f", 40_000))


def main() -> None:
    images = spikeloom.dataset("fashion-mnist-demo", SAMPLES).images
    rows, values = [], []
    for name, device, max_lut in RUNS:
        network = spikeloom.load(name)
        began = time.monotonic()
        found = spikeloom.explore(network, device, images, max_lut=max_lut)
        took_s = time.monotonic() - began
        with tempfile.TemporaryDirectory() as folder:
            spikeloom.write(spikeloom.compile(network, found.chosen.fold), Path(folder) / "build")
            counted = spikeloom.synthesize(Path(folder) / "build", device)
        chosen = found.chosen
        rows.append([network.topology, device, "80 %" if max_lut is None else f"{max_lut:,}", f"{found.tried:,}",
                     str(len(found.front)), f"{took_s:.0f}", f"{chosen.cycles_mean:,.1f}",
                     f"{chosen.lut:,} ({counted.lut:,})", f"{chosen.ff:,} ({counted.ff:,})",
                     f"{chosen.bram} ({counted.bram})"])
        values.append(found.to_json() | {"seconds": took_s, "synthesised": counted.to_json()})
        print(rows[-1], flush=True)
    save("explore", {"runs": values},
         ["network", "device", "LUTs at most", "folds tried", "at the front", "seconds", "cycles", "LUTs (by Yosys)",
          "flip-flops", "block RAMs"], rows)


if __name__ == "__main__":
    main()
