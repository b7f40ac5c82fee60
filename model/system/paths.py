"""Paths as people give them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import SpikeloomError
from .arguments import short

__all__ = ["path_of", "shown"]

PATH_BYTES, NAME_BYTES = 4096, 255  # what Linux and macOS take


def path_of(value: Any, what: str) -> Path:
    """``value`` as a path, with ``~`` expanded.

    Raises
    ------
    SpikeloomError
        If it is no path, or ``~`` stands for nobody; the message begins with ``what``.
    """
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise SpikeloomError(f"{what} must be a path, not {short(value)}")
    text = os.fspath(value)
    if not text or "\0" in text:
        raise SpikeloomError(f"{what} must be a path, not {short(text)}")
    raw = text.encode(errors="surrogateescape")
    if len(raw) >= PATH_BYTES or any(len(part) > NAME_BYTES for part in raw.split(b"/")):
        raise SpikeloomError(f"{what} must be a path, of names up to {NAME_BYTES} bytes, not {short(text)}")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise SpikeloomError(f"{what} {shown(text)}: nobody has such a home folder; write out the path") from None


def shown(path: Any) -> str:
    """A path as text that every stream can print: bytes that are not UTF-8, and control characters, as escapes."""
    text = os.fspath(path).encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
