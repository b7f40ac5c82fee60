"""A signal ends a command, whatever it is doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORK = {
    "Python": "while True: pass",
    "a system call": "time.sleep(60)",
    "code that is not Python": "import ctypes; ctypes.CDLL(None).sleep(60)",
    "a child": "run(['sleep', '60'])",
    "children of threads": "with Children() as c, ThreadPoolExecutor() as p: p.submit(c.run, ['sleep', '60']).result()",
    "threads that do not end": "ThreadPoolExecutor().submit(time.sleep, 60); time.sleep(60)",
    "code that handles every error": "while True:\n  try: time.sleep(60)\n  except Exception: pass",
    "a destructor": "class D:\n  def __del__(self): time.sleep(60)\nD(); time.sleep(60)",
    "code that swallows it": "while True:\n  try: time.sleep(60)\n  except BaseException: pass",
}

# A shell that runs the tests in its background has them ignore the signal.
HEEDS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
COMMAND = HEEDS + """\
import pathlib, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from spikeloom.model.system.processes import Children, run
from spikeloom.model.system.stopping import stoppable
from spikeloom.model.system.writing import claimed_folder
with stoppable(), claimed_folder(pathlib.Path(sys.argv[1])):
    print("ready", flush=True)
    exec(sys.argv[2])
"""


def stopped(folder: Path, work: str, number: signal.Signals) -> tuple[int, str, float]:
    """Exit code, messages, and the seconds that it took."""
    with subprocess.Popen([sys.executable, "-c", COMMAND, str(folder), work], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        began = time.monotonic()
        process.send_signal(number)
        try:
            _, message = process.communicate(timeout=30)
        finally:
            process.kill()  # leaving the block would wait for ever
        return process.returncode, message, time.monotonic() - began


@pytest.mark.parametrize("work", WORK)
def test_whatever_it_does(tmp_path: Path, work: str) -> None:
    code, message, seconds = stopped(tmp_path, WORK[work], signal.SIGINT)
    assert (code, message) == (130, "interrupted\n")
    assert seconds < 2.5
    if "not" not in work and "swallows" not in work:
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_signals(tmp_path: Path, number: signal.Signals, code: int) -> None:
    assert stopped(tmp_path, WORK["a child"], number)[:2] == (code, "interrupted\n")


def test_without_a_signal_nothing_changes() -> None:
    code = (HEEDS + "import sys; from spikeloom.model.system.stopping import stoppable\n"
            "try:\n  with stoppable(): sys.exit(3)\n"
            "finally: assert signal.getsignal(signal.SIGINT) is signal.default_int_handler")
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 3
