"""The one exception that bad input raises."""

from __future__ import annotations

__all__ = ["SpikeloomError"]


class SpikeloomError(ValueError):
    """Bad input, explained: the message names the file or layer, the field, the value and what is allowed.

    The command line prints the message as one line and exits with code 2; nothing half-written is left.
    """
