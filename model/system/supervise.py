"""Runs a command that ends with its parent: ``python -I supervise.py PARENT_PID LIMIT_S IDLE_S COMMAND ...``

A process that is killed cannot end its children. This one stands between: it starts the command as a group of its own
and ends the group when the parent is gone, when it is told to end itself, when ``LIMIT_S`` seconds are over, or when
the command has used no processor for ``IDLE_S`` seconds (0: no such limit). Imports nothing but the standard library,
so that it starts in milliseconds.
"""

import os
import signal
import subprocess
import sys
import time

__all__ = ["LATE", "main"]

LOOK_S = 0.1
GRACE_S = 0.5
LATE = 124  # exit code, as timeout(1) has it


def main() -> int:
    parent, limit_s, idle_s, command = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, frame: told.append(received))
    try:
        child = subprocess.Popen(command, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    began = worked = time.monotonic()
    used, late = "", False
    while child.poll() is None and not told and not late and os.getppid() == parent:
        try:
            child.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            now = time.monotonic()
            if idle_s and used != (used := _processor_time(child.pid)):
                worked = now
            late = bool(limit_s and now > began + limit_s) or bool(idle_s and now > worked + idle_s)
    if child.poll() is None:
        _end(child, signal.SIGTERM, GRACE_S)
    _end(child, signal.SIGKILL, GRACE_S)  # what the command itself has left running, too
    code = child.returncode
    return LATE if late else 128 - code if code is not None and code < 0 else code or 0


def _processor_time(pid: int) -> str:
    """What changes when a process works; where the system does not tell, every moment."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return " ".join(file.read().rsplit(")", 1)[1].split()[11:13])
    except OSError:
        return str(time.monotonic())


def _end(child: "subprocess.Popen[bytes]", number: int, grace_s: float) -> None:
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        return
    until = time.monotonic() + grace_s
    while child.poll() is None and time.monotonic() < until:
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
