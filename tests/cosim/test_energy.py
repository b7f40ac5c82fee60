"""Toggles of generated Verilog: those of its waveforms, and more of them where more spikes are."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support.networks import random_network
from support.stub_build import break_verilog

import spikeloom
from spikeloom.cosim.energy import count_activity, estimate_energy
from spikeloom.cosim.saif import read_saif
from spikeloom.cosim.simulate import simulate
from spikeloom.gen.cycles import predict_latency
from spikeloom.gen.manifest import read_manifest
from spikeloom.model.errors import SpikeloomError

SCOPE = "snn_testbench.dut"
DEVICE = "ice40-up5k"


@pytest.fixture(scope="module")
def network() -> Any:
    return random_network(np.random.default_rng(8), sizes=(16, 12, 4), static=True, steps=3)


@pytest.fixture
def folder(network: Any, tmp_path: Path) -> Path:
    spikeloom.write(spikeloom.compile(network, "balanced"), tmp_path / "build")
    return tmp_path / "build"


@pytest.fixture(scope="module")
def samples() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (5, 4, 4), np.uint8)


def toggles_in_vcd(file: Path) -> tuple[Counter[str], dict[str, int]]:
    """Changes and first value of each bit of each net below the design."""
    scopes: list[str] = []
    nets: dict[str, list[tuple[str, int]]] = {}
    now: dict[str, str] = {}
    changes: Counter[str] = Counter()
    first: dict[str, int] = {}
    for line in file.read_text().splitlines():
        words = line.split()
        if words[:1] == ["$scope"]:
            scopes.append(words[2])
        elif words[:1] == ["$upscope"]:
            scopes.pop()
        elif words[:1] == ["$var"]:
            path = ".".join(scopes)
            if path == SCOPE or path.startswith(f"{SCOPE}."):
                name = f"{path}.{words[4]}".removeprefix(f"{SCOPE}.")
                nets.setdefault(words[3], []).append((name, int(words[2])))
        elif match := re.match(r"b([01]+) (\S+)$|([01])(\S+)$", line):
            code, value = match[2] or match[4], match[1] or match[3]
            for name, width in nets.get(code, ()):
                bits, old = value.zfill(width)[::-1], now.get(name)
                for at, bit in enumerate(bits):
                    key = f"{name}[{at}]" if width > 1 else name
                    first.setdefault(key, int(bit))
                    changes[key] += old is not None and old[at] != bit
                now[name] = bits
    return changes, first


def test_counts_are_those_of_the_waveforms(folder: Path, samples: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    for name in ("a.vcd", "a.saif", "a.saif"):  # an earlier file of ours is replaced
        assert simulate(folder, samples[:2], waves=tmp_path / name).ok
    counted = read_saif(tmp_path / "a.saif", SCOPE)
    changes, first = toggles_in_vcd(tmp_path / "a.vcd")
    common = set(changes) & set(counted.toggles)
    registers = {name for name in common if name.partition("[")[0].endswith("_q")}
    assert len(registers) > 100
    assert sum(changes[name] for name in registers) > 1000
    # SAIF's nets begin at 0, so that a first 1 is a toggle.
    assert {name: counted.toggles[name] for name in common} == {name: changes[name] + first[name] for name in common}


def test_an_inference_and_waiting(network: Any, folder: Path, samples: npt.NDArray[np.uint8]) -> None:
    inference, idle = count_activity(folder, samples)
    cycles = predict_latency(network, read_manifest(folder), samples[1:]).mean()
    assert cycles < inference.cycles < cycles + 8  # one sample after the other, and a handover between them
    assert inference.toggles["clk"] == 2 * inference.cycles
    assert sum(count for name, count in inference.toggles.items() if "clk" not in name) > 100
    assert {name for name, count in idle.toggles.items() if count} == {
        name for name in idle.toggles if name.rpartition(".")[2] == "clk"}
    assert idle.high_cycles["o__valid"] == idle.cycles > 100


def test_more_input_takes_more_energy(folder: Path, samples: npt.NDArray[np.uint8]) -> None:
    blank, full = np.zeros_like(samples), samples | 0x11
    blank[0] = full[0] = samples[0]
    few, some, many = (estimate_energy(folder, each, DEVICE, clock_mhz=20)
                       for each in (blank, np.where(np.arange(16).reshape(4, 4) % 3, 0, full), full))
    for end in ("low", "typical", "high"):
        assert getattr(few.total_nj, end) < getattr(some.total_nj, end) < getattr(many.total_nj, end)
        assert getattr(few.kinds_nj["flip-flops"], end) < getattr(many.kinds_nj["flip-flops"], end)
    assert few.idle_mw == many.idle_mw
    assert many.known_registers > 0.9
    assert set(many.parts_nj) == {"layer0", "layer1", "readout", "rest"}
    assert 0 < many.register_rate < 1
    assert many.idle_register_rate == many.idle_logic_rate == 0


def test_of_a_build_with_a_bus_it_is_the_accelerator_inside(network: Any, folder: Path, samples: npt.NDArray[np.uint8],
                                                            tmp_path: Path) -> None:
    spikeloom.write(spikeloom.compile(network, "balanced"), tmp_path / "bus", interface="uart")
    assert estimate_energy(tmp_path / "bus", samples, DEVICE) == estimate_energy(folder, samples, DEVICE)


@pytest.mark.parametrize(("change", "message"), [
    ({"samples": np.zeros((1, 4, 4), np.uint8)}, "energy needs two or more, the first of which only warms up, not 1"),
    ({"samples": np.zeros((3, 5, 4), np.uint8)}, "a sample must be uint8 of shape"),
    ({"device": "xc7z020"}, "nobody's constants"), ({"device": "up5k"}, "did you mean ice40-up5k"),
    ({"clock_mhz": 0}, "clock_mhz must be"), ({"progress": 3}, "progress must be callable"),
], ids=str)
def test_bad_options(folder: Path, samples: npt.NDArray[np.uint8], change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpikeloomError, match=message):
        estimate_energy(**{"folder": folder, "samples": samples, "device": DEVICE, **change})


def test_wrong_verilog_has_no_energy(folder: Path, samples: npt.NDArray[np.uint8]) -> None:
    text = (folder / "snn_top.v").read_text()
    old, = re.findall(r"\+ \(b\[.*", text)
    break_verilog(folder, old, old.replace("+", "|", 1))
    with pytest.raises(SpikeloomError, match="differs from the golden model"):
        count_activity(folder, samples)


def test_no_toggle_counts(tmp_path: Path) -> None:
    (tmp_path / "a.saif").write_text("(SAIFILE\n(DURATION 20)\n)\n")
    with pytest.raises(SpikeloomError, match=r"a\.saif: has no toggle counts of top"):
        read_saif(tmp_path / "a.saif", "top")
