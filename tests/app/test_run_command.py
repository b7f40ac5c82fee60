"""``spikeloom run``, and builds for a board: the command line; tests/cosim/test_serial_run.py has the line itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import Result

import spikeloom
from spikeloom.gen.manifest import read_manifest

if TYPE_CHECKING:
    from tests.app.conftest import Files

Run = Callable[..., Result]


def test_simulated(run: Run, files: Files) -> None:
    result = run("run", files.board, "--simulate", "--data", files.data, "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert (value["samples"], value["wrong"], value["simulated"]) == (20, 0, True)
    assert value["accuracy"] == files.accuracy
    table = run("run", files.board, "--simulate", "--data", files.data, "--samples", 3)
    assert table.exit_code == 0
    for part in ("wrong answers", "the line carries", "(of the simulation)", "0 frames refused"):
        assert part in table.stdout


def test_wrong_answers_end_with_1(run: Run, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    good = spikeloom.run(files.board, spikeloom.dataset(files.data).images)
    monkeypatch.setattr(spikeloom, "run", lambda *args, **options: type(good)(**{**good.to_json(), "wrong": 2,
                                                                                 "first_wrong": 7}))
    result = run("run", files.board, "--port", "x", "--data", files.data)
    assert result.exit_code == 1
    assert "2, the first is sample 7" in result.stdout


@pytest.mark.parametrize(("words", "why"), [
    ([], "name a port by --port, or say --simulate"), (["--port", "/dev/x", "--simulate"], "or say --simulate"),
    (["--port", "/dev/nothing"], "port '/dev/nothing': cannot be opened")])
def test_which_port(run: Run, files: Files, words: list[str], why: str) -> None:
    result = run("run", files.board, "--data", files.data, *words)
    assert result.exit_code == 2
    assert why in result.stderr


def test_a_build_without_a_line(run: Run, files: Files) -> None:
    result = run("run", files.build, "--simulate", "--data", files.data)
    assert result.exit_code == 2
    assert "build it with --interface uart" in result.stderr


def test_build_options(run: Run, files: Files) -> None:
    result = run("build", files.snn, "--interface", "uart", "--clock-mhz", 12, "--baud", 500_000, "-o", "b")
    assert result.exit_code == 0, result.output
    bus = read_manifest(Path("b")).bus
    assert bus is not None
    assert bus.serial is not None
    assert (bus.serial.clock_hz, bus.serial.baud, bus.serial.bit_cycles) == (12_000_000, 500_000, 24)
    for words, kinds in ((["--clock-mhz", 12], "uart and spi"), (["--baud", 500_000, "--interface", "axi"], "uart"),
                         (["--baud", 500_000, "--interface", "spi"], "uart")):
        result = run("build", files.snn, *words, "-o", "c")
        assert result.exit_code == 2
        assert f"is for --interface {kinds} only" in result.stderr
    result = run("build", files.snn, "--interface", "spi", "--clock-mhz", 16, "-o", "s")
    assert result.exit_code == 0, result.output
    bus = read_manifest(Path("s")).bus
    assert bus is not None
    assert bus.serial is not None
    assert (bus.serial.clock_hz, bus.serial.baud) == (16_000_000, 2_000_000)
    result = run("build", files.snn, "--interface", "uart", "--clock-mhz", 1, "--baud", 115_200, "-o", "c")
    assert result.exit_code == 2
    assert "baud 115,200: 9 cycles of 1,000,000 Hz are 3.5% less" in result.stderr
    assert not Path("c").exists()


def test_flash_offset(run: Run, files: Files) -> None:
    fold = Path("ram.json")
    layers = spikeloom.compile(spikeloom.load(files.snn), "small").fold.to_dict()["layers"]
    fold.write_text(json.dumps({"layers": [layers[0] | {"external_bus_bits": 32}, *layers[1:]]}))
    for text, offset in (("0x20000", 0x20000), ("8192", 8192)):
        result = run("build", files.snn, "--fold", fold, "--interface", "uart", "--flash-offset", text, "-o", text)
        assert result.exit_code == 0, result.output
        bus = read_manifest(Path(text)).bus
        assert bus is not None
        assert bus.flash is not None
        assert bus.flash.offset == offset
        assert (Path(text) / bus.flash.file).read_bytes()[:4] == b"SNNF"
    result = run("build", files.snn, "--interface", "uart", "--flash-offset", "1 MB", "-o", "f")
    assert result.exit_code == 2
    assert "'1 MB' is not a number of bytes, like 131072 or 0x20000" in result.stderr
    result = run("build", files.snn, "--interface", "axi", "--flash-offset", "0", "-o", "f")
    assert "flash_offset must be None with interface 'axi'" in result.stderr


def test_boards_are_listed(run: Run) -> None:
    listed = json.loads(run("list", "boards", "--json").stdout)["boards"]
    assert {"ulx3s-85f", "icebreaker", "tang-nano-9k"} <= set(listed)


@pytest.mark.parametrize(("words", "why"), [
    (["--board", "ulx3"], "board 'ulx3' is not known, did you mean ulx3s-25f"),
    (["--board", "icebreaker", "--device", "lfe5u-25f"], "must not be given with --board"),
    (["--board", "icebreaker", "--clock-mhz", "12"], "must not be given with --board")])
def test_pnr_for_a_board(run: Run, files: Files, words: list[str], why: str) -> None:
    result = run("pnr", files.board, "--data", files.data, *words)
    assert result.exit_code == 2
    assert why in result.stderr


def test_a_bitstream_is_kept_with_the_build(run: Run, files: Files, tmp_path: Path) -> None:
    """Also by what knows which files are ours: the folder can be built anew."""
    shutil.copytree(files.board, tmp_path / "board")
    built = run("build", files.snn, "--interface", "uart", "--clock-mhz", 12, "--fold", "small", "-o", "board",
                "--force")
    assert built.exit_code == 0, built.output
    result = run("pnr", "board", "--board", "icebreaker", "--data", files.data, "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["clock_met"] is True
    assert value["clock_mhz"] == 12
    assert value["bitstream"] == str(Path("board/results/icebreaker.bin")) or Path(value["bitstream"]).is_file()
    assert value["us_per_inference"] == value["cycles_mean"] / 12
    names = {path.name for path in (tmp_path / "board" / "results").iterdir()}
    assert names == {"icebreaker.bin", "icebreaker.v", "icebreaker_pins.txt", "pnr_icebreaker.json", "index.json"}
    table = run("pnr", "board", "--board", "icebreaker", "--data", files.data)
    for part in ("12 (seed 1 reaches", "iceprog", "serial line"):
        assert part in table.stdout
    again = run("build", files.snn, "-o", "board", "--force")
    assert again.exit_code == 0, again.output
