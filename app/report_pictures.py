"""The pictures of the report: each function draws one and returns SVG to stand in the page, or a ``data:`` URI.

Nothing here knows of networks or folders: arrays and names go in. The bytes depend on them alone.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

__all__ = ["Panel", "Raster", "draw_activity", "draw_confusion", "draw_cycles", "draw_raster", "draw_timeline",
           "percent"]

INK, FAINT, GRID = "#1f2933", "#6b7785", "#dfe4ea"
BLUE, GREEN, RED, GREY = "#2563a8", "#2e8b57", "#c8452e", "#b8c1cc"
LAYERS = ("#2563a8", "#d9822b", "#8250b4", "#5b9a3c", "#1f9aa8", "#b8577e")  # repeats from here on

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 8.5, "axes.labelsize": 8,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": FAINT, "xtick.color": FAINT, "ytick.color": FAINT,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.linewidth": 0.6, "xtick.major.width": 0.6,
    "ytick.major.width": 0.6, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "grid.color": GRID, "grid.linewidth": 0.6, "axes.unicode_minus": True, "figure.dpi": 100,
    "svg.fonttype": "none", "svg.hashsalt": "spikeloom", "path.simplify": False,
}
_NAMED_CLASSES = 20        # more get no names on axes
_NUMBERED_CELLS = 20       # confusion matrices with more classes get no numbers
_LARGEST_SVG = 120_000     # bytes; pictures that need more are drawn in pixels, which keeps the page small
_PIXELS_PER_INCH = 130
_PANELS_PER_ROW = 6
_WIDTH_INCH = 10.4         # of the page's text


@dataclass(frozen=True, eq=False)
class Panel:
    """Spike trains of one population: bool array (T, neurons); ``layer`` is None for the input.

    With a ``shape`` (channels, height, width) it is drawn as a picture of each channel's spike counts.
    """

    title: str
    spikes: npt.NDArray[np.bool_]
    layer: int | None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Raster:
    """What one sample does.

    Attributes
    ----------
    title : str
        Of the picture.
    picture : array
        The sample: (H, W), (H, W, 3) or (values,).
    signed : bool
        Whether ``picture`` is a difference around 0.
    panels : sequence of Panel
        The last one is the output layer.
    scores : int array (classes,)
    label, predicted : int
    classes : sequence of str
    """

    title: str
    picture: npt.NDArray[Any]
    signed: bool
    panels: Sequence[Panel]
    scores: npt.NDArray[np.int64]
    label: int
    predicted: int
    classes: Sequence[str]


def percent(share: float, digits: int = 1) -> str:
    """A share as people write it: 0.893 is "89.3 %"."""
    return f"{100 * share:.{digits}f}\u202f%"


def draw_raster(raster: Raster) -> str:
    """A sample, the spikes of each population over the steps, and the scores of the classes."""
    with mpl.rc_context(_STYLE):
        cells = len(raster.panels) + 2
        columns = min(cells, _PANELS_PER_ROW)
        rows = -(-cells // columns)
        figure = Figure(figsize=(_WIDTH_INCH, 2.45 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for spare in axes[cells:]:
            spare.set_axis_off()
        _draw_picture(axes[0], raster)
        for ax, panel in zip(axes[1:], raster.panels, strict=False):
            _draw_spikes(ax, panel, FAINT if panel.layer is None else LAYERS[panel.layer % len(LAYERS)])
        output = axes[len(raster.panels)]
        if len(raster.classes) <= _NAMED_CLASSES:
            _mark_classes(output, raster)
        _draw_scores(axes[cells - 1], raster)
        return _element(figure)


def _draw_picture(ax: Axes, raster: Raster) -> None:
    picture = raster.picture
    if picture.ndim == 1:
        ax.fill_between(np.arange(picture.size), picture, step="mid", color=INK, linewidth=0)
        ax.set_xlim(-0.5, picture.size - 0.5)
        ax.set_xlabel("channel")
        ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    else:
        reach = max(1.0, float(np.abs(picture).max()))
        limits: dict[str, Any] = ({"cmap": "RdBu", "vmin": -reach, "vmax": reach} if raster.signed
                                  else {"cmap": "gray_r", "vmin": 0, "vmax": reach})
        ax.imshow(picture, interpolation="nearest", **({} if picture.ndim == 3 else limits))
        ax.set_xticks([])
        ax.set_yticks([])
        for side in ("top", "right", "bottom", "left"):
            ax.spines[side].set_visible(True)
            ax.spines[side].set_color(GREY)
    ax.set_title(raster.title if "\n" in raster.title else f"{raster.title}\n")


def _draw_spikes(ax: Axes, panel: Panel, color: str) -> None:
    if len(panel.shape) == 3:
        _draw_maps(ax, panel, color)
        return
    steps, neurons = panel.spikes.shape
    t, n = np.nonzero(panel.spikes)
    # One broken line: a dash a spike. As thick as a neuron's share of the panel, within what the eye can see.
    gap = np.full(len(t), np.nan)
    x = np.column_stack([t + 0.6, t + 1.4, gap]).ravel()
    y = np.column_stack([n, n, gap]).ravel()
    ax.plot(x, y, color=color, linewidth=float(np.clip(90 / neurons, 0.8, 5)),
            solid_capstyle="butt" if steps <= 60 else "projecting")
    ax.set_xlim(0.5, steps + 0.5)
    ax.set_ylim(-0.03 * neurons - 0.5, 1.03 * neurons - 0.5)
    ax.set_xlabel("step")
    if steps <= 10:
        ax.set_xticks(range(1, steps + 1))
        for edge in range(1, steps):
            ax.axvline(edge + 0.5, color=GRID, linewidth=0.6, zorder=0)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.set_yticks(range(neurons) if neurons <= 12 else sorted({0, neurons // 2, neurons - 1}))
    active = int(panel.spikes.any(axis=0).sum())
    ax.set_title(f"{_short(panel.title, 24)}\n{active:,} of {neurons:,}, {len(t):,} spikes")


def _draw_maps(ax: Axes, panel: Panel, color: str) -> None:
    """Spike counts over the steps of every channel's map, side by side in about a square."""
    channels, height, width = panel.shape
    steps = len(panel.spikes)
    columns = max(1, min(channels, round(float(np.sqrt(channels * height / width)))))
    rows = -(-channels // columns)
    counts = panel.spikes.sum(axis=0).reshape(channels, height, width)
    mosaic = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for channel in range(channels):
        y, x = channel // columns * (height + 1), channel % columns * (width + 1)
        mosaic[y:y + height, x:x + width] = counts[channel]
    shades = LinearSegmentedColormap.from_list("spikes", ["white", color]).with_extremes(bad=GRID)
    ax.imshow(mosaic, cmap=shades, vmin=0, vmax=steps, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel(f"{channels} maps of {height} x {width}")
    active = int(panel.spikes.any(axis=0).sum())
    ax.set_title(f"{_short(panel.title, 24)}\n{active:,} of {counts.size:,}, {int(counts.sum()):,} spikes")


def _mark_classes(ax: Axes, raster: Raster) -> None:
    ax.axhspan(raster.label - 0.5, raster.label + 0.5, color=GREEN, alpha=0.15, linewidth=0)
    if raster.label != raster.predicted:
        ax.axhspan(raster.predicted - 0.5, raster.predicted + 0.5, color=RED, alpha=0.15, linewidth=0)


def _draw_scores(ax: Axes, raster: Raster) -> None:
    count = len(raster.scores)
    colors = [GREY] * count
    colors[raster.predicted] = RED
    if raster.label < count:
        colors[raster.label] = GREEN
    ax.barh(range(count), raster.scores, color=colors, height=0.75 if count <= _NAMED_CLASSES else 1.0)
    ax.set_ylim(-0.03 * count - 0.5, 1.03 * count - 0.5)
    if count <= _NAMED_CLASSES:
        ax.set_yticks(range(count), [_short(name, 12) for name in raster.classes[:count]], fontsize=7)
        ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    ax.set_xlabel("readout score")
    ax.set_title("class scores\n")


def draw_confusion(matrix: npt.NDArray[np.int64], classes: Sequence[str]) -> str:
    """Rows are true classes: counts as numbers, shares of the row as shades."""
    count = len(matrix)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    size = float(np.clip(0.37 * count + 1.3, 3.2, 6.2))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(size, size), layout="constrained")
        ax = figure.subplots()
        ax.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        if count <= _NUMBERED_CELLS:
            for (row, column), n in np.ndenumerate(matrix):
                if n:
                    ax.text(column, row, f"{n}", ha="center", va="center", fontsize=7 if n < 1000 else 5.5,
                            color="white" if share[row, column] > 0.55 else INK)
            names = [_short(name) for name in classes]
            ax.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor")
            ax.set_yticks(range(count), names)
            ax.set_xticks(np.arange(count - 1) + 0.5, minor=True)
            ax.set_yticks(np.arange(count - 1) + 0.5, minor=True)
            ax.grid(which="minor", color="white", linewidth=1)
            ax.tick_params(which="both", length=0)
        ax.set_xlabel("class given")
        ax.set_ylabel("true class")
        ax.spines[:].set_visible(False)
        return _element(figure)


def draw_activity(names: Sequence[str], shares: npt.NDArray[np.float64], per_step: npt.NDArray[np.float64]) -> str:
    """Left: share of each population that is active in a sample. Right: share that spikes in each step.

    Parameters
    ----------
    names : sequence of str
        Populations: the input, then the layers.
    shares : array (N, populations)
    per_step : array (populations, T)
        NaN where a population does not spike.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCH, float(np.clip(0.32 * len(names) + 1.1, 2.3, 6))), layout="constrained")
        left, right = figure.subplots(1, 2)
        place = np.arange(len(names))
        mean = shares.mean(axis=0)
        low, high = np.quantile(shares, [0.05, 0.95], axis=0)
        colors = [GREY, *(LAYERS[k % len(LAYERS)] for k in range(len(names) - 1))]
        left.barh(place, mean, color=colors, height=0.62)
        left.hlines(place, low, high, color=INK, linewidth=1.2)
        for y, (m, h) in enumerate(zip(mean, high, strict=True)):
            left.text(max(m, h) + 0.015, y, percent(m), va="center")
        left.set_yticks(place, [_short(name, 24) for name in names])
        left.invert_yaxis()
        left.tick_params(axis="y", length=0)
        left.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="\u202f%"))
        left.set_xlim(0, min(1.12, float(high.max()) * 1.2 + 0.05))
        left.set_title("Active at all in a sample (mean; line: 5th to 95th percentile)", loc="left")
        steps = np.arange(1, per_step.shape[1] + 1)
        for k, values in enumerate(per_step):
            if not np.isnan(values).any():
                right.plot(steps, values, color=colors[k], label=_short(names[k], 24), linewidth=1.4,
                           marker="o" if len(steps) <= 30 else "", markersize=3.5)
        right.set_ylim(bottom=0)
        right.yaxis.set_major_formatter(PercentFormatter(1, symbol="\u202f%"))
        if len(steps) <= 10:
            right.set_xticks(steps)
        else:
            right.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        right.set_xlabel("step")
        right.grid(axis="y")
        right.legend(edgecolor="none", framealpha=0.85, ncols=-(-len(names) // 8))
        right.set_title("Share of neurons that spike in a step", loc="left")
        return _element(figure)


def draw_timeline(names: Sequence[str], ends: npt.NDArray[np.int64], latency: npt.NDArray[np.int64],
                  clock_mhz: float) -> str:
    """When each layer's last pass ends; a bar is what a layer adds to the one before it.

    Parameters
    ----------
    names : sequence of str
    ends : array (N, layers)
    latency : array (N,)
    """
    stops = np.column_stack([ends, latency])
    mean = stops.mean(axis=0)
    start = np.concatenate([[0.0], mean[:-1]])
    labels = [*(_short(name, 24) for name in names), "neurons, readout"]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCH, float(np.clip(0.34 * len(labels) + 1.1, 2.0, 7))), layout="constrained")
        ax = figure.subplots()
        place = np.arange(len(labels))
        colors = [*(LAYERS[k % len(LAYERS)] for k in range(len(names))), GREY]
        ax.barh(place, mean - start, left=start, color=colors, height=0.6)
        ax.vlines(mean[:-1], place[:-1] + 0.3, place[1:] - 0.3, color=FAINT, linewidth=0.8)
        for y, (a, b, least, most) in enumerate(zip(start, mean, stops.min(axis=0), stops.max(axis=0), strict=True)):
            ax.plot([least, most], [y, y], color=INK, linewidth=1.0, marker="|", markersize=6)
            ax.text(stops.max() * 1.012, y, f"+ {b - a:,.1f}  →  {b:,.1f}", va="center")
        ax.set_yticks(place, labels)
        ax.invert_yaxis()
        ax.tick_params(axis="y", length=0)
        ax.set_xlim(0, stops.max() * 1.16)
        ax.grid(axis="x")
        ax.set_xlabel("cycle")
        ax.xaxis.set_major_formatter("{x:,.0f}")
        _second_axis(ax, clock_mhz)
        return _element(figure)


def draw_cycles(latency: npt.NDArray[np.int64], clock_mhz: float) -> str:
    """Distribution of the cycles from first input to class."""
    least, most, mean = int(latency.min()), int(latency.max()), float(latency.mean())
    width = max(1, -(-(most - least + 1) // 45))
    bins = np.arange(least, most + width + 1, width) - 0.5
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCH, 2.5), layout="constrained")
        ax = figure.subplots()
        counts, _, _ = ax.hist(latency, bins=bins.tolist(), color=BLUE, alpha=0.85, edgecolor="white", linewidth=0.5)
        top = float(np.max(counts))
        ax.axvline(mean, color=RED, linewidth=1.2)
        for value, text, color, align in ((least, f"min {least:,} ", INK, "right"), (mean, f" mean {mean:,.1f}", RED,
                                          "left"), (most, f" max {most:,}", INK, "left")):
            ax.text(value, top * 1.08, text, color=color, ha=align)
        for edge in (least, most):
            ax.axvline(edge, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        margin = max(2.0, 0.12 * (most - least))
        ax.set_xlim(least - margin, most + margin)
        ax.set_ylim(0, top * 1.22)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.set_xlabel("cycles from first input to class")
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.set_ylabel("samples")
        _second_axis(ax, clock_mhz)
        return _element(figure)


def _second_axis(ax: Axes, clock_mhz: float) -> None:
    second = ax.secondary_xaxis("top", functions=(lambda c: np.asarray(c) / clock_mhz,
                                                  lambda us: np.asarray(us) * clock_mhz))
    second.set_xlabel(f"µs at {clock_mhz:g} MHz")


def _short(text: str, most: int = 14) -> str:
    return text if len(text) <= most else text[:most - 1] + "…"


def _element(figure: Figure) -> str:
    """SVG whose text is text, or a PNG as an address if that would be large."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    if out.tell() <= _LARGEST_SVG:
        text = out.getvalue().decode("utf-8")
        return re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg"):], flags=re.DOTALL)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=_PIXELS_PER_INCH, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")
