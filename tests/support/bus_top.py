"""Bus tops under Verilator: their packets, and how their bench runs (:mod:`.bus_top_bench`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.cosim.build_folder import BuildFolder
from spikeloom.cosim.runner import compile_program, run_program
from spikeloom.gen.manifest import read_build
from spikeloom.gen.plan import Plan
from spikeloom.model.samples import run_lengths

from .networks import input_beats


def packets_of(plan: Plan, samples: npt.NDArray[np.uint8]) -> list[list[int]]:
    """Beats of each sample, without marks."""
    network = plan.network
    bits = plan.channels[0].units * plan.input_bits
    out = []
    for sample in samples:
        beats = input_beats(plan, sample[None])
        if network.marked:
            beats = beats[:int(run_lengths(network, sample[None])[0]) * plan.channels[0].beats]
        out.append([beat & ((1 << bits) - 1) for beat in beats])
    return out


def run(folder: Path, path: Path, test: str) -> dict[str, Any]:
    """Run a test of the bench on the case at ``path``; what it wrote down."""
    built = BuildFolder.load(folder)
    bus = json.loads(read_build(folder).text("interface.json"))["bus"]
    ports = [bus["clock"], bus["reset"], *(port["name"] for port in bus["ports"])]
    ports += [bus["core_clock"]] if bus["core_clock"] else []
    lines = [f'public_flat_rw -module "{bus["top"]}" -var "{port}"' for port in ports]
    public = "\n".join(["`verilator_config", *lines, ""])
    program = compile_program({**built.sources, **built.bus_sources, "public.vlt": public}, bus["top"])
    run_dir = folder.parent / "run"
    run_dir.mkdir(exist_ok=True)
    for name, content in built.memories.items():
        (run_dir / name).write_bytes(content)
    support = Path(__file__).parent.parent
    run_program(program, "support.bus_top_bench", run_dir, environment={
        "CASE": str(path), "PYTHONPATH": str(support), "COCOTB_TEST_FILTER": f"{test}$"})
    trace = run_dir / "trace.json"
    return dict(json.loads(trace.read_text())) if trace.exists() else {}
