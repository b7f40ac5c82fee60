"""A LiteX SoC with a RISC-V core and an accelerator, in Verilator: a program in C classifies images.

    pip install litex==2024.12 pythondata-cpu-picorv32 ziglang    # or a riscv64-unknown-elf-gcc of your own
    spikeloom build fashion-mnist-128 --fold small --interface axi -o build/axi
    python examples/litex/soc.py build/axi
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import re
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

from litex.build.generic_platform import GenericPlatform, Pins, Subsignal
from litex.gen import LiteXModule
from litex.soc.integration.export import get_csr_header, get_mem_header
from litex.soc.integration.soc import SoCRegion
from litex.soc.integration.soc_core import SoCCore
from migen import ClockDomain

from spikeloom.cosim.build_folder import BuildFolder
from spikeloom.cosim.runner import compile_program, run_program
from spikeloom.gen.stimulus import packets_of
from spikeloom.model import datasets
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.processes import run
from spikeloom.model.system.writing import scratch_folder

HERE = Path(__file__).resolve().parent
BUS = "snn_top_axi"
ROM_BYTES, RAM_BYTES = 1 << 17, 1 << 12
TABLES, TABLE_BYTES = 0x40000000, 1 << 24
IO = [
    ("sys_clk", 0, Pins(1)),
    ("sys_rst", 0, Pins(1)),
    ("serial", 0, Subsignal("source_valid", Pins(1)), Subsignal("source_ready", Pins(1)),
     Subsignal("source_data", Pins(8)), Subsignal("sink_valid", Pins(1)), Subsignal("sink_ready", Pins(1)),
     Subsignal("sink_data", Pins(8))),
]
ZIG = [sys.executable, "-m", "ziglang", "cc", "-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m",
       "-mno-relax", "-fno-sanitize=all"]
LINKER = """\
ENTRY(_start)
MEMORY {{ rom : ORIGIN = {rom:#x}, LENGTH = {rom_bytes} }}
SECTIONS {{
  .text : {{ *(.start) *(.text*) *(.rodata*) *(.srodata*) }} > rom
  .data : {{ *(.data*) *(.sdata*) *(.bss*) *(.sbss*) *(COMMON) }} > rom
  ASSERT(SIZEOF(.data) == 0, "nothing copies variables to RAM")
  /DISCARD/ : {{ *(.comment) *(.riscv.attributes) *(.eh_frame*) *(.note*) }}
}}
stack_top = {stack:#x};
"""
WAIVERS = """\
`verilator_config
// LiteX's and PicoRV32's are what they are.
lint_off -file "*soc.v"
lint_off -rule COMBDLY -file "*soc.v"
lint_off -file "*picorv32.v"
"""


class Clocks(LiteXModule):
    """The pins are those of the only clock domain."""

    def __init__(self, platform: Any) -> None:
        self.cd_sys = ClockDomain("sys")
        self.comb += [self.cd_sys.clk.eq(platform.request("sys_clk")), self.cd_sys.rst.eq(platform.request("sys_rst"))]


class Soc(SoCCore):
    """PicoRV32, ROM, RAM, UART, and the accelerator of a build."""

    def __init__(self, platform: Any, build: BuildFolder) -> None:
        super().__init__(platform, 50_000_000, cpu_type="picorv32", integrated_rom_size=ROM_BYTES,
                         integrated_sram_size=RAM_BYTES, uart_name="sim", with_timer=False)
        self.crg = Clocks(platform)
        accelerator = module_of(build.path / f"{BUS}_litex.py").SpikeloomAccelerator
        self.accelerator = accelerator(platform)
        self.bus.add_slave("accelerator", self.accelerator.bus,
                           SoCRegion(size=accelerator.REGISTER_BYTES, cached=False))
        self.irq.add("accelerator", use_loc_if_exists=True)
        for table, base in zip(build.external, self.bases(build), strict=True):  # in RAM on the SoC's bus
            self.bus.add_master(f"{table.layer}_weights", self.accelerator.weights[table.layer])
            self.add_ram(f"{table.layer}_table", base, 1 << (len(table.contents) - 1).bit_length(),
                         words(table.contents))

    @staticmethod
    def bases(build: BuildFolder) -> list[int]:
        """Where the tables of external weights lie."""
        return [TABLES + TABLE_BYTES * k for k in range(len(build.external))]


def module_of(path: Path) -> Any:
    """A Python file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiler() -> list[str]:
    """A C compiler for RV32IM, without a C library.

    Raises
    ------
    SpikeloomError
        If there is none.
    """
    if gcc := shutil.which("riscv64-unknown-elf-gcc"):
        return [gcc, "-march=rv32im", "-mabi=ilp32"]
    if importlib.util.find_spec("ziglang") is not None:
        return ZIG
    raise SpikeloomError("no C compiler for RISC-V: `pip install ziglang`, or install riscv64-unknown-elf-gcc")


def firmware(soc: Soc, build: BuildFolder, samples: Any, folder: Path) -> bytes:
    """What is in ROM: the program, and the samples that it classifies."""
    beat_words = -(-soc.accelerator.BEAT_BYTES // 4)
    packets = [words_of(packet, soc.accelerator.BEAT_BYTES, beat_words)
               for packet in packets_of(build.network, build.input, build.window_steps, samples)]
    rows = ",\n".join("{" + ", ".join(f"{word:#x}u" for word in packet) + "}" for packet in packets)
    regions = soc.mem_regions
    texts = {
        "csr.h": get_csr_header(soc.csr_regions, soc.constants, with_access_functions=False),
        "mem.h": get_mem_header(regions),
        f"{BUS}_registers.h": (build.path / f"{BUS}_registers.h").read_text(),
        "tables.h": "static const uint32_t tables[][2] = {" + "".join(
            f"{{{BUS.upper()}_WEIGHTS{k}_BASE_LOW, {base:#x}u}}, " for k, base in enumerate(soc.bases(build))
            ) + "{0, 0}};\n",
        "samples.h": f"enum {{ SAMPLES = {len(packets)}, BEATS = {len(packets[0]) // beat_words}, "
                     f"BEAT_WORDS = {beat_words} }};\n"
                     f"static const uint32_t samples[][{len(packets[0])}] = {{\n{rows}}};\n",
        "link.ld": LINKER.format(rom=regions["rom"].origin, rom_bytes=ROM_BYTES,
                                 stack=regions["sram"].origin + RAM_BYTES),
        "main.c": (HERE / "main.c").read_text(),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    cache = {name: str(folder / "cache") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    code, said = run([*compiler(), "-Os", "-Wall", "-Wextra", "-Werror", "-std=c11", "-ffreestanding", "-nostdlib",
                      "-T", "link.ld", "main.c", "-o", "main.elf"], folder=folder, environment={**os.environ, **cache})
    if code:
        raise SpikeloomError(f"main.c cannot be compiled:\n{said}")
    return loaded((folder / "main.elf").read_bytes(), regions["rom"].origin)


def words(contents: bytes) -> list[int]:
    """Words of 32 bits in bytes, least significant byte first."""
    return [int.from_bytes(contents[at:at + 4], "little") for at in range(0, len(contents), 4)]


def words_of(packet: bytes, beat_bytes: int, beat_words: int) -> list[int]:
    """Words of all beats."""
    beats = [packet[at:at + beat_bytes].ljust(4 * beat_words, b"\0") for at in range(0, len(packet), beat_bytes)]
    return [int.from_bytes(beat[4 * k:4 * k + 4], "little") for beat in beats for k in range(beat_words)]


def loaded(elf: bytes, origin: int) -> bytes:
    """What an ELF32 file's segments put into memory, from ``origin`` on."""
    start, = struct.unpack_from("<I", elf, 28)
    size, count = struct.unpack_from("<HH", elf, 42)
    image = bytearray()
    for n in range(count):
        kind, offset, _, address, length = struct.unpack_from("<5I", elf, start + n * size)
        if kind == 1 and length:
            image[len(image):] = bytes(max(0, address - origin + length - len(image)))
            image[address - origin:address - origin + length] = elf[offset:offset + length]
    return bytes(image)


def undated(verilog: str) -> str:
    """Without comments, in which LiteX says when it was: the simulator is compiled once for the same SoC."""
    return re.sub(r"^ *//.*\n", "", verilog, flags=re.MULTILINE)


def simulate(path: Path, samples: Any) -> str:
    """What the SoC says about ``samples`` on its serial port.

    Raises
    ------
    SpikeloomError
        If something is missing, or the program does not come to its end.
    """
    build = BuildFolder.load(path)
    if build.manifest.bus is None or build.manifest.bus.top != BUS:
        raise SpikeloomError(f"{path}: must be a build with --interface axi and the default name")
    platform = GenericPlatform("SIM", IO)
    soc = Soc(platform, build)
    soc.finalize()
    with scratch_folder() as folder:
        rom = firmware(soc, build, samples, folder)
        soc.init_rom("rom", words(rom), auto_size=False)
        soc.accelerator.copy_memories(folder)
        verilog = platform.get_verilog(soc, name="soc")
        for name, content in verilog.data_files.items():
            (folder / name).write_text(content)
        sources = {Path(name).name: Path(name).read_text() for name, *_ in platform.sources}
        program = compile_program({**sources, "soc.v": undated(verilog.main_source), "waivers.vlt": WAIVERS,
                                   "lint.vlt": (build.path / "lint.vlt").read_text(),
                                   "testbench.sv": (HERE / "testbench.sv").read_text()}, "testbench")
        run_program(program, "spikeloom.cosim.bench", folder)
        return (folder / "uart.txt").read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--samples", type=int, default=3)
    options = parser.parse_args()
    logging.disable(logging.INFO)  # LiteX tells all that it does
    try:
        images = datasets.load("fashion-mnist-demo", samples=options.samples).images
        print(simulate(options.build, images), end="")
    except SpikeloomError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
