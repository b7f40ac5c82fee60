"""Make model/data/fashion-mnist-demo.npz: the first 500 test images of FashionMNIST, unchanged.

    python bench/make_demo_subset.py            # write the shipped file anew
    python bench/make_demo_subset.py --check    # compare it with the data set instead

The same data set and zlib give the same bytes; --check compares what the bytes hold, under any zlib.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from spikeloom.model import datasets

SAMPLES = 500
OUTPUT = Path(__file__).parents[1] / "model" / "data" / "fashion-mnist-demo.npz"


def main() -> int:
    """Write the file, or compare it; 0 if all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare the shipped file with the data set")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help="file to write or compare")
    arguments = parser.parse_args()
    test = datasets.load("fashion-mnist", "test", SAMPLES)
    labels = test.labels.astype(np.uint8)
    if arguments.check:
        shipped = datasets.load(arguments.output)
        same = np.array_equal(shipped.images, test.images) and np.array_equal(shipped.labels, test.labels)
        print(f"{arguments.output}: {'holds' if same else 'does NOT hold'} the first {SAMPLES} test images")
        return 0 if same else 1
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(arguments.output, images=test.images, labels=labels)  # NumPy dates every member 1980
    print(f"{arguments.output}: {SAMPLES} images, {arguments.output.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
