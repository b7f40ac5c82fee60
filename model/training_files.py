"""What a training keeps in its folder: a log, a checkpoint, a picture and the network.

``checkpoint.pt`` and ``metrics.jsonl`` are written after an epoch, every other second at most; from the checkpoint an
interrupted training goes on.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from . import container, float_network, network_file, tsslbp  # noqa: F401 - tsslbp says clearly that torch is missing
from .errors import SpikeloomError
from .system.arguments import short
from .system.paths import path_of, shown
from .system.reading import MIB, open_regular, read_bytes, read_text
from .system.records import STRICT, read_dataclass
from .system.writing import check_file, make_parents, write_file

import torch  # isort: skip

__all__ = ["Checkpoint", "EpochMetrics", "check_output", "plot_metrics", "read_metrics", "replace_file"]

MAX_CHECKPOINT_BYTES = 1 << 32
MAX_LOG_BYTES = 64 * MIB
SAVE_EVERY_S = 2.0  # epochs of few images take milliseconds
CHECKPOINT, LOG = "checkpoint.pt", "metrics.jsonl"
_FILES = (CHECKPOINT, LOG, "metrics.png", "network.snn", "network.fsnn")
_AUTHOR = "spikeloom train"
_HEAD_BYTES = 1 << 16  # a line of the log is as long as the network has layers


@dataclass(frozen=True)
class EpochMetrics:
    """One line of the log.

    Attributes
    ----------
    epoch : int
        From 1.
    loss, train_accuracy : float
        Means over the epoch, dropout included; accuracy is a fraction.
    validation_accuracy : float or None
        Of the averaged, quantised network; None without a validation split.
    active : list of float
        Per layer, fraction of neurons that spike at all in a sample; of the averaged network on the validation split,
        or else on 1,000 training images. Empty for a teacher, which has no spikes.
    lr : float
        At the end of the epoch.
    seconds : float
        Training only, without validation.
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    active: list[float]
    lr: float
    seconds: float


@dataclass
class Checkpoint:
    """The state of a training after an epoch, in ``folder``.

    Parameters
    ----------
    folder : Path
    config : dict
        What determines the training; a checkpoint of another configuration is refused.
    parts : mapping of str to module or optimiser
        What is saved and loaded.
    may_grow : tuple of str
        Fields of the configuration that may differ from the saved ones.
    """

    folder: Path
    config: dict[str, Any]
    parts: Mapping[str, torch.nn.Module | torch.optim.Optimizer]
    may_grow: tuple[str, ...] = ()
    _saved: float | None = field(default=None, init=False)

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / CHECKPOINT

    def save(self, metrics: list[EpochMetrics], last: bool) -> None:
        """After an epoch; unless one was saved a moment ago, and this is not the ``last``."""
        if self._saved is not None and time.monotonic() < self._saved + SAVE_EVERY_S and not last:
            return
        make_parents(self.path)
        state = {"config": json.dumps(self.config), "metrics": json.dumps([asdict(m) for m in metrics]),
                 **{name: part.state_dict() for name, part in self.parts.items()}}
        replace_file(self.path, lambda file: torch.save(state, file))
        self._write_log(metrics)
        self._saved = time.monotonic()

    def load(self) -> list[EpochMetrics]:
        """The epochs done, their state in the parts; none without a file.

        Raises
        ------
        SpikeloomError
            If the file is damaged, or of another configuration.
        """
        if not self.path.exists():
            return []
        where = shown(self.path)
        saved_bytes = read_bytes(self.path, MAX_CHECKPOINT_BYTES)
        try:
            # Tensors and plain values: runs no code from the file.
            state = torch.load(io.BytesIO(saved_bytes), weights_only=True)
            saved = json.loads(state["config"])
            metrics = [read_dataclass(EpochMetrics, json.dumps(m), f"{where}: epoch {k + 1}")
                       for k, m in enumerate(json.loads(state["metrics"]))]
            get = saved.get
        except SpikeloomError:
            raise
        except Exception as error:  # torch raises what it finds: RuntimeError, UnpicklingError, EOFError, KeyError, ...
            raise SpikeloomError(f"{where}: not a checkpoint of this training, or damaged: {short(error)}") from error
        for name, wanted in json.loads(json.dumps(self.config)).items():
            if get(name) != wanted and name not in self.may_grow:
                raise SpikeloomError(f"{where}: was made with {name}={short(get(name))}, not {wanted!r}; "
                                     "resume with the same configuration, or start anew in another folder")
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
        except Exception as error:  # of values of another type, too
            raise SpikeloomError(f"{where}: does not fit the images: {short(error)}") from error
        modules = [part for part in self.parts.values() if isinstance(part, torch.nn.Module)]
        if not all(bool(torch.isfinite(p).all()) for module in modules for p in module.parameters()):
            raise SpikeloomError(f"{where}: holds numbers that are not finite: damaged")
        self._write_log(metrics)  # whoever was killed between the two has a line less there
        return metrics

    def _write_log(self, metrics: list[EpochMetrics]) -> None:
        replace_file(self.folder / LOG, "".join(json.dumps(asdict(m)) + "\n" for m in metrics))


def check_output(folder: str | Path, resume: bool, stages: Sequence[str] = ()) -> Path:
    """The folder for a training's files; or those of a recipe, whose checkpoints are in the folders of its ``stages``.

    Raises
    ------
    SpikeloomError
        If such files are there already, and are not those of a training that is to go on; nothing has been touched
        then.
    """
    out = path_of(folder, "output folder")
    if out.exists() and not out.is_dir():
        raise SpikeloomError(f"{shown(out)}: is not a folder")
    there = [name for name in _FILES if os.path.lexists(out / name)]
    goes_on = any((out / stage / CHECKPOINT).exists() for stage in stages) if stages else CHECKPOINT in there
    if there and not (resume and goes_on):
        raise SpikeloomError(f"{shown(out)}: has {there[0]} already: go on with it by --resume, or choose another "
                             "folder")
    for name in there:
        check_file(out / name, _is_own)
    return out


def _is_own(path: Path) -> bool:
    """Whether a file is one that a training writes, by its content."""
    if path.suffix in (".snn", ".fsnn"):
        return container.is_kind(path, network_file.KIND if path.suffix == ".snn" else float_network.KIND)
    with open_regular(path) as file:
        start = file.read(_HEAD_BYTES)
    if path.suffix == ".jsonl":
        try:
            read_dataclass(EpochMetrics, start.partition(b"\n")[0], path.name)
        except SpikeloomError:
            return not start
        return True
    return (start.startswith(b"\x89PNG") and _AUTHOR.encode() in start if path.suffix == ".png"
            else start.startswith(b"PK"))  # a checkpoint is read, and refused by its content, later


def read_metrics(path: str | Path) -> list[EpochMetrics]:
    """The log of a training; raises :class:`.SpikeloomError` if it is missing or no such log."""
    file = path_of(path, "training log")
    lines = read_text(file, MAX_LOG_BYTES).splitlines()
    return [read_dataclass(EpochMetrics, line, f"{shown(file)}: line {k + 1}") for k, line in enumerate(lines)]


def plot_metrics(metrics: list[EpochMetrics], path: str | Path) -> None:
    """Draw loss, accuracies and activity over the epochs to a picture (type by its suffix, e.g. ``.png``, ``.svg``).

    Raises
    ------
    SpikeloomError
        If there are no epochs, or the picture cannot be written.
    """
    from matplotlib.figure import Figure  # slow to import, and never a window: no pyplot

    if not metrics:
        raise SpikeloomError("training log: no epochs to draw")
    epochs = [m.epoch for m in metrics]
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    loss, accuracy, activity = figure.subplots(1, 3)
    loss.plot(epochs, [m.loss for m in metrics])
    loss.set_title("training loss")
    accuracy.plot(epochs, [100 * m.train_accuracy for m in metrics], label="training (with dropout)")
    held_back = [m for m in metrics if m.validation_accuracy is not None]
    if held_back:
        accuracy.plot([m.epoch for m in held_back], [100 * (m.validation_accuracy or 0) for m in held_back],
                      label="validation (averaged weights)")
    accuracy.set_title("accuracy / %")
    accuracy.legend()
    for layer, values in enumerate(zip(*(m.active for m in metrics), strict=True)):
        activity.plot(epochs, [100 * v for v in values], label=f"layer {layer + 1}")
    activity.set_title("neurons that spike in a sample / %")
    activity.legend()
    for axes in (loss, accuracy, activity):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    picture = io.BytesIO()
    try:
        kind = Path(path).suffix.removeprefix(".") or "png"
        figure.savefig(picture, format=kind, metadata={"Author": _AUTHOR} if kind == "png" else None)
    except ValueError as error:
        raise SpikeloomError(f"{path}: cannot be written: {error}") from error
    replace_file(path_of(path, "picture"), picture.getvalue())


def replace_file(path: Path, content: bytes | str | Callable[[BinaryIO], Any]) -> None:
    """Write a file of this training, as a whole."""
    try:
        write_file(path, content, is_own=_is_own)
    except RuntimeError as error:  # torch reports a full disk so
        raise SpikeloomError(f"{shown(path)}: cannot be written: {error}") from error
