"""Child processes that end with us, and within their time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from ..errors import SpikeloomError
from .paths import shown
from .supervise import LATE

__all__ = ["Children", "Stopped", "cores", "failure", "run", "stop_all"]

_SUPERVISOR = Path(__file__).with_name("supervise.py")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Stopped(BaseException):
    """The command is to end. Not an :class:`Exception`: who handles errors does not handle this."""


class Children:
    """Commands that can be ended together, from any thread; leaving the context ends them.

    There is no lock inside: a signal's handler may call :meth:`end` in the middle of anything.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = False

    def __enter__(self) -> Children:
        _open.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.end()
        _open.discard(self)

    def end(self) -> None:
        """End those that run; none is started from now on."""
        self._ended = True
        for process in list(self._running):
            with suppress(ProcessLookupError):
                process.terminate()

    def run(self, command: Sequence[str], *, limit_s: float = 0, idle_s: float = 0, folder: Path | None = None,
            environment: Mapping[str, str] | None = None, log: IO[str] | None = None,
            read_line: Callable[[str], None] | None = None) -> tuple[int, str]:
        """Run a command to its end.

        Parameters
        ----------
        command : sequence of str
        limit_s, idle_s : float
            Seconds after which it is ended; seconds without using the processor after which it is. 0: no limit.
        folder : Path, optional
            Its working directory.
        environment : mapping, optional
            Variables on top of this process's own.
        log : file, optional
            Takes the output, which then is not returned.
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
        Stopped
            If :meth:`end` was called.
        """
        lines: list[str] = []
        # A session of its own: the terminal's Ctrl-C is ours alone, and we end it in order.
        with subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SUPERVISOR), str(os.getpid()), f"{limit_s:g}", f"{idle_s:g}",
                 *command], cwd=folder, env={**os.environ, **(environment or {})}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log or subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, encoding="utf-8", errors="replace") as process:
            self._running.add(process)
            try:
                if self._ended:
                    raise Stopped
                for line in process.stdout or ():
                    lines.append(line)
                    if read_line is not None:
                        read_line(line.rstrip("\n"))
                code = process.wait()
            except BaseException:
                process.terminate()
                raise
            finally:
                self._running.discard(process)
        if self._ended:
            raise Stopped
        if code == LATE and (limit_s or idle_s):
            raise SpikeloomError(f"{shown(' '.join(command))[:200]}: " + (
                f"did not end within {limit_s:g} s" if limit_s else
                f"hangs: has not used the processor for {idle_s:g} s"))
        return code, "".join(lines)


def failure(code: int, said: str) -> str:
    """What an exit code other than 0 means, as the end of a sentence about the command that said something."""
    if any(words in said for words in ("Cannot allocate memory", "MemoryError", "bad_alloc", "out of memory")):
        return f"had too little memory (exit code {code})"
    if code == 128 + signal.SIGKILL:
        return "was killed (out of memory?)"
    try:
        return f"was ended by {signal.Signals(code - 128).name}"
    except ValueError:
        return f"failed (exit code {code})"


_others = Children()
_open = {_others}
run = _others.run


def stop_all() -> None:
    """End every child that is running; none is started from now on."""
    for children in list(_open):
        children.end()
