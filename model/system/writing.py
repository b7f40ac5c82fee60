"""Files and folders that appear as a whole or not at all, and never take the place of anything foreign.

What is being written stands beside its destination as ``.spikeloom-XXXXXXXX.part``, locked by the process that writes
it; the lock dies with the process, so that whoever writes there next can clear what a killed one left.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import SpikeloomError
from .paths import shown
from .reading import MIB

__all__ = ["check_file", "check_folder", "check_space", "claimed_folder", "make_parents", "new_file", "scratch_folder",
           "write_file", "write_folder"]

IsOwn = Callable[[Path], bool]

_PREFIX, _SUFFIX = ".spikeloom-", ".part"
_NO_REPLACE, _EXCHANGE = "no replace", "exchange"


def check_file(path: Path, is_own: IsOwn | None = None) -> Path:
    """Where :func:`write_file` would write: ``path`` with links followed. For use before
    work that a refusal would spoil.

    Raises
    ------
    SpikeloomError
        If ``path`` is a folder or a device, or a file that ``is_own`` does not recognise; or its folder does not exist.
    """
    real = Path(os.path.realpath(path))
    with _told(path):
        if not real.parent.is_dir():
            raise SpikeloomError(f"{shown(path)}: folder {shown(real.parent)} does not exist")
        try:
            mode = os.lstat(real).st_mode
        except FileNotFoundError:
            return real
        if not stat.S_ISREG(mode):
            raise SpikeloomError(f"{shown(path)}: is {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}: "
                                 "name a file to write")
        if is_own is None or not is_own(real):
            raise SpikeloomError(f"{shown(path)}: exists already and is not a file that this command wrote: it is left "
                                 "as it is; choose another name")
    return real


def write_file(path: Path, content: bytes | str | Callable[[BinaryIO], object], *, is_own: IsOwn | None = None) -> None:
    """Write a file, or leave things as they are.

    Parameters
    ----------
    path : Path
        Its folder must exist. A link is followed.
    content : bytes, str (as UTF-8), or a callable that writes into an open file
    is_own : callable, optional
        Told an existing file, whether it may be replaced. Default: nothing is replaced.

    Raises
    ------
    SpikeloomError
        As :func:`check_file`, or if the disk is full, read-only, ...
    """
    with _told(path), new_file(path, is_own) as part, part.open("wb") as file:
        if callable(content):
            content(file)
        else:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def new_file(path: Path, is_own: IsOwn | None = None) -> Iterator[Path]:
    """The same for whoever needs a name to write to: an empty file, which becomes ``path`` unless there is an error."""
    real = check_file(path, is_own)
    with ExitStack() as stack:
        with _told(path):
            part, descriptor = stack.enter_context(_claimed(real.parent, folder=False))
        yield part
        with _told(path):
            os.fchmod(descriptor, 0o666 & ~_umask())
            if real.exists():
                check_file(path, is_own)
                os.replace(part, real)
            else:
                _move(part, real, _NO_REPLACE)


def make_parents(path: Path) -> None:
    """Make the folder that a file is to be written to."""
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)


def check_folder(folder: Path, is_own: IsOwn | None = None) -> None:
    """Raise :class:`.SpikeloomError` unless ``folder`` is free, empty, or one that ``is_own`` recognises."""
    with _told(folder):
        if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
            return
        if not folder.is_dir():
            raise SpikeloomError(f"{shown(folder)}: exists already and is not a folder; choose another name")
        if is_own is None or not is_own(folder):
            raise SpikeloomError(f"{shown(folder)}: exists already, with files that this command did not write: they "
                                 "are left as they are; choose another folder")


def write_folder(folder: Path, fill: Callable[[Path], None], *, is_own: IsOwn | None = None) -> None:
    """Write a folder, or leave things as they are.

    Parameters
    ----------
    folder : Path
        Folders above it are made.
    fill : callable
        Told an empty folder, writes its contents.
    is_own : callable, optional
        Told an existing folder, whether it may be replaced *with all that it holds*. Default: nothing is replaced.

    Raises
    ------
    SpikeloomError
        If the folder holds foreign files, now or when the new one is complete; or cannot be written.
    """
    check_folder(folder, is_own)
    real = Path(os.path.realpath(folder))
    with _told(folder):
        try:
            real.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        with claimed_folder(real.parent) as part:
            fill(part)
            part.chmod(0o777 & ~_umask())
            if not os.path.lexists(real):
                _move(part, real, _NO_REPLACE)
                return
            check_folder(folder, is_own)
            if not any(real.iterdir()):
                os.rename(part, real)  # fails if somebody has put a file into it
                return
            _move(part, real, _EXCHANGE)
            if is_own is None or not is_own(part):  # somebody has put a file into the old one just now
                _move(part, real, _EXCHANGE)
                check_folder(folder, is_own)


def check_space(folder: Path) -> None:
    """Raise :class:`.SpikeloomError` if the disk with ``folder`` is full: the programs that we run do not tell."""
    disk = os.statvfs(folder)
    free = (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail) * disk.f_frsize
    if disk.f_blocks and free < MIB:
        raise SpikeloomError(f"{shown(folder)}: the disk is full")


@contextmanager
def claimed_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in ``parent`` that is gone afterwards, whatever happens; clears what killed ones left there."""
    with _claimed(parent, folder=True) as (part, _):
        yield part


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """The same, where the system keeps temporary files."""
    folder = Path(tempfile.gettempdir())
    try:
        with claimed_folder(folder) as part:
            yield part
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise SpikeloomError(f"{shown(folder)}: the disk is full") from error


@contextmanager
def _claimed(parent: Path, *, folder: bool) -> Iterator[tuple[Path, int]]:
    _clear(parent)
    while True:
        part = parent / f"{_PREFIX}{secrets.token_hex(4)}{_SUFFIX}"
        try:
            descriptor = _locked_part(part, folder)
            break
        except FileNotFoundError:
            if not parent.is_dir():
                raise
    try:
        yield part, descriptor
    finally:
        _remove(part)
        os.close(descriptor)


def _locked_part(part: Path, folder: bool) -> int:
    """Descriptor of what is new; raises :class:`FileNotFoundError` if somebody cleared it before it was locked."""
    if folder:
        part.mkdir(mode=0o700)
        descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    else:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.stat(part)
    except BaseException:
        os.close(descriptor)
        _remove(part)
        raise
    return descriptor


def _clear(parent: Path) -> None:
    for part in parent.glob(f"{_PREFIX}*{_SUFFIX}"):
        with suppress(OSError):
            descriptor = os.open(part, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(part)
            finally:
                os.close(descriptor)


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)


def _move(source: Path, target: Path, how: str) -> None:
    """One rename that the kernel makes as a whole: refused if ``target`` exists, or with ``target`` in exchange."""
    linux, libc = sys.platform == "linux", ctypes.CDLL(None, use_errno=True)
    function = getattr(libc, "renameat2" if linux else "renameatx_np", None)
    if function is not None:
        flag = {_NO_REPLACE: 1, _EXCHANGE: 2} if linux else {_NO_REPLACE: 4, _EXCHANGE: 2}
        here = ctypes.c_int(-100 if linux else -2)  # AT_FDCWD
        if function(here, os.fsencode(source), here, os.fsencode(target), ctypes.c_uint(flag[how])) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(code, os.strerror(code))
    if how == _EXCHANGE:
        raise SpikeloomError(f"{shown(target)}: this file system cannot exchange two folders at once; "
                             "choose another folder, or remove this one first")
    if source.is_dir():
        os.rename(source, target)  # onto an empty folder at most
    else:
        os.link(source, target)  # the second name goes with the claim


def _umask() -> int:
    mask = os.umask(0o022)  # there is no other way to ask
    os.umask(mask)
    return mask


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise SpikeloomError(f"{shown(path)}: somebody else has just made it: it is left as it is; "
                             "choose another name") from None
    except OSError as error:
        busy = error.errno in (errno.ENOTEMPTY, errno.EEXIST)
        raise SpikeloomError(f"{shown(path)}: " + ("somebody else has just made it: it is left as it is" if busy else
                                                   f"cannot be written: {error.strerror or error}")) from error
