"""A shell with four pins around a build: devices have fewer pins than a bare top has ports."""

from __future__ import annotations

import json
from typing import Any

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.paths import shown

from .manifest import BuiltFiles
from .synth import Shell

__all__ = ["PINS", "TOP", "pin_shell"]

TOP = "pin_shell"
PINS = ("clk", "rst", "i", "o")


def pin_shell(built: BuiltFiles) -> Shell:
    """Every input is a bit of a shift register, every output goes into a signature register.

    Whatever the paths from register to register inside the build are, they stay; a LUT and a flip-flop an output and a
    flip-flop an input are added.

    Raises
    ------
    SpikeloomError
        If ``interface.json`` is not one that was built.
    """
    try:
        return _shell(built, json.loads(built.text("interface.json")))
    except (KeyError, TypeError, ValueError) as error:
        raise SpikeloomError(f"{shown(built.path / 'interface.json')}: does not say what ports there are ({error!r}): "
                             "build again") from error


def _shell(built: BuiltFiles, interface: dict[str, Any]) -> Shell:
    clock, reset = ".clk(clk)", ".rst(rst)"
    if built.manifest.bus is not None:
        interface = interface["bus"]
        negated = "~" if interface["reset_active"] == "low" else ""
        clock, reset = f".{interface['clock']}(clk)", f".{interface['reset']}({negated}rst)"
        if interface["core_clock"] is not None:  # one clock here, so that one number tells how fast it may be
            clock += f", .{interface['core_clock']}(clk)"
    ports: list[dict[str, Any]] = interface["ports"]
    widths = {way: sum(int(port["bits"]) for port in ports if port["direction"] == way) for way in ("in", "out")}
    first = {"in": 0, "out": 0}
    pins = []
    for port in ports:
        way, bits = port["direction"], int(port["bits"])
        pins.append(f".{port['name']}({way}_bits[{first[way] + bits - 1}:{first[way]}])")
        first[way] += bits
    n, m = widths["in"], widths["out"]
    return Shell(top=TOP, text=f"""\
module {TOP} (input clk, input rst, input i, output o);
  reg [{n}:0] shift_q;
  reg [{m}:0] signature_q;
  wire [{n - 1}:0] in_bits = shift_q[{n}:1];
  wire [{m - 1}:0] out_bits;
  always @(posedge clk) begin
    shift_q <= {{shift_q[{n - 1}:0], i}};
    signature_q <= {{signature_q[{m - 1}:0] ^ out_bits, signature_q[{m}]}};
  end
  assign o = signature_q[{m}];
  {built.manifest.outer_top} core ({clock}, {reset}, {", ".join(pins)});
endmodule
""")
