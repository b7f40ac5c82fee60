"""Records of fields with types and ranges, read from JSON: each file format's fields are declared once, as a class."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar, cast, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ..errors import SpikeloomError
from .json_text import parse_json

__all__ = ["STRICT", "Record", "read_dataclass", "read_record"]

T = TypeVar("T", bound="Record")
D = TypeVar("D")

#: Types are not converted, unknown fields are refused.
STRICT = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Record(BaseModel):
    """Base of records: types are not converted, unknown fields are refused, instances do not change."""

    model_config = STRICT


def read_record(cls: type[T], data: bytes | str, where: str) -> T:
    """A record from JSON text; raises :class:`.SpikeloomError` that begins with ``where`` and names the field."""
    parse_json(data, where)  # what pydantic lets pass: keys that stand twice
    try:
        return cls.model_validate_json(data)
    except ValidationError as error:
        raise SpikeloomError(f"{where}: {_first(cls, error)}") from None


@lru_cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def read_dataclass(cls: type[D], data: bytes | str, where: str) -> D:
    """The same for a dataclass, whose fields are taken as a record's are if it has ``__pydantic_config__ = STRICT``."""
    parse_json(data, where)
    try:
        return cast("D", _adapter(cast("Any", cls)).validate_json(data))
    except ValidationError as error:
        raise SpikeloomError(f"{where}: {_first(cls, error)}") from None


def _first(cls: type, error: ValidationError) -> str:
    """The first thing that is wrong, as ``layers[0].lanes: ..., not ...``."""
    detail = error.errors(include_url=False)[0]
    place = ""
    for part in detail["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    if detail["type"] == "missing":
        return f"field {place} is missing"
    if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"field {place} is unknown; allowed are {', '.join(_fields(cls, detail['loc'][:-1]))}"
    message = detail["msg"].removeprefix("Value error, ")
    value = repr(detail["input"])
    return f"field {place or 'of the record'}: {message[0].lower()}{message[1:]}, not " + (
        value if len(value) <= 80 else f"{value[:77]}...")


def _fields(kind: Any, place: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the record that stands at that place in another."""
    for part in (part for part in place if isinstance(part, str)):
        kind = get_type_hints(kind)[part]
        while args := get_args(kind):  # out of tuple[..., ...], ... | None
            kind = args[0]
    return list(getattr(kind, "model_fields", None) or kind.__dataclass_fields__)
