"""What a ``.nir`` file means: each framework's own rules, which no file says.

A file holds time constants and gains of differential equations. What a framework does in a time step, and what its
exporter wrote, are settings here; every preset but that of Norse's main branch was held against its framework (see the
tests and docs/nir.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import SpikeloomError
from ..system.arguments import choice, real
from .nir_file import NirGraph, NirNode

__all__ = ["CHOICES", "DIALECTS", "Dialect", "suggested"]

Array = npt.NDArray[np.float64]


#: What the settings of a dialect may be.
CHOICES: dict[str, tuple[str | int, ...]] = {
    "decay": ("euler", "exponential", "clip"), "synapse_gain": ("file", "unit", "kept"),
    "membrane_gain": ("file", "unit", "rest"), "if_gain": ("file", "unit"), "compare": (">", ">="),
    "reset": ("value", "zero", "subtract", "subtract_again", "none"), "reset_delay": (0, 1),
    "start": ("zero", "v_reset", "v_leak"), "old_spikes": (True, False), "multi": (True, False),
}


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """Rules for one time step.

    Parameters
    ----------
    dt : float
        Time step in the file's unit of time, that of its time constants.
    decay : "euler", "exponential" or "clip"
        What is kept in a step: ``1 - dt / tau``, ``exp(-dt / tau)``, or the first within 0..1.
    synapse_gain, membrane_gain, if_gain : "file", "unit", "rest" or "kept"
        Factor of what goes into a synapse, a leaky membrane, and one without leak. ``file``: as NIR's equations say,
        ``w_in * dt / tau_syn``, ``r * dt / tau``, ``r * dt``. ``unit``: 1, as the weights were trained. ``rest``: 1
        less what is kept. ``kept``: what is kept.
    compare : ">" or ">="
    reset : "value", "zero", "subtract", "subtract_again" or "none"
        ``value``: to the file's ``v_reset``. ``subtract_again``: see :class:`.Neuron`.
    reset_delay : 0 or 1
        1: a spike resets in the next step. A reset to zero then loses that step's input, but for a neuron without
        synapse and recurrence (snnTorch's ``Leaky``), where it keeps it.
    start : "zero", "v_reset" or "v_leak"
        Membrane potential before the first step.
    old_spikes : bool
        A neuron's spike comes from the potential of the step before: it reaches other populations a step later. (Those
        of the output are not shown later.)
    multi : bool
        The framework counts several spikes of a neuron in one step.
    """

    name: str
    dt: float
    decay: Literal["euler", "exponential", "clip"] = "euler"
    synapse_gain: Literal["file", "unit", "kept"] = "unit"
    membrane_gain: Literal["file", "unit", "rest"] = "unit"
    if_gain: Literal["file", "unit"] = "unit"
    compare: Literal[">", ">="] = ">"
    reset: Literal["value", "zero", "subtract", "subtract_again", "none"] = "value"
    reset_delay: int = 0
    start: Literal["zero", "v_reset", "v_leak"] = "zero"
    old_spikes: bool = False
    multi: bool = False

    def __post_init__(self) -> None:
        real(self.dt, "dialect dt", 1e-12, 1e12)
        for name, allowed in CHOICES.items():
            choice(getattr(self, name), f"dialect {name}", allowed)

    def kept(self, node: NirNode, key: str, tau: Array) -> Array:
        """What is kept in a step, float32 as frameworks hold it; raises :class:`.SpikeloomError` outside 0..1."""
        negative = bool((tau <= 0).any())
        if negative and (self.decay != "clip" or (tau == 0).any()):
            raise SpikeloomError(f"node {node.name}: {key} must be above 0, not {tau[tau <= 0][0]:g}")
        kept = np.exp(-self.dt / tau) if self.decay == "exponential" else 1 - self.dt / tau
        if self.decay == "clip":
            kept = np.clip(kept, 0, 1)
        if (kept < 0).any():
            raise SpikeloomError(f"node {node.name}: {key} is {tau[kept < 0][0]:g}, less than the time step of "
                                 f"{self.dt:g} in dialect {self.name}: is this the right dialect, or dt?")
        return kept.astype(np.float32).astype(np.float64)


DIALECTS: dict[str, Dialect] = {d.name: d for d in (
    Dialect(name="nir", dt=1e-4, synapse_gain="file", membrane_gain="file", if_gain="file"),
    Dialect(name="snntorch", dt=1e-4, reset="subtract", reset_delay=1),
    Dialect(name="snntorch-nodelay", dt=1e-4, reset="zero"),
    Dialect(name="norse", dt=1e-3, membrane_gain="file", start="v_leak"),
    Dialect(name="norse-1.1", dt=1e-6, membrane_gain="file", start="v_leak"),
    Dialect(name="sinabs", dt=1, decay="exponential", membrane_gain="rest", compare=">=", reset="subtract", multi=True),
    Dialect(name="rockpool", dt=1e-3, decay="exponential", synapse_gain="kept", compare=">=", reset="subtract",
            multi=True),
    Dialect(name="spyx", dt=1, decay="clip", reset="subtract", reset_delay=1, old_spikes=True),
    Dialect(name="spikingjelly", dt=1e-4, synapse_gain="file", membrane_gain="file", if_gain="file", compare=">=",
            start="v_reset"),
)}


def suggested(graph: NirGraph) -> list[tuple[str, str]]:
    """Dialects that a file looks like, and why; the likeliest first."""
    out = []
    nodes = list(graph.nodes.values())

    def near(function: Callable[[NirNode], Array], wanted: float, kinds: tuple[str, ...]) -> bool:
        values = [function(node) for node in nodes if node.type in kinds]
        return bool(values) and all(np.allclose(v, wanted, rtol=2e-3) for v in values)

    def number(node: NirNode, key: str) -> Array:
        return np.asarray(node.array(key), np.float64)

    leaky = ("LIF", "LI", "CubaLIF", "CubaLI")
    tau = {node.name: number(node, "tau" if "tau" in node.fields else "tau_mem") for node in nodes
           if node.type in leaky}
    with np.errstate(all="ignore"):
        if tau and near(lambda n: number(n, "r") * 1e-4 / tau[n.name], 1, leaky):
            why = "r = tau / 1e-4 in every node"
            if "spikingjelly" in str(sorted(graph.nodes)) or {"input_1", "_0"} & set(graph.nodes):
                out.append(("spikingjelly", f"{why}, and names as its exporter gives them"))
            out += [("snntorch", f"{why}; of its default, a reset that is subtracted a step late"),
                    ("snntorch-nodelay", f"{why}; of reset_mechanism='zero', reset_delay=False")]
        if tau and near(lambda n: number(n, "r") - (1 - 1 / tau[n.name]) + 1, 1, leaky):
            out.append(("spyx", "r = 1 - 1 / tau in every node"))
        if near(lambda n: number(n, "r"), 1, ("IF",)):
            out += [("sinabs", "r = 1 in every IF node"), ("spyx", "r = 1 in every IF node")]
        if near(lambda n: number(n, "r"), 1e4, ("IF",)):
            out.append(("spikingjelly", "r = 1e4 = 1 / dt in every IF node"))
        if tau and near(lambda n: number(n, "r"), 1, leaky) and near(
                lambda n: number(n, "w_in") if "w_in" in n.fields else np.ones(1), 1, leaky):
            largest = max(float(t.max()) for t in tau.values())
            out.append(("norse-1.1", "r = w_in = 1, and time constants below 1e-4") if largest < 1e-4 else
                       ("sinabs", "r = 1, and time constants above 1: in steps") if largest > 1 else
                       ("norse", "r = w_in = 1"))
        if tau and near(lambda n: number(n, "r") / (tau[n.name] * np.exp(-1e-3 / tau[n.name]) / 1e-3), 1, leaky):
            out.append(("rockpool", "r = tau exp(-dt / tau) / dt with dt = 1e-3"))
    return out or [("nir", "nothing in the file points to a framework: NIR's own equations")]
