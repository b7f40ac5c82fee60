"""The loaders, on small files in the real formats; nothing here leaves the machine."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import http.server
import math
import os
import pickle
import re
import struct
import tarfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeloom.model import datasets
from spikeloom.model.errors import SpikeloomError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (7, 28, 28), np.uint8)
LABELS = np.array([3, 1, 9, 0, 0, 5, 2], np.uint8)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has nothing yet, on a machine without data sets and network; the cache's path."""
    def refuse(url: str, **options: object) -> None:
        raise AssertionError(f"wants the network: {url}")

    monkeypatch.delenv("SPIKELOOM_DATA", raising=False)
    monkeypatch.delenv("SPIKELOOM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "_SYSTEM", tmp_path / "system")
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return tmp_path / "cache" / "spikeloom"


def fails(message: str, *args: Any, **options: Any) -> None:
    with pytest.raises(SpikeloomError, match=re.escape(message)):
        datasets.load(*args, **options)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, prefix: str = "t10k",
              gz: bool = False, dot: str = "-") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images", images), ("labels", labels)):
        path = folder / f"{prefix}-{kind}{dot}idx{array.ndim}-ubyte"
        if gz:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            path.write_bytes(idx(array))
    return folder


# Names


def test_names() -> None:
    assert set(datasets.names()) == {"fashion-mnist", "fashion-mnist-demo", "mnist", "cifar10", "n-mnist"}


@pytest.mark.parametrize(("name", "message"), [
    ("fashion-mist", "fashion-mist: no such data set, file or folder; did you mean 'fashion-mnist'? "),
    ("MNIST", "MNIST: no such data set, file or folder; did you mean 'mnist'? "),
    ("cifar-10", "did you mean 'cifar10'? "),
    ("qqq", "qqq: no such data set, file or folder; Data sets are fashion-mnist, fashion-mnist-demo, mnist, "),
    ("nowhere/images.npz", "nowhere/images.npz: no such data set, file or folder; "),
])
def test_unknown_name(name: str, message: str) -> None:
    fails(message, name)


@pytest.mark.parametrize(("options", "message"), [
    ({"split": "validation"}, "split must be 'train', 'test' or 'all', not 'validation'"),
    ({"split": "train"}, "data set fashion-mnist-demo: split must be 'test', it has no 'train'"),
    ({"samples": 0}, "samples must be an integer above 0, not 0"),
    ({"samples": -1}, "samples must be an integer above 0, not -1"),
    ({"samples": 1.5}, "samples must be an integer above 0, not 1.5"),
    ({"samples": True}, "samples must be an integer above 0, not True"),
    ({"steps": 0}, "steps must be in 1..65536, not 0"),
    ({"steps": 5.0}, "steps must be in 1..65536, not 5.0"),
])
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    fails(message, "fashion-mnist-demo", **options)


# The shipped subset


def test_demo() -> None:
    demo = datasets.load("fashion-mnist-demo")
    assert (demo.name, demo.split, len(demo)) == ("fashion-mnist-demo", "test", 500)
    assert (demo.images.shape, demo.images.dtype) == ((500, 28, 28), np.uint8)
    assert (demo.labels.shape, demo.labels.dtype) == ((500,), np.int64)
    assert demo.classes[demo.labels[0]] == "Ankle boot"
    assert np.bincount(demo.labels, minlength=10).min() > 30
    path = Path(datasets.__file__).parent / "data" / "fashion-mnist-demo.npz"
    assert path.stat().st_size <= 300_000
    assert (path.parent / "README.md").is_file()  # the licence travels with the images


def test_demo_samples() -> None:
    assert np.array_equal(datasets.load("fashion-mnist-demo", samples=3).images,
                          datasets.load("fashion-mnist-demo").images[:3])


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_real_fashion_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_SYSTEM", DEBIAN.parent)
    test, demo = datasets.load("fashion-mnist"), datasets.load("fashion-mnist-demo")
    assert np.array_equal(test.images[:500], demo.images)
    assert np.array_equal(test.labels[:500], demo.labels)
    assert np.bincount(test.labels).tolist() == [1000] * 10
    train = datasets.load("fashion-mnist", "train")
    assert train.images.shape == (60_000, 28, 28)
    assert np.bincount(train.labels).tolist() == [6000] * 10
    assert train.images.mean() == pytest.approx(0.2860 * 255, abs=0.02)  # as commonly published


# IDX


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx(home: Path, name: str, gz: bool, dot: str) -> None:
    write_idx(home / name, gz=gz, dot=dot)
    write_idx(home / name, IMAGES[:2], LABELS[:2], prefix="train", gz=gz, dot=dot)
    test = datasets.load(name)
    assert (test.name, test.split) == (name, "test")
    assert np.array_equal(test.images, IMAGES)
    assert np.array_equal(test.labels, LABELS)
    assert test.labels.dtype == np.int64
    assert test.classes[9] == {"mnist": "9", "fashion-mnist": "Ankle boot"}[name]
    assert len(datasets.load(name, "train")) == 2
    assert np.array_equal(datasets.load(name, samples=4).images, IMAGES[:4])
    assert test.images.flags.writeable  # torch warns of arrays that are not
    with pytest.raises(dataclasses.FrozenInstanceError):
        test.name = "other"  # type: ignore[misc]


def test_search_order(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKELOOM_DATA", str(tmp_path / "own"))
    for i, root in enumerate((tmp_path / "system", home, tmp_path / "own")):
        write_idx(root / "mnist", labels=np.full(7, i, np.uint8), gz=root == home)
        assert datasets.load("mnist").labels.tolist() == [i] * 7


def test_a_folder_is_used_as_it_is(tmp_path: Path) -> None:
    here = datasets.load(write_idx(tmp_path / "my digits"))
    assert np.array_equal(here.images, IMAGES)
    assert here.classes == tuple("0123456789")
    assert datasets.load(write_idx(tmp_path / "fashion-mnist")).classes[0] == "T-shirt/top"
    fails("my digits: folder has no split 'train' of a data set: train-images-idx3-ubyte and train-labels-idx1-ubyte",
          tmp_path / "my digits", "train")


@pytest.mark.parametrize("gz", [False, True])
def test_a_pair_of_idx_files(tmp_path: Path, gz: bool) -> None:
    folder = write_idx(tmp_path, RNG.integers(0, 256, (4, 5, 6), np.uint8), LABELS[:4], prefix="my", gz=gz)
    images = folder / ("my-images-idx3-ubyte.gz" if gz else "my-images-idx3-ubyte")
    got = datasets.load(images)
    assert (got.name, got.images.shape, got.labels.tolist()) == ("my-images-idx3-ubyte", (4, 5, 6), [3, 1, 9, 0])
    for labels in folder.glob("*labels*"):
        labels.unlink()
    fails("its labels must be beside it in my-labels-idx1-ubyte", images)


@pytest.mark.parametrize(("images", "message"), [
    (b"", "magic number must be 00000803 (IDX, 3-dimensional bytes), not nothing"),
    (b"\0\0", "magic number must be 00000803 (IDX, 3-dimensional bytes), not 0000"),
    (b"hello, world, this is no image", "magic number must be 00000803 (IDX, 3-dimensional bytes), not 68656c6c"),
    (idx(LABELS), "magic number must be 00000803 (IDX, 3-dimensional bytes), not 00000801"),
    (b"\0\0\x0d\3" + idx(IMAGES)[4:], "magic number must be 00000803 (IDX, 3-dimensional bytes), not 00000d03"),
    (idx(IMAGES)[:11], "header is truncated: 11 of 16 bytes"),
    (idx(IMAGES)[:-1], "must have 5488 bytes of data for shape (7, 28, 28), has 5487"),
    (idx(IMAGES)[:16], "must have 5488 bytes of data for shape (7, 28, 28), has 0"),
    (idx(IMAGES) + b"\0", "must have 5488 bytes of data for shape (7, 28, 28), has more"),
    (idx(IMAGES[:0]), "bytes, not (0, 28, 28)"),
    (struct.pack(">4I", 0x803, 0xFFFFFFFF, 0xFFFFFFFF, 28), "bytes, not (4294967295, 4294967295, 28)"),
    (idx(IMAGES[:6]), "number of labels is 7, but t10k-images-idx3-ubyte"),
    (idx(IMAGES[:, :27]), "images of mnist must be of shape (28, 28), not (27, 28)"),
])
@pytest.mark.parametrize("gz", [False, True])
def test_wrong_idx_images(home: Path, images: bytes, message: str, gz: bool) -> None:
    folder = write_idx(home / "mnist")
    (folder / "t10k-images-idx3-ubyte").unlink()
    path = folder / ("t10k-images-idx3-ubyte" + ".gz" * gz)
    path.write_bytes(gzip.compress(images) if gz else images)
    with pytest.raises(SpikeloomError, match=f"^{re.escape(str(folder))}/t10k-.*{re.escape(message)}"):
        datasets.load("mnist")


def test_wrong_idx_labels(home: Path) -> None:
    labels = write_idx(home / "mnist") / "t10k-labels-idx1-ubyte"
    labels.write_bytes(idx(np.array([0, 1, 10, 1, 1, 1, 1], np.uint8)))
    fails(f"{labels}: label of sample 2 must be in 0..9, not 10", "mnist")
    labels.write_bytes(idx(IMAGES))
    fails(f"{labels}: magic number must be 00000801 (IDX, 1-dimensional bytes), not 00000803", "mnist")


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:200], lambda b: b[:3], lambda b: idx(IMAGES),
                                    lambda b: b[:100] + bytes(40) + b[140:], lambda b: b[:-8] + bytes(8)])
def test_damaged_gz(home: Path, damage: Callable[[bytes], bytes]) -> None:
    images = write_idx(home / "mnist", gz=True) / "t10k-images-idx3-ubyte.gz"
    images.write_bytes(damage(images.read_bytes()))
    fails(f"{images}: truncated or not a file of this format (", "mnist")


def test_unreadable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_idx(home / "mnist") / "t10k-images-idx3-ubyte"

    def denied(path: Path, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    fails(f"{images}: cannot be read: Permission denied", "mnist")


# CIFAR10


def cifar_records(count: int, seed: int) -> tuple[bytes, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels, planes = rng.integers(0, 10, count, np.uint8), rng.integers(0, 256, (count, 3, 32, 32), np.uint8)
    data = b"".join(bytes([label]) + red.tobytes() + green.tobytes() + blue.tobytes()
                    for label, (red, green, blue) in zip(labels, planes, strict=True))
    return data, planes, labels


CIFAR_FILES = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]


@pytest.fixture
def small_cifar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 20 records, not 10,000."""
    monkeypatch.setattr(datasets, "_CIFAR_RECORDS", 20)


@pytest.mark.usefixtures("small_cifar")
@pytest.mark.parametrize("form", ["folder", "subfolder", "tar.gz"])
def test_cifar10(home: Path, form: str) -> None:
    folder = home / "cifar10"
    place = folder / "cifar-10-batches-bin" if form != "folder" else folder
    place.mkdir(parents=True)
    parts = [cifar_records(20, seed) for seed in range(6)]
    for name, (data, _, _) in zip(CIFAR_FILES, parts, strict=True):
        (place / name).write_bytes(data)
    if form == "tar.gz":
        (place / "batches.meta.txt").write_text("airplane\n")
        with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as tar:
            for name in ["batches.meta.txt", *reversed(CIFAR_FILES)]:  # in any order
                tar.add(place / name, f"cifar-10-batches-bin/{name}")
        for path in place.iterdir():
            path.unlink()
    test = datasets.load("cifar10")
    assert np.array_equal(test.images, parts[5][1])
    assert np.array_equal(test.labels, parts[5][2])
    assert (test.images.dtype, test.labels.dtype, test.classes[6]) == (np.uint8, np.int64, "frog")
    train = datasets.load("cifar10", "train")
    assert np.array_equal(train.images, np.concatenate([p[1] for p in parts[:5]]))
    assert np.array_equal(train.labels, np.concatenate([p[2] for p in parts[:5]]))
    assert np.array_equal(datasets.load(folder, "train", samples=21).images, train.images[:21])
    assert train.images.flags.writeable


def test_cifar10_of_real_size(tmp_path: Path) -> None:
    records = np.zeros((10_000, 3073), np.uint8)
    records[:, 0] = np.arange(10_000) % 10
    records[9_999, 1:] = np.arange(3072) % 251
    (tmp_path / "test_batch.bin").write_bytes(records.tobytes())
    for path in (tmp_path, tmp_path / "test_batch.bin"):
        got = datasets.load(path)
        assert (got.images.shape, got.labels[-3:].tolist()) == ((10_000, 3, 32, 32), [7, 8, 9])
        assert np.array_equal(got.images[-1].ravel(), np.arange(3072) % 251)


@pytest.mark.usefixtures("small_cifar")
def test_wrong_cifar10(tmp_path: Path) -> None:
    data, _, _ = cifar_records(20, 0)
    batch = tmp_path / "test_batch.bin"
    for wrong in (data[:-1], data + b"\0", data[:-3073], b""):
        batch.write_bytes(wrong)
        fails(f"{batch}: size must be 61460 bytes (20 records of 3073), not {len(wrong)}", tmp_path)
    batch.write_bytes(data[:3073] + b"\x0a" + data[3074:])
    fails(f"{batch}: label of sample 1 must be in 0..9, not 10", tmp_path)
    fails("folder has no split 'train'", tmp_path, "train")


@pytest.mark.usefixtures("small_cifar")
def test_wrong_cifar10_archive(tmp_path: Path) -> None:
    data, _, _ = cifar_records(20, 0)
    archive = tmp_path / "cifar-10-binary.tar.gz"
    (tmp_path / "x").write_bytes(data)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "x", "cifar-10-batches-bin/test_batch.bin")
        tar.add(tmp_path / "x", "cifar-10-batches-bin/data_batch_1.bin")
    assert len(datasets.load(archive)) == 20
    fails(f"{archive}: has no data_batch_2.bin; wanted is the binary version of CIFAR10", archive, "train")
    whole = archive.read_bytes()
    for size in (0, 5, 100, len(whole) // 3):
        archive.write_bytes(whole[:size])
        fails(f"{archive}: truncated or not a file of this format (", archive)
    archive.write_bytes(pickle.dumps({b"data": b"x" * 5000}))
    fails(f"{archive}: truncated or not a file of this format (", archive)


# N-MNIST


def event(x: int, y: int, on: int, time: int) -> bytes:
    return bytes([x, y, on << 7 | time >> 16, time >> 8 & 255, time & 255])


def reference_bins(events: list[tuple[int, int, int, int]], steps: int) -> np.ndarray:
    """One event after the other, in doubles, coordinates from 1 and rounded away from zero as in MATLAB."""
    def nearest(v: float) -> int:
        return int(math.copysign(math.floor(abs(v) + 0.5), v))

    spikes = np.zeros((steps, 2, 34, 34), np.uint8)
    for x, y, on, ts in events:
        fx, fy = x + 1.0, y + 1.0
        if ts <= 105e3:
            fx, fy = fx - 3.5 * ts / 105e3, fy - 7 * ts / 105e3
        elif ts <= 210e3:
            fx, fy = fx - 3.5 - 3.5 * (ts - 105e3) / 105e3, fy - 7 + 7 * (ts - 105e3) / 105e3
        else:
            fx = fx - 7 + 7 * (ts - 210e3) / 105e3
        column, row = nearest(fx), nearest(fy)
        step = max(math.ceil(ts / 3000), 1)
        if 1 <= column <= 34 and 1 <= row <= 34 and step <= steps:
            spikes[step - 1, on, row - 1, column - 1] = 1
    return spikes


def write_events(folder: Path, samples: dict[str, list[tuple[int, int, int, int]]]) -> None:
    for name, events in samples.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(event(*e) for e in events))


def random_events(count: int, seed: int, longest: int = 330_000) -> list[tuple[int, int, int, int]]:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, longest, count))
    return [(int(x), int(y), int(on), int(t)) for x, y, on, t in
            zip(rng.integers(0, 34, count), rng.integers(0, 34, count), rng.integers(0, 2, count), times, strict=True)]


@pytest.mark.parametrize("zipped", [False, True])
def test_n_mnist(home: Path, zipped: bool) -> None:
    folder = home / "n-mnist"
    samples = {"Test/7/00001.bin": random_events(4000, 1), "Test/2/00003.bin": random_events(3000, 2, 80_000),
               "Test/2/00002.bin": random_events(10, 3), "Train/4/00001.bin": random_events(20, 4)}
    write_events(folder, samples)
    (folder / "Test" / "readme.txt").write_text("not a sample")
    if zipped:
        for split in ("Test", "Train"):
            with zipfile.ZipFile(folder / f"{split}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                for path in sorted((folder / split).rglob("*")):
                    archive.write(path, path.relative_to(folder))
            (folder / split).rename(home / split)
    order = ["Test/7/00001.bin", "Test/2/00002.bin", "Test/2/00003.bin"]  # by number: the digits are mixed
    for steps in (30, 110):
        test = datasets.load("n-mnist", steps=steps)
        assert (test.images.shape, test.images.dtype) == ((3, steps, 2, 34, 34), np.uint8)
        assert test.labels.tolist() == [7, 2, 2]
        for got, name in zip(test.images, order, strict=True):
            assert np.array_equal(got, reference_bins(samples[name], steps))
    assert test.classes == tuple("0123456789")
    assert datasets.load("n-mnist", samples=2).labels.tolist() == [7, 2]
    assert datasets.load("n-mnist", "train").labels.tolist() == [4]
    assert np.array_equal(datasets.load(folder, steps=30).images, test.images[:, :30])
    if zipped:
        assert np.array_equal(datasets.load(folder / "Test.zip", steps=30).images, test.images[:, :30])


def load_events(folder: Path, *events: tuple[int, int, int, int], steps: int = 30) -> list[tuple[int, ...]]:
    """Where the spikes are: (step, polarity, y, x)."""
    write_events(folder, {"Test/0/1.bin": list(events)})
    return [tuple(int(i) for i in at) for at in np.argwhere(datasets.load(folder, steps=steps).images[0])]


@pytest.mark.parametrize(("time", "step"), [(0, 0), (1, 0), (3000, 0), (3001, 1), (6000, 1), (6001, 2)])
def test_first_steps(tmp_path: Path, time: int, step: int) -> None:
    assert load_events(tmp_path, (20, 10, 1, time)) == [(step, 1, 10, 20)]


def test_last_step_is_filled_and_later_events_are_dropped(tmp_path: Path) -> None:
    # By then the camera has moved by 30,000 us / 30,000 in x and twice that in y.
    events = (20, 10, 0, 30_000), (20, 10, 1, 30_001), (20, 10, 1, 1 << 22)
    assert load_events(tmp_path, *events, steps=10) == [(9, 0, 8, 19)]


def test_motion_rounds_half_up(tmp_path: Path) -> None:
    assert load_events(tmp_path, (20, 10, 0, 15_000), steps=5) == [(4, 0, 9, 20)]   # 19.5 and 9
    assert load_events(tmp_path, (0, 0, 0, 7_500), steps=5) == [(2, 0, 0, 0)]       # -0.25 and -0.5: still there
    assert load_events(tmp_path, (0, 0, 0, 7_501), steps=5) == []                   # left the picture


def test_clock_overflow(tmp_path: Path) -> None:
    # An overflow adds 2**13 us to what follows it and is no event itself.
    assert load_events(tmp_path, (20, 10, 0, 10), (1, 240, 0, 0), (20, 10, 1, 20)) == [(0, 0, 10, 20), (2, 1, 9, 20)]


@pytest.mark.parametrize(("data", "message"), [
    (b"", "size must be a positive multiple of 5 bytes (one event), not 0"),
    (bytes(12), "size must be a positive multiple of 5 bytes (one event), not 12"),
    (bytes(5) + event(34, 3, 0, 5), "x and y of event 1 must be in 0..33, not 34 and 3"),
    (event(3, 34, 0, 5), "x and y of event 0 must be in 0..33, not 3 and 34"),
])
@pytest.mark.parametrize("zipped", [False, True])
def test_wrong_events(tmp_path: Path, data: bytes, message: str, zipped: bool) -> None:
    write_events(tmp_path, {"Test/3/00001.bin": [(1, 1, 1, 1)]})
    if zipped:
        with zipfile.ZipFile(tmp_path / "Test.zip", "w") as archive:
            archive.writestr("Test/3/00001.bin", data)
        fails(f"{tmp_path / 'Test.zip' / 'Test/3/00001.bin'}: {message}", tmp_path / "Test.zip")
    else:
        path = tmp_path / "Test/3/00001.bin"
        path.write_bytes(data)
        fails(f"{path}: {message}", tmp_path)


def test_wrong_event_archive(tmp_path: Path) -> None:
    archive = tmp_path / "Test.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("Test/3/00001.bin", event(1, 1, 1, 1) * 100)
    whole = archive.read_bytes()
    fails(f"{archive}: has no event files <digit>/*.bin", archive, "train")
    for wrong in (b"", whole[:-30], b"hello" * 50):
        archive.write_bytes(wrong)
        fails(f"{archive}: truncated or not a file of this format (", archive)
    archive.write_bytes(whole.replace(event(1, 1, 1, 1), event(2, 1, 1, 1), 1))
    fails(f"{archive}/Test/3/00001.bin: truncated or not a file of this format (Bad CRC-32", archive)


# The user's own files


def test_npz(tmp_path: Path) -> None:
    images = RNG.integers(0, 2, (4, 5, 3), np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.array([0, 2, 1, 0], np.int32), extra=np.zeros(3))
    got = datasets.load(tmp_path / "mine.npz")
    assert (got.name, got.labels.tolist(), got.labels.dtype) == ("mine", [0, 2, 1, 0], np.int64)
    assert np.array_equal(got.images, images)
    assert got.classes == ("0", "1", "2")
    assert len(datasets.load(str(tmp_path / "mine.npz"), samples=2)) == 2


@pytest.mark.parametrize(("arrays", "message"), [
    ({"images": IMAGES}, "array 'labels' is missing"),
    ({"labels": LABELS}, "array 'images' is missing"),
    ({"images": IMAGES / 255, "labels": LABELS}, "images must be uint8 of shape (N, *shape), not float64 of shape"),
    ({"images": IMAGES[:, 0, 0], "labels": LABELS}, "images must be uint8 of shape (N, *shape), not uint8 of"),
    ({"images": IMAGES, "labels": LABELS[:6]},
     "labels must be integers of shape (7,), one per image, not uint8 of shape (6,)"),
    ({"images": IMAGES, "labels": LABELS / 2}, "labels must be integers of shape (7,), one per sample, not float64"),
    ({"images": IMAGES, "labels": LABELS.astype(int) - 1}, "label of sample 3 must be in 0..65535, not -1"),
    ({"images": IMAGES[:0], "labels": LABELS[:0]}, "has no samples"),
    ({"images": IMAGES, "labels": np.array([None] * 7)}, "labels: not a .npy array of booleans"),
])
def test_wrong_npz(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    fails(f"{path}: {message}", path)


def test_foreign_npz(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, images=IMAGES, labels=LABELS)
    whole = path.read_bytes()
    for wrong in (b"", b"hello", pickle.dumps([1]), whole[:-20], whole[:2000], whole[:300] + bytes(50) + whole[350:]):
        path.write_bytes(wrong)
        fails(f"{path}: not a ZIP archive of this format, or truncated", path)


def test_parts_of_a_single_file(tmp_path: Path) -> None:
    """All of it; or a fifth, drawn once and for all, and the others."""
    rng = np.random.default_rng(1)
    images = np.arange(50, dtype=np.uint8).reshape(50, 1, 1).repeat(4, axis=2)
    path = tmp_path / "mine.npz"
    np.savez(path, images=images, labels=rng.integers(0, 3, 50))
    parts = {split: datasets.load(path, split) for split in ("train", "test", "all")}  # type: ignore[arg-type]
    assert {split: len(part) for split, part in parts.items()} == {"train": 40, "test": 10, "all": 50}
    ids = {split: set(part.images[:, 0, 0].tolist()) for split, part in parts.items()}
    assert ids["train"] | ids["test"] == ids["all"]
    assert not ids["train"] & ids["test"]
    assert datasets.load(path).split == "all"
    assert not datasets.has_parts(path)
    np.testing.assert_array_equal(datasets.load(path, "test").images, parts["test"].images)
    assert len(datasets.load(path, "test", samples=3)) == 3
    np.savez(path, images=images[:4], labels=np.zeros(4, int))
    fails("4 samples are too few for a split 'test'", path, split="test")


@pytest.mark.parametrize("names", [("train_images", "train_labels", "test_images", "test_labels"),
                                   ("x_train", "y_train", "x_test", "y_test")])
def test_a_file_of_two_parts(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = tmp_path / "two.npz"
    arrays = (IMAGES, LABELS[:, None], IMAGES[:2], LABELS[:2])  # labels as a column, too
    np.savez(path, **dict(zip(names, arrays, strict=True)))
    assert datasets.has_parts(path)
    assert (len(datasets.load(path)), datasets.load(path).split) == (2, "test")
    train = datasets.load(path, "train")
    np.testing.assert_array_equal(train.images, IMAGES)
    np.testing.assert_array_equal(train.labels, LABELS)
    fails("split must be 'train' or 'test', not 'all'", path, split="all")


def test_samples_are_at_most_so_many(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "mine.npz", images=IMAGES, labels=LABELS)
    assert len(datasets.load(tmp_path / "mine.npz", samples=10**6)) == len(IMAGES)


@pytest.mark.parametrize(("labels", "why"), [
    (np.array([1 << 63] * len(IMAGES), np.uint64), "must be in 0..65535, not 9223372036854775808"),
    (np.array([50_000_000] * len(IMAGES)), "must be in 0..65535, not 50000000"),
    (np.full(len(IMAGES), np.nan), "labels must be integers"),
])
def test_labels_that_name_no_class(tmp_path: Path, labels: np.ndarray, why: str) -> None:
    np.savez_compressed(tmp_path / "mine.npz", images=IMAGES, labels=labels)
    fails(why, tmp_path / "mine.npz")


def test_files_that_fill_the_memory(tmp_path: Path) -> None:
    """Small files that unpack to gigabytes are refused before they are unpacked."""
    import gzip
    zeros = bytes(1 << 20)
    with gzip.open(tmp_path / "t10k-images-idx3-ubyte.gz", "wb") as file:
        file.write(struct.pack(">4I", 0x803, 1 << 20, 28, 28))
        for _ in range(64):
            file.write(zeros)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 1 << 20) + zeros)
    fails("shape in the header must be of 1..", tmp_path)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("images.npy", "w", force_zip64=True) as out:
            for _ in range(128):
                out.write(zeros)
        archive.writestr("labels.npy", b"")
    fails("unpacks to 134,217,728 bytes", tmp_path / "bomb.npz")
    os.mkfifo(tmp_path / "fifo.npz")
    fails("is not a regular file", tmp_path / "fifo.npz")


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    fails(f"{tmp_path / 'notes.txt'}: not a data set: allowed are .npz, an IDX file of images", tmp_path / "notes.txt")
    fails(f"{tmp_path}: folder has no split 'test' of a data set: t10k-images-idx3-ubyte and", tmp_path)


# Fetching


@pytest.mark.parametrize(("name", "wanted", "advice"), [
    ("mnist", "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (plain or .gz)", "yann.lecun.com"),
    ("fashion-mnist", "t10k-images-idx3-ubyte", "install the package dataset-fashion-mnist"),
    ("cifar10", "test_batch.bin or cifar-10-binary.tar.gz", "www.cs.toronto.edu/~kriz/cifar.html"),
    ("n-mnist", "Test/<digit>/*.bin or Test.zip", "Download Train.zip and Test.zip by hand"),
])
def test_nowhere_and_not_to_be_fetched(home: Path, tmp_path: Path, name: str, wanted: str, advice: str,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKELOOM_DATA", str(tmp_path / "own"))
    with pytest.raises(SpikeloomError) as caught:
        datasets.load(name, fetch=False)
    message = str(caught.value)
    assert message.startswith(f"data set {name}, split test: {wanted}")
    for part in (tmp_path / "own" / name, home / name, tmp_path / "system" / name, advice, "SPIKELOOM_DATA",
                 f"Put the files into {home / name}"):
        assert str(part) in message


def test_no_network(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(url: str, **options: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    fails("could not be fetched (http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-images-idx3-ubyte.gz: "
          "Name or service not known). On Debian, install the package dataset-fashion-mnist. Put the files into "
          f"{home / 'fashion-mnist'}", "fashion-mnist")
    assert not list((home / "fashion-mnist").iterdir())


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder on loopback and notes what is asked for."""

    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A web server whose folder is tmp_path / "www"."""
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_request(self, *args: object) -> None:
            httpd.asked.append(self.path)

        def log_message(self, *args: object) -> None:
            pass

    write_idx(tmp_path / "www", gz=True)
    with Server(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path / "www"))) as httpd:
        httpd.asked = []
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


@pytest.fixture
def mnist_at(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it to let MNIST come from these folders, with the digests of the server's files."""
    def redirect(*folders: str) -> None:
        remote = tuple(datasets._Remote(path.name, hashlib.md5(path.read_bytes()).hexdigest(), folders)
                       for path in sorted((tmp_path / "www").iterdir()))
        monkeypatch.setitem(datasets._KNOWN, "mnist",
                            dataclasses.replace(datasets._KNOWN["mnist"], remote={"test": remote}))
        proxy_free = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        monkeypatch.setattr(urllib.request, "urlopen", proxy_free.open)
    return redirect


def test_fetched_once_and_verified(home: Path, server: Server, mnist_at: Callable[..., None]) -> None:
    mnist_at(server.url)
    seen: list[tuple[int, int]] = []
    got = datasets.load("mnist", progress=lambda done, total: seen.append((done, total)))
    assert np.array_equal(got.images, IMAGES)
    files = sorted((home / "mnist").iterdir())
    assert [path.name for path in files] == ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    assert [seen[0][1], seen[-1]] == [files[0].stat().st_size, (files[1].stat().st_size,) * 2]
    assert len(server.asked) == 2
    assert np.array_equal(datasets.load("mnist").labels, LABELS)
    assert len(server.asked) == 2  # from the cache
    files[1].unlink()
    datasets.load("mnist")
    assert len(server.asked) == 3  # only what is missing


def test_not_fetched_when_not_wanted(server: Server, mnist_at: Callable[..., None]) -> None:
    mnist_at(server.url)
    fails("fetching was not allowed", "mnist", fetch=False)
    assert server.asked == []


def test_second_source(server: Server, mnist_at: Callable[..., None]) -> None:
    mnist_at(f"{server.url}gone/", server.url)
    assert np.array_equal(datasets.load("mnist").images, IMAGES)
    assert server.asked == [f"{folder}/t10k-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")
                            for folder in ("/gone", "")]


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b"<html>Log in</html>",
                                    lambda b: b""])
def test_what_is_not_the_file_is_not_kept(home: Path, tmp_path: Path, server: Server, mnist_at: Callable[..., None],
                                          change: Callable[[bytes], bytes]) -> None:
    mnist_at(server.url)
    path = tmp_path / "www" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(change(path.read_bytes()))
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    fails(f"could not be fetched ({server.url}{path.name}: MD5 is {digest}, wanted ", "mnist")
    assert [p.name for p in (home / "mnist").iterdir()] == ["t10k-images-idx3-ubyte.gz"]  # nothing half-written


def test_gone(home: Path, server: Server, mnist_at: Callable[..., None]) -> None:
    mnist_at(f"{server.url}gone/")
    fails(f"could not be fetched ({server.url}gone/t10k-images-idx3-ubyte.gz: File not found)", "mnist")
    assert not list((home / "mnist").iterdir())


def test_interrupted(home: Path, server: Server, mnist_at: Callable[..., None]) -> None:
    mnist_at(server.url)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datasets.load("mnist", progress=stop)
    assert not list((home / "mnist").iterdir())


def test_cache_cannot_be_written(tmp_path: Path, server: Server, mnist_at: Callable[..., None]) -> None:
    mnist_at(server.url)
    (tmp_path / "cache").write_text("a file where the cache should be")
    fails("could not be fetched (", "mnist")


def test_digests_are_well_formed_and_differ() -> None:
    remotes = {item for known in datasets._KNOWN.values() for items in known.remote.values() for item in items}
    assert len({item.md5 for item in remotes}) == len(remotes) == 9
    assert all(re.fullmatch("[0-9a-f]{32}", item.md5) for item in remotes)
