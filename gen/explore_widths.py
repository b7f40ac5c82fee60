"""Folds for several widths of weights: a float network is quantised to each, measured, and explored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.model import golden
from spikeloom.model.datasets import check_labels
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.float_network import FloatNetwork
from spikeloom.model.network import Network
from spikeloom.model.quantize import quantize
from spikeloom.model.system.arguments import an, array, called, real, short

from .explore import Exploration, Point, explore

__all__ = ["Width", "chosen_width", "explore_widths", "front_of"]


@dataclass(frozen=True, kw_only=True)
class Width:
    """A width of weights.

    Attributes
    ----------
    weight_bits : int
    network : Network
        Quantised to it.
    accuracy : float
        Of the labelled samples, 0..1.
    exploration : Exploration
    """

    weight_bits: int
    network: Network
    accuracy: float
    exploration: Exploration

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"weight_bits": self.weight_bits, "network": self.network.name, "hash": self.network.hash,
                "accuracy": self.accuracy, **self.exploration.to_json()}


def explore_widths(network: FloatNetwork, device: str, images: npt.ArrayLike, labels: npt.ArrayLike, *,
                   weight_bits: Sequence[int], samples: int = 50, calibration: npt.NDArray[np.uint8] | None = None,
                   input_bits: int = 8, progress: Callable[[int, int, int], None] | None = None,
                   **options: Any) -> tuple[Width, ...]:
    """Quantise a network to each width, count its right answers, and search its folds.

    Parameters
    ----------
    network : FloatNetwork
    device : str
    images, labels : array
        What accuracy is measured on.
    weight_bits : sequence of int
        Each 1..8 or 16, and once.
    samples : int
        Of the images, those whose activity the cycles are counted with.
    calibration, input_bits
        As for :func:`.quantize`.
    progress : callable, optional
        Told the width that it is at, and what :func:`.explore` tells.
    **options
        As for :func:`.explore`.

    Raises
    ------
    SpikeloomError
        If an option is out of range, or the data do not suit the network; or what :func:`.explore` raises.
    """
    an(FloatNetwork, network, "network")
    tell = called(progress, "progress") or (lambda bits, tried, front: None)
    if not weight_bits or len(set(weight_bits)) < len(weight_bits):
        raise SpikeloomError(f"weight_bits must be some widths, each once, not {short(weight_bits)}")
    given = array(images, "images")
    # All of them first: what is wrong is told before anything takes long.
    quantised = [quantize(network, weight_bits=bits, input_bits=input_bits, calibration=calibration)
                 for bits in weight_bits]
    known = check_labels(np.asarray(labels), len(given), quantised[0].classes, f"network {network.name}")
    found = []
    for bits, each in zip(weight_bits, quantised, strict=True):
        right = int((np.concatenate([result.classes for result in golden.batches(each, given)]) == known).sum())

        def at(tried: int, front: int, bits: int = bits) -> None:
            tell(bits, tried, front)

        found.append(Width(weight_bits=bits, network=each, accuracy=right / len(given),
                           exploration=explore(each, device, given[:samples], progress=at, **options)))
    return tuple(found)


def chosen_width(widths: Sequence[Width], min_accuracy: float | None = None) -> Width:
    """The most accurate, or of those that are accurate enough the one whose chosen fold is the best.

    Raises
    ------
    SpikeloomError
        If none is.
    """
    if min_accuracy is None:
        return max(widths, key=lambda width: (width.accuracy, -width.weight_bits))
    real(min_accuracy, "min_accuracy", 0, 1)
    enough = [width for width in widths if width.accuracy >= min_accuracy]
    if not enough:
        best = max(widths, key=lambda width: width.accuracy)
        raise SpikeloomError(f"no width of weights reaches an accuracy of {min_accuracy:.2%}: the best is "
                             f"{best.accuracy:.2%} with {best.weight_bits} bits; what helps: more bits, or training")

    def rank(width: Width) -> tuple[float, float]:
        point = width.exploration.chosen
        return (point.lut, point.cost) if width.exploration.objective == "area" else (point.cost, point.lut)

    return min(enough, key=rank)


def front_of(widths: Sequence[Width]) -> list[tuple[Width, Point]]:
    """Of all widths together, the points than which none is better in LUTs, cost and accuracy; the smallest first."""
    points = [(width, point) for width in widths for point in width.exploration.front]

    def beats(a: tuple[Width, Point], b: tuple[Width, Point]) -> bool:
        mine, others = ((point.lut, point.cost, -width.accuracy) for width, point in (a, b))
        return mine != others and all(x <= y for x, y in zip(mine, others, strict=True))

    kept = [each for each in points if not any(beats(other, each) for other in points)]
    return sorted(kept, key=lambda each: (each[1].lut, each[1].cost, each[0].weight_bits))
