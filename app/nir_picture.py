"""A NIR graph as a picture: nodes in columns by their distance from the input."""

from __future__ import annotations

from pathlib import Path

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.exchange.nir_file import NirGraph
from spikeloom.model.system.paths import shown
from spikeloom.model.system.reading import open_regular
from spikeloom.model.system.writing import check_file, new_file

__all__ = ["draw"]

_TITLE = "NIR graph, drawn by spikeloom"
_COLOURS = {"Input": "#dddddd", "Output": "#dddddd"}
_NEURONS = ("IF", "LIF", "LI", "I", "CubaLIF", "CubaLI", "Threshold")


def draw(graph: NirGraph, path: Path) -> None:
    """Write a ``.svg``, ``.png`` or ``.pdf``; raises :class:`.SpikeloomError` if that fails."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch
    depth = _depths(graph)
    columns: dict[int, list[str]] = {}
    for name, column in depth.items():
        columns.setdefault(column, []).append(name)
    places = {name: (2.6 * column, -1.0 * (row - (len(names) - 1) / 2))
              for column, names in columns.items() for row, name in enumerate(names)}
    figure = Figure(figsize=(2.6 * len(columns) + 1, 1.0 + max(map(len, columns.values()))), layout="constrained")
    ax = figure.subplots()
    ax.set_axis_off()
    for name, (x, y) in places.items():
        kind = graph.nodes[name].type
        colour = _COLOURS.get(kind, "#cfe3f5" if kind in _NEURONS else "#f5efd3")
        ax.text(x, y, f"{name}\n{kind}", ha="center", va="center", fontsize=9, parse_math=False, zorder=3,
                bbox={"boxstyle": "round,pad=0.5", "facecolor": colour, "edgecolor": "#666666"})
    for a, b in graph.edges:
        back = depth[b] <= depth[a]
        ax.add_patch(FancyArrowPatch(places[a], places[b], arrowstyle="-|>", mutation_scale=12, shrinkA=32, shrinkB=36,
                                     color="#b05020" if back else "#444444", zorder=2,
                                     connectionstyle=f"arc3,rad={0.6 if back else 0.0}"))
    xs, ys = zip(*places.values(), strict=True)
    ax.set_xlim(min(xs) - 1.4, max(xs) + 1.4)
    ax.set_ylim(min(ys) - 1.2, max(ys) + 1.2)
    kind = path.suffix.removeprefix(".")
    if kind not in ("svg", "png", "pdf"):
        raise SpikeloomError(f"{shown(path)}: a picture is written as .svg, .png or .pdf")
    check_file(path, _is_ours)
    with new_file(path, _is_ours) as part:
        figure.savefig(part, format=kind, metadata={"Title": _TITLE})


def _is_ours(path: Path) -> bool:
    with open_regular(path) as file:
        return _TITLE.encode() in file.read(1 << 16)


def _depths(graph: NirGraph) -> dict[str, int]:
    depth = {name: 0 for name, node in graph.nodes.items() if node.type == "Input" and "." not in name}
    front = list(depth)
    while front:
        found = dict.fromkeys(b for a in front for b in graph.targets(a) if b not in depth)
        depth |= dict.fromkeys(found, depth[front[0]] + 1)
        front = list(found)
    last = max(depth.values(), default=0)
    return depth | {name: last + 1 for name in graph.nodes if name not in depth}
