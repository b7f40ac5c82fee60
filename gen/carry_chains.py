"""A pass over a netlist for ECP5, in front of nextpnr: carry chains without what it would put around and into them.

To each chain nextpnr adds a cell for a carry that is constant, fed by a wire from one constant for the whole device; a
cell for a carry that leaves the chain, read or not; and wires from that constant to inputs of its LUTs. In a design of
adders these are many LUTs, and one net to all of them.
"""

from __future__ import annotations

from typing import Any

__all__ = ["trim_carry_chains"]

_OPEN = ["x"]  # not connected; an input of a LUT is 1 then
_HALF = ("A", "B", "C", "D", "S")


def trim_carry_chains(module: dict[str, Any]) -> None:
    """Change a module of a Yosys netlist (``write_json``) of ECP5 cells.

    With the halves of a ``CCU2C`` as Yosys models them, each ``S = LUT4 ^ CIN`` and ``COUT = LUT4 ? CIN : LUT2``, where
    LUT2 is the lowest quarter of the LUT4's table:

    - a carry that nobody reads is not connected;
    - a constant carry comes from a half whose LUT4 is 0, whatever its own carry is. Where the last half of a chain is
      not used, all move on by one, and it is the first; else it is in a cell in front of the chain;
    - of a LUT4 that does not depend on its inputs C and D, since one of them is constant, both are not connected, and
      the highest quarter of its table is what it was with them.
    """
    cells = {name: cell for name, cell in module["cells"].items() if cell["type"] == "CCU2C"}
    read = {bit for cell in module["cells"].values() for port, bits in cell["connections"].items()
            if cell["port_directions"].get(port) != "output" and port != "CIN" for bit in bits}
    read.update(bit for port in module["ports"].values() for bit in port["bits"])
    wires = max((bit for net in module["netnames"].values() for bit in net["bits"] if isinstance(bit, int)), default=1)
    after: dict[Any, dict[str, Any]] = {
        bit: cell for cell in cells.values() if isinstance(bit := cell["connections"]["CIN"][0], int)}
    for name, cell in cells.items():
        ends = cell["connections"]
        if read.isdisjoint(ends["COUT"]) and after.keys().isdisjoint(ends["COUT"]):
            ends["COUT"] = _OPEN
        for half in (0, 1):
            _close_inputs(cell, half)
        carry = ends["CIN"][0]
        if carry not in ("0", "1"):
            continue
        chain = [cell]
        while (following := after.get((chain[-1]["connections"]["COUT"] or _OPEN)[0])) is not None:
            chain.append(following)
        kept = [*chain[-1]["connections"]["S1"], *(bit for each in chain for bit in each["connections"]["COUT"])]
        if (read.isdisjoint(kept)
                and all(each["parameters"][f"INJECT1_{half}"] == "NO" for each in chain for half in (0, 1))):
            _move_on(chain, carry)
            ends["CIN"] = _OPEN
        else:
            wires += 1
            module["cells"][f"{name}_carry_in"] = _constant_carry(cell, carry, wires)
            ends["CIN"] = [wires]


def _constant(carry: str) -> str:
    """The table of a half that gives this carry, with all its inputs open."""
    return f"{int(carry) << 3:016b}"


def _move_on(chain: list[dict[str, Any]], carry: str) -> None:
    """Each half's place is taken by the one before, and the first half's by a constant carry."""
    table, wires = _constant(carry), dict.fromkeys(_HALF, _OPEN)
    for cell in chain:
        for half in "01":
            table, cell["parameters"][f"INIT{half}"] = cell["parameters"][f"INIT{half}"], table
            own = {name: cell["connections"][f"{name}{half}"] for name in _HALF}
            cell["connections"].update({f"{name}{half}": bits for name, bits in wires.items()})
            wires = own


def _constant_carry(cell: dict[str, Any], carry: str, wire: int) -> dict[str, Any]:
    """A cell like ``cell`` that gives a constant carry."""
    tables = {"INIT0": _constant("0"), "INIT1": _constant(carry), "INJECT1_0": "NO", "INJECT1_1": "NO"}
    return {**cell, "parameters": {**cell["parameters"], **tables}, "attributes": {},
            "connections": {**dict.fromkeys(cell["connections"], _OPEN), "COUT": [wire]}}


def _close_inputs(cell: dict[str, Any], half: int) -> None:
    ends = cell["connections"]
    c, d = (ends[f"{name}{half}"][0] for name in "CD")
    if "0" not in (c, d):
        return
    table = int(cell["parameters"][f"INIT{half}"], 2)
    values = {bit: [int(bit)] if bit in ("0", "1") else [0, 1] for bit in (c, d)}
    quarters = {table >> 4 * (2 * d_value + c_value) & 15 for c_value in values[c] for d_value in values[d]}
    if len(quarters) == 1:
        cell["parameters"][f"INIT{half}"] = f"{quarters.pop() << 12 | table & 0xFFF:016b}"
        ends[f"C{half}"] = ends[f"D{half}"] = _OPEN
