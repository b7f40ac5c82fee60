"""Emission: a plan's hardware as Verilog text and memory files.

Amaranth describes the hardware, as a netlist for Yosys (:mod:`.rtlil`); :mod:`.verilog_module` writes it as Verilog.
Equal components become one module (:mod:`spikeloom.rtl.share`), weights become ``$readmemh`` files.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Fragment, Instance, ResetSignal, Value
from amaranth.lib import wiring

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network
from spikeloom.model.neurons.wording import equations
from spikeloom.model.system.arguments import an, short
from spikeloom.rtl.accelerator import SPIKES
from spikeloom.rtl.share import MaskedAdd, RomPart, ThreeAdd

from .own_cells import OWN_MODULES, own_module
from .plan import Plan
from .rtlil import NetlistModule, read_rtlil
from .verilog_module import Interface, ModuleWriter, legal_name

__all__ = ["TOP", "EmittedVerilog", "check_top", "emit", "emit_component"]

TOP = "snn_top"

_MEMORY_VERILOG = """\
// {about} in block RAM: LATENCY (1 or 2) cycles later, data is the row at address, or 0 if it was not chosen.
module {name} #(
  parameter WIDTH = 1,
  parameter DEPTH = 1,
  parameter ADDRESS_BITS = 1,
  parameter LATENCY = 1,
  parameter FILE = ""
) (
  input wire clk,
{ports}  input wire [ADDRESS_BITS-1:0] address,
  input wire chosen,
  output reg [WIDTH-1:0] data
);
{attributes}
  reg [WIDTH-1:0] rows [0:DEPTH-1];
  if (FILE != "") begin : contents
`ifdef {PATH}
    initial $readmemh({`{PATH}, FILE}, rows);
`else
    initial $readmemh(FILE, rows);
`endif
  end
{write}  reg [WIDTH-1:0] row;
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

_MEMORIES = {
    "rom": {
        "about": "Read-only memory", "ports": "", "write": "",
        "attributes": """\
  // The attributes of Vivado, of Synplify and LSE (Lattice, Gowin), and of Quartus.
  (* ram_style = "block", rom_style = "block", syn_ramstyle = "block_ram", syn_romstyle = "block_rom",
     ramstyle = "no_rw_check", romstyle = "M9K" *)"""},
    "ram": {
        "about": "Memory that is written at run time,",
        "ports": """\
  input wire write,
  input wire [ADDRESS_BITS-1:0] write_address,
  input wire [WIDTH-1:0] write_data,
""",
        "write": """\
  always @(posedge clk)
    if (write) rows[write_address] <= write_data;
""",
        "attributes": """\
  // The attributes of Vivado, of Synplify and LSE (Lattice, Gowin), of Quartus, and of Yosys: no row is read as it is
  // written.
  (* ram_style = "block", syn_ramstyle = "block_ram,no_rw_check", ramstyle = "no_rw_check", no_rw_check *)"""},
}

# Modules of gen/templates and cosim/harness.
_TESTBENCHES = ("testbench", "testbench_memory", "snn_testbench", "axi_memory")

# Synthesis may take these once, and then as often as they stand there.
_SHARED = "(* shared *)\n"

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

    top: str
    shared: dict[str, wiring.Component] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    memory_bits: dict[str, int] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    around: Mapping[str, frozenset[str]] = field(default_factory=dict)
    lut_ram: bool = True

    def instance(self, kind: type[wiring.Component], config: Any, module_name: str) -> tuple[Any, Elaboratable]:
        name = f"{self.top}_{module_name}"
        component = self.shared.get(name) or self.shared.setdefault(name, kind(config))
        if type(component) is not kind or component.config != config:
            raise RuntimeError(f"module {name} is asked for with two configurations")
        interface = component.signature.create(path=(module_name,))
        ports = {f"{'i' if member.flow == wiring.In else 'o'}_{'__'.join(map(str, path))}": value
                 for path, member, value in component.signature.flatten(interface)}
        return interface, Instance(name, i_clk=ClockSignal(), i_rst=ResetSignal(), **ports)

    def rom(self, part: RomPart) -> Elaboratable:
        digits = -(-part.row_bits // 4)
        file = f"{self.top}_{part.name}.hex"
        self.files[file] = "".join(f"{row:0{digits}x}\n" for row in part.rows)
        self.memory_bits[file] = part.row_bits * len(part.rows)
        kind, write = "rom", {}
        if part.write is not None:
            kind, write = "ram", {"i_write": part.write.enable, "i_write_address": part.write.address,
                                  "i_write_data": part.write.data}
        self.used.add(kind)
        return Instance(f"{self.top}_{kind}", p_WIDTH=part.row_bits, p_DEPTH=len(part.rows),
                        p_ADDRESS_BITS=len(part.address),
                        p_LATENCY=part.latency_cycles, p_FILE=file, i_clk=ClockSignal(), i_address=part.address,
                        i_chosen=part.chosen, o_data=part.data, **write)

    def three_add(self, adder: ThreeAdd) -> Elaboratable:
        self.used |= {"masked_add", "three_add"}
        return Instance(f"{self.top}_three_add", p_WIDTH=len(adder.a), p_PART=len(adder.b), i_a=adder.a, i_b=adder.b,
                        i_c=adder.c, i_c_mask=adder.c_mask, o_total=adder.total)

    def masked_add(self, adder: MaskedAdd) -> Elaboratable:
        self.used.add("masked_add")
        return Instance(f"{self.top}_masked_add", p_WIDTH=adder.width, p_COUNT=adder.count, i_a=adder.a,
                        i_a_mask=adder.a_mask, i_b=adder.b, i_b_mask=adder.b_mask, o_total=adder.total)


@dataclass(frozen=True)
class EmittedVerilog:
    """Result of :func:`emit`.

    Attributes
    ----------
    verilog : str
        All modules, the top module first.
    memories : dict of file name to text
        Contents for ``$readmemh``.
    memory_bits : dict of file name to int
        Size of each of those memories.
    signature : Signature
        Ports of the top module, without clock and reset.
    """

    verilog: str
    memories: dict[str, str]
    memory_bits: dict[str, int]
    signature: wiring.Signature


def emit(plan: Plan, top: str = TOP, progress: Callable[[str], None] | None = None,
         shows_scores: bool = False) -> EmittedVerilog:
    """Write the hardware of ``plan`` as Verilog. The same plan gives the same text.

    ``top`` names the top module, and begins the names of all other modules and of the memory files. With
    ``shows_scores`` it has ports for the scores as they are compared.
    """
    check_top(top)
    platform = _Platform(top, lut_ram=plan.fold.lut_ram)
    network = plan.network
    head = _HEAD.format(name=network.name, topology=network.topology, duration=network.duration, fold=plan.fold.name,
                        hash=network.hash, equations=_equations(network))
    accelerator = plan.accelerator(shows_scores)
    modules = _emit(accelerator, platform, progress)
    return EmittedVerilog("\n".join([head, *modules]), platform.files, platform.memory_bits, accelerator.signature)


def emit_component(component: wiring.Component, top: str, *, around: Mapping[str, frozenset[str]] | None = None) -> str:
    """Write any component as Verilog.

    Parameters
    ----------
    component : Component
        If it has a port ``aclk``, it makes its own clock domain of it; otherwise it gets ``clk`` and ``rst``.
    top : str
        As for :func:`emit`.
    around : mapping of str to set of str, optional
        Modules that it instantiates but does not bring along, with the names of their outputs.
    """
    check_top(top)
    return "\n".join(_emit(component, _Platform(top, around=around or {})))


def _emit(component: wiring.Component, platform: _Platform, progress: Callable[[str], None] | None = None) -> list[str]:
    """All modules of a component, and those written by hand that they use."""
    texts = [_to_rtlil(component, platform.top, platform)]
    while len(texts) <= len(platform.shared):  # a shared module may ask for another one
        name, shared = list(platform.shared.items())[len(texts) - 1]
        if progress is not None:
            progress(name)
        texts.append(_to_rtlil(shared, name, platform))
    own = [_filled(_MEMORY_VERILOG, {**values, "name": f"{platform.top}_{name}",
                                     "PATH": f"{platform.top.upper()}_MEMORY_PATH"})
           for name, values in _MEMORIES.items() if name in platform.used]
    own += [own_module(kind, platform.top) for kind in OWN_MODULES if kind in platform.used]
    return [*_modules(texts, platform), *own]


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Verilog has braces of its own."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def check_top(top: str) -> None:
    """Whether a module can be called so, in every language that it may meet.

    Raises
    ------
    SpikeloomError
        If not.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", an(str, top, "top")) or legal_name(top) != top:
        raise SpikeloomError(f"top {short(top)}: must be a letter and up to 63 letters, digits or underscores, and no "
                             "word of Verilog")
    for other in _TESTBENCHES:
        if f"{other}_".startswith(f"{top}_"):
            raise SpikeloomError(f"top {top}: a part could be called {other}, as one of the testbenches is: choose "
                                 "another name")


def _modules(rtlil_texts: list[str], platform: _Platform) -> list[str]:
    """All modules, the users before the used."""
    modules = {module.name: module for text in rtlil_texts for module in read_rtlil(text)}
    outputs = {name: frozenset(wire.name[1:] for wire in module.wires.values() if wire.direction == "output")
               for name, module in modules.items()}
    names = {f"\\{platform.top}_{name}": Interface(f"{platform.top}_{name}") for name in platform.used}
    outputs |= {f"\\{platform.top}_{name}": frozenset({given}) for name, given in
                (("rom", "data"), ("ram", "data"), *((kind, "total") for kind in OWN_MODULES))}
    names |= {f"\\{name}": Interface(name) for name in platform.around}
    outputs |= {f"\\{name}": ports for name, ports in platform.around.items()}
    texts: list[str] = []

    def write(module: NetlistModule) -> None:
        if module.name in names:
            return
        for cell in module.cells:
            if cell.kind in modules:
                write(modules[cell.kind])
        plain = module.name.removeprefix("\\")
        taken, wanted = {interface.name for interface in names.values()}, legal_name(plain)
        name = next(name for name in chain([wanted], (f"{wanted}_{n}" for n in count(2))) if name not in taken)
        kept = frozenset(wire for wire in module.wires if wire.startswith(f"\\{SPIKES}"))
        writer = ModuleWriter(module, names, outputs, kept)
        names[module.name] = Interface(name, writer.ports(complete=plain == platform.top))
        texts.append(writer.text(names[module.name], _SHARED if plain in platform.shared else ""))

    for module in modules.values():
        write(module)
    return texts[::-1]


def _equations(network: Network) -> str:
    """What the neurons of each layer do, as comments."""
    lines = []
    for layer in network.layers:
        lines.append(f"//   {layer.name}:")
        lines += [f"//     {line}" for line in equations(layer.program)]
    return "\n".join(lines)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without garbage collection: of a netlist's millions of small objects none is garbage before its text is written,
    and searching them again and again takes longer than all the rest."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@uncollected()
def _to_rtlil(component: wiring.Component, name: str, platform: _Platform) -> str:
    """One component, with ``clk`` and ``rst`` ports whether it uses them or not, unless it has a clock of its own."""
    fragment = Fragment.get(component, platform)
    ports: dict[str, Any] = {}
    if "aclk" not in component.signature.members:
        domain = ClockDomain("sync")
        fragment.add_domains(domain)
        ports = {"clk": (domain.clk, None), "rst": (domain.rst, None)}
    for path, _, value in component.signature.flatten(component):
        ports["__".join(map(str, path))] = (Value.cast(value), None)
    text: str = rtlil.convert_fragment(fragment, ports, name, emit_src=False)[0]
    return text
