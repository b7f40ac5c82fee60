"""The writer of Verilog: random hardware in Icarus against Amaranth's simulator; names, structure, what is left out."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pyslang
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.cdc import AsyncFFSynchronizer
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from support.simulation import simulate
from support.simulators import icarus_program

from spikeloom.gen.rtlil import read_rtlil
from spikeloom.gen.verilog_module import MAX_DEPTH, Interface, ModuleWriter, legal_name

CYCLES = 60


class RandomHardware(wiring.Component):
    """Operations on three inputs, registers with conditions, switches and a memory."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        super().__init__({"a": In(5), "b": In(signed(7)), "c": In(1), **{f"o{k}": Out(12) for k in range(6)}})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        rng = random.Random(self.seed)
        values: list[Any] = [self.a, self.b, self.c, Const(5, 4), Const(-3, signed(4))]

        def pick() -> Any:
            return rng.choice(values)[:12] if rng.random() < 0.2 else rng.choice(values)

        def bit() -> Any:
            value = pick()
            return rng.choice([lambda: value.any(), lambda: value.all(), lambda: value[0], lambda: value.xor(),
                               lambda: value == pick(), lambda: value < pick(), lambda: value >= pick()])()

        def narrow(value: Any) -> Any:
            return value if len(value) <= 16 else value[:16] if rng.random() < 0.5 else value[:16].as_signed()

        def operation() -> Any:
            a, b = pick(), pick()
            return narrow(rng.choice([
                lambda: a + b, lambda: a - b, lambda: a & b, lambda: a | b, lambda: a ^ b, lambda: ~a, lambda: -a,
                lambda: a[:8] * b[:6], lambda: Mux(bit(), a, b), lambda: Cat(a, b), lambda: a >> rng.randrange(5),
                lambda: a << rng.randrange(4), lambda: a[:8] << b[:2], lambda: a >> b[:3].as_unsigned(),
                lambda: a.as_signed() >> 2, lambda: a[1:] if len(a) > 1 else a,
                lambda: bit(), lambda: a[:8].word_select(b[:1], 4),
                lambda: a[:3].replicate(2), lambda: a.as_unsigned()])())

        for k in range(40):
            value = operation()
            kept = Signal(value.shape(), name=f"v{k}")
            choice = Signal(3, name=f"choice{k}")
            kind = rng.random()
            if kind < 0.5:
                m.d.comb += kept.eq(value)
            elif kind < 0.7:
                m.d.sync += kept.eq(value)
            elif kind < 0.9:
                synchronous = rng.random() < 0.6
                domain = m.d.sync if synchronous else m.d.comb
                with m.If(bit()):
                    domain += kept.eq(value)
                    with m.If(bit()):
                        domain += kept.eq(kept if synchronous and rng.random() < 0.5 else pick())
                with m.Elif(bit()):
                    domain += kept[:max(1, len(kept) // 2)].eq(pick())
                with m.Else():
                    domain += kept.eq(pick())
            else:
                with m.Switch(self.a[:3] if rng.random() < 0.7 else Const(rng.randrange(8), 3)):
                    with m.Case(1, 2):
                        m.d.sync += kept.eq(value)
                    with m.Case("1--"):
                        m.d.sync += kept.eq(pick())
                    with m.Default():
                        m.d.sync += kept.eq(kept + 1)
                with m.Switch(Cat(bit(), bit())), m.Case("-0"):
                    m.d.comb += choice.eq(pick())
            values += [kept, choice]
        m.submodules.memory = memory = Memory(shape=unsigned(9), depth=8, init=range(3, 500, 67))
        write, read, now = memory.write_port(), memory.read_port(), memory.read_port(domain="comb")
        m.d.comb += [write.addr.eq(pick()), write.data.eq(pick()), write.en.eq(bit()), read.addr.eq(pick()),
                     read.en.eq(bit()), now.addr.eq(pick())]
        seen = Signal()  # until then, what the memory gives is unknown
        with m.If(read.en):
            m.d.sync += seen.eq(1)
        values += [Mux(seen, read.data, 0), now.data]
        shown = [*values[-4:], operation(), operation()]
        m.d.comb += [getattr(self, f"o{k}").eq(value) for k, value in enumerate(shown)]
        return m


def written(component: Any, name: str = "random_hardware") -> str:
    (module,) = read_rtlil(rtlil.convert(component, name=name, emit_src=False))
    writer = ModuleWriter(module, {}, {})
    return writer.text(Interface(name, writer.ports(complete=True)))


@pytest.mark.parametrize("seed", range(40))
def test_random_hardware(seed: int, tmp_path: Path) -> None:
    icarus = icarus_program()
    rng = random.Random(seed)
    stimulus = [(rng.randrange(32), rng.randrange(-64, 64), rng.randrange(2)) for _ in range(CYCLES)]
    dut = RandomHardware(seed)
    want: list[list[int]] = []

    async def bench(ctx: Any) -> None:
        for a, b, c in stimulus:
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            ctx.set(dut.c, c)
            want.append([ctx.get(getattr(dut, f"o{k}")) for k in range(6)])
            await ctx.tick()

    simulate(dut, bench)
    verilog = written(RandomHardware(seed))
    assert "\\" not in verilog
    show = f"$display(\"{' %0d' * 6}\", {', '.join(f'o{k}' for k in range(6))});"
    lines = "".join(f"    a = {a}; b = {b}; c = {c}; #4 {show} #1 clk = 1; #5 clk = 0;\n" for a, b, c in stimulus)
    (tmp_path / "bench.v").write_text(
        "module bench; reg clk = 0; reg [4:0] a; reg signed [6:0] b; reg c; "
        + "".join(f"wire [11:0] o{k}; " for k in range(6))
        + "random_hardware dut (.clk(clk), .rst(1'b0), .a(a), .b(b), .c(c), "
        + ", ".join(f".o{k}(o{k})" for k in range(6)) + f");\n  initial begin\n{lines}  end\nendmodule\n")
    (tmp_path / "dut.v").write_text(verilog)
    for rules in ("-g2005", "-g2012"):
        subprocess.run([icarus, rules, "-o", "program", "bench.v", "dut.v"], cwd=tmp_path, check=True, timeout=60)
        said = subprocess.run(["vvp", "program"], cwd=tmp_path, check=True, timeout=60, capture_output=True, text=True)
        got = [[int(n) for n in line.split()] for line in said.stdout.splitlines() if line.startswith(" ")]
        assert got == want, f"seed {seed}"


class Plain(wiring.Component):
    def __init__(self) -> None:
        super().__init__({"enable": In(1), "step": In(4), "spare": In(3), "end": Out(1), "count": Out(8)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        nobody = Signal(8)
        m.d.sync += nobody.eq(nobody + 1)
        with m.If(self.enable):
            m.d.sync += self.count.eq(self.count + self.step)
        m.d.comb += self.end.eq(self.count == 200)
        return m


def test_text() -> None:
    """As somebody would write it."""
    assert written(Plain(), "plain") == """\
module plain (
  input wire clk,
  input wire rst,
  input wire enable,
  input wire [3:0] step,
  input wire [2:0] spare,
  output wire end_,
  output reg [7:0] count
);

  initial begin
    count = 8'h00;
  end

  assign end_ = count == 8'hc8;
  always @(posedge clk) begin
    if (rst)
      count <= 8'h00;
    else if (enable)
      count <= count + {4'd0, step};
  end
endmodule
"""


class Parts(wiring.Component):
    """A register of which one part is assigned behind the condition of another."""

    def __init__(self) -> None:
        super().__init__({"enable": In(1), "step": In(4), "both": Out(8)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        with m.If(self.enable):
            m.d.sync += self.both[:4].eq(self.both[:4] + self.step)
        with m.Else():
            m.d.sync += self.both[:4].eq(self.step)
        m.d.sync += self.both[4:].eq(~self.step)
        return m


def test_what_comes_behind_a_condition_is_no_branch_of_it() -> None:
    assert """\
    else
      both[3:0] <= step;
    both[7:4] <= ~step;
""" in written(Parts(), "parts")


class Synchroniser(wiring.Component):
    """A reset that comes without a clock."""

    def __init__(self) -> None:
        super().__init__({"button": In(1), "o": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.synchroniser = AsyncFFSynchronizer(self.button, self.o)
        return m


def test_what_is_reset_at_once() -> None:
    text = rtlil.convert(Synchroniser(), emit_src=False)
    netlist = next(module for module in read_rtlil(text) if module.name.endswith("synchroniser"))
    writer = ModuleWriter(netlist, {}, {})
    said = writer.text(Interface("synchroniser", writer.ports(complete=True)))
    assert """\
  always @(posedge async_ff_clk, posedge async_ff_rst)
    if (async_ff_rst) stage0 <= 1'b1;
    else stage0 <= 1'b0;
  always @(posedge async_ff_clk, posedge async_ff_rst)
    if (async_ff_rst) stage1 <= 1'b1;
    else stage1 <= stage0;
""" in said


class Long(wiring.Component):
    """A chain of so many operations without names."""

    def __init__(self, length: int) -> None:
        self.length = length
        super().__init__({"i": In(length), "o": Out(1), "first": Out(range(length + 1))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        any_set: Any = self.i[0]
        first: Any = Const(self.length)
        for k in reversed(range(self.length)):
            any_set = any_set | self.i[k]
            first = Mux(self.i[k], k, first)
        m.d.comb += [self.o.eq(any_set), self.first.eq(first)]
        return m


def test_long_expressions_are_cut() -> None:
    """Their text and the time for it grow with their length, and nobody has to read one of them."""
    lengths = [len(written(Long(length), "long")) for length in (100, 200)]
    assert lengths[1] < 2.2 * lengths[0]
    lines = written(Long(200), "long").splitlines()
    assert max(line.count("?") + line.count("|") for line in lines) <= MAX_DEPTH + 1


@pytest.mark.parametrize(("name", "want"), [
    ("\\hidden1.queue", "hidden1_queue"), ("\\o__payload$12", "o__payload"), ("\\end", "end_"), ("\\x[3]", "x_3"),
    ("$signal$4", "signal"), ("\\logic", "logic_"), ("\\x_", "x_"), ("\\a__b", "a__b"), ("\\7up", "n7up")])
def test_legal_names(name: str, want: str) -> None:
    assert legal_name(name) == want
    assert re.fullmatch(r"[A-Za-z]\w*", want)


def test_no_word_of_verilog_is_a_name() -> None:
    """Of all keywords that slang knows."""
    kinds = [name.removesuffix("Keyword") for name in dir(pyslang.parsing.TokenKind) if name.endswith("Keyword")]
    boundaries = (r"(?<!^)(?=[A-Z])", r"(?<=[a-z])(?=[A-Z])", r"(?!)")
    words = {re.sub(boundary, "_", kind).lower() for kind in kinds for boundary in boundaries}
    refused = [word for word in words
               if pyslang.syntax.SyntaxTree.fromText(f"module m; wire {word}; endmodule").diagnostics]
    assert len(refused) > 200
    assert [word for word in refused if legal_name(word) == word] == []


@pytest.mark.parametrize("text", ["wire width 1 \\x\n", "module \\x\n  what\nend\n", "module \\x\n",
                                  "module \\x\n  cell $add $1\n    what\n", "module \\x\n  process $1\n    what\n"])
def test_what_is_no_netlist(text: str) -> None:
    with pytest.raises(ValueError, match="netlist: "):
        read_rtlil(text)
