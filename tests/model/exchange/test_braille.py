"""The NIR project's recurrent network: float semantics against the published spikes, integers, Verilog."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikeloom.cosim.prove import prove
from spikeloom.gen.build import build
from spikeloom.gen.fold import load_fold
from spikeloom.gen.plan import make_plan
from spikeloom.model.exchange.dialects import DIALECTS
from spikeloom.model.exchange.integers import agreement, integer_network
from spikeloom.model.exchange.meaning import meaning
from spikeloom.model.exchange.nir_file import read_nir
from spikeloom.model.exchange.real_network import RealNetwork, run
from spikeloom.model.readout import Readout

DATA = Path(__file__).parents[2] / "data" / "braille"
SAMPLES = np.load(DATA / "braille_input_256x12.npy")[None].astype(np.uint8)


@pytest.fixture(scope="module")
def real() -> RealNetwork:
    return meaning(read_nir(DATA / "braille_noDelay_bias_zero.nir"), DIALECTS["snntorch-nodelay"], "braille")[0]


def test_published_spikes(real: RealNetwork) -> None:
    want = np.load(DATA / "braille_ref_snntorch_noDelay_bias_zero.npy").reshape(256, 38)
    assert int((run(real, SAMPLES).spikes["lif1_lif"][0] != want).sum()) == 0


@pytest.mark.parametrize(("weight_bits", "most"), [(8, 0.0), (6, 0.02)])
def test_integers(real: RealNetwork, weight_bits: int, most: float) -> None:
    network = integer_network(real, steps=256, readout=Readout.count(), weight_bits=weight_bits, calibration=SAMPLES)
    assert agreement(network, real, SAMPLES).share <= most


def test_verilog(real: RealNetwork, tmp_path: Path) -> None:
    network = integer_network(real, steps=256, readout=Readout.count(), calibration=SAMPLES)
    build(make_plan(network, load_fold("balanced", network)), tmp_path / "build")
    assert prove(tmp_path / "build", np.repeat(SAMPLES, 2, axis=0)).ok
