"""Float semantics of NIR files against the frameworks that wrote them, spike for spike; and what is made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.frameworks import CASES, Case, made

from spikeloom.cosim.prove import prove
from spikeloom.cosim.verilator import lint
from spikeloom.gen.build import build
from spikeloom.gen.fold import load_fold
from spikeloom.gen.plan import make_plan
from spikeloom.model.exchange.dialects import DIALECTS, suggested
from spikeloom.model.exchange.integers import agreement, integer_network
from spikeloom.model.exchange.meaning import meaning
from spikeloom.model.exchange.nir_file import read_nir
from spikeloom.model.exchange.real_network import run
from spikeloom.model.readout import Readout

DATA = Path(__file__).parents[2] / "data" / "nir"
NAMES = [case[0] for case in CASES]
# Those of the others take minutes together.
SOME = ("snntorch-RSynaptic-subtract-delay", "snntorch-RLeaky-subtract-nodelay", "norse-LIFCell",
        "spikingjelly-LIF-reset")


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_float_semantics(case: Case, tmp_path: Path) -> None:
    path, x, want = made(case, tmp_path)
    real, _ = meaning(read_nir(path), replace(DIALECTS[case[1]], **case[2]), "network")
    got = run(real, x).spikes[real.output]
    assert 0.01 < want.mean() < 0.9
    assert int((got != want).sum()) == 0


@pytest.mark.parametrize("case", [pytest.param(case, marks=() if case[0] in SOME else pytest.mark.slow)
                                  for case in CASES], ids=NAMES)
def test_quantised(case: Case, tmp_path: Path) -> None:
    """Fitted to the float spikes, integers of eight bits give nearly the same."""
    path, x, _ = made(case, tmp_path)
    real, _ = meaning(read_nir(path), replace(DIALECTS[case[1]], **case[2]), "network")
    network = integer_network(real, steps=x.shape[1], readout=Readout.count(), calibration=x.astype(np.uint8))
    assert agreement(network, real, x.astype(np.uint8)).share < 0.02


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in SOME else pytest.mark.slow) for name in NAMES])
def test_verilog(name: str, tmp_path: Path) -> None:
    case = CASES[NAMES.index(name)]
    path, x, _ = made(case, tmp_path)
    real, _ = meaning(read_nir(path), replace(DIALECTS[case[1]], **case[2]), "network")
    network = integer_network(real, steps=x.shape[1], readout=Readout.count())
    build(make_plan(network, load_fold("small", network)), tmp_path / "build")
    lint(tmp_path / "build")
    assert prove(tmp_path / "build", x.astype(np.uint8)).ok


@pytest.mark.parametrize(("name", "dialect"), [
    ("snntorch-Leaky-subtract-delay", "snntorch"), ("snntorch-RSynaptic-zero-delay", "snntorch"),
    ("norse-LIFCell", "norse-1.1"), ("spikingjelly-IF", "spikingjelly"), ("spikingjelly-CUBALIF", "spikingjelly")])
def test_suggestions(name: str, dialect: str, tmp_path: Path) -> None:
    path, _, _ = made(CASES[NAMES.index(name)], tmp_path)
    assert suggested(read_nir(path))[0][0] == dialect


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("*.nir")))
def test_shipped_files(name: str) -> None:
    """Of frameworks that do not install beside the others."""
    dialect = DIALECTS[name.split("_")[0]]
    graph = read_nir(DATA / f"{name}.nir")
    assert dialect.name in [one for one, _ in suggested(graph)]
    real, _ = meaning(graph, dialect, "network")
    with np.load(DATA / f"{name}.npz") as sample:
        got, want = run(real, sample["x"]).spikes[real.output], sample["spikes"] > 0
    if dialect.old_spikes:
        got, want = got[:, :-1], want[:, 1:]
    assert want.mean() > 0.05
    np.testing.assert_array_equal(got, want)
