"""The rules of the streams at the bare top module, with Python on both sides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from support.networks import random_fold, random_network, random_samples
from support.stub_build import Stub, break_verilog

from spikeloom.cosim.build_folder import BuildFolder
from spikeloom.cosim.runner import SimulationError, compile_program, run_program
from spikeloom.cosim.stimulus import pack_samples
from spikeloom.gen.build import build
from spikeloom.gen.plan import make_plan
from spikeloom.model import golden

PORTS = ("clk", "rst", "i__valid", "i__ready", "i__payload", "o__valid", "o__ready", "o__payload")


def check_protocol(folder: Path, samples: npt.NDArray[np.uint8], run_dir: Path, seed: int = 0) -> None:
    """Run :mod:`support.protocol_bench` on a build folder."""
    design = BuildFolder.load(folder)
    public = "".join(f'public_flat_rw -module "{design.top}" -var "{port}"\n' for port in PORTS)
    program = compile_program({"public.vlt": f"`verilator_config\n{public}", **design.sources}, design.top)
    run_dir.mkdir()
    for name, contents in design.memories.items():
        (run_dir / name).write_bytes(contents)
    beats = pack_samples(design, samples).reshape(-1, -(-design.beat_bits // 8))
    case = run_dir / "case.json"
    case.write_text(json.dumps({
        "beats": [int.from_bytes(beat.tobytes(), "big") for beat in beats], "seed": seed,
        "classes": golden.run(design.network, samples).classes.tolist()}))
    run_program(program, "support.protocol_bench", run_dir, environment={"CASE": str(case)})


def test_stub(static_stub: Stub, tmp_path: Path) -> None:
    check_protocol(static_stub.folder, static_stub.samples[:10], tmp_path / "run")


@pytest.mark.parametrize(("old", "new"), [
    pytest.param("o__valid = phase == 3", "o__valid = phase == 3 && o__ready", id="valid waits for ready"),
    pytest.param("output reg [1:0] o__payload\n", "output [1:0] o__payload\n", id="payload changes while waiting"),
])
def test_a_breach_is_noticed(static_stub: Stub, tmp_path: Path, old: str, new: str) -> None:
    break_verilog(static_stub.folder, old, new)
    if "payload" in new:
        break_verilog(static_stub.folder, "o__payload <= best[1:0];", "answer <= best[1:0];")
        break_verilog(static_stub.folder, "assign i__ready",
                      "reg [1:0] answer; assign o__payload = o__ready ? answer : 2'd3;\n  assign i__ready")
    with pytest.raises(SimulationError, match="cocotb tests failed"):
        check_protocol(static_stub.folder, static_stub.samples[:10], tmp_path / "run")


@pytest.mark.parametrize("static", [True, False])
def test_generated(tmp_path: Path, static: bool) -> None:
    rng = np.random.default_rng(5)
    network = random_network(rng, sizes=(9, 8, 5), static=static, steps=4)
    build(make_plan(network, random_fold(rng, network)), tmp_path / "build")
    check_protocol(tmp_path / "build", random_samples(rng, network, 8), tmp_path / "run")
