"""Bus tops under Verilator, with cocotbext-axi on every port: random pauses, malformed packets, registers, resets."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support.bus_top import packets_of, run
from support.networks import random_network

from spikeloom.cosim.verilator import lint
from spikeloom.gen.build import build
from spikeloom.gen.bus_top import Interface, packet_config
from spikeloom.gen.cycles import count_cycles
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.manifest import read_manifest
from spikeloom.gen.plan import Plan, make_plan
from spikeloom.gen.testbench import expected_results, random_samples
from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network, Readout
from spikeloom.model.samples import NO_STEP
from spikeloom.rtl.control import control_registers


@dataclass
class Case:
    """A network and a fold of it."""

    network: Network
    fold: Fold


def case_of(kind: str) -> Case:
    rng = np.random.default_rng(11)
    layers = (LayerFold(lanes=4, inputs_per_cycle=1), LayerFold(lanes=3))
    static = random_network(rng, sizes=(12, 9, 5), static=True, steps=4)
    spiking = random_network(rng, sizes=(12, 9, 5), static=False, steps=6)
    if kind == "static":
        return Case(static, Fold(layers=layers, input_per_beat=4))
    if kind == "one beat":
        return Case(static, Fold(layers=layers, input_per_beat=12))
    if kind == "windows":
        return Case(spiking, Fold(layers=layers, input_per_beat=3, window_steps=2))
    if kind == "raster":
        return Case(replace(spiking, readout=Readout(kind="raster")),
                    Fold(layers=layers, input_per_beat=3, window_steps=2))
    if kind == "marked":
        return Case(replace(spiking, length="marked", readout=Readout.count()), Fold(layers=layers, input_per_beat=3))
    if kind == "potential":
        return Case(replace(spiking, readout=Readout(kind="last_potential")),
                    Fold(layers=layers, input_per_beat=3, window_steps=2))
    if kind == "early exit":
        return Case(replace(spiking, readout=Readout(kind="first_spike", early_exit=True)),
                    Fold(layers=layers, input_per_beat=3, window_steps=1))
    assert kind == "external"
    external = (LayerFold(lanes=4, external_bus_bits=64), LayerFold(lanes=3, external_bus_bits=32))
    return Case(static, Fold(layers=external, input_per_beat=4))


def cut(plan: Plan, sample: npt.NDArray[np.uint8], kept: int) -> npt.NDArray[np.uint8]:
    """The sample of whose beats the first ``kept`` came; the rest is zero, or, in a marked run, was never there."""
    network, order = plan.network, plan.channels[0]
    out = sample.copy()
    steps = 1 if network.takes_values else plan.window_steps
    flat = out.reshape(1 if network.takes_values else network.steps, -1)
    for beat in range(kept, plan.input_windows * order.beats):
        window, place = divmod(beat, order.beats)
        channels = order.index[place]
        flat[window * steps:(window + 1) * steps, channels[channels >= 0]] = 0
    if network.marked:
        out[-(-kept // order.beats):] = NO_STEP
    return out


def shown_scores(plan: Plan, result: golden.GoldenResult) -> list[list[int]]:
    """What the registers must show of each sample's scores, if they show any."""
    scores = result.scores
    if plan.readout is not None and plan.readout.early_exit:  # the others have not spiked when the run ends
        scores = np.where(scores == scores.max(axis=1, keepdims=True), scores, 0)
    return [] if plan.readout is None else scores.tolist()


def write_case(plan: Plan, folder: Path, *, count: int, seed: int, malformed: float, stall: float, isolated: bool,
               disturbs: bool = True, hold: int = 6) -> tuple[Path, list[dict[str, Any]], dict[str, int]]:
    """The bench's case, the results that it must see, and how many packets are too short and too long."""
    rng, network = random.Random(seed), plan.network
    print(f"seed {seed}")
    samples = random_samples(network, count, seed)
    packets, errors, faults = packets_of(plan, samples), [], {"early": 0, "late": 0}
    whole = plan.input_windows * plan.channels[0].beats
    for k, beats in enumerate(packets):
        wrong = k > 0 and rng.random() < malformed
        per_step = plan.channels[0].beats
        if wrong and rng.random() < 0.5 and (per_step if network.marked else len(beats)) > 1:
            kept = rng.randint(1, len(beats) - 1)
            if network.marked and not kept % per_step:
                kept += 1
            samples[k] = cut(plan, samples[k], kept)
            packets[k], wrong = beats[:kept], True
            faults["early"] += 1
        elif wrong and (not network.marked or len(beats) == whole):
            packets[k] = beats + [rng.getrandbits(3) for _ in range(rng.randint(1, 9))]
            faults["late"] += 1
        else:
            wrong = False
        errors.append(int(wrong))
    ran = golden.run(network, samples)
    results, scores = expected_results(plan, ran), shown_scores(plan, ran)
    each = len(results) // count
    expected = [{"data": results[k * each:(k + 1) * each], "error": error} for k, error in enumerate(errors)]
    path = folder.parent / "case.json"
    (folder.parent / "scores.json").write_text(json.dumps(scores))
    config = packet_config(plan, "axi")
    registers = control_registers(config.control)
    tables = [{"layer": table.layer, "base": 0x4000 * (k + 1), "low": f"weights{k}_base_low",
               "contents": (folder / table.file).read_bytes().hex()} for k, table in enumerate(plan.tables)]
    bus = read_manifest(folder).bus
    assert bus is not None
    busy = packets_of(plan, np.full_like(samples[:1], 255 if network.takes_values else 1))[0]
    case = {
        "interface": bus.interface,
        "seed": seed, "stall": stall, "hold": hold, "isolated": isolated, "disturbs": disturbs,
        "packets": packets, "tables": tables,
        "registers": {r.name: r.offset for r in registers.registers},
        "unknown": unknown if (unknown := 4 * len(registers.registers)) < registers.bytes else None,
        "beat_bytes": -(-config.gate.bits // 8), "result_bytes": -(-config.result_bits // 8), "first": expected[0],
        "scored": config.control.scored_classes, "first_scores": scores[0] if scores else [],
        "soft_resets": 8, "reset_within": 300, "busy": busy}
    path.write_text(json.dumps(case))
    return path, expected, faults


def check_seen(path: Path, trace: dict[str, Any], meanwhile: int = 6) -> None:
    """Scores of the last result, and at least ``meanwhile`` that were read as results came, one after the other."""
    scores = json.loads(path.with_name("scores.json").read_text())
    assert not scores or len(trace["seen"]) >= len(scores[0]) + meanwhile
    assert [score for _, _, score in trace["seen"]] == [scores[number][index] for number, index, _ in trace["seen"]]


def made(kind: str, tmp_path: Path, interface: Interface = "axi", *, core_clock: bool = False) -> tuple[Plan, Path]:
    case = case_of(kind)
    plan = make_plan(case.network, case.fold)
    build(plan, tmp_path / "build", interface=interface, core_clock=core_clock)
    lint(tmp_path / "build")
    return plan, tmp_path / "build"


KINDS = ("static", "one beat", "windows", "raster", "potential", "marked", "early exit", "external")


@pytest.mark.parametrize("kind", KINDS)
def test_packets_under_pauses(kind: str, tmp_path: Path) -> None:
    """Some results wait until others have come behind them."""
    plan, folder = made(kind, tmp_path)
    path, expected, faults = write_case(plan, folder, count=150, seed=5, malformed=0.3, stall=0.4, isolated=False,
                                        hold=300)
    trace = run(folder, path, "packets")
    assert trace["results"] == expected
    registers = trace["registers"]
    assert sum(faults.values()) > 10 or kind == "one beat"
    assert registers["results"] == len(expected)
    assert registers["malformed"] == sum(faults.values())
    assert registers["events"] & 0b1111 == (
        1 | bool(sum(faults.values())) << 1 | bool(faults["early"]) << 2 | bool(faults["late"]) << 3)
    assert registers["status"] == 0
    assert registers["identity"] == 0x534E4E31
    assert f"{registers['hash0']:08x}{registers['hash1']:08x}" == plan.network.hash[:16]
    if plan.readout is not None:
        assert registers["result"] == expected[-1]["data"][0] | expected[-1]["error"] << 31
    assert ("score" in registers) == (plan.readout is not None)
    config = packet_config(plan, "axi")
    rows = re.findall(r"reg \[(\d+):0\] scores \[0:(\d+)\]", (folder / "snn_top_axi.v").read_text())
    shapes = [] if config.scores is None else [(config.scores.bits, config.scores.banks << config.result_bits)]
    assert [(int(a) + 1, int(b) + 1) for a, b in rows] == shapes
    check_seen(path, trace)
    assert trace["reads"] > 20


@pytest.mark.parametrize("kind", ["static", "windows", "potential", "marked"])
def test_cycles_are_those_of_the_bare_top(kind: str, tmp_path: Path) -> None:
    plan, folder = made(kind, tmp_path)
    path, expected, _ = write_case(plan, folder, count=20, seed=6, malformed=0.0, stall=0.0, isolated=True,
                                   disturbs=False)
    trace = run(folder, path, "packets")
    assert trace["results"] == expected
    samples = random_samples(plan.network, 20, 6)
    assert trace["cycles"] == count_cycles(plan, samples).latency.tolist()
    assert trace["scores"] == json.loads(path.with_name("scores.json").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_control(kind: str, tmp_path: Path) -> None:
    plan, folder = made(kind, tmp_path)
    path, _, _ = write_case(plan, folder, count=1, seed=7, malformed=0.0, stall=0.2, isolated=False)
    run(folder, path, "control")


@pytest.mark.parametrize("kind", ["static", "external"])
def test_wishbone(kind: str, tmp_path: Path) -> None:
    plan, folder = made(kind, tmp_path, "wishbone")
    path, expected, faults = write_case(plan, folder, count=60, seed=9, malformed=0.3, stall=0.3, isolated=False)
    trace = run(folder, path, "packets")
    assert trace["results"] == expected
    assert trace["registers"]["malformed"] == sum(faults.values())
    check_seen(path, trace)
    run(folder, path, "control")


@pytest.mark.parametrize("kind", ["static", "raster", "external"])
def test_two_clocks(kind: str, tmp_path: Path) -> None:
    """The bus faster, slower, and nearly as fast as the accelerator."""
    plan, folder = made(kind, tmp_path, core_clock=True)
    for periods in ((4, 18), (22, 4), (10, 12)):
        path, expected, faults = write_case(plan, folder, count=60, seed=9, malformed=0.3, stall=0.3, isolated=False)
        case = json.loads(path.read_text())
        path.write_text(json.dumps({**case, "periods": periods}))
        trace = run(folder, path, "packets")
        assert trace["results"] == expected
        assert trace["registers"]["malformed"] == sum(faults.values())
        check_seen(path, trace, meanwhile=0)  # so many come while one is read
        run(folder, path, "control")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["static", "external"])
def test_ten_thousand(kind: str, tmp_path: Path) -> None:
    plan, folder = made(kind, tmp_path)
    path, expected, faults = write_case(plan, folder, count=10_000, seed=8, malformed=0.2, stall=0.3, isolated=False)
    trace = run(folder, path, "packets")
    assert trace["results"] == expected
    assert trace["registers"]["malformed"] == sum(faults.values())


def test_a_run_of_unknown_length_as_a_raster_is_refused(tmp_path: Path) -> None:
    case = case_of("marked")
    network = replace(case.network, readout=Readout(kind="raster"))
    with pytest.raises(SpikeloomError, match="interface must be 'stream' where runs are marked"):
        build(make_plan(network, case.fold), tmp_path / "build", interface="axi")
    assert not (tmp_path / "build").exists()
