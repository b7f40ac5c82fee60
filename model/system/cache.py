"""Where the package, and the tools that it runs, keep what they can make or fetch again."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from ..errors import SpikeloomError
from .json_text import parse_json
from .paths import path_of, shown
from .reading import MIB, open_regular, read_bytes
from .writing import claimed_folder

__all__ = ["cache_dir", "cached", "found", "tool_environment"]

WAIT_WORD_S, WAIT_LIMIT_S = 3.0, 3600.0
KEEP_S = 14 * 24 * 3600
_STAMP = "complete.json"


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


def tool_environment(scratch: Path) -> dict[str, str]:
    """Environment variables by which the tools that we run keep their caches in ours, or if that cannot be written in
    ``scratch``; and their temporary files in ``scratch`` anyway."""
    tools = cache_dir() / "tools"
    try:
        tools.mkdir(parents=True, exist_ok=True)
        folder = tools if os.access(tools, os.W_OK) else scratch
    except OSError:
        folder = scratch
    return {"XDG_CACHE_HOME": str(folder), "YOWASP_CACHE_DIR": str(folder), "TMPDIR": str(scratch)}


def cached(kind: str, key: str, make: Callable[[Path], None], *, fresh: bool = False) -> Path:
    """The cache's folder ``kind/key``, made if it is missing, damaged or to be ``fresh``.

    Parameters
    ----------
    kind, key : str
        The key is a hash of everything that the contents depend on.
    make : callable
        Told an empty folder, fills it with files. Of several processes that want the same one makes it.

    Raises
    ------
    SpikeloomError
        If the cache cannot be written, or another process has been at it for an hour; or what ``make`` raises.
    """
    folder = cache_dir() / kind / key
    if not fresh and _is_sound(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{key}.lock")):
            if not fresh and _is_sound(folder):
                return folder
            with claimed_folder(folder.parent) as part:
                make(part)
                (part / _STAMP).write_text(json.dumps({path.name: _digest(path) for path in part.iterdir()}))
                shutil.rmtree(folder, ignore_errors=True)
                part.chmod(0o755)
                part.rename(folder)
        _forget_old(folder.parent)
    except OSError as error:
        raise SpikeloomError(f"{shown(cache_dir())}: the cache cannot be written ({error}): "
                             "set SPIKELOOM_CACHE to a folder that can") from error
    return folder


def found(kind: str, key: str) -> Path | None:
    """The cache's folder ``kind/key`` if it is there and sound."""
    folder = cache_dir() / kind / key
    return folder if _is_sound(folder) else None


def _is_sound(folder: Path) -> bool:
    """Whether every file is the one that was made. The time of the stamp is that of the last use."""
    try:
        digests = parse_json(read_bytes(folder / _STAMP, MIB), _STAMP)
        sound = bool({path.name: _digest(path) for path in folder.iterdir() if path.name != _STAMP} == digests)
    except (OSError, SpikeloomError):
        return False
    with suppress(OSError):  # a cache that is only read
        os.utime(folder / _STAMP)
    return sound


def _digest(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """One process at a time; the lock dies with its process."""
    with lock.open("a+") as file:
        began, told = time.monotonic(), False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = time.monotonic() - began
            if waited > WAIT_WORD_S and not told:
                told = True
                file.seek(0)
                logging.getLogger("spikeloom").warning("waiting for process %s, which makes the same (%s)",
                                                       file.read(20) or "?", shown(lock))
            if waited > WAIT_LIMIT_S:
                raise SpikeloomError(f"{shown(lock)}: another process has held this for {WAIT_LIMIT_S:g} s; "
                                     "end it, or set SPIKELOOM_CACHE to another folder")
            time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _forget_old(folders: Path) -> None:
    """Remove what nobody has used for two weeks, so that the cache does not grow for ever."""
    oldest = time.time() - KEEP_S
    for stamp in folders.glob(f"*/{_STAMP}"):
        with suppress(OSError):
            if stamp.stat().st_mtime < oldest:
                shutil.rmtree(stamp.parent, ignore_errors=True)
