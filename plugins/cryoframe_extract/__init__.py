"""Particle extraction; cutting and normalising are in ``cryoframe.numerics``."""
