"""Load tests of a session: each drives the programs a facility runs, harms them, and judges what is left. No plugin."""
