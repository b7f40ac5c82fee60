"""A pass over a netlist for ECP5, in front of nextpnr: flip-flops invert what they need inverted.

Synthesis puts a LUT between a signal and the resets of flip-flops that are reset where it is not set: a LUT with
hundreds of loads all over the device, and a long wire to it. Flip-flops have inverters of their own at these inputs.
"""

from __future__ import annotations

from typing import Any

__all__ = ["absorb_inverters"]

_INPUTS = "ABCD"


def absorb_inverters(module: dict[str, Any]) -> None:
    """Change a module of a Yosys netlist (``write_json``) of ECP5 cells: where the reset of a ``TRELLIS_FF`` comes from
    a LUT that does nothing but invert, it comes from the LUT's input, and the flip-flop inverts it. LUTs that nobody
    reads any more are taken out."""
    inverters = {cell["connections"]["Z"][0]: (name, source) for name, cell in module["cells"].items()
                 if cell["type"] == "LUT4" and (source := _inverted(cell)) is not None}
    for cell in module["cells"].values():
        ends = cell["connections"]
        if cell["type"] == "TRELLIS_FF" and (bit := ends.get("LSR", ["x"])[0]) in inverters:
            ends["LSR"] = [inverters[bit][1]]
            cell["parameters"]["LSRMUX"] = "LSR" if cell["parameters"].get("LSRMUX") == "INV" else "INV"
    read = {bit for cell in module["cells"].values() for port, bits in cell["connections"].items()
            if cell["port_directions"][port] != "output" for bit in bits}
    read.update(bit for port in module["ports"].values() for bit in port["bits"])
    for bit, (name, _) in inverters.items():
        if bit not in read:
            del module["cells"][name]


def _inverted(cell: dict[str, Any]) -> int | None:
    """The wire that the LUT inverts; None if it does anything else."""
    ends = [cell["connections"][port][0] for port in _INPUTS]
    wires = [bit for bit in ends if bit not in ("0", "1")]
    if len(wires) != 1 or wires == ["x"]:
        return None
    table = int(cell["parameters"]["INIT"], 2)

    def given(value: int) -> int:
        place = sum((value if isinstance(bit, int) else bit == "1") << k for k, bit in enumerate(ends))
        return table >> place & 1

    return int(wires[0]) if (given(0), given(1)) == (1, 0) else None
