"""The prediction of energy: what it adds up, and what the search makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import random_network

from spikeloom.gen.cycles import count_cycles
from spikeloom.gen.energy_constants import constants_of
from spikeloom.gen.energy_prediction import predict
from spikeloom.gen.explore import explore
from spikeloom.gen.least_cycles import LeastCycles
from spikeloom.gen.plan import make_plan
from spikeloom.gen.resources import Estimate
from spikeloom.model import golden

SHARES = {"r0": 0.1, "r1": 0.5, "l0": 0.2, "l1": 1.5, "b": 1.0}


def test_sum() -> None:
    constants = constants_of("lfe5u-25f")
    pj = {name: each.range.typical for name, each in constants.items()}
    found = predict(Estimate(lut=1000, ff=500, bram=7, dsp=0), "lfe5u-25f", cycles=300, additions=4000, clock_mhz=50,
                    shares=SHARES)
    dynamic_pj = ((0.1 * 500 * 300 + 0.5 * 4000) * pj["register_pj"] + (0.2 * 1000 * 300 + 1.5 * 4000) * pj["logic_pj"]
                  + 7 * 300 * pj["block_pj"] + 300 * (500 * pj["clock_pj"] + pj["tree_pj"]))
    assert found.dynamic_nj == pytest.approx(dynamic_pj / 1000)
    assert found.total_nj == pytest.approx(dynamic_pj / 1000 + pj["static_mw"] * 300 / 50)


def test_explored() -> None:
    """Nothing that fits takes less, and what is told of the chosen fold is what it takes; a slow clock wants speed."""
    rng = np.random.default_rng(4)
    network = random_network(rng, sizes=(16, 6), static=True, steps=4)
    images = rng.integers(0, 256, (8, 16)).astype(np.uint8)
    found = explore(network, "lfe5u-25f", images, objective="energy", clock_mhz=20, jobs=1)
    energies = [point.cost for point in found.front]
    assert found.chosen == found.front[-1]
    assert energies == sorted(set(energies), reverse=True)
    chosen = found.chosen
    plan = make_plan(network, chosen.fold)
    additions = LeastCycles(images, golden.run(network, images)).additions(plan).mean()
    used = Estimate(lut=chosen.lut, ff=chosen.ff, bram=chosen.bram, dsp=0)
    assert chosen.cycles_mean == count_cycles(plan, images).latency.mean()
    assert chosen.energy_nj == predict(used, "lfe5u-25f", cycles=chosen.cycles_mean, additions=float(additions),
                                       clock_mhz=20).total_nj
    assert found == explore(network, "lfe5u-25f", images, objective="energy", clock_mhz=20, jobs=2)
