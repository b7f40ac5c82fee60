"""The plain testbench of a build folder: in Icarus and in Verilator, right builds pass and wrong ones fail."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.networks import make_external, marked, random_conv_network, random_fold, random_graph, random_network
from support.simulators import icarus_program

from spikeloom.cosim.verilator import find_verilator
from spikeloom.gen.build import build
from spikeloom.gen.plan import make_plan


def said(folder: Path, *command: str, **environment: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300,
                          env={"PATH": "/usr/bin:/bin", **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("maker", "external", "seed"), [
    (random_network, False, 4), (random_conv_network, False, 5), (random_network, True, 6),
    (marked(random_graph, keep=False), False, 7)])
def test_icarus(tmp_path: Path, maker: object, external: bool, seed: int) -> None:
    iverilog = icarus_program()
    rng = np.random.default_rng(seed)
    network = maker(rng)  # type: ignore[operator]
    fold = random_fold(rng, network)
    while external and not make_plan(network, fold).tables:
        fold = make_external(rng, network, fold)
    folder = tmp_path / "build"
    build(make_plan(network, fold), folder)
    readme = (folder / "README").read_text()
    command = re.search(r"iverilog (.*) && (vvp .*)", readme)  # as the folder says
    assert command is not None

    def run() -> str:
        assert said(folder, iverilog, *command[1].split()) == ""
        return said(folder, *command[2].split())

    assert run() == "PASS: 4 samples\n"
    classes = (folder / "testbench_results.hex").read_text().split()
    wrong = f"{int(classes[2], 16) ^ 1:x}"
    (folder / "testbench_results.hex").write_text("\n".join([*classes[:2], wrong, *classes[3:]]))
    assert run() == f"sample 2: result {int(classes[2], 16):x}, expected {int(wrong, 16):x}\nFAIL: 1 differences\n"
    verilog = (folder / "snn_top.v").read_text()
    (folder / "snn_top.v").write_text(re.sub(r"assign i__ready = .*;", "assign i__ready = 1'b0;", verilog))
    assert "sample 0: no result" in run()


def test_verilator(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    network = random_network(rng)
    folder = tmp_path / "build"
    build(make_plan(network, random_fold(rng, network)), folder)
    verilator = find_verilator()
    variables = " ".join(f"{name}={value}" for name, value in verilator.make_variables.items())
    said(folder, str(verilator.executable), "--binary", "--timing", "-Wno-fatal", "--Mdir", "../obj_dir",
         "lint.vlt", "testbench.v", "snn_top.v", **verilator.environment, MAKEFLAGS=f"-j2 {variables}")
    assert said(folder, "../obj_dir/Vtestbench").startswith("PASS: 4 samples\n")
