"""Amaranth components: event queues, synapses, neurons, readout. No file I/O."""
