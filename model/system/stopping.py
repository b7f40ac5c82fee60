"""Stopping a command: by Ctrl-C, SIGTERM or a closed terminal; within two seconds, with all that it has started."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .processes import Stopped, stop_all

__all__ = ["stoppable"]

GRACE_S = 1.2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stoppable() -> Iterator[None]:
    """Around a command: a signal ends its children, raises :class:`.Stopped` in it, says ``interrupted``, and exits
    with code 128 + its number, whatever the command makes of it; after 1.5 s without waiting for it.

    Raises
    ------
    SystemExit
        After a signal.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's business
        yield
        return
    received: list[int] = []
    lost = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal lost
        if not received:
            received.append(number)
            stop_all()
        elif not lost:
            return
        lost = False
        raise Stopped

    # In what runs between two instructions, such as __del__, an exception goes to this hook and no further.
    def raise_again(unraisable: sys.UnraisableHookArgs) -> None:
        nonlocal lost
        if not isinstance(unraisable.exc_value, Stopped):
            hook(unraisable)
            return
        lost = True
        later = threading.Timer(0.01, signal.pthread_kill, [threading.get_ident(), received[0]])
        later.daemon = True
        later.start()

    hook, sys.unraisablehook = sys.unraisablehook, raise_again

    # Python runs handlers between two of its instructions, which may be a long time off; this thread is told at once.
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)

    def watch() -> None:
        while heard := os.read(ear, 1):
            if heard[0] in _SIGNALS:
                time.sleep(GRACE_S)
                stop_all()
                _say()
                os._exit(128 + heard[0])
        os.close(ear)

    threading.Thread(target=watch, daemon=True, name="stopping").start()
    wakeup = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    # What the caller ignores, as nohup does with SIGHUP, stays ignored.
    before = {number: signal.signal(number, stop) for number in _SIGNALS
              if signal.getsignal(number) != signal.SIG_IGN}
    try:
        try:
            yield
        finally:
            if not received:
                for number, handler in before.items():
                    signal.signal(number, handler)
                signal.set_wakeup_fd(wakeup)
                os.close(mouth)
                sys.unraisablehook = hook
    except BaseException:
        if not received:
            raise
    if received:
        _say()
        sys.exit(128 + received[0])


_said = False


def _say() -> None:
    global _said
    if not _said:
        _said = True
        os.write(2, b"interrupted\n")
