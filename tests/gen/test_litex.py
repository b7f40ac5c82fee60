"""The LiteX module of a build: in an SoC whose CPU runs a program with the C header's drivers, and its streams."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from support.networks import random_network

from spikeloom.cosim.verilator import find_verilator
from spikeloom.gen.build import build
from spikeloom.gen.cycles import count_cycles
from spikeloom.gen.fold import PRESETS, Fold, LayerFold
from spikeloom.gen.plan import Plan, make_plan
from spikeloom.gen.testbench import random_samples
from spikeloom.model import datasets, golden
from spikeloom.model.network import Readout
from spikeloom.model.system.processes import run
from spikeloom.shipped import load

pytestmark = pytest.mark.skipif(find_spec("litex") is None, reason="needs litex: pip install 'spikeloom[test]'")
EXAMPLE = Path(__file__).parents[2] / "examples" / "litex"
SIMULATE = """\
import logging, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
import soc
logging.disable(logging.INFO)
if sys.argv[4] == "zig":
    soc.compiler = lambda: soc.ZIG
print(soc.simulate(Path(sys.argv[2]), np.load(sys.argv[3])), end="")
"""
STREAMS = """\
import logging, sys
from litex.build.generic_platform import GenericPlatform, Pins
from litex.gen import LiteXModule
from migen import ClockDomain
sys.path.insert(0, sys.argv[1])
from snn_top_axi_litex import SpikeloomAccelerator
logging.disable(logging.INFO)

platform = GenericPlatform("STREAMS", [(name, 0, Pins(1)) for name in ("clk", "core_clk", "rst")])

class Top(LiteXModule):
    def __init__(self):
        self.cd_sys, self.cd_core = ClockDomain("sys"), ClockDomain("core")
        self.comb += [self.cd_sys.clk.eq(platform.request("clk")), self.cd_core.clk.eq(platform.request("core_clk")),
                      self.cd_sys.rst.eq(platform.request("rst"))]
        self.accelerator = SpikeloomAccelerator(platform, cpu_port=False, core_clock_domain="core")
        self.comb += self.accelerator.source.ready.eq(1)

with open("top.v", "w") as file:
    file.write(platform.get_verilog(Top(), name="top").main_source)
"""


PORT = """\
import random, sys
from migen import run_simulation
sys.path.insert(0, sys.argv[1])
from snn_top_axi_litex import SamplePort

ROOM = 8
rng = random.Random(5)
port = SamplePort(beat_bytes=5, buffer_beats=ROOM)
samples = [[rng.getrandbits(40) for _ in range(rng.randint(1, 12))] for _ in range(200)]
complete, received = 0, [[]]

def write():
    global complete
    for sample in samples:
        for number, beat in enumerate(sample):
            while not (yield port.room.status):
                yield
            for place, word in enumerate((beat & 0xFFFFFFFF, beat >> 32)):
                ends = number == len(sample) - 1 and place == 1
                register = port.last_word if ends else port.word
                yield register.storage.eq(word)
                yield register.re.eq(1)
                yield
                complete += ends
                yield register.re.eq(0)
                for _ in range(rng.randint(3, 9)):  # no bus is faster
                    yield

def read():
    for cycle in range(200_000):
        if len(received) > len(samples):
            return
        if rng.random() < 0.05:
            yield port.source.ready.eq(rng.random() < 0.5)  # for a while
        if (yield port.source.valid):
            assert complete >= len(received) or len(samples[len(received) - 1]) > ROOM, "not complete"
            if (yield port.source.ready):
                received[-1].append((yield port.source.data))
                if (yield port.source.last):
                    received.append([])
        else:
            assert not received[-1] or len(samples[len(received) - 1]) > ROOM, "waits in the middle"
        yield

run_simulation(port, [write(), read()])
assert received == [*samples, []]
"""


def said_of(plan: Plan, samples: npt.NDArray[np.uint8], tmp_path: Path, compiler: str = "any") -> list[list[int]]:
    """Class, 1 if the result is bad, cycles and scores of each sample, as the SoC prints them."""
    build(plan, tmp_path / "build", interface="axi")
    np.save(tmp_path / "samples.npy", samples)
    said = subprocess.run([sys.executable, "-c", SIMULATE, EXAMPLE, tmp_path / "build", tmp_path / "samples.npy",
                           compiler], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    lines = [line.split() for line in said.stdout.splitlines()]
    assert all(line[::2][:2] == ["class", "good"] for line in lines)
    return [[int(line[1]), int(line[4]), *(int(score) for score in line[6:])] for line in lines]


def expected_of(plan: Plan, samples: npt.NDArray[np.uint8]) -> list[list[int]]:
    ran = golden.run(plan.network, samples)
    cycles = count_cycles(plan, samples).latency
    return np.column_stack([ran.classes, cycles, ran.scores]).tolist()


def test_a_processor_classifies_images(tmp_path: Path) -> None:
    network = load("fashion-mnist-128")
    plan, images = make_plan(network, PRESETS["small"](network)), datasets.load("fashion-mnist-demo", samples=5).images
    assert said_of(plan, images, tmp_path) == expected_of(plan, images)


@pytest.mark.skipif(find_spec("ziglang") is None, reason="needs ziglang: pip install 'spikeloom[test]'")
def test_negative_scores_and_another_compiler(tmp_path: Path) -> None:
    network = random_network(np.random.default_rng(11), sizes=(12, 9, 5), static=False, steps=6)
    network = replace(network, readout=Readout(kind="last_potential"))
    plan = make_plan(network, Fold(layers=(LayerFold(lanes=4), LayerFold(lanes=3)), input_per_beat=5, window_steps=2))
    samples = random_samples(network, 8, 1)
    expected = expected_of(plan, samples)
    assert min(map(min, expected)) < 0
    assert said_of(plan, samples, tmp_path, "zig") == expected


def test_external_weights_on_the_bus(tmp_path: Path) -> None:
    """In beats of two words; how many cycles it takes is up to the memory."""
    network = random_network(np.random.default_rng(12), sizes=(20, 9, 5), static=True, steps=4)
    external = (LayerFold(lanes=4, external_bus_bits=32), LayerFold(lanes=3, external_bus_bits=32))
    plan = make_plan(network, Fold(layers=external, input_per_beat=7))
    samples = random_samples(network, 8, 1)
    said, expected = said_of(plan, samples, tmp_path), golden.run(network, samples)
    assert [line[0] for line in said] == expected.classes.tolist()
    assert [line[2:] for line in said] == expected.scores.tolist()


def test_streams_and_a_clock_of_its_own(tmp_path: Path) -> None:
    """Every port has its pin, of its width."""
    network = random_network(np.random.default_rng(1), sizes=(12, 9, 4), static=True, steps=3)
    external = LayerFold(lanes=4, external_bus_bits=64)
    plan = make_plan(network, Fold(layers=(external, LayerFold(lanes=2)), input_per_beat=4))
    folder = tmp_path / "build"
    build(plan, folder, interface="axi", core_clock=True)
    subprocess.run([sys.executable, "-c", STREAMS, folder], cwd=tmp_path, check=True)
    tool = find_verilator()
    sources = [str(folder / name) for name in ("lint.vlt", "snn_top.v", "snn_top_axi.v")]
    code, said = run([str(tool.executable), "--lint-only", "-Wno-COMBDLY", "-Wno-TIMESCALEMOD", "--top-module", "top",
                      *sources, "top.v"], folder=tmp_path, environment=tool.environment)
    assert code == 0, said


def test_samples_wait_until_they_are_complete(tmp_path: Path) -> None:
    """Seed 5; but for those that do not fit."""
    network = random_network(np.random.default_rng(1), sizes=(12, 9, 4), static=True, steps=3)
    plan = make_plan(network, Fold(layers=(LayerFold(lanes=4), LayerFold(lanes=2))))
    build(plan, tmp_path / "build", interface="axi")
    subprocess.run([sys.executable, "-c", PORT, tmp_path / "build"], check=True)
