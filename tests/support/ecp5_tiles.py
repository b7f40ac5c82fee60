"""What a logic tile of an ECP5 can hold, as nextpnr's placers check it (``Arch::slices_compatible``)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

__all__ = ["wrong_tiles"]


def wrong_tiles(module: Mapping[str, Any]) -> list[str]:
    """What is wrong with a placed module's LUTs and flip-flops; nothing if it is empty."""
    wrong = []
    tiles: dict[str, dict[str, Any]] = defaultdict(dict)
    drivers: dict[int, tuple[str, str]] = {}
    for name, cell in module["cells"].items():
        place = cell["attributes"].get("NEXTPNR_BEL", "")
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "output":
                drivers |= dict.fromkeys(bits, (place, port))
        if match := re.fullmatch(r"(X\d+/Y\d+)/(SLICE[ABCD]\.(?:K|FF)[01]|SLICEC\.RAMW)", place):
            if match[2] in tiles[match[1]]:
                wrong.append(f"{name}: another cell is at {place}")
            tiles[match[1]][match[2]] = cell
        elif cell["type"] in ("TRELLIS_COMB", "TRELLIS_FF", "TRELLIS_RAMW"):
            wrong.append(f"{name}: no place for a {cell['type']}: {place!r}")
    for at, tile in tiles.items():
        wrong += [f"{at}: {what}" for what in _wrong(at, tile, drivers)]
    return wrong


def _wrong(at: str, tile: Mapping[str, Any], drivers: Mapping[int, tuple[str, str]]) -> list[str]:
    wrong = []
    registers = [cell for site, cell in tile.items() if ".FF" in site]
    for what in ("CLK", "LSR", "CLKMUX", "LSRMUX", "SRMODE"):
        if len({_has(cell, what) for cell in registers}) > 1:
            wrong.append(f"flip-flops differ in {what}")
    for letter in "ABCD":
        slice_ = f"SLICE{letter}"
        luts = [tile.get(f"{slice_}.K{half}") for half in (0, 1)]
        pair = [tile.get(f"{slice_}.FF{half}") for half in (0, 1)]
        if None not in luts and len({lut["parameters"].get("MODE") == "CCU2" for lut in luts if lut}) > 1:
            wrong.append(f"{slice_}: a carry beside a LUT")
        for what in ("CE", "CEMUX", "GSR"):
            if len({_has(cell, what) for cell in pair if cell}) > 1:
                wrong.append(f"{slice_}: flip-flops differ in {what}")
        for half, (lut, register) in enumerate(zip(luts, pair, strict=True)):
            site = f"{at}/{slice_}.K{half}"
            if lut is not None:
                mode, wires = lut["parameters"].get("MODE", "LOGIC"), lut["connections"]
                if "SLICEC.RAMW" in tile and letter == "C" and mode != "RAMW_BLOCK":
                    wrong.append(f"{slice_}: a LUT beside RAM addresses")
                if mode == "DPRAM" and letter in "CD":
                    wrong.append(f"{slice_}: LUT RAM")
                if wires.get("F1") and (half, drivers[wires["F1"][0]]) != (0, (f"{at}/{slice_}.K1", "F")):
                    wrong.append(f"{site}: F1 is not from the LUT beside it")
                for port in ("FXA", "FXB"):
                    if wires.get(port) and (half == 0 or not drivers[wires[port][0]][0].startswith(f"{at}/SLICE")):
                        wrong.append(f"{site}: {port} is not from this tile")
                if wires.get("FXA") and letter in "BD" and drivers[wires["FXA"][0]][0] == f"{at}/{slice_}.K0":
                    wrong.append(f"{site}: four LUTs begin in the second slice of two")
            if register is not None:
                if lut is not None and lut["connections"].get("M") and register["connections"].get("M"):
                    wrong.append(f"{slice_}: a multiplexer and a flip-flop want the same input")
                data = register["connections"].get("DI")
                if data and drivers[data[0]] not in ((site, "F"), (site, "OFX")):
                    wrong.append(f"{slice_}.FF{half}: its data are not from the LUT beside it")
                if bool(data) is not (register["parameters"]["SD"].strip() == "1"):
                    wrong.append(f"{slice_}.FF{half}: its data come from elsewhere than SD says")
    return wrong


def _has(cell: Mapping[str, Any], what: str) -> str:
    return str((cell["connections"].get(what), cell["parameters"].get(what)))
