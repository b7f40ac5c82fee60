"""What was measured of a build, kept in its folder: ``results/``, with an index by which our files are known."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.json_text import parse_json
from spikeloom.model.system.paths import shown
from spikeloom.model.system.reading import MIB, read_bytes
from spikeloom.model.system.writing import check_file, make_parents, write_file

__all__ = ["RESULTS", "foreign_result", "keep_result"]

RESULTS = "results"
_INDEX = "index.json"
_MAX_BYTES = 256 * MIB


def keep_result(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file into the results of a build folder, in place of an earlier one of ours.

    Raises
    ------
    SpikeloomError
        If there is a file of that name that is not ours, or nothing can be written there.
    """
    results = folder / RESULTS
    if results.is_symlink():
        raise SpikeloomError(f"{shown(results)}: is a link, not a folder of the build: it is left as it is")
    ours = _index(results)
    data = content.encode() if isinstance(content, str) else content
    make_parents(results / name)
    check_file(results / name, lambda path: _digest(path) in ours.get(name, ()))
    # The index knows the file before it is there, and the one before it: nothing is foreign if we are stopped between.
    known = {**ours, name: [*ours.get(name, ())[-1:], hashlib.sha256(data).hexdigest()]}
    write_file(results / _INDEX, json.dumps(known, indent=1) + "\n", is_own=lambda path: _index(results) == ours)
    write_file(results / name, data, is_own=lambda path: _digest(path) in known[name])
    return results / name


def foreign_result(folder: Path) -> str | None:
    """The first thing in a build folder's results that is not ours, or not as we left it; None if there is none."""
    results = folder / RESULTS
    if not results.is_dir() or results.is_symlink():
        return f"{shown(results)}: is no folder" if results.exists() or results.is_symlink() else None
    ours = _index(results)
    for path in sorted(results.iterdir()):
        if path.name != _INDEX and (path.is_symlink() or not path.is_file()
                                    or _digest(path) not in ours.get(path.name, ())):
            return f"{shown(path)}: is not a result as it was written"
    return None


def _index(results: Path) -> dict[str, list[str]]:
    """Names, with the digests that a file may have; empty if there is no index, or none of ours."""
    try:
        values = parse_json(read_bytes(results / _INDEX, MIB), _INDEX)
    except (OSError, SpikeloomError):
        return {}
    pairs = values.items() if isinstance(values, dict) else ()
    return {name: digests for name, digests in pairs
            if isinstance(digests, list) and all(isinstance(digest, str) for digest in digests)}


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(read_bytes(path, _MAX_BYTES)).hexdigest()
    except SpikeloomError:
        return ""
