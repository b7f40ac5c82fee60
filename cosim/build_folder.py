"""What ``spikeloom build`` wrote, as the co-simulation needs to know it: files, streams and shapes.

What its manifest says of the streams is checked against its network file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spikeloom.gen.channels import Channels, input_channels
from spikeloom.gen.manifest import MANIFEST, Manifest, read_build
from spikeloom.gen.plan import plan_of
from spikeloom.gen.weight_sets import WeightSet, weight_set
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network, SpikeInput
from spikeloom.model.network_file import load_network
from spikeloom.model.system.arguments import an, choice
from spikeloom.model.system.paths import shown

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
    """A weight table in external memory: its place, and its contents."""

    layer: str
    base: int
    bus_bits: int
    address_bits: int
    contents: bytes

    @property
    def words(self) -> int:
        """Bus words; two at least, as the memory model wants."""
        return max(2, len(self.contents) * 8 // self.bus_bits)

    def hex(self) -> str:
        """The table as bus words in hexadecimal, one per line."""
        size = self.bus_bits // 8
        raw = self.contents.ljust(self.words * size, b"\0")
        text = raw[::-1].hex()  # most significant byte first, last word first
        width = 2 * size
        return "\n".join(text[at:at + width] for at in range(len(text) - width, -1, -width)) + "\n"


@dataclass(frozen=True, kw_only=True)
class BuildFolder:
    """A checked build folder.

    Attributes
    ----------
    path : Path
    manifest : Manifest
    network : Network
        From ``network.snn``.
    top : str
        Name of the Verilog module.
    sources : dict of str to str
        Names and contents of Verilator waivers (``lint.vlt``) and Verilog files.
    bus_sources : dict of str to str
        The module for a bus, if there is one.
    memories : dict of str to bytes
        The files that the Verilog reads by ``$readmemh``.
    window_steps, windows : int
        Steps in a window, windows in a sample.
    items_per_beat, item_bits, beats_per_window : int
        Shape of the input stream.
    class_bits : int
        Width of the result.
    layers : tuple of LayerStream
    external : tuple of ExternalTable
    flash : bytes or None
        What an SPI flash holds.
    """

    path: Path
    manifest: Manifest
    network: Network
    top: str
    sources: Mapping[str, str]
    bus_sources: Mapping[str, str]
    memories: Mapping[str, bytes]
    window_steps: int
    windows: int
    items_per_beat: int
    item_bits: int
    beats_per_window: int
    class_bits: int
    layers: tuple[LayerStream, ...]
    external: tuple[ExternalTable, ...] = ()
    flash: bytes | None = None

    @property
    def weight_sets(self) -> int:
        """Sets of weights that are written at run time."""
        sets: int = choice(self.manifest.fold.get("weight_sets", 0), f"{shown(self.path / MANIFEST)}: fold.weight_sets",
                           (0, 1, 2))
        return sets

    def loading(self, network: Network) -> tuple[BuildFolder, WeightSet]:
        """As it is with the weights of another network, and what is to be written for that.

        Raises
        ------
        SpikeloomError
            As :func:`.weight_set`.
        """
        loaded = weight_set(plan_of(self.manifest, self.network), an(Network, network, "network"))
        return replace(self, network=network, external=tuple(
            replace(table, contents=loaded.tables[table.layer]) for table in self.external)), loaded

    @property
    def beat_bits(self) -> int:
        """Width of the input stream's payload."""
        return self.items_per_beat * self.item_bits + self.network.marked

    @property
    def input(self) -> Channels:
        """Order of the input stream."""
        return input_channels(self.network, self.items_per_beat)

    @property
    def beats_per_sample(self) -> int:
        return (1 if self.network.takes_values else self.windows) * self.beats_per_window

    @classmethod
    def load(cls, folder: str | Path) -> BuildFolder:
        """Read and check a folder.

        Raises
        ------
        SpikeloomError
            If it is no build folder, a file is missing, or its parts do not belong together.
        """
        built = read_build(folder)
        manifest, where = built.manifest, shown(built.path / MANIFEST)
        network = load_network(built.path / "network.snn")
        if manifest.network.hash != network.hash:
            raise SpikeloomError(f"{where}: was written for another network than network.snn beside it "
                                 f"(hash {manifest.network.hash[:12]}..., not {network.hash[:12]}...): build again")
        _same(where, [("layers", [(layer.name, layer.neurons) for layer in manifest.layers],
                       [(layer.name, layer.outputs) for layer in network.layers]),
                      ("classes", manifest.classes, network.classes)])
        for name, value, most in (
                ("window_steps", manifest.window_steps, network.steps),
                ("input.items_per_beat", manifest.input.items_per_beat, network.input.size),
                *((f"layers[{k}].lanes", layer.lanes, layer.neurons) for k, layer in enumerate(manifest.layers)),
                *((f"layers[{k}].units", layer.units, layer.lanes) for k, layer in enumerate(manifest.layers))):
            if value > most:
                raise SpikeloomError(f"{where}: {name} must be at most {most}, not {value}")
        waivers = [name for name in built.files if name.endswith(".vlt")]
        build = cls(
            path=built.path, manifest=manifest, network=network, top=manifest.top,
            sources={name: built.text(name) for name in (*waivers, *manifest.sources)},
            bus_sources={manifest.bus.source: built.text(manifest.bus.source)} if manifest.bus is not None else {},
            memories={name: built.files[name] for name in manifest.memory_files},
            window_steps=manifest.window_steps, windows=manifest.windows,
            items_per_beat=manifest.input.items_per_beat, item_bits=manifest.input.item_bits,
            beats_per_window=manifest.input.beats_per_window, class_bits=manifest.class_bits,
            layers=tuple(LayerStream(name=layer.name, item_bits=layer.item_bits,
                                     channels=Channels(connected.shape, layer.lanes, layer.units))
                         for layer, connected in zip(manifest.layers, network.layers, strict=True)),
            external=tuple(ExternalTable(layer=table.layer, base=table.base, bus_bits=table.bus_bits,
                                         address_bits=table.address_bits, contents=built.files[table.file])
                           for table in manifest.external),
            flash=None if manifest.bus is None or manifest.bus.flash is None else
            built.files[manifest.bus.flash.file])
        build._check_shapes(where)
        return build

    def _check_shapes(self, where: str) -> None:
        network = self.network
        bits = self.window_steps if isinstance(network.input, SpikeInput) else network.input.bits
        windows = -(-network.steps // self.window_steps)
        expected: list[tuple[str, Any, Any]] = [
            ("windows", self.windows, windows),
            ("input.item_bits", self.item_bits, bits),
            ("input.beats_per_window", self.beats_per_window, self.input.beats),
        ]
        read = network.output_index
        result_bits = ((max(2, network.classes) - 1).bit_length() if network.readout.kind != "raster"
                       else self.layers[read].payload_bits)
        result_beats = self.windows * self.layers[read].beats_per_window if network.readout.kind == "raster" else 1
        told = self.manifest.readout
        expected += [("class_bits", self.class_bits, result_bits), ("readout.beats", told.beats, result_beats),
                     ("readout.kind", told.kind, network.readout.kind),
                     ("readout.ties", told.ties, network.readout.ties),
                     ("readout.early_exit", told.early_exit, network.readout.early_exit)]
        for index, (stream, layer) in enumerate(zip(self.layers, self.manifest.layers, strict=True)):
            expected += [(f"layers[{index}].groups", layer.groups, stream.channels.groups),
                         (f"layers[{index}].beats_per_window", layer.beats_per_window, stream.beats_per_window),
                         (f"layers[{index}].item_bits", stream.item_bits, self.window_steps)]
        _same(where, expected)


def _same(where: str, expected: list[tuple[str, Any, Any]]) -> None:
    for name, got, want in expected:
        if got != want:
            raise SpikeloomError(f"{where}: {name} is {got}, but network and fold make it {want}")
