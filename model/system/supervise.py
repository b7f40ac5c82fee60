"""Runs a command that ends with its parent: ``python -I supervise.py PARENT_PID COMMAND ...``

A process that is killed cannot end its children. This one stands between: it starts the command as a group of its own
and ends the group when the parent is gone, or when it is told to end itself. Imports nothing but the standard library,
so that it starts in milliseconds.
"""

import os
import signal
import subprocess
import sys
import time

LOOK_S = 0.1
GRACE_S = 0.5


def main() -> int:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, frame: told.append(received))
    try:
        child = subprocess.Popen(command, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    while child.poll() is None and not told and os.getppid() == parent:
        try:
            child.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            continue
    if child.poll() is None:
        _end(child, signal.SIGTERM, GRACE_S)
    _end(child, signal.SIGKILL, GRACE_S)  # what the command itself has left running, too
    code = child.returncode
    return 128 - code if code is not None and code < 0 else code or 0


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
