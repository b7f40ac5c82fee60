"""Records of fields with types and ranges, read from JSON: each file format's fields are declared once, as a class."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import SpikeloomError
from .json_text import parse_json

__all__ = ["Record", "read_record", "record_from"]

T = TypeVar("T", bound="Record")


class Record(BaseModel):
    """Base of records: types are not converted, unknown fields are refused, instances do not change."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def read_record(cls: type[T], data: bytes | str, where: str) -> T:
    """A record from JSON text; raises :class:`.SpikeloomError` that begins with ``where`` and names the field."""
    parse_json(data, where)  # what pydantic lets pass: keys that stand twice
    try:
        return cls.model_validate_json(data)
    except ValidationError as error:
        raise SpikeloomError(f"{where}: {_first(cls, error)}") from None


def record_from(cls: type[T], where: str, **fields: Any) -> T:
    """A record from Python values, with the same errors."""
    try:
        return cls(**fields)
    except ValidationError as error:
        raise SpikeloomError(f"{where}: {_first(cls, error)}") from None


def _first(cls: type[BaseModel], error: ValidationError) -> str:
    """The first thing that is wrong, as ``layers[0].lanes: ..., not ...``."""
    detail = error.errors(include_url=False)[0]
    place = ""
    for part in detail["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    if detail["type"] == "missing":
        return f"field {place} is missing"
    if detail["type"] == "extra_forbidden":
        return f"field {place} is unknown"
    message = detail["msg"].removeprefix("Value error, ")
    value = repr(detail["input"])
    return f"field {place or 'of the record'}: {message[0].lower()}{message[1:]}, not " + (
        value if len(value) <= 80 else f"{value[:77]}...")
