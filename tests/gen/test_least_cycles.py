"""The least number of cycles beside the exact one."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import random_conv_network, random_fold, random_graph, random_samples

import spikeloom
from spikeloom.gen.cycles import count_cycles
from spikeloom.gen.fold import PRESETS
from spikeloom.gen.least_cycles import LeastCycles
from spikeloom.gen.plan import make_plan
from spikeloom.model import golden


@pytest.mark.parametrize("seed", range(40))
def test_never_more_than_the_exact_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = (random_conv_network if seed % 2 else random_graph)(rng)
    samples = random_samples(rng, network, 4)
    result = golden.run(network, samples)
    least = LeastCycles(samples, result)
    for _ in range(3):
        plan = make_plan(network, random_fold(rng, network))
        assert (least.of(plan) <= count_cycles(plan, samples, result=result).latency).all()


@pytest.mark.parametrize(("name", "near"), [("fashion-mnist-400-400", 0.75), ("fashion-mnist-15c5-40c5-300", 0.7)])
def test_near_it(name: str, near: float) -> None:
    """Nearer in folds that are not unfolded: 0.93 and more."""
    network, samples = spikeloom.load(name), spikeloom.dataset("fashion-mnist-demo", 10).images
    result = golden.run(network, samples)
    least = LeastCycles(samples, result)
    for preset, share in (("balanced", 0.92), ("fast", near)):
        plan = make_plan(network, PRESETS[preset](network))
        exact = count_cycles(plan, samples, result=result).latency
        assert (least.of(plan) <= exact).all()
        assert least.of(plan).mean() >= share * exact.mean()
