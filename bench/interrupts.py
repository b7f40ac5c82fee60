"""Every command, ended at random times by Ctrl-C, SIGTERM and SIGKILL; then run again.

    python bench/interrupts.py [TRIALS]

Counted are things that must not be: files of the user that are lost or half-written, processes left, leftovers after
the next run, another result than without the interruption; and for the signals that can be caught, endings that took
longer than two seconds, had a traceback, or had another exit code than theirs.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from results import save

import spikeloom
from spikeloom.model.float_network import FloatLayer, FloatNetwork, save_float_network
from spikeloom.model.network_file import load_network, save_network
from spikeloom.model.quantize import quantize
from spikeloom.model.system.cache import cache_dir

COUNTED = ("files lost", "processes left", "leftovers", "other results", "too late", "tracebacks", "exit codes")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
SEED = 20
LIMIT_S = 2.0
TOKEN = "SPIKELOOM_INTERRUPTS"
TIMES = {"wall_s", "cycles_per_s", "seconds"}


@dataclass(frozen=True)
class Command:
    """A command line, in a folder of fixtures.

    Attributes
    ----------
    arguments, again : tuple of str
        Of ``spikeloom``; additional ones after an interruption.
    output : str or None
        What it writes; else its result is what it prints.
    """

    arguments: tuple[str, ...]
    output: str | None = None
    again: tuple[str, ...] = ()


DATA = ("--data", "data.npz")
COMMANDS = {
    "eval": Command(("eval", "net.snn", *DATA, "--json")),
    "check": Command(("check", "net.snn", *DATA, "--samples", "40", "--json")),
    "quantize": Command(("quantize", "float.fsnn", *DATA, "--calibration", "40", "-o", "q.snn"), "q.snn"),
    "build": Command(("build", "net.snn", "--fold", "small", "-o", "new"), "new"),
    "build --force": Command(("build", "net.snn", "--fold", "fast", "-o", "old", "--force"), "old"),
    "demo": Command(("demo", "--network", "net.snn", *DATA, "--samples", "40", "--fold", "small", "-o", "demo"),
                    "demo"),
    "sim": Command(("sim", "built", *DATA, "--json")),
    "explore": Command(("explore", "net.snn", *DATA, "--samples", "10", "--max-lut", "1500", "-o", "fold.json"),
                       "fold.json"),
    "weights": Command(("weights", "loadable", "net.snn", "-o", "set.bin"), "set.bin"),
    "run": Command(("run", "board", "--simulate", *DATA, "--json")),
    "synth": Command(("synth", "built", "--device", "ice40-up5k", "--json")),
    "energy": Command(("energy", "built", "--device", "ice40-up5k", *DATA, "--samples", "10", "--json")),
    "report": Command(("report", "built", *DATA, "--samples", "40", "-o", "report.html"), "report.html"),
    "train": Command(("train", *DATA, "--validation", "40", "--epochs", "4", "--hidden", "16", "--batch", "20",
                      "-o", "run"), "run", ("--resume",)),
}


def make_fixtures(folder: Path) -> None:
    """What the commands work on, and a file of the user's."""
    rng = np.random.default_rng(SEED)
    images, labels = rng.integers(0, 256, (200, 4, 4), np.uint8), np.arange(200) % 4
    np.savez(folder / "data.npz", images=images, labels=labels)
    layers = tuple(FloatLayer(name=name, weight=rng.normal(0, 0.5, shape), bias=None, tau_m=4, tau_s=2)
                   for name, shape in (("hidden", (12, 16)), ("out", (4, 12))))
    network = FloatNetwork(name="small", shape=(4, 4), steps=3, layers=layers, mean=0.5, std=0.25)
    save_float_network(network, folder / "float.fsnn")
    save_network(quantize(network, weight_bits=4, calibration=images), folder / "net.snn")
    for name in ("built", "old"):
        spikeloom.write(spikeloom.compile(spikeloom.load(folder / "net.snn"), "small"), folder / name)
    spikeloom.write(spikeloom.compile(spikeloom.load(folder / "net.snn"), "small"), folder / "board", interface="uart")
    loadable = replace(spikeloom.compile(spikeloom.load(folder / "net.snn"), "small").fold, weight_sets=1)
    spikeloom.write(spikeloom.compile(spikeloom.load(folder / "net.snn"), loadable), folder / "loadable")
    (folder / "thesis.txt").write_text("mine")


@dataclass
class Place:
    """A folder for a command, with its own temporary folder and cache."""

    work: Path
    environment: dict[str, str]

    @property
    def nooks(self) -> list[Path]:
        """Where leftovers would be."""
        return [self.work, Path(self.environment["TMPDIR"]), Path(self.environment["SPIKELOOM_CACHE"])]

    def start(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        """``spikeloom`` as a terminal starts it: a group of its own."""
        return subprocess.Popen([sys.executable, "-m", "spikeloom", *arguments], cwd=self.work, text=True,
                                env={**os.environ, **self.environment}, start_new_session=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def processes(self) -> list[int]:
        """Those that were started here and still run."""
        mark = f"{TOKEN}={self.environment[TOKEN]}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found


@contextmanager
def place(fixtures: Path, cache: Path) -> Iterator[Place]:
    """A fresh copy of the fixtures, and of the cache: all but the tools' own."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shutil.copytree(fixtures, home / "work")
        (home / "tmp").mkdir()
        shutil.copytree(cache, home / "cache", ignore=shutil.ignore_patterns("tools", "synth"))
        (home / "cache" / "tools").symlink_to(cache / "tools")
        yield Place(home / "work", {"TMPDIR": str(home / "tmp"), "SPIKELOOM_CACHE": str(home / "cache"),
                                    TOKEN: home.name})


def contents(path: Path) -> dict[str, str]:
    """Hashes of a file, or of all files of a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def without_times(value: Any) -> Any:
    """JSON values without what differs from run to run."""
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in TIMES}
    return value


def result_of(command: Command, where: Place, said: str) -> Any:
    """What a command has made: without what differs from run to run."""
    if command.output is None:
        return without_times(json.loads(said)) if said else None
    if command.output == "run":  # the log and the checkpoint tell times
        network = where.work / "run" / "network.snn"
        return load_network(network).hash if network.exists() else None
    return contents(where.work / command.output) or None


def trial(command: Command, number: signal.Signals, after_s: float, where: Place, reference: Any) -> Counter[str]:
    """Interrupt a command, run it again, and count what must not be."""
    wrong: Counter[str] = Counter()
    users = contents(where.work)
    process = where.start(command.arguments)
    wait_for(lambda: process.poll() is not None or catches(process.pid, signal.SIGTERM), 60)
    with suppress(subprocess.TimeoutExpired):
        process.wait(after_s)
    ended = process.poll() is not None
    began = time.monotonic()
    if not ended:
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    said, first_message = process.communicate(timeout=120)
    took_s = time.monotonic() - began
    wrong["too late"] = not ended and took_s > LIMIT_S
    wrong["processes left"] = not wait_for(lambda: not where.processes(), LIMIT_S)
    wrong["tracebacks"] = "Traceback" in first_message
    # Negative: killed, be it at the very end, when it has said good-bye to signals; 0: it ended when the signal came.
    allowed = (0,) if ended else (-number, 128 + number, *[0] * (took_s < 0.1))
    code = process.returncode
    wrong["exit codes"] = code not in allowed
    kept = {name: digest for name, digest in users.items() if name.split("/")[0] != command.output}
    now = contents(where.work)
    wrong["files lost"] = any(now.get(name) != digest for name, digest in kept.items())
    if command.output not in (None, "run"):  # the old one, the new one, or none where there was none
        made, old = result_of(command, where, said), {
            name.partition("/")[2] or ".": digest for name, digest in users.items() if name not in kept}
        wrong["files lost"] |= made != reference and (made or {}) != old
    if code:
        again = where.start([*command.arguments, *command.again])
        said, message = again.communicate(timeout=600)
        if again.returncode and not ("exists already" in message and command.output is not None):
            wrong["other results"] = 1
            print(message, file=sys.stderr)
    wrong["other results"] |= result_of(command, where, said) != reference
    left = [str(path) for nook in where.nooks for path in nook.rglob("*")
            if path.name.startswith((".", "spikeloom", "yowasp")) and "tools" not in path.parts]
    wrong["leftovers"] = bool(left)
    if wrong.total():
        print(f"{command.arguments[0]}: {number.name} after {after_s:.3f} s: {+wrong}; ended after {took_s:.2f} s with "
              f"exit code {code}", *left, first_message, sep="\n  ", file=sys.stderr)
    return wrong


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal; before that it is Python's business."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> number - 1 & 1)
    return False


def wait_for(condition: Callable[[], bool], limit_s: float) -> bool:
    """Whether a condition came true in time."""
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def trials(name: str, count: int, fixtures: Path, cache: Path) -> tuple[Counter[str], float]:
    """Trials of one command at random times of its run, and the seconds that this takes uninterrupted."""
    command, rng = COMMANDS[name], random.Random(f"{SEED} {name}")
    with place(fixtures, cache) as where:
        process = where.start(command.arguments)
        wait_for(lambda: catches(process.pid, signal.SIGTERM), 60)
        began = time.monotonic()
        said, message = process.communicate(timeout=600)
        if process.returncode:
            raise RuntimeError(f"{name}: {message}")
        took_s, reference = time.monotonic() - began, result_of(command, where, said)
    total: Counter[str] = Counter()
    for index in range(count):
        after_s, number = rng.uniform(0, took_s), SIGNALS[index % len(SIGNALS)]
        with place(fixtures, cache) as where:
            wrong = trial(command, number, after_s, where, reference)
        total += wrong
    return total, took_s


@contextmanager
def prepared(names: Iterable[str] = COMMANDS) -> Iterator[tuple[Path, Path]]:
    """Fixtures, and a cache in which what these commands take long to make has been made once."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, and so would its children
    with tempfile.TemporaryDirectory() as folder:
        fixtures, cache = Path(folder) / "fixtures", Path(folder) / "cache"
        fixtures.mkdir()
        make_fixtures(fixtures)
        (cache_dir() / "tools").mkdir(parents=True, exist_ok=True)
        cache.mkdir()
        (cache / "tools").symlink_to(cache_dir() / "tools")
        for name in {"sim", "demo", "synth", "energy"} & set(names):
            subprocess.run([sys.executable, "-m", "spikeloom", *COMMANDS[name].arguments], cwd=fixtures, check=True,
                           env={**os.environ, "SPIKELOOM_CACHE": str(cache)}, stdout=subprocess.DEVNULL)
        shutil.rmtree(fixtures / "demo", ignore_errors=True)
        yield fixtures, cache


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    rows, results = [], []
    with prepared() as (fixtures, cache):
        for name in COMMANDS:
            total, took_s = trials(name, count, fixtures, cache)
            rows.append([name, str(count), f"{took_s:.1f}", *(str(total[what]) for what in COUNTED)])
            results.append({"command": name, "trials": count, "seconds": round(took_s, 2),
                            **{what: total[what] for what in COUNTED}})
            print(" ".join(rows[-1]), flush=True)
    save("interrupts", {"seed": SEED, "signals": [number.name for number in SIGNALS], "commands": results},
         ["command", "interruptions", "its seconds", *COUNTED], rows)


if __name__ == "__main__":
    main()
