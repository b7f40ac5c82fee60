"""One description of registers, for people and for programs: Markdown, HTML, a C header, a Python driver, SystemRDL."""

from __future__ import annotations

from typing import Any

from spikeloom.rtl.control import HASH_WORDS
from spikeloom.rtl.registers import RegisterMap

from .pages import page, plain
from .rendering import rendered

__all__ = ["register_files"]


def register_files(registers: RegisterMap, bus: str, weight_sets: int = 0, set_words: int = 0,
                   scored_classes: int = 0) -> dict[str, str]:
    """Contents of the files about the registers of a module called ``bus``, by name; with ``weight_sets``, drivers also
    load one, of ``set_words``, with ``scored_classes`` they read so many scores."""
    values: dict[str, Any] = {
        "loads": weight_sets, "set_words": set_words, "hash_words": HASH_WORDS, "scored": scored_classes,
        "map": registers, "bus": bus, "guard": bus.upper(), "plain": plain, "quoted": _quoted,
        "constants": [r for r in registers.registers if [f.access for f in r.fields] == ["constant"]],
        # What is written back when another field of a register changes.
        "keeps": {r.name: sum(f.mask for f in r.fields if f.access == "control") for r in registers.registers}}
    files = {f"{bus}_registers.{kind}": rendered("spikeloom.gen", f"templates/registers.{kind}.j2", values)
             for kind in ("md", "h", "py", "rdl")}
    return {**files, f"{bus}_registers.html": page(f"{bus}: registers", files[f"{bus}_registers.md"])}


def _quoted(text: str) -> str:
    """Text inside a string of SystemRDL, or of Python."""
    return text.replace('"', '\\"')
