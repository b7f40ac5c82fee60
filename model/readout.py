"""Readouts: how the activity of the output population becomes an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .errors import SpikeloomError
from .numerics import Decay
from .system.arguments import choice, short, whole

__all__ = ["KINDS", "Kind", "Readout", "Ties"]

Ties = Literal["lowest_index", "membrane"]
Kind = Literal["psc_sum", "count", "first_spike", "last_potential", "max_potential", "raster"]

#: Kinds and what their score is, in words.
KINDS: dict[str, str] = {
    "psc_sum": "sum over time of the output PSCs", "count": "spike count", "first_spike": "earliest first spike",
    "last_potential": "membrane potential in the last step", "max_potential": "largest membrane potential",
    "raster": "none: the output spikes themselves",
}


@dataclass(frozen=True, kw_only=True)
class Readout:
    """How the output neurons' activity becomes a class: the highest score, and ``ties`` among equal ones.

    Parameters
    ----------
    kind : str
        * ``count``: spikes.
        * ``psc_sum``: TSSL-BP's sum over time of the output PSCs, which is a spike count weighted by
          ``step_weights``, early spikes more than late ones.
        * ``first_spike``: ``T - t`` of a neuron's first spike in step ``t``, 0 without one.
        * ``last_potential``, ``max_potential``: the membrane potential before reset, in the last step or at its
          highest, in state LSB: that means something if all output neurons have one weight scale.
        * ``raster``: no class; the hardware gives the output population's spikes.
    step_weights : tuple of int
        Score of a spike in step t, one per step, 0..2**16-1; for ``psc_sum`` only.
    ties : "lowest_index" or "membrane"
        Which of the classes with the highest score wins: the lowest index, or the highest membrane potential in
        the last step, before its reset, and the lowest index if these are equal too. Potentials are compared in
        state LSB.
    early_exit : bool
        For ``first_spike``: the run ends with the step of the first output spike. That step is then the last one.

    Raises
    ------
    SpikeloomError
        If a field is out of range.
    """

    kind: Kind
    step_weights: tuple[int, ...] = ()
    ties: Ties = "lowest_index"
    early_exit: bool = False

    def __post_init__(self) -> None:
        choice(self.kind, "readout kind", tuple(KINDS))
        if not isinstance(self.step_weights, Sequence) or isinstance(self.step_weights, str):
            raise SpikeloomError(f"readout step_weights must be integers in 0..65535, not {short(self.step_weights)}")
        object.__setattr__(self, "step_weights", tuple(
            whole(c, "readout step_weights", 0, 65535) for c in self.step_weights))
        if bool(self.step_weights) != (self.kind == "psc_sum"):
            raise SpikeloomError(f"readout step_weights must {'' if self.kind == 'psc_sum' else 'not '}be given for "
                                 f"kind {self.kind!r}")
        choice(self.ties, "readout ties", ("lowest_index", "membrane"))
        if self.ties == "membrane" and not self.counts_spikes:
            raise SpikeloomError(f"readout ties must be 'lowest_index' for kind {self.kind!r}, not 'membrane'")
        choice(self.early_exit, "readout early_exit", (True, False))
        if self.early_exit and self.kind != "first_spike":
            raise SpikeloomError(f"readout early_exit must be False for kind {self.kind!r}, not True")

    @property
    def counts_spikes(self) -> bool:
        """Whether the score is made of spikes."""
        return self.kind in ("psc_sum", "count", "first_spike")

    @property
    def needs_potential(self) -> bool:
        """Whether membrane potentials decide."""
        return self.ties == "membrane" or self.kind in ("last_potential", "max_potential")

    @property
    def tie_winner(self) -> str:
        """What wins a tie, in words."""
        return "lowest index" if self.ties == "lowest_index" else "highest membrane potential in the last step"

    @classmethod
    def count(cls, *, ties: Ties = "lowest_index") -> Readout:
        """Plain spike count."""
        return cls(kind="count", ties=ties)

    @classmethod
    def psc_sum(cls, steps: int, synapse: Decay, *, ties: Ties = "lowest_index") -> Readout:
        """Sum over time of the PSCs: ``c[t] = 1 - (1 - 1/tau_s)**(steps - t)``, in integers.

        Exact for a power-of-two ``tau_s`` while ``tau_s**steps <= 2**16``, else rounded to 16 bits.
        """
        keep = 1 - 1 / synapse.tau_steps
        if keep == 1:  # the limit of a slow decay: PSCs of equal height, counted from the spike on
            return cls(kind="psc_sum", step_weights=tuple(range(steps, 0, -1)), ties=ties)
        scale = 1 << min(16, int(np.ceil(steps * np.log2(synapse.tau_steps))))
        raw = [min(round(scale * (1 - keep ** (steps - t))), (1 << 16) - 1) for t in range(steps)]
        divisor = int(np.gcd.reduce(raw)) or 1
        return cls(kind="psc_sum", step_weights=tuple(c // divisor for c in raw), ties=ties)
