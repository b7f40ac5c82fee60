"""The energy of an inference: samples through the emitted Verilog with every toggle counted, and its synthesis."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy.typing as npt

from spikeloom.gen.energy import EnergyEstimate, estimate
from spikeloom.gen.energy_constants import constants_of
from spikeloom.gen.manifest import read_build
from spikeloom.gen.switching import Activity, combinational
from spikeloom.gen.synth import synthesize_netlist
from spikeloom.gen.verilog_module import legal_name
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.arguments import called, real
from spikeloom.model.system.paths import shown
from spikeloom.model.system.writing import scratch_folder

from .build_folder import BuildFolder
from .saif import read_saif
from .simulate import simulate
from .stimulus import checked_stimulus

__all__ = ["count_activity", "estimate_energy"]

Progress = Callable[[str], None]

_SCOPE = "snn_testbench.dut"
_IDLE_CYCLES = 1000


def estimate_energy(folder: str | Path, samples: npt.ArrayLike, device: str, *, clock_mhz: float = 100.0,
                    progress: Progress | None = None) -> EnergyEstimate:
    """Estimate the energy of an inference on a device.

    Parameters
    ----------
    folder : path
        What ``spikeloom build`` wrote. Of a build with a bus it is the energy of the accelerator inside.
    samples : uint8 array (N, ...)
        Two or more, as the golden model takes them. The first one only warms up.
    device : str
        One of :data:`spikeloom.gen.energy_constants.CONSTANTS`.
    clock_mhz : float
        Static power counts for as long as an inference takes at this clock.
    progress : callable
        Called with the name of each stage.

    Raises
    ------
    SpikeloomError
        If the folder, the samples, the device or a tool does not serve, or the Verilog differs from the golden model.
    """
    tell = called(progress, "progress") or (lambda what: None)
    clock_mhz = real(clock_mhz, "clock_mhz", 1e-3, 1e6)
    constants_of(device)
    built = read_build(folder)
    built = replace(built, manifest=built.manifest.model_copy(update={"bus": None}))
    array, _ = checked_stimulus(BuildFolder.load(folder), samples, None)
    inference, idle = count_activity(folder, array, progress=tell)
    _, netlist = synthesize_netlist(built, device, progress=lambda what: tell(f"synthesis: {what}"))
    module = json.loads((netlist / "netlist.json").read_text())["modules"][built.manifest.outer_top]
    parts = {legal_name(layer.name): layer.name for layer in built.manifest.layers} | {"readout": "readout"}
    return estimate(module, device, parts,
                    combinational(built.text(name) for name in built.manifest.sources), inference, idle,
                    clock_mhz=clock_mhz, samples=len(array) - 1)


def count_activity(folder: str | Path, samples: npt.ArrayLike, *,
                   progress: Progress | None = None) -> tuple[Activity, Activity]:
    """What switches in an inference, on average, and in some cycles of waiting, one sample at a time.

    Runs with the same beginning are subtracted, so that reset and first values count for nothing: all samples less the
    first one, and the first one with a class that has to wait less the same without.
    """
    tell = called(progress, "progress") or (lambda what: None)
    array, _ = checked_stimulus(BuildFolder.load(folder), samples, None)
    if len(array) < 2:
        raise SpikeloomError(f"samples: energy needs two or more, the first of which only warms up, not {len(array)}")
    with scratch_folder() as scratch:
        def run(name: str, count: int, hold_cycles: int = 0) -> tuple[Activity, int]:
            file = scratch / f"{name}.saif"
            result = simulate(folder, array[:count], waves=file, output_hold_cycles=hold_cycles,
                              progress=lambda stage, done, total: tell(f"{name}: {stage} {done:,} of {total:,}"))
            if result.mismatches:
                raise SpikeloomError(f"{shown(folder)}: the Verilog differs from the golden model, so that its "
                                     "switching means nothing (`spikeloom sim` says where)")
            return read_saif(file, _SCOPE), result.cycles_max

        first, cycles = run("first sample", 1)
        waiting, _ = run("first sample, waiting", 1, cycles + _IDLE_CYCLES)
        every, _ = run("all samples", len(array))
    return (every - first) / (len(array) - 1), waiting - first
