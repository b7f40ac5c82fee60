"""Entries are made once, never believed when damaged, and made by one process at a time."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system import cache
from spikeloom.model.system.cache import cached, found, tool_environment


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    assert not list(tmp_path.rglob(".spikeloom-*"))


def write(part: Path) -> None:
    (part / "a").write_text("one")
    (part / "b").write_text("two")


def never(part: Path) -> None:
    pytest.fail("it is there already")


def test_made_once() -> None:
    assert found("kind", "key") is None
    entry = cached("kind", "key", write)
    assert (entry / "a").read_text() == "one"
    assert cached("kind", "key", never) == found("kind", "key") == entry
    assert cached("kind", "key", lambda part: (part / "c").touch(), fresh=True) == entry
    assert not (entry / "a").exists()


@pytest.mark.parametrize("damage", [
    lambda entry: (entry / "a").write_text("eno"), lambda entry: (entry / "a").write_text(""),
    lambda entry: (entry / "a").unlink(), lambda entry: (entry / "extra").touch(),
    lambda entry: (entry / "complete.json").unlink(), lambda entry: (entry / "complete.json").write_text("{"),
    lambda entry: (entry / "complete.json").write_text("[]"), lambda entry: os.mkfifo(entry / "fifo"),
], ids=["edited", "empty", "missing", "extra", "no stamp", "truncated stamp", "wrong stamp", "fifo"])
def test_damaged_ones_are_made_again(damage) -> None:  # type: ignore[no-untyped-def]
    damage(cached("kind", "key", write))
    assert found("kind", "key") is None
    assert (cached("kind", "key", write) / "a").read_text() == "one"
    assert found("kind", "key") is not None


def test_a_failure_leaves_nothing(folder: Path) -> None:
    def fail(part: Path) -> None:
        write(part)
        raise SpikeloomError("no")

    with pytest.raises(SpikeloomError, match="no"):
        cached("kind", "key", fail)
    assert [p.name for p in (folder / "kind").iterdir()] == ["key.lock"]


def test_a_good_one_in_a_cache_that_is_only_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By patching, for root may write anywhere."""
    entry = cached("kind", "key", write)

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert cached("kind", "key", never) == entry
    with pytest.raises(SpikeloomError, match=r"cache cannot be written .*Read-only file system.*set SPIKELOOM_CACHE"):
        cached("kind", "other", write)
    assert tool_environment(Path("/scratch"))["XDG_CACHE_HOME"] == "/scratch"


def test_tools_keep_their_caches_in_ours(folder: Path) -> None:
    assert tool_environment(Path("/scratch")) == {
        "XDG_CACHE_HOME": f"{folder}/tools", "YOWASP_CACHE_DIR": f"{folder}/tools", "TMPDIR": "/scratch"}


def test_what_nobody_uses_is_forgotten() -> None:
    old, used = cached("kind", "old", write), cached("kind", "used", write)
    for entry in (old, used):
        os.utime(entry / "complete.json", (0, 0))
    cached("kind", "used", never)
    cached("kind", "new", write)
    assert not old.exists()
    assert used.exists()


HOLD = """\
import sys, time
from spikeloom.model.system.cache import cached
def make(part):
    print("ready", flush=True); sys.stdin.readline(); (part / "a").write_text("other")
cached("kind", "key", make)
"""


def test_one_waits_for_the_other(folder: Path, monkeypatch: pytest.MonkeyPatch,
                                 caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(cache, "WAIT_WORD_S", 0.1)
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        with monkeypatch.context() as patch:
            patch.setattr(cache, "WAIT_LIMIT_S", 0.5)
            with pytest.raises(SpikeloomError, match=r"key\.lock: another process has held this for 0\.5 s"):
                cached("kind", "key", never)
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            began = time.monotonic()
            monkeypatch.setattr(cache.time, "sleep", lambda s: other.stdin.write("go\n") and other.stdin.flush()
                                if time.monotonic() > began + 0.3 and not other.stdin.closed else None)
            assert (cached("kind", "key", never) / "a").read_text() == "other"
        assert f"waiting for process {other.pid}, which makes the same" in caplog.text
    assert json.loads((folder / "kind" / "key" / "complete.json").read_text()).keys() == {"a"}
