"""Correction of beam-induced motion; the arithmetic is in ``cryoframe.numerics``."""
