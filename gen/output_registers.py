"""A pass over a netlist for ECP5: a register behind a block RAM moves into the block RAM.

Data leave a block RAM 5.6 ns after the clock, its output register 1.0 ns after (nextpnr's numbers for speed grade 6).
Yosys does not use these registers by itself.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

__all__ = ["absorb_output_registers"]

def _outputs(cell: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The clock of each of a block RAM's outputs, and the halves of its data (A, B) that are this output."""
    widths = [int(cell["parameters"][f"DATA_WIDTH_{half}"], 2) for half in "AB"]
    return [("CLKB", ["A", "B"])] if 36 in widths else [("CLKA", ["A"]), ("CLKB", ["B"])]


def absorb_output_registers(module: dict[str, Any]) -> int:
    """Change a module of a Yosys netlist (``write_json``) of ECP5 cells; returns how many flip-flops it took away.

    An output is changed if all bits that are used go to plain flip-flops of the same clock, and nowhere else.
    """
    cells = module["cells"]
    loads: dict[Any, list[tuple[str | None, str]]] = defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port) != "output":
                for bit in bits:
                    loads[bit].append((name, port))
    for port, its in module["ports"].items():
        for bit in its["bits"]:
            loads[bit].append((None, port))

    absorbed = 0
    for cell in [cell for cell in cells.values() if cell["type"] == "DP16KD"]:
        wires = cell["connections"]
        for clock, halves in _outputs(cell):
            data = tuple(f"DO{half}" for half in halves)
            readers = {port: loads[bits[0]] for port, bits in wires.items()
                       if port.startswith(data) and bits and loads[bits[0]]}
            if not readers or any(wires.get(f"RST{half}", ["0"]) != ["0"] for half in halves):
                continue  # (a reset clears the output, a cycle before the register's)
            if not all(name is not None and _is_plain(cells[name], at, wires[clock])
                       for each in readers.values() for name, at in each):
                continue
            for port, each in readers.items():
                (kept,), *others = [cells.pop(name)["connections"]["Q"] for name, _ in each if name is not None]
                wires[port] = [kept]
                for (other,) in others:  # a register that stood there twice
                    for name, at in loads[other]:
                        wires_of = module["ports"][at]["bits"] if name is None else cells[name]["connections"][at]
                        wires_of[:] = [kept if bit == other else bit for bit in wires_of]
                    loads[kept] += loads.pop(other)
                absorbed += len(each)
            for half in halves:
                cell["parameters"][f"REGMODE_{half}"] = "OUTREG"
                wires[f"OCE{half}"] = ["1"]
    return absorbed


def _is_plain(cell: dict[str, Any], port: str, clock: list[Any]) -> bool:
    """Whether ``port`` is the data input of a flip-flop of that clock without enable and reset."""
    wires = cell["connections"]
    return bool(cell["type"] == "TRELLIS_FF" and port == "DI" and wires.get("CLK") == clock
                and cell["parameters"].get("CEMUX", "").strip() == "1" and wires.get("LSR", ["0"]) == ["0"])
