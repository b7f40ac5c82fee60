"""JSON from outside: bounded, and of one meaning only."""

from __future__ import annotations

import json
import math
from typing import Any

from ..errors import SpikeloomError
from .arguments import short

__all__ = ["parse_json"]

MAX_DEPTH = 64
MAX_DIGITS = 40


def parse_json(data: bytes | str, where: str) -> Any:
    """JSON values.

    Raises
    ------
    SpikeloomError
        If ``data`` is no JSON; has a key twice, a number that is not finite or of more than 40 digits, more than 64
        levels, or half a surrogate pair. The message begins with ``where``.
    """
    def fail(why: str) -> SpikeloomError:
        return SpikeloomError(f"{where}: not valid JSON: {why}")

    def integer(text: str) -> int:
        if len(text) > MAX_DIGITS:
            raise fail(f"a number of {len(text):,} digits, allowed are {MAX_DIGITS}")
        return int(text)

    def real(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise fail(f"number {text[:MAX_DIGITS]} is not finite")
        return value

    def record(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise fail(f"key {short(twice)} stands twice in one object")
        return fields

    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value = json.loads(text, parse_int=integer, parse_float=real, parse_constant=real, object_pairs_hook=record)
    except SpikeloomError:
        raise
    except UnicodeDecodeError as error:
        raise fail(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise fail(f"more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        raise fail(str(error)) from None
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inside: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inside += [*item, *item.values()]
            elif isinstance(item, list):
                inside += item
            elif isinstance(item, str) and any("\ud800" <= c <= "\udfff" for c in item):
                raise fail("a string holds half a surrogate pair")
        level = inside
        if not level:
            return value
    raise fail(f"more than {MAX_DEPTH} levels deep")
