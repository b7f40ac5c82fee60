"""The command ``spikeloom``, and ``python -m spikeloom``."""

from __future__ import annotations

import signal

from spikeloom.model.system.stopping import stoppable

__all__ = ["main"]


def main() -> None:
    """Run the command line so that a signal ends it, from before its imports on, which take a while."""
    try:
        with stoppable():
            from spikeloom.cli import main as command
            command()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # what is left is Python's own end


if __name__ == "__main__":
    main()
