"""Masks and the last steps on a map; see mask and postprocess."""
