"""A board on a simulated serial line: the Verilog from its pins on, under Verilator, behind a pseudo-terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import resources

from spikeloom.gen.manifest import SerialDescription
from spikeloom.gen.rendering import rendered
from spikeloom.model.system.processes import Children, Stopped
from spikeloom.model.system.writing import scratch_folder

from .build_folder import BuildFolder
from .runner import Progress, SimulationError, compile_program, run_program

__all__ = ["simulated_line"]

_TOP = "serial_testbench"
_START_LIMIT_S = 60
_POLL_S = 0.02
_FLASH_RELEASE_S = 35e-6  # a slow one's


@contextmanager
def simulated_line(build: BuildFolder, serial: SerialDescription, progress: Progress | None = None) -> Iterator[str]:
    """Name of the port, as long as the context lasts.

    Parameters
    ----------
    build : BuildFolder
        With a serial line.
    serial : SerialDescription
        Of its manifest.
    progress : callable, optional
        Told ``(stage, done, total)`` while something is compiled.

    Raises
    ------
    SpikeloomError
        If there is no usable Verilator or compiler, or no pseudo-terminal.
    """
    program = compile_program(_sources(build, serial), _TOP, progress=progress)
    with scratch_folder() as scratch, ThreadPoolExecutor(1) as pool, Children() as children:
        for name, contents in build.memories.items():
            (scratch / name).write_bytes(contents)
        if build.flash is not None:
            (scratch / "flash.bin").write_bytes(build.flash)
        running = pool.submit(run_program, program, "spikeloom.cosim.bench", scratch, children=children)
        until = time.monotonic() + _START_LIMIT_S
        while not (scratch / "port.txt").exists():
            if running.done():
                running.result()
                raise SimulationError("the simulation ended before there was a port")
            if time.monotonic() > until:
                raise SimulationError(f"the simulation opened no port within {_START_LIMIT_S} s")
            time.sleep(_POLL_S)
        try:
            yield (scratch / "port.txt").read_text().strip()
        finally:
            children.end()
            with suppress(Stopped):
                running.result()


def _sources(build: BuildFolder, serial: SerialDescription) -> dict[str, str]:
    bus = build.manifest.bus
    spi = bus is not None and bus.interface == "spi"
    harness = resources.files("spikeloom.cosim").joinpath("harness")
    files = {**build.sources, **build.bus_sources}
    flash = None
    if bus is not None and bus.flash is not None and build.flash is not None:
        files["spi_flash.sv"] = harness.joinpath("spi_flash.sv").read_text(encoding="utf-8")
        flash = {"offset": bus.flash.offset, "bytes": len(build.flash),
                 "release_cycles": round(_FLASH_RELEASE_S * serial.clock_hz)}
    bench = rendered("spikeloom.cosim", f"harness/{_TOP}.sv.j2", {
        "flash": flash,
        "top": build.manifest.outer_top, "bit_cycles": serial.bit_cycles, "spi": spi,
        "unread": ["irq", *(["miso_enable"] if spi else []),
                   *(["class_index"] if build.network.readout.kind != "raster" else [])]})
    return {**files, f"{_TOP}.sv": bench,
            "pseudo_terminal.cpp": harness.joinpath("pseudo_terminal.cpp").read_text(encoding="utf-8")}
