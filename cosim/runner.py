"""Verilog to a simulator program (once), and that program through cocotb (as often as you like).

Programs live in a content-addressed cache: the key hashes everything that goes into one. Weights do not;
the program reads them when it starts, so that one program serves all networks of the same shape and fold.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO
from xml.etree.ElementTree import ParseError

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.cache import cached, found
from spikeloom.model.system.paths import shown
from spikeloom.model.system.processes import Children, failure, run
from spikeloom.model.system.writing import check_space

from .verilator import Verilator, check_compiler, find_verilator

try:
    import cocotb_tools.config
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import Verilator as VerilatorRunner
except (Exception, SystemExit) as error:  # whatever a module does that has the same name
    raise SpikeloomError(f"cocotb cannot be imported: {error!r}; is another module of this name on the PYTHONPATH?"
                         ) from error

__all__ = ["Program", "Progress", "SimulationError", "Trace", "compile_program", "run_program"]

Progress = Callable[[str, int, int], None]
Trace = Literal["vcd", "saif"]  # waveforms; or of each net how often it toggles, and how long it is 1

# A design has hundreds of equal lane blocks. Left alone, Verilator inlines each and optimises it on its own; with
# these flags equal instances share one function. Measured on 784-400-400-10, all lanes side by side: 4 instead of
# 28 MB of C++, a tenth of the compile time, and a faster simulation, because it stays in the processor's cache.
_SHARE_INSTANCES = ("--inline-mult", "1", "-fno-gate", "-fno-dfg")
_VERILATOR_FLAGS = ("-O3", "--x-assign", "fast", "--x-initial", "fast", *_SHARE_INSTANCES)
_MAKE_FLAGS = ("OPT_FAST=-O2", "OPT_GLOBAL=-O2")
# Of each bit of each net, however wide. Of memories only those of few rows: where a device has no LUT RAM they become
# flip-flops; of the others only the addresses and the data.
_SAIF_FLAGS = ("--trace-max-width", "1048576")
# A simulator that is alive computes. Verilator's writer of waveforms is known to wait for itself on a full disk.
_IDLE_S = 60


class SimulationError(SpikeloomError):
    """The simulation could not be built, did not finish, or broke the rules of its streams."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A compiled simulation.

    Attributes
    ----------
    folder : Path
        Its folder in the cache.
    top : str
        Name of its top module.
    trace : "vcd", "saif" or None
        What it can write besides its results (which makes it several times slower).
    """

    folder: Path
    top: str
    trace: Trace | None


def compile_program(sources: Mapping[str, str], top: str, *, trace: Trace | None = None,
                    progress: Progress | None = None) -> Program:
    """Compile Verilog sources, or find the result in the cache.

    Parameters
    ----------
    sources : mapping of str to str
        File names and contents; ``.vlt`` files hold Verilator's waivers, ``.cpp`` files what Verilog imports. Remaining
        warnings are errors.
    top : str
        The top module. cocotb sees only what the sources make public.
    trace : "vcd", "saif" or None
        Compile in the writing of waveforms, or of toggle counts.
    progress : callable, optional
        Called with ``(stage, done, total)`` while something is compiled.

    Raises
    ------
    SpikeloomError
        If there is no usable Verilator or compiler, or they reject the sources.
    """
    compiler = check_compiler()
    tool = find_verilator()
    environment = repr((tool.version, str(tool.executable), compiler, importlib.metadata.version("cocotb"),
                        str(cocotb_tools.config.libs_dir), platform.machine(), _VERILATOR_FLAGS, _MAKE_FLAGS, trace,
                        *(_SAIF_FLAGS if trace == "saif" else ())))
    key = _key(repr((environment, top, sorted(sources.items()))))
    folder = cached("programs", key, lambda part: _compile(part, sources, top, trace, tool, _key(environment),
                                                          progress or (lambda stage, done, total: None)))
    return Program(folder=folder, top=top, trace=trace)


def _key(everything: str) -> str:
    return hashlib.sha256(everything.encode()).hexdigest()[:32]


def _compile(folder: Path, sources: Mapping[str, str], top: str, trace: Trace | None, tool: Verilator,
             runtime_key: str, progress: Progress) -> None:
    """Leave the program and the log of its making in ``folder``."""
    source_dir, object_dir, log = folder / "src", folder / "obj", folder / "compile.log"
    source_dir.mkdir()
    object_dir.mkdir()
    for name, text in sources.items():
        (source_dir / name).write_text(text, encoding="utf-8")
    names = sorted(sources, key=lambda name: not name.endswith(".vlt"))  # waivers count from where they stand
    # Verilator's own runtime is the same in every program, and most of the time that a small one takes.
    runtime = found("runtime", runtime_key)
    ready = sorted(runtime.glob("*.o")) if runtime else []
    _copy(ready, object_dir)
    progress(f"compile: Verilator (kept for the next time; log: {shown(log)})", 0, 1)
    try:
        _Runner(tool, [path.name for path in ready], progress=progress, trace=trace).build(
            sources=[source_dir / name for name in names if not name.endswith(".cpp")], hdl_toplevel=top,
            build_dir=object_dir, waves=trace is not None, log_file=log,
            build_args=[*_VERILATOR_FLAGS, *(str(source_dir / name) for name in names if name.endswith(".cpp"))])
    except (RuntimeError, SystemExit) as error:
        check_space(folder.parent)
        raise SimulationError(f"{', '.join(sources)} cannot be compiled: {error}:\n{_errors(log)}") from error
    if not (object_dir / top).is_file():
        raise SimulationError(f"make ended well but made no program; its log:\n{_errors(log)}")
    if not ready:
        cached("runtime", runtime_key, lambda part: _copy(object_dir.glob("verilated*.o"), part))
    (object_dir / top).rename(folder / top)
    shutil.rmtree(object_dir)
    shutil.rmtree(source_dir)


def _copy(files: Iterable[Path], folder: Path) -> None:
    for file in files:
        shutil.copy(file, folder)


def run_program(program: Program, test_module: str, run_dir: Path, *, children: Children | None = None,
                plusargs: Sequence[str] = (), environment: Mapping[str, str] | None = None,
                waves: Path | None = None) -> None:
    """Run cocotb tests on a program; return if all of them pass.

    Parameters
    ----------
    test_module : str
        Python module with the tests; imported in the simulator's process.
    run_dir : Path
        Working directory: relative file names in Verilog start here, and the log is written here.
    children : Children, optional
        Whom the simulator's process ends with.
    plusargs : sequence of str
        Verilog's run-time options, ``+name=value``.
    environment : mapping
        Additional environment variables.
    waves : Path
        Where to write waveforms or toggle counts; the program must have been compiled with ``trace``.

    Raises
    ------
    SimulationError
        If a test fails or the simulator dies; the message quotes its log.
    SpikeloomError
        If it hangs.
    """
    log = run_dir / "simulation.log"
    results = run_dir / "results.xml"
    death: BaseException | None = None
    try:
        _Runner(children=children).test(test_module=test_module, hdl_toplevel=program.top, hdl_toplevel_lang="verilog",
                       build_dir=program.folder, test_dir=run_dir, plusargs=list(plusargs),
                       extra_env=dict(environment or {}), results_xml=str(results), waves=waves is not None,
                       log_file=log, test_args=[] if waves is None else ["--trace-file", str(waves)])
    except (RuntimeError, SystemExit) as error:  # the latter under pytest, also when a test merely fails
        death = error
    try:
        tests, failed = get_results(results)
    except (RuntimeError, ParseError) as error:
        raise SimulationError(f"the simulation died ({death or error}):\n{_errors(log)}") from error
    if failed or death or not tests:
        raise SimulationError(f"{failed} of {tests} cocotb tests failed:\n{_errors(log)}") from death


def _errors(log: Path, lines: int = 25) -> str:
    """The end of a log, or its first errors if it has any."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "(no log was written)"
    first = next((i for i, line in enumerate(text) if "%Error" in line or "%Warning" in line or "error:" in line), None)
    quoted = text[-lines:] if first is None else text[first:first + lines]
    return "\n".join(f"  {line}" for line in quoted)


class _Runner(VerilatorRunner):
    """cocotb's runner, with the Verilator of our choice and without ``--public-flat-rw``.

    That flag keeps every signal readable from outside, which makes a simulation 3-6 times slower.
    """

    def __init__(self, tool: Verilator | None = None, ready: Sequence[str] = (),
                 children: Children | None = None, progress: Progress | None = None,
                 trace: Trace | None = None) -> None:
        self.tool = tool
        self.trace = trace
        self.progress = progress
        self.run = run if children is None else children.run
        self.ready = ready  # objects that make must take as they are
        super().__init__()

    def _set_env_common(self) -> None:
        os.environ.setdefault("PATH", os.defpath)  # what the system takes anyway; cocotb asks for the variable
        super()._set_env_common()
        # A make that runs us must not hand its flags and job server to the one that we run.
        self.env.update(MAKEFLAGS="", MFLAGS="", MAKELEVEL="")
        if self.tool is not None:
            self.env.update(self.tool.environment)

    def _simulator_in_path_build_only(self) -> None:
        assert self.tool is not None
        self.executable = str(self.tool.executable)

    def _build_command(self) -> list[list[str]]:
        assert self.tool is not None
        verilate, make = super()._build_command()
        verilate.remove("--public-flat-rw")
        if self.trace == "saif":  # cocotb's program writes it, but its runner has no word for it
            at = verilate.index("--trace")
            verilate[at:at + 1] = ["--trace-saif", *_SAIF_FLAGS]
        make += [*_MAKE_FLAGS, *(f"--old-file={name}" for name in self.ready),
                 *(f"{name}={value}" for name, value in self.tool.make_variables.items())]
        return [verilate, make]

    def _execute_cmds(self, cmds: Sequence[list[str]], cwd: str | os.PathLike[str],
                      stdout: TextIO | None = None) -> None:
        for command in cmds:
            told = self._told(Path(cwd), stdout) if command[0] == "make" else None
            code, _ = self.run(command, folder=Path(cwd), environment=self.env, log=None if told else stdout,
                               idle_s=_IDLE_S if self.tool is None else 0, read_line=told)
            if code:
                raise RuntimeError(f"{Path(command[0]).name} {failure(code, self._said())}")

    def _told(self, folder: Path, log: TextIO | None) -> Callable[[str], None] | None:
        """Writes make's lines to the log, and counts the files that it compiles."""
        if self.progress is None or log is None:
            return None
        files, progress = len(set(folder.glob("*.cpp"))), self.progress
        begun = 0

        def tell(line: str) -> None:
            nonlocal begun
            log.write(f"{line}\n")
            log.flush()
            if " -c " in line:
                begun += 1
                progress("compile: C++", min(begun - 1, files), files)

        return tell

    def _said(self) -> str:
        assert self.log_file is not None
        return Path(self.log_file).read_text(encoding="utf-8", errors="replace")
