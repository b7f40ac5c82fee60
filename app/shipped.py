"""Networks that come with the package, by name."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network
from spikeloom.model.network_file import load_network
from spikeloom.model.system.paths import path_of, shown

__all__ = ["find", "load", "names"]

DEMO_NETWORK = "fashion-mnist-400-400"


def names(suffix: str = ".snn") -> list[str]:
    """Names of the shipped networks (``.fsnn``: float networks, for ``quantize``)."""
    return sorted(f.name.removesuffix(suffix) for f in resources.files("spikeloom.model").joinpath("data").iterdir()
                  if f.name.endswith(suffix))


def find(name_or_path: str | Path, suffix: str = ".snn") -> Path:
    """File of a shipped network, or the path itself if it is a file or a folder with ``network.snn``.

    Raises
    ------
    SpikeloomError
        If it is neither.
    """
    path = path_of(name_or_path, "network")
    spec = shown(path)
    if spec in names(suffix):
        return Path(str(resources.files("spikeloom.model").joinpath("data", spec + suffix)))
    if path.is_dir():
        path = path / "network.snn"
    if path.is_file():
        return path
    close = difflib.get_close_matches(spec, names(suffix), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; shipped are {', '.join(names(suffix)) or 'none'}"
    raise SpikeloomError(f"network {spec!r} is neither a shipped network nor a file{hint}")


def load(name_or_path: str | Path) -> Network:
    """A network by shipped name, file, or build folder."""
    path = find(name_or_path)
    if path.suffix == ".nir":
        raise SpikeloomError(f"{shown(path)}: a NIR file: `spikeloom import` makes a network file of it")
    return load_network(path)
