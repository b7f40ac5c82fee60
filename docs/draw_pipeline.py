"""Draw ``docs/pipeline.svg``, the figure of the hardware in the README: ``python docs/draw_pipeline.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

INK, FAINT, LINE = "#1f2933", "#52606d", "#9aa5b1"
BLUE, ORANGE, GREEN, PURPLE, GREY = "#2563a8", "#c9701a", "#2e8b57", "#8250b4", "#52606d"
STYLE: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "svg.fonttype": "path",
         "svg.hashsalt": "spikeloom"}

WIDTH, HEIGHT = 120.0, 56.0   # units of 1/12 inch
TOP, BOTTOM = 32.5, 2.2       # of the stages of a layer
CHAIN = 47.0                  # middle of the chain of layers


def box(ax: Axes, x: float, width: float, color: str, title: str, lines: str, *, top: float = TOP,
        bottom: float = BOTTOM) -> None:
    """A stage: coloured head with its name, what it does at the foot."""
    ax.add_patch(FancyBboxPatch((x, bottom), width, top - bottom, boxstyle="round,pad=0,rounding_size=0.9",
                                facecolor="white", edgecolor=color, linewidth=1.4))
    ax.text(x + width / 2, top - 1.1, title, color=color, fontweight="bold", fontsize=9.5, ha="center", va="top",
            linespacing=1.15)
    ax.text(x + width / 2, bottom + 1.0, lines, color=FAINT, fontsize=7.6, ha="center", va="bottom", linespacing=1.3)


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str = INK, width: float = 1.6,
          bend: float = 0.0, dashed: bool = False) -> None:
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9 + 2 * width, linewidth=width,
                                 color=color, shrinkA=0, shrinkB=0, connectionstyle=f"arc3,rad={bend}",
                                 linestyle=(0, (3, 2)) if dashed else "solid"))


def mask(ax: Axes, x: float, y: float, bits: str, color: str, size: float = 1.15) -> None:
    """A mask as a row of small squares, filled where a bit is set."""
    for k, bit in enumerate(bits):
        ax.add_patch(Rectangle((x + k * size, y), 0.78 * size, 0.78 * size, facecolor=color if bit == "1" else "white",
                               edgecolor=color, linewidth=0.7))


def draw_chain(ax: Axes) -> tuple[float, float]:
    """Input beats, layers, readout; returns the sides of the layer that is shown in detail."""
    ax.text(9.5, 54.2, "input beats", fontweight="bold", ha="center", va="center")
    for k, bits in enumerate(("00000", "01101", "00000", "11111")):
        mask(ax, 6.7, 50.9 - 1.9 * k, bits, GREY)
    ax.text(9.5, 42.0, "a mask for each channel:\na bit per time step,\nor the bits of a pixel", color=FAINT,
            fontsize=7.6, ha="center", va="center")
    places = (25.5, 48.5, 71.5)
    for k, (x, name) in enumerate(zip(places, ("layer 1", "layer 2", "layer L"), strict=True)):
        ax.add_patch(FancyBboxPatch((x, CHAIN - 3), 13, 6, boxstyle="round,pad=0,rounding_size=0.9", linewidth=1.4,
                                    facecolor="#f5f7fa" if k == 1 else "white", edgecolor=INK))
        ax.text(x + 6.5, CHAIN, name, fontweight="bold", fontsize=9.5, ha="center", va="center")
    arrow(ax, (14.2, CHAIN), (25.3, CHAIN))
    arrow(ax, (38.7, CHAIN), (48.3, CHAIN))
    arrow(ax, (61.7, CHAIN), (71.3, CHAIN), dashed=True)
    arrow(ax, (84.7, CHAIN), (91.3, CHAIN))
    mask(ax, 40.5, CHAIN + 1.4, "00111", PURPLE)
    ax.text(43.5, CHAIN + 3.4, "beats of\nspike masks", color=FAINT, fontsize=7.6, ha="center", va="bottom")
    ax.add_patch(FancyBboxPatch((91.5, CHAIN - 3), 13, 6, boxstyle="round,pad=0,rounding_size=0.9", linewidth=1.4,
                                facecolor="white", edgecolor=INK))
    ax.text(98, CHAIN, "readout", fontweight="bold", fontsize=9.5, ha="center", va="center")
    ax.text(98, CHAIN + 3.8, "weighs spikes by step,\nhighest score wins", color=FAINT, fontsize=7.6, ha="center",
            va="bottom")
    arrow(ax, (104.7, CHAIN), (110.6, CHAIN))
    ax.text(114.6, CHAIN, "class", fontweight="bold", fontsize=9.5, ha="center", va="center")
    ax.text(55, 40.6, "layers work at the same time, joined by ready/valid streams", color=FAINT, fontsize=8,
            ha="center", va="center")
    return places[1], places[1] + 13


def draw_queue(ax: Axes, x: float) -> None:
    box(ax, x, 22, BLUE, "event queue", "zeros are skipped: an event\nis an active channel's mask;\n"
        "one per bank and cycle")
    for bank in range(2):
        left = x + 1.8 + 9.6 * bank
        ax.text(left + 4.4, 27.6, f"bank {bank}", fontsize=7.6, color=FAINT, ha="center")
        ax.add_patch(Rectangle((left, 17.6), 8.8, 9.2, facecolor="none", edgecolor=LINE, linewidth=0.8))
        for row, bits in enumerate((("01101", "00010"), ("11111",))[bank]):
            ax.add_patch(Rectangle((left + 0.5, 23.6 - 2.9 * row), 7.8, 2.6, facecolor="#e3edf8", edgecolor="none"))
            mask(ax, left + 1.6, 24.45 - 2.9 * row, bits, BLUE)
    arrow(ax, (x + 18.5, 16.6), (x + 3.5, 16.6), BLUE, 1.1, bend=-0.28)
    ax.text(x + 11, 13.1, "replayed for each group", fontsize=7.6, color=BLUE, ha="center", va="center")


def draw_memories(ax: Axes, x: float) -> None:
    box(ax, x, 18, ORANGE, "weight memories", "block RAM, one per bank;\na row: one input's\nweights to a group")
    for bank in range(2):
        low = 21.3 - 8.2 * bank
        for row in range(4):
            chosen = row == (2, 1)[bank]
            for cell in range(5):
                ax.add_patch(Rectangle((x + 3.0 + 2.4 * cell, low + 1.5 * row), 2.4, 1.5, edgecolor=ORANGE,
                                       linewidth=0.6, facecolor="#f3cfa5" if chosen else "white"))


def draw_lanes(ax: Axes, x: float) -> None:
    box(ax, x, 31, GREEN, "lanes", "a pair of events shares one sum of weights;\n"
        "by the masks, a plane adds nothing,\n$w_0$, $w_1$ or the sum")
    ax.text(x + 6.6, 27.6, "pair of weights", fontsize=7.6, color=FAINT, ha="center")
    ax.text(x + 23.4, 27.6, "accumulators", fontsize=7.6, color=FAINT, ha="center")
    for y in (18.6, 9.0):
        ax.add_patch(Rectangle((x + 1.0, y), 29, 8.2, facecolor="#eaf5ee", edgecolor="none"))
        for k, at in enumerate((y + 6.3, y + 1.9)):
            ax.text(x + 3.4, at, f"$w_{k}$", fontsize=10, ha="center", va="center")
            arrow(ax, (x + 4.9, at), (x + 7.1, y + 4.1 + (0.7 - 1.4 * k)), GREEN, 1.0)
        ax.text(x + 10.7, y + 4.1, "$w_0{+}w_1$", fontsize=9, ha="center", va="center",
                bbox={"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": GREEN, "linewidth": 1.0})
        for k, name in enumerate(("plane 0", "plane 1", "…")):
            at = y + 5.65 - 2.5 * k
            arrow(ax, (x + 14.4, y + 4.1), (x + 17.6, at + 1.0), GREEN, 0.9)
            ax.add_patch(Rectangle((x + 17.8, at), 11.2, 2.1, facecolor="white", edgecolor=GREEN, linewidth=0.9))
            ax.text(x + 23.4, at + 1.0, f"$S$  {name}" if k < 2 else name, fontsize=7.6, ha="center", va="center")


def draw_drain(ax: Axes, x: float) -> None:
    box(ax, x, 14, GREEN, "drain", "sums shift out\nwhile the next\ngroup adds up")
    for cell in range(6):
        ax.add_patch(Rectangle((x + 4.8, 11.6 + 2.7 * cell), 5.6, 2.3, facecolor="#bfe2cc" if cell == 5 else "white",
                               edgecolor=GREEN, linewidth=0.9))
    arrow(ax, (x + 3.0, 12.0), (x + 3.0, 27.0), GREEN, 1.2)


def draw_neurons(ax: Axes, x: float) -> None:
    box(ax, x, 22, PURPLE, "neuron units", "all T steps in a pipeline,\na neuron per unit and cycle;\n"
        "out comes its mask of spikes")
    for k, label in enumerate("12T"):
        left = x + 1.5 + 7.1 * k
        ax.add_patch(Rectangle((left, 14.2), 5.0, 13.6, facecolor="#f1eaf9", edgecolor=PURPLE, linewidth=0.9))
        for y, text in ((25.8, "$J$"), (22.6, "$U$"), (19.4, r"$U>\theta$")):
            ax.text(left + 2.5, y, text, fontsize=9, ha="center", va="center")
        ax.text(left + 2.5, 15.9, f"$t={label}$", fontsize=8, ha="center", va="center", color=FAINT)
        if k:
            arrow(ax, (left - 2.0, 21.0), (left - 0.1, 21.0), PURPLE, 1.0, dashed=k == 2)
    mask(ax, x + 8.2, 11.5, "00111", PURPLE)


def draw_pipeline() -> Figure:
    """The whole figure."""
    figure = Figure(figsize=(WIDTH / 12, HEIGHT / 12), facecolor="white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
    ax.set_axis_off()
    left, right = draw_chain(ax)
    ax.add_patch(FancyBboxPatch((0.8, 0.8), WIDTH - 1.6, 36.2, boxstyle="round,pad=0,rounding_size=1.2",
                                facecolor="#f5f7fa", edgecolor=LINE, linewidth=1.0))
    for start, end in ((left, 2.0), (right, WIDTH - 2.0)):
        ax.plot([start, end], [CHAIN - 3, 37.0], color=LINE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    ax.text(WIDTH / 2, 34.8, "one layer: its neurons take turns on the lanes, a group of as many as there are lanes "
            "in each pass over the events", fontsize=8.5, color=INK, ha="center", va="center")

    stages = ((draw_queue, 22), (draw_memories, 18), (draw_lanes, 31), (draw_drain, 14), (draw_neurons, 22))
    x, gap = 1.8, (WIDTH - 3.6 - sum(width for _, width in stages)) / (len(stages) - 1)
    for draw, width in stages:
        draw(ax, x)
        x += width
        if draw is not draw_neurons:
            arrow(ax, (x + 0.1, 21.0), (x + gap - 0.05, 21.0), INK, 1.2)
        x += gap
    return figure


def main() -> None:
    with mpl.rc_context(STYLE):
        figure = draw_pipeline()
        figure.savefig(Path(__file__).with_name("pipeline.svg"), metadata={"Date": None, "Creator": None},
                       facecolor="white")


if __name__ == "__main__":
    main()
