"""Reading toggle counts: SAIF (Switching Activity Interchange Format, IEEE 1801, annex I) as Verilator writes it."""

from __future__ import annotations

import re
from pathlib import Path

from spikeloom.gen.switching import Activity
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.paths import shown

__all__ = ["read_saif"]

_STEPS_PER_CYCLE = 2  # of the testbench's clock
_INSTANCE = re.compile(r"\s*\(INSTANCE (\S+)$")
_DURATION = re.compile(r"\(DURATION (\d+)\)")
_NET = re.compile(r"\s*\((\S+) \(T0 \d+\) \(T1 (\d+)\) .*\(TC (\d+)\)\)$")


def read_saif(path: Path, scope: str) -> Activity:
    """Toggles and times of all nets below an instance.

    Parameters
    ----------
    path : Path
        A file that a simulation has written.
    scope : str
        The instance, as in ``snn_testbench.dut``; names of nets begin below it.

    Raises
    ------
    SpikeloomError
        If the file is no such file, or knows no such instance.
    """
    inside: list[str] = []
    toggles: dict[str, float] = {}
    high_cycles: dict[str, float] = {}
    cycles = None
    with path.open(encoding="utf-8") as file:
        for line in file:
            net = _NET.match(line)
            if net:
                name = ".".join([*filter(None, inside), net[1].replace("\\", "")])
                if name.startswith(f"{scope}."):
                    name = name.removeprefix(f"{scope}.")
                    toggles[name], high_cycles[name] = int(net[3]), int(net[2]) / _STEPS_PER_CYCLE
            elif instance := _INSTANCE.match(line):
                inside.append(instance[1])
            elif line.strip() == "(NET":
                inside.append("")  # a level without a name
            elif line.strip() == ")" and inside:
                inside.pop()
            elif duration := _DURATION.match(line):
                cycles = int(duration[1]) / _STEPS_PER_CYCLE
    if cycles is None or not toggles:
        raise SpikeloomError(f"{shown(path)}: has no toggle counts of {scope}")
    return Activity(cycles, toggles, high_cycles)
