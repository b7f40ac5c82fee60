"""The weight fetch's Verilog under Verilator: with cocotbext-axi's RAM, and with the memory model in RTL."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from support.fetch_cases import Case, Trace, case_of, check_contents, check_cycles, config_of

from spikeloom.cosim.runner import Program, compile_program, run_program
from spikeloom.gen.fetch_cycles import MemoryTiming
from spikeloom.gen.verilog import emit_component
from spikeloom.rtl.weight_fetch import WeightFetch, WeightFetchConfig, weight_table

SMALL = config_of(100, 32, 3)
WORD = config_of(20, 64, 4)
LONG = config_of(512 * 64 + 100, 512, 2, rows=4)  # more than 4 KB: two bursts a row
BASE = 3 * LONG.row_bytes  # a multiple of every table's row_bytes

MEMORY = resources.files("spikeloom.cosim").joinpath("harness", "axi_memory.sv").read_text(encoding="utf-8")
FETCH_PORTS = ["clk", "rst", "i__valid", "i__ready", "i__payload", "room", "base", "clear", "o", "error"]
AXI_PORTS = [f"axi__{name}" for name in ("arid", "araddr", "arlen", "arsize", "arburst", "arcache", "arprot", "arvalid",
                                         "arready", "rid", "rdata", "rresp", "rlast", "rvalid", "rready")]


@cache
def fetch_verilog(config: WeightFetchConfig) -> str:
    return emit_component(WeightFetch(config), "weight_fetch")


def public(module: str, ports: list[str]) -> str:
    """What Python may touch."""
    lines = [f'public_flat_rw -module "{module}" -var "{port}"' for port in ports]
    return "\n".join(["`verilator_config", *lines, ""])


def compile_alone(config: WeightFetchConfig) -> Program:
    return compile_program({"public.vlt": public("weight_fetch", FETCH_PORTS + AXI_PORTS),
                            "weight_fetch.v": fetch_verilog(config)}, "weight_fetch")


def compile_with_memory(config: WeightFetchConfig) -> Program:
    """Fetch and memory in one top module with the fetch's ports."""
    slot_bits = max(1, (config.rows - 1).bit_length()) + config.mask_bits + 1
    joined = [name for name in AXI_PORTS if name not in ("axi__arcache", "axi__arprot")]
    widths = {"axi__araddr": 32, "axi__arlen": 8, "axi__arsize": 3, "axi__arburst": 2, "axi__rdata": config.bus_bits,
              "axi__rresp": 2}
    wires = "".join(f"  logic [{widths.get(name, 1) - 1}:0] {name};\n" for name in joined)
    top = f"""\
module fetch_with_memory (
    input logic clk, rst, i__valid, room, clear,
    input logic [{slot_bits - 1}:0] i__payload,
    input logic [31:0] base,
    output logic i__ready, error,
    output logic [{config.row_bits + config.mask_bits}:0] o
);
{wires}
  weight_fetch fetch (.axi__arcache(), .axi__arprot(), .*);
  axi_memory #(.DATA_BITS({config.bus_bits}), .WORDS({config.table_bytes // config.bus_bytes}), .BASE({BASE}),
               .FILE("table.hex")) memory (
      .clk, .rst, {", ".join(f".{name.removeprefix('axi__')}({name})" for name in joined)});
endmodule
"""
    return compile_program({"public.vlt": public("fetch_with_memory", FETCH_PORTS), "fetch_with_memory.sv": top,
                            "axi_memory.sv": MEMORY, "weight_fetch.v": fetch_verilog(config)}, "fetch_with_memory")


def run(program: Program, case: Case, run_dir: Path) -> Trace:
    print(f"seed {case.seed}")
    config, timing = case.config, case.timing
    run_dir.mkdir()
    mask_at = max(1, (config.rows - 1).bit_length())
    table = weight_table(config, case.rows)
    text: dict[str, Any] = {
        "base": case.base, "row_bits": config.row_bits, "seed": case.seed, "gap": case.gap, "stall": case.stall,
        "withheld": case.withheld, "bad_addresses": case.bad_addresses,
        "slots": [row | mask << mask_at | end << mask_at + config.mask_bits for row, mask, end in case.slots]}
    plusargs = []
    if timing is None:
        text["table"] = table.hex()
    else:
        words = range(0, len(table), config.bus_bytes)
        (run_dir / "table.hex").write_text("".join(f"{table[at:at + config.bus_bytes][::-1].hex()}\n" for at in words))
        plusargs = [f"+axi_latency={timing.latency_cycles}", f"+axi_beat_interval={timing.beat_interval_cycles}",
                    *(f"+axi_error_address={address}" for address in case.bad_addresses)]
    (run_dir / "case.json").write_text(json.dumps(text))
    run_program(program, "support.fetch_bench", run_dir, plusargs=plusargs,
                environment={"CASE": str(run_dir / "case.json")})
    seen = json.loads((run_dir / "trace.json").read_text())
    mask, at = (1 << config.mask_bits) - 1, config.row_bits
    given = [(cycle, int(o, 16)) for cycle, o in seen["seen"]]
    seen["seen"] = [(cycle, o % (1 << at), o >> at & mask, o >> at + config.mask_bits) for cycle, o in given]
    return Trace(**seen)


@pytest.mark.parametrize(("stall", "gap", "withheld"), [(0.0, 0.0, 0.0), (0.6, 0.0, 0.0), (0.4, 0.4, 0.6)])
@pytest.mark.parametrize("config", [SMALL, LONG], ids=["small", "long"])
def test_cocotb_ram(config: WeightFetchConfig, stall: float, gap: float, withheld: float, tmp_path: Path) -> None:
    case = replace(case_of(config, 7, stall=stall, gap=gap, withheld=withheld), base=BASE)
    trace = run(compile_alone(config), case, tmp_path / "run")
    check_contents(case, trace)
    assert not any(trace.error)


def test_cocotb_ram_errors(tmp_path: Path) -> None:
    case = replace(case_of(SMALL, 8, stall=0.3), base=BASE)
    bad_row = next(row for row, _, end in case.slots[10:] if not end)
    case.bad_addresses = (BASE + bad_row * SMALL.row_bytes + 4,)
    trace = run(compile_alone(SMALL), case, tmp_path / "run")
    first = next(n for n, (row, _, end) in enumerate(case.slots) if not end and row == bad_row)
    assert trace.error.index(1) == trace.seen[first][0]
    for (row, mask, end), (_, weight, *given) in zip(case.slots, trace.seen, strict=True):
        assert given == [mask, end]
        assert end or row == bad_row or weight == case.rows[row]


@pytest.mark.parametrize(("latency", "interval"), [(1, 1), (8, 1), (1, 3), (30, 2)])
@pytest.mark.parametrize("config", [pytest.param(SMALL, id="small"), pytest.param(WORD, id="word"),
                                    pytest.param(LONG, id="long", marks=pytest.mark.slow)])
def test_cycles(config: WeightFetchConfig, latency: int, interval: int, tmp_path: Path) -> None:
    """The memory model and the recurrence agree on every cycle."""
    program = compile_with_memory(config)
    timing = MemoryTiming(latency_cycles=latency, beat_interval_cycles=interval)
    for seed, (gap, withheld) in enumerate([(0.0, 0.0), (0.5, 0.7)]):
        case = replace(case_of(config, seed, count=40, timing=timing, gap=gap, withheld=withheld), base=BASE)
        trace = run(program, case, tmp_path / f"run{seed}")
        check_contents(case, trace)
        check_cycles(case, trace)
        assert not any(trace.error)


def test_injected_error(tmp_path: Path) -> None:
    case = replace(case_of(SMALL, 9, ends=0.0, timing=MemoryTiming(latency_cycles=4)), base=BASE)
    bad_row = case.slots[20][0]
    case.bad_addresses = (BASE + bad_row * SMALL.row_bytes + 9,)  # any byte of the word
    trace = run(compile_with_memory(SMALL), case, tmp_path / "run")
    check_contents(case, trace)
    check_cycles(case, trace)
    assert trace.error.index(1) == trace.seen[[row for row, _, _ in case.slots].index(bad_row)][0]


def test_an_address_outside_is_an_error(tmp_path: Path) -> None:
    case = replace(case_of(SMALL, 9, ends=0.0, timing=MemoryTiming(latency_cycles=4)),
                   base=BASE - SMALL.row_bytes)
    trace = run(compile_with_memory(SMALL), case, tmp_path / "run")
    assert trace.error.index(1) == trace.seen[[row for row, _, _ in case.slots].index(0)][0]


def test_wrong_cycles_and_weights_are_noticed(tmp_path: Path) -> None:
    case = replace(case_of(SMALL, 1, timing=MemoryTiming(latency_cycles=4)), base=BASE)
    trace = run(compile_with_memory(SMALL), case, tmp_path / "run")
    check_cycles(case, trace)
    case.timing = MemoryTiming(latency_cycles=5)
    with pytest.raises(AssertionError):
        check_cycles(case, trace)
    case.rows = [row ^ 1 for row in case.rows]
    with pytest.raises(AssertionError):
        check_contents(case, trace)
