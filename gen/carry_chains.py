"""A pass over a netlist for ECP5, in front of nextpnr: carry chains without what it would put around and into them.

To each chain nextpnr adds a cell for a carry that is constant, fed by a wire from one constant for the whole device; a
cell for a carry that leaves the chain, read or not; and wires from that constant to inputs of its LUTs. In a design of
adders this is a fifth of all LUTs, and a net of thousands of loads.
"""

from __future__ import annotations

from typing import Any

__all__ = ["trim_carry_chains"]

_OPEN = ["x"]  # not connected; an input is 1 then


def trim_carry_chains(module: dict[str, Any]) -> None:
    """Change a module of a Yosys netlist (``write_json``) of ECP5 cells.

    With the halves of a ``CCU2C`` as Yosys models them, each ``S = LUT4 ^ CIN`` and ``COUT = LUT4 ? CIN : LUT2``, where
    LUT2 is the lowest quarter of the LUT4's table:

    - a carry that nobody reads is not connected;
    - a constant carry comes from a half whose LUT4 is 0, whatever its own carry is: the chain's first, if it is one, or
      else one of a cell in front of it;
    - of a LUT4 that does not depend on its inputs C and D, since one of them is constant, both are not connected, and
      the highest quarter of its table is what it was with them.
    """
    cells = {name: cell for name, cell in module["cells"].items() if cell["type"] == "CCU2C"}
    read = {bit for cell in module["cells"].values() for port, bits in cell["connections"].items()
            if cell["port_directions"].get(port) != "output" for bit in bits}
    read.update(bit for port in module["ports"].values() for bit in port["bits"])
    wires = max((bit for net in module["netnames"].values() for bit in net["bits"] if isinstance(bit, int)), default=1)
    for name, cell in cells.items():
        ends = cell["connections"]
        if ends["COUT"] and ends["COUT"][0] not in read:
            ends["COUT"] = _OPEN
        for half in (0, 1):
            _close_inputs(cell, half)
        if ends["CIN"][0] in ("0", "1"):
            if _table(cell, 0) == 0:
                ends["CIN"] = _OPEN
            else:
                wires += 1
                module["cells"][f"{name}_carry_in"] = _constant_carry(cell, ends["CIN"][0], wires)
                ends["CIN"] = [wires]


def _constant_carry(cell: dict[str, Any], carry: str, wire: int) -> dict[str, Any]:
    """A cell like ``cell`` whose carry is constant."""
    tables = {"INIT0": f"{0:016b}", "INIT1": f"{int(carry) << 3:016b}", "INJECT1_0": "NO", "INJECT1_1": "NO"}
    return {**cell, "parameters": {**cell["parameters"], **tables}, "attributes": {},
            "connections": {**dict.fromkeys(cell["connections"], _OPEN), "COUT": [wire]}}


def _close_inputs(cell: dict[str, Any], half: int) -> None:
    ends = cell["connections"]
    c, d = (ends[f"{name}{half}"][0] for name in "CD")
    if "0" not in (c, d):
        return
    table = _table(cell, half)
    values = {bit: [int(bit)] if bit in ("0", "1") else [0, 1] for bit in (c, d)}
    quarters = {table >> 4 * (2 * d_value + c_value) & 15 for c_value in values[c] for d_value in values[d]}
    if len(quarters) == 1:
        cell["parameters"][f"INIT{half}"] = f"{quarters.pop() << 12 | table & 0xFFF:016b}"
        ends[f"C{half}"] = ends[f"D{half}"] = _OPEN


def _table(cell: dict[str, Any], half: int) -> int:
    return int(cell["parameters"][f"INIT{half}"], 2)
