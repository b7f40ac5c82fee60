"""The command ``spikeloom``, and ``python -m spikeloom``."""

from __future__ import annotations

import signal

from spikeloom.model.system.stopping import stoppable

__all__ = ["main"]


def main() -> None:
    """Run the command line so that a signal ends it, from before its imports on, which take a while."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # before and after: an end without a traceback
    with stoppable():
        from spikeloom.cli import main as command
        command()


if __name__ == "__main__":
    main()
