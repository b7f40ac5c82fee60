"""What the readout's rule for equal scores is worth: shipped networks on all 10,000 FashionMNIST test images.

    python bench/ties.py
"""

from __future__ import annotations

import numpy as np
from results import save

import spikeloom
from spikeloom.model import golden

NETWORKS = ("fashion-mnist-128", "fashion-mnist-400-400", "fashion-mnist-15c5-40c5-300",
            "fashion-mnist-32c5-64c5-1024")


def main() -> None:
    data = spikeloom.dataset("fashion-mnist")
    rows, values = [], []
    for name in NETWORKS:
        network = spikeloom.load(name)
        results = list(golden.batches(network, data.images))
        scores = np.concatenate([r.scores for r in results])
        tied = (scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1
        shipped = float((np.concatenate([r.classes for r in results]) == data.labels).mean())
        lowest = float((scores.argmax(axis=1) == data.labels).mean())
        values.append({"network": name, "hash": network.hash, "ties": network.readout.ties, "accuracy": shipped,
                       "accuracy_lowest_index": lowest, "tied": float(tied.mean())})
        rows.append([name, network.readout.ties, f"{shipped:.2%}", f"{lowest:.2%}", f"{tied.mean():.1%}"])
    save("ties", {"samples": len(data), "networks": values},
         ["network", "ties go to", "accuracy", "with ties to the lowest index", "images with a tie"], rows)


if __name__ == "__main__":
    main()
