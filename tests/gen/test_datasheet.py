"""The data sheet: what it says is what the build has, and its lines for a design compile."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from support.networks import random_conv_network, random_fold, random_graph, random_network
from support.simulators import icarus_program

from spikeloom.gen.build import build
from spikeloom.gen.plan import make_plan
from spikeloom.model.network import Network

Maker = Callable[[np.random.Generator], Network]


@pytest.fixture(params=[random_network, random_conv_network, random_graph])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    network: Network = request.param(rng)
    build(make_plan(network, random_fold(rng, network)), tmp_path / "build", top="mine")
    return tmp_path / "build"


class Text(HTMLParser):
    """The words of a page; tags must match."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "svg" not in self.open:
            self.words += data.split()


def test_the_example_is_the_testbench_s(folder: Path) -> None:
    sheet = (folder / "DATASHEET.md").read_text()
    beats = [int(line, 16) for line in (folder / "testbench_beats.hex").read_text().splitlines()]
    rows = re.findall(r"^\| (\d+) \| ([0-9a-f]+) \|$", sheet, re.MULTILINE)
    shown = {int(place): int(text, 16) for place, text in rows}
    count = int(re.search(r"testbench.v`: (\d+) beats", sheet)[1])  # type: ignore[index]
    assert shown == {place: beats[place] for place in [k for k in range(count) if beats[k]][:8]}
    cycles = int((folder / "testbench_cycles.hex").read_text().split()[0], 16)
    assert f"{cycles} cycles after its first beat" in sheet
    if "Its class is" in sheet:
        assert f"Its class is {int((folder / 'testbench_results.hex').read_text().split()[0], 16)}." in sheet


def test_its_lines_compile(folder: Path) -> None:
    sheet = (folder / "DATASHEET.md").read_text()
    lines = re.search(r"```verilog\n(.*?)```", sheet, re.DOTALL)[1]  # type: ignore[index]
    ports = re.findall(r"^  \.(\w+)\(\1\),?  // (in|out), (\d+)$", lines, re.MULTILINE)
    assert ports
    nets = "".join(f"  {'reg' if way == 'in' else 'wire'} [{int(bits) - 1}:0] {name};\n" for name, way, bits in ports)
    (folder.parent / "design.v").write_text(f"module around;\n  reg clk, rst;\n{nets}{lines}endmodule\n")
    done = subprocess.run([icarus_program(), "-g2005", "-Wall", "-Wno-timescale", "-t", "null", "-s", "around",
                           "design.v", "build/mine.v"], cwd=folder.parent, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_both_say_the_same(folder: Path) -> None:
    page = Text()
    page.feed((folder / "datasheet.html").read_text())
    assert not page.open
    sheet = (folder / "DATASHEET.md").read_text()
    assert sheet.startswith("# mine: ")
    numbers = re.findall(r"\d[\d,]*", re.sub(r"```.*?```", "", sheet, flags=re.DOTALL))
    words = re.findall(r"\d[\d,]*", " ".join(page.words))
    assert set(numbers) <= set(words)
    for port in json.loads((folder / "interface.json").read_text())["ports"]:  # as it stands, stars and brackets too
        said = port.get("order") or port.get("meaning") or "handshake"
        assert " ".join(said.split()) in " ".join(page.words)
