"""Files of every format, changed at random, read again: each loads, or ends as one clear error.

    python bench/mutated_files.py [FILES]

Changed are bytes, members of archives and values in JSON; what holds checksums gets right ones again, half of the
time, so that the change reaches the reader behind them. Counted is whatever is neither a load nor a
:class:`.SpikeloomError` of one line that names the file: other exceptions and warnings, more than 10 seconds, more than
2 GiB of memory.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from results import save

import spikeloom
from spikeloom.gen.build import build
from spikeloom.gen.fold import load_fold
from spikeloom.gen.manifest import MANIFEST, read_build
from spikeloom.gen.plan import make_plan
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.float_network import FloatLayer, FloatNetwork, save_float_network
from spikeloom.model.geometry import ConvGeometry, Pool
from spikeloom.model.network import Network
from spikeloom.model.network_file import save_network
from spikeloom.model.quantize import quantize
from spikeloom.model.system.cache import cached, found
from spikeloom.model.train import train
from spikeloom.model.train_config import TrainConfig
from spikeloom.model.training_files import read_metrics

SEED = 10
LIMIT_S, LIMIT_BYTES, LONGEST = 10, 2 << 30, 2000
CHUNK = 500

Mutate = Callable[[bytes, random.Random], bytes]

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 64, 1 << 20, 1 << 31, 1 << 63, 1 << 64, -1 << 63, 10**39, 0.5, -0.0, 1e-300,
    1e300, "", "x", "0", "\0", "../x", "/etc/passwd", "[/x]", "\u00e9", "\n", "a" * 3000, "i", "readout", [], [[]],
    [1, 2, 3], [None], {}, {"a": 1}, {"": []}, [0] * 1000)


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes
    ----------
    name : str
    weight : int
        Of so many files of a hundred.
    files : dict of str to Mutate
        Those that a case may change, by their path in the folder of fixtures.
    read : callable
        Told that folder, reads what is there.
    """

    name: str
    weight: int
    files: dict[str, Mutate]
    read: Callable[[Path], object]


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """One to four changes of bytes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, length = rng.randrange(len(out) + 1), rng.choice((1, 1, 2, 4, 16, 200))
        match rng.randrange(7):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at:at + length] = bytes(rng.choice((0, 255, 127, 128, 10, 32)) for _ in out[at:at + length])
            case 2:
                del out[at:at + length]
            case 3:
                out[at:at] = rng.randbytes(length)
            case 4:
                out[at:at] = out[at:at + length]
            case 5:
                del out[at:]
            case _:
                out[at:at + length] = rng.randbytes(length)
    return bytes(out)


def changed_json(data: bytes, rng: random.Random) -> bytes:
    """One value replaced, left out or added; or changed bytes."""
    if rng.random() < 0.2:
        return changed_bytes(data, rng)
    return json.dumps(changed_value(json.loads(data), rng), indent=1).encode()


def changed_value(root: Any, rng: random.Random) -> Any:
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for key in keys:
            places.append((value, key))
            walk(value[key])

    walk(root)
    if not places or rng.random() < 0.01:
        return rng.choice(STRANGE)
    holder, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(("x", "", "weight", "kind"))] = rng.choice(STRANGE)
        case 2 if isinstance(holder[key], int):
            holder[key] += rng.choice((-1, 1, 1 << 16))
        case 3:
            other, place = rng.choice(places)
            with suppress(LookupError):
                holder[key] = json.loads(json.dumps(other[place]))
        case _:
            holder[key] = rng.choice(STRANGE)
    return root


def changed_npy(data: bytes, rng: random.Random) -> bytes:
    """Its header, its data, or another array."""
    length = 10 + int.from_bytes(data[8:10], "little")
    match rng.randrange(4):
        case 0:
            return changed_bytes(data[:length], rng) + data[length:]
        case 1:
            return data[:length] + changed_bytes(data[length:], rng)
        case 2:
            array = np.load(io.BytesIO(data))
            kinds: tuple[Any, ...] = (np.int8, np.uint8, np.int64, np.uint64, np.float16, np.float64, bool, complex)
            with np.errstate(all="ignore"):
                array = array.astype(rng.choice(kinds))
            return npy(rng.choice((array, array[..., None], array[:1], array[:0], array.T, array.flatten())))
        case _:
            array = np.load(io.BytesIO(data)).astype(np.float64)
            if array.size:
                array.flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, 1e300, -1e300, 1e18, 0, -1))
            return npy(array if rng.random() < 0.5 else np.nan_to_num(array).clip(-2e9, 2e9).astype(np.int64))


def npy(array: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def changed_zip(data: bytes, rng: random.Random) -> bytes:
    """Its bytes, or a member."""
    if rng.random() < 0.2:
        return changed_bytes(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    match rng.randrange(8):
        case 0:
            del members[name]
        case 1:
            members[rng.choice(("x.npy", "../x", "/x", "description.json", "images.npy"))] = members[name]
        case _:
            if name == "description.json":  # the description in it
                head = json.loads(members[name])
                if rng.random() < 0.8:
                    head["description"] = changed_value(head["description"], rng)
                else:
                    head = changed_value(head, rng)
                members[name] = json.dumps(head).encode()
            else:
                members[name] = (changed_npy if name.endswith(".npy") else changed_bytes)(members[name], rng)
    if "description.json" in members and rng.random() < 0.9:
        members["description.json"] = signed(members)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return packed.getvalue()


def signed(members: dict[str, bytes]) -> bytes:
    """A container's description with the SHA-256 of what it now is."""
    try:
        head = json.loads(members["description.json"])
        digest = hashlib.sha256(json.dumps(head["description"], sort_keys=True).encode())
        for name in sorted(set(members) - {"description.json"}):
            digest.update(name.encode() + b"\0" + members[name])
        return json.dumps({**head, "sha256": digest.hexdigest()}).encode()
    except (ValueError, TypeError, LookupError, AttributeError):
        return members["description.json"]


def changed_manifest(data: bytes, rng: random.Random) -> bytes:
    """A manifest, sealed again half of the time."""
    text = changed_json(data, rng)
    with suppress(ValueError, TypeError, AttributeError):
        values = json.loads(text)
        if rng.random() < 0.5:
            told = {name: value for name, value in values.items() if name != "seal"}
            values["seal"] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
            return json.dumps(values).encode()
    return text


def changed_gzip(data: bytes, rng: random.Random) -> bytes:
    """Its bytes, or what it packs."""
    if rng.random() < 0.4:
        return changed_bytes(data, rng)
    return gzip.compress(changed_bytes(gzip.decompress(data), rng), 1)


def changed_lines(data: bytes, rng: random.Random) -> bytes:
    """One line of JSON lines."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines) - 1)
    lines[at] = changed_json(lines[at], rng)
    return b"\n".join(lines)


CONFIG = TrainConfig(hidden="6", classes=4, steps=2, epochs=1, batch=20, validation=4, schedule="constant")


def resume(folder: Path) -> object:
    """Go on from a checkpoint, by no epoch."""
    with np.load(folder / "data.npz") as data:
        return train(CONFIG, data["images"], data["labels"], folder / "run", resume=True)


def make_fixtures(folder: Path) -> None:
    """One file of every format, small."""
    rng = np.random.default_rng(SEED)
    images, labels = rng.integers(0, 256, (24, 1, 8, 8), np.uint8), np.arange(24) % 4
    np.savez_compressed(folder / "data.npz", images=images, labels=labels)
    geometry = ConvGeometry(input_shape=(1, 8, 8), channels=2, kernel=(3, 3), stride=1, padding=1, groups=1)
    layers = (
        FloatLayer(name="conv", weight=rng.normal(0, 0.5, geometry.weight_shape), bias=rng.normal(0, 0.1, 2), tau_m=4,
                   tau_s=2, geometry=geometry),
        FloatLayer(name="out", weight=rng.normal(0, 0.5, (4, 32)), bias=None, tau_m=4, tau_s=2, pool=Pool("sum", 2)))
    real = FloatNetwork(name="small", shape=(1, 8, 8), steps=3, layers=layers, mean=0.5, std=0.25, metadata={"a": [1]})
    save_float_network(real, folder / "net.fsnn")
    network = quantize(real, weight_bits=4, calibration=images)
    save_network(network, folder / "net.snn")
    build(make_plan(network, load_fold("small", network)), folder / "build")
    (folder / "fold.json").write_text(json.dumps(load_fold("small", network).to_dict()))
    head = bytes((0, 0, 8, 3)) + np.array((24, 8, 8), ">u4").tobytes()
    (folder / "a-images-idx3-ubyte").write_bytes(head + images.tobytes())
    (folder / "a-labels-idx1-ubyte").write_bytes(
        bytes((0, 0, 8, 1)) + np.array((24,), ">u4").tobytes() + labels.astype(np.uint8).tobytes())
    for name in ("images-idx3", "labels-idx1"):
        (folder / f"b-{name}-ubyte.gz").write_bytes(gzip.compress((folder / f"a-{name}-ubyte").read_bytes()))
    (folder / "batch.bin").write_bytes(bytes(3073 * 10_000))
    events = rng.integers(0, 34, (50, 5), np.uint8).tobytes()
    with zipfile.ZipFile(folder / "events.zip", "w") as archive:
        for digit in range(3):
            archive.writestr(f"Test/{digit}/{digit}.bin", events)
    train(CONFIG, images, labels, folder / "run")
    with _own_cache(folder):
        cached("bench", "entry", lambda part: (part / "cells.json").write_text("{}") and None)


@contextmanager
def _own_cache(folder: Path) -> Iterator[None]:
    before = os.environ.get("SPIKELOOM_CACHE")
    os.environ["SPIKELOOM_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        del os.environ["SPIKELOOM_CACHE"]
        if before is not None:
            os.environ["SPIKELOOM_CACHE"] = before


def of_data(name: str) -> Callable[[Path], object]:
    return lambda folder: spikeloom.dataset(folder / name)


FORMATS = (
    Format("network (.snn)", 25, {"net.snn": changed_zip}, lambda at: spikeloom.load(at / "net.snn").hash),
    Format("float network (.fsnn), quantised", 15, {"net.fsnn": changed_zip},
           lambda at: spikeloom.quantize(at / "net.fsnn", weight_bits=4)),
    Format("fold", 15, {"fold.json": changed_json}, lambda at: load_fold(at / "fold.json", NETWORK[0])),
    Format("build folder", 15, {f"build/{MANIFEST}": changed_manifest, "build/snn_top.v": changed_bytes,
                                "build/network.snn": changed_zip}, lambda at: read_build(at / "build")),
    Format("images (.npz)", 10, {"data.npz": changed_zip}, of_data("data.npz")),
    Format("images (IDX)", 5, {"a-images-idx3-ubyte": changed_bytes, "a-labels-idx1-ubyte": changed_bytes},
           of_data("a-images-idx3-ubyte")),
    Format("images (IDX, .gz)", 4, {"b-images-idx3-ubyte.gz": changed_gzip, "b-labels-idx1-ubyte.gz": changed_gzip},
           of_data("b-images-idx3-ubyte.gz")),
    Format("images (CIFAR10's .bin)", 1, {"batch.bin": changed_bytes}, of_data("batch.bin")),
    Format("events (N-MNIST's .zip)", 4, {"events.zip": changed_zip}, of_data("events.zip")),
    Format("checkpoint", 2, {"run/checkpoint.pt": changed_zip}, resume),
    Format("log of a training", 2, {"run/metrics.jsonl": changed_lines},
           lambda at: read_metrics(at / "run/metrics.jsonl")),
    Format("cache entry", 2, {"cache/bench/entry/complete.json": changed_json,
                              "cache/bench/entry/cells.json": changed_bytes}, lambda at: found("bench", "entry")),
)
NETWORK: list[Network] = []  # that folds are for, in each process


def case(kind: Format, number: int, folder: Path) -> str | None:
    """Change a file, read it, put it back; what went wrong, if anything."""
    rng = random.Random(f"{SEED} {kind.name} {number}")
    name = rng.choice(list(kind.files))
    path = folder / name
    before = path.read_bytes()
    others = {p: p.read_bytes() for p in path.parent.iterdir() if p.is_file()} if name.startswith("run/") else {}
    path.write_bytes(kind.files[name](before, rng))
    signal.alarm(LIMIT_S)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            kind.read(folder)
    except SpikeloomError as error:
        said = str(error)
        known = name.split("/")[0] in said or any(file in said for file in kind.files)
        if "\n" in said or len(said) > LONGEST or not known:
            return f"unclear: {said[:300]!r}"
    except BaseException as error:  # whatever it is, it is what is counted
        return "".join(traceback.format_exception(error))
    finally:
        signal.alarm(0)
        for file, content in others.items():
            file.write_bytes(content)
        path.write_bytes(before)
    return None


def cases(name: str, first: int, count: int, fixtures: Path) -> list[tuple[int, str]]:
    """Those of ``count`` cases of a format that went wrong, in a copy of the fixtures."""
    kind = next(kind for kind in FORMATS if kind.name == name)

    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"more than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, late)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "fixtures"
        shutil.copytree(fixtures, folder)
        try:
            with _own_cache(folder):
                NETWORK[:] = [spikeloom.load(folder / "net.snn")]
                return [(number, said) for number in range(first, first + count)
                        if (said := case(kind, number, folder))]
        finally:
            signal.signal(signal.SIGALRM, before)


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT_BYTES, -1))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    jobs = [(kind, first, min(CHUNK, of_kind - first)) for kind in FORMATS
            for of_kind in (max(1, count * kind.weight // 100),) for first in range(0, of_kind, CHUNK)]
    wrong: Counter[str] = Counter()
    done: Counter[str] = Counter()
    with (tempfile.TemporaryDirectory() as fixtures,
          ProcessPoolExecutor(len(os.sched_getaffinity(0)), initializer=_limit_memory) as pool):
        make_fixtures(Path(fixtures))
        runs = [(kind, number, pool.submit(cases, kind.name, first, number, Path(fixtures)))
                for kind, first, number in jobs]
        for kind, number, run in runs:
            failures = run.result()
            wrong[kind.name] += len(failures)
            done[kind.name] += number
            for which, said in failures:
                print(f"{kind.name}, file {which}: {said}", file=sys.stderr, flush=True)
    values = [{"format": kind.name, "files": done[kind.name], "failures": wrong[kind.name]} for kind in FORMATS]
    save("mutated_files", {"seed": SEED, "formats": values, "files": done.total(), "failures": wrong.total()},
         ["format", "files", "neither loaded nor one clear error"],
         [[str(cell) for cell in row.values()] for row in values] + [["all", str(done.total()), str(wrong.total())]])


if __name__ == "__main__":
    main()
