"""A versioned file of one JSON description and named integer or float arrays, without pickle.

The file is a ZIP archive: ``description.json`` and one ``.npy`` per array. The description carries the
format's name and version and the SHA-256 of everything else, so that a truncated, foreign or
hand-edited file is told from a good one. Writing replaces earlier files of the same kind
only, as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from .errors import SpikeloomError
from .system.arguments import short
from .system.arrays import read_archive, read_npy
from .system.json_text import parse_json
from .system.paths import path_of, shown
from .system.reading import MIB
from .system.records import Record, read_record
from .system.writing import check_file, write_file

__all__ = ["check_output", "is_kind", "load", "save"]

_DESCRIPTION = "description.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # ZIP's first date: same input, same bytes
_LIMIT_BYTES = 1024 * MIB


class _Head(Record):
    format: str
    version: int = Field(ge=1)
    description: dict[str, Any]
    sha256: str


def check_output(path: str | Path, kind: str) -> Path:
    """The path to write a file of this kind to.

    Raises
    ------
    SpikeloomError
        If it is no path, its folder does not exist, or something else than a file of this kind is there.
    """
    out = path_of(path, "file to write")
    check_file(out, lambda there: is_kind(there, kind))
    return out


def is_kind(path: Path, kind: str) -> bool:
    """Whether a file is one of this kind."""
    try:
        return _head(path, read_archive(path, _LIMIT_BYTES, {_DESCRIPTION})).format == f"spikeloom-{kind}"
    except SpikeloomError:
        return False


def save(path: str | Path, kind: str, version: int, description: dict[str, Any],
         arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write ``description`` (JSON values) and ``arrays`` to ``path``.

    Raises
    ------
    SpikeloomError
        If the file cannot be written, or would take the place of something else than a file of its kind.
    """
    out = check_output(path, kind)
    try:
        text = json.dumps(description)
        description = json.loads(text)  # as it will be read: keys are strings, tuples are lists
        parse_json(text, "description")
    except (TypeError, ValueError) as error:
        raise SpikeloomError(f"{shown(out)}: description and metadata must be JSON values ({error})") from error
    members = {}
    for name, array in arrays.items():
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
        members[f"{name}.npy"] = stream.getvalue()
    head = {"format": f"spikeloom-{kind}", "version": version, "description": description,
            "sha256": _digest(description, members)}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in [(_DESCRIPTION, json.dumps(head, indent=1).encode()), *members.items()]:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED, compresslevel=9)
    write_file(out, packed.getvalue(), is_own=lambda there: is_kind(there, kind))


def load(path: str | Path, kind: str, version: int) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Read a file of this kind, up to this version; check every byte against its SHA-256.

    Returns
    -------
    dict, dict
        The description, and the arrays by name.

    Raises
    ------
    SpikeloomError
        If the file is missing, truncated, foreign, too large, of a newer version, or was edited by hand.
    """
    path = path_of(path, "network file")
    name = shown(path)
    raw = read_archive(path, _LIMIT_BYTES)
    head = _head(path, raw)
    if head.format != f"spikeloom-{kind}":
        raise SpikeloomError(f"{name}: format is {short(head.format)}, wanted 'spikeloom-{kind}'")
    if head.version > version:
        raise SpikeloomError(f"{name}: version is {head.version}, this spikeloom reads 1..{version}")
    del raw[_DESCRIPTION]
    if head.sha256 != _digest(head.description, raw):
        raise SpikeloomError(f"{name}: contents do not match their SHA-256: damaged or edited by hand; "
                             "write network files with spikeloom")
    arrays = {member.removesuffix(".npy"): read_npy(data, f"{name}: array {member.removesuffix('.npy')}")
              for member, data in raw.items()}
    return head.description, arrays


def _head(path: Path, raw: dict[str, bytes]) -> _Head:
    if _DESCRIPTION not in raw:
        raise SpikeloomError(f"{shown(path)}: not a spikeloom file: it has no {_DESCRIPTION}")
    return read_record(_Head, raw[_DESCRIPTION], f"{shown(path)}: {_DESCRIPTION}")


def _digest(description: dict[str, Any], members: dict[str, bytes]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(members):
        digest.update(name.encode() + b"\0" + members[name])
    return digest.hexdigest()
