"""ZIP archives and ``.npy`` arrays from outside, whose sizes are known before anything is unpacked.

NumPy's own header reader evaluates Python literals and raises what the tokenizer raises; headers here have one form,
that which NumPy writes.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SpikeloomError
from .paths import shown
from .reading import MIB, open_regular

__all__ = ["archive_names", "read_archive", "read_npy", "unpacked_limit"]

MAX_MEMBERS = 10_000
# A file may unpack to so many times its size, beyond what is small anyway: spike rasters of a few per cent pack well,
# files that are made to fill the memory pack a thousand times.
MAX_RATIO = 100
FREE_BYTES = 64 * MIB
_HEADER = re.compile(r"\{'descr': '([<>|=])([biuf])([1248])', 'fortran_order': (True|False), "
                     r"'shape': \(((?:\d{1,18}(?:, |,)?)*)\),? *\} *\n?")


def archive_names(path: Path, limit_bytes: int) -> list[str]:
    """Names of a ZIP archive's members; errors as :func:`read_archive`."""
    with _opened(path, limit_bytes) as archive:
        return archive.namelist()


def read_archive(path: Path, limit_bytes: int, wanted: Container[str] | None = None) -> dict[str, bytes]:
    """Members of a ZIP archive by name, all or the ``wanted`` ones.

    Raises
    ------
    SpikeloomError
        If it is no archive, damaged, encrypted, has a name twice, or unpacks to more than ``limit_bytes`` or than 100
        times its own size.
    """
    with _opened(path, limit_bytes) as archive:
        chosen = [member for member in archive.infolist() if wanted is None or member.filename in wanted]
        size, allowed = sum(member.file_size for member in chosen), min(limit_bytes, unpacked_limit(path))
        if size > allowed:
            raise SpikeloomError(f"{shown(path)}: unpacks to {size:,} bytes, allowed are {allowed:,}")
        return {member.filename: archive.read(member) for member in chosen}


@contextmanager
def _opened(path: Path, limit_bytes: int) -> Iterator[zipfile.ZipFile]:
    name = shown(path)
    try:
        with open_regular(path, limit_bytes) as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if len(names) > MAX_MEMBERS or len(set(names)) < len(names):
                raise SpikeloomError(f"{name}: an archive of {len(names):,} members, allowed are {MAX_MEMBERS:,} "
                                     "with different names")
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, SpikeloomError):
            raise
        raise SpikeloomError(f"{name}: not a ZIP archive of this format, or truncated ({str(error)[:100]})") from error


def unpacked_limit(path: Path) -> int:
    """Bytes that a packed file may unpack to."""
    return FREE_BYTES + MAX_RATIO * path.stat().st_size


def read_npy(data: bytes, where: str) -> npt.NDArray[Any]:
    """An array of booleans, integers or floats from the bytes of a ``.npy`` file; it is writable.

    Raises
    ------
    SpikeloomError
        If header or size are not those of such an array. The message begins with ``where``.
    """
    major = data[6] if len(data) > 6 else 0
    if data[:6] != b"\x93NUMPY" or major not in (1, 2, 3):
        raise SpikeloomError(f"{where}: not a .npy array")
    start = 10 if major == 1 else 12
    length = int.from_bytes(data[8:start], "little")
    match = _HEADER.fullmatch(data[start:start + min(length, 4096)].decode("latin-1"))
    if match is None or length > 4096:
        raise SpikeloomError(f"{where}: not a .npy array of booleans, integers or floats with a plain header")
    order, kind, size, fortran, dimensions = match.groups()
    if (kind == "b" and size != "1") or (kind == "f" and size == "1"):
        raise SpikeloomError(f"{where}: an array of type {kind}{size}, allowed are booleans, integers and floats")
    shape = tuple(int(n) for n in re.findall(r"\d+", dimensions))
    count = 1
    for n in shape:
        count *= n
    held = len(data) - start - length
    if len(shape) > 32 or count * int(size) != held:
        raise SpikeloomError(f"{where}: shape {shape} of {size}-byte elements takes {count * int(size):,} bytes, "
                             f"but there are {held:,}")
    dtype = np.dtype(f"{order}{kind}{size}")
    flat = np.frombuffer(bytearray(data[start + length:]), dtype)
    return flat.reshape(shape, order="F" if fortran == "True" else "C").astype(dtype.newbyteorder("="), copy=False)
