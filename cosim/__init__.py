"""The emitted Verilog under Verilator, through cocotb, against the golden and the cycle model."""
