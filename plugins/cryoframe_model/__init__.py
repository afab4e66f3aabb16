"""Atomic models as starting maps; the arithmetic is in ``cryoframe.numerics``."""
