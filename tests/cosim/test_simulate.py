"""The co-simulation, against a stub: it must find what is equal equal, and everything else wrong."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.stub_build import Stub, break_verilog, seal, small_network, write_stub

from spikeloom.cosim.runner import SimulationError
from spikeloom.cosim.simulate import SimResult, simulate
from spikeloom.gen.manifest import read_manifest
from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network_file import save_network


@pytest.fixture(params=["static", "spikes"])
def stub(request: pytest.FixtureRequest, static_stub: Stub, spike_stub: Stub) -> Stub:
    return static_stub if request.param == "static" else spike_stub


def run(stub: Stub, **options: Any) -> SimResult:
    return simulate(stub.folder, stub.samples, **{"predict": stub.predict, "max_idle_cycles": 2000, **options})


def test_equal_and_on_time(stub: Stub) -> None:
    want = golden.run(stub.network, stub.samples)
    labels = want.classes.copy()
    labels[:10] = (labels[:10] + 1) % 3
    seen: list[tuple[str, int, int]] = []
    result = run(stub, labels=labels, progress=lambda *report: seen.append(report))
    assert (result.mismatches, result.first_mismatch, result.cycles_mispredicted) == (0, None, 0)
    assert result.ok
    assert (result.cycles_min, result.cycles_mean, result.cycles_max) == (stub.latency,) * 3
    np.testing.assert_array_equal(result.classes, want.classes)
    assert result.accuracy == 0.75
    assert json.loads(json.dumps(result.to_json()))["cycles"] == {
        "min": stub.latency, "mean": stub.latency, "max": stub.latency}
    assert ("compile", 1, 1) in seen
    assert ("simulate", 40, 40) in seen
    assert seen[-1] == ("compare", 40, 40)


@pytest.mark.parametrize("options", [
    {"mode": "stream"},
    {"input_gap": 0.5},
    {"output_stall": 0.5},
    {"mode": "stream", "input_gap": 0.3, "output_stall": 0.7, "seed": 3},
    {"jobs": 1, "reset_cycles": [37]},
    {"mode": "stream", "input_gap": 0.3, "output_stall": 0.3, "reset_cycles": [17, 18, 60, 200, 333, 420]},
], ids=str)
def test_nothing_that_may_happen_changes_a_result(stub: Stub, options: dict[str, Any]) -> None:
    result = run(stub, **options)
    assert (result.mismatches, result.first_mismatch) == (0, None)
    compared = options.get("mode") != "stream" and not options.get("input_gap") and not options.get("output_stall")
    assert result.cycles_mispredicted == (0 if compared else None)


def test_seed_decides_the_stalls(static_stub: Stub) -> None:
    stalls: dict[str, Any] = {"input_gap": 0.5, "output_stall": 0.5}
    first, again, other = (run(static_stub, seed=seed, **stalls).latencies for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_more_jobs_than_samples(static_stub: Stub) -> None:
    result = simulate(static_stub.folder, static_stub.samples[:3], jobs=8, predict=static_stub.predict)
    assert (result.samples, result.mismatches, result.cycles_mispredicted) == (3, 0, 0)


@pytest.mark.parametrize("items", [1, 7])
def test_narrow_and_wide_input(tmp_path: Path, items: int) -> None:
    stub = write_stub(tmp_path / "b", small_network(static=True, steps=3), window=3, items=items,
                      folds=((1, 1), (3, 3)))
    assert run(stub).ok


def test_weights_are_data(tmp_path: Path) -> None:
    """Networks of the same shape share one program; the weights are read when it starts."""
    results = []
    for seed in (1, 8):
        stub = write_stub(tmp_path / f"b{seed}", small_network(static=True, steps=5, seed=seed), window=5)
        results.append(run(stub))
        assert results[-1].ok
    assert (tmp_path / "b1" / "snn_top.v").read_text() == (tmp_path / "b8" / "snn_top.v").read_text()
    assert (results[0].classes != results[1].classes).any()


def test_wrong_prediction(static_stub: Stub) -> None:
    result = run(static_stub, predict=lambda n, m, x: static_stub.latency + (np.arange(len(x)) % 4 == 0))
    assert (result.mismatches, result.cycles_mispredicted, result.ok) == (0, 10, False)


def test_mismatch_is_located(static_stub: Stub) -> None:
    break_verilog(static_stub.folder, "= s_hidden[neuron_hidden];",
                  "= s_hidden[neuron_hidden] ^ (neuron_hidden == 4 ? 5'b00100 : 5'b0);")
    want = golden.run(static_stub.network, static_stub.samples).spikes[0][0, 2, 4]
    result = run(static_stub)
    assert result.mismatches == 40
    assert str(result.first_mismatch) == (
        f"sample 0, layer hidden, step 2, neuron 4: got {1 - want}, want {int(want)}")


@pytest.mark.parametrize(("old", "new"), [
    pytest.param("u_hidden[n] >>> 2", "u_hidden[n] >>> 1", id="wrong decay"),
    pytest.param("for (i = 0; i < 7; i = i + 1)\n            sum", "for (i = 1; i < 7; i = i + 1)\n            sum",
                 id="dropped event"),
    pytest.param("u_out_1[n] > threshold_out_1[n]", "u_out_1[n] > threshold_out_1[0]", id="wrong threshold"),
    pytest.param("u_hidden[n] = 0;\n          end", "end", id="no reset after a spike"),
    pytest.param("score[n] > score[best]", "score[n] >= score[best]", id="tie"),
    pytest.param("j_out_1[n] = 0;", "", id="state left over"),
    pytest.param("beat / 2 * 4 + lane_hidden", "beat / 2 * 3 + lane_hidden", id="off by one in the fold"),
    pytest.param("spikes_out_1_payload = 0;", "spikes_out_1_payload = {5{1'b1}};", id="padding fires"),
])
def test_faults_are_caught(static_stub: Stub, old: str, new: str) -> None:
    break_verilog(static_stub.folder, old, new)
    result = run(static_stub)
    assert result.mismatches > 0
    assert result.first_mismatch is not None
    assert not result.ok


@pytest.mark.parametrize(("old", "new", "message"), [
    pytest.param("o__valid = phase == 3", "o__valid = phase == 4", "sample 0: no result until cycle", id="hang"),
    pytest.param("if (beat == 3) begin\n          beat <= 0;\n          phase", "if (beat == 4) begin\n          beat"
                 " <= 0;\n          phase", "sample 0, layer hidden: 5 beats of spikes until the result, expected 4",
                 id="a beat too many"),
    pytest.param("= s_out_1[neuron_out_1];", "= s_out_1[neuron_out_1] ^ {4'b0, toggle_out_1};",
                 "a stream changed or withdrew its payload", id="payload not held"),
])
def test_broken_streams_are_errors(static_stub: Stub, old: str, new: str, message: str) -> None:
    break_verilog(static_stub.folder, old, new)
    with pytest.raises(SimulationError, match=message):
        run(static_stub, jobs=1)


def test_verilog_that_does_not_compile(static_stub: Stub) -> None:
    break_verilog(static_stub.folder, "assign i__ready = phase == 0;", "assign i__ready = phaze == 0;")
    with pytest.raises(SimulationError, match=r"(?s)snn_top\.v, snn_testbench\.sv cannot be compiled: .*phaze"):
        run(static_stub)


def test_waves(static_stub: Stub, tmp_path: Path) -> None:
    result = simulate(static_stub.folder, static_stub.samples[:2], predict=static_stub.predict,
                      waves=tmp_path / "out.vcd")
    assert result.waves == tmp_path / "out.vcd"
    assert "spikes_hidden_payload" in result.waves.read_text()
    for name, what in (("folder.vcd", "is a folder"), ("thesis.vcd", "not a file that this command wrote")):
        (tmp_path / "folder.vcd").mkdir(exist_ok=True)
        (tmp_path / "thesis.vcd").write_text("mine")
        with pytest.raises(SpikeloomError, match=what):
            run(static_stub, waves=tmp_path / name)
    assert (tmp_path / "thesis.vcd").read_text() == "mine"


def test_a_full_disk(static_stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator itself would wait for ever."""
    real, full = os.statvfs, os.statvfs_result((4096, 4096, 1000, 0, 0, 1000, 1000, 1000, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda folder: full if folder == tmp_path else real(folder))
    with pytest.raises(SpikeloomError, match=f"{tmp_path}: the disk is full"):
        run(static_stub, waves=tmp_path / "out.vcd")
    assert not (tmp_path / "out.vcd").exists()


def test_whatever_ends_it_ends_the_simulators(static_stub: Stub) -> None:
    """Here the caller's progress bar; Ctrl-C likewise."""
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "simulate" and done:
            raise KeyboardInterrupt

    many = np.tile(static_stub.samples, (10_000, 1))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        simulate(static_stub.folder, many, progress=stop)
    assert time.monotonic() - began < 30  # of minutes


def test_a_folder_that_is_rebuilt_meanwhile(static_stub: Stub) -> None:
    def rebuild(stage: str, done: int, total: int) -> None:
        (static_stub.folder / "hidden_weight.hex").write_text("0\n" * 42)

    assert run(static_stub, progress=rebuild).ok
    with pytest.raises(SpikeloomError, match=r"hidden_weight\.hex: is not the file that was built"):
        run(static_stub)


def test_no_build_folder(tmp_path: Path) -> None:
    with pytest.raises(SpikeloomError, match=r"not a build folder: it has no manifest\.json"):
        simulate(tmp_path, np.zeros((1, 7), np.uint8))


@pytest.mark.parametrize(("changes", "message"), [
    ({"format": "other"}, "field format must be 'spikeloom-build'"),
    ({"version": 2}, "version is 2, this spikeloom reads 1"),
    ({"windows": 2}, r"manifest\.json: windows is 2, but network and fold make it 1"),
    ({"window_steps": 0}, "field window_steps: .*greater than or equal to 1, not 0"),
    ({"sources": ["other.v"]}, r"sources names other\.v, which is not one of files"),
    ({"sources": ["../other.v"]}, r"field sources\[0\]: .*match pattern .*, not '\.\./other\.v'"),
    ({"layers": []}, "field layers: .*at least 1 item"),
    ({"layers": [3]}, r"field layers\[0\]: .*, not 3"),
    ({"network": {"hash": "0" * 64}}, r"field network\.name is missing"),
    ({"input": {}}, r"field input\.items_per_beat is missing"),
    ({"top": "snn_top; tee -o x stat"}, "field top: .*match pattern .*, not 'snn_top; tee"),
    ({"classes": 400}, "classes is 400, but network and fold make it 3"),
    ({"window_steps": 6}, "window_steps must be at most 5, not 6"),
    ({"class_bits": 1 << 20}, "class_bits is 1048576, but network and fold make it 2"),
    ({"class_bits": 1 << 21}, "field class_bits: .*less than or equal to 1048576"),
    ({"input": {"items_per_beat": 1 << 30, "item_bits": 3, "beats_per_window": 1}},
     r"input\.items_per_beat must be at most 7"),
    ({"extra": 1}, "field extra is unknown"),
], ids=str)
def test_foreign_manifest(static_stub: Stub, changes: dict[str, Any], message: str) -> None:
    seal(static_stub.folder, **changes)
    with pytest.raises(SpikeloomError, match=message):
        run(static_stub)


@pytest.mark.parametrize(("field", "message"), [("lanes", "must be at most 6"), ("units", "must be at most 4")])
def test_huge_layers(static_stub: Stub, field: str, message: str) -> None:
    first, *others = read_manifest(static_stub.folder).to_json()["layers"]
    seal(static_stub.folder, layers=[first | {field: 1 << 30}, *others])
    with pytest.raises(SpikeloomError, match=rf"layers\[0\]\.{field} {message}"):
        run(static_stub)


def test_manifest_is_no_json(static_stub: Stub) -> None:
    (static_stub.folder / "manifest.json").write_text("{")
    with pytest.raises(SpikeloomError, match="not valid JSON"):
        run(static_stub)


def test_missing_memory(static_stub: Stub) -> None:
    (static_stub.folder / "out_1_bias.hex").unlink()
    with pytest.raises(SpikeloomError, match=r"out_1_bias\.hex: no such file"):
        run(static_stub)


def test_other_network(static_stub: Stub) -> None:
    (static_stub.folder / "network.snn").unlink()
    save_network(small_network(static=True, steps=5, seed=9), static_stub.folder / "network.snn")
    seal(static_stub.folder)
    with pytest.raises(SpikeloomError, match=r"another network than network\.snn beside it"):
        run(static_stub)


@pytest.mark.parametrize(("options", "message"), [
    ({"input_gap": 1.0}, r"input_gap must be a number in 0\.\.0\.99, not 1\.0"),
    ({"output_stall": float("nan")}, "output_stall must be"),
    ({"mode": "fast"}, "mode must be 'isolated' or 'stream', not 'fast'"),
    ({"jobs": 0}, r"jobs must be in 1\.\.1024, not 0"),
    ({"seed": -1}, "seed must be in 0"),
    ({"reset_cycles": [-1]}, "reset_cycles must be in 0"),
    ({"reset_cycles": [10 ** 23]}, "reset_cycles must be in 0"),
    ({"reset_cycles": [1.5]}, "reset_cycles must be in 0"),
    ({"reset_cycles": 5}, "reset_cycles must be a sequence"),
    ({"jobs": "2"}, "jobs must be in"),
    ({"labels": ["a"] * 40}, "labels must be an array of numbers"),
    ({"labels": [99] * 40}, r"label of sample 0 must be in 0\.\.2, not 99"),
    ({"waves": "out.fst"}, r"waveforms are written as \.vcd"),
    ({"waves": "nowhere/out.vcd"}, "does not exist"),
    ({"labels": [1, 2]}, r"labels must be integers of shape \(40,\), one per sample, not int64 of shape \(2,\)"),
    ({"progress": 5}, "progress must be callable, not 5"),
    ({"memory": None}, "memory must be a MemoryTiming, not None"),
    ({"output_hold_cycles": -1}, "output_hold_cycles must be in 0"),
    ({"predict": lambda n, m, x: [1]}, "not one number for each of 40 samples"),
], ids=lambda v: str(v)[:40] if isinstance(v, str) else "-".join(v))
def test_bad_parameters(static_stub: Stub, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpikeloomError, match=message):
        run(static_stub, **options)


def test_bad_samples(static_stub: Stub) -> None:
    with pytest.raises(SpikeloomError, match="a sample must be"):
        simulate(static_stub.folder, np.zeros((2, 8), np.uint8))
    with pytest.raises(SpikeloomError, match="at least one sample"):
        simulate(static_stub.folder, np.zeros((0, 7), np.uint8))
