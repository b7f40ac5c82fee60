"""The package as a stranger installs it: a wheel, in an environment of its own, with types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """\
import spikeloom

network = spikeloom.load("fashion-mnist-400-400")
data = spikeloom.dataset("fashion-mnist-demo")
result = spikeloom.evaluate(network, data)
plan = spikeloom.compile(network, "fast")
reveal_type(network)
reveal_type(result.accuracy)
reveal_type(plan)
"""


@pytest.mark.slow
def test_types_are_seen_from_outside(tmp_path: Path) -> None:
    def run(*command: object) -> str:
        done = subprocess.run([str(word) for word in command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path / "wheels", ROOT)
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", *(tmp_path / "wheels").iterdir())
    (tmp_path / "user.py").write_text(SCRIPT)
    said = run(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "user.py")
    for kind in ("spikeloom.model.network.Network", "float", "spikeloom.gen.plan.Plan"):
        assert f'Revealed type is "{kind}"' in said
