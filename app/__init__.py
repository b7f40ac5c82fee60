"""spikeloom: trained spiking neural networks to Verilog, proved spike for spike."""

__version__ = "0.1.0"
