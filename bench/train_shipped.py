"""Train one of the shipped networks by its recipe; docs/training.md says how the recipes were chosen.

    python bench/teacher.py --out teacher.npy
    python bench/train_shipped.py fashion-mnist-400-400 --teacher teacher.npy --out runs/400-400 [--resume]

A convolutional network starts from the weights of one that was trained on spike rates:

    python bench/pretrain_ann.py fashion-mnist-15c5-40c5-300 --teacher teacher.npy --out start.fsnn
    python bench/train_shipped.py fashion-mnist-15c5-40c5-300 --teacher teacher.npy --start start.fsnn --out runs/first

The larger networks are then tuned, by a better teacher, for a readout in which potentials decide between equal scores:

    python bench/train_shipped.py fashion-mnist-15c5-40c5-300 --teacher teacher_large.npy --tune \
        --start runs/first/fashion-mnist-15c5-40c5-300.snn --out runs/tuned

Writes the network to the output folder, with its accuracy on the 10,000 test images in its metadata. The test
images are read once, after the training.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.model import datasets, float_network, golden
from spikeloom.model.float_network import FloatNetwork, load_float_network, save_float_network
from spikeloom.model.network import Network
from spikeloom.model.network_file import load_network, save_network
from spikeloom.model.train import EpochMetrics, plot_metrics, train
from spikeloom.model.train_config import TrainConfig

COMMON = TrainConfig(loss="mse", wanted=2.5, distill=0.8, dropout=0.1, lr=1e-3, fraction_bits=3, input_bits=4,
                     weight_bits=4, fused=True)
TIES: dict[str, Any] = {"ties": "membrane", "potential_gain": 0.25}
# Black pixels and padding are both zero. The start is trained already: a few epochs at a smaller rate.
CONV = dataclasses.replace(COMMON, mean=0.0, validation=2000, mirror=True, gradient="surrogate", lr=5e-4, ema=0.998)
RECIPES = {
    "fashion-mnist-15c5-40c5-300": dataclasses.replace(CONV, hidden="15C5-P2-40C5-P2-300", epochs=8, lr=1e-3),
    "fashion-mnist-32c5-64c5-1024": dataclasses.replace(CONV, hidden="32C5p2-P2-64C5p2-P2-1024", epochs=10,
                                                        dropout=0.2),
    "fashion-mnist-400-400": dataclasses.replace(COMMON, hidden="400-400", epochs=45, lr=8e-4,
                                                 validation=1000),
    "fashion-mnist-128": dataclasses.replace(COMMON, hidden="128", epochs=15, dropout=0.0),
    "fashion-mnist-128-float": dataclasses.replace(COMMON, hidden="128", epochs=15, dropout=0.0, weight_bits=None),
}
# From the network that the recipe gives.
TUNING = {"fashion-mnist-400-400": TIES | {"epochs": 10, "lr": 2e-4, "threads": 1},
          "fashion-mnist-15c5-40c5-300": TIES | {"epochs": 0},  # the rule alone, without training
          "fashion-mnist-32c5-64c5-1024": TIES | {"loss": "softmax", "epochs": 4, "lr": 3e-4}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--teacher", type=Path, help=".npy of class probabilities, from bench/teacher.py")
    parser.add_argument("--start", type=Path, help="network to start from: .fsnn from bench/pretrain_ann.py, or .snn")
    parser.add_argument("--tune", action="store_true", help="the last part of the training, from --start")
    parser.add_argument("--out", type=Path, required=True, help="folder for the network, checkpoint and log")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    if args.tune and (args.name not in TUNING or args.start is None):
        parser.error(f"--tune is for {' and '.join(TUNING)}, and needs --start")
    config = dataclasses.replace(RECIPES[args.name], name=args.name, **(TUNING[args.name] if args.tune else {}))
    data = datasets.load(args.data, "train")
    teacher = np.load(args.teacher, allow_pickle=False) if args.teacher else None
    start: FloatNetwork | Network | None = None
    if args.start:
        start = load_network(args.start) if args.start.suffix == ".snn" else load_float_network(args.start)
    result = train(config, data.images, data.labels, args.out, teacher=teacher, start=start, resume=args.resume,
                   on_epoch=_show)
    if result.metrics:
        plot_metrics(result.metrics, args.out / "metrics.png")

    test = datasets.load(args.data, "test")
    network = result.network
    path = args.out / (args.name + (".snn" if isinstance(network, Network) else ".fsnn"))
    if isinstance(network, Network):
        classes = np.concatenate([r.classes for r in golden.batches(network, test.images)])
    else:
        save_float_network(network, path, half=True)  # what is measured is what is shipped
        network = load_float_network(path)
        classes = float_network.run(network, test.images).classes
    accuracy = float((classes == test.labels).mean())
    network = dataclasses.replace(network, metadata={
        **network.metadata, "data": args.data, "test_accuracy": accuracy, "test_samples": len(test),
        "command": f"python bench/train_shipped.py {args.name}" + (" --teacher teacher.npy" if args.teacher else "")
                   + (" --tune --start first.snn" if args.tune else " --start start.fsnn" if args.start else ""),
        **({"start": dict(start.metadata)} if start else {})})
    if isinstance(network, Network):
        save_network(network, path)
    else:
        save_float_network(network, path, half=True)
    print(f"{args.name}: {accuracy:.2%} of {len(test)} test images")


def _show(metrics: EpochMetrics) -> None:
    print(f"epoch {metrics.epoch}: loss {metrics.loss:.4f}, training {metrics.train_accuracy:.4f}, validation "
          f"{metrics.validation_accuracy}, active {metrics.active}, {metrics.seconds} s", flush=True)


if __name__ == "__main__":
    main()
