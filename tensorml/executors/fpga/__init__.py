"""Circuits for FPGAs: Verilog from the graph, simulated bit for bit, with what it takes of a device."""
