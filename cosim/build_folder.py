"""What ``spikeloom build`` wrote, as the co-simulation needs to know it: files, streams and shapes.

A build folder is data from outside: everything in its manifest is checked against its network file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikeloom.gen.build import MANIFEST, read_manifest
from spikeloom.gen.channels import Channels, input_channels
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network
from spikeloom.model.network_file import load_network

__all__ = ["BuildFolder", "LayerStream"]


@dataclass(frozen=True, kw_only=True)
class LayerStream:
    """The stream of a layer's spikes."""

    name: str
    channels: Channels
    item_bits: int

    @property
    def beats_per_window(self) -> int:
        return self.channels.beats

    @property
    def payload_bits(self) -> int:
        return self.channels.units * self.item_bits


@dataclass(frozen=True, kw_only=True)
class ExternalTable:
    """A weight table in external memory, as the manifest describes it."""

    layer: str
    file: Path
    base: int
    bytes: int
    bus_bits: int
    address_bits: int

    @property
    def words(self) -> int:
        """Bus words; two at least, as the memory model wants."""
        return max(2, self.bytes * 8 // self.bus_bits)

    def hex(self) -> str:
        """The table as bus words in hexadecimal, one per line."""
        size = self.bus_bits // 8
        raw = self.file.read_bytes().ljust(self.words * size, b"\0")
        text = raw[::-1].hex()  # most significant byte first, last word first
        width = 2 * size
        return "\n".join(text[at:at + width] for at in range(len(text) - width, -1, -width)) + "\n"


@dataclass(frozen=True, kw_only=True)
class BuildFolder:
    """A checked build folder.

    Attributes
    ----------
    path : Path
    manifest : mapping
        All of ``manifest.json``.
    network : Network
        From ``network.snn``.
    top : str
        Name of the Verilog module.
    sources, waivers, memories : tuple of Path
        Verilog files, Verilator waivers (``lint.vlt``), and the files that the Verilog reads by ``$readmemh``.
    window_steps, windows : int
        Steps in a window, windows in a sample.
    items_per_beat, item_bits, beats_per_window : int
        Shape of the input stream.
    class_bits : int
        Width of the result.
    layers : tuple of LayerStream
    external : tuple of ExternalTable
    """

    path: Path
    manifest: Mapping[str, Any]
    network: Network
    top: str
    sources: tuple[Path, ...]
    waivers: tuple[Path, ...]
    memories: tuple[Path, ...]
    window_steps: int
    windows: int
    items_per_beat: int
    item_bits: int
    beats_per_window: int
    class_bits: int
    layers: tuple[LayerStream, ...]
    external: tuple[ExternalTable, ...] = ()

    @property
    def beat_bits(self) -> int:
        """Width of the input stream's payload."""
        return self.items_per_beat * self.item_bits

    @property
    def input(self) -> Channels:
        """Order of the input stream."""
        return input_channels(self.network, self.items_per_beat)

    @property
    def beats_per_sample(self) -> int:
        return self.windows * self.beats_per_window

    @classmethod
    def load(cls, folder: str | Path) -> BuildFolder:
        """Read and check a folder.

        Raises
        ------
        SpikeloomError
            If it is no build folder, a file is missing, or its parts do not belong together.
        """
        path = Path(folder)
        file = path / MANIFEST
        manifest = read_manifest(path)
        try:
            network = load_network(path / "network.snn")
            declared = [_layer(d) for d in manifest["layers"]]
            _same(file, [("layers", [(name, neurons) for name, neurons, *_ in declared],
                          [(layer.name, layer.connection.outputs) for layer in network.layers])])
            layers = tuple(LayerStream(name=name, channels=Channels(layer.connection.output_shape, lanes, units),
                                       item_bits=item_bits)
                           for layer, (name, _, lanes, units, item_bits) in zip(network.layers, declared, strict=True))
            sources = tuple(path / name for name in manifest["sources"])
            build = cls(
                path=path, manifest=manifest, network=network, top=manifest["top"], sources=sources,
                waivers=tuple(p for p in [path / "lint.vlt"] if p.is_file()),
                memories=tuple(_memories(path, sources)),
                window_steps=_count(manifest, "window_steps"), windows=_count(manifest, "windows"),
                items_per_beat=_count(manifest["input"], "items_per_beat"),
                item_bits=_count(manifest["input"], "item_bits"),
                beats_per_window=_count(manifest["input"], "beats_per_window"),
                class_bits=_count(manifest, "class_bits"), layers=layers,
                external=tuple(_external(path, d) for d in manifest.get("external", ())))
            want_hash = manifest["network"]["hash"]
        except KeyError as error:
            raise SpikeloomError(f"{file}: field {error} is missing") from error
        except (TypeError, AttributeError) as error:
            raise SpikeloomError(f"{file}: a field has the wrong type: {error}") from error
        if want_hash != network.hash:
            raise SpikeloomError(f"{file}: was written for another network than network.snn beside it "
                                 f"(hash {str(want_hash)[:12]}..., not {network.hash[:12]}...): build again")
        build._check_shapes(file)
        return build

    def _check_shapes(self, file: Path) -> None:
        network = self.network
        bits = network.planes(0) if network.static else self.window_steps
        windows = 1 if network.static else -(-network.steps // self.window_steps)
        expected: list[tuple[str, Any, Any]] = [
            ("windows", self.windows, windows),
            ("input.item_bits", self.item_bits, bits),
            ("input.beats_per_window", self.beats_per_window, self.input.beats),
        ]
        for index, stream in enumerate(self.layers):
            declared = self.manifest["layers"][index]
            expected += [(f"layers[{index}].groups", declared.get("groups"), stream.channels.groups),
                         (f"layers[{index}].beats_per_window", declared.get("beats_per_window"),
                          stream.beats_per_window),
                         (f"layers[{index}].item_bits", stream.item_bits, self.window_steps)]
        _same(file, expected)


def _same(file: Path, expected: list[tuple[str, Any, Any]]) -> None:
    for name, got, want in expected:
        if got != want:
            raise SpikeloomError(f"{file}: {name} is {got}, but network and fold make it {want}")


def _count(mapping: Mapping[str, Any], field: str) -> int:
    value = mapping[field]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TypeError(f"{field} must be a positive integer, not {value!r}")
    return value


def _layer(d: Mapping[str, Any]) -> tuple[str, int, int, int, int]:
    return (d["name"], _count(d, "neurons"), _count(d, "lanes"), _count(d, "units"), _count(d, "item_bits"))


def _external(path: Path, d: Mapping[str, Any]) -> ExternalTable:
    file = path / d["file"]
    if file.parent != path or not file.is_file():
        raise SpikeloomError(f"{path}: weight table {d['file']} is missing")
    table = ExternalTable(layer=d["layer"], file=file, base=int(d["base"]), bytes=_count(d, "bytes"),
                          bus_bits=_count(d, "bus_bits"), address_bits=_count(d, "address_bits"))
    if file.stat().st_size != table.bytes:
        raise SpikeloomError(f"{file}: has {file.stat().st_size} bytes, but the manifest says {table.bytes}")
    return table


def _memories(path: Path, sources: tuple[Path, ...]) -> Iterator[Path]:
    """The files that the Verilog names; a name is taken from a string that ends in ``.hex``."""
    names: set[str] = set()
    for source in sources:
        if source.parent != path:
            raise SpikeloomError(f"{path / MANIFEST}: source {source} must lie in the folder itself")
        if not source.is_file():
            raise SpikeloomError(f"{path}: {source.name} is missing")
        names.update(re.findall(r'"([^"\s]+\.hex)"', source.read_text(encoding="utf-8")))
    for name in sorted(names):
        if not (path / name).is_file():
            raise SpikeloomError(f"{path}: memory file {name} is missing")
        yield path / name
