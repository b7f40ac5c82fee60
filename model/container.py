"""A versioned file of one JSON description and named integer or float arrays, without pickle.

The file is a ZIP archive: ``description.json`` and one ``.npy`` per array. The description carries the
format's name and version and the SHA-256 of everything else, so that a truncated, foreign or
hand-edited file is told from a good one. Writing is atomic: the old file stays until the new one is whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import SpikeloomError

__all__ = ["load", "save"]

_DESCRIPTION = "description.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # ZIP's first date: same input, same bytes


def save(path: str | Path, kind: str, version: int, description: dict[str, Any],
         arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write ``description`` (JSON values) and ``arrays`` to ``path``.

    Raises
    ------
    SpikeloomError
        If the file cannot be written.
    """
    path = Path(path)
    try:
        description = json.loads(json.dumps(description))  # as it will be read: keys are strings, tuples are lists
    except (TypeError, ValueError) as error:
        raise SpikeloomError(f"{path}: description and metadata must be JSON values ({error})") from error
    members = {}
    for name, array in arrays.items():
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
        members[f"{name}.npy"] = stream.getvalue()
    head = {"format": f"spikeloom-{kind}", "version": version, "description": description,
            "sha256": _digest(description, members)}
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                with zipfile.ZipFile(file, "w") as archive:
                    for name, data in [(_DESCRIPTION, json.dumps(head, indent=1).encode()), *members.items()]:
                        info = zipfile.ZipInfo(name, _EPOCH)
                        info.external_attr = 0o644 << 16
                        archive.writestr(info, data, zipfile.ZIP_DEFLATED, compresslevel=9)
                file.close()
                os.chmod(file.name, 0o644)
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise SpikeloomError(f"{path}: cannot be written: {error.strerror}") from error


def load(path: str | Path, kind: str, version: int) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Read a file of this kind, up to this version; check every byte against its SHA-256.

    Raises
    ------
    SpikeloomError
        If the file is missing, truncated, foreign, of a newer version, or was edited by hand.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            raw = {name: archive.read(name) for name in archive.namelist()}
    except FileNotFoundError:
        raise SpikeloomError(f"{path}: no such file") from None
    except OSError as error:
        raise SpikeloomError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise SpikeloomError(f"{path}: not a spikeloom file, or truncated ({error})") from error
    try:
        head = json.loads(raw.pop(_DESCRIPTION))
        name, found = head["format"], head["version"]
        description, digest = head["description"], head["sha256"]
    except (KeyError, ValueError, TypeError) as error:
        raise SpikeloomError(f"{path}: not a spikeloom file: no valid {_DESCRIPTION}") from error
    if name != f"spikeloom-{kind}":
        raise SpikeloomError(f"{path}: format is {name!r}, wanted 'spikeloom-{kind}'")
    if not isinstance(found, int) or not 1 <= found <= version:
        raise SpikeloomError(f"{path}: version is {found!r}, this spikeloom reads 1..{version}")
    if digest != _digest(description, raw):
        raise SpikeloomError(f"{path}: contents do not match their SHA-256: damaged or edited by hand; "
                             "write network files with spikeloom")
    arrays = {}
    for member, data in raw.items():
        try:
            arrays[member.removesuffix(".npy")] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        except ValueError as error:
            raise SpikeloomError(f"{path}: array {member} is not readable: {error}") from error
    return description, arrays


def _digest(description: dict[str, Any], members: dict[str, bytes]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(members):
        digest.update(name.encode() + b"\0" + members[name])
    return digest.hexdigest()
