"""The whole FashionMNIST test set through the emitted Verilog: every spike, class and cycle count compared.

    python bench/test_set.py [fold]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from results import save

import spikeloom

NETWORK = "fashion-mnist-400-400"


def main(fold: str) -> None:
    network = spikeloom.load(NETWORK)
    data = spikeloom.dataset("fashion-mnist")
    golden = spikeloom.evaluate(network, data)
    with tempfile.TemporaryDirectory() as folder:
        plan = spikeloom.compile(network, fold)
        spikeloom.write(plan, Path(folder) / "build")
        result = spikeloom.simulate(Path(folder) / "build", data.images, data.labels)
    assert result.accuracy is not None
    save("test_set", {"network": NETWORK, "hash": network.hash, "fold": fold, "golden_accuracy": golden.accuracy,
                      "sim": result.to_json()},
         ["fold", "images", "mismatches", "cycles mispredicted", "accuracy", "cycles, mean (min-max)", "seconds"],
         [[plan.fold.name, f"{result.samples:,}", str(result.mismatches), str(result.cycles_mispredicted),
           f"{result.accuracy:.2%}", f"{result.cycles_mean:.1f} ({result.cycles_min}-{result.cycles_max})",
           f"{result.wall_s:.0f}"]])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fast")
