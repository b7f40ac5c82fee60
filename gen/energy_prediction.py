"""The energy of an inference before there is a netlist: what a search can afford.

    register toggles = r0 * flip-flops * cycles + r1 * additions
    LUT toggles      = l0 * LUTs * cycles + l1 * additions
    block accesses   = b * block RAMs * cycles

``additions`` are the bits of all sums that weights are added to. Flip-flops, LUTs and block RAMs are those of the
resource model, cycles and additions exact. The five numbers come from netlists that were simulated:
``bench/energy_prediction.py`` fits them, and says how far off they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from .energy_constants import constants_of
from .resources import Estimate

__all__ = ["MODEL", "Prediction", "predict"]

MODEL = "energy_model.json"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What an inference takes, by the typical constants of a part.

    Attributes
    ----------
    total_nj, dynamic_nj : float
        With static power, and without.
    """

    total_nj: float
    dynamic_nj: float


@cache
def _shares() -> Mapping[str, float]:
    values: Mapping[str, Any] = json.loads(resources.files("spikeloom.gen").joinpath(MODEL).read_text(encoding="utf-8"))
    return dict(values)


def predict(used: Estimate, device: str, *, cycles: float, additions: float, clock_mhz: float,
            shares: Mapping[str, float] | None = None) -> Prediction:
    """Predict the energy of an inference.

    Parameters
    ----------
    used : Estimate
        What the fold takes of the device.
    device : str
    cycles : float
        Of an inference.
    additions : float
        Bits of sums that weights are added to in it.
    clock_mhz : float
    shares : mapping, optional
        ``r0``, ``r1``, ``l0``, ``l1`` and ``b``; those that are shipped otherwise.

    Raises
    ------
    SpikeloomError
        If no constants of the device are known.
    """
    constants = constants_of(device)
    shares = _shares() if shares is None else shares
    toggles = shares["r0"] * used.ff * cycles + shares["r1"] * additions
    logic = shares["l0"] * used.lut * cycles + shares["l1"] * additions
    accesses = shares["b"] * used.bram * cycles
    per_cycle = used.ff * constants.clock_pj.range.typical + constants.tree_pj.range.typical
    dynamic_nj = (toggles * constants.register_pj.range.typical + logic * constants.logic_pj.range.typical
                  + accesses * constants.block_pj.range.typical + cycles * per_cycle) / 1000
    static_nj = constants.static_mw.range.typical * cycles / clock_mhz
    return Prediction(total_nj=dynamic_nj + static_nj, dynamic_nj=dynamic_nj)
