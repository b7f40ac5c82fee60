"""A recipe: the stages of a training, one after the other, as a small JSON file.

    {"about": "784-400-400-10 by a teacher", "data": "fashion-mnist",
     "settings": {"hidden": "400-400", "loss": "mse", "distill": 0.8},
     "stages": [{"teacher": {"epochs": 26}},
                {"rates": {"epochs": 20}},
                {"spikes": {"epochs": 40}},
                {"spikes": {"epochs": 10, "lr": 0.0002, "ties": "membrane"}}]}

``settings`` are those of :class:`.TrainConfig`, for all stages; a stage may set its own. A teacher's probabilities
serve all stages behind it; ``rates`` gives the weights that ``spikes`` starts from, and every ``spikes`` starts from
the stage before. A file that is nothing but settings is a recipe of one stage. Needs no PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .errors import SpikeloomError
from .system.arguments import short
from .system.json_text import parse_json
from .system.paths import path_of, shown
from .system.reading import MIB, read_bytes
from .train_config import RatesConfig, TeacherConfig, TrainConfig, settings

__all__ = ["Recipe", "Stage", "read_recipe"]

MAX_STAGES = 100
_OF: dict[str, type] = {"teacher": TeacherConfig, "rates": RatesConfig, "spikes": TrainConfig}
_KEYS = ("about", "data", "settings", "stages")


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes
    ----------
    kind : "teacher", "rates" or "spikes"
    given : dict
        The settings of its kind that the recipe says.
    """

    kind: str
    given: dict[str, Any]

    @property
    def config(self) -> Any:
        """Its configuration, but for what follows the data: a :class:`.TeacherConfig`, ..."""
        return _OF[self.kind](**self.given)


@dataclass(frozen=True)
class Recipe:
    """Stages of a training.

    Attributes
    ----------
    stages : tuple of Stage
        The last one is of spikes.
    given : dict
        Settings of :class:`.TrainConfig` for all stages.
    data : str or None
        Name of the data set.
    about : str
    """

    stages: tuple[Stage, ...]
    given: dict[str, Any]
    data: str | None = None
    about: str = ""

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the stages' folders; a lone stage has none of its own."""
        names = tuple(f"{k + 1}-{stage.kind}" for k, stage in enumerate(self.stages))
        return names if len(names) > 1 else ()

    def settings(self, index: int) -> dict[str, Any]:
        """Settings of :class:`.TrainConfig` in a stage."""
        stage = self.stages[index]
        return self.given | stage.given if stage.kind == "spikes" else self.given

    def with_settings(self, given: dict[str, Any]) -> Recipe:
        """With these instead of its own, in all stages of spikes; ``epochs`` counts in the other stages, too."""
        stages = []
        for stage in self.stages:
            names = given.keys() if stage.kind == "spikes" else given.keys() & {"epochs", "threads"}
            known = {one.name for one in settings(_OF[stage.kind])}
            stages.append(replace(stage, given=stage.given | {name: given[name] for name in names if name in known}))
        return replace(self, stages=tuple(stages), given=self.given | given)

    def as_dict(self) -> dict[str, Any]:
        """As its file has it, for a network's metadata."""
        return {"about": self.about, "data": self.data, "settings": self.given,
                "stages": [{stage.kind: stage.given} for stage in self.stages]}


def read_recipe(path: str | Path) -> Recipe:
    """A recipe, or a JSON object of some settings of a training.

    Raises
    ------
    SpikeloomError
        If it is no such file, or a setting is unknown or out of range; the message names file, stage and setting.
    """
    file = path_of(path, "configuration")
    where = shown(file)
    content = parse_json(read_bytes(file, MIB), where)
    if not isinstance(content, dict) or "stages" not in content:
        return Recipe((Stage("spikes", {}),), _settings(content, TrainConfig, where))
    for key in content:
        if key not in _KEYS:
            raise SpikeloomError(f"{where}: {short(key)} is unknown; allowed are {', '.join(_KEYS)}")
    texts = {key: content.get(key) for key in ("about", "data")}
    for key, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise SpikeloomError(f"{where}: {key} must be a text, not {short(text)}")
    given, listed = _settings(content.get("settings", {}), TrainConfig, f"{where}: settings"), content["stages"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_STAGES:
        raise SpikeloomError(f"{where}: stages must be a list of 1 to {MAX_STAGES} stages, not {short(listed)}")
    stages = tuple(_stage(one, f"{where}: stage {k + 1}") for k, one in enumerate(listed))
    if stages[-1].kind != "spikes":
        raise SpikeloomError(f"{where}: the last stage must be spikes, not {stages[-1].kind}")
    recipe = Recipe(stages, given, texts["data"], texts["about"] or "")
    for k, stage in enumerate(stages):
        try:
            TrainConfig(**recipe.settings(k))
        except SpikeloomError as error:
            raise SpikeloomError(f"{where}: stage {k + 1} ({stage.kind}): {error}") from error
    return recipe


def _stage(value: Any, where: str) -> Stage:
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in _OF:
        raise SpikeloomError(f"{where} must be {{\"kind\": {{settings}}}}, its kind one of {', '.join(_OF)}, "
                             f"not {short(value)}")
    ((kind, given),) = value.items()
    return Stage(kind, _settings(given, _OF[kind], f"{where}: {kind}"))


def _settings(given: Any, of: type, where: str) -> dict[str, Any]:
    """Some of a configuration's settings, each checked."""
    if not isinstance(given, dict):
        raise SpikeloomError(f"{where}: must be a JSON object of settings, not {short(given)}")
    known = {one.name: one for one in settings(of)}
    for name, value in given.items():
        if name not in known:
            raise SpikeloomError(f"{where}: setting {short(name)} is unknown; allowed are {', '.join(known)}")
        known[name].check(value, f"{where}: {name}")
    return given
