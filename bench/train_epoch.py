"""Seconds per training epoch of 784-400-400-10, T = 5, 4-bit weights, on the 60,000 FashionMNIST images.

    python bench/train_epoch.py [--epochs 3] [--batch 100] [--plain]

The first epoch warms up (and with fused loops compiles them); the others are reported.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile

from spikeloom.model import datasets
from spikeloom.model.train import train
from spikeloom.model.train_config import TrainConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--epochs", type=int, default=3, help="measured epochs")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--plain", action="store_true", help="without torch.compile")
    args = parser.parse_args()
    data = datasets.load(args.data, "train")
    config = TrainConfig(epochs=args.epochs + 1, batch=args.batch, validation=0, fused=not args.plain)
    with tempfile.TemporaryDirectory() as folder:
        metrics = train(config, data.images, data.labels, folder,
                        on_epoch=lambda m: print(f"epoch {m.epoch}: {m.seconds:.1f} s", flush=True)).metrics
    seconds = [m.seconds for m in metrics[1:]]
    print(json.dumps({"images": len(data), "batch": args.batch, "fused": config.fused, "threads": config.threads,
                      "seconds_per_epoch": seconds, "best": min(seconds), "load_average": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
