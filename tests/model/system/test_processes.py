"""Children end with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.processes import Children, Stopped, run


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


def test_one_that_hangs() -> None:
    began = time.monotonic()
    with pytest.raises(SpikeloomError, match="hangs: has not used the processor for 1 s"):
        run(["sleep", "60"], idle_s=1)
    assert time.monotonic() - began < 10
    assert run([sys.executable, "-c", "import time\nend = time.time() + 2\nwhile time.time() < end: pass"],
               idle_s=1) == (0, "")


def test_children_end_together() -> None:
    with ThreadPoolExecutor() as pool:
        with Children() as children:
            running = [pool.submit(children.run, ["sleep", "60"]) for _ in range(3)]
            time.sleep(0.5)
        for each in running:
            with pytest.raises(Stopped):
                each.result(timeout=5)
    with pytest.raises(Stopped):
        children.run(["sleep", "60"])
    assert run(["true"]) == (0, "")
