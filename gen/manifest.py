"""The manifest of a build folder: what was built, as fields, and the hash of every file of the folder.

A build folder is data from outside. What its manifest may say is declared here once; names of files are plain names in
the folder itself, so that nobody who follows them leaves it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.inputs import InputKind
from spikeloom.model.system.arguments import short
from spikeloom.model.system.json_text import parse_json
from spikeloom.model.system.paths import path_of, shown
from spikeloom.model.system.reading import MIB, read_bytes
from spikeloom.model.system.records import Record, read_record

from .results import RESULTS, foreign_result

__all__ = ["FORMAT", "MANIFEST", "VERSION", "BuiltFiles", "Description", "Manifest", "difference", "read_build",
           "read_manifest", "sealed"]

MANIFEST = "manifest.json"
FORMAT: Final = "spikeloom-build"
VERSION: Final = 1
MAX_FILE_BYTES = 2048 * MIB
MAX_MANIFEST_BYTES = 16 * MIB

FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]  # of Verilog
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
Count = Annotated[int, Field(ge=1, le=1 << 31)]
Bits = Annotated[int, Field(ge=1, le=1 << 20)]  # of a word
Size = Annotated[int, Field(ge=0, le=1 << 48)]  # of a memory, in bits or bytes
Shape = tuple[Count, ...]


class InputDescription(Record):
    kind: InputKind
    shape: Shape


class NetworkDescription(Record):
    name: Text
    hash: Sha256
    topology: Text
    steps: Count
    input: InputDescription


class StreamDescription(Record):
    items_per_beat: Count
    item_bits: Bits
    beats_per_window: Count


class LayerDescription(Record):
    """Sizes are numbers of elements, or bits as their names say."""

    name: Identifier
    kind: Text
    input_shape: Shape
    output_shape: Shape
    sources: tuple[str, ...]
    inputs: Count
    neurons: Count
    tile: Count
    event_memory_bits: Size
    weights: Literal["external", "on chip", "both"]
    lanes: Count
    units: Count
    pipelined: bool
    updates: Literal["all", "spiking"]
    multipliers: Size
    groups: Count
    beats_per_window: Count
    item_bits: Bits
    inputs_per_cycle: Count
    weight_bits: Bits
    accumulator_bits: Bits
    drive_bits: Bits
    register_bits: dict[Identifier, Bits]
    potential_bits: Annotated[int, Field(ge=0, le=64)]
    accumulators: Count
    weight_memory_bits: Size


class TableDescription(Record):
    """A weight table in external memory: ``bytes`` from byte address ``base`` on."""

    layer: Identifier
    file: FileName
    base: Size
    bytes: Annotated[int, Field(ge=1, le=MAX_FILE_BYTES)]
    row_bytes: Count
    bus_bits: Annotated[int, Field(ge=32, le=512, multiple_of=32)]
    address_bits: Annotated[int, Field(ge=1, le=64)]

    @model_validator(mode="after")
    def _lies_in_memory(self) -> TableDescription:
        for name in ("base", "bytes"):
            if getattr(self, name) % self.row_bytes:
                raise ValueError(f"{name} must be a multiple of row_bytes")
        if self.base + self.bytes > 1 << self.address_bits:
            raise ValueError("base + bytes must be within address_bits")
        return self


class ReadoutDescription(Record):
    """The result: ``beats`` transfers at the output for each sample."""

    kind: Text
    ties: Text
    early_exit: bool
    beats: Annotated[int, Field(ge=1, le=1 << 31)]


class SerialDescription(Record):
    """A serial line: a UART with eight data bits, no parity, one stop bit; or SPI, and how fast at most."""

    clock_hz: Annotated[int, Field(ge=1, le=10**10)]
    baud: Annotated[int, Field(ge=1, le=10**10)]
    bit_cycles: Annotated[int, Field(ge=1, le=1 << 32)]
    buffer_bytes: Annotated[int, Field(ge=2, le=1 << 24)]


class FlashDescription(Record):
    """An SPI flash that fills weight RAMs after a reset: which file it holds from byte ``offset`` on, and how long that
    takes if it is read without an error the first time."""

    file: FileName
    offset: Annotated[int, Field(ge=0, lt=1 << 24)]
    load_cycles: Count


class BusDescription(Record):
    """A module around the top, for a bus; for it, the top may show scores."""

    interface: Literal["axi", "wishbone", "uart", "spi"]
    top: Identifier
    source: FileName
    serial: SerialDescription | None = None
    shows_scores: bool = False
    flash: FlashDescription | None = None

    @model_validator(mode="after")
    def _has_a_line(self) -> BusDescription:
        if (self.interface in ("uart", "spi")) != (self.serial is not None):
            raise ValueError("serial must be there for interfaces uart and spi, and for no other")
        if self.flash is not None and self.serial is None:
            raise ValueError("flash must be null without a serial line")
        return self


class CycleRange(Record):
    min: Count | None
    max: Count | None


class Description(Record):
    """What is built, and its predicted cost."""

    format: Literal["spikeloom-build"] = FORMAT
    version: Literal[1] = VERSION
    top: Identifier
    sources: Annotated[tuple[FileName, ...], Field(min_length=1)]
    bus: BusDescription | None = None
    network: NetworkDescription
    fold: dict[str, Any]
    window_steps: Count
    windows: Count
    input: StreamDescription
    layers: Annotated[tuple[LayerDescription, ...], Field(min_length=1)]
    external: tuple[TableDescription, ...]
    classes: Count
    class_bits: Annotated[int, Field(ge=1, le=1 << 20)]
    readout: ReadoutDescription
    memory_files: dict[FileName, Size]
    predicted_cycles: CycleRange
    memory_bits: Size
    versions: dict[Text, Text]

    @property
    def outer_top(self) -> str:
        """The module that stands around all others: what goes onto a device."""
        return self.top if self.bus is None else self.bus.top

    @property
    def all_sources(self) -> tuple[str, ...]:
        """With the module for a bus."""
        return self.sources if self.bus is None else (*self.sources, self.bus.source)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return self.model_dump(mode="json")


class Manifest(Description):
    """What was built: also the SHA-256 of every other file of the folder, and of the manifest's own fields."""

    files: dict[FileName, Sha256]
    seal: Sha256

    @model_validator(mode="after")
    def _names_its_files(self) -> Manifest:
        for field, names in (("sources", self.sources), ("memory_files", self.memory_files),
                             ("bus.source", [] if self.bus is None else [self.bus.source]),
                             ("bus.flash.file", [] if self.bus is None or self.bus.flash is None else
                              [self.bus.flash.file]),
                             ("external", [table.file for table in self.external])):
            for name in names:
                if name not in self.files or name == MANIFEST:
                    raise ValueError(f"{field} names {name}, which is not one of files")
        return self

    def to_text(self) -> str:
        """The contents of ``manifest.json``."""
        return json.dumps(self.to_json(), indent=1) + "\n"


def sealed(fields: Mapping[str, Any], files: Mapping[str, bytes]) -> Manifest:
    """The manifest of a folder with these ``files``, from the fields of a :class:`Description` as JSON values."""
    values = {**fields, "files": {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}}
    return read_record(Manifest, json.dumps({**values, "seal": _seal(values)}), MANIFEST)


def _seal(values: Mapping[str, Any]) -> str:
    told = {name: value for name, value in values.items() if name != "seal"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a build folder.

    Raises
    ------
    SpikeloomError
        If ``folder`` is no build, or one of another version; or its manifest was changed since.
    """
    folder = path_of(folder, "folder")
    path = folder / MANIFEST
    if not folder.is_dir():
        raise SpikeloomError(f"{shown(folder)}: not a build folder: there is no such folder")
    if not path.exists():
        raise SpikeloomError(f"{shown(folder)}: not a build folder: it has no {MANIFEST}")
    data, where = read_bytes(path, MAX_MANIFEST_BYTES), shown(path)
    values = parse_json(data, where)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise SpikeloomError(f"{where}: field format must be {FORMAT!r}")
    if values.get("version") != VERSION:
        raise SpikeloomError(f"{where}: version is {short(values.get('version'))}, this spikeloom reads {VERSION}")
    manifest = read_record(Manifest, data, where)
    if manifest.seal != _seal(values):
        raise SpikeloomError(f"{where}: was changed since it was built: build again")
    return manifest


@dataclass(frozen=True, kw_only=True)
class BuiltFiles:
    """A build folder as it was built, read once: what happens to the folder afterwards does not matter.

    Attributes
    ----------
    path : Path
    manifest : Manifest
    files : mapping of str to bytes
        Contents of every file that the manifest names.
    """

    path: Path
    manifest: Manifest
    files: Mapping[str, bytes]

    def text(self, name: str) -> str:
        """A file as UTF-8; raises :class:`.SpikeloomError` if it is not."""
        try:
            return self.files[name].decode("utf-8")
        except UnicodeDecodeError as error:
            raise SpikeloomError(f"{shown(self.path / name)}: is not UTF-8 text: byte {error.start}") from None


def read_build(folder: str | Path) -> BuiltFiles:
    """Read a build folder.

    Raises
    ------
    SpikeloomError
        As :func:`read_manifest`, or if a file is missing or not the one that was built. Other files are ignored.
    """
    folder = path_of(folder, "folder")
    manifest = read_manifest(folder)
    files = {}
    for name, digest in manifest.files.items():
        files[name] = read_bytes(folder / name, MAX_FILE_BYTES)
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise SpikeloomError(f"{shown(folder / name)}: is not the file that was built; build again")
    for table in manifest.external:
        if len(files[table.file]) != table.bytes:
            raise SpikeloomError(f"{shown(folder / table.file)}: has {len(files[table.file]):,} bytes, "
                                 f"but the manifest says {table.bytes:,}")
    return BuiltFiles(path=folder, manifest=manifest, files=files)


def difference(folder: Path) -> str | None:
    """How a folder differs from one that was built and not touched since; None if it does not."""
    try:
        manifest = read_build(folder).manifest
    except SpikeloomError as error:
        return str(error)
    foreign = sorted({path.name for path in folder.iterdir()} - {MANIFEST, RESULTS, *manifest.files})
    return f"{shown(folder / foreign[0])}: is not part of the build" if foreign else foreign_result(folder)
