"""Benchmarks that make their own simulated data, run ours and others' programs on it, and tabulate both; no stage."""
