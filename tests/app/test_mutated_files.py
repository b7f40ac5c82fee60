"""Files of every format, changed at random: each loads, or ends as one clear error. More: bench/mutated_files.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutated_files import FORMATS, Format, cases, make_fixtures

pytest.importorskip("torch")
COUNT = 60


@pytest.fixture(scope="module")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fixtures")
    make_fixtures(folder)
    return folder


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_each_loads_or_is_one_error(kind: Format, fixtures: Path) -> None:
    count = COUNT if kind.weight > 1 else 5
    assert cases(kind.name, 1_000_000, count, fixtures) == []
