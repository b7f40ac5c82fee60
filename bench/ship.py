"""Measure a trained network on the test images, which are read for nothing else, and put it among the shipped ones.

    spikeloom train --config recipes/fashion-mnist-400-400.json -o runs/400-400
    python bench/ship.py runs/400-400/network.snn

Writes ``model/data/<name>.snn`` (or ``.fsnn``), with the accuracy on the test images and the command of the training in
its metadata. A float network's weights are rounded to float16 first: what is measured is what is shipped.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TypeVar

import numpy as np

from spikeloom.model import datasets, float_network, golden
from spikeloom.model.float_network import FloatNetwork, load_float_network, save_float_network
from spikeloom.model.network import Network
from spikeloom.model.network_file import load_network, save_network

SHIPPED = Path(__file__).parents[1] / "model" / "data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder to put it in")
    args = parser.parse_args()
    quantised = args.network.suffix == ".snn"
    network: Network | FloatNetwork = (load_network if quantised else load_float_network)(args.network)
    test = datasets.load(str(network.metadata["data"]), "test")
    path = args.out / f"{network.name}{args.network.suffix}"
    if isinstance(network, Network):
        classes = np.concatenate([r.classes for r in golden.batches(network, test.images)])
        save_network(_measured(network, classes, test), path)
    else:
        save_float_network(network, path, half=True)
        classes = float_network.run(load_float_network(path), test.images).classes
        save_float_network(_measured(network, classes, test), path, half=True)
    print(f"{path}: {np.mean(classes == test.labels):.2%} of {len(test)} test images")


N = TypeVar("N", Network, FloatNetwork)


def _measured(network: N, classes: np.ndarray, test: datasets.Dataset) -> N:
    return dataclasses.replace(network, metadata={
        **network.metadata, "test_accuracy": float((classes == test.labels).mean()), "test_samples": len(test),
        "command": f"spikeloom train --config recipes/{network.name}.json"})


if __name__ == "__main__":
    main()
