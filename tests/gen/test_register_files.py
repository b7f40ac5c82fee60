"""What is made of the description of registers: by readers that are not ours, and against the hardware."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Module
from support.simulation import simulate
from systemrdl import RDLCompiler

from spikeloom.gen.register_files import register_files
from spikeloom.rtl.control import ControlConfig, control_registers
from spikeloom.rtl.register_bus import Wishbone
from spikeloom.rtl.registers import Field, Register, RegisterFile, RegisterMap

MAP = control_registers(ControlConfig(network_hash="0123456789abcdef" * 4, class_bits=4,
                                      tables=(("hidden1", 40), ("x_", 32))))
SPECIAL = RegisterMap(name="special", text='Odd "texts" and <b>markup</b>', registers=(
    Register(name="id", offset=0, text="id", fields=(
        Field(name="value", text="id", bits=3, access="constant", reset=6),)),
    Register(name="a", offset=4, text="*not* emphasis | no column", fields=(
        Field(name="low", bits=3, low=1, access="control", reset=5, text='quoted "text"'),
        Field(name="event", low=7, access="event", text="an event"),
        Field(name="go", low=31, access="pulse", text="a pulse"))),
    Register(name="b", offset=12, text="b", fields=(Field(name="given", bits=32, text="<script>"),))))
SETS = ControlConfig(network_hash="0123456789abcdef" * 4, class_bits=4, weight_sets=2, set_words=3, set_shape=77)
LOADS = replace(control_registers(SETS), name="loads")
SCORES = replace(control_registers(ControlConfig(network_hash="0123456789abcdef" * 4, class_bits=2, scored_classes=3)),
                 name="scores")
MAPS = pytest.mark.parametrize("registers", [MAP, SPECIAL, LOADS, SCORES], ids=lambda m: m.name)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[RegisterMap], dict[str, Path]]:
    def write(registers: RegisterMap) -> dict[str, Path]:
        files = register_files(registers, "my_top_axi", *((2, 3) if registers is LOADS else ()),
                               scored_classes=3 if registers is SCORES else 0)
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        return {name.rpartition(".")[2]: tmp_path / name for name in files}
    return write


def module_of(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("driver", path)
    assert spec is not None
    assert spec.loader is not None
    driver = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(driver)
    return driver


@MAPS
def test_c_header(registers: RegisterMap, written: Any, tmp_path: Path) -> None:
    """Compiled with all warnings; what it says is printed, and compared."""
    header = written(registers)["h"]
    names = {}
    for r in registers.registers:
        names[f"MY_TOP_AXI_{r.name.upper()}"] = r.offset
        for f in r.fields:
            prefix = f"MY_TOP_AXI_{r.name.upper()}_{f.name.upper()}"
            names |= {f"{prefix}_MASK": ((1 << f.bits) - 1) << f.low, f"{prefix}_LOW": f.low}
    printed = "".join(f'  printf("%u\\n", (unsigned){name});\n' for name in names)
    words = max(r.offset for r in registers.registers) // 4 + 1
    values = {r.offset // 4: r.fields[0].reset for r in registers.registers if r.fields[0].access == "constant"}
    memory = ", ".join(str(values.get(word, 0)) + "u" for word in range(words))
    program = f"""
#include <stdio.h>
#include "{header.name}"
int main(void) {{
  uint32_t there[] = {{{memory}}};
{printed}
  printf("%d\\n", my_top_axi_is_there(there));
  there[0] ^= 1;
  printf("%d\\n", my_top_axi_is_there(there));
  my_top_axi_write(there, 4u, 77u);
  printf("%u\\n", (unsigned)my_top_axi_read(there, 4u));
  return 0;
}}
"""
    (tmp_path / "main.c").write_text(program)
    flags = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
    subprocess.run(["gcc", *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    said = subprocess.run([str(tmp_path / "main")], check=True, capture_output=True, text=True).stdout.split()
    assert [int(word) for word in said[:-3]] == list(names.values())
    assert said[-3:] == ["1", "0", "77"]


@MAPS
def test_systemrdl(registers: RegisterMap, written: Any) -> None:
    compiler = RDLCompiler()
    compiler.compile_file(str(written(registers)["rdl"]))
    top = compiler.elaborate().top
    assert top.inst_name == "my_top_axi"
    found = {node.inst_name: node for node in top.registers()}
    assert list(found) == [r.name for r in sorted(registers.registers, key=lambda r: r.offset)]
    for r in registers.registers:
        node = found[r.name]
        assert node.address_offset == r.offset
        assert node.get_property("desc") == r.text
        fields = {field.inst_name: field for field in node.fields()}
        assert set(fields) == {f.name for f in r.fields}
        for f in r.fields:
            field = fields[f.name]
            assert (field.low, field.width) == (f.low, f.bits)
            assert field.is_sw_writable is (f.access in ("control", "event", "pulse", "push"))
            assert field.is_sw_readable is (f.access not in ("pulse", "push"))
            assert field.get_property("desc") == f.text
            if f.access != "status":
                assert field.get_property("reset") == f.reset


@MAPS
def test_python_driver(registers: RegisterMap, written: Any, tmp_path: Path) -> None:
    driver = written(registers)["py"]
    subprocess.run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(driver)],
                   check=True)
    assert len(register_files(registers, "my_top_axi")[driver.name].splitlines()) > 20


class Loaded:
    """Registers of an accelerator that takes a set of three words, or refuses it."""

    def __init__(self, refuses: bool) -> None:
        self.place = {r.name: r.offset for r in LOADS.registers}
        self.refuses, self.polls = refuses, 0
        self.words: list[int] = []
        self.hash: dict[int, int] = {}
        self.events = 0

    def read(self, offset: int) -> int:
        if offset == self.place["events"]:
            return self.events
        assert offset == self.place["load"]
        self.polls += 1
        return 0b00100 if self.polls % 3 == 0 else 0b10000  # in the end ready, or no more pending

    def write(self, offset: int, value: int) -> None:
        if offset == self.place["load"] and value & 1:
            self.words = []
        elif offset == self.place["load"]:
            assert value == 2
            self.events = 32 if self.refuses else 0
        elif offset == self.place["load_word"]:
            self.words.append(value)
        elif offset == self.place["events"]:
            self.events &= ~value
        else:
            self.hash[offset] = value


@pytest.mark.parametrize("refuses", [False, True])
def test_drivers_load_a_set(refuses: bool, written: Any, tmp_path: Path) -> None:
    files = written(LOADS)
    driver = module_of(files["py"])
    there = Loaded(refuses)
    assert driver.Registers(there).load_weights([7, 0, 9], [1, 2, 3, 4]) is not refuses
    assert there.words == [7, 0, 9]
    assert there.hash == {there.place[f"load_hash{k}"]: k + 1 for k in range(4)}
    assert driver.Registers(Loaded(False)).load_weights([7, 0, 9], [1, 2, 3, 4], patience=1) is False
    # In C, on memory that never is ready, and on one that always is.
    (tmp_path / "main.c").write_text(f"""
#include "{files["h"].name}"
int main(void) {{
  static uint32_t there[64];
  const uint32_t words[MY_TOP_AXI_LOAD_WORDS] = {{7u, 0u, 9u}}, hash[4] = {{1u, 2u, 3u, 4u}};
  if (my_top_axi_load_weights(there, words, hash, 5u)) return 1;
  return there[MY_TOP_AXI_LOAD_HASH3 / 4u] == 4u;
}}
""")
    flags = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
    subprocess.run(["gcc", *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run([str(tmp_path / "main")], check=True)


class Scored:
    """Registers of an accelerator that gives another result at the read of that number."""

    def __init__(self, changes_at: int) -> None:
        self.place = {r.name: r.offset for r in SCORES.registers}
        self.reads, self.index, self.changes_at = 0, 0, changes_at

    def read(self, offset: int) -> int:
        self.reads += 1
        after = self.reads > self.changes_at
        if offset == self.place["results"]:
            return 8 if after else 7
        assert offset == self.place["score"]
        return [[5, 0xFFFFFFFE, 0x80000000], [1, 1, 1]][after][self.index]

    def write(self, offset: int, value: int) -> None:
        assert offset == self.place["score_index"]
        self.index = value


def test_drivers_read_scores(written: Any, tmp_path: Path) -> None:
    files = written(SCORES)
    driver = module_of(files["py"])
    reads = 5
    assert [driver.Registers(Scored(at)).scores() for at in range(reads + 1)] == [
        [1, 1, 1], *[None] * (reads - 1), [5, -2, -(1 << 31)]]
    # In C, on memory: every class has the same score.
    (tmp_path / "main.c").write_text(f"""
#include "{files["h"].name}"
int main(void) {{
  static uint32_t there[64];
  int32_t scores[MY_TOP_AXI_CLASSES] = {{0}};
  there[MY_TOP_AXI_SCORE / 4u] = 0xFFFFFFF9u;
  if (!my_top_axi_scores(there, scores)) return 1;
  if (there[MY_TOP_AXI_SCORE_INDEX / 4u] != 2u) return 2;
  return scores[0] != -7 || scores[1] != -7 || scores[2] != -7;
}}
""")
    flags = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
    subprocess.run(["gcc", *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run([str(tmp_path / "main")], check=True)


def test_python_driver_on_the_hardware(written: Any) -> None:
    """The driver's calls, over Wishbone, on the registers themselves."""
    driver = module_of(written(SPECIAL)["py"])

    m = Module()
    m.submodules.file = file = RegisterFile(SPECIAL)
    m.submodules.bus = bus = Wishbone(SPECIAL.address_bits)
    for name in ("write", "write_address", "write_data", "strobes", "read_address"):
        m.d.comb += getattr(file.bus, name).eq(getattr(bus.bus, name))
    for name in ("write_known", "read_data", "read_known"):
        m.d.comb += getattr(bus.bus, name).eq(getattr(file.bus, name))
    wb = bus.wb

    async def cycle(ctx: Any, offset: int, value: int | None, sel: int = 15) -> tuple[int, bool]:
        ctx.set(wb.cyc, 1)
        ctx.set(wb.stb, 1)
        ctx.set(wb.adr, offset)
        ctx.set(wb.we, value is not None)
        ctx.set(wb.dat_w, value or 0)
        ctx.set(wb.sel, sel)
        await ctx.tick()
        assert ctx.get(wb.ack) != ctx.get(wb.err)
        answer = (ctx.get(wb.dat_r), bool(ctx.get(wb.ack)))
        ctx.set(wb.stb, 0)
        await ctx.tick()
        assert not ctx.get(wb.ack)
        assert not ctx.get(wb.err)
        return answer

    class Recorder:
        """Runs the driver's accesses as they come; a read returns what the hardware has given before."""

        def __init__(self) -> None:
            self.words: dict[int, int] = {}
            self.writes: list[tuple[int, int]] = []

        def read(self, offset: int) -> int:
            return self.words[offset]

        def write(self, offset: int, value: int) -> None:
            self.writes.append((offset, value))

    async def bench(ctx: Any) -> None:
        recorder = Recorder()
        registers = driver.Registers(recorder)

        async def settle() -> None:
            for offset, value in recorder.writes:
                assert (await cycle(ctx, offset, value))[1]
            recorder.writes.clear()
            for offset in (0, 4, 12):
                recorder.words[offset], known = await cycle(ctx, offset, None)
                assert known

        ctx.set(file.b__given, 0xDEADBEEF)
        await settle()
        assert registers.is_there()
        assert registers.a_low == 5
        assert registers.b_given == 0xDEADBEEF
        registers.a_low = 2
        await settle()
        assert registers.a_low == ctx.get(file.a__low) == 2
        ctx.set(file.a__event, 1)
        await ctx.tick()
        ctx.set(file.a__event, 0)
        await settle()
        assert registers.a_event == ctx.get(file.a__event__is) == 1
        registers.a_go()  # clears no event and keeps the control
        (offset, value), = recorder.writes
        ctx.set(wb.cyc, 1)
        ctx.set(wb.stb, 1)
        ctx.set(wb.we, 1)
        ctx.set(wb.sel, 15)
        ctx.set(wb.adr, offset)
        ctx.set(wb.dat_w, value)
        await ctx.tick()
        assert ctx.get(file.a__go) == 1
        ctx.set(wb.stb, 0)
        await ctx.tick()
        assert ctx.get(file.a__go) == 0
        recorder.writes.clear()
        await settle()
        assert (registers.a_low, registers.a_event) == (2, 1)
        registers.clear_a_event()
        await settle()
        assert (registers.a_low, registers.a_event) == (0, 0)  # a plain write of 0 to the rest
        with pytest.raises(ValueError, match=r"value must be in 0\.\.7, not 8"):
            registers.a_low = 8
        # Bytes that are not chosen stay; an event that comes as it is cleared stays.
        await cycle(ctx, 4, 0x0000000E, sel=0b1110)
        await settle()
        assert registers.a_low == 0
        ctx.set(file.a__event, 1)
        await ctx.tick()
        await cycle(ctx, 4, 0x80)
        ctx.set(file.a__event, 0)
        await settle()
        assert registers.a_event == 1
        assert not (await cycle(ctx, 8, None))[1]
        assert not (await cycle(ctx, 8, 1))[1]

    simulate(m, bench)


@MAPS
def test_pages(registers: RegisterMap, written: Any) -> None:
    files = written(registers)
    page = files["html"].read_text()
    for r in registers.registers:
        assert f"0x{r.offset:02x}" in page
        for f in r.fields:
            assert f"<code>{f.name}</code>" in page
    assert "<script" not in page
    assert "<b>" not in page
    if registers is SPECIAL:
        assert "<td>*not* emphasis | no column</td>" in page
        assert "&lt;script&gt;" in page


@pytest.mark.parametrize(("fields", "message"), [
    ((Field(name="a", text="", bits=3), Field(name="b", text="", low=2)), "field b: bits 2 to 2 are not free"),
    ((Field(name="a", text="", bits=33),), "bits 0 to 32 are not free"),
    ((Field(name="a", text="", reset=2),), "reset must have 1 bits, not 2"),
    ((Field(name="A", text=""),), "'A' must be lower case"),
    ((Field(name="a", text=""), Field(name="a", text="", low=1)), "two fields have the same name"),
])
def test_bad_fields(fields: tuple[Field, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegisterMap(name="m", text="", registers=(Register(name="r", text="", offset=0, fields=fields),))


def test_bad_texts() -> None:
    for text in ("a\\b", "a */ b", "a\nb"):
        with pytest.raises(ValueError, match="text must be printable"):
            RegisterMap(name="m", text=text, registers=())


def test_bad_registers() -> None:
    one = Register(name="r", text="", offset=0, fields=())
    with pytest.raises(ValueError, match="same name or offset"):
        RegisterMap(name="m", text="", registers=(one, one))
    with pytest.raises(ValueError, match="offset must be a multiple of 4, not 2"):
        RegisterMap(name="m", text="", registers=(Register(name="r", text="", offset=2, fields=()),))
