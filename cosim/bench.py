"""The cocotb side of a simulation: start the clock, wait. Python sees no cycle in between."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

__all__ = ["run_testbench"]


@cocotb.test()
async def run_testbench(dut: Any) -> None:
    """Run the testbench until it is done; it has a watchdog of its own."""
    Clock(dut.clk, 2, unit="step").start()
    await RisingEdge(dut.done)
