"""Child processes that end with us, and within their time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import SpikeloomError
from .paths import shown

__all__ = ["run", "stop_all", "supervised"]

_SUPERVISOR = Path(__file__).with_name("supervise.py")
_running: set[subprocess.Popen[str]] = set()
_lock = threading.Lock()


def supervised(command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` under supervision: it ends when this process does, however that ends."""
    return [sys.executable, "-I", "-S", str(_SUPERVISOR), str(os.getpid()), *command]


def run(command: Sequence[str], *, limit_s: float | None = None, folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        read_line: Callable[[str], None] | None = None) -> tuple[int, str]:
    """Run a command to its end.

    Parameters
    ----------
    command : sequence of str
    limit_s : float, optional
        Seconds after which it is ended.
    folder : Path, optional
        Its working directory.
    environment : mapping, optional
        Variables on top of this process's own.
    read_line : callable, optional
        Told each line of its output as it comes.

    Returns
    -------
    int, str
        Exit code (128 + n after signal n; 127 if there is no such program), and all output, errors included.

    Raises
    ------
    SpikeloomError
        If it does not end in time.
    """
    lines: list[str] = []
    late = threading.Event()
    with subprocess.Popen(supervised(command), cwd=folder, env={**os.environ, **(environment or {})},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, encoding="utf-8", errors="replace") as process:
        with _lock:
            _running.add(process)

        def end() -> None:
            late.set()
            process.terminate()

        timer = threading.Timer(limit_s, end) if limit_s is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if read_line is not None:
                    read_line(line.rstrip("\n"))
            code = process.wait()
        except BaseException:
            process.terminate()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            with _lock:
                _running.discard(process)
    if late.is_set():
        raise SpikeloomError(f"{shown(command[0])}: did not end within {limit_s:g} s")
    return code, "".join(lines)


def stop_all() -> None:
    """End every child that is running."""
    with _lock:
        running = list(_running)
    for process in running:
        with suppress(ProcessLookupError):
            process.terminate()
