"""Recipes: what a file may say, and what options change in it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.recipe import Recipe, Stage, read_recipe
from spikeloom.model.train_config import RatesConfig, TeacherConfig, TrainConfig

SHIPPED = sorted((Path(__file__).parents[2] / "recipes").glob("*.json"))


def written(folder: Path, content: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return path


def test_settings_alone_are_a_recipe_of_one_stage(tmp_path: Path) -> None:
    config = TrainConfig(hidden="12", weight_bits=None, epochs=3, ties="lowest_index")
    recipe = read_recipe(written(tmp_path, asdict(config)))
    assert [stage.kind for stage in recipe.stages] == ["spikes"]
    assert TrainConfig(**recipe.settings(0)) == config


def test_stages(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, {
        "about": "a net", "data": "mnist", "settings": {"hidden": "9", "distill": 0.5, "lr": 0.1},
        "stages": [{"teacher": {"epochs": 3}}, {"rates": {}}, {"spikes": {}}, {"spikes": {"lr": 0.2}}]}))
    assert (recipe.about, recipe.data) == ("a net", "mnist")
    assert recipe.stages[0].config == TeacherConfig(epochs=3)
    assert recipe.stages[1].config == RatesConfig()
    assert [recipe.settings(k)["lr"] for k in range(4)] == [0.1, 0.1, 0.1, 0.2]
    assert {recipe.settings(k)["distill"] for k in range(4)} == {0.5}
    assert recipe.as_dict() == {"about": "a net", "data": "mnist",
                                "settings": {"hidden": "9", "distill": 0.5, "lr": 0.1},
                                "stages": [{"teacher": {"epochs": 3}}, {"rates": {}}, {"spikes": {}},
                                           {"spikes": {"lr": 0.2}}]}


def test_options_come_first() -> None:
    """A seed is that of the network, not of its teacher, which would have to be trained anew."""
    stages = Stage("teacher", {"seed": 7, "epochs": 9}), Stage("rates", {"lr": 0.1}), Stage("spikes", {"lr": 0.2})
    recipe = Recipe(stages, {"lr": 0.3})
    changed = recipe.with_settings({"lr": 0.5, "seed": 3, "epochs": 1})
    assert changed.stages[0].given == {"seed": 7, "epochs": 1}
    assert changed.stages[1].given == {"lr": 0.1, "epochs": 1}
    assert changed.settings(1) == {"lr": 0.5, "seed": 3, "epochs": 1} == changed.settings(2)


@pytest.mark.parametrize(("content", "message"), [
    ({"hiden": "1"}, "config.json: setting 'hiden' is unknown; allowed are name, hidden"),
    ({"lr": -1}, r"config.json: lr must be a number above 0, not -1"),
    ({"bias": 1}, "config.json: bias must be True or False, not 1"),
    ([], "config.json: must be a JSON object of settings"),
    ({"stages": [], "hidden": "1"}, "config.json: 'hidden' is unknown; allowed are about, data, settings, stages"),
    ({"stages": []}, r"config.json: stages must be a list of 1 to 100 stages, not \[\]"),
    ({"stages": {}}, r"config.json: stages must be a list of 1 to 100 stages"),
    ({"stages": [{"spike": {}}]}, "config.json: stage 1 must be .*its kind one of teacher, rates, spikes"),
    ({"stages": [{"spikes": {}, "rates": {}}]}, "config.json: stage 1 must be "),
    ({"stages": ["spikes"]}, "config.json: stage 1 must be "),
    ({"stages": [{"spikes": {}}, {"rates": {}}]}, "config.json: the last stage must be spikes, not rates"),
    ({"stages": [{"rates": {"hidden": "1"}}, {"spikes": {}}]}, "stage 1: rates: setting 'hidden' is unknown"),
    ({"stages": [{"spikes": {"lr": "a"}}]}, "config.json: stage 1: spikes: lr must be a number above 0, not 'a'"),
    ({"stages": [{"spikes": 3}]}, "config.json: stage 1: spikes: must be a JSON object of settings, not 3"),
    ({"settings": [], "stages": [{"spikes": {}}]}, "config.json: settings: must be a JSON object"),
    ({"settings": {"loss": "count"}, "stages": [{"spikes": {"distill": 0.5}}]},
     r"config.json: stage 1 \(spikes\): training: distill must be 0 unless loss"),
    ({"about": 3, "stages": [{"spikes": {}}]}, "config.json: about must be a text, not 3"),
])
def test_what_is_wrong_is_said(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(SpikeloomError, match=message):
        read_recipe(written(tmp_path, content))


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_the_recipes_of_the_shipped_networks(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.about
    assert recipe.data == "fashion-mnist"
    assert TrainConfig(**recipe.settings(len(recipe.stages) - 1)).name == path.stem
