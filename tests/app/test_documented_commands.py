"""Every command that the README, the docs, a ``--help``, a build folder or another command shows, as it stands.

They run in a folder in which the files that they name are: small ones, but of the shape that is meant.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from support.nir_files import LIF, chain, write

import spikeloom
from spikeloom.cli import main
from spikeloom.gen.bus_top import Serial
from spikeloom.model.network import Dense, Layer, Network, Neuron, Readout, StaticInput
from spikeloom.model.network_file import save_network
from spikeloom.model.numerics import Shift

HOUSE = Path(__file__).parents[2]
PAGES = (HOUSE / "README.md", *sorted((HOUSE / "docs").glob("*.md")), HOUSE / "bench" / "README.md")
# Minutes of compiling, placing or training each: `make test-all`.
SLOW = ("train --hidden 128", "train --data my.npz -o", "train --hidden 400-400 -o", "train --hidden 15C5",
        "synth build/fast", "report build/fast --data", "--waves", "build large.snn", "pnr build/128",
        "explore ", "--fold auto", "pnr build/board", "pnr build/icebreaker", "pnr build/flash",
        "energy build/")
# Half an hour and more, for what bench/place_route.py or a recipe does; a board, a cluster: their options are right,
# which is another test's.
NOT_RUN = ("pnr build/fast", "--port", "--scheduler", "--config recipes")


def in_pages() -> Iterator[str]:
    """Lines of code blocks."""
    for page in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            yield from (line for line in block.splitlines() if re.match(r"(\.venv/bin/)?spikeloom ", line))


def in_help(command: click.Command, path: str = "spikeloom") -> Iterator[str]:
    """Indented lines of the command's and its subcommands' help."""
    for line in (command.help or "").splitlines():
        if re.match(r" +spikeloom ", line):
            yield line.strip() if path != "spikeloom" else re.split(r"  +", line.strip())[0]
    for name, sub in getattr(command, "commands", {}).items():
        yield from in_help(sub, f"{path} {name}")


COMMANDS = list(dict.fromkeys(shlex.join(shlex.split(line, comments=True)) for line in (*in_pages(), *in_help(main))))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands name. FashionMNIST is one of 100 images."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(3)
    data = spikeloom.dataset("fashion-mnist-demo")
    idx = folder / "sets" / "fashion-mnist"
    idx.mkdir(parents=True)
    for prefix, chosen in (("train", slice(0, 60)), ("t10k", slice(60, 100))):
        images, labels = data.images[chosen], data.labels[chosen].astype(np.uint8)
        head = np.array(images.shape, ">u4").tobytes()
        (idx / f"{prefix}-images-idx3-ubyte").write_bytes(bytes((0, 0, 8, 3)) + head + images.tobytes())
        (idx / f"{prefix}-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1)) + head[:4] + labels.tobytes())
    np.savez(folder / "my.npz", images=data.images[:60], labels=data.labels[:60])

    def network(name: str, *sizes: int, weight_bits: int = 4) -> Network:
        high = 1 << weight_bits - 1
        layers = tuple(Layer(
            name=f"layer{k}", connection=Dense(weight=rng.integers(-high, high, (b, a)), weight_bits=weight_bits),
            neuron=Neuron(synapse=Shift(1), membrane=Shift(2), fraction_bits=2, threshold=np.array([a * high])))
            for k, (a, b) in enumerate(pairwise(sizes)))
        return Network.chain(name=name, input=StaticInput(shape=(28, 28), bits=4), layers=layers, steps=5,
                       readout=Readout.psc_sum(5, Shift(1)))

    save_network(network("my", 784, 12, 10), folder / "my.snn")
    save_network(network("model", 784, 12, 10), folder / "model.snn")
    write(folder / "model.nir", *chain(lif=LIF | {"tau": np.full(4, 1e-2), "r": np.full(4, 100.0)}))
    spikes = (rng.random((3, 20, 4)) < 0.4).astype(np.uint8)
    for name in ("spikes.npz", "d.npz"):
        np.savez(folder / name, images=spikes, labels=np.array([0, 1, 2]))
    for name in ("my_fold.json", "fold.json"):
        (folder / name).write_text(json.dumps({"layers": [{"lanes": 4}, {"lanes": 5}]}))
    save_network(network("fold", 784, 128, 10), folder / "fold.snn")
    save_network(network("large", 784, 700, 10, weight_bits=8), folder / "large.snn")
    for name, shipped, fold in (("fast", "fashion-mnist-400-400", "fast"), ("small", "fashion-mnist-400-400", "small"),
                                ("128", "fashion-mnist-128", "small")):
        spikeloom.write(spikeloom.compile(spikeloom.load(shipped), fold), folder / "build" / name)
    board = spikeloom.compile(spikeloom.load("fashion-mnist-128"), "small")
    spikeloom.write(board, folder / "build" / "board", interface="uart")
    spikeloom.write(board, folder / "build" / "spi", interface="spi", serial=Serial.spi(40_000_000))
    mine = spikeloom.load(folder / "my.snn")
    loadable = replace(spikeloom.compile(mine, "small").fold, weight_sets=2)
    spikeloom.write(spikeloom.compile(mine, loadable), folder / "build" / "loadable", interface="uart")
    shutil.copytree(HOUSE / "examples", folder / "examples")
    few = spikeloom.compile(spikeloom.load("fashion-mnist-128"), folder / "examples" / "icebreaker-fold.json")
    spikeloom.write(few, folder / "build" / "icebreaker", interface="uart", serial=Serial(clock_hz=39_000_000))
    for run in ("a", "b", "float"):
        place = folder / "runs" / run
        place.mkdir(parents=True)
        shutil.copy(folder / "my.snn", place / "network.snn")
        shutil.copy(spikeloom.shipped.find("fashion-mnist-128-float", ".fsnn"), place / "network.fsnn")
    return folder


@pytest.fixture
def place(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    shutil.copytree(world, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SPIKELOOM_DATA", str(folder / "sets"))
    return folder


def run(line: str) -> Result:
    """A command line, in this folder; what it is to write is not there yet."""
    words = shlex.split(line)[1:]
    for option in {"-o", "--save"} & set(words) if "--force" not in words else ():
        output = Path(words[words.index(option) + 1])
        shutil.rmtree(output, ignore_errors=True)
        output.unlink(missing_ok=True)
    if "train" in words:
        pytest.importorskip("torch")
    result = CliRunner().invoke(main, words, prog_name="spikeloom")
    assert result.exit_code == 0, f"{line}\n{result.output}{result.stderr}"
    return result


def test_all_commands_are_shown() -> None:
    """The search finds what it is to find, and help shows every command."""
    assert {shlex.split(line)[1] for line in COMMANDS} >= set(main.commands)
    assert len(COMMANDS) > 25


def marks(line: str) -> list[pytest.MarkDecorator]:
    own = [pytest.mark.filterwarnings("ignore")] if "--fused" in line else []  # torch.compile's, over which it trips
    return [*own, pytest.mark.slow] if any(part in line for part in SLOW) else own


@pytest.mark.parametrize("line", [pytest.param(line, marks=marks(line)) for line in COMMANDS
                                  if not any(part in line for part in NOT_RUN)])
def test_command(place: Path, line: str) -> None:
    run(line)


@pytest.mark.parametrize("page", ["README.md", "docs/networks.md"])
def test_python_of_the_pages(place: Path, page: str) -> None:
    block, = re.findall(r"^```python\n(.*?)^```", (HOUSE / page).read_text(), re.MULTILINE | re.DOTALL)
    exec(compile(block, page, "exec"), {})


@pytest.mark.parametrize(("number", "dialect"), [(0, "snntorch"), (1, "norse-1.1"), (2, "spikingjelly")])
def test_from_other_frameworks(place: Path, number: int, dialect: str) -> None:
    """Each framework's code as the page shows it, and the file that it writes."""
    importlib.import_module("support.frameworks")  # imports them without their warnings
    page = (HOUSE / "docs" / "nir.md").read_text()
    block = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[number]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(block, "docs/nir.md", "exec"), {})
    assert f"--dialect {dialect}" in page
    np.savez("spikes.npz", images=(np.random.default_rng(0).random((2, 12, 16)) < 0.5).astype(np.uint8),
             labels=np.array([0, 1]))
    run(f"spikeloom check model.nir --dialect {dialect}")
    run(f"spikeloom import model.nir --dialect {dialect} --data spikes.npz -o mine.snn")
    run("spikeloom build mine.snn --fold small -o build/from_elsewhere")
    run("spikeloom sim build/from_elsewhere --data spikes.npz --isolated")


@pytest.mark.parametrize("line", [
    "spikeloom train --hidden 16 --epochs 2 -o runs/mine",
    "spikeloom train --weight-bits 0 --hidden 16 --epochs 1 -o f",
    "spikeloom train --data my.npz --hidden 16 --epochs 2 -o runs/mine",
    "spikeloom check my.snn", "spikeloom check fashion-mnist-128 --fold small --samples 10",
    "spikeloom demo --network my.snn --fold small --samples 5 -o build/d"])
def test_each_command_leads_to_the_next(place: Path, line: str) -> None:
    """What is printed as next is typed as it is printed, to the end."""
    for _ in range(6):
        said = run(line).output
        found = re.search(r"^next: (spikeloom .*)$", said, re.MULTILINE)
        if found is None:
            break
        line = found[1]
    else:
        raise AssertionError("the journey does not end")
    assert shlex.split(line)[1] in ("sim", "report", "eval")


def test_a_folder_says_how_it_is_proved(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("spikeloom build my.snn --fold small -o build/mine")
    monkeypatch.chdir(place / "build" / "mine")
    lines = re.findall(r"(spikeloom [a-z]+ \.)[,:]", Path("README").read_text())
    assert [line.split()[1] for line in lines] == ["lint", "sim"]
    for line in lines:
        run(line)
