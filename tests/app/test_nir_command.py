"""NIR files on the command line."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from support.nir_files import LIF, chain, write

from spikeloom.cli import main
from spikeloom.model.exchange.dialects import DIALECTS
from spikeloom.model.network_file import load_network

BRAILLE = Path(__file__).parents[1] / "data" / "braille"


def cli(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The Braille network as model.nir, its sample as data.npz."""
    shutil.copy(BRAILLE / "braille_noDelay_bias_zero.nir", tmp_path / "model.nir")
    np.savez(tmp_path / "data.npz", images=np.load(BRAILLE / "braille_input_256x12.npy")[None].astype(np.uint8),
             labels=np.array([0]))
    return tmp_path


def test_from_file_to_build(folder: Path) -> None:
    model, data = folder / "model.nir", folder / "data.npz"
    result = cli("check", model, "--dialect", "snntorch-nodelay", "--picture", folder / "graph.svg", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["dialect"]["dt"] == 1e-4
    assert [one["dialect"] for one in said["suggested"]] == ["snntorch", "snntorch-nodelay"]
    nodes = {node["name"]: node for node in said["nodes"]}
    assert nodes["lif1.lif"]["becomes"].startswith("layer lif1_lif: membrane keeps 0.9 a step")
    assert nodes["lif1.lif"]["exact"] is False
    assert nodes["fc1"]["becomes"] == "part of projections: weights rounded"
    assert nodes["input"]["exact"] is True
    assert b"lif1.w_rec" in (folder / "graph.svg").read_bytes()
    assert cli("eval", model, "--float", "--dialect", "snntorch-nodelay", "--data", data, "--save",
               folder / "float.npz").exit_code == 0
    result = cli("import", model, "--dialect", "snntorch-nodelay", "--data", data, "-o", folder / "net.snn", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["differing_spikes"] == {"share": 0.0, "lif1_lif": 0, "lif2": 0}
    network = load_network(folder / "net.snn")
    assert network.steps == 256
    assert network.metadata["nir"]["dialect"]["reset"] == "zero"
    assert cli("eval", folder / "net.snn", "--data", data, "--save", folder / "integer.npz").exit_code == 0
    with np.load(folder / "float.npz") as a, np.load(folder / "integer.npz") as b:
        assert sorted(a.files) == sorted(b.files) == ["classes", "lif1_lif", "lif2", "potentials", "scores"]
        for name in ("classes", "lif1_lif", "lif2", "scores"):
            np.testing.assert_array_equal(a[name], b[name])
    assert cli("check", folder / "net.snn", "--data", data).exit_code == 0


def test_help_names_all_dialects() -> None:
    said = cli("import", "--help").stdout
    assert all(name in said for name in DIALECTS)


def test_what_is_printed_as_next_runs_as_it_stands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    line = "spikeloom check model.nir --dialect rockpool --set dt=1e-4 --single-spike"
    for _ in range(3):
        result = cli(*shlex.split(line)[1:])
        assert result.exit_code == 0, result.output
        found = re.search(r"^next: (spikeloom .*)$", result.stdout, re.MULTILINE)
        if found is None:
            break
        line = found[1]
        if " build " in line:
            line += " --fold small"
    assert " build " in line or " sim " in line


@pytest.mark.parametrize(("words", "message"), [
    (("check", "model.nir"), "choose a dialect. It looks like --dialect snntorch (r = tau / 1e-4 in every node"),
    (("check", "model.nir", "--dialect", "brian"), "--dialect must be one of nir, snntorch"),
    (("check", "model.nir", "--dialect", "rockpool"), "--single-spike says that this is wanted"),
    (("check", "model.nir", "--dialect", "nir", "--set", "speed=3"), "--set must be FIELD=VALUE with one of dt, decay"),
    (("check", "model.nir", "--dialect", "nir", "--set", "dt=soon"), "--set dt must be a number, not 'soon'"),
    (("check", "model.nir", "--dialect", "nir", "--set", "reset=maybe"), "dialect reset must be one of"),
    (("check", "model.nir", "--dialect", "nir", "--set", "dt=0.01"), "less than the time step of 0.01"),
    (("import", "model.nir", "--dialect", "nir", "-o", "n.snn"), "--steps must be given where no --data"),
    (("eval", "model.nir", "--dialect", "nir"), "--float goes with a NIR file, and a NIR file with --float"),
    (("eval", "model.nir", "--float", "--dialect", "nir"), "does not say on which data it was trained"),
    (("build", "model.nir", "-o", "b"), "a NIR file: `spikeloom import` makes a network file of it"),
    (("check", "model.nir", "--dialect", "nir", "--picture", "mine.png"), "is not a file that this command wrote"),
])
def test_errors(folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[Any, ...], message: str) -> None:
    monkeypatch.chdir(folder)
    (folder / "mine.png").write_text("mine")
    before = sorted(path.name for path in folder.iterdir())
    result = cli(*words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == before


def test_what_cannot_be_built_names_its_node(tmp_path: Path) -> None:
    write(tmp_path / "a.nir", *chain(fc={"type": "Linear", "weight": np.ones((4, 3))}, lif=LIF))
    result = cli("check", tmp_path / "a.nir", "--dialect", "snntorch", "--json")
    assert result.exit_code == 2
    nodes = {node["name"]: node["error"] for node in json.loads(result.stdout)["nodes"]}
    assert nodes["fc"] == "node fc: weight has shape (4, 3), but it is given 4 values"
    assert nodes["lif"] is None


def test_images_as_currents(tmp_path: Path) -> None:
    """From float to the golden model; as few bits as the share of differing spikes asks for."""
    rng = np.random.default_rng(0)
    layer = {"type": "Affine", "weight": rng.normal(size=(4, 4)), "bias": rng.normal(size=4) / 4}
    write(tmp_path / "a.nir", *chain(fc=layer, lif=LIF))
    np.savez(tmp_path / "images.npz", images=rng.integers(0, 256, (5, 4), dtype=np.uint8), labels=np.arange(5) % 4)
    options = ("--dialect", "snntorch", "--data", tmp_path / "images.npz", "--steps", 20)
    result = cli("eval", tmp_path / "a.nir", "--float", *options, "--save", tmp_path / "float.npz")
    assert result.exit_code == 0, result.output
    result = cli("import", tmp_path / "a.nir", *options, "--input-bits", 8, "--differ-at-most", 0.01, "-o",
                 tmp_path / "a.snn", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["weight_bits"] <= 8
    assert said["differing_spikes"]["share"] <= 0.01
    assert cli("eval", tmp_path / "a.snn", "--data", tmp_path / "images.npz", "--save",
               tmp_path / "integer.npz").exit_code == 0
    with np.load(tmp_path / "float.npz") as a, np.load(tmp_path / "integer.npz") as b:
        assert a["lif"].mean() > 0.1
        assert (a["lif"] != b["lif"]).mean() <= 0.01
