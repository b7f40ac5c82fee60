"""Whole or not at all, and nothing of anybody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.writing import claimed_folder, write_file, write_folder


def _own(path: Path) -> bool:
    return path.read_bytes().startswith(b"ours")


def _own_folder(path: Path) -> bool:
    return {p.name for p in path.iterdir()} == {"ours"}


def _fill(text: str = "1"):  # type: ignore[no-untyped-def]
    return lambda part: (part / "ours").write_text(text)


def _left(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_a_new_file(tmp_path: Path) -> None:
    write_file(tmp_path / "a", "ours 1")
    assert (tmp_path / "a").read_text() == "ours 1"
    assert not _left(tmp_path)


def test_an_own_file_is_replaced_and_a_foreign_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_file(file, "ours 1")
    write_file(file, "ours 2", is_own=_own)
    assert file.read_text() == "ours 2"
    file.write_text("thesis")
    with pytest.raises(SpikeloomError, match="not a file that this command wrote"):
        write_file(file, "ours 3", is_own=_own)
    assert file.read_text() == "thesis"
    assert not _left(tmp_path)


def test_a_link_is_followed(tmp_path: Path) -> None:
    write_file(tmp_path / "a", "ours 1")
    (tmp_path / "link").symlink_to("a")
    write_file(tmp_path / "link", "ours 2", is_own=_own)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_text() == "ours 2"


@pytest.mark.parametrize("place", ["/dev/null", "folder", "missing/a", "fifo"])
def test_what_is_no_file_stays(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    before = os.lstat(tmp_path / place) if place != "missing/a" else None
    with pytest.raises(SpikeloomError):
        write_file(tmp_path / place, "x", is_own=lambda path: True)
    assert before is None or os.lstat(tmp_path / place).st_mode == before.st_mode


def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_file(file, "ours 1")

    def fail(out: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(SpikeloomError, match="No space left"):
        write_file(file, fail, is_own=_own)
    assert file.read_text() == "ours 1"
    assert not _left(tmp_path)


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    write_file(tmp_path / ("q" * 255), "x")


def test_folders(tmp_path: Path) -> None:
    folder = tmp_path / "x" / "y"
    write_folder(folder, _fill())
    with pytest.raises(SpikeloomError, match="exists already"):
        write_folder(folder, _fill("2"))
    write_folder(folder, _fill("3"), is_own=_own_folder)
    assert (folder / "ours").read_text() == "3"
    (folder / "thesis").write_text("mine")
    with pytest.raises(SpikeloomError, match="files that this command did not write"):
        write_folder(folder, _fill("4"), is_own=_own_folder)
    assert (folder / "thesis").read_text() == "mine"
    assert (folder / "ours").read_text() == "3"
    assert not _left(tmp_path / "x")


@pytest.mark.parametrize("what", ["folder", "file in an earlier one"])
def test_what_appears_meanwhile_stays(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "d"
    if what != "folder":
        write_folder(folder, _fill())

    def fill(part: Path) -> None:
        _fill("2")(part)
        folder.mkdir(exist_ok=True)
        (folder / "thesis").write_text("mine")

    with pytest.raises(SpikeloomError, match="left as"):
        write_folder(folder, fill, is_own=_own_folder)
    assert (folder / "thesis").read_text() == "mine"
    assert not _left(tmp_path)


def test_of_two_writers_one_wins_and_one_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "d"

    def fill(part: Path) -> None:
        write_folder(folder, _fill("first"))
        _fill("second")(part)

    with pytest.raises(SpikeloomError, match="left as"):
        write_folder(folder, fill)
    assert (folder / "ours").read_text() == "first"


def test_what_a_killed_process_leaves_is_cleared(tmp_path: Path) -> None:
    code = ("import pathlib, sys, time\nfrom spikeloom.model.system.writing import claimed_folder\n"
            "with claimed_folder(pathlib.Path(sys.argv[1])) as part:\n"
            "    (part / 'half').write_text('x'); print('ready', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with claimed_folder(tmp_path):
            assert len(_left(tmp_path)) == 2  # the other's is locked
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(_left(tmp_path)) == 1
    with claimed_folder(tmp_path):
        assert len(_left(tmp_path)) == 1
    assert not _left(tmp_path)


def test_a_killed_exchange_leaves_old_or_new(tmp_path: Path) -> None:
    code = """if True:
        import pathlib, sys
        from spikeloom.model.system.writing import write_folder
        print("ready", flush=True)
        for n in range(100000):
            def fill(part):
                (part / "a").write_text(str(n)), (part / "b").write_text(str(n))
            write_folder(pathlib.Path(sys.argv[1]), fill, is_own=lambda path: True)
    """
    folder = tmp_path / "d"
    for delay_s in (0.01, 0.02, 0.03, 0.05, 0.08):
        with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay_s)
            process.kill()
        if folder.exists():
            assert (folder / "a").read_text() == (folder / "b").read_text()
