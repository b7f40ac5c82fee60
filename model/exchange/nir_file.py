"""NIR files as graphs: HDF5 to checked nodes and edges, nested graphs unfolded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ..errors import SpikeloomError
from ..system.arguments import short
from ..system.paths import path_of, shown
from ..system.reading import MIB, open_regular

__all__ = ["FIELDS", "OWN", "NirGraph", "NirNode", "read_nir"]

#: In the metadata of a file that spikeloom wrote: the network file.
OWN = "spikeloom_network"
MAX_FILE_BYTES = 2048 * MIB
MAX_BYTES = 2048 * MIB  # of all arrays together, unpacked
MAX_NODES = 4096
MAX_DEPTH = 8

_LIF = ("tau", "r", "v_leak", "v_threshold")
_CUBA = ("tau_syn", "tau_mem", "r", "v_leak")
_CONV = ("weight", "stride", "padding", "dilation", "groups", "bias")
_POOL = ("kernel_size", "stride", "padding")
#: Types of nodes, and the fields that each must have.
FIELDS: dict[str, tuple[str, ...]] = {
    "Input": ("shape",), "Output": ("shape",), "Affine": ("weight", "bias"), "Linear": ("weight",), "Scale": ("scale",),
    "Conv1d": _CONV, "Conv2d": _CONV, "SumPool2d": _POOL, "AvgPool2d": _POOL, "Flatten": ("start_dim", "end_dim"),
    "Delay": ("delay",), "Threshold": ("threshold",), "I": ("r",), "IF": ("r", "v_threshold"),
    "LI": ("tau", "r", "v_leak"), "LIF": _LIF, "CubaLI": _CUBA, "CubaLIF": (*_CUBA, "v_threshold"),
}

Value = npt.NDArray[Any] | str


@dataclass(frozen=True)
class NirNode:
    """A node: ``type`` as NIR names it, and its fields; ``nested``: of a graph within the graph."""

    name: str
    type: str
    fields: dict[str, Value]
    nested: bool = False

    def array(self, key: str) -> npt.NDArray[Any]:
        """A field of numbers; raises :class:`.SpikeloomError` if it is text, or not finite (but for time constants)."""
        value = self.fields[key]
        if isinstance(value, str) or value.dtype.kind not in "fiub":
            raise SpikeloomError(f"node {self.name}: {key} must be numbers, not {short(value)}")
        if not value.size and key != "bias":
            raise SpikeloomError(f"node {self.name}: {key} must not be empty")
        endless = key in ("tau", "tau_mem", "tau_syn", "r")
        if np.isnan(value).any() or (np.isinf(value).any() and not endless):
            raise SpikeloomError(f"node {self.name}: {key} must be finite, and is "
                                 f"{'nan' if np.isnan(value).any() else 'inf'}")
        return value


@dataclass(frozen=True)
class NirGraph:
    """Nodes by their names, and edges, both sorted: exporters write them in any order.

    Attributes
    ----------
    version : str
        Of the library that wrote the file; empty if it does not say.
    own : bytes or None
        The network file in it, if spikeloom wrote it.
    """

    version: str
    nodes: dict[str, NirNode]
    edges: tuple[tuple[str, str], ...]
    own: bytes | None = None

    def sources(self, name: str) -> list[str]:
        """Nodes with an edge to this one."""
        return [a for a, b in self.edges if b == name]

    def targets(self, name: str) -> list[str]:
        """Nodes with an edge from this one."""
        return [b for a, b in self.edges if a == name]


@dataclass
class _Reader:
    """Reads within limits; names of nested nodes are joined by dots."""

    left: int = MAX_BYTES
    nodes: dict[str, NirNode] = field(default_factory=dict)
    edges: set[tuple[str, str]] = field(default_factory=set)

    def graph(self, group: Any, prefix: str, depth: int = 0) -> list[str]:
        """Nodes and edges of a graph; those of a nested one lead to and from its own Input and Output nodes.

        Returns the names of its nodes.
        """
        if depth > MAX_DEPTH:
            raise SpikeloomError(f"node {prefix.rstrip('.')}: graphs are nested deeper than {MAX_DEPTH}")
        listed = self.member(group, "nodes", f"graph {prefix or 'node'}")
        if not isinstance(listed, h5py.Group):
            raise SpikeloomError(f"graph {prefix or 'node'}: nodes must be a group")
        entry: dict[str, tuple[str, str]] = {}  # where edges to and from a node really end
        for key in listed:
            name = f"{prefix}{key}"
            node = self.member(listed, key, f"node {name}")
            if not isinstance(node, h5py.Group):
                raise SpikeloomError(f"node {name}: is empty: whoever wrote it could not say what it is")
            kind = self.text(node, "type", f"node {name}")
            if kind == "NIRGraph":
                own = self.graph(node, f"{name}.", depth + 1)
                entry[key] = self._ends(name, own)
                continue
            if kind not in FIELDS:
                raise SpikeloomError(f"node {name}: type {short(kind)} is unknown; known are {', '.join(FIELDS)} and "
                                     "NIRGraph")
            if len(self.nodes) >= MAX_NODES:
                raise SpikeloomError(f"there must be at most {MAX_NODES} nodes")
            if name in self.nodes:
                raise SpikeloomError(f"node {name}: there are two of this name")
            self.nodes[name] = NirNode(name, kind, self._fields(node, name, kind), nested=depth > 0)
            entry[key] = (name, name)
        for a, b in self._edges(group, prefix):
            for end in (a, b):
                if end not in entry:
                    raise SpikeloomError(f"edge {prefix}{a} -> {prefix}{b}: there is no node {prefix}{end}")
            self.edges.add((entry[a][1], entry[b][0]))
        return [first for first, _ in entry.values()]

    def _ends(self, name: str, own: list[str]) -> tuple[str, str]:
        ends = []
        for kind in ("Input", "Output"):
            found = [node for node in own if self.nodes[node].type == kind]
            if len(found) != 1:
                raise SpikeloomError(f"node {name}: a nested graph must have one {kind} node, not {len(found)}")
            ends.append(found[0])
        return ends[0], ends[1]

    def _fields(self, node: Any, name: str, kind: str) -> dict[str, Value]:
        fields = {key: self.value(node, key, f"node {name}") for key in node
                  if key not in ("type", "metadata", "input_type", "output_type")}
        for key in FIELDS[kind]:
            if key not in fields:
                raise SpikeloomError(f"node {name}: a {kind} needs {key}, which is missing")
        return fields

    def _edges(self, group: Any, prefix: str) -> list[tuple[str, str]]:
        where = f"graph {prefix or 'node'}"
        value = self.member(group, "edges", where)
        if not isinstance(value, h5py.Dataset) or (value.size and (value.ndim != 2 or value.shape[1] != 2)):
            raise SpikeloomError(f"{where}: edges must be pairs of names")
        if value.size > 16 * MAX_NODES:
            raise SpikeloomError(f"{where}: there must be at most {8 * MAX_NODES} edges, not {len(value)}")
        rows = self.read(value, f"{where}: edges") if value.size else np.empty((0, 2))
        return [(_decoded(a, where), _decoded(b, where)) for a, b in rows]

    def value(self, group: Any, key: str, where: str) -> Value:
        """A field: numbers, or text."""
        stored = self.member(group, key, where)
        if not isinstance(stored, h5py.Dataset):
            raise SpikeloomError(f"{where}: {key} must be numbers or text, not a group")
        raw = self.read(stored, f"{where}: {key}")
        if raw.dtype.kind in "OSU":
            return _decoded(raw.item() if raw.ndim == 0 else b"", f"{where}: {key}")
        return raw

    def text(self, group: Any, key: str, where: str) -> str:
        """A field that is text."""
        value = self.value(group, key, where)
        if not isinstance(value, str):
            raise SpikeloomError(f"{where}: {key} must be text")
        return value

    def read(self, stored: Any, where: str) -> npt.NDArray[Any]:
        """The contents of a dataset that lies in this very file."""
        if stored.is_virtual or stored.external:
            raise SpikeloomError(f"{where}: lies in another file, which is not read")
        kind = stored.dtype.kind
        if kind not in "fiubSO" or (kind == "O" and h5py.check_string_dtype(stored.dtype) is None):
            raise SpikeloomError(f"{where}: is of type {stored.dtype}; allowed are numbers and text")
        self.left -= max(1, stored.size or 0) * max(8, stored.dtype.itemsize)  # numbers become 64 bits wide
        if self.left < 0:
            raise SpikeloomError(f"{where}: all arrays together must be at most {MAX_BYTES:,} bytes")
        return np.asarray(stored[()])

    @staticmethod
    def member(group: Any, key: str, where: str) -> Any:
        """What a group holds under a name, and not by a link to somewhere else."""
        if key not in group:
            raise SpikeloomError(f"{where}: {key} is missing")
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise SpikeloomError(f"{where}: {key} is a link, which is not followed")
        return group[key]


def _decoded(raw: Any, where: str) -> str:
    try:
        text = raw.decode() if isinstance(raw, bytes) else str(raw)
    except UnicodeDecodeError:
        raise SpikeloomError(f"{where}: {short(raw)} is not text") from None
    if not text or len(text) > 1000 or not text.isprintable():
        raise SpikeloomError(f"{where}: {short(text)} is not a name")
    return text


def read_nir(path: str | Path) -> NirGraph:
    """Read a ``.nir`` file of any version.

    Raises
    ------
    SpikeloomError
        If it is no NIR file, or a broken one; naming file, node and field.
    """
    path = path_of(path, "path")
    where = shown(path)
    with open_regular(path, MAX_FILE_BYTES) as raw:
        try:
            with h5py.File(raw, "r") as file:
                return _read(file)
        except SpikeloomError as error:
            raise SpikeloomError(f"{where}: {error}") from None
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
            raise SpikeloomError(f"{where}: is not a NIR file, or broken: {' '.join(str(error).split())}") from error


def _read(file: Any) -> NirGraph:
    reader = _Reader()
    if "node" not in file:
        raise SpikeloomError("is HDF5, but no NIR file: it has no group node")
    root = reader.member(file, "node", "the file")
    if not isinstance(root, h5py.Group) or reader.text(root, "type", "group node") != "NIRGraph":
        raise SpikeloomError("group node: type must be NIRGraph")
    reader.graph(root, "")
    for kind in ("Input", "Output"):
        if not any(node.type == kind and not node.nested for node in reader.nodes.values()):
            raise SpikeloomError(f"the graph has no {kind} node")
    version = reader.text(file, "version", "the file") if "version" in file else ""
    own = None
    metadata = reader.member(root, "metadata", "group node") if "metadata" in root else None
    if isinstance(metadata, h5py.Group) and OWN in metadata:
        value = reader.value(metadata, OWN, "metadata")
        if isinstance(value, str) or value.dtype != np.uint8 or value.ndim != 1:
            raise SpikeloomError(f"metadata: {OWN} must be bytes")
        own = value.tobytes()
    return NirGraph(version, dict(sorted(reader.nodes.items())), tuple(sorted(reader.edges)), own)
