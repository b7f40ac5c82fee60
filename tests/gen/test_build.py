"""Build folders: what stands in them, and that they appear whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from spikeloom.cosim.build_folder import BuildFolder
from spikeloom.gen import build as build_module
from spikeloom.gen.build import build, describe, interface_of
from spikeloom.gen.cycles import cycle_bounds
from spikeloom.gen.fold import PRESETS, Fold, LayerFold, fold_from_dict
from spikeloom.gen.manifest import read_build, read_manifest
from spikeloom.gen.plan import Plan, make_plan
from spikeloom.gen.projects import TOOLS
from spikeloom.gen.verilog import EmittedVerilog, emit
from spikeloom.model.bounds import layer_bounds
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network
from spikeloom.model.network_file import load_network


@pytest.fixture
def plan(network: Network) -> Plan:
    return make_plan(network, PRESETS["balanced"](network))


@pytest.fixture(autouse=True)
def emit_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is emitted, test_verilog looks into; here it is emitted once for each plan."""
    def cached(plan: Plan, top: str, progress: Callable[[str], None], shows_scores: bool) -> EmittedVerilog:
        key = (plan.network.hash, plan.fold, top, shows_scores)
        if key not in EMITTED:
            EMITTED[key] = emit(plan, top, progress, shows_scores)
        return EMITTED[key]

    monkeypatch.setattr(build_module, "emit", cached)


EMITTED: dict[tuple[str, Fold, str, bool], EmittedVerilog] = {}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_folder(plan: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    progress: list[str] = []
    manifest = build(plan, folder, progress=progress.append)
    assert progress[-1] == "files"
    names = {p.name for p in folder.iterdir()}
    assert {"snn_top.v", "lint.vlt", "interface.json", "manifest.json", "network.snn", "README", "DATASHEET.md",
            "datasheet.html", "snn_top.core", "snn_top.f", "snn_top.sdc"} <= names
    assert {name for name in names if name.startswith("project_")} == {f"project_{tool}.tcl" for tool in TOOLS}
    vectors = {"testbench_beats.hex", "testbench_results.hex", "testbench_cycles.hex"}
    assert {name for name in names if name.endswith(".hex")} == set(manifest.memory_files) | vectors
    assert len(names) == 15 + len(TOOLS) + len(manifest.memory_files)
    assert "testbench.v" in names
    assert manifest == read_manifest(folder)
    assert load_network(folder / "network.snn").hash == plan.network.hash
    assert BuildFolder.load(folder).network.hash == plan.network.hash
    assert [p.name for p in folder.parent.iterdir()] == ["b"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_manifest(plan: Plan, tmp_path: Path) -> None:
    network = plan.network
    manifest = build(plan, tmp_path / "build").to_json()
    assert manifest["network"] == {"name": "random", "hash": network.hash, "topology": "12-20-9-4", "steps": 4,
                                   "input": {"kind": "static", "shape": [12]}}
    assert fold_from_dict(manifest["fold"], "manifest") == plan.fold
    assert (manifest["window_steps"], manifest["windows"]) == (4, 1)
    assert manifest["input"] == {"items_per_beat": 4, "item_bits": network.planes(0), "beats_per_window": 3}
    assert (manifest["classes"], manifest["class_bits"]) == (4, 2)
    assert manifest["readout"] == {"kind": network.readout.kind, "ties": network.readout.ties,
                                   "early_exit": False, "beats": 1}
    assert manifest["predicted_cycles"] == dict(zip(("min", "max"), cycle_bounds(plan), strict=True))
    assert manifest["memory_bits"] == sum(manifest["memory_files"].values())
    for name in ("spikeloom", "amaranth"):
        assert manifest["versions"][name] == version(name)
    for index, (layer, told) in enumerate(zip(network.layers, manifest["layers"], strict=True)):
        bounds = layer_bounds(network, index)
        lanes = min(16, layer.connection.outputs)
        assert {key: told[key] for key in ("name", "inputs", "neurons", "lanes", "units", "groups", "weight_bits")} == {
            "name": layer.name, "inputs": layer.connection.inputs, "neurons": layer.connection.outputs, "lanes": lanes,
            "units": 1, "groups": -(-layer.connection.outputs // lanes), "weight_bits": layer.connection.weight_bits}
        assert [told[f"{what}_bits"] for what in ("accumulator", "drive", "register", "potential")] == [
            bounds.accumulator_bits, bounds.drive_bits, bounds.register_bits, bounds.potential_bits]
        assert told["accumulators"] == lanes * (1 if network.static and index == 0 else network.steps)
        assert told["weight_memory_bits"] == sum(bits for name, bits in manifest["memory_files"].items()
                                                 if name.startswith(f"snn_top_{layer.name}_weights"))
    assert manifest["layers"][0]["weight_memory_bits"] == 2 * 16 * 12 * network.layers[0].connection.weight_bits


@pytest.mark.parametrize("preset", PRESETS)
def test_manifest_without_building_is_the_same(network: Network, spiking: Network, preset: str, tmp_path: Path) -> None:
    for net in (network, spiking):
        plan = make_plan(net, PRESETS[preset](net))
        built = build(plan, tmp_path / net.topology).to_json()
        assert set(built.pop("files")) == {p.name for p in (tmp_path / net.topology).iterdir()} - {"manifest.json"}
        assert len(built.pop("seal")) == 64
        assert built == describe(plan).to_json()


@pytest.mark.parametrize(("ties", "winner"), [
    ("lowest_index", "lowest index"), ("membrane", "highest membrane potential in the last step")])
def test_interface_says_who_wins_a_tie(spiking: Network, ties: Any, winner: str) -> None:
    network = replace(spiking, readout=replace(spiking.readout, ties=ties))
    ports = interface_of(make_plan(network, Fold(layers=(LayerFold(), LayerFold()))))["ports"]
    assert ports[-1]["meaning"] == f"index of the class with the highest score; ties: {winner}"


def test_interface(spiking: Network, tmp_path: Path) -> None:
    plan = make_plan(spiking, Fold(layers=(LayerFold(), LayerFold()), input_per_beat=4, window_steps=2))
    build(plan, tmp_path / "build")
    interface = json.loads((tmp_path / "build" / "interface.json").read_text())
    ports = {port["name"]: (port["direction"], port["bits"]) for port in interface["ports"]}
    assert ports == {"i__valid": ("in", 1), "i__ready": ("out", 1), "i__payload": ("in", 8), "o__valid": ("out", 1),
                     "o__ready": ("in", 1), "o__payload": ("out", 2)}
    assert (interface["beats_per_window"], interface["windows_per_sample"]) == (3, 3)
    verilog = (tmp_path / "build" / "snn_top.v").read_text()
    top = verilog[verilog.index("\nmodule snn_top ("):].partition(");")[0]
    for name, (direction, bits) in ports.items():
        width = f"[{bits - 1}:0] " if bits > 1 else ""
        assert re.search(rf"  {direction}put (wire|reg) {re.escape(width)}{name}\b", top)


def test_same_input_same_bytes(plan: Plan, tmp_path: Path) -> None:
    for name in ("a", "b"):
        build(plan, tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_only_an_untouched_build_is_overwritten_and_only_if_asked(plan: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    build(plan, folder)
    before = contents(folder)
    with pytest.raises(SpikeloomError, match=r"build: exists already: choose another name, or --force replaces an "):
        build(plan, folder)
    build(plan, folder, overwrite=True)
    assert contents(folder) == before
    assert [p.name for p in tmp_path.iterdir()] == ["build"]


def edit(folder: Path, field: str, value: Any) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(("touch", "why"), [
    (lambda folder: (folder / "thesis.txt").write_text("mine"), r"thesis\.txt: is not part of the build"),
    (lambda folder: (folder / "notes").mkdir(), "notes: is not part of the build"),
    (lambda folder: (folder / "README").write_text("mine"), "README: is not the file that was built"),
    (lambda folder: (folder / "README").unlink(), "README: no such file"),
    (lambda folder: (folder / "manifest.json").write_text('{"manifest_version": 3}'), "field format must be"),
    (lambda folder: edit(folder, "window_steps", 9), "manifest.json: was changed since it was built"),
], ids=["file", "folder", "edited", "missing", "web app", "manifest"])
def test_what_somebody_has_touched_stays(plan: Plan, tmp_path: Path, touch: Callable[[Path], Any], why: str,
                                         overwrite: bool) -> None:
    folder = tmp_path / "build"
    build(plan, folder)
    touch(folder)
    before = contents(folder)
    with pytest.raises(SpikeloomError, match=f"build: exists already and is not a build as it was written .*{why}"):
        build(plan, folder, overwrite=overwrite)
    assert contents(folder) == before
    assert [p.name for p in tmp_path.iterdir()] == ["build"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_only_builds_are_overwritten(plan: Plan, tmp_path: Path, kind: str, overwrite: bool) -> None:
    target = tmp_path / "precious"
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "thesis.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(SpikeloomError, match=r"precious: exists already and is not .*; choose another name"):
        build(plan, target, overwrite=overwrite)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_appears_meanwhile_stays(plan: Plan, tmp_path: Path, overwrite: bool) -> None:
    folder = tmp_path / "build"

    def appear(what: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "thesis.txt").write_text("mine")

    with pytest.raises(SpikeloomError, match="left as"):
        build(plan, folder, overwrite=overwrite, progress=appear)
    assert contents(tmp_path) == {"build/thesis.txt": b"mine"}


def test_of_two_builds_one_wins_and_one_is_told(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(SpikeloomError, match="left as"):
        build(plan, tmp_path / "build", progress=lambda what: (tmp_path / "build").exists()
              or build(plan, tmp_path / "build"))
    assert read_build(tmp_path / "build")


def test_parent_is_a_file(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpikeloomError, match=r"file/build: cannot be written: Not a directory"):
        build(plan, tmp_path / "file" / "build")


def raises(error: Exception) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error
    return fail


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), RuntimeError("bug")],
                         ids=repr)
@pytest.mark.parametrize("overwrite", [False, True])
def test_failure_in_the_middle_leaves_nothing(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              error: Any, overwrite: bool) -> None:
    """The old build stays as it was, too."""
    if overwrite:
        build(plan, tmp_path / "build")
    before = contents(tmp_path)
    monkeypatch.setattr(build_module, "save_network", raises(error))
    with pytest.raises(SpikeloomError if isinstance(error, OSError) else type(error)):
        build(plan, tmp_path / "build", overwrite=overwrite)
    assert contents(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == overwrite


def test_failure_of_emission_leaves_nothing(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "emit", raises(SpikeloomError("Yosys could not write the Verilog")))
    with pytest.raises(SpikeloomError, match="Yosys"):
        build(plan, tmp_path / "deep" / "build")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "message"), [
    (None, r"not a build folder: it has no manifest\.json"),
    ("{", r"manifest\.json: not valid JSON"),
    ("\xff", r"manifest\.json: not valid JSON"),
    ("[" * 100_000, r"manifest\.json: not valid JSON"),
    ("[]", r"manifest\.json: field format must be 'spikeloom-build'"),
    ('{"format": "other"}', r"manifest\.json: field format must be 'spikeloom-build'"),
    ('{"format": "spikeloom-build"}', r"manifest\.json: version is None, this spikeloom reads 1"),
    ('{"format": "spikeloom-build", "version": 2}', r"manifest\.json: version is 2, this spikeloom reads 1"),
], ids=lambda v: str(v)[:40])
def test_read_manifest(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(SpikeloomError, match=message) as caught:
        read_manifest(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_read_manifest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpikeloomError, match=r"file: not a build folder: there is no such folder"):
        read_manifest(tmp_path / "file")
