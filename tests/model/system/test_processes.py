"""Children end with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.processes import run


def _gone(pid: int, limit_s: float = 5) -> bool:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_output_and_exit_code() -> None:
    lines: list[str] = []
    code, text = run([sys.executable, "-c", "print('a'); print('b'); raise SystemExit(3)"], read_line=lines.append)
    assert (code, text, lines) == (3, "a\nb\n", ["a", "b"])


def test_a_program_that_is_missing() -> None:
    assert run(["/nowhere/tool"])[0] == 127


def test_a_limit() -> None:
    began = time.monotonic()
    with pytest.raises(SpikeloomError, match="did not end within"):
        run(["sleep", "60"], limit_s=0.5)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_parent_that_is_killed_leaves_nobody(tmp_path: Path, how: signal.Signals) -> None:
    # The command starts a child of its own, which tells its number: that one has to go too.
    code = ("import sys\nfrom spikeloom.model.system.processes import run\n"
            "run(['sh', '-c', 'sleep 60 & echo $! > ' + sys.argv[1] + '; wait'])")
    file = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", code, str(file)]) as process:
        until = time.monotonic() + 20
        while not (file.is_file() and file.read_text().strip()) and time.monotonic() < until:
            time.sleep(0.02)
        pid = int(file.read_text())
        os.kill(pid, 0)
        process.send_signal(how)
    assert _gone(pid)
