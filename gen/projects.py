"""What other flows carry on with: a FuseSoC core, project scripts of the makers' tools, a clock, a list of files."""

from __future__ import annotations

from typing import Any

from .manifest import Description
from .rendering import rendered

__all__ = ["TOOLS", "project_files"]

CLOCK_NS = 10.0

#: Maker, how its script is run, and a part to start from.
TOOLS: dict[str, tuple[str, str, str]] = {
    "vivado": ("AMD Vivado", "vivado -mode batch -source {file}", "xc7a100tcsg324-1"),
    "quartus": ("Intel Quartus", "quartus_sh -t {file}", "5CEBA4F23C7"),
    "radiant": ("Lattice Radiant", "radiantc {file}", "iCE40UP5K-SG48I"),
    "diamond": ("Lattice Diamond", "diamondc {file}", "LFE5U-85F-6BG381C"),
    "gowin": ("Gowin EDA", "gw_sh {file}", "GW2AR-LV18QN88C8/I7"),
}


def project_files(told: Description, hash: str, vectors: list[str], clock: str,
                  core_clock: str | None = None) -> dict[str, str]:
    """Files for other flows, by name.

    Parameters
    ----------
    told : Description
        What is built.
    hash : str
        The network's.
    vectors : list of str
        Files that the testbench reads.
    clock : str
        Name of the outermost module's clock.
    core_clock : str, optional
        Of the other one, if there is one: nothing is to be timed between them.
    """
    outer = told.outer_top
    values: dict[str, Any] = {
        "top": told.top, "outer": outer, "sources": told.all_sources, "memories": sorted(told.memory_files),
        "vectors": sorted(vectors), "hash": hash, "version": told.versions["spikeloom"], "name": told.network.name,
        "topology": told.network.topology, "fold": told.fold["name"]}
    files = {
        f"{told.top}.core": rendered("spikeloom.gen", "templates/core.j2", values),
        f"{outer}.f": "".join(f"{name}\n" for name in told.all_sources),
        f"{outer}.sdc": f"# The clock that is asked for: {1000 / CLOCK_NS:g} MHz.\n" + "".join(
            f"create_clock -name {name} -period {CLOCK_NS:g} [get_ports {name}]\n"
            for name in (clock, core_clock) if name is not None),
    }
    if core_clock is not None:
        files[f"{outer}.sdc"] += (f"# What goes from one to the other is synchronised.\nset_clock_groups -asynchronous "
                                  f"-group {{{clock}}} -group {{{core_clock}}}\n")
    for tool, (maker, usage, part) in TOOLS.items():
        name = f"project_{tool}.tcl"
        files[name] = rendered("spikeloom.gen", "templates/project.tcl.j2", {
            **values, "tool": tool, "maker": maker, "part": part, "usage": usage.format(file=name),
            "part_note": f"The part is {part}: change it to yours."})
    return files
