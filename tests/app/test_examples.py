"""The examples do what they say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


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
