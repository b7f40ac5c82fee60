"""Energies of an inference that others publish, and how they came to them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PUBLISHED", "Published"]


@dataclass(frozen=True)
class Published:
    """A figure of another work.

    Attributes
    ----------
    work, network, data : str
    energy_uj : float
        Of an inference.
    how : str
        What it covers and how it was found, as far as the source says.
    source : str
    """

    work: str
    network: str
    data: str
    energy_uj: float
    how: str
    source: str


_ABSTRACT = "as its abstract states it; how it was measured was not read"
PUBLISHED: tuple[Published, ...] = (
    Published("Spiker+", "784-128-10, XC7Z020", "MNIST", 140, "its 180 mW times its 780 us", "arXiv 2401.01141"),
    Published("Flexi-NeurA", "256-128-10", "MNIST", 122, "its 111 mW times its 1.1 ms", "arXiv 2602.18140"),
    Published("FireFly-S", "pruned, convolutional", "MNIST", 99.5, "of its 10,047 frames per second and watt",
              "arXiv 2408.15578"),
    Published("Skydiver", "convolutional", "MNIST", 42.4, _ABSTRACT, "arXiv 2203.07516"),
    Published("NeuroHLS", "784-128-10", "N-MNIST", 2.16, _ABSTRACT, "SBESC 2025"),
    Published("NimbleSNN", "784-600-10 reduced, binary weights, one spike, iCE40UP5K", "MNIST", 1.34,
              "as the title of its repository states it", "github.com/JimBartels/NimbleSNN"),
    Published("Co-design TTFS", "PYNQ-Z2", "MNIST", 0.0316, "dynamic energy of the accelerator's path alone",
              "arXiv 2604.22179"),
)
