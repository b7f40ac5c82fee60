"""Boards on a serial line: the real host program against the whole design, from its pins on, under Verilator."""

from __future__ import annotations

import os
import pty
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serial
from support.networks import random_network, relative

from spikeloom.cosim.build_folder import BuildFolder
from spikeloom.cosim.serial_frames import FrameReader, encoded
from spikeloom.cosim.serial_host import Host, LineError
from spikeloom.cosim.serial_run import run_on_line
from spikeloom.cosim.serial_simulation import simulated_line
from spikeloom.cosim.verilator import lint
from spikeloom.gen.build import build
from spikeloom.gen.bus_top import Serial, packet_config
from spikeloom.gen.cycles import count_cycles
from spikeloom.gen.fetch_cycles import MemoryTiming
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.manifest import SerialDescription
from spikeloom.gen.plan import Plan, make_plan, plan_of
from spikeloom.gen.stimulus import packets_of
from spikeloom.gen.testbench import expected_results, random_samples
from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Readout
from spikeloom.rtl.control import control_registers
from spikeloom.rtl.flash_loader import flash_image
from spikeloom.rtl.frames import Kind
from spikeloom.rtl.spi import SCK_CYCLES_MIN
from spikeloom.rtl.weight_ram import LATENCY_CYCLES

LINE = Serial(clock_hz=8_000_000, baud=1_000_000)
KINDS = ["static", "external", "windows", "raster", "marked", "early exit", "long"]


def plan_of_kind(kind: str) -> Plan:
    rng = np.random.default_rng(21)
    layers = (LayerFold(lanes=4, inputs_per_cycle=1), LayerFold(lanes=3))
    if kind == "static":
        network = random_network(rng, sizes=(12, 9, 5), static=True, steps=4)
        return make_plan(network, Fold(layers=layers, input_per_beat=5))
    if kind == "external":  # which is a RAM here, that the host fills
        network = random_network(rng, sizes=(12, 9, 5), static=True, steps=4)
        return make_plan(network, Fold(input_per_beat=2, layers=(
            LayerFold(lanes=4, external_bus_bits=64), LayerFold(lanes=3, external_bus_bits=32))))
    if kind == "long":  # a sample is more than the buffer holds
        network = random_network(rng, sizes=(400, 6, 5), static=False, steps=90)
        return make_plan(network, Fold(layers=layers, input_per_beat=4, window_steps=3))
    network = random_network(rng, sizes=(12, 9, 5), static=False, steps=6)
    windows: dict[str, Any] = {"input_per_beat": 3, "window_steps": 2}
    if kind == "raster":
        network = replace(network, readout=Readout(kind="raster"))
    if kind == "marked":
        network, windows = replace(network, length="marked", readout=Readout.count()), {"input_per_beat": 7}
    if kind == "early exit":
        network = replace(network, readout=Readout(kind="first_spike", early_exit=True))
        windows = {"input_per_beat": 3, "window_steps": 1}
    return make_plan(network, Fold(layers=layers, **windows))


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serial") / "build"
    build(plan_of_kind("static"), folder, interface="uart", serial=LINE)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_all_answers_are_right(kind: str, tmp_path: Path) -> None:
    plan = plan_of_kind(kind)
    manifest = build(plan, tmp_path / "build", interface="uart", serial=LINE)
    lint(tmp_path / "build")
    samples = random_samples(plan.network, 25 if kind != "long" else 3, 7)
    told: list[tuple[str, int, int]] = []
    result = run_on_line(tmp_path / "build", samples, progress=lambda *what: told.append(what))
    assert (result.samples, result.wrong, result.first_wrong) == (len(samples), 0, None)
    assert (result.refused, result.garbled, result.restarts) == (0, 0, 0)
    assert result.simulated
    assert told[-1] == ("run", len(samples), len(samples))
    assert manifest.bus is not None
    assert manifest.bus.serial is not None
    packet = max(map(len, packets_of(plan.network, plan.channels[0], plan.window_steps, samples)))
    assert (packet > manifest.bus.serial.buffer_bytes) == (kind == "long")
    assert result.line_per_s <= 1e5 / packet * 4
    if kind == "external":  # beats come one a cycle, as in the model
        memory = MemoryTiming(latency_cycles=LATENCY_CYCLES)
        assert result.cycles_mean == count_cycles(plan, samples[:10], memory).latency.mean()
    assert result.core_per_s == LINE.clock_hz / result.cycles_mean


@pytest.mark.parametrize("sets", [1, 2])
def test_weights_of_another_network(sets: int, tmp_path: Path) -> None:
    plan = plan_of_kind("static")
    folder, rng = tmp_path / "build", np.random.default_rng(3)
    build(make_plan(plan.network, replace(plan.fold, weight_sets=sets)), folder, interface="uart", serial=LINE)
    lint(folder)
    samples = random_samples(plan.network, 12, 7)
    for network in (None, relative(rng, plan.network)):
        result = run_on_line(folder, samples, network=network)
        assert (result.samples, result.wrong) == (12, 0)
    build(plan, tmp_path / "fixed", interface="uart", serial=LINE)
    with pytest.raises(SpikeloomError, match="weight_sets is 0"):
        run_on_line(tmp_path / "fixed", samples, network=network)


@pytest.mark.parametrize("kind", ["static", "raster", "external"])
def test_spi(kind: str, tmp_path: Path) -> None:
    plan = plan_of_kind(kind)
    manifest = build(plan, tmp_path / "build", interface="spi", serial=Serial.spi(25_000_000))
    lint(tmp_path / "build")
    assert manifest.bus is not None
    assert manifest.bus.serial is not None
    assert manifest.bus.serial.bit_cycles == SCK_CYCLES_MIN
    samples = random_samples(plan.network, 12, 7)
    result = run_on_line(tmp_path / "build", samples)
    assert (result.samples, result.wrong) == (12, 0)
    assert (result.refused, result.garbled, result.restarts) == (0, 0, 0)


@pytest.fixture(scope="module")
def flashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With weights of two layers in a flash."""
    folder = tmp_path_factory.mktemp("flash") / "build"
    manifest = build(plan_of_kind("external"), folder, interface="uart", serial=LINE, flash_offset=0x3000)
    assert manifest.bus is not None
    assert manifest.bus.flash is not None
    assert manifest.bus.flash.offset == 0x3000
    return folder


def test_weights_from_a_flash(flashed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sends them; the next run finds them in place."""
    lint(flashed)
    monkeypatch.setattr(Host, "load", None)
    samples = random_samples(BuildFolder.load(flashed).network, 25, 7)
    result = run_on_line(flashed, samples)
    assert (result.samples, result.wrong, result.restarts) == (25, 0, 0)
    plan = plan_of_kind("external")
    memory = MemoryTiming(latency_cycles=LATENCY_CYCLES)
    assert result.cycles_mean == count_cycles(plan, samples[:10], memory).latency.mean()


def test_samples_wait_for_the_flash(flashed: Path) -> None:
    """A host that does not ask gets its results when the weights are there."""
    built = BuildFolder.load(flashed)
    with simulated_line(built, serial_of(built)) as port, serial.Serial(port, timeout=1) as line:
        host, built, plan = host_of(flashed, line, 20.0)
        samples = random_samples(plan.network, 5, 9)
        packets = packets_of(plan.network, plan.channels[0], plan.window_steps, samples)
        got = [result.beats[0] for result in host.run(packets)]
        assert got == expected_results(plan, golden.run(built.network, samples))
        assert host.read("weights") == 0


@pytest.mark.parametrize("what", ["a bit", "nothing", "another network's"])
def test_a_flash_with_something_else(what: str, flashed: Path) -> None:
    """Seen by the host, no sample is answered; weights that come over the line make it work."""
    built = BuildFolder.load(flashed)
    assert built.flash is not None
    at = 24 + 70
    held = {"a bit": built.flash[:at] + bytes([built.flash[at] ^ 4]) + built.flash[at + 1:], "nothing": b"\xff" * 40,
            "another network's": flash_image("ab" * 32, [table.contents for table in built.external])}[what]
    samples = random_samples(built.network, 12, 9)
    with simulated_line(replace(built, flash=held), serial_of(built)) as port:
        with pytest.raises(LineError, match=rf"port {port}: .* found in its flash not the weights of .*: write "
                           r"flash_weights.bin into it from byte 12,288 on, or the weights over the line"):
            run_on_line(flashed, samples, port=port)
        with serial.Serial(port, timeout=1) as line:
            host, _, plan = host_of(flashed, line, 0.5)
            assert host.read("weights") == 2
            packets = packets_of(plan.network, plan.channels[0], plan.window_steps, samples)
            with pytest.raises(LineError, match=r"sample 0: nothing came"):
                next(host.run(packets))
        result = run_on_line(flashed, samples, port=port, load_weights=True)
        assert (result.samples, result.wrong) == (12, 0)
        result = run_on_line(flashed, samples, port=port)  # which are still there
        assert (result.samples, result.wrong) == (12, 0)


def test_weights_over_the_line_in_spite_of_a_flash(flashed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []
    monkeypatch.setattr(Host, "load", lambda self, table, words, word_bytes, load=Host.load: (
        loads.append(table), load(self, table, words, word_bytes)))
    assert run_on_line(flashed, random_samples(BuildFolder.load(flashed).network, 3, 7), load_weights=True).wrong == 0
    assert loads == [0, 1]


def test_a_flash_behind_spi(tmp_path: Path) -> None:
    """The host's line is one, and the flash's another."""
    plan = plan_of_kind("external")
    build(plan, tmp_path / "build", interface="spi", serial=Serial.spi(30_000_000), flash_offset=0)
    lint(tmp_path / "build")
    assert run_on_line(tmp_path / "build", random_samples(plan.network, 5, 7)).wrong == 0


@pytest.mark.parametrize(("kind", "options", "why"), [
    ("static", {"interface": "uart", "flash_offset": 0}, "keeps all weights on the chip, .* external_bus_bits"),
    ("external", {"interface": "axi", "flash_offset": 0}, "flash_offset must be None with interface 'axi'"),
    ("external", {"flash_offset": 0}, "flash_offset must be None with interface 'stream'"),
    ("external", {"interface": "uart", "flash_offset": 100}, "flash_offset must be a multiple of 4096, .* not 100"),
    ("external", {"interface": "uart", "flash_offset": -4096}, "flash_offset must be in 0"),
    ("external", {"interface": "uart", "flash_offset": 1 << 24}, "flash_offset must be in 0"),
    ("external", {"interface": "uart", "flash_offset": 0.5}, "flash_offset must be in 0")])
def test_flashes_that_are_none(kind: str, options: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(SpikeloomError, match=why):
        build(plan_of_kind(kind), tmp_path / "build", **options)
    assert not (tmp_path / "build").exists()


class FaultyLine:
    """Loses and changes some of the bytes that pass, both ways."""

    def __init__(self, line: Any, rng: random.Random, chance: float) -> None:
        self.line, self.rng, self.chance = line, rng, chance
        self.faults = 0
        self.timeout: float | None = None

    @property
    def in_waiting(self) -> int:
        return int(self.line.in_waiting)

    def _garbled(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            draw = self.rng.random()
            if draw < self.chance:
                self.faults += 1
                if draw < self.chance / 2:
                    continue
                byte ^= 1 << self.rng.randrange(8)
            out.append(byte)
        return bytes(out)

    def read(self, size: int = 1) -> bytes:
        self.line.timeout = self.timeout
        return self._garbled(self.line.read(size))

    def write(self, data: bytes) -> int | None:
        return int(self.line.write(self._garbled(data)) or 0)


def host_of(folder: Path, line: Any, patience_s: float) -> tuple[Host, BuildFolder, Plan]:
    built = BuildFolder.load(folder)
    plan = plan_of(built.manifest, built.network)
    registers = control_registers(packet_config(plan, "uart", filled=built.flash is not None).control)
    return Host(line, registers, serial_of(built).buffer_bytes, patience_s=patience_s), built, plan


def serial_of(built: BuildFolder) -> SerialDescription:
    assert built.manifest.bus is not None
    assert built.manifest.bus.serial is not None
    return built.manifest.bus.serial


def test_a_bad_line_makes_no_wrong_answer(static: Path) -> None:
    """Every kind of loss is noticed and repaired; what was under way when a host died is forgotten by the next one."""
    seed = 3
    print(f"seed {seed}")
    rng = random.Random(seed)
    built = BuildFolder.load(static)
    with simulated_line(built, serial_of(built)) as port, serial.Serial(port, timeout=1) as line:
        faulty = FaultyLine(line, rng, 0.004)
        host, built, plan = host_of(static, faulty, 1.0)
        samples = random_samples(plan.network, 120, 8)
        packets = packets_of(plan.network, plan.channels[0], plan.window_steps, samples)
        line.write(encoded(Kind.LAST, b"\0", packets[0])[:5])  # and then the host before us died
        got = [result.beats[0] for result in host.run(packets)]
        assert got == expected_results(plan, golden.run(built.network, samples))
        assert faulty.faults > 5
        assert host.refused + host.garbled > 0
        assert host.restarts > 0
        assert host.read("malformed") == 0


def test_reset_in_the_middle(static: Path) -> None:
    """A second host resets what a first one left under way, and gets its own results."""
    built = BuildFolder.load(static)
    with simulated_line(built, serial_of(built)) as port, serial.Serial(port, timeout=1) as line:
        host, built, plan = host_of(static, line, 20.0)
        samples = random_samples(plan.network, 12, 9)
        packets = packets_of(plan.network, plan.channels[0], plan.window_steps, samples)
        next(host.run(packets))  # more were sent, and their results come
        again, _, _ = host_of(static, line, 20.0)
        got = [result.beats[0] for result in again.run(packets)]
        assert got == expected_results(plan, golden.run(built.network, samples))


def test_another_network_answers(static: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(22)
    other = make_plan(random_network(rng, sizes=(12, 9, 5), static=True, steps=4),
                      Fold(layers=(LayerFold(), LayerFold())))
    build(other, tmp_path / "other", interface="uart", serial=LINE)
    built = BuildFolder.load(static)
    with (simulated_line(built, serial_of(built)) as port,
          pytest.raises(LineError, match=f"for another network than .*other: its hash is {built.network.hash[:32]}")):
        run_on_line(tmp_path / "other", random_samples(other.network, 2, 1), port=port)


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """A port, and what is behind it."""
    master, slave = pty.openpty()
    yield master, os.ttyname(slave)
    os.close(slave)
    with suppress(OSError):
        os.close(master)


def samples_of(folder: Path) -> Any:
    return random_samples(BuildFolder.load(folder).network, 2, 1)


def test_a_silent_port(static: Path, terminal: tuple[int, str]) -> None:
    with pytest.raises(LineError, match=f"port {terminal[1]}: reading register identity: no answer in 4 x 1"):
        run_on_line(static, samples_of(static), port=terminal[1])


def test_nonsense(static: Path, terminal: tuple[int, str]) -> None:
    master, port = terminal
    rng = random.Random(1)
    ends = threading.Event()

    def babble() -> None:
        while not ends.wait(0.01):
            os.write(master, rng.randbytes(40))

    thread = threading.Thread(target=babble)
    thread.start()
    try:
        with pytest.raises(LineError, match="reading register identity: no answer"):
            run_on_line(static, samples_of(static), port=port)
    finally:
        ends.set()
        thread.join()


def test_something_else_answers(static: Path, terminal: tuple[int, str]) -> None:
    """Its frames are right, and it is not ours."""
    master, port = terminal
    reader = FrameReader()

    def answer() -> None:
        answered = 0
        while answered < 6:  # identity, version, four words of the hash
            for _, values in reader.feed(os.read(master, 100)):
                os.write(master, encoded(Kind.VALUE, values[:2], b"RISC"))
                answered += 1

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    with pytest.raises(LineError, match="no accelerator of spikeloom: its identity is 0x43534952"):
        run_on_line(static, samples_of(static), port=port)
    thread.join(5)


def test_unplugged(static: Path, terminal: tuple[int, str]) -> None:
    master, port = terminal

    def unplug() -> None:
        time.sleep(0.3)
        os.close(master)

    thread = threading.Thread(target=unplug)
    thread.start()
    with pytest.raises(LineError, match=f"port {port}: (went away|reading register identity)"):
        run_on_line(static, samples_of(static), port=port)
    thread.join()


@pytest.mark.parametrize(("port", "why"), [
    ("/dev/nothing", "cannot be opened with 1,000,000 baud: .*No such file"), ("/dev/null", "cannot be opened"),
    ("/", "cannot be opened"), ("", "cannot be opened"), ("loop\0", "cannot be opened")])
def test_ports_that_are_none(port: str, why: str, static: Path) -> None:
    with pytest.raises(SpikeloomError, match=why):
        run_on_line(static, samples_of(static), port=port)


def test_a_busy_port(static: Path, terminal: tuple[int, str]) -> None:
    with (serial.Serial(terminal[1], exclusive=True),
          pytest.raises(LineError, match=r"cannot be opened .*[Ll]ock")):
        run_on_line(static, samples_of(static), port=terminal[1])


def test_a_build_without_a_line(tmp_path: Path) -> None:
    plan = plan_of_kind("static")
    build(plan, tmp_path / "build")
    with pytest.raises(SpikeloomError, match="has no serial line: build it with --interface uart"):
        run_on_line(tmp_path / "build", random_samples(plan.network, 1, 1))


def test_wrong_answers_are_found(tmp_path: Path) -> None:
    """A design with another network's weights says the right hash, and is found out by its answers."""
    plan = plan_of_kind("static")
    build(plan, tmp_path / "build", interface="uart", serial=LINE)
    built = BuildFolder.load(tmp_path / "build")
    changed = {name: b"".join(line[::-1] + b"\n" for line in content.split()) for name, content
               in built.memories.items()}
    damaged = replace(built, memories=changed)
    from spikeloom.cosim import serial_run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serial_run.BuildFolder, "load", lambda folder: damaged)
        result = run_on_line(tmp_path / "build", random_samples(plan.network, 40, 2), np.zeros(40, np.int64))
    assert result.wrong > 0
    assert result.first_wrong is not None
    assert not result.ok
    assert result.accuracy is not None


@pytest.mark.parametrize(("clock_hz", "baud", "why"), [
    (25_000_000, 9_000_000, "baud must be in"), (1_000_000, 115_200, "9 cycles of 1,000,000 Hz are 3.5% less"),
    (100, 10, "clock_hz must be"), (25_000_000, 100, "baud must be")])
def test_lines_that_no_clock_makes(clock_hz: int, baud: int, why: str) -> None:
    with pytest.raises(SpikeloomError, match=why):
        Serial(clock_hz=clock_hz, baud=baud)


def test_a_line_is_for_uarts(tmp_path: Path) -> None:
    with pytest.raises(SpikeloomError, match="serial must be None with interface 'axi'"):
        build(plan_of_kind("static"), tmp_path / "build", interface="axi", serial=LINE)




def test_a_table_whose_words_have_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeloom.gen.bus_top.WORD_NUMBER_BYTES", 0)
    with pytest.raises(SpikeloomError, match=r"layer0: .* must be at most 256 tables of 1 words"):
        build(plan_of_kind("external"), tmp_path / "build", interface="uart", serial=LINE)
    assert not (tmp_path / "build").exists()
