"""Where the package, and the tools that it runs, keep what they can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from ..errors import SpikeloomError
from .paths import path_of

__all__ = ["cache_dir", "tool_environment"]


def cache_dir() -> Path:
    """``$SPIKELOOM_CACHE``, else ``spikeloom`` in the user's cache folder.

    Raises
    ------
    SpikeloomError
        If there is neither.
    """
    own = os.environ.get("SPIKELOOM_CACHE")
    if own:
        return path_of(own, "SPIKELOOM_CACHE").absolute()
    folder = platformdirs.user_cache_path("spikeloom", appauthor=False)
    if not folder.is_absolute():
        raise SpikeloomError("this user has no home folder: set SPIKELOOM_CACHE to a folder for what can be made again")
    return folder


def tool_environment() -> dict[str, str]:
    """Environment variables by which the tools that we run keep their caches in ours."""
    tools = str(cache_dir() / "tools")
    return {"XDG_CACHE_HOME": tools, "YOWASP_CACHE_DIR": tools}
