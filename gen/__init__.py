"""The compiler: fold, widths, Verilog, cycle model, synthesis, reports and the command line."""
