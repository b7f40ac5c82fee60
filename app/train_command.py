"""``spikeloom train``: an option for every setting of a training, made from the settings themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

import spikeloom
from spikeloom.console import bar, command_line, print_table
from spikeloom.data_options import json_option, load_data, samples_option
from spikeloom.model.recipe import Recipe, Stage, read_recipe
from spikeloom.model.train_config import LEAST_STEPS, Setting, TrainConfig, settings

__all__ = ["train"]

F = TypeVar("F", bound=Callable[..., Any])

FROM_DATA = "classes"  # nobody needs to say it


def _options(command: F) -> F:
    for one in reversed(settings()):
        if one.name != FROM_DATA:
            command = _option(one)(command)
    return command


def _option(one: Setting) -> Callable[[F], F]:
    name = one.name.replace("_", "-")
    default = one.follows_data or ("none" if one.default is None else str(one.default))
    kinds: dict[str, Any] = {"integer": int, "number": float, "text": str, "choice": click.Choice(one.choices)}
    text = f"{one.help}  [default: {default}]"
    if one.kind == "flag":
        return click.option(f"--{name}/--no-{name}", default=None, help=text)
    return click.option(f"--{name}", type=kinds[one.kind], help=text)


@click.command()
@click.option("--data", help="A data set's name, or files: .npz with images and labels, IDX, ...  "
              "[default: the recipe's, or fashion-mnist]")
@samples_option
@click.option("--config", type=click.Path(path_type=Path), help="A JSON file of any of the settings below, as "
              '{"hidden": "128", "weight_bits": 4}, or a recipe of several stages (docs/training.md); options on the '
              "command line come first.")
@_options
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the output folder.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for network and log.")
@json_option
def train(data: str | None, samples: int | None, config: Path | None, resume: bool, output: Path, as_json: bool,
          **options: Any) -> None:
    """Train a TSSL-BP network, quantised from the start; needs the `train` extra (PyTorch).

    The data are a known set's training images; or those of a file of your own, of which a fifth is left out for
    testing unless it says itself which. An interrupted training goes on with --resume. A recipe trains a teacher, or
    weights to start from, before the network itself; those of the shipped networks are in recipes/.

    \b
    Examples:
      spikeloom train --hidden 400-400 --epochs 100 -o runs/a
      spikeloom train --data my.npz -o runs/mine
      spikeloom train --hidden 15C5-P2-40C5-P2-300 --fused -o runs/conv
      spikeloom train --config recipes/fashion-mnist-400-400.json -o runs/400-400
      spikeloom train --hidden 128 --weight-bits 0 -o runs/float      # then: spikeloom quantize
    """
    from spikeloom.model.train_recipe import settled
    from spikeloom.model.training_files import EpochMetrics, check_output, plot_metrics
    recipe = read_recipe(config) if config else Recipe((Stage("spikes", {}),), {})
    stages = len(recipe.stages)
    check_output(output, resume, recipe.folders)
    given = {key: value for key, value in options.items() if value is not None}
    if given.get("weight_bits") == 0:
        given["weight_bits"] = None
    recipe = recipe.with_settings(given)
    for index in range(stages):
        TrainConfig(**recipe.settings(index))  # what is wrong is told before any data are fetched
    source = data or recipe.data or "fashion-mnist"
    loaded = load_data(source, samples, "train")
    configs = settled(recipe, loaded)
    last = configs[-1]

    def steps_of(index: int) -> int:
        chosen, student = recipe.stages[index], configs[index]
        epochs = student.epochs if chosen.kind == "spikes" else chosen.config.epochs
        batch = chosen.config.batch if chosen.kind == "teacher" else student.batch
        return int(epochs * -(-max(1, len(loaded) - student.validation) // batch))

    steps = sum(steps_of(k) for k in range(stages) if recipe.stages[k].kind != "teacher")
    if 0 < steps < LEAST_STEPS:
        click.echo(f"warning: {steps:,} steps are few, networks like this one want {LEAST_STEPS:,}: "
                   "more --epochs, or a smaller --batch", err=True)
    said, stage, of_stage, total = "starting", "", 1, 1

    with bar("training") as advance:
        def on_stage(index: int, kind: str, stage_epochs: int) -> None:
            nonlocal said, stage, of_stage, total
            said, of_stage, total = "starting", stage_epochs, steps_of(index)
            stage = f"stage {index + 1}/{stages} ({kind}) " if stages > 1 else ""

        def on_batch(epoch: int, done: int, loss: float) -> None:
            advance(done=done, total=total, what=f"{stage}epoch {epoch}/{of_stage} loss {loss:.3f} {said}")

        def on_epoch(metrics: EpochMetrics) -> None:
            nonlocal said
            best = metrics.validation_accuracy
            said = f"validation {best:.2%}" if best is not None else f"train {metrics.train_accuracy:.2%}"

        result = spikeloom.train(recipe, loaded, output, resume=resume, source=source, progress=on_batch,
                                 on_epoch=on_epoch, on_stage=on_stage)
    plot_metrics(result.metrics, output / "metrics.png")
    end = result.metrics[-1]
    value = {"network": str(result.path), "epochs": len(result.metrics), "train_accuracy": end.train_accuracy,
             "validation_accuracy": end.validation_accuracy}
    rows = [("network", result.path), ("epochs", len(result.metrics)),
            ("accuracy, training", f"{end.train_accuracy:.2%} (with dropout)")]
    if end.validation_accuracy is not None:
        rows.append(("accuracy, validation", f"{end.validation_accuracy:.2%}"))
    follows = (command_line("eval", result.path) if last.weight_bits else
               command_line("quantize", result.path, "-o", output / "network.snn"))
    print_table(as_json, value, f"{last.name}: {result.path}", [*rows, ("next", follows)])
