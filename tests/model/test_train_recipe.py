"""Training in stages, on small made-up images: a teacher, spike rates, spikes; interrupted and gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from spikeloom.model import float_network, golden, network_file, rates, teacher  # noqa: E402
from spikeloom.model.augment import mirrored, shifted  # noqa: E402
from spikeloom.model.datasets import Dataset  # noqa: E402
from spikeloom.model.errors import SpikeloomError  # noqa: E402
from spikeloom.model.recipe import Recipe, Stage  # noqa: E402
from spikeloom.model.train_config import RatesConfig, TeacherConfig, TrainConfig  # noqa: E402
from spikeloom.model.train_recipe import train_by_recipe  # noqa: E402

GIVEN = {"hidden": "4C3-P2-12", "mean": 0.0, "std": 0.5, "validation": 60, "batch": 20, "distill": 0.5, "threads": 1,
         "mirror": False, "ema": 0.9, "ties": "membrane"}
RECIPE = Recipe((Stage("teacher", {"epochs": 4, "batch": 40, "mirror": False, "threads": 1}),
                 Stage("rates", {"epochs": 4, "lr": 0.01}),
                 Stage("spikes", {"epochs": 4, "lr": 0.01}),
                 Stage("spikes", {"epochs": 4, "lr": 0.01, "loss": "softmax"})), GIVEN)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Three noisy patterns of 8 x 8 pixels."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 200, (3, 8, 8))
    labels = rng.integers(0, 3, 300)
    images = np.clip(patterns[labels] + rng.normal(0, 40, (300, 8, 8)), 0, 255).astype(np.uint8)
    return Dataset("patterns", "train", images, labels, ("a", "b", "c"))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class InterruptError(Exception):
    """Raised to interrupt a training."""


def test_stages_follow_one_another(data: Dataset, tmp_path: Path, own_cache: Path) -> None:
    told: list[Any] = []
    result = train_by_recipe(RECIPE, data, tmp_path / "out", source="patterns",
                             on_stage=lambda *stage: told.append(stage))
    assert told == [(0, "teacher", 4), (1, "rates", 4), (2, "spikes", 4), (3, "spikes", 4)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "1-teacher", "2-rates", "3-spikes", "4-spikes", "network.snn"]
    network = network_file.load_network(result.path)
    assert network.metadata["recipe"] == RECIPE.as_dict()
    assert network.metadata["data"] == "patterns"
    right = np.mean(golden.run(network, data.images).classes == data.labels)
    assert right > 0.9
    assert len(list((own_cache / "teacher").glob("*/probabilities.npy"))) == 1


@pytest.mark.parametrize("stage", range(4))
def test_a_recipe_that_was_interrupted_ends_with_the_same_bytes(data: Dataset, tmp_path: Path, own_cache: Path,
                                                                stage: int) -> None:
    whole = train_by_recipe(RECIPE, data, tmp_path / "whole")
    for folder in (own_cache / "teacher").glob("*"):
        folder.rename(tmp_path / folder.name)  # else the second run finds what the first one made
    now = 0

    def on_stage(index: int, _kind: str, _epochs: int) -> None:
        nonlocal now
        now = index

    def interrupt(_metrics: Any) -> None:
        if now == stage:
            raise InterruptError

    with pytest.raises(InterruptError):
        train_by_recipe(RECIPE, data, tmp_path / "parts", on_stage=on_stage, on_epoch=interrupt)
    with pytest.raises(SpikeloomError, match="already: go on with it by --resume"):
        train_by_recipe(RECIPE, data, tmp_path / "parts")
    parts = train_by_recipe(RECIPE, data, tmp_path / "parts", resume=True)
    assert parts.path.read_bytes() == whole.path.read_bytes()


def test_resuming_replaces_nothing_but_a_recipes_own_network(data: Dataset, tmp_path: Path, own_cache: Path) -> None:
    """A folder with somebody's network, or with a training of one stage, is no interrupted recipe."""
    own = Recipe((Stage("spikes", {"epochs": 1}),), GIVEN | {"distill": 0.0})
    mine = train_by_recipe(own, data, tmp_path / "mine").path
    before = mine.read_bytes()
    with pytest.raises(SpikeloomError, match="already: go on with it by --resume, or choose another folder"):
        train_by_recipe(RECIPE, data, tmp_path / "mine", resume=True)
    assert mine.read_bytes() == before
    assert sorted(path.name for path in mine.parent.iterdir()) == ["checkpoint.pt", "metrics.jsonl", "network.snn"]


@pytest.mark.parametrize(("stages", "given", "message"), [
    ((Stage("rates", {}), Stage("spikes", {})), {}, "distill=0.5 needs a teacher, and no stage before it is one"),
    ((Stage("teacher", {}), Stage("spikes", {})), {"validation": 300}, "validation=300 must be less than the 300"),
    ((Stage("teacher", {}), Stage("spikes", {})), {"hidden": "900000-900000"}, "weights, allowed are"),
])
def test_what_is_wrong_is_told_before_the_first_stage(data: Dataset, tmp_path: Path, stages: tuple[Stage, ...],
                                                      given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpikeloomError, match=message):
        train_by_recipe(Recipe(stages, GIVEN | given), data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", [{"mirror": True}, {"shift": 1}])
def test_only_maps_are_moved(data: Dataset, tmp_path: Path, given: dict[str, Any]) -> None:
    flat = Dataset("flat", "train", data.images.reshape(300, 64), data.labels, data.classes)
    recipe = Recipe((Stage("spikes", {}),), GIVEN | {"hidden": "5", "distill": 0.0} | given)
    with pytest.raises(SpikeloomError, match=r"takes images of rows and columns, not samples of shape \(64,\)"):
        train_by_recipe(recipe, flat, tmp_path / "out")


def test_a_teacher_is_asked_once(data: Dataset, tmp_path: Path, own_cache: Path) -> None:
    config, student = TeacherConfig(epochs=1, threads=1), TrainConfig(validation=60, classes=3)
    first = teacher.probabilities(config, student, data.images, data.labels, tmp_path / "a")
    assert first.shape == (300, 3)
    np.testing.assert_allclose(first.sum(1), 1, rtol=1e-5)
    again = teacher.probabilities(config, student, data.images, data.labels, tmp_path / "b")
    np.testing.assert_array_equal(first, again)
    assert not (tmp_path / "b").exists()
    other = TrainConfig(validation=60, classes=3, split_seed=1)  # would know the images that are held back
    teacher.probabilities(config, other, data.images, data.labels, tmp_path / "b")
    assert (tmp_path / "b").exists()


def test_a_teacher_looks_at_images(data: Dataset, tmp_path: Path) -> None:
    flat = data.images.reshape(300, 64)
    with pytest.raises(SpikeloomError, match=r"teacher: looks at images of at least 4 x 4 pixels, not at .* \(64,\)"):
        teacher.probabilities(TeacherConfig(), TrainConfig(validation=60, classes=3), flat, data.labels, tmp_path)


def test_rates_need_biases(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SpikeloomError, match="bias must be True where weights start from rates"):
        rates.train_on_rates(RatesConfig(), TrainConfig(bias=False), data.images, data.labels, tmp_path)


def test_what_learned_rates_knows_the_classes_with_spikes(data: Dataset, tmp_path: Path) -> None:
    student = TrainConfig(**GIVEN, classes=3)
    seen: list[Any] = []
    network = rates.train_on_rates(RatesConfig(epochs=6, lr=0.01), student, data.images, data.labels, tmp_path,
                                   on_epoch=seen.append)
    run = float_network.run(network, data.images)
    assert np.mean(run.classes == data.labels) > 0.8
    assert [m.epoch for m in seen] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("changes", [
    {"steps": 2}, {"steps": 1, "tau_s": 1.0}, {"steps": 9, "tau_m": 16.0, "tau_s": 8.0}])
def test_rates_of_other_neurons(data: Dataset, tmp_path: Path, changes: dict[str, Any]) -> None:
    """Two steps cannot give the PSC sum that is wanted; slow neurons never spike in every step."""
    student = TrainConfig(**GIVEN | changes, classes=3)
    network = rates.train_on_rates(RatesConfig(epochs=1), student, data.images, data.labels, tmp_path)
    assert network.steps == student.steps
    assert all(np.isfinite(layer.weight).all() for layer in network.layers)


def test_changes_of_images() -> None:
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).reshape(2, 3, 4, 5)
    generator = torch.Generator().manual_seed(0)
    moved = shifted(images, 1, generator)
    assert moved.shape == images.shape
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    for before, after in zip(padded, moved, strict=True):
        places = [(dy, dx) for dy in range(3) for dx in range(3)
                  if torch.equal(before[:, dy:dy + 4, dx:dx + 5], after)]
        assert len(places) == 1
    many = images[:1].expand(200, -1, -1, -1)
    drawn = mirrored(many, generator)
    same = [torch.equal(a, b) for a, b in zip(many, drawn, strict=True)]
    assert 60 < sum(same) < 140
    assert all(torch.equal(a, b) or torch.equal(a.flip(-1), b) for a, b in zip(many, drawn, strict=True))
    assert {tuple(x.flatten().tolist()) for x in shifted(many, 1, generator)} != {tuple(many[0].flatten().tolist())}
