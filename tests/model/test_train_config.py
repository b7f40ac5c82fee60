"""Settings of a training: options, configuration files and docs are made from, or compared with, the same fields."""

from __future__ import annotations

import re
from pathlib import Path

import click
import numpy as np

from spikeloom.cli import main
from spikeloom.model.train_config import config_for, settings

DOCS = Path(__file__).parents[2] / "docs" / "training.md"


def test_every_setting_is_an_option() -> None:
    """But the number of classes, which the data tell."""
    options = {option.name: option for option in main.commands["train"].params if isinstance(option, click.Option)}
    for one in settings():
        assert (one.name in options) == (one.name != "classes")
        if one.name in options:
            assert one.help in (options[one.name].help or "")
            assert (one.follows_data or str(one.default)) in (options[one.name].help or "")


def test_every_setting_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", DOCS.read_text(), re.MULTILINE)
    assert rows == [(one.name, one.follows_data or ("none" if one.default is None else str(one.default)), one.allowed,
                     one.help) for one in settings()]


def test_what_follows_the_data() -> None:
    images = np.full((1500, 8, 8), 51, np.uint8)
    config = config_for(images, 7, {})
    assert (config.classes, config.validation, config.batch) == (7, 150, 20)
    assert config.epochs * -(-1350 // 20) >= 3000
    assert (config.mean, config.std) == (0.2, 0.001)
    given = {"validation": 0, "batch": 500, "epochs": 2, "mean": 0.5, "std": 0.25}
    config = config_for(images, 7, given)
    assert {name: getattr(config, name) for name in given} == given
    assert config_for(np.zeros((60_000, 2, 2), np.uint8), 2, {}).batch == 100
