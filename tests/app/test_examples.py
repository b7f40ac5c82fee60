"""The examples do what they say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

import spikeloom

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(("file", "network"), [
    ("icebreaker-fold.json", "fashion-mnist-128"), ("lfe5u-85f-fold.json", "fashion-mnist-400-400"),
    ("sparse-fold.json", "fashion-mnist-400-400-sparse")])
def test_folds_suit_their_networks(file: str, network: str) -> None:
    plan = spikeloom.compile(spikeloom.load(network), str(EXAMPLES / file))
    assert plan.fold.to_dict()["layers"][0]["lanes"] > 1
    assert len(list(EXAMPLES.glob("*.json"))) == 3


def test_a_neuron_type_of_the_users_own(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("user_neuron", EXAMPLES / "user_neuron.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "user_neuron", module)
    spec.loader.exec_module(module)
    result = module.main(tmp_path)
    assert (result.samples, result.mismatches, result.cycles_mispredicted) == (100, 0, 0)
    assert result.accuracy is not None
    assert result.accuracy > 0.6  # a quarter by chance
    said = capsys.readouterr().out
    assert "spike = potential > threshold" in said
    assert 0.01 < float(said.split("step: ")[1].split()[0]) < 0.5
