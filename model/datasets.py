"""Data sets in their own file formats: found on this machine, or fetched and verified.

A data set is looked for in ``$SPIKELOOM_DATA/<name>``, in ``<name>`` of the
package's cache (:func:`.cache_dir`) and in ``/usr/share/datasets/<name>``, where Debian's packages put
theirs; what is in none of them is fetched into the cache. A path instead of a name is used as it is.

============================  =========================================  ============================
name                          files                                      images of one sample
============================  =========================================  ============================
``fashion-mnist``, ``mnist``  IDX, plain or ``.gz``                      (28, 28), 0..255
``cifar10``                   binary version: ``.bin`` or ``.tar.gz``    (3, 32, 32), 0..255
``n-mnist``                   events: ``Test/<digit>/*.bin`` or ``.zip``  (steps, 2, 34, 34), 0 or 1
``fashion-mnist-demo``        shipped: the first 500 test images         (28, 28), 0..255
============================  =========================================  ============================

An ``.npz`` of the user's holds ``images`` (uint8, (N, *shape)) and ``labels`` (integers, (N,)); or these in two parts:
``train_images``, ``train_labels``, ``test_images``, ``test_labels``, or ``x_train``, ``y_train``, ``x_test``,
``y_test``.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import http.client
import os
import re
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import numpy.typing as npt

from .errors import SpikeloomError
from .network import MAX_STEPS
from .system.arguments import array as as_array
from .system.arguments import called, choice, short, whole
from .system.arrays import archive_names, read_archive, read_npy, unpacked_limit
from .system.cache import cache_dir
from .system.paths import path_of, shown
from .system.reading import open_regular, read_bytes
from .system.writing import write_file

__all__ = ["EVENT_STEPS", "EVENT_WINDOW_US", "Dataset", "Progress", "Split", "check_labels", "described", "load",
           "names"]

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]
Split = Literal["train", "test", "all"]
Part = Literal["train", "test"]

EVENT_STEPS = 30        # T of the TSSL-BP authors' N-MNIST network
EVENT_WINDOW_US = 3000  # and the width of one of its steps

_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR_SHAPE = (3, 32, 32)
_CIFAR_RECORDS = 10_000  # in every batch file
_LARGEST = 1 << 31       # bytes of images; a damaged header must not ask for all memory
_LARGEST_FILE = 1 << 32  # bytes of what holds them
_EVENT_FILE = 1 << 24    # bytes of a sample's events: a hundred times what N-MNIST has
_MAX_CLASSES = 1 << 16
TEST_SHARE = 5           # of the samples of a single file one in so many is for testing
_TIMEOUT_S = 30
_SYSTEM = Path("/usr/share/datasets")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and their labels.

    Attributes
    ----------
    name : str
        Name of the data set, or of the user's file.
    split : "train", "test" or "all"
    images : uint8 array (N, *shape)
        Pixels 0..255; of an event data set spikes 0/1, (N, steps, *shape).
    labels : int64 array (N,)
        Indices into ``classes``.
    classes : tuple of str
        Names of the classes.
    """

    name: str
    split: Split
    images: Images
    labels: Labels
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        for key in ("images", "labels"):
            value = as_array(getattr(self, key), f"data {short(self.name)}: {key}")
            if value.ndim == 0:
                raise SpikeloomError(f"data {short(self.name)}: {key} must be one per sample, not {value}")
            object.__setattr__(self, key, value)

    def __len__(self) -> int:
        return len(self.labels)


def names() -> tuple[str, ...]:
    """Names that :func:`load` knows."""
    return tuple(_KNOWN)


def described(name: str) -> str:
    """Which files a data set of that name has."""
    known = _KNOWN[name]
    return known.wanted.get("test", "500 test images, shipped")


def load(name_or_path: str | Path, split: Split | None = None, samples: int | None = None, *, fetch: bool = True,
         steps: int = EVENT_STEPS, progress: Progress | None = None) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    name_or_path : str or Path
        One of :func:`names`; or a folder that holds files as one of these data sets has them; or one file:
        an ``.npz`` (below), an IDX file of images (its labels beside it), CIFAR10's ``.tar.gz`` or one ``.bin``,
        N-MNIST's ``.zip``.
    split : "train", "test" or "all"
        By default "test" where the data are in two parts. A single file is in one part, all of it by default: its
        "test" are a fifth of its samples, drawn once and for all, its "train" the others.
    samples : int or None
        At most the first so many; all by default. N-MNIST takes ``2312 * steps`` bytes a sample.
    fetch : bool
        Whether to download what is not on this machine.
    steps : int
        Event data sets only: T, steps of 3 ms, 1..1024.
    progress : callable or None
        Called while downloading with the bytes done and the bytes in all (0 if unknown).

    Raises
    ------
    SpikeloomError
        If the data set is unknown, nowhere to be found, truncated, foreign or too large.
    """
    choice(split, "split", (None, "train", "test", "all"))
    called(progress, "progress")
    if samples is not None:
        samples = whole(samples, "samples", 1)
    steps = whole(steps, "steps", 1, MAX_STEPS)
    path = path_of(name_or_path, "data")
    known = _KNOWN.get(str(name_or_path))
    part: Part = "train" if split == "train" else "test"
    if known is not None:
        name, files = known.name, _locate(known, part, fetch, progress)
    else:
        if not path.exists():
            raise SpikeloomError(_unknown(shown(path)))
        known, files = _recognise(path, part)
        name = known.name or re.sub(r"\.(npz|gz|bin|zip)$", "", shown(path.name))
    one_part = not has_parts(name_or_path)
    if split == "all" and not one_part:
        raise SpikeloomError(f"data {name}: split must be 'train' or 'test', not 'all': the two are kept apart")
    wanted = None if one_part and split in ("train", "test") else samples
    images, labels = known.read(files, known, part, wanted, steps)
    if one_part and split in ("train", "test"):
        chosen = np.random.default_rng(0).permutation(len(labels)) < len(labels) // TEST_SHARE
        if split == "test" and not chosen.any():
            raise SpikeloomError(f"data {name}: {len(labels)} samples are too few for a split 'test'")
        chosen = chosen if split == "test" else ~chosen
        images, labels = images[chosen], labels[chosen]
    classes = known.classes or tuple(str(c) for c in range(int(labels.max()) + 1))
    return Dataset(name, split or ("all" if one_part else "test"), images[:samples], labels[:samples], classes)


def has_parts(name_or_path: str | Path) -> bool:
    """Whether data come in two parts, one for testing; those of most single files do not."""
    path = path_of(name_or_path, "data")
    if str(name_or_path) in _KNOWN or path.is_dir():
        return True
    if path.suffix == ".npz":
        return len(_npz_parts(path)) > 1
    return path.suffix != ".bin" and "idx3" not in path.name


# Finding and fetching


@dataclass(frozen=True)
class _Remote:
    """One file to fetch: its name, the MD5 that its publishers give, and folders that have it."""

    file: str
    md5: str
    folders: tuple[str, ...]


@dataclass(frozen=True)
class _Known:
    """A data set: which files it has, who reads them, and where they come from."""

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, ...] | None
    find: Callable[[Path, Part], tuple[Path, ...] | None]
    read: Callable[[tuple[Path, ...], _Known, Part, int | None, int], tuple[Images, Labels]]
    wanted: dict[Part, str]
    remote: dict[Part, tuple[_Remote, ...]] = field(default_factory=dict)
    advice: str = ""


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), _KNOWN, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{name}: no such data set, file or folder; {hint}Data sets are {', '.join(_KNOWN)}"


def _folders(name: str) -> list[Path]:
    own = os.environ.get("SPIKELOOM_DATA")
    roots = [path_of(own, "SPIKELOOM_DATA")] if own else []
    return [root / name for root in (*roots, cache_dir(), _SYSTEM)]


def _locate(known: _Known, split: Part, fetch: bool, progress: Progress | None) -> tuple[Path, ...]:
    """The files of a split, on this machine or fetched."""
    if known.name == _DEMO:
        if split == "train":
            raise SpikeloomError(f"data set {known.name}: split must be 'test', it has no 'train'")
        return (Path(__file__).parent / "data" / f"{_DEMO}.npz",)
    folders = _folders(known.name)
    for folder in folders:
        if files := known.find(folder, split):
            return files
    cache = cache_dir() / known.name
    remote = known.remote.get(split, ())
    why = "this data set cannot be fetched automatically" if not remote else "fetching was not allowed"
    if fetch and remote:
        try:
            for item in remote:
                if not (cache / item.file).exists():
                    _fetch(item, cache, progress)
        except SpikeloomError as error:
            why = str(error)
        else:
            if files := known.find(cache, split):
                return files
    raise SpikeloomError(
        f"data set {known.name}, split {split}: {known.wanted[split]} not found in "
        f"{', '.join(shown(folder) for folder in folders)}; {why}. {known.advice} Put the files into {shown(cache)}, "
        f"or set SPIKELOOM_DATA to a folder that has them in its subfolder {known.name}. 500 real test images are "
        f"shipped: {_DEMO}")


def _fetch(item: _Remote, folder: Path, progress: Progress | None) -> None:
    """Download one file; it appears under its name only when whole and verified."""
    reasons = []
    for base in item.folders:
        url = base + item.file
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
                write_file(folder / item.file, partial(_download, response, item.md5, progress))
            return
        except (OSError, http.client.HTTPException, ValueError) as error:
            reasons.append(f"{url}: {getattr(error, 'reason', None) or error}")
    raise SpikeloomError(f"could not be fetched ({'; '.join(reasons)})")


def _download(response: http.client.HTTPResponse, md5: str, progress: Progress | None, file: BinaryIO) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    total, done = int(response.headers.get("Content-Length") or 0), 0
    try:
        while (block := response.read(1 << 16)) and done < _LARGEST_FILE:
            file.write(block)
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(done, total)
    except TimeoutError as error:
        raise SpikeloomError(f"{error} after {done:,} bytes") from error
    if digest.hexdigest() != md5:
        raise SpikeloomError(f"MD5 is {digest.hexdigest()}, wanted {md5}")


def _recognise(path: Path, split: Part) -> tuple[_Known, tuple[Path, ...]]:
    """Which kind of data set a file or folder of the user is."""
    if path.is_dir():
        # MNIST and FashionMNIST have the same files: the folder's name tells which class names to use.
        for known in (_KNOWN.get(path.name, _IDX_FILES), _IDX_FILES, _KNOWN["cifar10"], _KNOWN["n-mnist"]):
            if files := known.find(path, split):
                return known, files
        wanted = "; ".join(_KNOWN[name].wanted[split] for name in ("mnist", "cifar10", "n-mnist"))
        raise SpikeloomError(f"{path}: folder has no split {split!r} of a data set: {wanted}")
    if path.suffix == ".npz":
        return _NPZ_FILE, (path,)
    if path.name.endswith((".tar.gz", ".tgz", ".tar")) or path.suffix == ".bin":
        return _KNOWN["cifar10"], (path,)
    if path.suffix == ".zip":
        return _KNOWN["n-mnist"], (path,)
    if "idx3" in path.name:
        labels = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
        found = _plain_or_gz(labels.with_suffix("") if labels.suffix == ".gz" else labels)
        if found is None:
            raise SpikeloomError(f"{path}: its labels must be beside it in {labels.name}, which is missing")
        return _IDX_FILES, (path, found)
    raise SpikeloomError(f"{path}: not a data set: allowed are .npz, an IDX file of images (*idx3-ubyte, or .gz), "
                         "CIFAR10's .tar.gz or .bin, N-MNIST's .zip, or a folder of such files")


def _plain_or_gz(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(f"{path.name}.gz")) if p.is_file()), None)


# Reading


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong while reading ``path`` into one clear error."""
    try:
        yield
    except SpikeloomError:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError, NotImplementedError,
            RuntimeError, ValueError) as error:
        raise SpikeloomError(f"{path}: truncated or not a file of this format ({str(error)[:100]})") from error
    except OSError as error:
        raise SpikeloomError(f"{path}: cannot be read: {error.strerror or error}") from error


def _check_labels(path: Path | str, labels: npt.NDArray[Any], classes: tuple[str, ...]) -> Labels:
    if labels.size == 0:
        raise SpikeloomError(f"{shown(path)}: has no samples")
    return check_labels(labels, len(labels), len(classes) or _MAX_CLASSES, shown(path))


def check_labels(labels: npt.ArrayLike, samples: int, classes: int, where: str) -> Labels:
    """Labels (samples,) as int64.

    Raises
    ------
    SpikeloomError
        If they are no integers, not as many as samples, or one is outside 0..classes-1; it begins with ``where``.
    """
    array = as_array(labels, f"{where}: labels")
    if array.dtype.kind not in "iu" or array.shape != (samples,):
        raise SpikeloomError(f"{where}: labels must be integers of shape ({samples},), one per sample, not "
                             f"{array.dtype} of shape {array.shape}")
    wrong = np.flatnonzero((array < 0) | (array >= classes))
    if wrong.size:
        raise SpikeloomError(f"{where}: label of sample {wrong[0]} must be in 0..{classes - 1}, not {array[wrong[0]]}")
    return array.astype(np.int64)


def _find_idx(folder: Path, split: Part) -> tuple[Path, ...] | None:
    prefix = "t10k" if split == "test" else "train"
    for dot in "-.":  # unpackers have been seen to write either
        images = _plain_or_gz(folder / f"{prefix}-images{dot}idx3-ubyte")
        labels = _plain_or_gz(folder / f"{prefix}-labels{dot}idx1-ubyte")
        if images and labels:
            return images, labels
    return None


def _read_idx(path: Path, rank: int) -> Images:
    """One IDX file of unsigned bytes: magic 0, 0, 8, rank; sizes as big-endian words; data in C order."""
    packed = path.suffix == ".gz"
    with (_readable(path), open_regular(path, _LARGEST_FILE) as raw,
          gzip.open(raw) if packed else nullcontext(raw) as file):
        head = file.read(4 + 4 * rank)
        if head[:4] != bytes((0, 0, 8, rank)):
            raise SpikeloomError(f"{path}: magic number must be 0000080{rank} (IDX, {rank}-dimensional bytes), "
                                 f"not {head[:4].hex() or 'nothing'}")
        if len(head) < 4 + 4 * rank:
            raise SpikeloomError(f"{path}: header is truncated: {len(head)} of {4 + 4 * rank} bytes")
        shape = tuple(int(n) for n in np.frombuffer(head, ">u4", rank, 4))
        size = int(np.prod(shape, dtype=object))
        largest = min(_LARGEST, unpacked_limit(path)) if packed else _LARGEST
        if not 0 < size < largest:
            raise SpikeloomError(f"{path}: shape in the header must be of 1..{largest - 1} bytes, not {shape}")
        # A bytearray, so that the array is writable: torch warns of others.
        data = bytearray(file.read(size + 1))
        if len(data) != size:
            raise SpikeloomError(f"{path}: must have {size} bytes of data for shape {shape}, "
                                 f"has {'more' if len(data) > size else len(data)}")
        return np.frombuffer(data, np.uint8).reshape(shape)


def _read_idx_pair(files: tuple[Path, ...], known: _Known, split: Part, samples: int | None,
                   steps: int) -> tuple[Images, Labels]:
    images, labels = _read_idx(files[0], 3), _read_idx(files[1], 1)
    if len(images) != len(labels):
        raise SpikeloomError(f"{files[1]}: number of labels is {len(labels)}, but {files[0].name} "
                             f"has {len(images)} images")
    if known.shape and images.shape[1:] != known.shape:
        raise SpikeloomError(f"{files[0]}: images of {known.name} must be of shape {known.shape}, "
                             f"not {images.shape[1:]}")
    return images, _check_labels(files[1], labels, known.classes)


def _cifar_batches(split: Part) -> list[str]:
    return ["test_batch.bin"] if split == "test" else [f"data_batch_{i}.bin" for i in range(1, 6)]


def _find_cifar(folder: Path, split: Part) -> tuple[Path, ...] | None:
    for place in (folder, folder / "cifar-10-batches-bin"):
        files = tuple(place / name for name in _cifar_batches(split))
        if all(file.is_file() for file in files):
            return files
    archive = folder / "cifar-10-binary.tar.gz"
    return (archive,) if archive.is_file() else None


def _read_cifar(files: tuple[Path, ...], known: _Known, split: Part, samples: int | None,
                steps: int) -> tuple[Images, Labels]:
    """Records of one label byte and 3072 pixel bytes: red, green and blue plane, rows first."""
    size = 1 + int(np.prod(_CIFAR_SHAPE))
    batches: dict[str, bytes] = {}
    for file in files:
        with _readable(file):
            if file.suffix == ".bin":
                batches[str(file)] = read_bytes(file, 2 * size * _CIFAR_RECORDS)
            else:
                batches |= _members(file, _cifar_batches(split), size * _CIFAR_RECORDS)
    for name, data in batches.items():
        if len(data) != size * _CIFAR_RECORDS:
            raise SpikeloomError(f"{name}: size must be {size * _CIFAR_RECORDS} bytes "
                                 f"({_CIFAR_RECORDS} records of {size}), not {len(data)}")
    records = np.concatenate([np.frombuffer(data, np.uint8).reshape(-1, size) for data in batches.values()])
    labels = np.concatenate([_check_labels(name, np.frombuffer(data, np.uint8)[::size], known.classes)
                             for name, data in batches.items()])
    return records[:, 1:].reshape(-1, *_CIFAR_SHAPE), labels


def _members(archive: Path, wanted: list[str], size: int) -> dict[str, bytes]:
    """Files of a tar archive by their base names, in this order; nothing is unpacked to disk."""
    found = {}
    with (open_regular(archive, _LARGEST_FILE) as raw,
          tarfile.open(fileobj=raw, mode="r|*") as tar):  # a stream: seeking back would decompress it all again
        for member in tar:
            base = member.name.rpartition("/")[2]
            if base in wanted and member.isfile():
                if member.size != size:
                    raise SpikeloomError(f"{archive}/{member.name}: size must be {size} bytes, not {member.size}")
                found[base] = cast("Any", tar.extractfile(member)).read()
                if len(found) == len(wanted):
                    break
    if missing := [name for name in wanted if name not in found]:
        raise SpikeloomError(f"{archive}: has no {missing[0]}; wanted is the binary version of CIFAR10")
    return {f"{archive}/{name}": found[name] for name in wanted}


def _find_events(folder: Path, split: Part) -> tuple[Path, ...] | None:
    place = folder / split.capitalize()
    archive = folder / f"{split.capitalize()}.zip"
    if any((place / digit).is_dir() for digit in _DIGITS):
        return (place,)
    return (archive,) if archive.is_file() else None


def _read_events(files: tuple[Path, ...], known: _Known, split: Part, samples: int | None,
                 steps: int) -> tuple[Images, Labels]:
    """One file a sample, in a folder named by its digit."""
    source, = files
    if source.is_dir():
        paths = [path.relative_to(source).as_posix() for path in source.glob("[0-9]/*.bin")]
        return _bin_samples(source, paths, lambda name: read_bytes(source / name, _EVENT_FILE), samples, steps)
    with _readable(source), open_regular(source, _LARGEST_FILE) as file, zipfile.ZipFile(file) as archive:
        pattern = re.compile(rf"(.*/)?{split}/[0-9]/[^/]+\.bin", re.IGNORECASE)
        paths = [name for name in archive.namelist() if pattern.fullmatch(name)]

        def member(name: str) -> bytes:
            if archive.getinfo(name).file_size > _EVENT_FILE:
                raise SpikeloomError(f"{source}/{name}: has {archive.getinfo(name).file_size:,} bytes, allowed are "
                                     f"{_EVENT_FILE:,}")
            return archive.read(name)

        return _bin_samples(source, paths, member, samples, steps)


def _bin_samples(source: Path, paths: Iterable[str], read: Callable[[str], bytes], samples: int | None,
                 steps: int) -> tuple[Images, Labels]:
    # Files are numbered as MNIST's samples are: in this order the classes are mixed, so that the first
    # few samples are a fair choice.
    chosen = sorted(paths, key=lambda name: (name.rpartition("/")[2], name))[:samples]
    if not chosen:
        raise SpikeloomError(f"{source}: has no event files <digit>/*.bin")
    size = len(chosen) * steps * 2 * 34 * 34
    if size > _LARGEST:
        raise SpikeloomError(f"{source}: {len(chosen)} samples of {steps} steps take {size:,} bytes, allowed are "
                             f"{_LARGEST:,}; take fewer samples")
    spikes = np.zeros((len(chosen), steps, 2, 34, 34), np.uint8)
    for i, name in enumerate(chosen):
        path = source / name
        with _readable(path):
            _bin_events(path, read(name), spikes[i])
    return spikes, np.array([int(name.split("/")[-2]) for name in chosen], np.int64)


def _bin_events(path: Path, data: bytes, spikes: Images) -> None:
    """Set ``spikes`` (steps, polarity off/on, y, x) to 1 where one event or more falls.

    An event is five bytes: x, y, then polarity (one bit) and time in microseconds (23 bits), big-endian.
    As the TSSL-BP authors do, the motion of the camera is taken out with Orchard's three saccades of
    105 ms, what leaves the 34 x 34 pixels is dropped, and step t takes the times in (3t, 3t + 3] ms.
    Their loader puts events at time 0 into the last step and leaves the last step's own out: here time
    0 belongs to the first step, and the last step is filled like any other. Their images are
    transposed: they index (x, y).
    """
    if not data or len(data) % 5:
        raise SpikeloomError(f"{path}: size must be a positive multiple of 5 bytes (one event), not {len(data)}")
    x, y, high, middle, low = np.frombuffer(data, np.uint8).reshape(-1, 5).T.astype(np.int64)
    time = (high & 127) << 16 | middle << 8 | low
    overflow = y == 240  # not an event: the recorder's 13-bit clock wrapped
    time += np.cumsum(overflow) << 13
    wrong = np.flatnonzero(~overflow & ((x > 33) | (y > 33)))
    if wrong.size:
        raise SpikeloomError(f"{path}: x and y of event {wrong[0]} must be in 0..33, "
                             f"not {x[wrong[0]]} and {y[wrong[0]]}")
    # The camera moved by 1 pixel in 30 ms in x, 15 ms in y; sums in microseconds round like floats, half up.
    first, second = time <= 105_000, time <= 210_000
    moved_x = np.where(second, time, 210_000 - 2 * (time - 210_000))
    moved_y = np.where(first, time, np.where(second, 210_000 - time, 0))
    x = (30_000 * x - moved_x + 15_000) // 30_000
    y = (15_000 * y - moved_y + 7_500) // 15_000
    step = np.maximum(time - 1, 0) // EVENT_WINDOW_US
    keep = (x >= 0) & (x < 34) & (y >= 0) & (y < 34) & (step < len(spikes))
    spikes[step[keep], (high >> 7)[keep], y[keep], x[keep]] = 1


# Names of the arrays: of one part, and of two.
_NPZ_ONE = {"all": ("images", "labels")}
_NPZ_TWO = ({"train": ("train_images", "train_labels"), "test": ("test_images", "test_labels")},
            {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")})  # as Keras has them


def _npz_parts(path: Path) -> dict[str, tuple[str, str]]:
    """Names of a file's arrays, by the part that they are of."""
    held = set(archive_names(path, _LARGEST))
    for parts in (_NPZ_ONE, *_NPZ_TWO):
        if held >= {f"{name}.npy" for names in parts.values() for name in names}:
            return parts
    missing = next(name for name in _NPZ_ONE["all"] if f"{name}.npy" not in held)
    raise SpikeloomError(f"{shown(path)}: array {missing!r} is missing; allowed are images and labels, or "
                         + ", or ".join(", ".join(parts["train"] + parts["test"]) for parts in _NPZ_TWO))


def _read_npz(files: tuple[Path, ...], known: _Known, split: Part, samples: int | None,
              steps: int) -> tuple[Images, Labels]:
    path, = files
    parts = _npz_parts(path)
    names = parts.get(split) or parts["all"]
    members = read_archive(path, _LARGEST, {f"{name}.npy" for name in names})
    images, labels = (read_npy(members[f"{name}.npy"], f"{shown(path)}: {name}") for name in names)
    if labels.ndim == 2 and labels.shape[1] == 1:  # a column, as Keras has it
        labels = labels[:, 0]
    if images.dtype != np.uint8 or images.ndim < 2:
        raise SpikeloomError(f"{shown(path)}: {names[0]} must be uint8 of shape (N, *shape), not {images.dtype} of "
                             f"shape {images.shape}")
    if labels.shape != images.shape[:1]:
        raise SpikeloomError(f"{shown(path)}: {names[1]} must be integers of shape ({len(images)},), one per image, "
                             f"not {labels.dtype} of shape {labels.shape}")
    return images, _check_labels(path, labels, known.classes)


_DEMO = "fashion-mnist-demo"


def _idx_remote(folders: tuple[str, ...], **md5: str) -> dict[Part, tuple[_Remote, ...]]:
    def pair(prefix: str) -> tuple[_Remote, ...]:
        return tuple(_Remote(f"{prefix}-{kind}-ubyte.gz", md5[f"{prefix}_{kind[:6]}"], folders)
                     for kind in ("images-idx3", "labels-idx1"))
    return {"train": pair("train"), "test": pair("t10k")}


_IDX_WANTED: dict[Part, str] = {
    "train": "train-images-idx3-ubyte and train-labels-idx1-ubyte (plain or .gz)",
    "test": "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (plain or .gz)"}
_IDX_FILES = _Known("", (), None, _find_idx, _read_idx_pair, _IDX_WANTED)
_NPZ_FILE = _Known("", (), None, lambda folder, split: None, _read_npz, {})
_CIFAR_REMOTE = (_Remote("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530",
                         ("https://www.cs.toronto.edu/~kriz/",)),)

_KNOWN = {known.name: known for known in (
    _Known("fashion-mnist", _CLOTHES, (28, 28), _find_idx, _read_idx_pair, _IDX_WANTED,
           _idx_remote(("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
                       train_images="8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                       train_labels="25c81989df183df01b3e8a0aad5dffbe",
                       t10k_images="bef4ecab320f06d8554ea6380940ec79",
                       t10k_labels="bb300cfdad3c16e7a12a480ee83cd310"),
           "On Debian, install the package dataset-fashion-mnist."),
    _Known(_DEMO, _CLOTHES, (28, 28), lambda folder, split: None, _read_npz, {}),
    _Known("mnist", _DIGITS, (28, 28), _find_idx, _read_idx_pair, _IDX_WANTED,
           _idx_remote(("http://yann.lecun.com/exdb/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"),
                       train_images="f68b3c2dcbeaaa9fbdd348bbdeb94873",
                       train_labels="d53e105ee54ea40749a09fcbcd1e9432",
                       t10k_images="9fb629c4189551a2d022fa330f9573f3",
                       t10k_labels="ec29112dd5afa0611ce80d1b7f02629c"),
           "Its home is yann.lecun.com/exdb/mnist."),
    _Known("cifar10", _CIFAR10, _CIFAR_SHAPE, _find_cifar, _read_cifar,
           {"train": "data_batch_1.bin..data_batch_5.bin or cifar-10-binary.tar.gz",
            "test": "test_batch.bin or cifar-10-binary.tar.gz"},
           {"train": _CIFAR_REMOTE, "test": _CIFAR_REMOTE},
           "Its home is www.cs.toronto.edu/~kriz/cifar.html (the binary version)."),
    _Known("n-mnist", _DIGITS, (2, 34, 34), _find_events, _read_events,
           {"train": "Train/<digit>/*.bin or Train.zip", "test": "Test/<digit>/*.bin or Test.zip"},
           {}, "Download Train.zip and Test.zip by hand from www.garrickorchard.com/datasets/n-mnist."),
)}
