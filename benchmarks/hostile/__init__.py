"""Inputs made to break things, and the doors that they are put through; see `benchmarks/stress_inputs.py`."""
