"""The energy of an inference: what switches in it, times what that costs on the part, plus what flows anyhow.

    energy = register toggles * register_pj + logic toggles * logic_pj + block accesses * block_pj
           + cycles * (flip-flops * clock_pj + tree_pj + multipliers * multiplier_pj) + static_mw * cycles / clock

Toggles are those of a simulation without delays (:mod:`.switching`): glitches are in ``logic_pj``'s upper end only.
Pins, oscillator, PLL and external memories are not in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any

from .devices import find_device
from .energy_constants import Constants, Range, constants_of
from .switching import Activity, Switching, find_cells, known_share, switching

__all__ = ["KINDS", "EnergyEstimate", "estimate", "range_text"]

KINDS = ("flip-flops", "logic", "block RAM", "multipliers", "clock", "static")
_NOTHING = Range(0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class EnergyEstimate:
    """Ranges: from the least to the most that the constants allow.

    Attributes
    ----------
    device : str
    clock_mhz : float
    samples : int
        Over which the activity is the mean.
    cycles : float
        Clock cycles of an inference, one at a time, from its first input to the next one's.
    kinds_nj : dict of str to Range
        Energy of an inference, by :data:`KINDS`.
    parts_nj : dict of str to Range
        The same without trunk of the clock and static power, by parts of the design.
    idle_mw : dict of str to Range
        Power while the design waits, by :data:`KINDS`.
    register_rate, logic_rate, block_rate : float
        Toggles of a flip-flop, of a LUT, and accesses to a block RAM, per cycle of an inference.
    idle_register_rate, idle_logic_rate, idle_block_rate : float
        The same while the design waits.
    known_registers : float
        Share of the flip-flops whose toggles were counted; the others are taken to toggle as often on average.
    constants : Constants
    """

    device: str
    clock_mhz: float
    samples: int
    cycles: float
    kinds_nj: dict[str, Range]
    parts_nj: dict[str, Range]
    idle_mw: dict[str, Range]
    register_rate: float
    logic_rate: float
    block_rate: float
    idle_register_rate: float
    idle_logic_rate: float
    idle_block_rate: float
    known_registers: float
    constants: Constants

    @property
    def total_nj(self) -> Range:
        """Energy of an inference."""
        return reduce(add, self.kinds_nj.values())

    @property
    def dynamic_nj(self) -> Range:
        """The same without static power."""
        return reduce(add, (each for kind, each in self.kinds_nj.items() if kind != "static"))

    @property
    def power_mw(self) -> Range:
        """Mean power during an inference."""
        return self.total_nj * (self.clock_mhz / self.cycles)

    @property
    def total_idle_mw(self) -> Range:
        """Power while the design waits."""
        return reduce(add, self.idle_mw.values())

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"total_nj": asdict(self.total_nj), "dynamic_nj": asdict(self.dynamic_nj),
                               "power_mw": asdict(self.power_mw), "total_idle_mw": asdict(self.total_idle_mw)}


def estimate(module: Mapping[str, Any], device: str, parts: Mapping[str, str], wires: Collection[str],
             inference: Activity, idle: Activity, *, clock_mhz: float, samples: int) -> EnergyEstimate:
    """Energy of a design, from its netlist and its activity.

    Parameters
    ----------
    module : mapping
        Its netlist on the device, flat, as Yosys's ``write_json`` gives a module.
    device : str
    parts : mapping of str to str
        Instances of its top module to tell apart, and what they are called in the result.
    wires : collection of str
        Names of its combinational nets (:func:`.combinational`).
    inference : Activity
        Of one inference, on average.
    idle : Activity
        Of some time in which it waits.
    clock_mhz : float
    samples : int
        Over which ``inference`` is the mean.

    Raises
    ------
    SpikeloomError
        If no constants of the device are known.
    """
    constants = constants_of(device)
    target = find_device(device)
    cells = find_cells(module, target.family, parts)
    busy, waiting = (switching(cells, each, wires) for each in (inference, idle))
    static_nj = constants.static_mw.range * (inference.cycles / clock_mhz)  # mW times us
    idle_us = idle.cycles / clock_mhz

    def rates(switched: Mapping[str, Switching], cycles: float) -> list[float]:
        counts = [sum(len(each.flip_flops) for each in cells.values()), sum(each.luts for each in cells.values()),
                  sum(count for each in cells.values() for count, _ in each.blocks)]
        totals = [sum(getattr(each, name) for each in switched.values())
                  for name in ("register_toggles", "logic_toggles", "block_accesses")]
        return [total / (max(1, count) * cycles) for total, count in zip(totals, counts, strict=True)]

    busy_rates, idle_rates = rates(busy, inference.cycles), rates(waiting, idle.cycles)
    return EnergyEstimate(
        device=target.name, clock_mhz=clock_mhz, samples=samples, cycles=inference.cycles,
        kinds_nj=_kinds_nj(busy, inference.cycles, constants) | {"static": static_nj},
        parts_nj={parts.get(part, part): reduce(add, _dynamic_nj(each, constants).values())
                  for part, each in busy.items()},
        idle_mw={kind: each * (1 / idle_us) for kind, each in _kinds_nj(waiting, idle.cycles, constants).items()}
        | {"static": constants.static_mw.range},
        register_rate=busy_rates[0], logic_rate=busy_rates[1], block_rate=busy_rates[2],
        idle_register_rate=idle_rates[0], idle_logic_rate=idle_rates[1], idle_block_rate=idle_rates[2],
        known_registers=known_share(cells, inference), constants=constants)


def range_text(value: Range) -> str:
    """``typical (low - high)``, of three digits."""
    low, typical, high = (f"{each:,.0f}" if each >= 100 else f"{each:.3g}" for each in
                          (value.low, value.typical, value.high))
    return f"{typical} ({low} - {high})"


def _kinds_nj(switched: Mapping[str, Switching], cycles: float, constants: Constants) -> dict[str, Range]:
    """Of all parts together, with the trunk of the clock."""
    each = [_dynamic_nj(part, constants) for part in switched.values()]
    sums = {kind: reduce(add, (part[kind] for part in each), _NOTHING) for kind in KINDS if kind != "static"}
    return sums | {"clock": sums["clock"] + constants.tree_pj.range * (cycles / 1000)}


def _dynamic_nj(part: Switching, constants: Constants) -> dict[str, Range]:
    return {"flip-flops": constants.register_pj.range * (part.register_toggles / 1000),
            "logic": constants.logic_pj.range * (part.logic_toggles / 1000),
            "block RAM": constants.block_pj.range * (part.block_accesses / 1000),
            "multipliers": constants.multiplier_pj.range * (part.multiplier_cycles / 1000),
            "clock": constants.clock_pj.range * (part.register_cycles / 1000)}
