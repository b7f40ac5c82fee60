"""Reading files that may be anything: never waits, never takes more memory than was agreed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from ..errors import SpikeloomError
from .paths import shown

__all__ = ["MIB", "open_regular", "read_bytes", "read_text"]

MIB = 1 << 20


@contextmanager
def open_regular(path: Path, limit_bytes: int | None = None) -> Iterator[BufferedReader]:
    """A regular file of at most ``limit_bytes``, open for reading.

    Raises
    ------
    SpikeloomError
        If it is missing, no regular file (a FIFO would block, a device has no end), too large, or cannot be read.
    """
    name = shown(path)
    try:
        # Without O_NONBLOCK a FIFO that nobody writes to would hold us here.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SpikeloomError(f"{name}: no such file") from None
    except OSError as error:
        raise SpikeloomError(f"{name}: cannot be read: {error.strerror or error}") from error
    status = os.fstat(descriptor)
    wrong = ("is a folder, not a file" if stat.S_ISDIR(status.st_mode) else
             "is not a regular file" if not stat.S_ISREG(status.st_mode) else
             f"has {status.st_size:,} bytes, allowed are {limit_bytes:,}"
             if limit_bytes is not None and status.st_size > limit_bytes else None)
    if wrong:
        os.close(descriptor)
        raise SpikeloomError(f"{name}: {wrong}")
    with open(descriptor, "rb") as file:
        yield file


def read_bytes(path: Path, limit_bytes: int) -> bytes:
    """The contents of a regular file of at most ``limit_bytes``; errors as :func:`open_regular`."""
    with open_regular(path, limit_bytes) as file:
        chunks, size = [], 0
        while chunk := file.read(MIB):  # reading the limit at once would take the memory for it
            chunks.append(chunk)
            size += len(chunk)
            if size > limit_bytes:  # it grew meanwhile
                raise SpikeloomError(f"{shown(path)}: has more than the {limit_bytes:,} bytes that are allowed")
    return b"".join(chunks)


def read_text(path: Path, limit_bytes: int) -> str:
    """The same, as UTF-8."""
    data = read_bytes(path, limit_bytes)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpikeloomError(f"{shown(path)}: is not UTF-8 text: byte {error.start} is "
                             f"0x{data[error.start]:02x}") from None
