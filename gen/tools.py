"""Programs that we run: from PyPI as WebAssembly (YoWASP), or the user's own."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.cache import cache_dir, tool_environment
from spikeloom.model.system.processes import failure, run
from spikeloom.model.system.writing import check_space

__all__ = ["Tool", "ToolError", "log_tail"]

_TAIL_LINES = 15

# Some passes call themselves once for each gate of a path: the usual 512 KB of stack are too few for long paths. More
# than 2 MB the runtime does not take.
_STACK_BYTES = 1 << 21
_DEEP = f"""\
import sys, threading, wasmtime
def deep(make=wasmtime.Config):
    config = make()
    config.max_wasm_stack = {_STACK_BYTES}
    return config
wasmtime.Config = deep
threading.stack_size({8 * _STACK_BYTES})
"""
_VERSION_LIMIT_S = 60


class ToolError(SpikeloomError):
    """A program ended with an error.

    Attributes
    ----------
    said : str
        Its whole log.
    """

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said

    def __reduce__(self) -> tuple[type[ToolError], tuple[str, str]]:
        return type(self), (str(self), self.said)  # on its way from another process


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program.

    Parameters
    ----------
    package : str
        Its package on PyPI.
    function : str
        What to call in the package's module (the package's name with ``_``): ``run_...`` with the arguments, anything
        else as a program's main function.
    program : str or None
        Name of the same program where users have their own, which then is run instead; None: always ours, so that
        its results can be compared.
    purpose, extra : str
        What it is needed for, and what to install.
    writes_log : bool
        It takes ``-l`` for that; otherwise what it says is the log.
    """

    package: str
    function: str
    purpose: str
    extra: str
    program: str | None = None
    writes_log: bool = True

    @property
    def _own(self) -> str | None:
        return shutil.which(self.program) if self.program is not None else None

    def version(self) -> str:
        """Name and version.

        Raises
        ------
        SpikeloomError
            If it is not there, or does not run.
        """
        own = self._own
        if own is not None:
            if not self.writes_log:  # a small one, which knows no version
                return own
            status, said = run([own, "--version"], limit_s=_VERSION_LIMIT_S)
            line = next((line.strip() for line in said.splitlines() if line.strip()), "")
            if status or not line:
                raise SpikeloomError(f"{own} --version {failure(status, said) if status else 'said nothing'}: mend it, "
                                     "or take it off the PATH")
            return " ".join(line.replace('"', "").split())[:200]
        try:
            return f"{self.package} {importlib.metadata.version(self.package)}"
        except importlib.metadata.PackageNotFoundError:
            raise SpikeloomError(f"{self.purpose} needs {self.package}: pip install {self.extra}") from None

    def run(self, arguments: Sequence[str], log: Path, read_line: Callable[[str], None] | None = None) -> None:
        """Run it in a process of its own, in the folder of its log.

        From WebAssembly it sees ``/tmp`` as a private folder: give it names relative to the log's folder only.

        Parameters
        ----------
        arguments : sequence of str
        log : Path
        read_line : callable, optional
            Told each line of its output.

        Raises
        ------
        ToolError
            If it fails or is killed; the message quotes the end of the log, which is kept.
        """
        own = self._own
        module = self.package.replace("-", "_")
        *path, function = f"{module}.{self.function}".split(".")
        call = f"{function}(sys.argv[1:])" if self.function.startswith("run_") else f"{function}()"
        deep = _DEEP if self.package.startswith("yowasp-") else "import sys\n"
        code = f"{deep}from {'.'.join(path)} import {function}\nsys.exit({call})"
        command = [own] if own is not None else [sys.executable, "-c", code]
        if self.writes_log:
            command += ["-l", log.name]
        status, said = run([*command, *arguments], folder=log.parent, environment=tool_environment(log.parent),
                           read_line=read_line)
        if not self.writes_log:
            log.write_text(said, encoding="utf-8")
        if status:
            check_space(log.parent.parent)
            text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else said
            raise ToolError(f"{own or module} {failure(status, said)}; full log: {_kept(log, text)}\n"
                             f"{log_tail(log, said)}", text)


def _kept(log: Path, text: str) -> Path:
    """A copy of the log of a program that failed, beside the cache's entries; one for each way to fail."""
    folder = cache_dir() / "logs"
    folder.mkdir(exist_ok=True)
    kept = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}-{log.name}"
    kept.write_text(text, encoding="utf-8")
    return kept


def log_tail(log: Path, said: str = "") -> str:
    """The end of a log, or, if it tells of no error, of what the program said on its way out."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    if said and not any(line.startswith("ERROR") for line in lines[-_TAIL_LINES:]):
        lines = said.splitlines()
    return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])
