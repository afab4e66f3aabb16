"""Particle picking; the filters are in ``cryoframe.numerics``."""
