"""Run the stages of a :class:`.Recipe`, each in a folder of its own: ``1-teacher``, ``2-rates``, ``3-spikes``, ...

The network of the last stage is written to the output folder itself. A recipe of one stage needs no folders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from .datasets import Dataset
from .epochs import OnEpoch, Progress
from .errors import SpikeloomError
from .float_network import FloatNetwork, save_float_network
from .network import Network
from .network_file import save_network
from .rates import train_on_rates
from .recipe import Recipe
from .system.arguments import an, called, choice
from .teacher import probabilities
from .train import TrainResult, check_data, train
from .train_config import TrainConfig, config_for
from .training_files import check_output

__all__ = ["settled", "train_by_recipe"]


def settled(recipe: Recipe, data: Dataset) -> list[TrainConfig]:
    """The configuration of each stage's training, what follows the data filled in.

    Raises
    ------
    SpikeloomError
        If the settings do not fit each other or the data.
    """
    classes = len(data.classes)
    return [config_for(data.images, classes, recipe.settings(k)) for k in range(len(recipe.stages))]


def train_by_recipe(recipe: Recipe, data: Dataset, out_dir: str | Path, *, start: FloatNetwork | Network | None = None,
                    resume: bool = False, source: str | None = None,
                    on_stage: Callable[[int, str, int], None] | None = None,
                    progress: Progress | None = None, on_epoch: OnEpoch | None = None) -> TrainResult:
    """Run a recipe's stages.

    Parameters
    ----------
    recipe : Recipe
    data : Dataset
        Images uint8 (N, ...), labels (N,).
    out_dir : path
        Made if missing.
    start : FloatNetwork or Network, optional
        What the first stage of spikes starts from, unless a stage before it makes that.
    resume : bool
        Go on with a recipe that was interrupted, in its folder.
    source : str, optional
        Name or path of the data, for the network's metadata.
    on_stage : callable (index from 0, kind, epochs), optional
        Called before every stage.
    progress, on_epoch : callable, optional
        As in :func:`.train`, of the stage that runs.

    Raises
    ------
    SpikeloomError
        See :func:`.train`.
    """
    an(Recipe, recipe, "training: recipe")
    an(Dataset, data, "training: data")
    choice(resume, "training: resume", (True, False))
    called(on_stage, "training: on_stage")
    configs = settled(recipe, data)
    taught = False
    for stage, student in zip(recipe.stages, configs, strict=True):  # all is told before the first stage has its hours
        images, labels = check_data(student, data.images, data.labels)
        taught |= stage.kind == "teacher"
        if stage.kind == "spikes" and student.distill and not taught:
            raise SpikeloomError(f"training: distill={student.distill} needs a teacher, and no stage before it is one")
    out = check_output(out_dir, resume, recipe.folders)
    teacher = None
    for k, (stage, student) in enumerate(zip(recipe.stages, configs, strict=True)):
        folder = out / recipe.folders[k] if recipe.folders else out
        seen: dict[str, Any] = {"resume": resume, "progress": progress, "on_epoch": on_epoch}
        if on_stage is not None:
            on_stage(k, stage.kind, student.epochs if stage.kind == "spikes" else stage.config.epochs)
        if stage.kind == "spikes":
            result = train(student, images, labels, folder, start=start, source=source, **seen,
                           teacher=teacher if student.distill else None)
            start = result.network
            continue
        if stage.kind == "teacher":
            teacher = probabilities(stage.config, student, images, labels, folder, **seen)
        else:
            start = train_on_rates(stage.config, student, images, labels, folder, teacher=teacher, **seen)
    if not recipe.folders:
        return result
    network = replace(result.network, metadata={**result.network.metadata, "recipe": recipe.as_dict()})
    path = out / result.path.name
    if isinstance(network, Network):
        save_network(network, path)
    else:
        save_float_network(network, path)
    return TrainResult(network, path, result.metrics)
