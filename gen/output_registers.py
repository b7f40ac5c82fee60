"""A pass over a netlist for ECP5: a register behind a block RAM or a multiplier moves into it.

Data leave a block RAM 5.6 ns after the clock, its output register 1.0 ns after; a multiplier takes 3.9 ns, and its
output register gives the product 0.7 ns after the clock (nextpnr's numbers for speed grade 6). Yosys does not use these
registers by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ABSORBING_CELLS", "absorb_output_registers"]

ABSORBING_CELLS = ("DP16KD", "MULT18X18D")

_End = tuple[str | None, str]  # cell (or none: the module itself) and port


@dataclass(frozen=True)
class _Output:
    """What can be in one register: the ports whose names begin so, its clock (whichever the flip-flops have, if there
    is none yet), and what it takes to use it."""

    prefixes: tuple[str, ...]
    clock: list[Any] | None
    inputs: dict[str, list[Any]] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)


def _outputs(cell: dict[str, Any]) -> Iterator[_Output]:
    wires = cell["connections"]
    if cell["type"] == "MULT18X18D":
        yield _Output(("P",), None, {"CE0": ["1"], "RST0": ["0"]},
                      {"REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0", "REG_OUTPUT_RST": "RST0"})
        return
    widths = [int(cell["parameters"][f"DATA_WIDTH_{half}"], 2) for half in "AB"]
    for port, halves in [("CLKB", "AB")] if 36 in widths else [("CLKA", "A"), ("CLKB", "B")]:
        if all(wires.get(f"RST{half}", ["0"]) == ["0"] for half in halves):
            # (A reset clears the output, a cycle before the register's.)
            yield _Output(tuple(f"DO{half}" for half in halves), wires[port],
                          {f"OCE{half}": ["1"] for half in halves}, {f"REGMODE_{half}": "OUTREG" for half in halves})


def absorb_output_registers(module: dict[str, Any]) -> int:
    """Change a module of a Yosys netlist (``write_json``) of ECP5 cells; returns how many flip-flops it took away.

    An output is changed if all bits that are used go to plain flip-flops of the same clock, and nowhere else.
    """
    cells = module["cells"]
    loads: dict[Any, list[_End]] = defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port) != "output":
                for bit in bits:
                    loads[bit].append((name, port))
    for port, its in module["ports"].items():
        for bit in its["bits"]:
            loads[bit].append((None, port))

    absorbed = 0
    for cell in [cell for cell in cells.values() if cell["type"] in ABSORBING_CELLS]:
        for output in _outputs(cell):
            readers = {port: loads[bits[0]] for port, bits in cell["connections"].items()
                       if port.startswith(output.prefixes) and bits and loads[bits[0]]}
            ends = [end for each in readers.values() for end in each]
            clocks = (cells[name]["connections"].get("CLK") for name, _ in ends if name is not None)
            clock = output.clock or next(clocks, None)
            if not ends or not all(name is not None and _is_plain(cells[name], at, clock) for name, at in ends):
                continue
            for port, each in readers.items():
                (kept,), *others = [cells.pop(name)["connections"]["Q"] for name, _ in each if name is not None]
                cell["connections"][port] = [kept]
                for (other,) in others:  # a register that stood there twice
                    for name, at in loads[other]:
                        wires_of = module["ports"][at]["bits"] if name is None else cells[name]["connections"][at]
                        wires_of[:] = [kept if bit == other else bit for bit in wires_of]
                    loads[kept] += loads.pop(other)
            absorbed += len(ends)
            inputs = output.inputs | ({"CLK0": clock} if output.clock is None else {})
            cell["connections"].update(inputs)
            cell["port_directions"].update(dict.fromkeys(inputs, "input"))
            cell["parameters"].update(output.parameters)
    return absorbed


def _is_plain(cell: dict[str, Any], port: str, clock: Any) -> bool:
    """Whether ``port`` is the data input of a flip-flop of that clock without enable and reset."""
    wires = cell["connections"]
    return bool(cell["type"] == "TRELLIS_FF" and port == "DI" and wires.get("CLK") == clock
                and cell["parameters"].get("CEMUX", "").strip() == "1" and wires.get("LSR", ["0"]) == ["0"])
