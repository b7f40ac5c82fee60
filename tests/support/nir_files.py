"""NIR files written node by node, broken ones too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

__all__ = ["LIF", "chain", "write"]

LIF: dict[str, Any] = {"type": "LIF", "tau": np.full(4, 1e-3), "r": np.full(4, 10.0), "v_leak": np.zeros(4),
                       "v_threshold": np.ones(4), "v_reset": np.zeros(4)}


def write(path: Path, nodes: Mapping[str, Any], edges: Sequence[tuple[str, str]],
          version: str | None = "1.0.8") -> Path:
    """A file of ``nodes``: their fields, or those of a nested graph, ``{"nodes": ..., "edges": ...}``."""
    with h5py.File(path, "w") as file:
        if version is not None:
            file["version"] = version
        _graph(file.create_group("node"), nodes, edges)
    return path


def _graph(group: Any, nodes: Mapping[str, Any], edges: Sequence[tuple[str, str]]) -> None:
    group["type"] = "NIRGraph"
    group["edges"] = np.array(edges, dtype=h5py.string_dtype()) if edges else np.empty((0, 2))
    listed = group.create_group("nodes")
    for name, fields in nodes.items():
        node = listed.create_group(name)
        if "nodes" in fields:
            _graph(node, fields["nodes"], fields["edges"])
            continue
        for key, value in fields.items():
            node[key] = value


def chain(**nodes: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes between an input and an output of 4 values, one behind the other."""
    all_nodes = {"input": {"type": "Input", "shape": [4]}, **nodes, "output": {"type": "Output", "shape": [4]}}
    names = list(all_nodes)
    return all_nodes, list(pairwise(names))
