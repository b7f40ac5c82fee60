"""Templates to texts."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2

__all__ = ["rendered"]


def rendered(package: str, file: str, values: Mapping[str, Any]) -> str:
    """A template of a package (``spikeloom.gen``, ...), filled in; a value that is missing is an error."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                                     keep_trailing_newline=True)
    return environment.from_string(resources.files(package).joinpath(file).read_text(encoding="utf-8")).render(values)
