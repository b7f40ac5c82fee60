"""Draw ``docs/pipeline.svg``, the figure of the hardware in the README: ``python docs/draw_pipeline.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

INK, FAINT, LINE = "#1f2933", "#52606d", "#9aa5b1"
BLUE, ORANGE, GREEN, PURPLE, GREY = "#2563a8", "#c9701a", "#2e8b57", "#8250b4", "#52606d"
STYLE = {"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "svg.fonttype": "path",
         "svg.hashsalt": "spikeloom"}

WIDTH, HEIGHT = 120.0, 55.0
TOP, BOTTOM = 40.0, 13.0  # of the stages of a layer


def box(ax: Axes, x: float, width: float, color: str, title: str, lines: str, *, top: float = TOP,
        bottom: float = BOTTOM) -> None:
    """A stage: coloured head with its name, what it does at the foot."""
    ax.add_patch(FancyBboxPatch((x, bottom), width, top - bottom, boxstyle="round,pad=0,rounding_size=0.9",
                                facecolor="white", edgecolor=color, linewidth=1.4))
    ax.text(x + width / 2, top - 1.1, title, color=color, fontweight="bold", fontsize=9.5, ha="center", va="top",
            linespacing=1.15)
    ax.text(x + width / 2, bottom + 1.0, lines, color=FAINT, fontsize=7.4, ha="center", va="bottom", linespacing=1.3)


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str = INK, width: float = 1.6,
          bend: float = 0.0, dashed: bool = False) -> None:
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9 + 2 * width, linewidth=width,
                                 color=color, shrinkA=0, shrinkB=0, connectionstyle=f"arc3,rad={bend}",
                                 linestyle=(0, (3, 2)) if dashed else "solid"))


def mask(ax: Axes, x: float, y: float, bits: str, color: str, size: float = 0.95) -> None:
    """A mask as a row of small squares, filled where a bit is set."""
    for k, bit in enumerate(bits):
        ax.add_patch(Rectangle((x + k * size, y), size, size, facecolor=color if bit == "1" else "white",
                               edgecolor=color, linewidth=0.7))


def draw_input(ax: Axes) -> None:
    """Beats of neighbouring channels, most of them silent."""
    ax.text(5.9, TOP - 1.1, "input beats", fontweight="bold", fontsize=9.5, ha="center", va="top")
    for k, bits in enumerate(("00000", "01101", "00000", "00000", "11111", "00010")):
        mask(ax, 3.5, 33.6 - 2.0 * k, bits, GREY)
    ax.text(5.9, BOTTOM + 1.0, "masks of\nneighbouring channels:\none bit per time step,\nor the bits of a pixel",
            color=FAINT, fontsize=7.4, ha="center", va="bottom", linespacing=1.3)


def draw_queue(ax: Axes, x: float) -> None:
    box(ax, x, 17, BLUE, "event queue", "zeros are skipped;\none event per bank\nand cycle; replayed\nfor each lane group")
    for bank in range(2):
        left = x + 1.7 + 7.4 * bank
        ax.text(left + 3.1, 34.6, f"bank {bank}", fontsize=7, color=FAINT, ha="center")
        for row, bits in enumerate((("01101", "00010"), ("11111",))[bank]):
            ax.add_patch(Rectangle((left, 31.6 - 2.4 * row), 6.2, 2.0, facecolor="#eaf1f9", edgecolor="none"))
            mask(ax, left + 0.7, 32.1 - 2.4 * row, bits, BLUE)
        ax.add_patch(Rectangle((left, 26.8), 6.2, 7.2, facecolor="none", edgecolor=LINE, linewidth=0.8))
    arrow(ax, (x + 11.6, 24.4), (x + 5.4, 24.4), BLUE, 1.0, bend=-0.45)
    ax.text(x + 8.5, 24.5, "replay", fontsize=7, color=BLUE, ha="center", va="center")


def draw_memories(ax: Axes, x: float) -> None:
    box(ax, x, 13.5, ORANGE, "weight\nmemories", "block RAM,\none per bank; a row\nholds one input's weights\nto all lanes")
    for bank in range(2):
        low = 29.6 - 6.0 * bank
        for row in range(4):
            chosen = row == (1, 2)[bank]
            ax.add_patch(Rectangle((x + 2.2, low + 1.15 * row), 9.1, 1.15, edgecolor=ORANGE, linewidth=0.6,
                                   facecolor="#f6d9b8" if chosen else "white"))


def draw_lanes(ax: Axes, x: float) -> None:
    box(ax, x, 23, GREEN, "lanes", "each adds, per plane: nothing, one weight,\nthe other, or the sum of the pair,\n"
        "which is made once and shared")
    for lane in range(2):
        y = 28.6 - 6.6 * lane
        ax.add_patch(Rectangle((x + 1.3, y - 0.6), 20.4, 5.9, facecolor="#eef7f1", edgecolor="none"))
        ax.text(x + 3.2, y + 3.6, "$w_0$", fontsize=8.5, ha="center", va="center")
        ax.text(x + 3.2, y + 1.0, "$w_1$", fontsize=8.5, ha="center", va="center")
        arrow(ax, (x + 4.4, y + 3.6), (x + 6.2, y + 2.9), GREEN, 0.9)
        arrow(ax, (x + 4.4, y + 1.0), (x + 6.2, y + 1.7), GREEN, 0.9)
        ax.text(x + 8.7, y + 2.3, "$w_0{+}w_1$", fontsize=8, ha="center", va="center",
                bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": GREEN, "linewidth": 0.9})
        arrow(ax, (x + 11.5, y + 2.3), (x + 13.6, y + 2.3), GREEN, 0.9)
        for plane in range(3):
            ax.add_patch(Rectangle((x + 13.9, y + 3.3 - 1.65 * plane), 7.0, 1.5, facecolor="white", edgecolor=GREEN,
                                   linewidth=0.8))
            ax.text(x + 17.4, y + 4.0 - 1.65 * plane, f"$S$ plane {plane}" if plane < 2 else "…", fontsize=6.6,
                    ha="center", va="center")
    ax.text(x + 17.4, 34.6, "accumulators", fontsize=7, color=FAINT, ha="center")
    ax.text(x + 6.6, 34.6, "a pair of events", fontsize=7, color=FAINT, ha="center")


def draw_drain(ax: Axes, x: float) -> None:
    box(ax, x, 11, GREEN, "drain", "sums shift out\nwhile the next\ngroup adds up")
    for cell in range(5):
        ax.add_patch(Rectangle((x + 3.4, 22.4 + 2.3 * cell), 4.2, 2.0, facecolor="#d9eee1" if cell == 4 else "white",
                               edgecolor=GREEN, linewidth=0.8))
    arrow(ax, (x + 2.2, 23.0), (x + 2.2, 33.0), GREEN, 1.0)


def draw_neurons(ax: Axes, x: float) -> None:
    box(ax, x, 18, PURPLE, "neuron units", "all T steps in a pipeline:\na neuron per unit and cycle;\n"
        "out comes its mask of spikes")
    for k, label in enumerate(("1", "2", "T")):
        left = x + 1.4 + 5.5 * k
        ax.add_patch(Rectangle((left, 23.4), 4.2, 10.2, facecolor="#f4eefa", edgecolor=PURPLE, linewidth=0.8))
        for y, text in ((31.9, "$J$"), (29.3, "$U$"), (26.7, r"$U>\theta$")):
            ax.text(left + 2.1, y, text, fontsize=8, ha="center", va="center")
        ax.text(left + 2.1, 24.5, f"$t={label}$", fontsize=7, ha="center", va="center", color=FAINT)
        if k:
            arrow(ax, (left - 1.25, 28.5), (left - 0.05, 28.5), PURPLE, 0.9)
    mask(ax, x + 6.6, 21.2, "00111", PURPLE)


def draw_pipeline() -> Figure:
    """The whole figure."""
    figure = Figure(figsize=(12, 5.5), facecolor="white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect="equal")
    ax.set_axis_off()

    left, right = 13.6, 105.0
    ax.add_patch(FancyBboxPatch((left, 8.6), right - left, 37.6, boxstyle="round,pad=0,rounding_size=1.2",
                                facecolor="#f5f7fa", edgecolor=LINE, linewidth=1.0))
    ax.text(left + 1.4, 43.9, "a layer", fontweight="bold", fontsize=11, va="center")
    ax.text(left + 9.6, 43.9, "its outputs in groups of as many neurons as there are lanes; the same again for "
            "every layer", fontsize=8.5, color=FAINT, va="center")

    draw_input(ax)
    draw_queue(ax, 15.0)
    draw_memories(ax, 34.5)
    draw_lanes(ax, 50.5)
    draw_drain(ax, 76.0)
    draw_neurons(ax, 86.2 + 0.0)
    return figure


def main() -> None:
    with mpl.rc_context(STYLE):
        figure = draw_pipeline()
        figure.savefig(Path(__file__).with_name("pipeline.svg"), metadata={"Date": None, "Creator": None},
                       facecolor="white")


if __name__ == "__main__":
    main()
