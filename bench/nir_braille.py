"""The NIR project's recurrent Braille network (12-38-7, 256 steps): integers against float, on its published sample.

    python bench/nir_braille.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from results import save

from spikeloom.model.exchange.dialects import DIALECTS
from spikeloom.model.exchange.integers import agreement, integer_network
from spikeloom.model.exchange.meaning import meaning
from spikeloom.model.exchange.nir_file import read_nir
from spikeloom.model.readout import Readout

DATA = Path(__file__).parents[1] / "tests" / "data" / "braille"


def main() -> None:
    samples = np.load(DATA / "braille_input_256x12.npy")[None].astype(np.uint8)
    real, _ = meaning(read_nir(DATA / "braille_noDelay_bias_zero.nir"), DIALECTS["snntorch-nodelay"], "braille")
    rows, kept = [], {}
    for bits in (16, 8, 7, 6, 5, 4):
        shares = [agreement(integer_network(real, steps=256, readout=Readout.count(), weight_bits=bits,
                                            calibration=calibration), real, samples).share
                  for calibration in (None, samples)]
        kept[str(bits)] = shares
        rows.append([str(bits), *(f"{share:.2%}" for share in shares)])
    save("nir_braille", {"differing": kept}, ["weight bits", "spike bits that differ, rounded", "fitted to the sample"],
         rows)


if __name__ == "__main__":
    main()
