"""What a plan takes of a device, estimated: in milliseconds, where synthesis takes minutes.

Registers and memories are counted; LUTs are a weighted sum of what the hardware is made of before synthesis
(:mod:`.inventory`). The weights come from syntheses by Yosys: ``bench/resource_model.py`` fits them, and says how far
off they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from spikeloom.model.errors import SpikeloomError

from .devices import Device, Family
from .inventory import FEATURES, Inventory, MemoryShape

__all__ = ["LUT_RAM", "MODEL", "Estimate", "estimate", "memory_use"]

MODEL = "resource_model.json"

# Forms of a block RAM: rows, bits of a row, and how many of them are written together at least.
_NARROW = ((16384, 1, 1), (8192, 2, 2), (4096, 4, 4))
_BLOCKS: dict[Family, tuple[tuple[int, int, int], ...]] = {
    "ecp5": (*_NARROW, (2048, 9, 9), (1024, 18, 9), (512, 36, 36)),
    "xc7": (*_NARROW, (2048, 9, 9), (1024, 18, 9), (512, 36, 9)),
    "gowin": (*_NARROW, (2048, 9, 9), (1024, 18, 9), (512, 36, 9)),
    "ice40": ((2048, 2, 2), (1024, 4, 4), (512, 8, 8), (256, 16, 1)),
}
# A piece of LUT RAM: rows, bits, and LUTs.
LUT_RAM: dict[Family, tuple[int, int, int]] = {
    "ecp5": (16, 4, 6),
    "xc7": (64, 3, 4),
    "gowin": (16, 4, 4),
}
# What Yosys's memory_libmap adds up: a block, a piece of LUT RAM, and for each bit half of what chooses among lines.
_COSTS: dict[Family, tuple[float, float]] = {"ecp5": (128, 4), "xc7": (128, 8), "gowin": (128, 4), "ice40": (64, 0)}
_CHOICE_COST = 0.5


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """As :class:`.SynthResult` counts."""

    lut: int
    ff: int
    bram: int
    dsp: int

    def fits(self, device: Device) -> bool:
        """Whether the device holds all of it."""
        return all(limit is None or getattr(self, what) <= limit for what, limit in device.capacity().items())


def memory_use(memory: MemoryShape, family: Family) -> tuple[int, int, int]:
    """LUTs, flip-flops and block RAMs that a memory takes: as Yosys's memory_libmap chooses.

    A memory of more rows than a form has is as many lines of the form's rows, side by side, and a choice of their
    outputs. Lines share pieces: to the last bit if they are only read, else as far as parts of one are written alone.
    """
    def cost(rows: int, bits: int, together: int, each: float) -> tuple[float, int, int]:
        lines = -(-memory.rows // rows)
        width = memory.bits if not memory.written else -(-memory.bits // together) * together
        pieces = -(-lines * width // bits)
        return each * pieces + _CHOICE_COST * memory.bits * (lines - 1), lines, pieces

    if memory.rows == 1 and not memory.written:
        return 0, 0, 0
    block_cost, lut_ram_cost = _COSTS[family]
    least, _, blocks = min(cost(*form, block_cost) for form in _BLOCKS[family])
    if not memory.written:
        return 0, 0, blocks if memory.clocked else 0
    # Flip-flops, and a choice of rows; or LUT RAM, where there is some.
    size = memory.rows * memory.bits
    own, small = float(size), (size, size, 0)
    if family in LUT_RAM:
        rows, bits, luts = LUT_RAM[family]
        lut_cost, _, pieces = cost(rows, bits, bits, lut_ram_cost)
        if lut_cost <= own:
            own, small = lut_cost, (luts * pieces, memory.bits if memory.clocked else 0, 0)
    return (0, 0, blocks) if memory.clocked and own >= least else small


@cache
def _weights(family: Family) -> Mapping[str, float]:
    values: Mapping[str, Any] = json.loads(resources.files("spikeloom.gen").joinpath(MODEL).read_text(encoding="utf-8"))
    if family not in values["families"]:
        raise SpikeloomError(f"family {family}: there is no resource model (but for {', '.join(values['families'])})")
    return dict(values["families"][family])


def estimate(inventory: Inventory, family: Family) -> Estimate:
    """What an inventory takes of a device of this family."""
    weights = _weights(family)
    lut = sum(weights[name] * inventory.counts[name] for name in FEATURES)
    ff, bram = inventory.counts["register"], 0
    for memory, count in inventory.memories.items():
        luts, registers, blocks = memory_use(memory, family)
        lut, ff, bram = lut + count * luts * weights["lut_ram"], ff + count * registers, bram + count * blocks
    return Estimate(lut=round(lut), ff=ff, bram=bram, dsp=0)
