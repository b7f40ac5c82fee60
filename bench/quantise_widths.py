"""Accuracy after post-training quantisation of the shipped float network, by weight width and granularity.

    python bench/quantise_widths.py [--network FILE.fsnn] [--samples 10000] [--calibration 500]

Calibration images are the first of the training set; accuracy is the integer golden model's on test images.
"""

from __future__ import annotations

import argparse
import json
from importlib import resources

import numpy as np

from spikeloom.model import datasets, float_network, golden
from spikeloom.model.network import ALLOWED_WEIGHT_BITS
from spikeloom.model.quantize import quantize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = str(resources.files("spikeloom.model") / "data" / "fashion-mnist-128-float.fsnn")
    parser.add_argument("--network", default=shipped)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--calibration", type=int, default=500)
    parser.add_argument("--input-bits", type=int, default=4)
    args = parser.parse_args()
    network = float_network.load_float_network(args.network)
    test = datasets.load(args.data, "test", args.samples)
    images = datasets.load(args.data, "train", args.calibration).images
    rows = [{"weight_bits": "float",
             "accuracy": float((float_network.run(network, test.images).classes == test.labels).mean())}]
    print(json.dumps(rows[0]))
    for bits in ALLOWED_WEIGHT_BITS:
        row: dict[str, float | str] = {"weight_bits": bits}
        for granularity in ("layer", "channel"):
            for name, some in (("least squares", None), ("calibrated", images)):
                integer = quantize(network, weight_bits=bits, granularity=granularity, calibration=some,
                                   input_bits=args.input_bits)
                classes = np.concatenate([r.classes for r in golden.batches(integer, test.images)])
                row[f"{granularity}, {name}"] = float((classes == test.labels).mean())
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
