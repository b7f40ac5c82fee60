"""Whatever stands behind an option or an argument: it works, or ends as one line that begins with `error: `, code 2."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import pytest
from support.nir_files import LIF, chain, write

from spikeloom.cli import main

from .conftest import Files, Run

HOSTILE = ("", " ", "-1", "0", "1.5", "nan", "1e999", "9" * 400, "x" * 5000, "../x", "[/x]", "a\udcffb", "a\nb",
           "~nosuch/x", "/dev/null", "/dev/zero", ".", "/", "{}", "\u202e", "--help-me")
# Each takes a second where it works.
FEW = ("", "-1", "nan", "9" * 400, "x" * 5000, "[/x]", "/dev/zero", ".")

ARGUMENTS = {
    "list": ["networks"], "eval": ["small.snn", "--data", "data.npz"],
    "check": ["small.snn", "--data", "data.npz"],
    "build": ["small.snn", "--fold", "small", "-o", "new"],
    "quantize": ["fashion-mnist-128-float", "--calibration", "0", "-o", "q.snn"],
    "import": ["model.nir", "--dialect", "snntorch", "--steps", "3", "-o", "new.snn"],
    "weights": ["loadable", "small.snn", "-o", "set.bin"],
    "export": ["small.snn", "-o", "new.nir"],
    "sim": ["build", "--data", "data.npz", "--samples", "1", "--stream"], "lint": ["build"],
    "report": ["build", "--data", "data.npz", "--samples", "2"], "synth": ["build", "--device", "ice40-up5k"],
    "energy": ["build", "--device", "ice40-up5k", "--data", "data.npz", "--samples", "1"],
    "pnr": ["build", "--device", "ice40-up5k", "--data", "data.npz", "--samples", "2"],
    "run": ["board", "--simulate", "--data", "data.npz", "--samples", "2"],
    "explore": ["small.snn", "--device", "lfe5u-25f", "--data", "data.npz", "--samples", "2", "--jobs", "1"],
    "demo": ["--network", "small.snn", "--data", "data.npz", "--samples", "1", "--fold", "small"],
    "train": ["--data", "data.npz", "--validation", "4", "--epochs", "1", "--hidden", "4", "-o", "run"],
}


def with_value(words: list[str], option: str, value: str) -> list[str]:
    """The command line with the option set to the value, instead of what it was."""
    if option in words:
        at = words.index(option)
        words = words[:at] + words[at + 2:]
    return [*words, f"{option}={value}" if option.startswith("--") else option, *([] if "--" in option else [value])]


def fine(run: Run, words: list[str]) -> None:
    result = run(*words)
    shown = " ".join(words)[:200].encode(errors="backslashreplace").decode()
    assert result.exit_code in (0, 1, 2), f"{shown}: {result.exit_code} {result.output[-2000:]} {result.exception!r}"
    if result.exit_code == 2:
        last = result.stderr.rstrip("\n").split("\n")[-1]
        assert last.startswith("error: "), f"{shown}: {last}"
        assert len(last) < 1500, f"{shown}: {last}"
        assert result.stdout == "", shown


@pytest.fixture
def here(files: Files, tmp_path: Path, run: Run) -> Path:
    shutil.copy(files.snn, tmp_path / "small.snn")
    shutil.copy(files.data, tmp_path / "data.npz")
    shutil.copytree(files.build, tmp_path / "build")
    shutil.copytree(files.board, tmp_path / "board")
    shutil.copytree(files.loadable, tmp_path / "loadable")
    write(tmp_path / "model.nir", *chain(lif=LIF))
    return tmp_path


@pytest.mark.parametrize("command", ARGUMENTS)
def test_options(run: Run, here: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeloom.gen.explore.moves", lambda *given: ())  # no search: the presets
    if command == "train":
        pytest.importorskip("torch")
    assert set(ARGUMENTS) == set(main.commands)
    users = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    for param in main.commands[command].params:
        values = FEW if command in ("sim", "demo", "train", "energy", "pnr", "explore", "run") else HOSTILE
        if isinstance(param, click.Option) and not param.is_flag:
            option = next(name for name in reversed(param.opts) if name.startswith("-"))
            for value in values:
                fine(run, [command, *with_value(ARGUMENTS[command], option, value)])
        elif isinstance(param, click.Argument):
            for value in values:
                fine(run, [command, value, *ARGUMENTS[command][1:]])
    assert {path: path.read_bytes() for path in users} == users


def test_an_option_that_there_is_not(run: Run, here: Path) -> None:
    for command, words in ARGUMENTS.items():
        assert run(command, *words, "--nonsense").exit_code == 2
        assert run(command, *words, "too", "many").exit_code == 2
