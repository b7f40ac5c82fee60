"""Where the package keeps what it can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_dir"]


def cache_dir() -> Path:
    """``$SPIKELOOM_CACHE``, else ``spikeloom`` in the user's cache folder."""
    own = os.environ.get("SPIKELOOM_CACHE")
    if own:
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spikeloom"
