"""The whole FashionMNIST test set through the emitted Verilog: every spike, class and cycle count compared.

    python bench/test_set.py [fold ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from results import save

import spikeloom

NETWORK = "fashion-mnist-400-400"
EXAMPLE = Path(__file__).parent.parent / "examples" / "lfe5u-85f-fold.json"


def main(folds: list[str]) -> None:
    network = spikeloom.load(NETWORK)
    data = spikeloom.dataset("fashion-mnist")
    golden = spikeloom.evaluate(network, data)
    rows, values = [], []
    for fold in folds:
        plan = spikeloom.compile(network, fold)
        with tempfile.TemporaryDirectory() as folder:
            spikeloom.write(plan, Path(folder) / "build")
            result = spikeloom.simulate(Path(folder) / "build", data.images, data.labels)
        assert result.accuracy is not None
        values.append({"fold": plan.fold.to_dict(), "sim": result.to_json()})
        rows.append([plan.fold.name, f"{result.samples:,}", str(result.mismatches), str(result.cycles_mispredicted),
                     f"{result.accuracy:.2%}", f"{result.cycles_mean:.1f} ({result.cycles_min}-{result.cycles_max})",
                     f"{result.wall_s:.0f}"])
    save("test_set", {"network": NETWORK, "hash": network.hash, "golden_accuracy": golden.accuracy, "folds": values},
         ["fold", "images", "mismatches", "cycles mispredicted", "accuracy", "cycles, mean (min-max)", "seconds"], rows)


if __name__ == "__main__":
    main(sys.argv[1:] or ["fast", str(EXAMPLE)])
